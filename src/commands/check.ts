import { createReadStream, statSync } from 'node:fs';
import type { openKnownLists } from '../assembly.js';
import { openConfiguredCache } from '../cache/index.js';
import { loadConfig, requireApiKey } from '../config.js';
import { EnrichmentError, LogError, messageOf, UsageError, type VirusTotalError } from '../errors.js';
import {
  algorithmOf,
  type FileHashes,
  type HashAlgorithm,
  isPlaceholder,
  LOOKUP_ALGORITHMS,
  type LookupKey,
  lookupKeyOf,
  parseHashes,
} from '../hash.js';
import { isFresh, type Lookup } from '../lookup.js';
import type { QuotaSummary } from '../summary.js';
import { escapeControls, type Palette, shorten } from '../terminal.js';
import {
  countDetections,
  fileLink,
  judge,
  type KnownMark,
  type KnownMarks,
  knownMarks,
  type Reason,
  settledBy,
  type Thresholds,
  type Verdict,
  virustotalMember,
  withMarks,
} from '../verdict.js';
import {
  type CommonOptions,
  EXIT,
  type ExitStatus,
  isConditionMet,
  paletteFor,
  parseFailOn,
  print,
  type Shell,
} from './shell.js';

interface CheckOptions extends CommonOptions {
  readonly offline?: boolean;
  readonly refresh?: boolean;
}

/** One thing to check, as it was given and as VirusTotal is asked. */
interface Subject {
  readonly given: string;
  readonly key: LookupKey;
  /** All digests that were given: a list of known files may have the file under another than the one that is asked with. */
  readonly digests: FileHashes;
}

/** Longest list on standard input that is taken, in bytes; it is held whole. */
const MAX_LIST_BYTES = 64 * 1024 * 1024;

/** So many lines and names that cannot be checked are told one by one; the rest is counted. */
const PROBLEMS_TOLD = 20;

