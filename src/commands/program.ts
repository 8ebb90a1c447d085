import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../errors.js';
import { packageVersion } from '../package-root.js';
import { escapeControls, shorten } from '../terminal.js';
import { EXIT, type ExitStatus, parseFailOn, type Shell } from './shell.js';

/**
 * Runs the command that `words`, the command line without the program itself, ask for, and returns its exit status. Help and errors of
 * usage are written to the shell. `useJsonLog` is called before the command where it is to log JSON. Rejects as the commands do.
 */
export async function runProgram(
  shell: Shell,
  words: readonly string[],
  useJsonLog: () => Promise<void>,
): Promise<ExitStatus> {
  let status: ExitStatus = EXIT.done;
  const program = buildProgram(shell, (reported) => {
    status = reported;
  });
  program.hook('preAction', async (_program, command) => {
    refuseEmpty(command);
    parseFailOn(command.opts()['failOn']);
    if (command.opts()['logFormat'] === 'json') await useJsonLog();
  });
  try {
    await program.parseAsync(words, { from: 'user' });
    return status;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version are answers; anything else commander throws is a bad option.
    return error.exitCode === 0 ? EXIT.done : EXIT.badUsage;
  }
}

/** Builds the command line; the commands themselves are loaded only when they run, so that `check` starts at once. */
function buildProgram(shell: Shell, onStatus: (status: ExitStatus) => void): Command {
  const program = new Command('sysmon-vt')
    .description('VirusTotal verdicts next to the process creations of Sysmon logs')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => shell.stdout.write(text),
      writeErr: (text) => shell.stderr.write(escapeLines(text)),
    })
    .showHelpAfterError('(--help shows what there is)')
    .addHelpText(
      'before',
      describeExamples([
        'sysmon-vt demo                              (needs no key)',
        'sysmon-vt enrich /var/log/sysmon',
        'sysmon-vt check 3395856ce81f2b7382dee72602f798b642f14140',
        'sysmon-vt report /var/log/sysmon',
      ]),
    );

  const command = (
    usage: string,
    description: string,
    examples: readonly string[],
    json = 'print the outcome as JSON on stdout',
    parent = program,
  ): Command =>
    parent
      .command(usage)
      .description(description)
      .exitOverride()
      .addHelpText('before', describeExamples(examples))
      .option('--json', json)
      .option('-q, --quiet', 'say nothing but errors')
      .option('-v, --verbose', 'say more')
      .option('--env-file <file>', 'read settings from this file instead of the .env files')
      .addOption(failOn())
      .addOption(logFormat());

  command('enrich', 'read logs, ask VirusTotal about new files, write verdicts next to the records', [
    'sysmon-vt enrich /var/log/sysmon',
    'sysmon-vt enrich evidence.evtx --out results --fail-on malicious',
    "sysmon-vt enrich '/logs/**/*.evtx' --offline --json",
    'sysmon-vt enrich /var/log/sysmon --dry-run',
    'zcat night.jsonl.gz | sysmon-vt enrich - > night.enriched.jsonl',
  ])
    .argument('<path...>', 'log, folder, glob, or - for standard input')
    .option('--out <dir>', 'write below this folder instead of next to the logs')
    .option('--offline', 'use the cache only, ask nothing')
    .option('--dry-run', 'say what would be asked and what it would cost; write and ask nothing')
    .option('--force', 'read logs again that have not changed since their enriched file was written')
    .option('--since <time>', 'of folders, only files changed since: 2026-03-04T22:00Z, a day, or 24h')
    .option('--max-lookups <n>', 'ask at most n questions in this run', wholeNumber)
    .option('--no-recheck', 'do not ask again about old answers')
    .addOption(exec())
    .option('--report <list>', 'write reports at the end: html, md, csv, json, stix')
    .option('--events <ids>', 'events that get a verdict: 1,6,7,15,23,26,27,28,29; 1 without')
    .option(
      '--records <form>',
      'how records are written: jsonl (as found), ecs (Elastic Common Schema), or csv (rows of CSV logs with columns added); jsonl without',
    )
    .option('--all-events', 'write all other records too, as they are and without a verdict')
    .option(
      '--in-place',
      'write verdicts into the logs themselves, JSON lines only; the originals stay beside them as .orig',
    )
    .option('--rejects <file>', 'write records that could not be read to this file, as JSON lines')
    .option('--max-rejects <n>', 'fail (exit 3) if more records than this could not be read', wholeNumber)
    .action(async (paths, options) => onStatus(await (await import('./enrich.js')).runEnrich(shell, paths, options)));

  command(
    'check',
    'verdicts on single files: hashes, pasted Hashes fields, local files (hashed here, never uploaded)',
    [
      'sysmon-vt check 3395856ce81f2b7382dee72602f798b642f14140',
      "sysmon-vt check 'SHA1=3395856CE81F2B7382DEE72602F798B642F14140,MD5=44D88612FEA8A8F36DE82E1278ABB02F'",
      'sysmon-vt check suspicious.exe --json',
      'cut -f2 hashes.tsv | sysmon-vt check -',
    ],
    'print JSON lines on stdout, one for each thing to check',
  )
    .argument('<what...>', 'hash, SHA1=…,MD5=… field, local file, or - for a list on standard input')
    .option('--offline', 'use the cache only, ask nothing')
    .option('--refresh', 'ask again even where the answer is fresh')
    .action(async (what, options) => onStatus(await (await import('./check.js')).runCheck(shell, what, options)));

  command('report', 'reports from enriched records; asks nothing, sends nothing', [
    'sysmon-vt report /var/log/sysmon',
    'sysmon-vt report night1/ night2/            (two folders: what is new in the second)',
    'sysmon-vt report evidence.evtx.enriched.jsonl --format html,md,stix --out case-4711',
  ])
    .argument('<path...>', 'enriched file, or folder that holds some; two folders are compared, the older one first')
    .option('--format <list>', 'html, md, csv, json, stix; html without')
    .option('--out <dir>', 'write reports into this folder instead of the present one')
    .action(async (paths, options) => onStatus(await (await import('./report.js')).runReport(shell, paths, options)));

  command(
    'recheck',
    'ask again about files whose answers are past their lifetime, and tell whose verdict has changed',
    [
      'sysmon-vt recheck',
      'sysmon-vt recheck --max-lookups 100 --fail-on malicious',
      "sysmon-vt recheck --exec '/usr/local/bin/notify --level high'",
    ],
  )
    .option('--max-lookups <n>', 'ask at most n questions in this run', wholeNumber)
    .addOption(exec())
    .action(async (options) => onStatus(await (await import('./recheck.js')).runRecheck(shell, options)));

  command('queue', 'files that wait to be asked, in the order of asking, and why', [
    'sysmon-vt queue',
    'sysmon-vt queue --json',
  ])
    .option('--limit <n>', 'list so many files; 50 without', wholeNumber)
    .action(async (options) => onStatus(await (await import('./queue.js')).runQueue(shell, options)));

  command(
    'formats',
    'what each file is taken for, why, and what of it cannot be read; asks and writes nothing',
    ['sysmon-vt formats evidence/', 'sysmon-vt formats export.zip --json'],
    'print JSON lines on stdout, one for each file',
  )
    .argument('<path...>', 'log, folder or glob')
    .action(async (paths, options) => onStatus(await (await import('./formats.js')).runFormats(shell, paths, options)));

  const cache = program
    .command('cache')
    .description('look after the cache of answers')
    .addHelpText('before', describeExamples(['sysmon-vt cache stats', 'sysmon-vt cache export site.pack']));
  const cacheCommand = (usage: string, description: string, examples: readonly string[]): Command =>
    command(usage, description, examples, 'print as JSON on stdout', cache);
  cacheCommand('stats', 'how much is cached', ['sysmon-vt cache stats', 'sysmon-vt cache stats --json']).action(
    async (options) => onStatus(await (await import('./cache.js')).runCacheStats(shell, options)),
  );
  cacheCommand('get', 'the stored answer on a file, as it is kept', [
    'sysmon-vt cache get 3395856ce81f2b7382dee72602f798b642f14140',
  ])
    .argument('<hash>', 'SHA1, SHA256 or MD5')
    .action(async (hash, options) => onStatus(await (await import('./cache.js')).runCacheGet(shell, hash, options)));
  cacheCommand('prune', 'drop answers past their lifetime', [
    'sysmon-vt cache prune',
    'sysmon-vt cache prune --older-than 90d',
  ])
    .option('--older-than <duration>', 'drop answers older than this instead, e.g. 90d')
    .action(async (options) => onStatus(await (await import('./cache.js')).runCachePrune(shell, options)));

  cacheCommand('export', 'write all answers to a pack, a file for another site or a lab without a network', [
    'sysmon-vt cache export site.pack',
  ])
    .argument('<file>', 'the pack to write')
    .action(async (file, options) => onStatus(await (await import('./cache.js')).runCacheExport(shell, file, options)));
  cacheCommand('import', 'add the answers of packs; of two on one file the newer one wins', [
    'sysmon-vt cache import site.pack',
    'sysmon-vt cache import north.pack south.pack --json',
  ])
    .argument('<file...>', 'packs to read')
    .action(async (files, options) =>
      onStatus(await (await import('./cache.js')).runCacheImport(shell, files, options)),
    );

  command('quota', 'what has been asked, and what may still be asked', [
    'sysmon-vt quota',
    'sysmon-vt quota --json',
  ]).action(async (options) => onStatus(await (await import('./quota.js')).runQuota(shell, options)));

  command(
    'runs',
    'past runs of enrich and recheck: when, how they ended, what they found and asked',
    ['sysmon-vt runs', 'sysmon-vt runs --json --limit 1'],
    'print JSON lines on stdout, one for each run',
  )
    .option('--limit <n>', 'the newest n; 20 without', wholeNumber)
    .action(async (options) => onStatus(await (await import('./runs.js')).runRuns(shell, options)));

  command(
    'demo',
    'the whole job on generated logs against a stand-in for VirusTotal, in temporary folders; no key needed',
    ['sysmon-vt demo', 'sysmon-vt demo --keep'],
  )
    .option('--keep', 'leave the generated logs and results in place and say where')
    .action(async (options) => onStatus(await (await import('./demo.js')).runDemo(shell, options)));

  return program;
}

