import type { RequestLimits } from '../config.js';
import type { EnrichOutcome, PlannedQuestion } from '../pipeline.js';
import type { QuotaSummary } from '../summary.js';
import { escapeControls, shorten } from '../terminal.js';

/** What asking would cost, as `--dry-run` and `queue` tell it. */
export interface Plan {
  readonly to_ask: number;
  readonly today: number;
  readonly later: number;
  /** Days from now until the last one is asked, at this quota; 0 where today suffices. */
  readonly days: number;
  readonly first: readonly PlannedFile[];
}

/** A file that waits for a question. */
export interface PlannedFile {
  readonly hash: string;
  readonly score: number;
  readonly reasons: readonly string[];
  readonly image: string;
  readonly computer: string;
  /** Days from now until it is asked at this quota; 0 is today. */
  readonly day: number;
}

/** How many questions fit into today and every day after it, for the nightly job. */
function dailyRoom(
  quota: QuotaSummary | null,
  limits: RequestLimits,
): { readonly today: number; readonly perDay: number } {
  const perDay = Math.max(0, limits.perDay - (Number.isFinite(limits.perDay) ? limits.reservePerDay : 0));
  const usedToday = quota?.day.used ?? 0;
  const leftOfMonth = limits.perMonth - (quota?.month.used ?? 0);
  return { today: Math.max(0, Math.min(perDay - usedToday, leftOfMonth)), perDay };
}

/** The price of asking these questions in this order. */
export function planOf(
  { count, first }: EnrichOutcome['questions'],
  quota: QuotaSummary | null,
  limits: RequestLimits,
  maxLookups = Number.POSITIVE_INFINITY,
): Plan {
  const { today: room, perDay } = dailyRoom(quota, limits);
  const today = Math.min(count, room, maxLookups);
  const later = count - today;
  return {
    to_ask: count,
    today,
    later,
    days: later === 0 ? 0 : dayOf(count - 1, today, Math.min(perDay, maxLookups)),
    first: plannedFiles(first, today, Math.min(perDay, maxLookups)),
  };
}

/** The files with the day each is asked on. */
export function plannedFiles(questions: readonly PlannedQuestion[], today: number, perDay: number): PlannedFile[] {
  return questions.map(({ hash, score, reasons, image, computer }, index) => ({
    hash,
    score,
    reasons: reasons.map(({ text }) => text),
    image,
    computer,
    day: dayOf(index, today, perDay),
  }));
}

function dayOf(index: number, today: number, perDay: number): number {
  if (index < today) return 0;
  if (perDay <= 0) return Number.POSITIVE_INFINITY;
  return 1 + Math.floor((index - today) / perDay);
}

/** Further ahead nobody plans, and a queue that takes longer never ends. */
const MAX_FORECAST_DAYS = 3650;

/**
 * In how many days the last of so many waiting files is asked by the nightly job, if no more come: 0 for today. Counts UTC days and
 * months, as the quota does; undefined where that is never, or in more than ten years.
 */
export function forecastDays(
  waiting: number,
  quota: QuotaSummary,
  limits: RequestLimits,
  now: Date,
): number | undefined {
  const perDay = dailyRoom(null, { ...limits, perMonth: Number.POSITIVE_INFINITY }).perDay;
  let leftOfDay = perDay - quota.day.used;
  let leftOfMonth = limits.perMonth - quota.month.used;
  let left = waiting;
  for (let day = 0; day <= MAX_FORECAST_DAYS; day++) {
    if (day > 0) {
      leftOfDay = perDay;
      const date = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + day));
      if (date.getUTCDate() === 1) leftOfMonth = limits.perMonth;
    }
    const asked = Math.max(0, Math.min(left, leftOfDay, leftOfMonth));
    left -= asked;
    leftOfMonth -= asked;
    if (left <= 0) return day;
  }
  return undefined;
}

/** The plan for people. */
export function describePlan(plan: Plan): string {
  const when = plan.later === 0 ? 'all today' : `${plan.today} today, ${plan.later} later, done in ${plan.days} days`;
  return `to ask    ${plan.to_ask} files: ${when}\n${plan.first.map(describePlanned).join('')}`;
}

/** One waiting file for people: score, image, hash, and why it stands where it stands. */
export function describePlanned(file: PlannedFile): string {
  const day = file.day === 0 ? 'today' : Number.isFinite(file.day) ? `day ${file.day}` : 'never at this quota';
  const where = file.computer === '' ? '' : ` on ${escapeControls(file.computer)}`;
  const image = file.image === '' ? '(image not known)' : escapeControls(shorten(file.image, 120));
  const reasons = file.reasons.length === 0 ? '' : `\n          ${file.reasons.join('; ')}`;
  return `${String(file.score).padStart(7)}   ${image}${where}, ${day}\n          ${file.hash}${reasons}\n`;
}
