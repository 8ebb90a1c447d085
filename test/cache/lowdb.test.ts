import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AnswerCache, openCache } from '../../src/cache/index.js';
import { StorageError } from '../../src/errors.js';
import { thisProcess } from '../../src/storage/lock.js';
import { answer, digestsOfFile } from '../contracts/answers.js';
import { describeCache } from '../contracts/cache.js';
import { type ChildPrograms, compileChildren } from '../storage/child-processes.js';

const PUT = new URL('./put.child.ts', import.meta.url);

describeCache('lowdb', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-cache-'));
  return {
    open: () => openCache(`file:${folder}`),
    isLasting: true,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
});

let folder: string;
let reports: string[];

const open = (): Promise<AnswerCache> => openCache(folder, { onReport: (message) => reports.push(message) });
const filesIn = async (name: string): Promise<string[]> => (await readdir(join(folder, name))).sort();

/** Puts answers about the files with these numbers and closes, so that they are in shards. */
async function fill(...numbers: readonly number[]): Promise<void> {
  const cache = await open();
  for (const number of numbers) await cache.put(answer(digestsOfFile(number), 0));
  await cache.close();
}

async function numbersMissing(numbers: readonly number[]): Promise<number[]> {
  const cache = await open();
  const answers = await cache.getMany(numbers.map((number) => digestsOfFile(number).md5));
  await cache.close();
  return numbers.filter((number) => !answers.has(digestsOfFile(number).md5));
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-cache-'));
  reports = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a large shard', () => {
  /** Spread as real digests are, and all in one shard. */
  const digestsOf = (number: number) => {
    const of = (algorithm: string): string =>
      `123${createHash(algorithm).update(String(number)).digest('hex').slice(3)}`;
    return { sha1: of('sha1'), sha256: of('sha256'), md5: of('md5') };
  };
  const present = Array.from({ length: 400 }, (_, number) => digestsOf(number));
  const absent = Array.from({ length: 100 }, (_, number) => digestsOf(1000 + number));
  const last =
    present
      .map(({ sha1 }) => sha1)
      .sort()
      .at(-1) ?? '';

  beforeEach(async () => {
    const cache = await open();
    await Promise.all(present.map((digests, index) => cache.put(answer(digests, index))));
    await cache.close();
    expect((await stat(join(folder, 'answers', '123.json'))).size).toBeGreaterThan(150_000);
  });

  it('gives each answer whether it is searched for alone or together with others', async () => {
    const cache = await open();
    const together = await cache.getMany(present.map(({ sha1 }) => sha1));
    expect(together.size).toBe(present.length);
    for (const { sha1, md5 } of present) {
      expect(await cache.get(sha1)).toEqual(together.get(sha1));
      expect(await cache.get(md5)).toEqual(together.get(sha1));
    }
    for (const { sha1, md5 } of absent) {
      expect(await cache.get(sha1)).toBeUndefined();
      expect(await cache.get(md5)).toBeUndefined();
    }
    const ends = ['0', 'f'].map((digit) => `123${digit.repeat(37)}`);
    expect((await cache.getMany(ends)).size).toBe(0);
  });

  it('of which an answer is damaged is repaired when that answer is searched for alone', async () => {
    const path = join(folder, 'answers', '123.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(`"${last}":{"status":"found"`, `"${last}":{"status":"clean"`));
    const cache = await open();
    expect(await cache.get(present[0]?.sha1 ?? '')).toBeDefined();
    expect(reports).toEqual([]);
    expect(await cache.get(last)).toBeUndefined();
    expect(reports).toEqual([expect.stringMatching(/123\.json: 1 damaged answers taken out/)]);
    for (const { sha1 } of present) expect((await cache.get(sha1)) === undefined).toBe(sha1 === last);
  });
});

