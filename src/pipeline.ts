import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { AnswerCache } from './cache/index.js';
import type { ChangeLog } from './changes.js';
import { type Clock, systemClock } from './clock.js';
import type { Occasion } from './disclosure.js';
import type { DoNotAsk } from './do-not-ask.js';
import { EnrichmentError, messageOf, type Reject, StorageError, systemCodeOf } from './errors.js';
import { PROCESS_CREATION, type WantedRecords } from './event.js';
import { algorithmOf } from './hash.js';
import { type Judgement, Judgements } from './judgements.js';
import type { KnownFiles } from './known-good/index.js';
import { contextPathOf, type LogFile } from './log-paths.js';
import { digestsOf, type Lifetimes } from './lookup.js';
import {
  amongFirstQuestions,
  carriedOver,
  chooseQuestions,
  flagFiles,
  locateFiles,
  notAmong,
  UNRANKED_SCORE,
} from './pipeline/choosing.js';
import { removeContext, writeContext } from './pipeline/context-records.js';
import { refreshEarlierFiles } from './pipeline/earlier-files.js';
import { type LogCounts, noCounts, type ReadingSetup, readIntoFile } from './pipeline/log-reading.js';
import type { LogStates } from './pipeline/log-states.js';
import { MembersAsWritten } from './pipeline/members-as-written.js';
import { Memory } from './pipeline/memory.js';
import { type DueAnswer, dueAnswers } from './pipeline/recheck.js';
import { isFlagged, refreshAll, type WrittenFile } from './pipeline/written-files.js';
import type { RankedFile, RankedFiles } from './ranking.js';
import type { SightingStore, SightingsApart } from './sightings/index.js';
import { WaitingFiles } from './sightings/waiting.js';
import { type OutputFile, outputFile } from './sinks/enriched-file.js';
import { inPlaceFile } from './sinks/in-place.js';
import { NATIVE_FORM, type RecordForm } from './sinks/record-form.js';
import { readMembers } from './sinks/refresh.js';
import type { ByteReader } from './sources/byte-reader.js';
import { type ContainerLimits, DEFAULT_LIMITS, openLogFile } from './sources/index.js';
import type { QuotaSummary, QuotaWindow, RunFailure, Summary } from './summary.js';
import type { Thresholds } from './verdict.js';
import type { Outcome, Questioner } from './virustotal/schedule.js';

/** Who asks VirusTotal; answers are durable in the cache before they are handed out. */
export interface EnrichQuestioner extends Pick<Questioner, 'lookUpAll' | 'failure'> {
  /** Told, before files are asked about, how to find out what led to each question. */
  explain?(occasionOf: (hash: string) => Occasion | undefined): void;
  usage(): Promise<QuotaSummary>;
}

/** Who watches a run. All calls are notifications; none may throw. */
export interface RunObserver {
  onReadingStart(logs: number, totalBytes: number): void;
  onLogStart(name: string): void;
  /** Bytes of logs read so far in this run. */
  onProgress(bytesRead: number): void;
  onLogEnd(name: string, format: string, processCreations: number): void;
  onNote(logName: string, note: string): void;
  onReject(logName: string, reject: Reject): void;
  onFailure(failure: RunFailure): void;
  onAskingStart(questions: number): void;
  onOutcome(hash: string, outcome: Outcome): void;
  onRefreshed(path: string): void;
  /** Records of the story around a log's flagged processes were written. */
  onContext(path: string, records: number): void;
}

