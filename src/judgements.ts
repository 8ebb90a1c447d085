import type { AnswerCache } from './cache/index.js';
import { Column, DigestTable } from './digest-table.js';
import { type AnswerFacts, flagAnswer, flagSightings, type SightingTraces } from './flags.js';
import { algorithmOf, type FileHashes, isPlaceholder, type LookupKey } from './hash.js';
import type { KnownFiles } from './known-good/index.js';
import { isFresh, type Lifetimes, type Lookup } from './lookup.js';
import {
  judge,
  type KnownMarks,
  knownMarks,
  REASONS,
  type Reason,
  reasonNamed,
  settledBy,
  type Thresholds,
  unansweredMember,
  type Verdict,
  type VerdictName,
  virustotalMember,
  withMarks,
} from './verdict.js';

/**
 * `new`: the cache has not been asked. `placeholder`: the hash stands for no file. `known_good` and `known_bad`: a list of the user's says
 * enough. `cached`: a fresh answer was there. `answered`: an answer came in this run. `due`: there is none, or only a stale one.
 */
const STATES = ['new', 'placeholder', 'known_good', 'known_bad', 'cached', 'answered', 'due'] as const;
type JudgementState = (typeof STATES)[number];

const VERDICTS: readonly VerdictName[] = ['unchecked', 'unknown', 'undetected', 'suspicious', 'malicious'];

/** A member, in a few bytes: equal as long as the member is. Those below `REASONS.length` stand for files without an answer. */
export type MemberMark = number;

/** The mark of a member that its file has not any more. */
const OTHER_MEMBER = 2 ** 32 - 1;

const IS_CATALOGUED = 1;
const IS_WITHHELD = 2;
const IS_UNKNOWN_TO_VIRUSTOTAL = 4;
const HAS_TRACES = 8;
const IS_RARE = 16;
const RAN_RENAMED = 32;

/** Texts that many files share, each once, by numbers from 1 on; the empty one is 0. */
class SharedTexts {
  readonly #texts: string[] = [''];
  readonly #numbers = new Map<string, number>([['', 0]]);

  numberOf(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#numbers.set(text, this.#texts.length);
    return this.#texts.push(text) - 1;
  }

  at(number: number): string {
    return this.#texts[number] ?? '';
  }
}

/** All judgements, a row each: of a hundred thousand files, objects and their texts would be the larger part of a run's memory. */
class JudgementRows {
  readonly files = new DigestTable();
  readonly states = new Column(Uint8Array);
  readonly verdicts = new Column(Uint8Array);
  readonly bits = new Column(Uint8Array);
  readonly records = new Column(Uint32Array);
  readonly images = new Column(Uint32Array);
  readonly computers = new Column(Uint32Array);
  /** The member: a reason, from which it follows, which for most files of a first night is all there is to keep, or one of `members`. */
  readonly said = new Column(Uint32Array);
  /** The member that a record had when the file was first met, if it was met in an enriched file; as `said`. */
  readonly found = new Column(Uint32Array);
  /** Times in milliseconds since the epoch, not a number where there is none. */
  readonly firstSubmissions = new Column(Float64Array);
  readonly firstSeen = new Column(Float64Array);
  readonly texts = new SharedTexts();
  readonly members: string[] = [];
  /** Of the files for which there is any. */
  readonly digests = new Map<number, FileHashes>();
  readonly marks = new Map<number, KnownMarks>();
}

/** What is known of one file in this run: a view of its row, made when it is wanted. */
export class Judgement {
  readonly #rows: JudgementRows;
  /** The same for all views of a file. */
  readonly number: number;

  constructor(rows: JudgementRows, number: number) {
    this.#rows = rows;
    this.number = number;
  }

  get hash(): string {
    return this.#rows.files.hashAt(this.number);
  }

  get key(): LookupKey {
    const { hash } = this;
    // Nothing else is ever judged.
    return { algorithm: algorithmOf(hash) ?? 'sha1', hash };
  }

