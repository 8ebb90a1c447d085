import type { Stats } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, systemCodeOf } from '../errors.js';
import { PROCESS_CREATION, type SysmonEvent } from '../event.js';
import { contextPathOf, ENRICHED_ENDING } from '../log-paths.js';
import {
  EnrichedSet,
  parseReportFormats,
  type Report,
  type ReportFormat,
  renderReport,
  reportToJson,
} from '../reports/index.js';
import { outputFile } from '../sinks/enriched-file.js';
import { fileByteReader } from '../sources/byte-reader.js';
import { recognise } from '../sources/json/recognise.js';
import { type LineVisitor, readLines } from '../sources/lines.js';
import { escapeControls } from '../terminal.js';
import type { Reason } from '../verdict.js';
import { type CommonOptions, EXIT, type ExitStatus, isConditionMet, parseFailOn, print, type Shell } from './shell.js';

/** Options of `report`. */
export interface ReportOptions extends CommonOptions {
  readonly format?: string;
  readonly out?: string;
}

const DEFAULT_FORMATS = 'html';
/** Deeper folders than any real tree; stops at mounts that contain themselves. */
const MAX_FOLDER_DEPTH = 64;

/**
 * `report PATH…`: reports from enriched records, no look-ups. Two folders are compared, the first is the older one; any other PATHs
 * make one report. With `--json` the report goes to stdout, and files are written only where `--format` or `--out` asks for them.
 */
export async function runReport(shell: Shell, paths: readonly string[], options: ReportOptions): Promise<ExitStatus> {
  const conditions = parseFailOn(options.failOn);
  const formats = parseReportFormats(options.format ?? DEFAULT_FORMATS);
  const say = async (text: string): Promise<void> => {
    if (!options.quiet) await print(shell.stderr, `${text}\n`);
  };

  const [first, second] = paths;
  const isComparison = paths.length === 2 && (await isFolder(first)) && (await isFolder(second));
  if (isComparison) await say(`Comparing ${second} with ${first}, the older one`);
  const before = isComparison ? await readEnrichedSet(paths.slice(0, 1), shell.signal) : undefined;
  const current = await readEnrichedSet(isComparison ? paths.slice(1) : paths, shell.signal);
  if (shell.signal.aborted) return EXIT.failed;

  const report = current.summarise(before);
  if (options.json) await print(shell.stdout, `${JSON.stringify(reportToJson(report))}\n`);
  if (!options.json || options.format !== undefined || options.out !== undefined) {
    for (const path of await writeReports(report, formats, options.out ?? '.')) await say(`Wrote ${path}`);
  }
  await say(report.headline);
  const failures = [...(before?.failures ?? []), ...current.failures];
  for (const { message } of failures) await print(shell.stderr, `sysmon-vt: ${escapeControls(message)}\n`);
  if (failures.length > 0) return EXIT.failed;
  return isConditionMet(conditions, report.filesByVerdict, waitingFiles(report)) ? EXIT.conditionHolds : EXIT.done;
}

/**
 * Reads enriched files, named or found in folders, and the context records beside them. What cannot be read, and a folder without
 * any, is noted in the set as a failure, so that a mistyped PATH does not become a report without findings.
 */
export async function readEnrichedSet(paths: readonly string[], signal: AbortSignal): Promise<EnrichedSet> {
  const set = new EnrichedSet();
  for (const path of await findEnrichedFiles(paths, set)) {
    if (signal.aborted) break;
    await readRecords(path, set, signal, (event, member) => {
      // Other records stand there where all were written, or other events got a verdict.
      return event?.eventId !== PROCESS_CREATION || set.add(event, member, path);
    });
    set.addFile();
  }
  for (const source of set.sourcesWithStories()) {
    if (signal.aborted) break;
    const path = contextPathOf(source);
    if (!(await exists(path))) continue;
    set.startContext(source);
    await readRecords(path, set, signal, (event, member) => {
      if (event === undefined) return false;
      set.addContext(event, member);
      return true;
    });
  }
  return set;
}

/** Writes a report into a folder, a file for each format, each whole or not at all. Resolves with their paths. Rejects with StorageError. */
export async function writeReports(
  report: Report,
  formats: readonly ReportFormat[],
  folder: string,
): Promise<string[]> {
  const paths: string[] = [];
  for (const format of formats) {
    const { fileName, text } = renderReport(report, format);
    const path = join(folder, fileName);
    const file = outputFile(path);
    try {
      await file.write(Buffer.from(text, 'utf8'));
      await file.commit();
    } catch (error) {
      await file.abandon();
      throw error;
    }
    paths.push(path);
  }
  return paths;
}

