import { ByteWriter } from '../byte-writer.js';
import { VERDICT_COLUMNS } from '../csv-cells.js';
import { LogError } from '../errors.js';
import type { RecordReceiver, RecordView, SysmonEvent, WantedRecords } from '../event.js';
import type { ByteReader } from './byte-reader.js';
import { type Columns, decodeCells, readHeader, toRecord } from './csv/columns.js';
import { RowReader } from './csv/rows.js';
import type { JsonObject } from './json/members.js';
import { type RecognisedEvent, recognise } from './json/recognise.js';
import { type LineVisitor, MAX_RECORD_BYTES, readLines } from './lines.js';
import { asRecordView } from './record-view.js';
import { SeenRecords } from './seen-records.js';
import { findLayout, readSingleRecord } from './text/layouts.js';
import { decodeOtherRecord, decodeRecord, eventIdOf, type TextRecord } from './text/record.js';

/** What parts cells; most tools write commas, Windows the list separator of its language. */
const DELIMITERS = [',', ';', '\t'] as const;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** PowerShell's type above the header; also in the middle, where exports were joined. */
const TYPE_LINE = /^"?#TYPE /;

/** Excel's way to name the delimiter. */
const SEPARATOR_LINE = /^"?sep=([^"\r])/i;

/** Names that this program added to a header: they are no columns of the log's own. */
const OWN_COLUMNS: readonly string[] = VERDICT_COLUMNS;

/** Whether a log that starts with these bytes of UTF-8 is CSV with the columns of events. */
export function looksLikeCsv(head: Buffer): boolean {
  const table = new TableReader();
  const rows: string[][] = [];
  const text = head.toString('utf8').replace(/^\ufeff/, '');
  for (const line of text.split('\n')) {
    // A record of text may hold delimiters and names of columns, a header is never the start of one.
    if (rows.length === 0 && findLayout(line, '') !== undefined) return false;
    const row = table.addLine(line);
    if (row !== undefined) rows.push(row);
    if (rows.length === 2) break;
  }
  const [header, firstRow] = rows;
  return header !== undefined && readHeader(header, firstRow) !== undefined;
}

/**
 * Reads CSV in UTF-8, with the columns of verdicts this program added or without: what Event Viewer, PowerShell, EvtxECmd, hayabusa, Splunk, Kibana and Log Analytics export, and columns named
 * like Sysmon's fields. Columns are told by their names, whatever their order; of rows that hayabusa writes for each rule one event
 * matches, the first counts. Rejects with LogError where the header is not that of events, and where reading fails.
 */
export async function readCsv(reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver): Promise<void> {
  const rows = new CsvRecords(wanted, receiver);
  await readLines(reader, rows);
  rows.finish();
  await receiver.onBlockEnd();
}

/**
 * Rows of a table whose delimiter is found in its header; blank lines and what tools write above the header are passed over, and so are
 * the columns of verdicts that this program added.
 */
class TableReader {
  #delimiter: string | undefined;
  #rows: RowReader | undefined;
  #headerCells: number | undefined;
  #ownCells = 0;

  /** What parts cells, once the header was read. */
  get delimiter(): string {
    return this.#delimiter ?? ',';
  }

  /** Whether a line above the header names the delimiter. */
  hasSeparatorLine = false;

