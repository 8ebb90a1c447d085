import { escapeControls, shorten } from '../terminal.js';
import type { CountedValues, Finding, Report, ReportedFile, Story, StoryProcess } from './report.js';
import { VERDICTS_WORST_FIRST } from './report.js';
import { STEP_TEXTS } from './story.js';
import { count, describeVerdict, gapsOf, grouped, inPeriod, restText, SOURCE_NOTE, timeText } from './wording.js';

/** A ticket is read, not searched: what goes beyond these is in the JSON report. */
const MAX_FINDINGS_IN_FULL = 50;
const MAX_ROWS = 200;
const MAX_LEADS = 50;
const MAX_HOSTS = 20;
const MAX_STEPS = 40;
const MAX_CHARACTERS = 400;

/** The report as Markdown for tickets. Every text of a log or of VirusTotal stands in a code span, where it cannot link, ping or format. */
export function renderMarkdown(report: Report): string {
  const lines = [`# ${report.headline}`, ''];
  lines.push(
    `${count(report.executions, 'process creation')} of ${count(report.files, 'distinct file')} on ` +
      `${count(report.hostCount, 'host')}${inPeriod(report.firstRun, report.lastRun)}.`,
    '',
  );
  lines.push(SOURCE_NOTE, '', ...comparisonLines(report), ...totalLines(report), ...findingLines(report));
  lines.push(...leadLines(report), ...hostLines(report), ...coverageLines(report));
  return `${lines.join('\n').trimEnd()}\n`;
}

