import type { Clock } from '../../src/clock.js';
import type { Lookup } from '../../src/lookup.js';
import type { VirusTotalClient } from '../../src/virustotal/client.js';
import type { Desk } from '../../src/virustotal/desk.js';
import { block, EMPTY_LEDGER, type Limits, raise, spend, usageOf } from '../../src/virustotal/ledger.js';
import type { Attempt, OverallQuotas } from '../../src/virustotal/response.js';

export const START_MS = Date.UTC(2026, 2, 10, 12);

export const UNLIMITED: Limits = { perMinute: Infinity, perDay: Infinity, perMonth: Infinity, reservePerDay: 0 };

/** The n-th hash of a test. */
export function hashOf(number: number): string {
  return number.toString(16).padStart(40, '0');
}

export function lookupOf(hash: string, askedAt = new Date(START_MS)): Lookup {
  return { status: 'not_found', askedHash: hash, askedAt, httpStatus: 404, hashes: { sha1: hash } };
}

export function answer(hash: string): Attempt {
  return { kind: 'answer', lookup: lookupOf(hash) };
}

/**
 * Turns of the event loop in which nobody goes to sleep, until the clock jumps to the next moment somebody waits for. Turns, not
 * real time: a busy machine makes them longer, and what is still running gets its share of each.
 */
const QUIET_TURNS = 25;

/** A clock that passes the time as soon as everybody sleeps. */
export function virtualClock(): Clock & { nowMs: number } {
  let sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];
  let turn: NodeJS.Timeout | undefined;
  const clock = {
    nowMs: START_MS,
    now: () => new Date(clock.nowMs),
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = (): void => {
          signal?.removeEventListener('abort', wake);
          sleepers = sleepers.filter((other) => other.wake !== wake);
          resolve();
        };
        sleepers.push({ atMs: clock.nowMs + ms, wake });
        signal?.addEventListener('abort', wake);
        watch();
      }),
  };
  function watch(turnsLeft = QUIET_TURNS): void {
    clearTimeout(turn);
    turn = setTimeout(() => (turnsLeft > 0 ? watch(turnsLeft - 1) : pass()), 1);
  }
  function pass(): void {
    if (sleepers.length === 0) return;
    clock.nowMs = Math.max(clock.nowMs, Math.min(...sleepers.map(({ atMs }) => atMs)));
    for (const { wake } of sleepers.filter(({ atMs }) => atMs <= clock.nowMs)) wake();
    if (sleepers.length > 0) watch();
  }
  return clock;
}

/** A desk without a folder: the real ledger, and the claims of others as the test says. */
export function fakeDesk(clock: Clock, limits: Limits = UNLIMITED) {
  let ledger = EMPTY_LEDGER;
  const claimedByOthers = new Set<string>();
  const claimed = new Set<string>();
  const desk: Desk = {
    admit: async (hash, isAnswered) => {
      if (claimedByOthers.has(hash)) return { kind: 'claimed_by_another' };
      if (!claimed.has(hash) && (await isAnswered(hash))) return { kind: 'answered_meanwhile' };
      const { decision, state } = spend(ledger, { now: clock.now(), limits, purpose: 'batch', leaseMs: 1000 });
      ledger = state;
      if (decision.kind !== 'granted') return decision;
      claimed.add(hash);
      return { kind: 'granted' };
    },
    release: async (hash) => {
      claimed.delete(hash);
    },
    block: async (window, until) => {
      ledger = block(ledger, window, until);
    },
    reconcile: async (theirs) => {
      ledger = raise(ledger, clock.now(), theirs);
    },
    usage: async () => usageOf(ledger, clock.now(), limits, 'batch'),
    close: async () => claimed.clear(),
  };
  return Object.assign(desk, { claimed, claimedByOthers });
}

/** A VirusTotal that follows a script, and notes who asked when. */
export function fakeClient(
  clock: Clock,
  attempt: (hash: string, number: number) => Attempt | Promise<Attempt>,
  quotas?: OverallQuotas,
) {
  const asked: { readonly hash: string; readonly afterMs: number }[] = [];
  let quotaQuestions = 0;
  const client: Pick<VirusTotalClient, 'ask' | 'overallQuotas'> = {
    ask: async (hash) => {
      asked.push({ hash, afterMs: clock.now().getTime() - START_MS });
      return attempt(hash, asked.length);
    },
    overallQuotas: async () => {
      quotaQuestions++;
      return quotas === undefined ? { kind: 'untold' } : { kind: 'quotas', quotas };
    },
  };
  return Object.assign(client, { asked, quotaQuestions: () => quotaQuestions });
}
