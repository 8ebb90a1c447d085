import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { TextDecoder } from 'node:util';
import { createGunzip } from 'node:zlib';
import { EnrichmentError, messageOf, systemCodeOf, UsageError } from '../errors.js';
import { type FileHashes, LOOKUP_ALGORITHMS } from '../hash.js';
import { makeFolder } from '../storage/json-file.js';
import { storageError } from '../storage/storage-error.js';
import { temporaryPath, tidyBeside } from '../storage/temporary.js';
import { BLOOM_HEADER_BYTES, type BloomFilter, looksLikeBloom, openBloom, readBloomHeader } from './bloom.js';
import { DigestGatherer, type DigestIndex, openCachedIndex } from './digest-index.js';
import { HashListReader, readWarninglist } from './hash-list.js';
import { gatherNsrlDatabase, gatherNsrlText, looksLikeNsrlText, looksLikeSqlite } from './nsrl.js';

/** What a list says of a file. */
export interface KnownFile {
  /** Which list: `nsrl`, `hashlookup`, or the name of the file it stands in. */
  readonly source: string;
  /**
   * Whether the list is the user's own word. NSRL and hashlookup are no such: they hold every file somebody has catalogued,
   * offensive tools and flawed versions included.
   */
  readonly isFinal: boolean;
  /** Whether the answer may be wrong: a Bloom filter says yes to about one in ten thousand files it does not hold. */
  readonly isProbable: boolean;
}

/** Lists of files known before anything is asked. */
export interface KnownFiles {
  /**
   * What the lists say of a file by any of its digests, the user's own lists first; undefined where none has it. Throws StorageError or
   * UsageError where a list that was good when it was opened can no longer be read.
   */
  find(hashes: FileHashes): KnownFile | undefined;
  close(): void;
}

export interface KnownFilesOptions {
  /** Where indexes of large lists are kept: made once, then read by position. */
  readonly indexFolder: string;
  /** Told before something that takes minutes. One line for people. */
  readonly onNote?: (note: string) => void;
}

interface KnownList extends Omit<KnownFile, 'source'> {
  readonly source: string;
  has(hashes: FileHashes): boolean;
  close(): void;
}

/** More hashes of one's own are kept in a Bloom filter or an NSRL file: this is 64 MB of memory. */
const MAX_LIST_HASHES = 4_000_000;

/** A warninglist is parsed as a whole. */
const MAX_JSON_BYTES = 128 * 1024 * 1024;

const HEAD_BYTES = 4096;

/** Free data that may follow a filter's bits in a gzip stream. */
const MAX_BLOOM_DATA_BYTES = 1024 * 1024;

/**
 * Opens lists of known files: hash lists and MISP warninglists (final), NSRL RDS as database or `NSRLFile.txt`, CIRCL hashlookup's and
 * other Bloom filters in DCSO's format 1 (keys: upper-case SHA1). Each may be gzipped, but for the database. The content decides.
 * Throws UsageError where one cannot be read or is none of these, naming the line or the damage: nothing passes silently.
 */
export function openKnownGood(paths: readonly string[], options: KnownFilesOptions): Promise<KnownFiles> {
  return openAll(paths, 'KNOWN_GOOD', (path) => openKnownList(path, options));
}

/** Opens the user's own lists of files that are bad without a question: hash lists and MISP warninglists only. Throws UsageError. */
export function openKnownBad(paths: readonly string[]): Promise<KnownFiles> {
  return openAll(paths, 'KNOWN_BAD', async (path) => {
    const kind = detect(await readHead(path), path);
    if (kind === 'list' || kind === 'warninglist') return openHashList(path, kind);
    throw new UsageError(
      'BAD_SETTING',
      `${path}: known-bad files are given as a list of hashes, this is ${describe(kind)}`,
    );
  });
}

