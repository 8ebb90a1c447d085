import { isSysmonProvider, PROCESS_CREATION, type SysmonEvent } from '../event.js';

/** What stands in one `<Event>`, whoever wrote it; members that are not in it are undefined. */
export interface EventXml {
  readonly eventId: number | undefined;
  readonly recordId: string | undefined;
  readonly provider: string | undefined;
  readonly channel: string | undefined;
  readonly computer: string | undefined;
  readonly timeCreated: string | undefined;
  /** Values by `Data/@Name`, as Windows renders them. */
  readonly data: ReadonlyMap<string, string>;
  /** What only other providers' events have: unnamed `Data`, joined with `, `, and the elements of UserData by their names. */
  readonly foreignData: ReadonlyMap<string, string>;
  /** Whether the text ends before its own end tag: the fields are those that were complete. */
  readonly isCut: boolean;
}

/** The mutable shape of `EventXml` while it is read. */
type Draft = { -readonly [Member in Exclude<keyof EventXml, 'data' | 'foreignData' | 'isCut'>]: EventXml[Member] } & {
  readonly data: Map<string, string>;
  readonly foreignData: Map<string, string>;
};

/** The parts of an event whose children are read. RenderingInfo repeats names of System in the reader's language. */
type Section = 'System' | 'EventData' | 'UserData' | 'other';

interface Tag {
  /** Name without namespace prefix. */
  readonly name: string;
  readonly qualifiedName: string;
  /** The text between name and `>`. */
  readonly attributes: string;
  readonly isEnd: boolean;
  readonly isEmpty: boolean;
  /** Index behind `>`. */
  readonly end: number;
}

/** Fields that say that a record without event id is a process creation; no other event has all of them. */
const PROCESS_CREATION_FIELDS = ['ProcessGuid', 'Image', 'CommandLine', 'ParentProcessGuid'] as const;

const SYSMON_CHANNEL = /^(?:Microsoft-Windows|Linux)-Sysmon\/Operational$/i;

const NAMED_ENTITIES: ReadonlyMap<string, string> = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
  ['apos', "'"],
]);

const PLAIN_DATA_START = '<Data Name=';
const PLAIN_DATA_END = '</Data>';

const MAX_CODE_POINT = 0x10ffff;

/**
 * Sysmon's event in one `<Event>` element, or in a bare `<EventData>` or `<DataItem>` (Log Analytics) where the fields show that it is a
 * process creation. The text may be cut anywhere: the fields that are complete count. Undefined for other providers' events, for
 * events whose id is not readable, and for what is no event at all.
 */
export function parseEventXml(xml: string): SysmonEvent | undefined {
  const event = readEventXml(xml);
  return event === undefined ? undefined : asSysmonEvent(event);
}

/** Sysmon's event, or undefined if it is another provider's or has no id. */
export function asSysmonEvent(event: EventXml): SysmonEvent | undefined {
  const eventId = event.eventId ?? (isProcessCreation(event.data) ? PROCESS_CREATION : undefined);
  if (eventId === undefined || !isSysmons(event)) return undefined;
  const { recordId, provider, channel, computer, timeCreated, data } = event;
  return { eventId, recordId, provider, channel, computer, timeCreated, data };
}

/**
 * Any provider's event as a record that is only passed through: fields by the provider's own names. Undefined where it has no id.
 */
export function asAnyEvent(event: EventXml): SysmonEvent | undefined {
  const { eventId, recordId, provider, channel, computer, timeCreated } = event;
  if (eventId === undefined) return undefined;
  const data = new Map([...event.data, ...event.foreignData]);
  return { eventId, recordId, provider, channel, computer, timeCreated, data };
}

/**
 * Reads the first event in `xml`, leniently: any namespace prefix and quotes, CDATA, unescaped `<` and `&`, characters XML forbids.
 * Entities other than XML's own five stay as they are; a document type is never read. Undefined if there is neither an
 * `Event` nor an `EventData` in it.
 */
