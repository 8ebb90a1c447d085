import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { openCache } from '../../src/cache/index.js';
import { openChangeLog } from '../../src/changes.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { isFresh, lifetimeMs } from '../../src/lookup.js';
import { recheck } from '../../src/pipeline/recheck.js';
import { type EnrichQuestioner, enrich } from '../../src/pipeline.js';
import { openSightings } from '../../src/sightings/index.js';
import { streamByteReader } from '../../src/sources/byte-reader.js';
import type { Limits } from '../../src/virustotal/ledger.js';
import { createQuestioner } from '../../src/virustotal/schedule.js';
import { selfMovingClock } from '../fakes/clock.js';
import { fakeDesk } from '../virustotal/fakes.js';
import { isFlapDay, maliciousSinceMs, World } from './world.js';

const DAY_MS = 86_400_000;
/** A night's 480 questions take two hours. */
const NIGHT_MS = 4 * 3_600_000;

const START = '2026-01-01T01:00:00Z';

const THRESHOLDS = { maliciousAt: 5, suspiciousAt: 1, trustedEngines: new Set<string>() };
const LIFETIMES = {
  notFoundMs: DAY_MS,
  pendingMs: DAY_MS / 24,
  foundNewMs: DAY_MS,
  foundRecentMs: 7 * DAY_MS,
  foundMs: 30 * DAY_MS,
};

/** How a year goes. */
export interface YearOptions {
  readonly nights: number;
  readonly newFilesPerNight: number;
  readonly limits: Limits;
  /** So many old answers are asked for again before each night's own questions, by `recheck --max-lookups`; 0 for none. */
  readonly recheckFirst: number;
  readonly seed: number;
  /** For sightings and changes. */
  readonly folder: string;
  readonly onNight?: (night: number) => void;
}

/** What a year came to. */
export interface YearFigures {
  readonly files: number;
  readonly requests: number;
  readonly mostIn60s: number;
  readonly mostInADay: number;
  readonly mostInAMonth: number;
  /** Requests that VirusTotal refused: more than its minute, day or month allows. */
  readonly refused: number;
  readonly firstAnswers: number;
  readonly repeatedAnswers: number;
  /** Files asked for the first time, by the nights they had waited. */
  readonly waitMedianNights: number;
  readonly waitMaxNights: number;
  readonly stillWaiting: number;
  readonly longestStillWaitingNights: number;
  /** Of the files that nobody detected yet but that look as bad ones do, or are detected: asked on their first night. */
  readonly badAskedFirstNight: number;
  readonly bad: number;
  /** Files that became malicious after an answer said otherwise, a month before the end or earlier. */
  readonly turned: number;
  readonly turnedFound: number;
  /** Found on the first night after the old answer's lifetime had ended. */
  readonly turnedFoundInTime: number;
  /** Days from when it was malicious to when that was found. */
  readonly foundAfterMedianDays: number;
  readonly foundAfterMaxDays: number;
  /** Answers in which one engine's flap showed. */
  readonly flapsSeen: number;
  /** Changes to malicious that no file underwent. */
  readonly falseAlarms: number;
  readonly alarms: number;
}

