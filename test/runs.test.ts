import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EnrichmentError } from '../src/errors.js';
import { beginRun, type RunEnd, readRuns } from '../src/runs.js';
import { thisProcess } from '../src/storage/lock.js';
import type { Summary } from '../src/summary.js';
import { type FakeClock, selfMovingClock } from './fakes/clock.js';

let folder: string;
let clock: FakeClock;
let said: string[];
let lost: EnrichmentError[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-runs-'));
  clock = selfMovingClock('2026-03-04T02:00:00Z');
  said = [];
  lost = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const begin = (command = 'enrich') =>
  beginRun({
    cacheFolder: folder,
    command,
    clock,
    say: (text) => said.push(text),
    onLost: (failure) => lost.push(failure),
  });
const runsPath = (): string => join(folder, 'runs', 'runs.jsonl');

const summary: Summary = {
  logs: { read: 4, unchanged: 1, skipped: 0, failed: 0 },
  records: {
    total: 612,
    process_creations: 257,
    other_events: 0,
    with_hash: 257,
    without_hash: 0,
    rejected: 0,
    duplicates: 0,
  },
  hashes: { distinct: 21, cached: 0, known_good: 0, known_bad: 0, placeholder: 0, asked: 21, waiting: 0 },
  verdicts: { malicious: 2, suspicious: 1, undetected: 237, unknown: 17, unchecked: 0 },
  quota: {
    minute: { used: 0, limit: 4 },
    day: { used: 0, limit: 500 },
    month: { used: 0, limit: 15_500 },
    resumes_at: null,
  },
  failures: [],
  elapsed_ms: 3000,
};
const DONE: RunEnd = { outcome: 'done', exitStatus: 0, summary };

/** A marker as a run leaves it that was killed. */
function leaveMarker(name: string): void {
  const dead = {
    ...thisProcess(),
    startedAt: 'another start',
    command: 'enrich',
    started_at: '2026-03-03T02:00:00.000Z',
  };
  writeFileSync(join(folder, 'runs', `${name}.running`), JSON.stringify(dead));
}

describe('records of runs', () => {
  it('tell of each run when, how it ended, what it counted and why it failed', async () => {
    const night = await begin();
    clock.advance(65_000);
    await night.end(DONE);
    const failing = await begin('recheck');
    await failing.end({
      outcome: 'failed',
      exitStatus: 3,
      failure: { code: 'CACHE', message: 'the disk is full [CACHE]' },
    });
    const { runs, damaged } = await readRuns(folder);
    expect(damaged).toBe(0);
    expect(runs).toMatchObject([
      {
        command: 'enrich',
        started_at: '2026-03-04T02:00:00.000Z',
        ended_at: '2026-03-04T02:01:05.000Z',
        outcome: 'done',
        exit_status: 0,
        hashes: { asked: 21 },
        failure_count: 0,
      },
      { command: 'recheck', outcome: 'failed', exit_status: 3, logs: null, failures: [{ code: 'CACHE' }] },
    ]);
    expect(said).toEqual([]);
  });

  it('are for their owner alone, and no marker stays', async () => {
    await (await begin()).end(DONE);
    expect(readdirSync(join(folder, 'runs')).filter((name) => name !== 'locks')).toEqual(['runs.jsonl']);
    if (process.platform !== 'win32') expect(statSync(runsPath()).mode & 0o777).toBe(0o600);
  });

  it('tell of a killed run: at once, and for good once another run begins', async () => {
    await (await begin()).end(DONE);
    leaveMarker('4711');
    const died = { outcome: 'died', ended_at: null, exit_status: null, started_at: '2026-03-03T02:00:00.000Z' };
    expect((await readRuns(folder)).runs).toMatchObject([{ outcome: 'done' }, died]);
    const [one, other] = await Promise.all([begin(), begin()]);
    await one.end(DONE);
    await other.end(DONE);
    expect((await readRuns(folder)).runs.map(({ outcome }) => outcome)).toEqual(['done', 'died', 'done', 'done']);
  });

  it('do not call a run dead that still runs', async () => {
    await begin();
    expect((await readRuns(folder)).runs).toEqual([]);
  });

  it('survive a line that was cut off, which is counted', async () => {
    await (await begin()).end(DONE);
    appendFileSync(runsPath(), '{"command":"enrich","outc');
    await (await begin()).end(DONE);
    const { runs, damaged } = await readRuns(folder);
    expect(runs.map(({ outcome }) => outcome)).toEqual(['done', 'done']);
    expect(damaged).toBe(1);
  });

  it('are bounded: the oldest go', async () => {
    await (await begin()).end(DONE);
    const line = readFileSync(runsPath(), 'utf8').trim();
    writeFileSync(runsPath(), `${line}\n`.repeat(1200));
    await (await begin('recheck')).end(DONE);
    const { runs } = await readRuns(folder);
    expect(runs).toHaveLength(1000);
    expect(runs.at(-1)?.command).toBe('recheck');
  });

  it('never end a run where they cannot be kept, but say so', async () => {
    writeFileSync(join(folder, 'runs'), 'in the way');
    await (await begin()).end(DONE);
    expect(lost).toMatchObject([{ code: 'CACHE', message: expect.stringContaining(join(folder, 'runs')) }]);
    rmSync(join(folder, 'runs'));
    const run = await begin();
    rmSync(join(folder, 'runs'), { recursive: true });
    writeFileSync(join(folder, 'runs'), 'in the way');
    await run.end(DONE);
    expect(said).toEqual([expect.stringContaining(join(folder, 'runs'))]);
  });

  it('keep twenty failures and the number of all', async () => {
    const failures = Array.from({ length: 50 }, (_, index) => ({
      code: 'UNREADABLE' as const,
      message: `log ${index} ${'x'.repeat(5000)}`,
    }));
    await (await begin()).end({ outcome: 'failed', exitStatus: 3, summary: { ...summary, failures } });
    const [run] = (await readRuns(folder)).runs;
    expect(run?.failures).toHaveLength(20);
    expect(run?.failure_count).toBe(50);
    expect(statSync(runsPath()).size).toBeLessThan(16_000);
  });
});
