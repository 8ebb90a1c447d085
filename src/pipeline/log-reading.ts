import { ByteWriter } from '../byte-writer.js';
import type { DoNotAsk } from '../do-not-ask.js';
import { LogError, type Reject } from '../errors.js';
import {
  type EventGlance,
  PROCESS_CREATION,
  type RecordReceiver,
  type RecordView,
  type RowHeader,
  type WantedRecords,
} from '../event.js';
import { lookupKeyOf } from '../hash.js';
import type { Judgement, Judgements } from '../judgements.js';
import type { OutputFile } from '../sinks/enriched-file.js';
import type { RecordForm, RecordWriter } from '../sinks/record-form.js';
import type { ByteReader } from '../sources/byte-reader.js';
import { type ContainerLimits, readLog } from '../sources/index.js';
import { virustotalMember } from '../verdict.js';
import { MembersAsWritten } from './members-as-written.js';
import type { Memory } from './memory.js';

/** What was counted in one log. */
export interface LogCounts {
  total: number;
  processCreations: number;
  otherEvents: number;
  withoutHash: number;
  rejected: number;
  duplicates: number;
}

/** Counts of nothing. */
export function noCounts(): LogCounts {
  return { total: 0, processCreations: 0, otherEvents: 0, withoutHash: 0, rejected: 0, duplicates: 0 };
}

/** What reading a log needs besides its bytes. */
export interface ReadingSetup {
  readonly judgements: Judgements;
  /** Where sightings are gathered; absent where nothing is remembered. */
  readonly memory: Memory | undefined;
  /** What is never asked; a file is withheld if one of its records is. */
  readonly doNotAsk: DoNotAsk | undefined;
  readonly wanted: WantedRecords;
  readonly form: RecordForm;
  readonly limits: ContainerLimits;
  /** Nothing is written. */
  readonly isDryRun: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Who hears of what is met in a log. */
export interface ReadingObserver {
  onNote(logName: string, note: string): void;
  onReject(logName: string, reject: Reject): void;
  /** A member of an archive that cannot be read. */
  onMemberFailure(place: string, error: LogError): void;
}

/** How a reading ended. `nothing_read` where each member of an archive failed, as was told of each; `not_a_log` only where the log was met in a folder; a named one that is none is an error. */
export type ReadingEnd =
  | {
      readonly kind: 'read';
      readonly format: string;
      readonly members: MembersAsWritten;
      readonly withheld: ReadonlySet<string>;
    }
  | { readonly kind: 'not_a_log'; readonly why: string }
  | { readonly kind: 'nothing_read' }
  | { readonly kind: 'interrupted' };

const OPEN_BRACE = 0x7b;
const FLUSH_BYTES = 128 * 1024;

/** Records are judged and written so many bytes at a time, since the cache is asked about many files for little more than about one. */
const BATCH_BYTES = 1024 * 1024;

const NO_HASH_MEMBER = virustotalMember(undefined, { verdict: 'unchecked', reason: 'no_hash' });

/** Thrown through a source to stop it between two blocks. */
class Interruption extends Error {}

/** A part of the present block that is not written yet: a record that gets a verdict, one that gets none, or bytes between records. */
interface PendingPart {
  readonly kind: 'event' | 'other record' | 'passage';
  /** Where its bytes, of a record those of its body, end. */
  readonly end: number;
  /** Of an event. */
  readonly eventId: number;
  readonly judgement: Judgement | undefined;
}

/**
 * Reads one log once and writes its records to `output`, each record with what is known of its file by then. The output is in place only
 * if the log was read to its end. Rejects with LogError where the log cannot be read, with StorageError where the output cannot be written, and
 * with the system's error where its bytes cannot be had.
 */
export async function readIntoFile(
  reader: ByteReader,
  log: {
    readonly name: string;
    readonly filePath: string | undefined;
    readonly isNamed: boolean;
    readonly output: OutputFile;
    /** Filled while the log is read, so that what was met counts also where the log fails or is left. */
    readonly counts: LogCounts;
  },
  setup: ReadingSetup,
  observer: ReadingObserver,
): Promise<ReadingEnd> {
  const { output } = log;
  const receiver = new FileReceiver(log, setup, observer);
  let hasFailedMember = false;
  try {
    const options = { filePath: log.filePath, limits: setup.limits, wanted: setup.wanted };
    const { format, parts } = await readLog(reader, options, receiver, (member, error) => {
      hasFailedMember = true;
      observer.onMemberFailure(member === '' ? log.name : `${log.name}!${member}`, error);
    });
    if (hasFailedMember && parts.length === 0 && log.counts.total === 0) {
      // As with any log that cannot be read: what was written for it before stays.
      await output.abandon();
      return { kind: 'nothing_read' };
    }
    await receiver.finish();
    return { kind: 'read', format, members: receiver.members(), withheld: receiver.withheld };
  } catch (error) {
    await output.abandon();
    if (error instanceof Interruption) return { kind: 'interrupted' };
    // A stray file in a folder of logs is no failure, but nobody may believe that it was read.
    if (error instanceof LogError && error.code === 'NOT_A_LOG' && !log.isNamed) {
      return { kind: 'not_a_log', why: error.message };
    }
    throw error;
  }
}

class FileReceiver implements RecordReceiver {
  readonly counts: LogCounts;
  /** Hashes that a rule forbids asking about. */
  readonly withheld = new Set<string>();
  readonly #name: string;
  readonly #output: OutputFile;
  readonly #setup: ReadingSetup;
  readonly #writer: RecordWriter;
  readonly #observer: ReadingObserver;
  /** Bodies of the block's records and what stands between them, back to back, and what belongs to each. */
  readonly #bodies = new ByteWriter();
  readonly #pending: PendingPart[] = [];
  readonly #out = new ByteWriter(FLUSH_BYTES * 2);
  readonly #members = new MembersAsWritten();

