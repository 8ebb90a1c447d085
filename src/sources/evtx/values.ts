import { Damage } from './damage.js';

/** Types of substituted values, MS-EVEN6 2.2.12 and libevtx's notes; the descriptor's type counts, not the declared one. */
export const NULL_TYPE = 0x00;
export const STRING_TYPE = 0x01;
export const UINT16_TYPE = 0x06;
export const UINT64_TYPE = 0x0a;
export const GUID_TYPE = 0x0f;
export const FILETIME_TYPE = 0x11;
export const BINXML_TYPE = 0x21;

const ANSI_STRING_TYPE = 0x02;
const INT8_TYPE = 0x03;
const UINT8_TYPE = 0x04;
const INT16_TYPE = 0x05;
const INT32_TYPE = 0x07;
const UINT32_TYPE = 0x08;
const INT64_TYPE = 0x09;
const REAL32_TYPE = 0x0b;
const REAL64_TYPE = 0x0c;
const BOOL_TYPE = 0x0d;
const BINARY_TYPE = 0x0e;
const SIZE_TYPE = 0x10;
const SYSTEMTIME_TYPE = 0x12;
const SID_TYPE = 0x13;
const HEX_INT32_TYPE = 0x14;
const HEX_INT64_TYPE = 0x15;
const ARRAY_FLAG = 0x80;

/** A SID has at most 15 sub-authorities (SID_MAX_SUB_AUTHORITIES); 7 were seen. */
const MAX_SUB_AUTHORITIES = 15;
const SID_HEAD_BYTES = 8;

/** Bytes of the types that have one size only; 0 for all others. Bool takes four bytes in files, whatever MS-EVEN6 says. */
const FIXED_BYTES = new Uint8Array(256);
for (const [type, byteCount] of [
  [INT8_TYPE, 1],
  [UINT8_TYPE, 1],
  [INT16_TYPE, 2],
  [UINT16_TYPE, 2],
  [INT32_TYPE, 4],
  [UINT32_TYPE, 4],
  [INT64_TYPE, 8],
  [UINT64_TYPE, 8],
  [REAL32_TYPE, 4],
  [REAL64_TYPE, 8],
  [BOOL_TYPE, 4],
  [GUID_TYPE, 16],
  [FILETIME_TYPE, 8],
  [SYSTEMTIME_TYPE, 16],
  [HEX_INT32_TYPE, 4],
  [HEX_INT64_TYPE, 8],
] as const) {
  FIXED_BYTES[type] = byteCount;
}

/** Bytes of the types `writeValue` renders whatever they hold; -1, which no value has, for types that need a closer look. */
const DIRECT_BYTES = new Int8Array(256).fill(-1);
for (const type of [
  INT8_TYPE,
  UINT8_TYPE,
  INT16_TYPE,
  UINT16_TYPE,
  INT32_TYPE,
  UINT32_TYPE,
  INT64_TYPE,
  UINT64_TYPE,
  BOOL_TYPE,
  GUID_TYPE,
  HEX_INT32_TYPE,
  HEX_INT64_TYPE,
]) {
  DIRECT_BYTES[type] = FIXED_BYTES[type] ?? -1;
}

/**
 * Most bytes `writeValue` makes out of one byte of a value: a control character of a string takes 6 for 2, a FILETIME 28 for 8,
 * an Int8 4 for 1.
 */
export const MAX_GROWTH = 4;

const LOWER_HEX = Buffer.from('0123456789abcdef');

