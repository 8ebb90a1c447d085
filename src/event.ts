import type { ByteWriter } from './byte-writer.js';
import type { Reject } from './errors.js';
import type { FileHashes } from './hash.js';

/** Sysmon's event for a process that starts. */
export const PROCESS_CREATION = 1;

/**
 * Sysmon's events that carry the hash of a file: process, driver, image, stream, deleted, blocked and dropped files. Events 24
 * (clipboard) and 16 (Sysmon's configuration) carry hashes too; those are of no file anybody runs and may be private.
 */
export const HASH_BEARING_EVENTS: readonly number[] = [1, 6, 7, 15, 23, 26, 27, 28, 29];

/** A record decoded as Sysmon's. */
export interface SysmonEvent {
  readonly eventId: number;
  /** `System/EventRecordID` in decimal digits (64 bits, so text); undefined where the format does not carry it. */
  readonly recordId: string | undefined;
  readonly provider: string | undefined;
  readonly channel: string | undefined;
  readonly computer: string | undefined;
  /** `TimeCreated/@SystemTime` as ISO 8601 UTC with the log's own precision; undefined where the format does not carry it. */
  readonly timeCreated: string | undefined;
  /** `EventData` by Sysmon's own field names, values as Windows renders them (`{GUID}`, `0x3e7`, `true`). */
  readonly data: ReadonlyMap<string, string>;
}

/** What identifies an event, and its fields one by one, read as they are asked for: an event, or a view that is valid as long as its record. */
export interface EventGlance
  extends Pick<SysmonEvent, 'eventId' | 'recordId' | 'channel' | 'computer' | 'timeCreated'> {
  readonly data: Pick<SysmonEvent['data'], 'get'>;
}

/**
 * One record as a source hands it over. Sources may reuse one object and the buffers behind it for all records:
 * everything here is valid only during the call of `onEvent`.
 */
export interface RecordView {
  readonly eventId: number;
  /** The digests of the file the event is about, lower-case hex. */
  readonly hashes: FileHashes;
  /**
   * Appends the record as one JSON object in UTF-8, without its closing brace, without a line feed and without a top-level
   * `virustotal` member: `{"a":1` for `{"a":1}`, `{` for `{}`. JSON records keep their tokens byte for byte.
   * Where rows are wanted it is the row as it stands in the log instead, filled up to the header's width, without its line end.
   */
  writeBody(out: ByteWriter): void;
  /** The decoded event. Costs more than the rest, so it is asked of few records. */
  decode(): SysmonEvent;
  /** The event without decoding all of it; absent where `decode` costs no more. */
  glance?(): EventGlance;
}

/** What is wanted of a log's records. */
export interface WantedRecords {
  /** Ids of Sysmon events to hand over; everything else is only counted. */
  readonly eventIds: ReadonlySet<number>;
  /** Every other record is handed over too, through `onOtherRecord`, Sysmon's or not. */
  readonly isEveryRecordWanted?: boolean;
  /**
   * The bytes that are in no wanted record are handed over too, through `onPassage`, so that the log can be written anew with nothing
   * else changed. Only JSON lines can: any other log ends in LogError UNSUPPORTED. `isEveryRecordWanted` says nothing then.
   */
  readonly isEveryByteWanted?: boolean;
  /**
   * Records are written as rows of the log, behind its header, which is handed over through `onHeader`. Only CSV has rows: any other log,
   * or member of an archive, ends in LogError UNSUPPORTED.
   */
  readonly areRowsWanted?: boolean;
}

/** The header of a CSV log whose rows are written as they stand. */
export interface RowHeader {
  /**
   * Its own bytes in UTF-8, without its line end: the byte order mark and the line that names the delimiter where the log has them, its
   * names, and an empty one for each column without.
   */
  readonly bytes: Buffer;
  readonly delimiter: string;
  readonly lineEnd: string;
}

/** Who receives what a source reads, in the log's order. All calls are synchronous but `onBlockEnd`. */
export interface RecordReceiver {
  /** A wanted Sysmon event. */
  onEvent(record: RecordView): void;
  /** `count` records that were read and are not wanted. */
  onOther(count: number): void;
  /** Where every record is wanted: one that is not of the wanted events. Only its body can be had. */
  onOtherRecord?(record: Pick<RecordView, 'writeBody'>): void;
  /** Where rows are wanted: the header of those that follow, before the first of them. May throw LogError, which ends the log or member. */
  onHeader?(header: RowHeader): void;
  /** Where every byte is wanted: bytes that are in no wanted record, in their place among these. They are counted elsewhere. */
  onPassage?(bytes: Buffer): void;
  /** A record that could not be read. */
  onReject(reject: Reject): void;
  /** One record more in another guise (a tool's second line for one event): counted, not written. */
  onDuplicate(): void;
  /** Something worth knowing that lost no record: zeroed blocks, a stale header, a wrong checksum, a truncated tail. */
  onNote(note: string): void;
  /** Called and awaited between blocks of at most a few hundred records: where back-pressure and cancellation happen. */
  onBlockEnd(): Promise<void>;
}

const SYSMON_PROVIDERS: ReadonlySet<string> = new Set(['microsoft-windows-sysmon', 'linux-sysmon']);

/** Whether a provider's name is Sysmon's, on Windows or Linux, in any case. */
export function isSysmonProvider(name: string): boolean {
  return SYSMON_PROVIDERS.has(name.toLowerCase());
}
