import { PROCESS_CREATION, type SysmonEvent } from '../../event.js';
import { FIELD_HOLDERS, FLAT } from '../json/dialects.js';
import { fieldsOf } from '../json/event-data.js';
import { idAt, isObject, type JsonObject, parseJson, textAt } from '../json/members.js';
import { recognise } from '../json/recognise.js';
import { isMessageTitle } from '../message.js';
import { eventIdOf } from '../text/record.js';

/** The columns of a log: what each is called as a member of a record. */
export interface Columns {
  /** The member each column becomes; undefined for columns that say something else than their name. */
  readonly members: readonly (string | undefined)[];
  /** The columns that may hold the event id; none where the record's shape has to tell it. */
  readonly eventIds: readonly number[];
  /** Whether a column holds records as another tool wrote them. */
  readonly hasRaw: boolean;
  /** Whether the tool may write a row for each of its rules that an event matches. */
  readonly isPerRule: boolean;
  /** The columns that say where Splunk got an event from, where no other says it. */
  readonly sources: readonly number[];
  /** Whether `-` stands for an absent value, as Kibana writes it. */
  readonly isDashAbsent: boolean;
}

/** Event Viewer names five columns, in the language of Windows, and writes six values: the message has no name. */
const EVENT_VIEWER_MEMBERS = ['Level', 'Date', 'Source', 'EventID', 'Task Category'] as const;
const EVENT_VIEWER_SOURCE = 2;
const EVENT_VIEWER_EVENT_ID = 3;

const EVENT_ID_COLUMNS: ReadonlySet<string> = new Set([
  'eventid',
  'event id',
  'eventcode',
  'event_id',
  'event.code',
  'winlog.event_id',
  '_eventid',
]);

/** Names that PowerShell gives to what .NET knows of an event, in lower case. */
const POWERSHELL_COLUMNS: readonly string[] = [
  'timecreated',
  'providername',
  'logname',
  'machinename',
  'recordid',
  'leveldisplayname',
  'taskdisplayname',
];

/** Names of which one stands beside the id of a Windows event, in lower case. */
const WINDOWS_COLUMNS: ReadonlySet<string> = new Set([
  ...POWERSHELL_COLUMNS,
  'channel',
  'computer',
  'computername',
  'computer_name',
  'eventdata',
  'host.name',
  'hostname',
  'level',
  'message',
  'payload',
  'provider',
  'source',
  'sourcename',
  'winlog.channel',
]);

/** Exports have a few dozen columns, of Kibana some hundred. */
const MAX_COLUMNS = 2000;

/** So many of Sysmon's own names in a header are no chance. */
const MIN_FIELD_COLUMNS = 3;

const FIELD_COLUMNS: ReadonlySet<string> = new Set(fieldsOf(PROCESS_CREATION).map((name) => name.toLowerCase()));

/** Texts of hayabusa's details: fields that are parted by a broken bar. */
const DETAILS_COLUMNS: ReadonlySet<string> = new Set(['details', 'extrafieldinfo', 'allfieldinfo']);

/** Splunk's names for where it got an event from: no provider, but with the channel in it, as in `XmlWinEventLog:…/Operational`. */
const SPLUNK_SOURCES: ReadonlySet<string> = new Set(['source', 'sourcetype']);
const SYSMON_CHANNEL = /(?:Microsoft-Windows|Linux)-Sysmon\/Operational/i;

/** What people call the column they put `ToXml()` into, in lower case. */
const XML_COLUMNS: ReadonlySet<string> = new Set(['xml', 'eventxml', 'event_xml', 'rawxml', 'toxml']);
const EVENT_XML = /^\s*<(?:\w+:)?Event[\s>]/;

/** Columns that are asked for by their exact names, by these in lower case. */
const HOLDER_BY_LOWER_CASE: ReadonlyMap<string, string> = new Map(
  [...FIELD_HOLDERS, 'EventRecordId'].map((name) => [name.toLowerCase(), name]),
);

/**
 * Reads the header of a log; undefined if it is not that of a log of events. `firstRow` tells Event Viewer's header, whose names are
 * translated, from others: there the first row has one cell more.
 */
