import type { Reject } from '../../errors.js';
import type { ByteReader } from '../byte-reader.js';
import { isObject, MAX_DEPTH } from './members.js';

/** Longest value that is held. The longest lines seen in real logs have 45 kB; EVTX itself ends at 64 KiB a record. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** Most values in one value: parsed, they take many times their bytes. A record of Windows has some hundreds. */
const MAX_VALUES = 100_000;

/** Bytes read at a time: a few hundred records. A read costs more than its bytes below that. */
const BLOCK_BYTES = 1024 * 1024;

/** Longest line that is taken whole without a look at its structure. */
const MAX_LINE_BYTES = 256 * 1024;

/** Longest token between values that is looked at as a number or literal. */
const MAX_LITERAL_BYTES = 64;

/**
 * Members whose arrays hold the records: an Elasticsearch response, Splunk's REST answer, the aggregates of chainsaw hunt,
 * a multi-search, ConvertTo-Json of a wrapped array, xmltodict of a whole `<Events>`.
 */
const WRAPPERS: readonly { readonly outer?: string; readonly array: string }[] = [
  { outer: 'hits', array: 'hits' },
  { array: 'results' },
  { array: 'documents' },
  { array: 'responses' },
  { array: 'value' },
  { outer: 'Events', array: 'Event' },
];
const ARRAY_MEMBERS: ReadonlySet<string> = new Set(WRAPPERS.flatMap(({ outer, array }) => (outer ? [] : [array])));
const ARRAY_BY_OUTER: ReadonlyMap<string, string> = new Map(
  WRAPPERS.flatMap(({ outer, array }) => (outer ? [[outer, array] as const] : [])),
);
const LONGEST_WRAPPER_NAME = Math.max(...WRAPPERS.flatMap(({ outer = '', array }) => [outer.length, array.length]));

/** Members within members that are followed to the arrays of a value that only wraps records: Kibana shows `rawResponse.hits.hits`. */
const MAX_WRAPPER_DEPTH = 3;

/** Who takes the values of a JSON log, in order. Bytes are valid only during the call. */
export interface ValueVisitor {
  /** Whether the object, or line, from the `{` at `start` to the `}` before `end` is known to hold nothing wanted. It is counted then. */
  isKnownOther(bytes: Buffer, start: number, end: number): boolean;
  /** A whole line from `{` to `}`, not looked into. Returns false where it is not one record: it is then framed value by value. */
  onLine(line: Buffer): boolean;
  /**
   * One object, from `{` to its `}`, whose brackets and strings match. Returns false where it only wraps records: it is then framed anew,
   * and the elements of its `arraysOfObjects` are the values.
   */
  onObject(object: Buffer, place: ValuePlace): boolean;
  /** A value that is no object: `null`, `[]`. */
  onOtherValue(): void;
  /** Where the visitor has it: the bytes that are in no line or object shown to it, in their place. What is shown and refused counts as shown later. */
  onPassed?(bytes: Buffer): void;
  onReject(reject: Reject): void;
  onNote(note: string): void;
  /** Awaited between blocks. */
  onBlockEnd(): Promise<void>;
}

/** Where a value stands in the log. */
export interface ValuePlace {
  /** From 1. */
  readonly number: number;
  /** Of its first byte, from the start of the data. */
  readonly offset: number;
  /** Whether it is an element of an array of records. */
  readonly isElement: boolean;
}

/** Whether a parsed object only wraps records: one of its members is an array of objects of a name that tools use for that. */
export function isWrapper(value: { readonly [name: string]: unknown }): boolean {
  return WRAPPERS.some(({ outer, array }) => {
    const holder = outer === undefined ? value : Object.hasOwn(value, outer) ? value[outer] : undefined;
    if (!isObject(holder) || !Object.hasOwn(holder, array)) return false;
    const elements = holder[array];
    return Array.isArray(elements) && isObject(elements[0]);
  });
}

/** The arrays in a parsed object whose elements are the values if it is framed anew. */
export function* arraysOfObjects(
  value: { readonly [name: string]: unknown },
  depth = MAX_WRAPPER_DEPTH,
): Generator<readonly unknown[]> {
  for (const member of Object.values(value)) {
    if (Array.isArray(member)) {
      if (isObject(member[0])) yield member;
    } else if (depth > 1 && isObject(member)) {
      yield* arraysOfObjects(member, depth - 1);
    }
  }
}

