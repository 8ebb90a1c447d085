import { type Path, valueAt } from './members.js';

/** Layouts that are kept; a collector writes a handful, one for each set of members it has. */
const MAX_LAYOUTS = 16;

/** Layouts that are learnt at all: a log whose records have their members in ever new order gains nothing from them. */
const MAX_LEARNT = 256;

/** Longest way to the id that is worth following in a line. */
const MAX_PREFIX_BYTES = 16 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * The first bytes of a line up to the event id: everything but the values, which may differ. A line of the same layout has the same
 * members in the same nesting up to its id, so it is claimed by the same dialect, and its id stands where the layout ends.
 */
interface Layout {
  /** What stands between the values, quotes of strings included. */
  readonly fixed: readonly Buffer[];
  /** Which values, between the fixed parts, are strings. */
  readonly isString: readonly boolean[];
}

/**
 * Reads event ids from lines whose layout is known, without parsing them. Where a line says its id twice, the first counts here and
 * the last in JSON.parse; no writer of logs does that.
 */
export class Layouts {
  #layouts: readonly Layout[] = [];
  #learnt = 0;

  /** The id in the line `bytes[start, end)`, or undefined where its layout is not known. */
  eventIdOf(bytes: Buffer, start: number, end: number): number | undefined {
    const layouts = this.#layouts;
    for (let index = 0; index < layouts.length; index++) {
      const layout = layouts[index] as Layout;
      const eventId = readEventId(layout, bytes, start, end);
      if (eventId === undefined) continue;
      // Lines of one kind come in bursts.
      if (index > 0) this.#layouts = [layout, ...layouts.filter((other) => other !== layout)];
      return eventId;
    }
    return undefined;
  }

  /** Learns the layout of a line that was parsed to `record`, whose id stands at the end of `idPath`. */
  learn(line: Buffer, record: { readonly [name: string]: unknown }, idPath: Path): void {
    if (this.#learnt >= MAX_LEARNT) return;
    const layout = layoutOf(line, idPath);
    // The id must be what parsing gave: it is not where a name stands twice.
    if (layout === undefined || readEventId(layout, line, 0, line.length) !== Number(valueAt(record, idPath))) return;
    this.#learnt += 1;
    this.#layouts = [layout, ...this.#layouts].slice(0, MAX_LAYOUTS);
  }
}

/** Follows a layout through a line; returns the number behind it, or undefined at the first byte that differs. */
function readEventId(layout: Layout, bytes: Buffer, start: number, end: number): number | undefined {
  const { fixed, isString } = layout;
  let position = start;
  for (let part = 0; part < fixed.length; part++) {
    const literal = fixed[part] as Buffer;
    const length = literal.length;
    if (position + length > end) return undefined;
    for (let index = 0; index < length; index++) {
      if (bytes[position + index] !== literal[index]) return undefined;
    }
    position += length;
    if (part < isString.length)
      position = isString[part] ? stringEnd(bytes, position, end) : scalarEnd(bytes, position, end);
  }
  let eventId = 0;
  const digitsEnd = Math.min(end, position + MAX_ID_DIGITS);
  const digitsStart = position;
  while (position < digitsEnd) {
    const digit = bytes[position] as number;
    if (digit < ZERO || digit > NINE) break;
    eventId = eventId * 10 + digit - ZERO;
    position += 1;
  }
  const isWhole =
    position > digitsStart &&
    (bytes[position] === COMMA || bytes[position] === CLOSE_BRACE || bytes[position] === QUOTE);
  return isWhole ? eventId : undefined;
}

const MAX_ID_DIGITS = 5;

/** Position of the closing quote of the string whose content starts at `start`. */
function stringEnd(bytes: Buffer, start: number, end: number): number {
  let position = start;
  while (position < end) {
    const byte = bytes[position];
    if (byte === QUOTE) break;
    position += byte === BACKSLASH ? 2 : 1;
  }
  return position;
}

/** Position behind a number or literal; `start` itself where a string, an object or an array stands there. */
function scalarEnd(bytes: Buffer, start: number, end: number): number {
  let position = start;
  while (position < end) {
    const byte = bytes[position] as number;
    const isDigit = byte >= ZERO && byte <= NINE;
    if (!isDigit && !(byte >= 0x61 && byte <= 0x7a) && byte !== 0x2d && byte !== 0x2e && byte !== 0x2b && byte !== 0x45)
      break;
    position += 1;
  }
  return position;
}

/** The layout of a valid line up to the value at the end of `idPath`; undefined where the way there is too long. */
function layoutOf(line: Buffer, idPath: Path): Layout | undefined {
  const end = Math.min(line.length, MAX_PREFIX_BYTES);
  const fixed: Buffer[] = [];
  const isString: boolean[] = [];
  /** Names on the way to where the walk is; undefined for the elements of an array. */
  const way: (string | undefined)[] = [];
  let fixedStart = 0;
  let position = 0;
  let isValue = true;
  while (position < end) {
    const byte = line[position];
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      way.push(undefined);
      isValue = byte === OPEN_BRACKET;
      position += 1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      way.pop();
      position += 1;
    } else if (byte === COMMA) {
      isValue = way.at(-1) === undefined;
      position += 1;
    } else if (byte === COLON) {
      isValue = true;
      position += 1;
    } else if (byte === QUOTE && !isValue) {
      const nameEnd = stringEnd(line, position + 1, end) + 1;
      if (nameEnd > end) return undefined;
      way[way.length - 1] = String(JSON.parse(line.toString('utf8', position, nameEnd)));
      position = nameEnd;
    } else if (byte === QUOTE || (byte ?? 0) > 0x20) {
      const valueStart = byte === QUOTE ? position + 1 : position;
      fixed.push(Buffer.from(line.subarray(fixedStart, valueStart)));
      if (way.length === idPath.length && way.every((name, index) => name === idPath[index]))
        return { fixed, isString };
      isString.push(byte === QUOTE);
      fixedStart = byte === QUOTE ? stringEnd(line, valueStart, end) : scalarEnd(line, valueStart, end);
      position = byte === QUOTE ? fixedStart + 1 : fixedStart;
    } else {
      position += 1;
    }
  }
  return undefined;
}
