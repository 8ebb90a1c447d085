import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { type Fault, fileReport, type StandIn, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';
import type { Summary } from '../../src/summary.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';
import { seeded } from '../torture/random.js';
import { sha1Of, verdictOf, writeLogs } from '../torture/world.js';

const KEY = `${'c0ffee'.repeat(10)}abcd`;
const securityMd = readFileSync(resolve(import.meta.dirname, '../../SECURITY.md'), 'utf8');

let root: string;
let clock: FakeClock;
let standIn: StandIn;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-hostile-'));
  clock = selfMovingClock('2026-03-04T02:00:00Z');
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

const filesTo = (count: number): number[] => Array.from({ length: count }, (_, file) => file);

async function start(files: readonly number[], options: StandInOptions): Promise<void> {
  standIn = await startStandIn({
    key: KEY,
    clock,
    files: files
      .filter((file) => file % 4 === 0)
      .map((file) => fileReport({ hashes: { sha1: sha1Of(file) }, detections: file % 9 })),
    ...options,
  });
}

interface Night {
  readonly status: number;
  readonly summary: Summary;
  /** What is said of each file in the enriched records. */
  readonly members: ReadonlyMap<string, { readonly verdict: string; readonly reason?: string }>;
}

async function night(files: readonly number[], settings: Readonly<Record<string, string>> = {}): Promise<Night> {
  const folder = join(root, 'logs');
  const logs = writeLogs(folder, files);
  const shell = fakeShell(
    {
      VT_API_KEY: KEY,
      VT_BASE_URL: standIn.baseUrl,
      CACHE_URL: join(root, 'cache'),
      VT_TIMEOUT_MS: '150',
      VT_CONCURRENCY: '1',
      VT_REQUESTS_PER_MINUTE: '1000',
      VT_REQUESTS_PER_DAY: '100000',
      VT_REQUESTS_PER_MONTH: 'unlimited',
      ...settings,
    },
    { clock },
  );
  const status = await runEnrich(shell, [folder], { json: true, quiet: true });
  const lines = logs.flatMap(({ name }) =>
    readFileSync(join(folder, `${name}.enriched.jsonl`), 'utf8')
      .trimEnd()
      .split('\n'),
  );
  const members = lines.map((line) => JSON.parse(line).virustotal);
  return {
    status,
    summary: JSON.parse(shell.printed()),
    members: new Map(members.map((member) => [member.sha1, member])),
  };
}

/** A fault, by the name it has in SECURITY.md, and what six questions of which each meets it come to. */
interface Row {
  readonly name: string;
  readonly fault: Fault;
  /** Requests until VirusTotal counts as down: one or three for each of five questions in a row. */
  readonly requests: number;
}

const TRANSIENT = 15;
const AT_ONCE = 5;
const ROWS: readonly Row[] = [
  { name: 'HTTP 500', fault: { kind: 'status', status: 500 }, requests: TRANSIENT },
  { name: 'HTTP 503', fault: { kind: 'status', status: 503, isHtml: true }, requests: TRANSIENT },
  { name: 'HTTP 504', fault: { kind: 'status', status: 504, retryAfter: '3' }, requests: TRANSIENT },
  { name: 'connection reset', fault: { kind: 'reset' }, requests: TRANSIENT },
  { name: 'no answer at all', fault: { kind: 'hang' }, requests: TRANSIENT },
  { name: 'slow drip', fault: { kind: 'drip' }, requests: TRANSIENT },
  { name: 'truncated body', fault: { kind: 'truncated' }, requests: TRANSIENT },
  { name: 'not packed although it says so', fault: { kind: 'not_packed' }, requests: TRANSIENT },
  { name: 'huge body', fault: { kind: 'huge' }, requests: TRANSIENT },
  { name: 'a portal’s HTML', fault: { kind: 'portal' }, requests: TRANSIENT },
  { name: 'wrong content type', fault: { kind: 'content_type' }, requests: TRANSIENT },
  { name: 'another file’s answer', fault: { kind: 'another_file' }, requests: AT_ONCE },
  { name: 'redirect', fault: { kind: 'redirect', location: 'http://127.0.0.1:9/' }, requests: AT_ONCE },
];

describe('a VirusTotal that only ever answers with one fault', () => {
  it.each(ROWS)(
    '$name: an outage that is recognised, no verdict, nothing cached',
    async ({ name, fault, requests }) => {
      const files = filesTo(6);
      await start(files, { fault: () => fault });
      const { status, summary, members } = await night(files);
      expect(status).toBe(3);
      expect(summary.failures.map(({ code }) => code)).toEqual(['SERVICE_DOWN']);
      expect(standIn.requests).toHaveLength(requests);
      expect(summary.quota?.day.used).toBeGreaterThanOrEqual(requests);
      expect(summary.hashes).toMatchObject({ asked: 0, waiting: 6 });
      for (const member of members.values()) expect(member).toMatchObject({ verdict: 'unchecked', reason: 'error' });
      expect(securityMd).toContain(`| ${name} |`);
    },
  );

  it.each([
    { name: '429 without Retry-After', fault: { kind: 'status', status: 429 } as const, most: 4 },
    {
      name: '429 with Retry-After of seconds',
      fault: { kind: 'status', status: 429, retryAfter: '2' } as const,
      most: 4,
    },
    { name: '429 with Retry-After: 0', fault: { kind: 'status', status: 429, retryAfter: '0' } as const, most: 4 },
    {
      name: '429 with Retry-After of an hour',
      fault: { kind: 'status', status: 429, retryAfter: '3600' } as const,
      most: 1,
    },
    {
      name: '429 with a Retry-After that is none',
      fault: { kind: 'status', status: 429, retryAfter: 'soon' } as const,
      most: 4,
    },
  ])('$name: a spent quota, no failure, no hot loop', async ({ name, fault, most }) => {
    const files = filesTo(6);
    await start(files, { fault: () => fault });
    const { status, summary, members } = await night(files);
    expect(status).toBe(0);
    expect(standIn.requests.length).toBeLessThanOrEqual(most);
    expect(summary.quota?.resumes_at).not.toBeNull();
    for (const member of members.values()) expect(member).toMatchObject({ verdict: 'unchecked', reason: 'quota' });
    expect(securityMd).toContain(`| ${name} |`);
  });
});

describe('a VirusTotal of which three answers in ten go wrong', () => {
  const FAULTS: readonly Fault[] = [
    ...ROWS.map(({ fault }) => fault).filter(({ kind }) => kind !== 'huge'),
    { kind: 'status', status: 429 },
    { kind: 'status', status: 429, retryAfter: '2' },
    { kind: 'portal', status: 404 },
    { kind: 'portal', status: 500 },
  ];

  it('gives each file its own verdict or honestly none, within the ledger and without a hot loop; the next night has the rest', async () => {
    const files = filesTo(120);
    const random = seeded(30);
    let isHostile = true;
    await start(files, { fault: () => (isHostile && random.chance(0.3) ? random.one(FAULTS) : undefined) });
    const { status, summary, members } = await night(files, { VT_REQUESTS_PER_MINUTE: '30' });
    expect([0, 3]).toContain(status);
    expect(members.size).toBe(files.length);
    const answered = files.filter((file) => members.get(sha1Of(file))?.verdict !== 'unchecked');
    for (const file of answered) expect(members.get(sha1Of(file))?.verdict).toBe(verdictOf(file));
    for (const { verdict, reason } of members.values()) {
      if (verdict === 'unchecked') expect(['error', 'quota']).toContain(reason);
    }
    expect(answered.length).toBeGreaterThan(files.length / 2);
    expect(summary.hashes).toMatchObject({ asked: answered.length, waiting: files.length - answered.length });

    const { requests } = standIn;
    expect(summary.quota?.day.used).toBeGreaterThanOrEqual(requests.length);
    expect(requests.length).toBeLessThan(files.length * 3);
    for (const [index, { at }] of requests.entries()) {
      const later = requests[index + 30];
      if (later !== undefined) expect(later.at.getTime() - at.getTime()).toBeGreaterThanOrEqual(60_000);
    }

    isHostile = false;
    clock.advance(2 * 3_600_000);
    const next = await night(files, { VT_REQUESTS_PER_MINUTE: '30' });
    expect(next.status).toBe(0);
    for (const file of files) expect(next.members.get(sha1Of(file))?.verdict).toBe(verdictOf(file));
    expect(next.summary.hashes).toMatchObject({ asked: files.length - answered.length, cached: answered.length });
  }, 120_000);

  it('is never followed elsewhere, and the key goes nowhere else', async () => {
    const visits: string[] = [];
    const elsewhere = createServer((request, response) => {
      visits.push(request.url ?? '');
      response.end('{}');
    });
    await new Promise<void>((done) => elsewhere.listen(0, '127.0.0.1', done));
    const { port } = elsewhere.address() as AddressInfo;
    try {
      const files = filesTo(3);
      await start(files, { fault: () => ({ kind: 'redirect', location: `http://127.0.0.1:${port}/api/v3/files/x` }) });
      const { members } = await night(files);
      expect([...members.values()].map(({ reason }) => reason)).toEqual(['error', 'error', 'error']);
      expect(visits).toEqual([]);
    } finally {
      await new Promise((done) => elsewhere.close(done));
    }
  });
});
