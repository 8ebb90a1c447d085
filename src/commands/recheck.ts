import {
  type OpenQuestioner,
  openDispensableSightings,
  openKnownLists,
  openLogStates,
  openQuestioner,
  openVerdictWatch,
  showTermsOnce,
  type VerdictWatch,
} from '../assembly.js';
import { dataFolder, openConfiguredCache } from '../cache/index.js';
import { changeToJson, describeChange, type VerdictChange } from '../changes.js';
import { loadConfig, requireApiKey } from '../config.js';
import { readDoNotAsk } from '../do-not-ask.js';
import { EnrichmentError } from '../errors.js';
import { type RecheckJob, type RecheckOutcome, recheck } from '../pipeline/recheck.js';
import { beginRun, type OpenRun, type RunEnd } from '../runs.js';
import type { RunFailure, Summary } from '../summary.js';
import { escapeControls, type Palette, shorten } from '../terminal.js';
import { describeQuota, LostMemory, loudnessOf, RunOutput } from './run-output.js';
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

interface RecheckOptions extends CommonOptions {
  readonly maxLookups?: number;
  readonly exec?: string;
}

/** `recheck`: asks again about files whose answers are past their lifetime, and tells whose verdict has changed. */
export async function runRecheck(shell: Shell, options: RecheckOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const conditions = parseFailOn(options.failOn);
  const doNotAsk = config.doNotAskPath === undefined ? undefined : readDoNotAsk(config.doNotAskPath);
  requireApiKey(config, 'enrich --offline judges by the answers there are, and needs none');
  const output = new RunOutput(shell, loudnessOf(options));
  const say = (text: string): void => output.say(`sysmon-vt: ${text}`);
  for (const warning of config.warnings) say(warning);
  const startedAt = shell.clock.now();
  const cache = await openConfiguredCache(config, say);
  const lost = new LostMemory((failure) => output.onFailure(failure));
  let questioner: OpenQuestioner | undefined;
  let lists: Awaited<ReturnType<typeof openKnownLists>> | undefined;
  let run: OpenRun | undefined;
  let end: RunEnd = { outcome: 'failed', exitStatus: EXIT.failed };
  try {
    const { onLost } = lost;
    const sightings = await openDispensableSightings(config, say, onLost);
    const watch = await openVerdictWatch(config, {
      sightings,
      clock: shell.clock,
      ...(options.exec === undefined ? {} : { execCommand: options.exec }),
      environment: shell.env,
      onReport: say,
      onLost,
    });
    run = await beginRun({ cacheFolder: dataFolder(config), command: 'recheck', clock: shell.clock, say, onLost });
    lists = await openKnownLists(config, say);
    if (!options.quiet) await showTermsOnce(config, (text) => output.say(text));
    const { changes } = watch;
    questioner = await openQuestioner(config, {
      cache,
      clock: shell.clock,
      purpose: 'batch',
      run: { command: 'recheck', startedAt: run.startedAt },
      signal: shell.signal,
      changes,
      say,
    });
    const outcome = await recheck({
      cache,
      questioner,
      sightings,
      states: await openLogStates(config, say, onLost),
      changes,
      ...(lists.knownGood === undefined ? {} : { knownGood: lists.knownGood }),
      ...(lists.knownBad === undefined ? {} : { knownBad: lists.knownBad }),
      ...(doNotAsk === undefined ? {} : { doNotAsk }),
      ...(options.maxLookups === undefined ? {} : { maxLookups: options.maxLookups }),
      thresholds: config.thresholds,
      lifetimes: config.lifetimes,
      clock: shell.clock,
      signal: shell.signal,
      observer: tellingOfRecheck(output),
    });
    output.end();
    const told = shell.signal.aborted ? NOTHING_TOLD : await deliverAlerts(watch, output);
    const failures = [...outcome.failures, ...told.failures, ...lost.failures];
    if (options.json) {
      const printed = {
        ...recheckJson(outcome),
        changes: changes.changes.map(changeToJson),
        alerts: told.counts,
        quota: outcome.quota,
        failures,
        elapsed_ms: shell.clock.now().getTime() - startedAt.getTime(),
      };
      await print(shell.stdout, `${JSON.stringify(printed)}\n`);
    } else if (!options.quiet) {
      const colours = paletteFor(shell, 'stderr');
      await print(
        shell.stderr,
        `${describeChanges(changes.changes, colours)}${describeRecheck(outcome)}quota     ${describeQuota(outcome.quota)}\n`,
      );
    }
    const left = outcome.due - outcome.answered;
    const isHolding = isConditionMet(conditions, changedVerdicts(changes.changes), left);
    const status = failures.length > 0 ? EXIT.failed : isHolding ? EXIT.conditionHolds : EXIT.done;
    const [failure] = failures;
    if (shell.signal.aborted) end = { outcome: 'interrupted', exitStatus: null };
    else if (failure !== undefined) end = { outcome: 'failed', exitStatus: status, failure };
    else end = { outcome: 'done', exitStatus: status };
    return status;
  } catch (error) {
    if (shell.signal.aborted) end = { outcome: 'interrupted', exitStatus: null };
    else if (error instanceof EnrichmentError) end = { ...end, failure: { code: error.code, message: error.message } };
    throw error;
  } finally {
    output.end();
    await questioner?.close();
    lists?.close();
    await cache.close();
    await run?.end(end);
  }
}

