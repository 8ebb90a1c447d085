import { createHash } from 'node:crypto';
import { shorten } from '../../terminal.js';
import type { VerdictName } from '../../verdict.js';
import {
  type ComparedFile,
  type CountedValues,
  type Finding,
  type Report,
  type ReportedFile,
  VERDICTS_WORST_FIRST,
} from '../report.js';
import { count, dayOf, gapsOf, grouped, inPeriod, restText, SOURCE_NOTE, timeText, VERDICT_TEXTS } from '../wording.js';
import { coverageChart, executionsChart, hostsChart } from './charts.js';
import { findingsInFull, folderOf, hashMarkup, nameOf, pill, virusTotalLink } from './finding.js';
import { fitting, html, type Markup, verbatim } from './markup.js';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';

/** The page stays below a megabyte, so that it passes as a mail attachment: the worst comes first, the rest is in the JSON report. */
const MAX_ROWS = 1000;
const MAX_ROW_BYTES = 500_000;
const MAX_DETAIL_BYTES = 270_000;
const MAX_LEAD_BYTES = 70_000;
const MAX_COMPARED_BYTES = 40_000;
/** From here on a browser draws findings only once they come into view. */
const MANY_FINDINGS = 30;
/** Cells are cut for reading; the finding itself has the whole text. */
const MAX_CELL_CHARACTERS = 110;
const MAX_PLACE_CHARACTERS = 300;
/** So many findings fit above everything else on a first screen, and so many hosts or addresses of each. */
const FIRST_LOOK_FINDINGS = 5;
const FIRST_LOOK_VALUES = 2;

/**
 * The report as one HTML page that loads nothing, so that it can be mailed, archived and read offline. Its Content Security Policy
 * allows its own script and style sheet, by their hashes, and nothing else.
 */
