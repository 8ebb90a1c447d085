import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LogError } from '../../../src/errors.js';
import { streamByteReader } from '../../../src/sources/byte-reader.js';
import {
  type ContainerFormat,
  type ContainerLimits,
  DEFAULT_LIMITS,
  detectContainer,
  InflationBudget,
  openMembers,
} from '../../../src/sources/containers.js';
import { paxHeader, tarArchive, zipArchive } from './archives.js';
import { BZIP2, LOG, XZ, XZ_BCJ, XZ_CRC32, XZ_SHA256, ZSTD, ZSTD_NO_CHECKSUM } from './packed-logs.js';

/** A member as text: `name: content`, or `name! CODE`. */
type Listed = readonly string[];

interface UnpackOptions {
  readonly chunkBytes?: number;
  readonly targetBytes?: number;
  readonly path?: string;
  readonly limits?: Partial<ContainerLimits>;
  readonly budget?: InflationBudget;
}

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'containers-test-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
  vi.unstubAllEnvs();
});

async function* inChunks(bytes: Buffer, chunkBytes: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += chunkBytes) yield bytes.subarray(start, start + chunkBytes);
}

async function unpack(bytes: Buffer, options: UnpackOptions = {}): Promise<Listed> {
  const { chunkBytes = 1000, targetBytes = 999, path, budget } = options;
  const format = detectContainer(bytes.subarray(0, 512));
  if (format === undefined) throw new Error('no container');
  const log = { ...(path === undefined ? {} : { path }), ...(budget === undefined ? {} : { budget }) };
  const listed: string[] = [];
  const reader = streamByteReader(inChunks(bytes, chunkBytes));
  for await (const member of openMembers(format, reader, log, { ...DEFAULT_LIMITS, ...options.limits })) {
    if ('failure' in member) {
      expect(member.failure).toBeInstanceOf(LogError);
      listed.push(`${member.name}! ${member.failure.code}`);
      continue;
    }
    const parts: Buffer[] = [];
    for (;;) {
      const part = Buffer.alloc(targetBytes);
      const length = await member.reader.read(part);
      parts.push(part.subarray(0, length));
      if (length < targetBytes) break;
    }
    listed.push(`${member.name}: ${Buffer.concat(parts).toString('latin1')}`);
  }
  return listed;
}

function flip(bytes: Buffer, at: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ 0x55;
  return flipped;
}

const WHOLE = `: ${LOG.toString('latin1')}`;
const GZIP = gzipSync(LOG);

const COMPRESSED: readonly (readonly [ContainerFormat, Buffer])[] = [
  ['gzip', GZIP],
  ['bzip2', BZIP2],
  ['xz', XZ],
  ['xz', XZ_SHA256],
  ['xz', XZ_CRC32],
  ['zstd', ZSTD],
  ['zstd', ZSTD_NO_CHECKSUM],
];

