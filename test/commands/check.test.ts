import { createHash } from 'node:crypto';
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

async function check(
  what: readonly string[],
  options: Parameters<typeof runCheck>[2] = {},
  stdin?: string,
  settings: Readonly<Record<string, string>> = {},
) {
  const env = {
    VT_API_KEY: 'key',
    VT_BASE_URL: standIn.baseUrl,
    CACHE_URL: join(root, 'cache'),
    VT_REQUESTS_PER_MINUTE: '1000',
    VT_CONCURRENCY: '1',
    ...settings,
  };
  const shell = fakeShell(env, { clock, ...(stdin === undefined ? {} : { stdin }) });
  const status = await runCheck(shell, what, { json: true, ...options });
  const printed = shell.printed();
  const answers: {
    readonly given: string;
    readonly virustotal: { readonly verdict: string; readonly [member: string]: unknown };
  }[] =
    options.json === false
      ? []
      : printed
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line));
  return {
    status,
    printed,
    said: shell.said(),
    verdicts: answers.map(({ given, virustotal }) => [given, virustotal.verdict]),
    members: answers.map(({ virustotal }) => virustotal),
  };
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
    expect(said).toMatch(/^sysmon-vt: no answer on 1 file: .*\[BAD_ANSWER\]\n.* one question came to nothing: .*\n$/);
    expect(status).toBe(3);
  });

  it('is told once for all files that failed alike', async () => {
    await start(() => ({ kind: 'status', status: 503 }));
    const { said } = await check([BAD, GOOD, THIRD]);
    expect(said.match(/no answer/g)).toHaveLength(1);
    expect(said).toContain('no answer on 3 files: HTTP 503, 3 attempts\n');
    expect(said).toContain('VirusTotal: 3 questions came to nothing');
  });
});

describe('VirusTotal’s terms', () => {
  it('were not shown where the first run that asks is a check', async () => {
    await start();
    expect((await check([BAD], { offline: true })).said).toBe('');
    expect((await check([BAD], { quiet: true })).said).toBe('');
    expect((await check([BAD])).said).toBe('');
    const { said, printed } = await check([GOOD]);
    expect(said).toMatch(
      /^VirusTotal: the public API key is not for commercial .*\n.* do not block by them alone\.\n$/,
    );
    expect(printed).not.toContain('commercial');
    expect((await check([THIRD])).said).toBe('');
  });
});

describe('a file that VirusTotal has not analysed yet', () => {
  it('has its other digests and its page all the same', async () => {
    await start();
    const body = fileReport({ hashes: { sha1: THIRD }, engines: 0 });
    standIn.learn([body]);
    const { sha256, md5 } = body.data.attributes;
    expect((await check([THIRD])).members).toMatchObject([{ verdict: 'unknown', reason: 'pending', sha256, md5 }]);
    const { printed } = await check([THIRD], { json: false });
    expect(printed).toContain(`  link       https://www.virustotal.com/gui/file/${sha256}\n`);
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

describe('a list of known files', () => {
  const MD5 = 'd'.repeat(32);

  function list(name: string, lines: string): string {
    writeFileSync(join(root, name), lines);
    return join(root, name);
  }

  it('of known-bad files was ignored, so that a file was bad in its record only', async () => {
    await start();
    const KNOWN_BAD = list('bad.txt', `${GOOD}\n${MD5}\n`);
    const { status, members } = await check(
      [GOOD, `SHA1=${THIRD},MD5=${MD5}`],
      { failOn: 'malicious', refresh: true },
      undefined,
      { KNOWN_BAD },
    );
    expect(members).toEqual([
      { verdict: 'malicious', lookup_key: 'sha1', sha1: GOOD, known_bad: { source: 'bad.txt' } },
      { verdict: 'malicious', lookup_key: 'sha1', sha1: THIRD, known_bad: { source: 'bad.txt' } },
    ]);
    expect(status).toBe(1);
    expect(standIn.requests).toEqual([]);
  });

  it('of the user’s own word was ignored, and a question spent', async () => {
    await start();
    const KNOWN_GOOD = list('good.txt', `${BAD}\n`);
    const { status, members } = await check([BAD], { failOn: 'incomplete' }, undefined, { KNOWN_GOOD });
    expect(members).toEqual([
      { verdict: 'unchecked', reason: 'known_good', lookup_key: 'sha1', sha1: BAD, known_good: { source: 'good.txt' } },
    ]);
    expect(status).toBe(0);
    expect(standIn.requests).toEqual([]);
  });

  it('does not overrule what VirusTotal said before, and leaves an old answer as it is', async () => {
    await start();
    await check([BAD]);
    const settings = { KNOWN_GOOD: list('good.txt', `${BAD}\n`), TTL_FOUND: '1s', TTL_FOUND_RECENT: '1s' };
    expect((await check([BAD], {}, undefined, { KNOWN_GOOD: settings.KNOWN_GOOD })).members).toMatchObject([
      { verdict: 'malicious', known_good: { source: 'good.txt' } },
    ]);
    clock.advance(2000);
    const { status, members } = await check([BAD], { failOn: 'incomplete' }, undefined, settings);
    expect(members).toMatchObject([{ verdict: 'malicious', stale: true, known_good: { source: 'good.txt' } }]);
    expect(status).toBe(0);
    expect(standIn.requests).toHaveLength(1);
  });

  it('that is a catalogue is a mark, and no reason not to ask', async () => {
    await start();
    const header = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"\n';
    const KNOWN_GOOD = list('NSRLFile.txt', `${header}"${BAD}","${MD5}","00000000","a.exe",1,1,"1",""\n`);
    const { members } = await check([BAD], {}, undefined, { KNOWN_GOOD });
    expect(members).toMatchObject([{ verdict: 'malicious', detections: 50, known_good: { source: 'nsrl' } }]);
    expect(standIn.requests).toHaveLength(1);
  });

  it('knows a local file and an answer by whichever digest it has', async () => {
    await start();
    writeFileSync(join(root, 'file'), 'content');
    const sha256 = createHash('sha256').update('content').digest('hex');
    const { members } = await check([join(root, 'file')], {}, undefined, { KNOWN_BAD: list('bad.txt', sha256) });
    expect(members).toMatchObject([{ verdict: 'malicious', known_bad: { source: 'bad.txt' } }]);
    expect(standIn.requests).toEqual([]);
    const [answered] = (await check([GOOD])).members;
    const settings = { KNOWN_BAD: list('bad.txt', `${answered?.['sha256']}`) };
    expect((await check([GOOD], { offline: true }, undefined, settings)).verdicts).toEqual([[GOOD, 'malicious']]);
  });

  it('is named to people', async () => {
    await start();
    const settings = { KNOWN_BAD: list('bad.txt', BAD), KNOWN_GOOD: list('good.txt', GOOD) };
    const { printed } = await check([BAD, GOOD], { json: false }, undefined, settings);
    expect(printed).toContain('  known bad  on the list bad.txt\n');
    expect(printed).toContain('  known good on the list good.txt\n');
    expect(printed).toContain('  why        it is on a list of known files\n');
  });

  it.each(['KNOWN_BAD', 'KNOWN_GOOD'])('that is missing passed silently: %s', async (setting) => {
    await start();
    await expect(check([BAD], {}, undefined, { [setting]: join(root, 'nowhere.txt') })).rejects.toMatchObject({
      code: 'BAD_SETTING',
      message: expect.stringContaining('nowhere.txt'),
    });
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
