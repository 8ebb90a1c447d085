import { join } from 'node:path';
import { openCache } from '../src/cache/index.js';
import { answerOn, writeAnswers } from './answer-workload.js';
import { sha1Of } from './events.js';
import type { BenchSetup } from './log-parts.js';
import { compare, median, SYSMON_VT } from './measure.js';
import { circumstances, digits, type Table } from './tables.js';

const HOST = 'www.virustotal.com';
const SIZES = [10_000, 100_000, 1_000_000] as const;
const LOOKUPS = 100_000;
const PUTS = 50;
/** Starts measured as one: the clock of processor time ticks every 10 ms. */
const STARTS = 20;

/** The cache at three sizes: one cached check as a whole process, many look-ups, and an answer made durable. */
export async function benchCache(setup: BenchSetup): Promise<Table> {
  const rows: string[][] = [];
  for (const count of SIZES) {
    const folder = join(setup.folder, `answers-${count}`);
    await writeAnswers(join(folder, HOST), count, new Date());
    const [check, bare] = await compare(
      [
        {
          name: 'check',
          command: [...SYSMON_VT, 'check', '--offline', sha1Of(4)],
          env: { CACHE_URL: folder },
          runs: STARTS,
        },
        { name: 'node -e 0', command: [process.execPath, '-e', '0'], runs: STARTS },
      ],
      setup.rounds,
    );
    const atOnce = await lookUpMany(join(folder, HOST), count, LOOKUPS);
    const inBatches = await lookUpMany(join(folder, HOST), count, 500);
    const put = await putMany(join(folder, HOST), count);
    rows.push([
      count.toLocaleString('en'),
      digits(((check?.cpuS ?? Number.NaN) - (bare?.cpuS ?? Number.NaN)) * 1000),
      digits((bare?.cpuS ?? Number.NaN) * 1000),
      digits(atOnce / 1e6),
      digits(inBatches / 1e6),
      digits(put.medianMs),
      digits(put.foldCpuMs),
    ]);
  }
  return {
    title: 'Cache',
    columns: [
      'answers',
      'cached check over bare Node, ms CPU',
      'bare Node, ms CPU',
      '100,000 look-ups at once, s CPU',
      'in batches of 500, s CPU',
      'one answer durable, ms',
      `folding ${PUTS} answers, ms CPU`,
    ],
    rows,
    notes: [circumstances()],
  };
}

/** Looks `LOOKUPS` different answers up and returns the processor time in microseconds. */
async function lookUpMany(folder: string, count: number, batch: number): Promise<number> {
  // A step that shares no divisor with the counts spreads the look-ups over all answers.
  const hashes = Array.from({ length: LOOKUPS }, (_, index) => sha1Of((index * 7919) % count));
  const cache = await openCache(folder);
  const start = process.cpuUsage();
  let found = 0;
  for (let at = 0; at < hashes.length; at += batch) {
    found += (await cache.getMany(hashes.slice(at, at + batch))).size;
  }
  const { user, system } = process.cpuUsage(start);
  await cache.close();
  if (found < Math.min(LOOKUPS, count)) throw new Error(`${found} of ${LOOKUPS} answers were found`);
  return user + system;
}

/** Adds answers one after another and folds them. */
async function putMany(
  folder: string,
  count: number,
): Promise<{ readonly medianMs: number; readonly foldCpuMs: number }> {
  const cache = await openCache(folder);
  const times: number[] = [];
  for (let index = 0; index < PUTS; index++) {
    const start = performance.now();
    await cache.put(answerOn(count + index, new Date()));
    times.push(performance.now() - start);
  }
  const start = process.cpuUsage();
  await cache.close();
  const { user, system } = process.cpuUsage(start);
  return { medianMs: median(times), foldCpuMs: (user + system) / 1000 };
}
