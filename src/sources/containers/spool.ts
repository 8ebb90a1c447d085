import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LogError } from '../../errors.js';
import { temporaryFolder } from '../../storage/temporary.js';
import type { ByteReader } from '../byte-reader.js';

const CHUNK_BYTES = 256 * 1024;

/** A private copy of an archive. */
export interface Spool {
  readonly path: string;
  remove(): Promise<void>;
}

/**
 * Copies an archive that is no file itself (within another, from stdin) to a temporary file that only this user can read.
 * Rejects with TOO_LARGE beyond `maxBytes`, and with the system's error where it cannot be written; nothing is left then.
 */
export async function spool(reader: ByteReader, maxBytes: number): Promise<Spool> {
  const folder = await temporaryFolder();
  const path = join(folder, 'archive');
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
      let copiedBytes = 0;
      for (;;) {
        const length = await reader.read(buffer);
        copiedBytes += length;
        if (copiedBytes > maxBytes) {
          throw new LogError(
            'TOO_LARGE',
            `archive within a stream has more than ${maxBytes} bytes; unpack the outer one first`,
          );
        }
        await file.writeFile(buffer.subarray(0, length));
        if (length < buffer.length) break;
      }
    } finally {
      await file.close();
    }
    return { path, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
