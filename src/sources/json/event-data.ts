import { readEventXml } from '../event-xml.js';
import { isObject, type JsonObject, parseJson, textOf } from './members.js';

const PROCESS_HEAD = 'UtcTime ProcessGuid ProcessId Image';
const FILE_FIELDS = 'UtcTime ProcessGuid ProcessId User Image TargetFilename Hashes';
const METADATA = 'FileVersion Description Product Company';
const LAUNCH = 'CommandLine CurrentDirectory User LogonGuid LogonId TerminalSessionId IntegrityLevel Hashes';
const PARENT = 'ParentProcessGuid ParentProcessId ParentImage ParentCommandLine';

/**
 * The fields of each event in the order of EventData, newest version first, then those whose order an array of bare values may have.
 * `RuleName` comes first since 8.0, users were appended in 13.30.
 */
const FIELD_LISTS: ReadonlyMap<number, readonly string[]> = new Map([
  [
    1,
    [
      `RuleName ${PROCESS_HEAD} ${METADATA} OriginalFileName ${LAUNCH} ${PARENT} ParentUser`,
      `RuleName ${PROCESS_HEAD} ${METADATA} OriginalFileName ${LAUNCH} ${PARENT}`,
      `RuleName ${PROCESS_HEAD} ${METADATA} ${LAUNCH} ${PARENT}`,
      `${PROCESS_HEAD} ${METADATA} ${LAUNCH} ${PARENT}`,
      `${PROCESS_HEAD} ${LAUNCH} ${PARENT}`,
    ],
  ],
  [2, [`RuleName ${PROCESS_HEAD} TargetFilename CreationUtcTime PreviousCreationUtcTime User`]],
  [
    3,
    [
      `RuleName ${PROCESS_HEAD} User Protocol Initiated SourceIsIpv6 SourceIp SourceHostname SourcePort SourcePortName ` +
        'DestinationIsIpv6 DestinationIp DestinationHostname DestinationPort DestinationPortName',
    ],
  ],
  [4, ['UtcTime State Version SchemaVersion']],
  [5, [`RuleName ${PROCESS_HEAD} User`]],
  [6, ['RuleName UtcTime ImageLoaded Hashes Signed Signature SignatureStatus']],
  [
    7,
    [
      `RuleName ${PROCESS_HEAD} ImageLoaded ${METADATA} OriginalFileName Hashes Signed Signature SignatureStatus User`,
      `RuleName ${PROCESS_HEAD} ImageLoaded ${METADATA} Hashes Signed Signature SignatureStatus`,
    ],
  ],
  [
    8,
    [
      'RuleName UtcTime SourceProcessGuid SourceProcessId SourceImage TargetProcessGuid TargetProcessId TargetImage NewThreadId ' +
        'StartAddress StartModule StartFunction SourceUser TargetUser',
    ],
  ],
  [9, [`RuleName ${PROCESS_HEAD} Device User`]],
  [
    10,
    [
      'RuleName UtcTime SourceProcessGUID SourceProcessId SourceThreadId SourceImage TargetProcessGUID TargetProcessId ' +
        'TargetImage GrantedAccess CallTrace SourceUser TargetUser',
    ],
  ],
  [11, [`RuleName ${PROCESS_HEAD} TargetFilename CreationUtcTime User`]],
  [12, ['RuleName EventType UtcTime ProcessGuid ProcessId Image TargetObject User']],
  [13, ['RuleName EventType UtcTime ProcessGuid ProcessId Image TargetObject Details User']],
  [14, ['RuleName EventType UtcTime ProcessGuid ProcessId Image TargetObject NewName User']],
  [15, [`RuleName ${PROCESS_HEAD} TargetFilename CreationUtcTime Hash Contents User`]],
  [16, ['UtcTime Configuration ConfigurationFileHash']],
  [17, ['RuleName EventType UtcTime ProcessGuid ProcessId PipeName Image User']],
  [18, ['RuleName EventType UtcTime ProcessGuid ProcessId PipeName Image User']],
  [19, ['RuleName EventType UtcTime Operation User EventNamespace Name Query']],
  [20, ['RuleName EventType UtcTime Operation User Name Type Destination']],
  [21, ['RuleName EventType UtcTime Operation User Consumer Filter']],
  [22, ['RuleName UtcTime ProcessGuid ProcessId QueryName QueryStatus QueryResults Image User']],
  [23, [`RuleName ${FILE_FIELDS} IsExecutable Archived`]],
  [24, [`RuleName ${PROCESS_HEAD} Session ClientInfo Hashes Archived User`]],
  [25, [`RuleName ${PROCESS_HEAD} Type User`]],
  [26, [`RuleName ${FILE_FIELDS} IsExecutable`]],
  [27, [`RuleName ${FILE_FIELDS}`]],
  [28, [`RuleName ${FILE_FIELDS} IsExecutable`]],
  [29, [`RuleName ${FILE_FIELDS}`]],
  [255, ['UtcTime ID Description']],
]);

