import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { readEnrichedSet } from '../../src/commands/report.js';
import { CONTEXT_EVENT_IDS, ParentIndex, processKey, selectContext } from '../../src/context.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight, type NightEvent } from '../../src/demo/night.js';
import { fileReport, startStandIn } from '../../src/demo/stand-in.js';
import type { SysmonEvent } from '../../src/event.js';
import { isFlagged } from '../../src/reports/summarise.js';
import type { VerdictName } from '../../src/verdict.js';
import { selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';
import { enrichedLine } from './records.js';

const KEY = `${'c0ffee'.repeat(10)}abcd`;
const REAL_LOGS = fileURLToPath(new URL('../../../shared/data/sysmon/json', import.meta.url));

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-night-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface KnownFile {
  readonly hashes: { readonly sha1: string; readonly sha256: string; readonly md5: string };
  readonly detections: number;
  readonly engines: number;
}

/** Runs the nightly job on logs against a stand-in that knows these files; what it wrote is below `folder/out`. */
async function enrich(logs: string, files: readonly KnownFile[]): Promise<string> {
  const clock = selfMovingClock('2026-03-04T07:00:00Z');
  const standIn = await startStandIn({ key: KEY, clock, files: files.map((file) => fileReport(file)) });
  try {
    const shell = fakeShell(
      {
        VT_API_KEY: KEY,
        VT_BASE_URL: standIn.baseUrl,
        CACHE_URL: join(folder, 'cache'),
        VT_REQUESTS_PER_MINUTE: 'unlimited',
        VT_REQUESTS_PER_DAY: 'unlimited',
        VT_REQUESTS_PER_MONTH: 'unlimited',
      },
      { clock },
    );
    await runEnrich(shell, [logs], { out: join(folder, 'out'), quiet: true });
  } finally {
    await standIn.close();
  }
  return join(folder, 'out');
}

/** Lines of all enriched files below a folder. */
async function enrichedLines(out: string): Promise<string[]> {
  const paths = (await readdir(out, { recursive: true })).filter((path) => path.endsWith('.enriched.jsonl'));
  const texts = await Promise.all(paths.map((path) => readFile(join(out, path), 'utf8')));
  return texts.flatMap((text) => text.split('\n').filter((line) => line !== ''));
}

describe('the night of the demo', () => {
  const night = buildNight();
  const asEvent = ({ computer, eventId, recordId, time, data }: NightEvent): SysmonEvent => ({
    eventId,
    recordId: String(recordId),
    provider: 'Microsoft-Windows-Sysmon',
    channel: 'Microsoft-Windows-Sysmon/Operational',
    computer,
    timeCreated: time.toISOString(),
    data,
  });

  test('is told right: what was found, what started it, what it did', async () => {
    const log = join(folder, 'night.jsonl');
    await writeFile(log, night.events.map(nxlogLine).join(''));
    const known = night.files.filter(({ isKnown }) => isKnown);
    const out = await enrich(
      log,
      known.map(({ sha1, sha256, md5, detections, engines }) => ({
        hashes: { sha1, sha256, md5 },
        detections,
        engines,
      })),
    );

    // The context as a second reading of the log selects it.
    const members = new Map<string, object>();
    const flagged = new Set<string>();
    for (const line of await enrichedLines(out)) {
      const { Hostname: host, ProcessGuid: processGuid, virustotal } = JSON.parse(line);
      const verdict: VerdictName = virustotal.verdict;
      const key = processKey(host, processGuid);
      if (key === undefined) continue;
      members.set(key, virustotal);
      if (isFlagged(verdict)) flagged.add(key);
    }
    const events = night.events.map(asEvent).filter(({ eventId }) => CONTEXT_EVENT_IDS.has(eventId));
    const parents = new ParentIndex();
    for (const event of events) if (event.eventId === 1) parents.add(event);
    const context = events.filter(selectContext(flagged, parents)).map((event) => {
      const key = processKey(event.computer, event.data.get('ProcessGuid')) ?? '';
      return enrichedLine(event, event.eventId === 1 ? members.get(key) : undefined);
    });
    await writeFile(join(out, 'night.jsonl.context.jsonl'), `${context.join('\n')}\n`);

    const report = (await readEnrichedSet([out], new AbortController().signal)).summarise();
    expect(report.headline).toMatch(
      /^\d malicious and \d suspicious images on 3 of 4 hosts, first 2026-03-04 0[02]:\d\d UTC$/,
    );
    expect(report.coverage).toMatchObject({ contextMissing: [], unreadableLines: 0, failures: [] });
    const implant = report.findings.find(({ commandLines }) =>
      commandLines.listed.some(({ value }) => value.endsWith(' -k')),
    );
    const story = implant?.stories[0];
    const names = (images: readonly { readonly image: string }[] | undefined): string[] =>
      (images ?? []).map(({ image }) => image.slice(image.lastIndexOf('\\') + 1).toLowerCase());
    expect(names(story?.ancestors)).toEqual(['outlook.exe', 'winword.exe', 'powershell.exe']);
    expect(names(story?.children)).toEqual(['whoami.exe', 'nbtscan64.exe']);
    expect(story?.steps.map(({ kind, object }) => [kind, object.slice(object.lastIndexOf('\\') + 1)])).toEqual([
      ['connected', '203.0.113.77:8443'],
      ['started_child', 'whoami.exe'],
      ['created_file', 'nbtscan64.exe'],
      ['started_child', 'nbtscan64.exe'],
      ['ended', ''],
    ]);
  });
});

describe.skipIf(!existsSync(REAL_LOGS))('real logs', () => {
  test('give the findings that a count of the records gives', { timeout: 120_000 }, async () => {
    const sha1s = new Set<string>();
    for (const name of await readdir(REAL_LOGS)) {
      const bytes = await readFile(join(REAL_LOGS, name));
      const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1').replaceAll('\0', '');
      for (const [, sha1 = ''] of text.matchAll(/\b([0-9a-f]{40})\b/gi)) sha1s.add(sha1.toLowerCase());
    }
    // The stand-in knows half of the files; what the engines say is in their last digit.
    const known = [...sha1s]
      .filter((sha1) => /^[0-7]/.test(sha1))
      .map((sha1) => ({
        hashes: { sha1, sha256: `${sha1}${sha1.slice(0, 24)}`, md5: sha1.slice(0, 32) },
        detections: /[0-3]$/.test(sha1) ? 40 : /[4-7]$/.test(sha1) ? 2 : 0,
        engines: 70,
      }));
    const out = await enrich(REAL_LOGS, known);
    const report = (await readEnrichedSet([out], new AbortController().signal)).summarise();

    const runs = new Map<string, number>();
    let unknownRuns = 0;
    const lines = await enrichedLines(out);
    for (const line of lines) {
      const sha1 = /"virustotal":\{[^{}]*"sha1":"([0-9a-f]{40})"[^{}]*\}\}$/.exec(line)?.[1] ?? '';
      if (/^[0-7].*[0-7]$/.test(sha1)) runs.set(sha1, (runs.get(sha1) ?? 0) + 1);
      if (line.includes('"virustotal":{"verdict":"unknown"')) unknownRuns++;
    }
    expect(runs.size).toBeGreaterThan(10);
    expect(report.executions).toBe(lines.length);
    expect(report.coverage.unreadableLines).toBe(0);
    expect(new Map(report.findings.map(({ file, executions }) => [file.hashes.sha1, executions]))).toEqual(runs);
    expect(report.executionsByVerdict.unknown).toBe(unknownRuns);
  });
});
