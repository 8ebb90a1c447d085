import { type ProcessKey, processesOf, processKey } from '../context.js';
import { PROCESS_CREATION, type SysmonEvent } from '../event.js';
import { timeOf } from './event-time.js';
import { present } from './present.js';
import type { StepKind, Story, StoryProcess, StoryStep } from './report.js';
import { isValue, keepText } from './tallies.js';

/** A process whose creation is known, and who started it. */
export interface KnownProcess {
  readonly key: ProcessKey | undefined;
  readonly parentKey: ProcessKey | undefined;
  readonly host: string;
  readonly process: StoryProcess;
  /** What its record says of the process that started it. */
  readonly parent: StoryProcess | undefined;
}

/** Reads a process creation; its file's verdict is added when the story is told. */
export function readProcess(event: SysmonEvent): KnownProcess {
  const field = (name: string): string | undefined => {
    const value = event.data.get(name);
    return isValue(value) ? keepText(value) : undefined;
  };
  const startedAt = timeOf(event);
  // A member that is always there comes first: V8 makes a hidden class of its own for every object that starts with a spread.
  const process = {
    image: field('Image') ?? '',
    ...present('guid', field('ProcessGuid')),
    ...present('pid', field('ProcessId')),
    ...present('commandLine', field('CommandLine')),
    ...present('user', field('User')),
    ...present('startedAt', startedAt),
  };
  const parentImage = field('ParentImage');
  return {
    key: processKey(event.computer, event.data.get('ProcessGuid')),
    parentKey: processKey(event.computer, event.data.get('ParentProcessGuid')),
    host: event.computer ?? '',
    process,
    parent:
      parentImage === undefined
        ? undefined
        : {
            image: parentImage,
            ...present('guid', field('ParentProcessGuid')),
            ...present('pid', field('ParentProcessId')),
            ...present('commandLine', field('ParentCommandLine')),
            ...present('user', field('ParentUser')),
          },
  };
}

/** So many steps of one kind are told of one process; a process can open thousands of others. */
const MAX_STEPS_PER_KIND = 50;
const MAX_ANCESTORS = 32;
const MAX_CHILDREN = 50;
/** Process creations of contexts that are held at once; a process that starts more is counted, not drawn. */
const MAX_CREATIONS = 50_000;

interface Timeline {
  readonly steps: StoryStep[];
  readonly toldByKind: Map<StepKind, number>;
  unlisted: number;
  endedAt: Date | undefined;
}

/** What is said of a process's image, and which finding it is. */
export type Identification = Pick<StoryProcess, 'file' | 'findingId'>;

/** Collects the context records of some processes and tells their stories. */
export class Stories {
  readonly #timelines = new Map<ProcessKey, Timeline>();
  readonly #creations = new Map<ProcessKey, KnownProcess & { readonly member: unknown }>();
  readonly #childrenOf = new Map<ProcessKey, ProcessKey[]>();
  readonly #uncounted = new Map<ProcessKey, number>();

  constructor(processes: Iterable<ProcessKey>) {
    for (const key of processes) {
      this.#timelines.set(key, { steps: [], toldByKind: new Map(), unlisted: 0, endedAt: undefined });
    }
  }

  /** Takes a context record; `member` is its `virustotal` member, which process creations have. */
  add(event: SysmonEvent, member: unknown): void {
    if (event.eventId === PROCESS_CREATION) {
      this.#addCreation(event, member);
      return;
    }
    const { actor, target } = processesOf(event);
    for (const [key, isActor] of [
      [actor, true],
      [target === actor ? undefined : target, false],
    ] as const) {
      const timeline = key === undefined ? undefined : this.#timelines.get(key);
      const step = timeline === undefined ? undefined : readStep(event, isActor);
      if (timeline === undefined || step === undefined) continue;
      if (step.kind === 'ended') timeline.endedAt = step.at;
      const told = timeline.toldByKind.get(step.kind) ?? 0;
      timeline.toldByKind.set(step.kind, told + 1);
      if (told < MAX_STEPS_PER_KIND) timeline.steps.push(step);
      else timeline.unlisted++;
    }
  }

