import { constants } from 'node:fs';
import { copyFile, readdir, rm } from 'node:fs/promises';
import { Low } from 'lowdb';
import { messageOf, systemCodeOf } from '../errors.js';
import { algorithmOf } from '../hash.js';
import { digestsOf, type Lookup, lookupToJson, primaryDigestOf } from '../lookup.js';
import { jsonFile, makeFolder, setAside, setAsidePath, syncFolder } from '../storage/json-file.js';
import { withLock } from '../storage/lock.js';
import { storageError } from '../storage/storage-error.js';
import { removeAbandoned } from '../storage/temporary.js';
import { AnswerSet } from './answer-set.js';
import type { Journal, JournalReader } from './journal.js';
import { readAnswer, type ShardReader, shardPrefixOf } from './shard.js';

/** The lock under which shards are written. Reading needs none. */
const LOCK = 'answers';

/** Shards written at the same time: their syncs then share the disk's own commits. */
const WRITERS = 8;

/** Shards pruned under one hold of the lock: at most a second or two, since others wait for it. */
const SHARDS_PER_PRUNE = 64;

const SHARD_FILE = /^([0-9a-f]{3})\.json$/;

/** A shard as it is stored. Members are digests of lower-case hex and nothing else. */
interface Shard {
  /** Stored answers by their primary digest; checked when they are used. */
  readonly answers: Readonly<Record<string, unknown>>;
  /** The primary digest by the file's other digests. */
  readonly aliases: Readonly<Record<string, unknown>>;
}

/** What is to become of one shard; drops come first. */
interface ShardChange {
  readonly droppedAnswers: Set<string>;
  /** With the primary digest an alias must name to be dropped: a newer answer may have taken it over. */
  readonly droppedAliases: Map<string, unknown>;
  readonly aliases: Map<string, string>;
  readonly answers: Map<string, Lookup>;
}

/** Where a cache's parts are, and who is told of damage. */
export interface Storage {
  /** The cache's own folder, which has the locks. */
  readonly folder: string;
  readonly answersFolder: string;
  readonly journalFolder: string;
  readonly journals: JournalReader;
  readonly shards: ShardReader;
  readonly report: (message: string) => void;
}