describe('what the lowdb cache leaves on the disk', () => {
  it('is one shard per prefix of a digest, and no journal once it is closed', async () => {
    await fill(0x1234);
    expect(await filesIn('answers')).toEqual(['123.json']);
    expect(await filesIn('journal')).toEqual([]);
    const { sha1, sha256, md5 } = digestsOfFile(0x1234);
    const shard = JSON.parse(await readFile(join(folder, 'answers', '123.json'), 'utf8'));
    expect(Object.keys(shard.answers)).toEqual([sha1]);
    expect(shard.aliases).toEqual({ [sha256]: sha1, [md5]: sha1 });
  });

  it.runIf(process.platform !== 'win32')('is for its owner alone', async () => {
    const cache = await open();
    await cache.put(answer(digestsOfFile(1), 0));
    const modeOf = async (...path: string[]): Promise<number> => (await stat(join(folder, ...path))).mode & 0o777;
    expect(await modeOf('journal')).toBe(0o700);
    expect(await modeOf('journal', (await filesIn('journal'))[0] ?? '')).toBe(0o600);
    await cache.close();
    expect(await modeOf('answers')).toBe(0o700);
    expect(await modeOf('answers', '000.json')).toBe(0o600);
  });

  it('is nothing at all after reading, and reading takes no lock', async () => {
    const cache = await open();
    await cache.get(digestsOfFile(1).sha1);
    await cache.stats();
    await cache.close();
    expect(await readdir(folder)).toEqual([]);
  });

  it('is found by a cache that looked before it was there', async () => {
    const numbers = Array.from({ length: 60 }, (_, number) => number * 0x10);
    const hashes = numbers.map((number) => digestsOfFile(number).sha256);
    const reader = await open();
    for (let first = 0; first < numbers.length; first += 20) {
      expect((await reader.getMany(hashes)).size).toBe(first);
      await fill(...numbers.slice(first, first + 20));
    }
    expect([...(await reader.getMany(hashes)).keys()]).toEqual(hashes);
    await reader.close();
  });

  it('is counted', async () => {
    await fill(1, 0x1000);
    const cache = await open();
    const stats = await cache.stats();
    expect([stats.shards, stats.journals, stats.corruptFiles]).toEqual([2, 0, 0]);
    expect(stats.bytes).toBeGreaterThan(1_000);
    await cache.close();
  });
});