async function openAll(
  paths: readonly string[],
  setting: string,
  openList: (path: string) => Promise<KnownList>,
): Promise<KnownFiles> {
  const lists: KnownList[] = [];
  const close = (): void => {
    for (const list of lists) list.close();
  };
  try {
    for (const path of paths) lists.push(await openList(path));
  } catch (error) {
    close();
    if (error instanceof EnrichmentError) throw error;
    throw new UsageError('BAD_SETTING', `${setting}: a list cannot be read (${messageOf(error)})`, { cause: error });
  }
  // The user's word goes before the catalogues, and these before what is only probable.
  lists.sort((a, b) => Number(b.isFinal) - Number(a.isFinal) || Number(a.isProbable) - Number(b.isProbable));
  return {
    find: (hashes) => {
      const list = lists.find((known) => known.has(hashes));
      return list === undefined
        ? undefined
        : { source: list.source, isFinal: list.isFinal, isProbable: list.isProbable };
    },
    close,
  };
}

type Kind = 'bloom' | 'nsrl database' | 'nsrl text' | 'warninglist' | 'list';

function describe(kind: Kind): string {
  return kind === 'bloom' ? 'a Bloom filter' : kind.startsWith('nsrl') ? 'an NSRL file' : 'a hash list';
}

/** Forms in which such lists are handed out and that have to be prepared first. */
const UNPREPARED: readonly (readonly [RegExp, string])[] = [
  [/^PK[^ -~]{2}/, 'a zip archive: unpack it first'],
  [/^(BEGIN TRANSACTION|INSERT INTO)\b/i, 'an NSRL delta: apply it to its database with sqlite3 first'],
];

