import { randomUUID } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCodeOf } from '../errors.js';
import { evidenceFromJson, evidenceToJson, type FileEvidence } from '../evidence.js';
import { algorithmOf } from '../hash.js';
import { makeFolder, setAside, syncFolder, writeFileDurably } from '../storage/json-file.js';
import { storageError } from '../storage/storage-error.js';

/** No batch of ours comes near: what is larger was put there by somebody else. */
const MAX_BYTES = 256 * 1024 * 1024;

/** When batches have grown to this they are folded: enough that a fold pays, little enough to be read by every run. */
const FULL_BYTES = 48 * 1024 * 1024;
const FULL_BATCHES = 64;

/** How a line starts, so that lines are indexed without being parsed. A SHA256 has 64 digits. */
const LINE_START = '{"hash":"';
const LINE_HEAD = /^\{"hash":"([0-9a-f]{32,64})","evidence":\{/;
const LINE_HEAD_BYTES = LINE_START.length + 64 + 16;
const LINE_FEED = 0x0a;

/**
 * What runs have added to the sightings and is not in shards yet: one file per addition, `<uuid>.jsonl`, a line per file seen. A
 * batch appears whole, with one sync for thousands of files, and never changes; so anybody may fold it, and reading needs no lock.
 */
export class Batches {
  readonly #folder: string;
  readonly #onReport: (message: string) => void;
  #known: ReadonlyMap<string, Batch> = new Map();

  constructor(folder: string, onReport: (message: string) => void) {
    this.#folder = folder;
    this.#onReport = onReport;
  }

  /** Adds a batch; durable once resolved. Throws StorageError. */
  async add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    const lines: string[] = [];
    for (const [hash, evidence] of seen)
      lines.push(`${JSON.stringify({ hash, evidence: evidenceToJson(evidence) })}\n`);
    try {
      await makeFolder(this.#folder);
    } catch (error) {
      throw storageError('make the folder', this.#folder, error);
    }
    await writeFileDurably(join(this.#folder, `${randomUUID()}.jsonl`), lines.join(''));
  }

  /** The batches there are. One that is gone has been folded, so shards have to be read after this, never before. Throws StorageError. */
  async read(): Promise<readonly Batch[]> {
    const present = new Map<string, Batch>();
    for (const name of await this.#names()) {
      const path = join(this.#folder, name);
      const batch = this.#known.get(path) ?? (await this.#open(path));
      if (batch !== undefined) present.set(path, batch);
    }
    this.#known = present;
    return [...present.values()];
  }

  /** Whether folding pays by now. */
  isFull(batches: readonly Batch[]): boolean {
    return batches.length >= FULL_BATCHES || batches.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) >= FULL_BYTES;
  }

  /** Removes batches whose sightings are durable in shards; damaged ones are kept aside. Throws StorageError. */
  async remove(batches: readonly Batch[]): Promise<void> {
    for (const batch of batches) {
      try {
        if (batch.isDamaged) await setAside(batch.path);
        else await rm(batch.path, { force: true });
      } catch (error) {
        throw storageError('remove', batch.path, error);
      }
    }
    await syncFolder(this.#folder);
  }

  async #open(path: string): Promise<Batch | undefined> {
    try {
      if ((await stat(path)).size > MAX_BYTES) {
        this.#onReport(`${path}: too large for a batch of sightings and left out; look at it, then move it away`);
        return undefined;
      }
      return new Batch(path, await readFile(path), this.#onReport);
    } catch (error) {
      // Folded and removed since the folder was listed.
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw storageError('read', path, error);
    }
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

/** One addition of sightings, kept as bytes with the place of each file's line. */
export class Batch {
  readonly path: string;
  readonly #bytes: Buffer;
  readonly #onReport: (message: string) => void;
  readonly #lines = new Map<string, { readonly start: number; readonly end: number }>();
  #isDamaged = false;

  constructor(path: string, bytes: Buffer, onReport: (message: string) => void) {
    this.path = path;
    this.#bytes = bytes;
    this.#onReport = onReport;
    let start = 0;
    while (start < bytes.length) {
      const feed = bytes.indexOf(LINE_FEED, start);
      const end = feed < 0 ? bytes.length : feed;
      const head = bytes.toString('latin1', start, Math.min(end, start + LINE_HEAD_BYTES));
      const hash = LINE_HEAD.exec(head)?.[1];
      if (hash === undefined || algorithmOf(hash) === undefined) this.#markDamaged(start);
      else this.#lines.set(hash, { start, end });
      start = end + 1;
    }
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  /** Whether lines were met that are no sightings: then the file is worth keeping. */
  get isDamaged(): boolean {
    return this.#isDamaged;
  }

  /** The digests of the files it tells of. */
  hashes(): Iterable<string> {
    return this.#lines.keys();
  }

  /** What it tells of a file. */
  find(hash: string): FileEvidence | undefined {
    const line = this.#lines.get(hash);
    if (line === undefined) return undefined;
    const evidence = readLine(this.#bytes.toString('utf8', line.start, line.end));
    if (evidence === undefined) {
      this.#lines.delete(hash);
      this.#markDamaged(line.start);
    }
    return evidence;
  }

  #markDamaged(start: number): void {
    this.#isDamaged = true;
    this.#onReport(`${this.path}: the line at 0x${start.toString(16)} is damaged and left out; the file is kept`);
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
