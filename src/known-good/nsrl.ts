import { UsageError } from '../errors.js';
import type { DigestGatherer } from './digest-index.js';

/** The first line of `NSRLFile.txt` (RDS 2.0 to 2.77, from the RDS documentation and its readers). */
const TEXT_HEADER = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"';

/** Rows are some 150 bytes; file names are bounded by file systems. */
const MAX_ROW_BYTES = 64 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const LF = 0x0a;
const CR = 0x0d;
const ZERO = 0x30;

/** Whether a text file's beginning is that of NSRL's text form, in the order of any version. */
export function looksLikeNsrlText(head: Buffer): boolean {
  return /^(\ufeff)?"SHA-1",/i.test(head.toString('utf8', 0, 64));
}

/** Whether a file is an SQLite database (https://www.sqlite.org/fileformat.html, section 1.3.1). */
export function looksLikeSqlite(head: Buffer): boolean {
  return head.toString('latin1', 0, 16) === 'SQLite format 3\0';
}

/**
 * Gathers the SHA1s and MD5s of `NSRLFile.txt`. They are taken by position: names hold commas and stray quotes. Rows with a
 * SpecialCode (`M`: malicious) are left out. Throws UsageError (BAD_SETTING) for another header or a row of another form.
 */
export async function gatherNsrlText(
  chunks: AsyncIterable<Buffer>,
  path: string,
  gatherer: DigestGatherer,
): Promise<void> {
  let rest: Buffer = Buffer.alloc(0);
  let row = 0;
  const key = new Uint8Array(16);
  const take = (bytes: Buffer, start: number, end: number): void => {
    row++;
    const last = end > start && bytes[end - 1] === CR ? end - 1 : end;
    if (last === start) return;
    if (row === 1) {
      const header = bytes.toString('utf8', start, last).replace(/^\ufeff/, '');
      if (header.toLowerCase() === TEXT_HEADER.toLowerCase()) return;
      throw new UsageError('BAD_SETTING', `${path}: an NSRL file with other columns than ${TEXT_HEADER}`);
    }
    if (!gatherRow(bytes, start, last, key, gatherer)) {
      throw new UsageError('BAD_SETTING', `${path}: line ${row} is no row of an NSRLFile.txt`);
    }
  };
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, start)) {
      take(bytes, start, end);
      start = end + 1;
    }
    rest = bytes.subarray(start);
    if (rest.length > MAX_ROW_BYTES) throw new UsageError('BAD_SETTING', `${path}: line ${row + 1} is endless`);
    if (gatherer.isFull) await gatherer.spill();
  }
  if (rest.length > 0) take(rest, 0, rest.length);
  if (row < 2) throw new UsageError('BAD_SETTING', `${path}: an NSRL file without rows`);
}

/** SHA-1 stands at columns 2–41, MD5 at 45–76, the SpecialCode at the end. */
function gatherRow(bytes: Buffer, start: number, end: number, key: Uint8Array, gatherer: DigestGatherer): boolean {
  const isQuoted = bytes[start] === QUOTE && bytes[start + 41] === QUOTE && bytes[start + 42] === COMMA;
  if (!isQuoted || end - start < 46 || !isHex(bytes, start + 1, start + 41)) return false;
  const isBlank =
    bytes[end - 1] === COMMA || bytes[end - 1] === ZERO || (bytes[end - 1] === QUOTE && bytes[end - 2] === QUOTE);
  if (!isBlank) return bytes[end - 1] === QUOTE;
  readHex(bytes, start + 1, key);
  gatherer.add(key);
  // Conversions from version 3 leave the MD5 empty or zero.
  const hasMd5 = bytes[start + 43] === QUOTE && bytes[start + 76] === QUOTE && isHex(bytes, start + 44, start + 76);
  if (hasMd5) {
    readHex(bytes, start + 44, key);
    if (key.some((byte) => byte !== 0)) gatherer.add(key);
    return true;
  }
  return bytes[start + 43] === ZERO || (bytes[start + 43] === QUOTE && bytes[start + 44] === QUOTE);
}

