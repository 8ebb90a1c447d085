import type { ByteWriter } from '../byte-writer.js';
import { LogError, type Reject } from '../errors.js';
import type { RecordReceiver, RecordView, SysmonEvent, WantedRecords } from '../event.js';
import type { FileHashes } from '../hash.js';
import type { ByteReader } from './byte-reader.js';
import { VERDICT_MEMBER, writeObjectBody } from './json/body.js';
import { arraysOfObjects, isWrapper, readValues, type ValuePlace, type ValueVisitor } from './json/framing.js';
import { Layouts } from './json/layouts.js';
import { isObject, type JsonObject, parseJson } from './json/members.js';
import { OwnLines } from './json/own-lines.js';
import { isBulkAction, type RecognisedEvent, type Recognition, recognise } from './json/recognise.js';

/** How a JSON log is read. */
export interface JsonReadingOptions {
  /** Parses every line, also those whose layout is known and whose id is not wanted. Nothing but speed depends on it. */
  readonly parsesEveryLine?: boolean;
}

/**
 * Reads Sysmon's events from UTF-8 JSON of any layout and any known tool: lines, pretty objects, arrays, wrapped arrays.
 * Rejects with LogError NOT_A_LOG where nothing in it is a JSON value, and where reading or the receiver fails.
 */
export async function readJson(
  reader: ByteReader,
  wanted: WantedRecords,
  receiver: RecordReceiver,
  options: JsonReadingOptions = {},
): Promise<void> {
  const source = new JsonSource(wanted, receiver, options.parsesEveryLine ?? false);
  await readValues(reader, source);
  source.finish();
  if (source.isForeign()) throw new LogError('NOT_A_LOG', 'no JSON value in it');
}

