import { LogError } from '../errors.js';
import { PROCESS_CREATION, type RecordReceiver, type WantedRecords } from '../event.js';
import type { ByteReader } from './byte-reader.js';
import { asAnyEvent, asSysmonEvent, type EventXml, readEventXml } from './event-xml.js';
import { asRecordView } from './record-view.js';
import { looksLikeText } from './text.js';

/** Longest `<Event>` that is held: a value of Sysmon's has at most 32 Ki characters, an event a few of them. */
const MAX_EVENT_BYTES = 4 * 1024 * 1024;

/** Bytes read at a time: some hundred events at most. */
const CHUNK_BYTES = 256 * 1024;

/** Longest declaration, document type and comment above a root that is looked for. */
const MAX_PROLOGUE_BYTES = 4096;

/** Longest namespace prefix looked for, so that a `<` never costs more than a few bytes. */
const MAX_PREFIX_LENGTH = 32;

/** Longest `<prefix:Event` and the byte behind it. */
const MAX_START_TAG_HEAD = MAX_PREFIX_LENGTH + '<:Event>'.length;

const LESS_THAN = 0x3c;
const CDATA_START = Buffer.from('<![CDATA[');
const CDATA_END = Buffer.from(']]>');
const JSON_LINE = Buffer.from('\n{"');

/** Where `<Event` or `<prefix:Event` stands. */
interface EventStart {
  readonly start: number;
  readonly qualifiedName: string;
}

/** One event's bytes. */
interface EventFrame {
  readonly start: number;
  readonly end: number;
  /** Whether the next event, or the end of the log, comes before this one's end tag. */
  readonly isCut: boolean;
}

