import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { openDispensableSightings, openVerdictWatch } from '../assembly.js';
import { openConfiguredCache } from '../cache/index.js';
import { importPack, packLines } from '../cache/pack.js';
import { changeToJson } from '../changes.js';
import { loadConfig, parseDuration } from '../config.js';
import { describeReject, EnrichmentError, UsageError } from '../errors.js';
import { algorithmOf } from '../hash.js';
import { isFresh, lookupToJson } from '../lookup.js';
import { outputFile } from '../sinks/enriched-file.js';
import { describeBytes, escapeControls } from '../terminal.js';
import { judge } from '../verdict.js';
import { describeChanges } from './recheck.js';
import { LostMemory } from './run-output.js';
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

/** `cache stats`: how much is kept, and how old it is. */
export async function runCacheStats(shell: Shell, options: CommonOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const cache = await openConfiguredCache(config, (report) => warn(shell, options, report));
  try {
    const stats = await cache.stats();
    if (options.json) {
      const { answers, bytes, shards, journals, corruptFiles, oldest, newest } = stats;
      const printed = {
        answers,
        bytes,
        shards,
        journals,
        corrupt_files: corruptFiles,
        oldest: oldest?.toISOString() ?? null,
        newest: newest?.toISOString() ?? null,
        url: config.cacheUrl,
      };
      await print(shell.stdout, `${JSON.stringify(printed)}\n`);
      return EXIT.done;
    }
    const { found, not_found: notFound, pending } = stats.answers;
    const span =
      stats.oldest === undefined
        ? ''
        : `asked    ${stats.oldest.toISOString()} to ${stats.newest?.toISOString() ?? ''}\n`;
    await print(
      shell.stdout,
      `answers  ${found + notFound + pending}: ${found} found, ${notFound} unknown to VirusTotal, ${pending} not analysed yet\n${span}` +
        `size     ${describeBytes(stats.bytes)} in ${stats.shards} shards, ${stats.corruptFiles} files set aside as corrupt\ncache    ${escapeControls(config.cacheUrl)}\n`,
    );
    return EXIT.done;
  } finally {
    await cache.close();
  }
}

/** `cache get`: one stored answer as JSON. An answer that is not there is said on stderr, with exit 3. */
export async function runCacheGet(shell: Shell, hash: string, options: CommonOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  if (algorithmOf(hash) === undefined) {
    throw new UsageError('BAD_USAGE', `"${hash}" is no SHA1, SHA256 or MD5; give one as 40, 64 or 32 hex digits`);
  }
  const cache = await openConfiguredCache(config, (report) => warn(shell, options, report));
  try {
    const lookup = await cache.get(hash.trim().toLowerCase());
    if (lookup === undefined) {
      await print(shell.stderr, `sysmon-vt: no answer on ${hash} is cached; ask with sysmon-vt check\n`);
      return EXIT.failed;
    }
    const fresh = isFresh(lookup, config.lifetimes, shell.clock.now());
    const answer = { ...lookupToJson(lookup), fresh };
    await print(shell.stdout, `${JSON.stringify(answer, undefined, options.json ? undefined : 2)}\n`);
    const { verdict } = judge(lookup, config.thresholds);
    const verdicts = { malicious: 0, suspicious: 0, [verdict]: 1 };
    const isHolding = isConditionMet(parseFailOn(options.failOn), verdicts, fresh ? 0 : 1);
    return isHolding ? EXIT.conditionHolds : EXIT.done;
  } finally {
    await cache.close();
  }
}