/**
 * Shows `visitor` every record-like value of a JSON log, whatever its layout: lines, pretty objects one after another, arrays and
 * arrays in wrappers (their elements are the values, framed one at a time), values behind NUL or commas.
 * A line that is broken costs that line, a value that is too large and holds no array of objects that value. Rejects where reading or
 * the visitor fails.
 */
export async function readValues(reader: ByteReader, visitor: ValueVisitor): Promise<void> {
  const framer = new Framer(visitor);
  let isEnd = false;
  while (!isEnd) {
    isEnd = await framer.fill(reader);
    framer.scan(isEnd);
    await visitor.onBlockEnd();
  }
}

/** Where the framer is: between values, inside one, looking for the line to go on with, or passing over the rest of a line. */
type Mode = 'between' | 'inside' | 'lost' | 'rest of line';

/** What is kept of the value the framer is in: its bytes, nothing since it wraps records, nothing since it is too large. */
type Held = 'value' | 'wrapper' | 'nothing';

// What may come next inside a value. Numbers, since the scan loop compares one per byte.
const VALUE = 0;
const VALUE_OR_END = 1;
const KEY = 2;
const KEY_OR_END = 3;
const COLON = 4;
const COMMA_OR_END = 5;
const STRING = 6;
const STRING_ESCAPE = 7;
const KEY_STRING = 8;
const KEY_ESCAPE = 9;
const LITERAL = 10;

const OBJECT = 0;
const ARRAY = 1;

// What an array that has just been opened is, if an object comes first. Numbers, since the scan loop compares one per byte.
const NO_RECORDS = 0;
const MAYBE_RECORDS = 1;
const RECORDS = 2;

const NUL = 0x00;
const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const RECORD_SEPARATOR = 0x1e;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON_BYTE = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * A push-down automaton over one buffer. Values are framed at the depth on top of `#frames`: 0 for the log itself, deeper inside an
 * array whose elements are the records. All state survives the end of the buffer, so that reads may be cut anywhere.
 */
class Framer {
  readonly #visitor: ValueVisitor;
  readonly #nuls = new Finder(NUL);
  /** What stands between two values on one line. */
  readonly #joints: readonly Finder[] = [new Finder('}{'), new Finder('} {')];
  #bytes = Buffer.allocUnsafe(BLOCK_BYTES);
  #end = 0;
  /** Of `#bytes[0]`, from the start of the data. */
  #baseOffset = 0;
  #position = 0;
  /** Position up to which all bytes were shown to the visitor or told as passed. */
  #toldTo = 0;
  /** Position up to which the search for a line feed was in vain. */
  #noLineFeedBefore = 0;

  #mode: Mode = 'between';
  /** Blanks at the start of the line the framer is on, -1 once something else stood there. */
  #indent = 0;
  #number = 0;

  readonly #kinds = new Uint8Array(MAX_DEPTH);
  #depth = 0;
  readonly #frames: number[] = [0];
  /** For each frame but the first, whether any other array of the value around it holds records, too. */
  readonly #areOthersFrames: boolean[] = [];
  #expected = VALUE;

  #held: Held = 'value';
  #valueStart = 0;
  #valueOffset = 0;
  #valueIndent = 0;
  #valueCount = 0;
  #keyStart = 0;
  /** The name the array must have to hold records, while the framer is in the member that wraps it. */
  #arrayOfOuter: string | undefined;
  #lastKey: string | undefined;
  #arrayStart = NO_RECORDS;
  /** The value has an array of objects that could be records if it is none itself. */
  #mayWrap = false;
  /** It has turned out to be none. */
  #isAnyArrayFrame = false;

  constructor(visitor: ValueVisitor) {
    this.#visitor = visitor;
  }

