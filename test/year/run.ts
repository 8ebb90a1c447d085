import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { liveThrough } from './year.js';

// npx tsc -p test/year && node build/test/year/run.js [--nights N] [--files N] [--per-day N] [--recheck-first N] [--seed N] [--keep]:
// lives through a year and prints its figures as JSON; on stderr, every 30 nights, what the night before took.
const { values } = parseArgs({
  options: {
    nights: { type: 'string', default: '365' },
    files: { type: 'string', default: '1000' },
    'per-day': { type: 'string', default: '500' },
    'recheck-first': { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
  },
});
const perDay = Number(values['per-day']);
const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-year-'));
let cpu = process.cpuUsage();
try {
  const figures = await liveThrough({
    nights: Number(values.nights),
    newFilesPerNight: Number(values.files),
    limits: { perMinute: 4, perDay, perMonth: perDay * 31, reservePerDay: Math.round(perDay / 25) },
    recheckFirst: Number(values['recheck-first']),
    seed: Number(values.seed),
    folder,
    onNight: (night) => {
      const { user, system } = process.cpuUsage(cpu);
      cpu = process.cpuUsage();
      if (night % 30 !== 0) return;
      const { rss } = process.memoryUsage();
      process.stderr.write(
        `night ${night}: ${Math.round((user + system) / 1000)} ms CPU, ${Math.round(rss / 1e6)} MB\n`,
      );
    },
  });
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`);
} finally {
  if (values.keep) process.stderr.write(`left in place: ${folder}\n`);
  else await rm(folder, { recursive: true });
}
