import type { ByteWriter } from '../../byte-writer.js';
import { type EventGlance, isSysmonProvider, type RecordView, type SysmonEvent } from '../../event.js';
import type { FileHashes } from '../../hash.js';
import {
  CHUNK_HEADER_BYTES,
  Chunk,
  DEFINITION_HEAD_BYTES,
  DESCRIPTOR_BYTES,
  FRAGMENT_HEADER,
  FRAGMENT_HEADER_BYTES,
  INSTANCE_HEAD_BYTES,
  INSTANCE_TOKEN,
  MAX_VALUES,
} from './binxml.js';
import { Damage } from './damage.js';
import { hashesOf, readHashList } from './hashes.js';
import {
  type DataPlan,
  type EventPlan,
  type JsonBytes,
  jsonBytes,
  type Plan,
  type PlanCache,
  type Slot,
} from './plan.js';
import {
  BINXML_TYPE,
  FILETIME_TYPE,
  GUID_TYPE,
  isDate,
  isDirect,
  MAX_GROWTH,
  NULL_TYPE,
  STRING_TYPE,
  trimNuls,
  UINT16_TYPE,
  UINT64_TYPE,
  valueText,
  writeDecimal,
  writeFiletime,
  writeJsonText,
  writeUint64,
  writeValue,
} from './values.js';

/** What a record turned out to be. `unplanned`: nothing is known, it has to be decoded the plain way. */
export type Outcome = 'wanted' | 'other' | 'unplanned';

/** The usual spelling of Sysmon's provider name in UTF-16LE. */
const SYSMON_NAME = new DataView(new Uint8Array(Buffer.from('Microsoft-Windows-Sysmon', 'utf16le')).buffer);
/** Bytes of the names of Sysmon for Windows and Linux in UTF-16. */
const SYSMON_NAME_BYTES: readonly number[] = [2 * 'Microsoft-Windows-Sysmon'.length, 2 * 'Linux-Sysmon'.length];
/** First four bytes of the GUIDs of Sysmon for Windows and Linux. */
const SYSMON_GUID_HEADS: readonly number[] = [0x5770385f, 0xff032593];

const EVENT_ID_JSON = jsonBytes('{"EventID":');
const RECORD_ID_JSON = jsonBytes(',"EventRecordID":');
const PROVIDER_JSON = jsonBytes(',"Provider":"');
const CHANNEL_JSON = jsonBytes(',"Channel":"');
const COMPUTER_JSON = jsonBytes(',"Computer":"');
const TIME_JSON = jsonBytes(',"TimeCreated":"');
const DATA_JSON = jsonBytes(',"EventData":{');
/** More than all of the above together, with the digits of the event id and the closing marks. */
const FRAME_BYTES = 256;

const NO_HASHES: FileHashes = {};
const NO_CHUNK = new Chunk(Buffer.alloc(0));

const QUOTE = 0x22;
const CLOSING_BRACE = 0x7d;

/** The values of one template instance at hand: types, and where each starts; one start more than types. */
class InstanceValues {
  readonly types = new Uint8Array(MAX_VALUES);
  readonly starts = new Uint32Array(MAX_VALUES + 1);
  count = 0;

  typeOf(index: number): number {
    return index >= 0 && index < this.count ? (this.types[index] ?? NULL_TYPE) : NULL_TYPE;
  }

  startOf(index: number): number {
    return this.starts[index] ?? 0;
  }

  sizeOf(index: number): number {
    return this.startOf(index + 1) - this.startOf(index);
  }
}

/**
 * Reads records whose shape is that of nearly all: one template instance with one nested instance for EventData.
 * `read` places it on a record; as a RecordView it is that record until the next call. What it cannot vouch for byte by byte
 * it leaves to the plain way, which also says what is wrong with a damaged record.
 */
