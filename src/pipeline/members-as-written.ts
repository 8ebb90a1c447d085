import type { Judgement, MemberMark } from '../judgements.js';

/** Distinct files of one log whose members are kept, to know later whether the log's records have to be refreshed. */
const MAX_MEMBERS = 250_000;

const FIRST_MEMBERS = 64;

/** The files that the records of one enriched file name, and the marks of their `virustotal` members as they were written into it. */
export class MembersAsWritten {
  /** A bit for each file of the run, by its number; only while members are added. */
  #isKept: Uint8Array | undefined = new Uint8Array(FIRST_MEMBERS / 8);
  #numbers = new Uint32Array(FIRST_MEMBERS);
  #marks = new Uint32Array(FIRST_MEMBERS);
  #size = 0;

  /** False once there were too many to keep: then there are none. */
  get isWhole(): boolean {
    return this.#size <= MAX_MEMBERS;
  }

  /** Whether the file's member is kept, or none any more. */
  has({ number }: Judgement): boolean {
    return !this.isWhole || (((this.#isKept?.[number >>> 3] ?? 0) >>> (number & 7)) & 1) === 1;
  }

  /** Keeps a member of a file that has none. */
  add({ number }: Judgement, mark: MemberMark): void {
    if (this.#isKept === undefined) throw new Error('members were added after the last one');
    if (this.#isKept.length <= number >>> 3) this.#isKept = grown(this.#isKept, number >>> 3);
    this.#isKept[number >>> 3] = (this.#isKept[number >>> 3] ?? 0) | (1 << (number & 7));
    if (this.#size === this.#numbers.length) {
      this.#numbers = grown(this.#numbers, this.#size);
      this.#marks = grown(this.#marks, this.#size);
    }
    this.#numbers[this.#size] = number;
    this.#marks[this.#size] = mark;
    this.#size++;
    if (!this.isWhole) this.#keep(0);
  }

  /** The same, when there are no more to come. */
  finished(): this {
    this.#keep(this.isWhole ? this.#size : 0);
    return this;
  }

  /** The numbers of the files, and the marks of their members. */
  *all(): Generator<readonly [number: number, mark: MemberMark]> {
    for (const [place, number] of this.#numbers.entries()) yield [number, this.#marks[place] ?? 0];
  }

  #keep(size: number): void {
    this.#isKept = undefined;
    this.#numbers = this.#numbers.slice(0, size);
    this.#marks = this.#marks.slice(0, size);
  }
}

/** A list with room for `place`, and half as much again. */
function grown<T extends Uint8Array | Uint32Array>(list: T, place: number): T {
  const longer = new (list.constructor as new (length: number) => T)(Math.ceil((place + 1) * 1.5));
  longer.set(list);
  return longer;
}
