import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { MutantReading } from './reader.js';

// npm run fuzz -- [--minutes N] [--seed N] [--once] [--samples FOLDER]: reads damaged logs with every source, tells of each that ended in
// anything but records, rejects and errors of ours, took too long or too much memory, and what it all came to. --once reads one again.
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    once: { type: 'boolean', default: false },
    samples: { type: 'string', default: resolve(import.meta.dirname, '../../../../shared/data/sysmon') },
  },
});

/** How long one mutant may take before its reader is given up. */
const HANG_MS = 60_000;
/** Heap of the reader; a log is read in far less. */
const MAX_HEAP_MB = 400;

const startedAt = performance.now();
const endsAt = startedAt + Number(values.minutes) * 60_000;
let present = Number(values.seed);
let presentSince = startedAt;
let mutants = 0;
let bytes = 0;
let records = 0;
let rejects = 0;
let violations = 0;
let slowest: MutantReading | undefined;
let maxRssBytes = 0;
const ends = new Map<string, number>();

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function tell(reading: MutantReading): void {
  mutants++;
  bytes += reading.byteCount;
  records += reading.records;
  rejects += reading.rejects;
  ends.set(reading.end, (ends.get(reading.end) ?? 0) + 1);
  if (slowest === undefined || reading.ms > slowest.ms) slowest = reading;
  if (reading.violation !== undefined) blame(reading.seed, `${reading.name}\n    ${reading.violation}`);
  else if (values.once) say(JSON.stringify(reading));
}

function blame(seed: number, what: string): void {
  violations++;
  say(`VIOLATION, seed ${seed}: ${what}`);
}

/** Reads mutants from `present` on until the time is over, one fails to end, or the reader dies of one. */
function readOn(): Promise<void> {
  return new Promise((done) => {
    const worker = new Worker(new URL('./reader.js', import.meta.url), {
      workerData: {
        firstSeed: present,
        samples: existsSync(values.samples) ? values.samples : undefined,
        isSingle: values.once,
      },
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    presentSince = performance.now();
    const watch = setInterval(() => {
      maxRssBytes = Math.max(maxRssBytes, process.memoryUsage.rss());
      const isHung = performance.now() - presentSince > HANG_MS;
      if (!isHung && performance.now() < endsAt) return;
      clearInterval(watch);
      if (isHung) blame(present, `no end within ${HANG_MS} ms`);
      void worker.terminate();
    }, 250);
    worker.on('message', (message: number | MutantReading) => {
      presentSince = performance.now();
      if (typeof message === 'number') present = message;
      else tell(message);
    });
    worker.on('error', (error) => blame(present, error.stack ?? error.message));
    worker.on('exit', () => {
      clearInterval(watch);
      done();
    });
  });
}

do {
  await readOn();
  present++;
} while (!values.once && performance.now() < endsAt);

const seconds = (performance.now() - startedAt) / 1000;
say(`${mutants} mutants, ${Math.round(bytes / 2 ** 20)} MiB, in ${Math.round(seconds)} s, first seed ${values.seed}`);
say(`${records} records, ${rejects} rejects; ends: ${[...ends].map(([end, count]) => `${end} ${count}`).join(', ')}`);
if (slowest !== undefined)
  say(`slowest: ${Math.round(slowest.ms)} ms for ${slowest.byteCount} bytes, seed ${slowest.seed}: ${slowest.name}`);
say(`largest resident set ${Math.round(maxRssBytes / 2 ** 20)} MiB; ${violations} violations`);
process.exitCode = violations > 0 ? 1 : 0;
