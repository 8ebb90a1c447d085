import dns from 'node:dns';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import http from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openQuestioner } from '../../src/assembly.js';
import { openConfiguredCache } from '../../src/cache/index.js';
import type { Clock } from '../../src/clock.js';
import { runCheck } from '../../src/commands/check.js';
import { runEnrich } from '../../src/commands/enrich.js';
import { runQuota } from '../../src/commands/quota.js';
import { runRuns } from '../../src/commands/runs.js';
import { describeError } from '../../src/commands/shell.js';
import { loadConfig } from '../../src/config.js';
import { type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { type FakeShell, fakeShell } from '../fakes/shell.js';
import { sha1Of, writeLogs } from '../torture/world.js';

/** Passes no time, so that pauses between attempts cost none. */
const hastyClock: Clock = { now: () => new Date('2026-03-04T02:00:00Z'), sleep: async () => undefined };

const KEY = 'a1b2c3d4'.repeat(8);
const PROXY_PASSWORD = 'hunter2-of-the-proxy';

let root: string;
let standIn: StandIn;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-secrets-'));
  standIn = await startStandIn({ key: KEY });
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

const settings = (more: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> => ({
  VT_API_KEY: KEY,
  VT_BASE_URL: standIn.baseUrl,
  VT_REQUESTS_PER_MINUTE: 'unlimited',
  CACHE_URL: join(root, 'cache'),
  HTTPS_PROXY: `http://user:${PROXY_PASSWORD}@127.0.0.1:9`,
  ...more,
});

/** Everything that was said, and every byte that was written below the test's folder. */
function everything(...shells: readonly FakeShell[]): string {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => join(root, name))
    .filter((path) => statSync(path).isFile());
  const texts = files.map((path) => `${path}\n${readFileSync(path, 'latin1')}`);
  return [...shells.flatMap((shell) => [shell.printed(), shell.said()]), ...texts].join('\n');
}

function expectNoSecret(text: string): void {
  expect(text).not.toContain(KEY);
  expect(text).not.toContain(PROXY_PASSWORD);
}

describe('the key and the proxy’s password', () => {
  it('stand in nothing that is printed, inspected, serialised or written', async () => {
    const config = loadConfig(settings());
    const cache = await openConfiguredCache(config, () => undefined);
    const questioner = await openQuestioner(config, {
      cache,
      clock: fakeShell({}).clock,
      purpose: 'batch',
      say: () => undefined,
    });
    await questioner.lookUp(sha1Of(1));
    for (const value of [config, cache, questioner]) {
      expectNoSecret(inspect(value, { depth: Infinity, showHidden: true, getters: true }));
      expectNoSecret(JSON.stringify(value));
      expectNoSecret(String(value));
    }
    await questioner.close();
    await cache.close();
    expectNoSecret(everything());
  });

  it('are in no message when the HTTP library itself throws what it was given', async () => {
    const request = vi.spyOn(http, 'request').mockImplementation((...given: unknown[]) => {
      throw new Error(`broken by ${inspect(given, { depth: 5 })}`);
    });
    const shell = fakeShell(settings(), { clock: hastyClock });
    await runCheck(shell, [sha1Of(1)], {});
    expect(request).toHaveBeenCalled();
    expect(inspect(request.mock.calls, { depth: 6 })).toContain(KEY);
    expectNoSecret(everything(shell));
  });

  it('are in no crash: a defect shows its stack, and a stack has no values', async () => {
    const shell = fakeShell(settings());
    vi.spyOn(JSON, 'parse').mockImplementation(() => {
      throw new RangeError('a defect');
    });
    const crash: unknown = await runCheck(shell, [sha1Of(1)], {}).catch((error: unknown) => error);
    vi.restoreAllMocks();
    const { text } = describeError(crash instanceof Error ? crash : new Error('a defect'));
    expectNoSecret(text);
    expectNoSecret(inspect(crash, { depth: Infinity, showHidden: true }));
    expectNoSecret(everything(shell));
  });

  it('are not repeated where a proxy cannot be reached', async () => {
    const shell = fakeShell(settings({ VT_BASE_URL: 'https://127.0.0.1:9/api/v3', VT_TIMEOUT_MS: '200' }), {
      clock: hastyClock,
    });
    expect(await runCheck(shell, [sha1Of(1)], { json: true })).toBeLessThanOrEqual(3);
    expectNoSecret(everything(shell));
  });
});

describe('the network', () => {
  it('is the configured host and nothing else: no name is looked up, nobody else is connected to', async () => {
    const targets: unknown[] = [];
    const connect = Socket.prototype.connect;
    vi.spyOn(Socket.prototype, 'connect').mockImplementation(function (this: Socket, ...given: unknown[]) {
      const [first] = given.flat();
      targets.push(first);
      return Reflect.apply(connect, this, given);
    });
    const lookups = [vi.spyOn(dns, 'lookup'), vi.spyOn(dns.promises, 'lookup')];
    writeLogs(join(root, 'logs'), [1, 2, 3]);
    const shells = [
      fakeShell(settings()),
      fakeShell(settings()),
      fakeShell(settings()),
      fakeShell(settings()),
    ] as const;
    expect(await runEnrich(shells[0], [join(root, 'logs')], { json: true })).toBe(0);
    expect(await runCheck(shells[1], [sha1Of(4)], {})).toBe(0);
    await runQuota(shells[2], {});
    await runRuns(shells[3], {});
    const { port } = new URL(standIn.baseUrl);
    expect(targets.length).toBeGreaterThan(0);
    for (const target of targets) expect(target).toMatchObject({ host: '127.0.0.1', port });
    const names = lookups.flatMap(({ mock }) => mock.calls.map(([name]) => name));
    expect(names.filter((name) => name !== '127.0.0.1')).toEqual([]);
  });

  it('is not touched at all offline', async () => {
    const connect = vi.spyOn(Socket.prototype, 'connect');
    writeLogs(join(root, 'logs'), [1, 2, 3]);
    await runEnrich(fakeShell(settings()), [join(root, 'logs')], { json: true, offline: true });
    await runCheck(fakeShell(settings()), [sha1Of(1)], { offline: true });
    expect(connect).not.toHaveBeenCalled();
  });

  it('gets one hash per question, and each is in the disclosure log, with when and why', async () => {
    writeLogs(join(root, 'logs'), [1, 2, 3]);
    await runEnrich(fakeShell(settings()), [join(root, 'logs')], { json: true });
    await runCheck(fakeShell(settings()), [sha1Of(4)], {});
    const folder = join(root, 'cache', 'disclosed');
    const noted = readdirSync(folder)
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n'))
      .map((line): { hash: string; why: string; host: string; at: string } => JSON.parse(line));
    // Questions under way together may arrive in another order than they were noted in.
    expect(noted.map(({ hash }) => hash).sort()).toEqual(standIn.requests.map(({ hash }) => hash).sort());
    expect(noted.map(({ why }) => why)).toEqual(['batch', 'batch', 'batch', 'on_demand']);
    for (const { host, at } of noted) {
      expect(host).toBe(new URL(standIn.baseUrl).host);
      expect(new Date(at).toISOString()).toBe(at);
    }
  });
});
