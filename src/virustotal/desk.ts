import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../clock.js';
import { systemCodeOf } from '../errors.js';
import { jsonFile, makeFolder, setAside, writeFileDurably } from '../storage/json-file.js';
import { isAlive, type ProcessIdentity, thisProcess, withLock } from '../storage/lock.js';
import { isOfThisHost, processIdentityFromJson } from '../storage/process-identity.js';
import { storageError } from '../storage/storage-error.js';
import {
  block,
  EMPTY_LEDGER,
  type LedgerState,
  type Limits,
  ledgerAfterLoss,
  ledgerFromJson,
  MAX_LEASE_MS,
  type Purpose,
  raise,
  type SpentWindow,
  spend,
  type TheirCount,
  type Usage,
  usageOf,
} from './ledger.js';

/** Where the desk keeps its books, and whose they are. */
export interface DeskOptions {
  /** The cache folder that all processes share; it is made if it is missing. */
  readonly folder: string;
  /** The ledger is kept per host and key. The key is stored nowhere: the file's name is a salted fingerprint of both. */
  readonly host: string;
  readonly key: string;
  readonly limits: Limits;
  readonly purpose: Purpose;
  readonly clock: Clock;
  /** Told, for people, of a ledger that could not be read or found. Its minute counts as full; the day and month are counted anew. */
  readonly onLoss: (what: string) => void;
}

/** Whether a question may leave now. */
type Admission =
  /** It is spent and claimed. The request has to leave at once. */
  | { readonly kind: 'granted' }
  /** Somebody else has asked it since. */
  | { readonly kind: 'answered_meanwhile' }
  /** Another process, or another desk of this one, is asking it. */
  | { readonly kind: 'claimed_by_another' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'spent'; readonly window: SpentWindow; readonly resumesAt: Date };

/** Where every question to VirusTotal is admitted, over all processes on the machine that share the folder. */
export interface Desk {
  /**
   * Spends one request and claims the hash, or says why not, in one step that no other process can come between. `isAnswered` is
   * asked inside that step, unless this desk has claimed the hash: then it is spent again and stays claimed. Calls made at the same
   * time share one step, and are asked about at the same time. Throws StorageError.
   */
  admit(hash: string, isAnswered: (hash: string) => Promise<boolean>): Promise<Admission>;
  /** Gives up the claim on a hash: its answer is in the cache, or there will be none. Throws StorageError. */
  release(hash: string): Promise<void>;
  /** Notes VirusTotal's word that nothing is left until `until`, for all processes. Throws StorageError. */
  block(window: SpentWindow, until: Date): Promise<void>;
  /** Raises our counts to VirusTotal's own where those are higher. Throws StorageError. */
  reconcile(theirs: TheirCount): Promise<void>;
  /** What is used and left. Throws StorageError. */
  usage(): Promise<Usage>;
  /** Gives up all claims of this desk. Throws StorageError. */
  close(): Promise<void>;
}

/** A hash that is being asked, by whom and since when. */
interface Claim {
  readonly hash: string;
  readonly desk: string;
  readonly owner: ProcessIdentity;
  readonly claimedAtMs: number;
}

/** What is stored per host and key. */
interface Books {
  readonly ledger: LedgerState;
  readonly claims: readonly Claim[];
}

/** Far more than all processes of a machine can be asking at once. */
const MAX_CLAIMS = 10_000;

/** A process of another host can't be watched: after this long its claim is void. A question with all its retries takes less. */
const MAX_FOREIGN_CLAIM_MS = 30 * 60 * 1000;

/** Room for writing the books and for setting up a connection; a slower disk makes it longer. */
const LEASE_MS = 1000;

const BOOKS_ENDING = '.json';

const SALT_BYTES = 32;
const SALT_CHECKSUM_BYTES = 16;

/**
 * How long a step waits for others to share it, from the start of the one before: each takes the lock and two syncs of the disk, some
 * 2 ms of a processor, however many it is for. The more questions are under way, the more are worth waiting for; one alone is not.
 */
const SHARING_MS_PER_QUESTION = 1;
const MAX_SHARING_MS = 25;

