/** What unpacking one log may cost at most. */
export interface ContainerLimits {
  /** How many containers may lie within one another: a `.tar.gz` in a `.zip` are three. */
  readonly maxDepth: number;
  /** Bytes unpacked from one log, of all its members and all containers within them together. */
  readonly maxInflatedBytes: number;
  /** Unpacked bytes per packed byte. Real logs reach some 30, very repetitive ones 200; bombs are made of 1,000 and more. */
  readonly maxRatio: number;
  /** Size of an archive that has to be copied to a temporary file, because it is not a file itself and has its directory at the end. */
  readonly maxSpooledBytes: number;
}

const GIB = 1024 ** 3;

/** Generous for logs of tens of GB a night, and still the end of a bomb. */
export const DEFAULT_LIMITS: ContainerLimits = {
  maxDepth: 4,
  maxInflatedBytes: 512 * GIB,
  maxRatio: 400,
  maxSpooledBytes: 8 * GIB,
};

/** Below this size a high ratio is what short, repetitive logs have. */
const MIN_BYTES_FOR_RATIO = 16 * 1024 * 1024;

/** Keeps count of what was unpacked from one log; containers within it share it. */
export class InflationBudget {
  readonly #limits: ContainerLimits;
  #inflatedBytes = 0;

  constructor(limits: ContainerLimits) {
    this.#limits = limits;
  }

  /** Counts unpacked bytes; returns what is wrong if that were too many. */
  spend(byteCount: number): string | undefined {
    this.#inflatedBytes += byteCount;
    return this.#inflatedBytes > this.#limits.maxInflatedBytes
      ? `unpacks to more than ${this.#limits.maxInflatedBytes} bytes`
      : undefined;
  }

  /** Returns what is wrong if one stream's ratio is that of a bomb. */
  checkRatio(inflatedBytes: number, packedBytes: number): string | undefined {
    return inflatedBytes > MIN_BYTES_FOR_RATIO && inflatedBytes > packedBytes * this.#limits.maxRatio
      ? `unpacks to more than ${this.#limits.maxRatio} times its size`
      : undefined;
  }
}
