import { PROCESS_CREATION } from '../../event.js';
import {
  addField,
  addHashes,
  type EventData,
  fieldsOf,
  flatFields,
  readEventData,
  respelledFields,
  sysmonName,
} from './event-data.js';
import { idOf, isObject, type JsonObject, objectAt, type Path, path, textAt, textOf, valueAt } from './members.js';

/** How one tool writes events as JSON. */
export interface Dialect {
  readonly name: string;
  /** Members that may give it away. Of a record's members the first that gives any dialect away decides. */
  readonly members: readonly string[];
  /** What else must be so; an event id it must have in any case. */
  readonly matches?: (record: JsonObject) => boolean;
  /** Whether that may stand behind the id and no other dialect takes the record without it: what stands up to the id tells nothing then. */
  readonly needsWhole?: true;
  /** Where the id is; the first path that leads to one counts. */
  readonly eventId: readonly Path[];
  /** The id of a record that has none written in it. */
  readonly impliedEventId?: (record: JsonObject) => number | undefined;
  /** Provider names or GUIDs. */
  readonly provider: readonly Path[];
  readonly channel: readonly Path[];
  /** Where Splunk says which way the event came in, of which its channel may be a part. */
  readonly input?: readonly Path[];
  readonly computer: readonly Path[];
  readonly recordId: readonly Path[];
  readonly timeCreated: readonly Path[];
  /** Whether times without a zone are UTC; otherwise they are local somewhere, and left out. */
  readonly isUtc?: true;
  /** The event's own fields. */
  readonly data: (record: JsonObject, eventId: number) => EventData;
  /** Where the event stands once more as a text of its own, and its rendered message: they fill in what the fields lack. */
  readonly copy?: readonly Path[];
  readonly message?: readonly Path[];
  /** Whether the fields may be all that there is, beside an id that is surely an event's: home-made tables. */
  readonly isFlat?: boolean;
  /** Whether the tool writes one record for each of its rules that an event matches. */
  readonly isPerRule?: true;
}

/** A member that holds the record as another tool wrote it. */
export interface Envelope {
  readonly member: string;
  /** The way on from that member to the record. */
  readonly inside: Path;
  readonly matches?: (record: JsonObject) => boolean;
  readonly isPerRule?: true;
}

const paths = (...texts: readonly string[]): readonly Path[] => texts.map(path);

/**
 * Where flat records have what is not one of Sysmon's fields, whoever wrote them. `RecordNumber` comes last among record ids: EvtxECmd
 * means a counter of its own by it. NXLog's EventTime has no zone and is local.
 */
export const FLAT = {
  provider: paths(
    ...[
      'SourceName',
      'ProviderName',
      'Provider',
      'Provider.Name',
      'Source',
      'source_name',
      'provider_name',
      'ProviderGuid',
    ],
  ),
  channel: paths('Channel', 'EventLog', 'LogName', 'log_name', 'channel'),
  input: paths('source', 'sourcetype'),
  computer: paths(
    'Hostname',
    'Computer',
    'ComputerName',
    'MachineName',
    'computer_name',
    'host',
    'host.name',
    'host_name',
    '_HOSTNAME',
  ),
  recordId: paths(
    'EventRecordID',
    'EventRecordId',
    'RecordID',
    'RecordId',
    'record_id',
    'RecordNumber',
    'record_number',
  ),
  timeCreated: paths('SystemTime', 'TimeCreated', 'EventTime', 'TimeGenerated'),
  message: paths('Message', 'Description', 'RenderedDescription', 'message', 'full_message'),
} as const;

/** `System` as elements, with attributes in all the forms that tools give them. */
function elementsOf(
  root: string,
): Pick<Dialect, 'eventId' | 'provider' | 'channel' | 'computer' | 'recordId' | 'timeCreated'> {
  const system = (...texts: readonly string[]): readonly Path[] =>
    paths(...texts.map((text) => `${root}System.${text}`));
  const attribute = (element: string, name: string): readonly Path[] =>
    system(
      `${element}.#attributes.${name}`,
      `${element}_attributes.${name}`,
      `${element}.${name}`,
      `${element}.@${name}`,
    );
  return {
    eventId: system('EventID'),
    provider: [...attribute('Provider', 'Name'), ...attribute('Provider', 'Guid'), ...system('Provider')],
    channel: system('Channel'),
    computer: system('Computer'),
    recordId: system('EventRecordID'),
    timeCreated: attribute('TimeCreated', 'SystemTime'),
  };
}

