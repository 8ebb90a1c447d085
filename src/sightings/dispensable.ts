import { EnrichmentError, systemCodeOf } from '../errors.js';
import type { FileEvidence } from '../evidence.js';
import { storageError } from '../storage/storage-error.js';
import type { SightingStore, SightingsApart, WaitingChange } from './index.js';
import { WaitingFiles } from './waiting.js';

/**
 * Sightings that a run can do without: trouble with the store is told once, by `onFailure`, and from then on nothing is remembered and
 * nothing kept, so that no half of a memory passes for a whole one. Its methods reject with defects only.
 */
export class DispensableSightings implements SightingStore {
  readonly #store: SightingStore;
  readonly #onFailure: (failure: EnrichmentError) => void;
  #isLost = false;

  constructor(store: SightingStore, onFailure: (failure: EnrichmentError) => void) {
    this.#store = store;
    this.#onFailure = onFailure;
  }

  /** Whether there was trouble: that a file has no sightings means nothing then. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get(hash: string): Promise<FileEvidence | undefined> {
    return this.#tried(() => this.#store.get(hash), undefined);
  }

  read(hashes: Iterable<string>): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    return this.#partsOf(() => this.#store.read(hashes));
  }

  select(
    choose: (digests: readonly string[]) => Promise<Iterable<string>>,
  ): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    return this.#partsOf(() => this.#store.select(choose));
  }

  apart(): SightingsApart {
    const apart = this.#store.apart();
    return {
      read: (hashes) => this.#partsOf(() => apart.read(hashes)),
      add: (seen) => this.#tried(() => apart.add(seen), undefined),
      close: () => this.#tried(() => apart.close(), undefined),
    };
  }

  add(seen: ReadonlyMap<string, FileEvidence>): Promise<void> {
    return this.#tried(() => this.#store.add(seen), undefined);
  }

  waiting(): Promise<WaitingFiles> {
    return this.#tried(() => this.#store.waiting(), new WaitingFiles());
  }

  updateWaiting(change: WaitingChange): Promise<void> {
    return this.#tried(() => this.#store.updateWaiting(change), undefined);
  }

  async *#partsOf(
    open: () => AsyncIterable<ReadonlyMap<string, FileEvidence>>,
  ): AsyncIterable<ReadonlyMap<string, FileEvidence>> {
    if (this.#isLost) return;
    try {
      yield* open();
    } catch (error) {
      this.#lose(error);
    }
  }

  async #tried<T>(work: () => Promise<T>, nothing: T): Promise<T> {
    if (this.#isLost) return nothing;
    try {
      return await work();
    } catch (error) {
      this.#lose(error);
      return nothing;
    }
  }

  #lose(error: unknown): void {
    if (!(error instanceof EnrichmentError) && systemCodeOf(error) === undefined) throw error;
    if (this.#isLost) return;
    this.#isLost = true;
    this.#onFailure(storageError('keep sightings', 'sightings', error));
  }
}
