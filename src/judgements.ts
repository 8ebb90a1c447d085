import type { AnswerCache } from './cache/index.js';
import { flagAnswer, flagSightings, type SightingTraces } from './flags.js';
import { algorithmOf, type FileHashes, isPlaceholder, type LookupKey } from './hash.js';
import type { KnownFiles } from './known-good/index.js';
import { isFresh, type Lifetimes, type Lookup } from './lookup.js';
import {
  isReason,
  judge,
  type Reason,
  reasonNamed,
  type Thresholds,
  unansweredMember,
  type Verdict,
  type VerdictName,
  virustotalMember,
} from './verdict.js';

/** What is known of one file in this run. One per distinct hash, so it is kept small. */
export class Judgement {
  readonly hash: string;
  state: JudgementState = 'new';
  verdict: VerdictName = 'unchecked';
  /** How many records named this file. */
  records = 0;
  /** Where the file was first met in this run, for people; empty where the record does not say, or where its sightings will. */
  image = '';
  computer = '';
  /** All digests that records or answers named, where there are lists of known files to look them up in. */
  digests: FileHashes | undefined = undefined;
  /** What lists said of it when its log was read, for a log that is not read again. */
  marks: Pick<Verdict, 'knownGood' | 'knownBad'> | undefined = undefined;
  /** A catalogue of known files has it, which is no reason not to ask, but to ask last. */
  isCatalogued = false;
  /** A rule of the user's forbids asking about it. */
  isWithheld = false;
  /** What evidence is measured against. */
  isUnknownToVirusTotal = false;
  firstSubmission: Date | undefined = undefined;
  /** What the file's sightings say, until it is joined with the answer. */
  traces: SightingTraces | undefined = undefined;
  /** The member, or why there is no answer, from which it follows: for most files of a first night that is all there is to keep. */
  #said: string = 'waiting';

  constructor(hash: string) {
    this.hash = hash;
  }

  get key(): LookupKey {
    // Nothing else is ever judged.
    return { algorithm: algorithmOf(this.hash) ?? 'sha1', hash: this.hash };
  }

