import type { NightEvent } from './night.js';

const PROVIDER_GUID = '{5770385F-C22A-43E0-BF4C-06F5698FFBD9}';
const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const PROVIDER = 'Microsoft-Windows-Sysmon';

/** First line of the rendered message and task text, by event. */
const TITLES: ReadonlyMap<number, readonly [title: string, task: string]> = new Map([
  [1, ['Process Create:', 'Process Create (rule: ProcessCreate)']],
  [2, ['File creation time changed:', 'File creation time changed (rule: FileCreateTime)']],
  [3, ['Network connection detected:', 'Network connection detected (rule: NetworkConnect)']],
  [5, ['Process terminated:', 'Process terminated (rule: ProcessTerminate)']],
  [11, ['File created:', 'File created (rule: FileCreate)']],
]);

/** The event as a JSON line of NXLog (flat, field names of Sysmon at the top). */
export function nxlogLine(event: NightEvent): string {
  const time = event.time.toISOString().slice(0, 19).replace('T', ' ');
  const [, task = ''] = TITLES.get(event.eventId) ?? [];
  return `${JSON.stringify({
    EventTime: time,
    Hostname: event.computer,
    // NXLog writes the 64-bit keywords as a number that JavaScript cannot hold.
    Keywords: 0,
    EventType: 'INFO',
    SeverityValue: 2,
    Severity: 'INFO',
    EventID: event.eventId,
    SourceName: PROVIDER,
    ProviderGuid: PROVIDER_GUID,
    Version: 5,
    Task: event.eventId,
    OpcodeValue: 0,
    RecordNumber: event.recordId,
    ExecutionProcessID: 2716,
    ThreadID: 3900,
    Channel: CHANNEL,
    Domain: 'NT AUTHORITY',
    AccountName: 'SYSTEM',
    UserID: 'S-1-5-18',
    AccountType: 'User',
    Category: task,
    Opcode: 'Info',
    Message: message(event, '\r\n'),
    ...Object.fromEntries(event.data),
    EventReceivedTime: time,
    SourceModuleName: 'sysmon',
    SourceModuleType: 'im_msvistalog',
  }).replace('"Keywords":0', '"Keywords":-9223372036854775808')}\n`;
}

/** The event as a JSON line of Winlogbeat 8 without its Sysmon module (`winlog.event_data`). */
export function winlogbeatLine(event: NightEvent): string {
  const [, task = ''] = TITLES.get(event.eventId) ?? [];
  return `${JSON.stringify({
    '@timestamp': event.time.toISOString(),
    '@metadata': { beat: 'winlogbeat', type: '_doc', version: '8.11.1' },
    agent: { name: 'collector', type: 'winlogbeat', version: '8.11.1' },
    ecs: { version: '8.0.0' },
    event: { action: task, code: String(event.eventId), kind: 'event', provider: PROVIDER },
    host: { name: event.computer },
    log: { level: 'information' },
    message: message(event, '\n'),
    winlog: {
      api: 'wineventlog',
      channel: CHANNEL,
      computer_name: event.computer,
      event_data: Object.fromEntries(event.data),
      event_id: String(event.eventId),
      opcode: 'Info',
      process: { pid: 2716, thread: { id: 3900 } },
      provider_guid: PROVIDER_GUID.toLowerCase(),
      provider_name: PROVIDER,
      record_id: event.recordId,
      task,
      user: { domain: 'NT AUTHORITY', identifier: 'S-1-5-18', name: 'SYSTEM', type: 'User' },
      version: 5,
    },
  })}\n`;
}

function message(event: NightEvent, lineEnd: string): string {
  const [title = ''] = TITLES.get(event.eventId) ?? [];
  return [title, ...[...event.data].map(([name, value]) => `${name}: ${value}`)].join(lineEnd);
}
