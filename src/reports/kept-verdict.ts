import type { FileHashes, HashAlgorithm } from '../hash.js';
import { fileLink, type Reason, type VerdictName } from '../verdict.js';
import { present } from './present.js';
import type { FileVerdict } from './report.js';

/**
 * A `FileVerdict` in the form in which it is held for every file of a set. A night can have a hundred thousand, most of which no report
 * shows: times are numbers here, since a `Date` takes seven times as much, and what can be made of the rest is left out.
 */
export interface KeptVerdict {
  readonly verdict: VerdictName;
  readonly reason: Reason | undefined;
  readonly detections: number | undefined;
  readonly engines: number | undefined;
  readonly label: string | undefined;
  readonly algorithm: HashAlgorithm | undefined;
  readonly hashes: FileHashes;
  readonly hasLink: boolean;
  readonly firstSubmissionMs: number | undefined;
  readonly lastAnalysisMs: number | undefined;
  readonly checkedAtMs: number | undefined;
  readonly stale: boolean;
  readonly knownGood: string | undefined;
  readonly flags: readonly string[];
}

const NO_FLAGS: readonly string[] = [];

/** The verdict in the form that is held. */
export function keepVerdict(file: FileVerdict): KeptVerdict {
  return {
    verdict: file.verdict,
    reason: file.reason,
    detections: file.detections,
    engines: file.engines,
    label: file.label,
    algorithm: file.lookupKey?.algorithm,
    hashes: file.hashes,
    hasLink: file.link !== undefined,
    firstSubmissionMs: file.firstSubmission?.getTime(),
    lastAnalysisMs: file.lastAnalysis?.getTime(),
    checkedAtMs: file.checkedAt?.getTime(),
    stale: file.stale,
    knownGood: file.knownGood,
    flags: file.flags.length === 0 ? NO_FLAGS : file.flags,
  };
}

/** The verdict as it was before `keepVerdict`. */
export function verdictOf(kept: KeptVerdict): FileVerdict {
  const { algorithm, hashes } = kept;
  const hash = algorithm === undefined ? undefined : hashes[algorithm];
  return {
    verdict: kept.verdict,
    ...present('reason', kept.reason),
    ...present('detections', kept.detections),
    ...present('engines', kept.engines),
    ...present('label', kept.label),
    ...(algorithm === undefined || hash === undefined ? {} : { lookupKey: { algorithm, hash } }),
    hashes,
    ...(kept.hasLink && hashes.sha256 !== undefined ? { link: fileLink(hashes.sha256) } : {}),
    ...present('firstSubmission', dateOf(kept.firstSubmissionMs)),
    ...present('lastAnalysis', dateOf(kept.lastAnalysisMs)),
    ...present('checkedAt', dateOf(kept.checkedAtMs)),
    stale: kept.stale,
    ...present('knownGood', kept.knownGood),
    flags: kept.flags,
  };
}

/** A point in time from its milliseconds, where there are any. */
export function dateOf(ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms);
}
