import { type ChunkSource, damaged, mismatch, truncated } from './member.js';
import type { PackedInput } from './packed-input.js';

/** `BZh1` to `BZh9`, the digit counting the 100,000 bytes of a block before its last step. */
const STREAM_HEADER_BYTES = 4;
const BLOCK_UNIT_BYTES = 100_000;
const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
const MAX_CODE_BITS = 20;
const GROUP_SYMBOLS = 50;
const MIN_TABLES = 2;
const MAX_TABLES = 6;
const MAX_SYMBOLS = 258;
const RUN_A = 0;
const RUN_B = 1;

/** Four equal bytes are followed by a count of further ones (0–255). */
const RUN_BYTES = 4;

/** No block is longer: every symbol in the longest code, and the tables before them. */
const MAX_BLOCK_INPUT_BYTES = (9 * BLOCK_UNIT_BYTES * MAX_CODE_BITS) / 8 + 64 * 1024;

/** Window of packed bytes that holds the largest block. */
export const BZIP2_WINDOW_BYTES = 2 * MAX_BLOCK_INPUT_BYTES;

const OUTPUT_BYTES = 256 * 1024;

/** Huffman codes of one table: symbols ordered by code, and per length the largest code and where its symbols begin. */
interface CodeTable {
  readonly minBits: number;
  readonly maxBits: number;
  readonly limits: Int32Array;
  readonly offsets: Int32Array;
  readonly symbols: Uint16Array;
}

/** Whether bytes begin a bzip2 stream: its header and a block's, or an empty stream's end. */
export function isBzip2(head: Buffer): boolean {
  if (head.length < STREAM_HEADER_BYTES + 6 || head.toString('latin1', 0, 3) !== 'BZh') return false;
  const level = (head[3] ?? 0) - 0x30;
  const magic = head.readUIntBE(STREAM_HEADER_BYTES, 6);
  return level >= 1 && level <= 9 && (magic === BLOCK_MAGIC || magic === END_MAGIC);
}

/** Unpacks bzip2 data of any number of streams, block by block, each checked; what follows the last stream is ignored. */
export function bzip2Chunks(input: PackedInput): ChunkSource {
  const output = Buffer.allocUnsafe(OUTPUT_BYTES);
  let block: BlockOutput | undefined;
  let bits: BitInput | undefined;
  let blockBytes = 0;
  let streamCount = 0;
  let streamCrc = 0;
  let isMismatched = false;

  /** Takes the whole bytes that were read; the bits left of the last one stay in `bits`. */
  const startStream = async (): Promise<boolean> => {
    await input.need(STREAM_HEADER_BYTES + 6);
    if (!isBzip2(input.bytes)) {
      if (streamCount > 0) return false;
      throw damaged('CORRUPT', 'bzip2 header is damaged');
    }
    blockBytes = ((input.bytes[3] ?? 0) - 0x30) * BLOCK_UNIT_BYTES;
    input.take(STREAM_HEADER_BYTES);
    streamCount += 1;
    streamCrc = 0;
    bits = new BitInput();
    return true;
  };

  const readBlock = async (reader: BitInput): Promise<BlockOutput | undefined> => {
    const isWhole = await input.need(MAX_BLOCK_INPUT_BYTES);
    try {
      reader.open(input.bytes);
      const magic = reader.read(24) * 2 ** 24 + reader.read(24);
      const crc = reader.readUint32();
      if (magic === END_MAGIC) {
        isMismatched ||= crc !== streamCrc;
        input.take(reader.finish());
        return undefined;
      }
      if (magic !== BLOCK_MAGIC) throw damaged('CORRUPT', 'bzip2 block header is damaged');
      streamCrc = (((streamCrc << 1) | (streamCrc >>> 31)) ^ crc) >>> 0;
      const decoded = decodeBlock(reader, blockBytes, crc);
      input.take(reader.takeWholeBytes());
      return decoded;
    } catch (error) {
      if (error instanceof OutOfBits)
        throw isWhole ? damaged('CORRUPT', 'bzip2 block is damaged') : truncated('bzip2 data');
      throw error;
    }
  };

  return {
    packedBytes: () => input.takenBytes,
    close: () => {
      block = undefined;
    },
    next: async () => {
      for (;;) {
        if (block !== undefined) {
          const length = block.write(output);
          if (length > 0) return output.subarray(0, length);
          isMismatched ||= !block.matches();
          block = undefined;
        }
        if (bits === undefined && !(await startStream())) {
          if (isMismatched) throw mismatch('bzip2 data do not match their checksum');
          return undefined;
        }
        if (bits === undefined) continue;
        block = await readBlock(bits);
        if (block === undefined) bits = undefined;
      }
    },
  };
}