/** One change of the books; `run` gets them as they are and returns them as they shall be (the same object for no change). */
interface Step {
  /** What has to be known under the lock, looked up for all steps at once. */
  readonly prepare: () => Promise<void>;
  readonly run: (books: Books) => Books;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Opens the desk of one host and key. Throws StorageError if the folder can't be used. */
export async function openDesk(options: DeskOptions): Promise<Desk> {
  const { limits, purpose, clock } = options;
  const folder = join(options.folder, 'ledger');
  let isLost = false;
  const onLoss = (what: string): void => {
    isLost = true;
    options.onLoss(`${what}; the minute counts as spent`);
  };
  const name = await fingerprint(folder, `${options.host}\n${options.key}`, onLoss);
  const file = jsonFile<Books>(join(folder, `${name}${BOOKS_ENDING}`), booksFromJson, (path) =>
    onLoss(`the ledger could not be read and was set aside as ${path}`),
  );
  const desk = randomUUID();
  const claimed = new Set<string>();
  let waiting: Step[] = [];
  let isRunning = false;
  let leaseMs = LEASE_MS;
  let lastRoundMs = Number.NEGATIVE_INFINITY;

  /** Runs steps in their order, all that wait under one lock and with one write: so thousands of questions a minute are possible. */
  async function runSteps(): Promise<void> {
    if (isRunning) return;
    isRunning = true;
    while (waiting.length > 0) {
      let steps: readonly Step[] = [];
      try {
        const sharingMs = Math.min(claimed.size * SHARING_MS_PER_QUESTION, MAX_SHARING_MS);
        const pauseMs = lastRoundMs + sharingMs - performance.now();
        if (pauseMs >= 1) await sleep(pauseMs);
        lastRoundMs = performance.now();
        await withLock(folder, name, async () => {
          steps = waiting;
          waiting = [];
          await Promise.all(steps.map(({ prepare }) => prepare()));
          const stored = (await file.read()) ?? freshBooks();
          let books = withLiveClaims(stored, clock.now());
          for (const step of steps) books = step.run(books);
          if (books !== stored || isLost) await file.write(sealed(books));
          isLost = false;
        });
        for (const step of steps) step.resolve();
      } catch (error) {
        // Without the lock nothing was taken over yet; nobody may wait for ever.
        const failed = steps.length > 0 ? steps : waiting;
        if (steps.length === 0) waiting = [];
        for (const step of failed) step.reject(error);
      }
    }
    isRunning = false;
  }

  function change(run: Step['run'], prepare: () => Promise<void> = async () => undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      waiting.push({ prepare, run, resolve, reject });
      void runSteps();
    });
  }

  function freshBooks(): Books {
    return { ledger: isLost ? ledgerAfterLoss(clock.now(), limits) : EMPTY_LEDGER, claims: [] };
  }

  return {
    admit: async (hash, isAnswered) => {
      for (;;) {
        let admission: Admission = { kind: 'claimed_by_another' };
        let leaseEndsAt: Date | undefined;
        let hasAnswer = false;
        const prepare = async (): Promise<void> => {
          hasAnswer = !claimed.has(hash) && (await isAnswered(hash));
        };
        const step: Step['run'] = (books) => {
          const claim = books.claims.find((other) => other.hash === hash);
          // Before the answer: what is in the cache while it is claimed may not be durable yet.
          if (claim !== undefined && claim.desk !== desk) return books;
          if (hasAnswer) {
            admission = { kind: 'answered_meanwhile' };
            return books;
          }
          const now = clock.now();
          const { decision, state } = spend(books.ledger, { now, limits, purpose, leaseMs });
          if (decision.kind !== 'granted') {
            admission = decision;
            return state === books.ledger ? books : { ...books, ledger: state };
          }
          leaseEndsAt = decision.leaseEndsAt;
          admission = { kind: 'granted' };
          const own: Claim = { hash, desk, owner: thisProcess(), claimedAtMs: now.getTime() };
          return { ledger: state, claims: claim === undefined ? [...books.claims, own] : books.claims };
        };
        await change(step, prepare);
        if (leaseEndsAt === undefined) return admission;
        claimed.add(hash);
        if (clock.now() <= leaseEndsAt) return admission;
        // A disk slower than the lease: this request counts as spent and may not leave any more. The next lease is longer.
        if (leaseMs >= MAX_LEASE_MS) throw storageError('write in time', folder, new Error('the disk is too slow'));
        leaseMs = Math.min(leaseMs * 3, MAX_LEASE_MS);
      }
    },
    release: async (hash) => {
      if (!claimed.delete(hash)) return;
      await change((books) => withoutClaims(books, (claim) => claim.desk === desk && claim.hash === hash));
    },
    block: (window, until) =>
      change((books) => {
        const ledger = block(books.ledger, window, until);
        return ledger === books.ledger ? books : { ...books, ledger };
      }),
    reconcile: (theirs) =>
      change((books) => {
        const ledger = raise(books.ledger, clock.now(), theirs);
        return ledger === books.ledger ? books : { ...books, ledger };
      }),
    usage: async () => {
      let usage = usageOf(EMPTY_LEDGER, clock.now(), limits, purpose);
      await change((books) => {
        usage = usageOf(books.ledger, clock.now(), limits, purpose);
        return books;
      });
      return usage;
    },
    close: async () => {
      if (claimed.size === 0) return;
      claimed.clear();
      await change((books) => withoutClaims(books, (claim) => claim.desk === desk));
    },
  };
}