async function findEnrichedFiles(paths: readonly string[], set: EnrichedSet): Promise<string[]> {
  const found = new Set<string>();
  const walk = async (folder: string, depth: number): Promise<void> => {
    if (depth > MAX_FOLDER_DEPTH) {
      set.addFailure(folder, `${folder}: folders deeper than ${MAX_FOLDER_DEPTH} are not followed`);
      return;
    }
    let names: string[];
    try {
      names = (await readdir(folder)).sort();
    } catch (error) {
      set.addFailure(folder, `${folder}: the folder cannot be read (${messageOf(error)})`);
      return;
    }
    for (const name of names) {
      const path = join(folder, name);
      const status = await stat(path).catch((error: unknown) => {
        // A dangling link, a loop of links, or a file that has just gone: there are no records behind it.
        if (!GONE.has(systemCodeOf(error) ?? '')) set.addFailure(path, `${path}: ${messageOf(error)}`);
        return undefined;
      });
      if (status?.isDirectory()) await walk(path, depth + 1);
      else if (status?.isFile() && name.endsWith(ENRICHED_ENDING)) found.add(path);
    }
  };
  for (const path of paths) {
    const before = found.size;
    let status: Stats;
    try {
      status = await stat(path);
    } catch (error) {
      set.addFailure(path, `${path}: cannot be read (${messageOf(error)}) [UNREADABLE]`);
      continue;
    }
    if (status.isDirectory()) await walk(path, 0);
    else if (status.isFile()) found.add(path);
    else set.addFailure(path, `${path}: neither a file nor a folder [UNREADABLE]`);
    if (status.isDirectory() && found.size === before) {
      set.addFailure(path, `${path}: no *${ENRICHED_ENDING} in it; write them with sysmon-vt enrich first [NOT_A_LOG]`);
    }
  }
  return [...found];
}

const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ELOOP']);

/**
 * Reads one JSON object a line and hands over its event, where it is one of Sysmon's, and its `virustotal` member; `take` says whether it
 * could use them.
 * Resolves with whether the file was read to its end.
 */
async function readRecords(
  path: string,
  set: EnrichedSet,
  signal: AbortSignal,
  take: (event: SysmonEvent | undefined, member: unknown) => boolean,
): Promise<boolean> {
  const place = (offset: number): string => `${path} at 0x${offset.toString(16)}`;
  const visitor: LineVisitor = {
    onLine: (line, offset) => {
      if (line.trim() === '') return;
      const record = parseRecord(line);
      if (record === undefined || !take(record.event, record.member)) set.addUnreadable(place(offset));
    },
    onTooLong: (offset) => set.addUnreadable(place(offset)),
    onBlockEnd: async () => signal.throwIfAborted(),
  };
  try {
    const file = await open(path, 'r');
    try {
      await readLines(fileByteReader(file, (await file.stat()).size), visitor);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    if (systemCodeOf(error) === undefined) throw error;
    set.addFailure(path, `${path}: cannot be read (${messageOf(error)}) [UNREADABLE]`);
    return false;
  }
}

function parseRecord(line: string): { readonly event: SysmonEvent | undefined; readonly member: unknown } | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    // Counted by the caller as a line that is no record.
    return undefined;
  }
  if (!isObject(json)) return undefined;
  return {
    event: recognise(json)?.event?.decode(),
    member: Object.hasOwn(json, 'virustotal') ? json['virustotal'] : undefined,
  };
}

function isObject(json: unknown): json is { readonly [name: string]: unknown } {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

async function isFolder(path: string | undefined): Promise<boolean> {
  return path !== undefined && (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

/** Reasons that go away once the file is asked about. */
const WAITING: ReadonlySet<Reason> = new Set([
  'offline',
  'quota',
  'limit',
  'error',
  'interrupted',
  'waiting',
  'pending',
]);

function waitingFiles({ coverage }: Report): number {
  const unanswered = coverage.unanswered.filter(({ reason }) => WAITING.has(reason));
  return unanswered.reduce((sum, { files }) => sum + files, coverage.staleFiles);
}
