import { randomBytes } from 'node:crypto';
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { systemCodeOf } from '../errors.js';
import { isMarkAlive, processMark } from './process-identity.js';

/** Far longer than a file of a living process goes without a write. */
const MAX_SILENCE_MS = 24 * 60 * 60 * 1000;

/** The second part of a name belongs to what its maker keeps beside it. */
const TEMPORARY = /\.sysmon-vt-(\d+-[0-9a-f]{8}-[0-9a-f]{8})-[0-9a-f]{12}\.tmp(\.\d+)?$/;

const SERIAL_BYTES = 6;

/** Starts anywhere, since worker threads of one process each have their own; a random number for each name would cost more than a write. */
let serial = randomBytes(SERIAL_BYTES).readUIntBE(0, SERIAL_BYTES);

/** A name beside `path` for what will become that file: it tells whose it is, and no process and no call gets the same twice. */
export function temporaryPath(path: string): string {
  serial = (serial + 1) % 2 ** (8 * SERIAL_BYTES);
  return `${path}.sysmon-vt-${processMark()}-${serial.toString(16).padStart(2 * SERIAL_BYTES, '0')}.tmp`;
}

/**
 * Removes what processes that have died left half written in a folder, and nothing else: names that `temporaryPath` did not make stay.
 * Where it cannot be known whether the process lives, as of another host's, its file goes once nobody has written to it for a day.
 * Throws the system's error.
 */
export async function removeAbandoned(folder: string, names?: readonly string[]): Promise<void> {
  for (const name of names ?? (await readdir(folder))) {
    const mark = TEMPORARY.exec(name)?.[1];
    if (mark === undefined) continue;
    const isAlive = isMarkAlive(mark);
    if (isAlive === true) continue;
    const path = join(folder, name);
    try {
      const status = await lstat(path);
      if (!status.isFile()) continue;
      if (isAlive === false || Date.now() - status.mtimeMs > MAX_SILENCE_MS) await rm(path, { force: true });
    } catch (error) {
      // Finished by its writer, or removed by another process, since the folder was listed.
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
  }
}

/** Folders this process has looked through. */
const tidied = new Set<string>();

/**
 * The same for the folder that a file is about to be written to, once for each folder of a run. What the system refuses is passed over:
 * whoever cannot remove there may still write, and the next run tries again.
 */
export async function tidyBeside(path: string): Promise<void> {
  const folder = resolve(dirname(path));
  if (tidied.has(folder)) return;
  tidied.add(folder);
  try {
    await removeAbandoned(folder);
  } catch (error) {
    // Only the system's refusal to list or to remove; a defect of ours must not pass for one.
    if (systemCodeOf(error) === undefined) throw error;
  }
}

const TEMPORARY_FOLDER = /^sysmon-vt-(\d+-[0-9a-f]{8}-[0-9a-f]{8})-\w{6}$/;

let areFoldersTidied = false;

/**
 * Makes a folder among the system's temporary files that only this user can read, for what ends with the run. What runs of this user
 * that were killed have left there is removed first: it is evidence, and may be large. Throws the system's error.
 */
export async function temporaryFolder(): Promise<string> {
  if (!areFoldersTidied) {
    areFoldersTidied = true;
    await removeAbandonedFolders(tmpdir());
  }
  return mkdtemp(join(tmpdir(), `sysmon-vt-${processMark()}-`));
}

async function removeAbandonedFolders(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const mark = TEMPORARY_FOLDER.exec(name)?.[1];
    if (mark === undefined || isMarkAlive(mark) !== false) continue;
    const path = join(parent, name);
    try {
      const status = await lstat(path);
      const isOurs = process.getuid === undefined || status.uid === process.getuid();
      if (status.isDirectory() && isOurs) await rm(path, { recursive: true, force: true });
    } catch (error) {
      // Removed by another run meanwhile, or not to be removed by this one: either way no reason to stop.
      if (systemCodeOf(error) === undefined) throw error;
    }
  }
}