/** Both digits of a byte in upper case, as a little-endian u16. */
const UPPER_HEX_PAIRS = new Uint16Array(256);
for (let byte = 0; byte < 256; byte++) {
  UPPER_HEX_PAIRS[byte] = Buffer.from(byte.toString(16).padStart(2, '0').toUpperCase(), 'latin1').readUInt16LE();
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What JSON makes of an ASCII character: it stays as it is, it becomes a letter behind a backslash, or a \u escape. */
const PLAIN = 1;
const NO_LETTER = 0;

/** PLAIN, NO_LETTER or the letter, as JSON.stringify writes it. */
const SHORT_ESCAPES = new Uint8Array(0x80).fill(PLAIN, 0x20);
SHORT_ESCAPES[0x08] = 0x62;
SHORT_ESCAPES[0x09] = 0x74;
SHORT_ESCAPES[0x0a] = 0x6e;
SHORT_ESCAPES[0x0c] = 0x66;
SHORT_ESCAPES[0x0d] = 0x72;
SHORT_ESCAPES[QUOTE] = QUOTE;
SHORT_ESCAPES[BACKSLASH] = BACKSLASH;

/** Characters of code page 1252 at 0x80 to 0x9f; the five it leaves out stay control characters, as in WHATWG's table. */
const CP1252_HIGH = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

const FILETIME_TICKS_PER_SECOND = 10_000_000;
const SECONDS_PER_DAY = 86_400;
const DAYS_FROM_1601_TO_1970 = 134_774;
/** High half of the ticks of the year 10000: beyond it a date has no ISO 8601 form of four digits. */
const FILETIME_MAX_HIGH = 0x24c85a5e;

/** Whether `writeValue` renders a value of this type and size; everything else needs `valueText`. */
export function isDirect(view: DataView, type: number, start: number, byteCount: number): boolean {
  if (type === STRING_TYPE) return (byteCount & 1) === 0;
  if (DIRECT_BYTES[type] === byteCount) return true;
  if (type === NULL_TYPE) return true;
  if (type === FILETIME_TYPE) return byteCount === 8 && isDate(view, start);
  return type === SID_TYPE && isSid(view, start, byteCount);
}

function isSid(view: DataView, start: number, byteCount: number): boolean {
  if (byteCount < SID_HEAD_BYTES) return false;
  const count = view.getUint8(start + 1);
  return count <= MAX_SUB_AUTHORITIES && byteCount === SID_HEAD_BYTES + 4 * count;
}

/** Whether the FILETIME at `at` lies before the year 10000. */
export function isDate(view: DataView, at: number): boolean {
  return view.getUint32(at + 4, true) < FILETIME_MAX_HIGH;
}

/** End of a string without the NULs it may be padded with; `end - start` is even. */
export function trimNuls(view: DataView, start: number, end: number): number {
  let trimmed = end;
  while (trimmed > start && view.getUint16(trimmed - 2, true) === 0) trimmed -= 2;
  return trimmed;
}

/**
 * Writes a value for which `isDirect` holds into `target` at `at`, as the inside of a JSON string in UTF-8, and returns where it ends.
 * The caller has made room for MAX_GROWTH times its bytes.
 */
export function writeValue(
  view: DataView,
  type: number,
  start: number,
  end: number,
  target: DataView,
  at: number,
): number {
  switch (type) {
    case STRING_TYPE:
      return writeJsonText(view, start, trimNuls(view, start, end), target, at);
    case UINT32_TYPE:
      return writeDecimal(view.getUint32(start, true), target, at);
    case GUID_TYPE:
      return writeGuid(view, start, target, at);
    case HEX_INT64_TYPE:
      return writeHex(view.getUint32(start + 4, true), view.getUint32(start, true), target, at);
    case HEX_INT32_TYPE:
      return writeHex(0, view.getUint32(start, true), target, at);
    case BOOL_TYPE:
      return writeAscii(view.getUint32(start, true) === 0 ? 'false' : 'true', target, at);
    case UINT8_TYPE:
      return writeDecimal(view.getUint8(start), target, at);
    case UINT16_TYPE:
      return writeDecimal(view.getUint16(start, true), target, at);
    case UINT64_TYPE:
      return writeUint64(view, start, target, at);
    case INT8_TYPE:
      return writeAscii(String(view.getInt8(start)), target, at);
    case INT16_TYPE:
      return writeAscii(String(view.getInt16(start, true)), target, at);
    case INT32_TYPE:
      return writeAscii(String(view.getInt32(start, true)), target, at);
    case INT64_TYPE:
      return writeAscii(view.getBigInt64(start, true).toString(), target, at);
    case FILETIME_TYPE:
      return writeFiletime(view, start, target, at);
    case SID_TYPE:
      return writeSid(view, start, end, target, at);
    default:
      return at;
  }
}

/**
 * Writes UTF-16LE at `[start, end)` as the inside of a JSON string in UTF-8, exactly as JSON.stringify escapes it
 * (lone surrogates as `\ud800`), and returns where it ends in `target`. Most of a log's bytes pass through here.
 */
export function writeJsonText(view: DataView, start: number, end: number, target: DataView, at: number): number {
  let from = start;
  let to = at;
  const last = end - 2;
  while (from < end) {
    // No calls in this loop: with one in it, the engine checks both buffers anew for each character.
    while (from < end) {
      const unit = view.getUint16(from, true);
      if (unit >= 0x80) break;
      if (from < last) {
        const next = view.getUint16(from + 2, true);
        if (next < 0x80 && SHORT_ESCAPES[unit] === PLAIN && SHORT_ESCAPES[next] === PLAIN) {
          target.setUint16(to, unit | (next << 8), true);
          to += 2;
          from += 4;
          continue;
        }
      }
      const letter = SHORT_ESCAPES[unit] ?? 0;
      if (letter === PLAIN) {
        target.setUint8(to++, unit);
      } else if (letter !== NO_LETTER) {
        target.setUint16(to, BACKSLASH | (letter << 8), true);
        to += 2;
      } else {
        break;
      }
      from += 2;
    }
    if (from < end) {
      const unit = view.getUint16(from, true);
      const next = from + 2 < end ? view.getUint16(from + 2, true) : 0;
      to = writeUnit(unit, next, target, to);
      from += isPair(unit, next) ? 4 : 2;
    }
  }
  return to;
}

function isPair(unit: number, next: number): boolean {
  return (unit & 0xfc00) === 0xd800 && (next & 0xfc00) === 0xdc00;
}

/** Writes a control character or a unit beyond ASCII, with the next one where the two are a surrogate pair. */
function writeUnit(unit: number, next: number, target: DataView, at: number): number {
  if (unit < 0x80) return writeUnicodeEscape(unit, target, at);
  if (unit < 0x800) {
    target.setUint8(at, 0xc0 | (unit >> 6));
    target.setUint8(at + 1, 0x80 | (unit & 0x3f));
    return at + 2;
  }
  if (isPair(unit, next)) return writePair(unit, next, target, at);
  if ((unit & 0xf800) === 0xd800) return writeUnicodeEscape(unit, target, at);
  return writeThreeBytes(unit, target, at);
}

function writeUnicodeEscape(unit: number, target: DataView, at: number): number {
  target.setUint8(at, BACKSLASH);
  target.setUint8(at + 1, 0x75);
  for (let digit = 0; digit < 4; digit++)
    target.setUint8(at + 2 + digit, LOWER_HEX[(unit >> (12 - 4 * digit)) & 15] ?? 0);
  return at + 6;
}

function writeThreeBytes(unit: number, target: DataView, at: number): number {
  target.setUint8(at, 0xe0 | (unit >> 12));
  target.setUint8(at + 1, 0x80 | ((unit >> 6) & 0x3f));
  target.setUint8(at + 2, 0x80 | (unit & 0x3f));
  return at + 3;
}

function writePair(high: number, low: number, target: DataView, at: number): number {
  const point = 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
  target.setUint8(at, 0xf0 | (point >> 18));
  target.setUint8(at + 1, 0x80 | ((point >> 12) & 0x3f));
  target.setUint8(at + 2, 0x80 | ((point >> 6) & 0x3f));
  target.setUint8(at + 3, 0x80 | (point & 0x3f));
  return at + 4;
}

function writeAscii(text: string, target: DataView, at: number): number {
  for (let index = 0; index < text.length; index++) target.setUint8(at + index, text.charCodeAt(index));
  return at + text.length;
}

/** Writes an unsigned integer below 2^53 in decimal digits. */
export function writeDecimal(value: number, target: DataView, at: number): number {
  if (value > 0x7fff_ffff) return writeAscii(String(value), target, at);
  let digits = 1;
  for (let power = 10; digits < 10 && power <= value; power *= 10) digits++;
  return writePadded(value, digits, target, at);
}

function writePadded(value: number, digits: number, target: DataView, at: number): number {
  let rest = value;
  for (let to = at + digits - 1; to >= at; to--) {
    const quotient = (rest / 10) | 0;
    target.setUint8(to, 0x30 + rest - quotient * 10);
    rest = quotient;
  }
  return at + digits;
}

/** Writes the UInt64 at `start` in decimal digits, all of them exact. */
export function writeUint64(view: DataView, start: number, target: DataView, at: number): number {
  if (view.getUint32(start + 4, true) === 0) return writeDecimal(view.getUint32(start, true), target, at);
  return writeAscii(view.getBigUint64(start, true).toString(), target, at);
}

function writeHex(high: number, low: number, target: DataView, at: number): number {
  target.setUint8(at, 0x30);
  target.setUint8(at + 1, 0x78);
  let to = at + 2;
  const significantBits = high === 0 ? 32 - Math.clz32(low) : 64 - Math.clz32(high);
  for (let shift = Math.max(0, (significantBits - 1) & ~3); shift >= 0; shift -= 4) {
    const nibble = shift >= 32 ? (high >>> (shift - 32)) & 15 : (low >>> shift) & 15;
    target.setUint8(to++, LOWER_HEX[nibble] ?? 0);
  }
  return to;
}

/** `{00112233-4455-6677-8899-AABBCCDDEEFF}`: the first three groups are little-endian, the rest are bytes as they come. */
function writeGuid(view: DataView, start: number, target: DataView, at: number): number {
  target.setUint8(at, 0x7b);
  let to = writeHexPair(view.getUint8(start + 3), target, at + 1);
  to = writeHexPair(view.getUint8(start + 2), target, to);
  to = writeHexPair(view.getUint8(start + 1), target, to);
  to = writeHexPair(view.getUint8(start), target, to);
  target.setUint8(to++, 0x2d);
  to = writeHexPair(view.getUint8(start + 5), target, to);
  to = writeHexPair(view.getUint8(start + 4), target, to);
  target.setUint8(to++, 0x2d);
  to = writeHexPair(view.getUint8(start + 7), target, to);
  to = writeHexPair(view.getUint8(start + 6), target, to);
  target.setUint8(to++, 0x2d);
  to = writeHexPair(view.getUint8(start + 8), target, to);
  to = writeHexPair(view.getUint8(start + 9), target, to);
  target.setUint8(to++, 0x2d);
  for (let position = 10; position < 16; position++) to = writeHexPair(view.getUint8(start + position), target, to);
  target.setUint8(to, 0x7d);
  return to + 1;
}

function writeHexPair(byte: number, target: DataView, at: number): number {
  target.setUint16(at, UPPER_HEX_PAIRS[byte] ?? 0, true);
  return at + 2;
}

/** The last day written, in days since 1601, and its `2018-02-05T`: a log stays within a day for thousands of records. */
let lastDay = -1;
const lastDayText = new DataView(new ArrayBuffer(12));

/** Writes 100-nanosecond ticks since 1601 as `2018-02-05T07:08:58.0592114Z`; they lie before the year 10000. */
export function writeFiletime(view: DataView, start: number, target: DataView, at: number): number {
  const high = view.getUint32(start + 4, true);
  // 2^32 ticks are 429 s and 4,967,296 ticks: split so, every step stays below 2^53 and exact.
  const rest = high * 4_967_296 + view.getUint32(start, true);
  const ticks = rest % FILETIME_TICKS_PER_SECOND;
  const seconds = high * 429 + (rest - ticks) / FILETIME_TICKS_PER_SECOND;
  const day = Math.floor(seconds / SECONDS_PER_DAY);
  const second = seconds - day * SECONDS_PER_DAY;
  if (day !== lastDay) {
    writeDay(day, lastDayText, 0);
    lastDay = day;
  }
  target.setUint32(at, lastDayText.getUint32(0));
  target.setUint32(at + 4, lastDayText.getUint32(4));
  target.setUint32(at + 8, lastDayText.getUint32(8));
  let to = writePadded((second / 3600) | 0, 2, target, at + 11);
  target.setUint8(to, 0x3a);
  to = writePadded(((second / 60) | 0) % 60, 2, target, to + 1);
  target.setUint8(to, 0x3a);
  to = writePadded(second % 60, 2, target, to + 1);
  target.setUint8(to, 0x2e);
  to = writePadded(ticks, 7, target, to + 1);
  target.setUint8(to, 0x5a);
  return to + 1;
}

/** Writes the date of a day, counted from 1601-01-01, and the `T` behind it. */
function writeDay(day: number, target: DataView, at: number): void {
  const date = new Date((day - DAYS_FROM_1601_TO_1970) * SECONDS_PER_DAY * 1000);
  writeAscii(date.toISOString().slice(0, 11), target, at);
}

function writeSid(view: DataView, start: number, end: number, target: DataView, at: number): number {
  let to = writeAscii('S-', target, at);
  to = writeDecimal(view.getUint8(start), target, to);
  target.setUint8(to++, 0x2d);
  // The identifier authority is the only big-endian number in the format. From 2^32 on Windows writes it in hex.
  const authorityHigh = view.getUint16(start + 2);
  const authorityLow = view.getUint32(start + 4);
  if (authorityHigh === 0) to = writeDecimal(authorityLow, target, to);
  else to = writeHex(authorityHigh, authorityLow, target, to);
  for (let part = start + SID_HEAD_BYTES; part < end; part += 4) {
    target.setUint8(to++, 0x2d);
    to = writeDecimal(view.getUint32(part, true), target, to);
  }
  return to;
}

/** Longest text `writeValue` makes of a value that is no string: a SID with 15 sub-authorities takes 190 bytes. */
const scratch = Buffer.alloc(256);
const scratchView = new DataView(scratch.buffer, scratch.byteOffset, scratch.byteLength);

/**
 * The text of a value as Windows renders it; items of an array are joined with `, `.
 * Raises BAD_RECORD for a size that does not fit the type, for nested XML, and for a type that files do not hold.
 */
export function valueText(bytes: Buffer, view: DataView, type: number, start: number, end: number): string {
  if (type === NULL_TYPE) return '';
  if (type === STRING_TYPE) {
    if (((end - start) & 1) !== 0) throw sizeDamage(type, end - start);
    return bytes.toString('utf16le', start, trimNuls(view, start, end));
  }
  if ((type & ARRAY_FLAG) !== 0) return arrayTexts(bytes, view, type & ~ARRAY_FLAG, start, end).join(', ');
  if (isDirect(view, type, start, end - start)) {
    return scratch.toString('latin1', 0, writeValue(view, type, start, end, scratchView, 0));
  }
  return rareText(bytes, view, type, start, end);
}

function rareText(bytes: Buffer, view: DataView, type: number, start: number, end: number): string {
  const byteCount = end - start;
  switch (type) {
    case ANSI_STRING_TYPE:
      return ansiText(bytes.toString('latin1', start, end));
    case BINARY_TYPE:
      return bytes.toString('hex', start, end).toUpperCase();
    case SIZE_TYPE:
      if (byteCount === 4) return valueText(bytes, view, HEX_INT32_TYPE, start, end);
      if (byteCount === 8) return valueText(bytes, view, HEX_INT64_TYPE, start, end);
      throw sizeDamage(type, byteCount);
    case BOOL_TYPE:
      // One byte is what MS-EVEN6 says; four are what files hold.
      if (byteCount === 1) return view.getUint8(start) === 0 ? 'false' : 'true';
      throw sizeDamage(type, byteCount);
    case REAL32_TYPE:
      if (byteCount === 4) return real32Text(view.getFloat32(start, true));
      throw sizeDamage(type, byteCount);
    case REAL64_TYPE:
      if (byteCount === 8) return String(view.getFloat64(start, true));
      throw sizeDamage(type, byteCount);
    case FILETIME_TYPE:
      // Of the right size and no date: the plain number says what is there.
      if (byteCount === 8) return view.getBigUint64(start, true).toString();
      throw sizeDamage(type, byteCount);
    case SYSTEMTIME_TYPE:
      if (byteCount === 16) return systemTimeText(view, start);
      throw sizeDamage(type, byteCount);
    case BINXML_TYPE:
      throw new Damage('BAD_RECORD', 'a field holds nested XML');
    default:
      if (FIXED_BYTES[type] !== 0 || type === SID_TYPE) throw sizeDamage(type, byteCount);
      throw new Damage('BAD_RECORD', `value of unknown type 0x${type.toString(16)}`);
  }
}

function sizeDamage(type: number, byteCount: number): Damage {
  return new Damage('BAD_RECORD', `value of type 0x${type.toString(16)} has ${byteCount} bytes`);
}

/** Code page 1252: the one of most systems; the file does not say which was in use. */
function ansiText(latin1: string): string {
  return latin1
    .replace(/\0+$/, '')
    .replace(/[\x80-\x9f]/g, (character) => CP1252_HIGH.charAt(character.charCodeAt(0) - 0x80));
}

/** The shortest decimal that is this 32-bit number again; as a 64-bit number 3199.234 would read 3199.23388671875. */
function real32Text(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const shorter = Number(value.toPrecision(digits));
    if (Math.fround(shorter) === value) return String(shorter);
  }
  return String(Number(value.toPrecision(9)));
}

