import { UsageError } from '../errors.js';
import { CSV_START, csvPieces } from './csv.js';
import { renderHtml } from './html/page.js';
import { JSON_START, jsonPieces } from './json.js';
import { renderMarkdown } from './markdown.js';
import type { Report } from './report.js';
import { stixPieces } from './stix.js';
import { SOURCE_NOTE } from './wording.js';

export { jsonPieces } from './json.js';
export type { Report } from './report.js';
export { EnrichedSet } from './summarise.js';

/** How much of a file `isReport` needs. */
export const REPORT_HEAD_BYTES = 4096;

/** The formats a report can be written in, by name: how its file ends, its text in pieces, and what the head of such a text shows. */
const FORMATS = {
  html: {
    ending: '.html',
    pieces: (report) => [renderHtml(report)],
    isHead: (head) => head.startsWith('<!doctype html>') && head.includes(' · sysmon-vt</title>'),
  },
  md: {
    ending: '.md',
    pieces: (report) => [renderMarkdown(report)],
    isHead: (head) => head.startsWith('# ') && head.includes(SOURCE_NOTE),
  },
  csv: { ending: '.csv', pieces: csvPieces, isHead: (head) => head.startsWith(CSV_START) },
  json: { ending: '.json', pieces: jsonPieces, isHead: (head) => head.startsWith(JSON_START) },
  stix: {
    ending: '.stix.json',
    pieces: stixPieces,
    isHead: (head) => head.startsWith('{"type":"bundle",') && head.includes('"name":"sysmon-vt"'),
  },
} as const satisfies { readonly [name: string]: FormatDefinition };

interface FormatDefinition {
  readonly ending: string;
  pieces(report: Report): Iterable<string>;
  isHead(head: string): boolean;
}

export type ReportFormat = keyof typeof FORMATS;

const FORMAT_NAMES = Object.keys(FORMATS).filter(isReportFormat);

/** Reads `md,csv,json`. Throws UsageError that lists what there is. */
export function parseReportFormats(list: string): ReportFormat[] {
  const names = list.split(',').map((name) => name.trim().toLowerCase());
  const formats = names.filter((name) => name !== '');
  const unknown = formats.find((name) => !isReportFormat(name));
  if (unknown !== undefined || formats.length === 0) {
    throw new UsageError(
      'BAD_USAGE',
      `report format ${JSON.stringify(unknown ?? '')}: there are ${FORMAT_NAMES.join(', ')}`,
    );
  }
  return [...new Set(formats.filter(isReportFormat))];
}

/** The name of the file that a report is written to. */
export function reportFileName(format: ReportFormat): string {
  return `sysmon-vt-report${FORMATS[format].ending}`;
}

/** The text of a report's file in pieces, so that it is never held whole. The same report gives the same text. */
export function reportPieces(report: Report, format: ReportFormat): Iterable<string> {
  return FORMATS[format].pieces(report);
}

/** Whether a file that starts with `head` is a report in this format. */
export function isReport(head: string, format: ReportFormat): boolean {
  return FORMATS[format].isHead(head);
}

function isReportFormat(name: string): name is ReportFormat {
  return Object.hasOwn(FORMATS, name);
}
