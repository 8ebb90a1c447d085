import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { forecastDays } from '../../src/commands/plan.js';
import { runQuota } from '../../src/commands/quota.js';
import type { RequestLimits } from '../../src/config.js';
import { type StandIn, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';
import { UsageError } from '../../src/errors.js';
import { openSightings } from '../../src/sightings/index.js';
import type { QuotaSummary } from '../../src/summary.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';

const KEY = `${'c0ffee'.repeat(10)}abcd`;

let root: string;
let clock: FakeClock;
let standIn: StandIn;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-quota-'));
  clock = selfMovingClock('2026-03-04T07:00:00Z');
});
afterEach(async () => {
  await standIn?.close();
  rmSync(root, { recursive: true });
});

async function quota(env: Readonly<Record<string, string>>, options: StandInOptions = {}, status = 0) {
  standIn = await startStandIn({ key: KEY, clock, ...options });
  const all = { VT_API_KEY: KEY, VT_BASE_URL: standIn.baseUrl, CACHE_URL: root, ...env };
  const printed = fakeShell(all, { clock });
  expect(await runQuota(printed, { json: true })).toBe(status);
  const told = fakeShell(all, { clock });
  expect(await runQuota(told, {})).toBe(status);
  return { ...JSON.parse(printed.printed()), text: told.printed(), said: told.said() };
}

const AUTO = { VT_REQUESTS_PER_MINUTE: 'auto', VT_REQUESTS_PER_DAY: 'auto', VT_REQUESTS_PER_MONTH: 'auto' };

describe('limits set to auto', () => {
  it('are those that VirusTotal tells for the key, the minute’s a sixtieth of the hour’s', async () => {
    const { minute, day, month } = await quota(AUTO, { perMinute: 1000, perDay: 20_000, perMonth: 300_000 });
    expect([minute.limit, day.limit, month.limit]).toEqual([1000, 20_000, 300_000]);
  });

  it('count what the key has spent elsewhere', async () => {
    const options = { perMinute: 1000, perDay: 20_000, perMonth: 300_000 };
    standIn = await startStandIn({ key: KEY, clock, ...options });
    for (let number = 0; number < 7; number++) {
      await fetch(`${standIn.baseUrl}/files/${'a'.repeat(39)}${number}`, { headers: { 'x-apikey': KEY } });
    }
    const env = { VT_API_KEY: KEY, VT_BASE_URL: standIn.baseUrl, CACHE_URL: root, ...AUTO };
    const shell = fakeShell(env, { clock });
    await runQuota(shell, { json: true });
    expect(JSON.parse(shell.printed())).toMatchObject({ day: { used: 7 }, month: { used: 7 } });
  });

  it('hold for the window they are set for alone', async () => {
    const env = { VT_REQUESTS_PER_DAY: 'auto', VT_REQUESTS_PER_MINUTE: '2' };
    const { minute, day, month } = await quota(env, { perMinute: 1000, perDay: 20_000, perMonth: 300_000 });
    expect([minute.limit, day.limit, month.limit]).toEqual([2, 20_000, 15_500]);
  });

  it('are a public key’s where VirusTotal does not tell, and that is said', async () => {
    const { day, said } = await quota({ ...AUTO, VT_BASE_URL: 'http://127.0.0.1:9/api/v3' });
    expect(day.limit).toBe(500);
    expect(said).toContain('does not tell the limits of this key');
  });

  it('are a public key’s where the key is refused, which was said to be silence', async () => {
    const { day, said } = await quota({ ...AUTO, VT_API_KEY: 'another-key' }, {}, 3);
    expect(day.limit).toBe(500);
    expect(said).toContain('VirusTotal refuses this key (HTTP 401), so its limits are not known');
  });
});

describe('no key', () => {
  it('was said to be no hindrance with --offline, which this command does not have', async () => {
    const rejected = expect(runQuota(fakeShell({ CACHE_URL: root }, { clock }), {})).rejects;
    await rejected.toBeInstanceOf(UsageError);
    await rejected.toMatchObject({
      code: 'KEY_MISSING',
      message: expect.stringMatching(/my-apikey\. What is asked is counted for each key; queue shows what waits/),
    });
    await rejected.not.toMatchObject({ message: expect.stringContaining('--offline') });
  });
});

describe('a key that VirusTotal refuses', () => {
  it('passed for a VirusTotal that cannot be reached', async () => {
    const { day, virustotal, failures, text, said } = await quota({ VT_API_KEY: 'another-key' }, {}, 3);
    const message = 'VirusTotal: HTTP 401, WrongCredentialsError: Wrong API key; check VT_API_KEY [KEY_REFUSED]';
    expect({ virustotal, failures }).toEqual({ virustotal: null, failures: [{ code: 'KEY_REFUSED', message }] });
    expect(said).toBe(`sysmon-vt: ${message}\n`);
    expect(text).toContain('VirusTotal    refuses the key\n');
    expect(day).toEqual({ used: 0, limit: 500 });
  });

  it('is none where VirusTotal cannot be reached', async () => {
    const { failures, text } = await quota({ VT_BASE_URL: 'http://127.0.0.1:9/api/v3' });
    expect(failures).toEqual([]);
    expect(text).toContain('VirusTotal    cannot be reached, or does not say\n');
  });
});

describe('the queue', () => {
  it('is told with the day on which it will be done', async () => {
    const due = Array.from({ length: 1000 }, (_, number) => ({
      hash: number.toString(16).padStart(40, '0'),
      score: 1,
    }));
    await openSightings(root).updateWaiting({ due, settled: [], now: clock.now() });
    const { queue, text } = await quota({});
    expect(queue).toEqual({ waiting: 1000, days: 2, done_on: '2026-03-06' });
    expect(text).toContain('queue         1000 files wait; the last is asked in 2 days, on 2026-03-06\n');
  });

  const public500: RequestLimits = { perMinute: 4, perDay: 500, perMonth: 15_500, reservePerDay: 20 };
  const now = new Date('2026-03-30T07:00:00Z');
  const used = (day: number, month: number): QuotaSummary => ({
    minute: { used: 0, limit: 4 },
    day: { used: day, limit: 500 },
    month: { used: month, limit: 15_500 },
    resumes_at: null,
  });

  it.each([
    ['nothing waits', 0, used(0, 0), public500, 0],
    ['today suffices', 480, used(0, 0), public500, 0],
    ['one more than today', 481, used(0, 0), public500, 1],
    ['today is spent', 1, used(480, 480), public500, 1],
    ['somebody has used the reserve too', 1, used(500, 500), public500, 1],
    ['the month is spent and begins anew in two days', 1, used(0, 15_500), public500, 2],
    ['there is no limit', 1_000_000, used(0, 0), { ...public500, perDay: Infinity, perMonth: Infinity }, 0],
    ['the reserve is everything', 1, used(0, 0), { ...public500, reservePerDay: 500 }, undefined],
  ])('%s', (_what, waiting, quotas, limits, days) => {
    expect(forecastDays(waiting, quotas, limits, now)).toBe(days);
  });
});
