import type { Writable } from 'node:stream';
import type { Clock } from '../clock.js';
import { EnrichmentError, messageOf, UsageError } from '../errors.js';
import type { Summary } from '../summary.js';
import { escapeControls, type Palette, palette } from '../terminal.js';

/** The process as commands see it; only `cli.ts` knows the real one. */
export interface Shell {
  /** Ends early once `signal` has aborted. */
  readonly stdin: AsyncIterable<Buffer>;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isStdoutTerminal: boolean;
  readonly isStderrTerminal: boolean;
  readonly clock: Clock;
  /** Aborts at the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Exit statuses; a promise to scripts. */
export const EXIT = { done: 0, conditionHolds: 1, badUsage: 2, failed: 3 } as const;

export type ExitStatus = (typeof EXIT)[keyof typeof EXIT];

/** Options that every command has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly envFile?: string;
  readonly failOn?: string;
}

/** What `--fail-on` may name. */
const CONDITIONS = ['malicious', 'suspicious', 'incomplete'] as const;

export type FailCondition = (typeof CONDITIONS)[number];

/** Reads `--fail-on malicious,incomplete`. Throws UsageError that lists what there is. */
export function parseFailOn(list: string | undefined): ReadonlySet<FailCondition> {
  const names = (list ?? '').split(',').map((name) => name.trim().toLowerCase());
  const conditions = new Set<FailCondition>();
  for (const name of names) {
    if (name === '') continue;
    const condition = CONDITIONS.find((known) => known === name);
    if (condition === undefined) {
      throw new UsageError('BAD_USAGE', `--fail-on ${name}: it takes a list of ${CONDITIONS.join(', ')}`);
    }
    conditions.add(condition);
  }
  return conditions;
}

/**
 * Whether one of the conditions holds: for these verdicts, of which `suspicious` includes what is worse, and for so many files or records
 * that something is still to be known of.
 */
export function isConditionMet(
  conditions: ReadonlySet<FailCondition>,
  verdicts: Pick<Summary['verdicts'], 'malicious' | 'suspicious'>,
  waiting: number,
): boolean {
  if (conditions.has('malicious') && verdicts.malicious > 0) return true;
  if (conditions.has('suspicious') && verdicts.malicious + verdicts.suspicious > 0) return true;
  return conditions.has('incomplete') && waiting > 0;
}

/** The status of a command that tells of no verdicts, but of so many files or records that something is still to be known of. */
export function statusOf(failOn: string | undefined, waiting: number): ExitStatus {
  const isHolding = isConditionMet(parseFailOn(failOn), { malicious: 0, suspicious: 0 }, waiting);
  return isHolding ? EXIT.conditionHolds : EXIT.done;
}

/** Writes to an output and waits where it cannot keep up. */
export async function print(output: Writable, text: string | Uint8Array): Promise<void> {
  if (output.write(text)) return;
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      output.off('drain', finish);
      output.off('close', finish);
      output.off('error', finish);
      resolve();
    };
    output.on('drain', finish);
    output.on('close', finish);
    output.on('error', finish);
  });
}

/** Colours for an output, where it may be drawn on. */
export function paletteFor(shell: Shell, output: 'stdout' | 'stderr'): Palette {
  return palette(mayBeDrawn(shell, output));
}

/** Whether an output takes colours and lines that are redrawn: it is a terminal, and `NO_COLOR` is not set. */
export function mayBeDrawn(shell: Shell, output: 'stdout' | 'stderr'): boolean {
  const isTerminal = output === 'stdout' ? shell.isStdoutTerminal : shell.isStderrTerminal;
  return isTerminal && (shell.env['NO_COLOR'] ?? '') === '';
}

/**
 * The status and the text for people that an error deserves: one line, and below it where it came from for anything but our own errors,
 * since that is a defect. Nothing in it can steer a terminal.
 */
export function describeError(error: unknown): { readonly status: ExitStatus; readonly text: string } {
  const message = `sysmon-vt: ${escapeControls(messageOf(error))}`;
  if (error instanceof UsageError) return { status: EXIT.badUsage, text: message };
  if (error instanceof EnrichmentError) return { status: EXIT.failed, text: message };
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const places = stack.split('\n').filter((line) => /^ +at /.test(line));
  const text = [`${message} (unexpected failure; please report it)`, ...places.map(escapeControls)].join('\n');
  return { status: EXIT.failed, text };
}
