#!/usr/bin/env node
import { Writable } from 'node:stream';
import { systemClock } from './clock.js';
import { describeError, EXIT, type Shell } from './commands/shell.js';
import { messageOf, StorageError, systemCodeOf } from './errors.js';

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

/** How long clean-up may take after a defect, and where nobody reads on. */
const CLEAN_UP_MS = 5_000;

/**
 * An output of this process as commands see it. Once it has failed, `onFailure` is told once and the rest is dropped: every write ends,
 * and nothing stands behind a gap.
 */
function droppingOutput(output: Writable, onFailure: (error: Error) => void): Writable {
  let hasFailed = false;
  // Each write tells its own error; the event would end the process.
  output.on('error', () => undefined);
  return new Writable({
    decodeStrings: false,
    write: (chunk, encoding, done) => {
      if (hasFailed) {
        done();
        return;
      }
      output.write(chunk, encoding, (error) => {
        if (error && !hasFailed) {
          hasFailed = true;
          onFailure(error);
        }
        done();
      });
    },
  });
}

/** Standard input, which ends early once the run is interrupted. Made when it is read: that takes longer than a look into the cache. */
async function* standardInput(signal: AbortSignal): AsyncGenerator<Buffer> {
  if (signal.aborted) return;
  const { stdin } = process;
  signal.addEventListener('abort', () => stdin.destroy());
  try {
    for await (const chunk of stdin) yield chunk;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** By V8's major version, Node 20 and 22; newer ones optimise late enough by themselves, and complain of flags they do not know. */
const LATER_OPTIMISATION: ReadonlyMap<number, string> = new Map([
  [11, '--interrupt-budget=500000'],
  [12, '--invocation-count-for-turbofan=10000'],
]);

/**
 * Sets V8 up for what a run is: some seconds, much garbage, little to keep. Of a machine with much memory V8 lets the garbage grow to
 * several times the rest, so it is to collect sooner. And it is to optimise later than it does by itself: a third of the processor time of
 * a small log went into optimising functions that were then hardly called again; those of a large log are optimised all the same.
 */
async function setUpEngine(): Promise<void> {
  const { setFlagsFromString } = await import('node:v8');
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=40');
  const later = LATER_OPTIMISATION.get(Number.parseInt(process.versions.v8, 10));
  if (later !== undefined) setFlagsFromString(later);
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
  /** Ends what goes on, so that it cleans up, but waits for that no longer than it should take. */
  const stop = (): void => {
    interruption.abort();
    setTimeout(() => process.exit(), CLEAN_UP_MS).unref();
  };
  let hasFailed = false;
  const fail = (error: unknown): void => {
    hasFailed = true;
    process.exitCode = EXIT.failed;
    shell.stderr.write(`${describeError(error).text}\n`);
  };
  // Status 1 says that something was found: a defect must not end in it.
  process.on('uncaughtException', (error) => {
    fail(error);
    stop();
  });
  const stdout = droppingOutput(process.stdout, (error) => {
    // A reader that has seen enough (`| head`) is no failure.
    if (systemCodeOf(error) === 'EPIPE') stop();
    else fail(new StorageError('OUTPUT', `standard output cannot be written (${messageOf(error)})`));
  });
  let openStderr: Writable | undefined;
  /** Made when something is said: a look into the cache is over sooner. Nobody is left to be told of a stderr that fails. */
  const stderr = (): Writable => {
    openStderr ??= droppingOutput(process.stderr, () => undefined);
    return openStderr;
  };
  let runLog: Writable | undefined;
  const shell: Shell = {
    stdin: standardInput(interruption.signal),
    stdout,
    get stderr() {
      return runLog ?? stderr();
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
      await setUpEngine();
      const { runProgram } = await import('./commands/program.js');
      status = await runProgram(shell, words, async () => {
        const { jsonRunLog } = await import('./run-log.js');
        runLog = jsonRunLog(stderr(), systemClock);
      });
    }
  } catch (error) {
    const { status: described, text } = describeError(error);
    const isInterruption = interruption.signal.aborted && error === interruption.signal.reason;
    status = isInterruption ? EXIT.done : described;
    if (!isInterruption) shell.stderr.write(`${text}\n`);
  }
  // What an output does with the last of it decides on the status too.
  await new Promise<void>((resolve) => stdout.end(resolve));
  runLog?.end();
  process.exitCode = hasFailed ? EXIT.failed : (signalStatus ?? status);
}

await main();
