import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AlertChannel, AlertOutbox } from './alerts.js';
import { type AnswerCache, cacheFolderName, dataFolder } from './cache/index.js';
import type { ChangeLog } from './changes.js';
import type { Clock } from './clock.js';
import { type Config, type LimitWindow, type RequestLimits, requireApiKey } from './config.js';
import { type EnrichmentError, messageOf, StorageError, systemCodeOf, type VirusTotalError } from './errors.js';
import type { KnownFiles } from './known-good/index.js';
import { isFresh } from './lookup.js';
import { packageVersion } from './package-root.js';
import type { LogStates } from './pipeline/log-states.js';
import type { EnrichQuestioner } from './pipeline.js';
import type { DispensableSightings } from './sightings/dispensable.js';
import type { SightingStore } from './sightings/index.js';
import type { QuotaSummary, QuotaWindow } from './summary.js';
import type { VirusTotalClient } from './virustotal/client.js';
import type { Purpose, Usage } from './virustotal/ledger.js';
import type { OverallQuotas } from './virustotal/response.js';
import type { Questioner } from './virustotal/schedule.js';

/**
 * Who is told of a part of the cache folder that cannot be used and that a run can do without: what was read of logs, sightings, the
 * history of changes. Its verdicts are right then, but what it should remember is lost.
 */
type OnLost = (failure: EnrichmentError) => void;

/** The memory of what ran: one for all hosts of VirusTotal, since sightings are this site's own. */
export async function openConfiguredSightings(
  config: Config,
  onReport: (report: string) => void,
): Promise<SightingStore> {
  const { openSightings } = await import('./sightings/index.js');
  return openSightings(dataFolder(config), { onReport, keptMs: config.sightingsKeptMs });
}

/** The same for a run that can do without. */
export async function openDispensableSightings(
  config: Config,
  onReport: (report: string) => void,
  onLost: OnLost,
): Promise<DispensableSightings> {
  const { DispensableSightings } = await import('./sightings/dispensable.js');
  return new DispensableSightings(await openConfiguredSightings(config, onReport), onLost);
}

/** What becomes of changed verdicts. */
export interface VerdictWatch {
  readonly changes: ChangeLog;
  readonly alerts: AlertOutbox;
}

/**
 * Opens the history of changed verdicts and the outbox of alerts, which new malicious files go to: both are those of one host of
 * VirusTotal. `execCommand` is the command line of `--exec`, `environment` what it runs with. Throws UsageError for a bad command.
 */
export async function openVerdictWatch(
  config: Config,
  options: {
    readonly sightings: DispensableSightings;
    readonly clock: Clock;
    readonly execCommand?: string;
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly onReport: (report: string) => void;
    readonly onLost: OnLost;
  },
): Promise<VerdictWatch> {
  const { sightings, clock, onReport, onLost } = options;
  const [{ openAlertOutbox }, { openChangeLog }, { emptyEvidence, mergeEvidence }] = await Promise.all([
    import('./alerts.js'),
    import('./changes.js'),
    import('./evidence.js'),
  ]);
  const folder = join(dataFolder(config), cacheFolderName(config.baseUrl));
  const channels = await alertChannels(config, options);
  const alerts = openAlertOutbox({ folder, channels, clock, onReport });
  const changes = openChangeLog({
    folder,
    thresholds: config.thresholds,
    sightingsOf: async (digests) => {
      // Into evidence of its own: what the store gives is one digest's alone, and may be its own memory.
      const seen = emptyEvidence();
      let isSeen = false;
      for await (const files of sightings.read(digests)) {
        for (const evidence of files.values()) isSeen = mergeEvidence(seen, evidence) || isSeen;
      }
      return isSeen ? seen : undefined;
    },
    watcher: {
      ...(channels.length === 0
        ? {}
        : {
            // A hash that somebody only asked about is no news to him; what cannot be known may be news.
            onNewlyMalicious: async (file) => {
              if (file.seen.records > 0 || sightings.isLost) await alerts.add(file);
            },
          }),
      onNoLongerMalicious: (hash) => alerts.withdraw(hash),
    },
    onReport,
    onFailure: onLost,
  });
  return { changes, alerts };
}

