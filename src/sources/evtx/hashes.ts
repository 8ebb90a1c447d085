import { algorithmOf, type FileHashes, type HashAlgorithm, parseHashes } from '../../hash.js';
import { trimNuls } from './values.js';

/**
 * The digests in a Sysmon event's fields: `Hashes`, or `Hash` of event 15, both `SHA1=…,MD5=…`;
 * Sysmon 1.x writes one bare digest as `Hash` and its algorithm as `HashType`.
 */
export function hashesOf(data: ReadonlyMap<string, string>): FileHashes {
  const hashes = data.get('Hashes');
  if (hashes !== undefined) return parseHashes(hashes);
  const hash = data.get('Hash') ?? '';
  if (hash.includes('=')) return parseHashes(hash);
  const type = data.get('HashType');
  // Without a type the length decides; with one it must agree, since an IMPHASH has the length of an MD5.
  return parseHashes(`${type ?? algorithmOf(hash) ?? ''}=${hash}`);
}

/** Lower-case letter or digit for the code unit of a hex digit, 0 for everything else. */
const LOWER_HEX_DIGIT = new Uint8Array(0x80);
for (const digit of '0123456789abcdefABCDEF') LOWER_HEX_DIGIT[digit.charCodeAt(0)] = digit.toLowerCase().charCodeAt(0);

interface ListedAlgorithm {
  /** As Sysmon writes it, with the equals sign, in UTF-16LE. */
  readonly prefix: Buffer;
  readonly digits: number;
  /** Undefined for IMPHASH, which names imports and no file. */
  readonly algorithm: HashAlgorithm | undefined;
}

/** In the order in which Sysmon writes them. */
const LISTED_ALGORITHMS: readonly ListedAlgorithm[] = [
  { prefix: Buffer.from('SHA1=', 'utf16le'), digits: 40, algorithm: 'sha1' },
  { prefix: Buffer.from('MD5=', 'utf16le'), digits: 32, algorithm: 'md5' },
  { prefix: Buffer.from('SHA256=', 'utf16le'), digits: 64, algorithm: 'sha256' },
  { prefix: Buffer.from('IMPHASH=', 'utf16le'), digits: 32, algorithm: undefined },
];

const COMMA = 0x2c;

/** Digits of one digest, in lower case. */
const digits = Buffer.alloc(64);

/**
 * Reads a `Hashes` value straight from its UTF-16LE bytes. Returns undefined unless it is of the ordinary form, known names in
 * capitals with whole digests between plain commas; `parseHashes` knows the others and agrees on this one.
 */
export function readHashList(view: DataView, start: number, end: number): FileHashes | undefined {
  const listEnd = trimNuls(view, start, end);
  const hashes: { -readonly [algorithm in HashAlgorithm]?: string } = {};
  let at = start;
  let candidate = 0;
  while (at < listEnd) {
    while (!startsWith(view, at, listEnd, LISTED_ALGORITHMS[candidate]?.prefix)) {
      if (++candidate >= LISTED_ALGORITHMS.length) return undefined;
    }
    const listed = LISTED_ALGORITHMS[candidate++];
    if (listed === undefined) return undefined;
    const from = at + listed.prefix.length;
    at = from + 2 * listed.digits;
    if (at > listEnd || !readDigits(view, from, listed.digits)) return undefined;
    if (listed.algorithm !== undefined) hashes[listed.algorithm] = digits.toString('latin1', 0, listed.digits);
    if (at === listEnd) break;
    if (view.getUint16(at, true) !== COMMA) return undefined;
    at += 2;
  }
  return hashes;
}

function startsWith(view: DataView, at: number, end: number, prefix: Buffer | undefined): boolean {
  if (prefix === undefined || prefix.length > end - at) return false;
  for (let index = 0; index < prefix.length; index++) {
    if (view.getUint8(at + index) !== prefix[index]) return false;
  }
  return true;
}

function readDigits(view: DataView, from: number, count: number): boolean {
  for (let index = 0; index < count; index++) {
    const digit = LOWER_HEX_DIGIT[view.getUint16(from + 2 * index, true)] ?? 0;
    if (digit === 0) return false;
    digits[index] = digit;
  }
  return true;
}
