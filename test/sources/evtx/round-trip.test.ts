import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type EvtxField,
  type EvtxValue,
  eventRecord,
  forwardedRecord,
  writeEvtx,
} from '../../../src/demo/evtx-writer.js';
import { parseHashes } from '../../../src/hash.js';
import { isEvtx } from '../../../src/sources/evtx/index.js';
import { readBothWays } from './reading.js';
import { field, HASHES, MD5, processCreation, SHA1, SHA256, withFields } from './samples.js';

async function fieldTextOf(value: EvtxValue): Promise<string | undefined> {
  const { events } = await readBothWays(writeEvtx([eventRecord(withFields(field('Value', value)))]));
  return events[0]?.event.data.get('Value');
}

function raw(code: number, bytes: Buffer | readonly number[]): EvtxValue {
  return { type: 'raw', code, bytes: Buffer.from(bytes) };
}

describe('a written event log', () => {
  it('is recognised by its first bytes, carved chunks too', () => {
    const log = writeEvtx([eventRecord(processCreation())]);
    expect(isEvtx(log)).toBe(true);
    expect(isEvtx(log.subarray(4096))).toBe(true);
    expect(isEvtx(Buffer.from('ElfFil'))).toBe(false);
    expect(isEvtx(Buffer.from('{"EventID":1}'))).toBe(false);
  });

  it('gives its process creations as Windows renders them, without a note', async () => {
    const { events, other, rejects, notes } = await readBothWays(writeEvtx([eventRecord(processCreation())]));
    expect({ other, rejects, notes }).toEqual({ other: 0, rejects: [], notes: [] });
    expect(events).toHaveLength(1);
    expect(events[0]?.body).toBe(
      '{"EventID":1,"EventRecordID":27765,"Provider":"Microsoft-Windows-Sysmon","Channel":"Microsoft-Windows-Sysmon/Operational",' +
        '"Computer":"HOST-A","TimeCreated":"2018-02-05T07:08:58.0590000Z","EventData":{"RuleName":"",' +
        '"UtcTime":"2018-02-05 07:08:58.058","ProcessGuid":"{B669E388-4A98-5EE0-1704-00000000030F}","ProcessId":"4294967295",' +
        '"Image":"C:\\\\Windows\\\\System32\\\\cmd.exe","CommandLine":"\\"cmd.exe\\" /c echo <&>","LogonId":"0x3e7",' +
        `"Hashes":"${HASHES}"}`,
    );
    expect(events[0]?.hashes).toEqual({ sha1: SHA1, md5: MD5, sha256: SHA256 });
  });

  it('gives forwarded events, which come without templates, with the same fields', async () => {
    const log = writeEvtx([forwardedRecord(processCreation()), forwardedRecord(processCreation({ computer: 'B&B' }))]);
    const { events } = await readBothWays(log);
    const local = await readBothWays(writeEvtx([eventRecord(processCreation())]));
    expect(events[0]).toEqual(local.events[0]);
    expect(events[1]?.event.computer).toBe('B&B');
  });

  it('goes over as many chunks as its records need', async () => {
    const count = 400;
    const records = Array.from({ length: count }, (_, index) =>
      eventRecord(processCreation({ recordId: BigInt(index) })),
    );
    const log = writeEvtx(records);
    const { events, blocks, notes, rejects } = await readBothWays(log);
    expect(events.map(({ event }) => event.recordId)).toEqual(
      Array.from({ length: count }, (_, index) => String(index)),
    );
    expect(blocks).toBe((log.length - 4096) / 65_536);
    expect(blocks).toBeGreaterThan(2);
    expect({ notes, rejects }).toEqual({ notes: [], rejects: [] });
  });

  it('may be empty', async () => {
    const { events, other, rejects, notes } = await readBothWays(writeEvtx([]));
    expect({ events, other, rejects, notes }).toEqual({ events: [], other: 0, rejects: [], notes: [] });
  });

  it('counts what is not wanted: other providers with the same event id, other events', async () => {
    const log = writeEvtx([
      eventRecord(
        processCreation({
          provider: 'Microsoft-Windows-Kernel-General',
          providerGuid: '{A68CA8B7-005E-D7B6-2A43-06F5698FFBD9}',
        }),
      ),
      eventRecord(processCreation({ eventId: 3 })),
      eventRecord(processCreation()),
      forwardedRecord(processCreation({ eventId: 5 })),
    ]);
    const { events, other } = await readBothWays(log, new Set([1]));
    expect(events).toHaveLength(1);
    expect(other).toBe(3);
  });

  it.each([
    ['in another case', { provider: 'microsoft-windows-SYSMON' }],
    ['padded with NULs', { provider: 'Microsoft-Windows-Sysmon\0\0' }],
    ['for Linux', { provider: 'Linux-Sysmon' }],
    ['under another name, with its GUID', { provider: 'Renamed' }],
  ])('knows the provider %s', async (_, provider) => {
    const { events } = await readBothWays(writeEvtx([eventRecord(processCreation(provider))]));
    expect(events).toHaveLength(1);
  });

  it('reports EventRecordID with all its 64 bits, not the id in the header of the record', async () => {
    const record = eventRecord(processCreation({ recordId: 18_446_744_073_709_551_615n }));
    const { events } = await readBothWays(writeEvtx([{ ...record, id: 1n }]));
    expect(events[0]?.event.recordId).toBe('18446744073709551615');
    expect(events[0]?.body).toContain('"EventRecordID":18446744073709551615,');
  });
});

