import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Column, DigestTable } from '../src/digest-table.js';

const digits = fc.constantFrom(...'0123456789abcdef');
/** Few different digits, so that digests share beginnings, one algorithm's with another's too. */
const alike = fc.constantFrom('0', 'f', '7');
const digest = fc
  .constantFrom(32, 40, 64)
  .chain((length) => fc.string({ unit: fc.oneof(digits, alike), minLength: length, maxLength: length }));
const short = fc
  .tuple(fc.string({ unit: alike, minLength: 2, maxLength: 2 }), fc.constantFrom(32, 40, 64))
  .map(([start, length]) => start.padEnd(length, '0'));

describe('the table of digests', () => {
  it('numbers each digest once, in the order they were met, and gives it back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(digest, short), { maxLength: 60 }),
        fc.array(digest, { maxLength: 9 }),
        (met, others) => {
          const table = new DigestTable();
          const numbers = new Map<string, number>();
          for (const hash of met) {
            if (!numbers.has(hash)) numbers.set(hash, numbers.size);
            expect(table.add(hash)).toBe(numbers.get(hash));
          }
          expect(table.size).toBe(numbers.size);
          for (const hash of [...met, ...others]) expect(table.find(hash)).toBe(numbers.get(hash));
          for (const [hash, number] of numbers) expect(table.hashAt(number)).toBe(hash);
        },
      ),
    );
  });

  it('keeps tens of thousands apart', () => {
    const hashes = Array.from({ length: 20_000 }, (_, number) =>
      Math.imul(number, 0x9e3779b1).toString(16).padStart(40, '0').replace('-', 'f'),
    );
    const table = new DigestTable();
    for (const hash of hashes) table.add(hash);
    expect(table.size).toBe(new Set(hashes).size);
    expect(hashes.every((hash) => table.hashAt(table.find(hash) ?? -1) === hash)).toBe(true);
  });

  it('orders digests as their texts', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(digest, short), { maxLength: 30 }), (hashes) => {
        const table = new DigestTable();
        for (const hash of hashes) table.add(hash);
        const order = hashes.map((_, number) => number).sort((a, b) => table.compare(a, b));
        expect(order.map((number) => table.hashAt(number))).toEqual([...hashes].sort());
      }),
    );
  });

  it('groups digests by their first two digits, in the order of these', () => {
    fc.assert(
      fc.property(fc.uniqueArray(digest, { maxLength: 60 }), (hashes) => {
        const table = new DigestTable();
        for (const hash of hashes) table.add(hash);
        const groups = [...table.byFirstByte()].map(([start, numbers]) => [
          start,
          [...numbers].map((number) => table.hashAt(number)),
        ]);
        const starts = [...new Set(hashes.map((hash) => hash.slice(0, 2)))].sort();
        expect(groups).toEqual(starts.map((start) => [start, hashes.filter((hash) => hash.startsWith(start))]));
      }),
    );
  });

  it('takes digits in either case, and nothing else for a digest', () => {
    const table = new DigestTable();
    expect(table.add('AB'.repeat(20))).toBe(0);
    expect(table.find('ab'.repeat(20))).toBe(0);
    expect(table.hashAt(0)).toBe('ab'.repeat(20));
    for (const text of [
      '',
      'constructor',
      '__proto__',
      'g'.repeat(40),
      'ａ'.repeat(40),
      'a'.repeat(39),
      `${'a'.repeat(38)}\u0130\u0130`,
    ]) {
      expect(table.add(text)).toBeUndefined();
      expect(table.find(text)).toBeUndefined();
    }
    expect(table.size).toBe(1);
  });
});

describe('a column', () => {
  it('holds a number for each row, and 0 where none was set', () => {
    const rows = fc.array(fc.tuple(fc.integer({ min: 0, max: 20_000 }), fc.double({ noNaN: true })), { maxLength: 40 });
    fc.assert(
      fc.property(rows, fc.integer({ min: 0, max: 30_000 }), (set, other) => {
        const column = new Column(Float64Array);
        const model = new Map(set);
        for (const [row, value] of set) column.set(row, value);
        for (const row of [other, ...model.keys()]) expect(column.get(row)).toBe(model.get(row) ?? 0);
      }),
    );
  });
});
