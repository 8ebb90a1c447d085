import { constants } from 'node:fs';
import { copyFile, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Low } from 'lowdb';
import { messageOf, StorageError, systemCodeOf } from '../errors.js';
import { algorithmOf } from '../hash.js';
import type { Lookup } from '../lookup.js';
import { makeFolder, setAside, setAsidePath, syncFolder } from '../storage/json-file.js';
import { withLock } from '../storage/lock.js';
import { storageError } from '../storage/storage-error.js';
import { removeAbandoned } from '../storage/temporary.js';
import type { AnswerCache, CacheStats } from './answer-cache.js';
import { AnswerSet, digestsOf, primaryDigestOf } from './answer-set.js';
import { type Journal, JournalReader, type Journals, JournalWriter } from './journal.js';
import {
  changeShard,
  emptyChange,
  findInShard,
  readAnswer,
  type Shard,
  type ShardChange,
  shardDocument,
  shardPrefixOf,
} from './shard.js';
import { countAnswers } from './stats.js';

/** The lock under which shards are written. Reading needs none. */
const LOCK = 'answers';

/** Shards written at the same time: their syncs then share the disk's own commits. */
const WRITERS = 8;

/** Shards searched before other work gets a turn. */
const SHARDS_PER_TURN = 32;

/** Shards pruned under one hold of the lock: at most a second or two, since others wait for it. */
const SHARDS_PER_PRUNE = 64;

const SHARD_FILE = /^[0-9a-f]{3}\.json$/;

/**
 * Opens the cache in a folder:
 * - `journal/<pid>-<uuid>.jsonl`: where `put` appends, one file per process and journal, durable at once;
 * - `answers/<abc>.json`: where answers end up, lowdb documents, by the first digits of the file's primary digest; its other digests
 *   stand as aliases in their own shards;
 * - `locks/answers/`: held while shards are written.
 * A reader looks into the journals first and into the shards then, without a lock: a journal is removed only once all that it holds
 * is durable in shards, and folding it twice changes nothing.
 */
export function openLowdbCache(folder: string, onReport: (message: string) => void): AnswerCache {
  return new LowdbCache(resolve(folder), onReport);
}

class LowdbCache implements AnswerCache {
  readonly #folder: string;
  readonly #answersFolder: string;
  readonly #journalFolder: string;
  readonly #onReport: (message: string) => void;
  readonly #reported = new Set<string>();
  readonly #reader: JournalReader;
  #writer: JournalWriter | undefined;
  #folding: Promise<void> | undefined;
  #isClosed = false;

  constructor(folder: string, onReport: (message: string) => void) {
    this.#folder = folder;
    this.#answersFolder = join(folder, 'answers');
    this.#journalFolder = join(folder, 'journal');
    this.#onReport = onReport;
    this.#reader = new JournalReader(this.#journalFolder, this.#report);
  }

  async get(hash: string): Promise<Lookup | undefined> {
    return (await this.getMany([hash])).get(hash);
  }

  async getMany(hashes: readonly string[]): Promise<ReadonlyMap<string, Lookup>> {
    const wanted = hashes.filter((hash) => algorithmOf(hash) !== undefined);
    const journals = this.#reader.read();
    const answers = new Map<string, Lookup>();
    const stored = await this.#findStored(wanted);
    for (const hash of wanted) {
      const lookup = stored.get(hash);
      const digests = lookup === undefined ? [hash] : digestsOf(lookup);
      const isInJournal = digests.some((digest) => journals.has(digest));
      const current = isInJournal ? await this.#merge(journals, hash, lookup) : lookup;
      if (current !== undefined) answers.set(hash, current);
    }
    return answers;
  }

