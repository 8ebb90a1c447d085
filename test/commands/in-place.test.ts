import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { fileReport, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import type { Summary } from '../../src/summary.js';
import { selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';

const KEY = `${'c0ffee'.repeat(10)}abcd`;
const BAD = { sha1: '1'.repeat(40), sha256: '2'.repeat(64), md5: '3'.repeat(32) };
const UNKNOWN = '4'.repeat(40);

const creation = (sha1: string, more = ''): string =>
  `{"EventID": 1,"SourceName":"Microsoft-Windows-Sysmon","Hostname":"h","Keywords":-9223372036854775808,"ProcessGuid":"{11111111-2222-3333-4444-555555555555}",` +
  `"UtcTime":"2026-03-01 10:20:30.456","Image":"C:\\\\a.exe","Hashes":"SHA1=${sha1.toUpperCase()}"${more}}`;
const OTHER =
  '{"EventID": 5,"SourceName":"Microsoft-Windows-Sysmon" , "Hostname":"h","Image":"C:\\\\a.exe",' +
  '"UtcTime":"2026-03-01 10:20:31.000","ProcessGuid":"{11111111-2222-3333-4444-555555555555}"}';

/** A log with everything that may stand between records, of which its verdicts are the only thing that changes. */
const LINES: readonly string[] = [
  '\ufeff',
  `${creation(BAD.sha1)}\r\n`,
  `${OTHER}\n`,
  '\n',
  `  ${creation(UNKNOWN)} \t\n`,
  '{"EventID":1,"SourceName":"Microsoft-Windows-Sysmon","Ima\n',
  'not JSON at all \u0007 \xff\r\n',
  `${creation(BAD.sha1, ',"virustotal":{"verdict":"unchecked"}')},\n`,
  '{"note":"no event", "big": 12345678901234567890}\n',
  '[1, 2]\r\n',
  'null\n',
  creation('-'),
];

let root: string;
let log: string;
let standIn: StandIn;
const clock = selfMovingClock('2026-03-04T07:00:00Z');

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-in-place-'));
  mkdirSync(join(root, 'logs'));
  log = join(root, 'logs', 'log.json');
  writeFileSync(log, LINES.join(''));
  standIn = await startStandIn({ key: KEY, clock, files: [fileReport({ hashes: BAD, detections: 50, engines: 70 })] });
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

async function enrich(path: string, options: object = {}): Promise<{ status: number; said: string; summary: Summary }> {
  const shell = fakeShell(
    { VT_API_KEY: KEY, VT_BASE_URL: standIn.baseUrl, CACHE_URL: join(root, 'cache'), VT_REQUESTS_PER_MINUTE: '1000' },
    { clock },
  );
  const status = await runEnrich(shell, [path], { json: true, inPlace: true, ...options });
  return { status, said: shell.said(), summary: JSON.parse(shell.printed()) };
}

const MEMBER = /,"virustotal":(\{[^{}]*\})(?=\})/g;
const membersOf = (text: string): { verdict: string }[] =>
  [...text.matchAll(MEMBER)].map(([, member]) => JSON.parse(member ?? ''));

describe('enrich --in-place', () => {
  it('adds verdicts to process creations and keeps every other byte', async () => {
    const { status, summary } = await enrich(log);
    expect(status).toBe(0);
    const text = readFileSync(log, 'utf8');
    expect(membersOf(text).map(({ verdict }) => verdict)).toEqual(['malicious', 'unknown', 'malicious', 'unchecked']);
    expect(text.replaceAll(MEMBER, '')).toBe(LINES.join('').replaceAll(MEMBER, ''));
    expect(readFileSync(`${log}.orig`, 'utf8')).toBe(LINES.join(''));
    expect(readdirSync(join(root, 'logs')).sort()).toEqual(['log.json', 'log.json.context.jsonl', 'log.json.orig']);
    expect(summary.records).toMatchObject({ process_creations: 4, without_hash: 1, rejected: 2, total: 10 });
  });

  it('gives identical bytes and asks nothing when it runs again, remembering the log or not', async () => {
    await enrich(log);
    const bytes = readFileSync(log);
    const asked = standIn.requests.length;
    for (const options of [{}, { force: true }]) {
      const { status, summary } = await enrich(log, options);
      expect({ status, asked: summary.hashes.asked }).toEqual({ status: 0, asked: 0 });
      expect(summary.verdicts).toMatchObject({ malicious: 2, unknown: 1, unchecked: 1 });
    }
    expect(readFileSync(log).equals(bytes)).toBe(true);
    expect(standIn.requests).toHaveLength(asked);
  });

  it('brings the verdict of what is asked later, the first original still beside it', async () => {
    await enrich(log, { offline: true });
    expect(membersOf(readFileSync(log, 'utf8')).map(({ verdict }) => verdict)).toEqual(Array(4).fill('unchecked'));
    await enrich(log);
    expect(membersOf(readFileSync(log, 'utf8'))[0]?.verdict).toBe('malicious');
    await enrich(log, { events: '1,7' });
    expect(readFileSync(`${log}.orig`, 'utf8')).toBe(LINES.join(''));
  });

  it('reports on the log itself', async () => {
    const here = process.cwd();
    process.chdir(root);
    try {
      writeFileSync(log, `${creation(BAD.sha1)}\r\n${OTHER}\n${creation(UNKNOWN)}\n`);
      await enrich(log, { report: 'json' });
      const { executions, coverage } = JSON.parse(readFileSync(join(root, 'sysmon-vt-report.json'), 'utf8'));
      expect({ executions, unreadable: coverage.unreadable_lines }).toEqual({ executions: 2, unreadable: 0 });
    } finally {
      process.chdir(here);
    }
  });

  it('writes the target of a link, not the link', async () => {
    const link = join(root, 'link.json');
    symlinkSync(log, link);
    await enrich(link);
    expect(membersOf(readFileSync(link, 'utf8'))).toHaveLength(4);
    expect(readFileSync(`${log}.orig`, 'utf8')).toBe(LINES.join(''));
  });

  it('changes nothing in a dry run', async () => {
    await enrich(log, { dryRun: true });
    expect(readdirSync(join(root, 'logs'))).toEqual(['log.json']);
    expect(readFileSync(log, 'utf8')).toBe(LINES.join(''));
  });

  it.each([
    ['an archive', gzipSync(LINES.join('')), /gzip/],
    ['another encoding', Buffer.from(LINES.join(''), 'utf16le'), /utf-16le/],
    ['another encoding without its mark', Buffer.from(creation(BAD.sha1, ',"x":"日本"'), 'utf16le'), /utf-16le/],
    ['another format', Buffer.from("<Event xmlns='x'><System><EventID>1</EventID></System></Event>"), /event XML/],
    ['an object that spans lines', Buffer.from(creation(BAD.sha1, ',\n"a":1')), /line of its own/],
    ['two objects on one line', Buffer.from(`${creation(BAD.sha1)} ${OTHER}`), /line of its own/],
    ['an object behind another', Buffer.from(`${OTHER}${creation(BAD.sha1)}\n`), /line of its own/],
    ['an array', Buffer.from(`[\n${creation(BAD.sha1)},\n${creation(BAD.sha1)}\n]`), /line of its own/],
    ['a response', Buffer.from(`{"hits":{"hits":[{"_source":${creation(BAD.sha1)}}]}}`), /line of its own/],
  ])('refuses %s and says --out', async (_what, bytes, why) => {
    writeFileSync(log, bytes);
    const { status, summary } = await enrich(log);
    expect(status).toBe(3);
    expect(summary.failures).toEqual([
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(why) }),
    ]);
    expect(summary.failures[0]?.message).toContain('--out DIR');
    expect(readFileSync(log).equals(bytes)).toBe(true);
    expect(readdirSync(join(root, 'logs'))).toEqual(['log.json']);
  });

  it('takes records longer than the lines that are read at once', async () => {
    const long = creation(BAD.sha1, `,"x":"${'y'.repeat(400_000)}"`);
    writeFileSync(log, `${long}\n${OTHER}\n${long}\n`);
    await enrich(log);
    const text = readFileSync(log, 'utf8');
    expect(membersOf(text)).toHaveLength(2);
    expect(text.replaceAll(MEMBER, '')).toBe(`${long}\n${OTHER}\n${long}\n`);
  });

  it('refuses options that have no sense beside it', async () => {
    for (const options of [{ out: root }, { records: 'ecs' }]) {
      await expect(enrich(log, options)).rejects.toThrow(/--in-place.*\[BAD_USAGE\]/);
    }
    await expect(enrich('-', { json: false })).rejects.toThrow(/--in-place.*\[BAD_USAGE\]/);
  });
});
