import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ByteReader, PeekableReader, streamByteReader } from '../../src/sources/byte-reader.js';
import { decodingReader } from '../../src/sources/encoding.js';

async function* inChunks(bytes: Buffer, chunkBytes: number): AsyncIterable<Buffer> {
  for (let start = 0; start < bytes.length; start += chunkBytes) yield bytes.subarray(start, start + chunkBytes);
}

async function readAll(reader: ByteReader, targetBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const target = Buffer.alloc(targetBytes);
    const length = await reader.read(target);
    parts.push(target.subarray(0, length));
    if (length < targetBytes) return Buffer.concat(parts);
  }
}

function decode(bytes: Buffer, chunkBytes = 1000, targetBytes = 777): Promise<Buffer> {
  return readAll(decodingReader(new PeekableReader(streamByteReader(inChunks(bytes, chunkBytes)))), targetBytes);
}

function utf16be(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}

const TEXT = '<Event>NT-AUTORITÄT\\SYSTEM 漢字 \u{1F600}\r\n</Event>';

describe('a log', () => {
  test.each([
    ['UTF-8', Buffer.from(TEXT)],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${TEXT}`)],
    ['UTF-16LE with a mark', Buffer.from(`\ufeff${TEXT}`, 'utf16le')],
    ['UTF-16BE with a mark', utf16be(`\ufeff${TEXT}`)],
    ['UTF-16LE without a mark', Buffer.from(TEXT, 'utf16le')],
    ['UTF-16BE without a mark', utf16be(TEXT)],
  ])('in %s is read as UTF-8 without a mark', async (_name, bytes) => {
    expect((await decode(bytes)).toString()).toBe(TEXT);
  });

  test('that is not valid UTF-8 passes through byte for byte', async () => {
    const bytes = Buffer.from([0x7b, 0xe4, 0xff, 0x00, 0xc3]);
    expect(await decode(bytes)).toEqual(bytes);
  });

  test.each([[''], ['{'], ['\ufeff']])('of %j is no more than that', async (text) => {
    expect((await decode(Buffer.from(text))).toString()).toBe(text.replace('\ufeff', ''));
  });

  test('in UTF-16 that ends within a character says so with U+FFFD', async () => {
    const bytes = Buffer.concat([Buffer.from('\ufeff{}', 'utf16le'), Buffer.from([0x41])]);
    expect((await decode(bytes)).toString()).toBe('{}\ufffd');
    expect((await decode(Buffer.from('\ufeff{}\ud83d', 'utf16le'))).toString()).toBe('{}\ufffd');
  });

  test('in UTF-16 is the same however it arrives, also beyond one chunk', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 50 }).map((part) => `[${`${part}\u{1F600}x`.repeat(1500)}`);
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.integer({ min: 1000, max: 70_000 }),
        fc.integer({ min: 777, max: 9000 }),
        async (log, chunk, target) => {
          expect((await decode(Buffer.from(`\ufeff${log}`, 'utf16le'), chunk, target)).equals(Buffer.from(log))).toBe(
            true,
          );
          expect((await decode(utf16be(`\ufeff${log}`), chunk, target)).equals(Buffer.from(log))).toBe(true);
        },
      ),
      { numRuns: 20 },
    );
  });

  test('is passed on in full buffers, fewer bytes only at the end', async () => {
    const reader = decodingReader(
      new PeekableReader(streamByteReader(inChunks(Buffer.from(`\ufeff${'ab'.repeat(5000)}`, 'utf16le'), 3))),
    );
    const target = Buffer.alloc(4000);
    expect([
      await reader.read(target),
      await reader.read(target),
      await reader.read(target),
      await reader.read(target),
    ]).toEqual([4000, 4000, 2000, 0]);
  });
});