  /** The story of one process. `identify` says what is known of a process's image from its `virustotal` member. */
  tell(subject: KnownProcess, hasContext: boolean, identify: (member: unknown) => Identification): Story {
    const named = (process: KnownProcess & { readonly member: unknown }): StoryProcess => ({
      ...process.process,
      ...identify(process.member),
    });
    const ancestors: StoryProcess[] = [];
    const seen = new Set<ProcessKey>(subject.key === undefined ? [] : [subject.key]);
    for (let process: KnownProcess = subject; ancestors.length < MAX_ANCESTORS; ) {
      const { parentKey } = process;
      const parent = parentKey === undefined || seen.has(parentKey) ? undefined : this.#creations.get(parentKey);
      if (parent === undefined || parentKey === undefined) {
        // The chain ends where no record of the parent was kept; what its child says of it is all there is.
        if (process.parent !== undefined && (parentKey === undefined || !seen.has(parentKey))) {
          ancestors.unshift(process.parent);
        }
        break;
      }
      seen.add(parentKey);
      ancestors.unshift(named(parent));
      process = parent;
    }
    const childKeys = (subject.key === undefined ? undefined : this.#childrenOf.get(subject.key)) ?? [];
    const children = childKeys.flatMap((key) => {
      const child = this.#creations.get(key);
      return child === undefined ? [] : [named(child)];
    });
    children.sort((a, b) => (a.startedAt?.getTime() ?? 0) - (b.startedAt?.getTime() ?? 0));
    const timeline = subject.key === undefined ? undefined : this.#timelines.get(subject.key);
    const steps = [
      ...(timeline?.steps ?? []),
      ...children.slice(0, MAX_CHILDREN).map(
        (child): StoryStep => ({
          ...present('at', child.startedAt),
          eventId: PROCESS_CREATION,
          kind: 'started_child',
          object: child.image,
          ...present('detail', child.commandLine),
        }),
      ),
    ].sort((a, b) => timeOrEnd(a) - timeOrEnd(b) || Number(a.kind === 'ended') - Number(b.kind === 'ended'));
    return {
      host: subject.host,
      process: subject.process,
      ancestors,
      children: children.slice(0, MAX_CHILDREN),
      unlistedChildren:
        Math.max(0, children.length - MAX_CHILDREN) +
        (subject.key === undefined ? 0 : (this.#uncounted.get(subject.key) ?? 0)),
      ...present('endedAt', timeline?.endedAt),
      steps,
      unlistedSteps: timeline?.unlisted ?? 0,
      hasContext,
    };
  }

  #addCreation(event: SysmonEvent, member: unknown): void {
    const process = readProcess(event);
    const { key, parentKey } = process;
    if (key === undefined || this.#creations.has(key)) return;
    if (this.#creations.size >= MAX_CREATIONS) {
      if (parentKey !== undefined && this.#timelines.has(parentKey)) {
        this.#uncounted.set(parentKey, (this.#uncounted.get(parentKey) ?? 0) + 1);
      }
      return;
    }
    this.#creations.set(key, { ...process, member });
    if (parentKey === undefined || !this.#timelines.has(parentKey)) return;
    const siblings = this.#childrenOf.get(parentKey);
    if (siblings === undefined) this.#childrenOf.set(parentKey, [key]);
    else siblings.push(key);
  }
}

function timeOrEnd(step: StoryStep): number {
  return step.at?.getTime() ?? Number.MAX_SAFE_INTEGER;
}

/** Reads one event as a step of a process's story, `isActor` where it acted; undefined for events that tell none. The process itself is no object. */
function readStep(event: SysmonEvent, isActor: boolean): StoryStep | undefined {
  const { data } = event;
  const field = (name: string): string | undefined => {
    const value = data.get(name);
    return isValue(value) ? keepText(value) : undefined;
  };
  const join = (...parts: (string | undefined)[]): string | undefined => {
    const kept = parts.filter((part) => part !== undefined);
    return kept.length === 0 ? undefined : kept.join(', ');
  };
  const labelled = (label: string, value: string | undefined): string | undefined =>
    value === undefined ? undefined : `${label} ${value}`;
  const step = (kind: StepKind, object: string | undefined, detail?: string): StoryStep => ({
    ...present('at', timeOf(event)),
    eventId: event.eventId,
    kind,
    object: object ?? '',
    ...present('detail', detail),
  });
  const image = field(isActor ? 'TargetImage' : 'SourceImage');
  switch (event.eventId) {
    case 2:
      return step(
        'changed_time',
        field('TargetFilename'),
        join(labelled('from', field('PreviousCreationUtcTime')), labelled('to', field('CreationUtcTime'))),
      );
    case 3: {
      const isOutbound = field('Initiated')?.toLowerCase() !== 'false';
      const end = isOutbound ? 'Destination' : 'Source';
      const port = isOutbound ? field('DestinationPort') : field('SourcePort');
      const address = field(`${end}Ip`) ?? '';
      const host = address.includes(':') ? `[${address}]` : address;
      return step(
        isOutbound ? 'connected' : 'accepted',
        port === undefined ? host : `${host}:${port}`,
        join(
          field(`${end}Hostname`),
          field('Protocol'),
          isOutbound ? undefined : labelled('on port', field('DestinationPort')),
        ),
      );
    }
    case 5:
      return step('ended', undefined);
    case 8:
      return step(
        isActor ? 'injected_thread' : 'got_thread',
        image,
        join(labelled('at', field('StartAddress')), labelled('in', field('StartModule')), field('StartFunction')),
      );
    case 10:
      return step(isActor ? 'opened_process' : 'was_opened', image, labelled('access', field('GrantedAccess')));
    case 11:
      return step('created_file', field('TargetFilename'));
    case 15:
      return step('created_stream', field('TargetFilename'), join(field('Hash'), field('Contents')));
    case 22:
      return step('resolved', field('QueryName'), labelled('answer', field('QueryResults')));
    case 23:
      return step('deleted_file', field('TargetFilename'), field('Hashes'));
    case 25:
      return step('was_tampered', undefined, field('Type'));
    default:
      return undefined;
  }
}

/** How a step reads in a sentence before its object. */
export const STEP_TEXTS: { readonly [kind in StepKind]: string } = {
  started_child: 'started',
  connected: 'connected to',
  accepted: 'accepted a connection from',
  resolved: 'looked up',
  created_file: 'created',
  created_stream: 'created the stream',
  deleted_file: 'deleted',
  changed_time: 'changed the creation time of',
  injected_thread: 'started a thread in',
  got_thread: 'got a thread from',
  opened_process: 'opened the process',
  was_opened: 'was opened by',
  was_tampered: 'was changed in memory',
  ended: 'ended',
};
