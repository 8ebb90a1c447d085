import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventRecord, forwardedRecord, writeEvtx } from '../../../src/demo/evtx-writer.js';
import type { ByteReader } from '../../../src/sources/byte-reader.js';
import { bytesReader, readBothWays, readOneWay } from './reading.js';
import { field, processCreation, withFields } from './samples.js';

const HEADER_BYTES = 4096;
const CHUNK_BYTES = 65_536;

/** Process creations with record ids from 1 on. */
function logOf(recordCount: number): Buffer {
  return writeEvtx(
    Array.from({ length: recordCount }, (_, index) => eventRecord(processCreation({ recordId: BigInt(index + 1) }))),
  );
}

/** Offsets of the records in the chunk that starts at `chunkAt`. */
function recordOffsets(log: Buffer, chunkAt: number): number[] {
  const offsets: number[] = [];
  const end = chunkAt + log.readUInt32LE(chunkAt + 48);
  for (let at = chunkAt + 512; at < end; at += log.readUInt32LE(at + 4)) offsets.push(at);
  return offsets;
}

/** Makes the checksums right again, so that what a test changed stands alone. */
function seal(log: Buffer): Buffer {
  log.writeUInt32LE(crc32(log.subarray(0, 120)), 124);
  for (let at = HEADER_BYTES; at + CHUNK_BYTES <= log.length; at += CHUNK_BYTES) {
    if (log.toString('latin1', at, at + 8) !== 'ElfChnk\0') continue;
    const chunk = log.subarray(at, at + CHUNK_BYTES);
    chunk.writeUInt32LE(crc32(chunk.subarray(512, chunk.readUInt32LE(48))), 52);
    chunk.writeUInt32LE(crc32(chunk.subarray(128, 512), crc32(chunk.subarray(0, 120))), 124);
  }
  return log;
}

const RECORDS = 200;
const whole = logOf(RECORDS);
const chunkCount = (whole.length - HEADER_BYTES) / CHUNK_BYTES;
/** Records of each chunk. */
const perChunk = Array.from({ length: chunkCount }, (_, index) => {
  return recordOffsets(whole, HEADER_BYTES + index * CHUNK_BYTES).length;
});

function countFrom(firstChunk: number): number {
  return perChunk.slice(firstChunk).reduce((sum, count) => sum + count, 0);
}

describe('a log whose header does not tell the truth', () => {
  it('is read to its end where the count of chunks is too small', async () => {
    const log = Buffer.from(whole);
    log.writeUInt16LE(1, 42);
    log.writeUInt32LE(1, 120);
    const { events, notes } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual([
      'the log was copied while it was open (dirty flag)',
      `the header counts 1 of the ${chunkCount} chunks, all were read`,
    ]);
  });

  it('is read where the count is too large, with a note', async () => {
    const log = Buffer.from(whole);
    log.writeUInt16LE(chunkCount + 2, 42);
    const { events, notes } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual([`the header counts ${chunkCount + 2} chunks, the log ends after ${chunkCount}`]);
  });

  it('is read where its checksum is wrong, or its magic', async () => {
    const log = Buffer.from(whole);
    log[130 - 12] = 1;
    expect((await readBothWays(log)).notes).toEqual(['wrong checksum of the file header']);
    log.write('NoMagic\0');
    const { events, notes } = await readBothWays(log);
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual(['the file header is not that of an event log']);
  });

  it('is read without the header, from its first chunk on', async () => {
    const { events, notes } = await readBothWays(whole.subarray(HEADER_BYTES));
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual([]);
  });
});

describe('a block that is no chunk', () => {
  it('is noted where zeros replace a chunk, and the others are read', async () => {
    const log = Buffer.from(whole).fill(0, HEADER_BYTES, HEADER_BYTES + CHUNK_BYTES);
    const { events, notes, rejects } = await readBothWays(log);
    expect(events).toHaveLength(countFrom(1));
    expect(notes).toEqual(['zeroed blocks at 0x1000 (1)']);
    expect(rejects).toEqual([]);
  });

  it('is no loss where Windows allocated it ahead', async () => {
    const { events, notes } = await readBothWays(Buffer.concat([whole, Buffer.alloc(3 * CHUNK_BYTES)]));
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual([]);
  });

  it('is a loss where the header counts it', async () => {
    const log = Buffer.concat([whole, Buffer.alloc(3 * CHUNK_BYTES)]);
    log.writeUInt16LE(chunkCount + 2, 42);
    const places = [0, 1].map((block) => `0x${(whole.length + block * CHUNK_BYTES).toString(16)}`);
    expect((await readBothWays(seal(log))).notes).toEqual([`zeroed blocks at ${places.join(', ')} (2)`]);
  });

  it('is noted where it holds garbage', async () => {
    const log = Buffer.concat([
      whole.subarray(0, HEADER_BYTES),
      Buffer.alloc(CHUNK_BYTES, 7),
      whole.subarray(HEADER_BYTES),
    ]);
    const { events, notes } = await readBothWays(log);
    expect(events).toHaveLength(RECORDS);
    expect(notes).toContain('blocks that are no chunks at 0x1000 (1)');
  });

  it('is noted in one line however many there are', async () => {
    const { notes } = await readBothWays(
      Buffer.concat([whole.subarray(0, HEADER_BYTES), Buffer.alloc(19 * CHUNK_BYTES, 7), whole.subarray(HEADER_BYTES)]),
    );
    expect(notes).toContain('blocks that are no chunks at 0x1000, 0x11000, 0x21000, 0x31000, 0x41000 and 14 more (19)');
  });

  it('may be a few stray bytes at the end', async () => {
    const { events, notes } = await readBothWays(Buffer.concat([whole, Buffer.alloc(4096, 1)]));
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual([
      `the last block, at 0x${whole.length.toString(16)}, has 4096 of 65536 bytes and is no chunk`,
    ]);
  });
});

