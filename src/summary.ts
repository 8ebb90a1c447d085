import type { ErrorCode } from './errors.js';
import type { VerdictName } from './verdict.js';

/** A failure of a run: what, where, what to do. */
export interface RunFailure {
  readonly path?: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/** One window of the quota; `limit` is null where there is none. */
export interface QuotaWindow {
  readonly used: number;
  readonly limit: number | null;
}

/** What asking has cost and may still cost. */
export interface QuotaSummary {
  readonly minute: QuotaWindow;
  readonly day: QuotaWindow;
  readonly month: QuotaWindow;
  /** When asking can go on, where the quota stopped it; ISO 8601 UTC. */
  readonly resumes_at: string | null;
}

/**
 * What a run did, as `--json` prints it.
 * `records.total` = process creations + other records + `rejected` + `duplicates`; `process_creations` + `other_events` (of `--events`) =
 * `with_hash` + `without_hash` = the sum of `verdicts`; `hashes.distinct` = the sum of the other `hashes`. `cached` are fresh answers that were there,
 * `asked` answers that came in this run, `waiting` files without a fresh answer.
 */
export interface Summary {
  readonly logs: {
    readonly read: number;
    readonly unchanged: number;
    readonly skipped: number;
    readonly failed: number;
  };
  readonly records: {
    readonly total: number;
    readonly process_creations: number;
    /** Events other than process creations that got a verdict. */
    readonly other_events: number;
    readonly with_hash: number;
    readonly without_hash: number;
    readonly rejected: number;
    readonly duplicates: number;
  };
  readonly hashes: {
    readonly distinct: number;
    readonly cached: number;
    /** Not asked, since a list of the user's has them. A file on both kinds of lists is bad. */
    readonly known_good: number;
    readonly known_bad: number;
    readonly placeholder: number;
    readonly asked: number;
    readonly waiting: number;
  };
  readonly verdicts: { readonly [name in VerdictName]: number };
  /** Also of a run that asks nothing, from the ledger alone. */
  readonly quota: QuotaSummary;
  readonly failures: readonly RunFailure[];
  readonly elapsed_ms: number;
}