describe('the journal', () => {
  it('names its writer from the moment it is there, so that it is folded wherever a kill hits', async () => {
    const seen: string[] = [];
    const listing = watchEveryTurn(join(folder, 'journal'), (path) => seen.push(readFileSync(path, 'utf8')));
    const cache = await open();
    await cache.put(answer(digestsOfFile(1), 0));
    listing.stop();
    await cache.close();
    expect(seen).not.toEqual([]);
    expect(seen.filter((text) => !text.startsWith(`${JSON.stringify(thisProcess())}\n`))).toEqual([]);
  });

  it('shows an answer to other caches of the folder as soon as it is put', async () => {
    const [writer, reader] = [await open(), await open()];
    for (const minutes of [1, 2, 3]) {
      const put = answer(digestsOfFile(1), minutes);
      await writer.put(put);
      expect(await reader.get(put.hashes.sha256 ?? '')).toEqual(put);
    }
    await writer.close();
    expect((await reader.get(digestsOfFile(1).sha1))?.askedAt).toEqual(answer(digestsOfFile(1), 3).askedAt);
    await reader.close();
  });

  it('is folded while a cache is in use, once it is full', async () => {
    const cache = await open();
    const hashesOf = (number: number): { sha1: string } => ({ sha1: `abc${String(number).padStart(37, '0')}` });
    const numbers = Array.from({ length: 18_000 }, (_, number) => number);
    for (let first = 0; first < numbers.length; first += 1_000) {
      await Promise.all(numbers.slice(first, first + 1_000).map((number) => cache.put(answer(hashesOf(number), 0))));
    }
    await expect.poll(() => filesIn('answers').catch(() => []), { timeout: 10_000 }).toContain('abc.json');
    await expect.poll(() => filesIn('journal'), { timeout: 10_000 }).toHaveLength(1);
    expect((await cache.getMany(numbers.map((number) => hashesOf(number).sha1))).size).toBe(numbers.length);
    await cache.close();
    expect(reports).toEqual([]);
  });

  it('may be folded twice: a kill between the fold and its removal is harmless', async () => {
    const cache = await open();
    await cache.put(answer(digestsOfFile(1), 1));
    await cache.put(answer(digestsOfFile(1), 3, { malicious: 4 }));
    await cp(join(folder, 'journal'), join(folder, 'kept'), { recursive: true });
    await cache.close();
    const shard = await readFile(join(folder, 'answers', '000.json'), 'utf8');
    for (const name of await filesIn('kept')) {
      const [, ...lines] = (await readFile(join(folder, 'kept', name), 'utf8')).split('\n');
      const dead = identityOfEndedProcess();
      await writeFile(join(folder, 'journal', name), [dead, ...lines].join('\n'));
    }
    const next = await open();
    expect((await next.get(digestsOfFile(1).md5))?.report?.counts?.malicious).toBe(4);
    await next.prune(() => false);
    await next.close();
    expect(await filesIn('journal')).toEqual([]);
    expect(await readFile(join(folder, 'answers', '000.json'), 'utf8')).toBe(shard);
  });

  it('is left out where it was cut off, without a word: nobody was told that this answer is kept', async () => {
    const cache = await open();
    await cache.put(answer(digestsOfFile(1), 0));
    await cache.put(answer(digestsOfFile(2), 0));
    const [name = ''] = await filesIn('journal');
    const path = join(folder, 'journal', name);
    const bytes = await readFile(path);
    const cut = join(folder, 'journal', 'cut.jsonl');
    await writeFile(cut, bytes.subarray(0, -20));
    await rm(path);
    const reader = await open();
    expect(await reader.get(digestsOfFile(1).sha1)).toBeDefined();
    expect(await reader.get(digestsOfFile(2).sha1)).toBeUndefined();
    await reader.close();
    await cache.close();
    expect(reports).toEqual([]);
  });

  it.each([
    ['another text', 'not an answer'],
    ['zeros', '\0'.repeat(50)],
    ['half an answer', `{"hashes":{"sha1":"${digestsOfFile(1).sha1}"},"status":"found"`],
  ])('keeps what stands around a line that holds %s, reports that line and is not deleted', async (_, line) => {
    await mkdir(join(folder, 'journal'));
    const kept = await open();
    await kept.put(answer(digestsOfFile(2), 0));
    const [name = ''] = await filesIn('journal');
    const lines = (await readFile(join(folder, 'journal', name), 'utf8')).split('\n');
    lines[0] = identityOfEndedProcess();
    lines.splice(1, 0, line);
    await writeFile(join(folder, 'journal', 'other.jsonl'), lines.join('\n'));
    await rm(join(folder, 'journal', name));
    await kept.close();

    const cache = await open();
    expect(await cache.get(digestsOfFile(1).sha1)).toBeUndefined();
    expect(await cache.get(digestsOfFile(2).sha1)).toBeDefined();
    await cache.prune(() => false);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatch(/other\.jsonl: the line at 0x[0-9a-f]+ is damaged and left out; the file is kept/);
    expect(await filesIn('journal')).toEqual([expect.stringMatching(/^other\.jsonl\.corrupt-/)]);
    expect(await cache.get(digestsOfFile(2).sha1)).toBeDefined();
    await cache.close();
  });
});

