import type { Clock } from '../../src/clock.js';

/** A clock that stands still but for `advance`; sleeping on it takes no real time. */
export interface FakeClock extends Clock {
  /** Moves on; whoever sleeps until then or earlier wakes, in the order of the alarms. */
  advance(ms: number): void;
  /** Total time slept through, for those who sleep while nobody advances: sleeping moves the clock itself. */
  readonly sleptMs: number;
}

/** A clock that every sleep moves on by itself, as if the rest of the world stood still. */
export function selfMovingClock(start: string): FakeClock {
  let nowMs = Date.parse(start);
  let sleptMs = 0;
  return {
    now: () => new Date(nowMs),
    sleep: async (ms, signal) => {
      if (signal?.aborted) return;
      // A turn of the event loop, so that others get to run as they would while somebody sleeps.
      await new Promise<void>((resolve) => setImmediate(resolve));
      nowMs += ms;
      sleptMs += ms;
    },
    advance: (ms) => {
      nowMs += ms;
    },
    get sleptMs() {
      return sleptMs;
    },
  };
}
