import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { runQueue } from '../../src/commands/queue.js';
import { runRecheck } from '../../src/commands/recheck.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight, type NightFile } from '../../src/demo/night.js';
import { evtxLog, writeNightLogs } from '../../src/demo/night-logs.js';
import { fileReport, type StandIn, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';
import { readRuns } from '../../src/runs.js';
import { temporaryPath } from '../../src/storage/temporary.js';
import type { Summary } from '../../src/summary.js';
import { abandonedPath } from '../fakes/abandoned.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { askingShell, KEY } from '../fakes/night.js';
import type { FakeShell } from '../fakes/shell.js';

const night = buildNight();
const fileNamed = (name: string): NightFile => {
  const file = night.files.find(
    (candidate) => candidate.name === name && candidate.detections + Number(!candidate.isKnown) > 0,
  );
  if (file === undefined) throw new Error(`the night has no ${name}`);
  return file;
};
const dropper = fileNamed('invoice_4711.pdf.exe');
const impostor = fileNamed('svchost.exe');
const inventory = fileNamed('inventory.exe');

let root: string;
let logs: string;
let clock: FakeClock;
let standIn: StandIn;

async function start(options: StandInOptions = {}): Promise<void> {
  standIn = await startStandIn({
    key: KEY,
    clock,
    files: night.files
      .filter(({ isKnown }) => isKnown)
      .map(({ sha1, sha256, md5, detections, engines, firstSubmission, lastAnalysis }) =>
        fileReport({ hashes: { sha1, sha256, md5 }, detections, engines, firstSubmission, lastAnalysis }),
      ),
    ...options,
  });
}

const shell = (env: Readonly<Record<string, string>> = {}): FakeShell => askingShell({ standIn, root, clock }, env);

async function oneNight(
  env = {},
  options = {},
): Promise<Summary & { plan?: { to_ask: number; today: number; later: number; days: number } }> {
  const running = shell(env);
  await runEnrich(running, [logs], { json: true, ...options });
  return JSON.parse(running.printed());
}

const outputs = (): Map<string, string> =>
  new Map(
    readdirSync(logs)
      .filter((name) => name.endsWith('.jsonl') && name.includes('.enriched'))
      .map((name) => [name, readFileSync(join(logs, name), 'utf8')]),
  );

function membersOf(sha1: string): Record<string, unknown>[] {
  return [...outputs().values()].flatMap((text) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).virustotal)
      .filter((member) => member.sha1 === sha1),
  );
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-nights-'));
  logs = join(root, 'logs');
  mkdirSync(logs);
  await writeNightLogs(night, logs);
  clock = selfMovingClock('2026-03-04T07:00:00Z');
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

