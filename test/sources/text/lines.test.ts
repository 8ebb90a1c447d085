import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { streamByteReader } from '../../../src/sources/byte-reader.js';
import { MAX_RECORD_BYTES, readLines } from '../../../src/sources/lines.js';

interface Line {
  readonly text: string;
  readonly offset: number;
}

async function linesOf(chunks: readonly Buffer[]): Promise<{ lines: Line[]; tooLong: number[] }> {
  const lines: Line[] = [];
  const tooLong: number[] = [];
  await readLines(streamByteReader(toStream(chunks)), {
    onLine: (text, offset) => {
      lines.push({ text, offset });
    },
    onTooLong: (offset) => {
      tooLong.push(offset);
    },
    onBlockEnd: () => Promise.resolve(),
  });
  return { lines, tooLong };
}

async function* toStream(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

describe('lines of text', () => {
  test('are given without line feed, with the offset of their first byte, the last one with or without a line feed', async () => {
    const { lines } = await linesOf([Buffer.from('é\r\n\nlast')]);
    expect(lines).toEqual([
      { text: 'é\r', offset: 0 },
      { text: '', offset: 4 },
      { text: 'last', offset: 5 },
    ]);
    expect((await linesOf([Buffer.from('one\n')])).lines).toEqual([{ text: 'one', offset: 0 }]);
    expect((await linesOf([])).lines).toEqual([]);
  });

  test('start behind a byte order mark, whose bytes count in the offsets', async () => {
    expect((await linesOf([Buffer.from('\ufeffa\nb')])).lines).toEqual([
      { text: 'a', offset: 3 },
      { text: 'b', offset: 5 },
    ]);
  });

  test('are the same however the log is cut into chunks, also inside a character', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('\n', '\r\n', '\ufeff'))),
        fc.array(fc.integer({ min: 0, max: 200 })),
        async (parts, cuts) => {
          const bytes = Buffer.from(parts.join(''));
          const places = [...cuts.filter((cut) => cut <= bytes.length), 0, bytes.length].sort((a, b) => a - b);
          const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
          expect(await linesOf(chunks)).toEqual(await linesOf([bytes]));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('longer than the buffer are whole, and beyond the limit they are skipped and said', async () => {
    const long = 'x'.repeat(MAX_RECORD_BYTES);
    const { lines, tooLong } = await linesOf([Buffer.from(`a\n${long}\nb\n${long}${long}\nc\n${long}x`)]);
    expect(lines.map(({ text, offset }) => [text.length, offset])).toEqual([
      [1, 0],
      [long.length, 2],
      [1, long.length + 3],
      [1, 3 * long.length + 6],
    ]);
    expect(tooLong).toEqual([long.length + 5, 3 * long.length + 8]);
  });

  test('of which one never ends are not held', async () => {
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    const before = process.memoryUsage().arrayBuffers;
    const { lines, tooLong } = await linesOf(Array.from({ length: 200 }, () => chunk));
    expect(lines).toEqual([]);
    expect(tooLong).toEqual([0]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
  });
});
