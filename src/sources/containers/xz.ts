import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { LzmaDecoder } from './lzma.js';
import { type ChunkSource, damaged, mismatch, truncated } from './member.js';
import type { PackedInput } from './packed-input.js';

/** The .xz file format 1.2.1. */
const STREAM_MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]);
const STREAM_HEADER_BYTES = 12;
const STREAM_FOOTER_BYTES = 12;
const FOOTER_MAGIC = Buffer.from('YZ');
const MAX_BLOCK_HEADER_BYTES = 1024;
const FILTER_LZMA2 = 0x21;
const MAX_INTEGER_BYTES = 9;

/** Of the sixteen kinds of check these are defined; the others are skipped by their size. */
const CHECK_CRC32 = 1;
const CHECK_CRC64 = 4;
const CHECK_SHA256 = 10;
const CHECK_BYTES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64] as const;

/** `xz -9` uses 64 MiB; a header may ask for 4 GiB. */
const MAX_DICTIONARY_BYTES = 256 * 1024 * 1024;

/** An LZMA2 chunk's header and data: at most 64 KiB packed, or 64 KiB stored. */
const MAX_CHUNK_BYTES = 6 + 64 * 1024;

/** Window of packed bytes that holds the largest chunk. */
export const XZ_WINDOW_BYTES = 4 * MAX_CHUNK_BYTES;

/** Checks a block's data while they pass. */
interface Check {
  update(chunk: Buffer): void;
  matches(stored: Buffer): boolean;
}

/** A block that is being read. */
interface Block {
  readonly decoder: LzmaDecoder;
  readonly check: Check;
  packedBytes: number;
  needsDictionaryReset: boolean;
  needsProperties: boolean;
  needsStateReset: boolean;
}

/** Whether bytes begin an xz stream. */
export function isXz(head: Buffer): boolean {
  return head.subarray(0, STREAM_MAGIC.length).equals(STREAM_MAGIC);
}

/** Unpacks xz data of any number of streams and blocks, each checked; what follows the last stream is ignored. */
export function xzChunks(input: PackedInput): ChunkSource {
  let block: Block | undefined;
  let isInStream = false;
  let streamCount = 0;
  let checkType = 0;
  let isMismatched = false;
  return {
    packedBytes: () => input.takenBytes,
    close: () => {
      block = undefined;
    },
    next: async () => {
      for (;;) {
        if (!isInStream) {
          const type = await readStreamHeader(input, streamCount > 0);
          if (type === undefined) {
            if (isMismatched) throw mismatch('xz data do not match their checksum');
            return undefined;
          }
          checkType = type;
          isInStream = true;
          streamCount += 1;
        }
        block ??= await readBlockHeader(input, checkType);
        if (block === undefined) {
          await readIndex(input);
          isInStream = false;
          continue;
        }
        const chunk = await readChunk(input, block);
        if (chunk !== undefined) return chunk;
        isMismatched ||= !(await readCheck(input, block, checkType));
        block = undefined;
      }
    },
  };
}

/** Returns the kind of check the stream's blocks have; undefined where no further stream begins. */
async function readStreamHeader(input: PackedInput, isFollowing: boolean): Promise<number | undefined> {
  // Streams may be padded with zeros, four at a time.
  while (isFollowing && (await input.need(4)) && input.bytes.readUInt32LE(0) === 0) input.take(4);
  const isWhole = await input.need(STREAM_HEADER_BYTES);
  if (isFollowing && !isXz(input.bytes)) return undefined;
  if (!isWhole) throw truncated('xz data');
  const flags = input.bytes.subarray(6, 8);
  const [reserved = 0, checkType = 0] = flags;
  if (reserved !== 0 || checkType > 15 || crc32(flags) !== input.bytes.readUInt32LE(8)) {
    throw damaged('CORRUPT', 'xz header is damaged');
  }
  input.take(STREAM_HEADER_BYTES);
  return checkType;
}

/**
 * Size (in fours, less one), flags (bits 0–1 filters less one, 6 packed size, 7 size), sizes, filters, padding, CRC32.
 * Undefined where the index begins, whose first byte is no block's size.
 */
