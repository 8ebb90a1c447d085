import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemCodeOf } from '../errors.js';
import { evidenceFromJson, evidenceToJson, type FileEvidence, mergeEvidence } from '../evidence.js';
import { algorithmOf } from '../hash.js';
import { makeFolder, setAside, syncFolder, writeFileDurably } from '../storage/json-file.js';
import { storageError } from '../storage/storage-error.js';
import { temporaryFolder } from '../storage/temporary.js';

/** No batch of ours comes near: what is larger was put there by somebody else. */
const MAX_BYTES = 256 * 1024 * 1024;

/** Batches are folded once there are so many: all of them are open while they are read. */
const FULL_BATCHES = 64;

/** Files this process has added and still has in memory: those of an ordinary night, which is asked about them next. */
const MAX_RECENT = 8_000;

/** Files that are added only for a while and need not be written anywhere. */
const MAX_KEPT_APART = 4_000;

const MAX_REPORTS = 1_000;

/** A line is some 2.5 kB, and what is written at once should not be large for the memory of C. */
const LINES_PER_WRITE = 32;

/** How a line starts, and what stands behind its digest, so that lines are told apart without being parsed. A SHA256 has 64 digits. */
const LINE_START = '{"hash":"';
const DIGEST_END = '","evidence":{';
const LINE_HEAD_BYTES = LINE_START.length + 64 + DIGEST_END.length;
/** Of MD5, SHA1 and SHA256 in hex. */
const DIGEST_LENGTHS: ReadonlySet<number> = new Set([32, 40, 64]);
const LINE_FEED = 0x0a;

/** Bytes of a batch read at once; longer lines than `MAX_LINE_BYTES` are none of ours, since evidence is bounded. */
const BLOCK_BYTES = 64 * 1024;
const MAX_LINE_BYTES = 1024 * 1024;

/**
 * What runs have added to the sightings and is not in shards yet: one file per addition, `<uuid>.jsonl`, a line per file seen, in the
 * order of their digests. A batch appears whole, with one sync for thousands of files, and never changes; so anybody may fold it, and
 * reading needs no lock. Batches are read side by side, a line of each at a time, so that a first night's fill no memory.
 */
export class Batches {
  readonly #folder: string;
  readonly #onReport: (message: string) => void;
  /** What this process added, by path, as long as that is little. It is only ever merged with more of the same files. */
  #recent: Map<string, ReadonlyMap<string, FileEvidence>> | undefined = new Map();
  #recentFiles = 0;

