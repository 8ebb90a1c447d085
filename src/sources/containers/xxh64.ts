/** XXH64 (seed 0) of the xxHash specification, of which zstd's checksum is the low half. */
const STRIPE_BYTES = 32;
const LANES = 4;
const PRIME_1 = 0x9e3779b185ebca87n;
const PRIME_2 = 0xc2b2ae3d27d4eb4fn;
const PRIME_3 = 0x165667b19e3779f9n;
const PRIME_4 = 0x85ebca77c2b2ae63n;
const PRIME_5 = 0x27d4eb2f165667c5n;

const [PRIME_1_HIGH, PRIME_1_LOW] = [0x9e3779b1 | 0, 0x85ebca87 | 0];
const [PRIME_2_HIGH, PRIME_2_LOW] = [0xc2b2ae3d | 0, 0x27d4eb4f | 0];

/**
 * Hashes a stream. Whole stripes, so nearly all bytes, go through 32-bit integers, since BigInt would take ten times as long as
 * unpacking; the end, of which there is one, does not.
 */
export class Xxh64 {
  readonly #high = new Int32Array(LANES);
  readonly #low = new Int32Array(LANES);
  readonly #pending = Buffer.alloc(STRIPE_BYTES);
  #pendingBytes = 0;
  #totalBytes = 0;

  constructor() {
    const starts = [PRIME_1 + PRIME_2, PRIME_2, 0n, -PRIME_1];
    for (const [lane, start] of starts.entries()) {
      this.#high[lane] = Number(BigInt.asIntN(32, start >> 32n));
      this.#low[lane] = Number(BigInt.asIntN(32, start));
    }
  }

  update(chunk: Buffer): void {
    this.#totalBytes += chunk.length;
    let position = 0;
    if (this.#pendingBytes > 0) {
      position = chunk.copy(this.#pending, this.#pendingBytes);
      this.#pendingBytes += position;
      if (this.#pendingBytes < STRIPE_BYTES) return;
      this.#takeStripe(this.#pending, 0);
    }
    for (; position + STRIPE_BYTES <= chunk.length; position += STRIPE_BYTES) this.#takeStripe(chunk, position);
    this.#pendingBytes = chunk.copy(this.#pending, 0, position);
  }

  /** The low 32 bits of the hash of all that was given. */
  low32(): number {
    let hash = this.#totalBytes < STRIPE_BYTES ? PRIME_5 : this.#mergeLanes();
    hash += BigInt(this.#totalBytes);
    const rest = this.#pending.subarray(0, this.#pendingBytes);
    let position = 0;
    for (; position + 8 <= rest.length; position += 8) {
      hash = multiply(rotate(hash ^ round(0n, rest.readBigUInt64LE(position)), 27n), PRIME_1) + PRIME_4;
    }
    if (position + 4 <= rest.length) {
      const word = BigInt(rest.readUInt32LE(position));
      hash = multiply(rotate(hash ^ multiply(word, PRIME_1), 23n), PRIME_2) + PRIME_3;
      position += 4;
    }
    for (const byte of rest.subarray(position)) {
      hash = multiply(rotate(hash ^ multiply(BigInt(byte), PRIME_5), 11n), PRIME_1);
    }
    hash = BigInt.asUintN(64, hash);
    hash = multiply(hash ^ (hash >> 33n), PRIME_2);
    hash = multiply(hash ^ (hash >> 29n), PRIME_3);
    return Number(BigInt.asUintN(32, hash ^ (hash >> 32n)));
  }

  #mergeLanes(): bigint {
    const lanes = Array.from(
      { length: LANES },
      (_, lane) => (BigInt(this.#high[lane] ?? 0) << 32n) | BigInt.asUintN(32, BigInt(this.#low[lane] ?? 0)),
    );
    const rotations = [1n, 7n, 12n, 18n];
    const sum = lanes.reduce((total, lane, index) => total + rotate(lane, rotations[index] ?? 0n), 0n);
    return lanes.reduce((hash, lane) => multiply(hash ^ round(0n, lane), PRIME_1) + PRIME_4, sum);
  }

  /** `lane = rotate(lane + word * PRIME_2, 31) * PRIME_1` for each lane, in halves. */
  #takeStripe(bytes: Buffer, start: number): void {
    for (let lane = 0; lane < LANES; lane++) {
      const wordLow = bytes.readInt32LE(start + 8 * lane);
      const wordHigh = bytes.readInt32LE(start + 8 * lane + 4);
      const addedLow = Math.imul(wordLow, PRIME_2_LOW);
      const addedHigh = highProduct(wordHigh, wordLow, PRIME_2_HIGH, PRIME_2_LOW);
      const laneLow = this.#low[lane] ?? 0;
      const low = (laneLow + addedLow) | 0;
      const carry = low >>> 0 < laneLow >>> 0 ? 1 : 0;
      const high = ((this.#high[lane] ?? 0) + addedHigh + carry) | 0;
      const rotatedHigh = (high << 31) | (low >>> 1);
      const rotatedLow = (low << 31) | (high >>> 1);
      this.#low[lane] = Math.imul(rotatedLow, PRIME_1_LOW);
      this.#high[lane] = highProduct(rotatedHigh, rotatedLow, PRIME_1_HIGH, PRIME_1_LOW);
    }
  }
}

/** The high half of a 64-bit product modulo 2^64. */
function highProduct(aHigh: number, aLow: number, bHigh: number, bLow: number): number {
  const a0 = aLow & 0xffff;
  const a1 = aLow >>> 16;
  const b0 = bLow & 0xffff;
  const b1 = bLow >>> 16;
  // Each sum fits 32 bits unsigned; only the last one wraps.
  const inner = (Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16)) | 0;
  const outer = ((inner & 0xffff) + Math.imul(a0, b1)) | 0;
  const carried = (Math.imul(a1, b1) + (inner >>> 16) + (outer >>> 16)) | 0;
  return (carried + Math.imul(aHigh, bLow) + Math.imul(aLow, bHigh)) | 0;
}

function round(lane: bigint, word: bigint): bigint {
  return multiply(rotate(lane + multiply(word, PRIME_2), 31n), PRIME_1);
}

function multiply(a: bigint, b: bigint): bigint {
  return BigInt.asUintN(64, a * b);
}

function rotate(value: bigint, bitCount: bigint): bigint {
  const unsigned = BigInt.asUintN(64, value);
  return BigInt.asUintN(64, (unsigned << bitCount) | (unsigned >> (64n - bitCount)));
}
