import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BenchSetup, DENSE_LINE_BYTES } from './log-parts.js';
import { writeJsonLog } from './log-workloads.js';
import { compare, SYSMON_VT } from './measure.js';
import { circumstances, costRow, digits, type Table } from './tables.js';

const FILES = 10_000;
const LATENCY_MS = 20;
const PER_MINUTE = 60_000;

/** The whole job at a premium rate: every file of a log asked about, judged, durable and written. */
export async function benchQuestions(setup: BenchSetup): Promise<Table> {
  const path = join(setup.folder, 'questions.jsonl');
  await writeJsonLog(path, { bytes: FILES * DENSE_LINE_BYTES, distinctFiles: FILES }, true);
  const standIn = await startStandInProcess();
  const rows: string[][] = [];
  try {
    for (const concurrency of [16, 64]) {
      for (let round = 0; round < Math.min(3, setup.rounds); round++) {
        const cache = join(setup.folder, 'asked');
        const env = {
          CACHE_URL: cache,
          VT_API_KEY: 'bench',
          VT_BASE_URL: standIn.baseUrl,
          VT_REQUESTS_PER_MINUTE: String(PER_MINUTE),
          VT_REQUESTS_PER_DAY: 'unlimited',
          VT_REQUESTS_PER_MONTH: 'unlimited',
          VT_CONCURRENCY: String(concurrency),
        };
        const command = [...SYSMON_VT, 'enrich', path, '--quiet', '--out', join(setup.folder, 'out')];
        const [measure] = await compare([{ name: 'enrich', command, env }], 1);
        const { answers, ms } = await spanOf(standIn.baseUrl);
        if (answers < FILES) throw new Error(`${answers} of ${FILES} files were asked about`);
        if (measure !== undefined) {
          rows.push([String(concurrency), digits((answers / ms) * 1000), digits(ms / 1000), ...costRow(measure)]);
        }
        await rm(cache, { recursive: true });
      }
    }
  } finally {
    standIn.child.kill();
  }
  return {
    title: 'Look-ups at a premium rate',
    columns: ['concurrency', 'answers/s', 'asking, s', 'whole job, wall s', 'CPU s', 'peak MiB', 'rounds'],
    rows,
    notes: [
      `${FILES.toLocaleString('en')} files, ${PER_MINUTE.toLocaleString('en')} requests a minute allowed, answers after ${LATENCY_MS} ms. Asking is from the first question to the last answer, each durable before its place is free for another; the whole job also starts, reads, folds the answers into shards and writes all records twice.`,
      circumstances(),
    ],
  };
}

async function spanOf(baseUrl: string): Promise<{ readonly answers: number; readonly ms: number }> {
  return (await fetch(new URL('/span', baseUrl))).json() as Promise<{ readonly answers: number; readonly ms: number }>;
}

async function startStandInProcess(): Promise<{ readonly baseUrl: string; readonly child: ChildProcess }> {
  const script = join(import.meta.dirname, 'stand-in.child.js');
  const child = spawn(process.execPath, [script, String(FILES), String(LATENCY_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const baseUrl = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => reject(new Error(`the stand-in ended with ${status}`)));
    child.stdout.once('data', (text) => resolve(String(text).trim()));
  });
  return { baseUrl, child };
}
