import type { Report } from './report.js';

/** The name and version of the JSON form; `docs/report-schema.md` describes it. A change that breaks readers gets another number. */
const REPORT_SCHEMA = 'sysmon-vt-report/1';

/** What every such file starts with, whatever the version. */
export const JSON_START = '{\n "schema": "sysmon-vt-report/';

/**
 * The report as JSON text: names in snake_case, times in ISO 8601 UTC, texts of logs verbatim; one member a line, so that two of them
 * can be compared. Only one element of a list is respelled at a time.
 */
export function* jsonPieces(report: Report): Generator<string> {
  yield `{\n "schema": ${JSON.stringify(REPORT_SCHEMA)}`;
  for (const [name, member] of Object.entries(report)) {
    yield `,\n ${JSON.stringify(snakeCase(name))}: `;
    if (Array.isArray(member) && member.length > 0) {
      yield '[';
      for (const [index, element] of member.entries()) yield `${index === 0 ? '' : ','}\n  ${indented(element, '  ')}`;
      yield '\n ]';
    } else {
      yield indented(member, ' ');
    }
  }
  yield '\n}\n';
}

/** JSON whose lines but the first start with `indent`. */
function indented(value: unknown, indent: string): string {
  // A line feed within a text is written as `\n`, so every one here ends a line.
  return JSON.stringify(toJson(value), undefined, 1).replaceAll('\n', `\n${indent}`);
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