  constructor(
    log: { readonly name: string; readonly output: OutputFile; readonly counts: LogCounts },
    setup: ReadingSetup,
    observer: ReadingObserver,
  ) {
    this.#name = log.name;
    this.#output = log.output;
    this.counts = log.counts;
    this.#setup = setup;
    this.#observer = observer;
    this.#writer = setup.form.open();
  }

  members(): MembersAsWritten {
    return this.#members.finished();
  }

  /** Writes what is left and puts the file in place. */
  async finish(): Promise<void> {
    await this.#judgeAndWrite();
    if (this.#out.length > 0) await this.#flush();
    // Committed without a write, an output takes an earlier file away; a dry run leaves everything as it is.
    if (this.#setup.isDryRun) await this.#output.abandon();
    else await this.#output.commit();
  }

  onEvent(record: RecordView): void {
    const { counts } = this;
    counts.total++;
    if (record.eventId === PROCESS_CREATION) counts.processCreations++;
    else counts.otherEvents++;
    const key = lookupKeyOf(record.hashes);
    if (key === undefined) counts.withoutHash++;
    const judgement = key === undefined ? undefined : this.#setup.judgements.of(key, record.hashes);
    if (key !== undefined && judgement !== undefined) this.#note(key.hash, judgement, record);
    if (this.#setup.isDryRun) return;
    this.#writer.writeBody(record, this.#bodies);
    this.#pending.push({ kind: 'event', end: this.#bodies.length, eventId: record.eventId, judgement });
  }

  onOtherRecord(record: Pick<RecordView, 'writeBody'>): void {
    this.counts.total++;
    if (this.#setup.isDryRun) return;
    this.#writer.writeOther(record, this.#bodies);
    this.#pending.push({ kind: 'other record', end: this.#bodies.length, eventId: 0, judgement: undefined });
  }

  onHeader(header: RowHeader): void {
    if (this.#setup.isDryRun) return;
    this.#writer.writeHeader(header, this.#bodies);
    this.#pending.push({ kind: 'passage', end: this.#bodies.length, eventId: 0, judgement: undefined });
  }

  onPassage(bytes: Buffer): void {
    if (this.#setup.isDryRun) return;
    this.#bodies.bytes(bytes);
    this.#pending.push({ kind: 'passage', end: this.#bodies.length, eventId: 0, judgement: undefined });
  }

  onOther(count: number): void {
    this.counts.total += count;
  }

  onReject(reject: Reject): void {
    this.counts.total++;
    this.counts.rejected++;
    this.#observer.onReject(this.#name, reject);
  }

  onDuplicate(): void {
    this.counts.total++;
    this.counts.duplicates++;
  }

  onNote(note: string): void {
    this.#observer.onNote(this.#name, note);
  }

  async onBlockEnd(): Promise<void> {
    if (this.#bodies.length >= BATCH_BYTES || this.#setup.isDryRun) await this.#judgeAndWrite();
    await this.#setup.memory?.makeRoom();
    if (this.#setup.signal?.aborted) throw new Interruption('interrupted between two blocks');
  }

  async #judgeAndWrite(): Promise<void> {
    await this.#setup.judgements.resolve();
    // In place, what follows a record in the log follows it as a passage.
    const recordEnd = this.#setup.wanted.isEveryByteWanted ? '}' : this.#writer.recordEnd;
    let start = 0;
    for (const { kind, end, eventId, judgement } of this.#pending) {
      this.#out.bytes(this.#bodies.buffer, start, end);
      if (kind === 'event') {
        const tail = this.#writer.tail(eventId, judgement?.member ?? NO_HASH_MEMBER);
        const isEmptyObject = end - start === 1 && this.#bodies.buffer[start] === OPEN_BRACE;
        this.#out.text(isEmptyObject ? tail.slice(1) : tail);
        if (judgement !== undefined) this.#keepMember(judgement);
      }
      if (kind !== 'passage') this.#out.text(recordEnd);
      start = end;
      if (this.#out.length >= FLUSH_BYTES) await this.#flush();
    }
    this.#bodies.clear();
    this.#pending.length = 0;
  }

  #note(hash: string, judgement: Judgement, record: RecordView): void {
    const { memory, doNotAsk } = this.#setup;
    const isFirst = judgement.records++ === 0;
    const isRemembered =
      memory !== undefined && record.eventId === PROCESS_CREATION && judgement.state !== 'placeholder';
    const isToBeWithheld = doNotAsk !== undefined && !judgement.isWithheld;
    if (!isFirst && !isRemembered && !isToBeWithheld) return;
    const event = record.glance?.() ?? record.decode();
    if (isFirst) {
      // Of a file that is remembered, its sightings tell.
      if (!isRemembered) judgement.image = imageOf(event);
      judgement.computer = event.computer ?? '';
    }
    if (isRemembered) memory.add(hash, event, this.#name);
    if (isToBeWithheld) {
      const whereabouts = { images: [imageOf(event)], hostNames: [event.computer ?? ''] };
      judgement.isWithheld = doNotAsk.ruleAgainst(whereabouts) !== undefined;
    }
    if (judgement.isWithheld) this.withheld.add(hash);
  }

  #keepMember(judgement: Judgement): void {
    if (!this.#members.has(judgement)) this.#members.add(judgement, judgement.memberMark);
  }

  async #flush(): Promise<void> {
    await this.#output.write(this.#out.view());
    this.#out.clear();
  }
}

/** The path of the file an event's hash belongs to. */
function imageOf({ eventId, data }: EventGlance): string {
  if (eventId === PROCESS_CREATION) return data.get('Image') ?? '';
  return data.get(eventId === 6 || eventId === 7 ? 'ImageLoaded' : 'TargetFilename') ?? '';
}