  /** The `virustotal` member as it stands in the records of this file. */
  get member(): string {
    return isReason(this.#said) ? unansweredMember(this.key, this.#said) : this.#said;
  }

  /** The same in few bytes: equal as long as the member is. */
  get memberMark(): string {
    return this.#said;
  }

  /** The mark of a member that stands in a record of this file. */
  markOf(member: string): string {
    const reason = reasonNamed(/^\{"verdict":"unchecked","reason":"([a-z_]+)"/.exec(member)?.[1] ?? '');
    return reason !== undefined && unansweredMember(this.key, reason) === member ? reason : member;
  }

  /** Sets the member from a verdict. */
  say(verdict: Verdict): void {
    this.verdict = verdict.verdict;
    const { verdict: name, reason, ...rest } = verdict;
    const isBare = name === 'unchecked' && reason !== undefined && Object.keys(rest).length === 0;
    this.#said = isBare ? reason : virustotalMember(this.key, verdict);
  }

  /** Sets the member as it is to be from now on, for the same verdict. */
  sayMember(member: string): void {
    this.#said = member;
  }
}

/**
 * `new`: the cache has not been asked. `placeholder`: the hash stands for no file. `known_good` and `known_bad`: a list of the user's says
 * enough. `cached`: a fresh answer was there. `answered`: an answer came in this run. `due`: there is none, or only a stale one.
 */
type JudgementState = 'new' | 'placeholder' | 'known_good' | 'known_bad' | 'cached' | 'answered' | 'due';

/** What judging rests on. */
export interface JudgementBasis {
  readonly cache: AnswerCache;
  readonly thresholds: Thresholds;
  readonly lifetimes: Lifetimes;
  readonly now: Date;
  /** Lists of known files; each may be absent. */
  readonly knownGood: KnownFiles | undefined;
  readonly knownBad: KnownFiles | undefined;
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

  /**
   * The judgement for a hash; one not met before is `new` until `resolve` has run. `digests` are all that the record names, since a list
   * of known files may have the file under another than the one that is asked with.
   */
  of(key: LookupKey, digests?: FileHashes): Judgement {
    const known = this.#byHash.get(key.hash);
    if (known !== undefined) return known;
    const judgement = new Judgement(key.hash);
    const hasLists = this.#basis.knownGood !== undefined || this.#basis.knownBad !== undefined;
    if (hasLists) judgement.digests = { ...digests, [key.algorithm]: key.hash };
    if (isPlaceholder(key.hash)) {
      judgement.state = 'placeholder';
      judgement.say({ verdict: 'unchecked', reason: 'placeholder' });
    } else {
      this.#unresolved.push(judgement);
    }
    this.#byHash.set(key.hash, judgement);
    return judgement;
  }

  /** Asks the lists of known files and the cache, at once, about all files met since the last call. */
  async resolve(): Promise<void> {
    if (this.#unresolved.length === 0) return;
    const fresh = this.#unresolved;
    this.#unresolved = [];
    const { cache, lifetimes, now, unaskedReason } = this.#basis;
    const answers = await cache.getMany(fresh.map((judgement) => judgement.hash));
    for (const judgement of fresh) {
      const lookup = answers.get(judgement.hash);
      if (lookup !== undefined) {
        const isCurrent = isFresh(lookup, lifetimes, now);
        judgement.state = isCurrent ? 'cached' : 'due';
        this.#rest(judgement, lookup, !isCurrent);
      } else {
        judgement.state = 'due';
        this.#say(judgement, { verdict: 'unchecked', reason: unaskedReason });
      }
    }
  }

  /** Takes an answer that came in this run. `isOwn` is false where another process asked and the cache had it first. */
  settle(judgement: Judgement, lookup: Lookup, isOwn: boolean): void {
    judgement.state = isOwn ? 'answered' : 'cached';
    this.#rest(judgement, lookup, false);
  }

  /** Notes why a file was not asked, or not answered. A stale verdict stays: old beats nothing. */
  leaveUnanswered(judgement: Judgement, reason: Reason): void {
    if (judgement.verdict !== 'unchecked') return;
    this.#say(judgement, { verdict: 'unchecked', reason });
  }

  /** Adds to a judgement what the traces of its sightings say together with the answer. Once for each, since flags are added to those there are. */
  flag(judgement: Judgement): void {
    if (judgement.traces === undefined) return;
    const { flags, ranBeforeFirstSubmissionMs } = flagSightings(judgement.traces, judgement);
    judgement.traces = undefined;
    if (flags.length === 0) return;
    const member: { flags?: readonly string[]; ran_before_first_submission_s?: number } = JSON.parse(judgement.member);
    member.flags = [...flags, ...(member.flags ?? [])];
    if (ranBeforeFirstSubmissionMs !== undefined) {
      member.ran_before_first_submission_s = Math.round(ranBeforeFirstSubmissionMs / 1000);
    }
    judgement.sayMember(JSON.stringify(member));
  }

  all(): IterableIterator<Judgement> {
    return this.#byHash.values();
  }

  find(hash: string): Judgement | undefined {
    return this.#byHash.get(hash);
  }

  #rest(judgement: Judgement, lookup: Lookup, isStale: boolean): void {
    const verdict = judge(lookup, this.#basis.thresholds);
    const flags = flagAnswer(lookup, this.#basis.now);
    judgement.isUnknownToVirusTotal = lookup.status === 'not_found';
    judgement.firstSubmission = lookup.report?.firstSubmission;
    if (judgement.digests !== undefined) judgement.digests = { ...lookup.hashes, ...judgement.digests };
    this.#say(judgement, { ...verdict, flags, ...(isStale ? { stale: true } : {}) });
  }

  /** Writes down a verdict, with what the lists of known files say of the file. */
  #say(judgement: Judgement, verdict: Verdict): void {
    const { knownGood, knownBad } = this.#basis;
    const digests = judgement.digests ?? {};
    const bad = knownBad?.find(digests) ?? judgement.marks?.knownBad;
    const listed = knownGood?.find(digests);
    const isFinal = listed?.isFinal ?? false;
    const good = listed ?? judgement.marks?.knownGood;
    let said = verdict;
    if (good !== undefined) {
      said = { ...said, knownGood: good };
      if (isFinal && judgement.state === 'due') {
        judgement.state = 'known_good';
        if (said.verdict === 'unchecked') said = { ...said, reason: 'known_good' };
      }
      judgement.isCatalogued = !isFinal;
    }
    if (bad !== undefined) {
      if (judgement.state === 'due' || judgement.state === 'known_good') judgement.state = 'known_bad';
      const { reason: _reason, ...rest } = said;
      said = { ...rest, verdict: 'malicious', knownBad: bad };
    }
    judgement.say(said);
  }
}
