import { randomUUID } from 'node:crypto';
import { appendFile, readdir, readFile, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from './clock.js';
import { EnrichmentError, messageOf, systemCodeOf } from './errors.js';
import { makeFolder, writeFileDurably } from './storage/json-file.js';
import { isAlive, thisProcess, withLock } from './storage/lock.js';
import { processIdentityFromJson } from './storage/process-identity.js';
import { storageError } from './storage/storage-error.js';
import type { RunFailure, Summary } from './summary.js';

/** How a run ended. `died`: it was killed, or the machine went down; that is found out afterwards. */
export type RunOutcome = 'done' | 'failed' | 'interrupted' | 'died';

/** What is kept of one run, as it is stored and as `runs --json` prints it. */
export interface RunRecord {
  readonly command: string;
  /** ISO 8601 UTC. */
  readonly started_at: string;
  /** ISO 8601 UTC; null where the run died. */
  readonly ended_at: string | null;
  readonly outcome: RunOutcome;
  /** Null where the run died or was interrupted. */
  readonly exit_status: number | null;
  readonly logs: Summary['logs'] | null;
  readonly records: Summary['records'] | null;
  readonly hashes: Summary['hashes'] | null;
  readonly verdicts: Summary['verdicts'] | null;
  readonly quota: Summary['quota'] | null;
  /** The first of its failures; `failure_count` has all. */
  readonly failures: readonly RunFailure[];
  readonly failure_count: number;
}

/** What a run came to, as its command knows it. */
export interface RunEnd {
  readonly outcome: Exclude<RunOutcome, 'died'>;
  /** Null where it was interrupted: the signal decides. */
  readonly exitStatus: number | null;
  /** Absent where the run did not come so far. */
  readonly summary?: Summary;
  /** Where there is no summary. */
  readonly failure?: RunFailure;
}

/** A run under way. */
export interface OpenRun {
  readonly startedAt: Date;
  /** Writes the record. Never rejects: a run does not fail because it could not be recorded, but that is said. */
  end(end: RunEnd): Promise<void>;
}

/** So many runs are kept: nearly three years of nights. A little more before the oldest are dropped, so that it is done seldom. */
const KEPT_RUNS = 1000;
const MAX_RUNS = 1200;
const MAX_FAILURES = 20;
const MAX_MESSAGE_LENGTH = 500;
/** A thousand records of the largest size are smaller. */
const MAX_BYTES = 32 * 1024 * 1024;

/**
 * Begins a run's record in the `runs` folder of the cache folder. A marker stands there while it runs, so that a run that is
 * killed is found by the next one. Where it cannot, `onLost` is told, and the run goes on unrecorded; `say` is told, one line, where its
 * end cannot be recorded. This never rejects.
 */
export async function beginRun(options: {
  readonly cacheFolder: string;
  readonly command: string;
  readonly clock: Clock;
  readonly say: (text: string) => void;
  readonly onLost: (failure: EnrichmentError) => void;
}): Promise<OpenRun> {
  const { command, clock, say, onLost } = options;
  const folder = join(options.cacheFolder, 'runs');
  const startedAt = clock.now();
  const marker = join(folder, `${process.pid}-${randomUUID()}.running`);
  try {
    await inFolder(folder, () => makeFolder(folder));
    await recordTheDead(folder);
    const begun = { ...thisProcess(), command, started_at: startedAt.toISOString() };
    await writeFileDurably(marker, JSON.stringify(begun));
  } catch (error) {
    if (!(error instanceof EnrichmentError)) throw error;
    onLost(error);
    return { startedAt, end: () => Promise.resolve() };
  }
  return {
    startedAt,
    end: async ({ outcome, exitStatus, summary, failure }) => {
      const failures = summary?.failures ?? (failure === undefined ? [] : [failure]);
      try {
        await append(folder, [
          {
            command,
            started_at: startedAt.toISOString(),
            ended_at: clock.now().toISOString(),
            outcome,
            exit_status: exitStatus,
            logs: summary?.logs ?? null,
            records: summary?.records ?? null,
            hashes: summary?.hashes ?? null,
            verdicts: summary?.verdicts ?? null,
            quota: summary?.quota ?? null,
            failures: failures.slice(0, MAX_FAILURES).map(shortened),
            failure_count: failures.length,
          },
        ]);
        await inFolder(folder, () => rm(marker, { force: true }));
      } catch (error) {
        say(`this run is not recorded: ${messageOf(error)}`);
      }
    },
  };
}

/** The past runs, the oldest first, and how many lines could not be read. Throws StorageError. */
export async function readRuns(
  cacheFolder: string,
): Promise<{ readonly runs: readonly RunRecord[]; readonly damaged: number }> {
  const folder = join(cacheFolder, 'runs');
  const lines = await readLines(folder);
  const runs = [
    ...lines.flatMap((line) => recordFrom(line) ?? []),
    ...(await deadRuns(folder)).map(({ record }) => record),
  ];
  return { runs, damaged: lines.length - lines.flatMap((line) => recordFrom(line) ?? []).length };
}

function shortened(failure: RunFailure): RunFailure {
  return { ...failure, message: failure.message.slice(0, MAX_MESSAGE_LENGTH) };
}

function pathOf(folder: string): string {
  return join(folder, 'runs.jsonl');
}

async function inFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError('keep records of runs', folder, error);
  }
}

