import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { carriedOver, UNRANKED_SCORE } from '../../src/pipeline/choosing.js';
import { type WaitingFile, WaitingFiles } from '../../src/sightings/waiting.js';

const hashOf = (number: number): string => number.toString(16).padStart(40, '0');

const file = fc.record({
  since: fc.integer({ min: 0, max: 3 }).map((day) => new Date(Date.UTC(2026, 2, 1 + day))),
  score: fc.integer({ min: -40, max: 90 }),
});
const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.option(file, { nil: undefined })), {
  maxLength: 80,
});

/** Sets, and deletes where there is nothing to set, in a list and in a Map. */
function afterSteps(taken: readonly (readonly [number, WaitingFile | undefined])[]): {
  readonly files: WaitingFiles;
  readonly model: Map<string, WaitingFile>;
} {
  const files = new WaitingFiles();
  const model = new Map<string, WaitingFile>();
  for (const [number, waiting] of taken) {
    const hash = hashOf(number);
    if (waiting === undefined) {
      expect(files.delete(hash)).toBe(model.delete(hash));
    } else {
      files.set(hash, waiting);
      model.set(hash, waiting);
    }
  }
  return { files, model };
}

function contentOf(files: WaitingFiles): Map<string, WaitingFile | undefined> {
  return new Map([...files.hashes()].map((hash) => [hash, files.get(hash)]));
}

describe('the list of waiting files', () => {
  it('holds what was set and not deleted, before it was stored and after', () => {
    fc.assert(
      fc.property(steps, (taken) => {
        const { files, model } = afterSteps(taken);
        expect(contentOf(files)).toEqual(model);
        expect(files.size).toBe(model.size);
        const read = new WaitingFiles();
        expect(read.addJson(JSON.parse([...files.toJson()].join('')))).toBe(0);
        expect(contentOf(read)).toEqual(model);
      }),
    );
  });

  it('is stored by time and score, thousands of digests as one text', () => {
    const files = new WaitingFiles();
    const since = new Date('2026-03-01T00:00:00Z');
    for (let number = 0; number < 2_500; number++) files.set(hashOf(number), { since, score: number === 7 ? 3 : 12 });
    const groups: unknown = JSON.parse([...files.toJson()].join(''));
    const others = Array.from({ length: 2_500 }, (_, number) => hashOf(number)).filter((_, number) => number !== 7);
    expect(groups).toEqual([
      ['2026-03-01T00:00:00.000Z', 12, others.join(' ')],
      ['2026-03-01T00:00:00.000Z', 3, hashOf(7)],
    ]);
  });

  it('is read as far as it is sound', () => {
    const sound = ['2026-03-01T00:00:00Z', 5, `${hashOf(1)} junk ${hashOf(2)}`];
    const damaged = [null, 'x', [], ['no time', 5, hashOf(3)], ['2026-03-01T00:00:00Z', '5', hashOf(4)], [1, 2, 3], {}];
    const files = new WaitingFiles();
    expect(files.addJson([...damaged, sound])).toBe(damaged.length + 1);
    expect([...files.hashes()]).toEqual([hashOf(1), hashOf(2)]);
  });

  it('gives the first in an order, of equals those that came first', () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 20 }), (taken, count) => {
        const { files, model } = afterSteps(taken);
        // What was deleted and set again keeps its old place.
        const came = [...new Map(taken.filter(([, waiting]) => waiting !== undefined)).keys()].map(hashOf);
        const expected = came
          .flatMap((hash) => ((model.get(hash)?.score ?? -1) >= 0 ? [hash] : []))
          .toSorted((a, b) => (model.get(b)?.score ?? 0) - (model.get(a)?.score ?? 0))
          .slice(0, count);
        expect(
          files.first(
            count,
            (a, b) => b.score - a.score,
            ({ score }) => score >= 0,
          ),
        ).toEqual(expected);
      }),
    );
  });
});

describe('what a night takes over from a long list', () => {
  it('is the most telling, the oldest, and what was never ranked, of each kind five thousand', () => {
    const files = new WaitingFiles();
    const day = (number: number): Date => new Date(Date.UTC(2026, 0, 1) + number * 1_000);
    for (let number = 0; number < 30_000; number++) {
      const isUnranked = number >= 20_000 && number < 27_000;
      files.set(hashOf(number), { since: day(30_000 - number), score: isUnranked ? UNRANKED_SCORE : -number });
    }
    const numbers = [...carriedOver(files)].map((hash) => Number.parseInt(hash, 16)).sort((a, b) => a - b);
    const range = (start: number, end: number): number[] =>
      Array.from({ length: end - start }, (_, place) => start + place);
    expect(numbers).toEqual([...range(0, 5_000), ...range(20_000, 25_000), ...range(25_000, 30_000)]);
  });

  it('is all of a short list', () => {
    const files = new WaitingFiles();
    for (let number = 0; number < 100; number++) files.set(hashOf(number), { since: new Date(0), score: 1 });
    expect(carriedOver(files).size).toBe(100);
  });
});