/** Throws UsageError for a value that is empty: a variable that is not set must not pass for the present folder or for no condition. */
function refuseEmpty(command: Command): void {
  const option = command.options.find((candidate) => command.getOptionValue(candidate.attributeName()) === '');
  const name = option === undefined ? command.name() : option.long;
  if (option !== undefined || command.args.includes('')) {
    throw new UsageError('BAD_USAGE', `${name}: a value is empty; is a variable not set?`);
  }
}

/** Longest line of what commander says that is told whole. */
const MAX_LINE_LENGTH = 500;

/** What commander says of a wrong command line quotes it. */
function escapeLines(text: string): string {
  return text
    .split('\n')
    .map((line) => shorten(escapeControls(line), MAX_LINE_LENGTH))
    .join('\n');
}

function describeExamples(examples: readonly string[]): string {
  return `Examples:\n${examples.map((example) => `  ${example}\n`).join('')}`;
}

function logFormat(): Option {
  return new Option('--log-format <format>', 'lines on stderr: text for people, or JSON').choices(['text', 'json']);
}

function failOn(): Option {
  return new Option('--fail-on <list>', 'exit 1 if one of these holds: malicious, suspicious, incomplete');
}

function exec(): Option {
  return new Option(
    '--exec <command>',
    'run this, without a shell, for each new malicious file, with the alert as JSON on its stdin',
  );
}

function wholeNumber(text: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError('It takes a whole number.');
  return Number(text);
}
