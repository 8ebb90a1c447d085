import { describe, expect, test } from 'vitest';
import { CONTEXT_EVENT_IDS, ParentIndex, processKey, selectContext } from '../../src/context.js';
import type { SysmonEvent } from '../../src/event.js';
import { creation, event, guid } from './records.js';

function started(process: string, parent: string, host = 'WS-01'): SysmonEvent {
  return creation(`C:\\${process}.exe`, { host, process, fields: { ParentProcessGuid: guid(parent) } });
}

/** Names of the selected records' processes, for a log in this order. */
function select(log: readonly SysmonEvent[], flagged: readonly string[], maxRows?: number): SysmonEvent[] {
  const index = new ParentIndex(maxRows);
  for (const record of log) if (record.eventId === 1) index.add(record);
  const keys = flagged.flatMap((name) => processKey('WS-01', guid(name)) ?? []);
  return log.filter(selectContext(new Set(keys), index));
}

const FAMILY = [
  started('system', 'none'),
  started('shell', 'system'),
  started('office', 'shell'),
  started('other', 'shell'),
  started('implant', 'office'),
  started('child', 'implant'),
  started('grandchild', 'child'),
  started('bystander', 'other'),
];
const KIN = [FAMILY[0], FAMILY[1], FAMILY[2], FAMILY[5]];

describe('the context of a flagged process', () => {
  test('holds the process creations of all its ancestors and of its children, and of nobody else', () => {
    expect(select(FAMILY, ['implant'])).toEqual(KIN);
  });

  test('is the same for a log that is written newest first', () => {
    expect(select([...FAMILY].reverse(), ['implant'])).toEqual([...KIN].reverse());
  });

  test('holds what the process did and what was done to it', () => {
    const deeds = [2, 3, 5, 11, 15, 22, 23, 25].map((id) => event(id, 'implant', {}));
    const source = event(8, 'unused', { SourceProcessGuid: guid('implant'), TargetProcessGuid: guid('other') });
    const target = event(10, 'unused', { SourceProcessGUID: guid('other'), TargetProcessGUID: guid('implant') });
    const strange = [
      event(3, 'bystander', {}),
      event(7, 'implant', {}),
      event(13, 'implant', {}),
      event(10, 'implant', { SourceProcessGUID: guid('other'), TargetProcessGUID: guid('child') }),
    ];
    expect(select([...deeds, source, target, ...strange], ['implant'])).toEqual([...deeds, source, target]);
  });

  test('joins by GUID in any spelling, on one computer only', () => {
    const plain = event(3, 'implant', { ProcessGuid: guid('implant').slice(1, -1).toLowerCase() });
    const elsewhere = event(3, 'implant', {}, 'WS-02');
    const sameHost = event(5, 'implant', {}, 'ws-01');
    expect(select([plain, elsewhere, sameHost], ['implant'])).toEqual([plain, sameHost]);
  });

  test('knows no family through the zero GUID, which Sysmon gives to every process it did not see', () => {
    expect(processKey('WS-01', '{00000000-0000-0000-0000-000000000000}')).toBeUndefined();
    expect(processKey('WS-01', 'no guid')).toBeUndefined();
  });

  test('ends where a forged log makes processes their own ancestors', () => {
    const loop = [started('a', 'b'), started('b', 'a')];
    expect(select(loop, ['a'])).toEqual(loop);
  });

  test('says that its index is full instead of growing without end', () => {
    const index = new ParentIndex(2);
    for (const record of FAMILY) index.add(record);
    expect(index.isFull).toBe(true);
    expect(select(FAMILY, ['implant'], 2)).toEqual([FAMILY[5]]);
  });

  test('asks the log for no more events than it uses', () => {
    expect([...CONTEXT_EVENT_IDS].sort((a, b) => a - b)).toEqual([1, 2, 3, 5, 8, 10, 11, 15, 22, 23, 25]);
  });

  test('finds a long chain of ancestors in a long log', () => {
    const chain = Array.from({ length: 5000 }, (_, depth) => started(`p${depth + 1}`, `p${depth}`));
    expect(select(chain, ['p5000'])).toHaveLength(4999);
  });
});
