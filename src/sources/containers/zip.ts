import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { LogError, messageOf } from '../../errors.js';
import type { ByteReader } from '../byte-reader.js';
import { inflateChunks } from './gzip.js';
import type { InflationBudget } from './limits.js';
import { type ChunkSource, damaged, isMacTwin, type Member, mismatch, nameFailure, oneMember } from './member.js';
import { PackedInput } from './packed-input.js';

/** PKWARE's APPNOTE.TXT, section 4.3: signatures and sizes of the fixed parts of its structures. */
const DIRECTORY_END = Buffer.from([0x50, 0x4b, 5, 6]);
const DIRECTORY_END_BYTES = 22;
const ZIP64_LOCATOR_SIGNATURE = 0x07064b50;
const ZIP64_LOCATOR_BYTES = 20;
const ZIP64_DIRECTORY_END_SIGNATURE = 0x06064b50;
const ZIP64_DIRECTORY_END_BYTES = 56;
const FILE_HEADER_SIGNATURE = 0x02014b50;
const FILE_HEADER_BYTES = 46;
const LOCAL_HEADER_SIGNATURE = 0x04034b50;
const LOCAL_HEADER_BYTES = 30;

/** A name, an extra field and a comment have 16-bit lengths. */
const MAX_VARIABLE_BYTES = 0xffff;
const FILE_HEADER_WINDOW_BYTES = FILE_HEADER_BYTES + 3 * MAX_VARIABLE_BYTES;

/** A 32-bit field that says that the value stands in the zip64 extra field. */
const IN_ZIP64 = 0xffffffff;
const EXTRA_ZIP64 = 1;

const FLAG_ENCRYPTED = 0x0001;
const FLAG_DIRECTORY_ENCRYPTED = 0x2000;
const METHOD_STORED = 0;
const METHOD_DEFLATED = 8;

/** How far behind the archive's end that end is looked for: some writers, downloads and mailers add a byte or a few. */
const MAX_GARBAGE_BYTES = 4096;

/** Where the central directory lies in the file. */
interface Directory {
  readonly start: number;
  readonly byteCount: number;
  /** What stands before the archive (a self-extractor's program); offsets in the archive count from behind it. */
  readonly archiveStart: number;
}

/** A file as the central directory describes it: local headers may lack sizes (data descriptors). */
interface FileHeader {
  readonly name: string;
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  readonly localHeaderOffset: number;
}

/** The files in a zip archive in the order of its central directory, each checked against its CRC. */
export async function* zipMembers(path: string, budget: InflationBudget): AsyncGenerator<Member, void, void> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const directory = await findDirectory(file);
    const input = new PackedInput(
      rangeReader(file, directory.start, directory.byteCount),
      2 * FILE_HEADER_WINDOW_BYTES,
    );
    for (;;) {
      const header = await nextFileHeader(input);
      if (header === undefined) break;
      yield* fileMember(file, directory, header, budget);
    }
  } catch (error) {
    const failure =
      error instanceof LogError ? error : damaged('UNREADABLE', `zip archive: ${messageOf(error)}`, error);
    yield { name: '', failure };
  } finally {
    await file?.close();
  }
}

/**
 * offset size field of the directory's end: 4 2 disk · 10 2 files · 12 4 directory's size · 16 4 its offset · 20 2 comment's length;
 * of the zip64 one: 40 8 directory's size · 48 8 its offset. The directory ends where these begin, whatever offset it claims.
 */
async function findDirectory(file: FileHandle): Promise<Directory> {
  const { size } = await file.stat();
  const tailBytes = Math.min(size, DIRECTORY_END_BYTES + MAX_VARIABLE_BYTES + MAX_GARBAGE_BYTES);
  const tail = await readRange(file, size - tailBytes, tailBytes);
  const found = tail.lastIndexOf(DIRECTORY_END);
  if (found < 0 || found + DIRECTORY_END_BYTES > tail.length) {
    throw damaged('TRUNCATED', 'zip archive has no directory at its end; it was cut, nothing of it was read');
  }
  let endStart = size - tailBytes + found;
  if (tail.readUInt16LE(found + 4) !== 0 && tail.readUInt16LE(found + 4) !== 0xffff) {
    throw damaged('UNSUPPORTED', 'zip archive is one part of several; join them first');
  }
  let byteCount = tail.readUInt32LE(found + 12);
  let offset = tail.readUInt32LE(found + 16);
  const zip64Start = await findZip64End(file, endStart);
  if (zip64Start !== undefined) {
    const end = await readRange(file, zip64Start, ZIP64_DIRECTORY_END_BYTES);
    byteCount = readSafe64(end, 40);
    offset = readSafe64(end, 48);
    endStart = zip64Start;
  }
  const start = endStart - byteCount;
  if (start < offset) throw damaged('CORRUPT', 'zip directory is damaged');
  return { start, byteCount, archiveStart: start - offset };
}

