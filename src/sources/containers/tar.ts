import type { ByteReader } from '../byte-reader.js';
import { damaged, isMacTwin, type Member, nameFailure, truncated } from './member.js';
import { PackedInput } from './packed-input.js';

/** POSIX ustar, IEEE 1003.1: blocks of 512 bytes, a header and then the member's data, padded. */
const BLOCK_BYTES = 512;

/** Longest name in a GNU or pax header that is held: PATH_MAX of Linux, with room for pax's other records. */
const MAX_EXTENDED_HEADER_BYTES = 64 * 1024;

interface Header {
  readonly name: string;
  readonly sizeBytes: number;
  /** `0` file, `5` directory, `L` GNU long name, `x` pax header, `S` sparse file … */
  readonly type: string;
}

/** Regular files, as POSIX, ancient tars and contiguous files spell them. */
const FILE_TYPES: ReadonlySet<string> = new Set(['0', '\0', '7']);

/** Whether a block is the header of a tar archive's first member. */
export function isTar(head: Buffer): boolean {
  return head.length >= 262 && head.toString('latin1', 257, 262) === 'ustar';
}

/** The files in a tar archive, in its order. Directories, links and devices have no data and are passed over. */
export async function* tarMembers(reader: ByteReader): AsyncGenerator<Member, void, void> {
  const input = new PackedInput(reader, 2 * MAX_EXTENDED_HEADER_BYTES);
  let longName: string | undefined;
  let longSizeBytes: number | undefined;
  for (;;) {
    if (!(await input.need(BLOCK_BYTES))) {
      // Two empty blocks end an archive; some writers forget them.
      if (input.bytes.length > 0) yield { name: '', failure: truncated('tar data') };
      return;
    }
    const block = input.bytes.subarray(0, BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) return;
    const header = parseHeader(block);
    if (header === undefined) {
      yield { name: '', failure: damaged('CORRUPT', 'tar header is damaged; what follows it was not read') };
      return;
    }
    input.take(BLOCK_BYTES);
    if (header.type === 'L' || header.type === 'x') {
      const extension = await readExtension(input, header);
      if (extension === undefined) {
        yield { name: '', failure: truncated('tar data') };
        return;
      }
      if (header.type === 'L') longName = textOf(extension);
      else ({ name: longName = longName, sizeBytes: longSizeBytes } = parsePax(extension));
      continue;
    }
    const name = (longName ?? header.name).replace(/^(?:\.\/)+/, '');
    const sizeBytes = longSizeBytes ?? header.sizeBytes;
    longName = undefined;
    longSizeBytes = undefined;
    const data = memberData(input, sizeBytes);
    if (header.type === 'S') {
      yield { name, failure: damaged('UNSUPPORTED', 'sparse file in a tar archive; unpack it with tar first') };
    } else if (FILE_TYPES.has(header.type) && !isMacTwin(name)) {
      const failure = nameFailure(name);
      yield failure === undefined ? { name, reader: data.reader } : { name, failure };
    }
    const isWhole = await data.skipRest();
    if (!isWhole) {
      yield { name, failure: truncated('tar data') };
      return;
    }
  }
}

/**
 * offset size field: 0 100 name · 124 12 size · 148 8 checksum · 156 1 type · 257 6 magic · 345 155 prefix.
 * Numbers are octal text; GNU writes sizes from 8 GiB on as big-endian numbers with the top bit set. Undefined if the checksum is wrong.
 */
function parseHeader(block: Buffer): Header | undefined {
  let sum = 0;
  for (const [index, byte] of block.entries()) sum += index >= 148 && index < 156 ? 0x20 : byte;
  if (parseNumber(block.subarray(148, 156)) !== sum) return undefined;
  const sizeBytes = parseNumber(block.subarray(124, 136));
  if (sizeBytes === undefined) return undefined;
  const name = textOf(block.subarray(0, 100));
  // GNU's own format has times where POSIX has the prefix.
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? textOf(block.subarray(345, 500)) : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    sizeBytes,
    type: String.fromCharCode(block[156] ?? 0),
  };
}

function parseNumber(field: Buffer): number | undefined {
  if ((field[0] ?? 0) & 0x80) {
    const size = field.reduce((total, byte, index) => total * 256 + (index === 0 ? byte & 0x7f : byte), 0);
    return Number.isSafeInteger(size) ? size : undefined;
  }
  const digits = textOf(field).trim();
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits === '' ? '0' : digits, 8) : undefined;
}

function textOf(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? field.length : end);
}

/** The data of a header that extends the next one; undefined if they are cut or absurdly long. */
async function readExtension(input: PackedInput, header: Header): Promise<Buffer | undefined> {
  const { sizeBytes } = header;
  if (sizeBytes > MAX_EXTENDED_HEADER_BYTES || !(await input.need(paddedBytes(sizeBytes)))) return undefined;
  const data = Buffer.from(input.bytes.subarray(0, sizeBytes));
  input.take(paddedBytes(sizeBytes));
  return data;
}

/** pax records are `LENGTH KEY=VALUE\n`, the length in decimal and of the whole record. */
function parsePax(data: Buffer): { readonly name?: string; readonly sizeBytes?: number } {
  const extension: { name?: string; sizeBytes?: number } = {};
  for (let start = 0; start < data.length; ) {
    const blank = data.indexOf(0x20, start);
    const digits = blank < 0 ? '' : data.toString('latin1', start, blank);
    const length = /^\d{1,9}$/.test(digits) ? Number(digits) : 0;
    // Each record goes at least over its own length, or there would be no end.
    if (length <= digits.length) break;
    const record = data.toString('utf8', blank + 1, start + length - 1);
    if (record.startsWith('path=')) extension.name = record.slice('path='.length);
    if (/^size=\d{1,15}$/.test(record)) extension.sizeBytes = Number(record.slice('size='.length));
    start += length;
  }
  return extension;
}

function paddedBytes(byteCount: number): number {
  return Math.ceil(byteCount / BLOCK_BYTES) * BLOCK_BYTES;
}

/** One member's data, and what steps over those nobody read; false there if the archive ends within them. */
function memberData(
  input: PackedInput,
  sizeBytes: number,
): { readonly reader: ByteReader; skipRest(): Promise<boolean> } {
  let leftBytes = sizeBytes;
  const padding = paddedBytes(sizeBytes) - sizeBytes;
  return {
    reader: {
      read: async (target) => {
        let filled = 0;
        while (filled < target.length && leftBytes > 0 && (await input.need(1))) {
          const copied = input.bytes.copy(target, filled, 0, leftBytes);
          input.take(copied);
          filled += copied;
          leftBytes -= copied;
        }
        return filled;
      },
    },
    skipRest: async () => {
      if (!(await input.skip(leftBytes))) return false;
      // A last member without its padding is whole.
      await input.skip(padding);
      return true;
    },
  };
}