/** Lives through a year of nights: real ranking, queue, ledger, scheduler, recheck and history; a stand-in for VirusTotal; no real time. */
export async function liveThrough(options: YearOptions): Promise<YearFigures> {
  const { nights, newFilesPerNight, limits, recheckFirst, folder } = options;
  const clock = selfMovingClock(START);
  const startMs = Date.parse(START);
  const world = new World(startMs, options.seed);
  const cache = await openCache('memory:');
  const sightings = openSightings(folder, { clock });
  const desk = fakeDesk(clock, limits);
  const onReport = (report: string): void => {
    throw new Error(report);
  };
  const alarms = new Map<string, Date>();
  const changes = openChangeLog({
    folder,
    thresholds: THRESHOLDS,
    sightingsOf: (digests) => sightings.get(digests[0] ?? ''),
    watcher: {
      onNewlyMalicious: async ({ hash, after, before }) => {
        if (before !== undefined) alarms.set(hash, after.askedAt);
      },
      onNoLongerMalicious: async () => undefined,
    },
    onReport,
  });

  const askedAtMs: number[] = [];
  let refused = 0;
  let flapsSeen = 0;
  const firstAskedAt = new Map<string, number>();
  /** The last answer before a file was malicious, by when its lifetime ended. */
  const expiryBeforeTurn = new Map<string, number>();
  const client = {
    ask: async (hash: string) => {
      const at = clock.now();
      askedAtMs.push(at.getTime());
      if (isOverLimit(askedAtMs, limits)) {
        refused++;
        return { kind: 'throttled' } as const;
      }
      const file = world.files.get(hash);
      if (file === undefined) throw new Error(`nobody has seen ${hash}`);
      if (!firstAskedAt.has(hash)) firstAskedAt.set(hash, at.getTime());
      const lookup = world.answer(hash, at);
      if (file.fate === 'flapping' && isFlapDay(hash, at.getTime())) flapsSeen++;
      if (file.fate === 'turncoat' && at.getTime() < maliciousSinceMs(file)) {
        expiryBeforeTurn.set(hash, at.getTime() + lifetimeMs(lookup, LIFETIMES));
      }
      return { kind: 'answer', lookup } as const;
    },
    overallQuotas: async () => ({ kind: 'untold' as const }),
  };
  const openQuestioner = async (): Promise<EnrichQuestioner> => {
    const questioner = await createQuestioner({
      client,
      desk,
      clock,
      concurrency: 4,
      signal: new AbortController().signal,
      freshAnswer: async (hash) => {
        const lookup = await cache.get(hash);
        return lookup !== undefined && isFresh(lookup, LIFETIMES, clock.now()) ? lookup : undefined;
      },
      onAnswer: async (lookup) => {
        await changes.note(await cache.get(lookup.askedHash), lookup);
        await cache.put(lookup);
      },
    });
    return {
      lookUpAll: (hashes, onOutcome) => questioner.lookUpAll(hashes, onOutcome),
      get failure() {
        return questioner.failure;
      },
      usage: async () => {
        const { minute, day, month, resumesAt } = await desk.usage();
        return { minute, day, month, resumes_at: resumesAt?.toISOString() ?? null };
      },
    };
  };

  for (let night = 0; night < nights; night++) {
    clock.advance(Math.max(0, startMs + night * DAY_MS - clock.now().getTime()));
    options.onNight?.(night);
    const about = { cache, sightings, changes, thresholds: THRESHOLDS, lifetimes: LIFETIMES, clock };
    const questioner = await openQuestioner();
    const lines = world.night(night, newFilesPerNight).map(nxlogLine);
    if (recheckFirst > 0) await recheck({ ...about, questioner, maxLookups: recheckFirst });
    const enrichedPath = join(folder, 'night.enriched.jsonl');
    const reader = streamByteReader(Readable.from([Buffer.from(lines.join(''))]));
    const { summary } = await enrich({ ...about, logs: [], stdin: { reader, enrichedPath }, questioner });
    if (summary.failures.length > 0) throw new Error(JSON.stringify(summary.failures));
    await recheck({ ...about, questioner });
    await rm(enrichedPath, { force: true });
  }
  const endMs = startMs + nights * DAY_MS;
  return figuresOf({ world, askedAtMs, refused, firstAskedAt, expiryBeforeTurn, alarms, startMs, endMs, flapsSeen });
}

