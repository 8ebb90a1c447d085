import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ReportOptions, readEnrichedSet, runReport, writeReports } from '../../src/commands/report.js';
import { fakeShell } from '../fakes/shell.js';
import { creation, enrichedLine, event, IMPLANT, member, uncheckedMember } from './records.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-report-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function report(
  paths: readonly string[],
  options: ReportOptions = {},
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  const shell = fakeShell({});
  const status = await runReport(
    shell,
    paths.map((path) => join(folder, path)),
    { out: join(folder, 'out'), ...options },
  );
  return { status, stdout: shell.printed(), stderr: shell.said() };
}

async function put(path: string, lines: readonly string[]): Promise<void> {
  await mkdir(join(folder, path, '..'), { recursive: true });
  await writeFile(join(folder, path), `${lines.join('\n')}\n`);
}

const FLAGGED = enrichedLine(creation(IMPLANT, { process: 'implant' }), member(IMPLANT, 54));
const HARMLESS = enrichedLine(creation('C:\\b.exe', { host: 'WS-02' }), member('C:\\b.exe', 0));

describe('report', () => {
  test('reads enriched files of a folder and below it, and writes one page', async () => {
    await put('night/a.evtx.enriched.jsonl', [FLAGGED]);
    await put('night/deeper/b.jsonl.enriched.jsonl', [HARMLESS, '']);
    await put('night/other.jsonl', ['{}']);
    const { status, stderr } = await report(['night']);
    expect(stderr).toContain('1 malicious image on 1 of 2 hosts');
    expect(status).toBe(0);
    expect(await readdir(join(folder, 'out'))).toEqual(['sysmon-vt-report.html']);
    expect((await stat(join(folder, 'out/sysmon-vt-report.html'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(folder, 'out/sysmon-vt-report.html'), 'utf8')).toContain(
      '1 malicious image on 1 of 2 hosts',
    );
  });

  test('takes the context records beside an enriched file', async () => {
    await put('a.evtx.enriched.jsonl', [FLAGGED]);
    const connection = event(3, 'implant', { DestinationIp: '203.0.113.9', DestinationPort: '443' });
    await put('a.evtx.context.jsonl', [enrichedLine(connection, undefined)]);
    const { stdout } = await report(['a.evtx.enriched.jsonl'], { json: true });
    const [finding] = JSON.parse(stdout).findings;
    expect(finding.stories).toMatchObject([
      { has_context: true, steps: [{ kind: 'connected', object: '203.0.113.9:443' }] },
    ]);
  });

  test('reads records in the dialect of the tool that wrote them', async () => {
    const winlogbeat = {
      '@timestamp': '2026-03-04T02:14:09.123Z',
      winlog: {
        provider_name: 'Microsoft-Windows-Sysmon',
        channel: 'Microsoft-Windows-Sysmon/Operational',
        computer_name: 'WS-07',
        event_id: 1,
        event_data: { ProcessGuid: '{1}', Image: IMPLANT, UtcTime: '2026-03-04 02:14:09.000', User: 'CORP\\ann' },
      },
      virustotal: member(IMPLANT, 54),
    };
    await put('a.enriched.jsonl', [JSON.stringify(winlogbeat)]);
    const { stdout } = await report(['a.enriched.jsonl'], { json: true });
    expect(JSON.parse(stdout)).toMatchObject({
      headline: '1 malicious image on 1 of 1 host, first 02:14 UTC',
      findings: [{ image: IMPLANT, users: { listed: [{ value: 'CORP\\ann' }] } }],
    });
  });

  test('compares two folders, the first being the older one', async () => {
    await put('old/a.enriched.jsonl', [HARMLESS]);
    await put('new/a.enriched.jsonl', [HARMLESS, FLAGGED]);
    const { stdout, stderr } = await report(['old', 'new'], { json: true });
    expect(stderr).toMatch(/Comparing .*new with .*old, the older one/);
    expect(JSON.parse(stdout)).toMatchObject({
      executions: 2,
      comparison: { new_findings: 1, before: { executions: 1 } },
    });
  });

  test('writes every format that is asked for', async () => {
    await put('a.enriched.jsonl', [FLAGGED]);
    await report(['a.enriched.jsonl'], { format: 'html,md,csv,json,stix' });
    expect((await readdir(join(folder, 'out'))).sort()).toEqual([
      'sysmon-vt-report.csv',
      'sysmon-vt-report.html',
      'sysmon-vt-report.json',
      'sysmon-vt-report.md',
      'sysmon-vt-report.stix.json',
    ]);
    await expect(report(['a.enriched.jsonl'], { format: 'pdf' })).rejects.toThrow(
      /html, md, csv, json, stix.*BAD_USAGE/,
    );
  });

  test('counts and places what it cannot read, and goes on', async () => {
    await put('a.enriched.jsonl', [
      '{"cut',
      FLAGGED,
      '[]',
      enrichedLine(creation('x.exe'), { verdict: 'clean' }),
      HARMLESS,
    ]);
    const { status, stdout } = await report(['a.enriched.jsonl'], { json: true });
    expect(status).toBe(0);
    const { coverage, executions } = JSON.parse(stdout);
    expect(executions).toBe(2);
    expect(coverage.unreadable_lines).toBe(3);
    expect(coverage.unreadable_examples[0]).toMatch(/a\.enriched\.jsonl at 0x0$/);
  });

  test('fails where a PATH is not there or holds nothing, and still reports the rest', async () => {
    await put('a.enriched.jsonl', [FLAGGED]);
    await mkdir(join(folder, 'empty'));
    const { status, stderr, stdout } = await report(['a.enriched.jsonl', 'nothing', 'empty'], { json: true });
    expect(status).toBe(3);
    expect(stderr).toMatch(/nothing: cannot be read .*\[UNREADABLE\]/);
    expect(stderr).toMatch(
      /empty: no \*\.enriched\.jsonl or \*\.enriched\.csv in it; write them with sysmon-vt enrich first/,
    );
    expect(JSON.parse(stdout).coverage.failures).toHaveLength(2);
  });

  test('makes no report where there is nothing to report on, since it would read as if nothing had been found', async () => {
    await mkdir(join(folder, 'empty'));
    await put('raw.jsonl', [
      enrichedLine(creation('a.exe'), undefined),
      enrichedLine(event(5, 'a.exe', {}), undefined),
    ]);
    for (const [path, reason] of [
      ['nonexistent', /nonexistent: cannot be read .*\[UNREADABLE\]/],
      [
        'empty',
        /empty: no \*\.enriched\.jsonl or \*\.enriched\.csv in it; write them with sysmon-vt enrich first \[NOT_A_LOG\]/,
      ],
      ['raw.jsonl', /raw\.jsonl: holds no enriched records; give the \*\.enriched\.jsonl .*\[NOT_A_LOG\]/],
    ] as const) {
      const { status, stderr, stdout } = await report([path], { json: true });
      expect(status).toBe(3);
      expect(stderr).toMatch(reason);
      expect(stderr).toContain('no report was made');
      expect(stdout).toBe('');
    }
    expect(await readdir(folder)).not.toContain('out');
  });

  test('compares with nothing where the older folder holds no records, and says so', async () => {
    await mkdir(join(folder, 'old'));
    await put('new/a.enriched.jsonl', [FLAGGED]);
    const { status, stderr, stdout } = await report(['old', 'new'], { json: true });
    expect(status).toBe(3);
    expect(stderr).toMatch(/old: no \*\.enriched\.jsonl or \*\.enriched\.csv in it/);
    expect(stderr).not.toContain('Comparing');
    expect(JSON.parse(stdout)).not.toHaveProperty('comparison');
  });

  test('replaces reports of its own and nothing else', async () => {
    const formats = 'html,md,csv,json,stix';
    await put('a.enriched.jsonl', [FLAGGED]);
    await report(['a.enriched.jsonl'], { format: formats });
    await put('a.enriched.jsonl', [FLAGGED, HARMLESS]);
    expect((await report(['a.enriched.jsonl'], { format: formats })).status).toBe(0);
    expect(await readFile(join(folder, 'out/sysmon-vt-report.md'), 'utf8')).toContain('2 process creations');

    for (const name of await readdir(join(folder, 'out'))) {
      const format = name.replace('sysmon-vt-report.', '').replace('stix.json', 'stix');
      await put(`taken-${format}/${name}`, [FLAGGED]);
      const out = join(folder, `taken-${format}`);
      await expect(report([`taken-${format}/${name}`], { format, out })).rejects.toThrow(
        /sysmon-vt-report\.\S+ is there and is no report of sysmon-vt, so it is not replaced; move it.*\[COLLISION\]/,
      );
      expect(await readdir(out)).toEqual([name]);
      expect(await readFile(join(out, name), 'utf8')).toBe(`${FLAGGED}\n`);
    }
  });

  test('exits 1 where a condition of --fail-on holds', async () => {
    await put('bad.enriched.jsonl', [FLAGGED]);
    await put('good.enriched.jsonl', [HARMLESS]);
    await put('open.enriched.jsonl', [enrichedLine(creation('c.exe'), uncheckedMember('c.exe', 'quota'))]);
    const statusOf = async (path: string, failOn: string): Promise<number> => (await report([path], { failOn })).status;
    expect(await statusOf('bad.enriched.jsonl', 'malicious')).toBe(1);
    expect(await statusOf('good.enriched.jsonl', 'malicious,suspicious,incomplete')).toBe(0);
    expect(await statusOf('open.enriched.jsonl', 'incomplete')).toBe(1);
  });

  test('that cannot all be written are written as far as they can be, and the rest is told', async () => {
    await put('a.evtx.enriched.jsonl', [FLAGGED]);
    const set = await readEnrichedSet([join(folder, 'a.evtx.enriched.jsonl')], new AbortController().signal);
    await mkdir(join(folder, 'out/sysmon-vt-report.md'), { recursive: true });
    const { paths, failures } = await writeReports(set.summarise(), ['md', 'json'], join(folder, 'out'));
    expect(paths).toEqual([join(folder, 'out/sysmon-vt-report.json')]);
    expect(failures.map(({ message }) => message)).toEqual([expect.stringContaining('sysmon-vt-report.md')]);
  });
});