describe('a damaged shard', () => {
  const pathOf = (prefix: string): string => join(folder, 'answers', `${prefix}.json`);

  it.each([
    ['empty', () => ''],
    ['cut off', (text: string) => text.slice(0, text.length / 2)],
    ['zeros', (text: string) => '\0'.repeat(text.length)],
    ['no shard', () => '{"records":[]}'],
  ])('that is %s is set aside and reported, and its files can be asked and kept again', async (_, damage) => {
    await fill(0x1230, 0x4560);
    await writeFile(pathOf('123'), damage(await readFile(pathOf('123'), 'utf8')));
    const cache = await open();
    expect(await cache.get(digestsOfFile(0x1230).sha1)).toBeUndefined();
    expect(await cache.get(digestsOfFile(0x4560).sha1)).toBeDefined();
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatch(/123\.json is damaged: set aside as .*123\.json\.corrupt-/);
    expect((await cache.stats()).corruptFiles).toBe(1);
    await cache.close();
    await fill(0x1230);
    expect(await numbersMissing([0x1230, 0x4560])).toEqual([]);
  });

  it('with one bad answer keeps the good ones, and a copy of all', async () => {
    await fill(0x1230, 0x1231, 0x1232);
    const text = await readFile(pathOf('123'), 'utf8');
    const bad = digestsOfFile(0x1231).sha1;
    const damaged = text.replace(`"${bad}":{"status":"found"`, `"${bad}":{"status":"clean"`);
    expect(damaged).not.toBe(text);
    await writeFile(pathOf('123'), damaged);
    const cache = await open();
    expect(await cache.get(bad)).toBeUndefined();
    expect(await cache.get(digestsOfFile(0x1230).md5)).toBeDefined();
    expect(await cache.get(digestsOfFile(0x1232).sha1)).toBeDefined();
    expect(reports).toEqual([
      expect.stringMatching(/123\.json: 1 damaged answers taken out, the others kept; a copy is in /),
    ]);
    const [copy = ''] = (await filesIn('answers')).filter((name) => name.includes('.corrupt-'));
    expect(await readFile(join(folder, 'answers', copy), 'utf8')).toBe(damaged);
    await cache.close();
  });

  it('that another tool has only laid out anew is used as it is', async () => {
    await fill(0x1230);
    const shard = JSON.parse(await readFile(pathOf('123'), 'utf8'));
    await writeFile(pathOf('123'), JSON.stringify({ aliases: shard.aliases, answers: shard.answers }, undefined, 2));
    expect(await numbersMissing([0x1230])).toEqual([]);
    expect(reports).toEqual([]);
  });

  it('never gives another file for the one that was asked for, wherever bytes are changed', async () => {
    await fill(0x1230, 0x1231, 0x1232);
    const whole = await readFile(pathOf('123'));
    const digests = [0x1230, 0x1231, 0x1232].flatMap((number) => Object.values(digestsOfFile(number)));
    const anyDamage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(anyDamage, async (changes) => {
        const bytes = Buffer.from(whole);
        for (const [offset, byte] of changes) bytes[offset] = byte;
        await writeFile(pathOf('123'), bytes);
        const cache = await open();
        for (const [digest, lookup] of await cache.getMany(digests)) {
          expect(Object.values(lookup.hashes)).toContain(digest);
        }
        await cache.put(answer(digestsOfFile(0x1233), 0));
        await cache.close();
        const next = await open();
        expect(await next.get(digestsOfFile(0x1233).md5)).toBeDefined();
        await next.close();
      }),
      { numRuns: 40 },
    );
  });

  it('cannot be forged by what strangers write into a file report', async () => {
    const [wanted, other] = [digestsOfFile(0x1230), digestsOfFile(0x1231)];
    const put = answer(other, 0);
    const { report } = put;
    if (report === undefined) throw new Error('the answer has a report');
    const forged = JSON.stringify({ [wanted.sha1]: { status: 'found' }, [wanted.md5]: wanted.sha1 });
    const names = [forged, forged.slice(1), `${forged.slice(2)},"`, `\\"${forged}`];
    const cache = await open();
    await cache.put({ ...put, report: { ...report, names } });
    await cache.close();
    const next = await open();
    for (const digest of Object.values(wanted)) expect(await next.get(digest)).toBeUndefined();
    expect((await next.get(other.sha256))?.report?.names).toEqual(names);
    await next.close();
    expect(reports).toEqual([]);
  });
});

