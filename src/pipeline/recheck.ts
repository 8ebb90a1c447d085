import type { AnswerCache } from '../cache/index.js';
import type { ChangeLog } from '../changes.js';
import { type Clock, systemClock } from '../clock.js';
import type { DoNotAsk } from '../do-not-ask.js';
import type { FileEvidence } from '../evidence.js';
import { algorithmOf, lookupKeyOf } from '../hash.js';
import { Judgements } from '../judgements.js';
import type { KnownFiles } from '../known-good/index.js';
import { digestsOf, isFresh, type Lifetimes, type Lookup, lifetimeMs } from '../lookup.js';
import type { EnrichQuestioner, RunObserver } from '../pipeline.js';
import { scoreFile } from '../ranking.js';
import type { SightingStore } from '../sightings/index.js';
import { type ContainerLimits, DEFAULT_LIMITS } from '../sources/index.js';
import type { QuotaSummary, RunFailure } from '../summary.js';
import { judge, type Thresholds } from '../verdict.js';
import { flagFiles, OLD_ANSWER_REASON } from './choosing.js';
import { refreshEarlierFiles } from './earlier-files.js';
import type { LogStates } from './log-states.js';
import { Memory } from './memory.js';

/** Asking again about files whose answers are past their lifetime. */
export interface RecheckJob {
  readonly cache: AnswerCache;
  readonly questioner: EnrichQuestioner;
  /** Only files that ran here are asked about again. */
  readonly sightings: SightingStore;
  /** The enriched files of earlier runs; none is refreshed without. */
  readonly states?: LogStates;
  /** The history of changes, into which new ones get by way of the questioner. It tells which files were detected once. */
  readonly changes: ChangeLog;
  readonly knownGood?: KnownFiles;
  readonly knownBad?: KnownFiles;
  readonly doNotAsk?: DoNotAsk;
  /** At most so many questions. */
  readonly maxLookups?: number;
  readonly thresholds: Thresholds;
  readonly lifetimes: Lifetimes;
  /** Those of a person's machine without. */
  readonly containerLimits?: ContainerLimits;
  /** The machine's without. */
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  readonly observer?: Partial<RunObserver>;
}

/** What a recheck came to. */
export interface RecheckOutcome {
  /** Answers past their lifetime on files that ran here. */
  readonly due: number;
  /** Of these, how many were answered anew. */
  readonly answered: number;
  /** Enriched files whose records got a changed verdict, or a new answer in place of one that they marked stale. */
  readonly refreshed: readonly string[];
  readonly quota: QuotaSummary;
  readonly failures: readonly RunFailure[];
}