function append(folder: string, records: readonly RunRecord[]): Promise<void> {
  return withLock(folder, 'runs', () =>
    inFolder(folder, async () => {
      const lines = await readLines(folder);
      const added = records.map((record) => JSON.stringify(record));
      if (lines.length + added.length > MAX_RUNS) {
        await writeFileDurably(pathOf(folder), `${[...lines, ...added].slice(-KEPT_RUNS).join('\n')}\n`);
        return;
      }
      // A line feed first: a line that a full disk cut off must not swallow this one.
      await appendFile(pathOf(folder), `\n${added.join('\n')}\n`, { mode: 0o600, flush: true });
    }),
  );
}

async function readLines(folder: string): Promise<string[]> {
  return inFolder(folder, async () => {
    try {
      const bytes = await readFile(pathOf(folder));
      // Put there by somebody else: what is at its end may still be ours.
      const text = bytes.subarray(Math.max(0, bytes.length - MAX_BYTES)).toString('utf8');
      return text.split('\n').filter((line) => line !== '');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw error;
    }
  });
}

interface DeadRun {
  readonly markerPath: string;
  readonly record: RunRecord;
}

/** Runs whose process is gone and which nobody has recorded. */
async function deadRuns(folder: string): Promise<DeadRun[]> {
  return inFolder(folder, async () => {
    const dead: DeadRun[] = [];
    for (const name of await namesIn(folder)) {
      if (!name.endsWith('.running')) continue;
      const markerPath = join(folder, name);
      const begun = objectFrom(await textOf(markerPath));
      const identity = processIdentityFromJson(begun);
      if (begun === undefined || identity === undefined || isAlive(identity)) continue;
      const { command, started_at: startedAt } = begun;
      if (typeof command !== 'string' || typeof startedAt !== 'string') continue;
      dead.push({ markerPath, record: deadRecord(command, startedAt) });
    }
    return dead;
  });
}

function deadRecord(command: string, startedAt: string): RunRecord {
  const nothing = { logs: null, records: null, hashes: null, verdicts: null, quota: null };
  const end = { ended_at: null, outcome: 'died', exit_status: null } as const;
  return { command, started_at: startedAt, ...end, ...nothing, failures: [], failure_count: 0 };
}

async function recordTheDead(folder: string): Promise<void> {
  for (const { markerPath, record } of await deadRuns(folder)) {
    // Whoever renames nothing and removes first is the one who records it: two runs may find the same marker.
    const isOurs = await inFolder(folder, () => removed(markerPath));
    if (isOurs) await append(folder, [record]);
  }
}

async function removed(path: string): Promise<boolean> {
  try {
    // Not rm(), which takes a file that is gone for one that it has removed.
    await unlink(path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // Its run has ended since the folder was listed.
    if (systemCodeOf(error) === 'ENOENT') return '';
    throw error;
  }
}

function objectFrom(text: string): { readonly [name: string]: unknown } | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null ? (json as { readonly [name: string]: unknown }) : undefined;
  } catch {
    // A marker or line that a kill has cut off; the caller counts or skips it.
    return undefined;
  }
}

const OUTCOMES: ReadonlySet<unknown> = new Set<RunOutcome>(['done', 'failed', 'interrupted', 'died']);

/** A stored record; undefined for anything that is none. Counts inside are shown, never calculated with. */
function recordFrom(line: string): RunRecord | undefined {
  const json = objectFrom(line);
  if (json === undefined || typeof json['command'] !== 'string' || !OUTCOMES.has(json['outcome'])) return undefined;
  if (!isTime(json['started_at']) || !(json['ended_at'] === null || isTime(json['ended_at']))) return undefined;
  if (!Array.isArray(json['failures']) || typeof json['failure_count'] !== 'number') return undefined;
  const isCounted = ['logs', 'records', 'hashes', 'verdicts'].every((name) => isCounts(json[name]));
  return isCounted ? (json as unknown as RunRecord) : undefined;
}

function isTime(json: unknown): boolean {
  return typeof json === 'string' && !Number.isNaN(Date.parse(json));
}

function isCounts(json: unknown): boolean {
  if (json === null) return true;
  return typeof json === 'object' && Object.values(json ?? {}).every((count) => typeof count === 'number');
}
