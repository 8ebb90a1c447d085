import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { systemCodeOf } from '../errors.js';
import { algorithmOf } from '../hash.js';
import { digestsOf, type Lookup, lookupFromJson, primaryDigestOf } from '../lookup.js';
import { findMember, memberStart, nameBefore } from '../storage/sorted-members.js';
import { storageError } from '../storage/storage-error.js';

/** Shards searched before other work gets a turn. */
const SHARDS_PER_TURN = 32;

/** More shards than these that may not be there are looked for in the listing of their folder. */
const MAX_UNLISTED = 16;

/** What shards hold of some digests. */
export interface StoredAnswers {
  readonly byDigest: ReadonlyMap<string, Lookup>;
  /** Shards in which something was met that is no answer. What else they hold has been found all the same, where possible. */
  readonly damagedPrefixes: ReadonlySet<string>;
}

/**
 * Finds answers in the shards of a folder, `<abc>.json`, by the first digits of a digest. A shard holds `answers` by their primary
 * digests and `aliases`, the primary digests by the files' other digests. Reads without locks and writes nothing.
 */
export class ShardReader {
  readonly #folder: string;
  /** Shards that were there when their folder was last listed; none is ever removed but a damaged one. */
  readonly #listed = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  pathOf(prefix: string): string {
    return join(this.#folder, `${prefix}.json`);
  }

