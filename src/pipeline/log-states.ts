import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Low } from 'lowdb';
import { EnrichmentError, systemCodeOf } from '../errors.js';
import { jsonFile, makeFolder } from '../storage/json-file.js';
import { withLock } from '../storage/lock.js';
import { storageError } from '../storage/storage-error.js';
import { type LogCounts, noCounts } from './log-reading.js';

/**
 * What was read of a log and written for it, so that a log that has not changed since is not read again. Kept in the cache folder;
 * deleting it costs time only.
 */
interface LogState {
  /** The log as it was read. */
  readonly log: FilePrint;
  /** The enriched file as it was left. */
  readonly enriched: FilePrint | null;
  readonly counts: LogCounts;
  /** Hashes in it that a rule forbids asking about. */
  readonly withheld: readonly string[];
  /** What else the enriched file depends on: events, form, the program's version. */
  readonly options: string;
  readonly logPath: string;
  /** Name of the form its records are written in. */
  readonly form: string;
  /** Which files its records name (`heldFiles`); null where they are too many to say. */
  readonly holds: string | null;
  /** Whether a context was left beside it; undefined where that is not known. */
  readonly hasContext: boolean | undefined;
}

/** An enriched file of an earlier run. */
export interface EarlierFile {
  readonly enrichedPath: string;
  readonly logPath: string;
  /** Name of the form its records are written in. */
  readonly form: string;
}

/** Enough of a file to notice that it is another, or has grown, shrunk or been written anew. */
interface FilePrint {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** SHA1 of the first and last bytes. */
  readonly ends: string;
}

/** More than this, and a file is taken to hold any: reading it once for nothing is cheaper than keeping so many. */
const MAX_HELD = 20_000;

/** Of a digest so many bytes are kept: one of 16 million, so a file is seldom read for nothing. */
const HELD_BYTES = 3;

/** Bytes at either end of a file that its print covers. */
const END_BYTES = 4096;
const LOCK = 'logs';

/** The states of all logs of a cache folder, by the place of their enriched file. */
export class LogStates {
  readonly #folder: string;
  readonly #path: string;
  readonly #onReport: (report: string) => void;
  readonly #onFailure: (failure: EnrichmentError) => void;
  #isLost = false;
  #hasFailed = false;
  readonly #states = new Map<string, LogState>();
  readonly #changed = new Map<string, LogState>();

  /** `onReport` is told of damage that is mended, `onFailure` once that states cannot be read or kept, which ends nothing. */
  constructor(folder: string, onReport: (report: string) => void, onFailure: (failure: EnrichmentError) => void) {
    this.#folder = folder;
    this.#path = join(folder, 'logs.json');
    this.#onReport = onReport;
    this.#onFailure = onFailure;
  }

