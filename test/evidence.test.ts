import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SysmonEvent } from '../src/event.js';
import {
  addSighting,
  emptyEvidence,
  evidenceFromJson,
  evidenceToJson,
  type FileEvidence,
  identityOf,
  mergeEvidence,
} from '../src/evidence.js';

interface Creation {
  readonly computer?: string;
  readonly recordId?: string;
  readonly data?: Readonly<Record<string, string>>;
}

function creation({ computer = 'WS-1', recordId, data = {} }: Creation): SysmonEvent {
  return {
    eventId: 1,
    recordId,
    provider: 'Microsoft-Windows-Sysmon',
    channel: 'Microsoft-Windows-Sysmon/Operational',
    computer,
    timeCreated: '2026-03-02T01:02:04.0000000Z',
    data: new Map(Object.entries(data)),
  };
}

function evidenceOf(...creations: readonly Creation[]): FileEvidence {
  const evidence = emptyEvidence();
  for (const fields of creations) addSighting(evidence, creation(fields));
  return evidence;
}

describe('the evidence on a file', () => {
  it('holds where, when, by whom and from what it ran', () => {
    const evidence = evidenceOf(
      {
        recordId: '1',
        data: {
          UtcTime: '2026-03-02 01:02:03.456',
          Image: 'C:\\Temp\\a.exe',
          ParentImage: 'C:\\Windows\\explorer.exe',
          User: 'CORP\\ann',
          CommandLine: 'a.exe /q',
          Company: 'Contoso Ltd',
          Product: '-',
        },
      },
      { recordId: '2', computer: 'ws-2', data: { UtcTime: '2026-03-01 01:02:03.456', Image: 'C:\\Temp\\b.exe' } },
    );
    expect(evidence.records.count).toBe(2);
    expect(evidence.hostNames).toEqual(['ws-1', 'ws-2']);
    expect(evidence.images).toEqual(['C:\\Temp\\a.exe', 'C:\\Temp\\b.exe']);
    expect(evidence.users).toEqual(['CORP\\ann']);
    expect(evidence.metadata).toEqual({ company: 'Contoso Ltd', product: '' });
    expect(evidence.firstSeen).toEqual(new Date('2026-03-01T01:02:03.456Z'));
    expect(evidence.lastSeen).toEqual(new Date('2026-03-02T01:02:03.456Z'));
  });

  it('falls back to the time of the record where Sysmon gives none', () => {
    expect(evidenceOf({ recordId: '1' }).firstSeen).toEqual(new Date('2026-03-02T01:02:04.000Z'));
  });

  it('tells metadata that Sysmon did not log from metadata that the file has not', () => {
    expect(evidenceOf({ data: { Company: '?' } }).metadata.company).toBe('');
    expect(evidenceOf({ data: {} }).metadata.company).toBeUndefined();
  });

  it('stays small, and keeps the most telling samples', () => {
    const plain = Array.from({ length: 500 }, (_, index) => ({
      recordId: `${index}`,
      computer: `ws-${index}`,
      data: {
        Image: `C:\\Program Files\\Contoso\\${index}.exe`,
        ParentImage: `C:\\Program Files\\Contoso\\launcher${index}.exe`,
        CommandLine: `x.exe /job ${index} ${'y'.repeat(9000)}`,
      },
    }));
    const telling = {
      recordId: '9999',
      data: {
        Image: 'C:\\Users\\Public\\x.exe',
        ParentImage: 'C:\\Program Files\\Microsoft Office\\WINWORD.EXE',
        CommandLine: 'x.exe -p 10.1.2.3:443 lsass.exe',
      },
    };
    const evidence = evidenceOf(...plain, telling);
    expect(evidence.images[0]).toBe(telling.data.Image);
    expect(evidence.parents[0]).toBe(telling.data.ParentImage);
    expect(evidence.commandLines[0]).toBe(telling.data.CommandLine);
    expect(JSON.stringify(evidenceToJson(evidence)).length).toBeLessThan(16_384);
    expect(evidence.hosts.count).toBeGreaterThan(400);
  });

  const creations = fc.array(
    fc.record({
      computer: fc.constantFrom('ws-1', 'ws-2', 'ws-3'),
      recordId: fc.nat(80).map(String),
    }),
    { maxLength: 120 },
  );

  /** A record's content follows from its identity, as in real logs. */
  const withData = ({ computer, recordId }: { readonly computer: string; readonly recordId: string }): Creation => ({
    computer,
    recordId,
    data: {
      UtcTime: `2026-03-02 01:${String(Number(recordId) % 60).padStart(2, '0')}:00.000`,
      Image: `C:\\Temp\\${recordId}.exe`,
      User: `CORP\\${computer}${recordId}`,
      ParentImage: Number(recordId) % 7 === 0 ? 'C:\\Windows\\System32\\wscript.exe' : `C:\\p${recordId}.exe`,
      CommandLine: Number(recordId) % 5 === 0 ? `a.exe 10.0.0.${recordId}:1` : `a.exe ${recordId}`,
    },
  });

  it('is the same in any order, at one go or merged, and by repetition', () => {
    fc.assert(
      fc.property(creations, creations, (left, right) => {
        const atOnce = evidenceOf(...[...right, ...left].map(withData));
        const merged = evidenceOf(...left.map(withData));
        mergeEvidence(merged, evidenceOf(...right.map(withData)));
        expect(mergeEvidence(merged, evidenceOf(...left.map(withData)))).toBe(false);
        expect(evidenceToJson(merged)).toEqual(evidenceToJson(atOnce));
      }),
    );
  });

  it('comes back from JSON', () => {
    fc.assert(
      fc.property(creations, (records) => {
        const evidence = evidenceOf(...records.map(withData));
        const copy = evidenceFromJson(JSON.parse(JSON.stringify(evidenceToJson(evidence))));
        expect(copy && evidenceToJson(copy)).toEqual(evidenceToJson(evidence));
      }),
    );
  });

  it.each([
    ['nothing', null],
    ['a list', []],
    ['no counts', {}],
    ['lists that are longer than any kept', { records: [], hosts: [], images: Array(9).fill('a') }],
    ['lists of something else', { records: [], hosts: [], users: [1] }],
    ['metadata of something else', { records: [], hosts: [], company: 1 }],
    ['times that are none', { records: [], hosts: [], first_seen: 'yesterday' }],
  ])('is not read from %s', (_what, json) => {
    expect(evidenceFromJson(json)).toBeUndefined();
  });
});

