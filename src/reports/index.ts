import { UsageError } from '../errors.js';
import { renderCsv } from './csv.js';
import { renderHtml } from './html/page.js';
import { renderJson } from './json.js';
import { renderMarkdown } from './markdown.js';
import type { Report } from './report.js';
import { renderStix } from './stix.js';

export { reportToJson } from './json.js';
export type { Report } from './report.js';
export { EnrichedSet } from './summarise.js';

/** The formats a report can be written in, by name: how its file ends, and the text of the whole file. */
const FORMATS = {
  html: { ending: '.html', render: renderHtml },
  md: { ending: '.md', render: renderMarkdown },
  csv: { ending: '.csv', render: renderCsv },
  json: { ending: '.json', render: renderJson },
  stix: { ending: '.stix.json', render: renderStix },
} as const satisfies { readonly [name: string]: { readonly ending: string; render(report: Report): string } };

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

/** A report as the whole text of a file, and the name such a file has. The same report gives the same text. */
export function renderReport(
  report: Report,
  format: ReportFormat,
): { readonly fileName: string; readonly text: string } {
  const { ending, render } = FORMATS[format];
  return { fileName: `sysmon-vt-report${ending}`, text: render(report) };
}

function isReportFormat(name: string): name is ReportFormat {
  return Object.hasOwn(FORMATS, name);
}
