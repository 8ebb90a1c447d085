import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { amongFirstQuestions, notAmong } from '../../src/pipeline/choosing.js';
import type { DueAnswer } from '../../src/pipeline/recheck.js';
import type { RankedFile } from '../../src/ranking.js';

const file = (hash: string, score: number): RankedFile => ({ hash, score, reasons: [], isStriking: false });
const old = (hash: string, risk: number): DueAnswer => ({ hash, risk });
const hashesAmong = (order: readonly RankedFile[], olds: readonly DueAnswer[]): string[] =>
  Array.from(amongFirstQuestions(order, notAmong(order, olds)), ({ hash }) => hash);

describe('old answers among files that have none', () => {
  it('come first where 40 points more depend on them', () => {
    const order = [file('telling', 60), file('usual', 10), file('harmless', -20)];
    expect(hashesAmong(order, [old('risky', 70), old('dull', 5)])).toEqual([
      'telling',
      'risky',
      'usual',
      'harmless',
      'dull',
    ]);
  });

  it('never come twice in a row, so that a flood of them leaves every second question to a file without an answer', () => {
    const order = [file('a', 1), file('b', 0)];
    const risky = [old('w', 99), old('x', 98), old('y', 97), old('z', 96)];
    expect(hashesAmong(order, risky)).toEqual(['w', 'a', 'x', 'b', 'y', 'z']);
  });

  it('tell why they are asked, as the others do', () => {
    const reasons = [{ name: 'drop_folder', weight: 26, text: 'ran from a folder where programs do not belong' }];
    const order = [{ ...file('a', 26), reasons }, file('b', 0)];
    expect([...amongFirstQuestions(order, [old('x', 50)])]).toEqual([
      { hash: 'a', because: 'ran from a folder where programs do not belong' },
      { hash: 'x', because: 'the answer on it is past its lifetime' },
      { hash: 'b', because: undefined },
    ]);
  });

  it('are asked once, and nothing is left out', () => {
    const files = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: -40, max: 90 })), {
      selector: ([name]) => name,
    });
    fc.assert(
      fc.property(files, files, (firsts, olds) => {
        const order = firsts.map(([name, score]) => file(String(name), score));
        const due = olds.map(([name, risk]) => old(String(name), risk)).sort((a, b) => b.risk - a.risk);
        const asked = hashesAmong(order, due);
        expect(new Set(asked).size).toBe(asked.length);
        expect(new Set(asked)).toEqual(new Set([...order, ...due].map(({ hash }) => hash)));
        const names = new Set(order.map(({ hash }) => hash));
        expect(asked.filter((hash) => names.has(hash))).toEqual(order.map(({ hash }) => hash));
      }),
    );
  });
});
