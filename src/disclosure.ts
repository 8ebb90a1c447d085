import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from './clock.js';
import { makeFolder } from './storage/json-file.js';
import { storageError } from './storage/storage-error.js';
import { shorten } from './terminal.js';

/** What a log says may be long; a line of the disclosure log is written at once. */
const MAX_LENGTH = 300;

/** What led to a question, as far as it is known. It stays on this machine. */
export interface Occasion {
  /** What speaks most for asking, in words. */
  readonly because?: string;
  /** Where the file lay, as the record says that was met first. */
  readonly image?: string;
}

/** What left this machine: each hash that was asked, when, of whom and why. */
export interface DisclosureLog {
  /** Resolves once the line is with the operating system; the request may leave then and not before. Rejects with StorageError. */
  note(hash: string, occasion?: Occasion): Promise<void>;
  close(): Promise<void>;
}

/** Lines of one month that are written together. */
interface Batch {
  readonly month: string;
  readonly lines: string[];
  readonly written: Promise<void>;
}

/**
 * Opens the disclosure log of a cache folder: `disclosed/2026-11.jsonl`, a file for each UTC month, one line for each request
 * (`{"at":…,"hash":…,"host":…,"why":…,"command":…,"run":…,"because":…,"image":…}`, the last two where they are known), appended by all
 * processes and never rewritten.
 * A line is written before its request leaves and survives a kill; a power cut may take the last seconds with it.
 */
export function openDisclosureLog(options: {
  readonly cacheFolder: string;
  /** Who is asked. */
  readonly host: string;
  readonly clock: Clock;
  /** What all questions of this log's owner are for, e.g. `batch` or `on_demand`. */
  readonly why: string;
  /** The command that asks. */
  readonly command: string;
  /** When it was started: the `started_at` of its record among the runs, if it has one. */
  readonly startedAt: Date;
}): DisclosureLog {
  const { host, clock, why, command } = options;
  const run = options.startedAt.toISOString();
  const folder = join(options.cacheFolder, 'disclosed');
  let month = '';
  let file: Promise<FileHandle> | undefined;
  /** Takes lines until the write before it has ended: at hundreds of requests a second that is one write for many. */
  let next: Batch | undefined;
  let lastWrite = Promise.resolve();

  const fileOf = (now: string): Promise<FileHandle> => {
    if (file !== undefined && month === now) return file;
    const before = file;
    month = now;
    file = (async () => {
      await (await before)?.close();
      await makeFolder(folder);
      return open(join(folder, `${now}.jsonl`), 'a', 0o600);
    })();
    return file;
  };
  const batchOf = (now: string): Batch => {
    if (next?.month === now) return next;
    const lines: string[] = [];
    const written = lastWrite.then(() => {
      if (next === batch) next = undefined;
      return write(now, lines.join(''));
    });
    const batch: Batch = { month: now, lines, written };
    lastWrite = written.catch(() => undefined);
    next = batch;
    return batch;
  };
  const write = async (now: string, text: string): Promise<void> => {
    try {
      const bytes = Buffer.from(text);
      // One write for whole lines: appends of several processes do not mix.
      const { bytesWritten } = await (await fileOf(now)).write(bytes);
      if (bytesWritten < bytes.length) throw new Error('the disk is full');
    } catch (error) {
      // A file that could not be opened is tried anew the next time.
      file = undefined;
      throw storageError('note what is asked', folder, error);
    }
  };
  return {
    note: (hash, { because, image } = {}) => {
      const at = clock.now().toISOString();
      const said = { because: shortened(because), image: shortened(image) };
      const batch = batchOf(at.slice(0, 7));
      batch.lines.push(`${JSON.stringify({ at, hash, host, why, command, run, ...said })}\n`);
      return batch.written;
    },
    close: async () => {
      await lastWrite;
      const opened = file;
      file = undefined;
      try {
        const handle = await opened;
        await handle?.datasync();
        await handle?.close();
      } catch (error) {
        throw storageError('note what is asked', folder, error);
      }
    },
  };
}

function shortened(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : shorten(text, MAX_LENGTH);
}