  /** Reads on behind the bytes that are still needed; returns whether that was the end of the data. */
  async fill(reader: ByteReader): Promise<boolean> {
    const keptFrom = this.#keptFrom();
    this.#tellPassed(keptFrom);
    this.#bytes.copyWithin(0, keptFrom, this.#end);
    this.#baseOffset += keptFrom;
    this.#end -= keptFrom;
    this.#position -= keptFrom;
    this.#valueStart -= keptFrom;
    this.#keyStart -= keptFrom;
    this.#toldTo -= keptFrom;
    this.#noLineFeedBefore -= keptFrom;
    if (this.#bytes.length - this.#end < BLOCK_BYTES / 2) {
      const grown = Buffer.allocUnsafe(Math.min(this.#bytes.length * 2, MAX_VALUE_BYTES + BLOCK_BYTES));
      this.#bytes.copy(grown, 0, 0, this.#end);
      this.#bytes = grown;
    }
    const target = this.#bytes.subarray(this.#end, this.#end + BLOCK_BYTES);
    const added = await reader.read(target);
    for (const finder of [this.#nuls, ...this.#joints]) finder.startAnew();
    this.#end += added;
    return added === 0;
  }

  /** Frames what is in the buffer. */
  scan(isEnd: boolean): void {
    do {
      let needsMore = false;
      while (this.#position < this.#end && !needsMore) {
        if (this.#mode === 'inside') this.#scanInside();
        else if (this.#mode === 'between') needsMore = !this.#scanBetween(isEnd);
        else if (this.#mode === 'lost') this.#findWayBack();
        else this.#passRestOfLine();
      }
    } while (this.#endTooLongValue() || (isEnd && this.#giveUpOpenValue()));
    const isOpen = this.#frames.length > 1 || (this.#mode === 'inside' && this.#held === 'wrapper');
    if (isEnd && isOpen) this.#visitor.onNote('the log ends before its array does: it may be cut');
    if (isEnd) this.#tellPassed(this.#end);
  }

  #tellPassed(to: number): void {
    if (to > this.#toldTo) this.#visitor.onPassed?.(this.#bytes.subarray(this.#toldTo, to));
    this.#toldTo = to;
  }

  #keptFrom(): number {
    if (this.#mode !== 'inside') return this.#position;
    if (this.#held === 'value') return this.#valueStart;
    const isInKey = this.#expected === KEY_STRING || this.#expected === KEY_ESCAPE;
    // A name this long wraps nothing, so its start is no longer needed.
    return isInKey && this.#end - this.#keyStart <= LONGEST_WRAPPER_NAME + 1 ? this.#keyStart : this.#position;
  }

  /** Between values. Returns false where a line must be whole to go on and more data can be read. */
  #scanBetween(isEnd: boolean): boolean {
    const bytes = this.#bytes;
    while (this.#position < this.#end) {
      const byte = bytes[this.#position];
      switch (byte) {
        case LINE_FEED:
        case NUL:
          this.#indent = 0;
          this.#position += 1;
          break;
        case SPACE:
        case TAB:
          if (this.#indent >= 0) this.#indent += 1;
          this.#position += 1;
          break;
        case CARRIAGE_RETURN:
          this.#position += 1;
          break;
        case COMMA:
        case RECORD_SEPARATOR:
          this.#indent = -1;
          this.#position += 1;
          break;
        case OPEN_BRACE: {
          const line = this.#takeLine(isEnd);
          if (line === 'needs more') return false;
          if (line === 'taken') break;
          this.#open(OBJECT);
          return true;
        }
        case OPEN_BRACKET:
          this.#open(ARRAY);
          this.#arrayStart = RECORDS;
          return true;
        case CLOSE_BRACKET:
          if (this.#frames.length === 1) {
            this.#rejectLine();
            return true;
          }
          this.#position += 1;
          this.#closeFrame();
          return true;
        case QUOTE:
          this.#startValue();
          this.#expected = STRING;
          this.#position += 1;
          return true;
        default:
          if (this.#skipByteOrderMark()) break;
          if (byte === BYTE_ORDER_MARK[0] && this.#end - this.#position < BYTE_ORDER_MARK.length && !isEnd)
            return false;
          if (!this.#takeLiteral(isEnd)) return false;
          if (this.#mode !== 'between') return true;
      }
    }
    return true;
  }

  /** Hands a line from `{` to `}` over whole, where values stand one a line. */
  #takeLine(isEnd: boolean): 'taken' | 'needs more' | 'not a record' {
    if (this.#frames.length > 1 || this.#indent < 0) return 'not a record';
    const start = this.#position;
    let lineEnd = this.#lineEnd(start);
    // Streams of GELF part their values by NUL alone.
    const nul = this.#nuls.next(this.#bytes, start);
    if (nul < (lineEnd < 0 ? this.#end : lineEnd)) lineEnd = nul;
    if (lineEnd < 0) {
      if (!isEnd && this.#end - start <= MAX_LINE_BYTES) return 'needs more';
      if (!isEnd) return 'not a record';
      lineEnd = this.#end;
    }
    let end = lineEnd;
    while (end > start && isLineTail(this.#bytes[end - 1])) end -= 1;
    if (this.#bytes[end - 1] !== CLOSE_BRACE || end - start > MAX_LINE_BYTES) return 'not a record';
    // The start of a line says what the line is only if it is one value.
    const isJoined = this.#joints.some((joint) => joint.next(this.#bytes, start) < end);
    if (isJoined || !this.#visitor.isKnownOther(this.#bytes, start, end)) {
      this.#tellPassed(start);
      if (!this.#visitor.onLine(this.#bytes.subarray(start, end))) return 'not a record';
      this.#toldTo = end;
    }
    this.#number += 1;
    this.#position = lineEnd;
    return 'taken';
  }

  /** Position of the next line feed, or -1; bytes that hold none are searched once. */
  #lineEnd(start: number): number {
    const from = Math.max(start, this.#noLineFeedBefore);
    const found = this.#bytes.indexOf(LINE_FEED, from);
    // Behind the end lies what an earlier read left there.
    if (found >= 0 && found < this.#end) return found;
    this.#noLineFeedBefore = this.#end;
    return -1;
  }

  #skipByteOrderMark(): boolean {
    const head = this.#bytes.subarray(this.#position, Math.min(this.#position + BYTE_ORDER_MARK.length, this.#end));
    if (!head.equals(BYTE_ORDER_MARK)) return false;
    this.#position += BYTE_ORDER_MARK.length;
    return true;
  }

  /** A number or literal between values; what is none is a line of something else. Returns false where more data is needed to tell. */
  #takeLiteral(isEnd: boolean): boolean {
    const bytes = this.#bytes;
    const limit = Math.min(this.#end, this.#position + MAX_LITERAL_BYTES);
    let end = this.#position;
    while (end < limit && isLiteralByte(bytes[end])) end += 1;
    if (end === this.#end && end < this.#position + MAX_LITERAL_BYTES && !isEnd) return false;
    if (isJson(bytes.toString('latin1', this.#position, end))) {
      this.#number += 1;
      this.#visitor.onOtherValue();
      this.#position = end;
      this.#indent = -1;
      return true;
    }
    // evtx_dump -o json writes a heading before each object.
    const lineEnd = this.#lineEnd(this.#position);
    const headingEnd = lineEnd < 0 ? this.#end : lineEnd;
    if (headingEnd - this.#position <= MAX_LITERAL_BYTES) {
      if (lineEnd < 0 && !isEnd) return false;
      if (/^Record \d+\s*$/.test(bytes.toString('latin1', this.#position, headingEnd))) {
        this.#position = headingEnd;
        return true;
      }
    }
    this.#rejectLine();
    return true;
  }

  #startValue(): void {
    this.#mode = 'inside';
    this.#held = 'value';
    this.#valueStart = this.#position;
    this.#valueOffset = this.#baseOffset + this.#position;
    this.#valueIndent = this.#indent;
    this.#valueCount = 0;
    this.#indent = -1;
    this.#arrayOfOuter = undefined;
    this.#lastKey = undefined;
    this.#arrayStart = NO_RECORDS;
    this.#mayWrap = false;
    this.#isAnyArrayFrame = false;
  }

  #open(kind: number): void {
    this.#startValue();
    if (this.#depth >= MAX_DEPTH) {
      this.#break('nested too deep');
      return;
    }
    this.#kinds[this.#depth] = kind;
    this.#depth += 1;
    this.#expected = kind === OBJECT ? KEY_OR_END : VALUE_OR_END;
    this.#position += 1;
  }

  /**
   * The value is scanned once more, now for records in its arrays: it is none itself, or so large that it can be none. What is not in
   * these arrays is passed over.
   */
  #frameAnew(): void {
    this.#position = this.#valueStart;
    this.#depth = this.#frameDepth();
    this.#indent = this.#valueIndent;
    this.#open(this.#kinds[this.#depth] ?? OBJECT);
    this.#held = 'wrapper';
    this.#isAnyArrayFrame = true;
  }

  /** The array whose elements were the values ends. */
  #closeFrame(): void {
    this.#frames.pop();
    this.#isAnyArrayFrame = this.#areOthersFrames.pop() ?? false;
    this.#depth -= 1;
    this.#indent = -1;
    if (this.#depth === this.#frameDepth()) return;
    this.#mode = 'inside';
    this.#held = 'wrapper';
    this.#expected = COMMA_OR_END;
    this.#lastKey = undefined;
  }

  #frameDepth(): number {
    return this.#frames.at(-1) ?? 0;
  }

  #scanInside(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let position = this.#position;
    let expected = this.#expected;
    while (position < end) {
      const byte = bytes[position] as number;
      if (expected === STRING || expected === KEY_STRING) {
        if (byte === QUOTE) {
          if (expected === KEY_STRING) {
            this.#lastKey = this.#readWrapperName(position);
            expected = COLON;
          } else {
            expected = COMMA_OR_END;
            if (this.#depth === this.#frameDepth()) {
              this.#position = position + 1;
              this.#endValue(false);
              return;
            }
          }
        } else if (byte === BACKSLASH) {
          expected += 1;
        } else if (byte < SPACE) {
          this.#position = position;
          this.#break(
            byte === LINE_FEED || byte === CARRIAGE_RETURN ? 'a string is cut by the end of the line' : undefined,
          );
          return;
        }
        position += 1;
        continue;
      }
      if (expected === STRING_ESCAPE || expected === KEY_ESCAPE) {
        expected -= 1;
        // A line feed behind a backslash is no escape; the loop above finds it.
        if (byte >= SPACE) position += 1;
        continue;
      }
      if (expected === LITERAL) {
        if (isLiteralByte(byte)) {
          position += 1;
          continue;
        }
        expected = COMMA_OR_END;
      }
      if (byte === SPACE || byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === TAB) {
        position += 1;
        continue;
      }
      if (this.#arrayStart !== NO_RECORDS) {
        const isFrame = this.#arrayStart === RECORDS;
        this.#arrayStart = NO_RECORDS;
        if (byte === OPEN_BRACE) {
          if (isFrame) {
            this.#openFrame(position);
            return;
          }
          this.#mayWrap = true;
        }
      }
      let isExpected = false;
      switch (byte) {
        case QUOTE:
          if (expected === KEY || expected === KEY_OR_END) {
            this.#keyStart = position;
            expected = KEY_STRING;
            isExpected = true;
          } else if (expected === VALUE || expected === VALUE_OR_END) {
            expected = STRING;
            isExpected = true;
          }
          break;
        case COLON_BYTE:
          if (expected === COLON) {
            expected = VALUE;
            isExpected = true;
          }
          break;
        case COMMA:
          if (expected === COMMA_OR_END) {
            if (!this.#countValue()) return;
            expected = this.#kinds[this.#depth - 1] === OBJECT ? KEY : VALUE;
            isExpected = true;
          }
          break;
        case OPEN_BRACE:
        case OPEN_BRACKET:
          if ((expected === VALUE || expected === VALUE_OR_END) && this.#depth < MAX_DEPTH) {
            const kind = byte === OPEN_BRACE ? OBJECT : ARRAY;
            if (!this.#enter(kind)) return;
            expected = kind === OBJECT ? KEY_OR_END : VALUE_OR_END;
            isExpected = true;
          }
          break;
        case CLOSE_BRACE:
        case CLOSE_BRACKET: {
          const kind = byte === CLOSE_BRACE ? OBJECT : ARRAY;
          const mayEnd = expected === COMMA_OR_END || expected === (kind === OBJECT ? KEY_OR_END : VALUE_OR_END);
          if (mayEnd && this.#kinds[this.#depth - 1] === kind) {
            this.#depth -= 1;
            const level = this.#depth - this.#frameDepth();
            if (level === 0) {
              this.#position = position + 1;
              this.#endValue(kind === OBJECT);
              return;
            }
            if (level === 1) this.#arrayOfOuter = undefined;
            expected = COMMA_OR_END;
            isExpected = true;
          }
          break;
        }
        default:
          if ((expected === VALUE || expected === VALUE_OR_END) && isLiteralByte(byte)) {
            expected = LITERAL;
            isExpected = true;
          }
      }
      if (!isExpected) {
        this.#position = position;
        this.#break(undefined);
        return;
      }
      position += 1;
    }
    this.#position = position;
    this.#expected = expected;
  }

  /** The name of a member that may wrap records, once its closing quote is reached. */
  #readWrapperName(closingQuote: number): string | undefined {
    const level = this.#depth - this.#frameDepth();
    if (level > 2 || this.#held === 'nothing') return undefined;
    const start = this.#keyStart + 1;
    if (closingQuote - start > LONGEST_WRAPPER_NAME) return undefined;
    return this.#bytes.toString('latin1', start, closingQuote);
  }

  /** The elements of the array that the framer is in are the values from now on. */
  #openFrame(position: number): void {
    this.#frames.push(this.#depth);
    this.#areOthersFrames.push(this.#isAnyArrayFrame);
    this.#mode = 'between';
    this.#position = position;
  }

  /** An object or array opens inside a value. Returns false where the value is scanned once more instead. */
  #enter(kind: number): boolean {
    const level = this.#depth - this.#frameDepth();
    const name = this.#lastKey;
    this.#lastKey = undefined;
    if (name !== undefined && this.#expectsMember()) {
      if (kind === OBJECT && level === 1) this.#arrayOfOuter = ARRAY_BY_OUTER.get(name);
    }
    if (kind === ARRAY && level <= MAX_WRAPPER_DEPTH && this.#expectsMember()) {
      const isNamed =
        name !== undefined && (level === 1 ? ARRAY_MEMBERS.has(name) : level === 2 && name === this.#arrayOfOuter);
      this.#arrayStart = isNamed || this.#isAnyArrayFrame ? RECORDS : MAYBE_RECORDS;
    }
    if (!this.#countValue()) return false;
    this.#kinds[this.#depth] = kind;
    this.#depth += 1;
    return true;
  }

  /** Returns false where the value has too many parts to be a record and is scanned once more. */
  #countValue(): boolean {
    this.#valueCount += 1;
    return (
      this.#valueCount !== MAX_VALUES ||
      this.#held !== 'value' ||
      !this.#letGo(`the value has more than ${MAX_VALUES} parts`)
    );
  }

  /** Does not hold on to a value that is too long to be a record. Returns whether it is scanned once more. */
  #endTooLongValue(): boolean {
    const isTooLong =
      this.#mode === 'inside' && this.#held === 'value' && this.#end - this.#valueStart > MAX_VALUE_BYTES;
    return isTooLong && this.#letGo(`the value is longer than ${MAX_VALUE_BYTES} bytes`);
  }

  /**
   * The value is too large to be held: it is scanned once more, if it may wrap records, else followed to its end without keeping it.
   * Returns whether it is scanned once more.
   */
  #letGo(message: string): boolean {
    if (this.#mayWrap) {
      // A record that is too large would be lost in silence.
      const place = `0x${this.#valueOffset.toString(16)}`;
      this.#visitor.onNote(`at ${place} ${message}: of it only what its arrays of objects hold is read`);
      this.#frameAnew();
      return true;
    }
    this.#reject('TOO_LARGE', message, this.#valueOffset);
    this.#held = 'nothing';
    return false;
  }

  #expectsMember(): boolean {
    return this.#kinds[this.#depth - 1] === OBJECT;
  }

  #endValue(isObject: boolean): void {
    this.#mode = 'between';
    this.#indent = -1;
    if (this.#held !== 'value') return;
    this.#number += 1;
    if (!isObject) {
      this.#visitor.onOtherValue();
      return;
    }
    if (this.#visitor.isKnownOther(this.#bytes, this.#valueStart, this.#position)) return;
    this.#tellPassed(this.#valueStart);
    const place = { number: this.#number, offset: this.#valueOffset, isElement: this.#frames.length > 1 };
    if (this.#visitor.onObject(this.#bytes.subarray(this.#valueStart, this.#position), place)) {
      this.#toldTo = this.#position;
      return;
    }
    this.#number -= 1;
    this.#frameAnew();
  }

  /** The value the framer is in is broken: it is given up, and reading goes on at a line that looks like the start of the next. */
  #break(message: string | undefined): void {
    if (this.#held !== 'nothing') {
      this.#reject(
        'BAD_JSON',
        message ?? this.#describeByte(),
        this.#held === 'value' ? this.#valueOffset : this.#offset(),
      );
    }
    this.#goBack();
  }

  /** Gives the value up and looks for the next one from its start, or from here where its bytes are not held. */
  #goBack(): void {
    if (this.#held === 'value') this.#position = this.#valueStart;
    this.#depth = this.#frameDepth();
    this.#arrayStart = NO_RECORDS;
    this.#mode = 'lost';
    this.#indent = -1;
  }

  /**
   * Looks for the line to go on with after a broken value: one that starts like the broken one did, or further left.
   * Lines further right belong to the broken value, as do its closing brackets. Returns whether there is one in the buffer.
   */
  #findWayBack(): boolean {
    const bytes = this.#bytes;
    while (this.#position < this.#end) {
      const byte = bytes[this.#position];
      if (byte === LINE_FEED || byte === NUL) {
        this.#indent = 0;
      } else if (this.#indent >= 0) {
        if (byte === SPACE || byte === TAB) {
          this.#indent += 1;
        } else if (byte !== CARRIAGE_RETURN) {
          if (this.#isWayBack(byte, this.#indent)) {
            this.#mode = 'between';
            return true;
          }
          this.#indent = -1;
        }
      }
      this.#position += 1;
    }
    return false;
  }

  #isWayBack(byte: number | undefined, indent: number): boolean {
    if (byte === OPEN_BRACE) return this.#valueIndent < 0 || indent <= this.#valueIndent;
    if (byte === CLOSE_BRACKET) return this.#frames.length > 1 && indent < this.#valueIndent;
    if (byte === CLOSE_BRACE || byte === COMMA || byte === QUOTE) return false;
    return indent <= this.#valueIndent;
  }

  #rejectLine(): void {
    this.#reject('BAD_JSON', this.#describeByte(), this.#offset());
    this.#mode = 'rest of line';
  }

  #passRestOfLine(): void {
    const lineEnd = this.#lineEnd(this.#position);
    this.#position = lineEnd < 0 ? this.#end : lineEnd;
    if (lineEnd >= 0) this.#mode = 'between';
  }

  /** The log ends inside a value: it is cut, or a line further up was. Returns whether there is a line to go on with. */
  #giveUpOpenValue(): boolean {
    if (this.#mode !== 'inside' || this.#held !== 'value') return false;
    const offset = this.#valueOffset;
    this.#goBack();
    if (!this.#findWayBack()) {
      this.#reject('TRUNCATED', 'the log ends inside the value', offset);
      return false;
    }
    this.#reject('BAD_JSON', 'the value has no end', offset);
    return true;
  }

  #offset(): number {
    return this.#baseOffset + this.#position;
  }

  #describeByte(): string {
    const byte = this.#bytes[this.#position] ?? 0;
    const isPrintable = byte > SPACE && byte < 0x7f;
    return `not JSON: unexpected ${isPrintable ? String.fromCharCode(byte) : `byte 0x${byte.toString(16)}`}`;
  }

  #reject(code: Reject['code'], message: string, offset: number): void {
    this.#number += 1;
    this.#visitor.onReject({ code, message, record: String(this.#number), offset });
  }
}

/** Finds bytes in a buffer from ever later places on; each byte of it is searched once. */
class Finder {
  readonly #needle: string | number;
  /** Before it there is none, from the place of the last search on. */
  #next = -1;

  constructor(needle: string | number) {
    this.#needle = needle;
  }

  /** To be called when the bytes have changed. */
  startAnew(): void {
    this.#next = -1;
  }

  /** The first place from `start` on, or infinity. It may lie behind what is filled of the buffer. */
  next(bytes: Buffer, start: number): number {
    if (this.#next < start) {
      const found = bytes.indexOf(this.#needle, start);
      this.#next = found < 0 ? Number.POSITIVE_INFINITY : found;
    }
    return this.#next;
  }
}

function isLineTail(byte: number | undefined): boolean {
  return byte === CARRIAGE_RETURN || byte === SPACE || byte === TAB || byte === COMMA || byte === NUL;
}

/** Whether a byte can stand in a number, `true`, `false` or `null`: digits, letters, `+`, `-` and `.`. */
function isLiteralByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const lower = byte | 0x20;
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (lower >= 0x61 && lower <= 0x7a) ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
