import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCheck } from '../../src/commands/check.js';
import { runEnrich } from '../../src/commands/enrich.js';
import { runRecheck } from '../../src/commands/recheck.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight, type Night } from '../../src/demo/night.js';
import { type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { UsageError } from '../../src/errors.js';
import { readRuns } from '../../src/runs.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { askingShell, KEY, knownFiles } from '../fakes/night.js';
import type { FakeShell } from '../fakes/shell.js';

const DAY_MS = 86_400_000;
const night: Night = buildNight();

/** A file of the night that nobody detects at first. */
const quiet = night.files.filter(({ isKnown, detections }) => isKnown && detections === 0).map(({ sha1 }) => sha1);
const [turncoat = '', other = ''] = quiet;

let root: string;
let clock: FakeClock;
let standIn: StandIn;
let hook: Server;
let posted: { text: string; hash: string }[];

const shell = (env: Readonly<Record<string, string>> = {}): FakeShell => askingShell({ standIn, root, clock }, env);

async function enriched(name: string, env = {}, options = {}) {
  const running = shell(env);
  const status = await runEnrich(running, [join(root, name)], { json: true, ...options });
  return { status, ...JSON.parse(running.printed()) };
}

async function rechecked(env = {}, options = {}) {
  const running = shell(env);
  const status = await runRecheck(running, { json: true, ...options });
  return { status, ...JSON.parse(running.printed()) };
}

function membersOf(name: string, hash = turncoat, folder = 'logs'): Record<string, unknown>[] {
  return readFileSync(join(root, folder, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).virustotal)
    .filter((member) => member.sha1 === hash);
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-recheck-'));
  mkdirSync(join(root, 'logs'));
  writeFileSync(join(root, 'logs', 'night.jsonl'), night.events.map(nxlogLine).join(''));
  clock = selfMovingClock('2026-03-04T07:00:00Z');
  posted = [];
  hook = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      posted.push(JSON.parse(body));
      response.end('ok');
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  standIn = await startStandIn({ key: KEY, clock, files: knownFiles(night) });
});
afterEach(async () => {
  await standIn.close();
  hook.closeAllConnections();
  hook.close();
  rmSync(root, { recursive: true });
});

const contextRecords = (): number =>
  readFileSync(join(root, 'logs', 'night.jsonl.context.jsonl'), 'utf8')
    .trimEnd()
    .split('\n').length;

const alertUrl = (): string => `http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook`;