function nibble(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isHex(bytes: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (nibble(bytes[index]) < 0) return false;
  return true;
}

function readHex(bytes: Buffer, start: number, key: Uint8Array): void {
  for (let index = 0; index < key.length; index++) {
    key[index] = (nibble(bytes[start + index * 2]) << 4) | nibble(bytes[start + index * 2 + 1]);
  }
}

/** As much of `node:sqlite` as is needed; Node 20 does not have it, and its types neither. */
interface Sqlite {
  readonly DatabaseSync: new (
    path: string,
    options: { readonly readOnly: boolean },
  ) => {
    prepare(sql: string): { iterate?: () => Iterable<unknown> };
    close(): void;
  };
}

/** Rows read before other work gets a turn. */
const ROWS_PER_TURN = 100_000;

/**
 * Gathers the digests of an RDSv3 database, minimal (FILE is a table) or full (FILE is a view of the same columns). The whole is
 * read once: its key begins with the SHA256, so that looking for a SHA1 in it is a full scan. Throws UsageError: UNSUPPORTED where this
 * Node has no SQLite, BAD_SETTING where the database is none of the NSRL's.
 */
export async function gatherNsrlDatabase(path: string, gatherer: DigestGatherer): Promise<void> {
  const { DatabaseSync } = await loadSqlite(path);
  const refuse = (error: unknown): UsageError =>
    new UsageError(
      'BAD_SETTING',
      `${path}: an SQLite database that is no NSRL RDS (a FILE with sha1, sha256 and md5)`,
      {
        cause: error,
      },
    );
  let database: InstanceType<Sqlite['DatabaseSync']>;
  let rows: Iterable<unknown> | undefined;
  try {
    database = new DatabaseSync(path, { readOnly: true });
  } catch (error) {
    throw refuse(error);
  }
  try {
    try {
      rows = database.prepare('SELECT sha1, sha256, md5 FROM FILE').iterate?.();
    } catch (error) {
      throw refuse(error);
    }
    if (rows === undefined) throw sqliteMissing(path);
    let count = 0;
    for (const row of rows) {
      if (!gatherDatabaseRow(row, gatherer)) throw refuse(`row ${count + 1} holds no SHA1`);
      count++;
      if (count % ROWS_PER_TURN === 0 || gatherer.isFull) {
        if (gatherer.isFull) await gatherer.spill();
        else await new Promise(setImmediate);
      }
    }
    if (count === 0) throw refuse('no rows');
  } finally {
    database.close();
  }
}

function gatherDatabaseRow(row: unknown, gatherer: DigestGatherer): boolean {
  if (typeof row !== 'object' || row === null) return false;
  const { sha1, sha256, md5 } = row as { readonly [column: string]: unknown };
  if (typeof sha1 !== 'string' || !/^[0-9a-f]{40}$/i.test(sha1)) return false;
  for (const digest of [sha1, sha256, md5]) {
    if (
      typeof digest !== 'string' ||
      !/^([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$/i.test(digest) ||
      /^0+$/.test(digest)
    )
      continue;
    gatherer.add(Buffer.from(digest.slice(0, 32), 'hex'));
  }
  return true;
}

async function loadSqlite(path: string): Promise<Sqlite> {
  // Through a variable, since the types of Node 20 do not know the module.
  const name = 'node:sqlite';
  try {
    return (await import(name)) as Sqlite;
  } catch (error) {
    throw sqliteMissing(path, error);
  }
}

function sqliteMissing(path: string, cause?: unknown): UsageError {
  return new UsageError(
    'UNSUPPORTED',
    `${path}: reading an NSRL database needs Node 22.13 or later, this is ${process.version}; or list its hashes: sqlite3 RDS.db "SELECT DISTINCT sha1 FROM FILE" | bloom create -p 0.0001 -n 80000000 nsrl.bloom`,
    { cause },
  );
}
