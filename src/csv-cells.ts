import { escapeControls } from './terminal.js';

/** The columns that `--records csv` adds at the right of a log's own: what a person needs, and last the whole `virustotal` member as JSON. */
export const VERDICT_COLUMNS = [
  'vt_verdict',
  'vt_reason',
  'vt_detections',
  'vt_engines',
  'vt_label',
  'vt_flags',
  'vt_link',
  'vt_last_analysis',
  'virustotal',
] as const;

/** Cells of spreadsheets hold 32,767 characters. */
const MAX_CELL_CHARACTERS = 32_000;

/** First characters that make a spreadsheet take a cell for a formula, their full-width forms included. */
const FORMULA_START = /^[\s]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
/** The same behind what a spreadsheet of another country takes for the separator of cells, and behind quotes it takes for an empty cell's. */
const FORMULA_AFTER_SEPARATOR = /([;\t\n][\s"]*)([=+\-@\uff1d\uff0b\uff0d\uff20])/g;

/** One quoted cell; a text that a spreadsheet would run as a formula gets an apostrophe in front, so that it is shown instead. */
export function csvCell(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = value.split('\n').map(escapeControls).join('\n').slice(0, MAX_CELL_CHARACTERS);
  const harmless = text.replace(FORMULA_AFTER_SEPARATOR, "$1'$2");
  return `"${(FORMULA_START.test(harmless) ? `'${harmless}` : harmless).replaceAll('"', '""')}"`;
}

/** One quoted cell with a JSON object's text in one line, whose value stays the same: what a formula would start with is escaped in JSON's own way. */
export function csvJsonCell(json: string): string {
  const harmless = json.replace(
    FORMULA_AFTER_SEPARATOR,
    (_, separator: string, start: string) => `${separator}\\u${start.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${harmless.replaceAll('"', '""')}"`;
}
