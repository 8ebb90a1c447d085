import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, type Places, parseDuration, places } from '../src/config.js';
import { UsageError } from '../src/errors.js';

const KEY = `${'a'.repeat(60)}1234`;
let root: string;
let at: Places & { readonly userConfigFolder: string };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-config-'));
  mkdirSync(join(root, 'checkout'));
  mkdirSync(join(root, 'user'));
  at = {
    root: join(root, 'checkout'),
    isInstalledPackage: false,
    userConfigFolder: join(root, 'user'),
    userDataFolder: join(root, 'data'),
  };
});
afterEach(() => rmSync(root, { recursive: true }));

describe('the folders of a user', () => {
  it.each(['', '.', 'evidence'])('are never below the working directory, be it that a variable is %o', (value) => {
    const home = process.env['HOME'];
    process.env['HOME'] = value;
    try {
      const variables = ['XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'APPDATA', 'LOCALAPPDATA'];
      const { userConfigFolder, userDataFolder } = places(Object.fromEntries(variables.map((name) => [name, value])));
      for (const folder of [userConfigFolder, userDataFolder])
        expect(folder === undefined || isAbsolute(folder)).toBe(true);
    } finally {
      process.env['HOME'] = home;
    }
  });

  it('are those that variables name', () => {
    if (process.platform !== 'linux') return;
    const { userConfigFolder, userDataFolder } = places({ XDG_CONFIG_HOME: '/c', XDG_DATA_HOME: '/d' });
    expect([userConfigFolder, userDataFolder]).toEqual(['/c/sysmon-vt', '/d/sysmon-vt']);
  });
});

describe('settings', () => {
  it('have the public key’s quota and a five-detection threshold by default', () => {
    const config = loadConfig({}, undefined, at);
    expect(config.limits).toEqual({ perMinute: 4, perDay: 500, perMonth: 15_500, reservePerDay: 20 });
    expect(config.thresholds).toMatchObject({ maliciousAt: 5, suspiciousAt: 1 });
    expect(config.lifetimes).toEqual({
      notFoundMs: 86_400_000,
      pendingMs: 3_600_000,
      foundNewMs: 86_400_000,
      foundRecentMs: 7 * 86_400_000,
      foundMs: 30 * 86_400_000,
    });
    expect(config.apiKey).toBeUndefined();
    expect(config.cacheUrl).toBe(join(at.root, 'cache'));
  });

  it('come from the environment first, then from the user’s .env, then from the checkout’s', () => {
    writeFileSync(join(at.root, '.env'), 'MALICIOUS_AT=7\nSUSPICIOUS_AT=2\nVT_CONCURRENCY=9\n');
    writeFileSync(join(at.userConfigFolder, '.env'), 'MALICIOUS_AT=8\nSUSPICIOUS_AT=3\n');
    const config = loadConfig({ MALICIOUS_AT: '9' }, undefined, at);
    expect(config.thresholds).toMatchObject({ maliciousAt: 9, suspiciousAt: 3 });
    expect(config.concurrency).toBe(9);
  });

  it('never come from the working directory', () => {
    writeFileSync(join(root, '.env'), 'MALICIOUS_AT=99\n');
    const before = process.cwd();
    process.chdir(root);
    try {
      expect(loadConfig({}, undefined, at).thresholds.maliciousAt).toBe(5);
    } finally {
      process.chdir(before);
    }
  });

  it('live in the user’s data folder for an installed package', () => {
    expect(loadConfig({}, undefined, { ...at, isInstalledPackage: true }).cacheUrl).toBe(join(root, 'data', 'cache'));
  });

  it.each([
    ['VT_REQUESTS_PER_MINUTE', '0'],
    ['VT_REQUESTS_PER_DAY', 'many'],
    ['VT_CONCURRENCY', '1e9'],
    ['TTL_FOUND', '30'],
    ['MALICIOUS_AT', '-1'],
    ['VT_BASE_URL', 'http://virustotal.example/api/v3'],
    ['VT_BASE_URL', 'ftp://127.0.0.1/'],
  ])('name a bad %s', (name, value) => {
    expect(() => loadConfig({ [name]: value }, undefined, at)).toThrow(UsageError);
    expect(() => loadConfig({ [name]: value }, undefined, at)).toThrow(name);
  });

  it.each(['http://127.0.0.1:8080/api/v3/', 'http://localhost/api/v3', 'http://[::1]:1/x'])(
    'take plain http to this machine: %s',
    (url) => {
      expect(loadConfig({ VT_BASE_URL: url }, undefined, at).baseUrl).toBe(url.replace(/\/$/, ''));
    },
  );

  it('take “auto” for a limit, which is a public key’s until VirusTotal has told its own', () => {
    const { limits, autoLimits } = loadConfig({ VT_REQUESTS_PER_DAY: 'auto' }, undefined, at);
    expect(limits.perDay).toBe(500);
    expect([...autoLimits]).toEqual(['perDay']);
  });

  it.each(['http://hooks.example/x', 'ftp://hooks.example/', 'https://me:pass@hooks.example/', 'no url'])(
    'refuse %s for ALERT_URL, which may hold a token, without showing it',
    (url) => {
      const refused = (): unknown => loadConfig({ ALERT_URL: url }, undefined, at);
      expect(refused).toThrow('ALERT_URL');
      expect(refused).not.toThrow(url);
    },
  );

  it('take https, or plain http to this machine, for ALERT_URL, and show it nowhere', () => {
    for (const url of ['https://hooks.example/services/T0/B0/token?x=1', 'http://127.0.0.1:8080/hook']) {
      const { alertUrl } = loadConfig({ ALERT_URL: url }, undefined, at);
      expect(alertUrl?.reveal()).toBe(url);
      expect(JSON.stringify({ alertUrl })).not.toContain(url);
    }
  });

  it('take “unlimited” for a limit', () => {
    expect(loadConfig({ VT_REQUESTS_PER_DAY: 'unlimited' }, undefined, at).limits.perDay).toBe(
      Number.POSITIVE_INFINITY,
    );
  });
});

describe('the API key', () => {
  it('is read from a file, and shows nowhere', () => {
    const file = join(root, 'key');
    writeFileSync(file, `${KEY}\n`, { mode: 0o600 });
    const config = loadConfig(
      { VT_API_KEY_FILE: file, HTTPS_PROXY: `http://user:${KEY}@proxy.example:1` },
      undefined,
      at,
    );
    expect(config.apiKey?.reveal()).toBe(KEY);
    for (const text of [inspect(config, { depth: 9, showHidden: true }), JSON.stringify(config), `${config.apiKey}`]) {
      expect(text).not.toContain(KEY);
    }
    expect(config.warnings).toEqual([]);
  });

  it.skipIf(process.platform === 'win32')('brings a warning where everybody can read its file', () => {
    const file = join(root, 'key');
    writeFileSync(file, KEY);
    chmodSync(file, 0o644);
    expect(loadConfig({ VT_API_KEY_FILE: file }, undefined, at).warnings).toEqual([
      expect.stringContaining('chmod 600'),
    ]);
  });

  it('is refused, and not repeated, where it cannot be one', () => {
    let message = '';
    try {
      loadConfig({ VT_API_KEY: `${KEY}\r\nx` }, undefined, at);
    } catch (error) {
      message = inspect(error);
    }
    expect(message).toContain('VT_API_KEY');
    expect(message).not.toContain(KEY);
  });
});

describe('parseDuration', () => {
  it('reads seconds, minutes, hours and days', () => {
    expect(['90s', '15m', '12h', '30d'].map(parseDuration)).toEqual([90_000, 900_000, 43_200_000, 2_592_000_000]);
    expect(['', '5', 'd', '1.5h', '-1d', '5 d'].map(parseDuration)).toEqual(Array(6).fill(undefined));
  });
});
