import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AnswerCache } from '../../src/cache/index.js';
import type { FileHashes } from '../../src/hash.js';
import type { Lookup } from '../../src/lookup.js';
import { answer, digestsOfFile, NOON } from './answers.js';

/** A place where caches of one kind live, so that one can be closed and opened again. */
export interface CachePlace {
  open(): Promise<AnswerCache>;
  /** Whether what was put is still there after closing and opening again. */
  readonly isLasting: boolean;
  remove(): Promise<void>;
}

async function allAnswers(cache: AnswerCache): Promise<Lookup[]> {
  const lookups: Lookup[] = [];
  for await (const lookup of cache.answers()) lookups.push(lookup);
  return lookups;
}

/** What every cache promises, whatever it keeps its answers in. */
export function describeCache(name: string, makePlace: () => Promise<CachePlace>): void {
  describe(`${name} as a cache`, () => {
    let place: CachePlace;
    let cache: AnswerCache;
    const reopen = async (): Promise<void> => {
      if (!place.isLasting) return;
      await cache.close();
      cache = await place.open();
    };

    beforeEach(async () => {
      place = await makePlace();
      cache = await place.open();
    });
    afterEach(async () => {
      await cache.close();
      await place.remove();
    });

    it('knows nothing at first', async () => {
      const { sha1 } = digestsOfFile(1);
      expect(await cache.get(sha1)).toBeUndefined();
      expect((await cache.getMany([sha1])).size).toBe(0);
      expect(await allAnswers(cache)).toEqual([]);
      expect(await cache.prune(() => true)).toBe(0);
      const stats = await cache.stats();
      expect(stats.answers).toEqual({ found: 0, not_found: 0, pending: 0 });
      expect([stats.oldest, stats.newest, stats.corruptFiles]).toEqual([undefined, undefined, 0]);
    });

    it.each(['found', 'not_found', 'pending'] as const)(
      'gives back an answer of status %s as it was put',
      async (status) => {
        const put = answer(digestsOfFile(1), 0, { status, malicious: 7 });
        await cache.put(put);
        expect(await cache.get(put.askedHash)).toEqual(put);
        await reopen();
        expect(await cache.get(put.askedHash)).toEqual(put);
      },
    );

    it.each(['sha1', 'sha256', 'md5'] as const)(
      'finds a file by its %s, whichever digest was asked',
      async (algorithm) => {
        const hashes = digestsOfFile(1);
        const put = { ...answer(hashes, 0), askedHash: hashes.sha256 };
        await cache.put(put);
        expect(await cache.get(hashes[algorithm])).toEqual(put);
        await reopen();
        expect(await cache.get(hashes[algorithm])).toEqual(put);
      },
    );

    it('lets a newer answer replace an older one, whatever they say and in whatever order they come', async () => {
      const hashes = digestsOfFile(1);
      await cache.put(answer(hashes, 2, { malicious: 5 }));
      await cache.put(answer(hashes, 1, { status: 'not_found' }));
      await reopen();
      expect((await cache.get(hashes.md5))?.report?.counts?.malicious).toBe(5);
      await cache.put(answer(hashes, 3, { status: 'not_found' }));
      await reopen();
      expect((await cache.get(hashes.md5))?.status).toBe('not_found');
      expect(await allAnswers(cache)).toHaveLength(1);
    });

    it('takes the one put later of two answers asked at the same moment', async () => {
      const hashes = digestsOfFile(1);
      await cache.put(answer(hashes, 0, { malicious: 1 }));
      await cache.put(answer(hashes, 0, { malicious: 2 }));
      expect((await cache.get(hashes.sha1))?.report?.counts?.malicious).toBe(2);
      await reopen();
      await cache.put(answer(hashes, 0, { malicious: 3 }));
      expect((await cache.get(hashes.sha1))?.report?.counts?.malicious).toBe(3);
    });

    it('makes one file of two when an answer names the digests of both', async () => {
      const { sha1, sha256, md5 } = digestsOfFile(1);
      await cache.put(answer({ md5 }, 5, { status: 'not_found' }));
      await cache.put(answer({ sha256 }, 1, { malicious: 1 }));
      await reopen();
      expect(await allAnswers(cache)).toHaveLength(2);
      await cache.put(answer({ sha1, sha256, md5 }, 3, { malicious: 2 }));
      for (let time = 0; time < 2; time++) {
        for (const digest of [sha1, sha256, md5]) {
          const current = await cache.get(digest);
          expect(current?.status).toBe('not_found');
          expect(current?.hashes).toEqual({ sha1, sha256, md5 });
        }
        expect(await allAnswers(cache)).toHaveLength(1);
        await reopen();
      }
    });

    it('keeps files apart that share an MD5 and differ in SHA1: the MD5 finds the one asked last', async () => {
      const { md5 } = digestsOfFile(1);
      const twin = (number: number): FileHashes => ({ sha1: digestsOfFile(number).sha1, md5 });
      await cache.put(answer(twin(2), 2, { malicious: 2 }));
      await cache.put(answer(twin(3), 3, { malicious: 3 }));
      await reopen();
      const maliciousOf = async (digest: string): Promise<number | undefined> =>
        (await cache.get(digest))?.report?.counts?.malicious;
      expect(await maliciousOf(digestsOfFile(2).sha1)).toBe(2);
      expect(await maliciousOf(digestsOfFile(3).sha1)).toBe(3);
      expect(await maliciousOf(md5)).toBe(3);
      expect(await cache.prune(({ hashes }) => hashes.sha1 === digestsOfFile(2).sha1)).toBe(1);
      expect(await maliciousOf(md5)).toBe(3);
    });

    it('answers many at once, by the hash each was asked for with', async () => {
      const known = [1, 2, 3].map(digestsOfFile);
      for (const hashes of known) await cache.put(answer(hashes, 0));
      await reopen();
      const asked = [...known.flatMap(({ sha1, md5 }) => [sha1, md5]), digestsOfFile(4).sha1];
      const answers = await cache.getMany(asked);
      expect([...answers.keys()].sort()).toEqual(asked.slice(0, -1).sort());
      for (const hashes of known) expect(answers.get(hashes.md5)?.hashes).toEqual(hashes);
    });

    it.each(['', '../../etc/passwd', '__proto__', 'constructor', 'zz', 'A'.repeat(40)])(
      'knows nothing of %j, which is no lower-case digest',
      async (hash) => {
        await cache.put(answer(digestsOfFile(1), 0));
        expect(await cache.get(hash)).toBeUndefined();
      },
    );

    it('forgets what is due, by all its digests, and says how much that was', async () => {
      for (const number of [1, 2, 3]) await cache.put(answer(digestsOfFile(number), number));
      expect(await cache.prune(({ askedAt }) => askedAt.getTime() < NOON + 3 * 60_000)).toBe(2);
      await reopen();
      for (const digest of Object.values(digestsOfFile(1))) expect(await cache.get(digest)).toBeUndefined();
      for (const digest of Object.values(digestsOfFile(3))) expect(await cache.get(digest)).toBeDefined();
      await cache.put(answer(digestsOfFile(1), 9));
      expect(await cache.get(digestsOfFile(1).md5)).toBeDefined();
    });

    it('counts what it holds', async () => {
      await cache.put(answer(digestsOfFile(1), 1));
      await cache.put(answer(digestsOfFile(2), 2, { status: 'not_found' }));
      await cache.put(answer(digestsOfFile(3), 3, { status: 'pending' }));
      await cache.put(answer(digestsOfFile(4), 4));
      await reopen();
      const stats = await cache.stats();
      expect(stats.answers).toEqual({ found: 2, not_found: 1, pending: 1 });
      expect(stats.oldest).toEqual(new Date(NOON + 60_000));
      expect(stats.newest).toEqual(new Date(NOON + 4 * 60_000));
    });

    it('behaves as a list of all answers of which the newest of each file counts', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 25 }), async (steps) => {
          const fresh = await makePlace();
          let cache = await fresh.open();
          let model: Lookup[] = [];
          for (const [number, step] of steps.entries()) {
            switch (step.kind) {
              case 'put': {
                const put = answer(step.hashes, step.hour * 60 + number / 60, {
                  malicious: number,
                  status: step.status,
                });
                model.push(put);
                await cache.put(put);
                break;
              }
              case 'reopen':
                if (fresh.isLasting) {
                  await cache.close();
                  cache = await fresh.open();
                }
                break;
              case 'prune': {
                const isDue = ({ askedAt }: Lookup): boolean => askedAt.getTime() < NOON + step.hour * 3_600_000;
                const due = newestPerFile(model).filter(isDue);
                expect(await cache.prune(isDue)).toBe(due.length);
                model = model.filter((lookup) => {
                  const current = currentAnswer(model, lookup.askedHash);
                  return current !== undefined && !isDue(current);
                });
                break;
              }
            }
            for (const digest of ANY_DIGESTS) expect(await cache.get(digest)).toEqual(currentAnswer(model, digest));
          }
          const held = await cache.getMany(ANY_DIGESTS);
          for (const digest of ANY_DIGESTS) expect(held.get(digest)).toEqual(currentAnswer(model, digest));
          const byHash = (a: Lookup, b: Lookup): number => (a.askedHash < b.askedHash ? -1 : 1);
          expect((await allAnswers(cache)).sort(byHash)).toEqual(newestPerFile(model).sort(byHash));
          await cache.close();
          await fresh.remove();
        }),
        { numRuns: 20 },
      );
    });
  });
}

