import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCheck } from '../../src/commands/check.js';
import { type Fault, fileReport, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';

const HASHES = Array.from({ length: 4 }, (_, number) => `${number}`.repeat(40));
const [BAD = '', GOOD = '', THIRD = ''] = HASHES.slice(1);
const clock = selfMovingClock('2026-03-04T07:00:00Z');

let root: string;
let standIn: StandIn;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-check-'));
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

async function start(fault: (hash: string) => Fault | undefined = () => undefined): Promise<void> {
  standIn = await startStandIn({
    clock,
    files: [fileReport({ hashes: { sha1: BAD }, detections: 50 }), fileReport({ hashes: { sha1: GOOD } })],
    fault: ({ hash }) => fault(hash),
  });
}

async function check(what: readonly string[], options: Parameters<typeof runCheck>[2] = {}, stdin?: string) {
  const env = {
    VT_API_KEY: 'key',
    VT_BASE_URL: standIn.baseUrl,
    CACHE_URL: join(root, 'cache'),
    VT_REQUESTS_PER_MINUTE: '1000',
    VT_CONCURRENCY: '1',
  };
  const shell = fakeShell(env, { clock, ...(stdin === undefined ? {} : { stdin }) });
  const status = await runCheck(shell, what, { json: true, ...options });
  const answers: {
    readonly given: string;
    readonly virustotal: { readonly verdict: string; readonly reason?: string };
  }[] = shell
    .printed()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  return { status, said: shell.said(), verdicts: answers.map(({ given, virustotal }) => [given, virustotal.verdict]) };
}

describe('a VirusTotal that gave no answer', () => {
  it.each<[string, Fault, string]>([
    ['down', { kind: 'status', status: 503 }, 'HTTP 503, 3 attempts; run again later [SERVICE_DOWN]'],
    ['an HTML page', { kind: 'portal' }, '[SERVICE_DOWN]'],
    ['the wrong file', { kind: 'another_file' }, '[BAD_ANSWER]'],
    ['a redirect', { kind: 'redirect', location: 'http://127.0.0.1:9/' }, '[BAD_ANSWER]'],
  ])('is told and ends in status 3: %s', async (_, fault, told) => {
    await start(() => fault);
    const { status, said, verdicts } = await check([BAD], { quiet: true });
    expect(status).toBe(3);
    expect(verdicts).toEqual([[BAD, 'unchecked']]);
    expect(said).toContain('no answer on 1 file: ');
    expect(said).toContain(told);
  });

  it('on one file leaves the answers on the others, and ends in status 3', async () => {
    await start((hash) => (hash === BAD ? { kind: 'another_file' } : undefined));
    const { status, said, verdicts } = await check([BAD, GOOD, THIRD], { quiet: true });
    expect(verdicts).toEqual([
      [BAD, 'unchecked'],
      [GOOD, 'undetected'],
      [THIRD, 'unknown'],
    ]);
    expect(said).toMatch(/^sysmon-vt: no answer on 1 file: .*\[BAD_ANSWER\]\n$/);
    expect(status).toBe(3);
  });

  it('is told once for all files that failed alike', async () => {
    await start(() => ({ kind: 'status', status: 503 }));
    const { said } = await check([BAD, GOOD, THIRD]);
    expect(said.match(/no answer/g)).toHaveLength(1);
    expect(said).toContain('no answer on 3 files: HTTP 503, 3 attempts\n');
    expect(said).toContain('VirusTotal: 3 questions in a row came to nothing');
  });
});

describe('a list with lines that cannot be checked', () => {
  it('locates each, answers on the rest, and ends in status 3', async () => {
    await start();
    const list = `sha1\r\n${BAD}\r\n\r\n"quoted\u001b[31m"\n${GOOD}`;
    const { status, said, verdicts } = await check(['-'], { quiet: true, failOn: 'malicious' }, list);
    expect(verdicts).toEqual([
      [BAD, 'malicious'],
      [GOOD, 'undetected'],
    ]);
    expect(said).toContain('standard input, line 1: "sha1" is no hash');
    expect(said).toContain('standard input, line 4: ""quoted\\u{1b}[31m"" is no hash');
    expect(status).toBe(3);
  });

  it('tells the first of many', async () => {
    await start();
    const { said } = await check(['-'], {}, `${'x\n'.repeat(1000)}${BAD}\n`);
    expect(said.match(/line \d+: "x"/g)).toHaveLength(20);
    expect(said).toContain('980 more');
  });

  it('and nothing else starts nothing', async () => {
    await start();
    await expect(check(['-'], {}, 'a\nb\n')).rejects.toMatchObject({ code: 'BAD_USAGE' });
    await expect(check(['-'], {}, '\n')).rejects.toThrow('standard input holds nothing to check');
    expect(standIn.requests).toEqual([]);
  });
});

describe('a name', () => {
  it('that is no file is told, and the others are checked', async () => {
    await start();
    const { status, said, verdicts } = await check([BAD, join(root, 'nowhere')]);
    expect(verdicts).toEqual([[BAD, 'malicious']]);
    expect(said).toContain('nowhere" is no hash, no SHA1=…,MD5=… field and no file');
    expect(status).toBe(3);
  });

  it('that is no file and stands alone starts nothing', async () => {
    await start();
    await expect(check([join(root, 'nowhere')])).rejects.toMatchObject({ code: 'BAD_USAGE' });
  });

  it('of a file has the file hashed', async () => {
    await start();
    writeFileSync(join(root, 'file'), 'content');
    const { status, verdicts } = await check([join(root, 'file')]);
    expect(verdicts).toEqual([[join(root, 'file'), 'unknown']]);
    expect(status).toBe(0);
  });
});
