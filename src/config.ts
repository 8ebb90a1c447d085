import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { isAbsolute, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, UsageError } from './errors.js';
import type { Lifetimes } from './lookup.js';
import { PACKAGE_ROOT } from './package-root.js';
import type { Thresholds } from './verdict.js';

/** What `node:util` calls `inspect.custom`; that module takes longer to load than all of this one. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/** A value that must not be seen: printed, inspected or serialised it shows only that it is there. */
export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value itself, for the one place it is meant for. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [INSPECT](): string {
    return '[secret]';
  }
}

/** Requests allowed in one window; Infinity for no limit of ours. */
export interface RequestLimits {
  readonly perMinute: number;
  readonly perDay: number;
  readonly perMonth: number;
  /** Of `perDay`, what only `check` may use. */
  readonly reservePerDay: number;
}

/** The windows whose limit VirusTotal is asked for. */
export type LimitWindow = 'perMinute' | 'perDay' | 'perMonth';

/** All settings of a run, validated. */
export interface Config {
  /** Undefined where none is set: enough for offline work. */
  readonly apiKey: Secret | undefined;
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly limits: RequestLimits;
  /** Windows set to `auto`; `limits` has the public key's for them, until VirusTotal has told the key's own. */
  readonly autoLimits: ReadonlySet<LimitWindow>;
  readonly concurrency: number;
  readonly timeoutMs: number;
  /** A `file:` URL or a folder. */
  readonly cacheUrl: string;
  readonly thresholds: Thresholds;
  readonly lifetimes: Lifetimes;
  /** How long sightings of a file that runs no more are kept, in milliseconds. */
  readonly sightingsKeptMs: number;
  /** Where alerts are sent; it usually holds a token. */
  readonly alertUrl: Secret | undefined;
  /** Lists of files that need no question, and of files that are bad without one. */
  readonly knownGoodPaths: readonly string[];
  readonly knownBadPaths: readonly string[];
  /** A file of rules for what is never asked; undefined for none. */
  readonly doNotAskPath: string | undefined;
  /** The proxy variables as they are set; they may hold a password. */
  readonly proxyEnvironment: Secret<Environment>;
  /** What people should know about the settings, e.g. a key file that others can read. */
  readonly warnings: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where settings and run-time data live when nothing else is said. */
export interface Places {
  /** The checkout or the installed package. */
  readonly root: string;
  readonly isInstalledPackage: boolean;
  /** Undefined where the user has none. */
  readonly userConfigFolder: string | undefined;
  readonly userDataFolder: string | undefined;
}

/** The folders of this installation and this user, by the platform's own conventions. */
export function places(env: Environment): Places {
  const root = fileURLToPath(PACKAGE_ROOT);
  const byPlatform = (windows: string | undefined, mac: string, xdg: string | undefined, fallback: string) => {
    if (process.platform === 'win32') return ownFolder(windows, 'AppData', 'Local');
    if (process.platform === 'darwin') return ownFolder(undefined, 'Library', mac);
    return ownFolder(xdg, fallback);
  };
  return {
    root,
    isInstalledPackage: root.split(sep).includes('node_modules'),
    userConfigFolder: byPlatform(env['APPDATA'], 'Preferences', env['XDG_CONFIG_HOME'], '.config'),
    userDataFolder: byPlatform(env['LOCALAPPDATA'], 'Application Support', env['XDG_DATA_HOME'], '.local/share'),
  };
}

/**
 * This program's folder in `parent`, or without one in a folder of the user's home. A variable that is empty or names no absolute path is as
 * good as not set, as the XDG specification has it: what it named would be in the working directory.
 */
function ownFolder(parent: string | undefined, ...inHome: readonly string[]): string | undefined {
  if (parent !== undefined && isAbsolute(parent)) return join(parent, 'sysmon-vt');
  const home = absoluteFolder(homedir) ?? absoluteFolder(() => userInfo().homedir);
  return home === undefined ? undefined : join(home, ...inHome, 'sysmon-vt');
}

function absoluteFolder(ask: () => string): string | undefined {
  try {
    const folder = ask();
    return isAbsolute(folder) ? folder : undefined;
  } catch {
    // The system does not know this user.
    return undefined;
  }
}

/**
 * Reads the settings: environment first, then `envFile`, or without one the `.env` of the user's configuration folder and of
 * the checkout. Never one from the working directory or next to a log: evidence must not steer us.
 * Throws UsageError (BAD_SETTING) that names the setting and what it takes.
 */
export function loadConfig(env: Environment, envFile?: string, at: Places = places(env)): Config {
  const warnings: string[] = [];
  const folders = [at.userConfigFolder, at.root].filter((folder) => folder !== undefined);
  const files = envFile === undefined ? folders.map((folder) => join(folder, '.env')).filter(existsSync) : [envFile];
  const layers: Environment[] = [env, ...files.map((file) => readEnvFile(file, warnings))];
  const setting = (name: string): string | undefined => {
    for (const layer of layers) {
      const value = layer[name]?.trim();
      if (value !== undefined && value !== '') return value;
    }
    return undefined;
  };

  const perDay = readLimit(setting, 'VT_REQUESTS_PER_DAY', 500);
  const alertUrl = setting('ALERT_URL');
  return {
    apiKey: readApiKey(setting, warnings),
    baseUrl: readBaseUrl(setting('VT_BASE_URL') ?? 'https://www.virustotal.com/api/v3'),
    limits: {
      perMinute: readLimit(setting, 'VT_REQUESTS_PER_MINUTE', 4),
      perDay,
      perMonth: readLimit(setting, 'VT_REQUESTS_PER_MONTH', 15_500),
      reservePerDay: Math.min(readWhole(setting, 'VT_RESERVE_PER_DAY', 20, 0), perDay),
    },
    autoLimits: new Set(
      (
        [
          ['perMinute', 'VT_REQUESTS_PER_MINUTE'],
          ['perDay', 'VT_REQUESTS_PER_DAY'],
          ['perMonth', 'VT_REQUESTS_PER_MONTH'],
        ] as const
      ).flatMap(([window, name]) => (setting(name) === 'auto' ? [window] : [])),
    ),
    concurrency: readWhole(setting, 'VT_CONCURRENCY', 4, 1, 256),
    timeoutMs: readWhole(setting, 'VT_TIMEOUT_MS', 30_000, 100, 600_000),
    cacheUrl: setting('CACHE_URL') ?? defaultCacheFolder(at),
    thresholds: readThresholds(setting),
    lifetimes: {
      notFoundMs: readDuration(setting, 'TTL_NOT_FOUND', '1d'),
      pendingMs: readDuration(setting, 'TTL_PENDING', '1h'),
      foundNewMs: readDuration(setting, 'TTL_FOUND_NEW', '1d'),
      foundRecentMs: readDuration(setting, 'TTL_FOUND_RECENT', '7d'),
      foundMs: readDuration(setting, 'TTL_FOUND', '30d'),
    },
    sightingsKeptMs: readDuration(setting, 'TTL_SIGHTINGS', '400d'),
    alertUrl: alertUrl === undefined ? undefined : new Secret(readAlertUrl(alertUrl)),
    knownGoodPaths: readPaths(setting('KNOWN_GOOD')),
    knownBadPaths: readPaths(setting('KNOWN_BAD')),
    doNotAskPath: setting('DO_NOT_ASK'),
    proxyEnvironment: new Secret(Object.fromEntries(PROXY_VARIABLES.map((name) => [name, setting(name)]))),
    warnings,
  };
}

function defaultCacheFolder({ isInstalledPackage, root, userDataFolder }: Places): string {
  if (!isInstalledPackage) return join(root, 'cache');
  if (userDataFolder !== undefined) return join(userDataFolder, 'cache');
  throw new UsageError('BAD_SETTING', 'this user has no home folder to keep the cache in; name a folder in CACHE_URL');
}

/** Throws UsageError KEY_MISSING that says where to get one and what can be had without, where the settings hold no key. */
export function requireApiKey({ apiKey }: Config, without = '--offline needs none'): void {
  if (apiKey !== undefined) return;
  throw new UsageError(
    'KEY_MISSING',
    `no API key: set VT_API_KEY (environment or .env) or VT_API_KEY_FILE to a file that holds it; get one at https://www.virustotal.com/gui/my-apikey. ${without}`,
  );
}

const PROXY_VARIABLES = ['https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'] as const;

type Setting = (name: string) => string | undefined;

function badSetting(name: string, value: string, takes: string): UsageError {
  return new UsageError('BAD_SETTING', `${name} is "${value}"; it takes ${takes}`);
}

function readEnvFile(path: string, warnings: string[]): Environment {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError('BAD_SETTING', `${path}: the settings file cannot be read (${messageOf(error)})`);
  }
  // Not imported: that would load all of the module, and every command waits for its settings.
  const settings = process.getBuiltinModule('node:util').parseEnv(text) as Environment;
  if (settings['VT_API_KEY'] !== undefined) warnIfReadableByAll(path, warnings);
  return settings;
}

