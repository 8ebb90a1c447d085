import { copyFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Low } from 'lowdb';
import { type Clock, systemClock } from '../clock.js';
import { messageOf, systemCodeOf } from '../errors.js';
import { evidenceFromJson, evidenceToJson, type FileEvidence, mergeEvidence } from '../evidence.js';
import { algorithmOf } from '../hash.js';
import { jsonFile, makeFolder, setAsidePath } from '../storage/json-file.js';
import { withLock } from '../storage/lock.js';
import { storageError } from '../storage/storage-error.js';
import { type Batch, Batches } from './batches.js';

/** The memory of what ran: per file its sightings over all runs, and which files wait for a question since when. */
export interface SightingStore {
  /** What is remembered of a file under this digest. */
  get(hash: string): Promise<FileEvidence | undefined>;
  /** The same for many, each shard read once; digests without sightings are absent. */
  getMany(hashes: Iterable<string>): Promise<ReadonlyMap<string, FileEvidence>>;
  /** All files with sightings, some thousands at a time, in the order of their digests' first digits. */
  files(): AsyncIterable<ReadonlyMap<string, FileEvidence>>;
  /**
   * Adds a run's sightings to what is remembered; durable once resolved. Sightings that are there already change nothing and write
   * nothing, so a run that was killed in between is simply repeated.
   */
  add(seen: ReadonlyMap<string, FileEvidence>): Promise<void>;
  /** The files that wait for a question, by digest. */
  waiting(): Promise<ReadonlyMap<string, WaitingFile>>;
  /** Notes files that are due now, those waiting already keep their time, and files that need no question any more; durable once resolved. */
  updateWaiting(change: WaitingChange): Promise<void>;
}

/** Since when a file waits for a question, and how telling its answer was taken to be when it was last ranked. */
export interface WaitingFile {
  readonly since: Date;
  readonly score: number;
}

/** A change of the files that wait for a question. A hash in both is settled. */
export interface WaitingChange {
  /** Scores by digest. */
  readonly due: ReadonlyMap<string, number>;
  readonly settled: Iterable<string>;
  readonly now: Date;
}

export interface SightingOptions {
  /** Told what is worth knowing and ended nothing, e.g. that a damaged file was set aside. One line for people. */
  readonly onReport?: (message: string) => void;
  /** How long the sightings of a file that runs no more are remembered; for ever without. Forgetting happens when shards are written. */
  readonly keptMs?: number;
  /** The machine's without. */
  readonly clock?: Clock;
}

/** The locks under which shards and the list of waiting files are written. Reading needs none. */
const LOCK = 'sightings';
const WAITING_LOCK = 'waiting';

/** Shards written at the same time: their syncs then share the disk's own commits. */
const WRITERS = 8;

/** Two digits make 256 shards. A fold touches all of them, unlike one of the cache's answers, so fewer and larger ones save syncs. */
const PREFIX_LENGTH = 2;
const PREFIXES: readonly string[] = Array.from({ length: 16 ** PREFIX_LENGTH }, (_, number) =>
  number.toString(16).padStart(PREFIX_LENGTH, '0'),
);

/** How shards and the list of waiting files are stored: anything, by digest. */
interface StoredFiles {
  readonly files: Readonly<Record<string, unknown>>;
}

/** A shard whose files are checked only when they are wanted. */
interface Shard {
  readonly path: string;
  readonly low: Low<StoredFiles>;
  /** What is stored of each digest; JSON.parse makes all of them own members. */
  readonly files: ReadonlyMap<string, unknown>;
}

/**
 * Opens the sightings in a cache folder: `sightings/<ab>.json`, lowdb documents by the first two digits of the digest, in front of
 * them `sightings/batches/`, what runs have added and is folded into the shards when it has grown large, and `waiting.json`.
 * Nothing is created before the first write. All methods throw StorageError where the folder cannot be used.
 */
export function openSightings(folder: string, options: SightingOptions = {}): SightingStore {
  return new LowdbSightings(resolve(folder), options);
}

class LowdbSightings implements SightingStore {
  readonly #folder: string;
  readonly #shardFolder: string;
  readonly #batches: Batches;
  readonly #onReport: (message: string) => void;
  readonly #keptMs: number;
  readonly #clock: Clock;