  /** Throws StorageError. */
  async find(digests: readonly string[]): Promise<StoredAnswers> {
    const byDigest = new Map<string, Lookup>();
    const damagedPrefixes = new Set<string>();
    const digestsByPrimary = new Map<string, string[]>();
    await this.#search(digests, (digest, finding) => {
      if (finding.kind === 'answer') byDigest.set(digest, finding.lookup);
      else if (finding.kind === 'damaged') damagedPrefixes.add(shardPrefixOf(digest));
      else if (finding.kind === 'alias') append(digestsByPrimary, finding.primary, digest);
    });
    await this.#search([...digestsByPrimary.keys()], (primary, finding) => {
      if (finding.kind === 'damaged') damagedPrefixes.add(shardPrefixOf(primary));
      if (finding.kind !== 'answer') return;
      for (const digest of digestsByPrimary.get(primary) ?? []) {
        // An alias that was left by a kill may name an answer that has become another file's.
        if (digestsOf(finding.lookup).includes(digest)) byDigest.set(digest, finding.lookup);
      }
    });
    return { byDigest, damagedPrefixes };
  }

  async #search(digests: readonly string[], onFinding: (digest: string, finding: Finding) => void): Promise<void> {
    const digestsByPrefix = new Map<string, string[]>();
    for (const digest of digests) append(digestsByPrefix, shardPrefixOf(digest), digest);
    const isListed = this.#list(digestsByPrefix.keys());
    let shards = 0;
    for (const [prefix, wanted] of digestsByPrefix) {
      if (isListed && !this.#listed.has(prefix)) {
        for (const digest of wanted) onFinding(digest, ABSENT);
        continue;
      }
      findInShard(this.pathOf(prefix), wanted, onFinding);
      if (++shards % SHARDS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /**
   * Lists the folder where many of these shards are not known to be there, and says whether it did: on a first night there are none, and
   * to try to open each costs more than all else about it.
   */
  #list(prefixes: Iterable<string>): boolean {
    let unknown = 0;
    for (const prefix of prefixes) if (!this.#listed.has(prefix)) unknown++;
    if (unknown <= MAX_UNLISTED) return false;
    try {
      for (const name of readdirSync(this.#folder)) this.#listed.add(name.slice(0, PREFIX_DIGITS));
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw storageError('read', this.#folder, error);
    }
    return true;
  }
}

function append(lists: Map<string, string[]>, name: string, digest: string): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [digest]);
  else list.push(digest);
}

/** How many hex digits of a digest name its shard: 4,096 shards. */
const PREFIX_DIGITS = 3;

/** The first hex digits of a digest, which name the shard it is in. */
export function shardPrefixOf(digest: string): string {
  return digest.slice(0, PREFIX_DIGITS);
}

/** The answer stored under its primary digest, or undefined if what is stored there is not a whole answer of that file. */
export function readAnswer(primary: string, json: unknown): Lookup | undefined {
  const lookup = lookupFromJson(json);
  return lookup !== undefined && primaryDigestOf(lookup) === primary ? lookup : undefined;
}

/** What a shard knows of a digest. `damaged`: something is there that is no answer, or the shard is no shard. */
type Finding =
  | { readonly kind: 'answer'; readonly lookup: Lookup }
  | { readonly kind: 'alias'; readonly primary: string }
  | { readonly kind: 'damaged' }
  | { readonly kind: 'absent' };

/** A thousand times the largest shard to be expected at a million answers. */
const MAX_BYTES = 256 * 1024 * 1024;

const ABSENT: Finding = { kind: 'absent' };
const DAMAGED: Finding = { kind: 'damaged' };

const SHARD_START = Buffer.from('{"answers":{');
const ALIASES_START = Buffer.from('},"aliases":{');
const SHARD_END = Buffer.from('}}');
/** How an answer begins (`lookupToJson`). */
const ANSWER_START = memberStart('status');
const QUOTE = 0x22;

/** What was last read of a shard; one buffer for all of them. */
let buffer = Buffer.allocUnsafe(64 * 1024);

/**
 * Finds digests in a shard by their bytes. Aliases are found like answers: `"<digest>":` can only be a member's name.
 * Calls `onFinding` for each digest. Throws StorageError where the file cannot be read.
 */
function findInShard(
  path: string,
  digests: readonly string[],
  onFinding: (digest: string, finding: Finding) => void,
): void {
  try {
    const file = openSync(path, 'r');
    try {
      const left =
        digests.length > MAX_NEARBY
          ? digests
          : digests.filter((digest) => {
              const finding = findNearby(file, digest);
              if (finding !== undefined) onFinding(digest, finding);
              return finding === undefined;
            });
      if (left.length === 0) return;
      const bytes = readIntoBuffer(file);
      const isShard = isLaidOutAsShard(bytes);
      if (isShard) answersShare = bytes.lastIndexOf(ALIASES_START) / bytes.length;
      for (const digest of left) onFinding(digest, isShard ? findDigest(bytes, digest) : DAMAGED);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw storageError('read', path, error);
    for (const digest of digests) onFinding(digest, ABSENT);
  }
}

/** Below this a whole shard is read as soon as a part of it. */
const MIN_BYTES_TO_SKIP = 64 * 1024;

/** An eighth of a shard holds what lies in the middle of it by its digest, 99 times in 100 where shards are large. */
const PARTS = 8;

/** For more digests than this reading it whole is cheaper. */
const MAX_NEARBY = 4;

/** No name in a shard is longer, its quotation marks included. */
const MAX_NAME_BYTES = 66;

/** How much of a shard its answers take, as of the last one that was read whole; they are much alike. */
let answersShare: number | undefined;

/**
 * Finds a SHA1 where it has to lie, since digests are spread evenly and answers are sorted by them: reading all of a large shard for
 * one of them costs more than all else. Undefined where that part does not tell.
 */
function findNearby(file: number, digest: string): Finding | undefined {
  if (answersShare === undefined || algorithmOf(digest) !== 'sha1') return undefined;
  const { size } = fstatSync(file);
  if (size < MIN_BYTES_TO_SKIP || size > MAX_BYTES) return undefined;
  const rank = Number.parseInt(digest.slice(PREFIX_DIGITS, PREFIX_DIGITS + 6), 16) / 2 ** 24;
  const length = Math.floor(size / PARTS);
  if (buffer.length < length) buffer = Buffer.allocUnsafe(length);
  const start = Math.max(0, Math.floor(rank * answersShare * size - length / 2));
  const bytes = buffer.subarray(0, readSync(file, buffer, 0, length, start));
  // The first name may be cut off.
  const answer = findMember(bytes, digest, ANSWER_START, MAX_NAME_BYTES);
  if (answer !== undefined) {
    const lookup = readAnswer(digest, parseOrUndefined(answer.toString('utf8')));
    return lookup === undefined ? undefined : { kind: 'answer', lookup };
  }
  const first = bytes.indexOf(ANSWER_START, MAX_NAME_BYTES);
  const last = bytes.lastIndexOf(ANSWER_START);
  const isBetween = first >= 0 && nameBefore(bytes, first) < digest && digest < nameBefore(bytes, last);
  return isBetween ? ABSENT : undefined;
}

function isLaidOutAsShard(bytes: Buffer): boolean {
  return startsWith(bytes, SHARD_START) && bytes.subarray(-SHARD_END.length).equals(SHARD_END);
}

function startsWith(bytes: Buffer, start: Buffer): boolean {
  return bytes.length >= start.length && bytes.compare(start, 0, start.length, 0, start.length) === 0;
}

function findDigest(bytes: Buffer, digest: string): Finding {
  const answer = findMember(bytes, digest, ANSWER_START, SHARD_START.length);
  if (answer !== undefined) {
    const lookup = readAnswer(digest, parseOrUndefined(answer.toString('utf8')));
    return lookup === undefined ? DAMAGED : { kind: 'answer', lookup };
  }
  // A file's SHA1 is its primary digest wherever it is known, so it is never an alias.
  if (algorithmOf(digest) === 'sha1') return ABSENT;
  const name = `"${digest}":"`;
  const at = bytes.lastIndexOf(name, undefined, 'latin1');
  if (at < 0) return ABSENT;
  const primary = bytes.toString('latin1', at + name.length, bytes.indexOf(QUOTE, at + name.length));
  return algorithmOf(primary) === undefined ? DAMAGED : { kind: 'alias', primary };
}

/** A file's bytes in the shared buffer, none of them if it is too large for a shard. */
function readIntoBuffer(file: number): Buffer {
  let length = 0;
  for (;;) {
    const read = readSync(file, buffer, length, buffer.length - length, length);
    length += read;
    // Less than there was room for is the end of a file: asking for its size would cost as much as reading it.
    if (length < buffer.length) return buffer.subarray(0, length);
    if (length > MAX_BYTES) return buffer.subarray(0, 0);
    const larger = Buffer.allocUnsafe(buffer.length * 2);
    buffer.copy(larger);
    buffer = larger;
  }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The caller reports the shard.
    return undefined;
  }
}
