import type { SysmonEvent } from '../event.js';
import { addSighting, emptyEvidence, type FileEvidence, mergeEvidence } from '../evidence.js';
import type { SightingStore } from '../sightings/index.js';

/** Files whose evidence is gathered before it goes to the store: some 5 kB each. */
const MAX_GATHERED = 4_000;

/** Files whose evidence is read back at a time. */
const BATCH = 2_000;

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

  /** All that is known of these files, a batch at a time. Only after `flush`. */
  async *evidenceOf(hashes: readonly string[]): AsyncGenerator<ReadonlyMap<string, FileEvidence>> {
    // Sorted, so that a batch meets few of the store's files.
    const sorted = [...hashes].sort();
    for (let start = 0; start < sorted.length; start += BATCH) {
      const batch = sorted.slice(start, start + BATCH);
      const stored = await this.#store.getMany(batch);
      yield this.#isReadOnly ? this.#withGathered(batch, stored) : stored;
    }
  }

  #withGathered(
    hashes: readonly string[],
    stored: ReadonlyMap<string, FileEvidence>,
  ): ReadonlyMap<string, FileEvidence> {
    const all = new Map(stored);
    for (const hash of hashes) {
      const gathered = this.#gathered.get(hash);
      if (gathered === undefined) continue;
      const known = all.get(hash);
      if (known === undefined) all.set(hash, gathered);
      else mergeEvidence(known, gathered);
    }
    return all;
  }
}
