import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCache } from '../../src/cache/index.js';
import { runCacheExport, runCacheImport, runCacheStats } from '../../src/commands/cache.js';
import { runQueue } from '../../src/commands/queue.js';
import { runRuns } from '../../src/commands/runs.js';
import { type Lookup, lookupToJson } from '../../src/lookup.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { foundLookup } from '../fakes/lookups.js';
import { type FakeShell, fakeShell } from '../fakes/shell.js';

const HOST = 'www.virustotal.com';
const MONDAY = new Date('2026-03-02T02:00:00Z');
const TUESDAY = new Date('2026-03-03T02:00:00Z');
const hashOf = (number: number): string => number.toString(16).padStart(40, '0');

let root: string;
let pack: string;
let clock: FakeClock;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-packs-'));
  pack = join(root, 'site.pack');
  clock = selfMovingClock('2026-03-04T07:00:00Z');
});
afterEach(() => rmSync(root, { recursive: true }));

function shell(site: string, env = {}): FakeShell {
  return fakeShell({ CACHE_URL: join(root, site), ...env }, { clock });
}

async function put(site: string, ...lookups: Lookup[]): Promise<void> {
  const cache = await openCache(join(root, site, HOST));
  for (const lookup of lookups) await cache.put(lookup);
  await cache.close();
}

async function answers(site: string): Promise<Map<string, Lookup>> {
  const cache = await openCache(join(root, site, HOST));
  const found = new Map<string, Lookup>();
  for await (const lookup of cache.answers()) found.set(lookup.askedHash, lookup);
  await cache.close();
  return found;
}

async function imported(site: string, paths: readonly string[] = [pack], env = {}) {
  const running = shell(site, env);
  const status = await runCacheImport(running, paths, { json: true });
  return { status, said: running.said(), ...JSON.parse(running.printed()) };
}

async function exported(site: string): Promise<void> {
  expect(await runCacheExport(shell(site), pack, {})).toBe(0);
}

/** The pack with its text changed, its checksum as it was. */
function changePack(change: (text: string) => string): void {
  writeFileSync(pack, gzipSync(change(gunzipSync(readFileSync(pack)).toString('utf8'))));
}