function figuresOf(year: {
  readonly world: World;
  readonly askedAtMs: readonly number[];
  readonly refused: number;
  readonly firstAskedAt: ReadonlyMap<string, number>;
  readonly expiryBeforeTurn: ReadonlyMap<string, number>;
  readonly alarms: ReadonlyMap<string, Date>;
  readonly startMs: number;
  readonly endMs: number;
  readonly flapsSeen: number;
}): YearFigures {
  const { world, askedAtMs, refused, firstAskedAt, expiryBeforeTurn, alarms, startMs, endMs, flapsSeen } = year;
  const waits: number[] = [];
  const stillWaited: number[] = [];
  let bad = 0;
  let badAskedFirstNight = 0;
  const delaysDays: number[] = [];
  let turned = 0;
  let inTime = 0;
  for (const file of world.files.values()) {
    const seenAtMs = startMs + file.night * DAY_MS;
    const askedAt = firstAskedAt.get(file.hash);
    const waitedNights = Math.floor(((askedAt ?? endMs) - seenAtMs) / DAY_MS);
    (askedAt === undefined ? stillWaited : waits).push(waitedNights);
    if (file.fate === 'malicious' || file.fate === 'turncoat') {
      bad++;
      if (askedAt !== undefined && waitedNights === 0) badAskedFirstNight++;
    }
    const expiryMs = expiryBeforeTurn.get(file.hash);
    // What turned in the last month may be found in the next year.
    if (expiryMs === undefined || maliciousSinceMs(file) > endMs - 31 * DAY_MS) continue;
    turned++;
    const foundAtMs = alarms.get(file.hash)?.getTime();
    if (foundAtMs === undefined) continue;
    delaysDays.push((foundAtMs - maliciousSinceMs(file)) / DAY_MS);
    if (foundAtMs - Math.max(expiryMs, maliciousSinceMs(file)) <= DAY_MS + NIGHT_MS) inTime++;
  }
  const falseAlarms = [...alarms.keys()].filter((hash) => world.files.get(hash)?.fate !== 'turncoat').length;
  return {
    files: world.files.size,
    requests: askedAtMs.length,
    mostIn60s: mostWithin(askedAtMs, 60_000),
    mostInADay: mostPer(askedAtMs, 10),
    mostInAMonth: mostPer(askedAtMs, 7),
    refused,
    firstAnswers: firstAskedAt.size,
    repeatedAnswers: askedAtMs.length - firstAskedAt.size,
    waitMedianNights: median(waits),
    waitMaxNights: largest(waits),
    stillWaiting: stillWaited.length,
    longestStillWaitingNights: largest(stillWaited),
    badAskedFirstNight,
    bad,
    turned,
    turnedFound: delaysDays.length,
    turnedFoundInTime: inTime,
    foundAfterMedianDays: median(delaysDays),
    foundAfterMaxDays: largest(delaysDays),
    flapsSeen,
    falseAlarms,
    alarms: alarms.size,
  };
}

/** Whether the last of these times is one too many, as VirusTotal counts: the last 60 seconds, the UTC day and the UTC month. */
function isOverLimit(timesMs: readonly number[], { perMinute, perDay, perMonth }: Limits): boolean {
  const lastMs = timesMs.at(-1) ?? 0;
  const last = new Date(lastMs);
  const countSince = (sinceMs: number): number =>
    timesMs.length - 1 - timesMs.findLastIndex((timeMs) => timeMs < sinceMs);
  return (
    countSince(lastMs - 60_000 + 1) > perMinute ||
    countSince(Date.UTC(last.getUTCFullYear(), last.getUTCMonth(), last.getUTCDate())) > perDay ||
    countSince(Date.UTC(last.getUTCFullYear(), last.getUTCMonth())) > perMonth
  );
}

/** The most that any window of this length holds; the times are in order. */
function mostWithin(timesMs: readonly number[], windowMs: number): number {
  let most = 0;
  let start = 0;
  for (const [index, timeMs] of timesMs.entries()) {
    while (timeMs - (timesMs[start] ?? 0) >= windowMs) start++;
    most = Math.max(most, index - start + 1);
  }
  return most;
}

/** The most that any UTC day or month has, by so many characters of its ISO 8601 time. */
function mostPer(timesMs: readonly number[], length: number): number {
  const counts = new Map<string, number>();
  for (const timeMs of timesMs) {
    const label = new Date(timeMs).toISOString().slice(0, length);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return largest([...counts.values()]);
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function largest(numbers: readonly number[]): number {
  return numbers.reduce((most, number) => Math.max(most, number), 0);
}
