import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheFolderName } from '../../src/cache/index.js';
import { runCheck } from '../../src/commands/check.js';
import { runEnrich } from '../../src/commands/enrich.js';
import { runQuota } from '../../src/commands/quota.js';
import { runRecheck } from '../../src/commands/recheck.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';
import { type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { askingShell, KEY, knownFiles } from '../fakes/night.js';
import type { FakeShell } from '../fakes/shell.js';

const DAY_MS = 86_400_000;
const night = buildNight();
const [turncoat = ''] = night.files
  .filter(({ isKnown, detections }) => isKnown && detections === 0)
  .map(({ sha1 }) => sha1);

let root: string;
let clock: FakeClock;
let standIn: StandIn;

const shell = (env: Readonly<Record<string, string>> = {}): FakeShell => askingShell({ standIn, root, clock }, env);

async function enriched(options = {}) {
  const running = shell();
  const status = await runEnrich(running, [join(root, 'logs')], { json: true, ...options });
  return { status, said: running.said(), ...JSON.parse(running.printed()) };
}

const inCache = (path: string): string => join(root, 'cache', path.replace('HOST', cacheFolderName(standIn.baseUrl)));

/** Puts something in the way: a folder in the place of a file, a file in that of a folder. */
function block(path: string): void {
  const place = inCache(path);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(dirname(place), { recursive: true });
  if (path.endsWith('.json')) mkdirSync(place);
  else writeFileSync(place, 'in the way');
}

const verdictsOf = (sha1: string): string[] =>
  readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).virustotal)
    .filter((member) => member.sha1 === sha1)
    .map(({ verdict }) => verdict);

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-lost-'));
  mkdirSync(join(root, 'logs'));
  writeFileSync(join(root, 'logs', 'night.jsonl'), night.events.map(nxlogLine).join(''));
  clock = selfMovingClock('2026-03-04T07:00:00Z');
  standIn = await startStandIn({ key: KEY, clock, files: knownFiles(night) });
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

describe('a part of the cache folder that a run can do without', () => {
  it.each(['logs.json', 'waiting.json', 'sightings', 'runs'])(
    'costs what it should remember and status 3, and no verdict: %s',
    async (path) => {
      block(path);
      const { status, said, failures, verdicts, hashes } = await enriched();
      expect(status).toBe(3);
      expect(failures).toEqual([{ code: 'CACHE', message: expect.stringContaining(inCache(path)) }]);
      expect(failures[0].message).toMatch(/\[CACHE\]; the run goes on without$/);
      expect(said.split('goes on without')).toHaveLength(2);
      expect(hashes).toMatchObject({ asked: night.files.length, waiting: 0 });
      expect(verdicts.malicious).toBeGreaterThan(0);

      // With it out of the way, nothing is asked again.
      rmSync(inCache(path), { recursive: true });
      expect(await enriched()).toMatchObject({ status: 0, hashes: { asked: 0, waiting: 0 } });
    },
  );

  it('is the history of changes: they are told and written into records all the same', async () => {
    await enriched();
    clock.advance(40 * DAY_MS);
    standIn.learn(knownFiles(night, { [turncoat]: 23 }));
    block('HOST/changes.json');
    const running = shell();
    expect(await runRecheck(running, { json: true })).toBe(3);
    const { changes, failures } = JSON.parse(running.printed());
    expect(changes).toMatchObject([{ hash: turncoat, after: { verdict: 'malicious', detections: 23 } }]);
    expect(failures).toMatchObject([{ code: 'CACHE', message: expect.stringContaining('changes.json') }]);
    expect(new Set(verdictsOf(turncoat))).toEqual(new Set(['malicious']));
  });

  it('lets earlier records wait for a run that knows where they are', async () => {
    await enriched({ maxLookups: 3 });
    const states = readFileSync(inCache('logs.json'));
    mkdirSync(join(root, 'other'));
    writeFileSync(join(root, 'other', 'night.jsonl'), night.events.slice(0, 1).map(nxlogLine).join(''));
    block('logs.json');
    const running = shell();
    expect(await runEnrich(running, [join(root, 'other')], { json: true })).toBe(3);
    rmSync(inCache('logs.json'), { recursive: true });
    writeFileSync(inCache('logs.json'), states);
    const open = (): number =>
      readFileSync(join(root, 'logs', 'night.jsonl.enriched.jsonl'), 'utf8').split('"unchecked"').length - 1;
    expect(open()).toBeGreaterThan(0);
    const asked = standIn.requests.length;
    await runEnrich(shell(), [join(root, 'other')], { json: true });
    expect(standIn.requests).toHaveLength(asked);
    expect(open()).toBe(0);
  });

  it('lets check and quota answer, with status 3', async () => {
    block('waiting.json');
    const asking = shell();
    expect(await runQuota(asking, { json: true })).toBe(3);
    expect(JSON.parse(asking.printed())).toMatchObject({ day: { used: 0 }, queue: null });
    block('HOST/changes.json');
    await runCheck(shell(), [turncoat], {});
    clock.advance(40 * DAY_MS);
    const checking = shell();
    expect(await runCheck(checking, [turncoat], { json: true })).toBe(3);
    expect(JSON.parse(checking.printed()).virustotal).toMatchObject({ verdict: 'undetected' });
    expect(checking.said()).toContain('changes.json');
  });
});

describe('what no run can do without', () => {
  it.each(['ledger', 'disclosed'])('ends it before a question leaves: %s', async (path) => {
    block(path);
    await expect(runEnrich(shell(), [join(root, 'logs')], {})).rejects.toMatchObject({ code: 'CACHE' });
    expect(standIn.requests).toEqual([]);
  });

  it('includes the alerts that were asked for, since what was not told once would never be', async () => {
    block('HOST/alerts.json');
    const running = shell({ ALERT_URL: 'http://127.0.0.1:9/hook' });
    await expect(runEnrich(running, [join(root, 'logs')], {})).rejects.toMatchObject({ code: 'CACHE' });
  });
});
