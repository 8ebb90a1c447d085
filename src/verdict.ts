import type { FileHashes, LookupKey } from './hash.js';
import type { EngineCounts, Lookup } from './lookup.js';

/** Our judgement. None of them means that a file is safe: `undetected` says that no engine detects it today. */
export type VerdictName = 'malicious' | 'suspicious' | 'undetected' | 'unknown' | 'unchecked';

/** Why a verdict is `unchecked`, or `unknown` although VirusTotal knows the file (`pending`). */
export const REASONS = [
  'no_hash',
  'placeholder',
  'offline',
  'quota',
  'limit',
  'known_good',
  'error',
  'interrupted',
  'waiting',
  'pending',
] as const;

export type Reason = (typeof REASONS)[number];

const REASON_BY_NAME: ReadonlyMap<unknown, Reason> = new Map(REASONS.map((reason) => [reason, reason]));

/** Whether something read is one of the reasons. */
export function isReason(value: unknown): value is Reason {
  return REASON_BY_NAME.has(value);
}

/** The reason of this name, always the same text for it; undefined where there is none. */
export function reasonNamed(name: string): Reason | undefined {
  return REASON_BY_NAME.get(name);
}

/** From how many detections on a file is what. */
export interface Thresholds {
  readonly maliciousAt: number;
  readonly suspiciousAt: number;
  /** Names of engines, lower case, whose detection alone makes a file malicious. */
  readonly trustedEngines: ReadonlySet<string>;
}

/** What is said of one file, and why. */
export interface Verdict {
  readonly verdict: VerdictName;
  readonly reason?: Reason;
  /** Set where an answer past its lifetime is used for want of a newer one. */
  readonly stale?: boolean;
  /** The answer the verdict rests on. */
  readonly lookup?: Lookup;
  /** The list of known files that has it. A mark beside the verdict, never a verdict. */
  readonly knownGood?: KnownMark;
  /** The list of the user's own known-bad files that has it; the verdict is then `malicious` without a question. */
  readonly knownBad?: KnownMark;
  /** What the records and the answer say together. */
  readonly flags?: readonly string[];
  /** How long before its first submission to VirusTotal the file ran here. */
  readonly ranBeforeFirstSubmissionMs?: number;
}

/** That a list of known files has a file. */
export interface KnownMark {
  readonly source: string;
  /** The list may be wrong: it is a Bloom filter. */
  readonly isProbable: boolean;
  /** The list is the user's own word. Not set for a catalogue, nor where only the mark in a record is left of what a list said. */
  readonly isFinal?: boolean;
}

/** What lists of known files say of a file. */
export type KnownMarks = Pick<Verdict, 'knownGood' | 'knownBad'>;

/** The marks of those lists that have the file. */
export function knownMarks(lists: { readonly [list in keyof KnownMarks]-?: KnownMark | undefined }): KnownMarks {
  const { knownGood, knownBad } = lists;
  return { ...(knownGood === undefined ? {} : { knownGood }), ...(knownBad === undefined ? {} : { knownBad }) };
}

/** Which list makes a question about the file needless; undefined where none has it or only a catalogue, which is no reason not to ask. */
export function settledBy({ knownGood, knownBad }: KnownMarks): 'known_good' | 'known_bad' | undefined {
  if (knownBad !== undefined) return 'known_bad';
  return knownGood?.isFinal ? 'known_good' : undefined;
}

/** A verdict with what the lists say of the file: known bad is malicious whatever VirusTotal says, known good overrules nothing. */
export function withMarks(verdict: Verdict, marks: KnownMarks): Verdict {
  const said = { ...verdict, ...marks };
  switch (settledBy(marks)) {
    case 'known_bad': {
      const { reason: _reason, ...rest } = said;
      return { ...rest, verdict: 'malicious' };
    }
    case 'known_good':
      return said.verdict === 'unchecked' ? { ...said, reason: 'known_good' } : said;
    case undefined:
      return said;
  }
}

/**
 * Detections and engines as this program counts them everywhere: detections are the engines that say malicious;
 * engines are those that gave an opinion. VirusTotal's own m/n on its pages is the same quotient.
 */