/** `check`: verdicts on single files, from the cache where the answer is fresh. */
export async function runCheck(shell: Shell, what: readonly string[], options: CheckOptions): Promise<ExitStatus> {
  const config = loadConfig(shell.env, options.envFile);
  const conditions = parseFailOn(options.failOn);
  if (!options.offline) requireApiKey(config);
  if (options.offline && options.refresh) {
    throw new UsageError('BAD_USAGE', '--offline asks nothing and --refresh asks again; give one of them');
  }
  for (const warning of config.warnings) warn(shell, options, warning);
  const hasLists = config.knownGoodPaths.length > 0 || config.knownBadPaths.length > 0;
  const { subjects, problems } = await readSubjects(shell, what, hasLists ? LOOKUP_ALGORITHMS : ['sha1']);
  if (shell.signal.aborted) return EXIT.failed;

  const say = (text: string): void => warn(shell, options, text);
  const cache = await openConfiguredCache(config, say);
  let lists: Awaited<ReturnType<typeof openKnownLists>> | undefined;
  try {
    // Loaded here: without lists a cached answer is found sooner.
    if (hasLists) lists = await (await import('../assembly.js')).openKnownLists(config, say);
    const now = shell.clock.now();
    const digestsOf = new Map<string, FileHashes>();
    for (const { key, digests } of subjects) digestsOf.set(key.hash, { ...digests, ...digestsOf.get(key.hash) });
    const hashes = [...digestsOf.keys()];
    const lookups = new Map(await cache.getMany(hashes));
    const marksOf = (hash: string): KnownMarks => {
      const digests = { ...lookups.get(hash)?.hashes, ...digestsOf.get(hash) };
      return knownMarks({ knownGood: lists?.knownGood?.find(digests), knownBad: lists?.knownBad?.find(digests) });
    };
    const due: string[] = [];
    const unanswered = new Map<string, Reason>();
    for (const hash of hashes) {
      if (isPlaceholder(hash)) continue;
      const lookup = lookups.get(hash);
      const isSettled = settledBy(marksOf(hash)) !== undefined;
      const isCurrent = lookup !== undefined && isFresh(lookup, config.lifetimes, now);
      if (isCurrent && (isSettled || !options.refresh)) continue;
      if (!isSettled) due.push(hash);
      // Of a known-bad file it is not told: nothing is missing then.
      unanswered.set(hash, isSettled ? 'known_good' : options.offline ? 'offline' : 'waiting');
    }
    let failure: VirusTotalError | undefined;
    let hasFailed = problems > 0;
    if (due.length > 0 && !options.offline) {
      const [
        { FailedQuestions, LostMemory },
        { openDispensableSightings, openQuestioner, openVerdictWatch, showTermsOnce },
      ] = await Promise.all([import('./run-output.js'), import('../assembly.js')]);
      if (!options.quiet) await showTermsOnce(config, (text) => shell.stderr.write(`${text}\n`));
      const { onLost } = new LostMemory(({ message }) => {
        hasFailed = true;
        complain(shell, message);
      });
      const { changes } = await openVerdictWatch(config, {
        sightings: await openDispensableSightings(config, say, onLost),
        clock: shell.clock,
        environment: shell.env,
        onReport: say,
        onLost,
      });
      const questioner = await openQuestioner(config, {
        cache,
        clock: shell.clock,
        purpose: 'on_demand',
        run: { command: 'check', startedAt: now },
        signal: shell.signal,
        isAlwaysAsked: options.refresh === true,
        changes,
        say,
      });
      const failedQuestions = new FailedQuestions();
      try {
        await questioner.lookUpAll(due, (hash, outcome) => {
          if (outcome.kind === 'answered') {
            lookups.set(hash, outcome.lookup);
            unanswered.delete(hash);
            return;
          }
          unanswered.set(hash, outcome.reason);
          if (outcome.reason !== 'error') return;
          hasFailed = true;
          failedQuestions.add(outcome.detail);
        });
        failure = questioner.failure;
        for (const line of failedQuestions.take(failure?.message)) complain(shell, line);
        if ([...unanswered.values()].includes('quota')) warn(shell, options, quotaNotice(await questioner.usage()));
      } finally {
        await questioner.close();
      }
    }

    const verdicts = subjects.map((subject) => ({
      subject,
      verdict: verdictOn(subject.key.hash, {
        lookup: lookups.get(subject.key.hash),
        reason: unanswered.get(subject.key.hash),
        marks: marksOf(subject.key.hash),
        thresholds: config.thresholds,
      }),
    }));
    if (options.json) {
      const answers = verdicts.map(({ subject, verdict }) => answerJson(subject, verdict));
      await print(shell.stdout, `${answers.map((answer) => JSON.stringify(answer)).join('\n')}\n`);
    } else {
      const colours = paletteFor(shell, 'stdout');
      await print(shell.stdout, verdicts.map(({ subject, verdict }) => card(subject, verdict, colours)).join('\n'));
    }
    if (failure !== undefined) complain(shell, failure.message);
    if (hasFailed || failure !== undefined) return EXIT.failed;
    const tally = { malicious: 0, suspicious: 0, undetected: 0, unknown: 0, unchecked: 0 };
    let waiting = 0;
    for (const { verdict } of verdicts) {
      tally[verdict.verdict]++;
      if (isWaiting(verdict)) waiting++;
    }
    return isConditionMet(conditions, tally, waiting) ? EXIT.conditionHolds : EXIT.done;
  } finally {
    lists?.close();
    await cache.close();
  }
}

function verdictOn(
  hash: string,
  known: {
    readonly lookup: Lookup | undefined;
    /** Why there is no fresh answer. */
    readonly reason: Reason | undefined;
    readonly marks: KnownMarks;
    readonly thresholds: Thresholds;
  },
): Verdict {
  if (isPlaceholder(hash)) return { verdict: 'unchecked', reason: 'placeholder' };
  const { lookup, reason, marks, thresholds } = known;
  if (lookup === undefined) return withMarks({ verdict: 'unchecked', reason: reason ?? 'error' }, marks);
  const verdict = withMarks(judge(lookup, thresholds), marks);
  return reason === undefined ? verdict : { ...verdict, stale: true };
}

/** Whether a fresh answer may still come. */
function isWaiting(verdict: Verdict): boolean {
  if (settledBy(verdict) !== undefined || verdict.reason === 'placeholder') return false;
  return verdict.stale === true || verdict.verdict === 'unchecked';
}

/**
 * Reads what to check. What cannot be checked is told, located and counted in `problems`, and leaves the rest as it is; it is thrown
 * only where there is no rest. Local files are hashed by `algorithms`.
 */
