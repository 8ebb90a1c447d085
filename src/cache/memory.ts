import type { Lookup } from '../lookup.js';
import type { AnswerCache } from './answer-cache.js';
import { AnswerSet } from './answer-set.js';
import { countAnswers } from './stats.js';

/** A cache that lasts as long as the process and that nobody else sees. */
export function openMemoryCache(): AnswerCache {
  const known = new AnswerSet();
  return {
    get: (hash) => Promise.resolve(known.get(hash)),
    getMany: (hashes) => {
      const answers = new Map<string, Lookup>();
      for (const hash of hashes) {
        const lookup = known.get(hash);
        if (lookup !== undefined) answers.set(hash, lookup);
      }
      return Promise.resolve(answers);
    },
    put: (lookup) => {
      known.add(lookup);
      return Promise.resolve();
    },
    answers: async function* () {
      yield* [...known.answers()];
    },
    stats: async () => ({
      ...(await countAnswers(known.answers())),
      bytes: 0,
      shards: 0,
      journals: 0,
      corruptFiles: 0,
    }),
    prune: (isDue) => {
      const due = [...known.answers()].filter(isDue);
      for (const lookup of due) known.delete(lookup);
      return Promise.resolve(due.length);
    },
    close: () => Promise.resolve(),
  };
}
