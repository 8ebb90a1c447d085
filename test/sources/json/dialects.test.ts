import { describe, expect, it } from 'vitest';
import { readJson } from '../../../src/sources/json.js';
import { readAll } from '../reading.js';

const SHA1 = 'a1'.repeat(20);
const MD5 = 'b2'.repeat(16);
const SHA256 = 'c3'.repeat(32);
const IMPHASH = 'd4'.repeat(16);
const HASHES = `SHA1=${SHA1},MD5=${MD5},SHA256=${SHA256},IMPHASH=${IMPHASH}`.toUpperCase();
const GUID = '{11111111-2222-3333-4444-555555555555}';
const PARENT_GUID = '{66666666-7777-8888-9999-000000000000}';
const PROVIDER = 'Microsoft-Windows-Sysmon';
const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const PROVIDER_GUID = '{5770385F-C22A-43E0-BF4C-06F5698FFBD9}';

/** One process creation of Sysmon 10 to 13.2x, as Windows renders it. */
const FIELDS = {
  RuleName: 'technique_id=T0000,technique_name=None',
  UtcTime: '2031-02-03 04:05:06.789',
  ProcessGuid: GUID,
  ProcessId: '4242',
  Image: 'C:\\Tools\\alpha.exe',
  FileVersion: '1.2.3',
  Description: 'Alpha: the tool',
  Product: 'Tools',
  Company: 'Example',
  OriginalFileName: 'ALPHA.EXE',
  CommandLine: '"C:\\Tools\\alpha.exe"  --say "Hashes: SHA1=00" \\\\host\\share',
  CurrentDirectory: 'C:\\Tools\\',
  User: 'EXAMPLE\\ada',
  LogonGuid: '{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}',
  LogonId: '0x3e7',
  TerminalSessionId: '1',
  IntegrityLevel: 'Medium',
  Hashes: HASHES,
  ParentProcessGuid: PARENT_GUID,
  ParentProcessId: '777',
  ParentImage: 'C:\\Windows\\explorer.exe',
  ParentCommandLine: 'C:\\Windows\\Explorer.EXE',
} as const;

const MESSAGE = ['Process Create:', ...Object.entries(FIELDS).map(([name, value]) => `${name}: ${value}`)].join('\r\n');

const SERVICE_PID = 2284;

/** Fields without braces round GUIDs and with numbers for numbers, as parsers of EVTX files render them. */
const TYPED_FIELDS = {
  ...FIELDS,
  ProcessGuid: bare(GUID),
  LogonGuid: bare(FIELDS.LogonGuid),
  ParentProcessGuid: bare(PARENT_GUID),
  ProcessId: 4242,
  ParentProcessId: 777,
  TerminalSessionId: 1,
};

const SYSTEM = {
  Provider: { Name: PROVIDER, Guid: PROVIDER_GUID },
  EventID: '1',
  Channel: CHANNEL,
  Computer: 'ws-7',
  EventRecordID: '815',
  Execution: { ProcessID: SERVICE_PID },
  TimeCreated: { SystemTime: '2031-02-03T04:05:06.912345600Z' },
};

const XML =
  `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='${PROVIDER}' Guid='${PROVIDER_GUID}'/>` +
  `<EventID>1</EventID><TimeCreated SystemTime='2031-02-03T04:05:06.912345600Z'/><EventRecordID>815</EventRecordID>` +
  `<Execution ProcessID='${SERVICE_PID}'/><Channel>${CHANNEL}</Channel><Computer>ws-7</Computer></System>${eventDataXml()}</Event>`;

const SPLUNK_TEXT = `02/03/2031 04:05:06 AM\nLogName=${CHANNEL}\nEventCode=1\nComputerName=ws-7\nUser=NOT_TRANSLATED\nSourceName=${PROVIDER}\nRecordNumber=815\nMessage=${MESSAGE.replaceAll('\r', '')}`;

const ECS = {
  '@timestamp': '2031-02-03T04:05:06.789Z',
  agent: { name: 'collector' },
  event: { code: '1', provider: PROVIDER, module: 'sysmon' },
  host: { name: 'ws-7' },
  process: {
    entity_id: GUID,
    pid: 4242,
    executable: FIELDS.Image,
    command_line: FIELDS.CommandLine,
    working_directory: FIELDS.CurrentDirectory,
    hash: { sha1: SHA1, md5: MD5, sha256: SHA256 },
    pe: { imphash: IMPHASH, original_file_name: 'ALPHA.EXE', file_version: '1.2.3' },
    parent: {
      entity_id: PARENT_GUID,
      pid: 777,
      executable: FIELDS.ParentImage,
      command_line: FIELDS.ParentCommandLine,
    },
  },
  related: { hash: [SHA1, MD5, SHA256, IMPHASH] },
  rule: { name: FIELDS.RuleName },
  user: { domain: 'EXAMPLE', name: 'ada' },
  winlog: {
    channel: CHANNEL,
    computer_name: 'ws-7',
    event_id: '1',
    provider_name: PROVIDER,
    record_id: '815',
    process: { pid: SERVICE_PID },
    event_data: {
      Description: FIELDS.Description,
      Product: FIELDS.Product,
      Company: FIELDS.Company,
      LogonGuid: FIELDS.LogonGuid,
      LogonId: FIELDS.LogonId,
      TerminalSessionId: '1',
      IntegrityLevel: 'Medium',
    },
  },
};

