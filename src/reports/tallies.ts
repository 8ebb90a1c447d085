import type { VerdictName } from '../verdict.js';
import { type CountedValue, type CountedValues, type ExecutionTimeline, VERDICTS_WORST_FIRST } from './report.js';

/** Longest value that is kept whole. A command line can have 32 Ki characters, and a report holds thousands. */
const MAX_VALUE_CHARACTERS = 4096;

/** The text as it is kept in a report; a cut is marked with how much is missing. */
export function keepText(text: string): string {
  if (text.length <= MAX_VALUE_CHARACTERS) return text;
  return `${text.slice(0, MAX_VALUE_CHARACTERS)}… [${text.length - MAX_VALUE_CHARACTERS} more characters]`;
}

/** Whether a field of Sysmon's says something: absent, empty and `-` all mean no value. */
export function isValue(text: string | undefined): text is string {
  return text !== undefined && text !== '' && text !== '-';
}

/** Counts of the first `capacity` distinct values; small, since a report keeps a few of them for each file. */
export class ValueTally {
  readonly #capacity: number;
  readonly #values: string[] = [];
  readonly #counts: number[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(value: string, executions = 1): void {
    const kept = keepText(value);
    const index = this.#values.indexOf(kept);
    if (index >= 0) this.#counts[index] = (this.#counts[index] ?? 0) + executions;
    else if (this.#values.length < this.#capacity) {
      this.#values.push(kept);
      this.#counts.push(executions);
    }
  }

  addAll(other: ValueTally): void {
    for (const { value, executions } of other.listed()) this.add(value, executions);
  }

  /** Most executions first, then in the order they were met. */
  listed(): CountedValue[] {
    return this.#values
      .map((value, index) => ({ value, executions: this.#counts[index] ?? 0 }))
      .sort((a, b) => b.executions - a.executions);
  }

  /** The list, with what is missing from `executions` in it. */
  outOf(executions: number): CountedValues {
    const listed = this.listed();
    return { listed, unlistedExecutions: executions - listed.reduce((sum, { executions }) => sum + executions, 0) };
  }
}

export type MutableCounts = { [name in VerdictName]: number };

/** Zero for each verdict. */
export function noCounts(): MutableCounts {
  return { malicious: 0, suspicious: 0, unknown: 0, unchecked: 0, undetected: 0 };
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Widths of a span that people read easily; beyond the last they double. */
const SPAN_WIDTHS_MS = [
  MINUTE_MS,
  5 * MINUTE_MS,
  10 * MINUTE_MS,
  15 * MINUTE_MS,
  30 * MINUTE_MS,
  HOUR_MS,
  2 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
  DAY_MS,
  7 * DAY_MS,
  28 * DAY_MS,
];
/** So many bars can be told apart. */
const MAX_SPANS = 48;
/** Distinct spans held while counting; the width grows when there are more. */
const MAX_HELD_SPANS = 4096;

/** Executions by verdict over time, in spans whose width grows with the period, so that memory does not. */
export class TimeTally {
  #width = 0;
  #spans = new Map<number, MutableCounts>();
  #withoutTime = 0;

  add(at: Date | undefined, verdict: VerdictName): void {
    if (at === undefined) {
      this.#withoutTime++;
      return;
    }
    const span = Math.floor(at.getTime() / widthMs(this.#width));
    const counts = this.#spans.get(span) ?? noCounts();
    counts[verdict]++;
    this.#spans.set(span, counts);
    while (this.#spans.size > MAX_HELD_SPANS) this.#spans = this.#regrouped(++this.#width, widthMs(this.#width - 1));
  }

  /** The counts in at most 48 spans, gaps filled with zeros. */
  timeline(): ExecutionTimeline {
    const heldMs = widthMs(this.#width);
    let width = this.#width;
    let spans = this.#spans;
    let [first, last] = ends(spans);
    while (last - first >= MAX_SPANS) {
      spans = this.#regrouped(++width, heldMs);
      [first, last] = ends(spans);
    }
    const spanMs = widthMs(width);
    return {
      spanMs,
      spans: Array.from({ length: spans.size === 0 ? 0 : last - first + 1 }, (_, index) => ({
        start: new Date((first + index) * spanMs),
        executions: spans.get(first + index) ?? noCounts(),
      })),
      withoutTime: this.#withoutTime,
    };
  }

  #regrouped(width: number, heldMs: number): Map<number, MutableCounts> {
    const regrouped = new Map<number, MutableCounts>();
    for (const [span, counts] of this.#spans) {
      const target = Math.floor((span * heldMs) / widthMs(width));
      const sum = regrouped.get(target) ?? noCounts();
      for (const verdict of VERDICTS_WORST_FIRST) sum[verdict] += counts[verdict];
      regrouped.set(target, sum);
    }
    return regrouped;
  }
}

function ends(spans: ReadonlyMap<number, unknown>): [number, number] {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const span of spans.keys()) {
    first = Math.min(first, span);
    last = Math.max(last, span);
  }
  return [first, last];
}

function widthMs(width: number): number {
  const widest = SPAN_WIDTHS_MS.length - 1;
  return (SPAN_WIDTHS_MS[Math.min(width, widest)] ?? DAY_MS) * 2 ** Math.max(0, width - widest);
}

/** Badness of a verdict: 0 is the worst. */
export function rankOf(verdict: VerdictName): number {
  return VERDICTS_WORST_FIRST.indexOf(verdict);
}