async function readSubjects(
  shell: Shell,
  what: readonly string[],
  algorithms: readonly HashAlgorithm[],
): Promise<{ readonly subjects: readonly Subject[]; readonly problems: number }> {
  const subjects: Subject[] = [];
  const firstProblems: EnrichmentError[] = [];
  let problems = 0;
  const read = async (given: string, line?: number): Promise<void> => {
    try {
      subjects.push(await readSubject(given, line, algorithms));
    } catch (error) {
      if (!(error instanceof EnrichmentError)) throw error;
      problems++;
      if (firstProblems.length < PROBLEMS_TOLD) firstProblems.push(error);
    }
  };
  for (const given of what) {
    if (given !== '-') {
      await read(given);
      continue;
    }
    for (const [index, line] of (await readLines(shell)).entries()) if (line !== '') await read(line, index + 1);
  }
  const thrown =
    subjects.length > 0
      ? undefined
      : (firstProblems.find((problem) => problem instanceof LogError) ??
        firstProblems[0] ??
        new UsageError('BAD_USAGE', 'standard input holds nothing to check'));
  for (const problem of firstProblems) if (problem !== thrown) complain(shell, problem.message);
  if (problems > firstProblems.length) {
    complain(shell, `${problems - firstProblems.length} more lines or names cannot be checked`);
  }
  if (thrown !== undefined && !shell.signal.aborted) throw thrown;
  return { subjects, problems };
}

/** Reads one hash, `Hashes` field or, where it stands in no `line` of a list, the name of a local file, which is hashed here. */
async function readSubject(
  given: string,
  line: number | undefined,
  algorithms: readonly HashAlgorithm[],
): Promise<Subject> {
  const algorithm = algorithmOf(given);
  const digests = algorithm === undefined ? parseHashes(given) : { [algorithm]: given.trim().toLowerCase() };
  const key = lookupKeyOf(digests);
  if (key !== undefined) return { given, key, digests };
  const what = `"${shorten(given, 200)}" is no hash, no SHA1=…,MD5=… field`;
  if (line !== undefined) throw new UsageError('BAD_USAGE', `standard input, line ${line}: ${what}`);
  if (!isFile(given)) throw new UsageError('BAD_USAGE', `${what} and no file`);
  const hashes = await hashFile(given, algorithms);
  const fileKey = lookupKeyOf(hashes);
  if (fileKey === undefined) throw new LogError('UNREADABLE', `${given}: could not be hashed`);
  return { given, key: fileKey, digests: hashes };
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // Whatever stands in the way: nothing can be hashed there.
    return false;
  }
}

async function hashFile(path: string, algorithms: readonly HashAlgorithm[]): Promise<FileHashes> {
  // Loaded here: a hash from the command line is looked up without it.
  const { createHash } = await import('node:crypto');
  const sums = algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
      for (const [, sum] of sums) sum.update(chunk);
    }
  } catch (error) {
    throw new LogError('UNREADABLE', `${path}: cannot be read (${messageOf(error)})`, { cause: error });
  }
  return Object.fromEntries(sums.map(([algorithm, sum]) => [algorithm, sum.digest('hex')]));
}

/** The lines of standard input, trimmed. */
async function readLines(shell: Shell): Promise<readonly string[]> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of shell.stdin) {
    const buffer = Buffer.from(chunk);
    bytes += buffer.length;
    if (bytes > MAX_LIST_BYTES) throw new UsageError('BAD_USAGE', 'the list on standard input is larger than 64 MiB');
    chunks.push(buffer);
  }
  const lines = Buffer.concat(chunks).toString('utf8').split('\n');
  return lines.map((line) => line.trim());
}

function answerJson(subject: Subject, verdict: Verdict): object {
  const report = verdict.lookup?.report;
  return {
    given: subject.given,
    virustotal: JSON.parse(virustotalMember(subject.key, verdict)),
    ...(report === undefined
      ? {}
      : { type: report.type, size_bytes: report.sizeBytes, names: report.names, signature: report.signature }),
  };
}

const REASON_TEXT: { readonly [reason in Reason]: string } = {
  no_hash: 'there is no hash',
  placeholder: 'this hash stands for no particular file',
  offline: 'no answer is cached, and --offline asks nothing',
  quota: 'the quota is spent',
  limit: 'the limit of questions was reached',
  known_good: 'it is on a list of known files',
  error: 'VirusTotal could not be asked',
  interrupted: 'asking was interrupted',
  waiting: 'it waits to be asked',
  pending: 'VirusTotal knows the file but has not analysed it yet',
};

