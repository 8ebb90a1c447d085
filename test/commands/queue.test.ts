import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runQueue } from '../../src/commands/queue.js';
import { openSightings } from '../../src/sightings/index.js';
import { selfMovingClock } from '../fakes/clock.js';
import { fakeShell } from '../fakes/shell.js';

const clock = selfMovingClock('2026-03-04T07:00:00Z');
const hashOf = (number: number): string => (number + 1).toString(16).padStart(40, '0');

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-queue-'));
});
afterEach(() => rmSync(root, { recursive: true }));

it('counts all that waits, however long the queue is, and lists what a night would choose from', async () => {
  const sightings = openSightings(root);
  const files = 12_000;
  // All of the same score but the last, which no half by age would hold.
  const due = Array.from({ length: files }, (_, number) => ({
    hash: hashOf(number),
    score: number === files - 1 ? 50 : 1,
  }));
  await sightings.updateWaiting({ due, settled: [], now: clock.now() });
  clock.advance(86_400_000);
  const running = fakeShell({ CACHE_URL: root, VT_REQUESTS_PER_DAY: '520', VT_RESERVE_PER_DAY: '20' }, { clock });
  expect(await runQueue(running, { json: true, limit: 20_000 })).toBe(0);
  const queue = JSON.parse(running.printed());
  expect(queue).toMatchObject({ to_ask: files, today: 500, later: files - 500, days: 23 });
  expect(queue.files.length).toBeLessThanOrEqual(10_000);
  expect(queue.files.map(({ hash }: { readonly hash: string }) => hash)).toContain(hashOf(files - 1));
});