export class TemplateRecord implements RecordView, EventGlance {
  eventId = 0;
  readonly data: EventGlance['data'] = { get: (name) => this.#fieldText(name) };
  readonly #plans: PlanCache;
  readonly #outer = new InstanceValues();
  readonly #inner = new InstanceValues();
  #chunk = NO_CHUNK;
  #start = 0;
  #end = 0;
  #event: EventPlan | undefined;
  #data: DataPlan | undefined;
  #target = NO_CHUNK.bytes;
  #targetView = NO_CHUNK.view;
  /** Plans of the chunk at hand by the offset of their definition, and which offsets are in use. */
  readonly #planAt: (Plan | undefined)[] = [];
  readonly #usedOffsets: number[] = [];

  constructor(plans: PlanCache) {
    this.#plans = plans;
  }

  /** To be called before the first record of each chunk: what was known of definitions is void. */
  startChunk(): void {
    for (const offset of this.#usedOffsets) this.#planAt[offset] = undefined;
    this.#usedOffsets.length = 0;
  }

  /** Reads the record whose binary XML is at `[start, end)` of the chunk. Without `eventIds` every event of Sysmon's is wanted. */
  read(chunk: Chunk, start: number, end: number, eventIds?: ReadonlySet<number>): Outcome {
    this.#chunk = chunk;
    const { view } = chunk;
    const head = start + FRAGMENT_HEADER_BYTES;
    if (head + INSTANCE_HEAD_BYTES > end || view.getUint32(start, true) !== FRAGMENT_HEADER) return 'unplanned';
    const event = this.#readInstance(head, end, this.#outer)?.event;
    if (event === undefined) return 'unplanned';
    const eventId = this.#eventIdOf(event);
    if (eventId === undefined) return 'unplanned';
    const isFromSysmon = this.#isFromSysmon(event);
    if (isFromSysmon === undefined) return 'unplanned';
    if (!isFromSysmon || eventIds?.has(eventId) === false) return 'other';
    if (!this.#isSystemDirect(event)) return 'unplanned';
    const data = this.#readData(event.dataIndex);
    if (data === undefined) return 'unplanned';
    this.eventId = eventId;
    this.#start = start;
    this.#end = end;
    this.#event = event;
    this.#data = data;
    return 'wanted';
  }

  /**
   * Reads the template instance at `at`: its values into `values`, its plan as the result. Returns undefined for anything but
   * an instance that ends its fragment.
   */
  #readInstance(at: number, end: number, values: InstanceValues): Plan | undefined {
    const { view } = this.#chunk;
    if (at + INSTANCE_HEAD_BYTES > end || view.getUint8(at) !== INSTANCE_TOKEN) return undefined;
    const offset = view.getUint32(at + 6, true);
    let next = at + INSTANCE_HEAD_BYTES;
    const isInline = offset === next;
    const plan = this.#planFor(offset, isInline ? end : at);
    if (plan === undefined || view.getInt32(at + 2, true) !== plan.id) return undefined;
    if (isInline) next += plan.byteCount;
    if (next + 4 > end) return undefined;
    const count = view.getUint32(next, true);
    next += 4;
    if (count > MAX_VALUES || next + count * DESCRIPTOR_BYTES > end) return undefined;
    const { types, starts } = values;
    let start = next + count * DESCRIPTOR_BYTES;
    for (let index = 0; index < count; index++) {
      const descriptor = view.getUint32(next, true);
      types[index] = (descriptor >>> 16) & 0xff;
      starts[index] = start;
      start += descriptor & 0xffff;
      next += DESCRIPTOR_BYTES;
    }
    starts[count] = start;
    if (start > end || (start < end && view.getUint8(start) !== 0)) return undefined;
    values.count = count;
    return plan;
  }

  /** The plan of the definition at `offset`, which has to lie before `limit` as a whole. */
  #planFor(offset: number, limit: number): Plan | undefined {
    const known = this.#planAt[offset];
    if (known !== undefined) return offset + known.byteCount <= limit ? known : undefined;
    if (offset < CHUNK_HEADER_BYTES || offset + DEFINITION_HEAD_BYTES > limit) return undefined;
    const size = this.#chunk.view.getUint32(offset + 20, true);
    if (offset + DEFINITION_HEAD_BYTES + size > limit) return undefined;
    const plan = this.#plans.planAt(this.#chunk, offset);
    if (plan === undefined) return undefined;
    this.#planAt[offset] = plan;
    this.#usedOffsets.push(offset);
    return plan;
  }

  #eventIdOf({ eventId }: EventPlan): number | undefined {
    const outer = this.#outer;
    const { index } = eventId;
    if (index < 0 || outer.typeOf(index) !== UINT16_TYPE || outer.sizeOf(index) !== 2) return undefined;
    return this.#chunk.view.getUint16(outer.startOf(index), true);
  }