/** An answer that is due to be asked for again. */
export interface DueAnswer {
  /** The digest to ask with. */
  readonly hash: string;
  readonly risk: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Asks again about files that ran here and whose answers are past their lifetime, the riskiest first (`riskOf`), as far as the quota
 * allows, and refreshes the enriched files that hold one whose verdict has changed, or whose answer they mark as stale. Rejects only
 * with StorageError.
 */
export async function recheck(job: RecheckJob): Promise<RecheckOutcome> {
  const { questioner, observer = {}, maxLookups } = job;
  const failures: RunFailure[] = [];
  const fail = (failure: RunFailure): void => {
    failures.push(failure);
    observer.onFailure?.(failure);
  };
  const before = await questioner.usage();
  // A spent quota leaves nothing to choose for, and choosing reads all sightings.
  if (before.resumes_at !== null || maxLookups === 0) {
    return { due: 0, answered: 0, refreshed: [], quota: before, failures };
  }
  const waiting = await job.sightings.waiting();
  /** Of the waiting files those that need to wait no more. Noted until their records say so, so that a kill before then loses nothing. */
  const answeredWaiting = new Set<string>();
  const due = await dueAnswers(job, (hash) => {
    if (waiting.get(hash) !== undefined) answeredWaiting.add(hash);
  });
  const questions = due.slice(0, maxLookups);
  let answered = 0;
  if (questions.length > 0) {
    observer.onAskingStart?.(questions.length);
    questioner.explain?.(() => ({ because: OLD_ANSWER_REASON }));
    await questioner.lookUpAll(
      questions.map(({ hash }) => hash),
      (hash, outcome) => {
        if (outcome.kind === 'answered') {
          answered++;
          for (const digest of digestsOf(outcome.lookup)) {
            if (waiting.get(digest) !== undefined) answeredWaiting.add(digest);
          }
        }
        observer.onOutcome?.(hash, outcome);
      },
    );
    const { failure } = questioner;
    if (failure !== undefined) fail({ code: failure.code, message: failure.message });
  }
  const refreshed = await refreshRecords(job, answeredWaiting, fail);
  return { due: due.length, answered, refreshed, quota: await questioner.usage(), failures };
}

async function refreshRecords(
  job: RecheckJob,
  answeredWaiting: ReadonlySet<string>,
  fail: (failure: RunFailure) => void,
): Promise<string[]> {
  const { states, observer = {}, cache, thresholds, lifetimes, knownGood, knownBad, changes } = job;
  const changed = await changes.unrefreshed();
  const hashes = new Set([...changed, ...answeredWaiting]);
  if (states === undefined || states.isLost || hashes.size === 0) return [];
  const now = (job.clock ?? systemClock).now();
  const judgements = new Judgements({
    cache,
    thresholds,
    lifetimes,
    now,
    knownGood,
    knownBad,
    unaskedReason: 'waiting',
  });
  for (const hash of hashes) {
    const algorithm = algorithmOf(hash);
    if (algorithm !== undefined) judgements.of({ algorithm, hash });
  }
  await judgements.resolve();
  await flagFiles(judgements, [...hashes], new Memory(job.sightings));
  // What has become old again meanwhile goes on waiting.
  const answered = new Set([...answeredWaiting].filter((hash) => judgements.find(hash)?.state !== 'due'));
  const refreshed: string[] = [];
  await refreshEarlierFiles(
    { changed, answered },
    { states, judgements, limits: job.containerLimits ?? DEFAULT_LIMITS },
    {
      onRefreshed: (path) => {
        refreshed.push(path);
        observer.onRefreshed?.(path);
      },
      onContext: (path, records) => observer.onContext?.(path, records),
      onNote: (logName, note) => observer.onNote?.(logName, note),
      onError: (path, { code, message }) => fail({ path, code, message }),
    },
  );
  await changes.markRefreshed(changed);
  if (answered.size > 0) await job.sightings.updateWaiting({ due: [], settled: answered, now });
  return refreshed;
}

/**
 * The answers that are due, on files that ran here, the riskiest first. Looks through all sightings once, a shard at a time; `onFresh` is
 * told of the files on which there is a fresh answer.
 */
export async function dueAnswers(
  job: Pick<
    RecheckJob,
    | 'cache'
    | 'sightings'
    | 'changes'
    | 'knownGood'
    | 'knownBad'
    | 'doNotAsk'
    | 'thresholds'
    | 'lifetimes'
    | 'clock'
    | 'signal'
  >,
  onFresh: (hash: string) => void = () => undefined,
): Promise<DueAnswer[]> {
  const { cache, sightings, lifetimes, thresholds, knownGood, knownBad, doNotAsk, signal } = job;
  const now = (job.clock ?? systemClock).now();
  const onceDetected = new Set<string>();
  for (const { hash, before } of await job.changes.history()) {
    if ((before.detections ?? 0) > 0) onceDetected.add(hash);
  }
  const byFile = new Map<string, DueAnswer>();
  /** The answers that are past their lifetime, of the files looked at. */
  let old = new Map<string, Lookup>();
  const chooseOld = async (digests: readonly string[]): Promise<Iterable<string>> => {
    old = new Map();
    if (signal?.aborted) return [];
    for (const [hash, lookup] of await cache.getMany(digests)) {
      const file = lookupKeyOf(lookup.hashes)?.hash ?? hash;
      if (isFresh(lookup, lifetimes, now)) onFresh(hash);
      else if (!byFile.has(file)) old.set(hash, lookup);
    }
    return old.keys();
  };
  for await (const files of sightings.select(chooseOld)) {
    for (const [hash, evidence] of files) {
      const lookup = old.get(hash);
      if (lookup === undefined) continue;
      const file = lookupKeyOf(lookup.hashes)?.hash ?? hash;
      if (byFile.has(file)) continue;
      const known = knownGood?.find(lookup.hashes);
      if (known?.isFinal || knownBad?.find(lookup.hashes) !== undefined) continue;
      if (doNotAsk?.ruleAgainst(evidence) !== undefined) continue;
      byFile.set(file, {
        hash,
        risk: riskOf({
          lookup,
          evidence,
          wasDetected: onceDetected.has(file),
          isCatalogued: known !== undefined,
          thresholds,
          lifetimes,
          now,
        }),
      });
    }
  }
  return [...byFile.values()].sort((a, b) => b.risk - a.risk || (a.hash < b.hash ? -1 : 1));
}

/** What the risk of an old answer rests on. */
export interface RiskBasis {
  readonly lookup: Lookup;
  readonly evidence: FileEvidence;
  /** A recorded change says that engines detected it once. */
  readonly wasDetected: boolean;
  /** A catalogue of known files has it. */
  readonly isCatalogued: boolean;
  readonly thresholds: Thresholds;
  readonly lifetimes: Lifetimes;
  readonly now: Date;
}

/** Surroundings in which no rule of the ranking that compares with other files applies. */
const ALONE = { hosts: 0, hostsAtPlace: 0, filesAtPath: 0, daysWaited: 0 } as const;

/** What speaks for asking again, in points; docs/ranking.md explains them. */
export const RISK_POINTS = {
  /** Few engines detect it: they disagree, which does not last. */
  few_detections: 40,
  /** VirusTotal knew it and had not analysed it yet. */
  pending: 30,
  /** It was detected once and no longer is. */
  once_detected: 25,
  /** It came to VirusTotal within the last 90 days: engines learn of a file in its first weeks. */
  young: 15,
  /** It is malicious already. */
  malicious: 15,
  /** VirusTotal did not know it. */
  unknown: 10,
  /** It last ran within 7 days, or within 30. */
  ran_this_week: 20,
  ran_this_month: 10,
  /** A catalogue of known files has it, and no striking rule of the ranking applies. */
  catalogued: -30,
} as const;

const YOUNG_DAYS = 90;

/** The score of the ranking counts within these bounds. */
const MIN_SCORE = -20;
const MAX_SCORE = 60;

/**
 * How much depends on asking again about a file whose answer is past its lifetime: the points that apply, the score of the ranking, and
 * one point for each day past its lifetime, without end, so that no answer waits for ever.
 */
export function riskOf(basis: RiskBasis): number {
  const { lookup, evidence, isCatalogued, lifetimes, now } = basis;
  const { score, isStriking } = scoreFile(evidence, ALONE);
  const overdueMs = now.getTime() - lookup.askedAt.getTime() - lifetimeMs(lookup, lifetimes);
  return (
    pointsOfAnswer(basis) +
    (isYoung(lookup, now) ? RISK_POINTS.young : 0) +
    pointsOfRunning(evidence, now) +
    Math.max(MIN_SCORE, Math.min(MAX_SCORE, score)) +
    (isCatalogued && !isStriking ? RISK_POINTS.catalogued : 0) +
    Math.floor(Math.max(0, overdueMs) / DAY_MS)
  );
}

function pointsOfAnswer({ lookup, wasDetected, thresholds }: RiskBasis): number {
  const { verdict, reason } = judge(lookup, thresholds);
  if (verdict === 'suspicious') return RISK_POINTS.few_detections;
  if (verdict === 'unknown') return reason === 'pending' ? RISK_POINTS.pending : RISK_POINTS.unknown;
  if (verdict === 'malicious') return RISK_POINTS.malicious;
  return wasDetected ? RISK_POINTS.once_detected : 0;
}

function isYoung({ report }: Lookup, now: Date): boolean {
  const firstSubmission = report?.firstSubmission;
  return firstSubmission !== undefined && now.getTime() - firstSubmission.getTime() <= YOUNG_DAYS * DAY_MS;
}

function pointsOfRunning({ lastSeen }: FileEvidence, now: Date): number {
  if (lastSeen === undefined) return 0;
  const idleMs = now.getTime() - lastSeen.getTime();
  if (idleMs <= 7 * DAY_MS) return RISK_POINTS.ran_this_week;
  return idleMs <= 30 * DAY_MS ? RISK_POINTS.ran_this_month : 0;
}
