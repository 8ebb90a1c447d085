import { LOOKUP_ALGORITHMS } from '../../hash.js';
import { shorten } from '../../terminal.js';
import type { VerdictName } from '../../verdict.js';
import type { CountedValues, Finding, StepKind, Story, StoryProcess, StoryStep } from '../report.js';
import { STEP_TEXTS } from '../story.js';
import { count, describeVerdict, grouped, inPeriod, timeText } from '../wording.js';
import { html, type Markup, verbatim } from './markup.js';

/** Findings that are open when the page is. */
const OPEN_FINDINGS = 10;

/** How much the page tells of one finding; the JSON report has it all. */
interface Telling {
  readonly values: number;
  readonly characters: number;
  readonly stories: number;
  readonly steps: number;
}

const IN_FULL: Telling = { values: 20, characters: 1500, stories: 3, steps: 60 };
const IN_BRIEF: Telling = { values: 3, characters: 200, stories: 1, steps: 15 };
/** The worst are told in full, unless a log was made to fill the page. */
const FINDINGS_IN_FULL = 20;
const MAX_FINDING_BYTES = 40_000;

/**
 * Findings as sections that open and close, `f1` for the first; each with all that is known of the file and the stories of its
 * processes. `numbers` gives the number of each finding that the page has a row for.
 */
export function* findingsInFull(findings: readonly Finding[], numbers: ReadonlyMap<string, number>): Generator<Markup> {
  for (const [index, finding] of findings.entries()) {
    const markup = (telling: Telling): Markup =>
      findingMarkup(cut(finding, telling), index + 1, index < OPEN_FINDINGS, numbers);
    const full = index < FINDINGS_IN_FULL ? markup(IN_FULL) : undefined;
    yield full !== undefined && full.markup.length <= MAX_FINDING_BYTES ? full : markup(IN_BRIEF);
  }
}

/** The finding with shorter lists and texts; what is left out is still counted. */
function cut(finding: Finding, telling: Telling): Finding {
  const values = ({ listed, unlistedExecutions }: CountedValues): CountedValues => ({
    listed: listed
      .slice(0, telling.values)
      .map(({ value, executions }) => ({ value: shorten(value, telling.characters), executions })),
    unlistedExecutions: listed
      .slice(telling.values)
      .reduce((sum, { executions }) => sum + executions, unlistedExecutions),
  });
  const stories = finding.stories.slice(0, telling.stories);
  return {
    ...finding,
    image: shorten(finding.image, telling.characters),
    images: values(finding.images),
    hosts: values(finding.hosts),
    users: values(finding.users),
    commandLines: values(finding.commandLines),
    parents: values(finding.parents),
    claims: cutTexts(finding.claims, telling.characters),
    stories: stories.map((story) => ({
      ...story,
      host: shorten(story.host, telling.characters),
      process: cutTexts(story.process, telling.characters),
      ancestors: story.ancestors.map((ancestor) => cutTexts(ancestor, telling.characters)),
      children: story.children.slice(0, telling.steps).map((child) => cutTexts(child, telling.characters)),
      unlistedChildren: story.unlistedChildren + Math.max(0, story.children.length - telling.steps),
      steps: story.steps.slice(0, telling.steps).map((step) => cutTexts(step, telling.characters)),
      unlistedSteps: story.unlistedSteps + Math.max(0, story.steps.length - telling.steps),
    })),
    untoldExecutions: finding.untoldExecutions + finding.stories.length - stories.length,
  };
}

/** The same members with every text of at most so many characters. */
function cutTexts<Members extends object>(members: Members, maxCharacters: number): Members {
  const cutMembers = Object.entries(members).map(([name, member]) => [
    name,
    typeof member === 'string' ? shorten(member, maxCharacters) : member,
  ]);
  return { ...members, ...Object.fromEntries(cutMembers) };
}

