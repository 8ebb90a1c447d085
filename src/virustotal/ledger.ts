/*
 * How many requests were spent, and whether one more may be. Pure: the state and the time go in, a decision and the next state come
 * out. VirusTotal counts in its own time; we only have a clock that may be set, so every doubt is decided for spending less:
 * - A granted request may leave until its lease ends, and counts as spent at that end: it can leave early, never too late.
 * - Spending is written down before the request leaves; a kill in between has counted a request that never was.
 * - What stands in the future was spent before now, whatever the clock says, and counts as spent now.
 */

/** What VirusTotal allows, and what we leave of it. `Infinity` where there is no limit; `perMinute` is at least 1. */
export interface Limits {
  readonly perMinute: number;
  readonly perDay: number;
  readonly perMonth: number;
  /** Requests of a day that the nightly job leaves for somebody who has to know at once. Nothing where a day has no limit. */
  readonly reservePerDay: number;
}

/** Who asks: the nightly job, or a person who waits. */
export type Purpose = 'batch' | 'on_demand';

/** What is used up: our own count of the day or month, or, by VirusTotal's word, of the hour or of something it does not name. */
export type SpentWindow = 'hour' | 'day' | 'month' | 'unknown';

/** Requests that count as spent at `atMs`, the end of their lease, in milliseconds since 1970. */
type Spend = readonly [atMs: number, count: number];

/** Requests spent in a UTC day (`2026-01-31`) or month (`2026-01`). */
type PeriodCount = readonly [label: string, count: number];

/**
 * Days and months beyond tomorrow and the next month. Which clock was right cannot be told: if the one before, these counts are the true
 * ones once it is right again; if the one now, they are of a time that may never come, and are forgotten after a month.
 */
interface PeriodsAhead {
  readonly sinceMs: number;
  /** As those of the ledger; requests made meanwhile are added to each. */
  readonly days: readonly PeriodCount[];
  readonly months: readonly PeriodCount[];
}

/** The ledger as it is stored: plain JSON. */
export interface LedgerState {
  /** Oldest first. */
  readonly minute: readonly Spend[];
  /** In the order of their labels; never more than three, the last of them at most tomorrow. */
  readonly days: readonly PeriodCount[];
  readonly months: readonly PeriodCount[];
  /** Counts of periods that the clock had reached before it was set back; absent while it never was. */
  readonly ahead?: PeriodsAhead;
  /** VirusTotal has said that nothing is left until then. */
  readonly blocked?: { readonly window: SpentWindow; readonly untilMs: number };
}

export type Decision =
  | { readonly kind: 'granted'; readonly leaseEndsAt: Date }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'spent'; readonly window: SpentWindow; readonly resumesAt: Date };

/** Used and allowed requests; `limit` is `Infinity` where there is none. */
interface WindowUsage {
  readonly used: number;
  readonly limit: number;
}

export interface Usage {
  readonly minute: WindowUsage;
  readonly day: WindowUsage;
  readonly month: WindowUsage;
  /** When requests are possible again after a spent day or month; absent while at most the minute is full. */
  readonly resumesAt?: Date;
}

/** A minute with the margin for the jitter of networks and timers: VirusTotal sees requests arrive, not leave. */
export const MINUTE_MS = 60_250;

/** The longest a granted request may take to leave. */
export const MAX_LEASE_MS = 10_000;

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** No quota is longer than a month: a block beyond that, or a count, comes from a clock that was wrong. */
const MONTH_MS = 32 * DAY_MS;

/** Above this many requests a minute, spends are rounded up to common moments, so that the state stays small. */
const MAX_EXACT_PER_MINUTE = 240;
const ROUNDING_MS = 250;

/** More spends than `MAX_EXACT_PER_MINUTE` or a minute of rounded ones can make. */
const MAX_SPENDS = 1000;

/** Days or months that are kept; see `newest`. */
const MAX_PERIODS = 3;

export const EMPTY_LEDGER: LedgerState = { minute: [], days: [], months: [] };

/** What to go on from when the counts are lost: the minute is taken to be full. What the day had is unknown, and VirusTotal's 429 will tell. */
export function ledgerAfterLoss(now: Date, limits: Limits): LedgerState {
  if (limits.perMinute === Infinity) return EMPTY_LEDGER;
  return { ...EMPTY_LEDGER, minute: [[now.getTime(), limits.perMinute]] };
}

/**
 * Asks for one request that leaves within `leaseMs`. The returned state has to be stored, and before the request leaves: a grant
 * counts in it as spent, and after a clock was set back it holds the corrected times. It is the same object if nothing changed.
 */
