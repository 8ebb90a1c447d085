import type { SysmonEvent } from '../event.js';

/** So many records a tool may have written between the first row of one and its next; they stand close together in practice. */
const MAX_SEEN = 100_000;

/** Records that were handed over, where a tool writes one more for each of its rules that an event matches. Forgets the oldest. */
export class SeenRecords {
  /** In the order they were seen. */
  readonly #keys = new Set<string>();

  /** Whether the event of that computer, channel and record id came before; remembers it. False for events without record id. */
  hasSeen({ computer, channel, recordId }: SysmonEvent): boolean {
    if (recordId === undefined) return false;
    const key = `${computer}\0${channel}\0${recordId}`;
    if (this.#keys.has(key)) return true;
    this.#keys.add(key);
    const [oldest] = this.#keys;
    if (this.#keys.size > MAX_SEEN && oldest !== undefined) this.#keys.delete(oldest);
    return false;
  }
}
