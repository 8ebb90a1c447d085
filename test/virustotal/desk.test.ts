import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/clock.js';
import { fileReport, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { type Desk, openDesk } from '../../src/virustotal/desk.js';
import { type Limits, MINUTE_MS } from '../../src/virustotal/ledger.js';
import { type ChildPrograms, compileChildren } from '../storage/child-processes.js';
import { hashOf, START_MS, UNLIMITED } from './fakes.js';

const KEY = 'f'.repeat(64);
const PUBLIC_KEY: Limits = { perMinute: 4, perDay: 500, perMonth: 15_500, reservePerDay: 20 };

let folder: string;
let losses: string[];
const clock = { nowMs: START_MS, now: () => new Date(clock.nowMs), sleep: async () => undefined };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'desk-'));
  losses = [];
  clock.nowMs = START_MS;
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function open(
  options: { readonly limits?: Limits; readonly key?: string; readonly host?: string; readonly clock?: Clock } = {},
): Promise<Desk> {
  return openDesk({
    folder,
    host: 'www.virustotal.com',
    key: KEY,
    limits: PUBLIC_KEY,
    purpose: 'batch',
    clock,
    onLoss: (what) => losses.push(what),
    ...options,
  });
}

const unanswered = async (): Promise<boolean> => false;

describe('two desks on one folder', () => {
  it('share one minute', async () => {
    const [one, other] = [await open(), await open()];
    for (const number of [1, 2]) expect(await one.admit(hashOf(number), unanswered)).toEqual({ kind: 'granted' });
    for (const number of [3, 4]) expect(await other.admit(hashOf(number), unanswered)).toEqual({ kind: 'granted' });
    expect((await one.admit(hashOf(5), unanswered)).kind).toBe('wait');
    expect((await other.admit(hashOf(6), unanswered)).kind).toBe('wait');
    clock.nowMs += MINUTE_MS + 1000;
    expect(await other.admit(hashOf(6), unanswered)).toEqual({ kind: 'granted' });
  });

  it('share what VirusTotal has counted', async () => {
    await (await open()).reconcile({ day: 480 });
    expect(await (await open()).admit(hashOf(1), unanswered)).toMatchObject({ kind: 'spent', window: 'day' });
  });

  it('never ask about the same file', async () => {
    const [one, other] = [await open(), await open()];
    expect((await one.admit(hashOf(1), unanswered)).kind).toBe('granted');
    expect((await other.admit(hashOf(1), unanswered)).kind).toBe('claimed_by_another');
    await one.release(hashOf(1));
    expect((await other.admit(hashOf(1), async () => true)).kind).toBe('answered_meanwhile');
    expect((await other.usage()).day.used).toBe(1);
  });

  it('have nothing to do with each other if the key or the host is another', async () => {
    const desks = [await open(), await open({ key: 'e'.repeat(64) }), await open({ host: '127.0.0.1' })];
    for (const desk of desks) {
      for (let number = 0; number < 4; number++) {
        expect((await desk.admit(hashOf(number), unanswered)).kind).toBe('granted');
      }
    }
  });

  it('hear both of VirusTotal’s word that nothing is left', async () => {
    const [one, other] = [await open(), await open()];
    const until = new Date(START_MS + 3600_000);
    await one.block('unknown', until);
    expect(await other.admit(hashOf(1), unanswered)).toEqual({ kind: 'spent', window: 'unknown', resumesAt: until });
  });
});

