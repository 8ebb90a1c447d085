import { isSysmonProvider, PROCESS_CREATION, type SysmonEvent } from '../../event.js';
import type { FileHashes } from '../../hash.js';
import { asSysmonEvent, readEventXml } from '../event-xml.js';
import { mayTell, parseMessage } from '../message.js';
import { fileHashesOf } from '../record-view.js';
import { readSingleRecord } from '../text/layouts.js';
import { decodeRecord } from '../text/record.js';
import { DIALECTS, type Dialect, ENVELOPES, type Envelope, FLAT, TEXT_PATHS } from './dialects.js';
import { addField, type EventData, flatFields } from './event-data.js';
import {
  idAt,
  idOf,
  inAnyCase,
  isObject,
  type JsonObject,
  nest,
  objectAt,
  type Path,
  parseJson,
  textAt,
  textOf,
  valueAt,
} from './members.js';
import { toIsoUtc } from './time.js';

/** What a JSON object is, once a dialect has claimed it. */
export interface Recognition {
  /** Sysmon's event in it; undefined where it is another provider's. */
  readonly event?: RecognisedEvent;
  /**
   * The way down to the id that decided. Only there where a record with the same members up to that place is claimed the same way
   * whatever stands behind it, so that another id there says enough.
   */
  readonly idPath?: Path;
}

/** A record that holds one of Sysmon's events. */
export interface RecognisedEvent {
  readonly eventId: number;
  /** Whether the tool may write the same event again, for another of its rules. */
  readonly isPerRule: boolean;
  hashes(): FileHashes;
  decode(): SysmonEvent;
}

/** Envelopes within envelopes that are opened: a hit whose document holds another tool's record as text. */
const MAX_ENVELOPES = 3;

const SYSMON_GUIDS: ReadonlySet<string> = new Set([
  '5770385f-c22a-43e0-bf4c-06f5698ffbd9',
  'ff032593-a8d3-4f13-b0d6-01fc615a0f97',
]);

/** hayabusa abbreviates channels. */
const SYSMON_CHANNEL = /^(?:(?:Microsoft-Windows|Linux)-)?Sysmon(?:\/Operational)?$/i;
const ABBREVIATED_CHANNEL = 'Sysmon';
const WINDOWS_CHANNEL = 'Microsoft-Windows-Sysmon/Operational';

/** Splunk's source or sourcetype of Sysmon's events: its kind of input before the channel, or the log's file. */
const SYSMON_INPUT =
  /^(?:.*[:\\/])?((?:Microsoft-Windows|Linux)-Sysmon)(?:\/|%4)Operational(?:\.evtx)?$|^(?:(?:Xml)?WinEventLog:)?Sysmon$/i;

/** Fields that no other event has together, where nothing else says whose it is; with them one of those that may be empty. */
const PROCESS_CREATION_FIELDS = ['ProcessGuid', 'Image', 'ParentProcessGuid'] as const;
const LAUNCH_FIELDS = ['CommandLine', 'Hashes', 'ParentImage'] as const;
const PROCESS_FIELDS = ['ProcessGuid', 'SourceProcessGuid', 'SourceProcessGUID'] as const;

const DIALECTS_BY_MEMBER = groupByMember(DIALECTS, ({ members }) => members);
const ENVELOPES_BY_MEMBER = groupByMember(ENVELOPES, ({ member }) => [member]);

/** Names of members that may give a dialect away, and of those that may be envelopes. */
const DIALECT_NAMES_IN_LOWER_CASE: ReadonlySet<string> = namesInLowerCase(DIALECTS_BY_MEMBER.keys());
const ENVELOPE_NAMES_IN_LOWER_CASE: ReadonlySet<string> = namesInLowerCase(ENVELOPES_BY_MEMBER.keys());

/** Where Wazuh keeps the line of text that an alert is about. */
const LINE_MEMBER = 'full_log';

/** Names of members that are looked at where no dialect claims a record. */
const TEXT_NAMES: ReadonlySet<string> = new Set([
  ...TEXT_PATHS.flatMap(([name = '']) => name),
  ...PROCESS_CREATION_FIELDS,
  ...LAUNCH_FIELDS,
  LINE_MEMBER,
]);
const TEXT_NAMES_IN_LOWER_CASE: ReadonlySet<string> = namesInLowerCase(TEXT_NAMES);