describe('a damaged chunk', () => {
  it('is read in spite of wrong checksums, which are noted', async () => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(~log.readUInt32LE(HEADER_BYTES + 52) >>> 0, HEADER_BYTES + 52);
    const { events, notes } = await readBothWays(log);
    expect(events).toHaveLength(RECORDS);
    expect(notes).toEqual(['wrong chunk header checksum at 0x1000 (1)', 'wrong chunk checksum at 0x1000 (1)']);
  });

  it('that says it has no checksums is not measured by them', async () => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(5, HEADER_BYTES + 120);
    log.writeUInt32LE(0, HEADER_BYTES + 52);
    log.writeUInt32LE(0, HEADER_BYTES + 124);
    expect((await readBothWays(log)).notes).toEqual([]);
  });

  it('never gives old records behind its free-space offset', async () => {
    const log = Buffer.from(whole);
    const offsets = recordOffsets(log, HEADER_BYTES);
    const kept = 5;
    log.writeUInt32LE((offsets[kept] ?? 0) - HEADER_BYTES, HEADER_BYTES + 48);
    const { events, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(kept + countFrom(1));
    expect(rejects).toEqual([]);
  });

  it('whose free-space offset is impossible is read up to its last record', async () => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(0xffff_ffff, HEADER_BYTES + 48);
    const { events, rejects } = await readBothWays(log);
    expect(events).toHaveLength(RECORDS);
    expect(rejects).toEqual([]);
  });

  it('that is cut gives the records that are whole, and a note', async () => {
    const offsets = recordOffsets(whole, HEADER_BYTES + CHUNK_BYTES);
    const cutAt = (offsets[3] ?? 0) + 100;
    const { events, notes, rejects } = await readBothWays(whole.subarray(0, cutAt));
    expect(events).toHaveLength((perChunk[0] ?? 0) + 3);
    expect(rejects).toEqual([]);
    const there = cutAt - HEADER_BYTES - CHUNK_BYTES;
    expect(notes).toEqual([
      `the last chunk, at 0x11000, is cut: ${there} of 65536 bytes are there`,
      `the header counts ${chunkCount} chunks, the log ends after 1`,
    ]);
  });
});