  constructor(folder: string, options: SightingOptions) {
    this.#folder = folder;
    this.#shardFolder = join(folder, 'sightings');
    this.#onReport = options.onReport ?? (() => undefined);
    this.#keptMs = options.keptMs ?? Number.POSITIVE_INFINITY;
    this.#clock = options.clock ?? systemClock;
    this.#batches = new Batches(join(this.#shardFolder, 'batches'), this.#onReport);
  }

  async get(hash: string): Promise<FileEvidence | undefined> {
    return (await this.getMany([hash])).get(hash);
  }

  async getMany(hashes: Iterable<string>): Promise<ReadonlyMap<string, FileEvidence>> {
    const batches = await this.#batches.read();
    const found = new Map<string, FileEvidence>();
    for (const [prefix, wanted] of groupByPrefix(hashes)) {
      const shard = await this.#readShard(prefix);
      for (const [hash, evidence] of await this.#gather(shard, wanted, batches)) found.set(hash, evidence);
    }
    return found;
  }

  async *files(): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    const batches = await this.#batches.read();
    const inBatches = groupByPrefix(new Set(batches.flatMap((batch) => [...batch.hashes()])));
    for (const prefix of PREFIXES) {
      const shard = await this.#readShard(prefix);
      const hashes = new Set([...shard.files.keys(), ...(inBatches.get(prefix) ?? [])]);
      const found = await this.#gather(shard, hashes, batches);
      if (found.size > 0) yield found;
    }
  }

  async add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    const known = await this.getMany(seen.keys());
    const news = new Map<string, FileEvidence>();
    for (const [hash, evidence] of seen) {
      if (algorithmOf(hash) === undefined) continue;
      const stored = known.get(hash);
      if (stored === undefined || mergeEvidence(stored, evidence)) news.set(hash, evidence);
    }
    if (news.size === 0) return;
    await this.#batches.add(news);
    if (!this.#batches.isFull(await this.#batches.read())) return;
    try {
      await this.#fold();
    } catch (error) {
      // What was added is durable already, and the next run folds it.
      this.#onReport(`${this.#shardFolder}: sightings stay in batches until the next run: ${messageOf(error)}`);
    }
  }

  async waiting(): Promise<ReadonlyMap<string, WaitingFile>> {
    return (await this.#readWaiting()).files;
  }

  async updateWaiting({ due, settled, now }: WaitingChange): Promise<void> {
    await makeFolder(this.#folder);
    await withLock(this.#folder, WAITING_LOCK, async () => {
      const { low, files } = await this.#readWaiting();
      let changed = false;
      for (const [hash, score] of due) {
        if (algorithmOf(hash) === undefined) continue;
        const known = files.get(hash);
        if (known?.score === score) continue;
        files.set(hash, { since: known?.since ?? now, score });
        changed = true;
      }
      for (const hash of settled) changed = files.delete(hash) || changed;
      if (!changed) return;
      low.data = {
        files: Object.fromEntries([...files].map(([hash, { since, score }]) => [hash, [since.toISOString(), score]])),
      };
      await low.write();
    });
  }

  /** All that is known of some files of one shard. */
  async #gather(
    { path, files }: Shard,
    hashes: Iterable<string>,
    batches: readonly Batch[],
  ): Promise<Map<string, FileEvidence>> {
    const found = new Map<string, FileEvidence>();
    let damaged = 0;
    for (const hash of hashes) {
      const stored = files.get(hash);
      let evidence = stored === undefined ? undefined : readEvidence(hash, stored);
      if (stored !== undefined && evidence === undefined) damaged++;
      for (const batch of batches) {
        const added = batch.find(hash);
        if (added === undefined) continue;
        if (evidence === undefined) evidence = added;
        else mergeEvidence(evidence, added);
      }
      if (evidence !== undefined) found.set(hash, evidence);
    }
    if (damaged > 0) await this.#keepCopy(path, `${damaged} files' sightings`);
    return found;
  }