/** One run of the nightly job. */
export interface EnrichJob {
  readonly logs: readonly LogFile[];
  /** Standard input as a log, and where its records go. */
  readonly stdin?: { readonly reader: ByteReader; readonly enrichedPath: string };
  readonly cache: AnswerCache;
  /** Absent for work with the cache alone. */
  readonly questioner?: EnrichQuestioner;
  /** Tells, where there is no questioner, what of the quota is used. Without it nothing is, and nothing is limited. */
  readonly usage?: () => Promise<QuotaSummary>;
  /** The memory of what ran, by which questions are ordered and evidence is flagged. Without it files are asked as they were met. */
  readonly sightings?: SightingStore;
  /** The history of changed verdicts, into which new ones get by way of the questioner: enriched files of earlier runs follow it. */
  readonly changes?: ChangeLog;
  /** What earlier runs read, so that unchanged logs are not read again. */
  readonly states?: LogStates;
  /** Lists of files that need no question. */
  readonly knownGood?: KnownFiles;
  readonly knownBad?: KnownFiles;
  /** Rules for files that are never asked about. */
  readonly doNotAsk?: DoNotAsk;
  /** Differs where the lists of known files differ: records name more digests than their enriched form keeps. */
  readonly listsPrint?: string;
  /** Rejects are to be told one by one, so that a log which had some is read again. */
  readonly isEveryRejectWanted?: boolean;
  /** Ids of the Sysmon events that get a verdict; process creations without. All of them carry a file's hash. */
  readonly eventIds?: ReadonlySet<number>;
  /** Write all other records too, as they are. */
  readonly isEveryRecordWritten?: boolean;
  /** Write verdicts into the logs themselves, which have to be JSON lines; every log's `enrichedPath` is its own path then. */
  readonly isInPlace?: boolean;
  /** How records are written; as they were found without. */
  readonly form?: RecordForm;
  /** Read, judge and rank, but write and ask nothing. */
  readonly isDryRun?: boolean;
  /** Read logs again that have not changed. */
  readonly isForced?: boolean;
  /** At most so many questions in this run. */
  readonly maxLookups?: number;
  /** Old answers are not asked for again, however much depends on them. */
  readonly isRecheckOff?: boolean;
  readonly thresholds: Thresholds;
  readonly lifetimes: Lifetimes;
  /** Those of a person's machine without. */
  readonly containerLimits?: ContainerLimits;
  /** The machine's without. */
  readonly clock?: Clock;
  /** Ends the run early: what is being written is finished, the rest is left for the next run. */
  readonly signal?: AbortSignal;
  readonly observer?: Partial<RunObserver>;
}

/** Calls reach the observer itself, so it may be an instance of a class; what it lacks is silent. */
function withDefaults(observer: Partial<RunObserver>): RunObserver {
  return {
    onReadingStart: (logs, totalBytes) => observer.onReadingStart?.(logs, totalBytes),
    onLogStart: (name) => observer.onLogStart?.(name),
    onProgress: (bytesRead) => observer.onProgress?.(bytesRead),
    onLogEnd: (name, format, processCreations) => observer.onLogEnd?.(name, format, processCreations),
    onNote: (logName, note) => observer.onNote?.(logName, note),
    onReject: (logName, reject) => observer.onReject?.(logName, reject),
    onFailure: (failure) => observer.onFailure?.(failure),
    onAskingStart: (questions) => observer.onAskingStart?.(questions),
    onOutcome: (hash, outcome) => observer.onOutcome?.(hash, outcome),
    onRefreshed: (path) => observer.onRefreshed?.(path),
    onContext: (path, records) => observer.onContext?.(path, records),
  };
}

/** A file of this run that VirusTotal's engines detect, or that stands on a list of known-bad ones, and where it was first met. */
export interface DetectedFile {
  readonly verdict: 'malicious' | 'suspicious';
  readonly hash: string;
  readonly image: string;
  readonly computer: string;
  readonly records: number;
  /** The `virustotal` member, JSON text. */
  readonly member: string;
}

/** A file that is due for a question, in the order of asking. */
export interface PlannedQuestion extends RankedFile {
  readonly image: string;
  readonly computer: string;
}

/** What a run came to. */
export interface EnrichOutcome {
  readonly summary: Summary;
  readonly detected: readonly DetectedFile[];
  /** Files of earlier runs that were still waiting for a question: how many got an answer now, and how many go on waiting. */
  readonly carriedOver: { readonly answered: number; readonly waiting: number };
  /** What was due for a question, of which the most telling are told; in a dry run nothing of it was asked. */
  readonly questions: { readonly count: number; readonly first: readonly PlannedQuestion[] };
}

/**
 * The nightly job: reads every log once and writes its process creations with what the cache knows, asks VirusTotal about
 * files without a fresh answer, and refreshes the records of those that got one. Resolves with the summary; trouble with one
 * log, record or question is in it, not thrown. Throws StorageError where the cache itself cannot be used.
 */
export async function enrich(job: EnrichJob): Promise<EnrichOutcome> {
  return new EnrichRun(job).run();
}

/** One run: the steps, and what they hand to one another. */
class EnrichRun {
  readonly #job: EnrichJob;
  readonly #clock: Clock;
  readonly #observer: RunObserver;
  readonly #startedAt: Date;
  readonly #judgements: Judgements;
  readonly #memory: Memory | undefined;
  /** Sightings of a dry run. */
  readonly #apart: SightingsApart | undefined;
  readonly #setup: ReadingSetup;
  /** What an enriched file depends on besides its log and the verdicts. */
  readonly #optionsPrint: string;
  readonly #failures: RunFailure[] = [];
  readonly #counts: LogCounts = noCounts();
  /** Logs read in this run, as they were before. */
  readonly #prints = new Map<WrittenFile, Awaited<ReturnType<LogStates['print']>>>();
  /** Files that waited for a question since earlier runs and are in none of this run's logs. */
  readonly #carried = new Set<number>();
  /** Files that waited since earlier runs, were not taken over, and whose old answers were asked for again; by all their digests. */
  readonly #reanswered = new Set<string>();
  /** Files of this run's logs that waited since earlier runs. */
  readonly #waitedBefore = new Set<number>();
  /** Whether files whose context was seen to in this run have one now. */
  readonly #hasContext = new Map<WrittenFile, boolean>();
  /** Logs to be read again at the next run. */
  readonly #unsettled = new Set<WrittenFile>();
  readonly #logs = { read: 0, unchanged: 0, skipped: 0, failed: 0 };