export function spend(
  stored: LedgerState,
  request: { readonly now: Date; readonly limits: Limits; readonly purpose: Purpose; readonly leaseMs: number },
): { readonly decision: Decision; readonly state: LedgerState } {
  const { now, limits, purpose, leaseMs } = request;
  const state = corrected(stored, now);
  const refusal = refuse(state, now, limits, purpose);
  if (refusal !== undefined) return { decision: refusal, state };
  const leaseEndsAt = new Date(now.getTime() + Math.min(leaseMs, MAX_LEASE_MS));
  return {
    decision: { kind: 'granted', leaseEndsAt },
    state: {
      ...state,
      minute: withSpend(state.minute, now.getTime(), leaseEndsAt.getTime(), limits),
      days: withRequest(state.days, [dayOf(now), dayOf(leaseEndsAt)]),
      months: withRequest(state.months, [monthOf(now), monthOf(leaseEndsAt)]),
      ...(state.ahead === undefined ? {} : { ahead: withRequestAhead(state.ahead) }),
    },
  };
}

/** Notes VirusTotal's word that nothing is left until `until`; an earlier, longer block stays. */
export function block(state: LedgerState, window: SpentWindow, until: Date): LedgerState {
  if (state.blocked !== undefined && state.blocked.untilMs >= until.getTime()) return state;
  return { ...state, blocked: { window, untilMs: until.getTime() } };
}

/** What VirusTotal itself has counted for the key in the running UTC day and month; each absent where it does not say. */
export interface TheirCount {
  readonly day?: number;
  readonly month?: number;
}

/**
 * Raises our counts to VirusTotal's where those are higher: the key was used elsewhere too. Lower ones change nothing, since a
 * request that we have spent may not have arrived there yet.
 */
export function raise(stored: LedgerState, now: Date, theirs: TheirCount): LedgerState {
  const state = corrected(stored, now);
  const days = raised(state.days, dayOf(now), theirs.day);
  const months = raised(state.months, monthOf(now), theirs.month);
  return days === state.days && months === state.months ? state : { ...state, days, months };
}

/** What is used and left for this purpose. */
export function usageOf(stored: LedgerState, now: Date, limits: Limits, purpose: Purpose): Usage {
  const state = corrected(stored, now);
  const refusal = refuse(state, now, limits, purpose);
  return {
    minute: { used: usedInMinute(state, now), limit: limits.perMinute },
    day: { used: usedSince(state.days, dayOf(now)), limit: limits.perDay },
    month: { used: usedSince(state.months, monthOf(now)), limit: limits.perMonth },
    ...(refusal?.kind === 'spent' ? { resumesAt: refusal.resumesAt } : {}),
  };
}

/** When a spent window opens again: VirusTotal's days and months begin at 00:00 UTC. An unknown one is taken for a day. */
export function nextOpening(window: SpentWindow, now: Date): Date {
  if (window === 'hour') return new Date((Math.floor(now.getTime() / HOUR_MS) + 1) * HOUR_MS);
  if (window === 'month') return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1));
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1));
}

/** Reads a stored ledger back; undefined for anything that is not a whole one, since half a count is worse than a loss that is known. */
export function ledgerFromJson(json: unknown): LedgerState | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { minute, days, months, ahead, blocked } = json as { readonly [name: string]: unknown };
  if (!isListOf(minute, MAX_SPENDS, isSpend)) return undefined;
  if (!isListOf(days, MAX_PERIODS, isDayCount) || !isListOf(months, MAX_PERIODS, isMonthCount)) return undefined;
  if ((ahead !== undefined && !isAhead(ahead)) || (blocked !== undefined && !isBlock(blocked))) return undefined;
  return {
    minute,
    days,
    months,
    ...(ahead === undefined ? {} : { ahead }),
    ...(blocked === undefined ? {} : { blocked }),
  };
}

function refuse(
  state: LedgerState,
  now: Date,
  limits: Limits,
  purpose: Purpose,
): Exclude<Decision, { kind: 'granted' }> | undefined {
  const { blocked } = state;
  if (blocked !== undefined && blocked.untilMs > now.getTime()) {
    return { kind: 'spent', window: blocked.window, resumesAt: new Date(blocked.untilMs) };
  }
  if (usedSince(state.months, monthOf(now)) >= limits.perMonth) {
    return { kind: 'spent', window: 'month', resumesAt: nextOpening('month', now) };
  }
  const perDay = purpose === 'batch' ? limits.perDay - limits.reservePerDay : limits.perDay;
  if (usedSince(state.days, dayOf(now)) >= perDay) {
    return { kind: 'spent', window: 'day', resumesAt: nextOpening('day', now) };
  }
  const waitMs = waitForMinute(state, now, limits.perMinute);
  return waitMs > 0 ? { kind: 'wait', ms: waitMs } : undefined;
}

