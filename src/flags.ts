import type { FileEvidence } from './evidence.js';
import { isRenamed } from './file-name.js';
import type { Lookup } from './lookup.js';
import { isProtectedPlace, normalizePath, placeOf } from './windows.js';

/**
 * What the records and an answer say together, beyond the verdict:
 * - `ran_before_first_submission`: it ran here before anybody had sent it to VirusTotal;
 * - `rare_unknown`: VirusTotal does not know it, and it ran on one or two hosts only;
 * - `renamed`: it runs under another name than its maker gave it, from a folder that users may write to;
 * - `revoked_signature`: the certificate that signed it was revoked;
 * - `old_answer`: the analysis the verdict rests on is older than a year.
 */
export const EVIDENCE_FLAGS = [
  'ran_before_first_submission',
  'rare_unknown',
  'renamed',
  'revoked_signature',
  'old_answer',
] as const;

export type EvidenceFlag = (typeof EVIDENCE_FLAGS)[number];

/** The flags of a file, in the order of `EVIDENCE_FLAGS`. */
export interface FlaggedEvidence {
  readonly flags: readonly EvidenceFlag[];
  /** How long before its first submission the file first ran here; there with `ran_before_first_submission`. */
  readonly ranBeforeFirstSubmissionMs?: number;
}

/** More hosts than this are no rarity. */
const MAX_RARE_HOSTS = 2;

const YEAR_MS = 365 * 24 * 60 * 60 * 1000;

/** Clocks of hosts are off by minutes; a submission made at first sight must not look like one made after it. */
const CLOCK_TOLERANCE_MS = 10 * 60 * 1000;

/** What the flags of evidence need to know of the answer on a file. */
export interface AnswerFacts {
  readonly isUnknownToVirusTotal: boolean;
  readonly firstSubmission: Date | undefined;
}

/** The flags that follow from a file's evidence and the newest answer on it, if there is one. Pure. */
export function flagEvidence(evidence: FileEvidence, lookup: Lookup | undefined, now: Date): FlaggedEvidence {
  const { flags, ...span } = flagSightings(tracesOf(evidence), {
    isUnknownToVirusTotal: lookup?.status === 'not_found',
    firstSubmission: lookup?.report?.firstSubmission,
  });
  const all = new Set([...flags, ...(lookup === undefined ? [] : flagAnswer(lookup, now))]);
  return { flags: EVIDENCE_FLAGS.filter((flag) => all.has(flag)), ...span };
}

/** What flags need of a file's sightings. */
export interface SightingTraces {
  /** Since the epoch; undefined where no record had a readable time. */
  readonly firstSeenMs: number | undefined;
  /** It ran on one or two hosts only. */
  readonly isRare: boolean;
  readonly ranRenamed: boolean;
}

/** The traces of sightings that matter to flags, to be joined with an answer that may come later. */
export function tracesOf(evidence: FileEvidence): SightingTraces {
  return {
    firstSeenMs: evidence.firstSeen?.getTime(),
    isRare: evidence.hosts.count <= MAX_RARE_HOSTS,
    ranRenamed: ranRenamed(evidence),
  };
}

/** The flags that need the sightings of the file. */
export function flagSightings(traces: SightingTraces, answer: AnswerFacts): FlaggedEvidence {
  const earlyMs = earlinessMs(traces.firstSeenMs, answer.firstSubmission);
  const flags: EvidenceFlag[] = [];
  if (earlyMs !== undefined) flags.push('ran_before_first_submission');
  if (answer.isUnknownToVirusTotal && traces.isRare) flags.push('rare_unknown');
  if (traces.ranRenamed) flags.push('renamed');
  return { flags, ...(earlyMs === undefined ? {} : { ranBeforeFirstSubmissionMs: earlyMs }) };
}

/** The flags that the answer alone brings. */
export function flagAnswer(lookup: Lookup, now: Date): readonly EvidenceFlag[] {
  const flags: EvidenceFlag[] = [];
  if (hasRevokedSignature(lookup)) flags.push('revoked_signature');
  if (isOld(lookup, now)) flags.push('old_answer');
  return flags;
}

function earlinessMs(firstSeenMs: number | undefined, firstSubmission: Date | undefined): number | undefined {
  if (firstSeenMs === undefined || firstSubmission === undefined) return undefined;
  const ms = firstSubmission.getTime() - firstSeenMs;
  return ms > CLOCK_TOLERANCE_MS ? ms : undefined;
}

function ranRenamed({ images, metadata }: FileEvidence): boolean {
  const original = metadata.originalFileName;
  if (original === undefined) return false;
  return images.some((image) => !isProtectedPlace(placeOf(normalizePath(image))) && isRenamed(image, original));
}

/** VirusTotal tags such files `revoked-cert`; Sigcheck writes that a certificate "was explicitly revoked by its issuer". */
function hasRevokedSignature({ report }: Lookup): boolean {
  return (
    report !== undefined && (report.tags.includes('revoked-cert') || /revoked/i.test(report.signature?.verified ?? ''))
  );
}

function isOld({ report, askedAt }: Lookup, now: Date): boolean {
  return report !== undefined && now.getTime() - (report.lastAnalysis ?? askedAt).getTime() > YEAR_MS;
}
