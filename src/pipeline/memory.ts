import type { EventGlance } from '../event.js';
import { addSighting, emptyEvidence, type FileEvidence } from '../evidence.js';
import type { SightingStore } from '../sightings/index.js';

/** Files whose evidence is gathered before it goes to the store: some 5 kB each. */
const MAX_GATHERED = 4_000;

/** Where a run gathers its sightings before, and finds all sightings after, they are in the store. */
export class Memory {
  readonly #store: Pick<SightingStore, 'read' | 'add'>;
  #gathered = new Map<string, FileEvidence>();

  constructor(store: Pick<SightingStore, 'read' | 'add'>) {
    this.#store = store;
  }

  /** Adds one process creation of a file. Adding it again, in this run or another, changes nothing. */
  add(hash: string, event: EventGlance, logName: string): void {
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

  /** Moves all that was gathered to the store. */
  async flush(): Promise<void> {
    const seen = this.#gathered;
    this.#gathered = new Map();
    await this.#store.add(seen);
  }

  /** All that is known of these files, some thousands at a time, in no order. Only after `flush`. */
  evidenceOf(hashes: Iterable<string>): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    return this.#store.read(hashes);
  }
}