describe('a desk', () => {
  it('spends again for a retry and keeps the claim', async () => {
    const [one, other] = [await open(), await open()];
    await one.admit(hashOf(1), unanswered);
    // A retry is not about whether there is an answer: there was none, and nobody else may ask.
    expect((await one.admit(hashOf(1), async () => true)).kind).toBe('granted');
    expect((await one.usage()).minute.used).toBe(2);
    expect((await other.admit(hashOf(1), unanswered)).kind).toBe('claimed_by_another');
  });

  it('does not claim what it cannot ask', async () => {
    const [one, other] = [await open({ limits: { ...UNLIMITED, perDay: 0 } }), await open()];
    expect((await one.admit(hashOf(1), unanswered)).kind).toBe('spent');
    expect((await other.admit(hashOf(1), unanswered)).kind).toBe('granted');
  });

  it('gives up its claims when it closes', async () => {
    const [one, other] = [await open(), await open()];
    await one.admit(hashOf(1), unanswered);
    await one.close();
    expect((await other.admit(hashOf(1), unanswered)).kind).toBe('granted');
  });

  it('admits many at once, exactly as many as allowed', async () => {
    const [one, other] = [
      await open({ limits: { ...UNLIMITED, perDay: 60 } }),
      await open({ limits: { ...UNLIMITED, perDay: 60 } }),
    ];
    const admissions = await Promise.all(
      Array.from({ length: 100 }, (_, number) => (number % 2 === 0 ? one : other).admit(hashOf(number), unanswered)),
    );
    expect(admissions.filter(({ kind }) => kind === 'granted')).toHaveLength(60);
    expect(admissions.filter(({ kind }) => kind === 'spent')).toHaveLength(40);
  });

  it('lets no request leave after its lease: it is spent again', async () => {
    const desk = await open({
      clock: {
        ...clock,
        // Between two looks at the clock, e.g. while the books are written, more than a lease goes by.
        now: () => {
          clock.nowMs += 1500;
          return new Date(clock.nowMs);
        },
      },
    });
    expect(await desk.admit(hashOf(1), unanswered)).toEqual({ kind: 'granted' });
    expect((await desk.usage()).minute.used).toBe(2);
  });

  it('looks for answers before a lease begins, for all who ask at the same time', async () => {
    const desk = await open();
    let looking = 0;
    const slowCache = async (): Promise<boolean> => {
      looking++;
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(looking).toBe(2);
      clock.nowMs += 2_000;
      return false;
    };
    const admissions = await Promise.all([desk.admit(hashOf(1), slowCache), desk.admit(hashOf(2), slowCache)]);
    expect(admissions).toEqual([{ kind: 'granted' }, { kind: 'granted' }]);
    expect((await desk.usage()).minute.used).toBe(2);
  });

  it('writes down neither key nor host', async () => {
    const desk = await open();
    await desk.admit(hashOf(1), unanswered);
    for (const name of await readdir(join(folder, 'ledger'))) {
      expect(name).not.toContain(KEY.slice(0, 8));
      if (!name.endsWith('.json')) continue;
      expect(await readFile(join(folder, 'ledger', name), 'utf8')).not.toMatch(/ffffffff|virustotal\.com/);
    }
  });

  it('takes over the claims of a process that has died', async () => {
    await (await open()).admit(hashOf(1), unanswered);
    await changeBooks((text) => text.replace(`"pid":${process.pid}`, '"pid":4194300'));
    expect((await (await open()).admit(hashOf(1), unanswered)).kind).toBe('granted');
  });

  it('trusts the claims of another machine for half an hour', async () => {
    await (await open()).admit(hashOf(1), unanswered);
    await changeBooks((text) => text.replace(/"host":"[^"]*"/, '"host":"elsewhere"'));
    const desk = await open();
    expect((await desk.admit(hashOf(1), unanswered)).kind).toBe('claimed_by_another');
    clock.nowMs += 31 * 60_000;
    expect((await desk.admit(hashOf(1), unanswered)).kind).toBe('granted');
  });

  it('whose books are damaged sets them aside, says so, and takes the minute to be full', async () => {
    const desk = await open();
    await desk.admit(hashOf(1), unanswered);
    await changeBooks((text) => text.replace('"days":', '"days":{},"x":'));
    expect(await desk.admit(hashOf(2), unanswered)).toEqual({ kind: 'wait', ms: MINUTE_MS });
    expect(losses).toHaveLength(1);
    const [, setAsidePath = ''] = /set aside as (.*); the minute counts as spent$/.exec(losses[0] ?? '') ?? [];
    expect(await readFile(setAsidePath, 'utf8')).toContain('"days":{}');
    clock.nowMs += MINUTE_MS;
    expect((await desk.admit(hashOf(2), unanswered)).kind).toBe('granted');
    expect(losses).toHaveLength(1);
  });

  it('does not take a count for true in which a digit has changed', async () => {
    const desk = await open();
    for (let number = 0; number < 3; number++) await desk.admit(hashOf(number), unanswered);
    await changeBooks((text) => text.replace(/("\d{4}-\d\d-\d\d"),3\]/, '$1,1]'));
    expect((await desk.usage()).minute.used).toBe((await desk.usage()).minute.limit);
    expect(losses).toHaveLength(1);
  });

  it.each<[string, (salt: Buffer) => Buffer | undefined]>([
    ['is empty', () => Buffer.alloc(0)],
    ['has one flipped byte', (salt) => Buffer.from(salt.map((byte, index) => (index === 7 ? byte ^ 1 : byte)))],
    ['has lost its checksum', (salt) => salt.subarray(0, 32)],
    ['is longer than it was', (salt) => Buffer.concat([salt, salt])],
    ['is missing', () => undefined],
  ])('whose salt %s does not silently forget what was spent', async (_, damaged) => {
    await (await open()).admit(hashOf(1), unanswered);
    const path = join(folder, 'ledger', 'salt');
    const salt = damaged(await readFile(path));
    if (salt === undefined) await rm(path);
    else await writeFile(path, salt);
    const desk = await open();
    expect(losses).toEqual([expect.stringContaining(path)]);
    expect(await desk.admit(hashOf(1), unanswered)).toEqual({ kind: 'wait', ms: MINUTE_MS });
    await open();
    expect(losses).toHaveLength(1);
  });

  it('whose salt is a folder says which', async () => {
    await mkdir(join(folder, 'ledger', 'salt'), { recursive: true });
    await expect(open()).rejects.toThrow(/ledger\/salt: cannot read: .*folder.*\[CACHE\]/);
  });

  it('in a new folder has lost nothing', async () => {
    expect((await (await open()).admit(hashOf(1), unanswered)).kind).toBe('granted');
    expect(losses).toEqual([]);
  });

  it('in a folder that cannot be used says so', async () => {
    await writeFile(join(folder, 'ledger'), 'a file');
    await expect(open()).rejects.toThrow(/cannot use.*\[CACHE\]/);
  });
});

