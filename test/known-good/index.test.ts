import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { type KnownFiles, openKnownBad, openKnownGood } from '../../src/known-good/index.js';

let folder: string;
let opened: KnownFiles[];
let notes: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-known-'));
  opened = [];
  notes = [];
});
afterEach(async () => {
  for (const known of opened) known.close();
  await rm(folder, { recursive: true, force: true });
});

const indexFolder = (): string => join(folder, 'indexes');

async function open(...paths: readonly string[]): Promise<KnownFiles> {
  const known = await openKnownGood(paths, { indexFolder: indexFolder(), onNote: (note) => notes.push(note) });
  opened.push(known);
  return known;
}

async function put(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

describe('a hash list', () => {
  it.each<[form: string, content: string | Uint8Array]>([
    ['bare lines', `${sha1('a')}\n${sha256('b')}\n${md5('c')}\n`],
    [
      'upper case, comments, blank lines, CRLF',
      `# ours\r\n\r\n${sha1('a').toUpperCase()}\r\n// more\r\n${sha256('b')}\r\n${md5('c')}`,
    ],
    ['sha1sum', `${sha1('a')}  a file.exe\n${sha256('b')} *b.exe\n\\${md5('c')}  back\\\\slash\n`],
    ['--tag', `SHA1 (a (1).txt) = ${sha1('a')}\nSHA256 (b) = ${sha256('b')}\nMD5 (c) = ${md5('c')}\n`],
    [
      'Get-FileHash | Export-Csv',
      `#TYPE Microsoft.PowerShell\r\n"Algorithm","Hash","Path"\r\n"SHA1","${sha1('a').toUpperCase()}","C:\\a, b.exe"\r\n"SHA256","${sha256('b')}","C:\\b"\r\n"MD5","${md5('c')}","C:\\c"\r\n`,
    ],
    ['CSV with a header', `name;sha1;imphash\na;${sha1('a')};${md5('no')}\nb;${sha256('b')};\nc;${md5('c')};\n`],
    ['CSV without one', `${sha1('a')},a.exe\n${sha256('b')},b.exe\n${md5('c')},c.exe\n`],
    [
      'certutil',
      `SHA1 hash of a.exe:\r\n${sha1('a')}\r\nCertUtil: -hashfile command completed successfully.\r\n${sha256('b')}\r\n${md5('c').replace(/(..)(?!$)/g, '$1 ')}\r\n`,
    ],
    ["Sysmon's own", `SHA1=${sha1('a')},SHA256=${sha256('b')},MD5=${md5('c')},IMPHASH=${md5('no')}\n`],
    ['UTF-16 with a mark', Buffer.from(`\ufeff${sha1('a')}\r\n${sha256('b')}\r\n${md5('c')}\r\n`, 'utf16le')],
    ['gzip', gzipSync(`${sha1('a')}\n${sha256('b')}\n${md5('c')}\n`)],
    [
      'a MISP warninglist',
      JSON.stringify({ name: 'x', type: 'string', list: [sha1('a'), `b.exe|${sha256('b')}`, md5('c'), '3::'] }),
    ],
  ])('is read from %s', async (_form, content) => {
    const known = await open(await put('ours.txt', content));
    expect(known.find({ sha1: sha1('a') })).toEqual({ source: 'ours.txt', isFinal: true, isProbable: false });
    expect(known.find({ sha256: sha256('b') })?.source).toBe('ours.txt');
    expect(known.find({ md5: md5('c') })?.source).toBe('ours.txt');
    expect(known.find({ sha1: sha1('absent'), sha256: sha256('absent'), md5: md5('no') })).toBeUndefined();
  });

  it.each<[what: string, content: string | Uint8Array, message: RegExp]>([
    ['a line without a hash', `${sha1('a')}\nnotepad.exe\n`, /line 2 holds no/],
    ['half a hash', `${sha1('a').slice(1)}\n`, /line 1 holds no/],
    ['a hash inside a longer number', `${sha1('a')}${'0'.repeat(8)}\n`, /line 1 holds no/],
    ['a web page', '<!DOCTYPE html><html></html>', /line 1 holds no/],
    ['bytes', Buffer.from([0x4d, 0x5a, 0, 0, 0xff]), /line 1 holds no/],
    ['a CSV row without its hash', `name,sha1\na,${sha1('a')}\nb,\n`, /line 3 holds no/],
    ['nothing', '', /without any hash/],
    ['comments only', '# nothing yet\n', /without any hash/],
    ['JSON of another kind', '{"hashes":[]}', /no MISP warninglist/],
    ['damaged JSON', '{"list":[', /begins like JSON/],
    ['a warninglist of names', JSON.stringify({ list: ['example.com'] }), /without any hash/],
    ['an endless line', 'a'.repeat(400_000), /line 1 holds no/],
    ['a zip archive', Buffer.from('PK\x03\x04rest', 'latin1'), /unpack it first/],
    ['an NSRL delta', 'BEGIN TRANSACTION;\nINSERT INTO FILE(sha256) VALUES();\n', /delta/],
    ['a damaged gzip', gzipSync('x'.repeat(1000)).subarray(0, 20), /damaged gzip/],
  ])('is not made of %s', async (_what, content, message) => {
    const error = await open(await put('ours.txt', content)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toMatch(message);
  });

  it('that is not there is named', async () => {
    await expect(open(join(folder, 'missing.txt'))).rejects.toThrow(/KNOWN_GOOD.*missing\.txt/);
  });

  it('finds each of many, and none else', async () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `file ${index}`);
    const known = await open(await put('many.txt', names.map(sha1).join('\n')));
    expect(names.filter((name) => known.find({ sha1: sha1(name) }) === undefined)).toEqual([]);
    expect(names.filter((name) => known.find({ sha1: sha1(`not ${name}`) }) !== undefined)).toEqual([]);
  });

  it('finds digests that share their beginning', async () => {
    const crowd = Array.from({ length: 3000 }, (_, index) => `abcdef${index.toString(16).padStart(34, '0')}`);
    const listed = crowd.filter((_, index) => index % 2 === 0);
    const spread = crowd.map((digest) => `${digest.slice(0, 6)}${digest.slice(30)}${digest.slice(6, 30)}`);
    const known = await open(await put('crowd.txt', [...listed, ...spread, ...listed].join('\n')));
    for (const digest of spread) expect(known.find({ sha1: digest })).toBeDefined();
  });
});