const FIELDS: ReadonlyMap<number, readonly (readonly string[])[]> = new Map(
  [...FIELD_LISTS].map(([eventId, lists]) => [eventId, lists.map((list) => list.split(' '))]),
);

/** Sysmon 1.x gave one digest, in two fields. */
const OLD_HASH_FIELDS = ['HashType', 'Hash'] as const;

/** Sysmon's field names by themselves in lower case. Events 8 and 10 spell the GUIDs of both processes differently. */
const FIELD_BY_LOWER_CASE: ReadonlyMap<string, string> = new Map(
  [...FIELDS.values(), [[...OLD_HASH_FIELDS]]].flat(2).map((name) => [name.toLowerCase(), name]),
);

/** How digests are called in `Hashes`, in Sysmon's order. */
const HASH_NAMES = ['SHA1', 'MD5', 'SHA256', 'IMPHASH'] as const;

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Fields of type HexInt: Velociraptor gives them as plain numbers. */
const HEX_FIELDS: ReadonlySet<string> = new Set(['LogonId', 'GrantedAccess']);

/** `2022-05-13T08:54:08.4200000Z`, as Log Analytics writes UtcTime. */
const ISO_TIME = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d{3})?\d*Z$/;

/**
 * Fields whose names a record of any event may have for something else: .NET's id of the process that wrote it, the account of that
 * process, fluentd's message.
 */
const NAMES_OF_RECORDS: ReadonlySet<string> = new Set(
  'ProcessId User Description Product Company EventType Type Version'.split(' '),
);

/** What ConvertTo-Json writes for each of the Properties unless it is told to go deeper: the name of their type. */
const EVENT_PROPERTY = 'System.Diagnostics.Eventing.Reader.EventProperty';

/** What stands for an absent value in hayabusa's output. */
const NOT_AVAILABLE = 'n/a';

/** Fields by Sysmon's names. */
export type EventData = Map<string, string>;

/** Sysmon's own names of the fields of an event, in its order; those of all versions. */
export function fieldsOf(eventId: number): readonly string[] {
  const newest = FIELDS.get(eventId)?.[0] ?? [];
  return eventId === 1 ? [...newest, ...OLD_HASH_FIELDS] : newest;
}

/** Sysmon's spelling of a field name of any case, or the name itself where Sysmon has none like it. */
export function sysmonName(name: string, eventId: number): string {
  const fields = FIELDS.get(eventId)?.[0];
  if (fields?.includes(name)) return name;
  const lower = name.toLowerCase();
  return fields?.find((field) => field.toLowerCase() === lower) ?? FIELD_BY_LOWER_CASE.get(lower) ?? name;
}

/** Adds a field as Windows renders it, unless the value is absent or the field is there already. */
export function addField(data: EventData, name: string, value: unknown): void {
  if (data.has(name)) return;
  const text = renderValue(name, value);
  if (text !== undefined && text !== NOT_AVAILABLE) data.set(name, text);
}

/** Adds `SHA1=…,MD5=…`, upper case as Sysmon writes it, where a record has its digests apart. */
export function addHashes(data: EventData, field: string, digest: (name: string) => string | undefined): void {
  if (!data.has(field)) addField(data, field, joinHashes(digest));
}

function joinHashes(digest: (name: string) => string | undefined): string | undefined {
  const parts = HASH_NAMES.flatMap((name) => {
    const hex = digest(name);
    return hex === undefined ? [] : [`${name}=${hex.toUpperCase()}`];
  });
  return parts.length > 0 ? parts.join(',') : undefined;
}

/** `Hashes` as one text where a tool took it apart at its commas: lists of `SHA1=…`, lines of them, objects of digests by algorithm. */
function hashesOf(value: unknown): string | undefined {
  if (Array.isArray(value)) {
    const parts = value.map(hashesOf).filter((part) => part !== undefined);
    return parts.length > 0 ? parts.join(',') : undefined;
  }
  if (!isObject(value)) return joinLines(textOf(value));
  const digests = new Map(Object.entries(value).map(([name, digest]) => [name.toUpperCase(), textOf(digest)]));
  return joinHashes((name) => digests.get(name)) ?? textOf(value);
}

function joinLines(text: string | undefined): string | undefined {
  if (text === undefined || !text.includes('\n')) return text?.trim();
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '').join(',');
}

function renderValue(name: string, value: unknown): string | undefined {
  if (HEX_FIELDS.has(name) && typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
    return `0x${value.toString(16)}`;
  }
  const text = name === 'Hashes' ? hashesOf(value) : textOf(value);
  if (text === undefined) return undefined;
  if (/guid$/i.test(name) && GUID.test(text)) return `{${text}}`;
  if (name === 'UtcTime') return text.replace(ISO_TIME, '$1 $2$3');
  return text;
}

/**
 * The members of an object that have names of the event's fields: the record is flat, other members stand between them. Empty where it
 * has only names that are no sign of that.
 */
