import type { ByteWriter } from '../byte-writer.js';
import { csvCell, csvJsonCell, VERDICT_COLUMNS } from '../csv-cells.js';
import { LogError } from '../errors.js';
import type { RecordView, RowHeader } from '../event.js';
import type { RecordWriter, WrittenVerdict } from './record-form.js';

/** What may part cells where columns are added; with letters, quotes or braces the added cells would fall apart. */
const DELIMITERS: readonly string[] = [',', ';', '\t', '|', ':', '^', '~'];

const QUOTE = 0x22;
const CLOSING_BRACE = 0x7d;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** How the last cell starts: a quoted cell with the JSON of a `virustotal` member, whose own quotes are doubled. */
const MEMBER_CELL_START = Buffer.from('"{""verdict"":""');

/** Writes rows of CSV logs as they stand there, with a verdict's cells at the right; those of an earlier run are replaced. */
export class CsvWriter implements RecordWriter {
  #header: RowHeader | undefined;
  /** Whether the log's rows have cells of an earlier run. */
  #hasVerdicts = false;

  get recordEnd(): string {
    return this.#header?.lineEnd ?? '\n';
  }

  writeHeader(header: RowHeader, out: ByteWriter): void {
    const { bytes, delimiter, lineEnd } = header;
    if (this.#header !== undefined) {
      if (bytes.equals(this.#header.bytes)) return;
      throw new LogError(
        'UNSUPPORTED',
        'its columns are not those of the CSV log before it, so --records csv cannot write both into one file; unpack the archive first',
      );
    }
    if (!DELIMITERS.includes(delimiter)) {
      throw new LogError(
        'UNSUPPORTED',
        `columns cannot be added to cells that are parted by "${delimiter}"; leave --records csv out for this log`,
      );
    }
    this.#header = header;
    const added = `${delimiter}${VERDICT_COLUMNS.join(delimiter)}`;
    this.#hasVerdicts = bytes.subarray(-added.length).equals(Buffer.from(added));
    out.bytes(bytes, 0, bytes.length - (this.#hasVerdicts ? added.length : 0));
    out.text(`${added}${lineEnd}`);
  }

  writeBody(record: Pick<RecordView, 'writeBody'>, out: ByteWriter): void {
    const start = out.length;
    record.writeBody(out);
    if (!this.#hasVerdicts) return;
    const row = out.buffer.subarray(start, out.length);
    const found = findCsvVerdict(row);
    const noCells = this.#emptyCells();
    if (found !== undefined) out.length = start + found.start;
    else if (row.subarray(-noCells.length).equals(Buffer.from(noCells))) out.length -= noCells.length;
  }

  writeOther(record: Pick<RecordView, 'writeBody'>, out: ByteWriter): void {
    this.writeBody(record, out);
    out.text(this.#emptyCells());
  }

  tail(_eventId: number, member: string): string {
    return cellsOf(member, this.#header?.delimiter ?? ',');
  }

  #emptyCells(): string {
    return (this.#header?.delimiter ?? ',').repeat(VERDICT_COLUMNS.length);
  }
}

/**
 * Finds a verdict's cells at the end of a line. A row may go on over several lines, but only inside a quoted cell, where all quotes are
 * doubled: a line that ends in a brace and one quote is the last one of its row, and there our cells are the last.
 */
export function findCsvVerdict(line: Buffer): WrittenVerdict | undefined {
  let end = line.length;
  if (line[end - 1] === LINE_FEED) end--;
  if (line[end - 1] === CARRIAGE_RETURN) end--;
  if (line[end - 1] !== QUOTE || line[end - 2] !== CLOSING_BRACE) return undefined;
  const cellStart = line.lastIndexOf(MEMBER_CELL_START);
  const delimiter = String.fromCharCode(line[cellStart - 1] ?? 0);
  if (cellStart < 1 || !DELIMITERS.includes(delimiter)) return undefined;
  const member = canonical(line.toString('utf8', cellStart + 1, end - 1).replaceAll('""', '"'));
  if (member === undefined) return undefined;
  // The cells follow from the member: where they stand as they would be written, they are ours.
  const cells = Buffer.from(cellsOf(member, delimiter));
  const start = end - cells.length;
  if (start < 0 || !line.subarray(start, end).equals(cells)) return undefined;
  return { member, start, end, rewritten: (other) => cellsOf(other, delimiter) };
}

/** JSON text as this program writes it; undefined where it is none. */
function canonical(json: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(json));
  } catch {
    // Somebody else's cell.
    return undefined;
  }
}

/** The cells of `VERDICT_COLUMNS`, each behind a delimiter. */
function cellsOf(member: string, delimiter: string): string {
  const said: { readonly [name: string]: unknown } = JSON.parse(member);
  const cells: Readonly<Record<(typeof VERDICT_COLUMNS)[number], string>> = {
    vt_verdict: cellOf(said['verdict']),
    vt_reason: cellOf(said['reason']),
    vt_detections: cellOf(said['detections']),
    vt_engines: cellOf(said['engines']),
    vt_label: cellOf(said['label']),
    vt_flags: cellOf(Array.isArray(said['flags']) ? said['flags'].join(' ') : undefined),
    vt_link: cellOf(said['link']),
    vt_last_analysis: cellOf(said['last_analysis']),
    virustotal: csvJsonCell(member),
  };
  return VERDICT_COLUMNS.map((name) => `${delimiter}${cells[name]}`).join('');
}

function cellOf(value: unknown): string {
  return csvCell(typeof value === 'string' || typeof value === 'number' ? value : undefined);
}
