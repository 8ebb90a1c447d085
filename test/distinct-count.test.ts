import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DigestTally, DistinctCount, digestOf, mixDigests } from '../src/distinct-count.js';

function countOf(names: Iterable<string>): DistinctCount {
  const count = new DistinctCount();
  for (const name of names) count.add(name);
  return count;
}

function numbered(amount: number, prefix = 'host-'): string[] {
  return Array.from({ length: amount }, (_, index) => `${prefix}${index}.corp.example`);
}

describe('a count of distinct names', () => {
  it('is exact up to 64 and says so', () => {
    const count = countOf([...numbered(64), ...numbered(64)]);
    expect(count.count).toBe(64);
    expect(count.isExact).toBe(true);
  });

  it.each([100, 1000, 20_000, 300_000])('is within a tenth at %i', (amount) => {
    const count = countOf(numbered(amount));
    expect(count.isExact).toBe(false);
    expect(Math.abs(count.count - amount) / amount).toBeLessThan(0.1);
  });

  it('changes neither by repetition nor by order, whether added or merged', () => {
    const names = fc.array(
      fc.nat(150).map((n) => `n${n}`),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(names, names, (left, right) => {
        const merged = countOf(left);
        merged.merge(countOf(right));
        merged.merge(countOf(left));
        expect(merged.toJSON()).toEqual(countOf([...right, ...left]).toJSON());
      }),
    );
  });

  it('tells whether something was new', () => {
    const count = new DistinctCount();
    expect(count.add('ws-1')).toBe(true);
    expect(count.add('ws-1')).toBe(false);
    expect(count.merge(countOf(['ws-1']))).toBe(false);
    expect(count.merge(countOf(['ws-2']))).toBe(true);
  });

  it('does not shrink a merged count below what is known exactly', () => {
    const count = countOf(numbered(65));
    expect(count.count).toBeGreaterThan(64);
  });

  it.each([10, 64, 65, 5000])('comes back from JSON with %i names', (amount) => {
    const count = countOf(numbered(amount));
    const copy = DistinctCount.fromJson(JSON.parse(JSON.stringify(count)));
    expect(copy?.count).toBe(count.count);
    expect(copy?.isExact).toBe(count.isExact);
    expect(copy?.toJSON()).toEqual(count.toJSON());
  });

  it.each([
    ['nothing', undefined],
    ['an object', {}],
    ['digests that are none', [1, -2]],
    ['fractions', [0.5]],
    ['more digests than are ever kept', Array.from({ length: 65 }, (_, index) => index)],
    ['too few registers', Buffer.alloc(511).toString('base64')],
    ['registers no digest reaches', Buffer.alloc(512, 46).toString('base64')],
  ])('is not read from %s', (_what, json) => {
    expect(DistinctCount.fromJson(json)).toBeUndefined();
  });
});

describe('a tally of digests', () => {
  it('counts like a map, up to 255, however many digests there are', () => {
    const names = fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 20_000 });
    fc.assert(
      fc.property(names, (numbers) => {
        const tally = new DigestTally();
        const counts = new Map<number, number>();
        for (const number of numbers) {
          const digest = digestOf(`C:\\Temp\\${number}.exe`);
          counts.set(digest, (counts.get(digest) ?? 0) + 1);
          expect(tally.add(digest)).toBe(Math.min(255, counts.get(digest) ?? 0));
        }
        for (const [digest, count] of counts) expect(tally.count(digest)).toBe(Math.min(255, count));
        expect(tally.count(digestOf('never'))).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it('raises a count and never lowers it', () => {
    const tally = new DigestTally();
    tally.raise(digestOf('a'), 5);
    tally.raise(digestOf('a'), 2);
    expect(tally.count(digestOf('a'))).toBe(5);
    expect(tally.add(digestOf('a'))).toBe(6);
  });

  it('tells pairs of digests apart by both and by their order', () => {
    const pairs = [
      ['a', 'b'],
      ['b', 'a'],
      ['a', 'c'],
      ['c', 'b'],
      ['a', 'a'],
    ] as const;
    expect(new Set(pairs.map(([first, second]) => mixDigests(digestOf(first), digestOf(second)))).size).toBe(5);
  });
});