async function alertChannels(
  config: Config,
  options: {
    readonly clock: Clock;
    readonly execCommand?: string;
    readonly environment: Readonly<Record<string, string | undefined>>;
  },
): Promise<AlertChannel[]> {
  const { clock, execCommand, environment } = options;
  const { commandChannel, webhookChannel } = await import('./alerts.js');
  const channels: AlertChannel[] = [];
  if (config.alertUrl !== undefined) {
    const url = config.alertUrl.reveal();
    const { proxyFromEnvironment } = await import('./virustotal/proxy.js');
    const proxy = proxyFromEnvironment(config.proxyEnvironment.reveal(), url);
    channels.push(webhookChannel({ url, version: packageVersion(), clock, ...(proxy === undefined ? {} : { proxy }) }));
  }
  if (execCommand !== undefined) {
    const secrets = new Set(['VT_API_KEY', 'VT_API_KEY_FILE', 'ALERT_URL']);
    const env = Object.fromEntries(Object.entries(environment).filter(([name]) => !secrets.has(name)));
    channels.push(commandChannel({ command: execCommand, env }));
  }
  return channels;
}

/** What earlier runs read of logs. */
export async function openLogStates(
  config: Config,
  onReport: (report: string) => void,
  onLost: OnLost,
): Promise<LogStates> {
  const { LogStates } = await import('./pipeline/log-states.js');
  const states = new LogStates(dataFolder(config), onReport, onLost);
  await states.load();
  return states;
}

/** The user's lists of known files. */
interface KnownLists {
  readonly knownGood: KnownFiles | undefined;
  readonly knownBad: KnownFiles | undefined;
  /** Differs where a list differs. */
  readonly print: string;
  close(): void;
}

async function printOfList(path: string): Promise<readonly (string | number)[]> {
  const { size, mtimeMs } = await stat(path);
  return [path, size, mtimeMs];
}

/** The user's lists of known files; undefined where none are named. Throws UsageError for a list that is none. */
export async function openKnownLists(config: Config, onNote: (note: string) => void): Promise<KnownLists> {
  const { knownGoodPaths, knownBadPaths } = config;
  if (knownGoodPaths.length === 0 && knownBadPaths.length === 0) {
    return { knownGood: undefined, knownBad: undefined, print: '', close: () => undefined };
  }
  const { openKnownBad, openKnownGood } = await import('./known-good/index.js');
  const indexFolder = join(dataFolder(config), 'known-good');
  const knownGood =
    knownGoodPaths.length === 0 ? undefined : await openKnownGood(knownGoodPaths, { indexFolder, onNote });
  const knownBad = knownBadPaths.length === 0 ? undefined : await openKnownBad(knownBadPaths);
  return {
    knownGood,
    knownBad,
    print: JSON.stringify(await Promise.all([...knownGoodPaths, ...knownBadPaths].map(printOfList))),
    close: () => {
      knownGood?.close();
      knownBad?.close();
    },
  };
}

/** How asking is set up. */
export interface AskingOptions {
  readonly cache: AnswerCache;
  readonly clock: Clock;
  readonly purpose: Purpose;
  /** For the disclosure log: what asks, `library` without, and since when it runs, now without. */
  readonly run?: { readonly command: string; readonly startedAt: Date };
  /** Once aborted, nothing is asked any more. */
  readonly signal?: AbortSignal;
  /** Ask even where the cache has a fresh answer by now. */
  readonly isAlwaysAsked?: boolean;
  /** Where changed verdicts are recorded; not at all without. */
  readonly changes?: ChangeLog;
  /** Told what is worth knowing, one line each. */
  readonly say: (text: string) => void;
}

