import { setMaxListeners } from 'node:events';
import type { Clock } from '../clock.js';
import { VirusTotalError } from '../errors.js';
import { algorithmOf, type HashAlgorithm } from '../hash.js';
import type { Lookup } from '../lookup.js';
import type { VirusTotalClient } from './client.js';
import type { Desk } from './desk.js';
import { nextOpening, type SpentWindow } from './ledger.js';
import { type Attempt, keyRefused, type OverallQuotas } from './response.js';

/** What a questioner works with. */
export interface QuestionerOptions {
  readonly client: Pick<VirusTotalClient, 'ask' | 'overallQuotas'>;
  readonly desk: Desk;
  readonly clock: Clock;
  /** Requests under way at a time, at least 1. */
  readonly concurrency: number;
  /** Once aborted, no request leaves any more; those under way are finished, since their answers are paid for. */
  readonly signal: AbortSignal;
  /** The fresh answer the cache has by now, perhaps from another process. */
  readonly freshAnswer: (hash: string) => Promise<Lookup | undefined>;
  /** Resolves once the answer is durable. Before that nobody is told of it and nobody else may ask. */
  readonly onAnswer: (lookup: Lookup) => Promise<void>;
}

/** How a question ended. */
export type Outcome =
  | {
      readonly kind: 'answered';
      readonly lookup: Lookup;
      /** False where another process has asked meanwhile. */
      readonly isOurs: boolean;
    }
  | {
      readonly kind: 'unanswered';
      readonly reason: 'quota' | 'error' | 'interrupted';
      /** For people. */
      readonly detail: string;
      /** When asking is possible again; with reason `quota`. */
      readonly resumesAt?: Date;
    };

/** Puts questions to VirusTotal: each file once, no faster than the ledger allows, retried where that may help. */
export interface Questioner {
  /** Asks about one file, ahead of what `lookUpAll` has waiting. Rejects only with StorageError. */
  lookUp(hash: string): Promise<Outcome>;
  /**
   * Asks in the given order, and takes no more from `hashes` than can be asked at a time. `onOutcome` is called once per hash. Digests
   * of different algorithms are never under way together: they may be one file's, and the first answer names the others.
   * Rejects only with StorageError or what `hashes` and `onOutcome` throw, after what was under way has ended.
   */
  lookUpAll(
    hashes: AsyncIterable<string> | Iterable<string>,
    onOutcome: (hash: string, outcome: Outcome) => void | Promise<void>,
  ): Promise<void>;
  /**
   * Which questions came to nothing through an error, of the last list and all single ones since, whatever came after them: how many, and
   * what the first one came to; KEY_REFUSED, SERVICE_DOWN, BAD_ANSWER or REQUEST_REFUSED. Final where asking has ended for good: the key was
   * refused, or several questions in a row came to nothing. Undefined where each question got its answer or may still be asked.
   */
  readonly failure: VirusTotalError | undefined;
}

/** bottleneck's scale goes from 0, first, to 9. A retry comes first: its claim keeps others waiting. */
const PRIORITY = { retry: 1, single: 3, list: 5 } as const;

const MAX_ATTEMPTS = 3;
/** Pauses before the second and the third attempt. */
const RETRY_PAUSES_MS = [2_000, 10_000] as const;

/** A 429 without Retry-After: long enough for a minute's quota. */
const THROTTLE_PAUSE_MS = 60_000;
/** Also where a server says that no pause is needed. */
const MIN_PAUSE_MS = 1_000;
/** 429 in a row, each after a pause, until it is taken for more than a matter of the minute. */
const MAX_THROTTLES = 3;
/** Nobody waits for longer in a run: it is as good as a spent quota. */
const MAX_PAUSE_MS = 5 * 60_000;

/** Questions in a row that came to nothing until VirusTotal counts as down. */
const MAX_FAILURES_IN_A_ROW = 5;

/** Between looks at whether another process has its answer; later a quarter of the time waited so far. */
const SHORTEST_POLL_MS = 250;
/** A question with all its pauses takes less; then the other process hangs. */
const MAX_POLLING_MS = 30 * 60_000;

/** What a question may come to that got no answer. */
type FailureCode = 'SERVICE_DOWN' | 'BAD_ANSWER' | 'REQUEST_REFUSED';