export function flatFields(record: JsonObject, eventId: number): EventData {
  const data: EventData = new Map();
  const names = fieldsOf(eventId).filter((name) => Object.hasOwn(record, name));
  if (names.every((name) => NAMES_OF_RECORDS.has(name))) return data;
  for (const name of names) addField(data, name, userOf(name, record[name]));
  return data;
}

/**
 * The fields of a flat record that spells their names its own way: in any case, with `_` between their words (`process_guid`). Members
 * that a record of any event may have stay out where they are spelled as records spell them, the id of Sysmon's service like that of its
 * thread.
 */
export function respelledFields(record: JsonObject, eventId: number): EventData {
  const names = Object.keys(record);
  const isToldApart = names.some((name) => /^execution_?process_?id$/i.test(name));
  const thread = isToldApart ? undefined : names.find((name) => /^thread_?id$/i.test(name));
  const service = thread
    ?.replace('thread', 'process')
    .replace(/thread/i, (word) => (word === 'Thread' ? 'Process' : 'PROCESS'));
  const respelled: { [name: string]: unknown } = Object.create(null);
  for (const name of names) {
    if (name === service || NAMES_OF_RECORDS.has(name)) continue;
    respelled[sysmonName(name.replaceAll('_', ''), eventId)] ??= record[name];
  }
  return flatFields(respelled, eventId);
}

/** Splunk extracts `User` twice: from the header of its own text, where it is never translated, and from the event. */
function userOf(name: string, value: unknown): unknown {
  if (name !== 'User' || !Array.isArray(value)) return value;
  return value.find((user: unknown) => user !== 'NOT_TRANSLATED');
}

/**
 * The fields in whatever a tool keeps EventData in: an object of fields, or `Data` as one; `Data` as a list of named texts; values in the
 * event's order; any of them as JSON in a string; XML. Empty where it is none of them.
 */
export function readEventData(value: unknown, eventId: number): EventData {
  if (typeof value === 'string') return readEventDataText(value, eventId);
  if (Array.isArray(value)) return readDataList(value, eventId);
  if (!isObject(value)) return new Map();
  if (Object.hasOwn(value, 'EventData') && isObject(value['EventData']))
    return readEventData(value['EventData'], eventId);
  const list: unknown = Object.hasOwn(value, 'Data') ? value['Data'] : undefined;
  if (Array.isArray(list)) return readDataList(list, eventId);
  if (isObject(list)) {
    const isElement = nameOf(list) !== undefined || Object.hasOwn(list, '#text');
    return isElement ? readDataList([list], eventId) : readEventData(list, eventId);
  }
  const data: EventData = new Map();
  for (const [name, text] of Object.entries(value)) addField(data, sysmonName(name, eventId), text);
  if (!data.has('Hash')) addHashes(data, 'Hashes', (name) => data.get(name) ?? data.get(name.toLowerCase()));
  return data;
}

function readEventDataText(text: string, eventId: number): EventData {
  const trimmed = text.trim();
  if (trimmed.startsWith('<')) return new Map(readEventXml(trimmed)?.data);
  if (!trimmed.startsWith('{') && !trimmed.startsWith('[')) return new Map();
  const value = parseJson(trimmed);
  return typeof value === 'string' ? new Map() : readEventData(value, eventId);
}

/** A list of named values, or of bare values in the event's order. */
function readDataList(list: readonly unknown[], eventId: number): EventData {
  const data: EventData = new Map();
  const bare: unknown[] = [];
  for (const element of list) {
    const name = isObject(element) ? nameOf(element) : undefined;
    if (name === undefined) bare.push(element);
    else addField(data, sysmonName(name, eventId), element);
  }
  if (data.size > 0) return data;
  return readBareValues(bare.length === 1 && isObject(bare[0]) ? textsOf(bare[0]) : bare, eventId);
}

/** `{"@Name": …, "#text": …}`, `{"Name": …, "text": …}`, `{"#attributes": {"Name": …}, "#text": …}`. */
function nameOf(element: JsonObject): string | undefined {
  for (const member of ['@Name', 'Name', '#attributes'] as const) {
    if (!Object.hasOwn(element, member)) continue;
    const name: unknown = element[member];
    if (typeof name === 'string') return name;
    if (isObject(name) && Object.hasOwn(name, 'Name') && typeof name['Name'] === 'string') return name['Name'];
  }
  return undefined;
}

/** evtx_dump joins unnamed `Data` to one element with a list of texts. */
function textsOf(element: JsonObject): readonly unknown[] {
  const texts: unknown = Object.hasOwn(element, '#text') ? element['#text'] : undefined;
  return Array.isArray(texts) ? texts : [element];
}

/** Values without names, which their number tells: fluent-bit's StringInserts, fluentd's EventData, PowerShell's Properties. */
function readBareValues(values: readonly unknown[], eventId: number): EventData {
  const data: EventData = new Map();
  const names = FIELDS.get(eventId)?.find((list) => list.length === values.length);
  if (names === undefined || values.includes(EVENT_PROPERTY)) return data;
  for (const [index, name] of names.entries()) addField(data, name, values[index]);
  return data;
}