/** A questioner over the real client, ledger and cache. */
export interface OpenQuestioner extends EnrichQuestioner {
  readonly lookUp: Questioner['lookUp'];
  readonly explain: NonNullable<EnrichQuestioner['explain']>;
  /** The limits that hold for the key: the settings', with VirusTotal's own where they say `auto`. */
  readonly limits: RequestLimits;
  /** VirusTotal's own count for the key, or undefined where it cannot be had; costs no quota. That the key is refused is told by `failure`. */
  remoteUsage(): Promise<{ readonly day: QuotaWindow; readonly month: QuotaWindow } | undefined>;
  close(): Promise<void>;
}

/** Opens what is needed to ask VirusTotal. Throws UsageError without a key, StorageError where the ledger cannot be kept. */
export async function openQuestioner(config: Config, options: AskingOptions): Promise<OpenQuestioner> {
  requireApiKey(config);
  const key = config.apiKey?.reveal() ?? '';
  const folder = dataFolder(config);
  // Loaded here and not above: an answer from the cache needs none of it.
  const [{ openDesk }, { proxyFromEnvironment }, { openDisclosureLog }] = await Promise.all([
    import('./virustotal/desk.js'),
    import('./virustotal/proxy.js'),
    import('./disclosure.js'),
  ]);
  const { cache, clock } = options;
  const proxy = proxyFromEnvironment(config.proxyEnvironment.reveal(), config.baseUrl);
  // What asks is loaded with the first question: a night without one, or a look at the queue, would wait longer for it than for all else.
  let openedClient: Promise<VirusTotalClient> | undefined;
  const loadClient = async (): Promise<VirusTotalClient> => {
    const { openClient } = await import('./virustotal/client.js');
    return openClient({
      baseUrl: config.baseUrl,
      key,
      version: packageVersion(),
      timeoutMs: config.timeoutMs,
      clock,
      ...(proxy === undefined ? {} : { proxy }),
    });
  };
  const client = (): Promise<VirusTotalClient> => {
    openedClient ??= loadClient();
    return openedClient;
  };
  let theirs: OverallQuotas | undefined;
  if (config.autoLimits.size > 0) {
    const told = await (await client()).overallQuotas();
    if (told.kind === 'quotas') theirs = told.quotas;
    else {
      const why =
        told.kind === 'refused'
          ? `VirusTotal refuses this key (HTTP ${told.status}), so its limits are not known`
          : 'VirusTotal does not tell the limits of this key';
      options.say(`${why}; those of a public key are used where they are set to auto`);
    }
  }
  const limits = withTheirLimits(config.limits, config.autoLimits, theirs);
  const desk = await openDesk({
    folder,
    host: new URL(config.baseUrl).host,
    key,
    limits,
    purpose: options.purpose,
    clock,
    onLoss: options.say,
  });
  if (theirs !== undefined) {
    await desk.reconcile({
      ...(theirs.daily === undefined ? {} : { day: theirs.daily.used }),
      ...(theirs.monthly === undefined ? {} : { month: theirs.monthly.used }),
    });
  }
  const disclosed = openDisclosureLog({
    cacheFolder: folder,
    host: new URL(config.baseUrl).host,
    clock,
    why: options.purpose,
    command: options.run?.command ?? 'library',
    startedAt: options.run?.startedAt ?? clock.now(),
  });
  let occasionOf: Parameters<OpenQuestioner['explain']>[0] = () => undefined;
  const startedAt = clock.now();
  let questioner: Questioner | undefined;
  let refusal: VirusTotalError | undefined;
  let openedQuestioner: Promise<Questioner> | undefined;
  const loadQuestioner = async (): Promise<Questioner> => {
    const [virusTotal, { createQuestioner }] = await Promise.all([client(), import('./virustotal/schedule.js')]);
    questioner = await createQuestioner({
      client: {
        ask: async (hash) => {
          await disclosed.note(hash, occasionOf(hash));
          return virusTotal.ask(hash);
        },
        overallQuotas: () => virusTotal.overallQuotas(),
      },
      desk,
      clock,
      concurrency: config.concurrency,
      signal: options.signal ?? new AbortController().signal,
      freshAnswer: async (hash) => {
        const lookup = await cache.get(hash);
        if (lookup === undefined || !isFresh(lookup, config.lifetimes, clock.now())) return undefined;
        // With --refresh only an answer that came after we were asked is new enough.
        return options.isAlwaysAsked && lookup.askedAt < startedAt ? undefined : lookup;
      },
      onAnswer: async (lookup) => {
        // Before the old answer is gone: a kill in between repeats the comparison instead of losing it.
        await options.changes?.note(await cache.get(lookup.askedHash), lookup);
        await cache.put(lookup);
      },
    });
    return questioner;
  };
  const asking = (): Promise<Questioner> => {
    openedQuestioner ??= loadQuestioner();
    return openedQuestioner;
  };
  return {
    lookUp: async (hash) => (await asking()).lookUp(hash),
    lookUpAll: async (hashes, onOutcome) => (await asking()).lookUpAll(hashes, onOutcome),
    explain: (given) => {
      occasionOf = given;
    },
    get failure() {
      return questioner?.failure ?? refusal;
    },
    limits,
    usage: async () => quotaSummary(await desk.usage()),
    remoteUsage: async () => {
      const told = await (await client()).overallQuotas();
      if (told.kind === 'refused') refusal = (await import('./virustotal/response.js')).keyRefused(told);
      if (told.kind !== 'quotas') return undefined;
      const { quotas } = told;
      if (quotas.daily === undefined || quotas.monthly === undefined) return undefined;
      const window = ({ used, allowed }: { readonly used: number; readonly allowed: number }): QuotaWindow => ({
        used,
        limit: allowed,
      });
      return { day: window(quotas.daily), month: window(quotas.monthly) };
    },
    close: async () => {
      try {
        // What could not be opened has told so to whoever asked.
        (await openedClient?.catch(() => undefined))?.close();
      } finally {
        await desk.close();
        await disclosed.close();
      }
    },
  };
}

