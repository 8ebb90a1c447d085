import { shorten } from '../../terminal.js';
import type { VerdictName } from '../../verdict.js';
import { type Report, VERDICTS_WORST_FIRST, type VerdictCounts } from '../report.js';
import { grouped, restText, timeText } from '../wording.js';
import { html, type Markup, verbatim } from './markup.js';

/** Heights are drawn in hundredths, widths too; the page stretches both. */
const FULL = 100;
/** What is there must be seen, however small beside the rest. */
const LEAST_HEIGHT = 8;
const LEAST_WIDTH = 0.6;
/** A single span must not become one broad bar. */
const LEAST_COLUMNS = 12;
const HOSTS_DRAWN = 12;
const HOSTS_IN_TABLE = 50;
const MAX_HOST_CHARACTERS = 100;

/**
 * Executions over time, a row for each verdict with a scale of its own: three malicious ones would vanish beside thousands of others
 * on one scale. The numbers stand below as a table.
 */
export function executionsChart({ timeline, executionsByVerdict }: Report): Markup {
  const { spans, spanMs } = timeline;
  const [first] = spans;
  if (first === undefined) return html``;
  const columns = Math.max(spans.length, LEAST_COLUMNS);
  const width = FULL / columns;
  const rows = present(executionsByVerdict).map((verdict) => {
    const most = Math.max(...spans.map(({ executions }) => executions[verdict]));
    const bars = spans.flatMap(({ executions }, index) => {
      const height = executions[verdict] === 0 ? 0 : Math.max(LEAST_HEIGHT, (FULL * executions[verdict]) / most);
      return height === 0
        ? []
        : html`<rect x="${decimal(index * width + width * 0.08)}" y="${decimal(FULL - height)}" width="${decimal(width * 0.84)}" height="${decimal(height)}"/>`;
    });
    return html`<div class="row ${verdict}"><span>${verdict}</span>
<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="${verdict}: ${grouped(executionsByVerdict[verdict])} executions, at most ${grouped(most)} in ${spanText(spanMs)}">${bars}<path class="base" d="M0 100H100" fill="none"/></svg>
<span>max ${grouped(most)}</span></div>`;
  });
  const end = new Date(first.start.getTime() + columns * spanMs);
  const middle = new Date((first.start.getTime() + end.getTime()) / 2);
  const isOneDay = first.start.toISOString().slice(0, 10) === new Date(end.getTime() - 1).toISOString().slice(0, 10);
  const label = (time: Date): string =>
    timeText(time).slice(isOneDay ? 11 : spanMs >= 86_400_000 ? 0 : 5, spanMs >= 86_400_000 ? 10 : 16);
  return html`<figure class="wide"><h3>Executions over time</h3>${rows}
<div class="row" aria-hidden="true"><span></span><div class="axis"><span>${label(first.start)}</span><span>${label(middle)}</span><span>${label(end)}</span></div><span></span></div>
<figcaption>Process creations in spans of ${spanText(spanMs)}, UTC. Each row has its own scale.</figcaption>
<details><summary>Numbers as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Executions over time"><table><thead><tr><th scope="col">from (UTC)</th>${VERDICTS_WORST_FIRST.map((verdict) => html`<th scope="col" class="n">${verdict}</th>`)}</tr></thead><tbody>
${spans.map(({ start, executions }) => html`<tr><td class="t">${timeText(start)}</td>${numberCells(executions)}</tr>`)}</tbody></table></div></details></figure>`;
}

