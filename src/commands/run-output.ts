import type { EnrichmentError, Reject } from '../errors.js';
import { describeReject } from '../errors.js';
import type { DetectedFile, RunObserver } from '../pipeline.js';
import type { QuotaSummary, RunFailure, Summary } from '../summary.js';
import { describeBytes, describeDuration, escapeControls, type Palette, shorten } from '../terminal.js';
import type { Outcome } from '../virustotal/schedule.js';
import { type CommonOptions, mayBeDrawn, paletteFor, type Shell } from './shell.js';

/** How much of a run is told. */
type Loudness = 'quiet' | 'normal' | 'verbose';

/** How loud the options ask a run to be. */
export function loudnessOf({ quiet, verbose }: CommonOptions): Loudness {
  if (quiet) return 'quiet';
  return verbose ? 'verbose' : 'normal';
}

/** The progress line is redrawn at most this often. */
const REDRAW_MS = 100;

/** So many rejects of one log are printed one by one; `--verbose` and `--rejects` have them all. */
const REJECTS_SHOWN_PER_LOG = 5;

/** So many ways of failing are told one by one; the rest is counted. */
const WAYS_SHOWN = 5;

/** Why questions came to nothing, each way of failing once with the number of its files. */
export class FailedQuestions {
  readonly #filesByWay = new Map<string, number>();
  #others = 0;

