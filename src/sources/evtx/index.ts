import { crc32 } from 'node:zlib';
import type { RecordReceiver, WantedRecords } from '../../event.js';
import type { ByteReader } from '../byte-reader.js';
import { Chunk } from './binxml.js';
import { CHUNK_BYTES, ChunkReader, NO_CHECKSUM_FLAG, Places } from './chunk-reader.js';
import { PlanCache } from './plan.js';
import { TemplateRecord } from './template-record.js';

/*
 * EVTX: a header block of 4,096 bytes, then chunks of 65,536 on a fixed grid to the end of the file. The header's count of
 * chunks lies in a tenth of real files, so the grid and the chunks' own magic decide what is there.
 */

const FILE_MAGIC = Buffer.from('ElfFile\0', 'latin1');
const CHUNK_MAGIC = Buffer.from('ElfChnk\0', 'latin1');
const FILE_HEADER_BYTES = 4096;

const DIRTY_FLAG = 1;

/** Chunks per read: enough to make calls rare, few enough to stay in the processor's cache. */
const CHUNKS_PER_READ = 8;

const ZERO_BLOCK = Buffer.alloc(CHUNK_BYTES);

/** One cache for all files: the machines of one fleet share their templates. */
const sharedPlans = new PlanCache();

/** How `readEvtx` may be told to work otherwise than it does by itself. */
export interface EvtxOptions {
  /** False decodes every record the plain way: slower, with the same outcome. */
  readonly plans?: boolean;
}

/** Whether a file that starts so is an event log: with its header, or carved and starting with a chunk. */
export function isEvtx(head: Buffer): boolean {
  return startsWith(head, FILE_MAGIC) || startsWith(head, CHUNK_MAGIC);
}

function startsWith(bytes: Buffer, magic: Buffer): boolean {
  return bytes.length >= magic.length && bytes.compare(magic, 0, magic.length, 0, magic.length) === 0;
}

/**
 * Reads a Windows event log. Wanted events of Sysmon go to the receiver one by one, all other records as counts unless every record is
 * wanted; a block is a chunk. Damage costs the record or the chunk it is in and is told through `onReject` and `onNote`.
 * Rejects only where the reader or the receiver does.
 */
export async function readEvtx(
  reader: ByteReader,
  wanted: WantedRecords,
  receiver: RecordReceiver,
  options: EvtxOptions = {},
): Promise<void> {
  const templateRecord = options.plans === false ? undefined : new TemplateRecord(sharedPlans);
  const log = new LogReader(new ChunkReader(wanted, receiver, templateRecord), receiver);
  const buffer = Buffer.allocUnsafe(CHUNKS_PER_READ * CHUNK_BYTES);
  const chunks = Array.from({ length: CHUNKS_PER_READ }, (_, position) => {
    return new Chunk(buffer.subarray(position * CHUNK_BYTES, (position + 1) * CHUNK_BYTES));
  });

  const head = buffer.subarray(0, await reader.read(buffer.subarray(0, FILE_HEADER_BYTES)));
  const isCarved = startsWith(head, CHUNK_MAGIC);
  if (!isCarved) log.readHeader(head);
  // A carved log has no header block: what was read starts its first chunk.
  let kept = isCarved ? head.length : 0;
  let offset = isCarved ? 0 : head.length;
  let filled: number;
  do {
    filled = kept + (await reader.read(buffer.subarray(kept)));
    kept = 0;
    for (const [position, chunk] of chunks.entries()) {
      const start = position * CHUNK_BYTES;
      if (start >= filled) break;
      log.readBlock(chunk, Math.min(CHUNK_BYTES, filled - start), offset + start);
      await receiver.onBlockEnd();
    }
    offset += filled;
  } while (filled === buffer.length);
  log.finish();
}

/** What the blocks of one log turned out to be, and what is said of it in the end: few lines, however much there is to say. */
class LogReader {
  readonly #chunkReader: ChunkReader;
  readonly #receiver: RecordReceiver;
  readonly #zeroBlocks = new Places();
  readonly #garbageBlocks = new Places();
  #announcedChunks: number | undefined;
  #chunkCount = 0;
  #blockCount = 0;
  /** Zero blocks with nothing else behind them so far: usually space that Windows allocates ahead. */
  #zeroRun: number[] = [];

