#!/usr/bin/env node
import process from 'node:process';
import type { Writable } from 'node:stream';
import { systemClock } from './clock.js';
import { describeError, EXIT, type Shell } from './commands/shell.js';
import { messageOf, systemCodeOf } from './errors.js';
import { escapeControls } from './terminal.js';

const PLAIN_FLAGS: ReadonlyMap<string, 'json' | 'offline' | 'quiet'> = new Map([
  ['--json', 'json'],
  ['--offline', 'offline'],
  ['--quiet', 'quiet'],
  ['-q', 'quiet'],
]);

type PlainOptions = { [flag in 'json' | 'offline' | 'quiet']?: boolean };

/**
 * What `check` is asked with, if that is no more than hashes, files and the commonest flags; undefined for anything else. These are
 * read here because the parser of command lines takes as long to load as the answer to be found.
 */
function plainCheck(
  words: readonly string[],
): { readonly what: readonly string[]; readonly options: PlainOptions } | undefined {
  const [command, ...rest] = words;
  if (command !== 'check') return undefined;
  const what: string[] = [];
  const options: PlainOptions = {};
  for (const word of rest) {
    const flag = PLAIN_FLAGS.get(word);
    if (flag !== undefined) options[flag] = true;
    else if (word.startsWith('-') || word === '') return undefined;
    else what.push(word);
  }
  return what.length === 0 ? undefined : { what, options };
}

/** How long clean-up may take once nobody reads on. */
const PIPE_GRACE_MS = 5_000;

function die(message: string): never {
  process.stderr.write(`sysmon-vt: ${escapeControls(message)}\n`);
  process.exit(EXIT.failed);
}

/**
 * Collects garbage sooner than V8 does by itself. A night's logs leave much of it and little to keep, and on a machine with much
 * memory V8 lets it grow to several times that; the processor time stays the same.
 */
async function keepHeapSmall(): Promise<void> {
  const { setFlagsFromString } = await import('node:v8');
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=40');
}

async function main(): Promise<void> {
  const interruption = new AbortController();
  let signalStatus: number | undefined;
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(signal, () => {
      // The second one means it.
      if (signalStatus !== undefined) process.exit(signalStatus);
      signalStatus = status;
      shell.stderr.write('\nsysmon-vt: stopping; what is being written is finished first (again to stop at once)\n');
      interruption.abort();
    });
  }
  let isPipeBroken = false;
  process.stdout.on('error', (error) => {
    if (systemCodeOf(error) !== 'EPIPE') die(`standard output cannot be written (${messageOf(error)})`);
    // A reader that has seen enough (`| head`) is no failure. What was opened is cleaned up first, but nobody waits for long.
    isPipeBroken = true;
    interruption.abort();
    setTimeout(() => process.exit(EXIT.done), PIPE_GRACE_MS).unref();
  });
  // Status 1 means that something was found, so a defect must not end in it.
  process.on('uncaughtException', (error) => die(`unexpected failure; please report it: ${messageOf(error)}`));
  let runLog: Writable | undefined;
  const shell: Shell = {
    // Made when it is read: most runs never do, and it costs more than a look into the cache.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    get stderr() {
      return runLog ?? process.stderr;
    },
    env: process.env,
    isStdoutTerminal: process.stdout.isTTY,
    get isStderrTerminal() {
      return runLog === undefined && process.stderr.isTTY;
    },
    clock: systemClock,
    signal: interruption.signal,
  };
  // `npm start` alone shows what the program does; the bare command shows its help.
  const isBareStart = process.argv.length === 2 && process.env['npm_lifecycle_event'] === 'start';
  const words = isBareStart ? ['demo'] : process.argv.slice(2);
  let status: number;
  try {
    const check = plainCheck(words);
    if (check !== undefined) {
      const { runCheck } = await import('./commands/check.js');
      status = await runCheck(shell, check.what, check.options);
    } else {
      await keepHeapSmall();
      const { runProgram } = await import('./commands/program.js');
      status = await runProgram(shell, words, async () => {
        const { jsonRunLog } = await import('./run-log.js');
        runLog = jsonRunLog(process.stderr, systemClock);
      });
    }
  } catch (error) {
    const { status: described, text } = describeError(error);
    status = described;
    shell.stderr.write(`${text}\n`);
  }
  runLog?.end();
  process.exitCode = isPipeBroken ? EXIT.done : (signalStatus ?? status);
}

await main();