/** Whether the first bytes of a log, as UTF-8, look like JSON: an object, an array of objects, or evtx_dump's heading before one. */
export function looksLikeJson(head: Buffer): boolean {
  const text = head.toString('utf8', 0, MAX_SIGN_BYTES).replace(/^\uFEFF/, '');
  if (/^[\s,\0]*(?:null\s+)*(?:Record \d+\s+)?(?:\{\s*(?:["}]|$)|\[\s*(?:[{\]]|$))/.test(text)) return true;
  // A rotated log may start inside a line.
  const whole = text
    .split(/\r?\n/)
    .slice(1, -1)
    .filter((line) => line !== '');
  return whole.length > 0 && whole.every((line) => /^\{\s*".*\}\s*$/.test(line));
}

/** Of which any event of Sysmon's has one. Most objects that no dialect claims are no logs of Windows at all, and are not looked into. */
const SIGNS = ['Sysmon', 'sysmon', 'ProcessGuid', 'processGuid', 'processguid', 'Process Create'] as const;

function mayHoldEvents(object: Buffer): boolean {
  return SIGNS.some((sign) => object.includes(sign));
}

/** Whether an object is one of Sysmon's events, of which there is more than its id. */
function isEvent(recognition: Recognition | undefined): boolean {
  return (recognition?.event?.decode().data.size ?? 0) > 0;
}

/** Elements of the arrays in an object that are looked at: some may be other providers', or no records. */
const MAX_LOOKED_AT = 1000;

/**
 * Whether an object that is no record itself holds some of Sysmon's events, whatever the names around them. What has no field of an event
 * may be a part of one: xml2js makes an array of every element.
 */
function holdsEvents(object: JsonObject, lookedAt = { count: 0 }): boolean {
  for (const elements of arraysOfObjects(object)) {
    for (const element of elements) {
      lookedAt.count += 1;
      if (lookedAt.count > MAX_LOOKED_AT) return false;
      if (!isObject(element)) continue;
      const recognition = recognise(element);
      // However many records of others stand before one of Sysmon's, it is a list of records.
      if (recognition !== undefined) lookedAt.count -= 1;
      if (isEvent(recognition) || (recognition === undefined && holdsEvents(element, lookedAt))) return true;
    }
  }
  return false;
}

/** Long enough for two of the longest lines seen. */
const MAX_SIGN_BYTES = 64 * 1024;

/** Takes the values of one log and hands on what is Sysmon's. */
class JsonSource implements ValueVisitor {
  readonly #wantedIds: ReadonlySet<number>;
  readonly #isEveryRecordWanted: boolean;
  readonly #receiver: RecordReceiver;
  readonly #parsesEveryLine: boolean;
  /** Only where every byte is wanted. */
  readonly onPassed?: (bytes: Buffer) => void;
  readonly #ownLines: OwnLines | undefined;
  readonly #layouts = new Layouts();
  /** Ids of the records written per rule that were handed on, by computer and channel. */
  readonly #seenPerRule = new Map<string, Set<string>>();
  #others = 0;
  #hasValue = false;
  #rejects = 0;
  /** Objects in no known form that may be Sysmon's events. */
  #unknown = 0;

  constructor(wanted: WantedRecords, receiver: RecordReceiver, parsesEveryLine: boolean) {
    this.#wantedIds = wanted.eventIds;
    this.#receiver = receiver;
    this.#ownLines = wanted.isEveryByteWanted ? new OwnLines() : undefined;
    this.#isEveryRecordWanted = wanted.isEveryRecordWanted === true && this.#ownLines === undefined;
    if (this.#ownLines !== undefined) this.onPassed = (bytes) => this.#pass(bytes);
    // What is handed over has to be JSON as a whole, and without a verdict of an earlier run.
    this.#parsesEveryLine = parsesEveryLine || this.#isEveryRecordWanted || this.#ownLines !== undefined;
  }

  /** Whether there was something, and none of it a JSON value. */
  isForeign(): boolean {
    return !this.#hasValue && this.#rejects > 0;
  }

  /** Says what was seen and not understood. */
  finish(): void {
    if (this.#unknown === 0) return;
    const objects = this.#unknown === 1 ? '1 object names' : `${this.#unknown} objects name`;
    this.#receiver.onNote(
      `${objects} Sysmon's provider or channel in no form that is known here; what is in there was not read`,
    );
  }

  isKnownOther(bytes: Buffer, start: number, end: number): boolean {
    if (this.#parsesEveryLine) return false;
    const eventId = this.#layouts.eventIdOf(bytes, start, end);
    if (eventId === undefined || this.#wantedIds.has(eventId)) return false;
    this.#others += 1;
    return true;
  }

  onLine(line: Buffer): boolean {
    const record = parseObject(line);
    if (record === undefined) return false;
    const recognition = recognise(record);
    if (recognition === undefined && (isWrapper(record) || (mayHoldEvents(line) && holdsEvents(record)))) return false;
    this.#take(line, record, recognition);
    return true;
  }

  onObject(object: Buffer, place: ValuePlace): boolean {
    const record = parseObject(object);
    if (record !== undefined) {
      const recognition = recognise(record);
      if (recognition === undefined && mayHoldEvents(object) && holdsEvents(record)) {
        // Only what stands in arrays is read on.
        if (Object.values(record).some((member) => isObject(member) && isEvent(recognise(member)))) this.#unknown += 1;
        return false;
      }
      this.#take(object, record, recognition, place.isElement);
      return true;
    }
    this.#pass(object);
    this.onReject({ code: 'BAD_JSON', message: 'not JSON', record: String(place.number), offset: place.offset });
    return true;
  }

  onOtherValue(): void {
    this.#hasValue = true;
    this.#others += 1;
  }

  onReject(reject: Reject): void {
    // A value that is cut or too large is JSON as far as it goes.
    if (reject.code === 'BAD_JSON') this.#rejects += 1;
    else this.#hasValue = true;
    this.#receiver.onReject(reject);
  }

  onNote(note: string): void {
    this.#receiver.onNote(note);
  }

  async onBlockEnd(): Promise<void> {
    if (this.#others > 0) this.#receiver.onOther(this.#others);
    this.#others = 0;
    await this.#receiver.onBlockEnd();
  }

  #take(bytes: Buffer, record: JsonObject, recognition: Recognition | undefined, isElement = false): void {
    this.#hasValue = true;
    if (recognition?.idPath !== undefined) this.#layouts.learn(bytes, record, recognition.idPath);
    const event = recognition?.event;
    if (event === undefined || !this.#wantedIds.has(event.eventId)) {
      this.#pass(bytes);
      if (recognition === undefined && namesSysmon(bytes)) this.#unknown += 1;
      if (recognition !== undefined || !isBulkAction(record)) this.#passOther(bytes, record);
      return;
    }
    if (event.isPerRule && this.#wasSeen(event.decode())) {
      this.#pass(bytes);
      this.#receiver.onDuplicate();
      return;
    }
    this.#ownLines?.addRecord(bytes, isElement);
    this.#receiver.onEvent(new JsonRecord(bytes, record, event));
  }

  /** Hands bytes over that are in no wanted record, where every byte is wanted. */
  #pass(bytes: Buffer): void {
    if (this.#ownLines === undefined) return;
    this.#ownLines.pass(bytes);
    this.#receiver.onPassage?.(bytes);
  }

  #passOther(bytes: Buffer, record: JsonObject): void {
    if (this.#isEveryRecordWanted) this.#receiver.onOtherRecord?.(new JsonObjectView(bytes, record));
    else this.#others += 1;
  }

  #wasSeen({ computer = '', channel = '', recordId }: SysmonEvent): boolean {
    if (recordId === undefined) return false;
    const log = `${computer}\n${channel}`;
    const seen = this.#seenPerRule.get(log) ?? new Set();
    this.#seenPerRule.set(log, seen);
    if (seen.has(recordId)) return true;
    seen.add(recordId);
    return false;
  }
}

/**
 * A text that is the provider's or channel's name and nothing else, also in JSON within a text, or the provider in XML: a message that
 * mentions them has none of these.
 */
const SYSMON_NAME =
  /(?:(?<!\\)"|:\s?\\"|<Provider Name=(?:'|\\"))(?:Microsoft-Windows|Linux)-Sysmon(?:\/Operational)?(?:\\?"|')/;

function namesSysmon(object: Buffer): boolean {
  return object.includes('-Sysmon') && SYSMON_NAME.test(object.toString('latin1'));
}

/** An object as it stands in the log's buffer. */
class JsonObjectView implements Pick<RecordView, 'writeBody'> {
  readonly #bytes: Buffer;
  readonly #record: JsonObject;

  constructor(bytes: Buffer, record: JsonObject) {
    this.#bytes = bytes;
    this.#record = record;
  }

  writeBody(out: ByteWriter): void {
    writeObjectBody(this.#bytes, Object.hasOwn(this.#record, VERDICT_MEMBER), out);
  }
}

/** An object that is one of Sysmon's events. */
class JsonRecord extends JsonObjectView implements RecordView {
  readonly eventId: number;
  readonly #event: RecognisedEvent;

  constructor(bytes: Buffer, record: JsonObject, event: RecognisedEvent) {
    super(bytes, record);
    this.eventId = event.eventId;
    this.#event = event;
  }

  get hashes(): FileHashes {
    return this.#event.hashes();
  }

  decode(): SysmonEvent {
    return this.#event.decode();
  }
}

/** The object in `bytes`, or undefined where they are not one JSON object. */
function parseObject(bytes: Buffer): JsonObject | undefined {
  const value = parseJson(bytes.toString('utf8'));
  return isObject(value) ? value : undefined;
}
