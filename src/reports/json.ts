import type { Report } from './report.js';

/** The name and version of the JSON form; `docs/report-schema.md` describes it. A change that breaks readers gets another number. */
export const REPORT_SCHEMA = 'sysmon-vt-report/1';

/** The report as plain JSON: names in snake_case, times in ISO 8601 UTC, texts of logs verbatim. */
export function reportToJson(report: Report): unknown {
  return { schema: REPORT_SCHEMA, ...(toJson(report) as object) };
}

/** The report as JSON text, one member a line, so that two of them can be compared. */
export function renderJson(report: Report): string {
  return `${JSON.stringify(reportToJson(report), undefined, 1)}\n`;
}

/** All names in a report are this program's own, so they can be respelled without knowing them one by one. */
function toJson(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [snakeCase(name), toJson(member)]));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