/** Whatever needs shards as whole documents: folding, pruning, repairing, listing. All methods reject with StorageError. */
export class ShardWriter {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Moves what journals hold into shards and removes them. A kill at any moment loses nothing: the journals go last. */
  async fold(journalPaths: readonly string[]): Promise<void> {
    if (journalPaths.length === 0) return;
    await this.#locked(async () => {
      // Read under the lock: another process may have folded an abandoned journal meanwhile.
      const journals = this.#storage.journals.read().all.filter(({ path }) => journalPaths.includes(path));
      await this.#store(journals.flatMap((journal) => [...journal.answers()]));
      for (const journal of journals) await this.#removeJournal(journal);
    });
  }

  /** Drops answers from shards and returns how many. Journals are not looked at. */
  async prune(isDue: (lookup: Lookup) => boolean): Promise<number> {
    const prefixes = await this.prefixes();
    const aliases = new ShardChanges();
    let pruned = 0;
    for (let first = 0; first < prefixes.length; first += SHARDS_PER_PRUNE) {
      await this.#locked(async () => {
        const due = new ShardChanges();
        for (const prefix of prefixes.slice(first, first + SHARDS_PER_PRUNE)) {
          for (const lookup of (await this.answersOf(prefix)).filter(isDue)) {
            const primary = primaryDigestOf(lookup);
            due.of(primary).droppedAnswers.add(primary);
            for (const digest of digestsOf(lookup)) aliases.of(digest).droppedAliases.set(digest, primary);
            pruned++;
          }
        }
        await this.#apply(due);
      });
    }
    // Only now: an alias without its answer is nothing, an answer without its aliases would be found by one digest only.
    if (pruned > 0) await this.#locked(() => this.#apply(aliases));
    return pruned;
  }

  /** The prefixes of all shards there are, sorted. */
  async prefixes(): Promise<string[]> {
    try {
      const names = await readdir(this.#storage.answersFolder);
      return names.flatMap((name) => SHARD_FILE.exec(name)?.[1] ?? []).sort();
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw storageError('read', this.#storage.answersFolder, error);
    }
  }

  /** All whole answers of a shard. */
  async answersOf(prefix: string): Promise<Lookup[]> {
    const { data } = await this.#read(prefix);
    return Object.entries(data.answers).flatMap(([primary, json]) => {
      const lookup = readAnswer(primary, json);
      // The shard is repaired when it is next searched for this digest or written.
      if (lookup === undefined) this.#storage.report(`${this.#storage.shards.pathOf(prefix)}: ${primary} is damaged`);
      return lookup ?? [];
    });
  }

  /** Repairs a damaged shard as far as this user may; where not, that is reported and the shard stays as it is. */
  async repair(prefix: string): Promise<void> {
    try {
      await this.#locked(() => this.#repair(prefix));
    } catch (error) {
      this.#storage.report(
        `${this.#storage.shards.pathOf(prefix)} is damaged and could not be repaired: ${messageOf(error)}`,
      );
    }
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    return withLock(this.#storage.folder, LOCK, work);
  }

  async #store(fresh: readonly Lookup[]): Promise<void> {
    const digests = fresh.flatMap(digestsOf);
    let stored = await this.#storage.shards.find(digests);
    if (stored.damagedPrefixes.size > 0) {
      for (const prefix of stored.damagedPrefixes) await this.#repair(prefix);
      stored = await this.#storage.shards.find(digests);
    }
    const known = new AnswerSet();
    for (const lookup of new Set(stored.byDigest.values())) known.add(lookup);
    for (const lookup of fresh) known.add(lookup);

    const changes = new ShardChanges();
    for (const lookup of known.answers()) {
      const primary = primaryDigestOf(lookup);
      changes.of(primary).answers.set(primary, lookup);
    }
    for (const [digest, lookup] of known.digests()) {
      const primary = primaryDigestOf(lookup);
      if (digest !== primary) changes.of(digest).aliases.set(digest, primary);
    }
    await this.#apply(changes);

    // A file whose better digest has become known has moved. Its old place is cleared only when the new one is durable.
    const moved = new ShardChanges();
    for (const lookup of stored.byDigest.values()) {
      const primary = primaryDigestOf(lookup);
      const current = known.get(primary);
      if (current === undefined || primaryDigestOf(current) === primary) continue;
      const change = moved.of(primary);
      change.droppedAnswers.add(primary);
      change.aliases.set(primary, primaryDigestOf(current));
    }
    await this.#apply(moved);
  }

  async #apply(changes: ShardChanges): Promise<void> {
    if (changes.size === 0) return;
    const { answersFolder } = this.#storage;
    try {
      await makeFolder(answersFolder);
      await removeAbandoned(answersFolder);
    } catch (error) {
      throw storageError('make the folder', answersFolder, error);
    }
    // The writers share one iterator: each takes the next shard that nobody has taken.
    const waiting = changes.entries();
    const write = async (): Promise<void> => {
      for (const [prefix, change] of waiting) {
        const document = await this.#read(prefix);
        document.data = changeShard(document.data, change);
        await document.write();
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, write));
  }

  async #removeJournal(journal: Journal): Promise<void> {
    try {
      if (journal.isDamaged) await setAside(journal.path);
      else await rm(journal.path, { force: true });
      await syncFolder(this.#storage.journalFolder);
    } catch (error) {
      throw storageError('remove', journal.path, error);
    }
  }

  /** Keeps a copy of a damaged shard beside it and takes the damaged answers out of it. */
  async #repair(prefix: string): Promise<void> {
    const path = this.#storage.shards.pathOf(prefix);
    const document = await this.#read(prefix);
    const change = emptyChange();
    for (const [primary, json] of Object.entries(document.data.answers)) {
      if (readAnswer(primary, json) === undefined) change.droppedAnswers.add(primary);
    }
    for (const [digest, primary] of Object.entries(document.data.aliases)) {
      if (typeof primary !== 'string' || algorithmOf(primary) === undefined) change.droppedAliases.set(digest, primary);
    }
    const droppedCount = change.droppedAnswers.size + change.droppedAliases.size;
    if (droppedCount > 0) {
      const copy = setAsidePath(path);
      try {
        await copyFile(path, copy, constants.COPYFILE_EXCL);
      } catch (error) {
        throw storageError('set aside a copy', path, error);
      }
      this.#storage.report(`${path}: ${droppedCount} damaged answers taken out, the others kept; a copy is in ${copy}`);
    }
    // Written in any case: another tool may have laid out good JSON in a way that is not searched.
    document.data = changeShard(document.data, change);
    await document.write();
  }

  async #read(prefix: string): Promise<Low<Shard>> {
    const path = this.#storage.shards.pathOf(prefix);
    const onCorrupt = (copy: string): void => {
      this.#storage.report(`${path} is damaged: set aside as ${copy}; what it held will be asked again`);
    };
    const document = new Low<Shard>(jsonFile(path, readShard, onCorrupt), { answers: {}, aliases: {} });
    await document.read();
    return document;
  }
}

/** Changes gathered per shard, so that each shard is written once. */
class ShardChanges {
  readonly #byPrefix = new Map<string, ShardChange>();

  get size(): number {
    return this.#byPrefix.size;
  }

  /** The change of the shard that a digest belongs to. */
  of(digest: string): ShardChange {
    const prefix = shardPrefixOf(digest);
    let change = this.#byPrefix.get(prefix);
    if (change === undefined) {
      change = emptyChange();
      this.#byPrefix.set(prefix, change);
    }
    return change;
  }

  entries(): IterableIterator<[string, ShardChange]> {
    return this.#byPrefix.entries();
  }
}

/** A change of nothing, to be filled. */
function emptyChange(): ShardChange {
  return { droppedAnswers: new Set(), droppedAliases: new Map(), aliases: new Map(), answers: new Map() };
}

/** The shard after a change, digests sorted; an answer's digest is never an alias as well. */
function changeShard(shard: Shard, change: ShardChange): Shard {
  const answers = new Map(Object.entries(shard.answers));
  const aliases = new Map(Object.entries(shard.aliases));
  for (const digest of change.droppedAnswers) answers.delete(digest);
  for (const [digest, primary] of change.droppedAliases) {
    if (aliases.get(digest) === primary) aliases.delete(digest);
  }
  for (const [digest, primary] of change.aliases) aliases.set(digest, primary);
  for (const [digest, lookup] of change.answers) {
    answers.set(digest, lookupToJson(lookup));
    aliases.delete(digest);
  }
  return { answers: sortedByName(answers), aliases: sortedByName(aliases) };
}

function readShard(json: unknown): Shard | undefined {
  if (!isObject(json) || !isObject(json['answers']) || !isObject(json['aliases'])) return undefined;
  return { answers: json['answers'], aliases: json['aliases'] };
}

function isObject(json: unknown): json is Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function sortedByName<Value>(members: ReadonlyMap<string, Value>): Record<string, Value> {
  return Object.fromEntries([...members].sort(([a], [b]) => (a < b ? -1 : 1)));
}