describe.each(COMPRESSED)('%s data', (format, packed) => {
  test('are known by their first bytes and unpacked', async () => {
    expect(detectContainer(packed.subarray(0, 512))).toBe(format);
    expect(await unpack(packed)).toEqual([WHOLE]);
  });

  test('may consist of several one after another', async () => {
    expect(await unpack(Buffer.concat([packed, packed, packed]))).toEqual([`: ${LOG.toString('latin1').repeat(3)}`]);
  });

  test('may be followed by garbage', async () => {
    for (const garbage of ['\n', '\0\0\0\0', 'some text behind the end of the data']) {
      expect(await unpack(Buffer.concat([packed, Buffer.from(garbage)])), JSON.stringify(garbage)).toEqual([WHOLE]);
    }
  });

  test('are unpacked the same however they arrive and are read', async () => {
    for (const [chunkBytes, targetBytes] of [
      [1, 3],
      [7, 100_000],
      [100_000, 1],
    ] as const) {
      expect(await unpack(packed, { chunkBytes, targetBytes })).toEqual([WHOLE]);
    }
  });

  test('that are cut give what was decoded and say so', async () => {
    for (let end = 12; end < packed.length; end += 5) {
      const [content = '', failure, ...others] = await unpack(packed.subarray(0, end));
      expect(WHOLE.startsWith(content), `cut at ${end}`).toBe(true);
      expect([failure, ...others], `cut at ${end}`).toEqual(['! TRUNCATED']);
    }
  });

  test('with any bit wrong give only our errors, and never silently other data where there is a checksum', async () => {
    const hasChecksum = packed !== ZSTD_NO_CHECKSUM;
    let wrongChecksums = 0;
    for (let at = 10; at < packed.length; at += 3) {
      const [content, failure] = await unpack(flip(packed, at));
      if (content === WHOLE && failure === '! CHECKSUM') wrongChecksums += 1;
      if (!hasChecksum || content === WHOLE) continue;
      expect(failure, `flipped at ${at}`).toMatch(/^! (?:CORRUPT|CHECKSUM|TRUNCATED|UNSUPPORTED)$/);
    }
    expect(wrongChecksums > 0).toBe(hasChecksum);
  });

  test('need not be read to the end', async () => {
    for await (const member of openMembers(format, streamByteReader(inChunks(packed, 100)), {}, DEFAULT_LIMITS)) {
      expect('reader' in member && (await member.reader.read(Buffer.alloc(10)))).toBe(10);
      break;
    }
  });
});

describe('gzip data', () => {
  test('lose nothing before and behind a wrong checksum', async () => {
    const wrong = flip(GZIP, GZIP.length - 6);
    expect(await unpack(wrong)).toEqual([WHOLE, '! CHECKSUM']);
    expect(await unpack(Buffer.concat([wrong, gzipSync('and more')]))).toEqual([`${WHOLE}and more`, '! CHECKSUM']);
  });

  test('may carry a name, a comment and an extra field', async () => {
    const header = Buffer.from([0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, 1, 2, 0x61, 0, 0x62, 0, 9, 9]);
    expect(await unpack(Buffer.concat([header, GZIP.subarray(10)]))).toEqual([WHOLE]);
  });

  test('of random contents are unpacked whatever their size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200_000, size: 'max' }), async (content) => {
        expect(await unpack(gzipSync(content), { chunkBytes: 4096 })).toEqual([
          `: ${Buffer.from(content).toString('latin1')}`,
        ]);
      }),
      { numRuns: 10 },
    );
  });
});

describe('bombs', () => {
  const BOMB = gzipSync(Buffer.alloc(40 * 1024 * 1024));

  test('end at the limit of the ratio', async () => {
    const [content = '', failure] = await unpack(BOMB, { targetBytes: 1 << 20 });
    expect(content.length).toBeLessThan(20 * 1024 * 1024);
    expect(failure).toBe('! TOO_LARGE');
  });

  test('end at the limit of all that one log unpacks to, over all its members', async () => {
    const limits = { maxInflatedBytes: 3 * LOG.length };
    const content = LOG;
    const archive = zipArchive(['a', 'b', 'c', 'd'].map((name) => ({ name, content })));
    const listed = await unpack(archive, { limits, path: saved(archive) });
    expect(listed.slice(0, 3)).toEqual(['a', 'b', 'c'].map((name) => `${name}${WHOLE}`));
    expect(listed.slice(3)).toEqual(['d: ', 'd! TOO_LARGE']);
  });

  test('share the limit where containers within one log share its budget', async () => {
    const budget = new InflationBudget({ ...DEFAULT_LIMITS, maxInflatedBytes: LOG.length });
    expect(await unpack(GZIP, { budget })).toEqual([WHOLE]);
    expect(await unpack(GZIP, { budget })).toEqual([': ', '! TOO_LARGE']);
  });
});

