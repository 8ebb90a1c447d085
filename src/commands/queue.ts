import { openConfiguredSightings, openKnownLists, openQuestioner } from '../assembly.js';
import { openConfiguredCache } from '../cache/index.js';
import { loadConfig } from '../config.js';
import { algorithmOf } from '../hash.js';
import { Judgements } from '../judgements.js';
import { carriedOver, chooseQuestions, locateFiles } from '../pipeline/choosing.js';
import { Memory } from '../pipeline/memory.js';
import { planned } from '../pipeline.js';
import type { QuotaSummary } from '../summary.js';
import { escapeControls } from '../terminal.js';
import { describePlanned, plannedFiles, planOf } from './plan.js';
import { type CommonOptions, type ExitStatus, print, type Shell, statusOf } from './shell.js';

const DEFAULT_LIMIT = 50;

/** `queue`: what waits to be asked, in order, why, and on which day each file's turn comes. */
export async function runQueue(
  shell: Shell,
  options: CommonOptions & { readonly limit?: number },
): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const say = (text: string): void => {
    if (!options.quiet) shell.stderr.write(`sysmon-vt: ${escapeControls(text)}\n`);
  };
  const now = shell.clock.now();
  const cache = await openConfiguredCache(config, say);
  const lists = await openKnownLists(config, say);
  try {
    const sightings = await openConfiguredSightings(config, say);
    const { knownGood, knownBad } = lists;
    const { thresholds, lifetimes } = config;
    const judgements = new Judgements({
      cache,
      thresholds,
      lifetimes,
      now,
      knownGood,
      knownBad,
      unaskedReason: 'waiting',
    });
    const waiting = await sightings.waiting();
    // Those that a night would choose from: ranking a year's backlog would read all of its sightings for an end that nobody looks at.
    const chosenFrom = carriedOver(waiting);
    const beyond = waiting.size - chosenFrom.size;
    for (const hash of chosenFrom) {
      const algorithm = algorithmOf(hash);
      if (algorithm !== undefined) judgements.of({ algorithm, hash });
    }
    await judgements.resolve();
    const memory = new Memory(sightings);
    const order = await chooseQuestions(judgements, memory, waiting, now);
    const shown = order.slice(0, options.limit ?? DEFAULT_LIMIT);
    await locateFiles(
      judgements,
      shown.map(({ hash }) => hash),
      memory,
    );
    const first = shown.map((file) => planned(file, judgements));

    let quota: QuotaSummary | null = null;
    if (config.apiKey !== undefined) {
      const asking = { cache, clock: shell.clock, purpose: 'batch', say } as const;
      const questioner = await openQuestioner(config, asking);
      quota = await questioner.usage();
      await questioner.close();
    }
    const count = order.length + beyond;
    const plan = planOf({ count, first }, quota, config.limits);
    const perDay = config.limits.perDay - (Number.isFinite(config.limits.perDay) ? config.limits.reservePerDay : 0);
    const files = plannedFiles(first, plan.today, perDay);
    if (options.json) {
      await print(shell.stdout, `${JSON.stringify({ ...plan, first: undefined, files })}\n`);
      return statusOf(options.failOn, count);
    }
    const rest = count - files.length;
    await print(
      shell.stdout,
      count === 0
        ? 'nothing waits\n'
        : `${files.map(describePlanned).join('')}${rest > 0 ? `… and ${rest} more (--limit)\n` : ''}` +
            `${plan.to_ask} files wait: ${plan.today} can be asked today, the last one in ${plan.days} days\n`,
    );
    return statusOf(options.failOn, count);
  } finally {
    await lists.close();
    await cache.close();
  }
}