  /** Whether it is not known which enriched files of earlier runs there are. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Reads the states there are. */
  async load(): Promise<void> {
    try {
      for (const [path, state] of await this.#read()) this.#states.set(path, state);
    } catch (error) {
      this.#isLost = true;
      this.#fail(error);
    }
  }

  /** What was read of a log whose enriched file can stay as it is; undefined where it has to be read. */
  async unchanged(
    logPath: string,
    enrichedPath: string,
    options: string,
  ): Promise<Pick<LogState, 'counts' | 'withheld' | 'hasContext'> | undefined> {
    const state = this.#states.get(resolve(enrichedPath));
    if (state === undefined || state.options !== options) return undefined;
    const [log, enriched] = await Promise.all([printOf(logPath), printOf(enrichedPath)]);
    if (log === undefined || !isSame(log, state.log)) return undefined;
    const hasSameOutput =
      state.enriched === null ? enriched === undefined : enriched !== undefined && isSame(enriched, state.enriched);
    return hasSameOutput ? state : undefined;
  }

  /** Whether a file is as an earlier run wrote it. */
  async isAsLeft(enrichedPath: string): Promise<boolean> {
    const state = this.#states.get(resolve(enrichedPath));
    const print = await printOf(enrichedPath);
    return state !== undefined && state.enriched !== null && print !== undefined && isSame(print, state.enriched);
  }

  /** A log's print before it is read, to be handed to `note` after: what changes meanwhile counts as not read. */
  print(logPath: string): Promise<FilePrint | undefined> {
    return printOf(logPath);
  }

  /** Notes that a log was read as `print` shows it, and how its enriched file was left. */
  async note(
    print: FilePrint | undefined,
    enrichedPath: string,
    read: {
      readonly logPath: string;
      readonly counts: LogCounts;
      readonly withheld: ReadonlySet<string>;
      /** The digests its records name; undefined where they are too many. */
      readonly hashes: Iterable<string> | undefined;
      readonly hasContext: boolean | undefined;
    },
    options: { readonly print: string; readonly form: string },
  ): Promise<void> {
    if (print === undefined) return;
    const { counts, withheld, hasContext } = read;
    this.#set(enrichedPath, {
      log: print,
      enriched: (await printOf(enrichedPath)) ?? null,
      counts,
      withheld: [...withheld],
      options: options.print,
      logPath: resolve(read.logPath),
      form: options.form,
      holds: read.hashes === undefined ? null : heldFiles(read.hashes),
      hasContext,
    });
  }

  /** The enriched files of earlier runs that may hold a record of one of these files; hardly ever one that does not. */
  holders(hashes: Iterable<string>): EarlierFile[] {
    const wanted = [...hashes].map(heldBytesOf);
    const found: EarlierFile[] = [];
    for (const [enrichedPath, { enriched, holds, logPath, form }] of this.#states) {
      if (enriched === null) continue;
      const held = holds === null ? undefined : Buffer.from(holds, 'base64');
      if (held === undefined || wanted.some((bytes) => isHeld(held, bytes)))
        found.push({ enrichedPath, logPath, form });
    }
    return found;
  }

  /** Whether a log is still as it was when its enriched file was written. */
  async isLogUnchanged(enrichedPath: string): Promise<boolean> {
    const state = this.#states.get(resolve(enrichedPath));
    const print = state === undefined ? undefined : await printOf(state.logPath);
    return state !== undefined && print !== undefined && isSame(print, state.log);
  }

  /** Notes how an enriched file of an earlier run and its context were left by its refresh, so that its log need not be read for that. */
  async noteRefreshed(enrichedPath: string, hasContext: boolean | undefined): Promise<void> {
    const state = this.#states.get(resolve(enrichedPath));
    const enriched = await printOf(enrichedPath);
    if (state === undefined || enriched === undefined) return;
    // Written into the log itself, which is then as it was left.
    const log = state.logPath === resolve(enrichedPath) ? enriched : state.log;
    this.#set(enrichedPath, { ...state, log, enriched, hasContext });
  }

  #set(enrichedPath: string, state: LogState): void {
    this.#states.set(resolve(enrichedPath), state);
    this.#changed.set(resolve(enrichedPath), state);
  }

  /** Writes what was noted; forgets logs whose enriched file is gone. Durable once resolved, unless a failure was told. */
  async save(): Promise<void> {
    if (this.#changed.size === 0 || this.#hasFailed) return;
    try {
      await this.#write();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #write(): Promise<void> {
    await makeFolder(this.#folder);
    await withLock(this.#folder, LOCK, async () => {
      const states = await this.#read();
      for (const [path, state] of this.#changed) states.set(path, state);
      for (const [path, state] of states) {
        if (state.enriched !== null && !this.#changed.has(path) && !(await exists(path))) states.delete(path);
      }
      const document = this.#document();
      document.data = Object.fromEntries(states);
      await document.write();
    });
  }

  #fail(error: unknown): void {
    if (!(error instanceof EnrichmentError) && systemCodeOf(error) === undefined) throw error;
    this.#hasFailed = true;
    this.#onFailure(storageError('keep what was read of logs', this.#path, error));
  }

  #document(): Low<Record<string, LogState>> {
    const adapter = jsonFile<Record<string, LogState>>(this.#path, statesFromJson, (copy) =>
      this.#onReport(`${this.#path} is damaged: set aside as ${copy}; all logs are read again`),
    );
    return new Low(adapter, {});
  }

  async #read(): Promise<Map<string, LogState>> {
    const document = this.#document();
    await document.read();
    return new Map(Object.entries(document.data));
  }
}

