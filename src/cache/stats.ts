import type { Lookup } from '../lookup.js';
import type { CacheStats } from './answer-cache.js';

/** The part of a cache's statistics that its answers tell. */
export async function countAnswers(
  lookups: Iterable<Lookup> | AsyncIterable<Lookup>,
): Promise<Pick<CacheStats, 'answers' | 'oldest' | 'newest'>> {
  const answers = { found: 0, not_found: 0, pending: 0 };
  let oldest: Date | undefined;
  let newest: Date | undefined;
  for await (const { status, askedAt } of lookups) {
    answers[status]++;
    if (oldest === undefined || askedAt < oldest) oldest = askedAt;
    if (newest === undefined || askedAt > newest) newest = askedAt;
  }
  return { answers, oldest, newest };
}
