import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { StorageError } from '../errors.js';
import { makeFolder } from '../storage/json-file.js';
import { storageError } from '../storage/storage-error.js';
import { temporaryPath, tidyBeside } from '../storage/temporary.js';

/**
 * Bytes kept of each digest, whatever its algorithm. 128 bits of a SHA1 or SHA256 are as hard to meet by a second file as a whole
 * MD5 is, and one width lets one index answer for all three.
 */
export const KEY_BYTES = 16;

/** A sorted set of digests. */
export interface DigestIndex {
  readonly count: number;
  /** Whether a digest, hex in either case, is in the set. */
  has(digest: string): boolean;
  /** Gives the file back, where there is one. */
  close(): void;
}

/** Keys are found through the number of keys before each first two bytes, so that a look-up reads one short run of keys. */
const FAN_OUT = 65_536;

/*
 * The index file, little-endian:
 *   0  16 bytes  magic
 *  16  u64       number of keys
 *  24  u64       0
 *  32  u32[65537] keys before each two-byte prefix, and their number
 *  262180  keys of 16 bytes, ascending, each once
 */
const MAGIC = Buffer.from('svt-known-files1', 'latin1');
const FAN_OUT_OFFSET = 32;
const KEYS_OFFSET = FAN_OUT_OFFSET + (FAN_OUT + 1) * 4;

/** More keys than the largest release of the NSRL has (222 million rows), and few enough for 32-bit counts. */
const MAX_KEYS = 2 ** 31;

/** Keys gathered in memory before they go to temporary files. */
const MEMORY_BYTES = 64 * 1024 * 1024;

const BUCKETS = 256;

/** Gathers digests in any order and repetition, and makes an index of them in bounded memory. */
export class DigestGatherer {
  readonly #scratchPath: string | undefined;
  readonly #maxMemoryBytes: number;
  readonly #chunks: Buffer[][] = Array.from({ length: BUCKETS }, () => []);
  /** Bytes used of the last chunk of each bucket. */
  readonly #used = new Int32Array(BUCKETS);
  readonly #spilled: (FileHandle | undefined)[] = Array.from({ length: BUCKETS }, () => undefined);
  #memoryBytes = 0;

  /** `scratchPath`: what temporary files are called after; without it everything has to fit into memory. */
  constructor(scratchPath?: string, maxMemoryBytes = MEMORY_BYTES) {
    this.#scratchPath = scratchPath;
    this.#maxMemoryBytes = maxMemoryBytes;
  }

  /** Whether gathering goes beyond the memory it may use: then `spill` has to be called. */
  get isFull(): boolean {
    return this.#memoryBytes >= this.#maxMemoryBytes;
  }

  /** Adds a key: `KEY_BYTES` bytes of `source` from `start`. */
  add(source: Uint8Array, start = 0): void {
    const bucket = source[start] ?? 0;
    const chunks = this.#chunks[bucket] ?? [];
    let chunk = chunks.at(-1);
    let used = this.#used[bucket] ?? 0;
    if (chunk === undefined || used === chunk.length) {
      // Chunks double, so that a short list stays small and a long one has few.
      chunk = Buffer.allocUnsafe(Math.min(64 * 1024, Math.max(256, (chunk?.length ?? 0) * 2)));
      chunks.push(chunk);
      this.#memoryBytes += chunk.length;
      used = 0;
    }
    for (let index = 0; index < KEY_BYTES; index++) chunk[used + index] = source[start + index] ?? 0;
    this.#used[bucket] = used + KEY_BYTES;
  }