describe('the identity of a record', () => {
  it('is its computer, channel and record id, in whatever spelling', () => {
    expect(identityOf(creation({ recordId: '7' }))).toBe(identityOf(creation({ recordId: '7', computer: 'ws-1' })));
    expect(identityOf(creation({ recordId: '7' }))).not.toBe(identityOf(creation({ recordId: '8' })));
    expect(identityOf(creation({ recordId: '7' }))).not.toBe(identityOf(creation({ recordId: '7', computer: 'ws-2' })));
  });

  it('is its process and time where the record id is lost, in whatever spelling of the guid', () => {
    const time = { UtcTime: '2026-03-02 01:02:03.456' };
    const guid = '747F3D96-D6EB-5D31-0000-001029D74B00';
    const braced = identityOf(creation({ data: { ...time, ProcessGuid: `{${guid.toLowerCase()}}` } }));
    expect(identityOf(creation({ data: { UtcTime: '2026-03-02T01:02:03.456Z', ProcessGuid: guid } }))).toBe(braced);
    expect(identityOf(creation({ data: { UtcTime: '2026-03-02 01:02:03.457', ProcessGuid: guid } }))).not.toBe(braced);
  });

  it('takes the process id and command line of records without a guid', () => {
    const first = identityOf(creation({ data: { ProcessId: '4', CommandLine: 'a' } }));
    expect(identityOf(creation({ data: { ProcessId: '4', CommandLine: 'b' } }))).not.toBe(first);
  });
});