function readApiKey(setting: Setting, warnings: string[]): Secret | undefined {
  const key = setting('VT_API_KEY') ?? readKeyFile(setting('VT_API_KEY_FILE'), warnings);
  if (key === undefined) return undefined;
  // A key with a line feed or a blank in it would be refused by the HTTP layer with an error that shows it.
  if (!/^[\x21-\x7e]{1,512}$/.test(key)) {
    throw new UsageError(
      'BAD_SETTING',
      'VT_API_KEY holds characters that no API key has; copy it again from VirusTotal',
    );
  }
  return new Secret(key);
}

function readKeyFile(path: string | undefined, warnings: string[]): string | undefined {
  if (path === undefined) return undefined;
  try {
    const key = readFileSync(path, 'utf8').trim();
    if (key === '') throw new Error('it is empty');
    warnIfReadableByAll(path, warnings);
    return key;
  } catch (error) {
    throw new UsageError('BAD_SETTING', `VT_API_KEY_FILE: ${path} cannot be used (${messageOf(error)})`);
  }
}

function warnIfReadableByAll(path: string, warnings: string[]): void {
  if (process.platform === 'win32') return;
  if ((statSync(path).mode & 0o004) !== 0) {
    warnings.push(`${path} holds the API key and everybody on this machine can read it; chmod 600 it`);
  }
}

