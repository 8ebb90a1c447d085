import type { Stats } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ByteWriter } from '../byte-writer.js';
import { LogError, messageOf, StorageError, systemCodeOf, UsageError } from '../errors.js';
import { PROCESS_CREATION, type RecordReceiver, type SysmonEvent } from '../event.js';
import { contextPathOf, ENRICHED_CSV_ENDING, ENRICHED_ENDING } from '../log-paths.js';
import {
  EnrichedSet,
  isReport,
  jsonPieces,
  parseReportFormats,
  REPORT_HEAD_BYTES,
  type Report,
  type ReportFormat,
  reportFileName,
  reportPieces,
} from '../reports/index.js';
import { outputFile } from '../sinks/enriched-file.js';
import { CSV_FORM } from '../sinks/record-form.js';
import { fileByteReader, PeekableReader } from '../sources/byte-reader.js';
import { looksLikeCsv, readCsv } from '../sources/csv.js';
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
 * Where no PATH has any enriched records there is no report, since it would read as if nothing had been found.
 */
export async function runReport(shell: Shell, paths: readonly string[], options: ReportOptions): Promise<ExitStatus> {
  const conditions = parseFailOn(options.failOn);
  const formats = parseReportFormats(options.format ?? DEFAULT_FORMATS);
  const out = options.out ?? '.';
  const isWritten = !options.json || options.format !== undefined || options.out !== undefined;
  if (isWritten) await refuseReportLoss(formats, out);
  const say = async (text: string): Promise<void> => {
    if (!options.quiet) await print(shell.stderr, `${text}\n`);
  };

  const [first, second] = paths;
  const isComparison = paths.length === 2 && (await isFolder(first)) && (await isFolder(second));
  const before = isComparison ? await readEnrichedSet(paths.slice(0, 1), shell.signal) : undefined;
  const current = await readEnrichedSet(isComparison ? paths.slice(1) : paths, shell.signal);
  if (shell.signal.aborted) return EXIT.failed;
  const failures = [...(before?.failures ?? []), ...current.failures];
  for (const { message } of failures) await print(shell.stderr, `sysmon-vt: ${escapeControls(message)}\n`);
  if (current.isEmpty) {
    await print(shell.stderr, 'sysmon-vt: there are no enriched records to report on, so no report was made\n');
    return EXIT.failed;
  }

  const older = before === undefined || before.isEmpty ? undefined : before;
  if (older !== undefined) await say(`Comparing ${second} with ${first}, the older one`);
  const report = current.summarise(older);
  if (options.json) {
    // A line feed in JSON only stands between its tokens.
    for (const piece of jsonPieces(report)) await print(shell.stdout, piece.replace(/\n */g, ''));
    await print(shell.stdout, '\n');
  }
  const written = isWritten ? await writeReports(report, formats, out) : { paths: [], failures: [] };
  for (const path of written.paths) await say(`Wrote ${path}`);
  for (const { message } of written.failures) await print(shell.stderr, `sysmon-vt: ${escapeControls(message)}\n`);
  await say(report.headline);
  if (failures.length + written.failures.length > 0) return EXIT.failed;
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
    const lines = await readRecords(path, set, signal, (event, member) => {
      // Other records stand there where all were written, or other events got a verdict.
      return event?.eventId !== PROCESS_CREATION || set.add(event, member, path);
    });
    if (lines === undefined) continue;
    if (lines.enriched === 0 && lines.unreadable > 0) {
      const next = `give the *${ENRICHED_ENDING} or *${ENRICHED_CSV_ENDING} that sysmon-vt enrich writes beside a log`;
      set.addFailure(path, `${path}: holds no enriched records; ${next} [NOT_A_LOG]`);
    } else {
      set.addFile();
    }
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

/** Characters that are written at once. */
const BLOCK_CHARACTERS = 64 * 1024;

/** Throws UsageError COLLISION where something else than a report would be lost if reports were written into this folder. */
export async function refuseReportLoss(formats: readonly ReportFormat[], folder: string): Promise<void> {
  for (const format of formats) {
    const loss = await lossBy(format, folder);
    if (loss !== undefined) throw new UsageError('COLLISION', loss);
  }
}

/**
 * Writes a report into a folder, a file for each format, each whole or not at all. Resolves with the paths of those that are written and
 * why the others are not.
 */
export async function writeReports(
  report: Report,
  formats: readonly ReportFormat[],
  folder: string,
): Promise<{ readonly paths: readonly string[]; readonly failures: readonly StorageError[] }> {
  const paths: string[] = [];
  const failures: StorageError[] = [];
  for (const format of formats) {
    try {
      paths.push(await writeReport(report, format, folder));
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      failures.push(error);
    }
  }
  return { paths, failures };
}

async function writeReport(report: Report, format: ReportFormat, folder: string): Promise<string> {
  const loss = await lossBy(format, folder);
  if (loss !== undefined) throw new StorageError('OUTPUT', loss);
  const path = join(folder, reportFileName(format));
  const file = outputFile(path);
  try {
    let block = '';
    for (const piece of reportPieces(report, format)) {
      block += piece;
      if (block.length < BLOCK_CHARACTERS) continue;
      await file.write(Buffer.from(block, 'utf8'));
      block = '';
    }
    await file.write(Buffer.from(block, 'utf8'));
    await file.commit();
  } catch (error) {
    await file.abandon();
    throw error;
  }
  return path;
}

/** Where writing itself tells what is wrong: nothing is there, or the folder is missing, none, or closed to this user. */
const LEFT_TO_WRITING: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'EACCES']);

/**
 * What would be lost if a report were written into this folder, and what to do: a log, an enriched file or somebody's notes that happen
 * to have its name. Undefined where only an older report or an empty file is in the way.
 */