const WINLOGBEAT_7 = {
  '@timestamp': '2031-02-03T04:05:06.912Z',
  agent: { name: 'collector' },
  event: { code: 1, provider: PROVIDER },
  host: { name: 'collector' },
  winlog: {
    channel: CHANNEL,
    computer_name: 'ws-7',
    event_id: 1,
    provider_name: PROVIDER,
    record_id: 815,
    process: { pid: SERVICE_PID },
    event_data: FIELDS,
  },
};

const NXLOG = {
  EventTime: '2031-02-03 06:05:06',
  Hostname: 'ws-7',
  Keywords: -9223372036854775808n,
  EventType: 'INFO',
  EventID: 1,
  SourceName: PROVIDER,
  ProviderGuid: PROVIDER_GUID,
  Version: 5,
  RecordNumber: 815,
  ExecutionProcessID: SERVICE_PID,
  Channel: CHANNEL,
  ...FIELDS,
};

const EVTX_DUMP = {
  Event: {
    '#attributes': { xmlns: 'http://schemas.microsoft.com/win/2004/08/events/event' },
    System: {
      ...SYSTEM,
      Provider: { '#attributes': { Name: PROVIDER, Guid: bare(PROVIDER_GUID) } },
      EventID: { '#attributes': { Qualifiers: '' }, '#text': 1 },
      EventRecordID: 815,
      TimeCreated: { '#attributes': { SystemTime: '2031-02-03T04:05:06.912345Z' } },
      Execution: { '#attributes': { ProcessID: SERVICE_PID } },
    },
    EventData: TYPED_FIELDS,
  },
};

const CHAINSAW = {
  Event_attributes: { xmlns: 'x' },
  Event: {
    System: {
      ...SYSTEM,
      Provider: null,
      Provider_attributes: { Name: PROVIDER, Guid: bare(PROVIDER_GUID) },
      EventID: 1,
      TimeCreated_attributes: { SystemTime: '2031-02-03T04:05:06.912345Z' },
    },
    EventData: TYPED_FIELDS,
  },
};

const HAYABUSA = {
  Timestamp: '2031-02-03 06:05:06.912 +02:00',
  RuleTitle: 'Proc Exec',
  Computer: 'ws-7',
  Channel: 'Sysmon',
  EventID: 1,
  RecordID: 815,
  Details: {
    Cmdline: FIELDS.CommandLine,
    Proc: FIELDS.Image,
    User: FIELDS.User,
    ParentCmdline: FIELDS.ParentCommandLine,
    LID: '0x3e7',
    LGUID: bare(FIELDS.LogonGuid),
    PID: 4242,
    PGUID: bare(GUID),
    ParentPID: 777,
    ParentPGUID: bare(PARENT_GUID),
    Description: 'n/a',
    Hashes: HASHES,
  },
  ExtraFieldInfo: { CurrentDirectory: FIELDS.CurrentDirectory, ParentImage: FIELDS.ParentImage },
};

const namedTexts = Object.entries(FIELDS).map(([name, text]) => ({ '@Name': name, '#text': text }));

const WAZUH = {
  timestamp: '2031-02-03T04:05:06.912+0000',
  agent: { name: 'other' },
  data: {
    win: {
      system: {
        providerName: PROVIDER,
        eventID: '1',
        systemTime: '2031-02-03T04:05:06.912345600Z',
        eventRecordID: '815',
        processID: String(SERVICE_PID),
        channel: CHANNEL,
        computer: 'ws-7',
        message: `"${MESSAGE}"`,
      },
      eventdata: Object.fromEntries(
        Object.entries(FIELDS).map(([name, text]) => [
          (name[0] ?? '').toLowerCase() + name.slice(1),
          text.replaceAll('\\', '\\\\').replaceAll('"', '\\"'),
        ]),
      ),
    },
  },
  full_log: '{"win":{"system":{"eventID":"1"}}}',
};

const WIN_EVT_LOG = `2031 Feb 03 04:05:06 WinEvtLog: ${CHANNEL}: INFORMATION(1): ${PROVIDER}: SYSTEM: NT AUTHORITY: ws-7: ${MESSAGE.replaceAll('\r\n', '  ')}`;

const FLUENT_BIT = {
  ProviderName: PROVIDER,
  EventID: 1,
  TimeCreated: '2031-02-03 05:05:06 +0100',
  EventRecordID: 815,
  ProcessID: SERVICE_PID,
  Channel: CHANNEL,
  Computer: 'ws-7',
};

const SENTINEL = { TimeGenerated: '2031-02-03T04:05:06.912Z', Computer: 'ws-7', EventID: 1 };

const OCSF = {
  class_uid: 1007,
  activity_id: 1,
  time: 1927857906912,
  metadata: {
    event_code: '1',
    original_time: FIELDS.UtcTime,
    log_name: CHANNEL,
    log_provider: PROVIDER,
    uid: '815',
  },
  device: { hostname: 'ws-7' },
  process: {
    uid: GUID,
    pid: 4242,
    cmd_line: FIELDS.CommandLine,
    user: { name: 'ada', domain: 'EXAMPLE' },
    file: {
      path: FIELDS.Image,
      hashes: [
        { algorithm_id: 1, value: MD5 },
        { algorithm: 'SHA-1', algorithm_id: 2, value: SHA1 },
        { algorithm: 'SHA-256', algorithm_id: 3, value: SHA256 },
      ],
    },
  },
  actor: {
    process: { uid: PARENT_GUID, pid: 777, file: { path: FIELDS.ParentImage }, cmd_line: FIELDS.ParentCommandLine },
  },
};

