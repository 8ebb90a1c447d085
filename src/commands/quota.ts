import { openConfiguredCache, openQuestioner, requireApiKey } from '../assembly.js';
import { loadConfig } from '../config.js';
import { describeQuota } from './run-output.js';
import { type CommonOptions, EXIT, type ExitStatus, print, type Shell } from './shell.js';

/** `quota`: what this machine has asked with this key, and VirusTotal's own count where it can be reached. */
export async function runQuota(shell: Shell, options: CommonOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  requireApiKey(config);
  const say = (text: string): void => {
    if (!options.quiet) shell.stderr.write(`sysmon-vt: ${text}\n`);
  };
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
    if (options.json) {
      await print(shell.stdout, `${JSON.stringify({ ...usage, virustotal: theirs ?? null })}\n`);
      return EXIT.done;
    }
    const count = (used: number, allowed: number): string => `${used} of ${allowed}`;
    const remote =
      theirs === undefined
        ? 'cannot be reached, or does not say'
        : `${count(theirs.day.used, theirs.day.limit ?? 0)} today, ${count(theirs.month.used, theirs.month.limit ?? 0)} this month`;
    await print(shell.stdout, `this machine  ${describeQuota(usage)}\nVirusTotal    ${remote}\n`);
    return EXIT.done;
  } finally {
    await questioner.close();
    await cache.close();
  }
}
