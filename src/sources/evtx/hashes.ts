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

/** Lists remembered, a power of two: 19 of 20 process creations repeat a list, and making strings is what costs. */
const MEMORY_SLOTS = 4096;
/** The longest list Sysmon writes, all four algorithms and a NUL, takes 392 bytes. */
const SLOT_BYTES = 400;
/** `MD5=` with its digits. */
const MIN_LIST_BYTES = 72;
/** Slots tried for one list. */
const MAX_PROBES = 4;

/** Lists as they stood in their records, one behind the other, so that a comparison touches as little memory as can be. */
const memory = new DataView(new ArrayBuffer(MEMORY_SLOTS * SLOT_BYTES));
const slotLengths = new Uint16Array(MEMORY_SLOTS);
const slotHashes: FileHashes[] = new Array(MEMORY_SLOTS).fill({});

/**
 * Reads a `Hashes` value straight from its UTF-16LE bytes. Returns undefined unless it is of the ordinary form, known names in
 * capitals with whole digests between plain commas; `parseHashes` knows the others and agrees on this one.
 */
export function readHashList(view: DataView, start: number, end: number): FileHashes | undefined {
  const byteCount = end - start;
  if (byteCount > SLOT_BYTES || byteCount < MIN_LIST_BYTES) return parseHashList(view, start, end);
  // Characters 10 to 19 are digits of the first digest, whichever it is.
  let mix = Math.imul(view.getUint32(start + 20) ^ Math.imul(view.getUint32(start + 28), 0x9e37_79b1), 0x85eb_ca6b);
  mix = Math.imul(mix ^ (mix >>> 15) ^ view.getUint32(start + 36), 0xc2b2_ae35);
  const home = (mix >>> 12) & (MEMORY_SLOTS - 1);
  let slot = home;
  for (let probe = 0; probe < MAX_PROBES; probe++) {
    slot = (home + probe) & (MEMORY_SLOTS - 1);
    const length = slotLengths[slot];
    if (length === 0) break;
    if (length === byteCount && isRemembered(slot, view, start, byteCount)) return slotHashes[slot];
    // With all slots taken the list at home gives way.
    if (probe === MAX_PROBES - 1) slot = home;
  }
  const hashes = parseHashList(view, start, end);
  if (hashes !== undefined) remember(slot, view, start, byteCount, hashes);
  return hashes;
}

function isRemembered(slot: number, view: DataView, start: number, byteCount: number): boolean {
  const base = slot * SLOT_BYTES;
  let at = 0;
  for (; at + 4 <= byteCount; at += 4) {
    if (memory.getUint32(base + at) !== view.getUint32(start + at)) return false;
  }
  return at === byteCount || memory.getUint16(base + at) === view.getUint16(start + at);
}

function remember(slot: number, view: DataView, start: number, byteCount: number, hashes: FileHashes): void {
  const base = slot * SLOT_BYTES;
  for (let at = 0; at < byteCount; at += 2) memory.setUint16(base + at, view.getUint16(start + at));
  slotLengths[slot] = byteCount;
  slotHashes[slot] = hashes;
}

/** The list as it stands there, whether or not it is known. */
function parseHashList(view: DataView, start: number, end: number): FileHashes | undefined {
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