/** What no dialect loses. */
const CORE_FIELDS = [
  'ProcessGuid',
  'ProcessId',
  'Image',
  'CommandLine',
  'User',
  'ParentProcessGuid',
  'ParentImage',
] as const;

const DIALECTS: readonly (readonly [string, unknown])[] = [
  ['NXLog', NXLOG],
  [
    'NXLog CE, its own process id only in the message',
    {
      ...NXLOG,
      ProcessId: undefined,
      ExecutionProcessID: undefined,
      ProcessID: SERVICE_PID,
      ThreadID: 3900,
      Message: MESSAGE,
    },
  ],
  [
    'flat, its collector in the place of the provider',
    { ...NXLOG, SourceName: undefined, ProviderGuid: undefined, Source: 'WEC01' },
  ],
  ['flat, its channel in the place of the provider', { ...NXLOG, SourceName: CHANNEL, Channel: undefined }],
  ['flat without provider', { ...NXLOG, SourceName: undefined, ProviderGuid: undefined }],
  [
    'Winlogbeat 6',
    {
      '@timestamp': '2031-02-03T04:05:06.912Z',
      beat: { hostname: 'collector' },
      computer_name: 'ws-7',
      event_data: FIELDS,
      event_id: 1,
      log_name: CHANNEL,
      process_id: SERVICE_PID,
      record_number: '815',
      source_name: PROVIDER,
      user: { name: 'SYSTEM' },
    },
  ],
  ['Winlogbeat 7', WINLOGBEAT_7],
  ['Winlogbeat 8', { ...WINLOGBEAT_7, winlog: { ...WINLOGBEAT_7.winlog, event_id: '1' } }],
  ['ECS', ECS],
  [
    'ECS, collected by another module',
    {
      ...ECS,
      event: { code: '1', module: 'windows' },
      winlog: { ...ECS.winlog, provider_name: undefined, provider_guid: undefined },
    },
  ],
  [
    'flat, only its fields in another case',
    {
      EventID: 1,
      Channel: CHANNEL,
      Computer: 'ws-7',
      ...respelled(FIELDS, (name) => (name[0] ?? '').toLowerCase() + name.slice(1)),
    },
  ],
  [
    'flat, only its fields in snake case, beside the id of the service',
    {
      EventID: 1,
      ProviderName: PROVIDER,
      Computer: 'ws-7',
      User: 'NT AUTHORITY\\SYSTEM',
      ProcessID: SERVICE_PID,
      ThreadID: 3900,
      ...respelled(FIELDS, (name) => name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toLowerCase()),
    },
  ],
  [
    'flat, digests apart in lower case',
    { ...NXLOG, Hashes: undefined, sha1: SHA1, md5: MD5, sha256: SHA256, imphash: IMPHASH },
  ],
  [
    "HELK, names of OSSEM's model",
    {
      event_id: 1,
      log_name: CHANNEL,
      source_name: PROVIDER,
      host_name: 'ws-7',
      process_id: 4242,
      process_guid: bare(GUID),
      process_path: FIELDS.Image,
      process_command_line: FIELDS.CommandLine,
      process_parent_guid: bare(PARENT_GUID),
      process_parent_path: FIELDS.ParentImage,
      user_account: FIELDS.User,
      hash_sha1: SHA1,
      hash_md5: MD5,
    },
  ],
  ['ECS with dotted names', dotted(ECS)],
  [
    'ECS, first module',
    { ...ECS, event: { code: 1 }, hash: ECS.process.hash, process: { ...ECS.process, hash: undefined } },
  ],
  ['Elastic Agent', { ...ECS, event: { ...ECS.event, original: XML } }],
  ['Elastic Agent, not yet parsed', { '@timestamp': 'x', event: { original: XML } }],
  ['elasticdump', { _index: 'x', _id: '1', _source: WINLOGBEAT_7 }],
  [
    'Kibana fields',
    {
      _index: 'x',
      fields: Object.fromEntries(Object.entries(dotted(ECS)).map(([name, value]) => [name, [value].flat()])),
    },
  ],
  ['evtx_dump', EVTX_DUMP],
  ['evtx_dump with separate attributes', CHAINSAW],
  ['chainsaw hunt', { group: 'Sigma', kind: 'individual', document: { kind: 'evtx', path: 'x', data: CHAINSAW } }],
  ['hayabusa', HAYABUSA],
  [
    'hayabusa, Details as text',
    {
      ...HAYABUSA,
      Details: Object.entries(HAYABUSA.Details)
        .map(([name, value]) => `${name}: ${value}`)
        .join(' ¦ '),
    },
  ],
  ['hayabusa, all fields', { ...HAYABUSA, Details: {}, ExtraFieldInfo: {}, AllFieldInfo: FIELDS }],
  [
    'Velociraptor parse_evtx',
    {
      System: { ...SYSTEM, EventID: { Value: 1 }, TimeCreated: { SystemTime: 1927857906.9123456 } },
      EventData: { ...TYPED_FIELDS, LogonId: 999 },
    },
  ],
  [
    'Velociraptor Windows.EventLogs.Evtx',
    {
      EventTime: '2031-02-03T04:05:06.912Z',
      Computer: 'ws-7',
      Channel: CHANNEL,
      Provider: PROVIDER,
      EventID: 1,
      EventRecordID: 815,
      EventData: { ...TYPED_FIELDS, LogonId: 999 },
    },
  ],
  ['Wazuh', WAZUH],
  ['Wazuh, the event alone', WAZUH.data],
  [
    'Wazuh, older agents',
    { rule: { id: '184665' }, full_log: WIN_EVT_LOG, data: { id: '1', data: CHANNEL }, location: 'WinEvtLog' },
  ],
  ['Wazuh dashboard', { _index: 'wazuh', _source: WAZUH }],
  ['Splunk export, XML', { preview: false, offset: 0, result: { _raw: XML, host: 'collector' } }],
  ['Splunk export, text', { preview: false, result: { _raw: SPLUNK_TEXT } }],
  [
    'Splunk export, text and its id',
    { result: { _raw: SPLUNK_TEXT, EventCode: '1', source: `WinEventLog:${CHANNEL}` } },
  ],
  [
    'Splunk export, fields',
    {
      result: {
        EventCode: '1',
        Channel: CHANNEL,
        Computer: 'ws-7',
        RecordNumber: '815',
        SystemTime: "'2031-02-03T04:05:06.9Z'",
        ...FIELDS,
        User: ['NOT_TRANSLATED', FIELDS.User],
        SHA1,
      },
    },
  ],
  [
    'Splunk export, a few fields and the way in',
    {
      result: {
        _time: 'x',
        Computer: 'ws-7',
        source: `XmlWinEventLog:${CHANNEL}`,
        sourcetype: 'XmlWinEventLog',
        EventCode: '1',
        ...Object.fromEntries(CORE_FIELDS.map((name) => [name, FIELDS[name]])),
        Hashes: HASHES,
      },
    },
  ],
  [
    'Splunk export, digests apart',
    { result: { EventCode: '1', Channel: CHANNEL, Computer: 'ws-7', ...FIELDS, Hashes: undefined, SHA1, MD5, SHA256 } },
  ],
  [
    'Sentinel Event',
    {
      ...SENTINEL,
      Source: PROVIDER,
      EventLog: CHANNEL,
      EventData: `<DataItem Type="System.XmlData">${eventDataXml()}</DataItem>`,
      RenderedDescription: MESSAGE,
    },
  ],
  [
    'Sentinel WindowsEvent',
    {
      ...SENTINEL,
      Provider: PROVIDER,
      Channel: CHANNEL,
      EventData: JSON.stringify({ ...FIELDS, UtcTime: '2031-02-03T04:05:06.7890000Z' }),
    },
  ],
  ['Sentinel WindowsEvent, object', { ...SENTINEL, Provider: PROVIDER, Channel: CHANNEL, EventData: FIELDS }],
  [
    'EvtxECmd',
    {
      PayloadData1: 'ProcessID: 4242, ProcessGUID: x',
      Payload: JSON.stringify({ EventData: { Data: namedTexts } }),
      Channel: CHANNEL,
      Provider: PROVIDER,
      Computer: 'ws-7',
      EventId: 1,
      EventRecordId: '815',
      ProcessId: SERVICE_PID,
      RecordNumber: 1,
    },
  ],
  [
    'EvtxECmd --fj',
    {
      Event: {
        System: { ...SYSTEM, Provider: { '@Name': PROVIDER }, TimeCreated: { '@SystemTime': '2031-02-03 04:05:06.9' } },
        EventData: { Data: namedTexts },
      },
    },
  ],
  ['fluent-bit', { ...FLUENT_BIT, Message: MESSAGE, StringInserts: Object.values(FIELDS) }],
  ['fluent-bit without message', { ...FLUENT_BIT, StringInserts: Object.values(FIELDS) }],
  ['fluent-bit XML', { System: XML, Message: MESSAGE, StringInserts: [] }],
  [
    'fluentd',
    {
      ...FLUENT_BIT,
      EventID: '1',
      TimeCreated: '2031/02/03 04:05:06.912345600',
      User: 'NT AUTHORITY\\SYSTEM',
      Description: MESSAGE,
      EventData: Object.values(FIELDS),
    },
  ],
  [
    'GELF',
    {
      version: '1.1',
      host: 'ws-7',
      short_message: 'Process Create:',
      ...Object.fromEntries(Object.entries(NXLOG).map(([name, value]) => [`_${name}`, value])),
    },
  ],
  [
    'Graylog with Beats',
    { version: '1.1', host: 'ws-7', full_message: MESSAGE, ...flattened(WINLOGBEAT_7.winlog, 'winlogbeat_winlog') },
  ],
  ['OCSF', OCSF],
  ['OCSF without event code', { ...OCSF, metadata: { ...OCSF.metadata, event_code: undefined } }],
  [
    'MaxPatrol',
    { Event: { System: SYSTEM, EventData: { Data: Object.entries(FIELDS).map(([Name, text]) => ({ text, Name })) } } },
  ],
  [
    'xmltodict',
    {
      Event: {
        '@xmlns': 'x',
        System: { ...SYSTEM, Provider: { '@Name': PROVIDER }, EventID: { '@Qualifiers': '', '#text': '1' } },
        EventData: { Data: namedTexts },
      },
    },
  ],
  [
    'PowerShell',
    {
      Id: 1,
      RecordId: 815,
      ProviderName: PROVIDER,
      LogName: CHANNEL,
      ProcessId: SERVICE_PID,
      MachineName: 'ws-7',
      TimeCreated: '/Date(1927857906912)/',
      Properties: Object.values(FIELDS).map((Value) => ({ Value })),
      Message: MESSAGE,
    },
  ],
  [
    'PowerShell, no deeper than by default',
    {
      Id: 1,
      ProviderName: PROVIDER,
      LogName: CHANNEL,
      ProcessId: SERVICE_PID,
      ThreadId: 3900,
      MachineName: 'ws-7',
      Properties: Object.values(FIELDS).map(() => 'System.Diagnostics.Eventing.Reader.EventProperty'),
      Message: MESSAGE,
    },
  ],
  [
    'PowerShell, a few properties',
    { Id: 1, ProcessId: SERVICE_PID, MachineName: 'ws-7', ProviderName: PROVIDER, Message: MESSAGE },
  ],
  ['fluentd without its inserts', { ...FLUENT_BIT, EventID: '1', User: 'NT AUTHORITY\\SYSTEM', Description: MESSAGE }],
  ['home-made, no provider', { EventId: 1, ...FIELDS }],
  ['home-made, no id', FIELDS],
  [
    'home-made, lower case',
    Object.fromEntries(
      Object.entries({ EventID: '1', Computer: 'ws-7', Channel: CHANNEL, ...FIELDS }).map(([name, value]) => [
        name.toLowerCase(),
        value,
      ]),
    ),
  ],
  ['elements, Data an object of fields', { Event: { System: SYSTEM, EventData: { Data: FIELDS } } }],
  ['whids', { Event: { EventData: FIELDS, GeneInfo: {}, System: SYSTEM } }],
  ['message alone', { host: 'ws-7', program: PROVIDER, message: MESSAGE }],
  ['journald', { _HOSTNAME: 'ws-7', SYSLOG_IDENTIFIER: 'sysmon', MESSAGE: XML }],
  ['journald, unprintable', { MESSAGE: [...Buffer.from(XML)] }],
  ["Splunk's collector, XML", { time: 1.5, host: 'collector', sourcetype: 'XmlWinEventLog', event: XML }],
  ["Splunk's collector, an object", { time: 1.5, host: 'collector', sourcetype: 'x', event: NXLOG }],
  ['XML in a member of any name', { '@timestamp': 'x', host: { id: 1 }, event_raw: `\n ${XML}` }],
  [
    'plaso',
    {
      data_type: 'windows:evtx:record',
      event_identifier: 1,
      message: '[1 / 0x0001]',
      strings: [],
      xml_string: `<?xml version="1.0"?>\n${XML}`,
    },
  ],
  ['OpenTelemetry', { body: { channel: CHANNEL, event_id: 1, host: 'ws-7', event_data: FIELDS } }],
  ['syslog of Log Analytics', { Computer: 'collector', SyslogMessage: `sysmon: ${XML}` }],
  ['JSON in a log line', { log: JSON.stringify(WINLOGBEAT_7) }],
];

