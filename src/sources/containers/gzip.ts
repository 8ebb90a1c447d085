import { crc32, createInflateRaw } from 'node:zlib';
import { systemCodeOf } from '../../errors.js';
import { type ChunkSource, damaged, mismatch, truncated } from './member.js';
import type { PackedInput } from './packed-input.js';

/** RFC 1952: ID1 ID2 CM FLG MTIME(4) XFL OS, then what FLG announces. */
const HEADER_BYTES = 10;
const FLAG_HEADER_CRC = 0x02;
const FLAG_EXTRA = 0x04;
const FLAG_NAME = 0x08;
const FLAG_COMMENT = 0x10;
const FLAGS_RESERVED = 0xe0;

/** CRC32 and size modulo 2^32 of the data, little-endian. */
const TRAILER_BYTES = 8;

const OUTPUT_BYTES = 64 * 1024;

/**
 * Unpacks gzip data of any number of members. What follows the last trailer and starts no member (padding, a line feed) is ignored.
 * Node's own gunzip would fail on such a byte and lose the last data before it; so members are taken apart here.
 */
export function gzipChunks(input: PackedInput): ChunkSource {
  let inflating: ChunkSource | undefined;
  let memberCount = 0;
  let crc = 0;
  let size = 0;
  let isMismatched = false;
  return {
    packedBytes: () => input.takenBytes,
    close: () => inflating?.close(),
    next: async () => {
      for (;;) {
        if (inflating === undefined) {
          if (!(await readHeader(input, memberCount > 0))) {
            if (isMismatched) throw mismatch('gzip data do not match their checksum');
            return undefined;
          }
          memberCount += 1;
          crc = 0;
          size = 0;
          inflating = inflateChunks(input, 'gzip data');
        }
        const chunk = await inflating.next();
        if (chunk !== undefined) {
          crc = crc32(chunk, crc);
          size = (size + chunk.length) >>> 0;
          return chunk;
        }
        inflating.close();
        inflating = undefined;
        if (!(await input.need(TRAILER_BYTES))) throw truncated('gzip data');
        const expectedCrc = input.bytes.readUInt32LE(0);
        const expectedSize = input.bytes.readUInt32LE(4);
        input.take(TRAILER_BYTES);
        isMismatched ||= crc !== expectedCrc || size !== expectedSize;
      }
    },
  };
}

/** Steps over a member's header; false if no member starts here. */
async function readHeader(input: PackedInput, isFollowing: boolean): Promise<boolean> {
  const isWhole = await input.need(HEADER_BYTES);
  const { bytes } = input;
  const startsMember = bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8;
  if (isFollowing && !(isWhole && startsMember)) return false;
  if (!isWhole) throw truncated('gzip data');
  const flags = bytes[3] ?? 0;
  if (!startsMember || (flags & FLAGS_RESERVED) !== 0) throw damaged('CORRUPT', 'gzip header is damaged');
  input.take(HEADER_BYTES);
  if (flags & FLAG_EXTRA) {
    if (!(await input.need(2))) throw truncated('gzip data');
    const extraBytes = input.bytes.readUInt16LE(0);
    if (!(await input.skip(2 + extraBytes))) throw truncated('gzip data');
  }
  if (flags & FLAG_NAME) await skipText(input);
  if (flags & FLAG_COMMENT) await skipText(input);
  if (flags & FLAG_HEADER_CRC && !(await input.skip(2))) throw truncated('gzip data');
  return true;
}

/** Steps over a text that ends with a zero byte. */
async function skipText(input: PackedInput): Promise<void> {
  for (;;) {
    if (!(await input.need(1))) throw truncated('gzip data');
    const end = input.bytes.indexOf(0);
    input.take(end < 0 ? input.bytes.length : end + 1);
    if (end >= 0) return;
  }
}

/** Unpacks one deflate stream (RFC 1951) and takes exactly its bytes from `input`. */
export function inflateChunks(input: PackedInput, subject: string): ChunkSource {
  const stream = createInflateRaw({ chunkSize: OUTPUT_BYTES });
  let failure: Error | undefined;
  let hasEnded = false;
  let isWriting = false;
  let isInputOver = false;
  let isClosed = false;
  let reportedBytes = 0;
  let wake: (() => void) | undefined;
  const notify = (): void => wake?.();
  stream.on('readable', notify);
  stream.on('end', () => {
    hasEnded = true;
    notify();
  });
  stream.on('error', (error) => {
    failure = error;
    notify();
  });
  // zlib says how much of what it was given it took; the rest belongs to what follows the stream.
  const takeWhatWasRead = (): void => {
    input.take(stream.bytesWritten - reportedBytes);
    reportedBytes = stream.bytesWritten;
  };
  return {
    packedBytes: () => input.takenBytes,
    close: () => {
      if (!isClosed) stream.destroy();
      isClosed = true;
    },
    next: async () => {
      for (;;) {
        const chunk: unknown = stream.read();
        if (Buffer.isBuffer(chunk)) return chunk;
        // zlib's word for data that end too early is Z_BUF_ERROR.
        if (failure !== undefined && isInputOver && systemCodeOf(failure) === 'Z_BUF_ERROR') throw truncated(subject);
        if (failure !== undefined) throw damaged('CORRUPT', `${subject}: ${failure.message}`, failure);
        if (hasEnded) {
          takeWhatWasRead();
          return undefined;
        }
        if (!isWriting) {
          takeWhatWasRead();
          isWriting = true;
          if (await input.need(1)) {
            stream.write(input.bytes, () => {
              isWriting = false;
              notify();
            });
          } else {
            isInputOver = true;
            stream.end();
          }
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