  async put(lookup: Lookup): Promise<void> {
    if (this.#isClosed) throw new StorageError('CACHE', `${this.#folder}: the cache has been closed`);
    this.#writer ??= new JournalWriter(this.#journalFolder);
    const writer = this.#writer;
    await writer.append(lookup);
    if (!writer.hasFull()) return;
    // One journal is folded while the next one fills; who fills that too before the fold is done has to wait.
    await this.#folding;
    const full = writer.takeFull();
    if (full.length > 0) {
      this.#folding = this.#foldOrReport(full).finally(() => {
        this.#folding = undefined;
      });
    }
  }

  async *answers(): AsyncIterable<Lookup> {
    const journals = this.#reader.read();
    const known = new AnswerSet();
    for (const prefix of await this.#prefixes()) {
      for (const lookup of await this.#answersOf(prefix)) {
        // An answer that a journal may change is told once it is merged.
        if (digestsOf(lookup).some((digest) => journals.has(digest))) known.add(lookup);
        else yield lookup;
      }
    }
    for (const journal of journals.all) {
      for (const lookup of journal.answers()) known.add(lookup);
    }
    yield* known.answers();
  }

  async stats(): Promise<CacheStats> {
    const counted = await countAnswers(this.answers());
    const files = [...(await sizesIn(this.#answersFolder)), ...(await sizesIn(this.#journalFolder))];
    return {
      ...counted,
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      shards: files.filter(({ name }) => SHARD_FILE.test(name)).length,
      journals: files.filter(({ name }) => name.endsWith('.jsonl')).length,
      corruptFiles: files.filter(({ name }) => name.includes('.corrupt-')).length,
    };
  }

  async prune(isDue: (lookup: Lookup) => boolean): Promise<number> {
    await this.#endWriting();
    const prefixes = await this.#prefixes();
    const aliases = new ShardChanges();
    let pruned = 0;
    for (let first = 0; first < prefixes.length; first += SHARDS_PER_PRUNE) {
      await withLock(this.#folder, LOCK, async () => {
        const due = new ShardChanges();
        for (const prefix of prefixes.slice(first, first + SHARDS_PER_PRUNE)) {
          for (const lookup of (await this.#answersOf(prefix, true)).filter(isDue)) {
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
    if (pruned > 0) await withLock(this.#folder, LOCK, () => this.#apply(aliases));
    return pruned;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#writer === undefined) return;
    try {
      await this.#endWriting();
    } catch (error) {
      this.#reportUnfolded(error);
    }
  }

  /** Folds all journals that nobody writes to any more, this cache's own included. */
  async #endWriting(): Promise<void> {
    await this.#writer?.end();
    const own = this.#writer?.takeFull() ?? [];
    const abandoned = this.#reader.read().all.filter(({ isAbandoned }) => isAbandoned);
    await this.#fold([...own, ...abandoned.map(({ path }) => path)]);
    await this.#folding;
  }

  async #foldOrReport(paths: readonly string[]): Promise<void> {
    try {
      await this.#fold(paths);
    } catch (error) {
      this.#reportUnfolded(error);
    }
  }

  /** Moves what journals hold into shards. A kill at any moment loses nothing: the journals go last. */
  async #fold(paths: readonly string[]): Promise<void> {
    if (paths.length === 0) return;
    await withLock(this.#folder, LOCK, async () => {
      // Under the lock: another process may have folded an abandoned journal meanwhile.
      const journals = this.#reader.read().all.filter(({ path }) => paths.includes(path));
      const fresh = journals.flatMap((journal) => [...journal.answers()]);
      await this.#store(fresh);
      for (const journal of journals) await this.#removeJournal(journal);
    });
  }

  async #removeJournal(journal: Journal): Promise<void> {
    try {
      if (journal.isDamaged) await setAside(journal.path);
      else await rm(journal.path, { force: true });
      await syncFolder(this.#journalFolder);
    } catch (error) {
      throw storageError('remove a journal', journal.path, error);
    }
  }

  async #store(fresh: readonly Lookup[]): Promise<void> {
    const stored = await this.#findStored(fresh.flatMap(digestsOf), true);
    const known = new AnswerSet();
    for (const lookup of new Set(stored.values())) known.add(lookup);
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
    for (const lookup of stored.values()) {
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
    await this.#makeAnswersFolder();
    const waiting = changes.entries();
    // The writers share one iterator: each takes the next shard that nobody has taken.
    const write = async (): Promise<void> => {
      for (const [prefix, change] of waiting) {
        const document = await this.#read(prefix);
        document.data = changeShard(document.data, change);
        await document.write();
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, write));
  }

  async #makeAnswersFolder(): Promise<void> {
    try {
      await makeFolder(this.#answersFolder);
      await removeAbandoned(this.#answersFolder);
    } catch (error) {
      throw storageError('make the folder', this.#answersFolder, error);
    }
  }

  /** What shards hold of these digests, by digest. Shards that turn out to be damaged are repaired and searched again. */
  async #findStored(digests: readonly string[], isLocked = false): Promise<Map<string, Lookup>> {
    const first = await this.#findOnce(digests);
    if (first.damagedPrefixes.size === 0) return first.answers;
    for (const prefix of first.damagedPrefixes) {
      if (isLocked) await this.#repair(prefix);
      else await this.#repairOrReport(prefix);
    }
    return (await this.#findOnce(digests)).answers;
  }

  async #findOnce(
    digests: readonly string[],
  ): Promise<{ readonly answers: Map<string, Lookup>; readonly damagedPrefixes: ReadonlySet<string> }> {
    const answers = new Map<string, Lookup>();
    const damagedPrefixes = new Set<string>();
    const digestsByPrimary = new Map<string, string[]>();
    await this.#search(digests, (digest, finding) => {
      if (finding.kind === 'answer') answers.set(digest, finding.lookup);
      else if (finding.kind === 'damaged') damagedPrefixes.add(shardPrefixOf(digest));
      else if (finding.kind === 'alias') append(digestsByPrimary, finding.primary, digest);
    });
    await this.#search([...digestsByPrimary.keys()], (primary, finding) => {
      if (finding.kind === 'damaged') damagedPrefixes.add(shardPrefixOf(primary));
      if (finding.kind !== 'answer') return;
      for (const digest of digestsByPrimary.get(primary) ?? []) {
        // An alias that was left by a kill may name an answer that has become another file's.
        if (digestsOf(finding.lookup).includes(digest)) answers.set(digest, finding.lookup);
      }
    });
    return { answers, damagedPrefixes };
  }

  async #search(digests: readonly string[], onFinding: Parameters<typeof findInShard>[2]): Promise<void> {
    const digestsByPrefix = new Map<string, string[]>();
    for (const digest of digests) append(digestsByPrefix, shardPrefixOf(digest), digest);
    let shards = 0;
    for (const [prefix, wanted] of digestsByPrefix) {
      findInShard(this.#pathOf(prefix), wanted, onFinding);
      if (++shards % SHARDS_PER_TURN === 0) await nextTurn();
    }
  }

  /** The answer about a file that journals know something of: follows each digest that is learnt until none is new. */
  async #merge(journals: Journals, hash: string, stored: Lookup | undefined): Promise<Lookup | undefined> {
    const storedAnswers = new Set(stored === undefined ? [] : [stored]);
    const journalAnswers = new Set<Lookup>();
    const seen = new Set<string>();
    let digests = stored === undefined ? [hash] : digestsOf(stored);
    while (digests.length > 0) {
      for (const digest of digests) seen.add(digest);
      const journaled = digests.flatMap((digest) => journals.find(digest));
      for (const lookup of journaled) journalAnswers.add(lookup);
      const learnt = new Set(journaled.flatMap(digestsOf).filter((digest) => !seen.has(digest)));
      for (const lookup of (await this.#findStored([...learnt])).values()) {
        storedAnswers.add(lookup);
        for (const digest of digestsOf(lookup)) if (!seen.has(digest)) learnt.add(digest);
      }
      digests = [...learnt];
    }
    const known = new AnswerSet();
    for (const lookup of [...storedAnswers, ...journalAnswers]) known.add(lookup);
    return known.get(hash);
  }

  /** All answers of a shard. */
  async #answersOf(prefix: string, isLocked = false): Promise<Lookup[]> {
    const { data } = await this.#read(prefix);
    const answers: Lookup[] = [];
    let isDamaged = false;
    for (const [primary, json] of Object.entries(data.answers)) {
      const lookup = readAnswer(primary, json);
      if (lookup === undefined) isDamaged = true;
      else answers.push(lookup);
    }
    if (isDamaged) await (isLocked ? this.#repair(prefix) : this.#repairOrReport(prefix));
    return answers;
  }

  async #repairOrReport(prefix: string): Promise<void> {
    try {
      await withLock(this.#folder, LOCK, () => this.#repair(prefix));
    } catch (error) {
      // Its good answers can be used as they are, the rest is as if it had never been asked.
      this.#report(`${this.#pathOf(prefix)} is damaged and could not be set aside: ${messageOf(error)}`);
    }
  }

  /** Keeps a copy of a damaged shard beside it and takes the damaged answers out of it. Only under the lock. */
  async #repair(prefix: string): Promise<void> {
    const path = this.#pathOf(prefix);
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
      this.#report(`${path}: ${droppedCount} damaged answers taken out, the others kept; a copy is in ${copy}`);
    }
    // Written in any case: another tool may have laid out good JSON in a way that is not searched.
    document.data = changeShard(document.data, change);
    await document.write();
  }

  async #read(prefix: string): Promise<Low<Shard>> {
    const path = this.#pathOf(prefix);
    const document = shardDocument(path, (copy) => {
      this.#report(`${path} is damaged: set aside as ${copy}; its answers will be asked again`);
    });
    await document.read();
    return document;
  }

  async #prefixes(): Promise<string[]> {
    const files = await sizesIn(this.#answersFolder);
    return files.filter(({ name }) => SHARD_FILE.test(name)).map(({ name }) => name.slice(0, -'.json'.length));
  }

  #pathOf(prefix: string): string {
    return join(this.#answersFolder, `${prefix}.json`);
  }

  #reportUnfolded(error: unknown): void {
    this.#report(`${this.#journalFolder}: answers stay in the journal until the next run: ${messageOf(error)}`);
  }

  readonly #report = (message: string): void => {
    if (this.#reported.has(message)) return;
    this.#reported.add(message);
    this.#onReport(message);
  };
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

function append(lists: Map<string, string[]>, name: string, digest: string): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [digest]);
  else list.push(digest);
}

async function sizesIn(folder: string): Promise<{ readonly name: string; readonly bytes: number }[]> {
  try {
    const files: { readonly name: string; readonly bytes: number }[] = [];
    for (const name of (await readdir(folder)).sort()) {
      try {
        files.push({ name, bytes: (await stat(join(folder, name))).size });
      } catch (error) {
        // Removed since the folder was listed.
        if (systemCodeOf(error) !== 'ENOENT') throw error;
      }
    }
    return files;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw storageError('read', folder, error);
  }
}
