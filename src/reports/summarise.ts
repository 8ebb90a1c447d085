import type { SysmonEvent } from '../event.js';
import { LOOKUP_ALGORITHMS } from '../hash.js';
import type { Reason, VerdictName } from '../verdict.js';
import { parseVirustotalMember } from './enriched-record.js';
import { timeOf } from './event-time.js';
import { dateOf, type KeptVerdict, keepVerdict, verdictOf } from './kept-verdict.js';
import { present } from './present.js';
import type {
  ComparedFile,
  Comparison,
  Coverage,
  FileClaims,
  FileVerdict,
  Finding,
  FindingChange,
  HostSummary,
  Report,
  ReportedFile,
  Story,
} from './report.js';
import { type Identification, type KnownProcess, readProcess, Stories } from './story.js';
import {
  firstInOrder,
  HostTally,
  isValue,
  keepText,
  type MutableCounts,
  noCounts,
  rankOf,
  TimeTally,
  ValueTally,
} from './tallies.js';

/** How much a report lists. What is left out is counted, and the counts are exact. */
const MAX_FINDINGS = 5000;
const MAX_LEADS = 1000;
const MAX_HOSTS = 1000;
const MAX_HOSTS_OF_FILE = 50;
const MAX_COMPARED = 1000;
const MAX_EXAMPLES = 20;
const MAX_MISSING_CONTEXTS = 100;
/**
 * Files whose details are held at once: twice those that can be listed. When there are more, details are kept of the worst findings and
 * the rarest unknown files, each for themselves: files that only have to be new to be unknown can be made by the thousand, and must not
 * push out what engines detect.
 */
const MAX_DETAILED_FILES = 2 * (MAX_FINDINGS + MAX_LEADS);
/** Findings whose story is told, and processes of each. */
const MAX_STORY_FINDINGS = 1000;
const MAX_STORIES_OF_FILE = 3;

/** What is kept of one file. Details are collected only where they may be shown, since most files are undetected. */
interface FileState {
  verdict: KeptVerdict;
  image: string;
  executions: number;
  readonly hosts: HostTally;
  firstRunMs: number | undefined;
  lastRunMs: number | undefined;
  details: FileDetails | undefined;
  /** Set where another state turned out to be of the same file and took this one over. */
  mergedInto: FileState | undefined;
}

interface FileDetails {
  readonly images: ValueTally;
  readonly users: ValueTally;
  readonly commandLines: ValueTally;
  readonly parents: ValueTally;
  readonly claims: FileClaims;
  /** The first processes, on different hosts as far as there are any. */
  processes: SeenProcess[];
}

interface SeenProcess {
  readonly process: KnownProcess;
  /** The enriched file that it stands in. */
  readonly source: string;
}

/**
 * A set of enriched records being summarised, in one pass and bounded memory: it grows with distinct files and hosts, not with
 * records. First all records are added, file by file; then the context records of the files that `sourcesWithStories` names.
 */
export class EnrichedSet {
  readonly #byDigest = new Map<string, FileState>();
  readonly #files: FileState[] = [];
  readonly #hostNumbers = new Map<string, number>();
  readonly #hostNames: string[] = [];
  readonly #hostExecutions: number[] = [];
  readonly #timeline = new TimeTally();
  readonly #executionsByVerdict = noCounts();
  readonly #withoutHash = new Map<Reason, number>();
  readonly #failures: { readonly path: string; readonly message: string }[] = [];
  readonly #unreadableExamples: string[] = [];
  readonly #sourcesWithContext = new Set<string>();
  #executions = 0;
  #executionsWithoutHash = 0;
  #withoutHost = 0;
  #unreadableLines = 0;
  #enrichedFiles = 0;
  #detailed: FileState[] = [];
  /** Once details had to be dropped: the last files that kept theirs. What would stand behind them needs none. */
  #lastFinding: FileState | undefined;
  #lastLead: FileState | undefined;
  #firstRunMs: number | undefined;
  #lastRunMs: number | undefined;
  #findings: FileState[] | undefined;
  #stories: Stories | undefined;