/** DCSO's filter written anew from the description of its format, apart from the reader: numbers as decimal strings to BigInt. */
function bloomOf(keys: readonly string[], { n, p }: { readonly n: number; readonly p: number }): Buffer {
  const m = Math.floor((n * Math.abs(Math.log(p))) / Math.LN2 ** 2);
  const k = Math.ceil((Math.LN2 * m) / n);
  const words = new BigUint64Array(Math.ceil(m / 64));
  for (const key of keys) {
    let h = BigInt('14695981039346656037');
    for (const byte of Buffer.from(key, 'ascii')) h = BigInt.asUintN(64, h * BigInt('1099511628211')) ^ BigInt(byte);
    const big = BigInt(2) ** BigInt(64) - BigInt(59);
    h %= big;
    for (let turn = 0; turn < k; turn++) {
      h = BigInt.asUintN(64, h * BigInt('18446744073709550147')) % big;
      const bit = Number(h % BigInt(m));
      words[Math.floor(bit / 64)] = (words[Math.floor(bit / 64)] ?? 0n) | (1n << BigInt(bit % 64));
    }
  }
  const head = new DataView(new ArrayBuffer(48));
  head.setBigUint64(0, 1n, true);
  head.setBigUint64(8, BigInt(n), true);
  head.setFloat64(16, p, true);
  head.setBigUint64(24, BigInt(k), true);
  head.setBigUint64(32, BigInt(m), true);
  head.setBigUint64(40, BigInt(keys.length), true);
  const bits = Buffer.alloc(words.length * 8);
  for (const [index, word] of words.entries()) bits.writeBigUInt64LE(word, index * 8);
  return Buffer.concat([Buffer.from(head.buffer), bits]);
}

const HASHLOOKUP_PROBE = '6F1C170761C212EFD5004DF7FB36CEAF9FB053F7';

