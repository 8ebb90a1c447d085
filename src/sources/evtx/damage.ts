import { EnrichmentError, type ErrorCode } from '../../errors.js';

/** What makes one record unreadable. Raised by the layers below the record walk, which turns it into a reject. */
export class Damage extends EnrichmentError {
  /** The message without the code, as a reject carries it. */
  readonly detail: string;

  constructor(code: Extract<ErrorCode, 'TRUNCATED' | 'BAD_RECORD' | 'TOO_LARGE'>, detail: string) {
    super(code, detail);
    this.detail = detail;
  }
}

/** Raises TRUNCATED unless `needed` bytes are there between `at` and `end`. */
export function requireBytes(what: string, at: number, needed: number, end: number): void {
  if (needed > end - at) {
    throw new Damage('TRUNCATED', `${what} needs ${needed} bytes, ${Math.max(0, end - at)} left`);
  }
}
