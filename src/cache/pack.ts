import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { messageOf, type Reject, StorageError } from '../errors.js';
import { type Lookup, lookupFromJson, lookupToJson } from '../lookup.js';
import type { AnswerCache } from './answer-cache.js';

/*
 * A pack is a gzip file of JSON lines: a header, one answer a line as the cache stores it (`lookupToJson`), and a last line with the
 * number of answers and the SHA-256 of all bytes before it. The checksum finds damage, not forgery: whoever can write a pack can say
 * anything in it, so packs are to be taken from where one would take the answers themselves.
 */

const FORMAT = 'sysmon-vt-pack';
const VERSION = 1;

/** An answer has a few kilobytes; a longer line is none of ours. */
const MAX_LINE_BYTES = 1024 * 1024;

/** A hundred million answers are less: beyond this somebody has packed emptiness. */
const MAX_BYTES = 256 * 1024 * 1024 * 1024;

/** Answers put at once, so that they share the disk's syncs. */
const BATCH = 500;

/** Clocks of sites differ. What was asked later than this from now would win over every real answer for ever. */
const MAX_AHEAD_MS = 24 * 60 * 60 * 1000;

const LINE_FEED = 0x0a;

/** What a pack says of itself. */
export interface PackHeader {
  /** The host of VirusTotal that gave the answers. */
  readonly host: string;
  readonly exportedAt: Date;
}

/** What became of a pack's answers. */
export interface ImportCounts {
  /** Newer than what was there, or new. */
  readonly imported: number;
  /** At least as new an answer was there. */
  readonly known: number;
  /** Lines that are no answers. */
  readonly rejected: number;
}

/** All answers of a cache as the lines of a pack, before gzip, some at a time. */
export async function* packLines(cache: AnswerCache, header: PackHeader): AsyncGenerator<Buffer> {
  const checksum = createHash('sha256');
  const told = (text: string): Buffer => {
    const bytes = Buffer.from(text);
    checksum.update(bytes);
    return bytes;
  };
  const { host, exportedAt } = header;
  yield told(`${JSON.stringify({ format: FORMAT, version: VERSION, host, exported_at: exportedAt.toISOString() })}\n`);
  let answers = 0;
  let lines: string[] = [];
  for await (const lookup of cache.answers()) {
    answers++;
    lines.push(`${JSON.stringify(lookupToJson(lookup))}\n`);
    if (lines.length < BATCH) continue;
    yield told(lines.join(''));
    lines = [];
  }
  if (lines.length > 0) yield told(lines.join(''));
  yield Buffer.from(`${JSON.stringify({ answers, sha256: checksum.digest('hex') })}\n`);
}

/**
 * Adds a pack's answers to a cache, of two on one file the newer one wins. The pack is read twice, since nothing of one that is cut off
 * or damaged may get in. `onAnswer` is called before an answer is put, with the one that it replaces.
 * Throws StorageError CACHE where the file is no whole pack of this host; lines in it that are no answers are rejects.
 */
export async function importPack(
  path: string,
  cache: AnswerCache,
  options: {
    readonly host: string;
    readonly now: Date;
    readonly onReject: (reject: Reject) => void;
    readonly onAnswer: (before: Lookup | undefined, after: Lookup) => Promise<void>;
  },
): Promise<ImportCounts> {
  const { host, now, onReject, onAnswer } = options;
  await verify(path, host);
  let imported = 0;
  let known = 0;
  let rejected = 0;
  let batch: Lookup[] = [];
  const put = async (): Promise<void> => {
    const present = await cache.getMany(batch.map(({ askedHash }) => askedHash));
    const newer = batch.filter((lookup) => {
      const before = present.get(lookup.askedHash);
      return before === undefined || before.askedAt < lookup.askedAt;
    });
    known += batch.length - newer.length;
    imported += newer.length;
    batch = [];
    await Promise.all(
      newer.map(async (lookup) => {
        await onAnswer(present.get(lookup.askedHash), lookup);
        await cache.put(lookup);
      }),
    );
  };
  let number = 0;
  let last: { readonly text: string; readonly number: number } | undefined;
  for await (const line of linesOf(path)) {
    number++;
    // The first line is the header and the last one the checksum, both verified.
    if (last !== undefined && last.number > 1) {
      const lookup = answerFrom(last.text, now);
      if (typeof lookup === 'string') {
        rejected++;
        onReject({ code: 'BAD_RECORD', message: lookup, record: String(last.number) });
      } else if (batch.push(lookup) >= BATCH) await put();
    }
    last = { text: line.toString('utf8'), number };
  }
  if (batch.length > 0) await put();
  return { imported, known, rejected };
}

function answerFrom(text: string, now: Date): Lookup | string {
  const lookup = lookupFromJson(parseOrUndefined(text));
  if (lookup === undefined) return 'no answer of VirusTotal';
  if (lookup.askedAt.getTime() - now.getTime() > MAX_AHEAD_MS) return 'an answer from the future';
  return lookup;
}

/** Throws StorageError unless the file is a whole pack of this host. */
async function verify(path: string, host: string): Promise<void> {
  const checksum = createHash('sha256');
  let last: Buffer | undefined;
  let lines = 0;
  for await (const line of linesOf(path)) {
    if (last === undefined) checkHeader(path, line, host);
    else checksum.update(last).update('\n');
    last = Buffer.from(line);
    lines++;
  }
  const end = last === undefined ? undefined : parseOrUndefined(last.toString('utf8'));
  const { answers, sha256 } = (end ?? {}) as { readonly answers?: unknown; readonly sha256?: unknown };
  if (sha256 !== checksum.digest('hex') || answers !== lines - 2) {
    throw bad(path, 'it is cut off or damaged: its checksum does not fit; nothing of it was imported');
  }
}

function checkHeader(path: string, line: Buffer, host: string): void {
  const header = parseOrUndefined(line.toString('utf8'));
  const { format, version, host: packHost } = (header ?? {}) as { readonly [name: string]: unknown };
  if (format !== FORMAT) throw bad(path, 'it is no pack of answers; make one with sysmon-vt cache export');
  if (version !== VERSION) throw bad(path, `it is of version ${String(version)}, and this program reads ${VERSION}`);
  if (packHost !== host)
    throw bad(path, `its answers come from ${JSON.stringify(packHost)}, those of this cache from ${host}`);
}

/** The lines of a gzip file without their line feeds; the last one may lack it. */
async function* linesOf(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  let bytes = 0;
  try {
    const unpacked: Readable = createReadStream(path)
      .on('error', (error) => unpacked.destroy(error))
      .pipe(createGunzip());
    for await (const chunk of unpacked) {
      const block: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      bytes += block.length - rest.length;
      let start = 0;
      for (;;) {
        const end = block.indexOf(LINE_FEED, start);
        if (end < 0) break;
        yield block.subarray(start, end);
        start = end + 1;
      }
      rest = block.subarray(start);
      if (rest.length > MAX_LINE_BYTES) throw bad(path, 'it has a line longer than any answer');
      if (bytes > MAX_BYTES) throw bad(path, 'it unpacks to more than any pack');
    }
  } catch (error) {
    if (error instanceof StorageError) throw error;
    throw bad(path, `it cannot be read as a pack (${messageOf(error)})`, error);
  }
  if (rest.length > 0) yield rest;
}

function bad(path: string, why: string, cause?: unknown): StorageError {
  return new StorageError('CACHE', `${path}: ${why}`, { cause });
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The caller says what the line should have been.
    return undefined;
  }
}