/** The locator before the directory's end says where the zip64 end is; in front of a program it lies right before the locator. */
async function findZip64End(file: FileHandle, endStart: number): Promise<number | undefined> {
  const locatorStart = endStart - ZIP64_LOCATOR_BYTES;
  if (locatorStart < ZIP64_DIRECTORY_END_BYTES) return undefined;
  const locator = await readRange(file, locatorStart, ZIP64_LOCATOR_BYTES);
  if (locator.readUInt32LE(0) !== ZIP64_LOCATOR_SIGNATURE) return undefined;
  for (const start of [readSafe64(locator, 8), locatorStart - ZIP64_DIRECTORY_END_BYTES]) {
    if (start > locatorStart - ZIP64_DIRECTORY_END_BYTES) continue;
    const end = await readRange(file, start, 4);
    if (end.readUInt32LE(0) === ZIP64_DIRECTORY_END_SIGNATURE) return start;
  }
  throw damaged('CORRUPT', 'zip directory is damaged');
}

/**
 * offset size field: 8 2 flags · 10 2 method · 16 4 CRC · 20 4 packed size · 24 4 size · 28 2 name's length · 30 2 extra's · 32 2
 * comment's · 42 4 offset of the local header · 46 name, extra, comment. Undefined at the directory's end.
 */
async function nextFileHeader(input: PackedInput): Promise<FileHeader | undefined> {
  if (!(await input.need(FILE_HEADER_BYTES))) {
    if (input.bytes.length > 0) throw damaged('CORRUPT', 'zip directory is damaged; what follows was not read');
    return undefined;
  }
  const fixed = input.bytes;
  const nameBytes = fixed.readUInt16LE(28);
  const extraBytes = fixed.readUInt16LE(30);
  const wholeBytes = FILE_HEADER_BYTES + nameBytes + extraBytes + fixed.readUInt16LE(32);
  if (fixed.readUInt32LE(0) !== FILE_HEADER_SIGNATURE || !(await input.need(wholeBytes))) {
    throw damaged('CORRUPT', 'zip directory is damaged; what follows was not read');
  }
  const { bytes } = input;
  const extraStart = FILE_HEADER_BYTES + nameBytes;
  const size = bytes.readUInt32LE(24);
  const packedBytes = bytes.readUInt32LE(20);
  const localHeaderOffset = bytes.readUInt32LE(42);
  const zip64 = findExtra(bytes.subarray(extraStart, extraStart + extraBytes), EXTRA_ZIP64);
  // Only the values that did not fit are there, in this order.
  let position = size === IN_ZIP64 ? 8 : 0;
  const widen = (value: number): number => {
    if (value !== IN_ZIP64) return value;
    if (zip64 === undefined || position + 8 > zip64.length) throw damaged('CORRUPT', 'zip directory is damaged');
    position += 8;
    return readSafe64(zip64, position - 8);
  };
  const header = {
    name: decodeName(bytes.subarray(FILE_HEADER_BYTES, extraStart)),
    flags: bytes.readUInt16LE(8),
    method: bytes.readUInt16LE(10),
    crc: bytes.readUInt32LE(16),
    packedBytes: widen(packedBytes),
    localHeaderOffset: widen(localHeaderOffset),
  };
  input.take(wholeBytes);
  return header;
}