describe('xz and zstd data that need what is not there', () => {
  test('say so: filters for programs', async () => {
    expect(await unpack(XZ_BCJ)).toEqual([': ', '! UNSUPPORTED']);
  });

  test('say so: a window of gigabytes, a dictionary', async () => {
    const wide = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0]);
    const withDictionary = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7, 1, 0, 0]);
    expect(await unpack(wide)).toEqual([': ', '! UNSUPPORTED']);
    expect(await unpack(withDictionary)).toEqual([': ', '! UNSUPPORTED']);
  });

  test('frames that are to be skipped are skipped', async () => {
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    expect(await unpack(Buffer.concat([skippable, ZSTD, skippable, ZSTD]))).toEqual([
      `${WHOLE}${LOG.toString('latin1')}`,
    ]);
  });
});

function saved(archive: Buffer): string {
  const path = join(folder, 'archive');
  writeFileSync(path, archive);
  return path;
}

function text(content: string): Buffer {
  return Buffer.from(content);
}

describe('a zip archive', () => {
  const unpackFile = (archive: Buffer): Promise<Listed> => unpack(archive, { path: saved(archive) });

  test('gives its files in order, stored and deflated, with data descriptors and 64-bit sizes', async () => {
    const archive = zipArchive([
      { name: 'host\\a.log', content: text('a') },
      { name: 'host/', content: text(''), isStored: true },
      { name: 'b.log', content: text('b'), isStored: true },
      { name: 'c.log', content: LOG, hasDataDescriptor: true },
      { name: 'd.log', content: text('d'), isZip64: true },
      { name: 'empty', content: text('') },
    ]);
    expect(await unpackFile(archive)).toEqual(['host/a.log: a', 'b.log: b', `c.log${WHOLE}`, 'd.log: d', 'empty: ']);
  });

  test('may have bytes behind its end and a program before its start', async () => {
    const archive = zipArchive([{ name: 'a', content: LOG }]);
    expect(await unpackFile(Buffer.concat([archive, text('\n')]))).toEqual([`a${WHOLE}`]);
    const withProgram = Buffer.concat([Buffer.from([0x50, 0x4b, 3, 4]), Buffer.alloc(5000), archive]);
    expect(await unpackFile(withProgram)).toEqual([`a${WHOLE}`]);
  });

  test('within a stream is copied to a private file that is gone afterwards', async () => {
    vi.stubEnv('TMPDIR', folder);
    const archive = zipArchive([{ name: 'a', content: LOG }]);
    expect(await unpack(archive)).toEqual([`a${WHOLE}`]);
    expect(readdirSync(folder)).toEqual([]);
    expect(await unpack(archive, { limits: { maxSpooledBytes: 50 } })).toEqual(['! TOO_LARGE']);
    expect(readdirSync(folder)).toEqual([]);
    for await (const _member of openMembers('zip', streamByteReader(inChunks(archive, 100)), {}, DEFAULT_LIMITS)) break;
    expect(readdirSync(folder)).toEqual([]);
  });

  test('hides no encrypted, unknown, misnamed or damaged member, and goes on behind it', async () => {
    const content = text('x');
    const archive = zipArchive([
      { name: 'secret', content, isEncrypted: true },
      { name: 'lzma', content, method: 14 },
      { name: '../../etc/passwd', content },
      { name: '/etc/passwd', content },
      { name: 'C:\\Windows\\a', content },
      { name: 'wrong', content, crc: 1 },
      { name: 'good', content },
    ]);
    expect(await unpackFile(archive)).toEqual([
      'secret! ENCRYPTED',
      'lzma! UNSUPPORTED',
      '../../etc/passwd! UNSUPPORTED',
      '/etc/passwd! UNSUPPORTED',
      'C:/Windows/a! UNSUPPORTED',
      'wrong: x',
      'wrong! CHECKSUM',
      'good: x',
    ]);
  });

  test("leaves macOS's twins out", async () => {
    const content = text('x');
    const archive = zipArchive([
      { name: '__MACOSX/._a', content },
      { name: 'd/._a', content },
      { name: 'd/a', content },
    ]);
    expect(await unpackFile(archive)).toEqual(['d/a: x']);
  });

  test('that is cut, empty or not there is one failure at most', async () => {
    const archive = zipArchive([{ name: 'a', content: LOG }]);
    expect(await unpackFile(archive.subarray(0, archive.length - 30))).toEqual(['! TRUNCATED']);
    expect(await unpackFile(zipArchive([]))).toEqual([]);
    expect(await unpack(archive, { path: join(folder, 'missing') })).toEqual(['! UNREADABLE']);
  });

  test('with any byte changed gives only our errors', async () => {
    const archive = zipArchive([
      { name: 'a', content: LOG, isZip64: true },
      { name: 'b', content: text('b') },
    ]);
    for (let at = 4; at < archive.length; at += 3) await unpackFile(flip(archive, at));
  });
});

