import { PassThrough, Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '../../src/clock.js';
import type { Shell } from '../../src/commands/shell.js';

/** A shell whose outputs are kept. */
export interface FakeShell extends Shell {
  readonly printed: () => string;
  readonly said: () => string;
  readonly interrupt: () => void;
}

/** A process without one: no terminal, no real environment. */
export function fakeShell(
  env: Readonly<Record<string, string>>,
  options: { readonly clock?: Clock; readonly stdin?: string | Buffer; readonly isTerminal?: boolean } = {},
): FakeShell {
  const printed: Buffer[] = [];
  const said: Buffer[] = [];
  const collect = (chunks: Buffer[]): Writable =>
    new Writable({
      write: (chunk, _encoding, done) => {
        chunks.push(Buffer.from(chunk));
        done();
      },
    });
  const interruption = new AbortController();
  return {
    stdin: options.stdin === undefined ? new PassThrough() : Readable.from([Buffer.from(options.stdin)]),
    stdout: collect(printed),
    stderr: collect(said),
    env,
    isStdoutTerminal: options.isTerminal ?? false,
    isStderrTerminal: options.isTerminal ?? false,
    clock: options.clock ?? systemClock,
    signal: interruption.signal,
    printed: () => Buffer.concat(printed).toString('utf8'),
    said: () => Buffer.concat(said).toString('utf8'),
    interrupt: () => interruption.abort(),
  };
}
