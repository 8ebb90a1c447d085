import { LogError } from '../../errors.js';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** What may stand beside a record on its line: blanks, NUL, the comma and separator some tools write between values, a byte order mark. */
const BESIDE_RECORDS: ReadonlySet<number> = new Set([
  ...[0x00, 0x09, LINE_FEED, CARRIAGE_RETURN, 0x1e, 0x20],
  ...[0x2c, 0xef, 0xbb, 0xbf],
]);

/** Follows a log's bytes in their order and raises LogError UNSUPPORTED where a record does not stand on a line of its own. */
export class OwnLines {
  /** What the line has so far besides what may stand beside a record. */
  #line: 'blank' | 'text' | 'record' = 'blank';

  /** Takes bytes between records. */
  pass(bytes: Buffer): void {
    if (this.#line === 'record') {
      const lineEnd = bytes.indexOf(LINE_FEED);
      if (hasText(lineEnd < 0 ? bytes : bytes.subarray(0, lineEnd))) throw notOnOwnLine();
      if (lineEnd < 0) return;
    }
    const lastLineFeed = bytes.lastIndexOf(LINE_FEED);
    if (lastLineFeed >= 0) this.#line = 'blank';
    if (this.#line === 'blank' && hasText(bytes.subarray(lastLineFeed + 1))) this.#line = 'text';
  }

  /** Takes a record, which may be an element of an array. */
  addRecord(bytes: Buffer, isElement: boolean): void {
    const isSpread = bytes.includes(LINE_FEED) || bytes.includes(CARRIAGE_RETURN);
    if (this.#line !== 'blank' || isSpread || isElement) throw notOnOwnLine();
    this.#line = 'record';
  }
}

function hasText(bytes: Buffer): boolean {
  return bytes.some((byte) => !BESIDE_RECORDS.has(byte));
}

function notOnOwnLine(): LogError {
  return new LogError(
    'UNSUPPORTED',
    'only JSON lines can be changed in place, and here a record does not stand on a line of its own; give --out DIR instead',
  );
}
