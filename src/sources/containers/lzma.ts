import { damaged } from './member.js';

/** Sizes of the model, as in the LZMA specification of the LZMA SDK. */
const STATES = 12;
const MAX_POSITION_STATES = 16;
const LENGTH_STATES = 4;
const SLOT_BITS = 6;
const ALIGN_BITS = 4;
const FIRST_MODEL_SLOT = 4;
const END_MODEL_SLOT = 14;
const FULL_DISTANCES = 128;
const LITERAL_CODER_PROBABILITIES = 0x300;
const MIN_MATCH_LENGTH = 2;

/** States below this follow a literal. */
const LITERAL_STATES = 7;

/** Where each part of the model begins in the one array that holds it. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * MAX_POSITION_STATES;
const IS_REP_0 = IS_REP + STATES;
const IS_REP_1 = IS_REP_0 + STATES;
const IS_REP_2 = IS_REP_1 + STATES;
const IS_REP_0_LONG = IS_REP_2 + STATES;
const SLOT = IS_REP_0_LONG + STATES * MAX_POSITION_STATES;
const DISTANCE = SLOT + LENGTH_STATES * (1 << SLOT_BITS);
const ALIGN = DISTANCE + 1 + FULL_DISTANCES - END_MODEL_SLOT;
const MATCH_LENGTH = ALIGN + (1 << ALIGN_BITS);

/** Within a length coder: two choices, then lengths 0–7 and 8–15 by position state, then 16–271. */
const LENGTH_CHOICE_2 = 1;
const LENGTH_LOW = 2;
const LENGTH_MIDDLE = LENGTH_LOW + MAX_POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MIDDLE + MAX_POSITION_STATES * 8;
const LENGTH_PROBABILITIES = LENGTH_HIGH + 256;

const REP_LENGTH = MATCH_LENGTH + LENGTH_PROBABILITIES;
const LITERAL = REP_LENGTH + LENGTH_PROBABILITIES;

/** LZMA2 allows literal coders for at most 4 bits of context. */
const MAX_LITERAL_CONTEXT_BITS = 4;

const PROBABILITY_BITS = 11;
const PROBABILITY_HALF = 1 << (PROBABILITY_BITS - 1);
const PROBABILITY_SHIFT = 5;
const RANGE_TOP = 2 ** 24;

/** An LZMA2 chunk unpacks to at most 2 MiB; the window has room for some of them besides the dictionary, so that it seldom slides. */
const WINDOW_ROOM_BYTES = 8 * 1024 * 1024;
const FIRST_WINDOW_BYTES = 4 * 1024 * 1024;

/** Decodes the chunks of LZMA2 into a window that is also the dictionary. */
export class LzmaDecoder {
  readonly #dictionaryBytes: number;
  readonly #probabilities = new Uint16Array(LITERAL + (LITERAL_CODER_PROBABILITIES << MAX_LITERAL_CONTEXT_BITS));
  #window: Buffer;
  /** Where the next byte goes. */
  #end = 0;
  /** Where the dictionary begins: nothing before it may be repeated. */
  #start = 0;
  /** Bytes since the dictionary's reset that are no longer in the window. */
  #slidBytes = 0;
  #literalContextBits = 0;
  #literalPositionMask = 0;
  #positionMask = 0;
  #state = 0;
  #distances: [number, number, number, number] = [0, 0, 0, 0];
  #input: Buffer = Buffer.alloc(0);
  #inputPosition = 0;
  #range = 0;
  #code = 0;

  constructor(dictionaryBytes: number) {
    this.#dictionaryBytes = dictionaryBytes;
    this.#window = Buffer.allocUnsafe(Math.min(FIRST_WINDOW_BYTES, dictionaryBytes + WINDOW_ROOM_BYTES));
  }

  resetDictionary(): void {
    this.#start = this.#end;
    this.#slidBytes = 0;
  }

  /** Takes `(pb * 5 + lp) * 9 + lc`; false if it is out of range. */
  setProperties(properties: number): boolean {
    const lc = properties % 9;
    const lp = Math.floor(properties / 9) % 5;
    const pb = Math.floor(properties / 45);
    if (pb > 4 || lc + lp > MAX_LITERAL_CONTEXT_BITS) return false;
    this.#literalContextBits = lc;
    this.#literalPositionMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
    return true;
  }