describe('a Bloom filter', () => {
  // From the format's description: written by flor (Python) and read back by Go's bloom.
  const FLOR_HEX =
    '01000000000000000a000000000000007b14ae47e17a843f07000000000000005f0000000000000003000000000000000204408a1c024000a158000100000000';
  const FLOR_DATA_HEX =
    '01000000000000000400000000000000fca9f1d24d62503f0a00000000000000390000000000000002000000000000001002600a00e16201686173686c6f6f6b75702d746573740a';
  const FLOR_GZIP_BASE64 = 'H4sIAAAAAAACA2NkgAAWKP1n5cdLvkkB9lxQviWUZoLSAkwJXAwPkxgzEoszcvLzs0sLdEtSi0u4ANtmrmpIAAAA';

  it('of another program answers for upper-case SHA1s', async () => {
    const known = await open(await put('flor.bloom', Buffer.from(FLOR_HEX, 'hex')));
    for (const digest of [
      '27c9be13b2f583309f95abb2fafe3fbd5a7c83ae',
      'cc91cd270691ad02f6ffabdfb5a3c436835afee5',
      'ef617f2bb9d2cfd3706aec8e9cef32c6af165feb',
    ]) {
      expect(known.find({ sha1: digest })).toEqual({ source: 'flor.bloom', isFinal: false, isProbable: true });
    }
    expect(known.find({ sha1: 'da39a3ee5e6b4b0d3255bfef95601890afd80709' })).toBeUndefined();
    expect(known.find({ md5: '27c9be13b2f583309f95abb2fafe3fbd' })).toBeUndefined();
  });

  it('with free data, plain or gzipped, is known for what it is', async () => {
    for (const bytes of [Buffer.from(FLOR_DATA_HEX, 'hex'), Buffer.from(FLOR_GZIP_BASE64, 'base64')]) {
      const known = await open(await put('full.bloom', bytes));
      expect(known.find({ sha1: HASHLOOKUP_PROBE.toLowerCase() })?.source).toBe('hashlookup');
      expect(known.find({ sha1: '27c9be13b2f583309f95abb2fafe3fbd5a7c83ae' })).toBeUndefined();
    }
  });

  it('holds all that was added and hardly anything else', async () => {
    const keys = Array.from({ length: 2000 }, (_, index) => sha1(`known ${index}`));
    const path = await put(
      'ours.bloom',
      bloomOf(
        keys.map((key) => key.toUpperCase()),
        { n: 2000, p: 0.001 },
      ),
    );
    const known = await open(path);
    expect(keys.filter((digest) => known.find({ sha1: digest }) === undefined)).toEqual([]);
    const mistaken = keys.filter((_, index) => known.find({ sha1: sha1(`other ${index}`) }) !== undefined);
    expect(mistaken.length).toBeLessThan(15);
  });

  const changed = (offset: number, value: bigint): Buffer => {
    const bytes = Buffer.from(FLOR_HEX, 'hex');
    bytes.writeBigUInt64LE(value, offset);
    return bytes;
  };

  it.each<[what: string, bytes: Buffer, message: RegExp]>([
    ["in Poppy's format 2", Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(100)]), /Poppy/],
    ['cut in its header', Buffer.from(FLOR_HEX, 'hex').subarray(0, 40), /shorter than its header/],
    ['cut in its bits', Buffer.from(FLOR_HEX, 'hex').subarray(0, 63), /should have 64/],
    ['without bits', changed(32, 0n), /makes no sense/],
    ['with endless bits', changed(32, 2n ** 63n), /makes no sense/],
    ['with endless indices', changed(24, 2n ** 63n), /makes no sense/],
    ['with more bits than bytes', changed(32, 10_000n), /should have/],
    [
      'that unpacks to more than its header says',
      gzipSync(Buffer.concat([Buffer.from(FLOR_HEX, 'hex'), Buffer.alloc(3 * 1024 * 1024)])),
      /more than its header says/,
    ],
  ])('%s is refused', async (_what, bytes, message) => {
    const error = await open(await put('bad.bloom', bytes)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toMatch(message);
  });
});

