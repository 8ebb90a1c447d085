import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { Low } from 'lowdb';
import { systemCodeOf } from '../errors.js';
import { evidenceFromJson, evidenceToJson, type FileEvidence } from '../evidence.js';
import { algorithmOf } from '../hash.js';
import { jsonFile, writeFileDurably } from '../storage/json-file.js';
import { findMember, type MemberPlace, memberNames, memberPlaces, memberStart } from '../storage/sorted-members.js';
import { storageError } from '../storage/storage-error.js';

/** The sightings of the files whose digests begin alike, as they are stored. */
export interface Shard {
  readonly path: string;
  digests(): Iterable<string>;
  /** What is stored of a file; `damaged` where that is no evidence. */
  find(hash: string): FileEvidence | 'damaged' | undefined;
}

/** How a shard is stored, members in this order: anything, by digest, in ascending order of the digests where `order` says so. */
interface StoredShard {
  readonly order?: 'digest';
  readonly files: Readonly<Record<string, unknown>>;
}

const SORTED_START = Buffer.from('{"order":"digest","files":{');
const SORTED_END = Buffer.from('}}');
const COMMA = Buffer.from(',');
/** How evidence begins (`evidenceToJson`). */
const EVIDENCE_START = memberStart('records');

/** No shard of ours comes near. */
const MAX_BYTES = 256 * 1024 * 1024;

/** Reads shards one after another. A shard is to be used before the next one is read: they share a buffer. */
export class ShardReader {
  readonly #onSetAside: (path: string) => void;
  #buffer = Buffer.allocUnsafe(256 * 1024);

  /** `onSetAside` is told the new name of a shard that is damaged as a whole. */
  constructor(onSetAside: (path: string) => void) {
    this.#onSetAside = onSetAside;
  }

