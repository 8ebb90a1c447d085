/*
 * Members of a large JSON object, found by their bytes: a document of 200 KB costs 20 µs to read, but 2 ms to parse. The object's members
 * are objects, sorted by name, and all begin with the same member. In JSON a quotation mark within a text is escaped, so what stands
 * between names and objects can stand nowhere else, whatever strangers have written into the texts.
 */

const QUOTE = 0x22;
const COMMA = 0x2c;
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

/** A member of a document: its name, and where it stands from the quotation mark before its name to the brace that closes its object. */
export interface MemberPlace {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * The places of all members between `start` and `end`, which is where the document's own object closes; undefined where they are not one
 * after another there with a comma between them, or not in the order of their names.
 */
export function memberPlaces(bytes: Buffer, between: Buffer, start: number, end: number): MemberPlace[] | undefined {
  const places: MemberPlace[] = [];
  let nameEnd = bytes.indexOf(between, start);
  if (nameEnd < 0) return start === end ? places : undefined;
  let memberAt = start;
  let previous = '';
  while (nameEnd >= 0) {
    const name = nameBefore(bytes, nameEnd);
    if (nameEnd - name.length - 1 !== memberAt || name <= previous) return undefined;
    const next = bytes.indexOf(between, nameEnd + 1);
    const nextAt = next < 0 ? end + 1 : bytes.lastIndexOf(QUOTE, next - 1);
    if (endOfObject(bytes, nameEnd + NAME_END_BYTES) !== nextAt - 1) return undefined;
    if (next >= 0 && bytes[nextAt - 1] !== COMMA) return undefined;
    places.push({ name, start: memberAt, end: nextAt - 1 });
    previous = name;
    memberAt = nextAt;
    nameEnd = next;
  }
  return places;
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