function waitForMinute(state: LedgerState, now: Date, perMinute: number): number {
  let excess = usedInMinute(state, now) - perMinute + 1;
  if (excess <= 0) return 0;
  for (const [atMs, count] of state.minute) {
    if (atMs <= now.getTime() - MINUTE_MS) continue;
    excess -= count;
    if (excess <= 0) return atMs + MINUTE_MS - now.getTime();
  }
  return MINUTE_MS;
}

function usedInMinute(state: LedgerState, now: Date): number {
  let used = 0;
  for (const [atMs, count] of state.minute) {
    if (atMs > now.getTime() - MINUTE_MS) used += count;
  }
  return used;
}

function withSpend(minute: readonly Spend[], nowMs: number, leaseEndMs: number, limits: Limits): readonly Spend[] {
  const atMs = limits.perMinute > MAX_EXACT_PER_MINUTE ? Math.ceil(leaseEndMs / ROUNDING_MS) * ROUNDING_MS : leaseEndMs;
  const spends = minute.filter(([spentMs]) => spentMs > nowMs - MINUTE_MS && spentMs !== atMs);
  const atSameMoment = minute.find(([spentMs]) => spentMs === atMs)?.[1] ?? 0;
  spends.push([atMs, atSameMoment + 1]);
  return spends.sort(([one], [other]) => one - other);
}

/** Requests of the period `label` and of every later one: after a clock was set back, later periods may have been this one in truth. */
function usedSince(counts: readonly PeriodCount[], label: string): number {
  return counts.reduce((used, [counted, count]) => (counted >= label ? used + count : used), 0);
}

function raised(counts: readonly PeriodCount[], label: string, theirs = 0): readonly PeriodCount[] {
  const missing = theirs - usedSince(counts, label);
  if (missing <= 0) return counts;
  const byLabel = new Map(counts);
  byLabel.set(label, (byLabel.get(label) ?? 0) + missing);
  return newest([...byLabel]);
}

/** Adds one request to the periods in which it may leave and to every later one, any of which may be the true one. */
function withRequest(counts: readonly PeriodCount[], labels: readonly [now: string, leaseEnd: string]): PeriodCount[] {
  const byLabel = new Map(counts);
  for (const label of labels) byLabel.set(label, byLabel.get(label) ?? 0);
  return newest([...byLabel].map(([label, count]) => [label, label >= labels[0] ? count + 1 : count]));
}

/** The newest three: the running period, the next, and the last, which a clock set back by a little may meet again. */
function newest(counts: readonly PeriodCount[]): PeriodCount[] {
  return inOrder(counts).slice(-MAX_PERIODS);
}

function inOrder(counts: readonly PeriodCount[]): PeriodCount[] {
  return counts.toSorted(([one], [other]) => (one < other ? -1 : 1));
}

function withRequestAhead({ sinceMs, days, months }: PeriodsAhead): PeriodsAhead {
  const oneMore = ([label, count]: PeriodCount): PeriodCount => [label, count + 1];
  return { sinceMs, days: days.map(oneMore), months: months.map(oneMore) };
}

/** The state as it can be true at `now`: nothing was spent after now, and no block reaches further than a month. */
function corrected(state: LedgerState, now: Date): LedgerState {
  const nowMs = now.getTime();
  // Running leases end a little ahead.
  const latestMs = nowMs + MAX_LEASE_MS + ROUNDING_MS;
  const hasFutureSpend = state.minute.some(([atMs]) => atMs > latestMs);
  const isInDoubt = isAfterGap(state, now);
  const [days, daysAhead] = splitAt(dayOf(nextOpening('day', now)), state.days, state.ahead?.days, isInDoubt);
  const [months, monthsAhead] = splitAt(
    monthOf(nextOpening('month', now)),
    state.months,
    state.ahead?.months,
    isInDoubt,
  );
  const ahead = periodsAhead(state.ahead, nowMs, daysAhead, monthsAhead);
  const hasFutureBlock = state.blocked !== undefined && state.blocked.untilMs > nowMs + MONTH_MS;
  const haveSamePeriods = days === state.days && months === state.months && ahead === state.ahead;
  if (!hasFutureSpend && haveSamePeriods && !hasFutureBlock) return state;
  const { blocked, ahead: _before, ...rest } = state;
  return {
    ...rest,
    minute: state.minute.map(([atMs, count]): Spend => [Math.min(atMs, latestMs), count]),
    days,
    months,
    ...(ahead === undefined ? {} : { ahead }),
    ...(blocked === undefined || hasFutureBlock ? {} : { blocked }),
  };
}

