import { openDispensableSightings, openQuestioner } from '../assembly.js';
import { openConfiguredCache } from '../cache/index.js';
import { loadConfig, requireApiKey } from '../config.js';
import type { RunFailure } from '../summary.js';
import { escapeControls } from '../terminal.js';
import { forecastDays } from './plan.js';
import { describeQuota, LostMemory } from './run-output.js';
import { type CommonOptions, EXIT, type ExitStatus, print, type Shell, statusOf } from './shell.js';

/** `quota`: what this machine has asked with this key, VirusTotal's own count where it can be reached, and when the queue will be done. */
export async function runQuota(shell: Shell, options: CommonOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  requireApiKey(config, 'What is asked is counted for each key; queue shows what waits, and needs none');
  const say = (text: string): void => {
    if (!options.quiet) shell.stderr.write(`sysmon-vt: ${escapeControls(text)}\n`);
  };
  const complain = ({ message }: { readonly message: string }): void => {
    shell.stderr.write(`sysmon-vt: ${escapeControls(message)}\n`);
  };
  const lost = new LostMemory(complain);
  const cache = await openConfiguredCache(config, say);
  const questioner = await openQuestioner(config, {
    cache,
    clock: shell.clock,
    purpose: 'on_demand',
    signal: shell.signal,
    say,
  });
  try {
    const usage = await questioner.usage();
    const theirs = await questioner.remoteUsage();
    const { failure } = questioner;
    if (failure !== undefined) complain(failure);
    const sightings = await openDispensableSightings(config, say, lost.onLost);
    const waiting = (await sightings.waiting()).size;
    const now = shell.clock.now();
    const days = forecastDays(waiting, usage, questioner.limits, now);
    const doneOn = days === undefined ? undefined : new Date(now.getTime() + days * DAY_MS).toISOString().slice(0, 10);
    const queue = sightings.isLost ? null : { waiting, days: days ?? null, done_on: doneOn ?? null };
    const failures: readonly RunFailure[] = [
      ...lost.failures,
      ...(failure === undefined ? [] : [{ code: failure.code, message: failure.message }]),
    ];
    const status = failures.length > 0 ? EXIT.failed : statusOf(options.failOn, waiting);
    if (options.json) {
      await print(shell.stdout, `${JSON.stringify({ ...usage, virustotal: theirs ?? null, queue, failures })}\n`);
      return status;
    }
    const count = (used: number, allowed: number): string => `${used} of ${allowed}`;
    const remote =
      theirs === undefined
        ? failure === undefined
          ? 'cannot be reached, or does not say'
          : 'refuses the key'
        : `${count(theirs.day.used, theirs.day.limit ?? 0)} today, ${count(theirs.month.used, theirs.month.limit ?? 0)} this month`;
    await print(
      shell.stdout,
      `this machine  ${describeQuota(usage)}\nVirusTotal    ${remote}\nqueue         ${queue === null ? 'not known' : describeQueue(waiting, days, doneOn)}\n`,
    );
    return status;
  } finally {
    await questioner.close();
    await cache.close();
  }
}

const DAY_MS = 24 * 60 * 60 * 1000;

function describeQueue(waiting: number, days: number | undefined, doneOn: string | undefined): string {
  if (waiting === 0) return 'nothing waits';
  const files = `${waiting} ${waiting === 1 ? 'file waits' : 'files wait'}`;
  if (days === undefined) return `${files}; at this quota it never ends`;
  return days === 0 ? `${files}; all can be asked today` : `${files}; the last is asked in ${days} days, on ${doneOn}`;
}
