import { join, resolve } from 'node:path';
import { messageOf, StorageError } from '../errors.js';
import { algorithmOf } from '../hash.js';
import { digestsOf, type Lookup } from '../lookup.js';
import type { AnswerCache, CacheStats } from './answer-cache.js';
import type { AnswerSet } from './answer-set.js';
import { JournalReader, type Journals } from './journal.js';
import type { JournalWriter } from './journal-writer.js';
import { ShardReader } from './shard.js';
import type { ShardWriter, Storage } from './shard-writer.js';

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

/** The half that writes. Loaded when it is first needed: a cached check has to start at once, and reads only. */
interface Writing {
  readonly shards: ShardWriter;
  readonly journal: JournalWriter;
  readonly isAbandoned: typeof import('./journal-writer.js')['isAbandoned'];
}

/** What is asked one by one in the same turn: journals are then looked at once for all. */
interface AskedTogether {
  readonly hashes: string[];
  readonly answers: Promise<ReadonlyMap<string, Lookup>>;
}

class LowdbCache implements AnswerCache {
  readonly #storage: Storage;
  #writing: Promise<Writing> | undefined;
  #hasPut = false;
  #folding: Promise<void> | undefined;
  #isClosed = false;
  #asked: AskedTogether | undefined;

  constructor(folder: string, onReport: (message: string) => void) {
    const report = eachOnce(onReport);
    const answersFolder = join(folder, 'answers');
    const journalFolder = join(folder, 'journal');
    const journals = new JournalReader(journalFolder, report);
    this.#storage = { folder, answersFolder, journalFolder, journals, shards: new ShardReader(answersFolder), report };
  }

  async get(hash: string): Promise<Lookup | undefined> {
    this.#asked ??= this.#ask();
    const { hashes, answers } = this.#asked;
    hashes.push(hash);
    return (await answers).get(hash);
  }

  async getMany(hashes: readonly string[]): Promise<ReadonlyMap<string, Lookup>> {
    const wanted = hashes.filter((hash) => algorithmOf(hash) !== undefined);
    const journals = this.#storage.journals.read();
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

  #ask(): AskedTogether {
    const hashes: string[] = [];
    const answers = Promise.resolve().then(() => {
      this.#asked = undefined;
      return this.getMany(hashes);
    });
    return { hashes, answers };
  }

  async put(lookup: Lookup): Promise<void> {
    if (this.#isClosed) throw new StorageError('CACHE', `${this.#storage.folder}: the cache has been closed`);
    this.#hasPut = true;
    const { journal, shards } = await this.#write();
    await journal.append(lookup);
    if (!journal.hasFull()) return;
    // One journal is folded while the next one fills; who fills that too before the fold is done has to wait.
    await this.#folding;
    const full = journal.takeFull();
    if (full.length === 0) return;
    this.#folding = shards
      .fold(full)
      .catch((error: unknown) => this.#reportUnfolded(error))
      .finally(() => {
        this.#folding = undefined;
      });
  }

  async *answers(): AsyncIterable<Lookup> {
    const { shards } = await this.#write();
    const journals = this.#storage.journals.read();
    const known = await emptyAnswerSet();
    for (const prefix of await shards.prefixes()) {
      for (const lookup of await shards.answersOf(prefix)) {
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
    const { countAnswers, measureFolders } = await import('./stats.js');
    const counted = await countAnswers(this.answers());
    return { ...counted, ...(await measureFolders([this.#storage.answersFolder, this.#storage.journalFolder])) };
  }

  async prune(isDue: (lookup: Lookup) => boolean): Promise<number> {
    await this.#foldAll();
    return (await this.#write()).shards.prune(isDue);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!this.#hasPut) return;
    try {
      await this.#foldAll();
    } catch (error) {
      this.#reportUnfolded(error);
    }
  }

  /** Folds all journals that nobody writes to any more, this cache's own included. */
  async #foldAll(): Promise<void> {
    const { journal, shards, isAbandoned } = await this.#write();
    await journal.end();
    const abandoned = this.#storage.journals.read().all.filter(isAbandoned);
    await shards.fold([...journal.takeFull(), ...abandoned.map(({ path }) => path)]);
    await this.#folding;
  }

  #write(): Promise<Writing> {
    this.#writing ??= this.#loadWriting();
    return this.#writing;
  }

  async #loadWriting(): Promise<Writing> {
    const [{ JournalWriter, isAbandoned }, { ShardWriter }] = await Promise.all([
      import('./journal-writer.js'),
      import('./shard-writer.js'),
    ]);
    return {
      shards: new ShardWriter(this.#storage),
      journal: new JournalWriter(this.#storage.journalFolder),
      isAbandoned,
    };
  }

  /** What shards hold of these digests. Shards that turn out to be damaged are repaired and searched again. */
  async #findStored(digests: readonly string[]): Promise<ReadonlyMap<string, Lookup>> {
    const stored = await this.#storage.shards.find(digests);
    if (stored.damagedPrefixes.size === 0) return stored.byDigest;
    const { shards } = await this.#write();
    for (const prefix of stored.damagedPrefixes) await shards.repair(prefix);
    return (await this.#storage.shards.find(digests)).byDigest;
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
    const known = await emptyAnswerSet();
    for (const lookup of [...storedAnswers, ...journalAnswers]) known.add(lookup);
    return known.get(hash);
  }

  #reportUnfolded(error: unknown): void {
    const { journalFolder, report } = this.#storage;
    report(`${journalFolder}: answers stay in the journal until the next run: ${messageOf(error)}`);
  }
}

/** Loaded when answers are to be merged, which a cached check mostly does not need. */
async function emptyAnswerSet(): Promise<AnswerSet> {
  const { AnswerSet } = await import('./answer-set.js');
  return new AnswerSet();
}

function eachOnce(onReport: (message: string) => void): (message: string) => void {
  const reported = new Set<string>();
  return (message) => {
    if (reported.has(message)) return;
    reported.add(message);
    onReport(message);
  };
}