describe('a pack', () => {
  it('carries all answers to another site, whole', async () => {
    const lookups = Array.from({ length: 1200 }, (_, number) => foundLookup(hashOf(number), number % 70, 70, MONDAY));
    await put('one', ...lookups);
    await exported('one');
    expect(await imported('two')).toMatchObject({ status: 0, imported: 1200, known: 0, rejected: 0 });
    expect(await answers('two')).toEqual(await answers('one'));
    expect(await imported('two')).toMatchObject({ status: 0, imported: 0, known: 1200 });
  });

  it('is JSON lines in gzip: header, answers, checksum', async () => {
    const lookup = foundLookup(hashOf(1), 3, 70, MONDAY);
    await put('one', lookup);
    await exported('one');
    const lines = gunzipSync(readFileSync(pack))
      .toString('utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toEqual([
      { format: 'sysmon-vt-pack', version: 1, host: HOST, exported_at: '2026-03-04T07:00:00.000Z' },
      JSON.parse(JSON.stringify(lookupToJson(lookup))),
      { answers: 1, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
  });

  it('merges: of two answers on one file the newer one wins, whichever way it comes', async () => {
    await put('one', foundLookup(hashOf(1), 9, 70, TUESDAY), foundLookup(hashOf(2), 9, 70, MONDAY));
    await put('two', foundLookup(hashOf(1), 0, 70, MONDAY), foundLookup(hashOf(2), 0, 70, TUESDAY));
    await exported('one');
    expect(await imported('two')).toMatchObject({ imported: 1, known: 1 });
    const merged = await answers('two');
    expect(merged.get(hashOf(1))?.report?.counts?.malicious).toBe(9);
    expect(merged.get(hashOf(2))?.report?.counts?.malicious).toBe(0);
  });

  it('tells of verdicts that it changes', async () => {
    await put('one', foundLookup(hashOf(1), 23, 70, TUESDAY));
    await put('two', foundLookup(hashOf(1), 0, 70, MONDAY));
    await exported('one');
    const { changes } = await imported('two');
    expect(changes).toMatchObject([
      { hash: hashOf(1), before: { verdict: 'undetected' }, after: { verdict: 'malicious', detections: 23 } },
    ]);
  });
});

describe('nothing of a pack gets in', () => {
  beforeEach(async () => {
    await put('one', foundLookup(hashOf(1), 3, 70, MONDAY), foundLookup(hashOf(2), 3, 70, MONDAY));
    await exported('one');
  });

  it.each([
    ['cut off', (text: string) => text.slice(0, -80), 'checksum'],
    ['with an answer changed', (text: string) => text.replace('"malicious":3', '"malicious":0'), 'checksum'],
    ['with an answer left out', (text: string) => text.split('\n').toSpliced(1, 1).join('\n'), 'checksum'],
    ['of another version', (text: string) => text.replace('"version":1', '"version":2'), 'version 2'],
    ['of another host', (text: string) => text.replace(HOST, '127.0.0.1:8080'), '127.0.0.1:8080'],
    ['that is none', () => '{"a":1}\n', 'no pack of answers'],
    ['that is empty', () => '', 'cut off or damaged'],
  ])('%s', async (_what, change, message) => {
    changePack(change);
    const { status, said, failures } = await imported('two');
    expect(status).toBe(3);
    expect(failures).toMatchObject([{ code: 'CACHE', path: pack }]);
    expect(said).toContain(message);
    expect((await answers('two')).size).toBe(0);
  });

  it('that is not packed or not there', async () => {
    writeFileSync(pack, 'plain text');
    const { status, failures } = await imported('two', [pack, join(root, 'nowhere')]);
    expect(status).toBe(3);
    expect(failures).toHaveLength(2);
  });

  it('where another pack of the same command is good: that one gets in', async () => {
    writeFileSync(join(root, 'bad'), 'plain text');
    expect(await imported('two', [join(root, 'bad'), pack])).toMatchObject({ status: 3, imported: 2 });
  });
});

describe('a bad line', () => {
  it('costs that line: answers from the future and what is no answer are rejected and named', async () => {
    await put('one', foundLookup(hashOf(1), 3, 70, MONDAY), foundLookup(hashOf(2), 3, 70, new Date('2035-01-01')));
    await put('one', { ...foundLookup(hashOf(3), 3, 70, MONDAY), httpStatus: Number.NaN });
    await exported('one');
    const { status, said, ...counts } = await imported('two');
    expect(status).toBe(0);
    expect(counts).toMatchObject({ imported: 1, rejected: 1 });
    expect(said).toContain('an answer from the future [BAD_RECORD]');
  });
});

it('says nothing but errors with --quiet', async () => {
  await put('one', foundLookup(hashOf(1), 23, 70, new Date('2035-01-01')));
  await exported('one');
  writeFileSync(join(root, 'bad'), 'plain text');
  const running = shell('two');
  expect(await runCacheImport(running, [pack, join(root, 'bad')], { quiet: true })).toBe(3);
  expect(running.said()).toMatch(/^sysmon-vt: .*bad.*\n$/);
});

it.each(['memory:', 'redis://host', 'file://elsewhere/cache', 'file:///%zz'])(
  'a setting that names no folder is refused before anything is written: %s',
  async (url) => {
    for (const run of [runCacheStats, runRuns, runQueue]) {
      await expect(run(shell('', { CACHE_URL: url }), {})).rejects.toMatchObject({ code: 'BAD_SETTING' });
    }
    expect(readdirSync('.')).not.toContain('memory:');
  },
);

it('an export that fails leaves no file', async () => {
  await put('one', foundLookup(hashOf(1), 3, 70, MONDAY));
  await expect(runCacheExport(shell('one'), join(root, 'one', HOST), {})).rejects.toThrow('cannot be written');
  expect(readdirSync(root)).toEqual(['one']);
});