  /**
   * Adds one process creation with its `virustotal` member, from the enriched file `source`. False where the member is none of ours;
   * such a record is not counted as an execution and has to be reported with `addUnreadable`.
   */
  add(event: SysmonEvent, member: unknown, source: string): boolean {
    const verdict = parseVirustotalMember(member);
    if (verdict === undefined) return false;
    this.#findings = undefined;
    const at = timeOf(event);
    this.#executions++;
    this.#executionsByVerdict[verdict.verdict]++;
    this.#timeline.add(at, verdict.verdict);
    const atMs = at?.getTime();
    this.#firstRunMs = least(this.#firstRunMs, atMs);
    this.#lastRunMs = greatest(this.#lastRunMs, atMs);
    const host = this.#hostNumber(event.computer);
    if (host === undefined) this.#withoutHost++;
    else this.#hostExecutions[host] = (this.#hostExecutions[host] ?? 0) + 1;
    if (verdict.lookupKey === undefined) {
      this.#executionsWithoutHash++;
      const reason = verdict.reason ?? 'no_hash';
      this.#withoutHash.set(reason, (this.#withoutHash.get(reason) ?? 0) + 1);
      return true;
    }
    const file = this.#fileOf(verdict);
    file.executions++;
    if (host !== undefined) file.hosts.add(host);
    file.firstRunMs = least(file.firstRunMs, atMs);
    file.lastRunMs = greatest(file.lastRunMs, atMs);
    if (file.image === '') file.image = keepText(event.data.get('Image') ?? '');
    if (file.verdict.verdict !== 'undetected' && file.verdict.verdict !== 'unchecked') {
      this.#addDetails(file, event, source);
    }
    return true;
  }

