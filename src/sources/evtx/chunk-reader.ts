import { crc32 } from 'node:zlib';
import type { ByteWriter } from '../../byte-writer.js';
import { writeCanonicalBody } from '../../canonical.js';
import type { ErrorCode } from '../../errors.js';
import type { RecordReceiver, RecordView, SysmonEvent, WantedRecords } from '../../event.js';
import type { FileHashes } from '../../hash.js';
import { CHUNK_HEADER_BYTES, type Chunk } from './binxml.js';
import { Damage } from './damage.js';
import { decodeAnyEvent, decodeEvent } from './decode.js';
import { hashesOf } from './hashes.js';
import type { TemplateRecord } from './template-record.js';

/** Chunks have this size and lie on a grid of it. */
export const CHUNK_BYTES = 65_536;

/** Flag of a chunk or a file: its checksums were not filled in. */
export const NO_CHECKSUM_FLAG = 4;

/** `**\0\0` as a little-endian u32. */
const RECORD_MAGIC = 0x00002a2a;
/** Magic u32, size u32, id u64, FILETIME u64. */
const RECORD_HEAD_BYTES = 24;
/** The size once more. */
const RECORD_TAIL_BYTES = 4;
const MIN_RECORD_BYTES = RECORD_HEAD_BYTES + RECORD_TAIL_BYTES;
const RECORD_ALIGNMENT = 8;

/** Places named in one note. */
const MAX_PLACES = 5;

/** Where one kind of damage was met: how often, and the first few places for a note. */
export class Places {
  count = 0;
  readonly #first: string[] = [];