describe('recheck', () => {
  it('finds a changed verdict, tells where the file ran, and refreshes the records that hold it', async () => {
    await enriched('logs');
    expect(membersOf('night.jsonl.enriched.jsonl')[0]).toMatchObject({ verdict: 'undetected', detections: 0 });
    const contextBefore = contextRecords();
    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));

    const { status, due, answered, changes, refreshed_files: refreshed } = await rechecked({}, { failOn: 'malicious' });

    expect(status).toBe(1);
    expect(answered).toBe(due);
    expect(refreshed).toBe(1);
    expect(changes).toMatchObject([
      {
        hash: turncoat,
        before: { verdict: 'undetected', detections: 0, asked_at: expect.stringMatching(/^2026-03-04/) },
        after: { verdict: 'malicious', detections: 23 },
        seen: { records: expect.any(Number), hosts: expect.any(Number), logs: [join(root, 'logs', 'night.jsonl')] },
      },
    ]);
    for (const member of membersOf('night.jsonl.enriched.jsonl')) {
      expect(member).toMatchObject({ verdict: 'malicious', detections: 23 });
      expect(member).not.toHaveProperty('stale');
    }
    // The story around the processes that are flagged now is told as well.
    expect(contextRecords()).toBeGreaterThan(contextBefore);
  });

  it('tells people what was, what is, and where it ran', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));
    const running = shell();
    expect(await runRecheck(running, {})).toBe(0);
    expect(running.said()).toMatch(/malicious {2}.*\n {11}was 0\/\d+ on 2026-03-04, 23\/\d+ now; ran on \d+ hosts?, /);
    expect(running.printed()).toBe('');
  });

  it('puts new answers in the place of those that records mark as stale, and writes no other file anew', async () => {
    await enriched('logs');
    mkdirSync(join(root, 'copy'));
    writeFileSync(join(root, 'copy', 'night.jsonl'), readFileSync(join(root, 'logs', 'night.jsonl')));
    await enriched('copy', {}, { offline: true });
    const fresh = readFileSync(join(root, 'copy', 'night.jsonl.enriched.jsonl'), 'utf8');
    clock.advance(40 * DAY_MS);
    await enriched('logs', {}, { offline: true });
    expect(membersOf('night.jsonl.enriched.jsonl')[0]).toMatchObject({ stale: true });
    const day = clock.now().toISOString().slice(0, 10);

    const { due, answered, changes, refreshed_files: refreshed } = await rechecked();

    expect({ due, answered, changes, refreshed }).toEqual({
      due: night.files.length,
      answered: night.files.length,
      changes: [],
      refreshed: 1,
    });
    const text = readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8');
    expect(text).not.toContain('"stale":true');
    expect(membersOf('night.jsonl.enriched.jsonl')[0]?.['checked_at']).toContain(day);
    // The same files, whose answers were fresh when this was written.
    expect(readFileSync(join(root, 'copy', 'night.jsonl.enriched.jsonl'), 'utf8')).toBe(fresh);
    expect((await enriched('logs')).logs).toMatchObject({ read: 0, unchanged: 1 });
    expect(readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8')).toBe(text);
  });

  it('makes up for a refresh that a run before did not live to do', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    await enriched('logs', {}, { offline: true });
    // As much as a recheck that is killed leaves: the answer is in the cache, and its records do not have it.
    expect(await runCheck(shell(), [turncoat], {})).toBe(0);
    expect(membersOf('night.jsonl.enriched.jsonl')[0]).toMatchObject({ stale: true });

    expect(await rechecked({}, { maxLookups: 1 })).toMatchObject({ refreshed_files: 1 });

    for (const member of membersOf('night.jsonl.enriched.jsonl')) expect(member).not.toHaveProperty('stale');
    expect(await rechecked({}, { maxLookups: 1 })).toMatchObject({ answered: 1, refreshed_files: 1 });
  });

  it('leaves the log alone that it had no need to read, and the next night has nothing to do', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));
    await rechecked();
    const before = readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8');
    const again = await enriched('logs');
    expect(again.logs).toMatchObject({ read: 0, unchanged: 1 });
    expect(again.hashes).toMatchObject({ asked: 0, waiting: 0 });
    const after = readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8');
    // Files that were answered anew with the same verdict get their new dates only now.
    expect(after.split('\n').length).toBe(before.split('\n').length);
    expect(membersOf('night.jsonl.enriched.jsonl')[0]).toMatchObject({ verdict: 'malicious' });
  });

  it('reaches enriched files below --out, whose logs are gone', async () => {
    await enriched('logs', {}, { out: join(root, 'out') });
    rmSync(join(root, 'logs'), { recursive: true });
    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));
    await rechecked();
    expect(membersOf('night.jsonl.enriched.jsonl', turncoat, 'out')[0]).toMatchObject({ verdict: 'malicious' });
  });

  it('asks nothing about fresh answers, and about others no more than the quota and --max-lookups leave', async () => {
    await enriched('logs');
    expect(await rechecked()).toMatchObject({ status: 0, due: 0, answered: 0 });
    clock.advance(40 * DAY_MS);
    const asked = standIn.requests.length;
    expect(await rechecked({}, { maxLookups: 2 })).toMatchObject({ answered: 2 });
    expect(standIn.requests.length - asked).toBe(2);
    const env = { VT_REQUESTS_PER_DAY: '10', VT_RESERVE_PER_DAY: '3' };
    expect(await rechecked(env)).toMatchObject({ status: 0, answered: 5, failures: [] });
    expect(standIn.requests.length - asked).toBe(7);
    expect(await rechecked(env)).toMatchObject({ answered: 0, quota: { resumes_at: expect.any(String) } });
  });

  it('asks the riskiest first', async () => {
    // One lifetime for all: what VirusTotal did not know would be long overdue by now.
    const env = { TTL_NOT_FOUND: '30d' };
    await enriched('logs', env);
    clock.advance(40 * DAY_MS);
    const asked = standIn.requests.length;
    await rechecked(env, { maxLookups: 3 });
    const first = standIn.requests.slice(asked).map(({ hash }) => hash);
    const malicious = night.files.filter(({ detections }) => detections >= 5).map(({ sha1 }) => sha1);
    expect(malicious).toHaveLength(2);
    expect(first).toEqual(expect.arrayContaining(malicious));
  });

  it('raises no alarm for one engine that comes and goes', async () => {
    await enriched('logs', { ALERT_URL: alertUrl() });
    posted = [];
    for (const detections of [1, 0, 1, 1]) {
      clock.advance(40 * DAY_MS);
      standIn.learn(knownFiles(night, { [turncoat]: detections }));
      expect((await rechecked({ ALERT_URL: alertUrl() })).changes).toEqual([]);
    }
    clock.advance(40 * DAY_MS);
    const { changes } = await rechecked({ ALERT_URL: alertUrl() });
    expect(changes).toMatchObject([{ before: { detections: 0 }, after: { verdict: 'suspicious', detections: 1 } }]);
    expect(posted).toEqual([]);
  });

  it('is done among the first questions of a night whose files are more than the quota, unless it is left out', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, Object.fromEntries(quiet.map((sha1) => [sha1, 23]))));
    let before = standIn.requests.length;
    // Ordinary programs, more than the day's questions, of which old answers may take half.
    const perDay = 2 * night.files.length;
    mkdirSync(join(root, 'later'));
    const ordinary = Array.from({ length: perDay + 10 }, (_, number) => {
      const [event] = night.events;
      if (event === undefined) throw new Error('the night has events');
      const hash = number.toString(16).toUpperCase().padStart(40, '0');
      const data = new Map([
        ...event.data,
        ['Hashes', `SHA1=${hash}`],
        ['Image', 'C:\\Windows\\System32\\svchost.exe'],
      ]);
      return nxlogLine({ ...event, eventId: 1, data, recordId: 100_000 + number });
    });
    writeFileSync(join(root, 'later', 'day.jsonl'), ordinary.join(''));
    const env = { VT_REQUESTS_PER_DAY: String(perDay), VT_RESERVE_PER_DAY: '0' };

    await enriched('later', env, { recheck: false });
    const asked = (): string[] => standIn.requests.slice(before).map(({ hash }) => hash);
    expect(asked().filter((hash) => !hash.startsWith('000'))).toEqual([]);
    clock.advance(2 * DAY_MS);
    before = standIn.requests.length;
    writeFileSync(join(root, 'later', 'day.jsonl'), ordinary.join('').replaceAll('SHA1=0', 'SHA1=1'));
    const { changes } = await enriched('later', env);

    expect(asked()).toHaveLength(perDay);
    const old = asked().filter((hash) => night.files.some(({ sha1 }) => sha1 === hash));
    expect(old.length).toBeGreaterThan(5);
    expect(old.length).toBeLessThanOrEqual(perDay / 2);
    expect(changes.length).toBeGreaterThan(0);
    for (const { hash, after } of changes) {
      expect(after).toMatchObject({ verdict: 'malicious', detections: 23 });
      for (const member of membersOf('night.jsonl.enriched.jsonl', hash)) expect(member['detections']).toBe(23);
    }
  });

  it('stands among the runs, however it ended', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    const running = shell();
    const interrupting = {
      ...running,
      // Once it has said that it asks, it is under way.
      stderr: new Writable({
        write: (chunk, _encoding, done) => {
          if (String(chunk).includes('asking again')) running.interrupt();
          done();
        },
      }),
    };
    await runRecheck(interrupting, {});
    await rechecked();
    await expect(rechecked({ VT_API_KEY: 'refused'.padEnd(64, '0') })).resolves.toMatchObject({ status: 0 });
    clock.advance(40 * DAY_MS);
    expect(await rechecked({ VT_API_KEY: 'refused'.padEnd(64, '0') })).toMatchObject({ status: 3 });
    const { runs } = await readRuns(join(root, 'cache'));
    expect(runs.map(({ command, outcome, exit_status: status }) => [command, outcome, status])).toEqual([
      ['enrich', 'done', 0],
      ['recheck', 'interrupted', null],
      ['recheck', 'done', 0],
      ['recheck', 'done', 0],
      ['recheck', 'failed', 3],
    ]);
    expect(runs.at(-1)?.failures).toMatchObject([{ code: 'KEY_REFUSED' }]);
    expect(new Date(runs[1]?.ended_at ?? 0) >= new Date(runs[1]?.started_at ?? 0)).toBe(true);
  });

  it('needs a key, says where to get one and what can be had without, and starts nothing', async () => {
    const rejected = expect(runRecheck(shell({ VT_API_KEY: '' }), {})).rejects;
    await rejected.toBeInstanceOf(UsageError);
    await rejected.toMatchObject({
      code: 'KEY_MISSING',
      message: expect.stringMatching(/my-apikey\. enrich --offline judges by the answers there are, and needs none \[/),
    });
  });
});