  constructor(job: EnrichJob) {
    this.#job = job;
    this.#clock = job.clock ?? systemClock;
    this.#observer = withDefaults(job.observer ?? {});
    this.#startedAt = this.#clock.now();
    this.#judgements = new Judgements({
      cache: job.cache,
      thresholds: job.thresholds,
      lifetimes: job.lifetimes,
      now: this.#startedAt,
      knownGood: job.knownGood,
      knownBad: job.knownBad,
      unaskedReason: job.questioner === undefined ? 'offline' : 'waiting',
    });
    if (job.isDryRun) this.#apart = job.sightings?.apart();
    const sightings = this.#apart ?? job.sightings;
    this.#memory = sightings === undefined ? undefined : new Memory(sightings);
    const form = job.form ?? NATIVE_FORM;
    const wanted: WantedRecords = {
      eventIds: job.eventIds ?? new Set([PROCESS_CREATION]),
      isEveryRecordWanted: job.isEveryRecordWritten ?? false,
      isEveryByteWanted: job.isInPlace ?? false,
      areRowsWanted: form.areRowsWanted,
    };
    this.#setup = {
      judgements: this.#judgements,
      memory: this.#memory,
      doNotAsk: job.doNotAsk,
      wanted,
      form,
      limits: job.containerLimits ?? DEFAULT_LIMITS,
      isDryRun: job.isDryRun ?? false,
      signal: job.signal,
    };
    this.#optionsPrint = JSON.stringify([
      READING_VERSION,
      [...wanted.eventIds].sort(),
      wanted.isEveryRecordWanted,
      form.name,
      job.doNotAsk?.print,
      job.listsPrint,
    ]);
  }

  async run(): Promise<EnrichOutcome> {
    try {
      return await this.#run();
    } finally {
      await this.#apart?.close();
    }
  }

  async #run(): Promise<EnrichOutcome> {
    const { isDryRun } = this.#setup;
    const files = await this.#readAll();
    await this.#memory?.flush();
    if (this.#job.signal?.aborted && !isDryRun) return this.#leaveOff(files);
    const waiting = (await this.#job.sightings?.waiting()) ?? new WaitingFiles();
    await this.#carryOver(waiting);
    this.#withhold();
    const order = await chooseQuestions(this.#judgements, this.#memory, waiting, this.#startedAt);
    // Before asking, so that a kill in the middle of it leaves the rest in the queue.
    if (!isDryRun) await this.#noteWaiting(order);
    const quota = isDryRun ? await this.#usage() : await this.#ask(order, waiting);
    for (const judgement of this.#judgements.all()) this.#judgements.flag(judgement);
    if (!isDryRun) {
      const refreshed = new Set<string>();
      await refreshAll(
        files,
        this.#judgements,
        this.#setup.form,
        (path) => {
          refreshed.add(path);
          this.#observer.onRefreshed(path);
        },
        (path, error) => this.#fail({ path, code: error.code, message: error.message }),
      );
      await this.#writeContexts(files, refreshed);
      await this.#remember(files);
      await this.#refreshEarlier(files);
      // Only now: a run that is killed before is made up for by the next one, which finds them waiting and answered.
      if (!this.#job.states?.isLost) await this.#noteSettled(order, waiting);
    }
    this.#noteInterruption();
    return {
      summary: this.#summarise(quota),
      carriedOver: this.#countCarried(),
      ...(await this.#describe(order)),
    };
  }

  /**
   * Ends a run that was interrupted while it read. Whoever stops it does not wait long, so nothing is ranked or refreshed any more: the
   * next run does that, and finds what was read so far noted as read and as waiting.
   */
  async #leaveOff(files: readonly WrittenFile[]): Promise<EnrichOutcome> {
    this.#withhold();
    const before = (await this.#job.sightings?.waiting()) ?? new WaitingFiles();
    const unranked = await chooseQuestions(this.#judgements, undefined, before, this.#startedAt);
    await this.#noteWaiting(unranked, UNRANKED_SCORE);
    await this.#writeContexts(files, new Set());
    await this.#remember(files);
    this.#noteInterruption();
    return {
      summary: this.#summarise(await this.#usage()),
      carriedOver: {
        answered: 0,
        waiting: [...before.hashes()].filter((hash) => this.#judgements.find(hash) === undefined).length,
      },
      ...(await this.#describe([])),
    };
  }

  /** What people are told of files: the detected ones, and those whose turn comes first. */
  async #describe(order: RankedFiles): Promise<Pick<EnrichOutcome, 'detected' | 'questions'>> {
    const detected = detectedFiles(this.#judgements);
    const first = order.slice(0, PLANNED_SHOWN);
    if (this.#memory !== undefined) {
      await locateFiles(
        this.#judgements,
        [...detected, ...first].map(({ hash }) => hash),
        this.#memory,
      );
    }
    return {
      detected: detected.map(({ verdict, hash, image, computer, records, member }) => ({
        verdict,
        hash,
        image,
        computer,
        records,
        member,
      })),
      questions: { count: order.length, first: first.map((file) => planned(file, this.#judgements)) },
    };
  }

  /** Takes over what earlier runs left waiting: its logs may never be read again. */
  async #carryOver(waiting: WaitingFiles): Promise<void> {
    const { questioner, doNotAsk } = this.#job;
    if (this.#memory === undefined) return;
    for (const hash of waiting.hashes()) {
      const judgement = this.#judgements.find(hash);
      if (judgement !== undefined) this.#waitedBefore.add(judgement.number);
    }
    if (questioner === undefined && !this.#setup.isDryRun) return;
    for (const hash of carriedOver(waiting)) {
      const algorithm = algorithmOf(hash);
      if (algorithm === undefined || this.#judgements.find(hash) !== undefined) continue;
      this.#carried.add(this.#judgements.of({ algorithm, hash }).number);
    }
    await this.#judgements.resolve();
    if (doNotAsk === undefined) return;
    for await (const batch of this.#memory.evidenceOf(this.#judgementsOf(this.#carried).map(({ hash }) => hash))) {
      for (const [hash, evidence] of batch) {
        const judgement = this.#judgements.find(hash);
        if (judgement !== undefined && doNotAsk.ruleAgainst(evidence) !== undefined) judgement.isWithheld = true;
      }
    }
  }

  #judgementsOf(numbers: Iterable<number>): Judgement[] {
    return Array.from(numbers, (number) => this.#judgements.at(number));
  }

  #countCarried(): EnrichOutcome['carriedOver'] {
    const answered = this.#judgementsOf(this.#carried).filter(({ state }) => state !== 'due').length;
    return { answered, waiting: this.#carried.size - answered };
  }

  /** Writes what became known of files into the records of earlier runs: first answers, and changed verdicts. */
  async #refreshEarlier(files: readonly WrittenFile[]): Promise<void> {
    const { states, changes } = this.#job;
    // Without states nobody knows which files of earlier runs there are; they wait for a run that does.
    if (states === undefined || states.isLost || this.#memory === undefined) return;
    const waited = this.#judgementsOf([...this.#carried, ...this.#waitedBefore]);
    const answered = waited.filter(({ state }) => state !== 'due').map(({ hash }) => hash);
    const changed = (await changes?.unrefreshed()) ?? new Set();
    const others: string[] = [];
    for (const hash of new Set([...changed, ...this.#reanswered])) {
      const algorithm = algorithmOf(hash);
      if (algorithm === undefined || this.#judgements.find(hash) !== undefined) continue;
      this.#judgements.of({ algorithm, hash });
      others.push(hash);
    }
    await this.#judgements.resolve();
    await flagFiles(this.#judgements, others, this.#memory);
    await refreshEarlierFiles(
      { changed, answered: new Set([...answered, ...this.#reanswered]) },
      {
        states,
        judgements: this.#judgements,
        limits: this.#setup.limits,
        upToDate: new Set(files.map(({ enrichedPath }) => resolve(enrichedPath))),
      },
      {
        onRefreshed: (path) => this.#observer.onRefreshed(path),
        onContext: (path, records) => this.#observer.onContext(path, records),
        onNote: (logName, note) => this.#observer.onNote(logName, note),
        onError: (path, { code, message }) => this.#fail({ path, code, message }),
      },
    );
    await changes?.markRefreshed(changed);
  }

  /** Takes what a rule forbids asking about out of the questions. */
  #withhold(): void {
    for (const judgement of this.#judgements.all()) {
      if (judgement.state === 'due' && judgement.isWithheld) this.#judgements.leaveUnanswered(judgement, 'limit');
    }
  }

  #fail(failure: RunFailure): void {
    this.#failures.push(failure);
    this.#observer.onFailure(failure);
  }

  /** Step 1: every log once, in order, but for those that have not changed since their enriched file was written. */
  async #readAll(): Promise<WrittenFile[]> {
    const { logs, stdin, signal } = this.#job;
    const files: WrittenFile[] = [];
    const totalBytes = logs.reduce((sum, log) => sum + log.sizeBytes, 0);
    this.#observer.onReadingStart(logs.length + (stdin === undefined ? 0 : 1), totalBytes);
    let bytesBefore = 0;
    for (const log of logs) {
      if (signal?.aborted) break;
      this.#observer.onLogStart(log.path);
      try {
        const file = (await this.#takeUnchanged(log)) ?? (await this.#readLogFile(log, bytesBefore));
        if (file !== undefined) files.push(file);
      } catch (error) {
        this.#logs.failed++;
        this.#fail(logFailure(log.path, error));
      }
      bytesBefore += log.sizeBytes;
    }
    if (stdin !== undefined && !signal?.aborted) {
      this.#observer.onLogStart(STDIN_NAME);
      try {
        const log = { name: STDIN_NAME, filePath: undefined, isNamed: true, enrichedPath: stdin.enrichedPath };
        const file = await this.#read(stdin.reader, log, outputFile(stdin.enrichedPath));
        if (file !== undefined) files.push(file);
      } catch (error) {
        this.#logs.failed++;
        this.#fail(logFailure(STDIN_NAME, error));
      }
    }
    return files;
  }

  async #takeUnchanged(log: LogFile): Promise<WrittenFile | undefined> {
    const { states, isForced, isEveryRejectWanted } = this.#job;
    if (states === undefined || isForced || this.#setup.isDryRun) return undefined;
    const unchanged = await states.unchanged(log.path, log.enrichedPath, this.#optionsPrint);
    if (unchanged === undefined) return undefined;
    const { counts } = unchanged;
    // Only reading tells of rejects one by one.
    if (isEveryRejectWanted && counts.rejected > 0) return undefined;
    const withheld = new Set(unchanged.withheld);
    const members = new MembersAsWritten();
    if (counts.processCreations + counts.otherEvents > 0) {
      await readMembers(log.enrichedPath, this.#setup.form, (member, key) => {
        if (key === undefined) return;
        const judgement = this.#judgements.of(key);
        judgement.records++;
        if (withheld.has(key.hash)) judgement.isWithheld = true;
        const marks = marksOf(member);
        if (marks !== undefined) judgement.marks ??= marks;
        if (!members.has(judgement)) members.add(judgement, judgement.markOf(member));
      });
      await this.#judgements.resolve();
    }
    this.#logs.unchanged++;
    this.#add(counts);
    return {
      logName: log.path,
      logPath: log.path,
      enrichedPath: log.enrichedPath,
      counts,
      members: members.finished(),
      withheld,
      hadContext: unchanged.hasContext,
    };
  }

  async #readLogFile(log: LogFile, bytesBefore: number): Promise<WrittenFile | undefined> {
    const { states, isInPlace = false } = this.#job;
    const print = await states?.print(log.path);
    const output = isInPlace
      ? await inPlaceFile(log.path, (await states?.isAsLeft(log.path)) ? 'is kept' : 'to be kept')
      : outputFile(log.enrichedPath);
    const file = await openLogFile(log.path);
    try {
      const counted = countingReader(file.reader, (bytes) => this.#observer.onProgress(bytesBefore + bytes));
      const written = await this.#read(counted, { ...log, name: log.path, filePath: log.path }, output);
      // Of a log that is written itself, only how it is left counts.
      if (written !== undefined) this.#prints.set(written, isInPlace ? undefined : print);
      return written;
    } finally {
      await file.close();
    }
  }

  async #read(
    reader: ByteReader,
    log: Omit<Parameters<typeof readIntoFile>[1], 'output' | 'counts'> & { readonly enrichedPath: string },
    output: OutputFile,
  ): Promise<WrittenFile | undefined> {
    let hasFailedMember = false;
    const counts = noCounts();
    const reading = readIntoFile(reader, { ...log, output, counts }, this.#setup, {
      onNote: (name, note) => this.#observer.onNote(name, note),
      onReject: (name, reject) => this.#observer.onReject(name, reject),
      onMemberFailure: (place, error) => {
        hasFailedMember = true;
        this.#fail({ path: place, code: error.code, message: `${place}: ${error.message}` });
      },
    });
    // What was met of a log counts as met also where its end was not.
    const end = await reading.catch((error: unknown) => {
      this.#add(counts);
      throw error;
    });
    if (end.kind === 'interrupted') {
      this.#add(counts);
      return undefined;
    }
    if (end.kind === 'nothing_read') {
      this.#logs.failed++;
      return undefined;
    }
    if (end.kind === 'not_a_log') {
      this.#logs.skipped++;
      this.#observer.onNote(log.name, `skipped: ${end.why}`);
      return undefined;
    }
    this.#logs.read++;
    this.#add(counts);
    this.#observer.onLogEnd(log.name, end.format, counts.processCreations);
    const { members, withheld } = end;
    const written = {
      logName: log.name,
      logPath: log.filePath,
      enrichedPath: log.enrichedPath,
      counts,
      members,
      withheld,
      hadContext: undefined,
    };
    // A failure is told at every run, so such a log is read at every run.
    if (hasFailedMember) this.#unsettled.add(written);
    return written;
  }

  #add(counts: LogCounts): void {
    for (const name of Object.keys(counts) as (keyof LogCounts)[]) this.#counts[name] += counts[name];
  }

  /** Steps 2 and 3: asks in the given order. Returns the quota as it stands then. */
  async #ask(order: RankedFiles, waiting: WaitingFiles): Promise<QuotaSummary> {
    const { questioner, maxLookups = Number.POSITIVE_INFINITY } = this.#job;
    if (questioner === undefined) return this.#usage();
    const { day } = await questioner.usage();
    const left = day.limit === null ? Number.POSITIVE_INFINITY : day.limit - day.used;
    const old = await this.#oldAnswers(order, left);
    const count = Math.min(order.length + old.length, maxLookups);
    if (count > 0) {
      this.#observer.onAskingStart(count);
      if (this.#memory !== undefined) {
        const first = firstOf(amongFirstQuestions(order, old), Math.min(count, left, MAX_LOCATED));
        await locateFiles(this.#judgements, first, this.#memory);
      }
      /** Of the questions under way. */
      const reasons = new Map<string, string | undefined>();
      questioner.explain?.((hash) => {
        const because = reasons.get(hash);
        const image = this.#judgements.find(hash)?.image ?? '';
        return { ...(because === undefined ? {} : { because }), ...(image === '' ? {} : { image }) };
      });
      const taken = firstOf(amongFirstQuestions(order, old), count, (hash, because) => reasons.set(hash, because));
      await questioner.lookUpAll(taken, (hash, outcome) => {
        reasons.delete(hash);
        const judgement = this.#judgements.find(hash);
        // None of an old answer that is asked for again; records of it may be waiting all the same, for more files wait than a run takes over.
        if (judgement === undefined && outcome.kind === 'answered') {
          for (const digest of digestsOf(outcome.lookup)) {
            if (waiting.get(digest) !== undefined) this.#reanswered.add(digest);
          }
        }
        if (judgement !== undefined && outcome.kind === 'answered') {
          this.#judgements.settle(judgement, outcome.lookup, outcome.isOurs);
        } else if (judgement !== undefined && outcome.kind !== 'answered') {
          this.#judgements.leaveUnanswered(judgement, outcome.reason);
        }
        this.#observer.onOutcome(hash, outcome);
      });
      const { failure } = questioner;
      if (failure !== undefined) this.#fail({ code: failure.code, message: failure.message });
    }
    if (count < order.length + old.length) this.#leaveOverLimit(amongFirstQuestions(order, old), count);
    return questioner.usage();
  }

  /** Old answers to be asked for among the first questions: where the day's quota does not suffice for all files without an answer. */
  async #oldAnswers(order: RankedFiles, left: number): Promise<readonly DueAnswer[]> {
    const { sightings, changes, isRecheckOff } = this.#job;
    if (isRecheckOff || sightings === undefined || changes === undefined || left <= 0 || order.length <= left)
      return [];
    return notAmong(order, await dueAnswers({ ...this.#job, sightings, changes }));
  }

  /** Notes of all questions but the first `count` that this run was not to ask them. */
  #leaveOverLimit(questions: Iterable<{ readonly hash: string }>, count: number): void {
    let place = 0;
    for (const { hash } of questions) {
      if (place++ < count) continue;
      const judgement = this.#judgements.find(hash);
      if (judgement !== undefined) this.#judgements.leaveUnanswered(judgement, 'limit');
    }
  }

  async #usage(): Promise<QuotaSummary> {
    const { questioner, usage } = this.#job;
    return (await (questioner === undefined ? usage?.() : questioner.usage())) ?? UNLIMITED_QUOTA;
  }

  /**
   * Writes what happened around flagged processes, for logs that can be read once more and were read or refreshed in this run, or whose
   * context has got lost since.
   */
  async #writeContexts(files: readonly WrittenFile[], refreshed: ReadonlySet<string>): Promise<void> {
    for (const file of files) {
      const { logPath, enrichedPath, logName } = file;
      if (logPath === undefined) continue;
      const isFlaggedNow = isFlagged(file, this.#judgements);
      const hasChanged = this.#prints.has(file) || refreshed.has(enrichedPath);
      if (!hasChanged && !(isFlaggedNow && (await isContextLost(file)))) continue;
      try {
        if (!isFlaggedNow) {
          await removeContext(enrichedPath);
          this.#hasContext.set(file, false);
          continue;
        }
        this.#job.signal?.throwIfAborted();
        const log = { path: logPath, enrichedPath };
        const saidOf = (hash: string): Judgement | undefined => this.#judgements.find(hash);
        const records = await writeContext(log, saidOf, this.#setup.limits, this.#job.signal);
        this.#hasContext.set(file, records > 0);
        this.#observer.onContext(enrichedPath, records);
      } catch (error) {
        // Read again at the next run, so that the context is not missing for ever.
        this.#unsettled.add(file);
        if (this.#job.signal?.aborted) continue;
        const failure = logFailure(logName, error);
        if (error instanceof StorageError) this.#fail(failure);
        else this.#observer.onNote(logName, `no context could be written: ${failure.message}`);
      }
    }
  }

  /** Notes for the next run what need not be read again. */
  async #remember(files: readonly WrittenFile[]): Promise<void> {
    const { states } = this.#job;
    if (states !== undefined) {
      for (const file of files) {
        const print =
          this.#prints.get(file) ?? (file.logPath === undefined ? undefined : await states.print(file.logPath));
        if (this.#unsettled.has(file) || file.logPath === undefined) continue;
        const hashes = file.members.isWhole ? this.#hashesOf(file.members) : undefined;
        const hasContext = this.#hasContext.get(file) ?? file.hadContext;
        const read = { logPath: file.logPath, counts: file.counts, withheld: file.withheld, hashes, hasContext };
        const options = { print: this.#optionsPrint, form: this.#setup.form.name };
        await states.note(print, file.enrichedPath, read, options);
      }
      await states.save();
    }
  }

  /** One after the other, since they may be many. */
  *#hashesOf(members: MembersAsWritten): Generator<string> {
    for (const [number] of members.all()) yield this.#judgements.files.hashAt(number);
  }

  /** Notes what waits for a question since when. */
  async #noteWaiting(order: RankedFiles, scoreOfAll?: number): Promise<void> {
    await this.#job.sightings?.updateWaiting({
      due: this.#due(order, scoreOfAll),
      settled: [],
      now: this.#startedAt,
    });
  }

  /** One after the other, since all of a first night are many. */
  *#due(order: RankedFiles, scoreOfAll?: number): Generator<{ readonly hash: string; readonly score: number }> {
    for (const { hash, score } of order) if (this.#isDue(hash)) yield { hash, score: scoreOfAll ?? score };
  }

  /** Notes what waited, in this run or before, and does no more. */
  async #noteSettled(order: RankedFiles, waiting: WaitingFiles): Promise<void> {
    const settled: string[] = [];
    for (const { hash } of order) if (!this.#isDue(hash)) settled.push(hash);
    for (const hash of waiting.hashes()) {
      if (this.#judgements.find(hash) !== undefined && !this.#isDue(hash)) settled.push(hash);
    }
    if (settled.length > 0) await this.#job.sightings?.updateWaiting({ due: [], settled, now: this.#startedAt });
  }

  #isDue(hash: string): boolean {
    return this.#judgements.find(hash)?.state === 'due';
  }

  /** A run that was stopped says so; by its exit status only the shell knows. */
  #noteInterruption(): void {
    if (!this.#job.signal?.aborted) return;
    const { read, unchanged, skipped, failed } = this.#logs;
    const left = this.#job.logs.length - read - unchanged - skipped - failed;
    const rest = left > 0 ? `; ${left} logs were not read to their end` : '';
    this.#fail({ code: 'INTERRUPTED', message: `interrupted${rest}; the next run goes on [INTERRUPTED]` });
  }

  #summarise(quota: QuotaSummary): Summary {
    const files = { cached: 0, known_good: 0, known_bad: 0, placeholder: 0, asked: 0, waiting: 0 };
    const counts = this.#counts;
    const verdicts = { malicious: 0, suspicious: 0, undetected: 0, unknown: 0, unchecked: counts.withoutHash };
    let distinct = 0;
    for (const judgement of this.#judgements.all()) {
      // A file of earlier runs.
      if (judgement.records === 0) continue;
      distinct++;
      verdicts[judgement.verdict] += judgement.records;
      if (judgement.state === 'placeholder') files.placeholder++;
      else if (judgement.state === 'known_good') files.known_good++;
      else if (judgement.state === 'known_bad') files.known_bad++;
      else if (judgement.state === 'cached') files.cached++;
      else if (judgement.state === 'answered') files.asked++;
      else files.waiting++;
    }
    return {
      logs: this.#logs,
      records: {
        total: counts.total,
        process_creations: counts.processCreations,
        other_events: counts.otherEvents,
        with_hash: counts.processCreations + counts.otherEvents - counts.withoutHash,
        without_hash: counts.withoutHash,
        rejected: counts.rejected,
        duplicates: counts.duplicates,
      },
      hashes: { distinct, ...files },
      verdicts,
      quota,
      failures: this.#failures,
      elapsed_ms: this.#clock.now().getTime() - this.#startedAt.getTime(),
    };
  }
}

/** Of so many files that are asked about, the disclosure log tells where they lay: more than most keys may ask in a month. */
const MAX_LOCATED = 20_000;

/** So many of the files that are due are described. */
const PLANNED_SHOWN = 10;

const UNUSED: QuotaWindow = { used: 0, limit: null };
const UNLIMITED_QUOTA: QuotaSummary = { minute: UNUSED, day: UNUSED, month: UNUSED, resumes_at: null };

const STDIN_NAME = 'standard input';

/** Raised when a source or sink comes to write other bytes for the same log, so that old enriched files are made anew. */
const READING_VERSION = 2;

/** The digests of the first `count` questions, one after the other, and each question told as it is taken. */
function* firstOf(
  questions: Iterable<{ readonly hash: string; readonly because: string | undefined }>,
  count: number,
  onTaken: (hash: string, because: string | undefined) => void = () => undefined,
): Generator<string> {
  let left = count;
  for (const { hash, because } of questions) {
    if (left-- <= 0) return;
    onTaken(hash, because);
    yield hash;
  }
}

/** Files that at least one engine detects, worst first, then those that ran most. */
function detectedFiles(judgements: Judgements): (Judgement & Pick<DetectedFile, 'verdict'>)[] {
  const detected: (Judgement & Pick<DetectedFile, 'verdict'>)[] = [];
  for (const judgement of judgements.all())
    if (judgement.records > 0 && isDetected(judgement)) detected.push(judgement);
  const badness = ({ verdict }: Judgement): number => (verdict === 'malicious' ? 1 : 0);
  return detected.sort((a, b) => badness(b) - badness(a) || b.records - a.records || (a.hash < b.hash ? -1 : 1));
}

function isDetected(judgement: Judgement): judgement is Judgement & Pick<DetectedFile, 'verdict'> {
  return judgement.verdict === 'malicious' || judgement.verdict === 'suspicious';
}

/** A ranked file with where it ran, as far as its judgement says. */
export function planned(file: RankedFile, judgements: Judgements): PlannedQuestion {
  const { hash, score, reasons, isStriking } = file;
  const { image = '', computer = '' } = judgements.find(hash) ?? {};
  return { hash, score, reasons, isStriking, image, computer };
}

function logFailure(path: string, error: unknown): RunFailure {
  if (error instanceof EnrichmentError) {
    // A log's trouble is told without its name, an output's with the output's.
    const message = error.name === 'LogError' ? `${path}: ${error.message}` : error.message;
    return { path, code: error.code, message };
  }
  const code = systemCodeOf(error);
  // A system call's failure is the log's; anything else is a defect of ours and must not pass for one.
  if (code === undefined) throw error;
  const busy =
    code === 'EBUSY' || code === 'EPERM' ? '; a live event log is locked: export it with `wevtutil epl`' : '';
  return { path, code: 'UNREADABLE', message: `${path}: cannot be read (${messageOf(error)})${busy} [UNREADABLE]` };
}

function countingReader(reader: ByteReader, onBytes: (bytes: number) => void): ByteReader {
  let bytes = 0;
  return {
    read: async (target) => {
      const filled = await reader.read(target);
      bytes += filled;
      onBytes(bytes);
      return filled;
    },
  };
}

/** Whether a flagged file's context is not there; where none was to be written, since no record names its process, none is missed. */
async function isContextLost({ enrichedPath, hadContext }: WrittenFile): Promise<boolean> {
  if (hadContext === false) return false;
  return access(contextPathOf(enrichedPath)).then(
    () => false,
    () => true,
  );
}

/** What lists of known files said of a file when its record was written. */
function marksOf(member: string): Judgement['marks'] | undefined {
  if (!member.includes('"known_')) return undefined;
  const { known_good: good, known_bad: bad }: { readonly [name: string]: unknown } = JSON.parse(member);
  return {
    ...(isMark(good) ? { knownGood: { source: good.source, isProbable: good.probable === true } } : {}),
    ...(isMark(bad) ? { knownBad: { source: bad.source, isProbable: bad.probable === true } } : {}),
  };
}

function isMark(json: unknown): json is { readonly source: string; readonly probable?: unknown } {
  return typeof json === 'object' && json !== null && 'source' in json && typeof json.source === 'string';
}
