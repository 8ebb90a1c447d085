import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFresh, type Lifetimes, type Lookup, lifetimeMs, lookupFromJson, lookupToJson } from '../src/lookup.js';
import { lookupArbitrary } from './fakes/lookups.js';

const DAY_MS = 86_400_000;
const LIFETIMES: Lifetimes = {
  notFoundMs: DAY_MS,
  pendingMs: 3_600_000,
  foundNewMs: DAY_MS,
  foundRecentMs: 7 * DAY_MS,
  foundMs: 30 * DAY_MS,
};
const ASKED_AT = new Date('2026-03-04T02:14:00Z');
const SHA1 = '3395856ce81f2b7382dee72602f798b642f14140';

function found(firstSubmission: Date | undefined): Lookup {
  return {
    status: 'found',
    askedHash: SHA1,
    askedAt: ASKED_AT,
    httpStatus: 200,
    hashes: { sha1: SHA1 },
    report: {
      detectedBy: [],
      categories: [],
      goodware: [],
      tags: [],
      names: [],
      ...(firstSubmission === undefined ? {} : { firstSubmission }),
    },
  };
}

describe('how long an answer is fresh', () => {
  const daysBefore = (days: number): Date => new Date(ASKED_AT.getTime() - days * DAY_MS);

  it('is a day for a file first submitted less than 30 days ago, a week in its first year, then 30 days', () => {
    expect(lifetimeMs(found(daysBefore(29)), LIFETIMES)).toBe(DAY_MS);
    expect(lifetimeMs(found(daysBefore(31)), LIFETIMES)).toBe(7 * DAY_MS);
    expect(lifetimeMs(found(daysBefore(400)), LIFETIMES)).toBe(30 * DAY_MS);
    expect(lifetimeMs(found(undefined), LIFETIMES)).toBe(DAY_MS);
  });

  it('ends exactly at its lifetime', () => {
    const lookup = found(daysBefore(1));
    expect(isFresh(lookup, LIFETIMES, new Date(ASKED_AT.getTime() + DAY_MS - 1))).toBe(true);
    expect(isFresh(lookup, LIFETIMES, new Date(ASKED_AT.getTime() + DAY_MS))).toBe(false);
  });

  it('does not make an answer from the far future fresh for ever', () => {
    expect(isFresh(found(daysBefore(1)), LIFETIMES, new Date(ASKED_AT.getTime() - 400 * DAY_MS))).toBe(false);
  });
});

describe('an answer as stored', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(lookupArbitrary, (lookup) => {
        expect(lookupFromJson(JSON.parse(JSON.stringify(lookupToJson(lookup))))).toEqual(lookup);
      }),
    );
  });

  it.each([
    ['nothing', null],
    ['a list', []],
    ['an unknown status', { status: 'clean' }],
    ['a found file without counts', { ...lookupToJson(found(undefined)) }],
    [
      'a hash that is not the asked one',
      {
        status: 'not_found',
        asked_hash: SHA1,
        asked_at: ASKED_AT.toISOString(),
        http_status: 404,
        hashes: { sha1: SHA1.replace('3', '4') },
      },
    ],
    ['no time', { status: 'not_found', asked_hash: SHA1, http_status: 404, hashes: { sha1: SHA1 } }],
  ])('is refused where it is %s', (_what, json) => {
    expect(lookupFromJson(json)).toBeUndefined();
  });
});
