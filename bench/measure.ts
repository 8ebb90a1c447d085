import { spawn } from 'node:child_process';
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** What one run of a command cost; processor time and memory are those of its children too. */
export interface Cost {
  readonly wallS: number;
  readonly cpuS: number;
  readonly peakMiB: number;
}

/** A command line under a name for the tables. */
export interface Job {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** How often the command is run for one measure, for what is over too soon to be measured once; the cost is that of one run. */
  readonly runs?: number;
  /** A folder that is removed before each measure: what one run remembers would spare the next one its work. */
  readonly forgets?: string;
}

/** Medians of a job. */
export interface Measure extends Cost {
  readonly name: string;
  readonly rounds: number;
}

/** Where GNU time is: Node does not tell what a child cost. */
const TIME = '/usr/bin/time';

/** The program as users run it. */
export const SYSMON_VT: readonly string[] = [process.execPath, join(import.meta.dirname, '../../dist/cli.js')];

/** Runs the jobs in turn, round after round, so that whatever else the machine does meets all of them, and returns their medians. */
export async function compare(jobs: readonly Job[], rounds: number): Promise<Measure[]> {
  const costs = jobs.map((): Cost[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, job] of jobs.entries()) costs[index]?.push(await costOf(job));
  }
  return jobs.map(({ name }, index) => {
    const of = (pick: (cost: Cost) => number): number => median((costs[index] ?? []).map(pick));
    return {
      name,
      rounds,
      wallS: of(({ wallS }) => wallS),
      cpuS: of(({ cpuS }) => cpuS),
      peakMiB: of(({ peakMiB }) => peakMiB),
    };
  });
}

/** The middle of some numbers; NaN without any. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Where on the PATH a program is, or undefined. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}

async function costOf({ command, env, runs = 1, forgets }: Job): Promise<Cost> {
  if (forgets !== undefined) await rm(forgets, { recursive: true, force: true });
  const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-bench-'));
  try {
    const report = join(folder, 'time');
    const repeated =
      runs === 1 ? command : ['/bin/sh', '-c', `for i in $(seq ${runs}); do "$@"; done`, 'sh', ...command];
    await run([TIME, '-f', '%e %U %S %M', '-o', report, ...repeated], { ...process.env, ...env });
    const [wallS = 0, userS = 0, systemS = 0, peakKiB = 0] = (await readFile(report, 'utf8'))
      .trim()
      .split(/\s+/)
      .map(Number);
    return { wallS: wallS / runs, cpuS: (userS + systemS) / runs, peakMiB: peakKiB / 1024 };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Runs a command to its end, its output read and dropped. Rejects where it fails. */
function run([program = '', ...options]: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    // Into a pipe: grep stops at its first match where its output is thrown away.
    const child = spawn(program, options, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.resume();
    let said = '';
    child.stderr.on('data', (text) => {
      if (said.length < 2_000) said += String(text);
    });
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new Error(`${[program, ...options].join(' ')}: exit ${status}: ${said}`));
    });
  });
}