export function readHeader(header: readonly string[], firstRow: readonly string[] | undefined): Columns | undefined {
  if (header.length > MAX_COLUMNS) return undefined;
  const names = header.map((name) => name.trim().toLowerCase());
  const present = new Set(names);
  const eventIds = names.flatMap((name, index) => (EVENT_ID_COLUMNS.has(name) ? [index] : []));
  if (eventIds.length === 0 && firstRow !== undefined && isEventViewerRow(header, firstRow)) {
    return {
      members: EVENT_VIEWER_MEMBERS,
      eventIds: [EVENT_VIEWER_EVENT_ID],
      hasRaw: false,
      isPerRule: false,
      sources: [],
      isDashAbsent: false,
    };
  }
  const columns = {
    members: header.map((name) => memberOf(name.trim(), present)),
    eventIds: eventIds.length > 0 || !present.has('id') ? eventIds : [names.indexOf('id')],
    hasRaw: present.has('_raw') || names.some((name) => XML_COLUMNS.has(name)),
    isPerRule: present.has('detections') && present.has('event data'),
    sources:
      isSplunks(present) && !['channel', 'logname'].some((name) => present.has(name))
        ? names.flatMap((name, index) => (SPLUNK_SOURCES.has(name) ? [index] : []))
        : [],
    isDashAbsent: names.some((name) => name.includes('.')),
  };
  if (isEventHeader(names, eventIds.length > 0, firstRow)) return columns;
  // Names may say nothing where a cell holds a whole event, as Sysmon for Linux sends it; but they are no events themselves.
  const hasNames = firstRow !== undefined && !header.some((name) => EVENT_XML.test(name));
  const event = hasNames ? recognise(toRecord(columns, firstRow))?.event : undefined;
  const isEvent = event !== undefined && event.decode().data.size > 0;
  return isEvent || present.has('syslogmessage') ? columns : undefined;
}

/** The record of one row, as JSON would have it: empty cells are absent, a cell beyond the header is Event Viewer's message. */
export function toRecord(columns: Columns, row: readonly string[]): JsonObject {
  const record: { [member: string]: unknown } = Object.create(null);
  for (const [index, cell] of row.entries()) {
    const member = index < columns.members.length ? columns.members[index] : 'Message';
    if (member === undefined || cell === '' || (columns.isDashAbsent && cell === '-')) continue;
    record[member] ??= columns.eventIds.includes(index) ? (eventIdOf(cell) ?? cell) : readCell(member, cell);
  }
  for (const column of columns.sources) {
    const [channel] = SYSMON_CHANNEL.exec(row[column] ?? '') ?? [];
    if (channel !== undefined) record['Channel'] ??= channel;
  }
  return record;
}

/** Another provider's event in a row: every cell that is not empty is a field by its column's name. Undefined where no column has an id. */
export function decodeCells({ members, eventIds }: Columns, record: JsonObject): SysmonEvent | undefined {
  const eventId = idAt(
    record,
    eventIds.map((column) => [members[column] ?? '']),
  );
  if (eventId === undefined) return undefined;
  const cells = Object.entries(record).flatMap(([name, cell]) =>
    isObject(cell) ? Object.entries(cell) : [[name, cell]],
  );
  return {
    eventId,
    recordId: textAt(record, FLAT.recordId),
    provider: textAt(record, FLAT.provider),
    channel: textAt(record, FLAT.channel),
    computer: textAt(record, FLAT.computer),
    // Columns have times of the exporting machine's zone.
    timeCreated: undefined,
    data: new Map(cells.map(([name, cell]) => [String(name), String(cell)])),
  };
}

function isEventViewerRow(header: readonly string[], row: readonly string[]): boolean {
  return (
    header.length === EVENT_VIEWER_MEMBERS.length &&
    row.length === header.length + 1 &&
    /^\d{1,5}$/.test(row[EVENT_VIEWER_EVENT_ID] ?? '') &&
    row[EVENT_VIEWER_SOURCE] !== ''
  );
}

function isEventHeader(
  names: readonly string[],
  hasEventId: boolean,
  firstRow: readonly string[] | undefined,
): boolean {
  if (names.includes('_raw')) return true;
  if (firstRow?.some((cell, index) => XML_COLUMNS.has(names[index] ?? '') && EVENT_XML.test(cell))) return true;
  if (names.includes('ruletitle') && names.some((name) => DETAILS_COLUMNS.has(name))) return true;
  const fieldColumns = names.filter((name) => FIELD_COLUMNS.has(bareField(name)));
  if (fieldColumns.length >= MIN_FIELD_COLUMNS) return true;
  if (hasEventId) return fieldColumns.length > 0 || names.some((name) => WINDOWS_COLUMNS.has(name));
  const message = names.indexOf('message');
  if (message < 0) return false;
  // PowerShell calls the id just `Id`, and people select little more than the message.
  const firstLine = firstRow?.[message]?.split('\n', 1)[0] ?? '';
  return POWERSHELL_COLUMNS.some((name) => names.includes(name)) || isMessageTitle(firstLine);
}

/** `winlog.event_data.Image`, `EventData.Image`, `winlogbeat_winlog_event_data_Image` without what stands before the field. */
function bareField(name: string): string {
  return name.replace(/^.*(?:event_?data[._]|\.)/, '');
}