function findingMarkup(
  finding: Finding,
  number: number,
  isOpen: boolean,
  numbers: ReadonlyMap<string, number>,
): Markup {
  const { file, image, claims, stories, untoldExecutions, executions, hostCount, firstRun, lastRun } = finding;
  const claimed = [claims.originalFileName, claims.description, claims.product, claims.company, claims.fileVersion];
  const hashes = LOOKUP_ALGORITHMS.flatMap((algorithm) => {
    const hash = file.hashes[algorithm];
    return hash === undefined ? [] : html`<dt>${algorithm.toUpperCase()}<dd>${hashMarkup(hash)}`;
  });
  return html`<details class="card ${file.verdict}" id="f${number}"${isOpen ? html` open` : undefined}><summary>${pill(file)} <h3>${verbatim(nameOf(image))}</h3> <span class="dim">on ${count(hostCount, 'host')}</span></summary><div>
<p>${describeVerdict(file)}${file.firstSubmission === undefined ? '' : `, first submitted ${timeText(file.firstSubmission).slice(0, 10)}`}. ${virusTotalLink(file.link)} · <a href="#r${number}">row in the table</a></p>
<dl>${row('Path', verbatim(image))}${file.label === undefined ? undefined : row('Label', verbatim(file.label))}${hashes}${row('Ran', html`${executions === 1 ? 'once' : `${grouped(executions)} times`} on ${count(hostCount, 'host')}${inPeriod(firstRun, lastRun)}`)}${values('Other paths', finding.images.listed.length > 1 ? finding.images : undefined)}${values('Hosts', finding.hosts)}${values('Users', finding.users)}${values('Command lines', finding.commandLines)}${values('Started by', finding.parents)}${claimed.some((claim) => claim !== undefined) ? row('Claims to be', html`${claimed.flatMap((claim, index) => (claim === undefined ? [] : html`${index === 0 ? '' : ' '}${verbatim(claim)}`))}`) : undefined}${file.flags.length === 0 ? undefined : row('Flags', html`${file.flags.map((flag) => html`${verbatim(flag)} `)}`)}${file.knownGood === undefined ? undefined : row('Known to', html`the list ${verbatim(file.knownGood)}, which does not overrule engines`)}</dl>
${stories.map((story) => storyMarkup(story, file.verdict, finding.id, numbers))}
${untoldExecutions > 0 && stories.length > 0 ? html`<p class="dim">${count(untoldExecutions, 'more execution')} of this file ${untoldExecutions === 1 ? 'is' : 'are'} counted above and not told.</p>` : undefined}
</div></details>
`;
}

function row(name: string, value: Markup): Markup {
  return html`<dt>${name}<dd>${value}`;
}

function values(name: string, counted: CountedValues | undefined): Markup | undefined {
  if (counted === undefined || counted.listed.length === 0) return undefined;
  const { listed, unlistedExecutions } = counted;
  return row(
    name,
    html`<ul>${listed.map(({ value, executions }) => html`<li>${verbatim(value)}${executions > 1 ? html` <small class="dim">×${grouped(executions)}</small>` : undefined}</li>`)}${unlistedExecutions > 0 ? html`<li class="dim">others in ${count(unlistedExecutions, 'execution')}</li>` : undefined}</ul>`,
  );
}

function storyMarkup(
  story: Story,
  verdict: VerdictName,
  findingId: string,
  numbers: ReadonlyMap<string, number>,
): Markup {
  const { host, process, ancestors, children, unlistedChildren, steps, unlistedSteps, hasContext } = story;
  const node = (shown: StoryProcess, inside: Markup | undefined): Markup =>
    html`<li${shown === process ? html` class="self ${verdict}"` : undefined}>${processMarkup(shown, findingId, numbers)}${inside === undefined ? undefined : html`<ul>${inside}</ul>`}</li>`;
  const childNodes =
    children.length + unlistedChildren === 0
      ? undefined
      : html`${children.map((child) => node(child, undefined))}${unlistedChildren > 0 ? html`<li class="dim">and ${count(unlistedChildren, 'more process')}</li>` : undefined}`;
  const tree = ancestors.reduceRight<Markup>((inside, ancestor) => node(ancestor, inside), node(process, childNodes));
  const started = process.startedAt;
  return html`<h4>On ${verbatim(host === '' ? 'an unnamed host' : host)}${started === undefined ? '' : ` at ${timeText(started)} UTC`}</h4><div class="two"><div><p class="dim">Process tree</p><ul class="tree">${tree}</ul></div><div><p class="dim">What it did</p>${
    hasContext
      ? undefined
      : html`<p class="warn">The context records of this log are missing: what the process did is not known here.</p>`
  }${steps.length === 0 && hasContext ? html`<p>The log has no other record of this process.</p>` : html`<ol class="steps">${steps.map((step) => stepMarkup(step, started))}</ol>`}${unlistedSteps > 0 ? html`<p class="dim">and ${count(unlistedSteps, 'step')} more</p>` : undefined}</div></div>
`;
}