/** The same value with its members named another way. */
function spelled(value: unknown, spell: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((element) => spelled(element, spell));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [spell(name), spelled(member, spell)]));
}

describe('a process creation', () => {
  it.each(DIALECTS)('as %s', async (_name, record) => {
    const { events, hashes, bodies } = await readAll(readJson, json(record));

    const [event] = events;
    expect(events).toHaveLength(1);
    expect(event?.eventId).toBe(1);
    for (const name of CORE_FIELDS) expect([name, event?.data.get(name)]).toEqual([name, FIELDS[name]]);
    for (const [name, value] of event?.data ?? []) {
      expect([name, value]).toEqual([
        name,
        name === 'Hashes' ? expect.stringContaining(SHA1.toUpperCase()) : FIELDS[name as keyof typeof FIELDS],
      ]);
    }
    expect(hashes[0]?.sha1).toBe(SHA1);
    expect(bodies).toEqual([json(record)]);
  });

  it.each(
    DIALECTS.flatMap(([name, record]) => [
      [name, 'lower', spelled(record, (text) => text.toLowerCase())] as const,
      [name, 'upper', spelled(record, (text) => text.toUpperCase())] as const,
    ]),
  )('as %s with all names in %s case', async (_name, _case, record) => {
    const { events, hashes } = await readAll(readJson, json(record));
    expect(events).toHaveLength(1);
    for (const name of CORE_FIELDS) expect([name, events[0]?.data.get(name)]).toEqual([name, FIELDS[name]]);
    // Windows' service has written the event, and its id is nobody else's.
    expect(events[0]?.data.get('ProcessId') ?? FIELDS.ProcessId).toBe(FIELDS.ProcessId);
    expect(hashes[0]?.sha1).toBe(SHA1);
  });

  it.each(DIALECTS.filter(([name]) => !/home-made|message alone|unprintable|dashboard|no id/.test(name)))(
    'knows its computer as %s',
    async (_name, record) => {
      const { events } = await readAll(readJson, json(record));

      expect(events[0]?.computer).toBe('ws-7');
    },
  );

  it.each([
    ['elements', EVTX_DUMP, '2031-02-03T04:05:06.912345Z'],
    ['hayabusa, with an offset', HAYABUSA, '2031-02-03T04:05:06.912Z'],
    [
      'Velociraptor, seconds since 1970',
      { System: { ...SYSTEM, TimeCreated: { SystemTime: 1927857906.5 } }, EventData: FIELDS },
      '2031-02-03T04:05:06.500Z',
    ],
    ['fluent-bit, whole seconds', { ...FLUENT_BIT, Message: MESSAGE }, '2031-02-03T04:05:06Z'],
    [
      'EvtxECmd, no zone',
      {
        Event: {
          System: { ...SYSTEM, TimeCreated: { '@SystemTime': '2031-02-03 04:05:06.9123456' } },
          EventData: FIELDS,
        },
      },
      '2031-02-03T04:05:06.9123456Z',
    ],
    ['NXLog, local time without zone', NXLOG, undefined],
  ])('has the time it was written as UTC: %s', async (_name, record, timeCreated) => {
    const { events } = await readAll(readJson, json(record));

    expect(events[0]?.timeCreated).toBe(timeCreated);
  });
});

