/*
 * Members of a large JSON object, found by their bytes: a document of 200 KB costs 20 µs to read, but 2 ms to parse. The object's members
 * are objects, sorted by name, and all begin with the same member. In JSON a quotation mark within a text is escaped, so what stands
 * between names and objects can stand nowhere else, whatever strangers have written into the texts.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/** Of what stands between a name and its object's first member, what comes before the object's own brace. */
const NAME_END_BYTES = 2;

/** How the members of a document begin, for `findMember`: the end of the name, then the object up to its first member's value. */
export function memberStart(firstMember: string): Buffer {
  return Buffer.from(`":{"${firstMember}":`);
}

/** The bytes of the object called `name`, found by halving from `start` on; undefined where there is none. */
export function findMember(bytes: Buffer, name: string, between: Buffer, start: number): Buffer | undefined {
  let low = start;
  let high = bytes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    // The first object whose name ends at or after the middle.
    const nameEnd = bytes.indexOf(between, middle);
    if (nameEnd < 0 || nameEnd >= high) {
      high = middle;
      continue;
    }
    const found = nameBefore(bytes, nameEnd);
    if (found === name) return bytes.subarray(nameEnd + NAME_END_BYTES, endOfObject(bytes, nameEnd + NAME_END_BYTES));
    if (found < name) low = nameEnd + 1;
    else high = middle;
  }
  return undefined;
}

/** The names of all members, in their order. */
export function* memberNames(bytes: Buffer, between: Buffer, start: number): Generator<string> {
  for (let nameEnd = bytes.indexOf(between, start); nameEnd >= 0; nameEnd = bytes.indexOf(between, nameEnd + 1)) {
    yield nameBefore(bytes, nameEnd);
  }
}

/** The name that ends at `nameEnd`, where its closing quotation mark stands. */
export function nameBefore(bytes: Buffer, nameEnd: number): string {
  return bytes.toString('latin1', bytes.lastIndexOf(QUOTE, nameEnd - 1) + 1, nameEnd);
}

/** The offset after the object that starts at `start`; the end of the bytes if it does not end. */
function endOfObject(bytes: Buffer, start: number): number {
  let depth = 0;
  let isText = false;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === OPENING_BRACE) depth++;
    else if (byte === CLOSING_BRACE && --depth === 0) return at + 1;
  }
  return bytes.length;
}
