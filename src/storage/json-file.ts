import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, fsync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, rename, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Adapter } from 'lowdb';
import { systemCodeOf } from '../errors.js';
import { storageError } from './storage-error.js';
import { temporaryPath, tidyBeside } from './temporary.js';

/** Larger than anything written here, and well below the longest string of V8 (512 MiB), where reading would fail anyway. */
const MAX_BYTES = 256 * 1024 * 1024;

const IS_WINDOWS = process.platform === 'win32';

/*
 * Only what may wait for the disk goes through the thread pool here: syncs, and renames while another sync runs. All else ends in the
 * page cache in some microseconds, while each detour through the pool costs ten times that: a fold writes thousands of small files.
 */
const syncFile = promisify(fsync);

/** Windows refuses to replace a file that a virus scanner or an indexer has open; that passes. */
const RENAME_PAUSES_MS = [10, 20, 50, 100, 200, 500] as const;

/**
 * lowdb's adapter for one JSON file that several processes use and that has to survive kills and power cuts.
 * `read` gives what the `read` argument makes of the parsed JSON, or null where there is no file. A file that is no JSON, or of which
 * `read` returns undefined, is renamed, `onCorrupt` is told its new name, and the answer is null.
 * `write` replaces the file as a whole (compact JSON, of `toText` where that is given, mode 0600) and resolves once that is on the disk.
 * Both reject with StorageError. The folder must exist.
 */
export function jsonFile<T>(
  path: string,
  read: (json: unknown) => T | undefined,
  onCorrupt: (setAsidePath: string) => void,
  toText: (data: T) => string | Iterable<string> = JSON.stringify,
): Adapter<T> {
  return {
    read: async () => {
      try {
        for (;;) {
          const bytes = readWhole(path);
          if (bytes === undefined) return null;
          const data = readJson(bytes.text, read);
          if (data !== undefined) return data;
          // Another process may have replaced the bad file meanwhile: then the new one is read, not set aside.
          if ((await stat(path)).ino !== bytes.inode) continue;
          onCorrupt(await setAside(path));
          return null;
        }
      } catch (error) {
        if (systemCodeOf(error) === 'ENOENT') return null;
        throw storageError('read', path, error);
      }
    },
    write: (data) => writeFileDurably(path, toText(data)),
  };
}

/**
 * Replaces a file as a whole, by data or pieces of text, made with mode 0600: after a kill or a power cut there is the old one or the new one. Resolves once
 * it is on the disk. Throws StorageError; then the old file is untouched and no temporary file stays. The folder must exist.
 */
export async function writeFileDurably(path: string, data: string | Uint8Array | Iterable<string>): Promise<void> {
  const temporary = temporaryPath(path);
  try {
    await tidyBeside(path);
    try {
      const file = openSync(temporary, 'wx', 0o600);
      try {
        if (typeof data === 'string' || data instanceof Uint8Array) writeFileSync(file, data);
        else for (const piece of data) writeFileSync(file, piece);
        await syncFile(file);
      } finally {
        closeSync(file);
      }
      await replace(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    await syncFolder(dirname(path));
  } catch (error) {
    throw storageError('write', path, error);
  }
}

/** Moves a damaged file out of the way, never over another one; returns its new path. Throws the system's error. */
export async function setAside(path: string): Promise<string> {
  const target = setAsidePath(path);
  await replace(path, target);
  return target;
}

/** A new name for a damaged file, beside it. Colons are not allowed in names on Windows. */
export function setAsidePath(path: string): string {
  const time = new Date().toISOString().replaceAll(':', '-');
  return `${path}.corrupt-${time}-${randomUUID().slice(0, 8)}`;
}

/** Makes a folder and what is missing above it, durable and, unless `mode` says otherwise, for this user only. Throws the system's error. */
export async function makeFolder(path: string, mode = 0o700): Promise<void> {
  const folder = resolve(path);
  if (await makeOne(folder, mode)) await syncFolder(dirname(folder));
}

/** By hand, since Node's own way never ends where a folder above takes none, as in /proc. False if it is there already. */
async function makeOne(folder: string, mode: number, isAboveThere = false): Promise<boolean> {
  try {
    await mkdir(folder, { mode });
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST' && (await stat(folder)).isDirectory()) return false;
    if (code !== 'ENOENT' || isAboveThere || dirname(folder) === folder) throw error;
    await makeFolder(dirname(folder), mode);
    return makeOne(folder, mode, true);
  }
}

/** Syncs of folders that have not started yet, so that all who ask meanwhile share one. */
const nextSyncs = new Map<string, Promise<void>>();
const runningSyncs = new Map<string, Promise<void>>();

/**
 * Makes the names in a folder durable: files created, renamed or removed there before the call. Calls made while one sync runs share
 * the next. Windows cannot and need not do that. Throws the system's error.
 */
export function syncFolder(path: string): Promise<void> {
  if (IS_WINDOWS) return Promise.resolve();
  const waiting = nextSyncs.get(path);
  if (waiting !== undefined) return waiting;
  const before = runningSyncs.get(path) ?? Promise.resolve();
  const sync = before.then(async () => {
    nextSyncs.delete(path);
    const run = syncFolderOnce(path);
    const settled = run.catch(() => undefined);
    runningSyncs.set(path, settled);
    try {
      await run;
    } finally {
      if (runningSyncs.get(path) === settled) runningSyncs.delete(path);
    }
  });
  nextSyncs.set(path, sync);
  return sync;
}

async function syncFolderOnce(path: string): Promise<void> {
  const folder = openSync(path, 'r');
  try {
    await syncFile(folder);
  } finally {
    closeSync(folder);
  }
}

async function replace(from: string, to: string): Promise<void> {
  for (const pauseMs of RENAME_PAUSES_MS) {
    try {
      await rename(from, to);
      return;
    } catch (error) {
      const code = systemCodeOf(error);
      if (!IS_WINDOWS || (code !== 'EPERM' && code !== 'EBUSY' && code !== 'EACCES')) throw error;
      await sleep(pauseMs);
    }
  }
  await rename(from, to);
}

/** The text and the identity of the file that was really read; undefined where there is none, empty text where it is too large. */
function readWhole(path: string): { readonly text: string; readonly inode: number } | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { ino, size } = fstatSync(file);
    return { text: size > MAX_BYTES ? '' : readFileSync(file, 'utf8'), inode: ino };
  } finally {
    closeSync(file);
  }
}

function readJson<T>(text: string, read: (json: unknown) => T | undefined): T | undefined {
  let json: unknown;
  try {
    // JSON.parse makes `__proto__` an own member like any other, so a hostile file cannot reach the prototype.
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  return read(json);
}
