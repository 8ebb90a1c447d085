import { expect, test } from 'vitest';
import type { SysmonEvent } from '../../src/event.js';
import { SeenRecords } from '../../src/sources/seen-records.js';

function event(recordId: string | undefined, computer = 'host'): SysmonEvent {
  const data = new Map<string, string>();
  return { eventId: 1, recordId, provider: undefined, channel: 'Sysmon', computer, timeCreated: undefined, data };
}

test('a record is one computer, channel and record id', () => {
  const seen = new SeenRecords();
  expect([event('1'), event('2'), event('1', 'other'), event('1')].map((record) => seen.hasSeen(record))).toEqual([
    false,
    false,
    false,
    true,
  ]);
});

test('records without id are never the same', () => {
  const seen = new SeenRecords();
  expect([seen.hasSeen(event(undefined)), seen.hasSeen(event(undefined))]).toEqual([false, false]);
});

test('the oldest records are forgotten, so that memory does not grow with the log', () => {
  const seen = new SeenRecords();
  for (let recordId = 0; recordId <= 100_000; recordId++) seen.hasSeen(event(String(recordId)));
  expect(seen.hasSeen(event('100000'))).toBe(true);
  expect(seen.hasSeen(event('0'))).toBe(false);
});