  get state(): JudgementState {
    return STATES[this.#rows.states.get(this.number)] ?? 'new';
  }

  set state(state: JudgementState) {
    this.#rows.states.set(this.number, STATES.indexOf(state));
  }

  get verdict(): VerdictName {
    return VERDICTS[this.#rows.verdicts.get(this.number)] ?? 'unchecked';
  }

  /** How many records named this file. */
  get records(): number {
    return this.#rows.records.get(this.number);
  }

  set records(records: number) {
    this.#rows.records.set(this.number, records);
  }

  /** Where the file was first met in this run, for people; empty where the record does not say, or where its sightings will. */
  get image(): string {
    return this.#rows.texts.at(this.#rows.images.get(this.number));
  }

  set image(image: string) {
    this.#rows.images.set(this.number, this.#rows.texts.numberOf(image));
  }

  get computer(): string {
    return this.#rows.texts.at(this.#rows.computers.get(this.number));
  }

  set computer(computer: string) {
    this.#rows.computers.set(this.number, this.#rows.texts.numberOf(computer));
  }

  /** All digests that records or answers named, where there are lists of known files to look them up in. */
  get digests(): FileHashes | undefined {
    return this.#rows.digests.get(this.number);
  }

  set digests(digests: FileHashes) {
    this.#rows.digests.set(this.number, digests);
  }

  /** What lists said of it when its log was read, for a log that is not read again. */
  get marks(): KnownMarks | undefined {
    return this.#rows.marks.get(this.number);
  }

  set marks(marks: KnownMarks) {
    this.#rows.marks.set(this.number, marks);
  }

  /** A catalogue of known files has it, which is no reason not to ask, but to ask last. */
  get isCatalogued(): boolean {
    return this.#has(IS_CATALOGUED);
  }

  set isCatalogued(isCatalogued: boolean) {
    this.#mark(IS_CATALOGUED, isCatalogued);
  }

  /** A rule of the user's forbids asking about it. */
  get isWithheld(): boolean {
    return this.#has(IS_WITHHELD);
  }

  set isWithheld(isWithheld: boolean) {
    this.#mark(IS_WITHHELD, isWithheld);
  }

  /** What evidence is measured against. */
  get isUnknownToVirusTotal(): boolean {
    return this.#has(IS_UNKNOWN_TO_VIRUSTOTAL);
  }

  get firstSubmission(): Date | undefined {
    const ms = this.#rows.firstSubmissions.get(this.number);
    return Number.isNaN(ms) ? undefined : new Date(ms);
  }

  /** Notes what an answer says of the file beside its verdict. */
  setAnswerFacts({ isUnknownToVirusTotal, firstSubmission }: AnswerFacts): void {
    this.#mark(IS_UNKNOWN_TO_VIRUSTOTAL, isUnknownToVirusTotal);
    this.#rows.firstSubmissions.set(this.number, firstSubmission?.getTime() ?? Number.NaN);
  }

  /** What the file's sightings say, until it is joined with the answer. */
  get traces(): SightingTraces | undefined {
    if (!this.#has(HAS_TRACES)) return undefined;
    const ms = this.#rows.firstSeen.get(this.number);
    return {
      firstSeenMs: Number.isNaN(ms) ? undefined : ms,
      isRare: this.#has(IS_RARE),
      ranRenamed: this.#has(RAN_RENAMED),
    };
  }

  set traces(traces: SightingTraces | undefined) {
    this.#mark(HAS_TRACES, traces !== undefined);
    if (traces === undefined) return;
    this.#mark(IS_RARE, traces.isRare);
    this.#mark(RAN_RENAMED, traces.ranRenamed);
    this.#rows.firstSeen.set(this.number, traces.firstSeenMs ?? Number.NaN);
  }

  /** The `virustotal` member as it stands in the records of this file. */
  get member(): string {
    const reason = REASONS[this.memberMark];
    return reason === undefined ? this.#textOf(this.memberMark) : unansweredMember(this.key, reason);
  }

  get memberMark(): MemberMark {
    return this.#rows.said.get(this.number);
  }

  /** Sets the member from a verdict. */
  say(verdict: Verdict): void {
    this.#rows.verdicts.set(this.number, VERDICTS.indexOf(verdict.verdict));
    const { verdict: name, reason, ...rest } = verdict;
    const isBare = name === 'unchecked' && reason !== undefined && Object.keys(rest).length === 0;
    if (isBare) this.#sayReason(reason);
    else this.sayMember(virustotalMember(this.key, verdict));
  }

  /** Sets the member as it is to be from now on, for the same verdict. */
  sayMember(member: string): void {
    const { said, found, members } = this.#rows;
    const former = said.get(this.number);
    const first = found.get(this.number);
    if (member === this.#textOf(former)) return;
    said.set(this.number, member === this.#textOf(first) ? first : members.push(member) - 1 + REASONS.length);
    this.#forget(former);
  }

  /** The mark of a member that stands in a record of this file: the one that the judgement has or will have, if it comes to the same. */
  markOf(member: string): MemberMark {
    const reason = reasonNamed(/^\{"verdict":"unchecked","reason":"([a-z_]+)"/.exec(member)?.[1] ?? '');
    if (reason !== undefined && unansweredMember(this.key, reason) === member) return REASONS.indexOf(reason);
    if (this.state === 'new') {
      this.sayMember(member);
      this.#rows.found.set(this.number, this.memberMark);
    }
    for (const mark of [this.memberMark, this.#rows.found.get(this.number)])
      if (member === this.#textOf(mark)) return mark;
    return OTHER_MEMBER;
  }

  #sayReason(reason: Reason): void {
    const former = this.memberMark;
    this.#rows.said.set(this.number, REASONS.indexOf(reason));
    this.#forget(former);
  }

  /** Empty for the mark of a reason. */
  #textOf(mark: MemberMark): string {
    return this.#rows.members[mark - REASONS.length] ?? '';
  }

  /** Lets go of a former member; its place stays taken, or its mark would pass for that of another. */
  #forget(former: MemberMark): void {
    const isKept = former < REASONS.length || former === this.#rows.found.get(this.number);
    if (!isKept) this.#rows.members[former - REASONS.length] = '';
  }

  #has(bit: number): boolean {
    return (this.#rows.bits.get(this.number) & bit) !== 0;
  }

  #mark(bit: number, isSet: boolean): void {
    const bits = this.#rows.bits.get(this.number);
    this.#rows.bits.set(this.number, isSet ? bits | bit : bits & ~bit);
  }
}

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
  readonly #rows = new JudgementRows();
  #unresolved: number[] = [];

  constructor(basis: JudgementBasis) {
    this.#basis = basis;
  }

  /**
   * The judgement for a hash; one not met before is `new` until `resolve` has run. `digests` are all that the record names, since a list
   * of known files may have the file under another than the one that is asked with.
   */
  of(key: LookupKey, digests?: FileHashes): Judgement {
    const { files } = this.#rows;
    const met = files.size;
    const number = files.add(key.hash);
    if (number === undefined) throw new Error(`not a digest: ${JSON.stringify(key.hash)}`);
    const judgement = this.at(number);
    if (number < met) return judgement;
    judgement.say({ verdict: 'unchecked', reason: 'waiting' });
    judgement.setAnswerFacts({ isUnknownToVirusTotal: false, firstSubmission: undefined });
    const hasLists = this.#basis.knownGood !== undefined || this.#basis.knownBad !== undefined;
    if (hasLists) judgement.digests = { ...digests, [key.algorithm]: key.hash };
    if (isPlaceholder(key.hash)) {
      judgement.state = 'placeholder';
      judgement.say({ verdict: 'unchecked', reason: 'placeholder' });
    } else {
      this.#unresolved.push(number);
    }
    return judgement;
  }

  /** Asks the lists of known files and the cache, at once, about all files met since the last call. */
  async resolve(): Promise<void> {
    if (this.#unresolved.length === 0) return;
    const fresh = this.#unresolved.map((number) => this.at(number));
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

  /** How many files there are. */
  get size(): number {
    return this.#rows.files.size;
  }

  /** The files themselves, numbered as their judgements are. */
  get files(): DigestTable {
    return this.#rows.files;
  }

  *all(): Generator<Judgement> {
    for (let number = 0; number < this.size; number++) yield this.at(number);
  }

  at(number: number): Judgement {
    return new Judgement(this.#rows, number);
  }

  find(hash: string): Judgement | undefined {
    const number = this.#rows.files.find(hash);
    return number === undefined ? undefined : this.at(number);
  }

  #rest(judgement: Judgement, lookup: Lookup, isStale: boolean): void {
    const verdict = judge(lookup, this.#basis.thresholds);
    const flags = flagAnswer(lookup, this.#basis.now);
    judgement.setAnswerFacts({
      isUnknownToVirusTotal: lookup.status === 'not_found',
      firstSubmission: lookup.report?.firstSubmission,
    });
    if (judgement.digests !== undefined) judgement.digests = { ...lookup.hashes, ...judgement.digests };
    this.#say(judgement, { ...verdict, flags, ...(isStale ? { stale: true } : {}) });
  }

  /** Writes down a verdict, with what the lists of known files say of the file. */
  #say(judgement: Judgement, verdict: Verdict): void {
    const { knownGood, knownBad } = this.#basis;
    const digests = judgement.digests ?? {};
    const marks = knownMarks({
      knownGood: knownGood?.find(digests) ?? judgement.marks?.knownGood,
      knownBad: knownBad?.find(digests) ?? judgement.marks?.knownBad,
    });
    const settled = settledBy(marks);
    if (settled !== undefined && judgement.state === 'due') judgement.state = settled;
    if (marks.knownGood !== undefined) judgement.isCatalogued = marks.knownGood.isFinal !== true;
    judgement.say(withMarks(verdict, marks));
  }
}