function detect(head: Buffer, path: string): Kind {
  for (const [signature, what] of UNPREPARED) {
    if (signature.test(head.toString('latin1', 0, 64))) throw new UsageError('BAD_SETTING', `${path}: ${what}`);
  }
  if (looksLikeBloom(head)) return 'bloom';
  if (looksLikeSqlite(head)) return 'nsrl database';
  if (looksLikeNsrlText(head)) return 'nsrl text';
  return /^\ufeff?\s*[{[]/.test(head.toString('utf8', 0, 64)) ? 'warninglist' : 'list';
}

async function openKnownList(path: string, { indexFolder, onNote }: KnownFilesOptions): Promise<KnownList> {
  const kind = detect(await readHead(path), path);
  const noteIndexing = (): void => onNote?.(`${path}: making an index of it, once; this may take minutes`);
  switch (kind) {
    case 'bloom':
      return bloomList(path, await openBloom((await isGzipped(path)) ? await unpackBloom(path, indexFolder) : path));
    case 'nsrl database':
      return nsrlList(
        await openCachedIndex(indexFolder, path, (gatherer) => {
          noteIndexing();
          return gatherNsrlDatabase(path, gatherer);
        }),
      );
    case 'nsrl text':
      return nsrlList(
        await openCachedIndex(indexFolder, path, async (gatherer) => {
          noteIndexing();
          await gatherNsrlText(await openBytes(path), path, gatherer);
        }),
      );
    case 'warninglist':
    case 'list':
      return openHashList(path, kind);
  }
}

function bloomList(path: string, filter: BloomFilter): KnownList {
  return {
    source: filter.isHashlookup ? 'hashlookup' : basename(path),
    isFinal: false,
    isProbable: true,
    has: ({ sha1 }) => sha1 !== undefined && filter.has(sha1),
    close: filter.close,
  };
}

function nsrlList(index: DigestIndex): KnownList {
  return { source: 'nsrl', isFinal: false, isProbable: false, has: hasAny(index), close: index.close };
}

function hasAny(index: DigestIndex): (hashes: FileHashes) => boolean {
  return (hashes) =>
    LOOKUP_ALGORITHMS.some((algorithm) => {
      const digest = hashes[algorithm];
      return digest !== undefined && index.has(digest);
    });
}

async function openHashList(path: string, kind: 'list' | 'warninglist'): Promise<KnownList> {
  const gatherer = new DigestGatherer();
  let count = 0;
  const gather = (digests: readonly string[]): void => {
    for (const digest of digests) gatherer.add(Buffer.from(digest.slice(0, 32), 'hex'));
    count += digests.length;
    if (count > MAX_LIST_HASHES) {
      throw new UsageError('BAD_SETTING', `${path}: more than ${MAX_LIST_HASHES} hashes; put them into a Bloom filter`);
    }
  };
  if (kind === 'warninglist') {
    gather(readWarninglist(await readText(path), path));
  } else {
    const reader = new HashListReader(path);
    for await (const line of readLines(path)) gather(reader.read(line));
  }
  if (count === 0) throw new UsageError('BAD_SETTING', `${path}: a list without any hash`);
  const index = gatherer.finishInMemory();
  return { source: basename(path), isFinal: true, isProbable: false, has: hasAny(index), close: index.close };
}

async function readText(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  let byteCount = 0;
  for await (const chunk of await openBytes(path)) {
    byteCount += chunk.length;
    if (byteCount > MAX_JSON_BYTES)
      throw new UsageError('BAD_SETTING', `${path}: more than ${MAX_JSON_BYTES} bytes of JSON`);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}

/** The lines of a text in UTF-8 or, where a byte order mark says so, UTF-16 (PowerShell 5.1's `>`). */
async function* readLines(path: string): AsyncGenerator<string> {
  let decoder: TextDecoder | undefined;
  let rest = '';
  for await (const chunk of await openBytes(path)) {
    decoder ??= new TextDecoder(encodingOf(chunk));
    const lines = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n');
    rest = lines.pop() ?? '';
    // One endless line is refused by whoever reads it; it must not fill the memory before.
    if (rest.length > HEAD_BYTES * 32) yield rest;
    yield* lines;
  }
  yield `${rest}${decoder?.decode() ?? ''}`;
}

function encodingOf(head: Buffer): string {
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le';
  if (head[0] === 0xfe && head[1] === 0xff) return 'utf-16be';
  return 'utf-8';
}

async function isGzipped(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const signature = Buffer.alloc(2);
    const { bytesRead } = await file.read(signature, 0, 2, 0);
    // RFC 1952, section 2.3.1.
    return bytesRead === 2 && signature[0] === 0x1f && signature[1] === 0x8b;
  } finally {
    await file.close();
  }
}

/** The bytes of a file, unpacked where it is gzipped. */
async function openBytes(path: string): Promise<AsyncIterable<Buffer>> {
  const isPacked = await isGzipped(path);
  const stream = createReadStream(path, { highWaterMark: 1024 * 1024 });
  return isPacked ? unpack(stream, path) : stream;
}

async function* unpack(stream: Readable, path: string): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  stream.on('error', (error) => gunzip.destroy(error));
  try {
    for await (const chunk of stream.pipe(gunzip)) yield chunk as Buffer;
  } catch (error) {
    throw new UsageError('BAD_SETTING', `${path}: damaged gzip data (${messageOf(error)})`, { cause: error });
  } finally {
    stream.destroy();
  }
}

async function readHead(path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let byteCount = 0;
  for await (const chunk of await openBytes(path)) {
    chunks.push(chunk);
    byteCount += chunk.length;
    if (byteCount >= HEAD_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, HEAD_BYTES);
}

/** Unpacks a gzipped filter once, since it is read by position; returns where it is then. */
async function unpackBloom(path: string, folder: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  const name = createHash('sha256').update(path).digest('hex').slice(0, 16);
  const target = join(folder, `${name}-${size}-${Math.trunc(mtimeMs)}.bloom`);
  const { sizeBytes } = readBloomHeader((await readHead(path)).subarray(0, BLOOM_HEADER_BYTES), path);
  try {
    if ((await sizeOf(target)) !== undefined) return target;
    await makeFolder(folder);
    await tidyBeside(target);
    const temporary = temporaryPath(target);
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        let byteCount = 0;
        for await (const chunk of await openBytes(path)) {
          byteCount += chunk.length;
          if (byteCount > sizeBytes + MAX_BLOOM_DATA_BYTES) {
            throw new UsageError('BAD_SETTING', `${path}: unpacks to more than its header says: it is damaged`);
          }
          await file.appendFile(chunk);
        }
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, target);
    } finally {
      await rm(temporary, { force: true });
    }
    return target;
  } catch (error) {
    throw storageError('unpack a Bloom filter to', target, error);
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