describe('one night after another', () => {
  it('does not read a log again that has not changed, and says the same of it', async () => {
    await start();
    const first = await oneNight();
    const written = outputs();
    const second = await oneNight();
    expect(second.logs).toEqual({ read: 0, unchanged: 4, skipped: 0, failed: 0 });
    expect({ ...second.records, ...second.verdicts }).toEqual({ ...first.records, ...first.verdicts });
    expect(outputs()).toEqual(written);
    expect((await oneNight({}, { force: true })).logs).toMatchObject({ read: 4, unchanged: 0 });
    expect(outputs()).toEqual(written);
  });

  it('brings tomorrow’s answers to yesterday’s records without reading the logs', async () => {
    await start();
    await oneNight({}, { maxLookups: 3 });
    const second = await oneNight();
    expect(second.logs).toMatchObject({ read: 0, unchanged: 4 });
    expect(second.hashes.waiting).toBe(0);
    expect(membersOf(dropper.sha1)).toEqual([expect.objectContaining({ verdict: 'malicious' })]);
    expect(second.verdicts.unchecked).toBe(0);
  });

  it('goes on where a night was stopped while it read: what was read is not read again, and waits', async () => {
    await start();
    const running = shell();
    const stopping = {
      ...running,
      // Told of each log once it is read.
      stderr: new Writable({
        write: (chunk, _encoding, done) => {
          if (/process creations/.test(String(chunk))) running.interrupt();
          done();
        },
      }),
    };
    await runEnrich(stopping, [logs], { verbose: true, json: true });
    const stopped: Summary = JSON.parse(running.printed());
    expect(stopped.logs.read).toBeGreaterThan(0);
    expect(stopped.logs.read).toBeLessThan(4);
    expect(stopped.failures).toEqual([expect.objectContaining({ code: 'INTERRUPTED' })]);
    expect(standIn.requests).toEqual([]);

    // Ranked when it is next looked at.
    const queue = shell();
    await runQueue(queue, { json: true });
    const waiting: { score: number }[] = JSON.parse(queue.printed()).files;
    expect(waiting).toHaveLength(stopped.hashes.waiting);
    expect(waiting.map(({ score }) => score)).toEqual(waiting.map(({ score }) => score).toSorted((a, b) => b - a));
    const next = await oneNight();
    expect(next.logs).toEqual({ read: 4 - stopped.logs.read, unchanged: stopped.logs.read, skipped: 0, failed: 0 });
    expect(next.hashes.waiting).toBe(0);
    const interrupted = outputs();
    rmSync(join(root, 'cache', 'logs.json'));
    await oneNight();
    expect(outputs()).toEqual(interrupted);
  });

  it('follows changed thresholds without a question', async () => {
    await start();
    await oneNight();
    const asked = standIn.requests.length;
    const strict = await oneNight({ MALICIOUS_AT: '60' });
    expect(standIn.requests).toHaveLength(asked);
    expect(strict.logs.unchanged).toBe(4);
    expect(membersOf(dropper.sha1)).toEqual([expect.objectContaining({ verdict: 'suspicious', detections: 54 })]);
  });

  it('reads a log again that grew, shrank, or was replaced, and one whose enriched file was touched or lost', async () => {
    await start();
    await oneNight();
    const json = join(logs, 'WS-DEV-11.winlogbeat.jsonl');
    appendFileSync(
      json,
      night.events
        .filter(({ eventId }) => eventId === 1)
        .slice(0, 3)
        .map(nxlogLine)
        .join(''),
    );
    expect((await oneNight()).logs).toMatchObject({ read: 1, unchanged: 3 });
    writeFileSync(json, readFileSync(json, 'utf8').split('\n').slice(0, 20).join('\n'));
    expect((await oneNight()).logs).toMatchObject({ read: 1, unchanged: 3 });
    const evtx = join(logs, 'DC-01.evtx');
    const { atime, mtime } = statSync(evtx);
    const replaced = Buffer.from(
      evtxLog(night.events.filter(({ computer }) => computer.startsWith('DC-01')).reverse()),
    );
    writeFileSync(evtx, replaced);
    utimesSync(evtx, atime, mtime);
    expect((await oneNight()).logs.read).toBe(1);
    rmSync(`${evtx}.enriched.jsonl`);
    writeFileSync(`${join(logs, 'WS-FIN-03.evtx')}.enriched.jsonl`, '{}\n');
    expect((await oneNight()).logs).toMatchObject({ read: 2, unchanged: 2 });
  });

  it('loses only time where its memory is deleted or damaged', async () => {
    await start();
    await oneNight();
    const written = outputs();
    writeFileSync(join(root, 'cache', 'logs.json'), '{"half');
    const again = await oneNight();
    expect(again.logs.read).toBe(4);
    expect(outputs()).toEqual(written);
    rmSync(join(root, 'cache', 'sightings'), { recursive: true });
    rmSync(join(root, 'cache', 'logs.json'));
    expect((await oneNight()).logs.read).toBe(4);
    expect(outputs()).toEqual(written);
  });

  it('clears away what a killed run left half written, beside the logs and in the cache, and nothing of a running one', async () => {
    await start();
    await oneNight();
    const evtx = join(logs, 'DC-01.evtx.enriched.jsonl');
    const shared = join(root, 'cache', 'logs.json');
    const left = [abandonedPath(evtx), abandonedPath(shared)];
    const running = temporaryPath(evtx);
    for (const path of [...left, running]) writeFileSync(path, 'half');
    // Once for each folder of a run, and this process has been here: another one looks again.
    execFileSync(process.execPath, [resolve('dist/cli.js'), 'enrich', logs, '--force', '--offline', '-q'], {
      env: { CACHE_URL: join(root, 'cache'), VT_BASE_URL: standIn.baseUrl },
    });
    expect(left.filter((path) => existsSync(path))).toEqual([]);
    expect(existsSync(running)).toBe(true);
  });

  it('takes only files changed since a time with --since', async () => {
    await start();
    utimesSync(join(logs, 'DC-01.evtx'), new Date('2026-03-01T00:00:00Z'), new Date('2026-03-01T00:00:00Z'));
    expect((await oneNight({}, { since: '2026-03-02' })).logs.read).toBe(3);
    await expect(runEnrich(shell(), [logs], { since: 'yesterday' })).rejects.toThrow('--since yesterday');
    await expect(runEnrich(shell(), [logs], { since: '2026-02-30' })).rejects.toThrow('--since 2026-02-30');
  });
});

