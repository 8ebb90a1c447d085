/**
 * Why a run, a log or a record failed; every code is listed in the README.
 * Records: TRUNCATED, BAD_RECORD, BAD_JSON, TOO_LARGE. Logs: UNREADABLE, NOT_A_LOG, UNSUPPORTED, ENCRYPTED, CORRUPT; CHECKSUM is
 * told and no failure.
 * VirusTotal: KEY_REFUSED, KEY_MISSING, SERVICE_DOWN, BAD_ANSWER, REQUEST_REFUSED. Run: BAD_USAGE, BAD_SETTING, OUTPUT, CACHE, COLLISION, ALERT.
 */
export type ErrorCode =
  | 'TRUNCATED'
  | 'BAD_RECORD'
  | 'BAD_JSON'
  | 'TOO_LARGE'
  | 'UNREADABLE'
  | 'NOT_A_LOG'
  | 'UNSUPPORTED'
  | 'ENCRYPTED'
  | 'CORRUPT'
  | 'CHECKSUM'
  | 'KEY_REFUSED'
  | 'KEY_MISSING'
  | 'SERVICE_DOWN'
  | 'BAD_ANSWER'
  | 'REQUEST_REFUSED'
  | 'BAD_USAGE'
  | 'BAD_SETTING'
  | 'OUTPUT'
  | 'CACHE'
  | 'COLLISION'
  | 'INTERRUPTED'
  | 'ALERT';

/** Base of every error this program raises itself; `code` says which, the message says what, where and what to do. */
export class EnrichmentError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(`${message} [${code}]`, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A bad option or setting: nothing was started. */
export class UsageError extends EnrichmentError {}

/** A log that cannot be read, or that is none. */
export class LogError extends EnrichmentError {}

/** VirusTotal refused, failed or answered nonsense. */
export class VirusTotalError extends EnrichmentError {
  /** Nothing is asked any more in this run: the key was refused, or VirusTotal is down. */
  readonly isFinal: boolean;

  constructor(code: ErrorCode, message: string, options: ErrorOptions & { readonly isFinal?: boolean } = {}) {
    super(code, message, options);
    this.isFinal = options.isFinal ?? false;
  }
}

/** The cache folder or an output cannot be written or read. */
export class StorageError extends EnrichmentError {}

/** A record that could not be read: counted and located, never silent. */
export interface Reject {
  readonly code: ErrorCode;
  /** What is wrong, without the place. */
  readonly message: string;
  /** Which record: its number in the log (from 1) or its own id; undefined where not known. */
  readonly record?: string;
  /** Where it starts, in bytes from the start of the (unpacked) log. */
  readonly offset?: number;
}

/** One line for people: `Sysmon.evtx: record 812 at 0x1a400: template data needs 120 bytes, 64 left [TRUNCATED]`. */
export function describeReject(logName: string, reject: Reject): string {
  const record = reject.record === undefined ? '' : ` record ${reject.record}`;
  const offset = reject.offset === undefined ? '' : ` at 0x${reject.offset.toString(16)}`;
  const place = `${record}${offset}`;
  return `${logName}:${place === '' ? '' : `${place}:`} ${reject.message} [${reject.code}]`;
}

/** The text of anything thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a failed system call (`ENOENT`), or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
