import type { BigIntStats } from 'node:fs';
import { access, chmod, chown, copyFile, type FileHandle, link, open, rename, stat } from 'node:fs/promises';
import { messageOf, StorageError, systemCodeOf } from '../errors.js';
import { ORIGINAL_ENDING } from '../log-paths.js';
import { temporaryPath } from '../storage/temporary.js';
import { type OutputFile, outputFile } from './enriched-file.js';

/** Bytes compared at once. */
const BLOCK_BYTES = 256 * 1024;

/**
 * Opens a log to be replaced by what is written, with its mode and owner. It is left as it is where what is written is the same bytes.
 * `original` says whether the log is to stay beside it under its name and `.orig`, or already does, since the log at hand was written by
 * this program. To be opened before the log is read: a log that changes from then on is not replaced.
 * Rejects with StorageError OUTPUT, at once where there is no such log.
 */
export async function inPlaceFile(path: string, original: 'to be kept' | 'is kept'): Promise<OutputFile> {
  const before = await stat(path, { bigint: true }).catch((error: unknown) => {
    throw new StorageError('OUTPUT', `${path}: cannot be replaced (${messageOf(error)})`, { cause: error });
  });
  return outputFile(path, async (temporaryPath) => {
    if (!isUntouched(before, await stat(path, { bigint: true }))) {
      throw new StorageError(
        'OUTPUT',
        `${path}: changed while it was read, so it was not replaced; wait until nothing writes to it, or give --out DIR`,
      );
    }
    if (await hasSameBytes(path, temporaryPath)) return false;
    await chmod(temporaryPath, Number(before.mode) & 0o7777);
    // Only root may give files away; anybody else owns what they were allowed to replace.
    if (process.getuid?.() === 0) await chown(temporaryPath, Number(before.uid), Number(before.gid));
    if (original === 'to be kept') await keepOriginal(path);
    return true;
  });
}

/** Whether a file is still the same one and has not been written to. */
function isUntouched(before: BigIntStats, now: BigIntStats): boolean {
  return before.ino === now.ino && before.dev === now.dev && before.size === now.size && before.mtimeNs === now.mtimeNs;
}

/** Gives the log its second name; where file systems have no hard links, copies it. What stands there already must be the same. */
async function keepOriginal(path: string): Promise<void> {
  const kept = `${path}${ORIGINAL_ENDING}`;
  try {
    await link(path, kept);
    return;
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
  }
  const isThere = await access(kept).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    const copy = temporaryPath(kept);
    await copyFile(path, copy);
    await rename(copy, kept);
  } else if (!(await hasSameBytes(path, kept))) {
    throw new StorageError(
      'OUTPUT',
      `${kept} is there already and is not this log, so the log was not replaced; move it away, or give --out DIR`,
    );
  }
}

async function hasSameBytes(path: string, otherPath: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const other = await open(otherPath, 'r');
    try {
      return await areEqual(file, other);
    } finally {
      await other.close();
    }
  } finally {
    await file.close();
  }
}

async function areEqual(file: FileHandle, other: FileHandle): Promise<boolean> {
  const [{ size }, { size: otherSize }] = await Promise.all([file.stat(), other.stat()]);
  if (size !== otherSize) return false;
  const [block, otherBlock] = [Buffer.allocUnsafe(BLOCK_BYTES), Buffer.allocUnsafe(BLOCK_BYTES)];
  for (let position = 0; position < size; position += BLOCK_BYTES) {
    const length = Math.min(BLOCK_BYTES, size - position);
    const [read, otherRead] = await Promise.all([
      file.read(block, 0, length, position),
      other.read(otherBlock, 0, length, position),
    ]);
    // Files on disk give all that is asked for, or have just been cut.
    if (read.bytesRead !== length || otherRead.bytesRead !== length) return false;
    if (block.compare(otherBlock, 0, length, 0, length) !== 0) return false;
  }
  return true;
}