describe('what is asked', () => {
  it('is the most telling first', async () => {
    await start();
    await oneNight({}, { maxLookups: 3 });
    expect(new Set(standIn.requests.map(({ hash }) => hash).slice(0, 2))).toEqual(
      new Set([dropper.sha1, impostor.sha1]),
    );
  });

  it('is told by a dry run with its price, which writes and asks nothing', async () => {
    await start();
    const env = { VT_REQUESTS_PER_DAY: '8', VT_RESERVE_PER_DAY: '2' };
    const before = readdirSync(logs);
    const dry = await oneNight({ ...env, VT_API_KEY: '' }, { dryRun: true });
    expect(dry.plan).toMatchObject({
      to_ask: night.files.length,
      today: 6,
      later: night.files.length - 6,
      days: Math.ceil((night.files.length - 6) / 6),
    });
    expect(standIn.requests).toEqual([]);
    expect(readdirSync(logs)).toEqual(before);
    expect(readdirSync(root)).toEqual(['logs']);
  });

  it('is told by a dry run after a night, which leaves every file as it was', async () => {
    await start();
    await oneNight();
    const files = (): Map<string, string> =>
      new Map(
        readdirSync(root, { recursive: true, withFileTypes: true })
          .filter((file) => file.isFile())
          .map(({ parentPath, name }) => join(parentPath, name))
          // The quota is read under a lock, whose tickets count on.
          .filter((path) => !path.includes('/locks/'))
          .map((path) => [path, readFileSync(path, 'latin1')]),
      );
    const before = files();
    expect([...before.keys()].filter((path) => path.endsWith('.enriched.jsonl'))).not.toEqual([]);
    await oneNight({}, { dryRun: true });
    await oneNight({}, { dryRun: true, force: true, records: 'ecs' });
    expect(files()).toEqual(before);
  });

  it('waits in the queue, in the same order, until it is asked', async () => {
    await start();
    await oneNight({}, { maxLookups: 2 });
    const running = shell();
    await runQueue(running, { json: true });
    const queue = JSON.parse(running.printed());
    expect(queue.to_ask).toBe(night.files.length - 2);
    expect(queue.files[0].reasons.length).toBeGreaterThan(0);
    await oneNight({}, { maxLookups: 1 });
    expect(standIn.requests.at(-1)?.hash).toBe(queue.files[0].hash);
    await oneNight();
    const empty = shell();
    await runQueue(empty, {});
    expect(empty.printed()).toBe('nothing waits\n');
  });
});

