import { type ErrorCode, LogError, messageOf } from '../../errors.js';
import type { ByteReader } from '../byte-reader.js';
import type { InflationBudget } from './limits.js';

/**
 * One member of a container: its bytes, or why there are none. A failure that shows only while a member is read follows it under the
 * same name, so that what was unpacked before it is kept.
 */
export type Member =
  | { readonly name: string; readonly reader: ByteReader }
  | { readonly name: string; readonly failure: LogError };

/** Unpacked bytes, piece by piece. */
export interface ChunkSource {
  /**
   * The next piece, undefined at the end. A piece is valid until the next call.
   * Rejects where the packed data are damaged or end too early, after all pieces before that.
   */
  next(): Promise<Buffer | undefined>;
  /** How many packed bytes were taken so far. */
  packedBytes(): number;
  /** Frees what is held; called once, also in the middle. */
  close(): void;
}

/** The reader of a member, which never rejects: where unpacking fails the data end, and `failure` says why. */
export interface UnpackingReader extends ByteReader {
  readonly failure: LogError | undefined;
}

/** Reads a chunk source within a budget. `subject` begins the failure's message. */
export function unpackingReader(source: ChunkSource, budget: InflationBudget, subject: string): UnpackingReader {
  let failure: LogError | undefined;
  let chunk: Buffer = Buffer.alloc(0);
  let hasEnded = false;
  let inflatedBytes = 0;
  const nextChunk = async (): Promise<Buffer | undefined> => {
    try {
      const next = await source.next();
      if (next === undefined) return undefined;
      inflatedBytes += next.length;
      const excess = budget.spend(next.length) ?? budget.checkRatio(inflatedBytes, source.packedBytes());
      if (excess === undefined) return next;
      failure = new LogError('TOO_LARGE', `${subject} ${excess}; what came before that was read`);
    } catch (error) {
      failure = error instanceof LogError ? error : damaged('UNREADABLE', `${subject}: ${messageOf(error)}`, error);
    }
    return undefined;
  };
  return {
    get failure() {
      return failure;
    },
    read: async (target) => {
      let filled = 0;
      while (filled < target.length) {
        if (chunk.length === 0) {
          const next = hasEnded ? undefined : await nextChunk();
          if (next === undefined) {
            hasEnded = true;
            break;
          }
          chunk = next;
          continue;
        }
        const copied = chunk.copy(target, filled);
        filled += copied;
        chunk = chunk.subarray(copied);
      }
      return filled;
    },
  };
}

/** Yields one member and, if it turned out damaged, its failure; frees the source however the loop ends. */
export async function* oneMember(
  name: string,
  source: ChunkSource,
  budget: InflationBudget,
  subject: string,
): AsyncGenerator<Member, void, void> {
  const reader = unpackingReader(source, budget, subject);
  try {
    yield { name, reader };
    if (reader.failure !== undefined) yield { name, failure: reader.failure };
  } finally {
    source.close();
  }
}

/** A failure of the packed data, with what caused it. */
export function damaged(code: ErrorCode, message: string, cause?: unknown): LogError {
  return new LogError(code, message, cause === undefined ? undefined : { cause });
}

/** The failure of packed data that were read to their end and do not match a checksum, told behind them: what follows is read, too. */
export function mismatch(what: string): LogError {
  return damaged('CHECKSUM', `${what}; all was read nevertheless`);
}

/** The failure of packed data that end too early. */
export function truncated(subject: string): LogError {
  return damaged('TRUNCATED', `${subject}: cut in the middle`);
}

/** What is wrong with a member's name, or undefined. Nothing is ever unpacked to disk; but whoever names a file like that is up to something. */
export function nameFailure(name: string): LogError | undefined {
  const isAbsolute = name.startsWith('/') || name.startsWith('\\') || /^[A-Za-z]:/.test(name);
  if (!isAbsolute && !name.includes('\0') && !name.split(/[/\\]/).includes('..')) return undefined;
  return new LogError('UNSUPPORTED', 'the name leads out of the archive; the member was not read');
}

/** Whether a member is what macOS puts beside a file of that name: its attributes, not a log. */
export function isMacTwin(name: string): boolean {
  const parts = name.split('/');
  return parts[0] === '__MACOSX' || parts.at(-1)?.startsWith('._') === true;
}