async function readBlockHeader(input: PackedInput, checkType: number): Promise<Block | undefined> {
  if (!(await input.need(1))) throw truncated('xz data');
  const headerBytes = ((input.bytes[0] ?? 0) + 1) * 4;
  if (input.bytes[0] === 0) return undefined;
  if (headerBytes > MAX_BLOCK_HEADER_BYTES || !(await input.need(headerBytes))) throw truncated('xz data');
  const header = input.bytes.subarray(0, headerBytes - 4);
  if (crc32(header) !== input.bytes.readUInt32LE(headerBytes - 4))
    throw damaged('CORRUPT', 'xz block header is damaged');
  const flags = header[1] ?? 0;
  let position = 2;
  for (const flag of [0x40, 0x80]) if (flags & flag) position = parseInteger(header, position)?.end ?? header.length;
  const filter = parseInteger(header, position);
  const propertiesSize = parseInteger(header, filter?.end ?? header.length);
  if ((flags & 3) !== 0 || filter?.value !== FILTER_LZMA2 || propertiesSize?.value !== 1) {
    throw damaged('UNSUPPORTED', 'xz data are filtered for programs (BCJ, delta); unpack them with xz -d first');
  }
  const dictionaryBytes = parseDictionarySize(header[propertiesSize.end] ?? 0xff);
  if (dictionaryBytes > MAX_DICTIONARY_BYTES) {
    throw damaged('UNSUPPORTED', `xz data need a dictionary of ${dictionaryBytes} bytes; unpack them with xz -d first`);
  }
  input.take(headerBytes);
  return {
    decoder: new LzmaDecoder(dictionaryBytes),
    check: startCheck(checkType),
    packedBytes: headerBytes,
    needsDictionaryReset: true,
    needsProperties: true,
    needsStateReset: true,
  };
}

/** 2 or 3 times a power of two: 4 KiB, 6 KiB, 8 KiB … 3 GiB, and 40 for 4 GiB less one byte. */
function parseDictionarySize(bits: number): number {
  return bits >= 40 ? 2 ** 32 - 1 : (2 | (bits & 1)) * 2 ** (Math.floor(bits / 2) + 11);
}

/**
 * An LZMA2 chunk. Its first byte: 0 end · 1 stored, with a new dictionary · 2 stored · from 0x80 LZMA, bits 5–6 saying what begins anew
 * (1 the state, 2 and its properties, 3 and the dictionary), bits 0–4 the top of its size. Undefined at the block's end.
 */
async function readChunk(input: PackedInput, block: Block): Promise<Buffer | undefined> {
  await input.need(MAX_CHUNK_BYTES);
  const { bytes } = input;
  const control = bytes[0];
  if (control === undefined) throw truncated('xz data');
  if (control === 0) {
    takeOfBlock(input, block, 1);
    return undefined;
  }
  const isLzma = control >= 0x80;
  if ((!isLzma && control > 2) || bytes.length < 3) throw bytes.length < 3 ? truncated('xz data') : damagedData();
  const reset = isLzma ? (control >> 5) & 3 : 0;
  if (control === 1 || reset === 3) {
    block.decoder.resetDictionary();
    block.needsDictionaryReset = false;
  }
  if (block.needsDictionaryReset) throw damagedData();
  const sizeField = bytes.readUInt16BE(1);
  if (!isLzma) {
    if (bytes.length < 3 + sizeField + 1) throw truncated('xz data');
    const stored = block.decoder.copyStored(bytes.subarray(3, 3 + sizeField + 1));
    takeOfBlock(input, block, 3 + sizeField + 1);
    block.check.update(stored);
    return stored;
  }
  const dataStart = reset >= 2 ? 6 : 5;
  const wholeBytes = bytes.length < dataStart ? MAX_CHUNK_BYTES : dataStart + bytes.readUInt16BE(3) + 1;
  if (bytes.length < wholeBytes) throw truncated('xz data');
  if (reset >= 2) {
    if (!block.decoder.setProperties(bytes[5] ?? 0xff)) throw damagedData();
    block.needsProperties = false;
  }
  if (reset >= 1) {
    block.decoder.resetState();
    block.needsStateReset = false;
  }
  if (block.needsProperties || block.needsStateReset) throw damagedData();
  const size = ((control & 0x1f) << 16) + sizeField + 1;
  const chunk = block.decoder.decode(bytes.subarray(dataStart, wholeBytes), size);
  takeOfBlock(input, block, wholeBytes);
  block.check.update(chunk);
  return chunk;
}

function takeOfBlock(input: PackedInput, block: Block, byteCount: number): void {
  input.take(byteCount);
  block.packedBytes += byteCount;
}

