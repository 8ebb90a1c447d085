import { copyFile, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Clock, systemClock } from '../clock.js';
import { DigestTable } from '../digest-table.js';
import { messageOf, systemCodeOf } from '../errors.js';
import { type FileEvidence, mergeEvidence } from '../evidence.js';
import { makeFolder, setAsidePath } from '../storage/json-file.js';
import { withLock } from '../storage/lock.js';
import { storageError } from '../storage/storage-error.js';
import { Batches, type OpenBatches, type Sightings, TemporaryBatches } from './batches.js';
import { openGrowingShard, rewriteShard, type Shard, ShardReader } from './shard.js';
import { type WaitingFiles, waitingDocument } from './waiting.js';

/** The memory of what ran: per file its sightings over all runs, and which files wait for a question since when. */
export interface SightingStore {
  /** What is remembered of a file under this digest. */
  get(hash: string): Promise<FileEvidence | undefined>;
  /** The same for many, in parts of up to some thousands; digests without sightings are absent. What is given is not to be changed. */
  read(hashes: Iterable<string>): AsyncIterable<ReadonlyMap<string, FileEvidence>>;
  /** The same for those of all files that `choose` picks: it gets their digests, some thousands at a time, in no order. */
  select(
    choose: (digests: readonly string[]) => Promise<Iterable<string>>,
  ): AsyncIterable<ReadonlyMap<string, FileEvidence>>;
  /**
   * Adds a run's sightings to what is remembered, and takes them over: they are not to be changed any more. Durable once resolved.
   * Sightings that are there already change nothing, so a run that was killed in between is simply repeated.
   */
  add(seen: ReadonlyMap<string, FileEvidence>): Promise<void>;
  /** The files that wait for a question. */
  waiting(): Promise<WaitingFiles>;
  /** Notes files that are due now, those waiting already keep their time, and files that need no question any more; durable once resolved. */
  updateWaiting(change: WaitingChange): Promise<void>;
  /** The same sightings for whoever is to leave them as they are: what is added there is found there only, and gone with `close`. */
  apart(): SightingsApart;
}

/** Sightings to which more can be added without being kept. */
export interface SightingsApart extends Pick<SightingStore, 'read' | 'add'> {
  /** Forgets what was added. Rejects with StorageError. */
  close(): Promise<void>;
}