describe('the end of a night', () => {
  /** A log of another night, in which only one file ran. */
  function secondNight(): void {
    mkdirSync(join(root, 'second'));
    const [event] = night.events.filter(({ data }) => data.get('Hashes')?.toLowerCase().includes(other));
    if (event === undefined) throw new Error('the night has no such event');
    writeFileSync(join(root, 'second', 'night.jsonl'), nxlogLine(event));
  }

  it('asks again about old answers with what is left of the quota, tonight’s questions first', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    secondNight();
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));
    const asked = standIn.requests.length;
    const { hashes, changes, recheck, status } = await enriched('second', {}, { failOn: 'malicious' });
    expect(hashes).toMatchObject({ distinct: 1, asked: 1 });
    expect(standIn.requests[asked]?.hash).toBe(other);
    expect(recheck).toMatchObject({
      due: night.files.length - 1,
      answered: night.files.length - 1,
      refreshed_files: 1,
    });
    expect(changes).toMatchObject([{ hash: turncoat }]);
    expect(status).toBe(1);
    expect(membersOf('night.jsonl.enriched.jsonl')[0]).toMatchObject({ verdict: 'malicious' });
  });

  it('does not with --no-recheck, nor beyond --max-lookups', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    secondNight();
    expect(await enriched('second', {}, { recheck: false })).not.toHaveProperty('recheck');
    clock.advance(40 * DAY_MS);
    expect((await enriched('second', {}, { maxLookups: 4 })).recheck).toMatchObject({ answered: 3 });
  });

  it('writes a verdict that changed tonight into earlier nights’ records too', async () => {
    await enriched('logs');
    clock.advance(40 * DAY_MS);
    secondNight();
    standIn.learn(knownFiles(night, { [other]: 40 }));
    await enriched('second', {}, { recheck: false });
    expect(membersOf('night.jsonl.enriched.jsonl', other)[0]).toMatchObject({ verdict: 'malicious' });
  });

  it('carries over what the quota did not cover, though its log is not read again', async () => {
    const env = { VT_REQUESTS_PER_DAY: '10', VT_RESERVE_PER_DAY: '0' };
    const first = await enriched('logs', env);
    expect(first.hashes).toMatchObject({ asked: 10, waiting: night.files.length - 10 });
    clock.advance((DAY_MS / 4) * 3);
    secondNight();
    const second = await enriched('second', {}, { recheck: false });
    expect(second.carried_over).toEqual({ answered: expect.any(Number), waiting: 0 });
    expect(second.hashes.distinct).toBe(1);
    const open = readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8').match(/"unchecked"/g);
    expect(open).toBeNull();
  });
});