describe("NSRL's text file", () => {
  const HEADER = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"';
  const row = (name: string, special = '', md5Cell = `"${md5(name).toUpperCase()}"`): string =>
    `"${sha1(name).toUpperCase()}",${md5Cell},"FFFFFFFF","${name}",4109,11063,"358","${special}"`;
  const file = (...rows: readonly string[]): string => [HEADER, ...rows, ''].join('\r\n');

  it('answers by SHA1 and MD5, as known and not as good', async () => {
    const known = await open(await put('NSRLFile.txt', file(row('a, "b".exe'), row('zlib.dll'))));
    expect(known.find({ sha1: sha1('a, "b".exe') })).toEqual({ source: 'nsrl', isFinal: false, isProbable: false });
    expect(known.find({ md5: md5('zlib.dll') })?.source).toBe('nsrl');
    expect(known.find({ sha1: sha1('c') })).toBeUndefined();
  });

  it('does not vouch for what it marks as malicious', async () => {
    const known = await open(await put('NSRLFile.txt', file(row('good'), row('bad', 'M'))));
    expect(known.find({ sha1: sha1('bad') })).toBeUndefined();
    expect(known.find({ sha1: sha1('good') })).toBeDefined();
  });

  it('is read where a conversion left the MD5 out', async () => {
    const known = await open(await put('NSRLFile.txt', file(row('a', '', '""'), row('b', '', `"${'0'.repeat(32)}"`))));
    expect(known.find({ sha1: sha1('a') })).toBeDefined();
    expect(known.find({ sha1: sha1('b') })).toBeDefined();
    expect(known.find({ md5: '0'.repeat(32) })).toBeUndefined();
  });

  it('is indexed once, and again when it has changed', async () => {
    const path = await put('NSRLFile.txt', file(row('a')));
    (await open(path)).close();
    opened = [];
    await open(path);
    expect(notes).toHaveLength(1);

    await writeFile(path, file(row('a'), row('b')));
    await utimes(path, new Date(), new Date(Date.UTC(2030, 0, 1)));
    const known = await open(path);
    expect(notes).toHaveLength(2);
    expect(known.find({ sha1: sha1('b') })).toBeDefined();
    expect(await readdir(indexFolder())).toHaveLength(1);
  });

  it('is indexed anew where the index was cut', async () => {
    const path = await put('NSRLFile.txt', file(row('a'), row('b')));
    (await open(path)).close();
    opened = [];
    const index = join(indexFolder(), (await readdir(indexFolder()))[0] ?? '');
    await truncate(index, (await stat(index)).size - 1);
    const known = await open(path);
    expect(known.find({ sha1: sha1('a') })).toBeDefined();
    expect(known.find({ sha1: sha1('b') })).toBeDefined();
    expect(notes).toHaveLength(2);
  });

  it('of many rows is read across the borders of its chunks', async () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `${index} ${'x'.repeat(index % 90)}`);
    const known = await open(await put('NSRLFile.txt', file(...names.map((name) => row(name)))));
    expect(names.filter((name) => known.find({ sha1: sha1(name) }) === undefined)).toEqual([]);
    expect(known.find({ sha1: sha1('x') })).toBeUndefined();
  });

  it.each([
    ['another order of columns', `"SHA-1","FileName","FileSize"\r\n`, /other columns/],
    ['no rows', `${HEADER}\r\n`, /without rows/],
    ['a row without quotes', file(`${sha1('a')},${md5('a')}`), /line 2 is no row/],
    ['a row cut in the middle', file(row('a'), row('b').slice(0, 60)), /line 3 is no row/],
    ['a digest that is none', file(row('a').replace(/^"../, '"zz')), /line 2 is no row/],
  ])('is refused with %s', async (_what, content, message) => {
    const error = await open(await put('NSRLFile.txt', content)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toMatch(message);
    expect(await readdir(indexFolder()).catch(() => [])).toEqual([]);
  });
});

interface Database {
  exec(sql: string): void;
  close(): void;
}

async function loadSqlite(): Promise<(new (path: string) => Database) | undefined> {
  const name = 'node:sqlite';
  try {
    return ((await import(name)) as { readonly DatabaseSync: new (path: string) => Database }).DatabaseSync;
  } catch {
    return undefined;
  }
}

const DatabaseSync = await loadSqlite();

describe("NSRL's database", () => {
  const SQLITE_HEAD = Buffer.concat([Buffer.from('SQLite format 3\0', 'latin1'), Buffer.alloc(84)]);

  if (DatabaseSync === undefined) {
    it('says what it needs where Node has no SQLite', async () => {
      const error = await open(await put('RDS.db', SQLITE_HEAD)).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UsageError);
      expect((error as UsageError).code).toBe('UNSUPPORTED');
      expect((error as Error).message).toMatch(/needs Node 22\.13.*sqlite3 RDS\.db/);
    });
  }

  const make = (...statements: readonly string[]): string => {
    const path = join(folder, 'RDS.db');
    if (DatabaseSync === undefined) throw new Error('no SQLite');
    const database = new DatabaseSync(path);
    for (const statement of statements) database.exec(statement);
    database.close();
    return path;
  };

  if (DatabaseSync !== undefined) {
    it('answers by all three digests, from the minimal and the full form', async () => {
      const values = (name: string): string =>
        `('${sha256(name).toUpperCase()}','${sha1(name).toUpperCase()}','${md5(name).toUpperCase()}'`;
      for (const statements of [
        [
          'CREATE TABLE FILE (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL, crc32 VARCHAR NOT NULL, file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL, package_id INTEGER NOT NULL, PRIMARY KEY (sha256, sha1, md5, crc32, file_name, file_size, package_id))',
          `INSERT INTO FILE VALUES ${values('a')},'FFFFFFFF','a',1,1),${values('a')},'FFFFFFFF','a',1,2)`,
        ],
        [
          'CREATE TABLE METADATA (sha256 VARCHAR, sha1 VARCHAR, md5 VARCHAR)',
          `INSERT INTO METADATA VALUES ${values('a').toLowerCase()})`,
          'CREATE VIEW FILE AS SELECT UPPER(sha256) AS sha256, UPPER(sha1) AS sha1, UPPER(md5) AS md5 FROM METADATA',
        ],
      ]) {
        const known = await open(make(...statements));
        for (const hashes of [{ sha1: sha1('a') }, { sha256: sha256('a') }, { md5: md5('a') }]) {
          expect(known.find(hashes)).toEqual({ source: 'nsrl', isFinal: false, isProbable: false });
        }
        expect(known.find({ sha1: sha1('b') })).toBeUndefined();
        await rm(join(folder, 'RDS.db'));
      }
    });
  }

  it.each(
    DatabaseSync === undefined
      ? []
      : [
          ['another database', ['CREATE TABLE other (x)']],
          ['no rows', ['CREATE TABLE FILE (sha256, sha1, md5)']],
          [
            'rows of something else',
            ['CREATE TABLE FILE (sha256, sha1, md5)', "INSERT INTO FILE VALUES ('a','b','c')"],
          ],
        ],
  )('is refused with %s', async (_what, statements) => {
    await expect(open(make(...statements))).rejects.toThrow(/no NSRL RDS/);
  });
});

describe('several lists', () => {
  it("answer with the user's own word first, then with what is certain", async () => {
    const bloom = await put(
      'b.bloom',
      bloomOf([sha1('a').toUpperCase(), sha1('b').toUpperCase()], { n: 10, p: 0.001 }),
    );
    const nsrl = await put(
      'NSRLFile.txt',
      `"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"\n"${sha1('b')}","","0","b",1,1,"1",""\n"${sha1('a')}","","0","a",1,1,"1",""\n`,
    );
    const own = await put('own.txt', sha1('a'));
    const known = await open(bloom, nsrl, own);
    expect(known.find({ sha1: sha1('a') })?.source).toBe('own.txt');
    expect(known.find({ sha1: sha1('b') })?.source).toBe('nsrl');
  });

  it('of none know nothing', async () => {
    expect((await open()).find({ sha1: sha1('a') })).toBeUndefined();
  });
});

describe('files known to be bad', () => {
  it('are given as lists of hashes', async () => {
    const known = await openKnownBad([await put('bad.txt', sha1('a'))]);
    opened.push(known);
    expect(known.find({ sha1: sha1('a') })?.source).toBe('bad.txt');
  });

  it('are not taken from catalogues of known files', async () => {
    const bloom = await put('b.bloom', bloomOf([sha1('a').toUpperCase()], { n: 10, p: 0.001 }));
    await expect(openKnownBad([bloom])).rejects.toThrow(/this is a Bloom filter/);
  });
});
