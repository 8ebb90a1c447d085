import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StorageError } from '../../src/errors.js';
import { isAlive, thisProcess, withLock } from '../../src/storage/lock.js';
import { processIdentityFromJson } from '../../src/storage/process-identity.js';
import { temporaryPath } from '../../src/storage/temporary.js';
import { abandonedPath } from '../fakes/abandoned.js';
import { type ChildPrograms, compileChildren } from './child-processes.js';

const COUNT_UNDER_LOCK = new URL('./count-under-lock.child.ts', import.meta.url);
const HOLD_LOCK = new URL('./hold-lock.child.ts', import.meta.url);

let children: ChildPrograms;
let folder: string;

beforeAll(async () => {
  children = await compileChildren(COUNT_UNDER_LOCK, HOLD_LOCK);
});
afterAll(() => children.remove());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-lock-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('withLock within one process', () => {
  it('runs calls for one lock one after the other, in their order', async () => {
    const steps: string[] = [];
    const work = (name: string) => async (): Promise<void> => {
      steps.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      steps.push(`${name} ends`);
    };
    await Promise.all(['a', 'b', 'c'].map((name) => withLock(folder, 'counter', work(name))));
    expect(steps).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  it('hands back what the work gives and what it throws, and goes on', async () => {
    expect(await withLock(folder, 'counter', () => Promise.resolve(42))).toBe(42);
    await expect(withLock(folder, 'counter', () => Promise.reject(new RangeError('own trouble')))).rejects.toThrow(
      RangeError,
    );
    expect(await withLock(folder, 'counter', () => Promise.resolve('still works'))).toBe('still works');
  });

  it('lets different locks overlap', async () => {
    const inner = withLock(folder, 'one', () => withLock(folder, 'other', () => Promise.resolve('both')));
    expect(await inner).toBe('both');
  });

  it('leaves one released ticket behind and nothing else', async () => {
    for (let time = 0; time < 5; time++) await withLock(folder, 'counter', () => Promise.resolve());
    const tickets = await readdir(join(folder, 'locks', 'counter'));
    expect(tickets).toEqual(['00000005']);
    expect(await readFile(join(folder, 'locks', 'counter', '00000005'), 'utf8')).toMatch(/^released/);
  });

  it('clears away what processes left that were killed while they took it', async () => {
    await withLock(folder, 'counter', () => Promise.resolve());
    const lockFolder = join(folder, 'locks', 'counter');
    const [mine, others] = [temporaryPath(join(lockFolder, '00000007')), abandonedPath(join(lockFolder, '00000008'))];
    for (const path of [mine, others]) await writeFile(path, '');
    await withLock(folder, 'counter', () => Promise.resolve());
    expect((await readdir(lockFolder)).sort()).toEqual(['00000002', basename(mine)]);
  });

  it('says what to do where the folder cannot be made', async () => {
    await writeFile(join(folder, 'locks'), 'a file in the way');
    const attempt = withLock(folder, 'counter', () => Promise.resolve());
    await expect(attempt).rejects.toThrow(StorageError);
    await expect(attempt).rejects.toThrow(/locks.counter: cannot lock: .*choose another folder \[CACHE\]/);
  });
});

describe('withLock over processes', { timeout: 120_000 }, () => {
  it('loses no step of several processes, some of them killed while they hold or take the lock', async () => {
    const counterPath = join(folder, 'counter');
    await writeFile(counterPath, '0');
    const lasting = [0, 1, 2].map(() => children.start(COUNT_UNDER_LOCK, [folder, counterPath, '60']));
    const doomed = [0, 1, 2].map(() => children.start(COUNT_UNDER_LOCK, [folder, counterPath, '1000000']));
    for (const child of doomed) {
      await child.nextLine();
      child.process.kill('SIGKILL');
    }
    for (const child of [...lasting, ...doomed]) await child.ended;
    expect(lasting.map(({ lines }) => lines.length)).toEqual([60, 60, 60]);

    const counts = [...lasting, ...doomed].flatMap(({ lines }) => lines.map(Number));
    expect(new Set(counts).size).toBe(counts.length);
    // A killed process may have counted without having said so.
    const final = Number(await readFile(counterPath, 'utf8'));
    expect(final).toBeGreaterThanOrEqual(counts.length);
    expect(final).toBeLessThanOrEqual(counts.length + doomed.length);
  });

  it('takes the lock of a killed process over at once', async () => {
    const holder = children.start(HOLD_LOCK, [folder]);
    expect(await holder.nextLine()).toBe('held');
    let isDone = false;
    const waiting = withLock(folder, 'counter', () => Promise.resolve()).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isDone).toBe(false);
    const killedAt = performance.now();
    holder.process.kill('SIGKILL');
    await waiting;
    expect(performance.now() - killedAt).toBeLessThan(2_000);
    await holder.ended;
  });
});

describe('a ticket of an owner that cannot be watched', () => {
  const elsewhere = JSON.stringify({ pid: 1, startedAt: 'then', host: 'another-host' });

  it.each([
    ['another host', elsewhere],
    ['nobody readable', '{"pid":'],
  ])('holds while it is touched and is void after long silence: %s', async (_, content) => {
    await withLock(folder, 'counter', () => Promise.resolve());
    const ticketPath = join(folder, 'locks', 'counter', '00000002');
    await writeFile(ticketPath, content);
    let isDone = false;
    const waiting = withLock(folder, 'counter', () => Promise.resolve()).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(isDone).toBe(false);
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(ticketPath, longAgo, longAgo);
    await waiting;
    expect(await readdir(join(folder, 'locks', 'counter'))).toEqual(['00000003']);
  });
});

describe('isAlive', () => {
  it('tells a running process from one that has ended', async () => {
    const holder = children.start(HOLD_LOCK, [folder]);
    await holder.nextLine();
    const ticket = await readFile(join(folder, 'locks', 'counter', '00000001'), 'utf8');
    const identity = processIdentityFromJson(JSON.parse(ticket));
    expect(identity?.pid).toBe(holder.process.pid);
    if (identity === undefined) return;
    expect(isAlive(identity)).toBe(true);
    holder.process.kill('SIGKILL');
    await holder.ended;
    expect(isAlive(identity)).toBe(false);
  });

  it('knows itself', () => {
    expect(isAlive(thisProcess())).toBe(true);
    expect(isAlive(JSON.parse(JSON.stringify(thisProcess())))).toBe(true);
  });

  it.runIf(process.platform === 'linux')('does not take a process that got a used id for the old one', () => {
    expect(isAlive({ ...thisProcess(), startedAt: 'earlier' })).toBe(false);
  });

  it('gives a process of another host the benefit of the doubt', () => {
    expect(isAlive({ pid: 999_999_999, startedAt: '', host: 'another-host' })).toBe(true);
  });
});

describe('processIdentityFromJson', () => {
  it.each([null, 7, {}, { pid: 0, startedAt: '', host: '' }, { pid: -1, startedAt: '', host: '' }, { pid: 5 }])(
    'refuses %j',
    (json) => {
      expect(processIdentityFromJson(json)).toBeUndefined();
    },
  );
});