describe('Winlogbeat without provider and channel', () => {
  it('is known by its fields, whatever module collected it', async () => {
    const record = { event: { code: 1, module: 'windows' }, winlog: { computer_name: 'ws-7', event_data: FIELDS } };

    const { events, hashes } = await readAll(readJson, json(record));

    expect([events[0]?.computer, hashes[0]?.sha1]).toEqual(['ws-7', SHA1]);
  });
});

describe('a record without provider and channel', () => {
  const fields = { ProcessGuid: GUID, Image: FIELDS.Image, ParentProcessGuid: PARENT_GUID };
  it.each([
    ['an empty command line', { EventID: 1, ...fields, CommandLine: '', Hashes: HASHES }],
    ['no command line', { EventId: 1, ...fields, CommandLine: null, ParentImage: FIELDS.ParentImage }],
    ['no id', { ...fields, CommandLine: 'a' }],
    ["PowerShell's id", { Id: 1, MachineName: 'ws-7', ...fields, CommandLine: 'a' }],
    ['its image and digests', { EventCode: '1', Image: FIELDS.Image, Hashes: HASHES }],
    ['its image and one digest', { _time: 'x', EventCode: '1', Image: FIELDS.Image, SHA1 }],
    ['its way in', { EventCode: '1', sourcetype: `XmlWinEventLog:${CHANNEL}`, Image: 'System' }],
    ['its way in, in another case', { EVENTCODE: '1', SOURCE: `WinEventLog:${CHANNEL}`, _TIME: 'x', IMAGE: 'System' }],
    [
      'the file of its log',
      { EventCode: '1', source: 'C:\\x\\Microsoft-Windows-Sysmon%4Operational.evtx', Image: 'System' },
    ],
  ])('is a process creation by %s', async (_name, record) => {
    const { events } = await readAll(readJson, json(record));

    expect(events.map((event) => event.data.get('Image'))).toEqual([
      Object.entries(record).find(([name]) => /^image$/i.test(name))?.[1],
    ]);
  });

  it.each([
    [
      'all fields empty',
      { EventID: 1, UtcTime: '', ProcessGuid: '', Image: '', CommandLine: '', Hashes: '', ParentProcessGuid: '' },
    ],
    ['a few fields and no parent', { EventID: 1, ...fields, ParentProcessGuid: '', CommandLine: 'a' }],
    ['another id', { Id: 3, UtcTime: FIELDS.UtcTime, ...fields, CommandLine: 'a' }],
    ['an image that is no file', { EventID: 1, Image: 'debian', SHA1 }],
    ['an image without digests', { EventID: 1, Image: FIELDS.Image, Hashes: '-' }],
    ['the number of a row', { Id: 1, Image: FIELDS.Image, SHA1 }],
    ['names of another model', { event: { code: 1 }, process: { executable: FIELDS.Image, hash: { sha1: SHA1 } } }],
    ['another way in', { EventCode: 1, source: 'C:\\sysmon\\notes.txt', sourcetype: 'WinEventLog:System', Image: 'x' }],
  ])('is none by %s', async (_name, record) => {
    const { events, others } = await readAll(readJson, json(record));

    expect([events, others]).toEqual([[], 1]);
  });
});

