/** Rows of a page. */
const PAGE_BITS = 12;
const PAGE_ROWS = 2 ** PAGE_BITS;

type NumberArray = Uint8Array | Uint32Array | Float64Array;

/** A number per row, 0 where none was set. Kept in pages: a list that doubles is there twice for a moment, and half empty after it. */
export class Column {
  readonly #make: new (
    rows: number,
  ) => NumberArray;
  readonly #pages: NumberArray[] = [];

  constructor(make: new (rows: number) => NumberArray) {
    this.#make = make;
  }

  get(row: number): number {
    return this.#pages[row >>> PAGE_BITS]?.[row % PAGE_ROWS] ?? 0;
  }

  set(row: number, value: number): void {
    const page = row >>> PAGE_BITS;
    while (this.#pages.length <= page) this.#pages.push(new this.#make(PAGE_ROWS));
    const rows = this.#pages[page];
    if (rows !== undefined) rows[row % PAGE_ROWS] = value;
  }
}

/** A SHA256 has so many words of 32 bits; shorter digests end in zeros. */
const WORDS = 8;

const FIRST_SLOTS = 1024;

/** The value of each hex digit by its character code, plus one. */
const DIGIT_VALUES = new Uint8Array(128);
for (const [value, digit] of [...'0123456789abcdef'].entries()) {
  DIGIT_VALUES[digit.charCodeAt(0)] = value + 1;
  DIGIT_VALUES[digit.toUpperCase().charCodeAt(0)] = value + 1;
}

/**
 * Digests, numbered from 0 in the order they were first met: some 45 bytes each, where a Map of texts takes a hundred and forty. An
 * open-address table; where a digest is looked for depends on a number drawn for the table, so that no log can be written to make all
 * digests meet.
 */
export class DigestTable {
  readonly #factor = Math.floor(Math.random() * 2 ** 31) * 2 + 1;
  /** Numbers plus one, 0 where there is room. */
  #slots = new Int32Array(FIRST_SLOTS);
  readonly #pages: Uint32Array[] = [];
  /** Bytes of each digest. */
  readonly #lengths = new Column(Uint8Array);
  #size = 0;
  /** The digest that is looked for, and how many bytes it has. */
  readonly #words = new Uint32Array(WORDS);
  #length = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of a digest, MD5, SHA1 or SHA256 in hex; a new one if it was not met before. Undefined for any other text. */
  add(hash: string): number | undefined {
    if (!this.#read(hash)) return undefined;
    const slot = this.#slotOfWords();
    const known = this.#slots[slot] ?? 0;
    if (known > 0) return known - 1;
    const number = this.#size++;
    if (number % PAGE_ROWS === 0) this.#pages.push(new Uint32Array(PAGE_ROWS * WORDS));
    this.#pages.at(-1)?.set(this.#words, (number % PAGE_ROWS) * WORDS);
    this.#lengths.set(number, this.#length);
    this.#slots[slot] = number + 1;
    if (this.#size * 4 > this.#slots.length * 3) this.#grow();
    return number;
  }

  /** The number of a digest; undefined if it was not met. */
  find(hash: string): number | undefined {
    if (!this.#read(hash)) return undefined;
    const known = this.#slots[this.#slotOfWords()] ?? 0;
    return known > 0 ? known - 1 : undefined;
  }

  /** A digest by its number, in lower-case hex. */
  hashAt(number: number): string {
    const page = this.#pages[number >>> PAGE_BITS];
    const start = (number % PAGE_ROWS) * WORDS;
    for (let word = 0; word < WORDS; word++) digestBytes.writeUInt32BE(page?.[start + word] ?? 0, word * 4);
    return digestBytes.toString('hex', 0, this.#lengths.get(number));
  }

  /** Which of two comes first in the order of their texts: negative, positive, or 0 where they are the same. */
  compare(first: number, second: number): number {
    for (let word = 0; word < WORDS; word++) {
      const order = this.#wordAt(first, word) - this.#wordAt(second, word);
      if (order !== 0) return order;
    }
    return this.#lengths.get(first) - this.#lengths.get(second);
  }

  /** All numbers, by the first two digits of their digests, ascending; in each group in their order. */
  *byFirstByte(): Generator<readonly [digits: string, numbers: Uint32Array]> {
    const ends = new Uint32Array(256);
    for (let number = 0; number < this.#size; number++) {
      const byte = this.#wordAt(number, 0) >>> 24;
      ends[byte] = (ends[byte] ?? 0) + 1;
    }
    for (let byte = 1; byte < 256; byte++) ends[byte] = (ends[byte] ?? 0) + (ends[byte - 1] ?? 0);
    const sorted = new Uint32Array(this.#size);
    const starts = ends.slice();
    for (let number = this.#size - 1; number >= 0; number--) {
      const byte = this.#wordAt(number, 0) >>> 24;
      const place = (starts[byte] ?? 0) - 1;
      starts[byte] = place;
      sorted[place] = number;
    }
    for (let byte = 0; byte < 256; byte++) {
      const numbers = sorted.subarray(starts[byte], ends[byte]);
      if (numbers.length > 0) yield [byte.toString(16).padStart(2, '0'), numbers];
    }
  }

  #wordAt(number: number, word: number): number {
    return this.#pages[number >>> PAGE_BITS]?.[(number % PAGE_ROWS) * WORDS + word] ?? 0;
  }

  /** Takes a text as the digest to look for; false if it is none. */
  #read(hash: string): boolean {
    const digits = hash.length;
    if (digits !== 40 && digits !== 64 && digits !== 32) return false;
    const words = this.#words;
    words.fill(0);
    for (let place = 0; place < digits; place += 8) {
      let word = 0;
      for (let digit = place; digit < place + 8; digit++) {
        const code = hash.charCodeAt(digit);
        const value = (code < 128 ? (DIGIT_VALUES[code] ?? 0) : 0) - 1;
        if (value < 0) return false;
        word = (word << 4) | value;
      }
      words[place / 8] = word;
    }
    this.#length = digits / 2;
    return true;
  }

  /** Where the digest that is looked for stands or, with a 0, where there is room for it. */
  #slotOfWords(): number {
    const mask = this.#slots.length - 1;
    const words = this.#words;
    let slot = this.#placeOf(words, 0) & mask;
    for (;;) {
      const known = this.#slots[slot] ?? 0;
      if (known === 0 || this.#isLookedFor(known - 1)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isLookedFor(number: number): boolean {
    const page = this.#pages[number >>> PAGE_BITS];
    const start = (number % PAGE_ROWS) * WORDS;
    for (let word = 0; word < WORDS; word++) if (page?.[start + word] !== this.#words[word]) return false;
    return this.#lengths.get(number) === this.#length;
  }

  #placeOf(words: Uint32Array, start: number): number {
    let mixed = this.#factor;
    for (let word = start; word < start + WORDS; word++) {
      mixed = Math.imul(mixed ^ (words[word] ?? 0), this.#factor);
      mixed ^= mixed >>> 15;
    }
    return mixed;
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    for (let number = 0; number < this.#size; number++) {
      const page = this.#pages[number >>> PAGE_BITS];
      if (page === undefined) continue;
      let slot = this.#placeOf(page, (number % PAGE_ROWS) * WORDS) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = number + 1;
    }
  }
}

const digestBytes = Buffer.alloc(WORDS * 4);