  constructor(folder: string, onReport: (message: string) => void) {
    this.#folder = folder;
    // A run reads a batch several times and tells of its damage once.
    const told = new Set<string>();
    this.#onReport = (message) => {
      if (told.has(message) || told.size === MAX_REPORTS) return;
      told.add(message);
      onReport(message);
    };
  }

  /** Adds a batch, whose evidence belongs to this from now on; durable once resolved. Throws StorageError. */
  async add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    const hashes = [...seen.keys()].filter((hash) => algorithmOf(hash) !== undefined).sort();
    if (hashes.length === 0) return;
    try {
      await makeFolder(this.#folder);
    } catch (error) {
      throw storageError('make the folder', this.#folder, error);
    }
    const path = join(this.#folder, `${randomUUID()}.jsonl`);
    await writeFileDurably(path, linesOf(seen, hashes));
    this.#recentFiles += seen.size;
    if (this.#recentFiles > MAX_RECENT) this.#recent = undefined;
    else this.#recent?.set(path, seen);
  }

  /**
   * Opens the batches there are. One that is gone by now has been folded, so shards have to be read after this, never before. To be
   * closed. Throws StorageError.
   */
  async open(): Promise<OpenBatches> {
    const batches: Batch[] = [];
    try {
      for (const name of await this.#names()) {
        const path = join(this.#folder, name);
        const batch = await openBatch(path, this.#recent?.get(path), this.#onReport);
        if (batch !== undefined) batches.push(batch);
      }
    } catch (error) {
      for (const batch of batches) batch.close();
      throw error;
    }
    return new OpenBatches(batches);
  }

  /** How many batches there are, and their bytes. Throws StorageError. */
  async extent(): Promise<{ readonly isFull: boolean; readonly bytes: number }> {
    const names = await this.#names();
    let bytes = 0;
    for (const name of names) {
      try {
        bytes += (await stat(join(this.#folder, name))).size;
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw storageError('read', join(this.#folder, name), error);
      }
    }
    return { isFull: names.length >= FULL_BATCHES, bytes };
  }

  /** Removes batches whose sightings are durable in shards; damaged ones are kept aside. Throws StorageError. */
  async remove(batches: OpenBatches): Promise<void> {
    for (const { path, isDamaged } of batches.all) {
      this.#recent?.delete(path);
      try {
        if (isDamaged) await setAside(path);
        else await rm(path, { force: true });
      } catch (error) {
        throw storageError('remove', path, error);
      }
    }
    await syncFolder(this.#folder);
  }

  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => name.endsWith('.jsonl')).sort();
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return [];
      throw storageError('read', this.#folder, error);
    }
  }
}

/** The lines of a batch, some at a time: as one text they would be ten megabytes twice. */
function* linesOf(seen: ReadonlyMap<string, FileEvidence>, hashes: readonly string[]): Generator<string> {
  for (let start = 0; start < hashes.length; start += LINES_PER_WRITE) {
    const lines = hashes.slice(start, start + LINES_PER_WRITE).map((hash) => {
      const evidence = seen.get(hash);
      return evidence === undefined ? '' : `${JSON.stringify({ hash, evidence: evidenceToJson(evidence) })}\n`;
    });
    yield lines.join('');
  }
}

/** Batches being read side by side. */
export class OpenBatches {
  readonly all: readonly Batch[];

  constructor(batches: readonly Batch[]) {
    this.all = batches;
  }

  /**
   * What all batches tell of the files whose digests begin with `prefix`, of those in `wanted` if that is given. Prefixes are to be
   * asked for in ascending order. Throws StorageError.
   */
  take(prefix: string, wanted?: ReadonlySet<string>): Map<string, Sightings> {
    const found = new Map<string, Sightings>();
    for (const batch of this.all) batch.take(prefix, wanted, found);
    return found;
  }

  close(): void {
    for (const batch of this.all) batch.close();
  }
}

interface Batch {
  readonly path: string;
  /** Whether lines were met that are no sightings: then the file is worth keeping. */
  readonly isDamaged: boolean;
  /** Adds to `found` what it tells of files with this prefix. */
  take(prefix: string, wanted: ReadonlySet<string> | undefined, found: Map<string, Sightings>): void;
  close(): void;
}

async function openBatch(
  path: string,
  recent: ReadonlyMap<string, FileEvidence> | undefined,
  onReport: (message: string) => void,
): Promise<Batch | undefined> {
  try {
    if ((await stat(path)).size > MAX_BYTES) {
      onReport(`${path}: too large for a batch of sightings and left out; look at it, then move it away`);
      return undefined;
    }
    return recent === undefined ? new StoredBatch(path, openSync(path, 'r'), onReport) : new RecentBatch(path, recent);
  } catch (error) {
    // Folded and removed since the folder was listed.
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw storageError('read', path, error);
  }
}

/** A line of a batch, read as evidence only when it is wanted. */
interface StoredLine {
  readonly text: string;
  readonly onDamage: () => void;
}

/** What batches tell of one file. */
export class Sightings {
  readonly #parts: (FileEvidence | StoredLine)[] = [];

  add(part: FileEvidence | StoredLine): void {
    this.#parts.push(part);
  }

  /** All of it, added to `evidence` if there is some; undefined where there is none and all lines are damaged. */
  mergedInto(evidence: FileEvidence | undefined): FileEvidence | undefined {
    let merged = evidence;
    for (const part of this.#parts) {
      const known = 'text' in part ? readLine(part.text) : part;
      if (known === undefined) (part as StoredLine).onDamage();
      else if (merged === undefined) merged = known;
      else mergeEvidence(merged, known);
    }
    return merged;
  }
}

function addTo(found: Map<string, Sightings>, hash: string, part: FileEvidence | StoredLine): void {
  let known = found.get(hash);
  if (known === undefined) {
    known = new Sightings();
    found.set(hash, known);
  }
  known.add(part);
}

/** Batches of sightings that are not to be kept: in memory at first, then in a folder among the system's temporary files. */
export class TemporaryBatches {
  readonly #onReport: (message: string) => void;
  readonly #kept: ReadonlyMap<string, FileEvidence>[] = [];
  #keptFiles = 0;
  #stored: { readonly folder: string; readonly batches: Batches } | undefined;

  constructor(onReport: (message: string) => void) {
    this.#onReport = onReport;
  }

  /** Adds a batch, whose evidence belongs to this from now on. Throws StorageError. */
  async add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    if (this.#keptFiles + seen.size <= MAX_KEPT_APART) {
      this.#keptFiles += seen.size;
      this.#kept.push(seen);
      return;
    }
    try {
      if (this.#stored === undefined) {
        const folder = await temporaryFolder();
        this.#stored = { folder, batches: new Batches(folder, this.#onReport) };
      }
    } catch (error) {
      throw storageError('make a folder', tmpdir(), error);
    }
    await this.#stored.batches.add(seen);
  }

  /** As `Batches.open`. */
  async open(): Promise<OpenBatches> {
    const stored = (await this.#stored?.batches.open())?.all ?? [];
    return new OpenBatches([...this.#kept.map((files) => new RecentBatch('', files)), ...stored]);
  }

  /** Removes what was written. Throws StorageError. */
  async close(): Promise<void> {
    if (this.#stored === undefined) return;
    const { folder } = this.#stored;
    try {
      await rm(folder, { recursive: true, force: true });
    } catch (error) {
      throw storageError('remove', folder, error);
    }
  }
}

/** A batch that this process still has in memory. */
class RecentBatch implements Batch {
  readonly path: string;
  readonly isDamaged = false;
  readonly #files: ReadonlyMap<string, FileEvidence>;
  /** Digests in ascending order, and how many of them are taken. */
  #order: readonly string[] | undefined;
  #taken = 0;

  constructor(path: string, files: ReadonlyMap<string, FileEvidence>) {
    this.path = path;
    this.#files = files;
  }

  take(prefix: string, wanted: ReadonlySet<string> | undefined, found: Map<string, Sightings>): void {
    if (wanted !== undefined) {
      for (const hash of wanted) this.#addTo(found, hash);
      return;
    }
    this.#order ??= [...this.#files.keys()].sort();
    for (; this.#taken < this.#order.length; this.#taken++) {
      const hash = this.#order[this.#taken] ?? '';
      if (hash.startsWith(prefix)) this.#addTo(found, hash);
      else if (hash > prefix) return;
    }
  }

  close(): void {
    this.#order = undefined;
  }

  #addTo(found: Map<string, Sightings>, hash: string): void {
    const evidence = this.#files.get(hash);
    if (evidence !== undefined && algorithmOf(hash) !== undefined) addTo(found, hash, evidence);
  }
}

/**
 * A batch read from its file, block after block and without the thread pool: its detour costs more than reading what the system has in
 * its memory anyway.
 */
class StoredBatch implements Batch {
  readonly path: string;
  isDamaged = false;
  readonly #onReport: (message: string) => void;
  #file: number | undefined;
  #block = Buffer.allocUnsafe(BLOCK_BYTES);
  /** Where the present line begins in the block, where the block's bytes end, and where the block lies in the file. */
  #start = 0;
  #filled = 0;
  #blockOffset = 0;
  /** Where the present line ends, or -1 while none has been found. */
  #lineEnd = -1;
  #isAtEnd = false;
  #previousHash = '';

  constructor(path: string, file: number, onReport: (message: string) => void) {
    this.path = path;
    this.#file = file;
    this.#onReport = onReport;
  }

  take(prefix: string, wanted: ReadonlySet<string> | undefined, found: Map<string, Sightings>): void {
    while (this.#findLine()) {
      const hash = this.#hashOfLine();
      if (hash !== undefined) {
        if (hash.slice(0, prefix.length) > prefix) return;
        if (hash.startsWith(prefix) && wanted?.has(hash) !== false) {
          const offset = this.#blockOffset + this.#start;
          const text = this.#block.toString('utf8', this.#start, this.#lineEnd);
          if (wanted === undefined && algorithmOf(hash) === undefined) this.#markDamaged(offset);
          else addTo(found, hash, { text, onDamage: () => this.#markDamaged(offset) });
        }
        this.#previousHash = hash;
      }
      this.#start = this.#lineEnd + 1;
      this.#lineEnd = -1;
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  /** Finds the end of the present line, reading on where the block does not hold it. False at the end of the file. */
  #findLine(): boolean {
    if (this.#lineEnd >= 0) return true;
    for (let searched = this.#start; ; ) {
      const feed = this.#block.subarray(0, this.#filled).indexOf(LINE_FEED, searched);
      if (feed >= 0) {
        this.#lineEnd = feed;
        return true;
      }
      if (this.#isAtEnd) {
        if (this.#start >= this.#filled) return false;
        // Batches appear whole, so a last line without its end is as damaged as one too long.
        this.#lineEnd = this.#filled;
        return true;
      }
      searched = this.#filled - this.#start;
      this.#readOn();
    }
  }

  /** Moves the present line to the start of the block and fills the rest. */
  #readOn(): void {
    this.#block.copyWithin(0, this.#start, this.#filled);
    this.#filled -= this.#start;
    this.#blockOffset += this.#start;
    this.#start = 0;
    if (this.#filled === this.#block.length) {
      if (this.#filled >= MAX_LINE_BYTES) {
        this.#isAtEnd = true;
        return;
      }
      const larger = Buffer.allocUnsafe(this.#block.length * 2);
      this.#block.copy(larger, 0, 0, this.#filled);
      this.#block = larger;
    }
    try {
      const bytes = readSync(this.#file ?? -1, this.#block, this.#filled, this.#block.length - this.#filled, null);
      this.#filled += bytes;
      this.#isAtEnd = bytes === 0;
    } catch (error) {
      throw storageError('read', this.path, error);
    }
  }

  /** The digest the present line is about; undefined where the line is no sightings or stands where it does not belong. */
  #hashOfLine(): string | undefined {
    const head = this.#block.toString('latin1', this.#start, Math.min(this.#lineEnd, this.#start + LINE_HEAD_BYTES));
    const end = head.indexOf('"', LINE_START.length);
    const hash = head.slice(LINE_START.length, end);
    const isSound = head.startsWith(LINE_START) && head.startsWith(DIGEST_END, end) && DIGEST_LENGTHS.has(hash.length);
    // Whether these are digits matters to whoever wants the file, and what is no digest nobody wants.
    if (isSound && hash >= this.#previousHash) return hash;
    this.#markDamaged(this.#blockOffset + this.#start);
    return undefined;
  }

  #markDamaged(offset: number): void {
    this.isDamaged = true;
    this.#onReport(`${this.path}: the line at 0x${offset.toString(16)} is damaged and left out; the file is kept`);
  }
}

function readLine(text: string): FileEvidence | undefined {
  try {
    const { evidence }: { readonly evidence?: unknown } = JSON.parse(text);
    return evidenceFromJson(evidence);
  } catch {
    // The caller reports the line.
    return undefined;
  }
}
