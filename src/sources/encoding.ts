import type { ByteReader, PeekableReader } from './byte-reader.js';

type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be';

interface Detection {
  readonly encoding: Encoding;
  /** Length of the byte order mark. */
  readonly markBytes: number;
}

/** Enough to see through a few blank lines at the start. */
const HEAD_BYTES = 16;

/** Bytes of UTF-16 decoded at a time. */
const CHUNK_BYTES = 64 * 1024;

const BYTE_ORDER_MARK: Buffer = Buffer.from([0xef, 0xbb, 0xbf]);

/** UTF-8 needs at most three bytes for one 16-bit unit. */
const MAX_UTF8_BYTES_PER_UNIT = 3;

/**
 * The same text in UTF-8 without byte order mark: UTF-8 passes through byte for byte (also where it is not valid), UTF-16 of both byte
 * orders is converted, recognised by its mark or, without one, by the zero bytes of its first characters.
 * Half a character at the end, or a lone surrogate, becomes U+FFFD.
 */
export function decodingReader(reader: PeekableReader): ByteReader {
  let decoded: ByteReader | undefined;
  return {
    read: async (target) => {
      decoded ??= await startDecoding(reader);
      return decoded.read(target);
    },
  };
}

/** The same UTF-8 text with a byte order mark in front. */
export function withMark(reader: ByteReader): ByteReader {
  let mark = BYTE_ORDER_MARK;
  return {
    read: async (target) => {
      const copied = mark.copy(target);
      mark = mark.subarray(copied);
      return copied === target.length ? copied : copied + (await reader.read(target.subarray(copied)));
    },
  };
}

async function startDecoding(reader: PeekableReader): Promise<ByteReader> {
  const { encoding, markBytes } = detectEncoding(await reader.peek(HEAD_BYTES));
  if (markBytes > 0) await reader.read(Buffer.alloc(markBytes));
  return encoding === 'utf-8' ? reader : utf16Reader(reader, encoding === 'utf-16be');
}

/** The encoding of a text that starts with these bytes; the first few decide. */
export function detectEncoding(start: Buffer): Detection {
  const head = start.subarray(0, HEAD_BYTES);
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return { encoding: 'utf-8', markBytes: 3 };
  if (head[0] === 0xff && head[1] === 0xfe) return { encoding: 'utf-16le', markBytes: 2 };
  if (head[0] === 0xfe && head[1] === 0xff) return { encoding: 'utf-16be', markBytes: 2 };
  const pairs = Math.floor(head.length / 2);
  let littleEndian = 0;
  let bigEndian = 0;
  for (let pair = 0; pair < pairs; pair++) {
    const first = head[2 * pair];
    const second = head[2 * pair + 1];
    if (first !== 0 && second === 0) littleEndian += 1;
    if (first === 0 && second !== 0) bigEndian += 1;
  }
  // Every log starts with ASCII: a brace, a tag, a heading.
  if (pairs > 0 && littleEndian === pairs) return { encoding: 'utf-16le', markBytes: 0 };
  if (pairs > 0 && bigEndian === pairs) return { encoding: 'utf-16be', markBytes: 0 };
  return { encoding: 'utf-8', markBytes: 0 };
}

function utf16Reader(reader: ByteReader, isBigEndian: boolean): ByteReader {
  // One unit more: a pair of surrogates may be split between two chunks.
  const units = Buffer.allocUnsafe(CHUNK_BYTES + 2);
  const utf8 = Buffer.allocUnsafe((CHUNK_BYTES / 2 + 1) * MAX_UTF8_BYTES_PER_UNIT);
  let keptBytes = 0;
  let position = 0;
  let length = 0;
  let hasEnded = false;

  const decodeChunk = async (): Promise<void> => {
    const readBytes = await reader.read(units.subarray(keptBytes, keptBytes + CHUNK_BYTES));
    hasEnded = readBytes < CHUNK_BYTES;
    const fresh = units.subarray(keptBytes, keptBytes + readBytes);
    const evenBytes = fresh.length - (fresh.length % 2);
    if (isBigEndian) fresh.subarray(0, evenBytes).swap16();
    let end = keptBytes + evenBytes;
    const isHalfPair = !hasEnded && end >= 2 && (units.readUInt16LE(end - 2) & 0xfc00) === 0xd800;
    if (isHalfPair) end -= 2;
    const text = units.toString('utf16le', 0, end) + (evenBytes < fresh.length ? '\ufffd' : '');
    position = 0;
    length = utf8.write(text, 0, 'utf8');
    if (isHalfPair) units.copyWithin(0, end, end + 2);
    keptBytes = isHalfPair ? 2 : 0;
  };

  return {
    read: async (target) => {
      let filled = 0;
      while (filled < target.length) {
        if (position === length) {
          if (hasEnded) break;
          await decodeChunk();
          continue;
        }
        const copied = utf8.copy(target, filled, position, length);
        filled += copied;
        position += copied;
      }
      return filled;
    },
  };
}
