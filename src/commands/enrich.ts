import { randomUUID } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { access, open, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type OpenQuestioner,
  openDispensableSightings,
  openKnownLists,
  openLogStates,
  openQuestioner,
  openVerdictWatch,
  showTermsOnce,
} from '../assembly.js';
import { dataFolder, openConfiguredCache } from '../cache/index.js';
import { changeToJson } from '../changes.js';
import { loadConfig, parseDuration, requireApiKey } from '../config.js';
import { readDoNotAsk } from '../do-not-ask.js';
import { describeReject, EnrichmentError, messageOf, StorageError, systemCodeOf, UsageError } from '../errors.js';
import { HASH_BEARING_EVENTS, PROCESS_CREATION } from '../event.js';
import { findLogs, type LogFile, refuseLoss } from '../log-paths.js';
import { enrich } from '../pipeline.js';
import type { ReportFormat } from '../reports/index.js';
import { beginRun, type OpenRun, type RunEnd } from '../runs.js';
import { outputFile } from '../sinks/enriched-file.js';
import { NATIVE_FORM, RECORD_FORMS, type RecordForm } from '../sinks/record-form.js';
import { streamByteReader } from '../sources/byte-reader.js';
import { temporaryFolder } from '../storage/temporary.js';
import type { RunFailure, Summary } from '../summary.js';
import { idleQuota } from './idle-quota.js';
import { describePlan, planOf } from './plan.js';
import { changedVerdicts, describeChanges, describeRecheck, followUp, recheckJson } from './recheck.js';
import { describeSummary, LostMemory, loudnessOf, RunOutput } from './run-output.js';
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

interface EnrichOptions extends CommonOptions {
  readonly out?: string;
  readonly events?: string;
  readonly records?: string;
  readonly allEvents?: boolean;
  readonly inPlace?: boolean;
  readonly report?: string;
  readonly offline?: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly since?: string;
  readonly maxLookups?: number;
  /** False with `--no-recheck`. */
  readonly recheck?: boolean;
  readonly exec?: string;
  readonly rejects?: string;
  readonly maxRejects?: number;
}