/** An element at the start, or a tool's banner or `Record 1` line before it. */
const FIRST_ELEMENT = /^\s*<(?:\?xml|!--|!DOCTYPE|(?:[A-Za-z_][\w.-]*:)?(?:Events?|root)[\s/>])/;
/** Elements by any name around an event, or the rest of an event before a whole one, in a log that was cut. */
const OTHER_ROOTS = /^\s*(?:<[A-Za-z_][\w.:-]{0,63}(?:\s[^<>]{0,1000})?>\s*){1,4}<(?:[A-Za-z_][\w.-]*:)?Events?[\s>]/;
const END_OF_EVENT = /^[^\r\n]*<\/(?:[A-Za-z_][\w.-]{0,31}:)?Event>\s*<(?:[A-Za-z_][\w.-]*:)?Event[\s>]/;
/** What any XML may start with, and the roots of logs that may hold no event. */
const PROLOGUE = /^\s*<[?!]/;
const LOG_ROOT = /<(?:[A-Za-z_][\w.-]*:)?(?:Events|root)[\s/>]/;
/** `journalctl -o export`. */
const JOURNAL_EXPORT = /^__CURSOR=[\s\S]*?\nMESSAGE=<Event[\s>]/;
const ELEMENT_AFTER_BANNER = /^[^"{[<\t]{0,300}\r?\n\s*<(?:\?xml|(?:[A-Za-z_][\w.-]*:)?Events?[\s>])/;

/**
 * Whether a log (UTF-8 without byte order mark) holds events as XML: with or without root and declaration, below a tool's
 * banner, or as journalctl exports it. Text of Event Viewer, which has the XML of each event below its text, is not meant.
 */
export function looksLikeXml(head: Buffer): boolean {
  const text = head.toString('utf8');
  if ([FIRST_ELEMENT, OTHER_ROOTS, END_OF_EVENT, JOURNAL_EXPORT].some((sign) => sign.test(text))) return true;
  const element = ELEMENT_AFTER_BANNER.exec(text);
  // Behind its first element a log may hold any text: only what stands above makes it another format.
  return element !== null && !looksLikeText(Buffer.from(text.slice(0, element.index + element[0].length)));
}

/**
 * Reads events from UTF-8 text in which `<Event>` elements stand, whatever is around them: nothing, a root element, declarations,
 * `Record 1` lines. The text between them is passed over.
 * A cut event counts with the fields that are complete if they say which process it is about, else it is rejected as TRUNCATED. Rejects
 * with LogError NOT_A_LOG where it is XML of something else, and where reading fails.
 */
export async function readXml(reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver): Promise<void> {
  const log = new XmlLog(wanted, receiver);
  let buffer = Buffer.allocUnsafe(2 * CHUNK_BYTES);
  let keptBytes = 0;
  let bufferOffset = 0;
  let isOfEvents: boolean | undefined;
  for (;;) {
    if (buffer.length - keptBytes < CHUNK_BYTES) {
      const grown = Buffer.allocUnsafe(2 * buffer.length);
      buffer.copy(grown, 0, 0, keptBytes);
      buffer = grown;
    }
    const readBytes = await reader.read(buffer.subarray(keptBytes, keptBytes + CHUNK_BYTES));
    const isLast = readBytes < CHUNK_BYTES;
    const bytes = buffer.subarray(0, keptBytes + readBytes);
    const head = isOfEvents === undefined ? bytes.toString('utf8', 0, MAX_PROLOGUE_BYTES) : '';
    isOfEvents ??= !PROLOGUE.test(head) || LOG_ROOT.test(head);
    let consumed = log.readEvents(bytes, bufferOffset, isLast);
    if (bytes.length - consumed > MAX_EVENT_BYTES) {
      log.rejectTooLarge(bufferOffset + consumed);
      consumed = bytes.length - MAX_START_TAG_HEAD;
    }
    keptBytes = bytes.length - consumed;
    bytes.copyWithin(0, consumed);
    bufferOffset += consumed;
    await receiver.onBlockEnd();
    if (isLast) break;
  }
  if (!isOfEvents && log.isEmpty) throw new LogError('NOT_A_LOG', 'XML without any event');
  log.end();
}

/** Takes the events of one log out of its bytes; knows how many there were. */
export class XmlLog {
  readonly #wanted: WantedRecords;
  readonly #receiver: RecordReceiver;
  #eventCount = 0;
  #cutCount = 0;
  #hasJson = false;

  constructor(wanted: WantedRecords, receiver: RecordReceiver) {
    this.#wanted = wanted;
    this.#receiver = receiver;
  }

  /** Whether there was no event so far. */
  get isEmpty(): boolean {
    return this.#eventCount === 0;
  }

  /** Reads all events that end in `bytes`; returns how many bytes are done with. */
  readEvents(bytes: Buffer, offset: number, isLast: boolean): number {
    let position = 0;
    for (;;) {
      const start = findEventStart(bytes, position);
      this.#rejectJson(bytes.subarray(position, start?.start ?? bytes.length), offset + position);
      // A start tag may be split between two chunks.
      if (start === undefined) return isLast ? bytes.length : Math.max(position, bytes.length - MAX_START_TAG_HEAD);
      const frame = frameEvent(bytes, start, isLast);
      if (frame === undefined) return start.start;
      this.#readEvent(bytes, frame, offset + frame.start);
      position = frame.end;
    }
  }

  rejectTooLarge(offset: number): void {
    this.#eventCount += 1;
    this.#receiver.onReject({
      code: 'TOO_LARGE',
      message: `event has no end within ${MAX_EVENT_BYTES} bytes`,
      record: String(this.#eventCount),
      offset,
    });
  }

  end(): void {
    if (this.#cutCount > 0) {
      this.#receiver.onNote(`${this.#cutCount} events are cut; the fields before the cut are used [TRUNCATED]`);
    }
  }

  /** Told once for a log: whoever joined the logs has to part them. */
  #rejectJson(between: Buffer, offset: number): void {
    const lineFeed = this.#hasJson ? -1 : between.indexOf(JSON_LINE);
    if (lineFeed < 0) return;
    this.#hasJson = true;
    this.#receiver.onReject({
      code: 'BAD_RECORD',
      message: 'JSON among events as XML, of which nothing is read: make it a log of its own',
      offset: offset + lineFeed + 1,
    });
  }

  #readEvent(bytes: Buffer, frame: EventFrame, offset: number): void {
    this.#eventCount += 1;
    const { eventIds, isEveryRecordWanted = false } = this.#wanted;
    const eventId = isEveryRecordWanted ? undefined : peekEventId(bytes.subarray(frame.start, frame.end));
    if (eventId !== undefined && !eventIds.has(eventId)) {
      this.#receiver.onOther(1);
      return;
    }
    const event = readEventXml(bytes.toString('utf8', frame.start, frame.end));
    const record = event?.recordId ?? String(this.#eventCount);
    if (event === undefined || (frame.isCut && !namesItsProcess(event))) {
      this.#receiver.onReject({ code: 'TRUNCATED', message: 'event is cut before its data', record, offset });
      return;
    }
    const sysmonEvent = asSysmonEvent(event);
    if (sysmonEvent !== undefined && eventIds.has(sysmonEvent.eventId)) {
      if (frame.isCut) this.#cutCount += 1;
      this.#receiver.onEvent(asRecordView(sysmonEvent));
      return;
    }
    const other = asAnyEvent(event);
    if (other === undefined) {
      this.#receiver.onReject({ code: 'BAD_RECORD', message: 'event has no readable EventID', record, offset });
    } else if (isEveryRecordWanted) {
      if (frame.isCut) this.#cutCount += 1;
      this.#receiver.onOtherRecord?.(asRecordView(other));
    } else {
      this.#receiver.onOther(1);
    }
  }
}

