import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { nxlogLine, winlogbeatLine } from '../../src/demo/json-logs.js';
import { buildNight, type Night } from '../../src/demo/night.js';
import { type StandIn, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';
import type { Summary } from '../../src/summary.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { askingShell, KEY, knownFiles } from '../fakes/night.js';
import type { FakeShell } from '../fakes/shell.js';
import { zipArchive } from '../sources/containers/archives.js';

const night: Night = buildNight();
const nightHashes = new Set(night.files.map(({ sha1 }) => sha1));

const [firstEvent] = night.events;
if (firstEvent === undefined) throw new Error('the night has no events');

let root: string;
let logs: string;
let clock: FakeClock;
let standIn: StandIn;

async function start(options: StandInOptions = {}): Promise<void> {
  standIn = await startStandIn({
    key: KEY,
    clock,
    files: knownFiles(night),
    ...options,
  });
}

const shell = (env: Readonly<Record<string, string>> = {}, options: { stdin?: string } = {}): FakeShell =>
  askingShell({ standIn, root, clock }, env, options);

async function summaryOf(
  paths: readonly string[],
  env = {},
  options = {},
): Promise<{ status: number; summary: Summary; said: string }> {
  const running = shell(env);
  const status = await runEnrich(running, paths, { json: true, ...options });
  return { status, summary: JSON.parse(running.printed()), said: running.said() };
}

const recordsOf = (path: string): { virustotal: Record<string, unknown> }[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-enrich-'));
  logs = join(root, 'logs');
  mkdirSync(logs);
  writeFileSync(join(logs, 'night.jsonl'), night.events.map(nxlogLine).join(''));
  writeFileSync(join(logs, 'beats.jsonl.gz'), gzipSync(night.events.map(winlogbeatLine).join('')));
  clock = selfMovingClock('2026-03-04T07:00:00Z');
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

describe('the nightly job', () => {
  it('asks each file once, within 4 in any 60 s, and never meets a 429', async () => {
    await start({ perMinute: 4 });
    const { status, summary } = await summaryOf([logs], { VT_REQUESTS_PER_MINUTE: '4' });
    expect(status).toBe(0);
    const hashes = standIn.requests.map(({ hash }) => hash);
    expect(new Set(hashes)).toEqual(nightHashes);
    expect(hashes).toHaveLength(nightHashes.size);
    expect(standIn.requests.filter(({ status: answered }) => answered === 429)).toEqual([]);
    for (const [index, { at }] of standIn.requests.entries()) {
      const fifth = standIn.requests[index + 4];
      if (fifth !== undefined) expect(fifth.at.getTime() - at.getTime()).toBeGreaterThanOrEqual(60_000);
    }
    expect(summary.hashes).toMatchObject({
      distinct: nightHashes.size,
      asked: nightHashes.size,
      cached: 0,
      waiting: 0,
    });
  });

  it('counts so that everything adds up', async () => {
    await start();
    const { summary } = await summaryOf([logs]);
    const { records, hashes, verdicts } = summary;
    const creations = night.events.filter(({ eventId }) => eventId === 1).length * 2;
    expect(records).toEqual({
      total: night.events.length * 2,
      process_creations: creations,
      other_events: 0,
      with_hash: creations,
      without_hash: 0,
      rejected: 0,
      duplicates: 0,
    });
    const { distinct, ...parts } = hashes;
    expect(Object.values(parts).reduce((sum, part) => sum + part)).toBe(distinct);
    expect(Object.values(verdicts).reduce((sum, count) => sum + count)).toBe(creations);
    expect(summary.logs).toEqual({ read: 2, unchanged: 0, skipped: 0, failed: 0 });
    expect(summary.quota.day.used).toBe(nightHashes.size);
  });

  it('writes each verdict beside its record and changes nothing else in it', async () => {
    await start();
    await summaryOf([logs]);
    const lines = readFileSync(join(logs, 'night.jsonl.enriched.jsonl'), 'utf8').trimEnd().split('\n');
    const creations = night.events.filter(({ eventId }) => eventId === 1);
    expect(lines).toHaveLength(creations.length);
    for (const [index, line] of lines.entries()) {
      const event = creations[index];
      const body = event === undefined ? '' : nxlogLine(event).trimEnd().slice(0, -1);
      expect(line.startsWith(`${body},"virustotal":{"verdict":`)).toBe(true);
    }
    const malicious = recordsOf(join(logs, 'beats.jsonl.gz.enriched.jsonl')).filter(
      ({ virustotal }) => virustotal['verdict'] === 'malicious',
    );
    expect(malicious).toHaveLength(2);
    expect(malicious[0]?.virustotal).toMatchObject({ detections: 54, engines: 72, lookup_key: 'sha1' });
  });

  it('asks nothing the second time and writes identical bytes', async () => {
    await start();
    await summaryOf([logs]);
    const outputs = readdirSync(logs).filter((name) => name.endsWith('.enriched.jsonl'));
    const before = outputs.map((name) => readFileSync(join(logs, name), 'utf8'));
    const asked = standIn.requests.length;
    const { summary } = await summaryOf([logs]);
    expect(standIn.requests).toHaveLength(asked);
    expect(summary.hashes).toMatchObject({ asked: 0, cached: nightHashes.size, waiting: 0 });
    expect(outputs.map((name) => readFileSync(join(logs, name), 'utf8'))).toEqual(before);
  });

  it('asks again what has grown stale, and keeps the old verdict, marked, where it cannot', async () => {
    await start();
    await summaryOf([logs]);
    clock.advance(40 * 86_400_000);
    const { summary } = await summaryOf([logs], {}, { offline: true });
    expect(summary.hashes).toMatchObject({ cached: 0, waiting: nightHashes.size });
    expect(summary.verdicts.malicious).toBe(4);
    expect(
      recordsOf(join(logs, 'night.jsonl.enriched.jsonl')).every(({ virustotal }) => virustotal['stale'] === true),
    ).toBe(true);
    const again = await summaryOf([logs]);
    expect(again.summary.hashes).toMatchObject({ asked: nightHashes.size });
    expect(recordsOf(join(logs, 'night.jsonl.enriched.jsonl')).some(({ virustotal }) => 'stale' in virustotal)).toBe(
      false,
    );
  });

  it('needs neither key nor network offline', async () => {
    await start();
    const { status, summary } = await summaryOf([logs], { VT_API_KEY: '' }, { offline: true });
    expect(status).toBe(0);
    expect(summary.verdicts.unchecked).toBe(summary.records.process_creations);
    expect(summary.quota).toEqual({
      minute: { used: 0, limit: 1000 },
      day: { used: 0, limit: 500 },
      month: { used: 0, limit: 15_500 },
      resumes_at: null,
    });
    expect(recordsOf(join(logs, 'night.jsonl.enriched.jsonl'))[0]?.virustotal).toMatchObject({
      verdict: 'unchecked',
      reason: 'offline',
    });
    expect(standIn.requests).toEqual([]);
  });

  it('tells the quota of the key offline too, from the ledger alone', async () => {
    await start();
    const { summary: asking } = await summaryOf([logs]);
    const { requests } = standIn;
    const asked = requests.length;
    const env = { VT_REQUESTS_PER_DAY: 'auto', HTTPS_PROXY: 'nonsense://' };
    const { status, summary } = await summaryOf([logs], env, { offline: true });
    expect(status).toBe(0);
    expect(summary.quota.day).toEqual(asking.quota.day);
    expect(requests).toHaveLength(asked);
    expect((await summaryOf([logs], { VT_API_KEY: '' }, { dryRun: true })).summary.quota.day.used).toBe(0);
  });

  it('asks at most --max-lookups files and says of the rest that this was the limit', async () => {
    await start();
    const { summary } = await summaryOf([logs], {}, { maxLookups: 3 });
    expect(standIn.requests).toHaveLength(3);
    expect(summary.hashes).toMatchObject({ asked: 3, waiting: nightHashes.size - 3 });
    const reasons = recordsOf(join(logs, 'night.jsonl.enriched.jsonl')).map(({ virustotal }) => virustotal['reason']);
    expect(new Set(reasons)).toEqual(new Set([undefined, 'limit']));
  });

  it('leaves the rest for tomorrow where the day is spent, without a 429 and without failing', async () => {
    await start({ perDay: 10 });
    const { status, summary } = await summaryOf([logs], { VT_REQUESTS_PER_DAY: '10', VT_RESERVE_PER_DAY: '3' });
    expect(status).toBe(0);
    expect(standIn.requests.map(({ status: answered }) => answered)).not.toContain(429);
    expect(standIn.requests).toHaveLength(7);
    expect(summary.quota.resumes_at).toBe('2026-03-05T00:00:00.000Z');
    expect(summary.hashes).toMatchObject({ asked: 7, waiting: nightHashes.size - 7 });
    const waiting = recordsOf(join(logs, 'night.jsonl.enriched.jsonl')).filter(
      ({ virustotal }) => virustotal['reason'] === 'quota',
    );
    expect(waiting.length).toBeGreaterThan(0);
    clock.advance(17 * 3_600_000);
    const tomorrow = await summaryOf([logs], { VT_REQUESTS_PER_DAY: '500' });
    // The stand-in counts its own day anew too.
    expect(tomorrow.summary.hashes).toMatchObject({ cached: 7 });
  });

  it('takes standard input and gives the records on stdout', async () => {
    await start();
    const running = shell({}, { stdin: night.events.map(nxlogLine).join('') });
    expect(await runEnrich(running, ['-'], {})).toBe(0);
    const lines = running.printed().trimEnd().split('\n');
    expect(lines).toHaveLength(night.events.filter(({ eventId }) => eventId === 1).length);
    expect(lines.every((line) => JSON.parse(line).virustotal.verdict !== 'unchecked')).toBe(true);
    await expect(runEnrich(shell({}, { stdin: '' }), ['-'], { json: true })).rejects.toThrow('--out');
  });

  it('tells by --fail-on what was found', async () => {
    await start();
    expect((await summaryOf([logs], {}, { failOn: 'malicious' })).status).toBe(1);
    expect((await summaryOf([logs], {}, { failOn: 'incomplete' })).status).toBe(0);
    await expect(runEnrich(shell(), [logs], { failOn: 'clean' })).rejects.toThrow('malicious, suspicious, incomplete');
  });

  it('writes below --out and leaves the logs’ folder as it was', async () => {
    await start();
    const before = readdirSync(logs);
    await summaryOf([logs], {}, { out: join(root, 'out') });
    expect(readdirSync(logs)).toEqual(before);
    expect(readdirSync(join(root, 'out')).sort()).toEqual([
      'beats.jsonl.gz.context.jsonl',
      'beats.jsonl.gz.enriched.jsonl',
      'night.jsonl.context.jsonl',
      'night.jsonl.enriched.jsonl',
    ]);
  });
});

describe('trouble', () => {
  it('without a key: says where to get one, and starts nothing', async () => {
    await start();
    await expect(runEnrich(shell({ VT_API_KEY: '' }), [logs], {})).rejects.toMatchObject({
      code: 'KEY_MISSING',
      message: expect.stringContaining('https://www.virustotal.com/gui/my-apikey'),
    });
    expect(readdirSync(root)).toEqual(['logs']);
  });

  it('with a refused key: stops asking after one request, fails, and keeps the records', async () => {
    await start({ key: 'another' });
    const { status, summary } = await summaryOf([logs], { VT_CONCURRENCY: '1' });
    expect(status).toBe(3);
    expect(standIn.requests).toHaveLength(1);
    expect(summary.failures).toEqual([expect.objectContaining({ code: 'KEY_REFUSED' })]);
    expect(recordsOf(join(logs, 'night.jsonl.enriched.jsonl'))[0]?.virustotal).toMatchObject({
      verdict: 'unchecked',
      reason: 'error',
    });
  });

  it('with the server down: ends, fails, and keeps what it has', async () => {
    await start();
    await standIn.close();
    const { status, summary } = await summaryOf([logs]);
    expect(status).toBe(3);
    expect(summary.failures).toEqual([expect.objectContaining({ code: 'SERVICE_DOWN' })]);
    expect(summary.hashes.waiting).toBe(nightHashes.size);
  });

  it('with the server down for fewer questions than make an outage: fails all the same', async () => {
    await start({ fault: () => ({ kind: 'status', status: 503 }) });
    const { status, summary, said } = await summaryOf([logs], {}, { maxLookups: 2, quiet: true });
    expect(status).toBe(3);
    expect(summary.failures).toEqual([expect.objectContaining({ code: 'SERVICE_DOWN' })]);
    expect(said).toMatch(
      /^no answer on 2 files: HTTP 503, 3 attempts\nVirusTotal: 2 questions came to nothing, the first: /,
    );
  });

  it.each([
    ['first', 1],
    ['in the middle', 3],
    ['last', nightHashes.size],
  ])('with one wrong answer among good ones, asked %s: tells of it, fails, and keeps the others', async (_, place) => {
    await start({ fault: ({ number }) => (number === place ? { kind: 'another_file' } : undefined) });
    const { status, summary, said } = await summaryOf([logs], { VT_CONCURRENCY: '1' }, { quiet: true });
    expect(said).toMatch(
      /^no answer on 1 file: .*\[BAD_ANSWER\]\nVirusTotal: one question came to nothing: .*\[BAD_ANSWER\]\n$/,
    );
    expect(summary).toMatchObject({ failures: [{ code: 'BAD_ANSWER' }], hashes: { waiting: 1 } });
    expect(status).toBe(3);
  });

  it('with one wrong answer: asks again about old answers all the same, and tells of it once', async () => {
    await start({
      fault: ({ number }) => (number === nightHashes.size + 1 ? { kind: 'another_file' } : undefined),
    });
    await summaryOf([logs]);
    clock.advance(40 * 86_400_000);
    const other = join(root, 'other');
    mkdirSync(other);
    const [event] = night.events.filter(({ eventId }) => eventId === 1);
    if (event === undefined) throw new Error('the night has a process creation');
    const data = new Map([...event.data, ['Hashes', `SHA1=${'7'.repeat(40)}`]]);
    writeFileSync(join(other, 'a.jsonl'), nxlogLine({ ...event, data }));
    const { status, summary } = await summaryOf([other]);
    expect(standIn.requests).toHaveLength(nightHashes.size + 1 + nightHashes.size);
    expect(summary.failures).toMatchObject([{ code: 'BAD_ANSWER' }]);
    expect(status).toBe(3);
  });

  it('with a portal’s HTML instead of an answer: never a verdict from it', async () => {
    await start({ fault: () => ({ kind: 'portal' }) });
    const { status, summary } = await summaryOf([logs]);
    expect(status).toBe(3);
    expect(summary.verdicts.unchecked).toBe(summary.records.process_creations);
  });

  it('with a quota that VirusTotal counts fuller than we do: no hot loop, the rest waits', async () => {
    await start({ perDay: 5 });
    const { status, summary } = await summaryOf([logs]);
    expect(status).toBe(0);
    // Those under way at the first 429, and the probes that tell a full minute from a spent day.
    expect(standIn.requests.filter(({ status: answered }) => answered === 429).length).toBeLessThanOrEqual(4 + 2);
    expect(summary.hashes.asked).toBe(5);
    expect(summary.quota.resumes_at).toBe('2026-03-05T00:00:00.000Z');
  });

  it('with an unreadable log, junk, and an empty file: names each and reads the rest', async () => {
    await start();
    writeFileSync(join(logs, 'empty.evtx'), '');
    writeFileSync(join(logs, 'junk.bin'), Buffer.from([0, 1, 2, 3, 255, 254, 9, 8, 0, 0]));
    const { status, summary, said } = await summaryOf([logs], {}, {});
    expect(status).toBe(0);
    expect(summary.logs).toMatchObject({ read: 3, skipped: 1, failed: 0 });
    expect(said).toContain('empty');
    expect(said).toContain('junk.bin: skipped');
    const named = await summaryOf([join(logs, 'junk.bin'), join(root, 'nowhere'), join(logs, 'night.jsonl')]);
    expect(named.status).toBe(3);
    expect(named.summary.failures.map(({ code }) => code).sort()).toEqual(['NOT_A_LOG', 'UNREADABLE']);
    expect(named.summary.logs).toMatchObject({ unchanged: 1, failed: 2 });
  });

  it('with an archive of which nothing can be read: counts it as failed; with one of which some can, as read', async () => {
    await start();
    const secret = { name: 'secret.jsonl', content: Buffer.from(nxlogLine(firstEvent)), isEncrypted: true };
    writeFileSync(join(logs, 'night.jsonl'), zipArchive([secret]));
    const { status, summary } = await summaryOf([join(logs, 'night.jsonl')]);
    expect(status).toBe(3);
    expect(summary.logs).toEqual({ read: 0, unchanged: 0, skipped: 0, failed: 1 });
    expect(summary.failures).toMatchObject([{ code: 'ENCRYPTED', path: `${join(logs, 'night.jsonl')}!secret.jsonl` }]);
    expect(readdirSync(logs)).not.toContain('night.jsonl.enriched.jsonl');

    const open = { name: 'open.jsonl', content: Buffer.from(nxlogLine(firstEvent)) };
    writeFileSync(join(logs, 'night.jsonl'), zipArchive([secret, open]));
    const partly = await summaryOf([join(logs, 'night.jsonl')]);
    expect(partly.status).toBe(3);
    expect(partly.summary.logs).toMatchObject({ read: 1, failed: 0 });
    expect(partly.summary.failures).toMatchObject([{ code: 'ENCRYPTED' }]);
    const written = readFileSync(join(logs, 'night.jsonl.enriched.jsonl'), 'utf8');

    // What was written for a log stays where it can be read no more.
    writeFileSync(join(logs, 'night.jsonl'), zipArchive([secret]));
    expect((await summaryOf([join(logs, 'night.jsonl')])).summary.logs).toMatchObject({ read: 0, failed: 1 });
    expect(readFileSync(join(logs, 'night.jsonl.enriched.jsonl'), 'utf8')).toBe(written);
  });

  // Root may read everything.
  if (process.getuid?.() !== 0) {
    it('with a log nobody may read: fails with its name', async () => {
      await start();
      chmodSync(join(logs, 'night.jsonl'), 0);
      const { status, summary } = await summaryOf([logs]);
      expect(status).toBe(3);
      expect(summary.failures[0]).toMatchObject({ code: 'UNREADABLE', path: join(logs, 'night.jsonl') });
    });
  }

  it('with packed logs that do not match their checksum: reads them and says so, which is no failure', async () => {
    await start();
    const packed = gzipSync(night.events.map(winlogbeatLine).join(''));
    packed[packed.length - 6] = (packed[packed.length - 6] ?? 0) ^ 1;
    writeFileSync(join(logs, 'beats.jsonl.gz'), packed);
    const { status, summary, said } = await summaryOf([logs]);
    expect(status).toBe(0);
    expect(summary.records.total).toBe(2 * night.events.length);
    expect(summary.failures).toEqual([]);
    expect(said).toContain(
      'beats.jsonl.gz: gzip data do not match their checksum; all was read nevertheless [CHECKSUM]',
    );
  });

  it('with an archive of logs and of what was written beside them: reads the logs only', async () => {
    await start();
    const content = Buffer.from(night.events.map(nxlogLine).join(''));
    const files = [
      { name: 'night.jsonl', content },
      { name: 'night.jsonl.enriched.jsonl', content },
    ];
    writeFileSync(join(logs, 'kept.zip'), zipArchive(files));
    const { status, summary, said } = await summaryOf([join(logs, 'kept.zip')]);
    expect(status).toBe(0);
    expect(summary.records.total).toBe(night.events.length);
    expect(said).toContain("night.jsonl.enriched.jsonl: skipped, it is one of this program's own files");
  });

  it('with a place for rejects that cannot be written: does and tells all else', async () => {
    await start();
    writeFileSync(join(logs, 'broken.jsonl'), `${nxlogLine(firstEvent)}{"EventID":1,\n`);
    writeFileSync(join(root, 'file'), '');
    const { status, summary } = await summaryOf([logs], {}, { rejects: join(root, 'file', 'rejects.jsonl') });
    expect(status).toBe(3);
    expect(summary.logs.read).toBe(3);
    expect(summary.hashes.asked).toBe(nightHashes.size);
    expect(summary.failures).toMatchObject([{ code: 'OUTPUT', message: expect.stringContaining('rejects.jsonl') }]);
  });

  it.each([
    ['somebody’s file', 'evidence'],
    ['a log', '{"EventID":1}'],
  ])('with %s where rejects are to go: says so before it begins', async (_what, text) => {
    await start();
    const rejects = join(root, 'taken.jsonl');
    writeFileSync(rejects, text);
    await expect(summaryOf([logs], {}, { rejects })).rejects.toMatchObject({ code: 'COLLISION' });
    expect(readFileSync(rejects, 'utf8')).toBe(text);
    writeFileSync(rejects, '{"log":"a.jsonl"}\n');
    expect((await summaryOf([logs], {}, { rejects })).status).toBe(0);
  });

  it('with somebody’s file where a report is to go: says so before it begins', async () => {
    await start();
    const out = join(root, 'out');
    mkdirSync(out);
    writeFileSync(join(out, 'sysmon-vt-report.md'), 'notes');
    await expect(summaryOf([logs], {}, { report: 'md', out })).rejects.toMatchObject({ code: 'COLLISION' });
    expect(readdirSync(out)).toEqual(['sysmon-vt-report.md']);
    expect(standIn.requests).toEqual([]);
  });

  it('with broken lines: counts and locates them, and fails only beyond --max-rejects', async () => {
    await start();
    writeFileSync(join(logs, 'broken.jsonl'), `{"EventID":1,"Hashes":"SHA1=\n${nxlogLine(firstEvent)}`);
    const rejects = join(root, 'rejects.jsonl');
    const { status, summary } = await summaryOf([logs], {}, { rejects, maxRejects: 1 });
    expect(status).toBe(0);
    expect(summary.records.rejected).toBe(1);
    expect(JSON.parse(readFileSync(rejects, 'utf8'))).toMatchObject({
      log: join(logs, 'broken.jsonl'),
      code: 'BAD_JSON',
      offset: 0,
    });
    expect((await summaryOf([logs], {}, { maxRejects: 0 })).status).toBe(3);
  });

  it('with a corrupt shard: sets it aside, says so, and asks again only what was in it', async () => {
    await start();
    await summaryOf([logs]);
    const asked = standIn.requests.length;
    const host = readdirSync(join(root, 'cache')).find((name) => name.startsWith('127.0.0.1')) ?? '';
    const answers = join(root, 'cache', host, 'answers');
    const [shard = ''] = readdirSync(answers).filter((name) => {
      const text = readFileSync(join(answers, name), 'utf8');
      return night.files.some(({ sha1 }) => text.includes(`"asked_hash":"${sha1}"`));
    });
    writeFileSync(join(answers, shard), '{"half');
    const { summary, said } = await summaryOf([logs]);
    expect(standIn.requests.length - asked).toBeGreaterThanOrEqual(1);
    expect(standIn.requests.length - asked).toBeLessThanOrEqual(2);
    expect(summary.hashes.waiting).toBe(0);
    expect(said).toContain('corrupt');
  });

  it('interrupted: keeps the answers it has, says of the rest why, and goes on the next time', async () => {
    await start();
    const running = shell({ VT_CONCURRENCY: '1' });
    const asking = runEnrich(running, [logs], { quiet: true });
    while (standIn.requests.length < 3) await new Promise((resolve) => setTimeout(resolve, 1));
    running.interrupt();
    await asking;
    const asked = standIn.requests.length;
    expect(asked).toBeLessThan(nightHashes.size);
    const { summary } = await summaryOf([logs]);
    expect(new Set(standIn.requests.map(({ hash }) => hash)).size).toBe(standIn.requests.length);
    expect(summary.hashes).toMatchObject({ cached: asked, asked: nightHashes.size - asked });
  });

  it('never shows the key', async () => {
    await start({ fault: ({ number }) => (number % 2 === 0 ? { kind: 'status', status: 500 } : undefined) });
    const running = shell();
    await runEnrich(running, [logs], { verbose: true });
    const everything = [running.printed(), running.said()];
    for (const folder of [root]) {
      for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const full = join(folder, path);
        try {
          everything.push(readFileSync(full, 'latin1'));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
        }
      }
    }
    expect(everything.join('\n')).not.toContain(KEY);
  });
});
