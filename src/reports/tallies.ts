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
  #values: readonly string[] = [];
  #counts: number[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(value: string, executions = 1): void {
    const kept = keepText(value);
    const index = this.#values.indexOf(kept);
    if (index >= 0) this.#counts[index] = (this.#counts[index] ?? 0) + executions;
    else if (this.#values.length < this.#capacity) {
      // Exactly as long as they have to be: an array that grows by itself has room for seventeen, and most have one.
      this.#values = this.#values.concat(kept);
      this.#counts = this.#counts.concat(executions);
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

/** Executions by number of host. Most files run on one host, for which no map is made. */
export class HostTally {
  #first: number | undefined;
  #executionsOnFirst = 0;
  #others: Map<number, number> | undefined;

  add(host: number, executions = 1): void {
    this.#first ??= host;
    if (host === this.#first) {
      this.#executionsOnFirst += executions;
      return;
    }
    this.#others ??= new Map();
    this.#others.set(host, (this.#others.get(host) ?? 0) + executions);
  }

  get size(): number {
    return (this.#first === undefined ? 0 : 1) + (this.#others?.size ?? 0);
  }

  /** Each host and its executions. */
  *entries(): Generator<readonly [host: number, executions: number]> {
    if (this.#first !== undefined) yield [this.#first, this.#executionsOnFirst];
    if (this.#others !== undefined) yield* this.#others;
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

/** The first `count` of the values in this order. The others are not put in order, which takes long where there are many. */
export function firstInOrder<Value>(
  values: Iterable<Value>,
  count: number,
  compare: (a: Value, b: Value) => number,
): Value[] {
  let first: Value[] = [];
  let last: Value | undefined;
  for (const value of values) {
    if (last !== undefined && compare(value, last) >= 0) continue;
    first.push(value);
    if (first.length < 2 * count) continue;
    first = first.sort(compare).slice(0, count);
    last = first.at(-1);
  }
  return first.sort(compare).slice(0, count);
}

/** Badness of a verdict: 0 is the worst. */
export function rankOf(verdict: VerdictName): number {
  return VERDICTS_WORST_FIRST.indexOf(verdict);
}