  /** Moves what was gathered to temporary files. Rejects with the system's error. */
  async spill(): Promise<void> {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const bytes = this.#takeBucket(bucket);
      if (bytes.length === 0) continue;
      let file = this.#spilled[bucket];
      if (file === undefined) {
        file = await open(`${this.#scratchPath}.${bucket}`, 'wx+', 0o600);
        this.#spilled[bucket] = file;
      }
      await file.appendFile(bytes);
    }
    this.#memoryBytes = 0;
  }

  /** The index in memory. Nothing may have been spilled. */
  finishInMemory(): DigestIndex {
    const sorted: Buffer[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket++) sorted.push(sortKeys(this.#takeBucket(bucket)));
    const keys = Buffer.concat(sorted);
    const fanOut = new Uint32Array(FAN_OUT + 1);
    countPrefixes(keys, fanOut);
    accumulate(fanOut);
    return {
      count: keys.length / KEY_BYTES,
      has: (digest) => {
        const key = keyOf(digest);
        if (key === undefined) return false;
        const prefix = key.readUInt16BE(0);
        return contains(keys, fanOut[prefix] ?? 0, fanOut[prefix + 1] ?? 0, key);
      },
      close: () => undefined,
    };
  }

  /** Writes the index to a new file and resolves with the number of keys. Rejects with the system's error. */
  async finishInFile(path: string): Promise<number> {
    const file = await open(path, 'wx', 0o600);
    try {
      const fanOut = new Uint32Array(FAN_OUT + 1);
      let count = 0;
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        const spilled = this.#spilled[bucket];
        const rest = this.#takeBucket(bucket);
        const bytes = spilled === undefined ? rest : Buffer.concat([await readSpilled(spilled), rest]);
        const keys = sortKeys(bytes);
        countPrefixes(keys, fanOut);
        await file.write(keys, 0, keys.length, KEYS_OFFSET + count * KEY_BYTES);
        count += keys.length / KEY_BYTES;
        if (count >= MAX_KEYS) throw new StorageError('TOO_LARGE', `${path}: more than ${MAX_KEYS} digests`);
      }
      accumulate(fanOut);
      const header = Buffer.alloc(KEYS_OFFSET);
      MAGIC.copy(header);
      header.writeBigUInt64LE(BigInt(count), 16);
      for (let prefix = 0; prefix <= FAN_OUT; prefix++) {
        header.writeUInt32LE(fanOut[prefix] ?? 0, FAN_OUT_OFFSET + prefix * 4);
      }
      await file.write(header, 0, header.length, 0);
      await file.sync();
      return count;
    } finally {
      await file.close();
    }
  }

  /** Removes the temporary files. */
  async clear(): Promise<void> {
    for (const [bucket, file] of this.#spilled.entries()) {
      if (file === undefined) continue;
      await file.close();
      await rm(`${this.#scratchPath}.${bucket}`, { force: true });
      this.#spilled[bucket] = undefined;
    }
  }

  #takeBucket(bucket: number): Buffer {
    const chunks = this.#chunks[bucket] ?? [];
    const used = this.#used[bucket] ?? 0;
    const bytes = Buffer.concat(
      chunks.map((chunk, index) => (index === chunks.length - 1 ? chunk.subarray(0, used) : chunk)),
    );
    this.#chunks[bucket] = [];
    this.#used[bucket] = 0;
    return bytes;
  }
}

/**
 * Opens the index of `sourcePath` in `folder`, and makes it with `gather` if there is none or the source has changed since (by size and
 * modification time). Throws StorageError where the folder cannot be used, and whatever `gather` throws.
 */
export async function openCachedIndex(
  folder: string,
  sourcePath: string,
  gather: (gatherer: DigestGatherer) => Promise<void>,
): Promise<DigestIndex> {
  const { size, mtimeMs } = await stat(sourcePath);
  const prefix = createHash('sha256').update(sourcePath).digest('hex').slice(0, 16);
  const path = join(folder, `${prefix}-${size}-${Math.trunc(mtimeMs)}.index`);
  const existing = openIndexFile(path);
  if (existing !== undefined) return existing;
  try {
    await makeFolder(folder);
    await tidyBeside(path);
    const temporary = temporaryPath(path);
    const gatherer = new DigestGatherer(temporary);
    try {
      await gather(gatherer);
      await gatherer.finishInFile(temporary);
      await rename(temporary, path);
    } finally {
      await gatherer.clear();
      await rm(temporary, { force: true });
    }
    await removeOlder(folder, prefix, path);
  } catch (error) {
    throw storageError('write the index', path, error);
  }
  const made = openIndexFile(path);
  if (made === undefined)
    throw new StorageError('CACHE', `${path}: the index just written cannot be read; remove it and run again`);
  return made;
}

/** The index in a file, or undefined if there is none or it is not a whole one: it can always be made again. */
function openIndexFile(path: string): DigestIndex | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch {
    // Not there, or not to be read: making it anew tells which.
    return undefined;
  }
  const header = Buffer.alloc(KEYS_OFFSET);
  const isHeaderWhole = readSync(descriptor, header, 0, header.length, 0) === header.length;
  const count = Number(header.readBigUInt64LE(16));
  const lastByte = Buffer.alloc(2);
  const isSized = count === 0 || readSync(descriptor, lastByte, 0, 2, KEYS_OFFSET + count * KEY_BYTES - 1) === 1;
  const fanOut = new Uint32Array(FAN_OUT + 1);
  for (let prefix = 0; prefix <= FAN_OUT; prefix++) fanOut[prefix] = header.readUInt32LE(FAN_OUT_OFFSET + prefix * 4);
  if (!isHeaderWhole || !isSized || !header.subarray(0, MAGIC.length).equals(MAGIC) || fanOut[FAN_OUT] !== count) {
    closeSync(descriptor);
    return undefined;
  }
  return {
    count,
    has: (digest) => {
      const key = keyOf(digest);
      if (key === undefined) return false;
      const prefix = key.readUInt16BE(0);
      const start = fanOut[prefix] ?? 0;
      const end = fanOut[prefix + 1] ?? 0;
      if (end <= start) return false;
      const run = Buffer.allocUnsafe((end - start) * KEY_BYTES);
      const bytesRead = readSync(descriptor, run, 0, run.length, KEYS_OFFSET + start * KEY_BYTES);
      if (bytesRead < run.length)
        throw new StorageError('CACHE', `${path}: the index ends early; remove it and run again`);
      return contains(run, 0, end - start, key);
    },
    close: () => closeSync(descriptor),
  };
}