/** The first bytes of all digests, sorted, each once, in base64; null where they are too many. */
function heldFiles(hashes: Iterable<string>): string | null {
  const held = new Set<string>();
  for (const hash of hashes) {
    held.add(hash.slice(0, HELD_BYTES * 2));
    if (held.size > MAX_HELD) return null;
  }
  return Buffer.from([...held].sort().join(''), 'hex').toString('base64');
}

function heldBytesOf(hash: string): Buffer {
  return Buffer.from(hash.slice(0, HELD_BYTES * 2), 'hex');
}

/** Whether these bytes are among the sorted ones, by halving. */
function isHeld(held: Buffer, bytes: Buffer): boolean {
  let low = 0;
  let high = Math.floor(held.length / HELD_BYTES);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const start = middle * HELD_BYTES;
    const order = held.compare(bytes, 0, HELD_BYTES, start, start + HELD_BYTES);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function isSame(a: FilePrint, b: FilePrint): boolean {
  return a.sizeBytes === b.sizeBytes && a.modifiedMs === b.modifiedMs && a.ends === b.ends;
}

/** The print of a file, undefined where there is none that can be read. */
async function printOf(path: string): Promise<FilePrint | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return undefined;
    throw error;
  }
  try {
    const { size, mtimeMs } = await file.stat();
    const ends = Buffer.alloc(END_BYTES * 2);
    const head = await file.read(ends, 0, END_BYTES, 0);
    const tail = await file.read(ends, head.bytesRead, END_BYTES, Math.max(0, size - END_BYTES));
    const digest = createHash('sha1')
      .update(ends.subarray(0, head.bytesRead + tail.bytesRead))
      .digest('hex');
    return { sizeBytes: size, modifiedMs: mtimeMs, ends: digest };
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return undefined;
    throw error;
  } finally {
    await file.close();
  }
}

type JsonObject = { readonly [name: string]: unknown };

function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function statesFromJson(json: unknown): Record<string, LogState> | undefined {
  if (!isObject(json)) return undefined;
  const states: [string, LogState][] = [];
  for (const [path, value] of Object.entries(json)) {
    if (!isObject(value) || typeof value['options'] !== 'string') return undefined;
    const log = printFromJson(value['log']);
    const enriched = value['enriched'] === null ? null : printFromJson(value['enriched']);
    const counts = countsFromJson(value['counts']);
    const { withheld, options, logPath, form, holds, hasContext } = value;
    if (log === undefined || enriched === undefined || counts === undefined || !isTextList(withheld)) return undefined;
    if (typeof logPath !== 'string' || typeof form !== 'string' || !(holds === null || typeof holds === 'string')) {
      return undefined;
    }
    if (hasContext !== undefined && typeof hasContext !== 'boolean') return undefined;
    states.push([path, { log, enriched, counts, withheld, options, logPath, form, holds, hasContext }]);
  }
  return Object.fromEntries(states);
}

function isTextList(json: unknown): json is readonly string[] {
  return Array.isArray(json) && json.every((text) => typeof text === 'string');
}

function printFromJson(json: unknown): FilePrint | undefined {
  if (!isObject(json)) return undefined;
  const { sizeBytes, modifiedMs, ends } = json;
  if (typeof sizeBytes !== 'number' || typeof modifiedMs !== 'number' || typeof ends !== 'string') return undefined;
  return { sizeBytes, modifiedMs, ends };
}

function countsFromJson(json: unknown): LogCounts | undefined {
  if (!isObject(json)) return undefined;
  const counts = noCounts();
  for (const name of Object.keys(counts) as (keyof LogCounts)[]) {
    const count = json[name];
    if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) return undefined;
    counts[name] = count;
  }
  return counts;
}