/** A record whose id is a member of its own, with the event's fields beside it or in one of several containers. */
function flat(member: string): Dialect {
  return {
    name: `flat, ${member}: NXLog, fluentd, fluent-bit, Log Analytics, Velociraptor, Splunk, home-made`,
    members: [member],
    ...FLAT,
    eventId: paths(member),
    data: flatData,
    copy: paths('_raw'),
    isFlat: true,
  };
}

/** The event where Wazuh keeps it, in `data.win` of its alerts and archives or in `win` alone. */
function wazuh(member: 'data' | 'win'): Dialect {
  const root = member === 'data' ? 'data.win' : 'win';
  const system = (...names: readonly string[]): readonly Path[] =>
    paths(...names.map((name) => `${root}.system.${name}`));
  return {
    name: `Wazuh, in ${root}`,
    members: [member],
    eventId: system('eventID'),
    provider: system('providerName', 'providerGuid'),
    channel: system('channel'),
    computer: system('computer'),
    recordId: system('eventRecordID'),
    timeCreated: system('systemTime'),
    data: (record, eventId) => wazuhData(objectAt(record, path(`${root}.eventdata`)), eventId),
    message: system('message'),
  };
}

/** What Winlogbeat has in the same place with and without its Sysmon module. */
const WINLOG = {
  eventId: paths('winlog.event_id', 'event.code'),
  provider: paths('winlog.provider_name', 'event.provider', 'winlog.provider_guid', 'event.module'),
  channel: paths('winlog.channel'),
  // `agent.name` and `host.hostname` may be those of a collector.
  computer: paths('winlog.computer_name', 'host.name'),
  recordId: paths('winlog.record_id'),
  copy: paths('event.original'),
  message: paths('message'),
} as const;

/** All dialects. Where several share a member, they are tried in this order. A new dialect is one more object. */
export const DIALECTS: readonly Dialect[] = [
  {
    name: 'elements under Event: evtx_dump, chainsaw, MaxPatrol, xmltodict, EvtxECmd --fj, whids',
    members: ['Event'],
    matches: (record) => objectAt(record, path('Event.System')) !== undefined,
    ...elementsOf('Event.'),
    isUtc: true,
    data: (record, eventId) => readEventData(valueAt(record, path('Event.EventData')), eventId),
    message: paths('Event.RenderingInfo.Message'),
  },
  {
    name: 'elements: Velociraptor parse_evtx',
    members: ['System'],
    ...elementsOf(''),
    isUtc: true,
    data: (record, eventId) => readEventData(record['EventData'], eventId),
    message: paths('Message'),
  },
  {
    name: 'Winlogbeat 7 and 8 without module',
    members: ['winlog', 'event'],
    matches: (record) => valueAt(record, path('winlog.event_data.UtcTime')) !== undefined,
    ...WINLOG,
    // The fields in their own place say more than `event.module`, which may be the collector's.
    provider: paths('winlog.provider_name', 'event.provider', 'winlog.provider_guid'),
    timeCreated: paths('@timestamp'),
    data: winlogData,
  },
  {
    name: 'ECS: Winlogbeat with its Sysmon module, Elastic Agent',
    members: ['winlog', 'event'],
    ...WINLOG,
    // `@timestamp` is UtcTime here; nothing has the time of writing.
    timeCreated: [],
    data: ecsData,
  },
  {
    name: 'Winlogbeat 5 and 6',
    members: ['event_id'],
    matches: (record) => isObject(record['event_data']),
    ...FLAT,
    eventId: paths('event_id'),
    timeCreated: paths('@timestamp'),
    data: (record, eventId) => readEventData(record['event_data'], eventId),
  },
  wazuh('data'),
  // Its agents and its decoders write the event alone.
  wazuh('win'),
  {
    name: 'OCSF',
    members: ['class_uid'],
    eventId: paths('metadata.event_code'),
    impliedEventId: (record) =>
      idOf(record['class_uid']) === OCSF_PROCESS_ACTIVITY && idOf(record['activity_id']) === OCSF_LAUNCH
        ? PROCESS_CREATION
        : undefined,
    provider: paths('metadata.log_provider', 'metadata.product.name'),
    channel: paths('metadata.log_name'),
    computer: paths('device.hostname', 'device.name'),
    recordId: paths('metadata.uid'),
    timeCreated: paths('time'),
    data: ocsfData,
    message: paths('message'),
  },
  {
    name: 'hayabusa',
    members: ['EventID'],
    matches: (record) => Object.hasOwn(record, 'RuleTitle') || Object.hasOwn(record, 'RuleID'),
    ...FLAT,
    eventId: paths('EventID'),
    timeCreated: paths('Timestamp'),
    data: hayabusaData,
    isPerRule: true,
  },
  {
    name: 'EvtxECmd',
    members: ['EventId'],
    matches: (record) => Object.hasOwn(record, 'Payload') || Object.hasOwn(record, 'PayloadData1'),
    ...FLAT,
    eventId: paths('EventId'),
    recordId: paths('EventRecordId'),
    isUtc: true,
    data: evtxEcmdData,
  },
  flat('EventID'),
  flat('EventId'),
  flat('EventCode'),
  flat('event_id'),
  {
    // `Id` alone says too little.
    ...flat('Id'),
    name: 'PowerShell: Get-WinEvent | ConvertTo-Json',
    isFlat: false,
    needsWhole: true,
    matches: (record) =>
      ['ProviderName', 'LogName', 'Message', 'Properties', 'ProcessGuid'].some((member) =>
        Object.hasOwn(record, member),
      ),
  },
];