function processMarkup(process: StoryProcess, findingId: string, numbers: ReadonlyMap<string, number>): Markup {
  const { image, commandLine, pid, user, startedAt, file } = process;
  const number = process.findingId === findingId ? undefined : numbers.get(process.findingId ?? '');
  const facts = [
    startedAt === undefined ? undefined : html`${timeText(startedAt)}`,
    pid === undefined ? undefined : html`pid ${verbatim(pid)}`,
    user === undefined ? undefined : verbatim(user),
  ].flatMap((fact, index) => (fact === undefined ? [] : html`${index === 0 ? '' : ' · '}${fact}`));
  return html`<div><b>${verbatim(nameOf(image))}</b> ${file === undefined ? html`<small class="dim">named by its child only</small>` : pill(file)}${number === undefined ? undefined : html` <a href="#f${number}">finding ${number}</a>`}<small>${facts}</small>${commandLine === undefined ? undefined : html`<small>${verbatim(commandLine)}</small>`}</div>`;
}

const STEP_CLASSES: { readonly [kind in StepKind]: string } = {
  started_child: 'process',
  connected: 'network',
  accepted: 'network',
  resolved: 'network',
  created_file: 'file',
  created_stream: 'file',
  deleted_file: 'file',
  changed_time: 'threat',
  injected_thread: 'threat',
  got_thread: 'threat',
  opened_process: 'process',
  was_opened: 'process',
  was_tampered: 'threat',
  ended: 'end',
};

function stepMarkup({ at, kind, object, detail, eventId }: StoryStep, started: Date | undefined): Markup {
  const isSameDay = at !== undefined && started?.toISOString().slice(0, 10) === at.toISOString().slice(0, 10);
  const time = at === undefined ? 'unknown' : isSameDay ? timeText(at).slice(11) : timeText(at);
  return html`<li class="${STEP_CLASSES[kind]}"><time${at === undefined ? undefined : html` datetime="${at.toISOString()}"`}>${time}</time><span>${STEP_TEXTS[kind]} ${object === '' ? undefined : verbatim(object)}${detail === undefined ? undefined : html` <small>${verbatim(detail)}</small>`} <small class="dim">event ${eventId}</small></span></li>`;
}

/** A verdict with its count. */
export function pill(file: {
  readonly verdict: VerdictName;
  readonly detections?: number;
  readonly engines?: number;
}): Markup {
  const { verdict, detections, engines } = file;
  return html`<span class="pill ${verdict}">${verdict}${detections === undefined ? '' : ` ${detections}/${engines ?? 0}`}</span>`;
}

/** A digest that can be copied: the page's script puts a button beside it. */
export function hashMarkup(hash: string): Markup {
  return html`<code class="hash">${hash}</code>`;
}

/** A link to the file's page, where VirusTotal has one. */
export function virusTotalLink(link: string | undefined): Markup | undefined {
  return link === undefined ? undefined : html`<a href="${link}">VirusTotal</a>`;
}

/** The last part of a path of Windows or Linux. */
export function nameOf(path: string): string {
  const name = path.slice(folderOf(path).length).replace(/^[\\/]/, '');
  return name === '' ? '(no name)' : name;
}

/** A path without its last part. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('\\'), path.lastIndexOf('/')));
}
