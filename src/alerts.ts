import { join } from 'node:path';
import type { AxiosProxyConfig } from 'axios';
import { describeJudged, describeSeen, judgedToJson, type NewlyMalicious, seenToJson } from './changes.js';
import type { Clock } from './clock.js';
import { messageOf, systemCodeOf, UsageError } from './errors.js';
import { jsonFile, makeFolder, writeFileDurably } from './storage/json-file.js';
import { isAlive, type ProcessIdentity, thisProcess, withLock } from './storage/lock.js';
import { isOfThisHost, processIdentityFromJson } from './storage/process-identity.js';
import { storageError } from './storage/storage-error.js';
import { escapeControls, shorten } from './terminal.js';
import { fileLink } from './verdict.js';

/** A way on which alerts leave. */
export interface AlertChannel {
  /** As messages and the outbox name it: the setting or option that asks for it. */
  readonly name: string;
  /** Delivers one alert, JSON text. Resolves with what went wrong, for people, or undefined once it has been taken. */
  send(alert: string): Promise<string | undefined>;
}

/** What a delivery came to. */
export interface Delivery {
  readonly delivered: number;
  /** Alerts that still have to be delivered on at least one of this run's channels. */
  readonly waiting: number;
  /** What went wrong, one line per channel. */
  readonly failures: readonly string[];
}

/**
 * Alerts on files that have become malicious, kept until each channel has taken them: delivered at least once, and not again for
 * the same file unless it was no longer malicious in between. All methods reject with StorageError.
 */
export interface AlertOutbox {
  /** Puts an alert into the outbox, for all channels; durable once resolved. */
  add(file: NewlyMalicious): Promise<void>;
  /** Forgets that a file was told of, and drops an alert on it that has not left yet. */
  withdraw(hash: string): Promise<void>;
  /** Delivers what waits, on the channels there are. A channel that fails is not tried again in this call. */
  deliver(): Promise<Delivery>;
}

export interface AlertOutboxOptions {
  /** The cache folder of one host of VirusTotal. */
  readonly folder: string;
  readonly channels: readonly AlertChannel[];
  readonly clock: Clock;
  /** Told what is lost or set aside. One line for people. */
  readonly onReport: (message: string) => void;
}

const LOCK = 'alerts';

/** More than any night has; the oldest are given up, and that is said. */
const MAX_WAITING = 10_000;

/** Files that were told of, so that they are not told again; the oldest are forgotten. */
const MAX_TOLD = 50_000;

/** An alert for a channel that no run has any more is given up after this. */
const MAX_WAITING_MS = 30 * 24 * 60 * 60 * 1000;

interface WaitingAlert {
  readonly alert: object;
  readonly addedAt: Date;
  /** Names of the channels that have not taken it. */
  readonly channels: readonly string[];
}

interface Outbox {
  readonly waiting: ReadonlyMap<string, WaitingAlert>;
  /** When each file was told of. */
  readonly told: ReadonlyMap<string, Date>;
  /** Who delivers at present, and since when: nobody else does meanwhile. */
  readonly sender: Sender | undefined;
}

interface Sender {
  readonly owner: ProcessIdentity;
  readonly since: Date;
}

/** A sender on another host cannot be watched: after this long it counts as dead. */
const MAX_FOREIGN_SENDER_MS = 60 * 60 * 1000;

/** Opens the outbox in `alerts.json`. Nothing is created before the first alert. */
export function openAlertOutbox(options: AlertOutboxOptions): AlertOutbox {
  return new StoredOutbox(options);
}

class StoredOutbox implements AlertOutbox {
  readonly #options: AlertOutboxOptions;
  readonly #path: string;

  constructor(options: AlertOutboxOptions) {
    this.#options = options;
    this.#path = join(options.folder, 'alerts.json');
  }