describe('a value', () => {
  it.each([
    ['no string', { type: 'string', value: '' }, ''],
    ['trailing NULs', { type: 'string', value: 'a\0b\0\0' }, 'a\0b'],
    ['UInt8', { type: 'uint8', value: 255 }, '255'],
    ['UInt16', { type: 'uint16', value: 443 }, '443'],
    ['UInt32', { type: 'uint32', value: 0 }, '0'],
    ['UInt64', { type: 'uint64', value: 2n ** 64n - 1n }, '18446744073709551615'],
    ['UInt64 beyond 2^32', { type: 'uint64', value: 2n ** 53n + 1n }, '9007199254740993'],
    ['HexInt32', { type: 'hexInt32', value: 0x1fffff }, '0x1fffff'],
    ['HexInt32 with the top bit', { type: 'hexInt32', value: 0xffffffff }, '0xffffffff'],
    ['HexInt64 of zero', { type: 'hexInt64', value: 0n }, '0x0'],
    ['HexInt64 beyond 32 bits', { type: 'hexInt64', value: 0x1_0000_0000n }, '0x100000000'],
    ['true', { type: 'boolean', value: true }, 'true'],
    ['false', { type: 'boolean', value: false }, 'false'],
    ['GUID', { type: 'guid', value: '00112233-4455-6677-8899-aabbccddeeff' }, '{00112233-4455-6677-8899-AABBCCDDEEFF}'],
    [
      'SID',
      { type: 'sid', value: 'S-1-5-21-3541430928-2051711210-1391384369-1001' },
      'S-1-5-21-3541430928-2051711210-1391384369-1001',
    ],
    ['FILETIME', { type: 'filetime', value: new Date('2024-02-29T23:59:59.999Z') }, '2024-02-29T23:59:59.9990000Z'],
  ] as const)('of type %s is rendered as Windows does', async (_, value, expected) => {
    expect(await fieldTextOf(value)).toBe(expected);
  });

  it.each([
    ['Bool is true for anything but zero', raw(0x0d, [0, 0, 1, 0]), 'true'],
    ['Bool of one byte', raw(0x0d, [0]), 'false'],
    ['FILETIME of zero', raw(0x11, Buffer.alloc(8)), '1601-01-01T00:00:00.0000000Z'],
    ['FILETIME that is no date', raw(0x11, Buffer.alloc(8, 0xff)), '18446744073709551615'],
    [
      'SYSTEMTIME',
      raw(0x12, Buffer.from('e20702000100050007000800 3a003b00'.replace(' ', ''), 'hex')),
      '2018-02-05T07:08:58.059Z',
    ],
    ['SYSTEMTIME never set', raw(0x12, Buffer.alloc(16)), ''],
    ['Int8', raw(0x03, [0x80]), '-128'],
    ['Int16', raw(0x05, [0xff, 0xff]), '-1'],
    ['Int32', raw(0x07, [0, 0, 0, 0x80]), '-2147483648'],
    ['Int64', raw(0x09, Buffer.alloc(8, 0xff)), '-1'],
    ['Real32', raw(0x0b, Buffer.from('bef34745', 'hex')), '3199.234'],
    ['Real64', raw(0x0c, Buffer.from('000000000000f83f', 'hex')), '1.5'],
    ['AnsiString in code page 1252', raw(0x02, [0x80, 0x61, 0xe9, 0]), '€aé'],
    ['Binary', raw(0x0e, [0xde, 0xad]), 'DEAD'],
    ['Binary of 255 bytes', raw(0x0e, Buffer.alloc(255, 0xab)), 'AB'.repeat(255)],
    ['Binary of no bytes', raw(0x0e, []), ''],
    ['SizeT of 4 bytes', raw(0x10, [0xe7, 3, 0, 0]), '0x3e7'],
    ['SizeT of 8 bytes', raw(0x10, [0xe7, 3, 0, 0, 0, 0, 0, 0]), '0x3e7'],
    ['SID with an authority beyond 32 bits', raw(0x13, [1, 1, 1, 0, 0, 0, 0, 2, 5, 0, 0, 0]), 'S-1-0x10000000002-5'],
    ['an array of strings', raw(0x81, Buffer.from('a\0bc\0', 'utf16le')), 'a, bc'],
    ['an array without its last NUL', raw(0x81, Buffer.from('a\0bc', 'utf16le')), 'a, bc'],
    ['an empty array', raw(0x81, []), ''],
    ['an array of UInt16', raw(0x86, [1, 0, 2, 0]), '1, 2'],
    ['an array of SIDs', raw(0x93, [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5]), 'S-1-5-18, S-1-5'],
  ] as const)('%s', async (_, value, expected) => {
    expect(await fieldTextOf(value)).toBe(expected);
  });

  it.each([
    ['a string of odd size', raw(0x01, [0x61, 0, 0x62])],
    ['a UInt32 of 2 bytes', raw(0x08, [1, 0])],
    ['a GUID of 15 bytes', raw(0x0f, Buffer.alloc(15))],
    ['a SID whose count does not fit', raw(0x13, [1, 2, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0])],
    ['a SYSTEMTIME in month 13', raw(0x12, Buffer.from('e2070d000100050007000800 3a003b00'.replace(' ', ''), 'hex'))],
    ['an array of half a value', raw(0x88, [1, 0, 0, 0, 2])],
    ['an array of binary', raw(0x8e, [1])],
    ['a type nobody knows', raw(0x30, [1])],
    ['nested XML', { type: 'xml', roots: [{ name: 'X' }] }],
  ] as const)('that is damaged costs its record: %s', async (_, value) => {
    const log = writeEvtx([eventRecord(withFields(field('Value', value))), eventRecord(processCreation())]);
    const { events, rejects } = await readBothWays(log);
    expect(rejects).toMatchObject([{ code: 'BAD_RECORD', record: '27765', offset: 4096 + 512 }]);
    expect(events).toHaveLength(1);
  });

  it('of type FILETIME is exact to 100 nanoseconds up to the end of year 9999', async () => {
    const lastTick = 2_650_467_743_999_999_999n;
    await fc.assert(
      // The last few minutes before the year 10000 are rendered as a number, as everything beyond is.
      fc.asyncProperty(fc.bigInt({ min: 0n, max: lastTick - 6_000_000_000n }), async (ticks) => {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64LE(ticks);
        const second = new Date(Number(ticks / 10_000_000n - 11_644_473_600n) * 1000).toISOString().slice(0, 19);
        expect(await fieldTextOf(raw(0x11, bytes))).toBe(`${second}.${String(ticks % 10_000_000n).padStart(7, '0')}Z`);
      }),
      { numRuns: 100 },
    );
  });

  it('is left out where it is null and optional, else empty', async () => {
    const log = writeEvtx([
      eventRecord(
        withFields(
          { name: 'A', value: { type: 'null' }, isOptional: true },
          field('B', { type: 'null' }),
          field('C', 'c'),
        ),
      ),
      eventRecord(withFields({ name: 'A', value: raw(0x00, Buffer.alloc(16)), isOptional: true }, field('C', 'c'))),
    ]);
    const { events } = await readBothWays(log);
    expect(events.map(({ event }) => [...event.data])).toEqual([
      [
        ['B', ''],
        ['C', 'c'],
      ],
      [['C', 'c']],
    ]);
  });

  it('may be any UTF-16, with controls, quotes, pairs and lone surrogates, in its name too', async () => {
    const anyText = fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) });
    const someText = fc.oneof(
      anyText,
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('\u2028', '__proto__', '\ud83d\ude00'),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(someText, someText), { selector: ([name]) => name, maxLength: 6 }),
        async (pairs) => {
          const fields = pairs.map(([name, value]) => field(name, value));
          const { events } = await readBothWays(writeEvtx([eventRecord(withFields(...fields))]));
          const trim = (value: string): string => value.replace(/\0+$/, '');
          const expected = new Map<string, string>();
          for (const [name, value] of pairs) {
            const earlier = expected.get(trim(name));
            expected.set(trim(name), earlier === undefined ? trim(value) : `${earlier}, ${trim(value)}`);
          }
          expect(events[0]?.event.data).toEqual(expected);
          expect(JSON.parse(`${events[0]?.body}}`)).toHaveProperty('EventData');
        },
      ),
      { numRuns: 80 },
    );
  });
});