/** All envelopes: Elasticsearch documents, Splunk's export, chainsaw hunt, Kibana's `fields`, what Graylog's search finds, Splunk's collector, OpenTelemetry. */
export const ENVELOPES: readonly Envelope[] = [
  { member: '_source', inside: [] },
  { member: 'result', inside: [] },
  { member: 'document', inside: ['data'], isPerRule: true },
  { member: 'data', inside: [], matches: (record) => record['kind'] === 'evtx', isPerRule: true },
  { member: 'fields', inside: [] },
  { member: 'message', inside: [] },
  {
    member: 'event',
    inside: [],
    matches: (record) => ['time', 'sourcetype'].some((name) => Object.hasOwn(record, name)),
  },
  { member: 'body', inside: [] },
];

/**
 * Where a whole event may stand as text, in records that nothing else explains: fluent-bit's XML, Splunk's `_raw`, journald, syslog,
 * messages alone.
 */
export const TEXT_PATHS: readonly Path[] = paths(
  ...[
    'System',
    '_raw',
    'event.original',
    'EventData',
    'MESSAGE',
    'SyslogMessage',
    'message',
    'Message',
    'full_message',
  ],
  ...['RenderedDescription', 'Description', 'short_message', 'msg', 'log'],
);

/** Members in which hayabusa and EvtxECmd keep fields, and Splunk whole events. */
export const FIELD_HOLDERS: readonly string[] = (
  'Details ExtraFieldInfo AllFieldInfo RuleTitle ExecutableInfo UserName Payload ' +
  'PayloadData1 PayloadData2 PayloadData3 PayloadData4 PayloadData5 PayloadData6 _raw'
).split(' ');

/** The one event whose digest stands in `Hash`. */
const FILE_STREAM_CREATED = 15;

const OCSF_PROCESS_ACTIVITY = 1007;
const OCSF_LAUNCH = 1;

/** ECS names of fields; the ingest pipeline moves them there from `winlog.event_data`. */
const ECS_FIELDS: readonly (readonly [string, Path])[] = (
  [
    ['ProcessGuid', 'process.entity_id'],
    ['ProcessId', 'process.pid'],
    ['Image', 'process.executable'],
    ['FileVersion', 'process.pe.file_version'],
    ['Description', 'process.pe.description'],
    ['Product', 'process.pe.product'],
    ['Company', 'process.pe.company'],
    ['OriginalFileName', 'process.pe.original_file_name'],
    ['CommandLine', 'process.command_line'],
    ['CurrentDirectory', 'process.working_directory'],
    ['ParentProcessGuid', 'process.parent.entity_id'],
    ['ParentProcessId', 'process.parent.pid'],
    ['ParentImage', 'process.parent.executable'],
    ['ParentCommandLine', 'process.parent.command_line'],
    ['RuleName', 'rule.name'],
    ['TargetFilename', 'file.path'],
    ['ImageLoaded', 'file.path'],
    ['ImageLoaded', 'dll.path'],
    ['PipeName', 'file.name'],
    ['Protocol', 'network.transport'],
    ['SourceIp', 'source.ip'],
    ['SourceHostname', 'source.domain'],
    ['SourcePort', 'source.port'],
    ['DestinationIp', 'destination.ip'],
    ['DestinationHostname', 'destination.domain'],
    ['DestinationPort', 'destination.port'],
    ['QueryName', 'dns.question.name'],
    ['TargetObject', 'registry.path'],
  ] as const
).map(([field, steps]) => [field, path(steps)]);

