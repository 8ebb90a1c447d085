import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCache } from '../../src/cache/index.js';
import { runProgram } from '../../src/commands/program.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';
import { openSightings } from '../../src/sightings/index.js';
import { selfMovingClock } from '../fakes/clock.js';
import { foundLookup } from '../fakes/lookups.js';
import { type FakeShell, fakeShell } from '../fakes/shell.js';

const HASH = '3395856ce81f2b7382dee72602f798b642f14140';
const clock = selfMovingClock('2026-03-04T07:00:00Z');

let root: string;
let shell: FakeShell;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-fail-on-'));
  shell = fakeShell({ CACHE_URL: root }, { clock });
});
afterEach(() => rmSync(root, { recursive: true }));

const run = (...words: readonly string[]): Promise<number> => runProgram(shell, words, async () => undefined);

it.each([
  'enrich x',
  'check x',
  'report x',
  'recheck',
  'queue',
  'formats x',
  'cache stats',
  `cache get ${HASH}`,
  'cache prune',
  'cache export x',
  'cache import x',
  'quota',
  'runs',
  'demo',
])('is an option of %s, and a wrong condition is told before anything is done', async (command) => {
  await expect(run(...command.split(' '), '--fail-on', 'clean')).rejects.toMatchObject({ code: 'BAD_USAGE' });
});

describe('queue', () => {
  it('is incomplete while files wait', async () => {
    expect(await run('queue', '--fail-on', 'incomplete')).toBe(0);
    const due = [{ hash: HASH, score: 1 }];
    await openSightings(root).updateWaiting({ due, settled: [], now: clock.now() });
    expect(await run('queue', '--fail-on', 'incomplete')).toBe(1);
    expect(await run('queue', '--fail-on', 'malicious', '--json')).toBe(0);
  });
});

describe('cache get', () => {
  it('judges the answer', async () => {
    const cache = await openCache(join(root, 'www.virustotal.com'));
    await cache.put(foundLookup(HASH, 3, 70, clock.now()));
    await cache.close();
    expect(await run('cache', 'get', HASH, '--fail-on', 'suspicious')).toBe(1);
    expect(await run('cache', 'get', HASH, '--fail-on', 'malicious,incomplete')).toBe(0);
  });
});

describe('formats', () => {
  it('is incomplete where records cannot be read', async () => {
    const log = join(root, 'night.jsonl');
    const lines = buildNight().events.map(nxlogLine);
    writeFileSync(log, lines.join(''));
    expect(await run('formats', log, '--fail-on', 'incomplete')).toBe(0);
    writeFileSync(log, `${lines.join('')}{"EventID":1,\n`);
    expect(await run('formats', log, '--fail-on', 'incomplete')).toBe(1);
  });
});

describe('runs', () => {
  it('judges the runs that it lists', async () => {
    const log = join(root, 'night.jsonl');
    const { events, files } = buildNight();
    writeFileSync(log, events.map(nxlogLine).join(''));
    const bad = join(root, 'bad.txt');
    writeFileSync(bad, files.map(({ sha1 }) => `${sha1}\n`).join(''));
    shell = fakeShell({ CACHE_URL: root, KNOWN_BAD: bad }, { clock });
    expect(await run('enrich', log, '--offline')).toBe(0);
    expect(await run('runs', '--fail-on', 'malicious')).toBe(1);
    expect(await run('runs', '--fail-on', 'malicious', '--limit', '0')).toBe(0);
    expect(await run('runs', '--fail-on', 'incomplete', '--json')).toBe(0);
  });
});
