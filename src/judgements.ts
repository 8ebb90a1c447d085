import type { AnswerCache } from './cache/index.js';
import { isPlaceholder, type LookupKey } from './hash.js';
import { isFresh, type Lifetimes, type Lookup } from './lookup.js';
import { judge, type Reason, type Thresholds, type VerdictName, virustotalMember } from './verdict.js';

/** What is known of one file in this run. One per distinct hash, so it is kept small. */
export interface Judgement {
  readonly key: LookupKey;
  /** How many records named this file. */
  records: number;
  /** Where the file was first met in this run, for people; empty where the record does not say. */
  image: string;
  computer: string;
  verdict: VerdictName;
  /** The `virustotal` member as it stands in the records of this file. */
  member: string;
  state: JudgementState;
}

/**
 * `new`: the cache has not been asked. `placeholder`: the hash stands for no file. `cached`: a fresh answer was there.
 * `answered`: an answer came in this run. `due`: there is none, or only a stale one.
 */
type JudgementState = 'new' | 'placeholder' | 'cached' | 'answered' | 'due';

/** What judging rests on. */
export interface JudgementBasis {
  readonly cache: AnswerCache;
  readonly thresholds: Thresholds;
  readonly lifetimes: Lifetimes;
  readonly now: Date;
  /** Why a file without any answer has none, until asking says better. */
  readonly unaskedReason: Reason;
}

/** The distinct files of a run: what the cache knew of them, what asking gave, and what is said of each. */
export class Judgements {
  readonly #basis: JudgementBasis;
  readonly #byHash = new Map<string, Judgement>();
  #unresolved: Judgement[] = [];

  constructor(basis: JudgementBasis) {
    this.#basis = basis;
  }

  /** The judgement for a hash; one not met before is `new` until `resolve` has run. */
  of(key: LookupKey): Judgement {
    const known = this.#byHash.get(key.hash);
    if (known !== undefined) return known;
    const judgement: Judgement = {
      key,
      records: 0,
      image: '',
      computer: '',
      verdict: 'unchecked',
      member: '',
      state: 'new',
    };
    if (isPlaceholder(key.hash)) {
      judgement.state = 'placeholder';
      judgement.member = virustotalMember(key, { verdict: 'unchecked', reason: 'placeholder' });
    } else {
      this.#unresolved.push(judgement);
    }
    this.#byHash.set(key.hash, judgement);
    return judgement;
  }

  /** Asks the cache, at once, about all files met since the last call. */
  async resolve(): Promise<void> {
    if (this.#unresolved.length === 0) return;
    const fresh = this.#unresolved;
    this.#unresolved = [];
    const { cache, lifetimes, now, unaskedReason } = this.#basis;
    const answers = await cache.getMany(fresh.map((judgement) => judgement.key.hash));
    for (const judgement of fresh) {
      const lookup = answers.get(judgement.key.hash);
      if (lookup === undefined) {
        judgement.state = 'due';
        judgement.member = virustotalMember(judgement.key, { verdict: 'unchecked', reason: unaskedReason });
      } else {
        const isCurrent = isFresh(lookup, lifetimes, now);
        this.#rest(judgement, lookup, !isCurrent);
        judgement.state = isCurrent ? 'cached' : 'due';
      }
    }
  }

  /** Takes an answer that came in this run. `isOwn` is false where another process asked and the cache had it first. */
  settle(judgement: Judgement, lookup: Lookup, isOwn: boolean): void {
    this.#rest(judgement, lookup, false);
    judgement.state = isOwn ? 'answered' : 'cached';
  }

  /** Notes why a file was not asked, or not answered. A stale verdict stays: old beats nothing. */
  leaveUnanswered(judgement: Judgement, reason: Reason): void {
    if (judgement.verdict !== 'unchecked') return;
    judgement.member = virustotalMember(judgement.key, { verdict: 'unchecked', reason });
  }

  /** Files without a fresh answer, in the order they were first met. */
  due(): Judgement[] {
    return [...this.#byHash.values()].filter((judgement) => judgement.state === 'due');
  }

  all(): IterableIterator<Judgement> {
    return this.#byHash.values();
  }

  find(hash: string): Judgement | undefined {
    return this.#byHash.get(hash);
  }

  #rest(judgement: Judgement, lookup: Lookup, isStale: boolean): void {
    const verdict = judge(lookup, this.#basis.thresholds);
    judgement.verdict = verdict.verdict;
    judgement.member = virustotalMember(judgement.key, isStale ? { ...verdict, stale: true } : verdict);
  }
}
