/** Up to here the count is exact, which covers every rare file; the common ones only need their order of magnitude. */
const MAX_EXACT = 64;

/** 512 registers give a standard error of 1.04 / √512 = 4.6 % (Flajolet et al., HyperLogLog, 2007). */
const INDEX_BITS = 9;
const REGISTERS = 2 ** INDEX_BITS;
const ALPHA = 0.7213 / (1 + 1.079 / REGISTERS);

/** The digest's 53 bits less those that choose the register, plus one: no honest register is higher. */
const MAX_RANK = 53 - INDEX_BITS + 1;

const NO_DIGESTS: readonly number[] = [];

/** Shorter lists are replaced by longer ones: most are of one, and one that was pushed to takes the room of seventeen. */
const MIN_GROWING = 4;

/**
 * A list with `item` at `place`, the last one left out where it would be longer than `limit`, which is 4 at least. A list of four or more
 * is changed: replaced each time, long ones would fill the memory with what they were before.
 */
export function insertAt<T>(list: readonly T[], place: number, item: T, limit: number): readonly T[] {
  if (list.length < MIN_GROWING) return list.toSpliced(place, 0, item);
  const growing = list as T[];
  for (let at = Math.min(list.length, limit - 1); at > place; at--) growing[at] = growing[at - 1] as T;
  growing[place] = item;
  return growing;
}

/**
 * How many different things were seen: exact up to 64, beyond that an estimate in half a kilobyte. Adding something again
 * changes nothing, and neither does the order of additions and merges, so logs may be read again, in pieces and by several
 * processes at once.
 */
export class DistinctCount {
  /** Digests, ascending; undefined once there are too many. */
  #digests: readonly number[] | undefined = NO_DIGESTS;
  #registers: Uint8Array | undefined;

  /** Whether `count` is exact. */
  get isExact(): boolean {
    return this.#digests !== undefined;
  }

