import { ByteWriter } from './byte-writer.js';
import type { AnswerCache } from './cache/index.js';
import { type Clock, systemClock } from './clock.js';
import { EnrichmentError, LogError, messageOf, type Reject, systemCodeOf } from './errors.js';
import {
  PROCESS_CREATION,
  type RecordReceiver,
  type RecordView,
  type SysmonEvent,
  type WantedRecords,
} from './event.js';
import { lookupKeyOf } from './hash.js';
import { type Judgement, Judgements } from './judgements.js';
import type { LogFile } from './log-paths.js';
import type { Lifetimes } from './lookup.js';
import { type OutputFile, outputFile } from './sinks/enriched-file.js';
import { NATIVE_FORM, type RecordForm } from './sinks/record-form.js';
import { refreshFile } from './sinks/refresh.js';
import type { ByteReader } from './sources/byte-reader.js';
import { type ContainerLimits, DEFAULT_LIMITS, openLogFile, readLog } from './sources/index.js';
import type { QuotaSummary, RunFailure, Summary } from './summary.js';
import { type Thresholds, virustotalMember } from './verdict.js';
import type { Outcome, Questioner } from './virustotal/schedule.js';

/** Who asks VirusTotal; answers are durable in the cache before they are handed out. */
export interface EnrichQuestioner extends Pick<Questioner, 'lookUpAll' | 'failure'> {
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
}

/** One run of the nightly job. */
export interface EnrichJob {
  readonly logs: readonly LogFile[];
  /** Standard input as a log, and where its records go. */
  readonly stdin?: { readonly reader: ByteReader; readonly enrichedPath: string };
  readonly cache: AnswerCache;
  /** Absent for work with the cache alone. */
  readonly questioner?: EnrichQuestioner;
  /** Ids of the Sysmon events that get a verdict; process creations without. All of them carry a file's hash. */
  readonly eventIds?: ReadonlySet<number>;
  /** Write all other records too, as they are. */
  readonly isEveryRecordWritten?: boolean;
  /** How records are written; as they were found without. */
  readonly form?: RecordForm;
  /** At most so many questions in this run. */
  readonly maxLookups?: number;
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

/** A job with its defaults. */
interface Job extends EnrichJob {
  readonly wanted: WantedRecords;
  readonly form: RecordForm;
  readonly clock: Clock;
  readonly containerLimits: ContainerLimits;
  readonly observer: RunObserver;
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
  };
}

/** A file of this run that VirusTotal's engines detect, and where it was first met. */
export interface DetectedFile {
  readonly verdict: 'malicious' | 'suspicious';
  readonly hash: string;
  readonly image: string;
  readonly computer: string;
  readonly records: number;
  /** The `virustotal` member, JSON text. */
  readonly member: string;
}

/** What a run came to. */
export interface EnrichOutcome {
  readonly summary: Summary;
  readonly detected: readonly DetectedFile[];
}

const OPEN_BRACE = 0x7b;
const FLUSH_BYTES = 128 * 1024;

/** A written file whose records hold files without a fresh answer, and what was said of them. */
interface WaitingFile {
  readonly path: string;
  readonly judgements: readonly Judgement[];
  readonly membersAsWritten: readonly string[];
}

/**
 * The nightly job: reads every log once and writes its process creations with what the cache knows, asks VirusTotal about
 * files without a fresh answer, and refreshes the records of those that got one. Resolves with the summary; trouble with one
 * log, record or question is in it, not thrown. Throws StorageError where the cache itself cannot be used.
 */
