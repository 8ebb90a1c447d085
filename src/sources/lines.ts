import type { ByteReader } from './byte-reader.js';

/**
 * Longest line, and longest record made of lines, that is held. A value of Sysmon's has at most 32 Ki characters, and tools write a
 * record in up to three guises on one line (Log Analytics: parameters, XML and message).
 */
export const MAX_RECORD_BYTES = 4 * 1024 * 1024;

/** Bytes read at a time: a few hundred records at most. */
const CHUNK_BYTES = 64 * 1024;

const LINE_FEED = 0x0a;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/** Who is shown the lines of a log, in order. */
export interface LineVisitor {
  /** The text starts with a byte order mark. */
  onMark?(): void;
  /** The bytes of the line that `onLine` is called with next, its line end included; they last until then. */
  onBytes?(bytes: Buffer): void;
  /** One line without its line feed, which is missing only at the very end of the log; a carriage return before it is left in place. */
  onLine(line: string, offset: number): void;
  /** A line longer than `MAX_RECORD_BYTES`, which was skipped. */
  onTooLong(offset: number): void;
  /** Called and awaited between blocks of lines. */
  onBlockEnd(): Promise<void>;
}

/**
 * Reads UTF-8 text line by line through one buffer, without its byte order mark; offsets are in bytes from the start of the data.
 * Bytes that are no UTF-8 become U+FFFD. Rejects where reading or the visitor fails.
 */
export async function readLines(reader: ByteReader, visitor: LineVisitor): Promise<void> {
  let buffer = Buffer.allocUnsafe(2 * CHUNK_BYTES);
  let kept = 0;
  let bufferOffset = 0;
  let tooLongAt: number | undefined;
  for (;;) {
    if (buffer.length - kept < CHUNK_BYTES) {
      const grown = Buffer.allocUnsafe(2 * buffer.length);
      buffer.copy(grown, 0, 0, kept);
      buffer = grown;
    }
    const read = await reader.read(buffer.subarray(kept, kept + CHUNK_BYTES));
    const end = kept + read;
    let start = 0;
    if (bufferOffset === 0 && kept === 0 && buffer.subarray(0, end).indexOf(BYTE_ORDER_MARK) === 0) {
      start = BYTE_ORDER_MARK.length;
      visitor.onMark?.();
    }
    // What was kept holds no line feed.
    let lineEnd = buffer.indexOf(LINE_FEED, Math.max(start, kept));
    while (lineEnd >= 0 && lineEnd < end) {
      if (tooLongAt === undefined) {
        visitor.onBytes?.(buffer.subarray(start, lineEnd + 1));
        visitor.onLine(buffer.toString('utf8', start, lineEnd), bufferOffset + start);
      } else {
        visitor.onTooLong(tooLongAt);
      }
      tooLongAt = undefined;
      start = lineEnd + 1;
      lineEnd = buffer.indexOf(LINE_FEED, start);
    }
    kept = end - start;
    if (kept > MAX_RECORD_BYTES || tooLongAt !== undefined) {
      tooLongAt ??= bufferOffset + start;
      start = end;
      kept = 0;
    }
    buffer.copyWithin(0, start, end);
    bufferOffset += start;
    if (read < CHUNK_BYTES) break;
    await visitor.onBlockEnd();
  }
  if (tooLongAt !== undefined) visitor.onTooLong(tooLongAt);
  else if (kept > 0) {
    visitor.onBytes?.(buffer.subarray(0, kept));
    visitor.onLine(buffer.toString('utf8', 0, kept), bufferOffset);
  }
  await visitor.onBlockEnd();
}
