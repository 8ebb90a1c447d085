import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Low } from 'lowdb';
import { systemCodeOf } from '../errors.js';
import { algorithmOf } from '../hash.js';
import { type Lookup, lookupFromJson, lookupToJson } from '../lookup.js';
import { jsonFile } from '../storage/json-file.js';
import { storageError } from '../storage/storage-error.js';
import { digestsOf, primaryDigestOf } from './answer-set.js';

/** A shard as it is stored. Members are digests of lower-case hex and nothing else. */
export interface Shard {
  /** Stored answers by their primary digest; checked when they are used. */
  readonly answers: Readonly<Record<string, unknown>>;
  /** The primary digest by the file's other digests. */
  readonly aliases: Readonly<Record<string, unknown>>;
}

/** What is to become of one shard; drops come first. */
export interface ShardChange {
  readonly droppedAnswers: Set<string>;
  /** With the primary digest an alias must name to be dropped: a newer answer may have taken it over. */
  readonly droppedAliases: Map<string, unknown>;
  readonly aliases: Map<string, string>;
  readonly answers: Map<string, Lookup>;
}

/** A change of nothing, to be filled. */
export function emptyChange(): ShardChange {
  return { droppedAnswers: new Set(), droppedAliases: new Map(), aliases: new Map(), answers: new Map() };
}

/** How many hex digits of a digest name its shard: 4,096 shards. */
const PREFIX_DIGITS = 3;

/** The first hex digits of a digest, which name the shard it is in. */
export function shardPrefixOf(digest: string): string {
  return digest.slice(0, PREFIX_DIGITS);
}

/** The shard's document; `read` it before use. A file that is no shard is set aside. */
export function shardDocument(path: string, onCorrupt: (setAsidePath: string) => void): Low<Shard> {
  return new Low<Shard>(jsonFile(path, readShard, onCorrupt), { answers: {}, aliases: {} });
}

/** The shard after a change, digests sorted; an answer's digest is never an alias as well. */
export function changeShard(shard: Shard, change: ShardChange): Shard {
  const answers = new Map(Object.entries(shard.answers));
  const aliases = new Map(Object.entries(shard.aliases));
  for (const digest of change.droppedAnswers) answers.delete(digest);
  for (const [digest, primary] of change.droppedAliases) {
    if (aliases.get(digest) === primary) aliases.delete(digest);
  }
  for (const [digest, primary] of change.aliases) aliases.set(digest, primary);
  for (const [digest, lookup] of change.answers) {
    answers.set(digest, lookupToJson(lookup));
    aliases.delete(digest);
  }
  return { answers: sortedByName(answers), aliases: sortedByName(aliases) };
}

/** The answer stored under its primary digest, or undefined if what is stored there is not a whole answer of that file. */
export function readAnswer(primary: string, json: unknown): Lookup | undefined {
  const lookup = lookupFromJson(json);
  return lookup !== undefined && primaryDigestOf(lookup) === primary ? lookup : undefined;
}

/** What a shard knows of a digest. `damaged`: something is there that is no answer, or the shard is no shard. */
export type Finding =
  | { readonly kind: 'answer'; readonly lookup: Lookup }
  | { readonly kind: 'alias'; readonly primary: string }
  | { readonly kind: 'damaged' }
  | { readonly kind: 'absent' };

/** A thousand times the largest shard to be expected at a million answers. */
const MAX_BYTES = 256 * 1024 * 1024;

const ABSENT: Finding = { kind: 'absent' };
const DAMAGED: Finding = { kind: 'damaged' };

const SHARD_START = Buffer.from('{"answers":{');
const SHARD_END = Buffer.from('}}');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/** The last shard that was read; one buffer for all of them. */
let buffer = Buffer.allocUnsafe(64 * 1024);

/**
 * Finds digests in a shard by their bytes: a shard of 200 KB costs 20 µs to read, but 2 ms to parse. In JSON a quotation mark
 * within a text is escaped, so `"<digest>":` can only be a member's name, whatever strangers have written into the texts.
 * Calls `onFinding` for each digest. Throws StorageError where the file cannot be read.
 */
export function findInShard(
  path: string,
  digests: readonly string[],
  onFinding: (digest: string, finding: Finding) => void,
): void {
  const bytes = readIntoBuffer(path);
  const isShard =
    bytes?.subarray(0, SHARD_START.length).equals(SHARD_START) && bytes.subarray(-SHARD_END.length).equals(SHARD_END);
  for (const digest of digests) {
    if (bytes === undefined) onFinding(digest, ABSENT);
    else onFinding(digest, isShard === true ? findDigest(bytes, digest) : DAMAGED);
  }
}

function findDigest(bytes: Buffer, digest: string): Finding {
  const name = `"${digest}":`;
  const at = bytes.indexOf(name, 0, 'latin1');
  if (at < 0) return ABSENT;
  const start = at + name.length;
  if (bytes[start] === QUOTE) {
    const primary = bytes.toString('latin1', start + 1, bytes.indexOf(QUOTE, start + 1));
    return algorithmOf(primary) === undefined ? DAMAGED : { kind: 'alias', primary };
  }
  if (bytes[start] !== OPENING_BRACE) return DAMAGED;
  const lookup = readAnswer(digest, parseOrUndefined(bytes.toString('utf8', start, endOfObject(bytes, start))));
  return lookup === undefined || !digestsOf(lookup).includes(digest) ? DAMAGED : { kind: 'answer', lookup };
}

/** The offset after the object that starts at `start`; the end of the bytes if it does not end. */
function endOfObject(bytes: Buffer, start: number): number {
  let depth = 0;
  let isText = false;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === OPENING_BRACE) depth++;
    else if (byte === CLOSING_BRACE && --depth === 0) return at + 1;
  }
  return bytes.length;
}

/** A file's bytes in the shared buffer, none of them if it is too large for a shard; undefined where there is no file. */
function readIntoBuffer(path: string): Buffer | undefined {
  try {
    const file = openSync(path, 'r');
    try {
      const { size } = fstatSync(file);
      if (size > MAX_BYTES) return buffer.subarray(0, 0);
      if (size > buffer.length) buffer = Buffer.allocUnsafe(size * 2);
      let length = 0;
      while (length < size) {
        const read = readSync(file, buffer, length, size - length, length);
        if (read === 0) break;
        length += read;
      }
      return buffer.subarray(0, length);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw storageError('read', path, error);
  }
}

function readShard(json: unknown): Shard | undefined {
  if (!isObject(json) || !isObject(json['answers']) || !isObject(json['aliases'])) return undefined;
  return { answers: json['answers'], aliases: json['aliases'] };
}

function isObject(json: unknown): json is Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function sortedByName<Value>(members: ReadonlyMap<string, Value>): Record<string, Value> {
  return Object.fromEntries([...members].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The caller reports the shard.
    return undefined;
  }
}
