import { LogError } from '../errors.js';
import type { RecordReceiver, SysmonEvent, WantedRecords } from '../event.js';
import type { ByteReader } from './byte-reader.js';
import { type Columns, decodeCells, readHeader, toRecord } from './csv/columns.js';
import { RowReader } from './csv/rows.js';
import type { JsonObject } from './json/members.js';
import { type RecognisedEvent, recognise } from './json/recognise.js';
import { type LineVisitor, MAX_RECORD_BYTES, readLines } from './lines.js';
import { asRecordView } from './record-view.js';
import { SeenRecords } from './seen-records.js';
import { readSingleRecord } from './text/layouts.js';
import { decodeOtherRecord, decodeRecord, eventIdOf, type TextRecord } from './text/record.js';

/** What parts cells; most tools write commas, Windows the list separator of its language. */
const DELIMITERS = [',', ';', '\t'] as const;

/** PowerShell's type above the header; also in the middle, where exports were joined. */
const TYPE_LINE = /^"?#TYPE /;

/** Excel's way to name the delimiter. */
const SEPARATOR_LINE = /^"?sep=([^"\r])/i;

/** Whether a log that starts with these bytes of UTF-8 is CSV with the columns of events. */
export function looksLikeCsv(head: Buffer): boolean {
  const table = new TableReader();
  const rows: string[][] = [];
  const text = head.toString('utf8').replace(/^\ufeff/, '');
  for (const line of text.split('\n')) {
    const row = table.addLine(line);
    if (row !== undefined) rows.push(row);
    if (rows.length === 2) break;
  }
  const [header, firstRow] = rows;
  return header !== undefined && readHeader(header, firstRow) !== undefined;
}

/**
 * Reads CSV in UTF-8: what Event Viewer, PowerShell, EvtxECmd, hayabusa, Splunk, Kibana and Log Analytics export, and columns named
 * like Sysmon's fields. Columns are told by their names, whatever their order; of rows that hayabusa writes for each rule one event
 * matches, the first counts. Rejects with LogError where the header is not that of events, and where reading fails.
 */
export async function readCsv(reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver): Promise<void> {
  const rows = new CsvRecords(wanted, receiver);
  await readLines(reader, rows);
  rows.finish();
  await receiver.onBlockEnd();
}

/** Rows of a table whose delimiter is found in its header; blank lines and what tools write above the header are passed over. */
class TableReader {
  #delimiter: string | undefined;
  #rows: RowReader | undefined;

  get isOpen(): boolean {
    return this.#rows?.isOpen === true;
  }

  /** The row a line completes; undefined where it completes none. */
  addLine(line: string): string[] | undefined {
    if (!this.isOpen) {
      if (line.trim() === '' || TYPE_LINE.test(line)) return undefined;
      const [, separator] = (this.#rows === undefined && SEPARATOR_LINE.exec(line)) || [];
      if (separator !== undefined) {
        this.#delimiter = separator;
        return undefined;
      }
    }
    this.#rows ??= new RowReader(this.#delimiter ?? delimiterOf(line));
    return this.#rows.addLine(line);
  }

  /** Forgets the row that is being read. */
  reset(): void {
    this.#rows?.reset();
  }
}

/** The delimiter that parts a header into the most cells. */
function delimiterOf(header: string): string {
  const counts = DELIMITERS.map((delimiter) => new RowReader(delimiter).addLine(header)?.length ?? 0);
  return DELIMITERS[counts.indexOf(Math.max(...counts))] ?? ',';
}

/** Whether the ids in a row leave it open that it is a wanted event: most rows need not be looked at further. */
function mayBeWanted({ eventIds, hasRaw }: Columns, cells: readonly string[], wanted: WantedRecords): boolean {
  if (hasRaw || eventIds.length === 0) return true;
  return eventIds.some((column) => {
    const eventId = eventIdOf(cells[column]);
    return eventId !== undefined && wanted.eventIds.has(eventId);
  });
}

/** A complete row, and where it is. */
interface PlacedRow {
  readonly cells: readonly string[];
  readonly place: { readonly record: string; readonly offset: number };
}

/** Turns rows into records and hands the wanted ones over. */
class CsvRecords implements LineVisitor {
  readonly #wanted: WantedRecords;
  readonly #receiver: RecordReceiver;
  readonly #table = new TableReader();
  #header: readonly string[] | undefined;
  #columns: Columns | undefined;
  /** The last row, until it is known whether it is the log's last. */
  #pending: PlacedRow | undefined;
  #length = 0;
  #offset = 0;
  #count = 0;
  #wasLastRowShort = false;
  readonly #seen = new SeenRecords();

  constructor(wanted: WantedRecords, receiver: RecordReceiver) {
    this.#wanted = wanted;
    this.#receiver = receiver;
  }