  async add(file: NewlyMalicious): Promise<void> {
    const { channels, clock } = this.#options;
    if (channels.length === 0) return;
    await this.#change((outbox) => {
      const { hash } = file;
      if (outbox.told.has(hash) || outbox.waiting.has(hash)) return outbox;
      const waiting = new Map(outbox.waiting);
      waiting.set(hash, {
        alert: alertOn(file),
        addedAt: clock.now(),
        channels: channels.map(({ name }) => name),
      });
      return { ...outbox, waiting: this.#bounded(waiting) };
    });
  }

  async withdraw(hash: string): Promise<void> {
    const { told, waiting } = await this.#read();
    if (!told.has(hash) && !waiting.has(hash)) return;
    await this.#change((outbox) => ({
      ...outbox,
      waiting: without(outbox.waiting, hash),
      told: without(outbox.told, hash),
    }));
  }

  async deliver(): Promise<Delivery> {
    const { channels } = this.#options;
    let waiting: Outbox['waiting'] = new Map();
    if (channels.length === 0 || (await this.#read()).waiting.size === 0) {
      return { delivered: 0, waiting: 0, failures: [] };
    }
    await this.#change((outbox) => {
      if (outbox.sender !== undefined && this.#isSending(outbox.sender)) return outbox;
      waiting = outbox.waiting;
      return { ...outbox, sender: { owner: thisProcess(), since: this.#options.clock.now() } };
    });
    const failures = new Map<string, string>();
    let delivered = 0;
    try {
      for (const [hash, alert] of waiting) {
        for (const channel of channels) {
          if (!alert.channels.includes(channel.name) || failures.has(channel.name)) continue;
          const failure = await channel.send(`${JSON.stringify(alert.alert)}\n`);
          if (failure !== undefined) {
            failures.set(channel.name, failure);
            continue;
          }
          delivered++;
          await this.#change((outbox) => this.#withDelivered(outbox, hash, channel.name));
        }
      }
    } finally {
      await this.#change((outbox) => (waiting.size > 0 ? { ...this.#withoutOld(outbox), sender: undefined } : outbox));
    }
    const names = channels.map(({ name }) => name);
    const left = [...(await this.#read()).waiting.values()];
    return {
      delivered,
      waiting: left.filter((alert) => alert.channels.some((name) => names.includes(name))).length,
      failures: [...failures].map(([name, failure]) => `${name}: ${failure}; the alert is kept for the next run`),
    };
  }

  #isSending({ owner, since }: Sender): boolean {
    if (isOfThisHost(owner)) return isAlive(owner);
    return this.#options.clock.now().getTime() - since.getTime() < MAX_FOREIGN_SENDER_MS;
  }

  #withDelivered(outbox: Outbox, hash: string, channelName: string): Outbox {
    const alert = outbox.waiting.get(hash);
    if (alert === undefined) return outbox;
    const left = alert.channels.filter((name) => name !== channelName);
    const told = new Map(outbox.told).set(hash, this.#options.clock.now());
    const waiting =
      left.length === 0
        ? without(outbox.waiting, hash)
        : new Map(outbox.waiting).set(hash, { ...alert, channels: left });
    return { ...outbox, waiting, told: new Map([...told].slice(-MAX_TOLD)) };
  }

  #withoutOld(outbox: Outbox): Outbox {
    const names = this.#options.channels.map(({ name }) => name);
    const oldestMs = this.#options.clock.now().getTime() - MAX_WAITING_MS;
    const waiting = new Map(outbox.waiting);
    for (const [hash, alert] of waiting) {
      if (alert.addedAt.getTime() >= oldestMs || alert.channels.some((name) => names.includes(name))) continue;
      waiting.delete(hash);
      this.#options.onReport(`the alert on ${hash} for ${alert.channels.join(' and ')} is given up after 30 days`);
    }
    return { ...outbox, waiting };
  }

  #bounded(waiting: ReadonlyMap<string, WaitingAlert>): Outbox['waiting'] {
    if (waiting.size <= MAX_WAITING) return waiting;
    this.#options.onReport(`more than ${MAX_WAITING} alerts wait to be delivered; the oldest are given up`);
    return new Map([...waiting].slice(-MAX_WAITING));
  }

  async #change(change: (outbox: Outbox) => Outbox): Promise<void> {
    const { folder } = this.#options;
    try {
      await makeFolder(folder);
    } catch (error) {
      throw storageError('make the folder', folder, error);
    }
    await withLock(folder, LOCK, async () => {
      const outbox = await this.#read();
      const changed = change(outbox);
      if (changed !== outbox) await writeFileDurably(this.#path, JSON.stringify(outboxToJson(changed)));
    });
  }

  async #read(): Promise<Outbox> {
    const file = jsonFile(this.#path, outboxFromJson, (copy) =>
      this.#options.onReport(`${this.#path} is damaged: set aside as ${copy}; alerts in it are not delivered`),
    );
    return (await file.read()) ?? { waiting: new Map(), told: new Map(), sender: undefined };
  }
}

