import { writeSync } from 'node:fs';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, StorageError, systemCodeOf } from '../errors.js';
import { makeFolder } from '../storage/json-file.js';
import { temporaryPath as temporaryPathOf, tidyBeside } from '../storage/temporary.js';

/** A file that appears whole under its name or not at all. */
export interface OutputFile {
  /** Appends bytes; the buffer may be reused once the promise resolves. */
  write(bytes: Buffer): Promise<void>;
  /**
   * Makes what was written durable and puts it in place. Without a write there is no file: one of an earlier run, which would be taken
   * for this one's, is removed, but for a log that was to be replaced.
   */
  commit(): Promise<void>;
  /** Drops what was written; whatever stood there before stays. */
  abandon(): Promise<void>;
}

/** Only the owner may read what a log told and VirusTotal said. */
const OUTPUT_MODE = 0o600;
/** Folders of results are as the user's others: their umask says who may look into them. */
const FOLDER_MODE = 0o777;

/**
 * Opens `path` for writing through a temporary file beside it, made at the first write; what killed runs left there goes then. `isToBeReplaced` is asked when that is complete
 * and durable, with its path, right before it takes the place of `path`; where it says no, it is dropped.
 * Rejects with StorageError OUTPUT that says what to do.
 */
export function outputFile(path: string, isToBeReplaced?: (temporaryPath: string) => Promise<boolean>): OutputFile {
  const temporaryPath = temporaryPathOf(path);
  let file: FileHandle | undefined;
  let hasTemporary = false;
  const explained = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw outputError(path, error);
    }
  };
  const close = async (): Promise<void> => {
    const open = file;
    file = undefined;
    await open?.close();
  };
  return {
    write: (bytes) =>
      explained(async () => {
        if (file === undefined) {
          await makeFolder(dirname(path), FOLDER_MODE);
          await tidyBeside(path);
          file = await open(temporaryPath, 'wx', OUTPUT_MODE);
          hasTemporary = true;
        }
        // Not through the thread pool, whose detour costs more than a write to the system's memory; only syncs wait for the disk.
        let written = 0;
        while (written < bytes.length) written += writeSync(file.fd, bytes, written);
      }),
    commit: () =>
      explained(async () => {
        if (file === undefined) {
          if (isToBeReplaced === undefined) await removeIfThere(path);
          return;
        }
        await file.sync();
        await close();
        if (isToBeReplaced === undefined || (await isToBeReplaced(temporaryPath)))
          await renameOver(temporaryPath, path);
        else await unlink(temporaryPath);
        hasTemporary = false;
      }),
    abandon: () =>
      explained(async () => {
        await close();
        if (hasTemporary) await unlink(temporaryPath);
        hasTemporary = false;
      }),
  };
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
  }
}

/** How often a rename is tried on Windows, where a virus scanner may hold the file for a moment. */
const RENAME_ATTEMPTS = 10;

async function renameOver(from: string, to: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await rename(from, to);
      return;
    } catch (error) {
      const code = systemCodeOf(error);
      if (attempt === RENAME_ATTEMPTS || (code !== 'EPERM' && code !== 'EBUSY' && code !== 'EACCES')) throw error;
      if (process.platform !== 'win32') throw error;
      await new Promise((resolve) => setTimeout(resolve, 20 * attempt));
    }
  }
}

function outputError(path: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const code = systemCodeOf(error);
  const nextStep =
    code === 'EACCES' || code === 'EROFS' || code === 'EPERM'
      ? 'give a folder that can be written with --out DIR'
      : code === 'ENOSPC'
        ? 'free some space and run again'
        : 'see --out DIR';
  return new StorageError('OUTPUT', `${path}: cannot be written (${messageOf(error)}); ${nextStep}`, { cause: error });
}