describe('a damaged record', () => {
  const [, second = 0, third = 0] = recordOffsets(whole, HEADER_BYTES);

  it('without its magic costs itself alone', async () => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(0, second);
    const { events, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS - 1);
    expect(rejects).toEqual([{ code: 'BAD_RECORD', message: 'no record where one should start', offset: second }]);
  });

  it.each([
    ['of no size', 0, { code: 'BAD_RECORD', message: 'record of 0 bytes' }],
    ['of an odd size', 1001, { code: 'BAD_RECORD', message: 'record of 1001 bytes' }],
    ['of a size beyond the chunk', 0x10000, { code: 'TRUNCATED', message: /^record needs 65536 bytes, \d+ left$/ }],
  ])('%s costs itself alone', async (_, size, expected) => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(size, second + 4);
    const { events, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS - 1);
    expect(rejects).toMatchObject([
      { code: expected.code, message: expect.stringMatching(expected.message), record: '2', offset: second },
    ]);
  });

  it('whose two sizes differ is read, and noted', async () => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(8, third - 4);
    const { events, notes, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS);
    expect(rejects).toEqual([]);
    expect(notes).toEqual([`record whose two sizes differ at 0x${second.toString(16)} (1)`]);
  });

  it('says what is missing where its values reach beyond its end', async () => {
    const log = Buffer.from(whole);
    // The descriptor of the first value: behind the heads of the record, the fragment and the instance, and the number of values.
    log.writeUInt16LE(0xffff, second + 24 + 4 + 10 + 4);
    const { events, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS - 1);
    expect(rejects).toMatchObject([
      {
        code: 'TRUNCATED',
        message: expect.stringMatching(/^template data needs \d+ bytes, \d+ left$/),
        record: '2',
        offset: second,
      },
    ]);
  });

  it.each([
    ['before the records', 0x80],
    ['ahead of it', 0xff00],
    ['beyond the chunk', 0x7fff_ffff],
    ['where there is another', 512],
  ])('whose template lies %s costs itself alone', async (_, definitionAt) => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(definitionAt, second + 24 + 4 + 6);
    const { events, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS - 1);
    expect(rejects).toMatchObject([{ record: '2' }]);
  });

  it('that claims a million values costs itself alone', async () => {
    const log = Buffer.from(whole);
    log.writeUInt32LE(1_000_000, second + 24 + 4 + 10);
    const { events, rejects } = await readBothWays(seal(log));
    expect(events).toHaveLength(RECORDS - 1);
    expect(rejects).toMatchObject([{ message: 'template data of 1000000 values' }]);
  });

  it('cannot blow up: one long value under many fields is refused', async () => {
    const template = {
      name: 'EventData',
      content: Array.from({ length: 1000 }, (_, index) => {
        return { name: 'Data', attributes: [['Name', `F${index}`] as const], content: [{ substitution: 0 }] };
      }),
    };
    const record = eventRecord(withFields(field('A', 'a')));
    const [root] = record.roots;
    if (root === undefined || !('template' in root)) throw new Error('a local event is a template');
    const values = root.values.map((value) =>
      value.type === 'xml'
        ? {
            type: 'xml' as const,
            roots: [{ template, values: [{ type: 'string' as const, value: 'x'.repeat(5000) }] }],
          }
        : value,
    );
    const { rejects } = await readBothWays(writeEvtx([{ ...record, roots: [{ template: root.template, values }] }]));
    expect(rejects).toMatchObject([{ code: 'TOO_LARGE' }]);
  });
});

describe('any damage', () => {
  const mixed = writeEvtx(
    Array.from({ length: 90 }, (_, index) => {
      const event = processCreation({ recordId: BigInt(index), eventId: index % 3 === 0 ? 5 : 1 });
      return index % 4 === 0 ? forwardedRecord(event) : eventRecord(event);
    }),
  );

  it('by a cut at any byte gives the whole records before it, and never an error', async () => {
    const sound = await readOneWay(mixed);
    await fc.assert(
      fc.asyncProperty(fc.nat(mixed.length), async (length) => {
        const { events, rejects } = await readBothWays(mixed.subarray(0, length));
        expect(rejects).toEqual([]);
        expect(events).toEqual(sound.events.slice(0, events.length));
      }),
      { numRuns: 60 },
    );
  });

  it('by changed bytes gives rejects and notes only, the same with plans and without', async () => {
    const codes = ['TRUNCATED', 'BAD_RECORD', 'TOO_LARGE'];
    const change = fc.tuple(
      fc.nat(mixed.length - 4),
      fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 0xffff_ffff, 512, 0x0c, 0x21)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 12 }), fc.boolean(), async (changes, isByte) => {
        const log = Buffer.from(mixed);
        for (const [at, value] of changes) {
          if (isByte) log[at] = value;
          else log.writeUInt32LE(value, at);
        }
        const { events, other, rejects } = await readBothWays(log);
        expect(rejects.every(({ code }) => codes.includes(code))).toBe(true);
        expect(events.length + other).toBeLessThanOrEqual(90);
      }),
      { numRuns: 80 },
    );
  });

  it('by nothing but noise in a chunk ends in time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat(255)), async (noise) => {
        const log = Buffer.from(mixed);
        const pattern = Buffer.from([...noise.take(509)]);
        for (let at = HEADER_BYTES + 512; at < HEADER_BYTES + CHUNK_BYTES; at += pattern.length) pattern.copy(log, at);
        await readBothWays(log);
      }),
      { numRuns: 10 },
    );
  });
});

describe('the reader of the bytes', () => {
  it('may fail, and its error is passed on', async () => {
    const failing: ByteReader = { read: () => Promise.reject(new Error('disk on fire')) };
    await expect(readOneWay(failing)).rejects.toThrow('disk on fire');
  });

  it('is asked for blocks, whatever the size of the log', async () => {
    const bytes = bytesReader(whole);
    const sizes: number[] = [];
    const counting: ByteReader = {
      read: (target) => {
        sizes.push(target.length);
        return bytes.read(target);
      },
    };
    expect((await readOneWay(counting)).events).toHaveLength(RECORDS);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1024 * 1024);
  });
});