/** There is no count per minute at VirusTotal: its hourly one is sixty times that (a public key shows 240, and has 4 a minute). */
function withTheirLimits(
  limits: RequestLimits,
  auto: ReadonlySet<LimitWindow>,
  theirs: OverallQuotas | undefined,
): RequestLimits {
  const limit = (window: LimitWindow, allowed: number | undefined): number =>
    auto.has(window) && allowed !== undefined ? allowed : limits[window];
  const hourly = theirs?.hourly?.allowed;
  const perDay = limit('perDay', theirs?.daily?.allowed);
  return {
    perMinute: limit('perMinute', hourly === undefined ? undefined : Math.max(1, Math.floor(hourly / 60))),
    perDay,
    perMonth: limit('perMonth', theirs?.monthly?.allowed),
    reservePerDay: Math.min(limits.reservePerDay, perDay),
  };
}

function quotaSummary(usage: Usage): QuotaSummary {
  const window = ({ used, limit }: Usage['day']): QuotaWindow => ({
    used,
    limit: Number.isFinite(limit) ? limit : null,
  });
  return {
    minute: window(usage.minute),
    day: window(usage.day),
    month: window(usage.month),
    resumes_at: usage.resumesAt?.toISOString() ?? null,
  };
}

const TERMS = [
  'VirusTotal: the public API key is not for commercial products or business workflows; see https://docs.virustotal.com/reference/public-vs-premium-api.',
  'Its verdicts are the engines\u2019 opinions, not proof; do not block by them alone.',
];

/** Shows VirusTotal\u2019s terms, once per cache folder: the first run of a machine, not every night. */
export async function showTermsOnce(config: Config, say: (text: string) => void): Promise<void> {
  const marker = join(dataFolder(config), 'terms-shown');
  try {
    const { makeFolder } = await import('./storage/json-file.js');
    await makeFolder(dataFolder(config));
    await writeFile(marker, '', { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return;
    throw new StorageError(
      'CACHE',
      `${marker}: cannot be written (${messageOf(error)}); name another folder with CACHE_URL`,
    );
  }
  for (const line of TERMS) say(line);
}
