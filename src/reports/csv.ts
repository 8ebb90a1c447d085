import { csvCell } from '../csv-cells.js';
import { escapeControls } from '../terminal.js';
import type { CountedValues, Report, ReportedFile } from './report.js';
import { count, describeVerdict } from './wording.js';

const BYTE_ORDER_MARK = '\ufeff';

/** The columns and what each says of a file. Only `flagged` and `unknown` files have rows. */
const COLUMNS: readonly (readonly [name: string, cell: (file: ReportedFile) => string | number | undefined])[] = [
  ['verdict', ({ file }) => file.verdict],
  ['detections', ({ file }) => file.detections],
  ['engines', ({ file }) => file.engines],
  ['statement', ({ file }) => describeVerdict(file)],
  ['label', ({ file }) => file.label],
  ['image', ({ image }) => image],
  ['sha256', ({ file }) => file.hashes.sha256],
  ['sha1', ({ file }) => file.hashes.sha1],
  ['md5', ({ file }) => file.hashes.md5],
  ['executions', ({ executions }) => executions],
  ['host_count', ({ hostCount }) => hostCount],
  ['hosts', ({ hosts }) => joined(hosts)],
  ['users', ({ users }) => joined(users)],
  ['parents', ({ parents }) => joined(parents)],
  ['command_lines', ({ commandLines }) => joined(commandLines)],
  ['first_run', ({ firstRun }) => firstRun?.toISOString()],
  ['last_run', ({ lastRun }) => lastRun?.toISOString()],
  ['first_submission', ({ file }) => file.firstSubmission?.toISOString()],
  ['last_analysis', ({ file }) => file.lastAnalysis?.toISOString()],
  ['checked_at', ({ file }) => file.checkedAt?.toISOString()],
  ['stale', ({ file }) => (file.stale ? 'yes' : '')],
  ['flags', ({ file }) => file.flags.join(' ')],
  ['link', ({ file }) => file.link],
];

/** What every such file starts with. */
export const CSV_START = `${BYTE_ORDER_MARK}${COLUMNS.map(([name]) => name).join(',')}\r\n`;

/**
 * Findings, worst first, then unknown files, rarest first: one row each, RFC 4180 with a byte order mark, which spreadsheets need
 * to see UTF-8. Where some are left out, a row without a verdict says how many. No cell can start a formula, and control characters
 * are visible.
 */
export function* csvPieces(report: Report): Generator<string> {
  yield CSV_START;
  for (const file of report.findings) yield rowOf(file);
  yield* rowOfRest(report.findingsTotal - report.findings.length, 'finding');
  for (const file of report.leads) yield rowOf(file);
  yield* rowOfRest(report.leadsTotal - report.leads.length, 'unknown file');
}

function rowOf(file: ReportedFile): string {
  return `${COLUMNS.map(([, cell]) => csvCell(cell(file))).join(',')}\r\n`;
}

function rowOfRest(files: number, noun: string): string[] {
  if (files === 0) return [];
  const cells = COLUMNS.map(([name]) =>
    name === 'statement' ? csvCell(`${count(files, `more ${noun}`)} left out`) : '',
  );
  return [`${cells.join(',')}\r\n`];
}

/** Values a line each within the cell, with a mark where some are missing. */
function joined({ listed, unlistedExecutions }: CountedValues): string {
  const more = unlistedExecutions > 0 && listed.length > 0 ? [`(and others, ${unlistedExecutions} executions)`] : [];
  return [...listed.map(({ value }) => escapeControls(value)), ...more].join('\n');
}
