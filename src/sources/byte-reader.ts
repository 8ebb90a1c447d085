import { readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Bytes in order, pulled into the caller's own buffer, so that a log of any size passes through one buffer. */
export interface ByteReader {
  /**
   * Fills `target` from its start and returns how many bytes were put there.
   * Fewer than `target.length` only at the end of the data; 0 once there is nothing more. Rejects where reading fails.
   */
  read(target: Buffer): Promise<number>;
}

/** So many bytes are read before all else gets its turn: signals, timers, what other files wait for. */
const TURN_BYTES = 4 * 1024 * 1024;

/**
 * Reads an open file up to the size it had when it was opened: what is appended meanwhile belongs to the next run. Not through the thread
 * pool: that detour costs as much as reading, and nobody here has other work to do before the bytes are there.
 */
export function fileByteReader({ fd }: FileHandle, sizeBytes: number): ByteReader {
  let position = 0;
  let turnEnd = TURN_BYTES;
  return {
    read: async (target) => {
      if (position >= turnEnd) {
        turnEnd = position + TURN_BYTES;
        await nextTurn();
      }
      let filled = 0;
      while (filled < target.length && position < sizeBytes) {
        const bytesRead = readSync(
          fd,
          target,
          filled,
          Math.min(target.length - filled, sizeBytes - position),
          position,
        );
        if (bytesRead === 0) break;
        filled += bytesRead;
        position += bytesRead;
      }
      return filled;
    },
  };
}

/** Reads a stream's chunks (stdin, an inflater); an error of the stream rejects the read. */
export function streamByteReader(stream: AsyncIterable<Buffer>): ByteReader {
  const chunks = stream[Symbol.asyncIterator]();
  let chunk: Buffer = Buffer.alloc(0);
  let ended = false;
  return {
    read: async (target) => {
      let filled = 0;
      while (filled < target.length) {
        if (chunk.length === 0) {
          if (ended) break;
          const next = await chunks.next();
          if (next.done) {
            ended = true;
            break;
          }
          chunk = next.value;
          continue;
        }
        const copied = chunk.copy(target, filled);
        filled += copied;
        chunk = chunk.subarray(copied);
      }
      return filled;
    },
  };
}

/** A reader whose first bytes can be looked at before they are read. */
export class PeekableReader implements ByteReader {
  readonly #reader: ByteReader;
  #head: Buffer = Buffer.alloc(0);

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  /** The next `byteCount` bytes, fewer only where the data ends; they stay to be read. */
  async peek(byteCount: number): Promise<Buffer> {
    if (this.#head.length < byteCount) {
      const grown = Buffer.allocUnsafe(byteCount);
      const kept = this.#head.copy(grown);
      const added = await this.#reader.read(grown.subarray(kept));
      this.#head = grown.subarray(0, kept + added);
    }
    return this.#head.subarray(0, byteCount);
  }

  async read(target: Buffer): Promise<number> {
    const fromHead = this.#head.copy(target);
    this.#head = this.#head.subarray(fromHead);
    if (fromHead === target.length) return fromHead;
    return fromHead + (await this.#reader.read(target.subarray(fromHead)));
  }
}