/**
 * What follows when a night is done: its alerts, then old answers with what is left of the quota, then the alerts these lead to.
 * Without a `job` nothing is asked again. Adds to `failures`. Once interrupted, the rest is left for the next run.
 */
export async function followUp(night: {
  readonly watch: VerdictWatch;
  readonly output: RunOutput;
  readonly failures: RunFailure[];
  readonly isDryRun: boolean;
  readonly signal: AbortSignal;
  readonly job: RecheckJob | undefined;
}): Promise<{ readonly alerts: AlertCounts; readonly rechecked: RecheckOutcome | undefined }> {
  const { watch, output, failures, isDryRun, signal, job } = night;
  const first = isDryRun || signal.aborted ? NOTHING_TOLD : await deliverAlerts(watch, output);
  failures.push(...first.failures);
  if (job === undefined || signal.aborted) return { alerts: first.counts, rechecked: undefined };
  const rechecked = await recheck({ ...job, observer: tellingOfRecheck(output) });
  output.end();
  failures.push(...rechecked.failures);
  if (rechecked.answered === 0 || signal.aborted) return { alerts: first.counts, rechecked };
  const second = await deliverAlerts(watch, output);
  failures.push(...second.failures);
  const delivered = first.counts.delivered + second.counts.delivered;
  return { alerts: { delivered, waiting: second.counts.waiting }, rechecked };
}

/** Alerts that left in this run, and those that still have to. */
interface AlertCounts {
  readonly delivered: number;
  readonly waiting: number;
}

/** The observer of a recheck: as of any run, but it says what is being asked. */
function tellingOfRecheck(output: RunOutput): NonNullable<RecheckJob['observer']> {
  return {
    onAskingStart: (questions) => {
      output.say(
        `asking again about files whose answers are past their lifetime: ${questions} (interrupt it, and the rest is left for another day)`,
      );
      output.onAskingStart(questions);
    },
    onOutcome: (hash, outcome) => output.onOutcome(hash, outcome),
    onRefreshed: (path) => output.onRefreshed(path),
    onContext: (path, records) => output.onContext(path, records),
    onNote: (logName, note) => output.onNote(logName, note),
    onFailure: (failure) => output.onFailure(failure),
  };
}

const NOTHING_TOLD = { counts: { delivered: 0, waiting: 0 }, failures: [] } as const;

/** Delivers the alerts that wait. One that cannot be delivered is a failure of the run, and is kept for the next one. */
async function deliverAlerts(
  { alerts }: VerdictWatch,
  output: RunOutput,
): Promise<{ readonly counts: AlertCounts; readonly failures: readonly RunFailure[] }> {
  const { delivered, waiting, failures: messages } = await alerts.deliver();
  const failures = messages.map((message): RunFailure => ({ code: 'ALERT', message: `${message} [ALERT]` }));
  for (const failure of failures) output.onFailure(failure);
  if (delivered > 0) output.say(`alerts    ${delivered} delivered`);
  return { counts: { delivered, waiting }, failures };
}

/** A recheck's counts as they are printed with `--json`. */
export function recheckJson({ due, answered, refreshed }: RecheckOutcome): object {
  return { due, answered, refreshed_files: refreshed.length };
}

/** One line on a recheck. */
export function describeRecheck({ due, answered, refreshed }: RecheckOutcome): string {
  const files = refreshed.length === 0 ? '' : `, ${refreshed.length} enriched files refreshed`;
  return `recheck   ${due} answers past their lifetime, ${answered} of them asked again${files}\n`;
}

/** Changes that are listed one by one. */
const CHANGES_SHOWN = 50;

/** The changed verdicts for people, the worst first: three lines each. */
export function describeChanges(changes: readonly VerdictChange[], colours: Palette): string {
  const badness = { malicious: 2, suspicious: 1, undetected: 0, unknown: 0, unchecked: 0 };
  const sorted = changes.toSorted((a, b) => badness[b.after.verdict] - badness[a.after.verdict]);
  const lines = sorted.slice(0, CHANGES_SHOWN).map((change) => {
    const { after, seen, hash } = change;
    const paint =
      after.verdict === 'malicious' ? colours.red : after.verdict === 'suspicious' ? colours.yellow : colours.dim;
    const image = escapeControls(shorten(seen.images[0] ?? '(image not known)', 200));
    return `${paint(after.verdict.padEnd(10))} ${image}\n           ${describeChange(change)}\n           ${hash}\n`;
  });
  const rest = changes.length - CHANGES_SHOWN;
  return `${lines.join('')}${rest > 0 ? `… and ${rest} more changed verdicts\n` : ''}`;
}

/** How many files changed to which verdict, as `--fail-on` counts verdicts. */
export function changedVerdicts(changes: readonly VerdictChange[]): Summary['verdicts'] {
  const verdicts = { malicious: 0, suspicious: 0, undetected: 0, unknown: 0, unchecked: 0 };
  for (const { after } of changes) verdicts[after.verdict]++;
  return verdicts;
}