export function countDetections(counts: EngineCounts): { readonly detections: number; readonly engines: number } {
  return {
    detections: counts.malicious,
    engines: counts.malicious + counts.suspicious + counts.undetected + counts.harmless,
  };
}

/** Judges one answer. Pure: the same answer and thresholds give the same verdict. */
export function judge(lookup: Lookup, thresholds: Thresholds): Verdict {
  const counts = lookup.report?.counts;
  if (lookup.status === 'not_found') return { verdict: 'unknown', lookup };
  if (lookup.status === 'pending' || counts === undefined) return { verdict: 'unknown', reason: 'pending', lookup };
  const { detections, engines } = countDetections(counts);
  // No engine gave an opinion: an analysis that says nothing is as good as none.
  if (engines === 0) return { verdict: 'unknown', reason: 'pending', lookup };
  const isTrusted = lookup.report?.detectedBy.some(({ engine }) => thresholds.trustedEngines.has(engine.toLowerCase()));
  if (detections >= thresholds.maliciousAt || isTrusted) return { verdict: 'malicious', lookup };
  if (detections >= thresholds.suspiciousAt) return { verdict: 'suspicious', lookup };
  return { verdict: 'undetected', lookup };
}

/** The page of a file on VirusTotal; built here, so that nobody's text becomes a link. */
export function fileLink(sha256: string): string {
  return `https://www.virustotal.com/gui/file/${sha256}`;
}

/**
 * The `virustotal` member as JSON text. It depends on the look-up key and the verdict alone, so records of one file share it.
 * `sha1` is there exactly when the record has one; digests only VirusTotal named stand in `sha256` and `md5`.
 */
export function virustotalMember(key: LookupKey | undefined, verdict: Verdict): string {
  const { lookup } = verdict;
  const report = lookup?.report;
  // Of a file it does not know VirusTotal has named nothing.
  const named: FileHashes = lookup === undefined || lookup.status === 'not_found' ? {} : lookup.hashes;
  const sha256 = key?.algorithm === 'sha256' ? key.hash : named.sha256;
  const md5 = key?.algorithm === 'md5' ? key.hash : named.md5;
  const hasCounts = verdict.verdict !== 'unknown' && verdict.verdict !== 'unchecked' && report?.counts !== undefined;
  const count = hasCounts && report?.counts !== undefined ? countDetections(report.counts) : undefined;
  // JSON.stringify leaves members out that are undefined; the order here is the order in the file.
  return JSON.stringify({
    verdict: verdict.verdict,
    reason: verdict.reason,
    detections: count?.detections,
    engines: count?.engines,
    label: report?.label,
    lookup_key: key?.algorithm,
    sha1: key?.algorithm === 'sha1' ? key.hash : undefined,
    sha256,
    md5,
    link: named.sha256 === undefined ? undefined : fileLink(named.sha256),
    first_submission: report?.firstSubmission?.toISOString(),
    last_analysis: report?.lastAnalysis?.toISOString(),
    checked_at: lookup?.askedAt.toISOString(),
    stale: verdict.stale,
    known_good: knownMember(verdict.knownGood),
    known_bad: knownMember(verdict.knownBad),
    flags: verdict.flags === undefined || verdict.flags.length === 0 ? undefined : verdict.flags,
    ran_before_first_submission_s:
      verdict.ranBeforeFirstSubmissionMs === undefined
        ? undefined
        : Math.round(verdict.ranBeforeFirstSubmissionMs / 1000),
  });
}

/** `virustotalMember` of a file without any answer, put together by hand: on a first night that is nearly every record's. */
export function unansweredMember({ algorithm, hash }: LookupKey, reason: Reason): string {
  return `{"verdict":"unchecked","reason":"${reason}","lookup_key":"${algorithm}","${algorithm}":"${hash}"}`;
}

function knownMember(mark: KnownMark | undefined): object | undefined {
  if (mark === undefined) return undefined;
  return mark.isProbable ? { source: mark.source, probable: true } : { source: mark.source };
}
