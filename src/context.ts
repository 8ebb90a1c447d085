import { PROCESS_CREATION, type SysmonEvent } from './event.js';

/** One process of one computer, as text that is equal exactly where the process is the same. */
export type ProcessKey = string;

const GUID = /^\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?$/i;
const ZERO_GUID = '0'.repeat(32);

/**
 * The key of a process: its computer and ProcessGuid without regard to case and braces, since tools write both in their own way.
 * Undefined for the zero GUID, which Sysmon gives to processes it did not see, and for what is no GUID.
 * A GUID is unique on its machine only (clones share them), hence the computer.
 */
export function processKey(computer: string | undefined, guid: string | undefined): ProcessKey | undefined {
  const parts = guid === undefined ? null : GUID.exec(guid.trim());
  if (parts === null) return undefined;
  const digits = parts.slice(1).join('').toLowerCase();
  return digits === ZERO_GUID ? undefined : `${digits} ${(computer ?? '').toLowerCase()}`;
}

/** How a record of an event names the processes it is about. */
export interface ProcessRoles {
  /** Who acted. */
  readonly actor?: ProcessKey;
  /** In events 8 and 10 the process acted upon. */
  readonly target?: ProcessKey;
}

/** The processes an event names, apart from the parent of event 1. Sysmon spells the fields of 8 and 10 in two ways. */
export function processesOf(event: SysmonEvent): ProcessRoles {
  const { computer, data, eventId } = event;
  const isBetween = eventId === 8 || eventId === 10;
  const actor = isBetween
    ? processKey(computer, data.get('SourceProcessGuid') ?? data.get('SourceProcessGUID'))
    : processKey(computer, data.get('ProcessGuid'));
  const target = isBetween
    ? processKey(computer, data.get('TargetProcessGuid') ?? data.get('TargetProcessGUID'))
    : undefined;
  return { ...(actor === undefined ? {} : { actor }), ...(target === undefined ? {} : { target }) };
}

/** Ids of the events that tell what a process did: times changed, network, end, threads, access, files, names, tampering. */
const DEEDS: ReadonlySet<number> = new Set([2, 3, 5, 8, 10, 11, 15, 22, 23, 25]);

/** Ids of all events that the second reading of a log needs. */
export const CONTEXT_EVENT_IDS: ReadonlySet<number> = new Set([PROCESS_CREATION, ...DEEDS]);

/** 32-bit words of one row of the index: the computer's number, the process's GUID, its parent's. */
const ROW_WORDS = 9;
const FIRST_ROWS = 1024;
/** 144 MB of index at most. No log of one night comes near; of a larger one the ancestors that started last are not found. */
const MAX_ROWS = 4_000_000;
/** Scans in both directions; each resolves at least one generation, in a real log all of them. */
const MAX_ROUNDS = 16;

/**
 * Who started whom in one log, 36 bytes a process. Filled by a first reading of the log's process creations;
 * `selectContext` then needs no more than a scan of it.
 */
export class ParentIndex {
  #rows = new Uint32Array(FIRST_ROWS * ROW_WORDS);
  #rowCount = 0;
  readonly #computers = new Map<string, number>();
  readonly #maxRows: number;
  #isFull = false;

  constructor(maxRows = MAX_ROWS) {
    this.#maxRows = maxRows;
  }

  /** Whether process creations had to be left out, so that chains of ancestors may end early. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Notes one process creation; any order will do. One without GUIDs says nothing about ancestry. */
  add(event: SysmonEvent): void {
    const child = processKey(event.computer, event.data.get('ProcessGuid'));
    const parent = processKey(event.computer, event.data.get('ParentProcessGuid'));
    if (child === undefined || parent === undefined) return;
    if (this.#rowCount === this.#maxRows) {
      this.#isFull = true;
      return;
    }
    const start = this.#rowCount * ROW_WORDS;
    if (start === this.#rows.length) {
      const grown = new Uint32Array(this.#rows.length * 2);
      grown.set(this.#rows);
      this.#rows = grown;
    }
    const computer = child.slice(child.indexOf(' ') + 1);
    let number = this.#computers.get(computer);
    if (number === undefined) {
      number = this.#computers.size;
      this.#computers.set(computer, number);
    }
    this.#rows[start] = number;
    for (let word = 0; word < 4; word++) {
      this.#rows[start + 1 + word] = Number.parseInt(child.slice(word * 8, word * 8 + 8), 16);
      this.#rows[start + 5 + word] = Number.parseInt(parent.slice(word * 8, word * 8 + 8), 16);
    }
    this.#rowCount++;
  }

  /** All ancestors of these processes. A process that is its own ancestor in a forged log ends the chain. */
  ancestorsOf(processes: Iterable<ProcessKey>): Set<ProcessKey> {
    const names = [...this.#computers.keys()];
    const wanted = new Set(processes);
    const firstWords = new Set<number>();
    for (const key of wanted) firstWords.add(Number.parseInt(key.slice(0, 8), 16));
    const ancestors = new Set<ProcessKey>();
    const visit = (row: number): void => {
      const start = row * ROW_WORDS;
      if (!firstWords.has(this.#rows[start + 1] ?? 0)) return;
      const computer = names[this.#rows[start] ?? 0] ?? '';
      if (!wanted.has(`${this.#digits(start + 1)} ${computer}`)) return;
      const parent = `${this.#digits(start + 5)} ${computer}`;
      ancestors.add(parent);
      wanted.add(parent);
      firstWords.add(this.#rows[start + 5] ?? 0);
    };
    // A parent stands before its child, so one scan from the end resolves whole chains; logs written newest first need the other way,
    // merged ones a few of both. Only a forged log needs more than that, and it must not keep us busy.
    for (let round = 0, known = -1; round < MAX_ROUNDS && known !== ancestors.size; round++) {
      known = ancestors.size;
      for (let row = this.#rowCount - 1; row >= 0; row--) visit(row);
      for (let row = 0; row < this.#rowCount; row++) visit(row);
    }
    return ancestors;
  }

  #digits(start: number): string {
    let digits = '';
    for (let word = start; word < start + 4; word++) {
      digits += (this.#rows[word] ?? 0).toString(16).padStart(8, '0');
    }
    return digits;
  }
}

/**
 * Which records of a log belong to the context of its flagged processes: what those did and suffered (events 2, 3, 5, 8, 10, 11, 15,
 * 22, 23, 25), and the process creations of their children and of all their ancestors. The answer depends on one record alone, so
 * the log is streamed through it once more. `parents` holds the log's process creations.
 */
export function selectContext(flagged: ReadonlySet<ProcessKey>, parents: ParentIndex): (event: SysmonEvent) => boolean {
  const ancestors = parents.ancestorsOf(flagged);
  return (event) => {
    if (event.eventId === PROCESS_CREATION) {
      const own = processKey(event.computer, event.data.get('ProcessGuid'));
      if (own !== undefined && ancestors.has(own)) return true;
      const parent = processKey(event.computer, event.data.get('ParentProcessGuid'));
      return parent !== undefined && flagged.has(parent);
    }
    if (!DEEDS.has(event.eventId)) return false;
    const { actor, target } = processesOf(event);
    return (actor !== undefined && flagged.has(actor)) || (target !== undefined && flagged.has(target));
  };
}