describe('a cache folder that cannot be used', () => {
  it('fails a put with the path and the next step', async () => {
    await rm(folder, { recursive: true });
    await writeFile(folder, 'a file in the way');
    const cache = await open();
    await expect(cache.put(answer(digestsOfFile(1), 0))).rejects.toThrow(StorageError);
    await expect(cache.put(answer(digestsOfFile(1), 0))).rejects.toThrow(
      /journal: cannot keep an answer: .*choose another folder \[CACHE\]/,
    );
    await expect(cache.get(digestsOfFile(1).sha1)).rejects.toThrow(StorageError);
  });

  it('takes no answers once it is closed', async () => {
    const cache = await open();
    await cache.close();
    await cache.close();
    await expect(cache.put(answer(digestsOfFile(1), 0))).rejects.toThrow(/has been closed \[CACHE\]/);
  });

  it('keeps answers in the journal where shards cannot be written, and says so', async () => {
    await writeFile(join(folder, 'answers'), 'a file in the way');
    const cache = await open();
    await cache.put(answer(digestsOfFile(1), 0));
    await cache.close();
    expect(reports).toEqual([
      expect.stringMatching(/journal: answers stay in the journal until the next run: .*answers/),
    ]);
    await rm(join(folder, 'answers'));
    expect(await numbersMissing([1])).toEqual([]);
  });
});

describe('several processes on one cache', { timeout: 120_000 }, () => {
  let children: ChildPrograms;
  beforeAll(async () => {
    children = await compileChildren(PUT);
  });
  afterAll(() => children.remove());

  it('keeps every answer that was acknowledged before kill -9, wherever the kill hits', async () => {
    const acknowledged: number[] = [];
    for (let round = 0; round < 10; round++) {
      const child = children.start(PUT, [folder, String(round * 1_000), '1000', '25']);
      // In odd rounds while it puts, in even ones around the fold that follows every 25 answers.
      const isWithinFold = round % 2 === 0;
      const linesUntilKill = isWithinFold ? 25 + 25 * (round / 2) : 10 + round * 9;
      for (let count = 0; count < linesUntilKill; count++) await child.nextLine();
      if (isWithinFold) await new Promise((resolve) => setTimeout(resolve, round));
      child.process.kill('SIGKILL');
      await child.ended;
      expect(child.lines.filter((line) => line.startsWith('report'))).toEqual([]);
      acknowledged.push(...child.lines.map(Number));
    }
    expect(acknowledged.length).toBeGreaterThan(400);
    expect(await numbersMissing(acknowledged)).toEqual([]);
    await fill(20_000);
    expect(await filesIn('journal')).toEqual([]);
    expect(await numbersMissing(acknowledged)).toEqual([]);
    expect(reports).toEqual([]);
  });

  it('loses nothing where they put at the same time', async () => {
    const writers = [0, 1, 2].map((writer) => children.start(PUT, [folder, String(writer * 1_000), '120', '40']));
    for (const writer of writers) expect(await writer.ended).toBe(0);
    const numbers = writers.flatMap(({ lines }) => lines.map(Number));
    expect(numbers).toHaveLength(360);
    expect(await filesIn('journal')).toEqual([]);
    expect(await numbersMissing(numbers)).toEqual([]);
  });
});

/** Tells of the journals in a folder at each turn of the event loop, at which each system call of the code under test ends. */
function watchEveryTurn(journalFolder: string, onJournal: (path: string) => void): { stop(): void } {
  let isStopped = false;
  const look = (): void => {
    if (isStopped) return;
    const names = existsSync(journalFolder) ? readdirSync(journalFolder) : [];
    for (const name of names) if (name.endsWith('.jsonl')) onJournal(join(journalFolder, name));
    setImmediate(look);
  };
  look();
  return {
    stop: () => {
      isStopped = true;
    },
  };
}

/** The identity of a process that has certainly ended: this one, with another start. */
function identityOfEndedProcess(): string {
  return JSON.stringify({ ...thisProcess(), startedAt: 'earlier' });
}
