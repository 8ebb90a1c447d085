import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lookup } from '../lookup.js';
import { makeFolder, writeFileDurably } from '../storage/json-file.js';
import { isAlive, isOfThisHost, processIdentityFromJson, thisProcess } from '../storage/process-identity.js';
import { storageError } from '../storage/storage-error.js';
import { type Journal, journalLine } from './journal.js';

/**
 * When a journal is full: a fold writes all shards and takes some ten seconds of the disk however many answers there are, and at
 * hundreds of answers a second it must not come too often; yet a start after a kill reads it whole.
 */
const FULL_ANSWERS = 16_384;
const FULL_BYTES = 24 * 1024 * 1024;

/** After what silence a journal is taken for abandoned whose writer cannot be watched, because it runs on another host. */
const ABANDONED_AFTER_MS = 24 * 60 * 60 * 1000;

/** Whether nobody will append to a journal any more: its writer is dead, or cannot be watched and has been silent for a day. */
export function isAbandoned(journal: Journal): boolean {
  const writer = processIdentityFromJson(parseOrUndefined(journal.writerLine ?? ''));
  if (writer !== undefined && isOfThisHost(writer)) return !isAlive(writer);
  return Date.now() - journal.changedAtMs > ABANDONED_AFTER_MS;
}

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
    const line = journalLine(lookup);
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
        const file = this.#file ?? (await this.#begin());
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
        // Whatever fails here fails for the reason that has just been told.
        await this.#leaveJournal().catch(() => undefined);
      }
    }
  }

  async #begin(): Promise<FileHandle> {
    await makeFolder(this.#folder);
    const path = join(this.#folder, `${process.pid}-${randomUUID()}.jsonl`);
    // Not there without its first line: of such a one nobody could tell whether its writer is dead or about to write.
    await writeFileDurably(path, `${JSON.stringify(thisProcess())}\n`);
    this.#path = path;
    this.#answerCount = 0;
    this.#byteCount = 0;
    const file = await open(path, 'a');
    this.#file = file;
    return file;
  }

  /** After a failure: the file may end in half a line, and what a failed sync left on the disk is unknown, so it is never appended to. */
  async #leaveJournal(): Promise<void> {
    const path = this.#path;
    // Where nothing was acknowledged nothing is worth keeping; on a full disk every attempt would leave a file.
    if (path === undefined || this.#answerCount > 0) return this.#endJournal();
    this.#path = undefined;
    await this.#endJournal();
    await rm(path, { force: true });
  }

  async #endJournal(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (this.#path !== undefined) this.#ended.push(this.#path);
    this.#path = undefined;
    await file?.close();
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A writer that is not named cannot be watched.
    return undefined;
  }
}