export function readEventXml(xml: string): EventXml | undefined {
  const event: Draft = {
    eventId: undefined,
    recordId: undefined,
    provider: undefined,
    channel: undefined,
    computer: undefined,
    timeCreated: undefined,
    data: new Map(),
    foreignData: new Map(),
  };
  const repeated = new Set<string>();
  let root: string | undefined;
  let isCut = true;
  let section: Section | undefined;
  let sectionName = '';
  let position = 0;
  const setValue = (name: string, value: string): void => {
    if (event.data.has(name)) repeated.add(name);
    event.data.set(name, renderAsWindows(name, value));
  };
  for (;;) {
    const plain = section === 'EventData' ? plainDataAt(xml, position) : undefined;
    if (plain !== undefined) {
      setValue(plain.name, plain.value);
      position = plain.end;
      continue;
    }
    const tag = nextTag(xml, position);
    if (tag === undefined) break;
    position = tag.end;
    if (root === undefined) {
      if (tag.isEnd || (tag.name !== 'Event' && tag.name !== 'EventData')) continue;
      root = tag.name;
      if (tag.isEmpty) {
        isCut = false;
        break;
      }
      if (root === 'EventData') {
        section = 'EventData';
        sectionName = tag.qualifiedName;
      }
      continue;
    }
    if (section === undefined) {
      if (tag.isEnd && tag.name === root) {
        isCut = false;
        break;
      }
      if (tag.isEnd || tag.isEmpty) continue;
      section = sectionOf(tag.name);
      sectionName = tag.qualifiedName;
      continue;
    }
    if (tag.isEnd) {
      if (tag.qualifiedName !== sectionName) continue;
      if (root === 'EventData') {
        isCut = false;
        break;
      }
      section = undefined;
      continue;
    }
    if (section === 'other') continue;
    if (section === 'System') {
      position = readSystemChild(xml, tag, event);
      continue;
    }
    if (section === 'UserData') {
      const value = leafText(xml, tag);
      if (value !== undefined) addForeignValue(event.foreignData, tag.name, value);
      continue;
    }
    if (tag.name !== 'Data') continue;
    const name = attributeOf(tag.attributes, 'Name');
    const text = tag.isEmpty ? { value: '', end: tag.end } : readText(xml, tag);
    if (text === undefined) break;
    position = text.end;
    if (name !== undefined && name !== '') setValue(name, text.value);
    else addForeignValue(event.foreignData, tag.name, text.value);
  }
  // Windows writes every field once: a second one comes from a value that was not escaped, and neither can be trusted.
  for (const name of repeated) event.data.delete(name);
  return root === undefined ? undefined : { ...event, isCut };
}

/**
 * `<Data Name='…'>…</Data>` right at `position`, as Windows writes it, with nothing but text in it: nearly all that an event consists of,
 * so it is read without looking at each character. Undefined for any other spelling.
 */
function plainDataAt(
  xml: string,
  position: number,
): { readonly name: string; readonly value: string; readonly end: number } | undefined {
  if (!xml.startsWith(PLAIN_DATA_START, position)) return undefined;
  const nameStart = position + PLAIN_DATA_START.length + 1;
  const quote = xml[nameStart - 1];
  if (quote !== "'" && quote !== '"') return undefined;
  const nameEnd = xml.indexOf(quote, nameStart);
  if (nameEnd <= nameStart || xml[nameEnd + 1] !== '>') return undefined;
  const valueEnd = xml.indexOf('<', nameEnd);
  if (valueEnd < 0 || !xml.startsWith(PLAIN_DATA_END, valueEnd)) return undefined;
  return {
    name: unescapeXml(xml.slice(nameStart, nameEnd)),
    value: unescapeXml(xml.slice(nameEnd + 2, valueEnd)),
    end: valueEnd + PLAIN_DATA_END.length,
  };
}

function sectionOf(name: string): Section {
  return name === 'System' || name === 'EventData' || name === 'UserData' ? name : 'other';
}

/** The text of an element that has no elements in it; undefined for any other. */
function leafText(xml: string, tag: Tag): string | undefined {
  if (tag.isEmpty) return '';
  const end = xml.indexOf('<', tag.end);
  return end >= 0 && xml.startsWith(`</${tag.qualifiedName}`, end) ? unescapeXml(xml.slice(tag.end, end)) : undefined;
}

function addForeignValue(data: Map<string, string>, name: string, value: string): void {
  const earlier = data.get(name);
  data.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
}

/** Takes one child of System over; returns where to read on. */
function readSystemChild(xml: string, tag: Tag, event: Draft): number {
  if (tag.name === 'Provider') event.provider ??= attributeOf(tag.attributes, 'Name');
  if (tag.name === 'TimeCreated') event.timeCreated ??= toIsoTime(attributeOf(tag.attributes, 'SystemTime'));
  if (tag.isEmpty || !['EventID', 'EventRecordID', 'Channel', 'Computer'].includes(tag.name)) return tag.end;
  const text = readText(xml, tag);
  if (text === undefined) return xml.length;
  const value = text.value.trim();
  if (tag.name === 'EventID' && /^\d{1,5}$/.test(value)) event.eventId ??= Number(value);
  if (tag.name === 'EventRecordID' && /^\d{1,20}$/.test(value)) event.recordId ??= value;
  if (tag.name === 'Channel' && value !== '') event.channel ??= value;
  if (tag.name === 'Computer' && value !== '') event.computer ??= value;
  return text.end;
}

/** The next whole tag; comments, CDATA, declarations and document types are stepped over, a `<` that starts none of them is text. */
function nextTag(xml: string, from: number): Tag | undefined {
  let position = from;
  for (;;) {
    const start = xml.indexOf('<', position);
    if (start < 0) return undefined;
    const skipped = skipMarkup(xml, start);
    if (skipped === undefined) return undefined;
    if (skipped > start) {
      position = skipped;
      continue;
    }
    const tag = tagAt(xml, start);
    if (tag === 'cut') return undefined;
    if (tag !== undefined) return tag;
    position = start + 1;
  }
}

