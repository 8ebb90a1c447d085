import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../src/clock.js';
import { runEnrich } from '../../src/commands/enrich.js';
import { startStandIn } from '../../src/demo/stand-in.js';
import type { Summary } from '../../src/summary.js';
import { selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';
import { type Random, seeded } from './random.js';
import { writeLogs } from './world.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const KEY = 'key-of-the-torture';
/** One, so that nobody sleeps while a request is under way: the clock would jump, and the request arrive a minute after it left. */
const CONCURRENCY = 1;

/** Moments shortly before a day, a month, a leap day or a year begins. */
const TURNS = [
  '2026-03-04T23:58:40Z',
  '2026-04-30T23:58:30Z',
  '2027-02-28T23:59:00Z',
  '2028-02-28T23:57:50Z',
  '2028-02-29T23:58:10Z',
  '2026-12-31T23:58:20Z',
] as const;

/**
 * Runs with a clock that passes midnight and month ends, that is set back, or that is wrong in any way, against a VirusTotal whose
 * clock is right. Where the clock is right or only behind within a day, no request may be refused; in any case each run has to end,
 * with few refusals and an honest reason for what it leaves.
 */
export async function playClockRound(
  seed: number,
): Promise<{ readonly requests: number; readonly violations: string[] }> {
  const random = seeded(seed);
  const weather = random.one(['right', 'set_back', 'wild'] as const);
  const truth = selfMovingClock(weather === 'right' ? random.one(TURNS) : '2026-03-31T02:00:00Z');
  let skewMs = 0;
  const clock: Clock = { now: () => new Date(truth.now().getTime() + skewMs), sleep: truth.sleep };
  const limits = { perMinute: random.int(2, 9), perDay: random.int(12, 40), perMonth: random.int(30, 80) };
  const standIn = await startStandIn({ key: KEY, clock: truth, ...limits });
  const root = mkdtempSync(join(tmpdir(), 'sysmon-vt-torture-clock-'));
  const violations: string[] = [];
  try {
    for (let run = 0; run < 4; run++) {
      const folder = join(root, `logs-${run}`);
      mkdirSync(folder);
      const files = Array.from({ length: random.int(6, 16) }, (_, index) => run * 1000 + index);
      const logs = writeLogs(folder, files);
      const first = standIn.requests.length;
      const shell = fakeShell(
        {
          VT_API_KEY: KEY,
          VT_BASE_URL: standIn.baseUrl,
          CACHE_URL: join(root, 'cache'),
          VT_CONCURRENCY: String(CONCURRENCY),
          VT_REQUESTS_PER_MINUTE: String(limits.perMinute),
          VT_REQUESTS_PER_DAY: String(limits.perDay),
          VT_REQUESTS_PER_MONTH: String(limits.perMonth),
          VT_RESERVE_PER_DAY: '0',
        },
        { clock },
      );
      const status = await runEnrich(shell, [folder], { json: true, quiet: true });
      const { quota, hashes }: Summary = JSON.parse(shell.printed());
      const requests = standIn.requests.slice(first);
      const refused = requests.filter(({ status: answered }) => answered === 429).length;
      const where = `${weather} clock, run ${run}, ${JSON.stringify(limits)}, skew ${skewMs / 1000} s`;
      if (status !== 0) violations.push(`${where}: exit status ${status}: ${shell.said()}`);
      if (weather !== 'wild' && refused > 0) violations.push(`${where}: ${refused} requests were refused`);
      if (refused > CONCURRENCY + 3) violations.push(`${where}: ${refused} requests into a spent quota`);
      const day = truth.now().toISOString().slice(0, 10);
      const seenToday = standIn.requests.filter(
        ({ at, status: answered }) => answered !== 429 && at.toISOString().startsWith(day),
      ).length;
      if (weather !== 'wild' && (quota?.day.used ?? 0) < seenToday) {
        violations.push(`${where}: the ledger counts ${quota?.day.used} of ${seenToday} requests of the day`);
      }
      if (hashes.waiting > 0 && quota?.resumes_at === null && refused === 0) {
        violations.push(`${where}: ${hashes.waiting} files wait and nobody knows for what`);
      }
      for (const { name } of logs) {
        const text = readFileSync(join(folder, `${name}.enriched.jsonl`), 'utf8');
        if (/"verdict":"unchecked"(?!,"reason":"quota")/.test(text))
          violations.push(`${where}: unchecked for no honest reason`);
      }
      truth.advance(random.int(0, weather === 'set_back' ? HOUR_MS : 9 * HOUR_MS));
      skewMs = nextSkewMs(weather, random);
    }
  } finally {
    await standIn.close();
    rmSync(root, { recursive: true, force: true });
  }
  return { requests: standIn.requests.length, violations };
}

function nextSkewMs(weather: 'right' | 'set_back' | 'wild', random: Random): number {
  if (weather === 'right') return 0;
  const back = -random.one([0, 1000, 30_000, MINUTE_MS, HOUR_MS, random.int(0, 40 * DAY_MS)]);
  return weather === 'set_back' || random.chance(0.5) ? back : -back;
}