  /** `offset` in bytes from the start of the file. */
  add(offset: number): void {
    this.count++;
    if (this.#first.length < MAX_PLACES) this.#first.push(`0x${offset.toString(16)}`);
  }

  /** `at 0x1000, 0x11000 and 3 more`. */
  describe(): string {
    const more = this.count - this.#first.length;
    return `at ${this.#first.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  }
}

/** A record decoded the plain way. */
class DecodedRecord implements RecordView {
  readonly eventId: number;
  readonly hashes: FileHashes;
  readonly #event: SysmonEvent;

  constructor(event: SysmonEvent) {
    this.#event = event;
    this.eventId = event.eventId;
    this.hashes = hashesOf(event.data);
  }

  writeBody(out: ByteWriter): void {
    writeCanonicalBody(this.#event, out);
  }

  decode(): SysmonEvent {
    return this.#event;
  }
}

/** Reads the records of chunks, one chunk after another, and remembers where their checksums and sizes were wrong. */
export class ChunkReader {
  readonly wrongHeaderChecksums = new Places();
  readonly wrongDataChecksums = new Places();
  readonly wrongSizeCopies = new Places();
  readonly #eventIds: ReadonlySet<number>;
  readonly #isEveryRecordWanted: boolean;
  readonly #receiver: RecordReceiver;
  readonly #templateRecord: TemplateRecord | undefined;
  /** Records of the chunk at hand that are not wanted. */
  #others = 0;

  /** Without a `templateRecord` every record is decoded the plain way. */
  constructor(wanted: WantedRecords, receiver: RecordReceiver, templateRecord: TemplateRecord | undefined) {
    this.#eventIds = wanted.eventIds;
    this.#isEveryRecordWanted = wanted.isEveryRecordWanted ?? false;
    this.#receiver = receiver;
    this.#templateRecord = templateRecord;
  }

  /**
   * Reads the chunk of which the first `byteCount` bytes are there, and which starts at `offset` of the file.
   *
   * Chunk header: 0 magic, 8 and 16 first and last record number u64, 24 and 32 first and last record id u64, 40 header size u32,
   * 44 offset of the last record u32, 48 free-space offset u32, 52 CRC32 of bytes 512 to there, 120 flags u32, 124 CRC32 of
   * bytes 0 to 119 and 128 to 511, 128 heads of 64 chains of names, 384 heads of 32 chains of template definitions.
   */
  read(chunk: Chunk, byteCount: number, offset: number): void {
    if (byteCount < CHUNK_HEADER_BYTES) return;
    const { bytes, view } = chunk;
    const freeOffset = view.getUint32(48, true);
    const isEndKnown = freeOffset >= CHUNK_HEADER_BYTES && freeOffset <= CHUNK_BYTES;
    const recordsEnd = isEndKnown ? freeOffset : CHUNK_BYTES;
    if ((view.getUint32(120, true) & NO_CHECKSUM_FLAG) === 0) {
      const headerChecksum = crc32(bytes.subarray(128, CHUNK_HEADER_BYTES), crc32(bytes.subarray(0, 120)));
      if (headerChecksum !== view.getUint32(124, true)) this.wrongHeaderChecksums.add(offset);
      const records = bytes.subarray(CHUNK_HEADER_BYTES, recordsEnd);
      // A wrong checksum is noted and no more: most such chunks parse all the same.
      if (recordsEnd <= byteCount && crc32(records) !== view.getUint32(52, true)) this.wrongDataChecksums.add(offset);
    }
    chunk.reset(Math.min(recordsEnd, byteCount));
    this.#templateRecord?.startChunk();
    this.#others = 0;
    this.#readRecords(chunk, offset, isEndKnown, recordsEnd > byteCount);
    if (this.#others > 0) this.#receiver.onOther(this.#others);
  }

  /**
   * Walks the records up to the free-space offset; what lies behind it are remains of older ones and not part of the log.
   * Where a record is lost, the next sound one is searched.
   */
  #readRecords(chunk: Chunk, offset: number, isEndKnown: boolean, isCut: boolean): void {
    const { view, end } = chunk;
    let at = CHUNK_HEADER_BYTES;
    while (at < end) {
      if (end - at < MIN_RECORD_BYTES) {
        // The end of a cut chunk is noted once, with the chunk.
        if (!isCut) this.#reject('TRUNCATED', `record needs ${MIN_RECORD_BYTES} bytes, ${end - at} left`, offset + at);
        return;
      }
      const hasMagic = view.getUint32(at, true) === RECORD_MAGIC;
      // Without a free-space offset the last record is the one with no other behind it.
      if (!hasMagic && !isEndKnown) return;
      const size = view.getUint32(at + 4, true);
      if (hasMagic && isRecordSize(size)) {
        if (size <= end - at) {
          at = this.#readRecord(chunk, at, size, offset);
          continue;
        }
        if (isCut) return;
        this.#reject('TRUNCATED', `record needs ${size} bytes, ${end - at} left`, offset + at, recordId(view, at));
      } else if (hasMagic) {
        this.#reject('BAD_RECORD', `record of ${size} bytes`, offset + at, recordId(view, at));
      } else {
        this.#reject('BAD_RECORD', 'no record where one should start', offset + at);
      }
      at = nextRecord(chunk, at + RECORD_ALIGNMENT);
    }
  }

  /** Reads the record of `size` bytes at `at` and returns where to go on. */
  #readRecord(chunk: Chunk, at: number, size: number, offset: number): number {
    const { view } = chunk;
    const end = at + size;
    const isSizeSure = view.getUint32(end - RECORD_TAIL_BYTES, true) === size;
    if (!isSizeSure) this.wrongSizeCopies.add(offset + at);
    let record: RecordView | undefined;
    let other: RecordView | undefined;
    try {
      record = this.#decode(chunk, at + RECORD_HEAD_BYTES, end - RECORD_TAIL_BYTES);
      if (record === undefined && this.#isEveryRecordWanted) {
        other = this.#decodeOther(chunk, at + RECORD_HEAD_BYTES, end - RECORD_TAIL_BYTES);
      }
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      this.#reject(error.code, error.detail, offset + at, recordId(view, at));
      // Of two sizes that differ either may be the wrong one.
      return isSizeSure ? end : nextRecord(chunk, at + RECORD_ALIGNMENT);
    }
    if (record !== undefined) this.#receiver.onEvent(record);
    else if (other !== undefined) this.#receiver.onOtherRecord?.(other);
    else this.#others++;
    return end;
  }

  #decode(chunk: Chunk, start: number, end: number): RecordView | undefined {
    const planned = this.#templateRecord;
    if (planned !== undefined) {
      const outcome = planned.read(chunk, start, end, this.#eventIds);
      if (outcome === 'wanted') return planned;
      if (outcome === 'other') return undefined;
    }
    const event = decodeEvent(chunk, start, end, this.#eventIds);
    return event === undefined ? undefined : new DecodedRecord(event);
  }

  /** A record that is known not to be a wanted event: another one of Sysmon's, or another provider's. */
  #decodeOther(chunk: Chunk, start: number, end: number): RecordView {
    const planned = this.#templateRecord;
    if (planned?.read(chunk, start, end) === 'wanted') return planned;
    return new DecodedRecord(decodeAnyEvent(chunk, start, end));
  }

  #reject(code: ErrorCode, message: string, offset: number, record?: string): void {
    this.#receiver.onReject({ code, message, offset, ...(record === undefined ? {} : { record }) });
  }
}

function isRecordSize(size: number): boolean {
  return size >= MIN_RECORD_BYTES && size % RECORD_ALIGNMENT === 0;
}

/** The id in the record's header: exports renumber it, so it is good for messages only. */
function recordId(view: DataView, at: number): string {
  return view.getBigUint64(at + 8, true).toString();
}

/** Where from `from` on the next record starts whose magic and both sizes are right, or the chunk's end. */
function nextRecord({ view, end }: Chunk, from: number): number {
  for (let at = from; at + MIN_RECORD_BYTES <= end; at += RECORD_ALIGNMENT) {
    if (view.getUint32(at, true) !== RECORD_MAGIC) continue;
    const size = view.getUint32(at + 4, true);
    if (!isRecordSize(size) || size > end - at) continue;
    if (view.getUint32(at + size - RECORD_TAIL_BYTES, true) === size) return at;
  }
  return end;
}