/** Names of OSSEM's data model, which HELK's pipeline moves the fields of event 1 to. */
const OSSEM_FIELDS = [
  ['UtcTime', '@event_date_creation'],
  ['ProcessGuid', 'process_guid'],
  ['ProcessId', 'process_id'],
  ['Image', 'process_path'],
  ['CommandLine', 'process_command_line'],
  ['CurrentDirectory', 'process_current_directory'],
  ['IntegrityLevel', 'process_integrity_level'],
  ['FileVersion', 'file_version'],
  ['Description', 'file_description'],
  ['Product', 'file_product'],
  ['Company', 'file_company'],
  ['OriginalFileName', 'file_name_original'],
  ['User', 'user_account'],
  ['LogonGuid', 'user_logon_guid'],
  ['LogonId', 'user_logon_id'],
  ['TerminalSessionId', 'user_session_id'],
  ['ParentProcessGuid', 'process_parent_guid'],
  ['ParentProcessId', 'process_parent_id'],
  ['ParentImage', 'process_parent_path'],
  ['ParentCommandLine', 'process_parent_command_line'],
] as const;

const OCSF_FIELDS: readonly (readonly [string, Path])[] = (
  [
    ['UtcTime', 'metadata.original_time'],
    ['ProcessGuid', 'process.uid'],
    ['ProcessId', 'process.pid'],
    ['Image', 'process.file.path'],
    ['CommandLine', 'process.cmd_line'],
    ['CurrentDirectory', 'process.working_directory'],
    ['IntegrityLevel', 'process.integrity'],
    ['ParentProcessGuid', 'actor.process.uid'],
    ['ParentProcessId', 'actor.process.pid'],
    ['ParentImage', 'actor.process.file.path'],
    ['ParentCommandLine', 'actor.process.cmd_line'],
  ] as const
).map(([field, steps]) => [field, path(steps)]);

/** hayabusa's abbreviations, as they stand in its default profiles, by themselves in lower case. */
const HAYABUSA_NAMES: ReadonlyMap<string, string> = new Map(
  (
    [
      ['Cmdline', 'CommandLine'],
      ['Proc', 'Image'],
      ['LID', 'LogonId'],
      ['LGUID', 'LogonGuid'],
      ['PID', 'ProcessId'],
      ['PGUID', 'ProcessGuid'],
      ['ParentCmdline', 'ParentCommandLine'],
      ['ParentProc', 'ParentImage'],
      ['ParentPID', 'ParentProcessId'],
      ['ParentPGUID', 'ParentProcessGuid'],
      ['SrcProc', 'SourceImage'],
      ['SrcPID', 'SourceProcessId'],
      ['SrcPGUID', 'SourceProcessGuid'],
      ['TgtProc', 'TargetImage'],
      ['TgtPID', 'TargetProcessId'],
      ['TgtPGUID', 'TargetProcessGuid'],
      ['Path', 'TargetFilename'],
      ['SrcIP', 'SourceIp'],
      ['SrcPort', 'SourcePort'],
      ['SrcHost', 'SourceHostname'],
      ['TgtIP', 'DestinationIp'],
      ['TgtPort', 'DestinationPort'],
      ['TgtHost', 'DestinationHostname'],
      ['Query', 'QueryName'],
      ['Result', 'QueryResults'],
      ['TgtObj', 'TargetObject'],
    ] as const
  ).map(([name, field]) => [name.toLowerCase(), field]),
);