/** Longest text of an alert: chat systems cut or refuse more. */
const MAX_TEXT = 1500;
const MAX_NAME = 200;

/** An alert as it is sent: `text` for people, in the form that Slack and those who follow it take, the rest for programs. */
function alertOn({ hash, before, after, sha256, label, seen }: NewlyMalicious): object {
  const [image = 'a file'] = seen.images;
  const said = `${describeJudged(after)} engines on VirusTotal${label === undefined ? '' : `, ${quoted(label)}`}`;
  const was =
    before === undefined ? '' : `; it was ${describeJudged(before)} on ${before.askedAt.toISOString().slice(0, 10)}`;
  const hosts = seen.hostNames.slice(0, 3).map(quoted).join(', ');
  const text = `Malicious: ${quoted(image)} (${said})${was}. ${capitalised(describeSeen(seen))}${hosts === '' ? '' : ` (${hosts}${seen.hosts > 3 ? ', …' : ''})`}. ${sha256 === undefined ? hash : fileLink(sha256)}`;
  return {
    text: shorten(text, MAX_TEXT),
    event: 'newly_malicious',
    hash,
    sha256,
    link: sha256 === undefined ? undefined : fileLink(sha256),
    label: label === undefined ? undefined : shorten(label, MAX_NAME),
    before: before === undefined ? undefined : judgedToJson(before),
    after: judgedToJson(after),
    seen: seenToJson(seen),
  };
}

/** Text of strangers for a chat: no control characters, no markup, no mentions, and as code, so that nothing in it becomes a link. */
function quoted(text: string): string {
  const plain = escapeControls(shorten(text, MAX_NAME)).replaceAll('`', "'");
  return `\`${plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')}\``;
}