export function renderHtml(report: Report): string {
  const rows = fitting(report.findings.slice(0, MAX_ROWS).map(findingRow), MAX_ROW_BYTES);
  const numbers = new Map(report.findings.slice(0, rows.length).map(({ id }, index) => [id, index + 1]));
  const details = fitting(findingsInFull(report.findings.slice(0, rows.length), numbers), MAX_DETAIL_BYTES);
  const policy = [
    "default-src 'none'",
    `script-src '${sourceHash(SCRIPT)}'`,
    `style-src '${sourceHash(STYLE)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const style: Markup = { markup: STYLE };
  // Not in the template itself, from which bundlers take this end tag out by a helper of their own.
  const script: Markup = { markup: `<script>${SCRIPT}</script>` };
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${{ markup: policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>${report.headline} · sysmon-vt</title>
<style>${style}</style>
</head>
<body${details.length > MANY_FINDINGS ? html` class="many"` : undefined}>
<a class="skip" href="#findings">Skip to the findings</a>
${top(report)}
<main>
${firstLook(report)}
${tiles(report)}
${comparisonSection(report)}
<section aria-labelledby="overview"><h2 id="overview">Overview</h2><div class="charts">${executionsChart(report)}${hostsChart(report)}${coverageChart(report)}</div></section>
${findingsSection(report, rows, details)}
${leadsSection(report)}
${coverageSection(report)}
</main>
<footer><p class="note">${SOURCE_NOTE}</p><p class="note">Detections are the engines that call a file malicious; engines are those that gave an opinion. This page loads nothing and sends nothing; its only links lead to virustotal.com.</p></footer>
${script}
</body>
</html>
`.markup;
}

function sourceHash(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

function top(report: Report): Markup {
  const { firstRun, lastRun, coverage } = report;
  const [oldest, newest] = [coverage.oldestAnswer, coverage.newestAnswer].map((time) => time && dayOf(time));
  const asked =
    oldest === undefined || newest === undefined
      ? html`VirusTotal has not been asked about any of them.`
      : html`Answers of VirusTotal of <span class="t">${oldest}</span>${oldest === newest ? '' : html` to <span class="t">${newest}</span>`}.`;
  const gaps = gapsOf(report);
  return html`<header>
<p class="eyebrow">sysmon-vt · process creations logged by Sysmon, judged by the engines on VirusTotal</p>
<h1>${report.headline}</h1>
<p class="lede">${count(report.executions, 'process creation')} of ${count(report.files, 'distinct file')} on ${count(report.hostCount, 'host')}${inPeriod(firstRun, lastRun)}. ${asked}</p>
${gaps.length === 0 ? undefined : html`<p class="warn">This report does not see everything: <a href="#coverage">${count(gaps.length, 'gap')}</a>.</p>`}
<nav aria-label="Sections">${report.comparison === undefined ? undefined : html`<a href="#new">What is new</a>`}<a href="#overview">Overview</a><a href="#findings">Findings (${grouped(report.findingsTotal)})</a><a href="#leads">Unknown files (${grouped(report.leadsTotal)})</a><a href="#coverage">Coverage</a></nav>
</header>`;
}

/** What has to be known in the first minute: which files, where and as whom they ran, what started them, whom they talked to. */
function firstLook({ findings, findingsTotal, leadsTotal }: Report): Markup | undefined {
  if (findings.length === 0) return undefined;
  const first = findings.slice(0, FIRST_LOOK_FINDINGS);
  return html`<section class="first" aria-labelledby="first"><h2 id="first">Look here first</h2><ol>${first.map(firstLookRow)}</ol><p class="dim">${findingsTotal > first.length ? html`and <a href="#findings-title">${count(findingsTotal - first.length, 'more finding')}</a>. ` : undefined}Each name leads to the story: what started the file, what it did, and the hashes to look for elsewhere.${leadsTotal > 0 ? html` Then look through the <a href="#leads">files unknown to VirusTotal</a>.` : undefined}</p></section>`;
}

function firstLookRow(finding: Finding, index: number): Markup {
  const { file, image, hosts, hostCount, users, parents, firstRun, stories, change } = finding;
  const valuesOf = ({ listed }: CountedValues): string[] => listed.map(({ value }) => value);
  const addresses = new Set(
    stories.flatMap(({ steps }) => steps.filter(({ kind }) => kind === 'connected').map(({ object }) => object)),
  );
  const [parent] = valuesOf(parents);
  const facts = [
    some('on', valuesOf(hosts), hostCount),
    some('as', valuesOf(users), users.listed.length),
    parent === undefined ? undefined : some('started by', [nameOf(parent)], parents.listed.length),
    some('connected to', [...addresses], addresses.size),
    firstRun === undefined ? undefined : html`first ${timeText(firstRun)} UTC`,
  ].filter((fact) => fact !== undefined);
  return html`<li class="${file.verdict}">${pill(file)} <a href="#f${index + 1}">${verbatim(shorten(nameOf(image), MAX_CELL_CHARACTERS))}</a>${change === undefined ? undefined : html` ${changeText(change)}`} <span class="dim">in ${verbatim(shorten(folderOf(image), MAX_CELL_CHARACTERS))}</span><ul>${facts.map((fact) => html`<li>${fact}</li>`)}</ul></li>`;
}

/** The first of some values and how many more there are; nothing where there are none. */
function some(word: string, values: readonly string[], total: number): Markup | undefined {
  const shown = values.slice(0, FIRST_LOOK_VALUES);
  if (shown.length === 0) return undefined;
  const more = total - shown.length;
  return html`${word} ${shown.map((value, index) => html`${index === 0 ? '' : ', '}${verbatim(shorten(value, MAX_CELL_CHARACTERS))}`)}${more > 0 ? ` and ${grouped(more)} more` : ''}`;
}

function tiles({ filesByVerdict, executionsByVerdict }: Report): Markup {
  const tile = (verdict: VerdictName): Markup =>
    html`<li class="${verdict}"><span>${verdict}</span><b${filesByVerdict[verdict] === 0 ? html` class="zero"` : undefined}>${grouped(filesByVerdict[verdict])}</b><small>${filesByVerdict[verdict] === 1 ? 'file' : 'files'}, ${count(executionsByVerdict[verdict], 'execution')}<br>${VERDICT_TEXTS[verdict]}</small></li>`;
  return html`<ul class="tiles" aria-label="Files by verdict">${VERDICTS_WORST_FIRST.map(tile)}</ul>`;
}

function comparisonSection({ comparison }: Report): Markup | undefined {
  if (comparison === undefined) return undefined;
  const { before, changed, changedTotal, gone, goneTotal } = comparison;
  const table = (title: string, files: readonly ComparedFile[], total: number): Markup | undefined => {
    if (total === 0) return undefined;
    const rows = fitting(
      files.map(
        ({ image, id, before: old, now }) =>
          html`<tr><td>${pill(old)}</td><td>${now === undefined ? 'did not run' : pill(now)}</td><td>${shortPath(image)}<small class="w">${verbatim(id)}</small></td></tr>`,
      ),
      MAX_COMPARED_BYTES / 2,
    );
    return html`<h3>${title}</h3><div class="scroll" tabindex="0" role="region" aria-label="Table: ${title}"><table><thead><tr><th scope="col">before</th><th scope="col">now</th><th scope="col">image</th></tr></thead><tbody>${rows}</tbody></table></div>${moreNote(total, files.length, rows.length)}`;
  };
  return html`<section aria-labelledby="new"><h2 id="new">What is new</h2>
<p>Compared with ${count(before.executions, 'earlier process creation')} of ${count(before.files, 'file')}${inPeriod(before.first, before.last)}: ${count(comparison.newFindings, 'new finding')}, ${count(comparison.newUnknown, 'new unknown file')}, ${count(comparison.newHosts, 'new host')}, ${count(changedTotal, 'changed verdict')}, ${count(goneTotal, 'earlier finding')} that did not run again.</p>
${table('Changed verdicts', changed, changedTotal)}
${table('Did not run again', gone, goneTotal)}</section>`;
}

function findingsSection(report: Report, rows: readonly Markup[], details: readonly Markup[]): Markup {
  const { findings, findingsTotal, filesByVerdict } = report;
  if (findings.length === 0) {
    return html`<section aria-labelledby="findings"><h2 id="findings">Findings</h2><p>No engine on VirusTotal detected a file of these records when it was analysed. ${gapsOf(report).length === 0 ? undefined : html`What this does not cover is listed under <a href="#coverage">coverage</a>.`}</p></section>`;
  }
  const box = (verdict: VerdictName): Markup | undefined =>
    filesByVerdict[verdict] === 0
      ? undefined
      : html`<label><input type="checkbox" value="${verdict}"> only ${verdict}</label>`;
  const columns = ['Verdict', 'Image', 'Hosts', 'Runs', 'First run (UTC)', 'Last run (UTC)'];
  return html`<section id="findings-section" aria-labelledby="findings-title"><h2 id="findings-title">Findings</h2>
<div class="controls"><label class="find">Search <input type="search" id="search" placeholder="image, hash, host, user, command line" aria-keyshortcuts="/"></label>${box('malicious')}${box('suspicious')}<output id="shown" for="search"></output></div>
<div class="scroll" id="findings" tabindex="0" role="region" aria-label="Table of findings"><table data-sortable><thead><tr>${columns.map((name) => html`<th scope="col">${name}</th>`)}<th scope="col" data-fixed>SHA256</th></tr></thead><tbody>
${rows}
</tbody></table></div>
${moreNote(findingsTotal, findings.length, rows.length)}
<h3 class="gap">In full</h3>
${details}
${details.length < rows.length ? html`<p class="dim">The stories of ${grouped(rows.length - details.length)} more findings were left out to keep this page small enough to be mailed; they are in the JSON report.</p>` : undefined}
</section>`;
}

function findingRow(finding: Finding, index: number): Markup {
  const { file, image, hostCount, executions, firstRun, lastRun, change } = finding;
  const number = index + 1;
  return html`<tr id="r${number}"><td>${pill(file)}${change === undefined ? undefined : html`<br>${changeText(change)}`}<td><a href="#f${number}">${verbatim(shorten(nameOf(image), MAX_CELL_CHARACTERS))}</a><small>${verbatim(shorten(folderOf(image), MAX_CELL_CHARACTERS))}</small>${file.label === undefined ? undefined : html`<small>${shorten(file.label, MAX_CELL_CHARACTERS)}</small>`}<td>${grouped(hostCount)}<td>${grouped(executions)}<td>${timeOrDash(firstRun)}<td>${timeOrDash(lastRun)}<td>${virusTotalLink(file.link)}
`;
}

function changeText(change: NonNullable<Finding['change']>): Markup {
  return change.kind === 'new'
    ? html`<span class="new">new</span>`
    : html`<span class="new">was ${change.from}${change.detections === undefined ? '' : ` ${change.detections}/${change.engines ?? 0}`}</span>`;
}

function leadsSection({ leads, leadsTotal }: Report): Markup {
  const rows = fitting(leads.map(leadRow), MAX_LEAD_BYTES);
  const table = html`<div class="scroll" tabindex="0" role="region" aria-label="Table of unknown files"><table data-sortable><thead><tr><th scope="col" class="n">Hosts</th><th scope="col" class="n">Runs</th><th scope="col">Image</th><th scope="col" class="w">First run (UTC)</th><th scope="col" class="w">VirusTotal</th></tr></thead><tbody>
${rows}</tbody></table></div>${moreNote(leadsTotal, leads.length, rows.length)}`;
  return html`<section aria-labelledby="leads"><h2 id="leads">Unknown to VirusTotal, rarest first</h2>
${leadsTotal === 0 ? html`<p>Every file that was asked about is known to VirusTotal.</p>` : html`<p class="note">A file that nobody ever submitted is not bad by itself. One that runs on a single host is where to look next.</p>${table}`}</section>`;
}

function leadRow({ image, id, file, hostCount, executions, firstRun, hosts }: ReportedFile): Markup {
  const [host] = hosts.listed;
  return html`<tr><td class="n">${grouped(hostCount)}<td class="n">${grouped(executions)}<td>${shortPath(image)}<small>${hashMarkup(id)}</small>${hostCount === 1 && host !== undefined ? html`<small>on ${verbatim(shorten(host.value, MAX_CELL_CHARACTERS))}</small>` : undefined}<td class="t w">${timeOrDash(firstRun)}<td class="w">${file.reason === 'pending' ? 'not analysed yet' : 'never seen'}
`;
}

function coverageSection(report: Report): Markup {
  const { coverage } = report;
  const gaps = gapsOf(report);
  const list = (title: string, texts: readonly string[], listed: number, total: number): Markup | undefined =>
    texts.length === 0
      ? undefined
      : html`<details><summary>${title} (${grouped(total)})</summary><ul>${texts.map((text) => html`<li>${verbatim(shorten(text, MAX_PLACE_CHARACTERS))}</li>`)}</ul>${moreNote(total, listed, texts.length)}</details>`;
  return html`<section aria-labelledby="coverage"><h2 id="coverage">Coverage</h2>
<p>${count(coverage.enrichedFiles, 'file')} of enriched records read to the end.${gaps.length === 0 ? ' Every process creation in them has an answer of VirusTotal.' : ' What this report cannot say:'}</p>
${gaps.length === 0 ? undefined : html`<ul>${gaps.map((gap) => html`<li>${gap}</li>`)}</ul>`}
${list('Logs without context records', coverage.contextMissing, coverage.contextMissing.length, coverage.contextMissingTotal)}
${list(
  'Files that could not be read',
  coverage.failures.slice(0, 50).map(({ message }) => message),
  coverage.failures.length,
  coverage.failures.length,
)}
${list('Lines that could not be read', coverage.unreadableExamples, coverage.unreadableExamples.length, coverage.unreadableLines)}</section>`;
}

function moreNote(total: number, listed: number, shown: number): Markup | undefined {
  const rest = restText(total, listed, shown);
  return rest === '' ? undefined : html`<p class="dim">${rest}</p>`;
}

function shortPath(path: string): Markup {
  return html`<b>${verbatim(shorten(nameOf(path), MAX_CELL_CHARACTERS))}</b><small>${verbatim(shorten(folderOf(path), MAX_CELL_CHARACTERS))}</small>`;
}

function timeOrDash(time: Date | undefined): string {
  return time === undefined ? '—' : timeText(time);
}
