import type { Reason, VerdictName } from '../verdict.js';
import type { FileVerdict, Report } from './report.js';

/** What every report says of its source and of what its words do not mean. */
export const SOURCE_NOTE =
  'Verdicts count the engines on VirusTotal that call a file malicious. No verdict means that a file is safe: “undetected” says that ' +
  'no engine detected it when it was analysed, “unknown” that VirusTotal has no analysis of it.';

/** Why there is no answer on a file, for people. */
export const REASON_TEXTS: { readonly [reason in Reason]: string } = {
  no_hash: 'the record has no hash',
  placeholder: 'the hash stands for no particular file',
  offline: 'the run was offline and the cache had no answer',
  quota: 'the quota was spent; it waits to be asked',
  limit: 'the limit of questions for the run was reached; it waits to be asked',
  known_good: 'a list of known files has it, so it was not asked',
  error: 'asking failed; it will be asked again',
  interrupted: 'the run was interrupted; it waits to be asked',
  waiting: 'it waits to be asked',
  pending: 'VirusTotal knows the file and has not analysed it yet',
};

/** What each verdict means, in a few words. */
export const VERDICT_TEXTS: { readonly [verdict in VerdictName]: string } = {
  malicious: 'many engines, or a trusted one, detect it',
  suspicious: 'few engines detect it',
  unknown: 'VirusTotal has no analysis of it',
  unchecked: 'no answer yet',
  undetected: 'no engine detected it when it was analysed',
};

/** `54 of 75 engines on VirusTotal, analysed 2026-03-04`, or why there is no count. */
export function describeVerdict(file: FileVerdict): string {
  if (file.detections !== undefined && file.engines !== undefined) {
    const analysed = file.lastAnalysis === undefined ? '' : `, analysed ${dayOf(file.lastAnalysis)}`;
    const stale = file.stale && file.checkedAt !== undefined ? `; asked ${dayOf(file.checkedAt)}, now stale` : '';
    return `${file.detections} of ${file.engines} engines on VirusTotal${analysed}${stale}`;
  }
  if (file.reason !== undefined) return `${file.verdict}: ${REASON_TEXTS[file.reason]}`;
  if (file.verdict !== 'unknown') return `${file.verdict}: ${VERDICT_TEXTS[file.verdict]}`;
  const asked = file.checkedAt === undefined ? '' : ` when asked on ${dayOf(file.checkedAt)}`;
  return `unknown to VirusTotal${asked}`;
}

/** `2026-03-04`, in UTC. */
export function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** `2026-03-04 02:14:09`, in UTC. */
export function timeText(date: Date): string {
  return date.toISOString().slice(0, 19).replace('T', ' ');
}

/** `2026-03-04 02:14:09 to 2026-03-04 05:59:09 UTC`, the time alone where both are the same, and nothing where there is none. */
function periodText(first: Date | undefined, last: Date | undefined): string {
  if (first === undefined || last === undefined) return '';
  return `${first < last ? `${timeText(first)} to ` : ''}${timeText(last)} UTC`;
}

/** The same behind a comma, to end a sentence. */
export function inPeriod(first: Date | undefined, last: Date | undefined): string {
  const period = periodText(first, last);
  return period === '' ? '' : `, ${period}`;
}

/** What a report cannot say, one sentence each, so that nobody takes “nothing found” for “nothing there”. Texts of the log stay raw. */
export function gapsOf(report: Report): string[] {
  const { coverage, executions, executionsWithoutHash, timeline, findings, findingsTotal } = report;
  const gaps: string[] = [];
  if (findingsTotal > findings.length) {
    const left = findingsTotal - findings.length;
    gaps.push(
      `${count(left, 'finding')} beyond the worst ${grouped(findings.length)} ${are(left)} counted and listed nowhere.`,
    );
  }
  for (const { reason, files, executions: of } of coverage.unanswered) {
    if (reason === 'no_hash') continue;
    const without = reason === 'pending' ? 'without an analysis' : 'without an answer';
    gaps.push(`${count(files, 'file')}, ${count(of, 'execution')} ${without}: ${REASON_TEXTS[reason]}.`);
  }
  if (executionsWithoutHash > 0) {
    const share = Math.ceil((100 * executionsWithoutHash) / executions);
    gaps.push(
      `${count(executionsWithoutHash, 'execution')} (${share} %) without a hash of the image: nothing can be asked about them.`,
    );
  }
  if (coverage.staleFiles > 0) {
    gaps.push(
      `The answer on ${count(coverage.staleFiles, 'file')} is past its lifetime and stands for want of a newer one.`,
    );
  }
  if (coverage.unreadableLines > 0) {
    gaps.push(
      `${count(coverage.unreadableLines, 'line')} could not be read as enriched records and ${are(coverage.unreadableLines)} not counted.`,
    );
  }
  if (coverage.failures.length > 0) gaps.push(`${count(coverage.failures.length, 'file')} could not be read.`);
  if (coverage.contextMissingTotal > 0) {
    gaps.push(
      `${count(coverage.contextMissingTotal, 'log')} with flagged processes ${coverage.contextMissingTotal === 1 ? 'has' : 'have'} no context records: ` +
        'what those processes did is not known here.',
    );
  }
  if (coverage.withoutHost > 0) gaps.push(`${count(coverage.withoutHost, 'execution')} without the name of a host.`);
  if (timeline.withoutTime > 0)
    gaps.push(`${count(timeline.withoutTime, 'execution')} without a time that can be read.`);
  return gaps;
}

/** What a list does not show: what the JSON report has more of, and what no report lists. Nothing where it shows all. */
export function restText(total: number, listed: number, shown: number): string {
  const inJson = listed - shown;
  const counted = total - listed;
  if (inJson > 0 && counted > 0) {
    return `${grouped(inJson)} more are in the JSON report, and another ${grouped(counted)} are counted and listed nowhere.`;
  }
  if (inJson > 0) return `${grouped(inJson)} more are in the JSON report.`;
  return counted > 0 ? `${grouped(counted)} more are counted and listed nowhere.` : '';
}

/** `1 file`, `1,204 files`. */
export function count(number: number, noun: string): string {
  return `${grouped(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** `1204567` as `1,204,567`, the same on every machine. */
export function grouped(number: number): string {
  return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

function are(number: number): string {
  return number === 1 ? 'is' : 'are';
}