  add(detail: string): void {
    const files = this.#filesByWay.get(detail);
    if (files === undefined && this.#filesByWay.size === WAYS_SHOWN) this.#others++;
    else this.#filesByWay.set(detail, (files ?? 0) + 1);
  }

  /** One line for each way of failing so far, but for what stands in `told` already; forgets them. */
  take(told?: string): readonly string[] {
    if (told !== undefined) this.#filesByWay.delete(told);
    const lines = [...this.#filesByWay].map(([way, files]) => `no answer on ${countFiles(files)}: ${way}`);
    if (this.#others > 0) lines.push(`no answer on ${countFiles(this.#others)} for other reasons`);
    this.#filesByWay.clear();
    this.#others = 0;
    return lines;
  }
}

/** Parts of the cache folder that a run had to do without, as failures; each is told at once. */
export class LostMemory {
  readonly failures: RunFailure[] = [];
  readonly #tell: (failure: RunFailure) => void;

  constructor(tell: (failure: RunFailure) => void) {
    this.#tell = tell;
  }

  readonly onLost = ({ code, message }: EnrichmentError): void => {
    const failure = { code, message: `${message}; the run goes on without` };
    this.failures.push(failure);
    this.#tell(failure);
  };
}

/** Tells people on stderr what a run is doing: in lines, and on a terminal without `NO_COLOR` in one that is redrawn. */
export class RunOutput implements RunObserver {
  readonly #shell: Shell;
  readonly #loudness: Loudness;
  readonly #colours: Palette;
  readonly #showsProgress: boolean;
  readonly #rejectSink: ((logName: string, reject: Reject) => void) | undefined;
  #hasLine = false;
  #lastShownAt = Number.NEGATIVE_INFINITY;
  #totalBytes = 0;
  #logs = 0;
  #logsDone = 0;
  #logName = '';
  #rejectsOfLog = 0;
  #questions = 0;
  #answered = 0;
  #unanswered = 0;
  readonly #failedQuestions = new FailedQuestions();
  #phaseStartedAt = 0;

  constructor(shell: Shell, loudness: Loudness, rejectSink?: (logName: string, reject: Reject) => void) {
    this.#shell = shell;
    this.#loudness = loudness;
    this.#colours = paletteFor(shell, 'stderr');
    this.#showsProgress = loudness !== 'quiet' && mayBeDrawn(shell, 'stderr');
    this.#rejectSink = rejectSink;
  }

  onReadingStart(logs: number, totalBytes: number): void {
    this.#logs = logs;
    this.#totalBytes = totalBytes;
    this.#startPhase();
  }

  onLogStart(name: string): void {
    this.#logName = name;
    this.#rejectsOfLog = 0;
  }

  onProgress(bytesRead: number): void {
    this.#show(() => {
      const elapsedMs = this.#elapsedMs();
      const rate = elapsedMs > 0 ? (bytesRead / elapsedMs) * 1000 : 0;
      const left = this.#totalBytes - bytesRead;
      const eta = rate > 0 && left > 0 ? `, ${describeDuration((left / rate) * 1000)} left` : '';
      const total = this.#totalBytes > 0 ? ` of ${describeBytes(this.#totalBytes)}` : '';
      return `reading ${this.#logsDone + 1}/${this.#logs}: ${describeBytes(bytesRead)}${total}, ${describeBytes(rate)}/s${eta}  ${this.#logName}`;
    });
  }

  onLogEnd(name: string, format: string, processCreations: number): void {
    this.#logsDone++;
    this.#tellHiddenRejects();
    if (this.#loudness === 'verbose') this.#line(`${name}: ${format}, ${count(processCreations)} process creations`);
  }

  onNote(logName: string, note: string): void {
    if (this.#loudness !== 'quiet') this.#line(`${logName}: ${note}`, this.#colours.dim);
  }

  onReject(logName: string, reject: Reject): void {
    this.#rejectSink?.(logName, reject);
    this.#rejectsOfLog++;
    if (this.#loudness === 'quiet') return;
    if (this.#loudness === 'normal' && this.#rejectsOfLog > REJECTS_SHOWN_PER_LOG) return;
    this.#line(describeReject(logName, reject), this.#colours.yellow);
  }

  onFailure(failure: RunFailure): void {
    this.#tellFailedQuestions(failure.message);
    this.#line(failure.message, this.#colours.red);
  }

  onAskingStart(questions: number): void {
    this.#questions = questions;
    this.#answered = 0;
    this.#unanswered = 0;
    this.#startPhase();
    if (!this.#showsProgress) this.say(`asking VirusTotal about ${countFiles(questions)}`);
  }

  onOutcome(_hash: string, outcome: Outcome): void {
    if (outcome.kind === 'answered') this.#answered++;
    else this.#unanswered++;
    if (outcome.kind === 'unanswered' && outcome.reason === 'error') this.#failedQuestions.add(outcome.detail);
    this.#show(() => {
      const done = this.#answered + this.#unanswered;
      const elapsedMs = this.#elapsedMs();
      const perMinute = elapsedMs > 0 ? (this.#answered / elapsedMs) * 60_000 : 0;
      const left = this.#questions - done;
      const eta = perMinute > 0 && left > 0 ? `, ${describeDuration((left / perMinute) * 60_000)} left` : '';
      return `asking VirusTotal: ${count(done)}/${count(this.#questions)}, ${perMinute.toFixed(1)} a minute${eta}`;
    });
  }

  onRefreshed(path: string): void {
    if (this.#loudness === 'verbose') this.#line(`${path}: refreshed`);
  }

  onContext(path: string, records: number): void {
    if (this.#loudness === 'verbose') this.#line(`${path}: ${count(records)} records of context`);
  }

  /** Prints one line for people, clear of the progress line. */
  say(text: string): void {
    if (this.#loudness !== 'quiet') this.#line(text);
  }

  /** Removes the progress line, and tells what questions failed. */
  end(): void {
    this.#clearLine();
    this.#tellFailedQuestions();
  }

  #tellFailedQuestions(told?: string): void {
    for (const line of this.#failedQuestions.take(told)) this.#line(line, this.#colours.red);
  }

  #tellHiddenRejects(): void {
    const hidden = this.#rejectsOfLog - REJECTS_SHOWN_PER_LOG;
    if (this.#loudness !== 'normal' || hidden <= 0) return;
    this.#line(
      `${this.#logName}: ${count(hidden)} more rejected (all with --verbose or --rejects FILE)`,
      this.#colours.yellow,
    );
  }

  #startPhase(): void {
    this.#phaseStartedAt = this.#shell.clock.now().getTime();
    this.#lastShownAt = Number.NEGATIVE_INFINITY;
  }

  #elapsedMs(): number {
    return this.#shell.clock.now().getTime() - this.#phaseStartedAt;
  }

  #show(describe: () => string): void {
    if (!this.#showsProgress) return;
    const now = this.#shell.clock.now().getTime();
    if (now - this.#lastShownAt < REDRAW_MS) return;
    this.#lastShownAt = now;
    this.#clearLine();
    this.#shell.stderr.write(shorten(escapeControls(describe()), 100));
    this.#hasLine = true;
  }

  #line(text: string, paint: (text: string) => string = (plain) => plain): void {
    this.#clearLine();
    this.#shell.stderr.write(`${paint(escapeControls(text))}\n`);
  }

  #clearLine(): void {
    if (!this.#hasLine) return;
    this.#shell.stderr.write('\r\u001b[2K');
    this.#hasLine = false;
  }
}

/** `12,345`; by hand, since Intl takes longer to load than a small run. */
function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

function countFiles(files: number): string {
  return `${count(files)} file${files === 1 ? '' : 's'}`;
}

/** Detected files that are listed one by one after a run. */
const DETECTED_SHOWN = 20;

/** The summary of a run for people, several lines, ready to print. */
export function describeSummary(summary: Summary, detected: readonly DetectedFile[], colours: Palette): string {
  const { logs, records, hashes, verdicts, quota } = summary;
  const lines: string[] = [];
  for (const file of detected.slice(0, DETECTED_SHOWN)) lines.push(describeDetected(file, colours));
  if (detected.length > DETECTED_SHOWN)
    lines.push(`… and ${count(detected.length - DETECTED_SHOWN)} more detected files`);
  if (lines.length > 0) lines.push('');
  const others = [
    logs.unchanged > 0 ? `${count(logs.unchanged)} unchanged` : '',
    logs.skipped > 0 ? `${count(logs.skipped)} skipped as no log` : '',
    logs.failed > 0 ? colours.red(`${count(logs.failed)} failed`) : '',
  ].filter((part) => part !== '');
  lines.push(`logs      ${[`${count(logs.read)} read`, ...others].join(', ')}`);
  lines.push(
    `records   ${count(records.total)} read, ${count(records.process_creations)} process creations (${count(records.without_hash)} without a hash)` +
      (records.rejected > 0 ? `, ${colours.yellow(`${count(records.rejected)} rejected`)}` : '') +
      (records.duplicates > 0 ? `, ${count(records.duplicates)} duplicates` : ''),
  );
  lines.push(
    `files     ${count(hashes.distinct)} distinct: ${count(hashes.cached)} in the cache, ${count(hashes.asked)} answered now, ${count(hashes.waiting)} waiting` +
      (hashes.known_good > 0 ? `, ${count(hashes.known_good)} known good` : '') +
      (hashes.known_bad > 0 ? `, ${colours.red(`${count(hashes.known_bad)} known bad`)}` : '') +
      (hashes.placeholder > 0 ? `, ${count(hashes.placeholder)} placeholders` : ''),
  );
  lines.push(
    `verdicts  ${colours.red(`${count(verdicts.malicious)} malicious`)}, ${colours.yellow(`${count(verdicts.suspicious)} suspicious`)}, ` +
      `${count(verdicts.undetected)} undetected, ${count(verdicts.unknown)} unknown, ${count(verdicts.unchecked)} unchecked (process creations, per VirusTotal)`,
  );
  lines.push(`quota     ${describeQuota(quota)}`);
  lines.push(`time      ${describeDuration(summary.elapsed_ms)}`);
  return `${lines.join('\n')}\n`;
}

/** One line on the quota. */
export function describeQuota(quota: QuotaSummary): string {
  const window = ({ used, limit }: QuotaSummary['day'], name: string): string =>
    `${count(used)} of ${limit === null ? 'unlimited' : count(limit)} ${name}`;
  const resumes = quota.resumes_at === null ? '' : `; spent, goes on at ${quota.resumes_at}`;
  return `${window(quota.minute, 'this minute')}, ${window(quota.day, 'today')}, ${window(quota.month, 'this month')}${resumes}`;
}

function describeDetected(file: DetectedFile, colours: Palette): string {
  const member: {
    detections?: number;
    engines?: number;
    label?: string;
    known_bad?: { source: string };
  } = JSON.parse(file.member);
  const paint = file.verdict === 'malicious' ? colours.red : colours.yellow;
  const label = member.label === undefined ? '' : `  ${shorten(escapeControls(member.label), 60)}`;
  const said =
    member.detections === undefined
      ? `on the list ${shorten(escapeControls(member.known_bad?.source ?? ''), 60)}`
      : `${member.detections}/${member.engines}`;
  const more = file.records > 1 ? `, ${count(file.records)} times` : '';
  const where = file.computer === '' ? '' : ` on ${escapeControls(file.computer)}`;
  return (
    `${paint(file.verdict.padEnd(10))} ${said}${label}\n` +
    `           ${escapeControls(file.image)}${where}${more}\n           ${file.hash}`
  );
}