  /** The number of different names added; beyond 64 an estimate within a few percent, rounded. */
  get count(): number {
    if (this.#digests !== undefined) return this.#digests.length;
    const registers = this.#registers ?? new Uint8Array(REGISTERS);
    let sum = 0;
    let empty = 0;
    for (const register of registers) {
      sum += 2 ** -register;
      if (register === 0) empty++;
    }
    const estimate = (ALPHA * REGISTERS * REGISTERS) / sum;
    const isSmall = estimate <= 2.5 * REGISTERS && empty > 0;
    const count = isSmall ? REGISTERS * Math.log(REGISTERS / empty) : estimate;
    // Estimates only start beyond the exact counts, so a merge never makes a count smaller than that.
    return Math.max(MAX_EXACT + 1, Math.round(count));
  }

  /** Digests of all names as `digestOf` makes them, ascending, as long as the count is exact; not to be changed. */
  get digests(): readonly number[] | undefined {
    return this.#digests;
  }

  /** Counts a name; true if that changed anything. */
  add(name: string): boolean {
    return this.#addDigest(digestOf(name));
  }

  /** Takes over all that another count has seen; true if that changed anything. */
  merge(other: DistinctCount): boolean {
    let changed = false;
    if (other.#digests !== undefined) {
      for (const digest of other.#digests) changed = this.#addDigest(digest) || changed;
      return changed;
    }
    if (this.#digests !== undefined) {
      this.#estimate();
      changed = true;
    }
    const registers = this.#registers;
    if (registers === undefined || other.#registers === undefined) return changed;
    for (const [index, rank] of other.#registers.entries()) {
      if (rank <= (registers[index] ?? 0)) continue;
      registers[index] = rank;
      changed = true;
    }
    return changed;
  }

  /** Plain JSON: the digests while exact, else the registers in base64. */
  toJSON(): readonly number[] | string {
    if (this.#digests !== undefined) return this.#digests;
    return Buffer.from(this.#registers ?? new Uint8Array(REGISTERS)).toString('base64');
  }

  /** Reads `toJSON`'s output back; undefined for anything else. */
  static fromJson(json: unknown): DistinctCount | undefined {
    const count = new DistinctCount();
    if (Array.isArray(json)) {
      if (json.length > MAX_EXACT) return undefined;
      for (const digest of json) {
        if (typeof digest !== 'number' || !Number.isSafeInteger(digest) || digest < 0) return undefined;
        count.#addDigest(digest);
      }
      return count;
    }
    if (typeof json !== 'string' || json.length > REGISTERS * 2) return undefined;
    const registers = new Uint8Array(Buffer.from(json, 'base64'));
    if (registers.length !== REGISTERS || registers.some((rank) => rank > MAX_RANK)) return undefined;
    count.#digests = undefined;
    count.#registers = registers;
    return count;
  }

  #addDigest(digest: number): boolean {
    const digests = this.#digests;
    if (digests === undefined) return this.#raise(digest);
    let place = digests.length;
    while (place > 0 && (digests[place - 1] ?? 0) > digest) place--;
    if (place > 0 && digests[place - 1] === digest) return false;
    if (digests.length === MAX_EXACT) {
      this.#estimate();
      this.#raise(digest);
    } else {
      this.#digests = insertAt(digests, place, digest, MAX_EXACT);
    }
    return true;
  }

  #estimate(): void {
    const digests = this.#digests ?? [];
    this.#digests = undefined;
    this.#registers = new Uint8Array(REGISTERS);
    for (const digest of digests) this.#raise(digest);
  }

  #raise(digest: number): boolean {
    const registers = this.#registers;
    if (registers === undefined) return false;
    const high = Math.floor(digest / 2 ** 32);
    const low = digest >>> 0;
    const index = high % REGISTERS;
    // Position of the first set bit among the 44 bits that did not choose the register, lowest word first.
    const rest = high >>> INDEX_BITS;
    const rank = low === 0 ? 32 + Math.clz32(rest) - (32 - (21 - INDEX_BITS)) + 1 : Math.clz32(low) + 1;
    if (rank <= (registers[index] ?? 0)) return false;
    registers[index] = rank;
    return true;
  }
}

/** 53 well mixed bits of a name. Two lanes of multiply and xor, then MurmurHash3's finalizer; no secret, no guarantee against forgers. */
export function digestOf(name: string): number {
  let first = 0xdeadbeef;
  let second = 0x41c6ce57;
  for (let index = 0; index < name.length; index++) {
    const unit = name.charCodeAt(index);
    first = Math.imul(first ^ unit, 0x9e3779b1);
    second = Math.imul(second ^ unit, 0x5f356495);
  }
  first = finish(first ^ (second >>> 15));
  second = finish(second ^ (first >>> 13));
  return (second >>> 11) * 2 ** 32 + (first >>> 0);
}

function finish(lane: number): number {
  let mixed = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** One digest of two, in this order. */
export function mixDigests(first: number, second: number): number {
  const low = finish((first >>> 0) ^ Math.imul(second >>> 0, 0x9e3779b1));
  const high = finish(Math.floor(first / 2 ** 32) ^ Math.floor(second / 2 ** 32) ^ low);
  return (high >>> 11) * 2 ** 32 + (low >>> 0);
}

const FIRST_CAPACITY = 1024;

/** No rule asks for more. */
const MAX_TALLY = 255;

/**
 * How often each digest was added, up to 255: some 18 bytes each, where a Map takes several times that. An open-address table; where a
 * digest is looked for depends on a number drawn for the table, so that no log can be written to make all digests meet.
 */
export class DigestTally {
  readonly #factor = Math.floor(Math.random() * 2 ** 31) * 2 + 1;
  #digests = new Float64Array(FIRST_CAPACITY);
  #counts = new Uint8Array(FIRST_CAPACITY);
  #size = 0;

  /** Counts a digest once more and returns how often it was added by now. */
  add(digest: number): number {
    const slot = this.#slotOf(digest);
    const count = Math.min(MAX_TALLY, (this.#counts[slot] ?? 0) + 1);
    this.#set(slot, digest, count);
    return count;
  }

  /** Lets a digest count as added at least so often. */
  raise(digest: number, count: number): void {
    const slot = this.#slotOf(digest);
    this.#set(slot, digest, Math.max(this.#counts[slot] ?? 0, Math.min(MAX_TALLY, count)));
  }

  /** How often a digest was added. */
  count(digest: number): number {
    return this.#counts[this.#slotOf(digest)] ?? 0;
  }

  #set(slot: number, digest: number, count: number): void {
    const isNew = this.#counts[slot] === 0;
    this.#digests[slot] = digest;
    this.#counts[slot] = count;
    if (isNew && ++this.#size * 4 > this.#counts.length * 3) this.#grow();
  }

  /** Where a digest stands or, with a count of 0, where there is room for it. */
  #slotOf(digest: number): number {
    const mask = this.#counts.length - 1;
    let slot = finish(Math.imul((digest >>> 0) ^ Math.floor(digest / 2 ** 32), this.#factor)) & mask;
    while (this.#counts[slot] !== 0 && this.#digests[slot] !== digest) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [digests, counts] = [this.#digests, this.#counts];
    this.#digests = new Float64Array(digests.length * 2);
    this.#counts = new Uint8Array(counts.length * 2);
    for (let from = 0; from < counts.length; from++) {
      if (counts[from] === 0) continue;
      const slot = this.#slotOf(digests[from] ?? 0);
      this.#digests[slot] = digests[from] ?? 0;
      this.#counts[slot] = counts[from] ?? 0;
    }
  }
}