/** A verdict for people: what VirusTotal's engines said, when, and what is known of the file. */
function card(subject: Subject, verdict: Verdict, colours: Palette): string {
  const { lookup } = verdict;
  const report = lookup?.report;
  const lines: [string, string][] = [];
  const paint =
    verdict.verdict === 'malicious' ? colours.red : verdict.verdict === 'suspicious' ? colours.yellow : colours.bold;
  lines.push(['verdict', `${paint(verdict.verdict)}${verdict.stale ? colours.yellow(' (from an old answer)') : ''}`]);
  if (verdict.reason !== undefined) lines.push(['why', REASON_TEXT[verdict.reason]]);
  if (lookup?.status === 'not_found') lines.push(['why', 'VirusTotal does not know this file']);
  if (report?.counts !== undefined && verdict.verdict !== 'unknown') {
    const { detections, engines } = countDetections(report.counts);
    const analysed = report.lastAnalysis === undefined ? '' : `, analysed ${day(report.lastAnalysis)}`;
    lines.push(['engines', `${detections} of ${engines} engines on VirusTotal${analysed}`]);
  }
  if (verdict.knownBad !== undefined) lines.push(['known bad', describeMark(verdict.knownBad)]);
  if (verdict.knownGood !== undefined) lines.push(['known good', describeMark(verdict.knownGood)]);
  if (report?.label !== undefined) lines.push(['label', report.label]);
  if (report !== undefined && report.detectedBy.length > 0) {
    const shown = report.detectedBy
      .slice(0, 4)
      .map(({ engine, signature }) => `${engine}${signature === undefined ? '' : ` (${signature})`}`);
    lines.push(['by', shown.join(', ') + (report.detectedBy.length > 4 ? ' …' : '')]);
  }
  if (report?.type !== undefined) {
    lines.push(['type', `${report.type}${report.sizeBytes === undefined ? '' : `, ${report.sizeBytes} bytes`}`]);
  }
  if (report?.signature !== undefined) {
    const { verified, signer } = report.signature;
    lines.push(['signature', `${verified ?? 'not verified'}${signer === undefined ? '' : `, ${signer}`}`]);
  }
  if (report !== undefined && report.goodware.length > 0)
    lines.push(['vouched', report.goodware.slice(0, 3).join(', ')]);
  if (report !== undefined && report.names.length > 0) lines.push(['names', report.names.slice(0, 3).join(', ')]);
  if (report?.firstSubmission !== undefined) lines.push(['first seen', day(report.firstSubmission)]);
  if (lookup !== undefined)
    lines.push(['asked', lookup.askedAt.toISOString().slice(0, 16).replace('T', ' ').concat(' UTC')]);
  if (lookup !== undefined && lookup.status !== 'not_found') {
    for (const algorithm of ['sha1', 'sha256', 'md5'] as const) {
      const hash = lookup.hashes[algorithm];
      if (hash !== undefined && hash !== subject.key.hash) lines.push([algorithm, hash]);
    }
    if (lookup.hashes.sha256 !== undefined) lines.push(['link', fileLink(lookup.hashes.sha256)]);
  }
  const given =
    subject.given.trim().toLowerCase() === subject.key.hash ? '' : `${escapeControls(shorten(subject.given, 120))}\n`;
  const body = lines.map(([name, text]) => {
    // Our own colour codes stand only in the first line, whose words are ours too.
    const safe = name === 'verdict' ? text : shorten(escapeControls(text), 200);
    return `  ${colours.dim(name.padEnd(11))}${safe}\n`;
  });
  return `${given}${subject.key.algorithm.toUpperCase()} ${subject.key.hash}\n${body.join('')}`;
}

function describeMark({ source, isProbable }: KnownMark): string {
  return `${isProbable ? 'probably ' : ''}on the list ${source}`;
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function quotaNotice(quota: QuotaSummary): string {
  return `the quota is spent${quota.resumes_at === null ? '' : `; asking goes on at ${quota.resumes_at}`}`;
}

function complain(shell: Shell, text: string): void {
  shell.stderr.write(`sysmon-vt: ${escapeControls(text)}\n`);
}

function warn(shell: Shell, options: CommonOptions, text: string): void {
  if (!options.quiet) complain(shell, text);
}
