import type { ByteReader } from '../byte-reader.js';

/** Packed bytes in a window that moves over them: decoders look at what is there and say how much of it they took. */
export class PackedInput {
  readonly #reader: ByteReader;
  #buffer: Buffer;
  #start = 0;
  #end = 0;
  #takenBytes = 0;
  #hasEnded = false;

  constructor(reader: ByteReader, windowBytes = 64 * 1024) {
    this.#reader = reader;
    this.#buffer = Buffer.allocUnsafe(windowBytes);
  }

  /** The bytes that are there; valid until the next `need`. */
  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** How many bytes were taken so far. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  take(byteCount: number): void {
    this.#start += byteCount;
    this.#takenBytes += byteCount;
  }

  /** Makes at least `byteCount` bytes available, at most the window's size; false if the data end before. */
  async need(byteCount: number): Promise<boolean> {
    if (this.#end - this.#start < byteCount && !this.#hasEnded) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      const free = this.#buffer.subarray(this.#end);
      const readBytes = await this.#reader.read(free);
      this.#hasEnded = readBytes < free.length;
      this.#end += readBytes;
    }
    return this.#end - this.#start >= byteCount;
  }

  /** Takes `byteCount` bytes unseen; false if the data end before. */
  async skip(byteCount: number): Promise<boolean> {
    let left = byteCount;
    while (left > 0) {
      if (!(await this.need(1))) return false;
      const step = Math.min(left, this.#end - this.#start);
      this.take(step);
      left -= step;
    }
    return true;
  }
}
