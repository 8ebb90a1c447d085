import {
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError, systemCodeOf } from '../errors.js';
import { makeFolder } from './json-file.js';
import {
  isAlive,
  isOfThisHost,
  type ProcessIdentity,
  processIdentityFromJson,
  thisProcess,
} from './process-identity.js';
import { storageError } from './storage-error.js';
import { removeAbandoned, temporaryPath } from './temporary.js';

export { isAlive, type ProcessIdentity, thisProcess } from './process-identity.js';

/*
 * A lock is a folder of numbered tickets, and the highest ticket tells who holds it. A new holder adds the next number and only
 * then removes the lower ones; the highest is never removed. So nobody ever deletes a lock file by its name, and the classic
 * race, removing as "stale" the lock that somebody else has just taken, cannot happen.
 *
 * Taking and giving back are a dozen small calls that wait for no disk. They are made without the thread pool, whose detours cost ten
 * times as much: at a premium rate a lock is taken a hundred times a second.
 */

/** How long to wait for a lock that does not change hands. Work under a lock is a few file operations. */
const MAX_WAIT_MS = 30_000;

/** How long an owner that cannot be watched (another host, an unreadable ticket) may be silent before its lock is taken over. */
const MAX_SILENCE_MS = 20_000;

/** How often a holder shows that it lives. */
const HEARTBEAT_MS = 5_000;

const SHORTEST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 50;

const TICKET = /^\d{8,15}$/;

/** What a holder writes over the start of its ticket when it is done: in place, so that a full disk cannot keep a lock taken. */
const RELEASED = 'released';

/** The last call of this process per lock: calls queue behind each other here and only one of them polls the folder. */
const queues = new Map<string, Promise<unknown>>();

/**
 * Runs `work` while no other process on this folder, and no other call in this process, holds the lock `name`; resolves or rejects
 * as `work` does. The lock of a process that has died is taken over at once. Calls of one process are served in their order.
 * A call inside `work` for the same lock waits for itself and never ends.
 * Throws StorageError if the lock's folder cannot be written or if one owner keeps the lock for 30 seconds.
 */
export function withLock<T>(folder: string, name: string, work: () => Promise<T>): Promise<T> {
  const lockFolder = join(resolve(folder), 'locks', name);
  const before = queues.get(lockFolder) ?? Promise.resolve();
  const run = before.then(async () => {
    const ticketPath = await acquire(lockFolder);
    const heartbeat = setInterval(() => {
      const now = new Date();
      // A ticket that cannot be touched only looks silent to other hosts; the work itself is not harmed.
      utimes(ticketPath, now, now).catch(() => undefined);
    }, HEARTBEAT_MS);
    heartbeat.unref();
    try {
      return await work();
    } finally {
      clearInterval(heartbeat);
      release(ticketPath);
    }
  });
  const settled = run.then(
    () => undefined,
    () => undefined,
  );
  queues.set(lockFolder, settled);
  void settled.then(() => {
    if (queues.get(lockFolder) === settled) queues.delete(lockFolder);
  });
  return run;
}

async function acquire(lockFolder: string): Promise<string> {
  try {
    let waitedFor = 0;
    let waitingSince = performance.now();
    let pauseMs = SHORTEST_PAUSE_MS;
    for (;;) {
      const highest = Math.max(0, ...ticketsAmong(await namesIn(lockFolder)));
      const holding = highest === 0 ? 'nobody' : holderOf(join(lockFolder, ticketName(highest)));
      if (holding === 'nobody') {
        const ticketPath = await takeTicket(lockFolder, highest + 1);
        if (ticketPath !== undefined) return ticketPath;
      }
      if (highest !== waitedFor) {
        waitedFor = highest;
        waitingSince = performance.now();
        pauseMs = SHORTEST_PAUSE_MS;
      } else if (performance.now() - waitingSince > MAX_WAIT_MS) {
        const owner = typeof holding === 'object' ? `process ${holding.pid} on ${holding.host}` : 'another process';
        throw new StorageError(
          'CACHE',
          `${lockFolder}: held by ${owner} for more than ${MAX_WAIT_MS / 1000} s; end that process if it hangs, then run again`,
        );
      }
      await sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  } catch (error) {
    throw storageError('lock', lockFolder, error);
  }
}

/** The names in a lock's folder, which is made where it is missing. */
async function namesIn(lockFolder: string): Promise<readonly string[]> {
  try {
    return readdirSync(lockFolder);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
    await makeFolder(lockFolder);
    return [];
  }
}

/** Puts our ticket at `number`; its path if that makes us the holder, undefined if somebody was faster. */
async function takeTicket(lockFolder: string, number: number): Promise<string | undefined> {
  const ticketPath = join(lockFolder, ticketName(number));
  if (!createWhole(ticketPath, JSON.stringify(thisProcess()))) return undefined;
  const names = readdirSync(lockFolder);
  const tickets = ticketsAmong(names);
  // What we saw may have been old: others have passed this number already, and its ticket was gone when we put ours there.
  if (tickets.some((ticket) => ticket > number)) {
    rmSync(ticketPath, { force: true });
    return undefined;
  }
  for (const ticket of tickets) {
    if (ticket < number) rmSync(join(lockFolder, ticketName(ticket)), { force: true });
  }
  await removeAbandoned(lockFolder, names);
  return ticketPath;
}

/** Creates a file that nobody can see half written; false if the name is taken. */
function createWhole(path: string, text: string): boolean {
  const temporary = temporaryPath(path);
  try {
    writeFileSync(temporary, text, { flag: 'wx', mode: 0o600 });
    linkSync(temporary, path);
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST') return false;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS' && code !== 'EOPNOTSUPP') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  // No hard links here: for a moment others may see an empty ticket, which they take for a held one.
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

type Holding = ProcessIdentity | 'nobody' | 'unreadable';

function holderOf(ticketPath: string): Holding {
  try {
    const text = readFileSync(ticketPath, 'utf8');
    if (text.startsWith(RELEASED)) return 'nobody';
    const owner = processIdentityFromJson(parseOrUndefined(text));
    if (owner !== undefined && isOfThisHost(owner)) return isAlive(owner) ? owner : 'nobody';
    const { mtimeMs } = statSync(ticketPath);
    return Date.now() - mtimeMs > MAX_SILENCE_MS ? 'nobody' : (owner ?? 'unreadable');
  } catch (error) {
    // Removed by a newer holder since the folder was listed.
    if (systemCodeOf(error) === 'ENOENT') return 'unreadable';
    throw error;
  }
}

function release(ticketPath: string): void {
  try {
    const ticket = openSync(ticketPath, 'r+');
    try {
      writeSync(ticket, RELEASED, 0);
    } finally {
      closeSync(ticket);
    }
  } catch (error) {
    // Taken over by another host after too long a silence: there is nothing left to give back.
    if (systemCodeOf(error) !== 'ENOENT') throw storageError('release the lock', ticketPath, error);
  }
}

function ticketsAmong(names: readonly string[]): number[] {
  return names.filter((name) => TICKET.test(name)).map(Number);
}

function ticketName(number: number): string {
  return String(number).padStart(8, '0');
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Half written where there are no hard links, or emptied by a power cut.
    return undefined;
  }
}
