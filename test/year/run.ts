import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { liveThrough } from './year.js';

// npx tsc -p test/year && node build/test/year/run.js [--nights N] [--files N] [--per-day N] [--recheck-first N] [--seed N]:
// lives through a year and prints its figures as JSON, progress on stderr.
const { values } = parseArgs({
  options: {
    nights: { type: 'string', default: '365' },
    files: { type: 'string', default: '1000' },
    'per-day': { type: 'string', default: '500' },
    'recheck-first': { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
  },
});
const perDay = Number(values['per-day']);
const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-year-'));
const startedAt = performance.now();
try {
  const figures = await liveThrough({
    nights: Number(values.nights),
    newFilesPerNight: Number(values.files),
    limits: { perMinute: 4, perDay, perMonth: perDay * 31, reservePerDay: Math.round(perDay / 25) },
    recheckFirst: Number(values['recheck-first']),
    seed: Number(values.seed),
    folder,
    onNight: (night) => {
      if (night % 30 === 0)
        process.stderr.write(`night ${night}, ${Math.round((performance.now() - startedAt) / 1000)} s\n`);
    },
  });
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`);
} finally {
  await rm(folder, { recursive: true });
}