function capitalised(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

const WEBHOOK_TIMEOUT_MS = 15_000;
const WEBHOOK_ATTEMPTS = 3;
const WEBHOOK_PAUSE_MS = 2_000;
const MAX_WEBHOOK_PAUSE_MS = 60_000;
const MAX_WEBHOOK_ANSWER_BYTES = 64 * 1024;

/** `ALERT_URL`: each alert as the JSON body of a POST. The URL is a secret itself, so no message shows more than its host. */
export function webhookChannel(options: {
  readonly url: string;
  readonly version: string;
  readonly clock: Clock;
  readonly proxy?: AxiosProxyConfig;
}): AlertChannel {
  const { url, version, clock, proxy } = options;
  const { host } = new URL(url);
  return {
    name: 'ALERT_URL',
    send: async (alert) => {
      const { default: axios } = await import('axios');
      let failure = '';
      for (let attempt = 1; attempt <= WEBHOOK_ATTEMPTS; attempt++) {
        let pauseMs = WEBHOOK_PAUSE_MS * attempt;
        try {
          const { status, headers } = await axios.post(url, alert, {
            adapter: 'http',
            headers: { 'content-type': 'application/json', 'user-agent': `sysmon-vt/${version}` },
            timeout: WEBHOOK_TIMEOUT_MS,
            signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
            maxRedirects: 0,
            maxContentLength: MAX_WEBHOOK_ANSWER_BYTES,
            proxy: proxy ?? false,
            responseType: 'text',
            validateStatus: () => true,
          });
          if (status >= 200 && status < 300) return undefined;
          failure = `${host} answered HTTP ${status}`;
          // What is refused once is refused again; only what passes is worth another attempt.
          if (status !== 429 && status < 500) return failure;
          const askedPauseMs = Number(headers['retry-after']) * 1000;
          if (askedPauseMs > 0) pauseMs = Math.min(askedPauseMs, MAX_WEBHOOK_PAUSE_MS);
        } catch (error) {
          // An AxiosError holds the whole URL; its code does not.
          failure = `${host} could not be reached (${systemCodeOf(error) ?? 'no code'})`;
        }
        if (attempt < WEBHOOK_ATTEMPTS) await clock.sleep(pauseMs);
      }
      return `${failure}, ${WEBHOOK_ATTEMPTS} attempts`;
    },
  };
}

const COMMAND_TIMEOUT_MS = 60_000;
const MAX_STDERR = 500;

/**
 * `--exec`: each alert on the standard input of a program of its own. There is no shell: the command is split at blanks, double
 * quotes keep blanks together (`parseCommand`), and nothing of an alert becomes an argument. Its output is not shown.
 */
export function commandChannel(options: {
  readonly command: string;
  /** Without our own secrets. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs?: number;
}): AlertChannel {
  const [program = '', ...args] = parseCommand(options.command);
  const { env, timeoutMs = COMMAND_TIMEOUT_MS } = options;
  return {
    name: '--exec',
    send: async (alert) => {
      const { spawn } = await import('node:child_process');
      return new Promise((resolve) => {
        let stderr = '';
        const child = spawn(program, args, {
          env,
          shell: false,
          windowsHide: true,
          stdio: ['pipe', 'ignore', 'pipe'],
          timeout: timeoutMs,
          killSignal: 'SIGKILL',
        });
        child.on('error', (error) => resolve(`${program} could not be started (${messageOf(error)})`));
        child.stderr.on('data', (chunk) => {
          if (stderr.length < MAX_STDERR) stderr += String(chunk);
        });
        // A program may end without reading all: its exit status tells whether it was content.
        child.stdin.on('error', () => undefined);
        // Not `close`: whatever the program has left behind may keep its outputs open for ever.
        child.on('exit', (status, signal) => {
          setImmediate(() => {
            child.stderr.destroy();
            if (status === 0) return resolve(undefined);
            const why = signal === null ? `exit status ${status}` : `ended by ${signal}`;
            const words = shorten(stderr.trim(), MAX_STDERR);
            resolve(`${program}: ${why}${words === '' ? '' : `: ${words}`}`);
          });
        });
        child.stdin.end(alert);
      });
    },
  };
}

/** Splits a command: blanks part, double quotes keep together, nothing else means anything. Throws UsageError. */
export function parseCommand(command: string): string[] {
  const words = [...command.matchAll(/(?:"[^"]*"|[^\s"])+/g)].map(([word]) => word.replaceAll('"', ''));
  if (words.length === 0 || words[0] === '' || (command.match(/"/g)?.length ?? 0) % 2 === 1) {
    throw new UsageError('BAD_USAGE', '--exec: it takes a program and its arguments; each double quote needs another');
  }
  return words;
}

function without<Value>(map: ReadonlyMap<string, Value>, name: string): ReadonlyMap<string, Value> {
  const rest = new Map(map);
  rest.delete(name);
  return rest;
}

function outboxToJson({ waiting, told, sender }: Outbox): object {
  return {
    waiting: [...waiting].map(([hash, { alert, addedAt, channels }]) => ({ hash, alert, addedAt, channels })),
    told: [...told].map(([hash, at]) => [hash, at]),
    sender,
  };
}

function outboxFromJson(json: unknown): Outbox | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { waiting: waitingJson, told: toldJson, sender } = json as { readonly [name: string]: unknown };
  if (!Array.isArray(waitingJson) || !Array.isArray(toldJson)) return undefined;
  const waiting = new Map<string, WaitingAlert>();
  for (const value of waitingJson) {
    if (typeof value !== 'object' || value === null) return undefined;
    const { hash, alert, addedAt, channels } = value as { readonly [name: string]: unknown };
    const time = timeFromJson(addedAt);
    if (typeof hash !== 'string' || typeof alert !== 'object' || alert === null || time === undefined) return undefined;
    if (!Array.isArray(channels) || !channels.every((name) => typeof name === 'string')) return undefined;
    waiting.set(hash, { alert, addedAt: time, channels });
  }
  const told = new Map<string, Date>();
  for (const value of toldJson) {
    if (!Array.isArray(value)) return undefined;
    const [hash, at]: readonly unknown[] = value;
    const time = timeFromJson(at);
    if (typeof hash !== 'string' || time === undefined) return undefined;
    told.set(hash, time);
  }
  return { waiting, told, sender: senderFromJson(sender) };
}

function senderFromJson(json: unknown): Sender | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { owner: ownerJson, since: sinceJson } = json as { readonly [name: string]: unknown };
  const owner = processIdentityFromJson(ownerJson);
  const since = timeFromJson(sinceJson);
  return owner === undefined || since === undefined ? undefined : { owner, since };
}

function timeFromJson(json: unknown): Date | undefined {
  const time = typeof json === 'string' ? new Date(json) : undefined;
  return time === undefined || Number.isNaN(time.getTime()) ? undefined : time;
}