  /** By name, else by GUID; undefined where that takes more than a look at a string and at the head of a GUID. */
  #isFromSysmon({ provider, providerGuid, hasSysmonName, hasSysmonGuid }: EventPlan): boolean | undefined {
    if (hasSysmonName) return true;
    const outer = this.#outer;
    const nameType = outer.typeOf(provider.index);
    if (nameType === STRING_TYPE) {
      const start = outer.startOf(provider.index);
      const isSysmon = this.#isSysmonName(start, start + outer.sizeOf(provider.index));
      if (isSysmon !== false) return isSysmon;
    } else if (nameType !== NULL_TYPE) {
      return undefined;
    }
    const guidType = outer.typeOf(providerGuid.index);
    if (guidType === NULL_TYPE) return hasSysmonGuid;
    if (guidType !== GUID_TYPE || outer.sizeOf(providerGuid.index) !== 16) return undefined;
    const guidHead = this.#chunk.view.getUint32(outer.startOf(providerGuid.index), true);
    return SYSMON_GUID_HEADS.includes(guidHead) ? undefined : false;
  }

  #isSysmonName(start: number, end: number): boolean | undefined {
    const { view, bytes } = this.#chunk;
    if (end - start >= SYSMON_NAME.byteLength && isEqual(view, start, SYSMON_NAME)) {
      if (trimNuls(view, start, end) === start + SYSMON_NAME.byteLength) return true;
    }
    if (((end - start) & 1) !== 0) return undefined;
    const trimmed = trimNuls(view, start, end);
    // Of another length than any spelling of Sysmon's names: not worth a string.
    if (!SYSMON_NAME_BYTES.includes(trimmed - start)) return false;
    return isSysmonProvider(bytes.toString('utf16le', start, trimmed));
  }

  /** Whether the members of System are of the types `writeBody` knows. */
  #isSystemDirect({ provider, recordId, channel, computer, timeCreated }: EventPlan): boolean {
    return (
      this.#isText(provider) &&
      this.#isText(channel) &&
      this.#isText(computer) &&
      this.#isOfType(recordId, UINT64_TYPE, 8) &&
      this.#isOfType(timeCreated, FILETIME_TYPE, 8) &&
      (timeCreated.index < 0 ||
        this.#outer.typeOf(timeCreated.index) === NULL_TYPE ||
        isDate(this.#chunk.view, this.#outer.startOf(timeCreated.index)))
    );
  }

  #isText({ index, isOptional }: Slot): boolean {
    if (index < 0) return true;
    const type = this.#outer.typeOf(index);
    if (type === NULL_TYPE) return isOptional;
    return type === STRING_TYPE && (this.#outer.sizeOf(index) & 1) === 0;
  }

  #isOfType({ index, isOptional, constant }: Slot, wantedType: number, byteCount: number): boolean {
    if (index < 0) return constant === undefined;
    const type = this.#outer.typeOf(index);
    if (type === NULL_TYPE) return isOptional;
    return type === wantedType && this.#outer.sizeOf(index) === byteCount;
  }

  /** Steps into the nested EventData; undefined unless all its values are of types and sizes `writeValue` knows. */
  #readData(index: number): DataPlan | undefined {
    const outer = this.#outer;
    if (index < 0 || outer.typeOf(index) !== BINXML_TYPE) return undefined;
    const { view } = this.#chunk;
    let start = outer.startOf(index);
    const end = start + outer.sizeOf(index);
    if (start + FRAGMENT_HEADER_BYTES <= end && view.getUint32(start, true) === FRAGMENT_HEADER) {
      start += FRAGMENT_HEADER_BYTES;
    }
    const inner = this.#inner;
    const data = this.#readInstance(start, end, inner)?.data;
    if (data === undefined) return undefined;
    const { types, starts, count } = inner;
    for (let value = 0; value < count; value++) {
      const from = starts[value] ?? 0;
      if (!isDirect(view, types[value] ?? NULL_TYPE, from, (starts[value + 1] ?? 0) - from)) return undefined;
    }
    return data;
  }

  get hashes(): FileHashes {
    const data = this.#data;
    if (data === undefined || (data.hashesIndex < 0 && data.hashIndex < 0)) return NO_HASHES;
    const inner = this.#inner;
    const index = data.hashesIndex >= 0 ? data.hashesIndex : data.hashIndex;
    if (inner.typeOf(index) === STRING_TYPE) {
      const start = inner.startOf(index);
      const hashes = readHashList(this.#chunk.view, start, start + inner.sizeOf(index));
      if (hashes !== undefined) return hashes;
    }
    return hashesOf(this.decode().data);
  }

  decode(): SysmonEvent {
    const event = this.#event;
    if (event === undefined) throw new Damage('BAD_RECORD', 'no record has been read');
    const data = new Map<string, string>();
    for (const { name } of this.#data?.fields ?? []) {
      const text = this.#fieldText(name);
      if (text !== undefined) data.set(name, text);
    }
    return {
      eventId: this.eventId,
      recordId: this.recordId,
      provider: this.#systemText(event.provider),
      channel: this.channel,
      computer: this.computer,
      timeCreated: this.timeCreated,
      data,
    };
  }

  glance(): EventGlance {
    return this;
  }

  get recordId(): string | undefined {
    return this.#systemText(this.#event?.recordId);
  }

  get channel(): string | undefined {
    return this.#systemText(this.#event?.channel);
  }

  get computer(): string | undefined {
    return this.#systemText(this.#event?.computer);
  }

  get timeCreated(): string | undefined {
    return this.#systemText(this.#event?.timeCreated);
  }

  #systemText(slot: Slot | undefined): string | undefined {
    if (slot === undefined || slot.index < 0) return slot?.constant;
    const type = this.#outer.typeOf(slot.index);
    return type === NULL_TYPE ? undefined : this.#valueText(this.#outer, slot.index, type);
  }

  #fieldText(name: string): string | undefined {
    const slot = this.#data?.slots.get(name);
    if (slot === undefined) return undefined;
    if (slot.index < 0) return slot.constant ?? '';
    const type = this.#inner.typeOf(slot.index);
    if (type === NULL_TYPE) return slot.isOptional ? undefined : '';
    return this.#valueText(this.#inner, slot.index, type);
  }

  #valueText(values: InstanceValues, index: number, type: number): string {
    const { bytes, view } = this.#chunk;
    return valueText(bytes, view, type, values.startOf(index), values.startOf(index + 1));
  }

  writeBody(out: ByteWriter): void {
    const event = this.#event;
    const data = this.#data;
    if (event === undefined || data === undefined) return;
    const { view } = this.#chunk;
    out.reserve(FRAME_BYTES + event.constantBytes + data.constantBytes + MAX_GROWTH * (this.#end - this.#start));
    const target = this.#viewOf(out.buffer);
    let at = writeBytes(EVENT_ID_JSON, 0, target, out.length);
    at = writeDecimal(this.eventId, target, at);
    const recordId = this.#placeOf(event.recordId);
    if (recordId >= 0) at = writeUint64(view, recordId, target, writeBytes(RECORD_ID_JSON, 0, target, at));
    at = this.#writeText(PROVIDER_JSON, event.provider, target, at);
    at = this.#writeText(CHANNEL_JSON, event.channel, target, at);
    at = this.#writeText(COMPUTER_JSON, event.computer, target, at);
    const timeCreated = this.#placeOf(event.timeCreated);
    if (timeCreated >= 0) {
      at = writeFiletime(view, timeCreated, target, writeBytes(TIME_JSON, 0, target, at));
      target.setUint8(at++, QUOTE);
    }
    at = writeBytes(DATA_JSON, 0, target, at);
    out.length = this.#writeFields(data, target, at);
  }

  /** The view through which `buffer` is written; callers write many records into one buffer. */
  #viewOf(buffer: Buffer): DataView {
    if (buffer !== this.#target) {
      this.#target = buffer;
      this.#targetView = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    return this.#targetView;
  }

  /** Where the value of a slot of System is, or -1 where it has none. */
  #placeOf({ index }: Slot): number {
    return index < 0 || this.#outer.typeOf(index) === NULL_TYPE ? -1 : this.#outer.startOf(index);
  }

  #writeText(nameJson: JsonBytes, slot: Slot, target: DataView, start: number): number {
    let at = start;
    if (slot.constantJson !== undefined) {
      at = writeBytes(slot.constantJson, 0, target, writeBytes(nameJson, 0, target, at));
    } else {
      const place = this.#placeOf(slot);
      if (place < 0) return at;
      const { view } = this.#chunk;
      const end = trimNuls(view, place, place + this.#outer.sizeOf(slot.index));
      at = writeJsonText(view, place, end, target, writeBytes(nameJson, 0, target, at));
    }
    target.setUint8(at++, QUOTE);
    return at;
  }

  #writeFields({ fields }: DataPlan, target: DataView, start: number): number {
    const { view } = this.#chunk;
    const { types, starts, count } = this.#inner;
    let at = start;
    // The comma before a name belongs to all but the first.
    let skipped = 1;
    for (const { nameJson, slot } of fields) {
      const { index } = slot;
      if (index < 0) {
        at = writeBytes(nameJson, skipped, target, at);
        if (slot.constantJson !== undefined) at = writeBytes(slot.constantJson, 0, target, at);
      } else {
        const type = index < count ? (types[index] ?? NULL_TYPE) : NULL_TYPE;
        if (type === NULL_TYPE && slot.isOptional) continue;
        at = writeBytes(nameJson, skipped, target, at);
        if (type !== NULL_TYPE) at = writeValue(view, type, starts[index] ?? 0, starts[index + 1] ?? 0, target, at);
      }
      target.setUint8(at++, QUOTE);
      skipped = 0;
    }
    target.setUint8(at++, CLOSING_BRACE);
    return at;
  }
}

/** Copies `source` from `from` on, four bytes at once: up to three more are written, which what comes next overwrites. */
function writeBytes(source: JsonBytes, from: number, target: DataView, at: number): number {
  const { view, length } = source;
  for (let index = from; index < length; index += 4) target.setUint32(at + index - from, view.getUint32(index));
  return at + length - from;
}

/** Whether the bytes at `start` are those of `words`, whose length is a multiple of four. */
function isEqual(view: DataView, start: number, words: DataView): boolean {
  for (let at = 0; at < words.byteLength; at += 4) {
    if (view.getUint32(start + at) !== words.getUint32(at)) return false;
  }
  return true;
}