/** What a column becomes, given all names in lower case; undefined for names that mean something else in this log. */
function memberOf(name: string, present: ReadonlySet<string>): string | undefined {
  const lower = name.toLowerCase();
  // These two are told by their exact names, EvtxECmd spells it its own way.
  if (lower === 'eventid' && present.has('payload')) return 'EventId';
  if (lower === 'eventid' && present.has('ruletitle')) return 'EventID';
  if (lower === 'event id') return 'EventID';
  if (XML_COLUMNS.has(lower) && !present.has('_raw')) return '_raw';
  // chainsaw's, which are those of its rules.
  if (lower === 'event data') return 'EventData';
  if (lower === 'record id') return 'EventRecordID';
  if (lower === 'event.system.provider') return 'Provider';
  // Graylog has the start of the message in the one, and all of it in the other.
  if (lower === 'message' && present.has('full_message')) return undefined;
  // Log Analytics' portal says in the name that the time is UTC.
  if (lower === 'timegenerated [utc]') return 'TimeGenerated';
  // Windows' own columns name the thread and the process that wrote the event: Sysmon's service.
  if (lower === 'processid' && present.has('threadid') && !present.has('executionprocessid')) return undefined;
  if (isSplunks(present) && SPLUNK_SOURCES.has(lower)) return undefined;
  return HOLDER_BY_LOWER_CASE.get(lower) ?? name;
}

function isSplunks(present: ReadonlySet<string>): boolean {
  return present.has('_raw') || present.has('_time');
}

function readCell(member: string, cell: string): unknown {
  const lower = member.toLowerCase();
  if (DETAILS_COLUMNS.has(lower)) {
    const separator = cell.includes(' ¦ ') ? ' ¦ ' : cell.includes('\n') ? '\n' : '\t';
    // hayabusa writes the digests last, behind all that a program's author can write.
    return readDetails(cell, separator, 'Hashes');
  }
  // Velociraptor's cells are JSON, chainsaw's are lines.
  if (lower === 'system' || lower === 'eventdata') return readHolder(cell);
  if (lower === 'timegenerated') return utcOf(cell);
  // Splunk extracts User from its own heading, too, where it is never translated.
  if (lower === 'user') return cell.split('\n').find((user) => user !== 'NOT_TRANSLATED');
  return cell;
}

/**
 * Members as `Name: value`, parted by what hayabusa puts between them, or by line breaks. A name that is there twice comes from a value
 * that quotes it, so neither is believed, unless it is that of the last member.
 */
function readDetails(cell: string, separator: string, lastName?: string): JsonObject {
  const details: { [name: string]: unknown } = Object.create(null);
  const repeated = new Set<string>();
  let previous: string | undefined;
  for (const part of cell.split(separator)) {
    const [, name, value] = /^([A-Za-z]{1,40}): ?(.*)$/s.exec(part.trimStart()) ?? [];
    if (name !== undefined && value !== undefined) {
      if (name in details && name !== lastName) repeated.add(name);
      details[name] = value.replace(/\r$/, '');
      previous = name;
    } else if (previous !== undefined) {
      details[previous] = `${String(details[previous])}${separator}${part}`;
    }
  }
  for (const name of repeated) delete details[name];
  return details;
}

/** The members that a cell holds, as JSON or as lines of `Name: value`; XML and all else stay text. */
function readHolder(cell: string): unknown {
  if (cell.startsWith('{')) {
    const members = parseJson(cell);
    return isObject(members) ? members : cell;
  }
  return /^[A-Za-z]{1,40}: /.test(cell) ? mapped(readDetails(cell, '\n'), unquoted) : cell;
}

function mapped(record: JsonObject, change: (text: string) => string): JsonObject {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(String(value))]));
}

/** A value without the quotes that YAML puts around it. */
function unquoted(value: string): string {
  const [, single, double] = /^(?:'(.*)'|"(.*)")$/s.exec(value) ?? [];
  if (single !== undefined) return single.replaceAll("''", "'");
  const text = double === undefined ? undefined : parseJson(value);
  return typeof text === 'string' ? text : value;
}

/** The portal writes `3/1/2026, 11:20:31.123 AM`, always in this form; ISO times stay as they are. */
function utcOf(cell: string): string {
  const match = /^(\d{1,2})\/(\d{1,2})\/(\d{4}),? (\d{1,2}):(\d\d):(\d\d(?:\.\d{1,7})?) ([AP])M$/.exec(cell);
  if (match === null) return cell;
  const [, month = '', day = '', year = '', hour = '', minute = '', second = '', half] = match;
  const hours = (Number(hour) % 12) + (half === 'P' ? 12 : 0);
  return `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}T${String(hours).padStart(2, '0')}:${minute}:${second}Z`;
}
