import { dataFolder } from '../cache/index.js';
import { loadConfig } from '../config.js';
import { type RunRecord, readRuns } from '../runs.js';
import { describeDuration, escapeControls, type Palette } from '../terminal.js';
import {
  type CommonOptions,
  EXIT,
  type ExitStatus,
  isConditionMet,
  paletteFor,
  parseFailOn,
  print,
  type Shell,
} from './shell.js';

/** Runs shown without `--limit`. */
const SHOWN_RUNS = 20;

/** `runs`: the past runs of this cache folder, the newest last: when, how long, how they ended, what they found and asked. */
export async function runRuns(shell: Shell, options: CommonOptions & { readonly limit?: number }): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const { runs, damaged } = await readRuns(dataFolder(config));
  if (damaged > 0 && !options.quiet) {
    await print(shell.stderr, `sysmon-vt: ${damaged} damaged records of runs are left out\n`);
  }
  const shown = runs.slice(Math.max(0, runs.length - (options.limit ?? SHOWN_RUNS)));
  const conditions = parseFailOn(options.failOn);
  const isHolding = shown.some(({ verdicts, hashes }) =>
    isConditionMet(conditions, verdicts ?? { malicious: 0, suspicious: 0 }, hashes?.waiting ?? 0),
  );
  const status = isHolding ? EXIT.conditionHolds : EXIT.done;
  if (options.json) {
    await print(shell.stdout, shown.map((run) => `${JSON.stringify(run)}\n`).join(''));
    return status;
  }
  if (shown.length === 0) await print(shell.stdout, 'no runs are recorded yet\n');
  const colours = paletteFor(shell, 'stdout');
  await print(shell.stdout, shown.map((run) => describeRun(run, colours)).join(''));
  return status;
}

/** One or two lines: the run, and where it failed the first reason. */
function describeRun(run: RunRecord, colours: Palette): string {
  const { started_at: startedAt, ended_at: endedAt, outcome, exit_status: exitStatus, logs, hashes, verdicts } = run;
  const start = new Date(startedAt);
  const lasted = endedAt === null ? '' : describeDuration(new Date(endedAt).getTime() - start.getTime());
  const paint = outcome === 'done' ? colours.green : outcome === 'interrupted' ? colours.yellow : colours.red;
  const parts = [
    `${start.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    escapeControls(run.command).padEnd(7),
    paint(outcome.padEnd(11)),
    (exitStatus === null ? '' : `exit ${exitStatus}`).padEnd(8),
    lasted.padEnd(9),
    logs === null ? '' : `${logs.read} logs`,
    hashes === null ? '' : `${hashes.asked} asked, ${hashes.waiting} waiting`,
    verdicts === null ? '' : `${verdicts.malicious} malicious, ${verdicts.suspicious} suspicious`,
  ];
  const [failure] = run.failures;
  const more = run.failure_count > 1 ? ` (and ${run.failure_count - 1} more)` : '';
  const why = failure === undefined ? '' : `    ${escapeControls(String(failure.message))}${more}\n`;
  return `${parts
    .filter((part) => part !== '')
    .join('  ')
    .trimEnd()}\n${why}`;
}