function systemTimeText(view: DataView, start: number): string {
  const field = (position: number): number => view.getUint16(start + 2 * position, true);
  const [year, month, day, hour, minute, second, millisecond] = [0, 1, 3, 4, 5, 6, 7].map(field) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  // All zero means that the time was never set.
  if (year === 0 && month === 0 && day === 0) return '';
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second, millisecond));
  const isInRange = year >= 1601 && year <= 9999 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  if (!isInRange || hour > 23 || minute > 59 || second > 59 || millisecond > 999) {
    throw new Damage('BAD_RECORD', 'a SYSTEMTIME is no date');
  }
  return date.toISOString();
}

function arrayTexts(bytes: Buffer, view: DataView, type: number, start: number, end: number): string[] {
  if (type === STRING_TYPE || type === ANSI_STRING_TYPE) {
    const text = type === STRING_TYPE ? wholeText(bytes, start, end) : ansiText(bytes.toString('latin1', start, end));
    // Each string ends in a NUL, the last one perhaps not.
    return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
  }
  const texts: string[] = [];
  for (let at = start; at < end; ) {
    const byteCount = type === SID_TYPE ? sidBytes(view, at, end) : (FIXED_BYTES[type] ?? 0);
    if (byteCount === 0) throw new Damage('BAD_RECORD', `array of unknown type 0x${type.toString(16)}`);
    if (byteCount > end - at) throw sizeDamage(type | ARRAY_FLAG, end - start);
    texts.push(valueText(bytes, view, type, at, at + byteCount));
    at += byteCount;
  }
  return texts;
}

function wholeText(bytes: Buffer, start: number, end: number): string {
  if (((end - start) & 1) !== 0) throw sizeDamage(STRING_TYPE | ARRAY_FLAG, end - start);
  return bytes.toString('utf16le', start, end);
}

function sidBytes(view: DataView, at: number, end: number): number {
  if (end - at < SID_HEAD_BYTES) throw sizeDamage(SID_TYPE, end - at);
  return SID_HEAD_BYTES + 4 * view.getUint8(at + 1);
}
