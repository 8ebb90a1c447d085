import { isUtf8 } from 'node:buffer';
import type { ByteWriter } from '../../byte-writer.js';

/** The member that holds our verdict. */
export const VERDICT_MEMBER = 'virustotal';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Half-open range of positions. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Appends a JSON object without its closing brace and the blanks before it. Every token keeps its bytes; an object that spans
 * lines loses the white space between its tokens, so that it fits one line. `hasVerdict` says that it has a member `virustotal`,
 * which is left out, however often and however escaped it stands there. Bytes that are no UTF-8 become U+FFFD.
 * `object` must be what JSON.parse takes, from its `{` to its `}`.
 */
export function writeObjectBody(object: Buffer, hasVerdict: boolean, out: ByteWriter): void {
  const bytes = isUtf8(object) ? object : Buffer.from(object.toString('utf8'), 'utf8');
  const isSpread = bytes.includes(LINE_FEED) || bytes.includes(CARRIAGE_RETURN);
  for (const { start, end } of hasVerdict ? spansWithoutVerdict(bytes) : [wholeBody(bytes)]) {
    if (isSpread) writeTokens(bytes, start, end, out);
    else out.bytes(bytes, start, end);
  }
}

function wholeBody(bytes: Buffer): Span {
  let end = bytes.length - 1;
  while (isBlank(bytes[end - 1])) end -= 1;
  return { start: 0, end };
}

/** The object's bytes but for its closing brace and the members named `virustotal`, each with one comma. */
function spansWithoutVerdict(bytes: Buffer): readonly Span[] {
  const spans: Span[] = [{ start: 0, end: 1 }];
  let position = 1;
  /** Where the white space and comma in front of the member start. */
  let gapStart = 1;
  for (;;) {
    while (isBlank(bytes[position]) || bytes[position] === COMMA) position += 1;
    if (bytes[position] !== QUOTE) return spans;
    const nameStart = position;
    const nameEnd = stringEnd(bytes, position);
    position = nameEnd;
    while (bytes[position] !== 0x3a) position += 1;
    position += 1;
    while (isBlank(bytes[position])) position += 1;
    position = valueEnd(bytes, position);
    const name: unknown = JSON.parse(bytes.toString('utf8', nameStart, nameEnd));
    if (name !== VERDICT_MEMBER) {
      // The first member that stays has no comma in front of it.
      spans.push({ start: spans.length === 1 ? nameStart : gapStart, end: position });
    }
    gapStart = position;
  }
}

/** Copies a range without the white space between its tokens. */
function writeTokens(bytes: Buffer, start: number, end: number, out: ByteWriter): void {
  let copiedTo = start;
  let position = start;
  while (position < end) {
    if (bytes[position] === QUOTE) {
      position = stringEnd(bytes, position);
    } else if (isBlank(bytes[position])) {
      out.bytes(bytes, copiedTo, position);
      while (isBlank(bytes[position])) position += 1;
      copiedTo = position;
    } else {
      position += 1;
    }
  }
  if (copiedTo < end) out.bytes(bytes, copiedTo, end);
}

/** Position behind the string that starts at `start`. */
function stringEnd(bytes: Buffer, start: number): number {
  let position = start + 1;
  while (position < bytes.length && bytes[position] !== QUOTE) position += bytes[position] === BACKSLASH ? 2 : 1;
  return position + 1;
}

/** Position behind the value that starts at `start`, inside an object. */
function valueEnd(bytes: Buffer, start: number): number {
  let depth = 0;
  let position = start;
  while (position < bytes.length) {
    const byte = bytes[position];
    if (byte === QUOTE) {
      position = stringEnd(bytes, position);
      if (depth === 0) return position;
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (depth === 0) return position;
      depth -= 1;
      if (depth === 0) return position + 1;
    } else if (depth === 0 && (byte === COMMA || isBlank(byte))) {
      return position;
    }
    position += 1;
  }
  return position;
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === TAB;
}
