import { closeSync, openSync, readSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { UsageError } from '../errors.js';

/*
 * DCSO's Bloom filter, format version 1, little-endian (DCSO/bloom io.go and bloom.go, DCSO/flor filter.py and fnv.py):
 *   0  u64  flags; the low byte is the version
 *   8  u64  n, the keys it was made for
 *  16  f64  p, the wanted share of false positives
 *  24  u64  k, indices per key
 *  32  u64  m, size in bits
 *  40  u64  N, keys added (an upper bound after a join)
 *  48  u64[ceil(m/64)]  bit i is byte 48 + (i >> 3), bit i & 7, lowest first
 *      the rest is free data
 */
export const BLOOM_HEADER_BYTES = 48;

/** A false-positive rate of 1e-9 gives 30; beyond 64 a header is damaged or hostile. */
const MAX_INDICES = 64;

const FNV_OFFSET = 14_695_981_039_346_656_037n;
const FNV_PRIME = 1_099_511_628_211n;
const MODULUS = 18_446_744_073_709_551_557n;
const GENERATOR = 18_446_744_073_709_550_147n;
const WORD = (1n << 64n) - 1n;

/** The key by which hashlookup's own analyser recognises its filter (hashlookup-forensic-analyser, bin/hashlookup-analyser.py). */
const HASHLOOKUP_PROBE = '6F1C170761C212EFD5004DF7FB36CEAF9FB053F7';

/** What a Bloom filter's header says. */
export interface BloomHeader {
  readonly indicesPerKey: number;
  readonly bitCount: bigint;
  /** Header and bits; free data may follow. */
  readonly sizeBytes: number;
}

/** A Bloom filter of upper-case SHA1s, read by position. */
export interface BloomFilter {
  /** Whether it is CIRCL's hashlookup. */
  readonly isHashlookup: boolean;
  /** Whether the SHA1, hex in either case, was probably added. False is certain. */
  has(sha1: string): boolean;
  close(): void;
}

/** Whether a file's first bytes are those of a Bloom filter, of any version. */
export function looksLikeBloom(head: Buffer): boolean {
  return head.length >= 8 && (head[0] === 1 || head[0] === 2) && head.subarray(2, 8).every((byte) => byte === 0);
}

/** Reads a header. Throws UsageError (BAD_SETTING) where it is not that of a filter that can be read. */
export function readBloomHeader(head: Buffer, name: string): BloomHeader {
  const refuse = (why: string): UsageError => new UsageError('BAD_SETTING', `${name}: a Bloom filter ${why}`);
  if (head[0] === 2) {
    throw refuse("in Poppy's own format 2, which is not supported: make it with `poppy create --version 1`");
  }
  if (head.length < BLOOM_HEADER_BYTES) throw refuse(`of ${head.length} bytes, shorter than its header`);
  const capacity = head.readBigUInt64LE(8);
  const share = head.readDoubleLE(16);
  const indices = head.readBigUInt64LE(24);
  const bitCount = head.readBigUInt64LE(32);
  const isPlausible =
    head[0] === 1 &&
    capacity >= 1n &&
    share > 0 &&
    share < 1 &&
    indices >= 1n &&
    indices <= MAX_INDICES &&
    bitCount >= 1n &&
    bitCount <= 2n ** 53n;
  if (!isPlausible) {
    throw refuse(`with a header that makes no sense (n ${capacity}, p ${share}, k ${indices}, m ${bitCount})`);
  }
  const sizeBytes = BLOOM_HEADER_BYTES + 8 * Math.ceil(Number(bitCount) / 64);
  return { indicesPerKey: Number(indices), bitCount, sizeBytes };
}

/** Opens a filter. Throws UsageError (BAD_SETTING) for a file that is none or that is cut, and the system's error. */
export async function openBloom(path: string): Promise<BloomFilter> {
  const descriptor = openSync(path, 'r');
  try {
    const head = Buffer.alloc(BLOOM_HEADER_BYTES);
    const header = readBloomHeader(head.subarray(0, readSync(descriptor, head, 0, head.length, 0)), path);
    const { size } = await stat(path);
    if (size < header.sizeBytes) {
      throw new UsageError(
        'BAD_SETTING',
        `${path}: a Bloom filter of ${size} bytes that should have ${header.sizeBytes}: download it again`,
      );
    }
    const has = (sha1: string): boolean => hasKey(descriptor, header, sha1.toUpperCase(), path);
    return { isHashlookup: has(HASHLOOKUP_PROBE), has, close: () => closeSync(descriptor) };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

const oneByte = Buffer.alloc(1);

function hasKey(descriptor: number, { indicesPerKey, bitCount }: BloomHeader, key: string, path: string): boolean {
  // FNV-1: multiply, then xor. The wrap at 2^64 comes before every modulus, as in Go's uint64 arithmetic.
  let hash = FNV_OFFSET;
  for (let index = 0; index < key.length; index++) {
    hash = ((hash * FNV_PRIME) & WORD) ^ BigInt(key.charCodeAt(index));
  }
  hash %= MODULUS;
  for (let turn = 0; turn < indicesPerKey; turn++) {
    hash = ((hash * GENERATOR) & WORD) % MODULUS;
    const bit = hash % bitCount;
    const position = BLOOM_HEADER_BYTES + Number(bit >> 3n);
    if (readSync(descriptor, oneByte, 0, 1, position) !== 1) {
      throw new UsageError('BAD_SETTING', `${path}: the Bloom filter became shorter while it was read`);
    }
    if (((oneByte[0] ?? 0) & (1 << Number(bit & 7n))) === 0) return false;
  }
  return true;
}