/** A nightly job asks more often; a longer silence may be a clock that was set again. */
const MAX_GAP_MS = 2 * DAY_MS;

/**
 * Whether the clock, once set back, has moved on by days since anything was counted, without reaching the periods ahead: either nobody asked
 * meanwhile, or it was set a second time, is wrong still, and what is ahead was spent today.
 */
function isAfterGap({ days, ahead }: LedgerState, now: Date): boolean {
  const lastDay = days.at(-1)?.[0];
  if (ahead === undefined || lastDay === undefined || now.getTime() - ahead.sinceMs > MONTH_MS) return false;
  return lastDay < dayOf(new Date(now.getTime() - MAX_GAP_MS));
}

const NO_COUNTS: readonly PeriodCount[] = [];

/**
 * The counts of the periods up to `latestLabel`, and of those after it. What was counted beyond is counted in the latest period too,
 * where it ends with that period, as is what lies ahead where that is in doubt anew; what was ahead and has come within reach is counted
 * again. The same lists if nothing changed.
 */
function splitAt(
  latestLabel: string,
  counts: readonly PeriodCount[],
  ahead: readonly PeriodCount[] = NO_COUNTS,
  isInDoubt = false,
): readonly [within: readonly PeriodCount[], ahead: readonly PeriodCount[]] {
  const isSplit = counts.every(([label]) => label <= latestLabel) && ahead.every(([label]) => label > latestLabel);
  if (isSplit && !isInDoubt) return [counts, ahead];
  const all = new Map(counts);
  for (const [label, count] of ahead) all.set(label, Math.max(count, all.get(label) ?? 0));
  const later = [...all].filter(([label]) => label > latestLabel);
  const doubtful = isInDoubt ? Math.max(0, ...ahead.map(([, count]) => count)) : 0;
  all.set(latestLabel, Math.max(usedSince(counts, latestLabel), all.get(latestLabel) ?? 0, doubtful));
  const within = [...all].filter(([label]) => label <= latestLabel);
  // The further ahead, the less likely the true one.
  return [newest(within), isSplit ? ahead : inOrder(later).slice(0, MAX_PERIODS)];
}

/** What is kept of the periods ahead; the same object if nothing changed. */
function periodsAhead(
  before: PeriodsAhead | undefined,
  nowMs: number,
  days: readonly PeriodCount[],
  months: readonly PeriodCount[],
): PeriodsAhead | undefined {
  if (days.length === 0 && months.length === 0) return undefined;
  if (before === undefined || days !== before.days || months !== before.months) return { sinceMs: nowMs, days, months };
  if (nowMs - before.sinceMs > MONTH_MS) return undefined;
  return nowMs < before.sinceMs ? { ...before, sinceMs: nowMs } : before;
}

function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function monthOf(date: Date): string {
  return date.toISOString().slice(0, 7);
}

function isListOf<T>(json: unknown, maxLength: number, isElement: (json: unknown) => json is T): json is readonly T[] {
  return Array.isArray(json) && json.length <= maxLength && json.every(isElement);
}

function isSpend(json: unknown): json is Spend {
  return Array.isArray(json) && json.length === 2 && json.every(isCount);
}

function isDayCount(json: unknown): json is PeriodCount {
  return isPeriodCount(json, /^\d{4}-\d{2}-\d{2}$/);
}

function isMonthCount(json: unknown): json is PeriodCount {
  return isPeriodCount(json, /^\d{4}-\d{2}$/);
}

function isPeriodCount(json: unknown, label: RegExp): boolean {
  return (
    Array.isArray(json) && json.length === 2 && typeof json[0] === 'string' && label.test(json[0]) && isCount(json[1])
  );
}

function isAhead(json: unknown): json is PeriodsAhead {
  if (typeof json !== 'object' || json === null) return false;
  const { sinceMs, days, months } = json as { readonly [name: string]: unknown };
  return isCount(sinceMs) && isListOf(days, MAX_PERIODS, isDayCount) && isListOf(months, MAX_PERIODS, isMonthCount);
}

function isBlock(json: unknown): json is NonNullable<LedgerState['blocked']> {
  if (typeof json !== 'object' || json === null) return false;
  const { window, untilMs } = json as { readonly [name: string]: unknown };
  const isWindow = window === 'hour' || window === 'day' || window === 'month' || window === 'unknown';
  return isWindow && isCount(untilMs);
}

function isCount(json: unknown): json is number {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0;
}