async function lossBy(format: ReportFormat, folder: string): Promise<string | undefined> {
  const path = join(folder, reportFileName(format));
  const next = 'so it is not replaced; move it, or name another folder with --out DIR';
  try {
    const status = await stat(path).catch((error: unknown) => error);
    if (LEFT_TO_WRITING.has(systemCodeOf(status))) return undefined;
    const head = await readHead(path);
    return head === '' || isReport(head, format)
      ? undefined
      : `${path} is there and is no report of sysmon-vt, ${next}`;
  } catch (error) {
    return `${path} is there and cannot be read (${messageOf(error)}), ${next}`;
  }
}

async function readHead(path: string): Promise<string> {
  if (!(await stat(path)).isFile()) throw new Error('it is no file');
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(REPORT_HEAD_BYTES);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return head.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
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
    const enriched = new Map<string, Stats>();
    for (const name of names) {
      const path = join(folder, name);
      const status = await stat(path).catch((error: unknown) => {
        // A dangling link, a loop of links, or a file that has just gone: there are no records behind it.
        if (!GONE.has(systemCodeOf(error) ?? '')) set.addFailure(path, `${path}: ${messageOf(error)}`);
        return undefined;
      });
      if (status?.isDirectory()) await walk(path, depth + 1);
      else if (status?.isFile() && ENRICHED_NAME.test(name)) enriched.set(name, status);
    }
    for (const [name, { mtimeMs }] of enriched) {
      // Of a log that was written both as JSON lines and as rows, the later writing counts.
      const isRows = name.endsWith(ENRICHED_CSV_ENDING);
      const twin = enriched.get(name.replace(ENRICHED_NAME, isRows ? ENRICHED_ENDING : ENRICHED_CSV_ENDING));
      const isEarlier = twin !== undefined && (isRows ? mtimeMs <= twin.mtimeMs : mtimeMs < twin.mtimeMs);
      if (!isEarlier) found.add(join(folder, name));
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
      set.addFailure(
        path,
        `${path}: no *${ENRICHED_ENDING} or *${ENRICHED_CSV_ENDING} in it; write them with sysmon-vt enrich first [NOT_A_LOG]`,
      );
    }
  }
  return [...found];
}

const ENRICHED_NAME = /\.enriched\.(?:jsonl|csv)$/;

const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ELOOP']);

/** Enough of a file to see whether it holds rows. */
const HEAD_BYTES = 64 * 1024;

/**
 * Reads one JSON object a line, or rows of CSV logs, and hands over the event, where it is one of Sysmon's, and the `virustotal` member;
 * `take` says whether it could use them.
 * Resolves with how many records had a member and how many could not be used; undefined where the file could not be read to its end.
 */
async function readRecords(
  path: string,
  set: EnrichedSet,
  signal: AbortSignal,
  take: (event: SysmonEvent | undefined, member: unknown) => boolean,
): Promise<{ readonly enriched: number; readonly unreadable: number } | undefined> {
  let enriched = 0;
  let unreadable = 0;
  const refuse = (offset: number | undefined): void => {
    unreadable++;
    set.addUnreadable(offset === undefined ? path : `${path} at 0x${offset.toString(16)}`);
  };
  const onBlockEnd = async (): Promise<void> => signal.throwIfAborted();
  const takeRecord = (record: EnrichedRecord | undefined, offset?: number): void => {
    if (record === undefined || !take(record.event, record.member)) refuse(offset);
    else if (record.member !== undefined) enriched++;
  };
  const visitor: LineVisitor = {
    onLine: (line, offset) => {
      if (line.trim() !== '') takeRecord(parseRecord(line), offset);
    },
    onTooLong: refuse,
    onBlockEnd,
  };
  try {
    const file = await open(path, 'r');
    try {
      const reader = new PeekableReader(fileByteReader(file, (await file.stat()).size));
      if (holdsRows(await reader.peek(HEAD_BYTES))) {
        const wanted = { eventIds: new Set([PROCESS_CREATION]), areRowsWanted: true };
        await readCsv(reader, wanted, rowReceiver(takeRecord, refuse, onBlockEnd));
      } else {
        await readLines(reader, visitor);
      }
    } finally {
      await file.close();
    }
    return { enriched, unreadable };
  } catch (error) {
    if (signal.aborted) return undefined;
    if (systemCodeOf(error) === undefined && !(error instanceof LogError)) throw error;
    set.addFailure(path, `${path}: cannot be read (${messageOf(error)}) [UNREADABLE]`);
    return undefined;
  }
}

/** A record of ours as a report reads it. */
interface EnrichedRecord {
  readonly event: SysmonEvent | undefined;
  readonly member: unknown;
}

function holdsRows(head: Buffer): boolean {
  return !/^\s*\{/.test(head.toString('utf8', 0, 256)) && looksLikeCsv(head);
}

/** Takes process creations with the member that stands in the last cell of their row. */
function rowReceiver(
  take: (record: EnrichedRecord) => void,
  refuse: (offset: number | undefined) => void,
  onBlockEnd: () => Promise<void>,
): RecordReceiver {
  const row = new ByteWriter();
  return {
    onEvent: (record) => {
      row.clear();
      record.writeBody(row);
      const member = CSV_FORM.findVerdict(row.view())?.member;
      take({ event: record.decode(), member: member === undefined ? undefined : JSON.parse(member) });
    },
    onOther: () => undefined,
    onReject: ({ offset }) => refuse(offset),
    onDuplicate: () => undefined,
    onNote: () => undefined,
    onBlockEnd,
  };
}

function parseRecord(line: string): EnrichedRecord | undefined {
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