/** Whether what is left of a cut event is of use: another provider's is only counted, Sysmon's has to say what it is about. */
function namesItsProcess(event: EventXml): boolean {
  if (event.eventId === undefined) return false;
  if (asSysmonEvent(event) === undefined) return event.provider !== undefined;
  return event.eventId === PROCESS_CREATION
    ? event.data.has('ProcessGuid') && event.data.has('Image')
    : event.data.size > 0;
}

function findEventStart(bytes: Buffer, from: number): EventStart | undefined {
  for (let start = bytes.indexOf(LESS_THAN, from); start >= 0; start = bytes.indexOf(LESS_THAN, start + 1)) {
    const head = bytes.toString('latin1', start + 1, start + MAX_START_TAG_HEAD);
    const name = /^((?:[A-Za-z_][\w.-]*:)?Event)[\s/>]/.exec(head)?.[1];
    if (name !== undefined) return { start, qualifiedName: name };
  }
  return undefined;
}

/** The event that starts there; undefined if its end is not in `bytes` and more bytes may come. */
function frameEvent(bytes: Buffer, { start, qualifiedName }: EventStart, isLast: boolean): EventFrame | undefined {
  const startTag = `<${qualifiedName}`;
  const endTag = `</${qualifiedName}`;
  let from = start + startTag.length;
  let limit = from;
  let nextStart: number | undefined;
  let endStart: number | undefined;
  for (;;) {
    // What CDATA hides is not found again and again: either search starts anew only behind what it found, and ends at the next start.
    if (limit <= from) {
      nextStart = findTag(bytes, startTag, from, bytes.length);
      endStart = findTag(bytes, endTag, from, nextStart ?? bytes.length);
      limit = endStart ?? nextStart ?? bytes.length;
    }
    const cdataStart = indexWithin(bytes, CDATA_START, from, limit);
    if (cdataStart >= 0) {
      const cdataEnd = bytes.indexOf(CDATA_END, cdataStart);
      if (cdataEnd < 0) break;
      from = cdataEnd + CDATA_END.length;
      continue;
    }
    if (endStart !== undefined) {
      const close = bytes.indexOf('>', endStart);
      if (close < 0) break;
      return { start, end: close + 1, isCut: false };
    }
    // The next event begins before this one has ended: a line of syslog, or a write, was cut.
    if (nextStart !== undefined) return { start, end: nextStart, isCut: true };
    break;
  }
  return isLast ? { start, end: bytes.length, isCut: true } : undefined;
}

/** The index of `needle` in `[from, end)`, or -1. */
function indexWithin(bytes: Buffer, needle: Buffer | string, from: number, end: number): number {
  const at = bytes.subarray(from, end).indexOf(needle);
  return at < 0 ? -1 : from + at;
}

/** The index of `tagHead` in `[from, end)` where its name ends there, so that `<Event` is not found in `<EventData>`. */
function findTag(bytes: Buffer, tagHead: string, from: number, end: number): number | undefined {
  for (let at = indexWithin(bytes, tagHead, from, end); at >= 0; at = indexWithin(bytes, tagHead, at + 1, end)) {
    const next = bytes[at + tagHead.length];
    if (next === 0x3e || next === 0x20 || next === 0x09 || next === 0x0d || next === 0x0a) return at;
  }
  return undefined;
}

/** The event's id from its bytes, so that unwanted events need not be decoded; undefined where that takes a closer look. */
function peekEventId(event: Buffer): number | undefined {
  const name = event.indexOf('EventID');
  if (name < 0) return undefined;
  const text = event.toString('latin1', name, name + 64);
  const id = /^EventID(?:\s[^<>]*)?>\s*(\d{1,5})\s*</.exec(text)?.[1];
  return id === undefined ? undefined : Number(id);
}