  /** Notes a line that is no enriched record, with its place for people. */
  addUnreadable(place: string): void {
    this.#unreadableLines++;
    if (this.#unreadableExamples.length < MAX_EXAMPLES) this.#unreadableExamples.push(place);
  }

  /** Notes an enriched file that was read to its end. */
  addFile(): void {
    this.#enrichedFiles++;
  }

  /** Notes an enriched file or context that cannot be read. */
  addFailure(path: string, message: string): void {
    this.#failures.push({ path, message });
  }

  /** Whether there was no file of enriched records at all. */
  get isEmpty(): boolean {
    return this.#enrichedFiles === 0;
  }

  /** What could not be read. */
  get failures(): readonly { readonly path: string; readonly message: string }[] {
    return this.#failures;
  }

  /** The enriched files whose context records the stories need, in the order they were met. Ends the adding of records. */
  sourcesWithStories(): string[] {
    return [...new Set(this.#storyProcesses().map(({ source }) => source))];
  }

  /** Notes that the context of this enriched file is there; its records follow with `addContext`. */
  startContext(source: string): void {
    this.#sourcesWithContext.add(source);
  }

  /** Adds one context record; `member` is its `virustotal` member, which process creations have. */
  addContext(event: SysmonEvent, member: unknown): void {
    this.#stories ??= new Stories(this.#storyProcesses().flatMap(({ process }) => process.key ?? []));
    this.#stories.add(event, member);
  }

  /** The report; compared with an older set where there is one. The same records in the same order give the same report. */
  summarise(before?: EnrichedSet): Report {
    const states = this.#states();
    const filesByVerdict = noCounts();
    for (const { verdict } of states) filesByVerdict[verdict.verdict]++;
    const flagged = this.#flagged();
    const unknown = states.filter(({ verdict }) => verdict.verdict === 'unknown');
    const leads = firstInOrder(unknown, MAX_LEADS, byRarity);
    const findings = this.#worst().map((state, index) => this.#finding(state, index, before));
    const flaggedHosts = new Set<number>();
    for (const { hosts } of flagged) for (const [host] of hosts.entries()) flaggedHosts.add(host);
    return {
      headline: this.#headline(flagged, filesByVerdict, flaggedHosts.size),
      ...present('firstRun', dateOf(this.#firstRunMs)),
      ...present('lastRun', dateOf(this.#lastRunMs)),
      executions: this.#executions,
      executionsWithoutHash: this.#executionsWithoutHash,
      executionsByVerdict: this.#executionsByVerdict,
      files: states.length,
      filesByVerdict,
      timeline: this.#timeline.timeline(),
      hostCount: this.#hostNames.length,
      hosts: this.#hostSummaries(states),
      findings,
      findingsTotal: flagged.length,
      leads: leads.map((state) => this.#reported(state)),
      leadsTotal: unknown.length,
      coverage: this.#coverage(states),
      ...(before === undefined ? {} : { comparison: this.#comparison(before, states) }),
    };
  }

  #hostNumber(computer: string | undefined): number | undefined {
    if (!isValue(computer)) return undefined;
    const kept = keepText(computer);
    const name = kept.toLowerCase();
    const known = this.#hostNumbers.get(name);
    if (known !== undefined) return known;
    const number = this.#hostNames.length;
    this.#hostNumbers.set(name, number);
    this.#hostNames.push(kept);
    return number;
  }

  #addDetails(file: FileState, event: SysmonEvent, source: string): void {
    const { data } = event;
    const isBad = isFlagged(file.verdict.verdict);
    if (file.details === undefined) {
      const last = isBad ? this.#lastFinding : this.#lastLead;
      if (last !== undefined && (isBad ? byBadness : byRarity)(file, last) > 0) return;
      this.#detailed.push(file);
      if (this.#detailed.length > MAX_DETAILED_FILES) this.#dropDetails();
      const claim = (name: string): string | undefined => {
        const value = data.get(name);
        return isValue(value) ? keepText(value) : undefined;
      };
      file.details = {
        images: new ValueTally(8),
        users: new ValueTally(20),
        commandLines: new ValueTally(20),
        parents: new ValueTally(8),
        claims: {
          ...present('originalFileName', claim('OriginalFileName')),
          ...present('company', claim('Company')),
          ...present('product', claim('Product')),
          ...present('description', claim('Description')),
          ...present('fileVersion', claim('FileVersion')),
        },
        processes: [],
      };
    }
    const { details } = file;
    for (const [tally, name] of [
      [details.images, 'Image'],
      [details.users, 'User'],
      [details.commandLines, 'CommandLine'],
      [details.parents, 'ParentImage'],
    ] as const) {
      const value = data.get(name);
      if (isValue(value)) tally.add(value);
    }
    if (!isBad) return;
    const onOtherHosts = new Set(details.processes.map(({ process }) => process.host));
    const isNewHost = !onOtherHosts.has(event.computer ?? '');
    if (details.processes.length < 2 * MAX_STORIES_OF_FILE || (isNewHost && onOtherHosts.size < MAX_STORIES_OF_FILE)) {
      details.processes = details.processes.concat({ process: readProcess(event), source });
    }
  }

  /** Drops the details of files that would not be listed if this were the end. One that comes to be listed is told of from then on. */
  #dropDetails(): void {
    const detailed = this.#detailed.filter(({ mergedInto }) => mergedInto === undefined);
    const flagged = detailed.filter(({ verdict }) => isFlagged(verdict.verdict)).sort(byBadness);
    const others = detailed.filter(({ verdict }) => !isFlagged(verdict.verdict)).sort(byRarity);
    for (const file of [...flagged.splice(MAX_FINDINGS), ...others.splice(MAX_LEADS)]) file.details = undefined;
    if (flagged.length === MAX_FINDINGS) this.#lastFinding = flagged.at(-1);
    if (others.length === MAX_LEADS) this.#lastLead = others.at(-1);
    this.#detailed = [...flagged, ...others];
  }

  /** The state of the file that a member names. Any digest finds it, and a member that joins two of them makes them one. */
  #fileOf(verdict: FileVerdict): FileState {
    let file: FileState | undefined;
    for (const algorithm of LOOKUP_ALGORITHMS) {
      const digest = verdict.hashes[algorithm];
      const known = digest === undefined ? undefined : currentOf(this.#byDigest.get(digest));
      if (known === undefined || known === file) continue;
      if (file === undefined) file = known;
      else merge(file, known);
    }
    if (file === undefined) {
      file = {
        verdict: keepVerdict(verdict),
        image: '',
        executions: 0,
        hosts: new HostTally(),
        firstRunMs: undefined,
        lastRunMs: undefined,
        details: undefined,
        mergedInto: undefined,
      };
      this.#files.push(file);
    } else {
      file.verdict = newer(file.verdict, keepVerdict(verdict));
    }
    for (const algorithm of LOOKUP_ALGORITHMS) {
      const digest = verdict.hashes[algorithm];
      if (digest !== undefined && this.#byDigest.get(digest) !== file) this.#byDigest.set(digest, file);
    }
    return file;
  }

  #find(verdict: Pick<FileVerdict, 'hashes'>): FileState | undefined {
    for (const algorithm of LOOKUP_ALGORITHMS) {
      const digest = verdict.hashes[algorithm];
      const known = digest === undefined ? undefined : currentOf(this.#byDigest.get(digest));
      if (known !== undefined) return known;
    }
    return undefined;
  }

  #states(): FileState[] {
    return this.#files.filter(({ mergedInto }) => mergedInto === undefined);
  }

  #flagged(): FileState[] {
    return this.#states().filter(({ verdict }) => isFlagged(verdict.verdict));
  }

  /** The flagged files that are listed, worst first. */
  #worst(): FileState[] {
    this.#findings ??= firstInOrder(this.#flagged(), MAX_FINDINGS, byBadness);
    return this.#findings;
  }

  #storyProcesses(): SeenProcess[] {
    return this.#worst()
      .slice(0, MAX_STORY_FINDINGS)
      .flatMap(({ details }) => storyProcesses(details));
  }

  #reported(state: FileState): ReportedFile {
    const { details, executions } = state;
    const images = details?.images.outOf(executions);
    const none = { listed: [], unlistedExecutions: executions };
    const hosts = [...state.hosts.entries()]
      .map(([host, count]) => ({ value: this.#hostNames[host] ?? '', executions: count }))
      .sort((a, b) => b.executions - a.executions || compareText(a.value, b.value));
    const listedHosts = hosts.slice(0, MAX_HOSTS_OF_FILE);
    return {
      id: idOf(state.verdict),
      file: verdictOf(state.verdict),
      image: images?.listed[0]?.value ?? state.image,
      images: images ?? none,
      executions,
      hostCount: hosts.length,
      hosts: {
        listed: listedHosts,
        unlistedExecutions: executions - listedHosts.reduce((sum, host) => sum + host.executions, 0),
      },
      users: details?.users.outOf(executions) ?? none,
      commandLines: details?.commandLines.outOf(executions) ?? none,
      parents: details?.parents.outOf(executions) ?? none,
      ...present('firstRun', dateOf(state.firstRunMs)),
      ...present('lastRun', dateOf(state.lastRunMs)),
      claims: details?.claims ?? {},
    };
  }

  #finding(state: FileState, index: number, before: EnrichedSet | undefined): Finding {
    const told = index < MAX_STORY_FINDINGS ? storyProcesses(state.details) : [];
    const own = { file: verdictOf(state.verdict), findingId: idOf(state.verdict) };
    const stories = told.map(({ process, source }) => this.#story(process, source, own));
    stories.sort((a, b) => (a.process.startedAt?.getTime() ?? 0) - (b.process.startedAt?.getTime() ?? 0));
    return {
      ...this.#reported(state),
      ...present('change', before === undefined ? undefined : changeOf(before.#find(state.verdict), state)),
      stories,
      untoldExecutions: state.executions - stories.length,
    };
  }

  #story(seen: KnownProcess, source: string, own: Identification): Story {
    this.#stories ??= new Stories([]);
    const subject = { ...seen, process: { ...seen.process, ...own } };
    return this.#stories.tell(subject, this.#sourcesWithContext.has(source), (member) => this.#identify(member));
  }

  /** The set's own verdict on a process's image goes before that of its context record, which may be older. */
  #identify(member: unknown): Identification {
    const verdict = parseVirustotalMember(member);
    if (verdict === undefined) return {};
    const state = this.#find(verdict);
    if (state === undefined) return { file: verdict };
    return {
      file: verdictOf(state.verdict),
      ...(isFlagged(state.verdict.verdict) ? { findingId: idOf(state.verdict) } : {}),
    };
  }

  #headline(flagged: readonly FileState[], filesByVerdict: MutableCounts, hostCount: number): string {
    const { malicious, suspicious, unknown, unchecked } = filesByVerdict;
    if (flagged.length > 0) {
      const kinds = [
        malicious > 0 ? `${malicious} malicious` : '',
        suspicious > 0 ? `${suspicious} suspicious` : '',
      ].filter((kind) => kind !== '');
      const where = this.#hostNames.length === 0 ? '' : ` on ${hostCount} of ${plural(this.#hostNames.length, 'host')}`;
      const first = dateOf(
        flagged.reduce<number | undefined>((min, { firstRunMs }) => least(min, firstRunMs), undefined),
      );
      const when = first === undefined ? '' : `, first ${this.#whenText(first)}`;
      return `${kinds.join(' and ')} ${flagged.length === 1 ? 'image' : 'images'}${where}${when}`;
    }
    if (this.#executions === 0) return 'No process creations in these records';
    const open = [
      unknown > 0 ? `${unknown} unknown to VirusTotal` : '',
      unchecked > 0 ? `${unchecked} not checked` : '',
    ].filter((part) => part !== '');
    const rest = open.length === 0 ? '' : `; ${open.join(', ')}`;
    return `No image with detections among ${plural(this.#states().length, 'file')}${rest}`;
  }

  /** The time alone where all records are of one day, else with its date. */
  #whenText(time: Date): string {
    const [day = '', clock = ''] = time.toISOString().split('T');
    const isOneDay = [this.#firstRunMs, this.#lastRunMs].every((ms) => dateOf(ms)?.toISOString().slice(0, 10) === day);
    return `${isOneDay ? '' : `${day} `}${clock.slice(0, 5)} UTC`;
  }

  #hostSummaries(states: readonly FileState[]): HostSummary[] {
    const files = this.#hostNames.map(() => noCounts());
    for (const { hosts, verdict } of states) {
      for (const [host] of hosts.entries()) {
        const counts = files[host];
        if (counts !== undefined) counts[verdict.verdict]++;
      }
    }
    return this.#hostNames
      .map((host, number) => ({
        host,
        executions: this.#hostExecutions[number] ?? 0,
        files: files[number] ?? noCounts(),
      }))
      .sort(
        (a, b) =>
          b.files.malicious - a.files.malicious ||
          b.files.suspicious - a.files.suspicious ||
          b.files.unknown - a.files.unknown ||
          b.executions - a.executions ||
          compareText(a.host, b.host),
      )
      .slice(0, MAX_HOSTS);
  }

  #coverage(states: readonly FileState[]): Coverage {
    const unanswered = new Map<Reason, { files: number; executions: number }>();
    for (const [reason, executions] of this.#withoutHash) unanswered.set(reason, { files: 0, executions });
    let staleFiles = 0;
    let oldestMs: number | undefined;
    let newestMs: number | undefined;
    for (const { verdict, executions } of states) {
      oldestMs = least(oldestMs, verdict.checkedAtMs);
      newestMs = greatest(newestMs, verdict.checkedAtMs);
      if (verdict.stale) staleFiles++;
      const reason = verdict.reason ?? (verdict.verdict === 'unchecked' ? 'waiting' : undefined);
      if (reason === undefined) continue;
      const sum = unanswered.get(reason) ?? { files: 0, executions: 0 };
      unanswered.set(reason, { files: sum.files + 1, executions: sum.executions + executions });
    }
    const missing = this.sourcesWithStories().filter((source) => !this.#sourcesWithContext.has(source));
    return {
      enrichedFiles: this.#enrichedFiles,
      failures: this.#failures,
      unreadableLines: this.#unreadableLines,
      unreadableExamples: this.#unreadableExamples,
      unanswered: [...unanswered]
        .map(([reason, sums]) => ({ reason, ...sums }))
        .sort((a, b) => b.executions - a.executions || compareText(a.reason, b.reason)),
      staleFiles,
      ...present('oldestAnswer', dateOf(oldestMs)),
      ...present('newestAnswer', dateOf(newestMs)),
      contextMissing: missing.slice(0, MAX_MISSING_CONTEXTS),
      contextMissingTotal: missing.length,
      withoutHost: this.#withoutHost,
    };
  }

  #comparison(before: EnrichedSet, states: readonly FileState[]): Comparison {
    const changed: ComparedFile[] = [];
    let newFindings = 0;
    let newUnknown = 0;
    for (const state of states) {
      const old = before.#find(state.verdict);
      if (old === undefined) {
        if (isFlagged(state.verdict.verdict)) newFindings++;
        if (state.verdict.verdict === 'unknown') newUnknown++;
      } else if (old.verdict.verdict !== state.verdict.verdict) {
        changed.push({ ...comparedFile(state), before: countsOf(old.verdict), now: countsOf(state.verdict) });
      }
    }
    const gone = before.#flagged().filter((old) => this.#find(old.verdict) === undefined);
    changed.sort(
      (a, b) =>
        rankOf(a.now?.verdict ?? a.before.verdict) - rankOf(b.now?.verdict ?? b.before.verdict) ||
        (b.now?.detections ?? 0) - (a.now?.detections ?? 0) ||
        compareText(a.id, b.id),
    );
    return {
      before: {
        ...present('first', dateOf(before.#firstRunMs)),
        ...present('last', dateOf(before.#lastRunMs)),
        files: before.#states().length,
        executions: before.#executions,
      },
      newFindings,
      newUnknown,
      newHosts: [...this.#hostNumbers.keys()].filter((host) => !before.#hostNumbers.has(host)).length,
      changed: changed.slice(0, MAX_COMPARED),
      changedTotal: changed.length,
      gone: firstInOrder(gone, MAX_COMPARED, byBadness).map((old) => ({
        ...comparedFile(old),
        before: countsOf(old.verdict),
      })),
      goneTotal: gone.length,
    };
  }
}

/** Whether engines on VirusTotal detect the file, so that it is a finding. */
export function isFlagged(verdict: VerdictName): boolean {
  return verdict === 'malicious' || verdict === 'suspicious';
}

/** `1 host`, `214 hosts`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** The processes whose story is told: one of each host first, then more of the same. */
function storyProcesses(details: FileDetails | undefined): SeenProcess[] {
  const processes = details?.processes ?? [];
  const hosts = new Set<string>();
  const firsts: SeenProcess[] = [];
  const others: SeenProcess[] = [];
  for (const seen of processes) {
    (hosts.has(seen.process.host) ? others : firsts).push(seen);
    hosts.add(seen.process.host);
  }
  return [...firsts, ...others].slice(0, MAX_STORIES_OF_FILE);
}

function currentOf(file: FileState | undefined): FileState | undefined {
  let current = file;
  while (current?.mergedInto !== undefined) current = current.mergedInto;
  return current;
}

/** Makes `file` hold what `other` held: they turned out to be one. */
function merge(file: FileState, other: FileState): void {
  other.mergedInto = file;
  file.verdict = newer(file.verdict, other.verdict);
  file.image = file.image === '' ? other.image : file.image;
  file.executions += other.executions;
  for (const [host, executions] of other.hosts.entries()) file.hosts.add(host, executions);
  file.firstRunMs = least(file.firstRunMs, other.firstRunMs);
  file.lastRunMs = greatest(file.lastRunMs, other.lastRunMs);
  if (file.details === undefined) {
    file.details = other.details;
  } else if (other.details !== undefined) {
    for (const tally of ['images', 'users', 'commandLines', 'parents'] as const) {
      file.details[tally].addAll(other.details[tally]);
    }
    file.details.processes = [...file.details.processes, ...other.details.processes].slice(0, 2 * MAX_STORIES_OF_FILE);
  }
}

/** The newer of two answers about one file; an answer goes before none, of equally old ones the worse. All digests are kept. */
function newer(a: KeptVerdict, b: KeptVerdict): KeptVerdict {
  const timeA = a.checkedAtMs ?? -1;
  const timeB = b.checkedAtMs ?? -1;
  const isLater = timeB > timeA || (timeB === timeA && rankOf(b.verdict) < rankOf(a.verdict));
  const kept = isLater ? b : a;
  const dropped = isLater ? a : b;
  const isComplete = LOOKUP_ALGORITHMS.every((name) => dropped.hashes[name] === undefined || kept.hashes[name]);
  return isComplete ? kept : { ...kept, hashes: { ...dropped.hashes, ...kept.hashes } };
}

function idOf({ hashes }: KeptVerdict): string {
  return hashes.sha256 ?? hashes.sha1 ?? hashes.md5 ?? '';
}

function byBadness(a: FileState, b: FileState): number {
  return (
    rankOf(a.verdict.verdict) - rankOf(b.verdict.verdict) ||
    (b.verdict.detections ?? 0) - (a.verdict.detections ?? 0) ||
    b.hosts.size - a.hosts.size ||
    b.executions - a.executions ||
    compareText(idOf(a.verdict), idOf(b.verdict))
  );
}

function byRarity(a: FileState, b: FileState): number {
  return (
    a.hosts.size - b.hosts.size ||
    a.executions - b.executions ||
    (a.firstRunMs ?? 0) - (b.firstRunMs ?? 0) ||
    compareText(idOf(a.verdict), idOf(b.verdict))
  );
}

function changeOf(old: FileState | undefined, state: FileState): FindingChange | undefined {
  if (old === undefined) return { kind: 'new' };
  if (old.verdict.verdict === state.verdict.verdict) return undefined;
  const { verdict, detections, engines } = old.verdict;
  return { kind: 'changed', from: verdict, ...present('detections', detections), ...present('engines', engines) };
}

function comparedFile(state: FileState): Pick<ComparedFile, 'id' | 'image'> {
  return { id: idOf(state.verdict), image: state.image };
}

function countsOf({ verdict, detections, engines }: KeptVerdict): ComparedFile['before'] {
  return { verdict, ...present('detections', detections), ...present('engines', engines) };
}

/** By code units: the order must not depend on the machine's language. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || (b !== undefined && b < a) ? b : a;
}

function greatest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a;
}