  constructor(chunkReader: ChunkReader, receiver: RecordReceiver) {
    this.#chunkReader = chunkReader;
    this.#receiver = receiver;
  }

  /**
   * File header: 0 magic, 8 oldest chunk u64, 16 newest chunk u64, 24 next record id u64, 32 header size u32, 36 minor u16,
   * 38 major u16, 40 block size u16, 42 number of chunks u16, 120 flags u32, 124 CRC32 of bytes 0 to 119.
   * Nothing of it is needed for reading.
   */
  readHeader(header: Buffer): void {
    if (header.length === 0) return;
    if (header.length < FILE_HEADER_BYTES) {
      this.#receiver.onNote(`the log ends within its header, after ${header.length} bytes`);
      return;
    }
    if (!startsWith(header, FILE_MAGIC)) {
      this.#receiver.onNote('the file header is not that of an event log');
      return;
    }
    const flags = header.readUInt32LE(120);
    if ((flags & DIRTY_FLAG) !== 0) this.#receiver.onNote('the log was copied while it was open (dirty flag)');
    if ((flags & NO_CHECKSUM_FLAG) === 0 && crc32(header.subarray(0, 120)) !== header.readUInt32LE(124)) {
      this.#receiver.onNote('wrong checksum of the file header');
    }
    this.#announcedChunks = header.readUInt16LE(42);
  }

  /** Reads the block in the first `byteCount` bytes of `chunk`, which starts at `offset` of the file. */
  readBlock(chunk: Chunk, byteCount: number, offset: number): void {
    const block = chunk.bytes.subarray(0, byteCount);
    const place = `0x${offset.toString(16)}`;
    if (byteCount === CHUNK_BYTES) this.#blockCount++;
    if (startsWith(block, CHUNK_MAGIC)) {
      this.#endZeroRun();
      this.#chunkCount++;
      if (byteCount < CHUNK_BYTES) {
        this.#receiver.onNote(`the last chunk, at ${place}, is cut: ${byteCount} of ${CHUNK_BYTES} bytes are there`);
      }
      this.#chunkReader.read(chunk, byteCount, offset);
      return;
    }
    if (byteCount < CHUNK_BYTES) {
      this.#receiver.onNote(`the last block, at ${place}, has ${byteCount} of ${CHUNK_BYTES} bytes and is no chunk`);
    } else if (block.equals(ZERO_BLOCK)) {
      this.#zeroRun.push(offset);
    } else {
      this.#endZeroRun();
      this.#garbageBlocks.add(offset);
    }
  }

  #endZeroRun(): void {
    for (const offset of this.#zeroRun) this.#zeroBlocks.add(offset);
    this.#zeroRun = [];
  }

  /** To be called behind the last block. */
  finish(): void {
    const announced = this.#announcedChunks ?? 0;
    // Zero blocks at the end are lost chunks as far as the header counts them, and allocated space beyond.
    this.#zeroRun.length = Math.max(
      0,
      Math.min(this.#zeroRun.length, announced - this.#blockCount + this.#zeroRun.length),
    );
    this.#endZeroRun();
    // The count has 16 bits: a log of 4 GiB and more cannot say how many chunks it has.
    if (this.#announcedChunks !== undefined && announced < this.#chunkCount && this.#chunkCount <= 0xffff) {
      this.#receiver.onNote(`the header counts ${announced} of the ${this.#chunkCount} chunks, all were read`);
    }
    if (announced > this.#blockCount) {
      this.#receiver.onNote(`the header counts ${announced} chunks, the log ends after ${this.#blockCount}`);
    }
    this.#note('zeroed blocks', this.#zeroBlocks);
    this.#note('blocks that are no chunks', this.#garbageBlocks);
    this.#note('wrong chunk header checksum', this.#chunkReader.wrongHeaderChecksums);
    this.#note('wrong chunk checksum', this.#chunkReader.wrongDataChecksums);
    this.#note('record whose two sizes differ', this.#chunkReader.wrongSizeCopies);
  }

  #note(what: string, places: Places): void {
    if (places.count > 0) this.#receiver.onNote(`${what} ${places.describe()} (${places.count})`);
  }
}
