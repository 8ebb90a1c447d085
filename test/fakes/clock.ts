import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest } from 'node:http';
import type { Clock } from '../../src/clock.js';

/** A clock of the tests' own. */
export interface FakeClock extends Clock {
  advance(ms: number): void;
}

/** Turns of the event loop in which nobody reads, writes or asks before time moves on to the next alarm. */
const QUIET_TURNS = 3;

/** Requests of this process that have left and whose answers are not read to their end. */
const underWay = new Set<ClientRequest>();
subscribe('http.client.request.start', (message) => {
  const { request } = message as { readonly request: ClientRequest };
  underWay.add(request);
  request.once('close', () => underWay.delete(request));
});

/** Whether a request or a file operation is under way: what was decided before it must not meet a later time at its end. */
function isBusy(): boolean {
  return underWay.size > 0 || process.getActiveResourcesInfo().some((name) => /^(FSReq|CloseReq)/.test(name));
}

/**
 * A clock that stands still while anybody has work to do, a request on its way to a server of the test's included, and then jumps to the
 * first alarm: sleeping costs no real time. A server must not sleep by it before it has answered.
 */
export function selfMovingClock(start: string): FakeClock {
  let nowMs = Date.parse(start);
  const alarms = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  let isDriving = false;

  async function drive(): Promise<void> {
    if (isDriving) return;
    isDriving = true;
    while (alarms.size > 0) {
      for (let turn = 0; turn < QUIET_TURNS; turn++) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (isBusy()) turn = -1;
      }
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
