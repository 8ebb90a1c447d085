import type { SysmonEvent } from '../../src/event.js';
import type { Report } from '../../src/reports/report.js';
import { EnrichedSet } from '../../src/reports/summarise.js';
import { fileLink } from '../../src/verdict.js';

/** A digest for each name, the same at every run and of the right length for its algorithm. */
export function digest(name: string, length: 32 | 40 | 64): string {
  let state = 0x811c9dc5;
  let hex = '';
  for (let round = 0; hex.length < length; round++) {
    for (const character of `${name}${round}`) {
      state = Math.imul(state ^ character.charCodeAt(0), 0x01000193) >>> 0;
    }
    hex += state.toString(16).padStart(8, '0');
  }
  return hex.slice(0, length);
}

/** A ProcessGuid for each name. */
export function guid(name: string): string {
  const hex = digest(name, 32).toUpperCase();
  return `{${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}}`;
}

export interface CreationOptions {
  readonly host?: string;
  readonly time?: string;
  readonly process?: string;
  readonly parent?: string;
  readonly fields?: Readonly<Record<string, string>>;
}

/** A process creation of an image, named after the file. */
export function creation(image: string, options: CreationOptions = {}): SysmonEvent {
  const { host = 'WS-01', time = '2026-03-04 02:14:09.000', process = image, parent, fields = {} } = options;
  return {
    eventId: 1,
    recordId: '1',
    provider: 'Microsoft-Windows-Sysmon',
    channel: 'Microsoft-Windows-Sysmon/Operational',
    computer: host,
    timeCreated: `${time.replace(' ', 'T')}000Z`,
    data: new Map(
      Object.entries({
        UtcTime: time,
        ProcessGuid: guid(process),
        ProcessId: '4711',
        Image: image,
        CommandLine: `"${image}" /run`,
        User: 'CORP\\ann',
        Hashes: `SHA1=${digest(image, 40).toUpperCase()}`,
        ParentProcessGuid: parent === undefined ? guid('explorer') : guid(parent),
        ParentProcessId: '612',
        ParentImage: parent ?? 'C:\\Windows\\explorer.exe',
        ParentCommandLine: parent ?? 'explorer.exe',
        ...fields,
      }),
    ),
  };
}

/** Any other event of a process. */
export function event(
  eventId: number,
  process: string,
  fields: Readonly<Record<string, string>>,
  host = 'WS-01',
): SysmonEvent {
  return {
    eventId,
    recordId: '2',
    provider: 'Microsoft-Windows-Sysmon',
    channel: 'Microsoft-Windows-Sysmon/Operational',
    computer: host,
    timeCreated: '2026-03-04T02:14:10.000Z',
    data: new Map(Object.entries({ UtcTime: '2026-03-04 02:14:10.000', ProcessGuid: guid(process), ...fields })),
  };
}

/** The `virustotal` member of a file with so many detections; `undefined` detections: VirusTotal does not know it. */
export function member(image: string, detections: number | undefined, more: object = {}): object {
  const sha1 = digest(image, 40);
  if (detections === undefined) {
    return { verdict: 'unknown', lookup_key: 'sha1', sha1, checked_at: '2026-03-04T06:00:00.000Z', ...more };
  }
  const sha256 = digest(image, 64);
  return {
    verdict: detections >= 5 ? 'malicious' : detections > 0 ? 'suspicious' : 'undetected',
    detections,
    engines: 75,
    ...(detections > 0 ? { label: 'trojan.example/agent' } : {}),
    lookup_key: 'sha1',
    sha1,
    sha256,
    md5: digest(image, 32),
    link: fileLink(sha256),
    first_submission: '2026-03-01T10:00:00.000Z',
    last_analysis: '2026-03-04T01:00:00.000Z',
    checked_at: '2026-03-04T06:00:00.000Z',
    ...more,
  };
}

/** The member of a record that has a hash and no answer, and of one that has no hash. */
export function uncheckedMember(image: string, reason: string): object {
  if (reason === 'no_hash') return { verdict: 'unchecked', reason };
  return { verdict: 'unchecked', reason, lookup_key: 'sha1', sha1: digest(image, 40) };
}

/** A line of an enriched file. */
export function enrichedLine(of: SysmonEvent, virustotal: object | undefined): string {
  return JSON.stringify({
    EventID: of.eventId,
    EventRecordID: Number(of.recordId),
    Provider: of.provider,
    Channel: of.channel,
    Computer: of.computer,
    TimeCreated: of.timeCreated,
    EventData: Object.fromEntries(of.data),
    virustotal,
  });
}

/** A set of records of one log. */
export function setOf(records: readonly (readonly [SysmonEvent, object])[], source = 'a.enriched.jsonl'): EnrichedSet {
  const set = new EnrichedSet();
  for (const [record, virustotal] of records) {
    if (!set.add(record, virustotal, source)) throw new Error(`refused: ${JSON.stringify(virustotal)}`);
  }
  set.addFile();
  return set;
}

