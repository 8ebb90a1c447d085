import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');
const HASH = '3395856ce81f2b7382dee72602f798b642f14140';
const log = buildNight().events.map(nxlogLine).join('');

let root: string;
const running = new Set<ChildProcess>();

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-cli-'));
  mkdirSync(join(root, 'tmp'));
  writeFileSync(join(root, 'night.jsonl'), log);
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
  rmSync(root, { recursive: true, maxRetries: 3 });
});

interface Ended {
  readonly status: number | null;
  readonly printed: string;
  readonly said: string;
}

function start(
  words: readonly string[],
  stdio: StdioOptions,
  nodeOptions: readonly string[] = [],
): { readonly child: ChildProcess; readonly said: () => string; readonly ended: Promise<Ended> } {
  const child = spawn(process.execPath, [...nodeOptions, CLI, ...words], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: root,
      TMPDIR: join(root, 'tmp'),
      CACHE_URL: join(root, 'cache'),
    },
    stdio,
  });
  running.add(child);
  let printed = '';
  let said = '';
  child.stdout?.on('data', (chunk) => {
    printed += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    said += chunk;
  });
  const ended = new Promise<Ended>((done) => child.on('close', (status) => done({ status, printed, said })));
  return { child, said: () => said, ended };
}

/** Options of node that run `code` within the program as soon as it listens to `event`. */
function onceListening(event: string, code: string): readonly string[] {
  const module = join(root, 'listening.mjs');
  writeFileSync(
    module,
    `const timer = setInterval(() => {
      if (process.listenerCount('${event}') === 0) return;
      clearInterval(timer);
      ${code};
    }, 1);`,
  );
  return ['--import', pathToFileURL(module).href];
}