async function* fileMember(
  file: FileHandle,
  directory: Directory,
  header: FileHeader,
  budget: InflationBudget,
): AsyncGenerator<Member, void, void> {
  const { name } = header;
  if (name.endsWith('/') || isMacTwin(name)) return;
  const failure = nameFailure(name) ?? contentFailure(header);
  if (failure !== undefined) {
    yield { name, failure };
    return;
  }
  const headerStart = directory.archiveStart + header.localHeaderOffset;
  const local = await readRange(file, headerStart, LOCAL_HEADER_BYTES);
  if (local.length < LOCAL_HEADER_BYTES || local.readUInt32LE(0) !== LOCAL_HEADER_SIGNATURE) {
    yield { name, failure: damaged('CORRUPT', 'zip member is not where the directory says') };
    return;
  }
  const start = headerStart + LOCAL_HEADER_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28);
  const input = new PackedInput(rangeReader(file, start, header.packedBytes));
  const chunks = header.method === METHOD_STORED ? storedChunks(input) : inflateChunks(input, 'zip member');
  yield* oneMember(name, checkedChunks(chunks, header.crc), budget, 'zip member');
}

function contentFailure({ flags, method }: FileHeader): LogError | undefined {
  if ((flags & (FLAG_ENCRYPTED | FLAG_DIRECTORY_ENCRYPTED)) !== 0) {
    return damaged(
      'ENCRYPTED',
      'zip member is encrypted; unpack it with its password first (evidence often has "infected")',
    );
  }
  if (method === METHOD_STORED || method === METHOD_DEFLATED) return undefined;
  return damaged('UNSUPPORTED', `zip member is packed with method ${method}; unpack it first`);
}

function storedChunks(input: PackedInput): ChunkSource {
  let isGiven = false;
  return {
    packedBytes: () => input.takenBytes,
    close: () => {},
    next: async () => {
      if (isGiven) input.take(input.bytes.length);
      isGiven = await input.need(1);
      return isGiven ? input.bytes : undefined;
    },
  };
}

/** The same chunks; rejects at their end if they do not match the CRC. */
function checkedChunks(chunks: ChunkSource, expectedCrc: number): ChunkSource {
  let crc = 0;
  return {
    packedBytes: chunks.packedBytes,
    close: chunks.close,
    next: async () => {
      const chunk = await chunks.next();
      if (chunk !== undefined) {
        crc = crc32(chunk, crc);
      } else if (crc !== expectedCrc) {
        throw mismatch('the zip member does not match its checksum');
      }
      return chunk;
    },
  };
}

/** The data of the extra field with that id: a list of id (2), length (2), data. */
function findExtra(extra: Buffer, id: number): Buffer | undefined {
  for (let start = 0; start + 4 <= extra.length; start += 4 + extra.readUInt16LE(start + 2)) {
    if (extra.readUInt16LE(start) === id) return extra.subarray(start + 4, start + 4 + extra.readUInt16LE(start + 2));
  }
  return undefined;
}

/** Writers set the flag for UTF-8 as they please, so the bytes decide; tools of Windows write backslashes. */
function decodeName(bytes: Buffer): string {
  const utf8 = bytes.toString('utf8');
  return (utf8.includes('\ufffd') ? bytes.toString('latin1') : utf8).replaceAll('\\', '/');
}

/** A 64-bit number; rejects one that no file reaches. */
function readSafe64(bytes: Buffer, offset: number): number {
  const value = bytes.length < offset + 8 ? Number.NaN : Number(bytes.readBigUInt64LE(offset));
  if (!Number.isSafeInteger(value)) throw damaged('CORRUPT', 'zip directory is damaged');
  return value;
}

/** `byteCount` bytes from `start`, fewer only where the file ends. */
async function readRange(file: FileHandle, start: number, byteCount: number): Promise<Buffer> {
  const bytes = Buffer.alloc(byteCount);
  const length = await rangeReader(file, start, byteCount).read(bytes);
  return bytes.subarray(0, length);
}

function rangeReader(file: FileHandle, start: number, byteCount: number): ByteReader {
  let position = start;
  const end = start + byteCount;
  return {
    read: async (target) => {
      let filled = 0;
      while (filled < target.length && position < end) {
        const { bytesRead } = await file.read(
          target,
          filled,
          Math.min(target.length - filled, end - position),
          position,
        );
        if (bytesRead === 0) break;
        filled += bytesRead;
        position += bytesRead;
      }
      return filled;
    },
  };
}