/** A set with the context of its log. */
export function setWithContext(
  records: readonly (readonly [SysmonEvent, object])[],
  context: readonly (readonly [SysmonEvent, object | undefined])[],
): EnrichedSet {
  const set = setOf(records);
  for (const source of set.sourcesWithStories()) set.startContext(source);
  for (const [record, virustotal] of context) set.addContext(record, virustotal);
  return set;
}

export const IMPLANT = 'C:\\Users\\ann\\AppData\\Roaming\\invoice.exe';
export const DROPPER = 'C:\\Program Files\\Office\\winword.exe';
export const SHELL = 'C:\\Windows\\explorer.exe';
export const CHILD = 'C:\\Windows\\System32\\cmd.exe';

/** One intrusion: explorer starts winword, that starts the implant, which starts cmd, connects, drops, hides and ends. */
export function intrusion(): EnrichedSet {
  const implant = creation(IMPLANT, {
    process: 'implant',
    parent: DROPPER,
    fields: { ParentProcessGuid: guid('word') },
  });
  const word = creation(DROPPER, {
    time: '2026-03-04 02:10:00.000',
    process: 'word',
    fields: { ParentProcessGuid: guid('shell'), ParentImage: SHELL },
  });
  const shell = creation(SHELL, {
    time: '2026-03-03 22:00:00.000',
    process: 'shell',
    fields: { ParentProcessGuid: '{00000000-0000-0000-0000-000000000000}', ParentImage: '-' },
  });
  const child = creation(CHILD, {
    time: '2026-03-04 02:14:30.000',
    process: 'child',
    fields: { ParentProcessGuid: guid('implant'), ParentImage: IMPLANT, CommandLine: 'cmd /c whoami' },
  });
  const at = (second: string): string => `2026-03-04 02:14:${second}.000`;
  return setWithContext(
    [
      [shell, member(SHELL, 0)],
      [word, member(DROPPER, 0)],
      [implant, member(IMPLANT, 54)],
      [child, member(CHILD, 0)],
      [creation('C:\\Tools\\own.exe', { host: 'WS-02' }), member('C:\\Tools\\own.exe', undefined)],
      [creation('C:\\Tools\\late.exe', { host: 'WS-02' }), uncheckedMember('C:\\Tools\\late.exe', 'quota')],
      [creation('C:\\Tools\\bare.exe', { host: 'WS-03', fields: { Hashes: '-' } }), uncheckedMember('', 'no_hash')],
    ],
    [
      [shell, member(SHELL, 0)],
      [word, member(DROPPER, 0)],
      [child, member(CHILD, 0)],
      [
        event(3, 'implant', {
          UtcTime: at('20'),
          Initiated: 'true',
          Protocol: 'tcp',
          DestinationIp: '203.0.113.9',
          DestinationPort: '443',
          DestinationHostname: 'c2.example',
        }),
        undefined,
      ],
      [event(22, 'implant', { UtcTime: at('19'), QueryName: 'c2.example', QueryResults: '203.0.113.9;' }), undefined],
      [event(11, 'implant', { UtcTime: at('25'), TargetFilename: 'C:\\ProgramData\\stage2.dll' }), undefined],
      [
        event(2, 'implant', {
          UtcTime: at('26'),
          TargetFilename: 'C:\\ProgramData\\stage2.dll',
          PreviousCreationUtcTime: '2026-03-04 02:14:25.000',
          CreationUtcTime: '2019-01-01 00:00:00.000',
        }),
        undefined,
      ],
      [
        event(10, 'unused', {
          UtcTime: at('28'),
          SourceProcessGUID: guid('implant'),
          TargetProcessGUID: guid('lsass'),
          TargetImage: 'C:\\Windows\\System32\\lsass.exe',
          GrantedAccess: '0x1010',
        }),
        undefined,
      ],
      [event(5, 'implant', { UtcTime: at('59'), Image: IMPLANT }), undefined],
    ],
  );
}

/** So many flagged files, each on a host of its own, with everything that a record can say. */
export function manyFindings(count: number): EnrichedSet {
  return setOf(
    Array.from({ length: count }, (_, index) => {
      const image = `C:\\Users\\user${index % 97}\\AppData\\Local\\Temp\\{${digest(`folder${index}`, 32)}}\\setup-${index}.exe`;
      const minute = String(index % 60).padStart(2, '0');
      const record = creation(image, {
        host: `WS-${String(index % 214).padStart(3, '0')}.corp.example`,
        time: `2026-03-04 0${index % 6}:${minute}:09.000`,
        fields: {
          CommandLine: `"${image}" --install --token ${digest(`token${index}`, 64)}`,
          User: `CORP\\user${index % 97}`,
        },
      });
      return [record, member(image, 1 + (index % 70))] as const;
    }),
  );
}

export function intrusionReport(): Report {
  return intrusion().summarise();
}