describe('EvtxECmd without its payload', () => {
  it('gives what the columns of its map have', async () => {
    const record = {
      PayloadData1: `ProcessID: 4242, ProcessGUID: ${bare(GUID)}`,
      PayloadData3: HASHES,
      PayloadData4: `ParentProcess: ${FIELDS.ParentImage}`,
      PayloadData5: `ParentProcessID: 777, ParentProcessGUID: ${bare(PARENT_GUID)}`,
      UserName: FIELDS.User,
      ExecutableInfo: FIELDS.CommandLine,
      Provider: PROVIDER,
      EventId: 1,
      ProcessId: SERVICE_PID,
    };

    const { events, hashes } = await readAll(readJson, json(record));

    const names = 'ProcessGuid ProcessId CommandLine User ParentProcessGuid ParentProcessId ParentImage'.split(' ');
    for (const name of names)
      expect([name, events[0]?.data.get(name)]).toEqual([name, FIELDS[name as keyof typeof FIELDS]]);
    expect(hashes[0]?.sha1).toBe(SHA1);
  });
});

describe('what is no process creation', () => {
  it.each([
    [
      "another provider's event 1",
      { ...NXLOG, SourceName: 'Microsoft-Windows-Kernel-General', ProviderGuid: undefined, Channel: 'System' },
    ],
    [
      "another provider's event 1 that kept the GUID",
      { ...NXLOG, SourceName: 'Microsoft-Windows-Kernel-General', Channel: 'System' },
    ],
    [
      "another provider's event 1 without channel",
      { ...NXLOG, SourceName: 'Microsoft-Windows-Kernel-General', ProviderGuid: undefined, Channel: undefined },
    ],
    [
      'event 1 of another channel without provider',
      { ...NXLOG, SourceName: undefined, ProviderGuid: undefined, Channel: 'System' },
    ],
    [
      'a process start of another sensor without provider',
      { event: { module: 'endpoint', code: '1' }, process: ECS.process },
    ],
    [
      'a Security event with an elements layout',
      {
        Event: {
          System: { ...SYSTEM, Provider: { Name: 'Microsoft-Windows-Security-Auditing' }, Channel: 'Security' },
          EventData: FIELDS,
        },
      },
    ],
    [
      'a deletion that has the hash of a file in process.hash',
      { ...ECS, event: { ...ECS.event, code: '23' }, winlog: { ...ECS.winlog, event_id: '23' } },
    ],
    [
      'a process start of another sensor',
      {
        event: { kind: 'event', module: 'endpoint', provider: 'endpoint', code: '1', action: 'start' },
        process: ECS.process,
      },
    ],
    ['a process start without id of another sensor', { event: { module: 'endpoint' }, process: ECS.process }],
    ['a process activity that ends', { ...OCSF, activity_id: 2, metadata: { ...OCSF.metadata, event_code: '5' } }],
    [
      'a process activity of another product',
      { ...OCSF, metadata: { ...OCSF.metadata, log_provider: 'auditd', log_name: 'audit' } },
    ],
    [
      "a line of another program's that quotes an older agent's",
      { full_log: `Feb  3 04:05:06 host app: ${WIN_EVT_LOG}` },
    ],
    ["another provider's line of an older agent", { full_log: WIN_EVT_LOG.replaceAll(PROVIDER, 'Other') }],
    ['text that only quotes XML', { note: `he said: ${XML}` }],
    ["another provider's XML", { raw: XML.replace(PROVIDER, 'Microsoft-Windows-Kernel-General') }],
    ['text that only quotes a message', { message: `he said: ${MESSAGE}` }],
    [
      "another provider's event that quotes a message",
      {
        ...NXLOG,
        EventID: 4688,
        SourceName: 'Microsoft-Windows-Security-Auditing',
        Channel: 'Security',
        Message: MESSAGE,
      },
    ],
    ['a number', 1],
    ['names that objects have by themselves', { constructor: { EventID: 1 }, ['__proto__']: NXLOG }],
  ])('%s', async (_name, record) => {
    const { events, others, rejects } = await readAll(readJson, json(record));

    expect([events, others, rejects]).toEqual([[], 1, []]);
  });
});