  /** A shard without files where there is none yet. Throws StorageError. */
  async read(path: string): Promise<Shard> {
    const bytes = this.#readBytes(path);
    if (bytes === undefined) return new ParsedShard(path, {});
    if (isSorted(bytes)) return new SortedShard(path, bytes);
    const low = new Low(jsonFile(path, readDocument, this.#onSetAside), EMPTY);
    await low.read();
    return new ParsedShard(path, low.data.files);
  }

  #readBytes(path: string): Buffer | undefined {
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw storageError('read', path, error);
    }
    try {
      const { size } = fstatSync(file);
      // What is too large for a shard is set aside by whoever parses it.
      if (size > MAX_BYTES) return Buffer.alloc(0);
      if (this.#buffer.length < size) this.#buffer = Buffer.allocUnsafe(size + (size >>> 2));
      let length = 0;
      while (length < size) {
        const read = readSync(file, this.#buffer, length, size - length, null);
        if (read === 0) break;
        length += read;
      }
      return this.#buffer.subarray(0, length);
    } catch (error) {
      throw storageError('read', path, error);
    } finally {
      closeSync(file);
    }
  }
}

/**
 * A shard to which files are added, or of which some are replaced, without reading the others: a first night's thousands would be parsed
 * and written anew at every fold. Undefined where the shard is not laid out as this program writes it. Whoever calls holds the lock.
 * Throws StorageError.
 */
export function openGrowingShard(path: string): GrowingShard | undefined {
  let bytes: Buffer;
  try {
    if (statSync(path).size > MAX_BYTES) return undefined;
    bytes = readFileSync(path);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw storageError('read', path, error);
    bytes = Buffer.concat([SORTED_START, SORTED_END]);
  }
  if (!isSorted(bytes)) return undefined;
  const places = memberPlaces(bytes, EVIDENCE_START, SORTED_START.length, bytes.length - SORTED_END.length);
  // What has no digest for its name goes when a shard is written as a whole.
  if (places === undefined || places.some(({ name }) => algorithmOf(name) === undefined)) return undefined;
  return new GrowingShard(path, bytes, places);
}

/**
 * Rewrites a shard as a whole: `change` gets what is stored and returns what is to be, of which files that last ran before `oldestMs` are
 * left out. Whoever calls holds the lock. Throws StorageError;
 * `onSetAside` is told the new name of a shard that is damaged as a whole.
 */
export async function rewriteShard(
  path: string,
  onSetAside: (path: string) => void,
  change: (shard: Shard) => Promise<ReadonlyMap<string, FileEvidence>>,
  oldestMs: number,
): Promise<void> {
  const low = new Low(jsonFile(path, readDocument, onSetAside), EMPTY);
  await low.read();
  const changed = await change(new ParsedShard(path, low.data.files));
  const files = [...changed].filter(([, evidence]) => !isOlder(evidence, oldestMs));
  files.sort(([a], [b]) => (a < b ? -1 : 1));
  low.data = {
    order: 'digest',
    files: Object.fromEntries(files.map(([hash, evidence]) => [hash, evidenceToJson(evidence)])),
  };
  await low.write();
}

const EMPTY: StoredShard = { files: {} };

/** A shard as this program writes it, searched by its bytes: a night wants a few dozen of its thousands. */
class SortedShard implements Shard {
  readonly path: string;
  readonly #bytes: Buffer;

  constructor(path: string, bytes: Buffer) {
    this.path = path;
    this.#bytes = bytes;
  }

  digests(): Iterable<string> {
    return memberNames(this.#bytes, EVIDENCE_START, SORTED_START.length);
  }

  find(hash: string): FileEvidence | 'damaged' | undefined {
    const found = findMember(this.#bytes, hash, EVIDENCE_START, SORTED_START.length);
    return found === undefined ? undefined : readEvidence(hash, parseOrUndefined(found.toString('utf8')));
  }
}

/** How evidence ends where it has a `last_seen` (`evidenceToJson`): the time as `Date.toISOString` writes it stands between these. */
const LAST_SEEN_START = Buffer.from(',"last_seen":"');
const LAST_SEEN_END = Buffer.from('"}');
const TIME_BYTES = 24;

/** A shard of which only what changes is parsed. What is damaged in the rest is told by whoever asks for it. */
class GrowingShard implements Shard {
  readonly path: string;
  readonly #bytes: Buffer;
  readonly #places: ReadonlyMap<string, MemberPlace>;

  constructor(path: string, bytes: Buffer, places: readonly MemberPlace[]) {
    this.path = path;
    this.#bytes = bytes;
    this.#places = new Map(places.map((place) => [place.name, place]));
  }

  digests(): Iterable<string> {
    return this.#places.keys();
  }

  find(hash: string): FileEvidence | 'damaged' | undefined {
    const place = this.#places.get(hash);
    if (place === undefined) return undefined;
    const valueAt = place.start + `"${hash}":`.length;
    return readEvidence(hash, parseOrUndefined(this.#bytes.toString('utf8', valueAt, place.end)));
  }

  /**
   * Writes the shard with what `changed` holds in the place of `replaced`, which may be new to it, and without files that last ran before
   * `oldestMs`. Throws StorageError.
   */
  async write(
    replaced: ReadonlySet<string>,
    changed: ReadonlyMap<string, FileEvidence>,
    oldestMs: number,
  ): Promise<void> {
    const members: (readonly [name: string, member: Buffer])[] = [];
    for (const place of this.#places.values()) {
      if (replaced.has(place.name) || this.#isOlder(place, oldestMs)) continue;
      members.push([place.name, this.#bytes.subarray(place.start, place.end)]);
    }
    for (const [hash, evidence] of changed) {
      if (isOlder(evidence, oldestMs)) continue;
      members.push([hash, Buffer.from(`"${hash}":${JSON.stringify(evidenceToJson(evidence))}`)]);
    }
    members.sort(([a], [b]) => (a < b ? -1 : 1));
    const parts: Buffer[] = [SORTED_START];
    for (const [index, [, member]] of members.entries()) {
      if (index > 0) parts.push(COMMA);
      parts.push(member);
    }
    await writeFileDurably(this.path, Buffer.concat([...parts, SORTED_END]));
  }

  #isOlder({ name, start, end }: MemberPlace, oldestMs: number): boolean {
    const timeAt = end - LAST_SEEN_END.length - TIME_BYTES;
    const head = timeAt - LAST_SEEN_START.length;
    const endsWithTime =
      head > start &&
      this.#bytes.compare(LAST_SEEN_START, 0, LAST_SEEN_START.length, head, timeAt) === 0 &&
      this.#bytes.compare(LAST_SEEN_END, 0, LAST_SEEN_END.length, end - LAST_SEEN_END.length, end) === 0;
    if (endsWithTime) return Date.parse(this.#bytes.toString('latin1', timeAt, timeAt + TIME_BYTES)) < oldestMs;
    const evidence = this.find(name);
    return evidence !== undefined && evidence !== 'damaged' && isOlder(evidence, oldestMs);
  }
}

function isOlder({ lastSeen }: FileEvidence, oldestMs: number): boolean {
  return lastSeen !== undefined && lastSeen.getTime() < oldestMs;
}

/** A shard in another order, or one that is needed as a whole. */
class ParsedShard implements Shard {
  readonly path: string;
  /** JSON.parse makes all names own members, so a hostile file cannot reach the prototype. */
  readonly #files: ReadonlyMap<string, unknown>;

  constructor(path: string, files: StoredShard['files']) {
    this.path = path;
    this.#files = new Map(Object.entries(files));
  }

  digests(): Iterable<string> {
    return this.#files.keys();
  }

  find(hash: string): FileEvidence | 'damaged' | undefined {
    return this.#files.has(hash) ? readEvidence(hash, this.#files.get(hash)) : undefined;
  }
}

function isSorted(bytes: Buffer): boolean {
  return (
    bytes.subarray(0, SORTED_START.length).equals(SORTED_START) && bytes.subarray(-SORTED_END.length).equals(SORTED_END)
  );
}

/** `{"files":{…}}` if that is what the document is. */
function readDocument(json: unknown): StoredShard | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { files } = json as { readonly files?: unknown };
  if (typeof files !== 'object' || files === null || Array.isArray(files)) return undefined;
  return { files: files as StoredShard['files'] };
}

function readEvidence(hash: string, json: unknown): FileEvidence | 'damaged' {
  return (algorithmOf(hash) === undefined ? undefined : evidenceFromJson(json)) ?? 'damaged';
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The caller tells of damage.
    return undefined;
  }
}
