import { readFile, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import type { Measure } from './measure.js';

/** One part's findings: a title, a table, and what is to be known of it. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes: readonly string[];
}

/** The table as Markdown, headed by its title. */
export function markdownOf({ title, columns, rows, notes }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = columns.map((_, index) => (index === 0 ? '---' : '--:'));
  return [`## ${title}`, '', line(columns), line(rule), ...rows.map(line), '', ...notes, ''].join('\n');
}

/** Puts tables into a file of `##` sections, each in place of the one with its title, or at the end. */
export async function writeTables(path: string, tables: readonly Table[]): Promise<void> {
  const [head = '', ...sections] = (await readFile(path, 'utf8')).split(/^(?=## )/m);
  for (const table of tables) {
    const section = markdownOf(table);
    const index = sections.findIndex((each) => each.startsWith(`## ${table.title}\n`));
    if (index < 0) sections.push(section);
    else sections[index] = section;
  }
  await writeFile(path, `${[head, ...sections].map((part) => part.trimEnd()).join('\n\n')}\n`);
}

/** Machine and date, for the notes of a table. */
export function circumstances(): string {
  const [processor] = cpus();
  const memory = Math.round(totalmem() / 1024 ** 3);
  const date = new Date().toISOString().slice(0, 10);
  return `${date}, Node ${process.version}, Linux ${release()}, ${cpus().length} × ${processor?.model ?? 'unknown'}, ${memory} GiB.`;
}

/** Three significant digits. */
export function digits(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : '-';
}

/** Columns of `costRow`. */
export const COST_COLUMNS = ['wall s', 'CPU s', 'peak MiB', 'rounds'] as const;

export function costRow(measure: Measure): string[] {
  return [digits(measure.wallS), digits(measure.cpuS), digits(measure.peakMiB), String(measure.rounds)];
}