/** The index behind a comment, CDATA section, processing instruction or document type at `start`; `start` if it is none, undefined if it has no end. */
function skipMarkup(xml: string, start: number): number | undefined {
  const closing = xml.startsWith('<!--', start)
    ? '-->'
    : xml.startsWith('<![CDATA[', start)
      ? ']]>'
      : xml.startsWith('<?', start)
        ? '?>'
        : xml.startsWith('<!', start)
          ? '>'
          : undefined;
  if (closing === undefined) return start;
  const end = xml.indexOf(closing, start + 2);
  return end < 0 ? undefined : end + closing.length;
}

const TAG_NAME = /[A-Za-z_][\w.:-]*/y;

function tagAt(xml: string, start: number): Tag | 'cut' | undefined {
  const isEnd = xml[start + 1] === '/';
  TAG_NAME.lastIndex = isEnd ? start + 2 : start + 1;
  const qualifiedName = TAG_NAME.exec(xml)?.[0];
  if (qualifiedName === undefined) return undefined;
  const attributesStart = TAG_NAME.lastIndex;
  const close = findTagEnd(xml, attributesStart);
  if (close < 0) return 'cut';
  const isEmpty = xml[close - 1] === '/';
  return {
    name: localName(qualifiedName),
    qualifiedName,
    attributes: xml.slice(attributesStart, isEmpty ? close - 1 : close),
    isEnd,
    isEmpty,
    end: close + 1,
  };
}

/** The index of the `>` that ends a tag: one inside quotes does not. */
function findTagEnd(xml: string, from: number): number {
  let quote = '';
  for (let index = from; index < xml.length; index++) {
    const character = xml[index];
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === '>') {
      return index;
    } else if (character === '"' || character === "'") {
      quote = character;
    }
  }
  return -1;
}

function localName(qualifiedName: string): string {
  return qualifiedName.slice(qualifiedName.indexOf(':') + 1);
}

function attributeOf(attributes: string, name: string): string | undefined {
  // A name is tried from its start only: otherwise a long one would be gone through once for each of its characters.
  for (const match of attributes.matchAll(/(?<![\w.:-])([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
    if (match[1] === name) return unescapeXml(match[2] ?? match[3] ?? '');
  }
  return undefined;
}

/** The text up to the end tag that belongs to `tag`; undefined if it is cut before. */
function readText(xml: string, tag: Tag): { readonly value: string; readonly end: number } | undefined {
  const endTag = `</${tag.qualifiedName}`;
  let value = '';
  let position = tag.end;
  for (;;) {
    const start = xml.indexOf('<', position);
    if (start < 0) return undefined;
    value += unescapeXml(xml.slice(position, start));
    if (xml.startsWith(endTag, start)) {
      const close = xml.indexOf('>', start);
      return close < 0 ? undefined : { value, end: close + 1 };
    }
    if (xml.startsWith('<![CDATA[', start)) {
      const end = xml.indexOf(']]>', start);
      if (end < 0) return undefined;
      value += xml.slice(start + '<![CDATA['.length, end);
      position = end + ']]>'.length;
    } else {
      // Values hold no elements: whoever wrote this did not escape it.
      value += '<';
      position = start + 1;
    }
  }
}

function unescapeXml(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-z]{2,4}));/g, (reference, decimal, hex, name) => {
    if (name !== undefined) return NAMED_ENTITIES.get(name) ?? reference;
    const codePoint = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return codePoint <= MAX_CODE_POINT ? String.fromCodePoint(codePoint) : reference;
  });
}

/** Undoes what tools change in typed values: libevtx pads hexadecimal numbers, python-evtx and EvtxECmd drop the braces of GUIDs. */
function renderAsWindows(name: string, value: string): string {
  if (name.endsWith('Guid') || name.endsWith('GUID'))
    return /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value) ? `{${value}}` : value;
  if (name === 'LogonId' || name === 'GrantedAccess') return value.replace(/^0x0+(?=[\da-f])/i, '0x');
  return value;
}

/** Windows writes `…T…Z` with nine digits, tools write a blank, no zone or an offset. */
function toIsoTime(time: string | undefined): string | undefined {
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)\s*(Z|UTC|[+-]\d\d:?\d\d)?$/.exec(
    time?.trim() ?? '',
  );
  if (match === null) return undefined;
  const zone = match[3] ?? 'Z';
  if (/^(?:Z|UTC|[+-]00:?00)$/.test(zone)) return `${match[1]}T${match[2]}Z`;
  const moment = new Date(`${match[1]}T${match[2]}${zone}`);
  return Number.isNaN(moment.getTime()) ? undefined : moment.toISOString();
}

function isSysmons(event: EventXml): boolean {
  if (event.provider !== undefined) return isSysmonProvider(event.provider);
  // Exports without provider still have the channel; fragments have neither, and their fields decide.
  return event.channel === undefined ? isProcessCreation(event.data) : SYSMON_CHANNEL.test(event.channel);
}

function isProcessCreation(data: ReadonlyMap<string, string>): boolean {
  return PROCESS_CREATION_FIELDS.every((name) => data.has(name));
}