const FILES = [0x1000, 0x1001, 0xfff0].map(digestsOfFile);
const ANY_DIGESTS = FILES.flatMap((hashes) => Object.values(hashes));

const anyHashes = fc
  .tuple(fc.constantFrom(...FILES), fc.subarray(['sha1', 'sha256', 'md5'] as const, { minLength: 1 }))
  .map(
    ([file, algorithms]): FileHashes => Object.fromEntries(algorithms.map((algorithm) => [algorithm, file[algorithm]])),
  );

const anyStep = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      hashes: anyHashes,
      hour: fc.integer({ min: 0, max: 5 }),
      status: fc.constantFrom('found' as const, 'not_found' as const, 'pending' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('prune' as const), hour: fc.integer({ min: 0, max: 5 }) }) },
);

/** The answers connected to a digest by digests they share: those of one file. */
function connectedTo(model: readonly Lookup[], digest: string): Lookup[] {
  const digests = new Set([digest]);
  for (;;) {
    const connected = model.filter(({ hashes }) => Object.values(hashes).some((other: string) => digests.has(other)));
    const before = digests.size;
    for (const { hashes } of connected) for (const other of Object.values(hashes) as string[]) digests.add(other);
    if (digests.size === before) return connected;
  }
}

function currentAnswer(model: readonly Lookup[], digest: string): Lookup | undefined {
  const connected = connectedTo(model, digest);
  const newest = connected.toSorted((a, b) => b.askedAt.getTime() - a.askedAt.getTime())[0];
  if (newest === undefined) return undefined;
  return { ...newest, hashes: Object.assign({}, ...connected.map(({ hashes }) => hashes)) };
}

function newestPerFile(model: readonly Lookup[]): Lookup[] {
  const current = new Map<string, Lookup>();
  for (const { askedHash } of model) {
    const lookup = currentAnswer(model, askedHash);
    if (lookup !== undefined) current.set(Object.values(lookup.hashes).sort().join(), lookup);
  }
  return [...current.values()];
}