describe('hashes', () => {
  async function hashesOf(...fields: readonly EvtxField[]): Promise<unknown> {
    const { events } = await readBothWays(writeEvtx([eventRecord(withFields(...fields))]));
    return events[0]?.hashes;
  }

  it.each([
    ['all four', HASHES],
    ['one alone', `SHA256=${SHA256}`],
    ['another order and case', `md5=${MD5}, sha1=${SHA1}`],
    ['a digest too short', `SHA1=${SHA1.slice(1)},MD5=${MD5}`],
    ['a digest that is none', `SHA1=${SHA1.slice(1)}g,MD5=${MD5}`],
    ['one twice', `SHA1=${SHA1},SHA1=${'a'.repeat(40)}`],
    ['a comma at the end', `SHA1=${SHA1},`],
    ['an unknown algorithm', `SHA1=${SHA1},SHA512=${'a'.repeat(128)}`],
    ['IMPHASH only', `IMPHASH=${MD5}`],
    ['a dash', '-'],
    ['nothing', ''],
    ['a NUL behind it', `${HASHES}\0`],
    ['letters that are not ASCII', `SHA1=${SHA1.slice(1)}\u0130`],
  ])('of a list with %s are those parseHashes finds', async (_, list) => {
    expect(await hashesOf(field('Hashes', list))).toEqual(parseHashes(list.replace(/\0+$/, '')));
  });

  it('of any list are those parseHashes finds', async () => {
    const digest = fc.constantFrom(SHA1, MD5, SHA256, SHA1.toUpperCase(), MD5.slice(2), `${SHA1}0`);
    const part = fc
      .tuple(fc.constantFrom('SHA1', 'MD5', 'SHA256', 'IMPHASH', 'sha-1'), digest)
      .map((pair) => pair.join('='));
    const list = fc.array(part, { maxLength: 5 }).map((parts) => parts.join(','));
    await fc.assert(
      fc.asyncProperty(list, async (hashes) => {
        expect(await hashesOf(field('Hashes', hashes))).toEqual(parseHashes(hashes));
      }),
      { numRuns: 100 },
    );
  });

  it('that differ in one digit are told apart', async () => {
    const lists = Array.from({ length: 40 }, (_, at) => `SHA1=${SHA1.slice(0, at)}f${SHA1.slice(at + 1)}`);
    const { events } = await readBothWays(
      writeEvtx(lists.map((list) => eventRecord(withFields(field('Hashes', list))))),
    );
    expect(events.map(({ hashes }) => hashes)).toEqual(lists.map(parseHashes));
  });

  it('may stand in Hash, as in event 15', async () => {
    expect(await hashesOf(field('Hash', `SHA1=${SHA1}`))).toEqual({ sha1: SHA1 });
    expect(await hashesOf(field('Hash', 'Unknown'))).toEqual({});
  });

  it('may be one bare digest with its type, as Sysmon 1.x wrote it', async () => {
    expect(await hashesOf(field('HashType', 'SHA1'), field('Hash', SHA1.toUpperCase()))).toEqual({ sha1: SHA1 });
    expect(await hashesOf(field('HashType', 'IMPHASH'), field('Hash', MD5))).toEqual({});
    expect(await hashesOf(field('Hash', MD5))).toEqual({ md5: MD5 });
  });

  it('are never taken from other fields', async () => {
    expect(
      await hashesOf(field('CommandLine', `SHA1=${SHA1}`), field('ConfigurationFileHash', `SHA1=${SHA1}`)),
    ).toEqual({});
  });
});