it('the disclosure log tells of each question in which run it was asked, what spoke for it, and where the file lay', async () => {
  await start();
  await oneNight({}, { maxLookups: 2 });
  const [line] = readFileSync(join(root, 'cache', 'disclosed', '2026-03.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text))
    .filter(({ hash }) => hash === dropper.sha1);
  expect(line).toMatchObject({
    why: 'batch',
    command: 'enrich',
    because: expect.stringMatching(/^[a-z]/),
    image: expect.stringMatching(/invoice_4711\.pdf\.exe$/),
  });
  const { runs } = await readRuns(join(root, 'cache'));
  expect(runs.map(({ started_at: startedAt }) => startedAt)).toContain(line.run);
});

describe('rules for what is never asked', () => {
  it('keep hashes from leaving, in this run and the next, and say why', async () => {
    await start();
    const rules = join(root, 'rules.txt');
    writeFileSync(rules, '# ours\npath c:\\program files\\corp\\**\nhost ws-fin-03\n');
    await oneNight({ DO_NOT_ASK: rules });
    const second = await oneNight({ DO_NOT_ASK: rules });
    expect(second.logs.unchanged).toBe(4);
    const asked = standIn.requests.map(({ hash }) => hash);
    expect(asked).not.toContain(inventory.sha1);
    expect(asked).not.toContain(dropper.sha1);
    expect(asked).toContain(impostor.sha1);
    expect(membersOf(inventory.sha1)[0]).toMatchObject({ verdict: 'unchecked', reason: 'limit' });
    const running = shell();
    await runQueue(running, { json: true });
    expect(JSON.parse(running.printed()).to_ask).toBe(0);
    // Without the rules it is asked after all.
    await oneNight();
    expect(standIn.requests.map(({ hash }) => hash)).toContain(inventory.sha1);
  });

  it('stop the run where they are not understood', async () => {
    await start();
    const rules = join(root, 'rules.txt');
    writeFileSync(rules, 'everything\n');
    await expect(runEnrich(shell({ DO_NOT_ASK: rules }), [logs], {})).rejects.toMatchObject({ code: 'BAD_SETTING' });
    expect(standIn.requests).toEqual([]);
  });
});

describe('lists of known files', () => {
  it('save questions, are counted, and never overrule a bad verdict', async () => {
    await start();
    const good = join(root, 'good.txt');
    writeFileSync(good, `${inventory.sha1}\n${dropper.sha1}\n`);
    const first = await oneNight({ KNOWN_GOOD: good });
    expect(standIn.requests.map(({ hash }) => hash)).not.toContain(inventory.sha1);
    expect(first.hashes.known_good).toBe(2);
    expect(membersOf(inventory.sha1)[0]).toMatchObject({
      verdict: 'unchecked',
      reason: 'known_good',
      known_good: { source: expect.stringContaining('good') },
    });
    await oneNight();
    const third = await oneNight({ KNOWN_GOOD: good });
    expect(third.verdicts.malicious).toBe(2);
    expect(membersOf(dropper.sha1)[0]).toMatchObject({ verdict: 'malicious', detections: 54, known_good: {} });
  });

  it('name files that are bad without a question', async () => {
    await start();
    const bad = join(root, 'bad.txt');
    writeFileSync(bad, `${inventory.sha1.toUpperCase()}\n`);
    const { hashes } = await oneNight({ KNOWN_BAD: bad });
    expect(hashes).toMatchObject({ known_bad: 1, known_good: 0, asked: night.files.length - 1 });
    expect(standIn.requests.map(({ hash }) => hash)).not.toContain(inventory.sha1);
    expect(membersOf(inventory.sha1)[0]).toMatchObject({ verdict: 'malicious', known_bad: {} });
    expect(membersOf(inventory.sha1)[0]).not.toHaveProperty('detections');
  });

  it('are told apart for people; a file on both kinds is bad', async () => {
    await start();
    const list = join(root, 'list.txt');
    writeFileSync(list, `${inventory.sha1}\n`);
    const running = shell({ KNOWN_GOOD: list, KNOWN_BAD: list });
    await runEnrich(running, [logs], {});
    expect(running.said()).toMatch(/^files .* 0 waiting, 1 known bad$/m);
    expect(running.said()).toMatch(/^malicious {2}on the list .*list/m);
  });
});

describe('evidence', () => {
  it('flags a file that VirusTotal does not know and one host ran', async () => {
    await start();
    await oneNight();
    const scanner = fileNamed('nbtscan64.exe');
    expect(membersOf(scanner.sha1)).toEqual([expect.objectContaining({ verdict: 'unknown', flags: ['rare_unknown'] })]);
    expect(membersOf(inventory.sha1)[0]).not.toHaveProperty('flags');
    expect(membersOf(impostor.sha1)[0]).toMatchObject({ flags: expect.arrayContaining(['renamed']) });
  });

  it('around a flagged process is written beside its log: ancestors, children, connections, files', async () => {
    await start();
    await oneNight();
    const lines = readFileSync(join(logs, 'WS-FIN-03.evtx.context.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const images = lines
      .filter(({ EventID }) => EventID === 1)
      .map(({ EventData }) => EventData.Image.split('\\').at(-1));
    expect(images).toEqual(['OUTLOOK.EXE', 'WINWORD.EXE', 'powershell.exe', 'whoami.exe', 'nbtscan64.exe']);
    expect(lines.filter(({ EventID }) => EventID === 1).every(({ virustotal }) => virustotal !== undefined)).toBe(true);
    expect(lines.some(({ EventID, EventData }) => EventID === 3 && EventData.DestinationIp === '203.0.113.77')).toBe(
      true,
    );
    expect(
      lines.some(({ EventID, EventData }) => EventID === 11 && EventData.TargetFilename.endsWith('nbtscan64.exe')),
    ).toBe(true);
    expect(readdirSync(logs)).not.toContain('DC-01.evtx.context.jsonl');
  });
});

describe('what happened around flagged processes', () => {
  const contexts = (): Map<string, string> =>
    new Map(
      readdirSync(logs)
        .filter((name) => name.endsWith('.context.jsonl'))
        .map((name) => [name, readFileSync(join(logs, name), 'utf8')]),
    );

  it('gets the answers that another night brings to its log, and reads as if it were written anew', async () => {
    // Only the dropper is flagged, and is known to be before the others are asked about.
    const others = night.files.filter(({ sha1 }) => sha1 !== dropper.sha1);
    await start({
      files: [
        fileReport({ hashes: dropper, detections: 54 }),
        ...others.map((hashes) => fileReport({ hashes, detections: 0 })),
      ],
    });
    await oneNight({}, { maxLookups: 3 });
    expect([...contexts().values()].join('')).toContain('"reason":"limit"');
    const other = join(root, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'a.jsonl'), night.events.slice(0, 1).map(nxlogLine).join(''));
    await runEnrich(shell(), [other], {});
    const brought = contexts();
    expect([...brought.values()].join('')).not.toContain('"reason":"limit"');
    await oneNight();
    expect(contexts()).toEqual(brought);
    await oneNight({}, { force: true });
    expect(contexts()).toEqual(brought);
  });

  it('gets them also where the log is gone', async () => {
    await start();
    await oneNight({}, { maxLookups: 3 });
    for (const name of readdirSync(logs)) if (!/\.(enriched|context)\.jsonl$/.test(name)) rmSync(join(logs, name));
    mkdirSync(join(root, 'other'));
    writeFileSync(join(root, 'other', 'a.jsonl'), night.events.slice(0, 1).map(nxlogLine).join(''));
    const before = [...contexts().keys()];
    await runEnrich(shell(), [join(root, 'other')], {});
    expect([...contexts().keys()]).toEqual(before);
    expect([...contexts().values()].join('')).not.toContain('"reason":"limit"');
  });

  it('goes when a recheck leaves no process flagged', async () => {
    await start();
    await oneNight();
    expect(contexts().size).toBeGreaterThan(0);
    standIn.learn(
      night.files.map(({ sha1, sha256, md5 }) => fileReport({ hashes: { sha1, sha256, md5 }, detections: 0 })),
    );
    clock.advance(40 * 86_400_000);
    await runRecheck(shell(), {});
    expect([...outputs().values()].join('')).not.toContain('"malicious"');
    expect(contexts()).toEqual(new Map());
  });

  it('is there again after it was deleted, though its log is not read for its verdicts', async () => {
    await start();
    await oneNight();
    const written = contexts();
    for (const name of written.keys()) rmSync(join(logs, name));
    expect((await oneNight()).logs).toMatchObject({ read: 0, unchanged: 4 });
    expect(contexts()).toEqual(written);
  });

  it('is not looked for night after night where records do not name their process', async () => {
    await start();
    const line = night.events.find(({ data }) => data.get('Hashes')?.toLowerCase().includes(dropper.sha1));
    if (line === undefined) throw new Error('the dropper runs in this night');
    const data = new Map([...line.data].filter(([name]) => name !== 'ProcessGuid'));
    logs = join(root, 'other');
    mkdirSync(logs);
    writeFileSync(join(logs, 'a.jsonl'), nxlogLine({ ...line, data }));
    await oneNight();
    expect(membersOf(dropper.sha1)).toMatchObject([{ verdict: 'malicious' }]);
    const running = shell();
    await runEnrich(running, [logs], { verbose: true });
    expect(running.said()).not.toContain('records of context');
  });
});