describe('alerts', () => {
  it('tell of each new malicious file once: by its first answer, and by a change', async () => {
    const env = { ALERT_URL: alertUrl() };
    const first = await enriched('logs', env);
    const malicious = night.files.filter(({ detections }) => detections >= 5).map(({ sha1 }) => sha1);
    expect(first.alerts).toEqual({ delivered: malicious.length, waiting: 0 });
    expect(posted.map(({ hash }) => hash).sort()).toEqual(malicious.sort());

    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));
    expect((await rechecked(env)).alerts).toEqual({ delivered: 1, waiting: 0 });
    expect(posted.at(-1)).toMatchObject({ hash: turncoat, text: expect.stringContaining('it was 0/') });

    clock.advance(40 * DAY_MS);
    await rechecked(env);
    expect(posted).toHaveLength(malicious.length + 1);
  });

  it('that cannot be delivered fail the run and come with the next one', async () => {
    const url = alertUrl();
    hook.closeAllConnections();
    await new Promise((resolve) => hook.close(resolve));
    const failed = await enriched('logs', { ALERT_URL: url });
    expect(failed.status).toBe(3);
    expect(failed.failures).toMatchObject([{ code: 'ALERT', message: expect.stringContaining('ECONNREFUSED') }]);
    expect(failed.alerts).toMatchObject({ delivered: 0, waiting: 2 });
    await new Promise<void>((resolve) => hook.listen(Number(new URL(url).port), '127.0.0.1', resolve));
    expect(await enriched('logs', { ALERT_URL: url })).toMatchObject({
      status: 0,
      alerts: { delivered: 2, waiting: 0 },
    });
  });

  it('go to --exec on its standard input, without our secrets', async () => {
    const out = join(root, 'alerts.txt');
    const script = join(root, 'take.mjs');
    writeFileSync(
      script,
      `import { appendFileSync, readFileSync } from 'node:fs';
       appendFileSync(${JSON.stringify(out)}, readFileSync(0, 'utf8') + JSON.stringify(process.env) + '\\n');`,
    );
    await enriched('logs', {}, { exec: `${process.execPath} ${script}` });
    const text = readFileSync(out, 'utf8');
    expect(text.match(/"event":"newly_malicious"/g)).toHaveLength(2);
    expect(text).not.toContain(KEY);
  });

  it('are tried before anything is read where the command makes no sense', async () => {
    await expect(runEnrich(shell(), [join(root, 'logs')], { exec: '"unclosed' })).rejects.toMatchObject({
      code: 'BAD_USAGE',
    });
  });
});
