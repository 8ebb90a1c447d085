import { Low } from 'lowdb';
import { Column, DigestTable } from '../digest-table.js';
import { jsonFile } from '../storage/json-file.js';

/** Since when a file waits for a question, and how telling its answer was taken to be when it was last ranked. */
export interface WaitingFile {
  readonly since: Date;
  readonly score: number;
}

/** Digests of a piece of text. */
const HASHES_PER_PIECE = 1_000;

/** The files that wait for a question: a year of full nights leaves hundreds of thousands, so each takes a row of some 65 bytes. */
export class WaitingFiles {
  readonly #files = new DigestTable();
  /** Milliseconds since the epoch. */
  readonly #since = new Column(Float64Array);
  readonly #scores = new Column(Float64Array);
  readonly #isWaiting = new Column(Uint8Array);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** What is kept of a file, undefined where it does not wait. */
  get(hash: string): WaitingFile | undefined {
    const number = this.#files.find(hash);
    return number === undefined || this.#isWaiting.get(number) === 0 ? undefined : this.#at(number);
  }

  /** Lets a file wait, or changes what is kept of it; false where `hash` is no digest. */
  set(hash: string, { since, score }: WaitingFile): boolean {
    const number = this.#files.add(hash);
    if (number === undefined) return false;
    if (this.#isWaiting.get(number) === 0) this.#size++;
    this.#isWaiting.set(number, 1);
    this.#since.set(number, since.getTime());
    this.#scores.set(number, score);
    return true;
  }

  /** Lets a file wait no more; whether it did. */
  delete(hash: string): boolean {
    const number = this.#files.find(hash);
    if (number === undefined || this.#isWaiting.get(number) === 0) return false;
    this.#isWaiting.set(number, 0);
    this.#size--;
    return true;
  }

  /** The digests of all that wait, in the order in which they came. */
  *hashes(): Generator<string> {
    for (const number of this.#numbers()) yield this.#files.hashAt(number);
  }

  /** The digests of the first `count` of those that `isMeant` picks, in an order; of equals those that came first. */
  first(
    count: number,
    order: (a: WaitingFile, b: WaitingFile) => number,
    isMeant: (file: WaitingFile) => boolean,
  ): string[] {
    const chosen = Uint32Array.from(this.#numbers())
      .filter((number) => isMeant(this.#at(number)))
      .sort((a, b) => order(this.#at(a), this.#at(b)) || a - b)
      .subarray(0, count);
    return Array.from(chosen, (number) => this.#files.hashAt(number));
  }

  /** All that wait as a JSON array of groups `[since, score, 'digest digest …']`, since thousands became due in the same run; in pieces. */
  *toJson(): Generator<string> {
    const groups = new Map<string, number[]>();
    for (const number of this.#numbers()) {
      const name = `${JSON.stringify(this.#at(number).since)},${this.#scores.get(number)}`;
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [number]);
      else group.push(number);
    }
    let separator = '[';
    for (const [name, numbers] of groups) {
      yield `${separator}[${name},"`;
      for (let start = 0; start < numbers.length; start += HASHES_PER_PIECE) {
        const hashes = numbers.slice(start, start + HASHES_PER_PIECE).map((number) => this.#files.hashAt(number));
        yield `${start > 0 ? ' ' : ''}${hashes.join(' ')}`;
      }
      yield '"]';
      separator = ',';
    }
    yield groups.size > 0 ? ']' : '[]';
  }

  /** Adds what `toJson` wrote. Returns how many groups or digests of it are none. */
  addJson(groups: readonly unknown[]): number {
    let damaged = 0;
    for (const group of groups) {
      const [time, score, hashes]: readonly unknown[] = Array.isArray(group) ? group : [];
      const since = new Date(typeof time === 'string' ? time : Number.NaN);
      const isGroup = !Number.isNaN(since.getTime()) && typeof score === 'number' && typeof hashes === 'string';
      if (!isGroup) {
        damaged++;
        continue;
      }
      const file = { since, score };
      for (let start = 0; start < hashes.length; ) {
        const blank = hashes.indexOf(' ', start);
        const end = blank < 0 ? hashes.length : blank;
        if (!this.set(hashes.slice(start, end), file)) damaged++;
        start = end + 1;
      }
    }
    return damaged;
  }

  *#numbers(): Generator<number> {
    for (let number = 0; number < this.#files.size; number++) if (this.#isWaiting.get(number) === 1) yield number;
  }

  #at(number: number): WaitingFile {
    return { since: new Date(this.#since.get(number)), score: this.#scores.get(number) };
  }
}

/** The list as it is stored, `{"waiting": […]}`. */
interface StoredWaiting {
  readonly files: WaitingFiles;
  /** How much of it could not be read. */
  readonly damaged: number;
}

/** lowdb's document of the waiting files; not read yet. A file that is none is set aside when it is, which `onSetAside` is told. */
export function waitingDocument(path: string, onSetAside: (path: string) => void): Low<StoredWaiting> {
  return new Low(jsonFile(path, storedWaiting, onSetAside, textOf), { files: new WaitingFiles(), damaged: 0 });
}

function storedWaiting(json: unknown): StoredWaiting | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { waiting } = json as { readonly waiting?: unknown };
  if (!Array.isArray(waiting)) return undefined;
  const files = new WaitingFiles();
  return { files, damaged: files.addJson(waiting) };
}

function* textOf({ files }: StoredWaiting): Generator<string> {
  yield '{"waiting":';
  yield* files.toJson();
  yield '}';
}