/** The same members with other separators and prefixes, tried where no member gave a dialect away. */
const RESPELLINGS: readonly ((record: JsonObject) => JsonObject | undefined)[] = [
  (record) => nest(record, '.'),
  withoutPrefixes,
];

/** Where an event starts in a text, behind a syslog header or an XML declaration, which are shorter. */
const XML_START = /<(?:\w+:)?(?:Event|DataItem)[\s>]/;
const MAX_XML_START = 512;

/** A text that is an event and nothing else. */
const XML_EVENT = /^\s*(?:<\?xml[^>]{0,200}>\s*)?<(?:\w+:)?Event[\s>]/;

/** Members that are read as such; one is enough for any tool. */
const MAX_XML_MEMBERS = 4;

/** How OSSEC's agents start the line of a Windows event. */
const WIN_EVT_LOG = /^\d{4} [A-Z][a-z]{2} [ \d]\d [\d:]{8} WinEvtLog: /;

const BULK_ACTIONS: ReadonlySet<string> = new Set(['index', 'create', 'update', 'delete']);
const BULK_ACTION_MEMBER = /^(?:_\w+|pipeline|routing|require_alias|retry_on_conflict|dynamic_templates)$/;

/**
 * Tells what a record is: by its members, of which the first that gives a dialect away decides; then by the same members as other tools
 * spell them, in any case too; last by a text in it that is an event. Undefined where nothing claims it.
 */
export function recognise(record: JsonObject): Recognition | undefined {
  return recogniseRecord(record, 0);
}

/** Whether an object is an action line of an Elasticsearch bulk body, which only says what to do with the document behind it. */
export function isBulkAction(record: JsonObject): boolean {
  const [name, ...others] = Object.keys(record);
  if (name === undefined || others.length > 0 || !BULK_ACTIONS.has(name)) return false;
  const action = record[name];
  return isObject(action) && Object.keys(action).every((member) => BULK_ACTION_MEMBER.test(member));
}

function recogniseRecord(record: JsonObject, envelopes: number): Recognition | undefined {
  const claimed = recogniseMembers(record, envelopes);
  if (claimed !== undefined) return claimed;
  const spellings = [record];
  for (const spellAnew of RESPELLINGS) {
    const respelled = spellAnew(record);
    if (respelled === undefined) continue;
    const recognition = recogniseMembers(respelled, envelopes);
    if (recognition !== undefined) return withoutIdPath(recognition);
    spellings.push(respelled);
  }
  for (const spelling of spellings) {
    const recognition = recogniseInAnyCase(spelling, envelopes);
    if (recognition !== undefined) return withoutIdPath(recognition);
  }
  for (const spelling of hasOtherSpelling(record) ? [record, inAnyCase(record)] : [record]) {
    const recognition = recogniseTexts(spelling, envelopes) ?? recogniseShape(spelling) ?? recogniseWinEvtLog(spelling);
    if (recognition !== undefined) return recognition;
  }
  return recogniseXml(record);
}

/** Whether a name would be looked at for its text, or as a field, if it were in another case. */
function hasOtherSpelling(record: JsonObject): boolean {
  return Object.keys(record).some((name) => !TEXT_NAMES.has(name) && TEXT_NAMES_IN_LOWER_CASE.has(name.toLowerCase()));
}

/** Names tell less apart here, so the dialects that ask for more come first, whatever the order of the record's members. */
function recogniseInAnyCase(record: JsonObject, envelopes: number): Recognition | undefined {
  const isTold = Object.entries(record).some(([name, value]) => {
    const lower = name.toLowerCase();
    return DIALECT_NAMES_IN_LOWER_CASE.has(lower) || (ENVELOPE_NAMES_IN_LOWER_CASE.has(lower) && isObject(value));
  });
  if (!isTold) return undefined;
  const anyCase = inAnyCase(withoutFalseFriends(record));
  for (const dialect of DIALECTS) {
    if (!dialect.members.some((member) => Object.hasOwn(anyCase, member))) continue;
    const recognition = recogniseDialect(anyCase, dialect);
    if (recognition !== undefined) return recognition;
  }
  for (const envelope of ENVELOPES) {
    // By its own name it was opened before, and nothing was found in it.
    if (Object.hasOwn(record, envelope.member) || !Object.hasOwn(anyCase, envelope.member)) continue;
    const recognition = openEnvelope(anyCase, envelope, envelopes);
    if (recognition !== undefined) return recognition;
  }
  return undefined;
}

