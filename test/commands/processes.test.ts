import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';
import { fileReport, type StandIn, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');
const KEY = `${'c0ffee'.repeat(10)}abcd`;
const night = buildNight();
const hashes = new Set(night.files.map(({ sha1 }) => sha1));

let root: string;
let standIn: StandIn;
const running = new Set<ChildProcess>();

async function start(options: StandInOptions = {}): Promise<void> {
  standIn = await startStandIn({
    key: KEY,
    files: night.files
      .filter(({ isKnown }) => isKnown)
      .map(({ sha1, sha256, md5, detections, engines }) =>
        fileReport({ hashes: { sha1, sha256, md5 }, detections, engines }),
      ),
    ...options,
  });
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: root,
      VT_API_KEY: KEY,
      VT_BASE_URL: standIn.baseUrl,
      CACHE_URL: join(root, 'cache'),
      VT_REQUESTS_PER_MINUTE: '10000',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<Ended>((done) => child.on('close', (status) => done({ status, stdout, stderr })));
  return { child, ended };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 2));
}

function folder(name: string): string {
  const path = join(root, name);
  mkdirSync(path);
  writeFileSync(join(path, 'night.jsonl'), night.events.map(nxlogLine).join(''));
  return path;
}

function assertWhole(path: string): void {
  for (const name of readdirSync(path).filter((candidate) => candidate.endsWith('.enriched.jsonl'))) {
    const text = readFileSync(join(path, name), 'utf8');
    expect(text.endsWith('}\n')).toBe(true);
    for (const line of text.trimEnd().split('\n')) expect(JSON.parse(line)).toHaveProperty('virustotal');
  }
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-processes-'));
});
afterEach(async () => {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
  await standIn.close();
  rmSync(root, { recursive: true, maxRetries: 3 });
});

describe('the program as a process', () => {
  it('killed in the middle of asking: loses no answer, asks none twice, leaves no torn file', async () => {
    await start({ latencyMs: 15 });
    const logs = folder('logs');
    for (const point of [2, 7, 11]) {
      const { child, ended } = run(['enrich', logs, '--json'], { VT_CONCURRENCY: '2' });
      await until(() => standIn.requests.length >= point);
      child.kill('SIGKILL');
      await ended;
      assertWhole(logs);
    }
    const { status, stdout } = await run(['enrich', logs, '--json']).ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout).hashes).toMatchObject({ distinct: hashes.size, waiting: 0 });
    assertWhole(logs);
    // An answer that was still on its way at the kill was never had; at most the two under way each time may be asked again.
    expect(new Set(standIn.requests.map(({ hash }) => hash))).toEqual(hashes);
    expect(standIn.requests.length).toBeLessThanOrEqual(hashes.size + 3 * 2);
  });

  it('twice at once on one cache: no question is put twice', async () => {
    await start({ latencyMs: 10 });
    const results = await Promise.all(
      ['one', 'two', 'three'].map((name) => run(['enrich', folder(name), '--json']).ended),
    );
    for (const { status, stdout } of results) {
      expect(status).toBe(0);
      expect(JSON.parse(stdout).hashes).toMatchObject({ distinct: hashes.size, waiting: 0 });
    }
    expect(standIn.requests.map(({ hash }) => hash).sort()).toEqual([...hashes].sort());
  });

  it('twice at once: the minute’s limit holds over both', async () => {
    await start({ perMinute: 6 });
    const both = ['one', 'two'].map((name) => run(['enrich', folder(name), '--json'], { VT_REQUESTS_PER_MINUTE: '6' }));
    await until(() => standIn.requests.length >= 6);
    // Long enough for a seventh, if it were to come.
    await new Promise((done) => setTimeout(done, 1500));
    for (const { child } of both) child.kill('SIGTERM');
    const results = await Promise.all(both.map(({ ended }) => ended));
    expect(results.map(({ status }) => status)).toEqual([143, 143]);
    expect(standIn.requests).toHaveLength(6);
    expect(standIn.requests.every(({ status }) => status !== 429)).toBe(true);
    for (const name of ['one', 'two']) assertWhole(join(root, name));
  });

  it('ends with success where nobody reads on', async () => {
    await start();
    folder('logs');
    const child = spawn(
      'sh',
      [
        '-c',
        `cat ${join(root, 'logs', 'night.jsonl')} | ${process.execPath} ${CLI} enrich - --offline | head -n 1; echo "\${PIPESTATUS}"`,
      ],
      {
        env: { PATH: process.env['PATH'] ?? '', HOME: root, CACHE_URL: join(root, 'cache') },
      },
    );
    running.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    await new Promise((done) => child.on('close', done));
    expect(stdout.split('\n')[0]).toContain('"virustotal"');
    expect(stderr).not.toContain('EPIPE');
  });

  it('tells help and version on stdout with status 0, and a bad option on stderr with status 2', async () => {
    await start();
    const help = await run(['--help']).ended;
    expect(help).toMatchObject({ status: 0, stderr: '' });
    expect(help.stdout).toContain('enrich');
    expect((await run(['enrich', '--help']).ended).stdout.trimStart().startsWith('Examples:')).toBe(true);
    expect(await run(['--version']).ended).toMatchObject({ status: 0, stdout: '0.1.0\n' });
    const bad = await run(['enrich', '--bogus', root]).ended;
    expect(bad).toMatchObject({ status: 2, stdout: '' });
    expect(bad.stderr).toContain('--bogus');
    expect(await run([]).ended).toMatchObject({ status: 2 });
    const keyless = await run(['check', 'a'.repeat(40)], { VT_API_KEY: '' }).ended;
    expect(keyless.status).toBe(2);
    expect(keyless.stderr).toContain('https://www.virustotal.com/gui/my-apikey');
  });
});
