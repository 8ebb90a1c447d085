import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

/** Programs of the tests as real processes: what kill -9 and two processes at once do cannot be shown within one. */
export interface ChildPrograms {
  start(program: URL, args: readonly string[]): Child;
  remove(): Promise<void>;
}

export interface Child {
  readonly process: ChildProcess;
  /** What it printed so far, line by line; a line that was cut off by a kill is not in it. */
  readonly lines: readonly string[];
  /** Resolves with the next line it prints, or undefined where it ends first. */
  nextLine(): Promise<string | undefined>;
  /** Resolves with its exit code, null after a kill. */
  readonly ended: Promise<number | null>;
}

/** Compiles programs (`*.child.ts`) and what they import, so that plain Node runs them. */
export async function compileChildren(...programs: readonly URL[]): Promise<ChildPrograms> {
  // Within node_modules, so that the compiled files find the packages.
  const cacheFolder = join(PROJECT, 'node_modules', '.cache');
  await mkdir(cacheFolder, { recursive: true });
  const folder = await mkdtemp(join(cacheFolder, 'sysmon-vt-test-'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await promisify(execFile)(process.execPath, [
    join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc'),
    ...['--ignoreConfig', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--skipLibCheck'],
    ...['--rootDir', PROJECT, '--outDir', folder],
    ...programs.map((program) => fileURLToPath(program)),
  ]);
  return {
    start: (program, args) => {
      const compiled = join(folder, relative(PROJECT, fileURLToPath(program)).replace(/\.ts$/, '.js'));
      return watch(spawn(process.execPath, [compiled, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }));
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

function watch(child: ChildProcess & { readonly stdout: NodeJS.ReadableStream }): Child {
  const lines: string[] = [];
  let waiting: (() => void)[] = [];
  let hasEnded = false;
  const wake = (): void => {
    const awake = waiting;
    waiting = [];
    for (const resolve of awake) resolve();
  };
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => {
    lines.push(line);
    wake();
  });
  const ended = Promise.all([once(child, 'exit'), once(reader, 'close')]).then(([[code]]) => {
    hasEnded = true;
    wake();
    return code as number | null;
  });
  let read = 0;
  return {
    process: child,
    lines,
    ended,
    nextLine: async () => {
      while (read === lines.length && !hasEnded) await new Promise<void>((resolve) => waiting.push(resolve));
      return read < lines.length ? lines[read++] : undefined;
    },
  };
}