/** Steps over a block's check; returns whether its data match it. */
async function readCheck(input: PackedInput, block: Block, checkType: number): Promise<boolean> {
  const padding = (4 - (block.packedBytes % 4)) % 4;
  const checkBytes = CHECK_BYTES[checkType] ?? 0;
  if (!(await input.need(padding + checkBytes))) throw truncated('xz data');
  const matches = block.check.matches(input.bytes.subarray(padding, padding + checkBytes));
  input.take(padding + checkBytes);
  return matches;
}

/** Steps over index and footer. They repeat what the blocks said, for those who read from the end. */
async function readIndex(input: PackedInput): Promise<void> {
  let indexBytes = 1;
  input.take(1);
  const takeInteger = async (): Promise<number> => {
    const isWhole = await input.need(MAX_INTEGER_BYTES);
    const integer = parseInteger(input.bytes, 0);
    if (integer === undefined) throw isWhole ? damagedData() : truncated('xz data');
    input.take(integer.end);
    indexBytes += integer.end;
    return integer.value;
  };
  const recordCount = await takeInteger();
  for (let record = 0; record < recordCount; record++) {
    await takeInteger();
    await takeInteger();
  }
  const padding = (4 - (indexBytes % 4)) % 4;
  const footerStart = padding + 4;
  if (!(await input.need(footerStart + STREAM_FOOTER_BYTES))) throw truncated('xz data');
  const footerEnd = footerStart + STREAM_FOOTER_BYTES;
  const isFooter = input.bytes.subarray(footerEnd - FOOTER_MAGIC.length, footerEnd).equals(FOOTER_MAGIC);
  input.take(footerEnd);
  if (!isFooter) throw damaged('CORRUPT', 'xz index is damaged; the data before it were read');
}

/** Seven bits a byte, the lowest first; the top bit says that more follow. Undefined if there is no end to it. */
function parseInteger(bytes: Buffer, start: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let index = 0; index < MAX_INTEGER_BYTES; index++) {
    const byte = bytes[start + index];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if ((byte & 0x80) === 0) return { value, end: start + index + 1 };
  }
  return undefined;
}

function damagedData(): Error {
  return damaged('CORRUPT', 'xz data are damaged');
}

function startCheck(checkType: number): Check {
  if (checkType === CHECK_CRC32) {
    let crc = 0;
    return {
      update: (chunk) => {
        crc = crc32(chunk, crc);
      },
      matches: (stored) => stored.readUInt32LE(0) === crc,
    };
  }
  if (checkType === CHECK_CRC64) {
    const crc = new Crc64();
    return { update: (chunk) => crc.update(chunk), matches: (stored) => crc.matches(stored) };
  }
  if (checkType === CHECK_SHA256) {
    const hash = createHash('sha256');
    return {
      update: (chunk) => {
        hash.update(chunk);
      },
      matches: (stored) => hash.digest().equals(stored),
    };
  }
  return { update: () => {}, matches: () => true };
}

/** The reflected polynomial of ECMA-182, in halves: JavaScript's integers have 32 bits. */
const CRC64_POLYNOMIAL_HIGH = 0xc96c5795;
const CRC64_POLYNOMIAL_LOW = 0xd7870f42;
const CRC64_TABLE_HIGH = new Int32Array(256);
const CRC64_TABLE_LOW = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let high = 0;
  let low = byte;
  for (let bit = 0; bit < 8; bit++) {
    const isOdd = (low & 1) === 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (isOdd) {
      high ^= CRC64_POLYNOMIAL_HIGH;
      low ^= CRC64_POLYNOMIAL_LOW;
    }
  }
  CRC64_TABLE_HIGH[byte] = high;
  CRC64_TABLE_LOW[byte] = low;
}

class Crc64 {
  #high = -1;
  #low = -1;

  update(chunk: Buffer): void {
    let high = this.#high;
    let low = this.#low;
    for (let index = 0; index < chunk.length; index++) {
      const row = (low ^ (chunk[index] ?? 0)) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (CRC64_TABLE_LOW[row] ?? 0);
      high = (high >>> 8) ^ (CRC64_TABLE_HIGH[row] ?? 0);
    }
    this.#high = high;
    this.#low = low;
  }

  matches(stored: Buffer): boolean {
    return stored.readInt32LE(0) === ~this.#low && stored.readInt32LE(4) === ~this.#high;
  }
}
