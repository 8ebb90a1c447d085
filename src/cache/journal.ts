import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { ByteWriter } from '../byte-writer.js';
import { systemCodeOf } from '../errors.js';
import { type Lookup, lookupFromJson, lookupToJson } from '../lookup.js';
import { storageError } from '../storage/storage-error.js';

/** No journal of ours comes near: what is larger was put there by somebody else. */
const MAX_BYTES = 64 * 1024 * 1024;

/** How a line with an answer starts: `hashes` come first, so that lines are indexed without being parsed. */
const ANSWER_START = '{"hashes":{';
/** `ANSWER_START` and three digests with their names take 180. */
const MAX_HASHES_BYTES = 256;

const LINE_FEED = 0x0a;

/** An answer as a line of a journal. */
export function journalLine(lookup: Lookup): string {
  return `${JSON.stringify({ hashes: lookup.hashes, ...lookupToJson(lookup) })}\n`;
}

/** Follows the journals of all processes. Reads without locks and writes nothing. */
export class JournalReader {
  readonly #folder: string;
  readonly #report: (message: string) => void;
  #known: ReadonlyMap<string, Journal> = new Map();

  constructor(folder: string, report: (message: string) => void) {
    this.#folder = folder;
    this.#report = report;
  }

  /**
   * What the journals hold now. One that is gone has been folded, so shards have to be read after this, never before.
   * Throws StorageError.
   */
  read(): Journals {
    const present = new Map<string, Journal>();
    for (const name of this.#names()) {
      const path = join(this.#folder, name);
      const journal = this.#known.get(path) ?? new Journal(path, this.#report);
      try {
        journal.readAppended();
        present.set(path, journal);
      } catch (error) {
        // Folded and removed since the folder was listed.
        if (systemCodeOf(error) === 'ENOENT') continue;
        throw storageError('read', path, error);
      }
    }
    this.#known = present;
    return new Journals([...present.values()]);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder).filter((name) => name.endsWith('.jsonl'));
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw storageError('read', this.#folder, error);
    }
  }
}

/** The journals there were at one moment; they stay readable here when they have been folded. */
export class Journals {
  readonly all: readonly Journal[];

  constructor(all: readonly Journal[]) {
    this.all = all;
  }

  has(digest: string): boolean {
    return this.all.some((journal) => journal.has(digest));
  }

  /** The answers that name this digest, journal by journal, the older line first. */
  find(digest: string): Lookup[] {
    return this.all.flatMap((journal) => journal.find(digest));
  }
}

/**
 * One journal: a file of one process, appended to and never changed. The writer's identity stands in the first line, then follows one
 * answer per line (`journalLine`). Kept as bytes, with the places of each digest's answers.
 */
export class Journal {
  readonly path: string;
  readonly #report: (message: string) => void;
  readonly #bytes = new ByteWriter(0);
  /** Where the answer's lines start. */
  readonly #linesByDigest = new Map<string, number[]>();
  readonly #lineStarts: number[] = [];
  readonly #badLines = new Set<number>();
  #indexedBytes = 0;
  #changedAtMs = 0;

  constructor(path: string, report: (message: string) => void) {
    this.path = path;
    this.#report = report;
  }

  /** Whether lines were found that are no answers: then the file is worth keeping. Complete once `answers` has run. */
  get isDamaged(): boolean {
    return this.#badLines.size > 0;
  }

  /** Its first line, which names its writer; undefined while that is being written. */
  get writerLine(): string | undefined {
    const end = this.#indexedBytes === 0 ? -1 : this.#bytes.buffer.indexOf(LINE_FEED);
    return end < 0 ? undefined : this.#bytes.buffer.toString('utf8', 0, end);
  }

  /** When it was last appended to, in milliseconds since 1970 by the clock of its writer's host. */
  get changedAtMs(): number {
    return this.#changedAtMs;
  }

  /** Throws the system's error. */
  readAppended(): void {
    const file = openSync(this.path, 'r');
    try {
      const { size, mtimeMs } = fstatSync(file);
      this.#changedAtMs = mtimeMs;
      if (size > MAX_BYTES) {
        this.#report(`${this.path}: too large for a journal and left out; look at it, then move it away`);
        return;
      }
      const bytes = this.#bytes;
      while (bytes.length < size) {
        bytes.reserve(size - bytes.length);
        const read = readSync(file, bytes.buffer, bytes.length, size - bytes.length, bytes.length);
        if (read === 0) break;
        bytes.length += read;
      }
    } finally {
      closeSync(file);
    }
    this.#index();
  }

  has(digest: string): boolean {
    return this.#linesByDigest.has(digest);
  }

  /** The answers that name this digest, the older line first. */
  find(digest: string): Lookup[] {
    return (this.#linesByDigest.get(digest) ?? []).flatMap((start) => this.#parse(start) ?? []);
  }

  /** Every answer in it, as they were appended. */
  *answers(): Iterable<Lookup> {
    for (const start of this.#lineStarts) {
      const lookup = this.#parse(start);
      if (lookup !== undefined) yield lookup;
    }
  }

  #index(): void {
    const { buffer, length } = this.#bytes;
    for (;;) {
      const start = this.#indexedBytes;
      const end = buffer.indexOf(LINE_FEED, start);
      // What comes after the last line feed is being written, or was when its writer died: nobody was told that it is kept.
      if (end < 0 || end >= length) return;
      this.#indexedBytes = end + 1;
      if (start === 0) continue;
      const hashesEnd = buffer.indexOf('}', start, 'latin1');
      const head = buffer.toString(
        'latin1',
        start,
        Math.max(start, Math.min(hashesEnd, start + MAX_HASHES_BYTES, end)),
      );
      if (!head.startsWith(ANSWER_START)) {
        this.#markBad(start);
        continue;
      }
      this.#lineStarts.push(start);
      for (const [, digest = ''] of head.matchAll(/:"([0-9a-f]{32,64})"/g)) {
        const lines = this.#linesByDigest.get(digest);
        if (lines === undefined) this.#linesByDigest.set(digest, [start]);
        else lines.push(start);
      }
    }
  }

  #parse(start: number): Lookup | undefined {
    const end = this.#bytes.buffer.indexOf(LINE_FEED, start);
    const lookup = lookupFromJson(parseOrUndefined(this.#bytes.buffer.toString('utf8', start, end)));
    if (lookup === undefined) this.#markBad(start);
    return lookup;
  }

  #markBad(start: number): void {
    this.#badLines.add(start);
    this.#report(`${this.path}: the line at 0x${start.toString(16)} is damaged and left out; the file is kept`);
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The caller reports the line.
    return undefined;
  }
}
