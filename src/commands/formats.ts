import { describeReject, LogError, messageOf, type Reject, systemCodeOf } from '../errors.js';
import { HASH_BEARING_EVENTS, PROCESS_CREATION, type RecordReceiver, type RecordView } from '../event.js';
import { lookupKeyOf } from '../hash.js';
import { findLogs } from '../log-paths.js';
import { DEFAULT_LIMITS, openLogFile, type ReadPart, readLog } from '../sources/index.js';
import { escapeControls } from '../terminal.js';
import { type CommonOptions, EXIT, type ExitStatus, paletteFor, print, type Shell, statusOf } from './shell.js';

/** What one file turned out to be, as `--json` prints it. */
interface FormatReport {
  readonly path: string;
  /** Null where it is no log or cannot be read at all. */
  readonly format: string | null;
  readonly parts: readonly ReadPart[];
  readonly process_creations: number;
  /** Other Sysmon events that carry a file's hash. */
  readonly other_hash_events: number;
  readonly with_hash: number;
  readonly other_records: number;
  readonly rejected: number;
  readonly duplicates: number;
  readonly notes: readonly string[];
  /** The first rejects, located. */
  readonly rejects: readonly string[];
  readonly failures: readonly string[];
}

/** So many rejects of one file are listed; the rest are counted. */
const REJECTS_LISTED = 5;
/** The same for members of archives; `--json` has them all. */
const PARTS_LISTED = 8;

/** `formats`: reads each file as `enrich` would, and tells what it found instead of writing it. */
export async function runFormats(shell: Shell, paths: readonly string[], options: CommonOptions): Promise<ExitStatus> {
  const { logs, failures } = await findLogs(paths, undefined);
  let hasFailed = failures.length > 0;
  let rejected = 0;
  for (const { path, why } of failures) shell.stderr.write(`sysmon-vt: ${escapeControls(path)}: ${why}\n`);
  for (const log of logs) {
    if (shell.signal.aborted) break;
    const { report, isStray } = await inspect(log.path);
    if (report.failures.length > 0 && (log.isNamed || !isStray)) hasFailed = true;
    rejected += report.rejected;
    await print(shell.stdout, options.json ? `${JSON.stringify(report)}\n` : describe(report, shell));
  }
  return hasFailed ? EXIT.failed : statusOf(options.failOn, rejected);
}

/** What a file is; `isStray` where it is no log, which is no failure of a folder. */
async function inspect(path: string): Promise<{ readonly report: FormatReport; readonly isStray: boolean }> {
  const count = { creations: 0, otherEvents: 0, withHash: 0, others: 0, rejected: 0, duplicates: 0 };
  const notes: string[] = [];
  const rejects: string[] = [];
  const failures: string[] = [];
  const receiver: RecordReceiver = {
    onEvent: (record: RecordView) => {
      if (record.eventId === PROCESS_CREATION) count.creations++;
      else count.otherEvents++;
      if (lookupKeyOf(record.hashes) !== undefined) count.withHash++;
    },
    onOther: (records) => {
      count.others += records;
    },
    onReject: (reject: Reject) => {
      count.rejected++;
      if (rejects.length < REJECTS_LISTED) rejects.push(describeReject(path, reject));
    },
    onDuplicate: () => {
      count.duplicates++;
    },
    onNote: (note) => notes.push(note),
    onBlockEnd: async () => undefined,
  };
  let format: string | null = null;
  let parts: readonly ReadPart[] = [];
  let isStray = false;
  try {
    const file = await openLogFile(path);
    try {
      const wanted = { eventIds: new Set(HASH_BEARING_EVENTS) };
      const reading = await readLog(
        file.reader,
        { filePath: path, limits: DEFAULT_LIMITS, wanted },
        receiver,
        (member, error) => failures.push(`${member === '' ? '' : `${member}: `}${error.message}`),
      );
      ({ format, parts } = reading);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!(error instanceof LogError) && systemCodeOf(error) === undefined) throw error;
    failures.push(messageOf(error));
    isStray = error instanceof LogError && error.code === 'NOT_A_LOG';
  }
  const report: FormatReport = {
    path,
    format,
    parts,
    process_creations: count.creations,
    other_hash_events: count.otherEvents,
    with_hash: count.withHash,
    other_records: count.others,
    rejected: count.rejected,
    duplicates: count.duplicates,
    notes,
    rejects,
    failures,
  };
  return { report, isStray };
}

function describe(report: FormatReport, shell: Shell): string {
  const colours = paletteFor(shell, 'stdout');
  const lines = [
    `${escapeControls(report.path)}: ${report.format === null ? colours.yellow('no log') : colours.bold(report.format)}`,
  ];
  if (report.format !== null) {
    for (const { member, format, sign } of report.parts.slice(0, PARTS_LISTED)) {
      lines.push(`  ${member === '' ? '' : `${escapeControls(member)}: ${format}, `}known by ${sign}`);
    }
    const more = report.parts.length - PARTS_LISTED;
    if (more > 0) lines.push(`  … and ${more} more members (all with --json)`);
    lines.push(
      `  ${report.process_creations} process creations, ${report.other_hash_events} other events with a hash (${report.with_hash} with a usable one), ` +
        `${report.other_records} other records${report.duplicates > 0 ? `, ${report.duplicates} duplicates` : ''}`,
    );
  }
  for (const note of report.notes) lines.push(colours.dim(`  ${escapeControls(note)}`));
  for (const reject of report.rejects) lines.push(colours.yellow(`  ${escapeControls(reject)}`));
  if (report.rejected > report.rejects.length) lines.push(colours.yellow(`  … ${report.rejected} rejected in all`));
  for (const failure of report.failures) lines.push(colours.red(`  ${escapeControls(failure)}`));
  return `${lines.join('\n')}\n`;
}