  resetState(): void {
    this.#probabilities.fill(PROBABILITY_HALF);
    this.#state = 0;
    this.#distances = [0, 0, 0, 0];
  }

  /** Appends stored bytes; returns them, valid until the next chunk. */
  copyStored(bytes: Buffer): Buffer {
    this.#makeRoom(bytes.length);
    const start = this.#end;
    this.#end += bytes.copy(this.#window, start);
    return this.#window.subarray(start, this.#end);
  }

  /** Decodes one chunk that has to yield exactly `byteCount` bytes; returns them, valid until the next chunk. Rejects damage as CORRUPT. */
  decode(packed: Buffer, byteCount: number): Buffer {
    this.#makeRoom(byteCount);
    this.#startInput(packed);
    const start = this.#end;
    const limit = start + byteCount;
    while (this.#end < limit) {
      const position = this.#end - this.#start + this.#slidBytes;
      const positionState = position & this.#positionMask;
      if (this.#bit(IS_MATCH + this.#state * MAX_POSITION_STATES + positionState) === 0) {
        this.#window[this.#end] = this.#literal(position);
        this.#end += 1;
        continue;
      }
      const length = this.#match(positionState);
      if (length > limit - this.#end) throw damaged('CORRUPT', 'xz data are damaged');
      this.#repeat(length);
    }
    if (this.#code !== 0 || this.#inputPosition !== packed.length) throw damaged('CORRUPT', 'xz data are damaged');
    return this.#window.subarray(start, limit);
  }

  /** Slides or grows the window. What it held of the dictionary stays. */
  #makeRoom(byteCount: number): void {
    if (this.#end + byteCount <= this.#window.length) return;
    const keptBytes = Math.min(this.#end - this.#start, this.#dictionaryBytes);
    const keptStart = this.#end - keptBytes;
    this.#slidBytes += keptStart - this.#start;
    const largest = this.#dictionaryBytes + WINDOW_ROOM_BYTES;
    const wanted = Math.min(largest, Math.max(keptBytes + byteCount, 2 * this.#window.length));
    if (wanted > this.#window.length) {
      const grown = Buffer.allocUnsafe(wanted);
      this.#window.copy(grown, 0, keptStart, this.#end);
      this.#window = grown;
    } else {
      this.#window.copyWithin(0, keptStart, this.#end);
    }
    this.#start = 0;
    this.#end = keptBytes;
  }

  #startInput(packed: Buffer): void {
    this.#input = packed;
    this.#inputPosition = 5;
    this.#range = 0xffffffff;
    this.#code = packed.length < 5 ? 0 : packed.readUInt32BE(1);
    if (packed.length < 5 || packed[0] !== 0) throw damaged('CORRUPT', 'xz data are damaged');
  }

  #literal(position: number): number {
    const previous = this.#end > this.#start ? (this.#window[this.#end - 1] ?? 0) : 0;
    const context =
      ((position & this.#literalPositionMask) << this.#literalContextBits) +
      (previous >>> (8 - this.#literalContextBits));
    const coder = LITERAL + LITERAL_CODER_PROBABILITIES * context;
    let symbol = 1;
    if (this.#state >= LITERAL_STATES) {
      // A literal after a match differs from the byte the match would have gone on with.
      let matchByte = this.#byteBack(this.#distances[0]);
      let mask = 0x100;
      while (symbol < 0x100) {
        matchByte <<= 1;
        const matchBit = matchByte & mask;
        const bit = this.#bit(coder + mask + matchBit + symbol);
        symbol = (symbol << 1) | bit;
        mask &= bit === 1 ? matchBit : ~matchBit;
      }
    } else {
      while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(coder + symbol);
    }
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
    return symbol & 0xff;
  }

  /** Reads a match: sets the distance, returns the length. */
  #match(positionState: number): number {
    const state = this.#state;
    const afterLiteral = state < LITERAL_STATES;
    const [distance0, distance1, distance2, distance3] = this.#distances;
    if (this.#bit(IS_REP + state) === 0) {
      this.#state = afterLiteral ? 7 : 10;
      const length = this.#length(MATCH_LENGTH, positionState);
      this.#distances = [this.#distance(length), distance0, distance1, distance2];
      return length + MIN_MATCH_LENGTH;
    }
    if (this.#bit(IS_REP_0 + state) === 0) {
      if (this.#bit(IS_REP_0_LONG + state * MAX_POSITION_STATES + positionState) === 0) {
        this.#state = afterLiteral ? 9 : 11;
        return 1;
      }
    } else if (this.#bit(IS_REP_1 + state) === 0) {
      this.#distances = [distance1, distance0, distance2, distance3];
    } else if (this.#bit(IS_REP_2 + state) === 0) {
      this.#distances = [distance2, distance0, distance1, distance3];
    } else {
      this.#distances = [distance3, distance0, distance1, distance2];
    }
    this.#state = afterLiteral ? 8 : 11;
    return this.#length(REP_LENGTH, positionState) + MIN_MATCH_LENGTH;
  }

  #length(coder: number, positionState: number): number {
    if (this.#bit(coder) === 0) return this.#tree(coder + LENGTH_LOW + positionState * 8, 3);
    if (this.#bit(coder + LENGTH_CHOICE_2) === 0) return 8 + this.#tree(coder + LENGTH_MIDDLE + positionState * 8, 3);
    return 16 + this.#tree(coder + LENGTH_HIGH, 8);
  }

  #distance(length: number): number {
    const lengthState = Math.min(length, LENGTH_STATES - 1);
    const slot = this.#tree(SLOT + lengthState * (1 << SLOT_BITS), SLOT_BITS);
    if (slot < FIRST_MODEL_SLOT) return slot;
    const directBits = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) * 2 ** directBits;
    if (slot < END_MODEL_SLOT) return base + this.#reverseTree(DISTANCE + base - slot, directBits);
    return base + this.#direct(directBits - ALIGN_BITS) * 2 ** ALIGN_BITS + this.#reverseTree(ALIGN, ALIGN_BITS);
  }

  #byteBack(distance: number): number {
    if (distance >= this.#end - this.#start || distance >= this.#dictionaryBytes) {
      throw damaged('CORRUPT', 'xz data are damaged');
    }
    return this.#window[this.#end - distance - 1] ?? 0;
  }

  #repeat(length: number): void {
    const distance = this.#distances[0];
    this.#byteBack(distance);
    const window = this.#window;
    let from = this.#end - distance - 1;
    let to = this.#end;
    // Source and target overlap where a pattern repeats itself, so bytes go one by one.
    for (let index = 0; index < length; index++) {
      window[to] = window[from] ?? 0;
      to += 1;
      from += 1;
    }
    this.#end = to;
  }

  #tree(base: number, bitCount: number): number {
    let symbol = 1;
    for (let index = 0; index < bitCount; index++) symbol = (symbol << 1) | this.#bit(base + symbol);
    return symbol - (1 << bitCount);
  }

  /** The same, lowest bit first. */
  #reverseTree(base: number, bitCount: number): number {
    let symbol = 1;
    let value = 0;
    for (let index = 0; index < bitCount; index++) {
      const bit = this.#bit(base + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << index;
    }
    return value;
  }

  /** Bits of equal probability. */
  #direct(bitCount: number): number {
    let value = 0;
    for (let index = 0; index < bitCount; index++) {
      this.#range = Math.floor(this.#range / 2);
      const bit = this.#code >= this.#range ? 1 : 0;
      this.#code -= bit * this.#range;
      value = value * 2 + bit;
      this.#normalize();
    }
    return value;
  }

  #bit(index: number): number {
    const probability = this.#probabilities[index] ?? PROBABILITY_HALF;
    const bound = (this.#range >>> PROBABILITY_BITS) * probability;
    if (this.#code < bound) {
      this.#range = bound;
      this.#probabilities[index] = probability + (((1 << PROBABILITY_BITS) - probability) >>> PROBABILITY_SHIFT);
      this.#normalize();
      return 0;
    }
    this.#range -= bound;
    this.#code -= bound;
    this.#probabilities[index] = probability - (probability >>> PROBABILITY_SHIFT);
    this.#normalize();
    return 1;
  }

  #normalize(): void {
    if (this.#range >= RANGE_TOP) return;
    this.#range = (this.#range << 8) >>> 0;
    // Behind the end come zeros; that too much was taken shows at the chunk's end.
    this.#code = ((this.#code << 8) | (this.#input[this.#inputPosition] ?? 0)) >>> 0;
    this.#inputPosition += 1;
  }
}
