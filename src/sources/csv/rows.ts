const QUOTE = '"';

/** Joins lines to rows of cells as RFC 4180 has it: quoted cells may hold the delimiter, line breaks and doubled quotes. */
export class RowReader {
  readonly #delimiter: string;
  #cells: string[] = [];
  /** The quoted cell that the last line left open. */
  #open: string | undefined;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  /** Whether a quoted cell waits for its end. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /**
   * Takes one line without its line feed; returns the row it completes, undefined where a quoted cell goes on in the next line.
   * Lenient: quotes count only where a cell starts, and what stands behind the quote that ends a cell belongs to it.
   */
  addLine(line: string): string[] | undefined {
    let position = 0;
    for (;;) {
      if (this.#open === undefined && line[position] !== QUOTE) {
        const end = line.indexOf(this.#delimiter, position);
        if (end < 0) return this.#endRow(withoutReturn(line.slice(position)));
        this.#cells.push(line.slice(position, end));
        position = end + 1;
        continue;
      }
      const start = this.#open === undefined ? position + 1 : position;
      const quote = endOfQuoted(line, start);
      const text = `${this.#open ?? ''}${undoubled(line.slice(start, quote < 0 ? line.length : quote))}`;
      if (quote < 0) {
        this.#open = `${text}\n`;
        return undefined;
      }
      this.#open = undefined;
      const end = line.indexOf(this.#delimiter, quote + 1);
      if (end < 0) return this.#endRow(text + withoutReturn(line.slice(quote + 1)));
      this.#cells.push(text + line.slice(quote + 1, end));
      position = end + 1;
    }
  }

  /** Forgets the row that is being read. */
  reset(): void {
    this.#cells = [];
    this.#open = undefined;
  }

  #endRow(lastCell: string): string[] {
    const row = this.#cells;
    row.push(lastCell);
    this.#cells = [];
    return row;
  }
}

/** The index of the quote that ends a cell: the first that is not doubled; -1 where the line has none. */
function endOfQuoted(line: string, start: number): number {
  let quote = line.indexOf(QUOTE, start);
  while (quote >= 0 && line[quote + 1] === QUOTE) quote = line.indexOf(QUOTE, quote + 2);
  return quote;
}

function undoubled(text: string): string {
  return text.includes(QUOTE) ? text.replaceAll('""', QUOTE) : text;
}

function withoutReturn(text: string): string {
  return text.endsWith('\r') ? text.slice(0, -1) : text;
}