/** Hosts with the most findings; unknown files are drawn behind them, since rare ones are where to look next. */
export function hostsChart({ hosts, hostCount }: Report): Markup {
  const telling = hosts.filter(({ files }) => drawn(files) > 0).slice(0, HOSTS_DRAWN);
  const most = Math.max(1, ...telling.map(({ files }) => drawn(files)));
  const rows = telling.map(({ host, files }) => {
    let x = 0;
    const bars = DRAWN.flatMap((verdict) => {
      if (files[verdict] === 0) return [];
      const width = Math.max(LEAST_WIDTH, (FULL * files[verdict]) / most);
      const bar = html`<rect class="${verdict}" x="${decimal(x)}" y="0" width="${decimal(width)}" height="100"/>`;
      x += width;
      return bar;
    });
    return html`<div class="row"><span>${verbatim(shorten(host, MAX_HOST_CHARACTERS))}</span><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="${DRAWN.map((verdict) => `${files[verdict]} ${verdict}`).join(', ')}">${bars}</svg><span>${grouped(drawn(files))}</span></div>`;
  });
  const listed = hosts.slice(0, HOSTS_IN_TABLE);
  const rest = restText(hostCount, hosts.length, listed.length);
  return html`<figure class="hosts"><h3>Hosts by findings</h3>${telling.length === 0 ? html`<p class="dim">No host ran a file that engines detect or VirusTotal does not know.</p>` : rows}
${legend(DRAWN)}
<figcaption>Distinct files on each host; ${grouped(hostCount)} ${hostCount === 1 ? 'host' : 'hosts'} in all.</figcaption>
<details><summary>Numbers as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Files by host"><table><thead><tr><th scope="col">host</th>${VERDICTS_WORST_FIRST.map((verdict) => html`<th scope="col" class="n">${verdict}</th>`)}<th scope="col" class="n">executions</th></tr></thead><tbody>
${listed.map(({ host, files, executions }) => html`<tr><th scope="row">${verbatim(shorten(host, MAX_HOST_CHARACTERS))}</th>${numberCells(files)}<td class="n">${grouped(executions)}</td></tr>`)}</tbody></table></div>
${rest === '' ? undefined : html`<p class="dim">${rest}</p>`}</details></figure>`;
}

/** How much of what ran has an answer. */
export function coverageChart({ filesByVerdict, files, executionsByVerdict }: Report): Markup {
  if (files === 0) return html``;
  let x = 0;
  const bars = VERDICTS_WORST_FIRST.flatMap((verdict) => {
    if (filesByVerdict[verdict] === 0) return [];
    const width = Math.max(LEAST_WIDTH, (FULL * filesByVerdict[verdict]) / files);
    const bar = html`<rect class="${verdict}" x="${decimal(x)}" y="0" width="${decimal(width)}" height="100"/>`;
    x += width;
    return bar;
  });
  const share = Math.floor((100 * (files - filesByVerdict.unchecked)) / files);
  const scale = x > FULL ? decimal(x) : String(FULL);
  return html`<figure class="bar"><h3>Coverage</h3>
<svg viewBox="0 0 ${scale} 100" preserveAspectRatio="none" role="img" aria-label="${VERDICTS_WORST_FIRST.map((verdict) => `${filesByVerdict[verdict]} ${verdict}`).join(', ')}">${bars}</svg>
${legend(VERDICTS_WORST_FIRST)}
<figcaption>${share} % of ${grouped(files)} distinct files have an answer of VirusTotal.</figcaption>
<details><summary>Numbers as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Files and executions by verdict"><table><thead><tr><th scope="col">verdict</th><th scope="col" class="n">files</th><th scope="col" class="n">executions</th></tr></thead><tbody>
${VERDICTS_WORST_FIRST.map((verdict) => html`<tr><th scope="row">${verdict}</th><td class="n">${grouped(filesByVerdict[verdict])}</td><td class="n">${grouped(executionsByVerdict[verdict])}</td></tr>`)}</tbody></table></div></details></figure>`;
}

const DRAWN = ['malicious', 'suspicious', 'unknown'] as const;

function drawn(files: VerdictCounts): number {
  return DRAWN.reduce((sum, verdict) => sum + files[verdict], 0);
}

function present(counts: VerdictCounts): VerdictName[] {
  return VERDICTS_WORST_FIRST.filter((verdict) => counts[verdict] > 0);
}

function legend(verdicts: readonly VerdictName[]): Markup {
  return html`<ul class="legend">${verdicts.map((verdict) => html`<li class="${verdict}">${verdict}</li>`)}</ul>`;
}

function numberCells(counts: VerdictCounts): Markup[] {
  return VERDICTS_WORST_FIRST.map((verdict) => html`<td class="n">${grouped(counts[verdict])}</td>`);
}

function decimal(number: number): string {
  return String(Math.round(number * 100) / 100);
}

const UNITS = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
] as const;

function spanText(ms: number): string {
  const [unitMs, unit] = UNITS.find(([size]) => ms % size === 0) ?? [60_000, 'minute'];
  const number = ms / unitMs;
  return `${grouped(number)} ${unit}${number === 1 ? '' : 's'}`;
}