/** `cache prune`: drops answers past their lifetime, or older than `--older-than`. */
export async function runCachePrune(
  shell: Shell,
  options: CommonOptions & { readonly olderThan?: string },
): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const olderThanMs = options.olderThan === undefined ? undefined : parseDuration(options.olderThan);
  if (options.olderThan !== undefined && olderThanMs === undefined) {
    throw new UsageError('BAD_USAGE', `--older-than ${options.olderThan}: it takes a duration such as 90d or 12h`);
  }
  const cache = await openConfiguredCache(config, (report) => warn(shell, options, report));
  try {
    const now = shell.clock.now();
    const pruned = await cache.prune((lookup) =>
      olderThanMs === undefined
        ? !isFresh(lookup, config.lifetimes, now)
        : now.getTime() - lookup.askedAt.getTime() > olderThanMs,
    );
    await print(shell.stdout, options.json ? `${JSON.stringify({ pruned })}\n` : `${pruned} answers dropped\n`);
    return EXIT.done;
  } finally {
    await cache.close();
  }
}

/** `cache export`: all answers as a pack, a file for another site's `cache import`. */
export async function runCacheExport(shell: Shell, path: string, options: CommonOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const cache = await openConfiguredCache(config, (report) => warn(shell, options, report));
  const output = outputFile(path);
  let bytes = 0;
  try {
    const header = { host: new URL(config.baseUrl).host, exportedAt: shell.clock.now() };
    await pipeline(packLines(cache, header), createGzip(), async (packed: AsyncIterable<Buffer>) => {
      for await (const block of packed) {
        bytes += block.length;
        await output.write(block);
      }
    });
    await output.commit();
    const { answers } = await cache.stats();
    const count = answers.found + answers.not_found + answers.pending;
    await print(
      shell.stdout,
      options.json
        ? `${JSON.stringify({ path, answers: count, bytes })}\n`
        : `${count} answers in ${escapeControls(path)}, ${describeBytes(bytes)}\n`,
    );
    return EXIT.done;
  } finally {
    await output.abandon();
    await cache.close();
  }
}

/** `cache import`: adds packs of other sites; of two answers on one file the newer one wins, and changed verdicts are told. */
export async function runCacheImport(
  shell: Shell,
  paths: readonly string[],
  options: CommonOptions,
): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const say = (report: string): void => warn(shell, options, report);
  const cache = await openConfiguredCache(config, say);
  const total = { imported: 0, known: 0, rejected: 0 };
  const lost = new LostMemory(({ message }) => complain(shell, message));
  const { failures, onLost } = lost;
  try {
    const { changes } = await openVerdictWatch(config, {
      sightings: await openDispensableSightings(config, say, onLost),
      clock: shell.clock,
      environment: shell.env,
      onReport: say,
      onLost,
    });
    for (const path of paths) {
      try {
        const counts = await importPack(path, cache, {
          host: new URL(config.baseUrl).host,
          now: shell.clock.now(),
          onReject: (reject) => say(describeReject(path, reject)),
          onAnswer: (before, after) => changes.note(before, after),
        });
        total.imported += counts.imported;
        total.known += counts.known;
        total.rejected += counts.rejected;
      } catch (error) {
        if (!(error instanceof EnrichmentError)) throw error;
        failures.push({ path, code: error.code, message: error.message });
        complain(shell, error.message);
      }
    }
    if (options.json) {
      const printed = { ...total, changes: changes.changes.map(changeToJson), failures };
      await print(shell.stdout, `${JSON.stringify(printed)}\n`);
    } else {
      if (!options.quiet) await print(shell.stderr, describeChanges(changes.changes, paletteFor(shell, 'stderr')));
      const rejects = total.rejected === 0 ? '' : `, ${total.rejected} lines rejected`;
      await print(shell.stdout, `${total.imported} answers imported, ${total.known} were known${rejects}\n`);
    }
    return failures.length > 0 ? EXIT.failed : EXIT.done;
  } finally {
    await cache.close();
  }
}

function warn(shell: Shell, options: CommonOptions, report: string): void {
  if (!options.quiet) complain(shell, report);
}

function complain(shell: Shell, report: string): void {
  shell.stderr.write(`sysmon-vt: ${escapeControls(report)}\n`);
}