/** Without the claims of processes that have died: nobody will answer them. */
function withLiveClaims(books: Books, now: Date): Books {
  const isOld = (claim: Claim): boolean => Math.abs(now.getTime() - claim.claimedAtMs) > MAX_FOREIGN_CLAIM_MS;
  // Each owner is looked at once: one process may have hundreds of claims, and a look costs two reads of /proc.
  const isAliveByOwner = new Map<string, boolean>();
  const isOwnerAlive = ({ owner }: Claim): boolean => {
    const name = `${owner.pid} ${owner.startedAt}`;
    const known = isAliveByOwner.get(name) ?? isAlive(owner);
    isAliveByOwner.set(name, known);
    return known;
  };
  return withoutClaims(books, (claim) => (isOfThisHost(claim.owner) ? !isOwnerAlive(claim) : isOld(claim)));
}

function withoutClaims(books: Books, isGone: (claim: Claim) => boolean): Books {
  const claims = books.claims.filter((claim) => !isGone(claim));
  return claims.length === books.claims.length ? books : { ...books, claims };
}

/** A name for host and key that tells nothing of them: the salt never leaves this folder. */
async function fingerprint(folder: string, text: string, onLoss: (what: string) => void): Promise<string> {
  try {
    await makeFolder(folder);
    const salt = await withLock(folder, 'salt', () => readOrMakeSalt(folder, onLoss));
    return createHmac('sha256', salt).update(text).digest('hex').slice(0, 32);
  } catch (error) {
    throw storageError('use', folder, error);
  }
}

/** With another salt no ledger here is found again, so a damaged or missing one is as bad as a corrupt ledger. */
async function readOrMakeSalt(folder: string, onLoss: (what: string) => void): Promise<Buffer> {
  const path = join(folder, 'salt');
  try {
    const stored = await readFile(path);
    const salt = stored.subarray(0, SALT_BYTES);
    if (salt.length === SALT_BYTES && stored.equals(sealedSalt(salt))) return salt;
    onLoss(`the ledger cannot be found, since ${path} is damaged; that was set aside as ${await setAside(path)}`);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw storageError('read', path, error);
    const hasBooks = (await readdir(folder)).some((name) => name.endsWith(BOOKS_ENDING));
    if (hasBooks) onLoss(`the ledger cannot be found, since ${path} is missing`);
  }
  const salt = randomBytes(SALT_BYTES);
  await writeFileDurably(path, sealedSalt(salt));
  return salt;
}

function sealedSalt(salt: Buffer): Buffer {
  const checksum = createHash('sha256').update(salt).digest().subarray(0, SALT_CHECKSUM_BYTES);
  return Buffer.concat([salt, checksum]);
}

/** Books as they are stored: with a checksum, since a single digit that has changed would still be a count, and a wrong one. */
interface SealedBooks extends Books {
  /** Of the ledger. A damaged claim is void, or keeps a file waiting for half an hour: nothing that costs. */
  readonly checksum: string;
}

function sealed({ ledger, claims }: Books): SealedBooks {
  return { ledger, claims, checksum: checksumOf(ledger) };
}

function checksumOf({ minute, days, months, ahead, blocked }: LedgerState): string {
  // An array, so that no order of members matters.
  const text = JSON.stringify([
    minute,
    days,
    months,
    ahead?.sinceMs,
    ahead?.days,
    ahead?.months,
    blocked?.window,
    blocked?.untilMs,
  ]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

function booksFromJson(json: unknown): Books | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { ledger: ledgerJson, claims: claimsJson, checksum } = json as { readonly [name: string]: unknown };
  const ledger = ledgerFromJson(ledgerJson);
  if (ledger === undefined || !Array.isArray(claimsJson) || claimsJson.length > MAX_CLAIMS) return undefined;
  const claims = claimsJson.map(claimFromJson).filter((claim) => claim !== undefined);
  if (claims.length < claimsJson.length || checksum !== checksumOf(ledger)) return undefined;
  return { ledger, claims };
}

function claimFromJson(json: unknown): Claim | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { hash, desk, owner: ownerJson, claimedAtMs } = json as { readonly [name: string]: unknown };
  const owner = processIdentityFromJson(ownerJson);
  if (typeof hash !== 'string' || typeof desk !== 'string' || typeof claimedAtMs !== 'number') return undefined;
  return owner === undefined ? undefined : { hash, desk, owner, claimedAtMs };
}