  onLine(line: string, offset: number): void {
    if (!this.#table.isOpen) {
      this.#offset = offset;
      this.#length = 0;
    }
    this.#length += line.length + 1;
    const cells = this.#table.addLine(line);
    if (cells !== undefined) this.#addRow(cells);
    else if (this.#length > MAX_RECORD_BYTES) this.#rejectAsTooLarge();
  }

  onTooLong(offset: number): void {
    if (!this.#table.isOpen) this.#offset = offset;
    this.#rejectAsTooLarge();
  }

  onBlockEnd(): Promise<void> {
    return this.#receiver.onBlockEnd();
  }

  /** Hands the last row over, unless the log ends inside it. */
  finish(): void {
    if (this.#table.isOpen) {
      this.#flush();
      this.#count++;
      this.#rejectAsCut({ record: String(this.#count), offset: this.#offset });
    } else {
      this.#flush(true);
    }
  }

  #addRow(cells: readonly string[]): void {
    if (this.#header === undefined) {
      this.#header = cells;
      return;
    }
    // Joined exports bring their header along.
    if (cells.length === this.#header.length && cells.every((cell, index) => cell === this.#header?.[index])) return;
    this.#flush();
    this.#count++;
    this.#pending = { cells, place: { record: String(this.#count), offset: this.#offset } };
  }

  #rejectAsTooLarge(): void {
    this.#table.reset();
    this.#flush();
    this.#count++;
    this.#receiver.onReject({
      code: 'TOO_LARGE',
      message: `the row is longer than ${MAX_RECORD_BYTES} bytes; a quoted cell may lack its end`,
      record: String(this.#count),
      offset: this.#offset,
    });
  }

  #rejectAsCut(place: PlacedRow['place']): void {
    this.#receiver.onReject({ code: 'TRUNCATED', message: 'the log ends inside the row', ...place });
  }

  /** Hands the pending row over. The log's last row is cut if it has too few cells, and those before it had not. */
  #flush(isLast = false): void {
    const row = this.#pending;
    if (row === undefined || this.#header === undefined) return;
    this.#pending = undefined;
    this.#columns ??= readHeader(this.#header, row.cells);
    if (this.#columns === undefined) throw new LogError('NOT_A_LOG', 'its header has no columns of events');
    const isShort = row.cells.length < this.#header.length;
    if (isLast && isShort && !this.#wasLastRowShort) {
      this.#rejectAsCut(row.place);
      return;
    }
    this.#wasLastRowShort = isShort;
    if (mayBeWanted(this.#columns, row.cells, this.#wanted)) {
      this.#hand(this.#columns, toRecord(this.#columns, row.cells), row.place);
    } else if (this.#wanted.isEveryRecordWanted === true) {
      const record = toRecord(this.#columns, row.cells);
      this.#passOther(this.#columns, record, this.#find(record));
    } else {
      this.#receiver.onOther(1);
    }
  }

  #hand(columns: Columns, record: JsonObject, place: PlacedRow['place']): void {
    const found = this.#find(record);
    if (found === undefined || !this.#wanted.eventIds.has(found.eventId)) {
      this.#passOther(columns, record, found);
      return;
    }
    const event = found.decode();
    if (event.data.size === 0) {
      this.#receiver.onReject({ code: 'BAD_RECORD', message: 'the row holds no field of the event', ...place });
    } else if (found.isPerRule && this.#seen.hasSeen(event)) {
      this.#receiver.onDuplicate();
    } else {
      this.#receiver.onEvent(asRecordView(event));
    }
  }

  /** Sysmon's event in a row: in Splunk's column with the whole event, else in the columns. */
  #find(record: JsonObject): FoundEvent | undefined {
    const raw = rawRecordOf(record);
    const event = raw === undefined ? 'other' : decodeRecord(raw, this.#wanted.eventIds);
    if (typeof event === 'string') return recognise(record)?.event;
    return { eventId: event.eventId, isPerRule: false, decode: () => event };
  }

  #passOther(columns: Columns, record: JsonObject, found: FoundEvent | undefined): void {
    const other = this.#wanted.isEveryRecordWanted === true ? decodeOther(columns, record, found) : undefined;
    if (other === undefined) this.#receiver.onOther(1);
    else this.#receiver.onOtherRecord?.(asRecordView(other));
  }
}

type FoundEvent = Pick<RecognisedEvent, 'eventId' | 'isPerRule' | 'decode'>;

/** A row that is none of the wanted events: another one of Sysmon's, or another provider's. Undefined where it has no id. */
function decodeOther(columns: Columns, record: JsonObject, found: FoundEvent | undefined): SysmonEvent | undefined {
  if (found !== undefined) return found.decode();
  const raw = rawRecordOf(record);
  return (raw && decodeOtherRecord(raw)) ?? decodeCells(columns, record);
}

/** Splunk's column with the whole event: XML, or text in any layout that Splunk was given. */
function rawRecordOf(record: JsonObject): TextRecord | undefined {
  const raw = record['_raw'];
  if (typeof raw !== 'string') return undefined;
  return raw.trimStart().startsWith('<') ? { xml: raw } : readSingleRecord(raw);
}