async function changeBooks(change: (text: string) => string): Promise<void> {
  const [name = ''] = (await readdir(join(folder, 'ledger'))).filter((other) => other.endsWith('.json'));
  const path = join(folder, 'ledger', name);
  const text = await readFile(path, 'utf8');
  expect(change(text)).not.toBe(text);
  await writeFile(path, change(text));
}

describe('two processes on one folder', () => {
  const program = new URL('./questions.child.ts', import.meta.url);
  const hashes = Array.from({ length: 40 }, (_, number) => hashOf(number + 1));
  let programs: ChildPrograms;
  let standIn: StandIn;

  beforeAll(async () => {
    programs = await compileChildren(program);
  });

  afterAll(async () => {
    await programs.remove();
  });

  beforeEach(async () => {
    await mkdir(join(folder, 'answers'));
  });

  afterEach(async () => {
    await standIn.close();
  });

  async function startPair(perDay: number, latencyMs: number) {
    standIn = await startStandIn({ files: hashes.map((sha1) => fileReport({ hashes: { sha1 } })), latencyMs });
    const start = () => programs.start(program, [folder, standIn.baseUrl, String(perDay), ...hashes]);
    const pair = [start(), start()] as const;
    for (const child of pair) expect(await child.nextLine()).toBe('ready');
    return pair;
  }

  it('ask about each file once, and both get every answer', { timeout: 120_000 }, async () => {
    const [one, other] = await startPair(1000, 5);
    expect(await Promise.all([one.ended, other.ended])).toEqual([0, 0]);
    expect(standIn.requests.map(({ hash }) => hash).sort()).toEqual(hashes);
    const words = [...one.lines, ...other.lines].flatMap((line) => line.split(' ')[1] ?? []);
    expect(words.filter((word) => word === 'asked')).toHaveLength(40);
    expect(words.filter((word) => word === 'found')).toHaveLength(40);
  });

  it('together never spend more than the day allows', async () => {
    const [one, other] = await startPair(25, 5);
    expect(await Promise.all([one.ended, other.ended])).toEqual([0, 0]);
    expect(standIn.requests).toHaveLength(25);
    expect(new Set(standIn.requests.map(({ hash }) => hash)).size).toBe(25);
  });

  it('one of which is killed: the other takes over, and only what was under way is asked twice', async () => {
    const [one, other] = await startPair(1000, 50);
    await one.nextLine();
    one.process.kill('SIGKILL');
    expect(await other.ended).toBe(0);
    const asked = standIn.requests.map(({ hash }) => hash);
    expect([...new Set(asked)].sort()).toEqual(hashes);
    expect(asked.length).toBeLessThanOrEqual(40 + 4);
    expect(other.lines.filter((line) => /asked|found/.test(line))).toHaveLength(40);
  });
});
