import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { cachedAmong } from './checks.js';
import { openWorld, sha1Of, type World, writeLogs } from './world.js';

const PROGRAM = resolve(import.meta.dirname, '../../dist/cli.js');
/** 10,000 by hand: SYSMON_VT_FILES=10000 npx vitest run test/torture/four-processes.test.ts */
const FILES = Number(process.env['SYSMON_VT_FILES'] ?? 400);
const PROCESSES = 4;

let world: World;
afterEach(() => world.remove());

const allFiles = Array.from({ length: FILES }, (_, file) => file);

/** Each process meets the files in another order, so that they come at the same ones from all sides. */
function folderOf(process: number): string {
  const folder = join(world.root, `logs-${process}`);
  const from = Math.floor((process * FILES) / PROCESSES);
  writeLogs(folder, [...allFiles.slice(from), ...allFiles.slice(0, from)]);
  return folder;
}

it(
  `${PROCESSES} processes, one cache, ${FILES} files: each is asked once, and none too many`,
  async () => {
    world = await openWorld({ program: PROGRAM, files: FILES, latencyMs: 2 });
    const runs = Array.from({ length: PROCESSES }, (_, process) =>
      world.start(['enrich', folderOf(process), '--json']),
    );
    const ended = await Promise.all(runs.map(({ ended }) => ended));
    expect(ended.map(({ status, stderr }) => ({ status, stderr: status === 0 ? '' : stderr }))).toEqual(
      ended.map(() => ({ status: 0, stderr: '' })),
    );
    for (const { stdout } of ended) {
      expect(JSON.parse(stdout).hashes).toMatchObject({ distinct: FILES, waiting: 0 });
    }
    const asked = world.standIn.requests.map(({ hash }) => hash);
    expect(asked.length - new Set(asked).size, 'double questions').toBe(0);
    expect(new Set(asked)).toEqual(new Set(allFiles.map(sha1Of)));
    // On a disk slower than the lease a request is spent again before it leaves: the ledger may count too much, never too little.
    const { day } = await world.usage();
    expect(day.used, 'the ledger').toBeGreaterThanOrEqual(FILES);
    expect(day.used, 'the ledger').toBeLessThan(FILES * 1.02);
    expect((await cachedAmong(world, allFiles)).size, 'answers in the cache').toBe(FILES);
  },
  120_000 + FILES * 200,
);

it('a quota that four processes share is never exceeded, and what it does not cover waits', async () => {
  const allowed = 60;
  world = await openWorld({ program: PROGRAM, files: 120, latencyMs: 2 });
  const settings = { VT_REQUESTS_PER_DAY: String(allowed), VT_RESERVE_PER_DAY: '0' };
  const folders = Array.from({ length: PROCESSES }, (_, process) => {
    const folder = join(world.root, `logs-${process}`);
    writeLogs(folder, allFiles.slice(process * 10, process * 10 + 90));
    return folder;
  });
  const ended = await Promise.all(folders.map((folder) => world.start(['enrich', folder, '--json'], settings).ended));
  expect(ended.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
  expect(world.standIn.requests).toHaveLength(allowed);
  expect(new Set(world.standIn.requests.map(({ hash }) => hash)).size).toBe(allowed);
}, 120_000);

it('the claims and locks of processes that were killed are taken over at once', async () => {
  world = await openWorld({ program: PROGRAM, files: 300, latencyMs: 40 });
  const folder = join(world.root, 'logs');
  writeLogs(folder, allFiles.slice(0, 120));
  const victims = Array.from({ length: PROCESSES - 1 }, () => world.start(['enrich', folder, '--json']));
  while (world.standIn.requests.length < 20) await sleep(2);
  for (const { child } of victims) child.kill('SIGKILL');
  await Promise.all(victims.map(({ ended }) => ended));
  const startedAt = performance.now();
  const { status, stdout } = await world.start(['enrich', folder, '--json']).ended;
  expect(status).toBe(0);
  expect(JSON.parse(stdout).hashes.waiting).toBe(0);
  // Whoever waits for a dead process waits half an hour for a claim, 20 s for a lock of another host.
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  const asked = world.standIn.requests.map(({ hash }) => hash);
  expect(asked.length - new Set(asked).size).toBeLessThanOrEqual((PROCESSES - 1) * 4);
}, 120_000);