/**
 * A record without members that would be taken for others in any case: Splunk's `source`, which says where the event came in; the id of
 * the process that wrote the event, Sysmon's service, which stands beside that of its thread.
 */
function withoutFalseFriends(record: JsonObject): JsonObject {
  const names = new Set(Object.keys(record).map((name) => name.toLowerCase()));
  const isSplunks = ['sourcetype', '_raw', '_time'].some((name) => names.has(name));
  const isServices = names.has('threadid') && !names.has('executionprocessid');
  if (!isSplunks && !isServices) return record;
  const kept = Object.entries(record).filter(([name, value]) => {
    const lower = name.toLowerCase();
    const isPlace = isSplunks && lower === 'source' && channelOfInput(value) === undefined;
    return !isPlace && !(isServices && lower === 'processid');
  });
  return Object.fromEntries(kept);
}

function recogniseMembers(record: JsonObject, envelopes: number): Recognition | undefined {
  let isFirst = true;
  for (const member of Object.keys(record)) {
    const dialects = DIALECTS_BY_MEMBER.get(member) ?? [];
    // Whether an object stands there is a part of a line's layout.
    const opened = isObject(record[member]) ? (ENVELOPES_BY_MEMBER.get(member) ?? []) : [];
    if (dialects.length + opened.length === 0) continue;
    for (const dialect of dialects) {
      const recognition = recogniseDialect(record, dialect);
      if (recognition !== undefined) return isFirst ? recognition : withoutIdPath(recognition);
    }
    for (const envelope of opened) {
      const recognition = openEnvelope(record, envelope, envelopes);
      if (recognition !== undefined) return isFirst ? recognition : withoutIdPath(recognition);
    }
    isFirst = false;
  }
  return undefined;
}

function withoutIdPath({ event }: Recognition): Recognition {
  return event === undefined ? {} : { event };
}

function recogniseDialect(record: JsonObject, dialect: Dialect): Recognition | undefined {
  if (dialect.matches?.(record) === false) return undefined;
  const eventId = idAt(record, dialect.eventId) ?? dialect.impliedEventId?.(record);
  if (eventId === undefined) return undefined;
  const [firstPath] = dialect.needsWhole ? [] : dialect.eventId;
  const idPath = firstPath !== undefined && idOf(valueAt(record, firstPath)) === eventId ? { idPath: firstPath } : {};
  const event = new DialectEvent(record, dialect, eventId);
  return event.isSysmons() ? { event, ...idPath } : idPath;
}

function openEnvelope(record: JsonObject, envelope: Envelope, envelopes: number): Recognition | undefined {
  if (envelopes >= MAX_ENVELOPES || envelope.matches?.(record) === false) return undefined;
  const steps = [envelope.member, ...envelope.inside];
  const inner = objectAt(record, steps);
  const recognition = inner && recogniseRecord(inner, envelopes + 1);
  if (recognition === undefined) return undefined;
  const { event, idPath } = recognition;
  return {
    ...(event && { event: envelope.isPerRule ? perRule(event) : event }),
    // What the envelope is known by may stand behind the id.
    ...(idPath && envelope.matches === undefined && { idPath: [...steps, ...idPath] }),
  };
}

function perRule(event: RecognisedEvent): RecognisedEvent {
  return { eventId: event.eventId, isPerRule: true, hashes: () => event.hashes(), decode: () => event.decode() };
}

/** An event whose fields a dialect finds; each part is read when it is asked for, and once. */
class DialectEvent implements RecognisedEvent {
  readonly eventId: number;
  readonly isPerRule: boolean;
  readonly #record: JsonObject;
  readonly #dialect: Dialect;
  readonly #provider: string | undefined;
  readonly #channel: string | undefined;
  #fields: EventData | undefined;
  #decoded: SysmonEvent | undefined;

  constructor(record: JsonObject, dialect: Dialect, eventId: number) {
    this.#record = record;
    this.#dialect = dialect;
    this.eventId = eventId;
    this.isPerRule = dialect.isPerRule ?? false;
    this.#provider = textAt(record, dialect.provider);
    this.#channel = textAt(record, dialect.channel) ?? inputChannelAt(record, dialect.input ?? []);
  }