export async function enrich(wantedJob: EnrichJob): Promise<EnrichOutcome> {
  const job: Job = {
    clock: systemClock,
    containerLimits: DEFAULT_LIMITS,
    form: NATIVE_FORM,
    wanted: {
      eventIds: wantedJob.eventIds ?? new Set([PROCESS_CREATION]),
      isEveryRecordWanted: wantedJob.isEveryRecordWritten ?? false,
    },
    ...wantedJob,
    observer: withDefaults(wantedJob.observer ?? {}),
  };
  const startedAt = job.clock.now();
  const judgements = new Judgements({
    cache: job.cache,
    thresholds: job.thresholds,
    lifetimes: job.lifetimes,
    now: startedAt,
    unaskedReason: job.questioner === undefined ? 'offline' : 'waiting',
  });
  const tally = {
    read: 0,
    skipped: 0,
    failed: 0,
    total: 0,
    processCreations: 0,
    otherEvents: 0,
    withoutHash: 0,
    rejected: 0,
    duplicates: 0,
  };
  const failures: RunFailure[] = [];
  const fail = (failure: RunFailure): void => {
    failures.push(failure);
    job.observer.onFailure(failure);
  };

  const waiting = await readAll(job, judgements, tally, fail);
  const asked = await askAboutDue(job, judgements, fail);
  await refreshAll(job, waiting, judgements, fail);

  const files = { cached: 0, placeholder: 0, asked: 0, waiting: 0 };
  const verdicts = { malicious: 0, suspicious: 0, undetected: 0, unknown: 0, unchecked: tally.withoutHash };
  let distinct = 0;
  for (const judgement of judgements.all()) {
    distinct++;
    verdicts[judgement.verdict] += judgement.records;
    if (judgement.state === 'placeholder') files.placeholder++;
    else if (judgement.state === 'cached') files.cached++;
    else if (judgement.state === 'answered') files.asked++;
    else files.waiting++;
  }
  const summary: Summary = {
    logs: { read: tally.read, unchanged: 0, skipped: tally.skipped, failed: tally.failed },
    records: {
      total: tally.total,
      process_creations: tally.processCreations,
      other_events: tally.otherEvents,
      with_hash: tally.processCreations + tally.otherEvents - tally.withoutHash,
      without_hash: tally.withoutHash,
      rejected: tally.rejected,
      duplicates: tally.duplicates,
    },
    hashes: { distinct, ...files, known_good: 0 },
    verdicts,
    quota: asked,
    failures,
    elapsed_ms: job.clock.now().getTime() - startedAt.getTime(),
  };
  return { summary, detected: detectedFiles(judgements) };
}

/** Files that at least one engine detects, worst first, then those that ran most. */
function detectedFiles(judgements: Judgements): DetectedFile[] {
  const detected: DetectedFile[] = [];
  for (const { verdict, key, image, computer, records, member } of judgements.all()) {
    if (verdict === 'malicious' || verdict === 'suspicious') {
      detected.push({ verdict, hash: key.hash, image, computer, records, member });
    }
  }
  const badness = ({ verdict }: DetectedFile): number => (verdict === 'malicious' ? 1 : 0);
  return detected.sort((a, b) => badness(b) - badness(a) || b.records - a.records || (a.hash < b.hash ? -1 : 1));
}

interface Tally {
  read: number;
  skipped: number;
  failed: number;
  total: number;
  processCreations: number;
  otherEvents: number;
  withoutHash: number;
  rejected: number;
  duplicates: number;
}

type Fail = (failure: RunFailure) => void;

/** Step 1: every log once, in order. Returns the files that wait for answers. */
async function readAll(job: Job, judgements: Judgements, tally: Tally, fail: Fail): Promise<WaitingFile[]> {
  const { observer, signal } = job;
  const waiting: WaitingFile[] = [];
  const totalBytes = job.logs.reduce((sum, log) => sum + log.sizeBytes, 0);
  observer.onReadingStart(job.logs.length + (job.stdin === undefined ? 0 : 1), totalBytes);
  let bytesBefore = 0;

  for (const log of job.logs) {
    if (signal?.aborted) break;
    observer.onLogStart(log.path);
    try {
      const file = await openLogFile(log.path);
      try {
        const counted = countingReader(file.reader, (bytes) => observer.onProgress(bytesBefore + bytes));
        const read = new LogReading(job, judgements, tally, log.path, log.enrichedPath);
        await read.run(counted, log.path, log.isNamed, fail);
        waiting.push(...read.waiting());
      } finally {
        await file.close();
      }
    } catch (error) {
      tally.failed++;
      fail(logFailure(log.path, error));
    }
    bytesBefore += log.sizeBytes;
  }
  if (job.stdin !== undefined && !signal?.aborted) {
    observer.onLogStart('-');
    const read = new LogReading(job, judgements, tally, 'standard input', job.stdin.enrichedPath);
    try {
      await read.run(job.stdin.reader, undefined, true, fail);
      waiting.push(...read.waiting());
    } catch (error) {
      tally.failed++;
      fail(logFailure('standard input', error));
    }
  }
  return waiting;
}

