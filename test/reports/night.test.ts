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
const REAL_LOGS = fileURLToPath(new URL('../../../shared/data/sysmon', import.meta.url));
/** The folders of logs of every form; the others hold more of the same, and what is none. */
const FORMATS = ['containers', 'csv', 'evtx', 'evtxecmd', 'json', 'linux', 'splunk', 'syslog', 'text', 'xml'];

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
async function enrich(logs: readonly string[], files: readonly KnownFile[]): Promise<string> {
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
    await runEnrich(shell, logs, { out: join(folder, 'out'), quiet: true });
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
      [log],
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

/**
 * The SHA1 that a record has for its image, read off its text without any reader of logs: Sysmon's `Hashes`, in whatever member a tool
 * put them, or else a member that is a SHA1 and nothing more.
 */
function sha1InText(record: object): string | undefined {
  const text = JSON.stringify(record);
  return (/\bSHA1=([0-9a-f]{40})\b/i.exec(text) ?? /"([0-9a-f]{40})"/i.exec(text))?.[1]?.toLowerCase();
}

/** What the stand-in says of a file, by its first and last digit; undefined for those that it does not know. */
function detectionsOf(sha1: string): number | undefined {
  if (!/^[0-7]/.test(sha1)) return undefined;
  return /[0-3]$/.test(sha1) ? 40 : /[4-7]$/.test(sha1) ? 2 : 0;
}

describe.skipIf(!existsSync(REAL_LOGS))('real logs of every format', () => {
  test('give the findings that a count of the records’ own text gives', { timeout: 120_000 }, async () => {
    // Hashes stand in logs as text, in EVTX as UTF-16; those in archives, most of which stand elsewhere too, are left to be unknown.
    const sha1s = new Set<string>();
    const folders = (await readdir(REAL_LOGS))
      .filter((name) => FORMATS.includes(name))
      .map((name) => join(REAL_LOGS, name));
    for (const formatFolder of folders) {
      for (const name of await readdir(formatFolder)) {
        const bytes = await readFile(join(formatFolder, name));
        const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1').replaceAll('\0', '');
        for (const [sha1] of text.matchAll(/(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])/gi)) sha1s.add(sha1.toLowerCase());
      }
    }
    expect(folders).toHaveLength(FORMATS.length);
    const known = [...sha1s].flatMap((sha1) => {
      const detections = detectionsOf(sha1);
      const hashes = { sha1, sha256: `${sha1}${sha1.slice(0, 24)}`, md5: sha1.slice(0, 32) };
      return detections === undefined ? [] : [{ hashes, detections, engines: 70 }];
    });
    const out = await enrich(folders, known);
    const report = (await readEnrichedSet([out], new AbortController().signal)).summarise();

    const runs = new Map<string, number>();
    // Whether a file without a SHA1 was asked about by another digest is not looked into here.
    const verdicts = { malicious: 0, suspicious: 0, undetected: 0, others: 0 };
    const lines = await enrichedLines(out);
    for (const line of lines) {
      const { virustotal: _, ...record } = JSON.parse(line);
      const sha1 = sha1InText(record);
      const detections = sha1 !== undefined && sha1s.has(sha1) ? detectionsOf(sha1) : undefined;
      if (detections === undefined) verdicts.others++;
      else verdicts[detections >= 5 ? 'malicious' : detections > 0 ? 'suspicious' : 'undetected']++;
      if (sha1 !== undefined && detections) runs.set(sha1, (runs.get(sha1) ?? 0) + 1);
    }
    expect(runs.size).toBeGreaterThan(30);
    expect(report.executions).toBe(lines.length);
    expect(report.coverage.unreadableLines).toBe(0);
    const { unknown, unchecked, ...answered } = report.executionsByVerdict;
    expect({ ...answered, others: unknown + unchecked }).toEqual(verdicts);
    expect(new Map(report.findings.map(({ file, executions }) => [file.hashes.sha1, executions]))).toEqual(runs);
  });
});