describe('a standard output', () => {
  it.each([
    { words: ['check', HASH, '--offline'] },
    { words: ['enrich', '-', '--offline', '-q'] },
    { words: ['--help'] },
  ])('that is full looked like a finding: $words', async ({ words }) => {
    const full = openSync('/dev/full', 'w');
    const input = openSync(join(root, 'night.jsonl'), 'r');
    try {
      const { status, said } = await start(words, [input, full, 'pipe']).ended;
      expect(said).toMatch(/^sysmon-vt: standard output cannot be written \(ENOSPC.*\[OUTPUT\]\n$/);
      expect(status).toBe(3);
      expect(readdirSync(join(root, 'tmp'))).toEqual([]);
    } finally {
      closeSync(full);
      closeSync(input);
    }
  });

  it('that nobody reads left evidence in the folder of temporary files', async () => {
    const { child, ended } = start(['enrich', '-', '--offline', '-q'], 'pipe');
    child.stdout?.destroy();
    for (let copies = 0; copies < 20; copies++) child.stdin?.write(log);
    child.stdin?.end();
    expect(await ended).toMatchObject({ status: 0, said: '' });
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  });

  it('that nobody reads hid a failure that was known', async () => {
    writeFileSync(join(root, 'night.jsonl.gz'), 'no log');
    const { child, ended } = start(['enrich', root, join(root, 'nowhere'), '--offline', '--json', '-q'], 'pipe');
    child.stdout?.destroy();
    expect(await ended).toMatchObject({ status: 3, said: expect.stringContaining('nowhere') });
  });
});

describe('a run that was killed', () => {
  it('leaves records of standard input among the temporary files no longer than until the next run', async () => {
    const { child, ended } = start(['enrich', '-', '--offline', '-q'], 'pipe');
    // It is killed before it has read all.
    child.stdin?.on('error', () => undefined);
    child.stdin?.write(log.repeat(5));
    while (readdirSync(join(root, 'tmp')).length === 0) await new Promise((done) => setTimeout(done, 10));
    const alive = start(['enrich', '-', '--offline', '-q'], 'pipe');
    while (readdirSync(join(root, 'tmp')).length < 2) await new Promise((done) => setTimeout(done, 10));
    child.kill('SIGKILL');
    await ended;
    const next = start(['enrich', '-', '--offline', '-q'], 'pipe');
    next.child.stdin?.end(log);
    expect(await next.ended).toMatchObject({ status: 0 });
    // That of the run which goes on.
    expect(readdirSync(join(root, 'tmp'))).toHaveLength(1);
    alive.child.stdin?.end(log);
    expect(await alive.ended).toMatchObject({ status: 0 });
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  });
});

describe('a stderr', () => {
  it('that nobody reads ended the run with a stack', async () => {
    const { child, ended } = start(['enrich', join(root, 'night.jsonl'), '--offline', '--json'], 'pipe');
    child.stderr?.destroy();
    const { status, printed } = await ended;
    expect(status).toBe(0);
    expect(JSON.parse(printed).logs.read).toBe(1);
  });
});

describe('a defect', () => {
  it.each(['throw new Error(text)', 'Promise.reject(new Error(text))'])(
    'that nobody catches looked like a finding, and could steer the terminal: %s',
    async (defect) => {
      const code = `const text = 'bad\\u001b[31m\\nline'; ${defect}`;
      // It waits for the list, whose end never comes.
      const { status, said } = await start(
        ['check', '-', '--offline'],
        'pipe',
        onceListening('uncaughtException', code),
      ).ended;
      expect(status).toBe(3);
      expect(said.split('\n')[0]).toBe('sysmon-vt: bad\\u{1b}[31m\\u{a}line (unexpected failure; please report it)');
      expect(said).toMatch(/\n +at .*listening\.mjs/);
      expect(said).not.toContain('\u001b');
    },
  );
});

describe('waiting for standard input', () => {
  it.each([
    { words: ['check', '-', '--offline'], signal: 'SIGINT', status: 130 },
    { words: ['check', '-', '--offline'], signal: 'SIGTERM', status: 143 },
    { words: ['enrich', '-', '--offline'], signal: 'SIGINT', status: 130 },
    { words: ['enrich', '-', '--offline'], signal: 'SIGTERM', status: 143 },
  ] as const)('could not be interrupted: $words, $signal', async ({ words, signal, status }) => {
    const fifo = join(root, 'fifo');
    execFileSync('mkfifo', [fifo]);
    // Open for both, so that neither side waits for the other and the end never comes.
    const input = openSync(fifo, 'r+');
    try {
      const { child, said, ended } = start(
        words,
        [input, 'pipe', 'pipe'],
        onceListening('SIGINT', "console.error('up')"),
      );
      while (!said().includes('up')) await new Promise((done) => setTimeout(done, 10));
      // Long enough to come to its input; a signal that comes earlier has the same end.
      await new Promise((done) => setTimeout(done, 500));
      child.kill(signal);
      expect(await ended).toMatchObject({ status, printed: '' });
      expect(said()).toContain('stopping');
      expect(said()).not.toMatch(/nothing to check|unexpected|UNREADABLE/);
      expect(readdirSync(join(root, 'tmp'))).toEqual([]);
    } finally {
      closeSync(input);
    }
  });
});

describe('an empty value', () => {
  it.each([
    { words: ['enrich', ''] },
    { words: ['enrich', 'night.jsonl', '--out', ''] },
    { words: ['enrich', 'night.jsonl', '--fail-on='] },
    { words: ['check', ''] },
    { words: ['cache', 'export', ''] },
  ])('is refused, since a variable that is not set stands for nothing: $words', async ({ words }) => {
    const { status, said } = await start(words, 'pipe').ended;
    expect(said).toMatch(/^sysmon-vt: .*: a value is empty; is a variable not set\? \[BAD_USAGE\]\n$/);
    expect(status).toBe(2);
    expect(readdirSync(root).sort()).toEqual(['night.jsonl', 'tmp']);
  });
});

describe('a wrong option', () => {
  it('of any length is told in short', async () => {
    const { status, said } = await start(['x'.repeat(100_000)], 'pipe').ended;
    expect(status).toBe(2);
    expect(said.length).toBeLessThan(1000);
  });

  it.each([
    ['check', '--bogus\u001b[31m'],
    ['bogus\u001b]0;title\u0007'],
    ['enrich', 'x', '--max-lookups', '\u001b[2J'],
  ])('was repeated with its escape codes: %j %j', async (...words) => {
    const { status, said } = await start(words, 'pipe').ended;
    expect(status).toBe(2);
    expect(said).toContain('\\u{1b}');
    expect(said).not.toContain('\u001b');
    expect(said).toContain('\n(--help shows what there is)');
  });
});
