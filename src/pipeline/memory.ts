import type { SysmonEvent } from '../event.js';
import { addSighting, emptyEvidence, type FileEvidence, mergeEvidence } from '../evidence.js';
import type { SightingStore } from '../sightings/index.js';

/** Files whose evidence is gathered before it goes to the store: some 5 kB each. */
const MAX_GATHERED = 4_000;

/** Where a run gathers its sightings before, and finds all sightings after, they are in the store. */
export class Memory {
  readonly #store: SightingStore;
  readonly #isReadOnly: boolean;
  #gathered = new Map<string, FileEvidence>();

  /** With `isReadOnly`, what is gathered stays here and the store as it is. */
  constructor(store: SightingStore, isReadOnly = false) {
    this.#store = store;
    this.#isReadOnly = isReadOnly;
  }

  /** Adds one process creation of a file. Adding it again, in this run or another, changes nothing. */
  add(hash: string, event: SysmonEvent, logName: string): void {
    let evidence = this.#gathered.get(hash);
    if (evidence === undefined) {
      evidence = emptyEvidence();
      this.#gathered.set(hash, evidence);
    }
    addSighting(evidence, event, logName);
  }

  /** Moves what was gathered to the store where it has grown too much. */
  async makeRoom(): Promise<void> {
    if (this.#gathered.size >= MAX_GATHERED) await this.flush();
  }

  /** Moves all that was gathered to the store; durable once resolved. */
  async flush(): Promise<void> {
    if (this.#isReadOnly) return;
    const seen = this.#gathered;
    this.#gathered = new Map();
    await this.#store.add(seen);
  }

  /** All that is known of these files, some thousands at a time, in no order. Only after `flush`. */
  async *evidenceOf(hashes: Iterable<string>): AsyncGenerator<ReadonlyMap<string, FileEvidence>> {
    if (!this.#isReadOnly) {
      yield* this.#store.read(hashes);
      return;
    }
    const wanted = new Set(hashes);
    const found = new Set<string>();
    for await (const stored of this.#store.read(wanted)) {
      const all = new Map(stored);
      for (const [hash, evidence] of stored) {
        const gathered = this.#gathered.get(hash);
        found.add(hash);
        if (gathered === undefined) continue;
        mergeEvidence(gathered, evidence);
        all.set(hash, gathered);
      }
      yield all;
    }
    yield new Map([...this.#gathered].filter(([hash]) => wanted.has(hash) && !found.has(hash)));
  }
}