/** A code span that shows `text` verbatim on one line: control characters visible, no run of backticks ends it, no pipe splits a table. */
export function markdownCode(text: string, isInTable = false): string {
  const visible = shorten(escapeControls(text), MAX_CHARACTERS);
  if (visible.trim() === '') return '—';
  const longestRun = Math.max(0, ...(visible.match(/`+/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(longestRun + 1);
  const padding = visible.startsWith('`') || visible.endsWith('`') || /^ .* $/.test(visible) ? ' ' : '';
  return `${fence}${padding}${isInTable ? visible.replaceAll('|', '\\|') : visible}${padding}${fence}`;
}

function totalLines({ filesByVerdict, executionsByVerdict }: Report): string[] {
  return [
    '| verdict | files | executions |',
    '|---|--:|--:|',
    ...VERDICTS_WORST_FIRST.map(
      (name) => `| ${name} | ${grouped(filesByVerdict[name])} | ${grouped(executionsByVerdict[name])} |`,
    ),
    '',
  ];
}

function comparisonLines({ comparison }: Report): string[] {
  if (comparison === undefined) return [];
  const { before, changed, changedTotal, gone, goneTotal } = comparison;
  return [
    '## What is new',
    '',
    `Compared with ${count(before.executions, 'earlier process creation')}${inPeriod(before.first, before.last)}: ` +
      `${count(comparison.newFindings, 'new finding')}, ${count(comparison.newUnknown, 'new unknown file')}, ` +
      `${count(comparison.newHosts, 'new host')}, ${count(changedTotal, 'changed verdict')}, ${grouped(goneTotal)} no longer seen.`,
    '',
    ...changed
      .slice(0, MAX_ROWS)
      .map(
        ({ image, id, before: old, now }) =>
          `- changed: ${markdownCode(image)} ${markdownCode(id)}: ${countText(old)} → ${countText(now)}`,
      ),
    ...gone
      .slice(0, MAX_ROWS)
      .map(
        ({ image, id, before: old }) =>
          `- no longer seen: ${markdownCode(image)} ${markdownCode(id)} (${countText(old)})`,
      ),
    '',
  ];
}

function countText(
  verdict: { readonly verdict: string; readonly detections?: number; readonly engines?: number } | undefined,
): string {
  if (verdict === undefined) return '';
  const { detections, engines } = verdict;
  return detections === undefined ? verdict.verdict : `${verdict.verdict}, ${detections} of ${engines ?? 0}`;
}

function findingLines({ findings, findingsTotal }: Report): string[] {
  if (findings.length === 0) return ['## Findings', '', 'No engine on VirusTotal detects a file of these records.', ''];
  const rows = findings
    .slice(0, MAX_ROWS)
    .map(
      ({ file, image, hostCount, executions, firstRun }) =>
        `| ${file.verdict} | ${file.detections ?? ''}/${file.engines ?? ''} | ${markdownCode(image, true)} | ${markdownCode(file.label ?? '', true)} | ` +
        `${hostCount} | ${grouped(executions)} | ${firstRun === undefined ? '' : timeText(firstRun)} |`,
    );
  const rest = restText(findingsTotal, findings.length, rows.length);
  return [
    '## Findings',
    '',
    '| verdict | engines | image | label | hosts | executions | first run (UTC) |',
    '|---|--:|---|---|--:|--:|---|',
    ...rows,
    '',
    ...(rest === '' ? [] : [rest, '']),
    ...findings.slice(0, MAX_FINDINGS_IN_FULL).flatMap(findingInFull),
  ];
}

function findingInFull(finding: Finding): string[] {
  const { file, image, change } = finding;
  const changed =
    change === undefined
      ? ''
      : change.kind === 'new'
        ? ' (new)'
        : ` (was ${countText({ ...change, verdict: change.from })})`;
  return [
    `### ${file.verdict}: ${markdownCode(image)}${changed}`,
    '',
    `- ${describeVerdict(file)}${file.link === undefined ? '' : ` — <${file.link}>`}`,
    ...(file.label === undefined ? [] : [`- label: ${markdownCode(file.label)}`]),
    ...Object.entries(file.hashes).map(([algorithm, hash]) => `- ${algorithm}: ${markdownCode(hash)}`),
    ...sightingLines(finding),
    ...(file.flags.length === 0 ? [] : [`- flags: ${file.flags.map((flag) => markdownCode(flag)).join(' ')}`]),
    ...(file.knownGood === undefined
      ? []
      : [`- on the list of known files ${markdownCode(file.knownGood)}, which does not overrule engines`]),
    '',
    ...finding.stories.flatMap(storyLines),
  ];
}

function sightingLines({
  executions,
  hostCount,
  firstRun,
  lastRun,
  hosts,
  users,
  commandLines,
}: ReportedFile): string[] {
  return [
    `- ran ${executions === 1 ? 'once' : `${grouped(executions)} times`} on ${count(hostCount, 'host')}${inPeriod(firstRun, lastRun)}`,
    ...valueLine('hosts', hosts),
    ...valueLine('users', users),
    ...valueLine('command lines', commandLines),
  ];
}

function valueLine(name: string, { listed, unlistedExecutions }: CountedValues): string[] {
  if (listed.length === 0) return [];
  const more = unlistedExecutions > 0 ? `, others in ${count(unlistedExecutions, 'execution')}` : '';
  return [`- ${name}: ${listed.map(({ value }) => markdownCode(value)).join(', ')}${more}`];
}

function storyLines(story: Story): string[] {
  const tree = [...story.ancestors, story.process].map(
    (process, depth) =>
      `${'  '.repeat(depth)}- ${processText(process)}${process === story.process ? ' ← **this process**' : ''}`,
  );
  const children = story.children.map((child) => `${'  '.repeat(story.ancestors.length + 1)}- ${processText(child)}`);
  const steps = story.steps
    .slice(0, MAX_STEPS)
    .map(
      ({ at, kind, object, detail }) =>
        `- ${at === undefined ? 'at an unknown time' : timeText(at)} ${STEP_TEXTS[kind]}${object === '' ? '' : ` ${markdownCode(object)}`}` +
        `${detail === undefined ? '' : ` (${markdownCode(detail)})`}`,
    );
  const unlisted = story.unlistedSteps + story.steps.length - steps.length;
  return [
    `What happened on ${markdownCode(story.host)}:`,
    '',
    ...tree,
    ...children,
    '',
    ...(story.hasContext ? [] : ['Context records are missing: what the process did is not known here.', '']),
    ...steps,
    ...(unlisted > 0 ? [`- and ${count(unlisted, 'step')} more`] : []),
    '',
  ];
}

function processText({ image, pid, user, startedAt, file, commandLine }: StoryProcess): string {
  const facts = [
    pid === undefined ? undefined : `pid ${markdownCode(pid)}`,
    user === undefined ? undefined : markdownCode(user),
    startedAt === undefined ? undefined : timeText(startedAt),
    file === undefined ? undefined : countText(file),
  ].filter((fact) => fact !== undefined);
  return `${markdownCode(image)} (${facts.join(', ')})${commandLine === undefined ? '' : ` ${markdownCode(commandLine)}`}`;
}

function leadLines({ leads, leadsTotal }: Report): string[] {
  if (leads.length === 0) return [];
  const rows = leads
    .slice(0, MAX_LEADS)
    .map(
      ({ image, file, id, hostCount, executions, firstRun }) =>
        `| ${hostCount} | ${grouped(executions)} | ${markdownCode(image, true)} | ${markdownCode(id, true)} | ` +
        `${firstRun === undefined ? '' : timeText(firstRun)} | ${file.reason === 'pending' ? 'not analysed yet' : 'never seen'} |`,
    );
  const rest = restText(leadsTotal, leads.length, rows.length);
  return [
    '## Unknown to VirusTotal, rarest first',
    '',
    '| hosts | executions | image | hash | first run (UTC) | VirusTotal |',
    '|--:|--:|---|---|---|---|',
    ...rows,
    '',
    ...(rest === '' ? [] : [rest, '']),
  ];
}

function hostLines({ hosts, hostCount }: Report): string[] {
  if (hosts.length === 0) return [];
  const rows = hosts
    .slice(0, MAX_HOSTS)
    .map(
      ({ host, files, executions }) =>
        `| ${markdownCode(host, true)} | ${files.malicious} | ${files.suspicious} | ${files.unknown} | ${files.unchecked} | ${grouped(executions)} |`,
    );
  const rest = restText(hostCount, hosts.length, rows.length);
  return [
    '## Hosts',
    '',
    '| host | malicious | suspicious | unknown | unchecked | executions |',
    '|---|--:|--:|--:|--:|--:|',
    ...rows,
    '',
    ...(rest === '' ? [] : [rest, '']),
  ];
}

function coverageLines(report: Report): string[] {
  const { coverage } = report;
  const gaps = gapsOf(report);
  return [
    '## Coverage',
    '',
    `${count(coverage.enrichedFiles, 'file')} of enriched records read. ` +
      (gaps.length === 0 ? 'Every process creation in them has a verdict.' : 'What this report cannot say:'),
    '',
    ...gaps.map((gap) => `- ${gap}`),
    ...coverage.contextMissing.map((path) => `- without context: ${markdownCode(path)}`),
    ...coverage.failures.map(({ path, message }) => `- failed: ${markdownCode(path)} ${markdownCode(message)}`),
    ...coverage.unreadableExamples.map((place) => `- unreadable: ${markdownCode(place)}`),
    '',
  ];
}