describe('objects in no known form', () => {
  it.each([
    ['a table', { tables: [{ columns: [{ name: 'Source' }], rows: [[PROVIDER, CHANNEL, 1]] }] }],
    ['a table of XML', { fields: ['_raw'], rows: [[XML]] }],
    ['JSON in a text', { columns: { data: JSON.stringify({ channel: CHANNEL, EventData: FIELDS }) } }],
    ['names with what they hold behind them', { Source_s: PROVIDER, EventID_d: 1, Image_s: FIELDS.Image }],
  ])('are noted where they name Sysmon: %s', async (_name, record) => {
    const { events, others, notes } = await readAll(readJson, `${json(record)}\n${json(NXLOG)}\n${json(record)}`);

    expect([events.length, others]).toEqual([1, 2]);
    expect(notes).toEqual([expect.stringMatching(/^2 objects name Sysmon's provider or channel/)]);
  });

  it.each([
    ['a mention', { log: { level: 'info' }, message: `reading ${CHANNEL} of "${PROVIDER}" has started: <Provider>` }],
    ['other events', { ...NXLOG, EventID: 3 }],
    ["another provider's event that mentions it", { EventID: 4688, SourceName: 'Other', Object: CHANNEL }],
  ])('are not noted: %s', async (_name, record) => {
    const { others, notes } = await readAll(readJson, json(record));

    expect([others, notes]).toEqual([1, []]);
  });
});

describe('other events', () => {
  it('are handed over where they are wanted, hashes from where their files are', async () => {
    const deletion = {
      ...ECS,
      event: { ...ECS.event, code: '26' },
      winlog: { ...ECS.winlog, event_id: '26' },
      file: { path: 'C:\\gone.exe' },
    };
    const imageLoad = { EventID: 7, SourceName: PROVIDER, Hashes: HASHES, ImageLoaded: 'C:\\a.dll' };
    const stream = { EventID: 15, SourceName: PROVIDER, Hash: HASHES };
    const clipboard = { EventID: 24, SourceName: PROVIDER, Hashes: HASHES };

    const { events, hashes } = await readAll(readJson, [deletion, imageLoad, stream, clipboard].map(json).join('\n'), {
      eventIds: [7, 15, 24, 26],
    });

    expect(events.map(({ eventId }) => eventId)).toEqual([26, 7, 15, 24]);
    expect(events[0]?.data.get('TargetFilename')).toBe('C:\\gone.exe');
    expect(hashes.map(({ sha1 }) => sha1)).toEqual([SHA1, SHA1, SHA1, undefined]);
  });
});

describe('hashes', () => {
  it.each([
    ['no SHA1', { Hashes: `MD5=${MD5},IMPHASH=${IMPHASH}` }, { md5: MD5 }],
    ['an IMPHASH alone', { Hashes: `IMPHASH=${IMPHASH}` }, {}],
    ['lower case, blanks, another order', { Hashes: `sha256=${SHA256}, sha1=${SHA1}` }, { sha1: SHA1, sha256: SHA256 }],
    ['none', { Hashes: '-' }, {}],
    ['a list', { Hashes: [`MD5=${MD5}`, `SHA1=${SHA1}`] }, { sha1: SHA1, md5: MD5 }],
    ['a list that is empty', { Hashes: [], Message: MESSAGE }, { sha1: SHA1, md5: MD5, sha256: SHA256 }],
    ['an object', { Hashes: { MD5, SHA1, IMPHASH } }, { sha1: SHA1, md5: MD5 }],
    ['an object, lower case', { Hashes: { sha1: SHA1, sha256: SHA256 } }, { sha1: SHA1, sha256: SHA256 }],
    ['values parted by lines', { Hashes: `MD5=${MD5}\nSHA1=${SHA1}` }, { sha1: SHA1, md5: MD5 }],
    ['the two fields of Sysmon 1', { Hashes: undefined, HashType: 'SHA1', Hash: SHA1.toUpperCase() }, { sha1: SHA1 }],
    ['only the message has them', { Hashes: undefined, Message: MESSAGE }, { sha1: SHA1, md5: MD5, sha256: SHA256 }],
  ])('%s', async (_name, fields, hashes) => {
    const reading = await readAll(readJson, json({ ...NXLOG, ...fields }));

    expect(reading.hashes).toEqual([hashes]);
  });

  it.each([
    ['the digests of the process', { process: { hash: { sha1: SHA1 } } }],
    ['the digests alone', { hash: { sha1: SHA1.toUpperCase() } }],
    [
      'digests among the fields',
      { winlog: { ...WINLOGBEAT_7.winlog, event_data: { ...FIELDS, Hashes: undefined, sha1: SHA1 } } },
    ],
  ])('are found where Winlogbeat keeps all else: %s', async (_name, members) => {
    const { winlog } = WINLOGBEAT_7;
    const record = { ...WINLOGBEAT_7, winlog: { ...winlog, event_data: { ...FIELDS, Hashes: undefined } }, ...members };

    const { hashes, events } = await readAll(readJson, json(record));

    expect([hashes, events[0]?.data.get('Hashes')]).toEqual([[{ sha1: SHA1 }], `SHA1=${SHA1.toUpperCase()}`]);
  });

  it('are not taken from a message where an insert was not resolved', async () => {
    const message = MESSAGE.replace('ParentCommandLine: C:', 'ParentCommandLine: %22').replace(/%22.*$/, '%22');
    const { events } = await readAll(readJson, json({ ...NXLOG, ParentCommandLine: undefined, Message: message }));

    expect(events[0]?.data.has('ParentCommandLine')).toBe(false);
  });
});

describe('records written once for each rule', () => {
  it('count as duplicates after the first', async () => {
    const hunt = { kind: 'individual', document: { kind: 'evtx', data: CHAINSAW } };
    const aggregate = { kind: 'aggregate', documents: [hunt.document, hunt.document] };
    const otherRecord = { ...HAYABUSA, RecordID: 816 };

    const hunted = await readAll(readJson, json([hunt, { ...hunt, name: 'other rule' }, aggregate]));
    const timeline = await readAll(readJson, [HAYABUSA, HAYABUSA, otherRecord].map(json).join('\n'));

    expect([hunted.events.length, hunted.duplicates]).toEqual([1, 3]);
    expect([timeline.events.length, timeline.duplicates]).toEqual([2, 1]);
  });

  it('are no duplicates in any other format', async () => {
    const { events, duplicates } = await readAll(readJson, `${json(NXLOG)}\n${json(NXLOG)}`);

    expect([events.length, duplicates]).toEqual([2, 0]);
  });
});

/** An object with its own members named another way. */
function respelled(record: object, spell: (name: string) => string): object {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [spell(name), value]));
}

function bare(guid: string): string {
  return guid.slice(1, -1);
}

function eventDataXml(): string {
  const escaped = (text: string): string =>
    text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
  return `<EventData>${Object.entries(FIELDS)
    .map(([name, text]) => `<Data Name='${name}'>${escaped(text)}</Data>`)
    .join('')}</EventData>`;
}

/** Nested objects as one with names joined by dots. */
function dotted(record: object): { [name: string]: unknown } {
  return flattened(record, '', '.');
}

function flattened(record: object, prefix: string, separator = '_'): { [name: string]: unknown } {
  return Object.fromEntries(
    Object.entries(record).flatMap(([name, value]: [string, unknown]) => {
      const joined = prefix === '' ? name : `${prefix}${separator}${name}`;
      return typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.entries(flattened(value, joined, separator))
        : [[joined, value]];
    }),
  );
}

/** JSON with integers of any size. */
function json(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) =>
    typeof member === 'bigint' ? `#${member}#` : member,
  ).replace(/"#(-?\d+)#"/g, '$1');
}
