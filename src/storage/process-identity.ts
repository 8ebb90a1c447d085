import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemCodeOf } from '../errors.js';

/** Which process this is, for good: a process id alone is used again. Plain JSON. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Compared as a whole, never read: the boot and the clock tick of the start on Linux, elsewhere the start in ISO 8601. */
  readonly startedAt: string;
  /** The host and, on Linux, the process id namespace: process ids of two containers do not meet. */
  readonly host: string;
}

let own: ProcessIdentity | undefined;

/** The identity of the running process. */
export function thisProcess(): ProcessIdentity {
  own ??= {
    pid: process.pid,
    startedAt: startOf(process.pid) ?? new Date(Date.now() - process.uptime() * 1000).toISOString(),
    host: hostName(),
  };
  return own;
}

/**
 * Whether that process still runs. A process of another host is taken to be alive, since nothing can be known of it from here:
 * whoever stores identities for long has to bound their age (see `isOfThisHost`).
 */
export function isAlive(identity: ProcessIdentity): boolean {
  if (!isOfThisHost(identity)) return true;
  if (identity.pid === process.pid && identity.startedAt === thisProcess().startedAt) return true;
  try {
    process.kill(identity.pid, 0);
  } catch (error) {
    // EPERM: there is such a process, and it is somebody else's.
    if (systemCodeOf(error) !== 'EPERM') return false;
  }
  const startedAt = startOf(identity.pid);
  return startedAt === undefined || startedAt === identity.startedAt;
}

/** Whether `isAlive` can tell the truth about this process. */
export function isOfThisHost(identity: ProcessIdentity): boolean {
  return identity.host === thisProcess().host;
}

let mark: string | undefined;

/** The identity of the running process for names of files: the process id, then a print of the host and one of the start. */
export function processMark(): string {
  const { pid, startedAt, host } = thisProcess();
  // Worked out once: each lock that is taken has a name with it.
  mark ??= `${pid}-${printOf(host)}-${printOf(startedAt)}`;
  return mark;
}

/** Whether the process that made this mark still runs; undefined where that cannot be known from here, as of another host's. */
export function isMarkAlive(mark: string): boolean | undefined {
  const [pid = '', host, start] = mark.split('-');
  if (host !== printOf(thisProcess().host)) return undefined;
  const identity = { pid: Number(pid), startedAt: startOf(Number(pid)) ?? '', host: thisProcess().host };
  if (!Number.isSafeInteger(identity.pid) || identity.pid <= 0) return undefined;
  if (!isAlive(identity)) return false;
  // Where starts cannot be read, a process of that id may be another one.
  return startOf(identity.pid) === undefined ? undefined : printOf(identity.startedAt) === start;
}

/** Reads a stored identity back; undefined for anything else. */
export function processIdentityFromJson(json: unknown): ProcessIdentity | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { pid, startedAt, host } = json as { readonly [name: string]: unknown };
  // Process ids of 0 and below name groups.
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (typeof startedAt !== 'string' || typeof host !== 'string') return undefined;
  return { pid, startedAt, host };
}

let boot: string | undefined;

/** The start of a running process as Linux tells it; empty for one that has ended and is not yet collected, undefined where unknown. */
function startOf(pid: number): string | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  // No process outlives a boot.
  boot ??= readProc('/proc/sys/kernel/random/boot_id')?.trim();
  if (stat === undefined || boot === undefined) return undefined;
  // proc(5): the name, field 2, may hold blanks and brackets; field 3 is the state, field 22 the start in ticks after boot.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return '';
  return `${boot}/${fields[19]}`;
}

function printOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function readProc(path: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Hidden from us or gone: for the caller both mean that it cannot be known.
    return undefined;
  }
}

function hostName(): string {
  if (process.platform !== 'linux') return hostname();
  try {
    return `${hostname()}/${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    // Without /proc there are no namespaces to tell apart.
    return hostname();
  }
}