/** The algorithms of OCSF's `fingerprint`, by `algorithm_id` and by name. */
const OCSF_ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ['1', 'MD5'],
  ['2', 'SHA1'],
  ['3', 'SHA256'],
  ['MD5', 'MD5'],
  ['SHA-1', 'SHA1'],
  ['SHA1', 'SHA1'],
  ['SHA-256', 'SHA256'],
  ['SHA256', 'SHA256'],
  ['IMPHASH', 'IMPHASH'],
]);

/** Nothing but the digests was moved out of `winlog.event_data`, if that. */
function winlogData(record: JsonObject, eventId: number): EventData {
  const data = readEventData(valueAt(record, path('winlog.event_data')), eventId);
  addEcsHashes(data, record, eventId);
  return data;
}

/** The pipeline has moved what it knows a place for; the rest is still in `winlog.event_data`. */
function ecsData(record: JsonObject, eventId: number): EventData {
  const data = readEventData(valueAt(record, path('winlog.event_data')), eventId);
  const names = new Set(fieldsOf(eventId));
  for (const [field, steps] of ECS_FIELDS) {
    const name = sysmonName(field, eventId);
    if (names.has(name)) addField(data, name, valueAt(record, steps));
  }
  // The first 7.x module kept the command line as a list alone.
  if (eventId === PROCESS_CREATION) {
    addField(data, 'CommandLine', argumentsAt(record, 'process.args'));
    addField(data, 'ParentCommandLine', argumentsAt(record, 'process.parent.args'));
  }
  if (names.has('User')) addField(data, 'User', userAt(record, 'user'));
  if (isMoved(record)) addField(data, 'UtcTime', valueAt(record, path('@timestamp')));
  addEcsHashes(data, record, eventId);
  return data;
}

function addEcsHashes(data: EventData, record: JsonObject, eventId: number): void {
  const field = eventId === FILE_STREAM_CREATED ? 'Hash' : 'Hashes';
  addHashes(data, field, (name) => textAt(record, ecsHashPaths(name, eventId)));
}

/** Whether the pipeline has been at work, so that `@timestamp` is UtcTime. */
function isMoved(record: JsonObject): boolean {
  return objectAt(record, path('process')) !== undefined || textAt(record, paths('event.module')) === 'sysmon';
}

/** The digests of events 1 and 23 to 26 are those of `process`, of others of `file` or `dll`; the first module had `hash` alone. */
function ecsHashPaths(name: string, eventId: number): readonly Path[] {
  const isOfProcess = eventId === PROCESS_CREATION || (eventId >= 23 && eventId <= 26);
  const holders = isOfProcess ? ['process.', ''] : ['file.', 'dll.', ''];
  const members = name === 'IMPHASH' ? ['pe.imphash', 'hash.imphash'] : [`hash.${name.toLowerCase()}`];
  return paths(...holders.flatMap((holder) => members.map((member) => holder + member)));
}

/** A command line that is kept as a list of arguments alone; their quotes are gone. */
function argumentsAt(record: JsonObject, steps: string): string | undefined {
  const list = valueAt(record, path(steps));
  return Array.isArray(list) ? list.filter((argument) => typeof argument === 'string').join(' ') : undefined;
}

/** `DOMAIN\name` of an object with both. */
function userAt(record: JsonObject, holder: string): string | undefined {
  const name = textAt(record, paths(`${holder}.name`));
  const domain = textAt(record, paths(`${holder}.domain`));
  return name === undefined || domain === undefined ? name : `${domain}\\${name}`;
}

function ocsfData(record: JsonObject, eventId: number): EventData {
  const data = readEventData(record['unmapped'], eventId);
  for (const [field, steps] of OCSF_FIELDS) addField(data, field, valueAt(record, steps));
  addField(data, 'User', userAt(record, 'process.user'));
  const hashes: unknown = valueAt(record, path('process.file.hashes'));
  const digests = new Map<string, string>();
  for (const hash of Array.isArray(hashes) ? (hashes as readonly unknown[]) : []) {
    if (!isObject(hash)) continue;
    const named = [textOf(hash['algorithm'])?.toUpperCase(), textOf(hash['algorithm_id'])];
    const algorithm = named.map((name) => OCSF_ALGORITHMS.get(name ?? '')).find((name) => name !== undefined);
    const digest = textOf(hash['value']);
    if (algorithm !== undefined && digest !== undefined) digests.set(algorithm, digest);
  }
  addHashes(data, 'Hashes', (name) => digests.get(name));
  return data;
}