/** `enrich`: the nightly job. */
export async function runEnrich(shell: Shell, paths: readonly string[], options: EnrichOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const conditions = parseFailOn(options.failOn);
  const doNotAsk = config.doNotAskPath === undefined ? undefined : readDoNotAsk(config.doNotAskPath);
  const eventIds = parseEventIds(options.events);
  const form = RECORD_FORMS.get(options.records ?? 'jsonl');
  if (form === undefined) {
    throw new UsageError('BAD_USAGE', `--records ${options.records}: it takes ${[...RECORD_FORMS.keys()].join(', ')}`);
  }
  const reportFormats =
    options.report === undefined ? undefined : (await import('../reports/index.js')).parseReportFormats(options.report);
  if (reportFormats !== undefined && options.dryRun) {
    throw new UsageError('BAD_USAGE', '--dry-run writes nothing, so there is nothing to --report on');
  }
  if (reportFormats !== undefined) {
    await (await import('./report.js')).refuseReportLoss(reportFormats, options.out ?? '.');
  }
  const readsStdin = paths.includes('-');
  if (readsStdin && options.json && options.out === undefined) {
    throw new UsageError('BAD_USAGE', 'records of standard input and --json would both go to stdout; give --out DIR');
  }
  if (options.dryRun && readsStdin) {
    throw new UsageError('BAD_USAGE', '--dry-run reads logs that can be read again; standard input cannot');
  }
  if (options.inPlace) refuseBesideInPlace(options, readsStdin);
  const since = options.since === undefined ? undefined : parseTime(options.since);
  if (!options.offline && !options.dryRun) requireApiKey(config);
  const found = await findLogs(
    paths.filter((path) => path !== '-'),
    options.out,
    {
      since: since?.(shell.clock.now()),
      reserved: readsStdin && options.out !== undefined ? [stdinPathIn(options.out, form)] : [],
      ending: form.ending,
    },
  );
  const logs = options.inPlace ? await writtenInPlace(found.logs) : found.logs;

  if (options.rejects !== undefined) {
    await refuseLoss(options.rejects, '--rejects', logs);
    await refuseForeign(options.rejects);
  }
  const rejects = options.rejects === undefined ? undefined : rejectFile(options.rejects);
  const output = new RunOutput(shell, loudnessOf(options), (logName, reject) => rejects?.add(logName, reject));
  for (const warning of config.warnings) output.say(`sysmon-vt: ${warning}`);
  for (const path of found.own) output.say(`sysmon-vt: ${path}: skipped, it is one of this program's own files`);
  const spool = readsStdin ? await openSpool(options.out, form) : undefined;
  const cache = await openConfiguredCache(config, (report) => output.say(`sysmon-vt: ${report}`));
  const lost = new LostMemory((failure) => output.onFailure(failure));
  let questioner: OpenQuestioner | undefined;
  let lists: Awaited<ReturnType<typeof openKnownLists>> | undefined;
  let run: OpenRun | undefined;
  let end: RunEnd = { outcome: 'failed', exitStatus: EXIT.failed };
  try {
    const report = (text: string): void => output.say(`sysmon-vt: ${text}`);
    const { onLost } = lost;
    if (!options.dryRun) {
      run = await beginRun({
        cacheFolder: dataFolder(config),
        command: 'enrich',
        clock: shell.clock,
        say: report,
        onLost,
      });
    }
    lists = await openKnownLists(config, report);
    const sightings = await openDispensableSightings(config, report, onLost);
    const states = await openLogStates(config, report, onLost);
    const watch = await openVerdictWatch(config, {
      sightings,
      clock: shell.clock,
      ...(options.exec === undefined ? {} : { execCommand: options.exec }),
      environment: shell.env,
      onReport: report,
      onLost,
    });
    // A dry run asks nothing, but with a key it can tell what the ledger leaves.
    if (!options.offline && (!options.dryRun || config.apiKey !== undefined)) {
      if (!options.quiet && !options.dryRun) await showTermsOnce(config, (text) => output.say(text));
      questioner = await openQuestioner(config, {
        cache,
        clock: shell.clock,
        purpose: 'batch',
        run: { command: 'enrich', startedAt: run?.startedAt ?? shell.clock.now() },
        signal: shell.signal,
        changes: watch.changes,
        say: report,
      });
    }
    const about = {
      cache,
      sightings,
      states,
      changes: watch.changes,
      ...(lists.knownGood === undefined ? {} : { knownGood: lists.knownGood }),
      ...(lists.knownBad === undefined ? {} : { knownBad: lists.knownBad }),
      ...(doNotAsk === undefined ? {} : { doNotAsk }),
      thresholds: config.thresholds,
      lifetimes: config.lifetimes,
      clock: shell.clock,
      signal: shell.signal,
    };
    const { summary, detected, questions, carriedOver } = await enrich({
      ...about,
      logs,
      ...(spool === undefined
        ? {}
        : { stdin: { reader: streamByteReader(shell.stdin), enrichedPath: spool.enrichedPath } }),
      ...(questioner === undefined
        ? { usage: () => idleQuota(config, { cache, clock: shell.clock, say: report }) }
        : { questioner }),
      eventIds,
      isEveryRecordWritten: options.allEvents ?? false,
      isInPlace: options.inPlace ?? false,
      form,
      isDryRun: options.dryRun ?? false,
      isForced: options.force ?? false,
      isEveryRejectWanted: options.rejects !== undefined,
      isRecheckOff: options.recheck === false,
      listsPrint: lists.print,
      ...(options.maxLookups === undefined ? {} : { maxLookups: options.maxLookups }),
      observer: output,
    });
    output.end();
    if (spool?.isForStdout) await copyToStdout(shell, spool.enrichedPath);

    // One list, since what follows may lose something too.
    const { failures } = lost;
    failures.push(...summary.failures);
    // All logs are read and written by now: what cannot be written beside them is told, and the rest is done.
    const failToWrite = ({ code, message }: StorageError): void => {
      failures.push({ code, message });
      output.onFailure({ code, message });
    };
    await rejects?.commit().catch((error: unknown) => {
      if (!(error instanceof StorageError)) throw error;
      failToWrite(error);
    });
    for (const { path, why } of found.failures) {
      const failure: RunFailure = { path, code: 'UNREADABLE', message: `${path}: ${why} [UNREADABLE]` };
      failures.push(failure);
      output.onFailure(failure);
    }
    if (options.maxRejects !== undefined && summary.records.rejected > options.maxRejects) {
      const failure: RunFailure = {
        code: 'BAD_RECORD',
        message: `${summary.records.rejected} records could not be read, --max-rejects allows ${options.maxRejects} [BAD_RECORD]`,
      };
      failures.push(failure);
      output.onFailure(failure);
    }
    const whole: Summary = {
      ...summary,
      logs: { ...summary.logs, failed: summary.logs.failed + found.failures.length },
      failures,
    };
    const plan = options.dryRun
      ? planOf(questions, whole.quota, questioner?.limits ?? config.limits, options.maxLookups)
      : undefined;
    if (reportFormats !== undefined) {
      const written = [
        ...logs.map(({ enrichedPath }) => enrichedPath),
        ...(spool === undefined ? [] : [spool.enrichedPath]),
      ];
      const reports = await reportOn(written, reportFormats, options.out ?? '.', shell.signal);
      for (const path of reports.paths) output.say(`report    ${path}`);
      reports.failures.forEach(failToWrite);
    }
    const colours = paletteFor(shell, 'stderr');
    if (!options.json && !options.quiet) await print(shell.stderr, describeSummary(whole, detected, colours));
    if (plan !== undefined && !options.json) await print(shell.stdout, describePlan(plan));

    // All of tonight is done and told; what follows may take as long as the quota lasts.
    const mayRecheck = !options.dryRun && options.recheck !== false && questioner?.failure?.isFinal !== true;
    const { alerts, rechecked } = await followUp({
      watch,
      output,
      failures,
      isDryRun: options.dryRun ?? false,
      signal: shell.signal,
      job:
        questioner === undefined || !mayRecheck
          ? undefined
          : {
              ...about,
              questioner,
              ...(options.maxLookups === undefined
                ? {}
                : { maxLookups: Math.max(0, options.maxLookups - questions.count) }),
            },
    });
    if (rechecked !== undefined && rechecked.answered > 0 && !options.json && !options.quiet) {
      await print(shell.stderr, describeRecheck(rechecked));
    }
    const { changes } = watch.changes;
    if (options.json) {
      const printed = {
        ...whole,
        carried_over: carriedOver,
        changes: changes.map(changeToJson),
        alerts,
        ...(rechecked === undefined ? {} : { recheck: recheckJson(rechecked), quota: rechecked.quota }),
        ...(plan === undefined ? {} : { plan }),
      };
      await print(shell.stdout, `${JSON.stringify(printed)}\n`);
    } else if (!options.quiet) {
      await print(shell.stderr, describeChanges(changes, colours));
    }
    const isHolding =
      isConditionMet(conditions, whole.verdicts, whole.hashes.waiting === 0 ? 0 : 1) ||
      isConditionMet(conditions, changedVerdicts(changes), 0);
    const status = failures.length > 0 ? EXIT.failed : isHolding ? EXIT.conditionHolds : EXIT.done;
    if (shell.signal.aborted) end = { outcome: 'interrupted', exitStatus: null, summary: whole };
    else end = { outcome: failures.length > 0 ? 'failed' : 'done', exitStatus: status, summary: whole };
    return status;
  } catch (error) {
    if (error instanceof EnrichmentError) end = { ...end, failure: { code: error.code, message: error.message } };
    throw error;
  } finally {
    output.end();
    await questioner?.close();
    lists?.close();
    await cache.close();
    await spool?.remove();
    await rejects?.abandon();
    await run?.end(end);
  }
}

