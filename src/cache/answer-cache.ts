import type { Lookup, LookupStatus } from '../lookup.js';

/**
 * VirusTotal's answers, kept over runs and shared by processes. A file has one answer, whichever of its digests it was asked by:
 * answers that share a digest and contradict each other in none are about one file, the newest by `askedAt` is its answer, and any
 * digest that one of them named finds it. All methods reject with StorageError where the storage fails.
 */
export interface AnswerCache {
  /** The answer about the file with this digest (lower-case hex), or undefined. Sees what other processes have put. */
  get(hash: string): Promise<Lookup | undefined>;
  /** The answers about these files, by the hash they were asked for with; one call for many hashes is far cheaper than many calls. */
  getMany(hashes: readonly string[]): Promise<ReadonlyMap<string, Lookup>>;
  /** Adds an answer; resolves once a kill or a power cut cannot lose it any more. */
  put(lookup: Lookup): Promise<void>;
  /** Every answer once, in no particular order. */
  answers(): AsyncIterable<Lookup>;
  stats(): Promise<CacheStats>;
  /** Drops the answers that `isDue` returns true for, and returns how many. Answers another running process has just put may stay. */
  prune(isDue: (lookup: Lookup) => boolean): Promise<number>;
  /** Ends the use of the cache, which must not be used afterwards. Only a cache that was written to does any work here. */
  close(): Promise<void>;
}

/** What a cache holds. */
export interface CacheStats {
  readonly answers: Readonly<Record<LookupStatus, number>>;
  /** Space taken on disk, damaged files that were set aside included; 0 in memory. */
  readonly bytes: number;
  readonly shards: number;
  readonly journals: number;
  /** Damaged files that were set aside and wait to be looked at or deleted. */
  readonly corruptFiles: number;
  /** When the oldest and the newest answer was asked; undefined in an empty cache. */
  readonly oldest: Date | undefined;
  readonly newest: Date | undefined;
}