/** Wazuh escapes the backslashes and quotes of `eventdata` once more than JSON does. */
function wazuhData(fields: JsonObject | undefined, eventId: number): EventData {
  const data: EventData = new Map();
  for (const [name, value] of Object.entries(fields ?? {})) {
    addField(data, sysmonName(name, eventId), textOf(value)?.replace(/\\([\\"])/g, '$1'));
  }
  return data;
}

/** hayabusa abbreviates in `Details` and keeps Sysmon's names in the other two. */
function hayabusaData(record: JsonObject, eventId: number): EventData {
  const data = readEventData(record['AllFieldInfo'], eventId);
  for (const [name, value] of hayabusaDetails(record['Details'])) {
    addField(data, sysmonName(HAYABUSA_NAMES.get(name.toLowerCase()) ?? name, eventId), value);
  }
  for (const [name, value] of readEventData(record['ExtraFieldInfo'], eventId)) addField(data, name, value);
  return data;
}

function hayabusaDetails(details: unknown): readonly (readonly [string, unknown])[] {
  if (isObject(details)) return Object.entries(details);
  if (typeof details !== 'string') return [];
  return details.split(' ¦ ').flatMap((part) => {
    const colon = part.indexOf(': ');
    return colon < 0 ? [] : [[part.slice(0, colon), part.slice(colon + 2)] as const];
  });
}

/** EvtxECmd keeps all fields in `Payload`; its map for event 1 repeats some of them in columns. */
function evtxEcmdData(record: JsonObject, eventId: number): EventData {
  const data = readEventData(record['Payload'], eventId);
  if (eventId !== PROCESS_CREATION) return data;
  const column = (name: string, label: RegExp): string | undefined => label.exec(textOf(record[name]) ?? '')?.[1];
  addField(data, 'ProcessId', column('PayloadData1', /^ProcessID: (\d+)/));
  addField(data, 'ProcessGuid', column('PayloadData1', /ProcessGUID: ([0-9a-f-]+)/i));
  addField(data, 'RuleName', column('PayloadData2', /^RuleName: (.*)$/s));
  addField(data, 'Hashes', record['PayloadData3']);
  addField(data, 'ParentImage', column('PayloadData4', /^ParentProcess: (.*)$/s));
  addField(data, 'ParentProcessId', column('PayloadData5', /^ParentProcessID: (\d+)/));
  addField(data, 'ParentProcessGuid', column('PayloadData5', /ParentProcessGUID: ([0-9a-f-]+)/i));
  addField(data, 'ParentCommandLine', column('PayloadData6', /^ParentCommandLine: (.*)$/s));
  addField(data, 'CommandLine', record['ExecutableInfo']);
  addField(data, 'User', record['UserName']);
  return data;
}

/** Where flat records have a digest that stands apart. */
function digestPaths(name: string): readonly Path[] {
  const lower = name.toLowerCase();
  return [[name], [lower], [`hash_${lower}`]];
}

function ossemFields(record: JsonObject, eventId: number): EventData {
  const data: EventData = new Map();
  if (eventId !== PROCESS_CREATION || !Object.hasOwn(record, 'process_path')) return data;
  for (const [field, name] of OSSEM_FIELDS)
    addField(data, field, Object.hasOwn(record, name) ? record[name] : undefined);
  return data;
}

function flatData(record: JsonObject, eventId: number): EventData {
  const data = readEventData(record['EventData'], eventId);
  for (const member of ['event_data', 'StringInserts', 'Properties'] as const) {
    if (data.size > 0) break;
    for (const [name, value] of readEventData(record[member], eventId)) addField(data, name, value);
  }
  // Names such as Description and User are not Sysmon's in records that keep the event's fields in a container.
  const readers = data.size > 0 ? [] : [flatFields, ossemFields, respelledFields];
  for (const readFields of readers) {
    if (data.has('ProcessGuid')) break;
    for (const [name, value] of readFields(record, eventId)) addField(data, name, value);
  }
  if (!data.has('Hash')) addHashes(data, 'Hashes', (name) => textAt(record, digestPaths(name)));
  return data;
}