  /** Whether this program added its columns to the header. */
  get hasVerdicts(): boolean {
    return this.#ownCells > 0;
  }

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
        this.hasSeparatorLine = true;
        return undefined;
      }
    }
    this.#delimiter ??= delimiterOf(line);
    this.#rows ??= new RowReader(this.#delimiter);
    const cells = this.#rows.addLine(line);
    return cells && this.#withoutVerdict(cells);
  }

  /** Forgets the row that is being read. */
  reset(): void {
    this.#rows?.reset();
  }

  #withoutVerdict(cells: string[]): string[] {
    if (this.#headerCells === undefined) {
      this.#headerCells = cells.length;
      const isOurs = OWN_COLUMNS.every((name, index) => cells.at(index - OWN_COLUMNS.length) === name);
      if (!isOurs) return cells;
      this.#ownCells = OWN_COLUMNS.length;
      const names = cells.slice(0, -OWN_COLUMNS.length);
      // It was filled up to the width of its rows.
      while (names.at(-1) === '') names.pop();
      return names;
    }
    return this.#ownCells > 0 && cells.length >= this.#headerCells ? cells.slice(0, -this.#ownCells) : cells;
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
  /** Its bytes without line end, where rows are wanted. */
  readonly bytes: Buffer | undefined;
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
  /** Where rows are wanted, the bytes of the one that is being read. */
  readonly #bytes: ByteWriter | undefined;
  readonly onMark?: () => void;
  readonly onBytes?: (bytes: Buffer) => void;
  #isMarked = false;
  /** Gone once the header was handed over. */
  #headerBytes: Buffer | undefined;
  #lineEnd = '\n';
  /** The cells that every row is filled up to where rows are wanted. */
  #width: number | undefined;

  constructor(wanted: WantedRecords, receiver: RecordReceiver) {
    this.#wanted = wanted;
    this.#receiver = receiver;
    if (wanted.areRowsWanted !== true) return;
    const row = new ByteWriter();
    this.#bytes = row;
    this.onMark = () => {
      this.#isMarked = true;
    };
    this.onBytes = (bytes) => {
      if (!this.#table.isOpen) row.clear();
      row.bytes(bytes);
    };
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
      this.#headerBytes = this.#rowBytes();
      if (this.#bytes?.view().at(-2) === CARRIAGE_RETURN) this.#lineEnd = '\r\n';
      return;
    }
    // Joined exports bring their header along.
    if (cells.length === this.#header.length && cells.every((cell, index) => cell === this.#header?.[index])) return;
    this.#flush();
    this.#count++;
    const place = { record: String(this.#count), offset: this.#offset };
    this.#pending = { cells, place, bytes: this.#rowBytes() };
  }

  /** A copy of the bytes of the row that was just read, without its line end. */
  #rowBytes(): Buffer | undefined {
    return this.#bytes && Buffer.from(withoutLineEnd(this.#bytes.view()));
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
    // Event Viewer's rows have a cell more than its header.
    this.#width ??= Math.max(this.#header.length, row.cells.length);
    if (mayBeWanted(this.#columns, row.cells, this.#wanted)) {
      this.#hand(this.#columns, toRecord(this.#columns, row.cells), row);
    } else if (this.#wanted.isEveryRecordWanted === true) {
      const record = toRecord(this.#columns, row.cells);
      this.#passOther(this.#columns, record, this.#find(record), row);
    } else {
      this.#receiver.onOther(1);
    }
  }

  #hand(columns: Columns, record: JsonObject, row: PlacedRow): void {
    const found = this.#find(record);
    if (found === undefined || !this.#wanted.eventIds.has(found.eventId)) {
      this.#passOther(columns, record, found, row);
      return;
    }
    const event = found.decode();
    if (event.data.size === 0) {
      this.#receiver.onReject({ code: 'BAD_RECORD', message: 'the row holds no field of the event', ...row.place });
    } else if ((found.isPerRule || columns.isPerRule) && this.#seen.hasSeen(event)) {
      this.#receiver.onDuplicate();
    } else {
      const writeBody = this.#rowWriter(row);
      const view = asRecordView(event);
      this.#receiver.onEvent(writeBody === undefined ? view : { ...view, writeBody });
    }
  }

  /** Sysmon's event in a row: in Splunk's column with the whole event, else in the columns. */
  #find(record: JsonObject): FoundEvent | undefined {
    const raw = rawRecordOf(record);
    const event = raw === undefined ? 'other' : decodeRecord(raw, this.#wanted.eventIds);
    if (typeof event === 'string') return recognise(record)?.event;
    return { eventId: event.eventId, isPerRule: false, decode: () => event };
  }

  #passOther(columns: Columns, record: JsonObject, found: FoundEvent | undefined, row: PlacedRow): void {
    if (this.#wanted.isEveryRecordWanted !== true) {
      this.#receiver.onOther(1);
      return;
    }
    const writeBody = this.#rowWriter(row);
    if (writeBody !== undefined) {
      this.#receiver.onOtherRecord?.({ writeBody });
      return;
    }
    const other = decodeOther(columns, record, found);
    if (other === undefined) this.#receiver.onOther(1);
    else this.#receiver.onOtherRecord?.(asRecordView(other));
  }

  /** Where rows are wanted: hands the header over, if this row is the first, and returns what writes the row. */
  #rowWriter({ bytes, cells }: PlacedRow): RecordView['writeBody'] | undefined {
    if (bytes === undefined) return undefined;
    this.#handHeader();
    const { delimiter } = this.#table;
    const missing = Math.max(0, (this.#width ?? 0) - cells.length);
    return (out) => {
      out.bytes(bytes);
      out.text(delimiter.repeat(missing));
    };
  }

  #handHeader(): void {
    if (this.#headerBytes === undefined || this.#header === undefined) return;
    const { delimiter, hasSeparatorLine, hasVerdicts } = this.#table;
    const missing = hasVerdicts ? 0 : (this.#width ?? 0) - this.#header.length;
    const above = `${this.#isMarked ? '\ufeff' : ''}${hasSeparatorLine ? `sep=${delimiter}${this.#lineEnd}` : ''}`;
    const parts = [Buffer.from(above), this.#headerBytes, Buffer.from(delimiter.repeat(missing))];
    this.#headerBytes = undefined;
    this.#receiver.onHeader?.({ bytes: Buffer.concat(parts), delimiter, lineEnd: this.#lineEnd });
  }
}

function withoutLineEnd(row: Buffer): Buffer {
  let end = row.length;
  if (row[end - 1] === LINE_FEED) end--;
  if (row[end - 1] === CARRIAGE_RETURN) end--;
  return row.subarray(0, end);
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