function readBaseUrl(text: string): string {
  const takes = 'an https: URL, or http: to this machine only';
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw badSetting('VT_BASE_URL', text, takes);
  }
  if (!isSafelyReached(url) || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw badSetting('VT_BASE_URL', url.password === '' ? text : '(a URL with a password)', takes);
  }
  return url.href.replace(/\/+$/, '');
}

/** Unlike VirusTotal's, this URL may have a query; no message shows it, since whoever knows it can post. */
function readAlertUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !isSafelyReached(url) || url.username !== '' || url.password !== '') {
    throw badSetting(
      'ALERT_URL',
      '(not shown)',
      'an https: URL without user and password, or http: to this machine only',
    );
  }
  return url.href;
}

function isSafelyReached({ protocol, hostname }: URL): boolean {
  const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
  return protocol === 'https:' || (protocol === 'http:' && isLoopback);
}

function readLimit(setting: Setting, name: string, fallback: number): number {
  const text = setting(name);
  if (text === 'unlimited') return Number.POSITIVE_INFINITY;
  if (text === 'auto') return fallback;
  return readWhole(setting, name, fallback, 1, Number.MAX_SAFE_INTEGER, 'a whole number from 1, "unlimited" or "auto"');
}

function readWhole(
  setting: Setting,
  name: string,
  fallback: number,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
  takes = `a whole number from ${min}${max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`}`,
): number {
  const text = setting(name);
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) throw badSetting(name, text, takes);
  return value;
}

function readThresholds(setting: Setting): Thresholds {
  const maliciousAt = readWhole(setting, 'MALICIOUS_AT', 5, 1, 1000);
  const suspiciousAt = readWhole(setting, 'SUSPICIOUS_AT', 1, 1, 1000);
  const trusted = (setting('TRUSTED_ENGINES') ?? '').split(',').map((name) => name.trim().toLowerCase());
  return { maliciousAt, suspiciousAt, trustedEngines: new Set(trusted.filter((name) => name !== '')) };
}

/** Paths apart by commas; the platform's own separator for lists (`:`) stands in Windows' paths. */
function readPaths(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((path) => path.trim())
    .filter((path) => path !== '');
}

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Reads `90s`, `15m`, `12h`, `30d` as milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  const unitMs = UNIT_MS.get(match?.[2] ?? '');
  return match === null || unitMs === undefined ? undefined : Number(match[1]) * unitMs;
}

function readDuration(setting: Setting, name: string, fallback: string): number {
  const text = setting(name) ?? fallback;
  const ms = parseDuration(text);
  if (ms === undefined) throw badSetting(name, text, 'a duration such as 90s, 15m, 12h or 30d');
  return ms;
}