/** A change of the files that wait for a question. A hash in both is settled. */
export interface WaitingChange {
  readonly due: Iterable<{ readonly hash: string; readonly score: number }>;
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

/**
 * Batches are folded once they hold so many bytes, or half as many as the shards do if that is more: so each sighting is written again
 * only a few times, however many there are, and batches stay small beside what every run reads anyway.
 */
const FULL_BYTES = 48 * 1024 * 1024;

/** Two digits make 256 shards. A fold touches all of them, unlike one of the cache's answers, so fewer and larger ones save syncs. */
const PREFIX_LENGTH = 2;
const PREFIXES: readonly string[] = Array.from({ length: 16 ** PREFIX_LENGTH }, (_, number) =>
  number.toString(16).padStart(PREFIX_LENGTH, '0'),
);

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
    for await (const found of this.read([hash])) return found.get(hash);
    return undefined;
  }

  async *read(hashes: Iterable<string>): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    yield* this.#readParts(groupByPrefix(hashes), [this.#batches]);
  }

  async *select(
    choose: (digests: readonly string[]) => Promise<Iterable<string>>,
  ): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    yield* this.#readParts(
      PREFIXES.map((prefix) => [prefix, undefined]),
      [this.#batches],
      choose,
    );
  }

  apart(): SightingsApart {
    const added = new TemporaryBatches(this.#onReport);
    return {
      read: (hashes) => this.#readParts(groupByPrefix(hashes), [added, this.#batches]),
      add: (seen) => added.add(seen),
      close: () => added.close(),
    };
  }

  async add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    await this.#batches.add(seen);
    if (!(await this.#isFoldDue())) return;
    try {
      await withLock(this.#folder, LOCK, async () => {
        // Asked again under the lock: another process may have folded them meanwhile.
        if (await this.#isFoldDue()) await this.#fold();
      });
    } catch (error) {
      // What was added is durable already, and the next run folds it.
      this.#onReport(`${this.#shardFolder}: sightings stay in batches until the next run: ${messageOf(error)}`);
    }
  }

  async waiting(): Promise<WaitingFiles> {
    return (await this.#readWaiting()).data.files;
  }

  async updateWaiting({ due, settled, now }: WaitingChange): Promise<void> {
    try {
      await makeFolder(this.#folder);
    } catch (error) {
      throw storageError('make the folder', this.#folder, error);
    }
    await withLock(this.#folder, WAITING_LOCK, async () => {
      const document = await this.#readWaiting();
      const { files } = document.data;
      let changed = false;
      for (const { hash, score } of due) {
        const known = files.get(hash);
        if (known?.score !== score) changed = files.set(hash, { since: known?.since ?? now, score }) || changed;
      }
      for (const hash of settled) changed = files.delete(hash) || changed;
      if (changed) await document.write();
    });
  }

  /** What is known of the wanted files of each shard, of all that `choose` picks where none are named; parts without any are left out. */
  async *#readParts(
    parts: Iterable<readonly [prefix: string, wanted: ReadonlySet<string> | undefined]>,
    sources: readonly Pick<Batches, 'open'>[],
    choose?: (digests: readonly string[]) => Promise<Iterable<string>>,
  ): AsyncIterable<Map<string, FileEvidence>> {
    const opened: OpenBatches[] = [];
    try {
      for (const batches of sources) opened.push(await batches.open());
      const shards = new ShardReader(this.#reportSetAside);
      for (const [prefix, wanted] of parts) {
        const shard = await shards.read(this.#shardPath(prefix));
        const added = opened.map((batches) => batches.take(prefix, wanted));
        let digests: Iterable<string> =
          wanted ?? new Set([...added.flatMap((batch) => [...batch.keys()]), ...shard.digests()]);
        if (choose !== undefined) digests = await choose([...digests]);
        const files = await this.#gather(shard, added, digests);
        if (files.size > 0) yield files;
      }
    } finally {
      for (const batches of opened) batches.close();
    }
  }

  /** Puts together what batches and a shard tell of these files. */
  async #gather(
    shard: Shard,
    added: readonly ReadonlyMap<string, Sightings>[],
    digests: Iterable<string>,
  ): Promise<Map<string, FileEvidence>> {
    const files = new Map<string, FileEvidence>();
    let damaged = 0;
    for (const hash of digests) {
      let evidence: FileEvidence | undefined;
      for (const batch of added) evidence = batch.get(hash)?.mergedInto(evidence) ?? evidence;
      const stored = shard.find(hash);
      if (stored === 'damaged') damaged++;
      else if (stored !== undefined && evidence !== undefined) mergeEvidence(evidence, stored);
      evidence ??= stored === 'damaged' ? undefined : stored;
      if (evidence !== undefined) files.set(hash, evidence);
    }
    if (damaged > 0) await this.#keepCopy(shard.path, `${damaged} files' sightings`);
    return files;
  }

  async #isFoldDue(): Promise<boolean> {
    const { isFull, bytes } = await this.#batches.extent();
    return isFull || (bytes >= FULL_BYTES && bytes >= (await this.#shardBytes()) / 2);
  }

  async #shardBytes(): Promise<number> {
    let bytes = 0;
    for (const prefix of PREFIXES) {
      try {
        bytes += (await stat(this.#shardPath(prefix))).size;
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw storageError('read', this.#shardPath(prefix), error);
      }
    }
    return bytes;
  }

  /** Moves what batches hold into shards and removes them. A kill at any moment loses nothing: folding twice changes nothing. */
  async #fold(): Promise<void> {
    const batches = await this.#batches.open();
    try {
      for (let first = 0; first < PREFIXES.length; first += WRITERS) {
        const writes: Promise<void>[] = [];
        for (const prefix of PREFIXES.slice(first, first + WRITERS)) {
          const added = batches.take(prefix);
          if (added.size > 0) writes.push(this.#foldInto(prefix, added));
        }
        // Every writer ends before the lock is given back, a failed one too.
        const outcomes = await Promise.allSettled(writes);
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      }
      await this.#batches.remove(batches);
    } finally {
      batches.close();
    }
  }

  async #foldInto(prefix: string, added: ReadonlyMap<string, Sightings>): Promise<void> {
    const oldestMs = this.#clock.now().getTime() - this.#keptMs;
    const path = this.#shardPath(prefix);
    const growing = openGrowingShard(path);
    if (growing !== undefined) {
      const replaced = new Set(added.keys());
      await growing.write(replaced, await this.#gather(growing, [added], replaced), oldestMs);
      return;
    }
    const change = (shard: Shard): Promise<Map<string, FileEvidence>> =>
      this.#gather(shard, [added], new Set([...added.keys(), ...shard.digests()]));
    await rewriteShard(path, this.#reportSetAside, change, oldestMs);
  }

  #shardPath(prefix: string): string {
    return join(this.#shardFolder, `${prefix}.json`);
  }

  async #readWaiting(): Promise<ReturnType<typeof waitingDocument>> {
    const path = join(this.#folder, 'waiting.json');
    const document = waitingDocument(path, this.#reportSetAside);
    await document.read();
    const { damaged } = document.data;
    if (damaged > 0) await this.#keepCopy(path, `${damaged} waiting files`);
    return document;
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

/** Digests by shard, in the order of shards; as texts only those of one shard at a time, since a first night asks for all it has met. */
function* groupByPrefix(hashes: Iterable<string>): Generator<readonly [prefix: string, wanted: ReadonlySet<string>]> {
  const digests = new DigestTable();
  for (const hash of hashes) digests.add(hash);
  for (const [prefix, numbers] of digests.byFirstByte()) {
    yield [prefix, new Set(Array.from(numbers, (number) => digests.hashAt(number)))];
  }
}