describe('a tar archive', () => {
  const LONG_NAME = `${'long/'.repeat(40)}name`;

  test('gives its files; links and folders have no data', async () => {
    const archive = tarArchive([
      { name: './host/', content: text(''), type: '5' },
      { name: './host/a.log', content: LOG },
      { name: 'link', content: text(''), type: '2' },
      { name: 'name', content: text('b'), prefix: 'some/folder' },
      { name: '._name', content: text('c') },
      { name: 'old', content: text(''), type: '\0' },
    ]);
    expect(detectContainer(archive.subarray(0, 512))).toBe('tar');
    expect(await unpack(archive)).toEqual([`host/a.log${WHOLE}`, 'some/folder/name: b', 'old: ']);
  });

  test('gives long names, as GNU and as pax write them', async () => {
    const archive = tarArchive([
      { name: '././@LongLink', content: text(`${LONG_NAME}\0`), type: 'L' },
      { name: 'cut', content: text('a') },
      paxHeader({ mtime: '1', path: LONG_NAME }),
      { name: 'cut', content: text('b') },
      { name: 'short', content: text('c') },
    ]);
    expect(await unpack(archive)).toEqual([`${LONG_NAME}: a`, `${LONG_NAME}: b`, 'short: c']);
  });

  test('goes on behind members that nobody reads, are sparse or named to escape', async () => {
    const archive = tarArchive([
      { name: 'skipped', content: LOG },
      { name: '../escape', content: LOG },
      { name: 'sparse', content: LOG, type: 'S' },
      { name: 'last', content: text('z') },
    ]);
    const names: string[] = [];
    for await (const member of openMembers('tar', streamByteReader(inChunks(archive, 700)), {}, DEFAULT_LIMITS)) {
      names.push('failure' in member ? `${member.name}! ${member.failure.code}` : member.name);
    }
    expect(names).toEqual(['skipped', '../escape! UNSUPPORTED', 'sparse! UNSUPPORTED', 'last']);
  });

  test('that is cut gives what is there and says so', async () => {
    const archive = tarArchive([
      { name: 'a', content: text('a') },
      { name: 'b', content: LOG },
    ]);
    expect(await unpack(archive.subarray(0, 1024 + 512 + 100))).toEqual([
      'a: a',
      `b: ${LOG.toString('latin1').slice(0, 100)}`,
      'b! TRUNCATED',
    ]);
    expect(await unpack(archive.subarray(0, 1024 + 100))).toEqual(['a: a', '! TRUNCATED']);
    expect(await unpack(archive.subarray(0, archive.length - 1024))).toHaveLength(2);
  });

  test('with a damaged header ends there', async () => {
    const archive = tarArchive([
      { name: 'a', content: text('a') },
      { name: 'b', content: text('b') },
    ]);
    expect(await unpack(flip(archive, 1024))).toEqual(['a: a', '! CORRUPT']);
  });

  test.each(['19 path=', 'path=nowhere', '99999', '0 path=a\n', '-3 a\n', '1e1 path=ab\n', '   '])(
    'with the pax record %j comes to an end',
    async (record) => {
      const archive = tarArchive([
        { name: 'PaxHeader', content: text(`${record}${'z'.repeat(20)}`), type: 'x' },
        { name: 'a', content: text('a') },
      ]);
      expect(await unpack(archive)).toHaveLength(1);
    },
  );

  test('with any bytes changed gives only our errors', async () => {
    const archive = tarArchive([paxHeader({ path: 'p' }), { name: 'a', content: LOG }]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: archive.length - 1 }), fc.nat(255), async (at, byte) => {
        const changed = Buffer.from(archive);
        changed[at] = byte;
        if (detectContainer(changed.subarray(0, 512)) === 'tar') await unpack(changed);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a 7z archive', () => {
  const SEVEN_ZIP = Buffer.from([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c, 0, 4]);

  /** Puts a program named 7zz on the PATH that answers `l` and `x` as 7-Zip does. */
  function install(listing: string, contents: string, exitStatus = 0): void {
    writeFileSync(join(folder, 'listing'), listing);
    writeFileSync(join(folder, 'contents'), contents);
    const program = join(folder, '7zz');
    writeFileSync(
      program,
      `#!/bin/sh\ncase "$1" in l) cat "${folder}/listing";; x) cat "${folder}/contents"; echo 'ERROR: Data Error : b' >&2; exit ${exitStatus};; esac\n`,
    );
    chmodSync(program, 0o700);
    vi.stubEnv('PATH', `${folder}:/usr/bin:/bin`);
  }

  const LISTING =
    'Path = host\nSize = 0\nAttributes = D_ drwxr-xr-x\nEncrypted = -\n\n' +
    'Path = host/a.log\nSize = 3\nAttributes = A_\nEncrypted = -\n\n' +
    'Path = ../b\nSize = 2\nAttributes = A_\nEncrypted = -\n\n' +
    'Path = c\nSize = 1\nAttributes = A_\nEncrypted = -\n\n';

  test("is cut from 7-Zip's output by the listed sizes", async () => {
    install(LISTING, 'aaabbc');
    expect(detectContainer(SEVEN_ZIP)).toBe('7z');
    expect(await unpack(SEVEN_ZIP, { path: saved(SEVEN_ZIP) })).toEqual([
      'host/a.log: aaa',
      '../b! UNSUPPORTED',
      'c: c',
    ]);
  });

  test('that turns out damaged or short says so', async () => {
    install(LISTING, 'aaabb', 2);
    expect(await unpack(SEVEN_ZIP, { path: saved(SEVEN_ZIP) })).toEqual([
      'host/a.log: aaa',
      '../b! UNSUPPORTED',
      'c: ',
      'c! TRUNCATED',
      'c! CORRUPT',
    ]);
  });

  test('names its encrypted members', async () => {
    install('Path = a\nSize = 3\nEncrypted = +\n\n', '');
    expect(await unpack(SEVEN_ZIP, { path: saved(SEVEN_ZIP) })).toEqual(['a! ENCRYPTED']);
  });

  test('without 7-Zip on the PATH is not supported, and the message says what to do', async () => {
    vi.stubEnv('PATH', folder);
    for await (const member of openMembers('7z', streamByteReader(inChunks(SEVEN_ZIP, 8)), {}, DEFAULT_LIMITS)) {
      expect('failure' in member && member.failure.message).toBe(
        '7z archives are read with 7-Zip: install 7zz or 7z on the PATH, or unpack the archive first [UNSUPPORTED]',
      );
    }
  });
});

test.each([
  ['an event log', Buffer.from('ElfFile\0')],
  ['text that begins like bzip2', Buffer.from('BZh9 is not a log either')],
  ['JSON', Buffer.from('{}')],
  ['nothing', Buffer.alloc(0)],
])('%s is no container', (_name, head) => {
  expect(detectContainer(head)).toBeUndefined();
});
