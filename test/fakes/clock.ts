import type { Clock } from '../../src/clock.js';

/** A clock of the tests' own. */
export interface FakeClock extends Clock {
  advance(ms: number): void;
}

/** Turns of the event loop that everybody gets before time moves on to the next alarm. */
const TURNS_BEFORE_ALARM = 3;

/** A clock that stands still while anybody has work to do, and then jumps to the first alarm: sleeping costs no real time. */
export function selfMovingClock(start: string): FakeClock {
  let nowMs = Date.parse(start);
  const alarms = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  let isDriving = false;

  async function drive(): Promise<void> {
    if (isDriving) return;
    isDriving = true;
    while (alarms.size > 0) {
      for (let turn = 0; turn < TURNS_BEFORE_ALARM; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
      const [first] = [...alarms].sort((a, b) => a.atMs - b.atMs);
      if (first === undefined) break;
      nowMs = Math.max(nowMs, first.atMs);
      alarms.delete(first);
      first.wake();
    }
    isDriving = false;
  }

  return {
    now: () => new Date(nowMs),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) {
          resolve();
          return;
        }
        const alarm = { atMs: nowMs + ms, wake: resolve };
        alarms.add(alarm);
        signal?.addEventListener('abort', () => {
          if (alarms.delete(alarm)) resolve();
        });
        void drive();
      }),
    advance: (ms) => {
      nowMs += ms;
    },
  };
}