async function removeOlder(folder: string, prefix: string, path: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(`${prefix}-`) && name.endsWith('.index') && name !== basename(path)) {
      await rm(join(dirname(path), name), { force: true });
    }
  }
}

async function readSpilled(file: FileHandle): Promise<Buffer> {
  const { size } = await file.stat();
  const bytes = Buffer.allocUnsafe(size);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await file.read(bytes, filled, size - filled, filled);
    if (bytesRead === 0) throw new Error('a temporary file became shorter');
    filled += bytesRead;
  }
  return bytes;
}

function keyOf(digest: string): Buffer | undefined {
  const key = Buffer.from(digest.slice(0, KEY_BYTES * 2), 'hex');
  return key.length === KEY_BYTES ? key : undefined;
}

/** Whether `key` is among the sorted keys of `keys` with numbers from `start` up to, not including, `end`. */
function contains(keys: Buffer, start: number, end: number, key: Buffer): boolean {
  let low = start;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = keys.compare(key, 0, KEY_BYTES, middle * KEY_BYTES, (middle + 1) * KEY_BYTES);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

function countPrefixes(keys: Buffer, fanOut: Uint32Array): void {
  for (let offset = 0; offset < keys.length; offset += KEY_BYTES) {
    const next = keys.readUInt16BE(offset) + 1;
    fanOut[next] = (fanOut[next] ?? 0) + 1;
  }
}

function accumulate(fanOut: Uint32Array): void {
  for (let prefix = 1; prefix <= FAN_OUT; prefix++) fanOut[prefix] = (fanOut[prefix] ?? 0) + (fanOut[prefix - 1] ?? 0);
}

/** The keys in ascending order, each once. All begin with the same byte, so they are dealt out by the next two first. */
function sortKeys(keys: Buffer): Buffer {
  if (keys.length === 0) return keys;
  const ends = new Uint32Array(FAN_OUT + 1);
  for (let offset = 0; offset < keys.length; offset += KEY_BYTES) {
    const next = keys.readUInt16BE(offset + 1) + 1;
    ends[next] = (ends[next] ?? 0) + 1;
  }
  accumulate(ends);
  const places = ends.slice();
  const dealt = Buffer.allocUnsafe(keys.length);
  for (let offset = 0; offset < keys.length; offset += KEY_BYTES) {
    const prefix = keys.readUInt16BE(offset + 1);
    const place = places[prefix] ?? 0;
    places[prefix] = place + 1;
    keys.copy(dealt, place * KEY_BYTES, offset, offset + KEY_BYTES);
  }
  let kept = 0;
  for (let prefix = 0; prefix < FAN_OUT; prefix++) {
    const start = (ends[prefix] ?? 0) * KEY_BYTES;
    const end = (ends[prefix + 1] ?? 0) * KEY_BYTES;
    sortRun(dealt, start, end);
    for (let offset = start; offset < end; offset += KEY_BYTES) {
      if (kept > 0 && dealt.compare(dealt, kept - KEY_BYTES, kept, offset, offset + KEY_BYTES) === 0) continue;
      // What is kept never passes what has been read.
      dealt.copyWithin(kept, offset, offset + KEY_BYTES);
      kept += KEY_BYTES;
    }
  }
  return dealt.subarray(0, kept);
}

/** Runs up to this many keys are sorted in place; longer ones come only from digests that were made to share a beginning. */
const MAX_INSERTION_KEYS = 24;

function sortRun(keys: Buffer, start: number, end: number): void {
  if (end - start > MAX_INSERTION_KEYS * KEY_BYTES) {
    const run = Array.from({ length: (end - start) / KEY_BYTES }, (_, index) =>
      Buffer.from(keys.subarray(start + index * KEY_BYTES, start + (index + 1) * KEY_BYTES)),
    );
    run.sort(Buffer.compare);
    for (const [index, key] of run.entries()) key.copy(keys, start + index * KEY_BYTES);
    return;
  }
  for (let offset = start + KEY_BYTES; offset < end; offset += KEY_BYTES) {
    let place = offset;
    while (place > start && keys.compare(keys, offset, offset + KEY_BYTES, place - KEY_BYTES, place) > 0) {
      place -= KEY_BYTES;
    }
    if (place === offset) continue;
    keys.copy(insertedKey, 0, offset, offset + KEY_BYTES);
    keys.copyWithin(place + KEY_BYTES, place, offset);
    insertedKey.copy(keys, place);
  }
}

const insertedKey = Buffer.alloc(KEY_BYTES);
