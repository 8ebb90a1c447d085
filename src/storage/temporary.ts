import { randomUUID } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCodeOf } from '../errors.js';

/** Far longer than any file here takes to be written. */
const MAX_AGE_MS = 60 * 60 * 1000;

/** A name beside `path` for what will become that file; no process and no call gets the same twice. */
export function temporaryPath(path: string): string {
  return `${path}.${process.pid}-${randomUUID()}.tmp`;
}

/** Removes what killed processes left half written in a folder. Throws the system's error. */
export async function removeAbandoned(folder: string, names?: readonly string[]): Promise<void> {
  for (const name of names ?? (await readdir(folder))) {
    if (!name.endsWith('.tmp')) continue;
    const path = join(folder, name);
    try {
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs > MAX_AGE_MS) await rm(path, { force: true });
    } catch (error) {
      // Finished by its writer since the folder was listed.
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
  }
}