/** Throws UsageError for what cannot go together with `--in-place`. */
function refuseBesideInPlace({ out, records }: EnrichOptions, readsStdin: boolean): void {
  const other =
    out !== undefined
      ? '--out writes elsewhere'
      : records !== undefined && records !== NATIVE_FORM.name
        ? `--records ${records} writes records anew`
        : readsStdin
          ? 'standard input has no place'
          : undefined;
  if (other !== undefined) throw new UsageError('BAD_USAGE', `--in-place writes into the logs themselves, ${other}`);
}

/** The logs with themselves as their enriched files. A link's target is written, not the link. */
async function writtenInPlace(logs: readonly LogFile[]): Promise<LogFile[]> {
  return Promise.all(
    logs.map(async (log) => {
      const path = await realpath(log.path).catch(() => log.path);
      return { ...log, path, enrichedPath: path };
    }),
  );
}

/** Reports on the enriched files of this run that there are; a log without process creations has none. */
async function reportOn(
  enrichedPaths: readonly string[],
  formats: readonly ReportFormat[],
  folder: string,
  signal: AbortSignal,
): ReturnType<typeof import('./report.js')['writeReports']> {
  const { readEnrichedSet, writeReports } = await import('./report.js');
  const there: string[] = [];
  for (const path of enrichedPaths) if (await exists(path)) there.push(path);
  return writeReports((await readEnrichedSet(there, signal)).summarise(), formats, folder);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Reads `--since`: an ISO 8601 time (UTC where it has no zone) or how long ago. Throws UsageError. */
function parseTime(text: string): (now: Date) => Date {
  const agoMs = parseDuration(text);
  if (agoMs !== undefined) return (now) => new Date(now.getTime() - agoMs);
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const isTime = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/.test(text);
  const zone = isDay || /(Z|[+-]\d\d:?\d\d)$/.test(text.slice(10)) ? '' : 'Z';
  const date = new Date(`${text.replace(' ', 'T')}${zone}`);
  if ((!isDay && !isTime) || Number.isNaN(date.getTime()) || !isInCalendar(text.slice(0, 10))) {
    throw new UsageError('BAD_USAGE', `--since ${text}: it takes a time such as 2026-03-04T22:00Z, a day, or 24h`);
  }
  return () => date;
}

/** Whether there is such a day: Date takes the 30th of February for the first of March. */
function isInCalendar(day: string): boolean {
  return new Date(`${day}T00:00Z`).toISOString().startsWith(day);
}

/** Reads `--events 1,7,29`. Throws UsageError for ids that carry no file's hash. */
function parseEventIds(list: string | undefined): ReadonlySet<number> {
  if (list === undefined) return new Set([PROCESS_CREATION]);
  const ids = list.split(',').map((id) => id.trim());
  const wrong = ids.find((id) => !HASH_BEARING_EVENTS.some((known) => String(known) === id));
  if (wrong !== undefined) {
    const known = HASH_BEARING_EVENTS.join(',');
    throw new UsageError(
      'BAD_USAGE',
      `--events ${list}: "${wrong}" is none of the events with a file's hash, ${known}`,
    );
  }
  return new Set(ids.map(Number));
}

/** How every line of a file of rejects starts. */
const REJECT_START = '{"log":';

/** Throws UsageError COLLISION where `--rejects` would replace anything but rejects of an earlier run. */
async function refuseForeign(path: string): Promise<void> {
  const status = await stat(path).catch((error: unknown) => error);
  // Whether something can be written there shows later.
  if (systemCodeOf(status) !== undefined) return;
  const head = Buffer.alloc(REJECT_START.length);
  let why = 'is no file of rejects';
  try {
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const isFile = (await file.stat()).isFile();
      const { bytesRead } = isFile ? await file.read(head, 0, head.length, 0) : { bytesRead: -1 };
      if (bytesRead === 0 || head.toString() === REJECT_START) return;
    } finally {
      await file.close();
    }
  } catch (error) {
    why = `cannot be read (${messageOf(error)})`;
  }
  throw new UsageError('COLLISION', `--rejects ${path} is there and ${why}, so it is not replaced; name another file`);
}