function logFailure(path: string, error: unknown): RunFailure {
  if (error instanceof LogError) return { path, code: error.code, message: `${path}: ${error.message}` };
  if (error instanceof EnrichmentError) return { path, code: error.code, message: error.message };
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

/** Thrown through a source to stop it between two blocks. */
class Interruption extends Error {}

/** A record of the present block whose verdict is not written yet. */
interface PendingRecord {
  /** Where its body ends. */
  readonly end: number;
  /** Undefined for a record that is only passed through. */
  readonly eventId: number | undefined;
  readonly judgement: Judgement | undefined;
}

/** The path of the file an event's hash belongs to. */
function imageOf({ eventId, data }: SysmonEvent): string {
  const field =
    eventId === PROCESS_CREATION ? 'Image' : eventId === 6 || eventId === 7 ? 'ImageLoaded' : 'TargetFilename';
  return data.get(field) ?? '';
}

/** One log on its way to its enriched file. */
class LogReading implements RecordReceiver {
  readonly #job: Job;
  readonly #judgements: Judgements;
  readonly #tally: Tally;
  readonly #name: string;
  readonly #path: string;
  readonly #output: OutputFile;
  /** Bodies of the block's records, back to back, and what belongs to each. */
  readonly #bodies = new ByteWriter();
  readonly #pending: PendingRecord[] = [];
  readonly #out = new ByteWriter(FLUSH_BYTES * 2);
  readonly #due = new Map<Judgement, string>();
  #processCreations = 0;

  constructor(job: Job, judgements: Judgements, tally: Tally, name: string, enrichedPath: string) {
    this.#job = job;
    this.#judgements = judgements;
    this.#tally = tally;
    this.#name = name;
    this.#path = enrichedPath;
    this.#output = outputFile(enrichedPath);
  }

  /** Reads the log to its end and puts the enriched file in place. Rejects where the log as a whole cannot be read. */
  async run(reader: ByteReader, filePath: string | undefined, isNamed: boolean, fail: Fail): Promise<void> {
    const { observer } = this.#job;
    let format: string;
    try {
      const options = { filePath, limits: this.#job.containerLimits, wanted: this.#job.wanted };
      ({ format } = await readLog(reader, options, this, (member, error) => {
        const place = member === '' ? this.#name : `${this.#name}!${member}`;
        fail({ path: place, code: error.code, message: `${place}: ${error.message}` });
      }));
      await this.onBlockEnd();
    } catch (error) {
      if (error instanceof Interruption) {
        await this.#output.abandon();
        return;
      }
      if (error instanceof LogError && error.code === 'NOT_A_LOG' && !isNamed) {
        // A stray file in a folder of logs is no failure, but nobody may believe that it was read.
        await this.#output.abandon();
        this.#tally.skipped++;
        observer.onNote(this.#name, `skipped: ${error.message}`);
        return;
      }
      await this.#output.abandon();
      throw error;
    }
    if (this.#out.length > 0) await this.#output.write(this.#out.view());
    await this.#output.commit();
    this.#tally.read++;
    observer.onLogEnd(this.#name, format, this.#processCreations);
  }

  /** The enriched file, if it holds files without a fresh answer. */
  waiting(): WaitingFile[] {
    if (this.#due.size === 0) return [];
    return [{ path: this.#path, judgements: [...this.#due.keys()], membersAsWritten: [...this.#due.values()] }];
  }

  onEvent(record: RecordView): void {
    this.#tally.total++;
    if (record.eventId === PROCESS_CREATION) {
      this.#tally.processCreations++;
      this.#processCreations++;
    } else {
      this.#tally.otherEvents++;
    }
    const key = lookupKeyOf(record.hashes);
    if (key === undefined) this.#tally.withoutHash++;
    const judgement = key === undefined ? undefined : this.#judgements.of(key);
    if (judgement !== undefined && judgement.records++ === 0) {
      // Only a file's first record is decoded: the rest differ in what people need a report for.
      const event = record.decode();
      judgement.image = imageOf(event);
      judgement.computer = event.computer ?? '';
    }
    this.#job.form.writeBody(record, this.#bodies);
    this.#pending.push({ end: this.#bodies.length, eventId: record.eventId, judgement });
  }

  onOtherRecord(record: Pick<RecordView, 'writeBody'>): void {
    this.#tally.total++;
    record.writeBody(this.#bodies);
    this.#pending.push({ end: this.#bodies.length, eventId: undefined, judgement: undefined });
  }

  onOther(count: number): void {
    this.#tally.total += count;
  }

  onReject(reject: Reject): void {
    this.#tally.total++;
    this.#tally.rejected++;
    this.#job.observer.onReject(this.#name, reject);
  }

  onDuplicate(): void {
    this.#tally.total++;
    this.#tally.duplicates++;
  }

  onNote(note: string): void {
    this.#job.observer.onNote(this.#name, note);
  }

  async onBlockEnd(): Promise<void> {
    await this.#judgements.resolve();
    let start = 0;
    for (const { end, eventId, judgement } of this.#pending) {
      this.#out.bytes(this.#bodies.buffer, start, end);
      if (eventId === undefined) {
        this.#out.text('}\n');
      } else {
        const tail = this.#job.form.tail(eventId, judgement?.member ?? NO_HASH_MEMBER);
        const isEmptyObject = end - start === 1 && this.#bodies.buffer[start] === OPEN_BRACE;
        this.#out.text(isEmptyObject ? tail.slice(1) : tail);
        if (judgement?.state === 'due') this.#due.set(judgement, judgement.member);
      }
      start = end;
      if (this.#out.length >= FLUSH_BYTES) {
        await this.#output.write(this.#out.view());
        this.#out.clear();
      }
    }
    this.#bodies.clear();
    this.#pending.length = 0;
    if (this.#job.signal?.aborted) throw new Interruption('interrupted between two blocks');
  }
}

const NO_HASH_MEMBER = virustotalMember(undefined, { verdict: 'unchecked', reason: 'no_hash' });

/** Steps 2 and 3: which files to ask about, and asking. Returns the quota as it stands then, null for offline work. */
async function askAboutDue(job: Job, judgements: Judgements, fail: Fail): Promise<QuotaSummary | null> {
  const { questioner, observer } = job;
  if (questioner === undefined) return null;
  const due = judgements.due();
  const questions = due.slice(0, job.maxLookups ?? due.length);
  for (const judgement of due.slice(questions.length)) judgements.leaveUnanswered(judgement, 'limit');
  if (questions.length > 0) {
    observer.onAskingStart(questions.length);
    await questioner.lookUpAll(
      questions.map((judgement) => judgement.key.hash),
      (hash, outcome) => {
        const judgement = judgements.find(hash);
        if (judgement === undefined) return;
        if (outcome.kind === 'answered') judgements.settle(judgement, outcome.lookup, outcome.isOurs);
        else judgements.leaveUnanswered(judgement, outcome.reason);
        observer.onOutcome(hash, outcome);
      },
    );
    const { failure } = questioner;
    if (failure !== undefined) fail({ code: failure.code, message: failure.message });
  }
  return questioner.usage();
}

/** Step 4: only files that hold a record whose verdict has changed since it was written. */
async function refreshAll(
  job: Job,
  waiting: readonly WaitingFile[],
  judgements: Judgements,
  fail: Fail,
): Promise<void> {
  for (const { path, judgements: held, membersAsWritten } of waiting) {
    if (held.every((judgement, index) => judgement.member === membersAsWritten[index])) continue;
    try {
      const wasRewritten = await refreshFile(path, (key) => judgements.find(key.hash)?.member, job.form);
      if (wasRewritten) job.observer.onRefreshed(path);
    } catch (error) {
      if (!(error instanceof EnrichmentError)) throw error;
      fail({ path, code: error.code, message: error.message });
    }
  }
}
