import { copyFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Low } from 'lowdb';
import { systemCodeOf } from '../errors.js';
import { emptyEvidence, evidenceFromJson, evidenceToJson, type FileEvidence, mergeEvidence } from '../evidence.js';
import { algorithmOf } from '../hash.js';
import { jsonFile, makeFolder, setAsidePath } from '../storage/json-file.js';
import { withLock } from '../storage/lock.js';
import { storageError } from '../storage/storage-error.js';

/** The memory of what ran: per file its sightings over all runs, and which files wait for a question since when. */
export interface SightingStore {
  /** What is remembered of a file under this digest. */
  get(hash: string): Promise<FileEvidence | undefined>;
  /** The same for many, each shard read once; digests without sightings are absent. */
  getMany(hashes: Iterable<string>): Promise<ReadonlyMap<string, FileEvidence>>;
  /**
   * Adds a run's sightings to what is remembered; durable once resolved. Sightings that are there already change nothing and write
   * nothing, so a run that was killed in between is simply repeated.
   */
  add(seen: ReadonlyMap<string, FileEvidence>): Promise<void>;
  /** The files that wait for a question, and since when. */
  waiting(): Promise<ReadonlyMap<string, Date>>;
  /** Notes files that are due now, those waiting already keep their time, and files that need no question any more; durable once resolved. */
  updateWaiting(change: WaitingChange): Promise<void>;
}

/** A change of the files that wait for a question. A hash in both lists is settled. */
export interface WaitingChange {
  readonly due: Iterable<string>;
  readonly settled: Iterable<string>;
  readonly now: Date;
}

export interface SightingOptions {
  /** Told what is worth knowing and ended nothing, e.g. that a damaged file was set aside. One line for people. */
  readonly onReport?: (message: string) => void;
}

/** The lock under which the sightings' files are written. Reading needs none. */
const LOCK = 'sightings';

/** Shards written at the same time: their syncs then share the disk's own commits. */
const WRITERS = 8;

/** Shards written under one hold of the lock, so that others get their turn. */
const SHARDS_PER_HOLD = 32;

/** Two digits make 256 shards. A night touches most of them, unlike the cache's answers, so fewer and larger ones save syncs. */
const PREFIX_LENGTH = 2;

interface ShardDocument {
  readonly files: Readonly<Record<string, unknown>>;
}

interface WaitingDocument {
  readonly since: Readonly<Record<string, unknown>>;
}

/**
 * Opens the sightings in a cache folder: `sightings/<ab>.json`, lowdb documents by the first two digits of the digest, and
 * `waiting.json`. Nothing is created before the first write. All methods throw StorageError where the folder cannot be used.
 */
export function openSightings(folder: string, options: SightingOptions = {}): SightingStore {
  return new LowdbSightings(resolve(folder), options.onReport ?? (() => undefined));
}

class LowdbSightings implements SightingStore {
  readonly #folder: string;
  readonly #shardFolder: string;
  readonly #onReport: (message: string) => void;

  constructor(folder: string, onReport: (message: string) => void) {
    this.#folder = folder;
    this.#shardFolder = join(folder, 'sightings');
    this.#onReport = onReport;
  }

  async get(hash: string): Promise<FileEvidence | undefined> {
    return (await this.getMany([hash])).get(hash);
  }

  async getMany(hashes: Iterable<string>): Promise<ReadonlyMap<string, FileEvidence>> {
    const found = new Map<string, FileEvidence>();
    for (const [prefix, wanted] of groupByPrefix(hashes)) {
      const { files } = await this.#readShard(prefix);
      for (const hash of wanted) {
        const evidence = files.get(hash);
        if (evidence !== undefined) found.set(hash, evidence);
      }
    }
    return found;
  }

  async add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    if (seen.size === 0) return;
    await makeFolder(this.#shardFolder);
    const shards = [...groupByPrefix(seen.keys())];
    for (let start = 0; start < shards.length; start += SHARDS_PER_HOLD) {
      const queue = shards.slice(start, start + SHARDS_PER_HOLD);
      await withLock(this.#folder, LOCK, async () => {
        const write = async (): Promise<void> => {
          for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
            const [prefix, hashes] = next;
            await this.#addToShard(prefix, hashes, seen);
          }
        };
        // Every writer ends before the lock is given back, a failed one too.
        const outcomes = await Promise.allSettled(Array.from({ length: WRITERS }, write));
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      });
    }
  }

  async waiting(): Promise<ReadonlyMap<string, Date>> {
    return (await this.#readWaiting()).since;
  }

  async updateWaiting({ due, settled, now }: WaitingChange): Promise<void> {
    await makeFolder(this.#folder);
    await withLock(this.#folder, LOCK, async () => {
      const { low, since } = await this.#readWaiting();
      let changed = false;
      for (const hash of due) {
        if (since.has(hash) || algorithmOf(hash) === undefined) continue;
        since.set(hash, now);
        changed = true;
      }
      for (const hash of settled) changed = since.delete(hash) || changed;
      if (!changed) return;
      low.data = { since: Object.fromEntries([...since].map(([hash, time]) => [hash, time.toISOString()])) };
      await low.write();
    });
  }

  async #addToShard(prefix: string, hashes: readonly string[], seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    const { low, files } = await this.#readShard(prefix);
    let changed = false;
    for (const hash of hashes) {
      const news = seen.get(hash);
      if (news === undefined) continue;
      const known = files.get(hash) ?? emptyEvidence();
      files.set(hash, known);
      changed = mergeEvidence(known, news) || changed;
    }
    if (!changed) return;
    low.data = { files: Object.fromEntries([...files].map(([hash, evidence]) => [hash, evidenceToJson(evidence)])) };
    await low.write();
  }

  async #readShard(prefix: string): Promise<{ low: Low<ShardDocument>; files: Map<string, FileEvidence> }> {
    const path = join(this.#shardFolder, `${prefix}.json`);
    const low = new Low(
      jsonFile(path, (json) => readDocument(json, 'files'), this.#reportSetAside),
      { files: {} },
    );
    await low.read();
    const files = new Map<string, FileEvidence>();
    let damaged = 0;
    for (const [hash, json] of Object.entries(low.data.files)) {
      const evidence = algorithmOf(hash) === undefined ? undefined : evidenceFromJson(json);
      if (evidence === undefined) damaged++;
      else files.set(hash, evidence);
    }
    if (damaged > 0) await this.#keepCopy(path, `${damaged} files' sightings`);
    return { low, files };
  }

  async #readWaiting(): Promise<{ low: Low<WaitingDocument>; since: Map<string, Date> }> {
    const path = join(this.#folder, 'waiting.json');
    const low = new Low(
      jsonFile(path, (json) => readDocument(json, 'since'), this.#reportSetAside),
      { since: {} },
    );
    await low.read();
    const since = new Map<string, Date>();
    let damaged = 0;
    for (const [hash, json] of Object.entries(low.data.since)) {
      const time = typeof json === 'string' && algorithmOf(hash) !== undefined ? new Date(json) : undefined;
      if (time === undefined || Number.isNaN(time.getTime())) damaged++;
      else since.set(hash, time);
    }
    if (damaged > 0) await this.#keepCopy(path, `${damaged} waiting files`);
    return { low, since };
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

/** `{[member]: {…}}` if that is what the document is. Members are looked up by name only through Object.entries. */
function readDocument<Member extends string>(
  json: unknown,
  member: Member,
): { readonly [key in Member]: Readonly<Record<string, unknown>> } | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { [member]: value } = json as { readonly [name: string]: unknown };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return { [member]: value } as { readonly [key in Member]: Readonly<Record<string, unknown>> };
}