  /** Moves what batches hold into shards and removes them. A kill at any moment loses nothing: folding twice changes nothing. */
  async #fold(): Promise<void> {
    await withLock(this.#folder, LOCK, async () => {
      // Read under the lock: another process may have folded them meanwhile.
      const batches = await this.#batches.read();
      const queue = [...groupByPrefix(new Set(batches.flatMap((batch) => [...batch.hashes()])))];
      const write = async (): Promise<void> => {
        for (let next = queue.pop(); next !== undefined; next = queue.pop()) await this.#foldInto(...next, batches);
      };
      // Every writer ends before the lock is given back, a failed one too.
      const outcomes = await Promise.allSettled(Array.from({ length: WRITERS }, write));
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      await this.#batches.remove(batches);
    });
  }

  async #foldInto(prefix: string, added: readonly string[], batches: readonly Batch[]): Promise<void> {
    const shard = await this.#readShard(prefix);
    const all = await this.#gather(shard, new Set([...shard.files.keys(), ...added]), batches);
    const oldestMs = this.#clock.now().getTime() - this.#keptMs;
    const kept = [...all].filter(([, { lastSeen }]) => lastSeen === undefined || lastSeen.getTime() >= oldestMs);
    shard.low.data = { files: Object.fromEntries(kept.map(([hash, evidence]) => [hash, evidenceToJson(evidence)])) };
    await shard.low.write();
  }

  async #readShard(prefix: string): Promise<Shard> {
    const path = join(this.#shardFolder, `${prefix}.json`);
    const low = new Low(jsonFile(path, readDocument, this.#reportSetAside), { files: {} });
    await low.read();
    return { path, low, files: new Map(Object.entries(low.data.files)) };
  }

  async #readWaiting(): Promise<{ low: Low<StoredFiles>; files: Map<string, WaitingFile> }> {
    const path = join(this.#folder, 'waiting.json');
    const low = new Low(jsonFile(path, readDocument, this.#reportSetAside), { files: {} });
    await low.read();
    const files = new Map<string, WaitingFile>();
    let damaged = 0;
    for (const [hash, json] of Object.entries(low.data.files)) {
      const file = algorithmOf(hash) === undefined ? undefined : readWaitingFile(json);
      if (file === undefined) damaged++;
      else files.set(hash, file);
    }
    if (damaged > 0) await this.#keepCopy(path, `${damaged} waiting files`);
    return { low, files };
  }

  readonly #reportSetAside = (path: string): void => {
    this.#onReport(`a damaged file of sightings was set aside as ${path}; what it held is counted anew from the logs`);
  };

  /** Damaged parts of a good file go with the next write; a copy stays for whoever wants to know. */
  async #keepCopy(path: string, what: string): Promise<void> {
    const names = await readdir(resolve(path, '..'));
    // One copy is enough: readers come often, and only a write repairs the file.
    if (names.some((name) => join(resolve(path, '..'), name).startsWith(`${path}.corrupt-`))) return;
    const copy = setAsidePath(path);
    try {
      await copyFile(path, copy);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return;
      throw storageError('copy', path, error);
    }
    this.#onReport(`${path}: ${what} could not be read and are left out; a copy is kept as ${copy}`);
  }
}

function groupByPrefix(hashes: Iterable<string>): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const hash of hashes) {
    if (algorithmOf(hash) === undefined) continue;
    const prefix = hash.slice(0, PREFIX_LENGTH);
    const group = groups.get(prefix);
    if (group === undefined) groups.set(prefix, [hash]);
    else group.push(hash);
  }
  return groups;
}

/** `{"files":{…}}` if that is what the document is. Members are looked up by name only through Object.entries. */
function readDocument(json: unknown): StoredFiles | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { files } = json as { readonly files?: unknown };
  if (typeof files !== 'object' || files === null || Array.isArray(files)) return undefined;
  return { files: files as StoredFiles['files'] };
}

function readEvidence(hash: string, json: unknown): FileEvidence | undefined {
  return algorithmOf(hash) === undefined ? undefined : evidenceFromJson(json);
}

function readWaitingFile(json: unknown): WaitingFile | undefined {
  if (!Array.isArray(json) || json.length !== 2) return undefined;
  const [time, score]: readonly unknown[] = json;
  const since = typeof time === 'string' ? new Date(time) : undefined;
  if (since === undefined || Number.isNaN(since.getTime())) return undefined;
  return typeof score === 'number' && Number.isFinite(score) ? { since, score } : undefined;
}
