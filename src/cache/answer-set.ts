import { type FileHashes, LOOKUP_ALGORITHMS } from '../hash.js';
import { digestsOf, type Lookup, primaryDigestOf } from '../lookup.js';

/**
 * Answers in memory, one per file, found by any of its digests. What is written here about files and their digests is what every
 * cache means by "the same file".
 */
export class AnswerSet {
  readonly #byDigest = new Map<string, Lookup>();
  readonly #byPrimary = new Map<string, Lookup>();

  get(digest: string): Lookup | undefined {
    return this.#byDigest.get(digest);
  }

  /** Adds an answer, merging it with all that is known of its file; of two asked at the same time the one added later counts. */
  add(lookup: Lookup): void {
    let merged = lookup;
    for (const digest of digestsOf(lookup)) {
      const known = this.#byDigest.get(digest);
      if (known === undefined || !isSameFile(known, merged)) continue;
      this.delete(known);
      merged = mergeAnswers(known, merged);
    }
    // A made collision: two files with one digest. The newest answer has it, since VirusTotal itself gives one file for a digest.
    const rival = this.#byPrimary.get(primaryDigestOf(merged));
    if (rival !== undefined) {
      if (rival.askedAt > merged.askedAt) return;
      this.delete(rival);
    }
    this.#byPrimary.set(primaryDigestOf(merged), merged);
    for (const digest of digestsOf(merged)) {
      const holder = this.#byDigest.get(digest);
      if (holder === undefined || holder.askedAt <= merged.askedAt) this.#byDigest.set(digest, merged);
    }
  }

  delete(lookup: Lookup): void {
    const primary = primaryDigestOf(lookup);
    if (this.#byPrimary.get(primary) === lookup) this.#byPrimary.delete(primary);
    for (const digest of digestsOf(lookup)) {
      if (this.#byDigest.get(digest) === lookup) this.#byDigest.delete(digest);
    }
  }

  answers(): Iterable<Lookup> {
    return this.#byPrimary.values();
  }

  /** Every digest with the answer it finds. */
  digests(): Iterable<readonly [string, Lookup]> {
    return this.#byDigest;
  }
}

/** Whether two answers that share a digest are about one file: no algorithm gives different digests for them. */
function isSameFile({ hashes: a }: Lookup, { hashes: b }: Lookup): boolean {
  return LOOKUP_ALGORITHMS.every(
    (algorithm) => a[algorithm] === undefined || b[algorithm] === undefined || a[algorithm] === b[algorithm],
  );
}

function mergeAnswers(earlier: Lookup, later: Lookup): Lookup {
  const newest = later.askedAt >= earlier.askedAt ? later : earlier;
  const hashes: FileHashes = { ...earlier.hashes, ...later.hashes };
  return { ...newest, hashes };
}