/** There were fewer bits than a block needs. */
class OutOfBits extends Error {}

/** Bits, the highest of each byte first. Blocks begin within a byte. */
class BitInput {
  #bytes: Buffer = Buffer.alloc(0);
  #bitOffset = 0;

  /** Goes on in a window that begins with the byte that was not wholly read. */
  open(bytes: Buffer): void {
    this.#bytes = bytes;
  }

  /** How many whole bytes were read since `open`; the next window begins behind them. */
  takeWholeBytes(): number {
    const byteCount = this.#bitOffset >>> 3;
    this.#bitOffset &= 7;
    return byteCount;
  }

  /** The same at a stream's end, which fills its last byte. */
  finish(): number {
    const byteCount = (this.#bitOffset + 7) >>> 3;
    this.#bitOffset = 0;
    return byteCount;
  }

  /** The next `count` bits, at most 24. */
  read(count: number): number {
    const value = this.peek(count);
    this.skip(count);
    return value;
  }

  readUint32(): number {
    return this.read(16) * 0x10000 + this.read(16);
  }

  /** The next `count` bits, at most 24; zeros behind the end. */
  peek(count: number): number {
    const bytes = this.#bytes;
    const at = this.#bitOffset >>> 3;
    const word =
      (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) <<
      (this.#bitOffset & 7);
    return word >>> (32 - count);
  }

  skip(count: number): void {
    this.#bitOffset += count;
    if (this.#bitOffset > this.#bytes.length * 8) throw new OutOfBits();
  }
}

/** Undoes Huffman coding and move-to-front of one block, and prepares the rest. */
function decodeBlock(bits: BitInput, blockBytes: number, crc: number): BlockOutput {
  if (bits.read(1) === 1)
    throw damaged('UNSUPPORTED', 'bzip2 data of a version before 0.9.5; unpack them with bzip2 first');
  const originRow = bits.read(24);
  const usedBytes = readUsedBytes(bits);
  const symbolCount = usedBytes.length + 2;
  const tableCount = bits.read(3);
  const selectorCount = bits.read(15);
  if (usedBytes.length === 0 || tableCount < MIN_TABLES || tableCount > MAX_TABLES || selectorCount === 0) {
    throw damaged('CORRUPT', 'bzip2 block is damaged');
  }
  const selectors = readSelectors(bits, selectorCount, tableCount);
  const tables = Array.from({ length: tableCount }, () => readCodeTable(bits, symbolCount));
  const rows = new Uint32Array(blockBytes);
  const counts = new Int32Array(256);
  const rowCount = readRows(bits, { selectors, tables, usedBytes, rows, counts });
  if (originRow >= rowCount) throw damaged('CORRUPT', 'bzip2 block is damaged');
  return new BlockOutput(rows, rowCount, counts, originRow, crc);
}

/** Which byte values occur: 16 bits for the ranges of 16, then 16 bits for each range that occurs. */
function readUsedBytes(bits: BitInput): number[] {
  const ranges = bits.read(16);
  const used: number[] = [];
  for (let range = 0; range < 16; range++) {
    if ((ranges & (0x8000 >> range)) === 0) continue;
    const values = bits.read(16);
    for (let value = 0; value < 16; value++) if (values & (0x8000 >> value)) used.push(range * 16 + value);
  }
  return used;
}

/** Which table codes each group of 50 symbols: move-to-front numbers in unary. */
function readSelectors(bits: BitInput, selectorCount: number, tableCount: number): Uint8Array {
  const order = Array.from({ length: tableCount }, (_, table) => table);
  const selectors = new Uint8Array(selectorCount);
  for (let index = 0; index < selectorCount; index++) {
    let rank = 0;
    while (bits.read(1) === 1) {
      rank += 1;
      if (rank >= tableCount) throw damaged('CORRUPT', 'bzip2 block is damaged');
    }
    const [table = 0] = order.splice(rank, 1);
    order.unshift(table);
    selectors[index] = table;
  }
  return selectors;
}

/** Code lengths, each as steps from the one before. */
function readCodeTable(bits: BitInput, symbolCount: number): CodeTable {
  const lengths = new Uint8Array(symbolCount);
  let length = bits.read(5);
  for (let symbol = 0; symbol < symbolCount; symbol++) {
    for (;;) {
      if (length < 1 || length > MAX_CODE_BITS) throw damaged('CORRUPT', 'bzip2 block is damaged');
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  const minBits = lengths.reduce((least, bitCount) => Math.min(least, bitCount), MAX_CODE_BITS);
  const maxBits = lengths.reduce((most, bitCount) => Math.max(most, bitCount), 1);
  const limits = new Int32Array(MAX_CODE_BITS + 1).fill(-1);
  const offsets = new Int32Array(MAX_CODE_BITS + 1);
  const symbols = new Uint16Array(MAX_SYMBOLS);
  let code = 0;
  let position = 0;
  for (let bitCount = minBits; bitCount <= maxBits; bitCount++) {
    offsets[bitCount] = position - code;
    for (let symbol = 0; symbol < symbolCount; symbol++) {
      if (lengths[symbol] !== bitCount) continue;
      symbols[position] = symbol;
      position += 1;
      code += 1;
    }
    limits[bitCount] = code - 1;
    code <<= 1;
  }
  return { minBits, maxBits, limits, offsets, symbols };
}

interface CodedBlock {
  readonly selectors: Uint8Array;
  readonly tables: readonly CodeTable[];
  readonly usedBytes: readonly number[];
  /** Filled with the last column of the sorted rotations, a byte each. */
  readonly rows: Uint32Array;
  /** Filled with how often each byte occurs. */
  readonly counts: Int32Array;
}

/** Reads symbols up to the block's end; returns how many bytes they stand for. */
function readRows(bits: BitInput, { selectors, tables, usedBytes, rows, counts }: CodedBlock): number {
  const endOfBlock = usedBytes.length + 1;
  const order = Uint8Array.from(usedBytes);
  let rowCount = 0;
  let runLength = 0;
  let runWeight = 1;
  for (const selector of selectors) {
    const table = tables[selector];
    if (table === undefined) break;
    for (let index = 0; index < GROUP_SYMBOLS; index++) {
      const symbol = readSymbol(bits, table);
      if (symbol === RUN_A || symbol === RUN_B) {
        runLength += runWeight << symbol;
        runWeight <<= 1;
        if (runLength > rows.length) throw damaged('CORRUPT', 'bzip2 block is damaged');
        continue;
      }
      if (runLength > 0) {
        const byte = order[0] ?? 0;
        if (rowCount + runLength > rows.length) throw damaged('CORRUPT', 'bzip2 block is damaged');
        rows.fill(byte, rowCount, rowCount + runLength);
        counts[byte] = (counts[byte] ?? 0) + runLength;
        rowCount += runLength;
        runLength = 0;
        runWeight = 1;
      }
      if (symbol === endOfBlock) return rowCount;
      if (rowCount >= rows.length) throw damaged('CORRUPT', 'bzip2 block is damaged');
      const rank = symbol - 1;
      const byte = order[rank] ?? 0;
      order.copyWithin(1, 0, rank);
      order[0] = byte;
      counts[byte] = (counts[byte] ?? 0) + 1;
      rows[rowCount] = byte;
      rowCount += 1;
    }
  }
  throw damaged('CORRUPT', 'bzip2 block is damaged');
}

function readSymbol(bits: BitInput, table: CodeTable): number {
  const window = bits.peek(MAX_CODE_BITS);
  for (let bitCount = table.minBits; bitCount <= table.maxBits; bitCount++) {
    const code = window >>> (MAX_CODE_BITS - bitCount);
    if (code > (table.limits[bitCount] ?? -1)) continue;
    bits.skip(bitCount);
    return table.symbols[code + (table.offsets[bitCount] ?? 0)] ?? 0;
  }
  throw damaged('CORRUPT', 'bzip2 block is damaged');
}

/** Undoes the Burrows–Wheeler transform and the run lengths of one block, as far as there is room at a time. */
class BlockOutput {
  /** Per row the byte (low 8 bits) and the row that follows (high 24). */
  readonly #rows: Uint32Array;
  readonly #expectedCrc: number;
  #leftRows: number;
  #row: number;
  #crc = 0xffffffff;
  #previous = -1;
  #equalBytes = 0;
  #repeats = 0;

  constructor(rows: Uint32Array, rowCount: number, counts: Int32Array, originRow: number, crc: number) {
    let sum = 0;
    const starts = new Int32Array(256);
    for (let byte = 0; byte < 256; byte++) {
      starts[byte] = sum;
      sum += counts[byte] ?? 0;
    }
    for (let row = 0; row < rowCount; row++) {
      const byte = (rows[row] ?? 0) & 0xff;
      const start = starts[byte] ?? 0;
      rows[start] = (rows[start] ?? 0) | (row << 8);
      starts[byte] = start + 1;
    }
    this.#rows = rows;
    this.#leftRows = rowCount;
    this.#row = (rows[originRow] ?? 0) >>> 8;
    this.#expectedCrc = crc;
  }

  /** Writes what fits into `target`; returns how much, 0 at the block's end. */
  write(target: Buffer): number {
    const rows = this.#rows;
    let length = 0;
    while (length < target.length) {
      if (this.#repeats > 0) {
        const count = Math.min(this.#repeats, target.length - length);
        for (let index = 0; index < count; index++) {
          target[length] = this.#previous;
          length += 1;
          this.#crc = nextCrc(this.#crc, this.#previous);
        }
        this.#repeats -= count;
        continue;
      }
      if (this.#leftRows === 0) break;
      const row = rows[this.#row] ?? 0;
      const byte = row & 0xff;
      this.#row = row >>> 8;
      this.#leftRows -= 1;
      if (this.#equalBytes === RUN_BYTES) {
        this.#repeats = byte;
        this.#equalBytes = 0;
        continue;
      }
      this.#equalBytes = byte === this.#previous ? this.#equalBytes + 1 : 1;
      this.#previous = byte;
      target[length] = byte;
      length += 1;
      this.#crc = nextCrc(this.#crc, byte);
    }
    return length;
  }

  /** Whether all data of the block, once they are written, match its checksum. */
  matches(): boolean {
    return (this.#crc ^ 0xffffffff) >>> 0 === this.#expectedCrc;
  }
}

/** CRC-32 with the polynomial 0x04c11db7, highest bit first: not zlib's. */
const CRC_TABLE: Int32Array = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc;
});

function nextCrc(crc: number, byte: number): number {
  return (crc << 8) ^ (CRC_TABLE[((crc >>> 24) ^ byte) & 0xff] ?? 0);
}