  /**
   * Either provider or channel is Sysmon's, or without both the event's shape or its text: collectors put names of their own where the
   * provider's is looked for, and forwarders in the channel.
   */
  isSysmons(): boolean {
    const origins = [this.#provider, this.#channel].filter((name) => name !== undefined);
    if (origins.length > 0) return origins.some(isSysmons);
    if (hasSysmonShape(this.#ownFields(), this.eventId, this.#dialect.isFlat) || this.#copyInText() !== undefined)
      return true;
    const message = this.#textAt(this.#dialect.message);
    return message !== undefined && parseMessage(bareMessage(message))?.eventId === this.eventId;
  }

  hashes(): FileHashes {
    const hashes = fileHashesOf({ eventId: this.eventId, data: this.#ownFields() });
    return Object.keys(hashes).length > 0 ? hashes : fileHashesOf(this.decode());
  }

  decode(): SysmonEvent {
    this.#decoded ??= this.#decode();
    return this.#decoded;
  }

  #decode(): SysmonEvent {
    const data = new Map(this.#ownFields());
    const copy = this.#copyInText();
    for (const [name, value] of copy?.data ?? []) addField(data, name, value);
    addMessageFields(data, this.eventId, this.#textAt(this.#dialect.message));
    const dialect = this.#dialect;
    const recordId = this.#textAt(dialect.recordId);
    const timeCreated = this.#textAt(dialect.timeCreated);
    const provider = this.#provider !== undefined && isSysmonProvider(this.#provider) ? this.#provider : copy?.provider;
    return {
      eventId: this.eventId,
      recordId: recordId !== undefined && /^\d{1,20}$/.test(recordId) ? recordId : copy?.recordId,
      provider,
      channel: this.#channel === ABBREVIATED_CHANNEL ? WINDOWS_CHANNEL : (this.#channel ?? copy?.channel),
      computer: this.#textAt(dialect.computer) ?? copy?.computer,
      timeCreated: (timeCreated && toIsoUtc(timeCreated, dialect.isUtc ?? false)) ?? copy?.timeCreated,
      data,
    };
  }

  #ownFields(): EventData {
    this.#fields ??= this.#dialect.data(this.#record, this.eventId);
    return this.#fields;
  }

  /** The same event where the record has it as text once more. */
  #copyInText(): SysmonEvent | undefined {
    const text = this.#textAt(this.#dialect.copy);
    const event = text === undefined ? undefined : readEventText(text.trimStart());
    return event !== 'foreign' && event?.eventId === this.eventId ? event : undefined;
  }

  #textAt(paths: readonly Path[] = []): string | undefined {
    return textAt(this.#record, paths);
  }
}

/** Whether a text names Sysmon's provider, by its name or GUID, or its channel. */
function isSysmons(name: string): boolean {
  return (
    isSysmonProvider(name) || SYSMON_CHANNEL.test(name) || SYSMON_GUIDS.has(name.replace(/^\{|\}$/g, '').toLowerCase())
  );
}

function inputChannelAt(record: JsonObject, paths: readonly Path[]): string | undefined {
  for (const steps of paths) {
    const channel = channelOfInput(valueAt(record, steps));
    if (channel !== undefined) return channel;
  }
  return undefined;
}

/** The channel in what Splunk says of an event's way in; undefined where that is not Sysmon's: most ways in say nothing of it. */
function channelOfInput(input: unknown): string | undefined {
  const match = SYSMON_INPUT.exec(textOf(input) ?? '');
  if (match === null) return undefined;
  return match[1] === undefined ? WINDOWS_CHANNEL : `${match[1]}/Operational`;
}

/** Whether fields are those of an event of Sysmon's; of a flat record with this id a few are enough, if its digests are among them. */
function hasSysmonShape(data: EventData, eventId: number, isFlat = false): boolean {
  const isThere = (name: string): boolean => !/^-?$/.test(data.get(name) ?? '');
  if (eventId !== PROCESS_CREATION) return isThere('UtcTime') && PROCESS_FIELDS.some(isThere);
  if (PROCESS_CREATION_FIELDS.every(isThere) && LAUNCH_FIELDS.some(isThere)) return true;
  const isPath = /[\\/]/.test(data.get('Image') ?? '');
  return isFlat && isPath && Object.keys(fileHashesOf({ eventId, data })).length > 0;
}

/** Adds what only the rendered text has. An insert that was not resolved when it was rendered (`%23`) says nothing. */
function addMessageFields(data: EventData, eventId: number, message: string | undefined): void {
  if (message === undefined || !mayTell(message, eventId, (field) => !data.has(field))) return;
  const rendered = parseMessage(bareMessage(message));
  if (rendered?.eventId !== eventId) return;
  for (const [name, value] of rendered.fields) if (!/^%\d+$/.test(value)) addField(data, name, value);
}

/** A message without what tools put around it: Wazuh a pair of quotes, Splunk's text form a heading of `Name=value` lines. */
function bareMessage(message: string): string {
  if (message.startsWith('"') && message.endsWith('"')) return message.slice(1, -1);
  const { body } = splitSplunkText(message);
  return body;
}

/** Splunk's text form of a Windows event: a date, `Name=value` lines, of which the last, `Message`, goes on to the end. */
function splitSplunkText(text: string): { readonly heading: ReadonlyMap<string, string>; readonly body: string } {
  const heading = new Map<string, string>();
  const messageStart = /^Message=/m.exec(text);
  if (messageStart === null) return { heading, body: text };
  for (const [, name, value] of text.slice(0, messageStart.index).matchAll(/^(\w+)=(.*)$/gm)) {
    if (name !== undefined && value !== undefined) heading.set(name, value.trim());
  }
  return heading.size === 0
    ? { heading, body: text }
    : { heading, body: text.slice(messageStart.index + messageStart[0].length) };
}

/** The event stands in a text of the record. */
function recogniseTexts(record: JsonObject, envelopes: number): Recognition | undefined {
  for (const steps of TEXT_PATHS) {
    const text = unprintableText(valueAt(record, steps))?.trim();
    if (text === undefined || text === '') continue;
    const recognition = text.startsWith('{') ? recogniseJsonText(text, envelopes) : recogniseText(record, text);
    if (recognition !== undefined) return recognition;
  }
  return undefined;
}

/** Of which the names that collectors and pipelines give to the raw text of an event are made. What a client sent has other names. */
const RAW_WORDS: ReadonlySet<string> = new Set(
  'body content data event eventdata eventxml evt full log message msg original payload raw rawxml record string syslog sysmon text win windows xml'.split(
    ' ',
  ),
);

function isRawName(name: string): boolean {
  const words = name.match(/[A-Z]?[a-z]+|[A-Z]+|[0-9]+/g) ?? [];
  return words.length > 0 && words.every((word) => RAW_WORDS.has(word.toLowerCase()));
}

/** The event stands as XML, from its first byte, in a member for raw text. */
function recogniseXml(record: JsonObject): Recognition | undefined {
  let tried = 0;
  for (const [name, text] of Object.entries(record)) {
    if (typeof text !== 'string' || !XML_EVENT.test(text) || !isRawName(name)) continue;
    const recognition = recogniseText(record, text);
    tried += 1;
    if (recognition !== undefined || tried === MAX_XML_MEMBERS) return recognition;
  }
  return undefined;
}

/** Alerts of Wazuh's older agents have the event in their line of text alone. */
function recogniseWinEvtLog(record: JsonObject): Recognition | undefined {
  const line = textAt(record, [[LINE_MEMBER]]);
  const text = line !== undefined && WIN_EVT_LOG.test(line) ? readSingleRecord(line) : undefined;
  const event = text && decodeRecord(text);
  if (event === undefined || typeof event === 'string') return undefined;
  return recognised(event);
}

/** journalctl writes a text that it takes for unprintable as an array of its bytes. */
function unprintableText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const bytes = value as readonly unknown[];
  return bytes.every((byte) => typeof byte === 'number')
    ? Buffer.from(bytes as readonly number[]).toString('utf8')
    : undefined;
}

function recogniseJsonText(text: string, envelopes: number): Recognition | undefined {
  if (envelopes >= MAX_ENVELOPES) return undefined;
  const inner = parseJson(text);
  const recognition = isObject(inner) ? recogniseRecord(inner, envelopes + 1) : undefined;
  return recognition && withoutIdPath(recognition);
}

function recogniseText(record: JsonObject, text: string): Recognition | undefined {
  const event = readEventText(text);
  if (event === undefined) return undefined;
  if (event === 'foreign') return {};
  const data = new Map(event.data);
  const beside = hasOtherSpelling(record) ? inAnyCase(record) : record;
  addMessageFields(data, event.eventId, textAt(beside, FLAT.message));
  const around = surroundingsOf(beside);
  return recognised({
    eventId: event.eventId,
    recordId: event.recordId ?? around.recordId,
    provider: event.provider ?? around.provider,
    channel: event.channel ?? around.channel,
    computer: event.computer ?? around.computer,
    timeCreated: event.timeCreated,
    data,
  });
}

/** The event that a text is: XML, behind a syslog header or not, or a message, behind Splunk's heading or not. */
function readEventText(text: string): SysmonEvent | 'foreign' | undefined {
  const xmlStart = XML_START.exec(text.slice(0, MAX_XML_START))?.index;
  const xml = xmlStart === undefined ? undefined : readEventXml(text.slice(xmlStart));
  if (xml !== undefined) return asSysmonEvent(xml) ?? 'foreign';
  const { heading, body } = splitSplunkText(text);
  const provider = heading.get('SourceName');
  if (provider !== undefined && !isSysmonProvider(provider)) return 'foreign';
  const rendered = parseMessage(bareMessage(body));
  if (rendered === undefined) return undefined;
  return {
    eventId: rendered.eventId,
    recordId: heading.get('RecordNumber'),
    provider,
    channel: heading.get('LogName'),
    computer: heading.get('ComputerName'),
    timeCreated: undefined,
    data: rendered.fields,
  };
}

/** No id, no message, nothing but the fields: home-made exports of process creations alone. */
function recogniseShape(record: JsonObject): Recognition | undefined {
  const data = flatFields(record, PROCESS_CREATION);
  if (!hasSysmonShape(data, PROCESS_CREATION)) return undefined;
  return recognised({ ...surroundingsOf(record), eventId: PROCESS_CREATION, data });
}

/** What a record says of the event's origin beside its text. */
function surroundingsOf(record: JsonObject): Omit<SysmonEvent, 'eventId' | 'data'> {
  const provider = textAt(record, FLAT.provider);
  return {
    recordId: textAt(record, FLAT.recordId),
    provider: provider !== undefined && isSysmonProvider(provider) ? provider : undefined,
    channel: textAt(record, FLAT.channel),
    computer: textAt(record, FLAT.computer),
    timeCreated: undefined,
  };
}

function recognised(event: SysmonEvent): Recognition {
  return {
    event: { eventId: event.eventId, isPerRule: false, hashes: () => fileHashesOf(event), decode: () => event },
  };
}

/** Graylog has Beats' members joined by `_` behind the name of the beat; GELF puts `_` in front of every name of its own. */
function withoutPrefixes(record: JsonObject): JsonObject | undefined {
  const holders = new Map<string, { [name: string]: unknown }>(
    ['', 'winlog', 'event_data'].map((holder) => [holder, Object.create(null)]),
  );
  let isChanged = false;
  for (const [name, value] of Object.entries(record)) {
    const bare = name.replace(/^(?:winlogbeat|filebeat)?_/i, '');
    const [, beats = '', data = '', member = bare] = /^(winlog_)?(event_data_)?(.*)$/is.exec(bare) ?? [];
    const holder = holders.get(data !== '' ? 'event_data' : beats !== '' ? 'winlog' : '');
    if (holder !== undefined) holder[member] ??= value;
    isChanged ||= member !== name;
  }
  if (!isChanged) return undefined;
  const [members, winlog, eventData] = [...holders.values()];
  if (winlog !== undefined && Object.keys(winlog).length > 0) winlog['event_data'] = eventData;
  return {
    ...members,
    ...(Object.keys(winlog ?? {}).length > 0
      ? { winlog, message: members?.['message'] ?? members?.['full_message'] }
      : Object.keys(eventData ?? {}).length > 0 && { event_data: eventData }),
  };
}

function namesInLowerCase(names: Iterable<string>): ReadonlySet<string> {
  return new Set([...names].map((name) => name.toLowerCase()));
}

function groupByMember<Kind>(
  kinds: readonly Kind[],
  membersOf: (kind: Kind) => readonly string[],
): ReadonlyMap<string, readonly Kind[]> {
  const groups = new Map<string, Kind[]>();
  for (const kind of kinds) {
    for (const member of membersOf(kind)) groups.set(member, [...(groups.get(member) ?? []), kind]);
  }
  return groups;
}