/** Collects rejects as JSON lines; the file appears whole at the end, or not if there are none. */
function rejectFile(path: string): {
  add(logName: string, reject: Parameters<typeof describeReject>[1]): void;
  commit(): Promise<void>;
  abandon(): Promise<void>;
} {
  const output = outputFile(path);
  // One write at a time, in order; what fails surfaces at the end.
  let writes: Promise<void> = Promise.resolve();
  return {
    add: (logName, reject) => {
      const line = JSON.stringify({ log: logName, ...reject, text: describeReject(logName, reject) });
      writes = writes.then(() => output.write(Buffer.from(`${line}\n`)));
      // Awaited in commit; without this a failure before then would end the process.
      writes.catch(() => undefined);
    },
    commit: async () => {
      await writes;
      await output.commit();
    },
    abandon: () => output.abandon(),
  };
}

interface Spool {
  readonly enrichedPath: string;
  readonly isForStdout: boolean;
  remove(): Promise<void>;
}

/** The file for the records of standard input below `--out`. */
function stdinPathIn(outFolder: string, { ending }: RecordForm): string {
  return join(outFolder, `stdin${ending}`);
}

/** Where the records of standard input are written: below `--out`, or in a private temporary folder on the way to stdout. */
async function openSpool(outFolder: string | undefined, form: RecordForm): Promise<Spool> {
  if (outFolder !== undefined) {
    return { enrichedPath: stdinPathIn(outFolder, form), isForStdout: false, remove: async () => {} };
  }
  const folder = await temporaryFolder();
  return {
    enrichedPath: join(folder, `${randomUUID()}${form.ending}`),
    isForStdout: true,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function copyToStdout(shell: Shell, path: string): Promise<void> {
  if (!(await exists(path))) return;
  for await (const chunk of createReadStream(path)) await print(shell.stdout, chunk);
}
