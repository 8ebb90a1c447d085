import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { ByteWriter } from '../byte-writer.js';
import { systemCodeOf } from '../errors.js';
import { type Lookup, lookupFromJson, lookupToJson } from '../lookup.js';
import { makeFolder, syncFolder } from '../storage/json-file.js';
import {
  isAlive,
  isOfThisHost,
  type ProcessIdentity,
  processIdentityFromJson,
  thisProcess,
} from '../storage/process-identity.js';
import { storageError } from '../storage/storage-error.js';

/*
 * A journal is a file of one process, appended to and never changed: the writer's identity in the first line, then one answer per
 * line as JSON, `hashes` first, so that a reader can index the lines without parsing them.
 */

/** When a journal is full: enough that folding it writes most shards just once, little enough to be read by every start. */
const FULL_ANSWERS = 4_096;
const FULL_BYTES = 8 * 1024 * 1024;

/** No journal of ours comes near: what is larger was put there by somebody else. */
const MAX_BYTES = 64 * 1024 * 1024;

/** After what silence a journal is taken for abandoned whose writer cannot be watched, because it runs on another host. */
const ABANDONED_AFTER_MS = 24 * 60 * 60 * 1000;

/** `ANSWER_START` and three digests with their names take 180. */
const MAX_HASHES_BYTES = 256;

const ANSWER_START = '{"hashes":{';
const LINE_FEED = 0x0a;

interface WaitingAnswer {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Appends answers to journals of this process's own. Many appends at once share one sync of the disk. */
export class JournalWriter {
  readonly #folder: string;
  #file: FileHandle | undefined;
  #path: string | undefined;
  #answerCount = 0;
  #byteCount = 0;
  #waiting: WaitingAnswer[] = [];
  #flushing: Promise<void> | undefined;
  #ended: string[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Paths of full journals, which are not written to any more. Each is handed out once: whoever takes it folds it. */
  takeFull(): string[] {
    const full = this.#ended;
    this.#ended = [];
    return full;
  }

  hasFull(): boolean {
    return this.#ended.length > 0;
  }

  /** Resolves when the answer is on the disk; rejects with StorageError if it may not be. */
  append(lookup: Lookup): Promise<void> {
    const line = `${JSON.stringify({ hashes: lookup.hashes, ...lookupToJson(lookup) })}\n`;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#flushing ??= this.#flush().finally(() => {
        this.#flushing = undefined;
      });
    });
  }

  /** Waits for what is being written and ends the journal; `takeFull` then has all that were not handed out. */
  async end(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
    await this.#endJournal();
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        this.#file ??= await this.#begin();
        const file = this.#file;
        const bytes = Buffer.from(batch.map(({ line }) => line).join(''));
        await file.appendFile(bytes);
        await file.datasync();
        this.#answerCount += batch.length;
        this.#byteCount += bytes.length;
        if (this.#answerCount >= FULL_ANSWERS || this.#byteCount >= FULL_BYTES) await this.#endJournal();
        for (const { resolve } of batch) resolve();
      } catch (error) {
        const failure = storageError('keep an answer', this.#path ?? this.#folder, error);
        for (const { reject } of batch) reject(failure);
        // The file may now end in half a line, and what a failed sync left on the disk is unknown: never append to it again.
        await this.#endJournal().catch(() => undefined);
      }
    }
  }

  async #begin(): Promise<FileHandle> {
    await makeFolder(this.#folder);
    const path = join(this.#folder, `${process.pid}-${randomUUID()}.jsonl`);
    const file = await open(path, 'ax', 0o600);
    this.#path = path;
    this.#answerCount = 0;
    this.#byteCount = 0;
    try {
      await file.appendFile(`${JSON.stringify(thisProcess())}\n`);
      await syncFolder(this.#folder);
      return file;
    } catch (error) {
      this.#ended.push(path);
      this.#path = undefined;
      await file.close();
      throw error;
    }
  }

  async #endJournal(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (this.#path !== undefined) this.#ended.push(this.#path);
    this.#path = undefined;
    await file?.close();
  }
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

/** One journal: its bytes and where in them each digest's answers are. */
export class Journal {
  readonly path: string;
  readonly #report: (message: string) => void;
  readonly #bytes = new ByteWriter(0);
  /** Where the answer's lines start. */
  readonly #linesByDigest = new Map<string, number[]>();
  readonly #lineStarts: number[] = [];
  readonly #badLines = new Set<number>();
  #indexedBytes = 0;
  #writer: ProcessIdentity | undefined;
  #changedAtMs = 0;

  constructor(path: string, report: (message: string) => void) {
    this.path = path;
    this.#report = report;
  }

  /** Whether lines were found that are no answers: then the file is worth keeping. Complete once `answers` has run. */
  get isDamaged(): boolean {
    return this.#badLines.size > 0;
  }

  /** Whether nobody will write to it any more: its writer is dead, or cannot be watched and has been silent for a day. */
  get isAbandoned(): boolean {
    if (this.#writer !== undefined && isOfThisHost(this.#writer)) return !isAlive(this.#writer);
    return Date.now() - this.#changedAtMs > ABANDONED_AFTER_MS;
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
      if (start === 0) {
        this.#writer = processIdentityFromJson(parseOrUndefined(buffer.toString('utf8', start, end)));
        if (this.#writer === undefined) this.#markBad(start);
        continue;
      }
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