/** Why nothing may be asked at present. */
type Stop = Extract<Outcome, { kind: 'unanswered' }>;

/** What one turn at the desk and perhaps at VirusTotal came to. */
type Turn =
  | { readonly kind: 'tried'; readonly attempt: Attempt }
  | { readonly kind: 'stopped'; readonly stop: Stop }
  | { readonly kind: 'answered_meanwhile'; readonly lookup: Lookup }
  | { readonly kind: 'claimed_by_another' }
  /** Nothing was sent; worth another turn after `ms`, or once `until` has ended. */
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'behind'; readonly until: Promise<void> };

/** One limiter admits some 400 jobs a second, whatever it may have under way; several side by side admit as many times that. */
const MAX_UNDER_WAY_PER_LIMITER = 8;

/** Makes a questioner; bottleneck and p-queue are loaded here, since an answer from the cache needs neither. */
export async function createQuestioner(options: QuestionerOptions): Promise<Questioner> {
  const { client, desk, clock, concurrency, signal, freshAnswer, onAnswer } = options;
  const [{ default: Bottleneck }, { default: PQueue }] = await Promise.all([import('bottleneck'), import('p-queue')]);
  // bottleneck orders and bounds what is under way. Its reservoir, its `failed` retries and its updateSettings lose track of time.
  const limiterCount = Math.ceil(concurrency / MAX_UNDER_WAY_PER_LIMITER);
  const limiters = Array.from({ length: limiterCount }, (_, index) => {
    const maxConcurrent = Math.floor((concurrency + index) / limiterCount);
    return { limiter: new Bottleneck({ maxConcurrent, minTime: 0 }), free: maxConcurrent };
  });
  // Whoever sleeps is woken as soon as there is nothing left to wait for.
  const halt = new AbortController();
  const wake = AbortSignal.any([signal, halt.signal]);
  // As many sleep on it as are asked about at a time, which Node would take for a leak.
  setMaxListeners(0, wake);
  const underWay = new Map<string, Promise<Outcome>>();
  /** Claims that are being given up. Whoever has an answer does not wait for that; whoever ends asking does. */
  const releasing = new Set<Promise<void>>();
  /** Why nothing is asked any more. */
  let ended: VirusTotalError | undefined;
  /** What questions without an answer came to, by their hashes. */
  const unanswered = new Map<string, { readonly code: FailureCode; readonly why: string }>();
  let spent: { readonly window: SpentWindow; readonly resumesAt: Date } | undefined;
  let failuresInARow = 0;
  /** After a 429: nobody asks before this, and then one asks before the others. */
  let pausedUntilMs = 0;
  let throttlesInARow = 0;
  let probe: Promise<void> | undefined;

  function stopped(): Stop | undefined {
    if (ended !== undefined) return failed(ended.message);
    if (signal.aborted)
      return { kind: 'unanswered', reason: 'interrupted', detail: 'interrupted before there was an answer' };
    if (spent === undefined || clock.now() >= spent.resumesAt) return undefined;
    const { window, resumesAt } = spent;
    const quota = window === 'unknown' ? 'quota' : `quota of the ${window}`;
    const detail = `the ${quota} is spent until ${resumesAt.toISOString()}`;
    return { kind: 'unanswered', reason: 'quota', detail, resumesAt };
  }

  async function takeTurn(hash: string): Promise<Turn> {
    const stop = stopped();
    if (stop !== undefined) return { kind: 'stopped', stop };
    const pauseMs = pausedUntilMs - clock.now().getTime();
    if (pauseMs > 0) return { kind: 'wait', ms: pauseMs };
    if (throttlesInARow === 0) return admitAndAsk(hash);
    if (probe !== undefined) return { kind: 'behind', until: probe };
    const turn = admitAndAsk(hash);
    // The others only wait for its end; how it ends is the caller's.
    probe = turn.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await turn;
    } finally {
      probe = undefined;
    }
  }

  async function admitAndAsk(hash: string): Promise<Turn> {
    let answer: Lookup | undefined;
    const admission = await desk.admit(hash, async () => {
      answer = await freshAnswer(hash);
      return answer !== undefined;
    });
    switch (admission.kind) {
      case 'answered_meanwhile':
        return answer === undefined ? { kind: 'wait', ms: 0 } : { kind: 'answered_meanwhile', lookup: answer };
      case 'claimed_by_another':
      case 'wait':
        return admission;
      case 'spent': {
        spent = admission;
        const stop = stopped();
        return stop === undefined ? { kind: 'wait', ms: 0 } : { kind: 'stopped', stop };
      }
      case 'granted': {
        const stop = stopped();
        if (stop !== undefined) return { kind: 'stopped', stop };
        const sentAtMs = clock.now().getTime();
        const attempt = await client.ask(hash);
        await noteAttempt(attempt, sentAtMs);
        return { kind: 'tried', attempt };
      }
    }
  }

  /** What one attempt says about all others. */
  async function noteAttempt(attempt: Attempt, sentAtMs: number): Promise<void> {
    if (attempt.kind === 'refused') {
      fail(keyRefused(attempt));
    }
    if (attempt.kind !== 'throttled') {
      // An answer to a request from before the pause says nothing of what is allowed after it.
      if (attempt.kind !== 'transient' && sentAtMs >= pausedUntilMs) throttlesInARow = 0;
      return;
    }
    // Several requests were under way when the first 429 came: they tell nothing new.
    if (sentAtMs < pausedUntilMs && throttlesInARow > 0) return;
    const now = clock.now();
    const pauseMs = Math.max(attempt.retryAfterMs ?? THROTTLE_PAUSE_MS, MIN_PAUSE_MS);
    if (pauseMs > MAX_PAUSE_MS) {
      await noteSpent('unknown', new Date(now.getTime() + pauseMs));
      return;
    }
    throttlesInARow++;
    pausedUntilMs = now.getTime() + pauseMs;
    if (throttlesInARow < MAX_THROTTLES) return;
    const theirs = await client.overallQuotas();
    const window = theirs.kind === 'quotas' ? spentWindow(theirs.quotas) : 'unknown';
    await noteSpent(window, nextOpening(window, clock.now()));
  }

  function fail(error: VirusTotalError): void {
    ended ??= error;
    halt.abort();
  }

  async function noteSpent(window: SpentWindow, resumesAt: Date): Promise<void> {
    spent = { window, resumesAt };
    throttlesInARow = 0;
    pausedUntilMs = 0;
    await desk.block(window, resumesAt);
  }

  /** Waits its turn, at the limiter that has most room. */
  async function inTurn(priority: number, hash: string): Promise<Turn> {
    const roomiest = limiters.reduce((one, other) => (other.free > one.free ? other : one));
    roomiest.free--;
    try {
      return await roomiest.limiter.schedule({ priority }, () => takeTurn(hash));
    } finally {
      roomiest.free++;
    }
  }

  async function question(hash: string, firstPriority: number): Promise<Outcome> {
    let priority = firstPriority;
    let attempts = 0;
    let polledMs = 0;
    for (;;) {
      const turn = await inTurn(priority, hash);
      switch (turn.kind) {
        case 'stopped':
          return turn.stop;
        case 'answered_meanwhile':
          unanswered.delete(hash);
          return { kind: 'answered', lookup: turn.lookup, isOurs: false };
        case 'behind':
          await turn.until;
          continue;
        case 'wait':
          await clock.sleep(turn.ms, wake);
          continue;
        case 'claimed_by_another': {
          if (polledMs >= MAX_POLLING_MS) {
            return noteFailure(hash, 'SERVICE_DOWN', 'another process has been asking about a file for too long');
          }
          const pollMs = Math.max(SHORTEST_POLL_MS, polledMs / 4);
          await clock.sleep(pollMs, wake);
          polledMs += pollMs;
          continue;
        }
        case 'tried':
          break;
      }
      priority = PRIORITY.retry;
      const { attempt } = turn;
      switch (attempt.kind) {
        case 'answer':
          failuresInARow = 0;
          unanswered.delete(hash);
          await onAnswer(attempt.lookup);
          return { kind: 'answered', lookup: attempt.lookup, isOurs: true };
        case 'throttled':
          continue;
        case 'refused':
          return failed(ended?.message ?? attempt.message);
        case 'bad_answer':
          return noteFailure(hash, 'BAD_ANSWER', attempt.why);
        case 'bad_request':
          return noteFailure(hash, 'REQUEST_REFUSED', `HTTP ${attempt.status}, ${attempt.message}`);
        case 'transient': {
          const pauseMs = Math.max(RETRY_PAUSES_MS[attempts] ?? 0, attempt.retryAfterMs ?? 0);
          attempts++;
          if (attempts >= MAX_ATTEMPTS || pauseMs > MAX_PAUSE_MS) {
            return noteFailure(
              hash,
              'SERVICE_DOWN',
              `${attempt.why}, ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`,
            );
          }
          await clock.sleep(pauseMs, wake);
        }
      }
    }
  }

  /** One bad file is nothing; several in a row are an outage, or something on the way that answers for VirusTotal. */
  function noteFailure(hash: string, code: FailureCode, why: string): Stop {
    failuresInARow++;
    unanswered.set(hash, { code, why });
    const detail = code === 'SERVICE_DOWN' ? why : `${why} [${code}]`;
    if (failuresInARow >= MAX_FAILURES_IN_A_ROW) {
      const message = `VirusTotal: ${failuresInARow} questions in a row came to nothing, the last: ${detail}; run again later`;
      fail(new VirusTotalError('SERVICE_DOWN', message, { isFinal: true }));
    }
    return failed(detail);
  }

  /** What the questions that came to nothing came to, whatever their place: a file without an answer is one, also where others had more luck. */
  function failureOfSome(): VirusTotalError | undefined {
    const [first] = unanswered.values();
    if (first === undefined) return undefined;
    const { code, why } = first;
    const questions = unanswered.size === 1 ? 'one question' : `${unanswered.size} questions`;
    const which = unanswered.size === 1 ? '' : ', the first';
    return new VirusTotalError(code, `VirusTotal: ${questions} came to nothing${which}: ${why}; run again later`);
  }

  async function questionOnce(hash: string, priority: number): Promise<Outcome> {
    try {
      return await question(hash, priority);
    } finally {
      const release = desk.release(hash);
      releasing.add(release);
      // What went wrong is told by `released`; until then it must not pass for unhandled.
      release.then(
        () => releasing.delete(release),
        () => undefined,
      );
    }
  }

  /** Resolves once no claim is left of questions that have ended. */
  async function released(): Promise<void> {
    const ending = [...releasing];
    try {
      await Promise.all(ending);
    } finally {
      for (const release of ending) releasing.delete(release);
    }
  }

  function ask(hash: string, priority: number): Promise<Outcome> {
    const running = underWay.get(hash);
    if (running !== undefined) return running;
    const outcome = questionOnce(hash, priority).finally(() => underWay.delete(hash));
    underWay.set(hash, outcome);
    return outcome;
  }

  return {
    get failure() {
      return ended ?? failureOfSome();
    },
    lookUp: async (hash) => {
      const outcome = stopped() ?? (await ask(hash, PRIORITY.single));
      await released();
      return outcome;
    },
    lookUpAll: async (hashes, onOutcome) => {
      const queue = new PQueue({ concurrency });
      unanswered.clear();
      let broken: { readonly error: unknown } | undefined;
      let underWayWith: HashAlgorithm | undefined;
      try {
        for await (const hash of hashes) {
          const algorithm = algorithmOf(hash);
          if (algorithm !== underWayWith) await queue.onIdle();
          underWayWith = algorithm;
          // Each slot has its question and none waits here: nothing piles up, however many hashes there are.
          await queue.onSizeLessThan(1);
          if (broken !== undefined) break;
          const stop = stopped();
          if (stop !== undefined) {
            await onOutcome(hash, stop);
            continue;
          }
          queue
            .add(async () => onOutcome(hash, await ask(hash, PRIORITY.list)))
            .catch((error: unknown) => {
              broken ??= { error };
            });
        }
      } finally {
        await queue.onIdle();
        await released().catch((error: unknown) => {
          broken ??= { error };
        });
      }
      if (broken !== undefined) throw broken.error;
    },
  };
}

function failed(detail: string): Stop {
  return { kind: 'unanswered', reason: 'error', detail };
}

/** What is behind a 429 that does not pass. With room in every count it is a limit by address, which is counted by the hour. */
function spentWindow(quotas: OverallQuotas): SpentWindow {
  const isSpent = (quota: { readonly used: number; readonly allowed: number } | undefined): boolean =>
    quota !== undefined && quota.used >= quota.allowed;
  if (isSpent(quotas.monthly)) return 'month';
  if (isSpent(quotas.daily)) return 'day';
  return 'hour';
}
