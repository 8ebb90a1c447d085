import { createHash } from 'node:crypto';
import type { NightEvent } from '../src/demo/night.js';
import { Draw } from './draw.js';

/** A `Hashes` field of all four algorithms; every one of them has the same length. */
export function hashListOf(file: number): string {
  const digest = (algorithm: string): string =>
    createHash(algorithm).update(`file ${file}`).digest('hex').toUpperCase();
  return `SHA1=${digest('sha1')},MD5=${digest('md5')},SHA256=${digest('sha256')},IMPHASH=${digest('md5')}`;
}

/** Stands in generated events where the name of the file belongs: letters, as many as `fileNameOf` gives. */
export const FILE_NAME = 'qzqzqzqz';

/** The name of a generated file without its extension; all have the same length. */
export function fileNameOf(file: number): string {
  const digits = createHash('md5').update(`name ${file}`).digest('hex').slice(0, FILE_NAME.length);
  return digits.replace(/\d/g, (digit) => String.fromCharCode(0x67 + Number(digit)));
}

/** The SHA1 of a generated file, as the cache has it. */
export function sha1Of(file: number): string {
  return createHash('sha1').update(`file ${file}`).digest('hex');
}

/** Fields that only newer versions of Sysmon write: each set of fields is a template of its own. */
const NEWER_FIELDS: ReadonlySet<string> = new Set(['OriginalFileName', 'ParentUser', 'RuleName', 'User']);

const COMPUTERS = ['WS-FIN-03', 'WS-DEV-11', 'SRV-FILE-01', 'DC-01'].map((name) => `${name}.corp.example`);
const USERS = ['CORP\\m.weber', 'CORP\\a.okafor', 'NT AUTHORITY\\SYSTEM', 'CORP\\svc-backup'];
const FOLDERS = [
  'C:\\Windows\\System32\\',
  'C:\\Program Files\\Contoso\\Agent\\',
  'C:\\Users\\m.weber\\AppData\\Local\\Programs\\Fabrikam Studio\\bin\\',
];
const PARENTS = ['services', 'svchost', 'explorer'].map((name) => `C:\\Windows\\System32\\${name}.exe`);
const START = Date.UTC(2026, 2, 3, 22, 0, 0);

/** How often each event id is drawn. */
type Mix = readonly (readonly [eventId: number, weight: number])[];

/** A night with many hashes: every fourth record is a process creation, every tenth an image load. */
export const DENSE_MIX: Mix = [
  [1, 25],
  [3, 15],
  [5, 25],
  [7, 10],
  [10, 10],
  [11, 10],
  [13, 5],
];

/** Sysmon's events of an ordinary mix, endlessly, as several versions of Sysmon on several machines write them. */
export function* sysmonEvents(mix: Mix, seed = 1): Generator<NightEvent, never> {
  const draw = new Draw(seed);
  const ids = mix.flatMap(([eventId, weight]) => Array.from({ length: weight }, () => eventId));
  for (let recordId = 1; ; recordId++) {
    const eventId = draw.one(ids);
    const time = new Date(START + recordId * 137);
    const isOld = draw.below(3) === 0;
    const data = fieldsOf(eventId, time, draw).filter(([name]) => !isOld || !NEWER_FIELDS.has(name));
    yield { computer: draw.one(COMPUTERS), eventId, recordId, time, data: new Map(data) };
  }
}

type Fields = readonly (readonly [name: string, value: string])[];

function fieldsOf(eventId: number, time: Date, draw: Draw): Fields {
  const guid = (): string => {
    const hex = draw.text(32, '0123456789ABCDEF');
    return `{${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}}`;
  };
  const image = (): string => `${draw.one(FOLDERS)}${draw.text(8)}.exe`;
  const pid = (): string => String(4 * (1 + draw.below(8000)));
  const head: Fields = [
    ['RuleName', draw.below(4) === 0 ? `technique_id=T${1000 + draw.below(200)}` : '-'],
    ['UtcTime', time.toISOString().slice(0, 23).replace('T', ' ')],
    ['ProcessGuid', guid()],
    ['ProcessId', pid()],
    ['Image', image()],
  ];
  const user = draw.one(USERS);
  const ownImage = `C:\\Program Files\\Contoso\\${FILE_NAME}\\${FILE_NAME}.exe`;
  switch (eventId) {
    case 1:
      return [
        ...head.slice(0, -1),
        ['Image', ownImage],
        ['FileVersion', `10.0.${draw.below(20_000)}.1`],
        ['Description', `Fabrikam ${draw.text(9)} service`],
        ['Product', 'Fabrikam® Studio'],
        ['Company', 'Fabrikam, Inc.'],
        ['OriginalFileName', `${FILE_NAME}.exe`],
        ['CommandLine', `"${ownImage}" --type=worker --channel=${draw.text(12)} /prefetch:${draw.below(9)}`],
        ['CurrentDirectory', 'C:\\Windows\\system32\\'],
        ['User', user],
        ['LogonGuid', guid()],
        ['LogonId', `0x${draw.text(5, '123456789abcdef')}`],
        ['TerminalSessionId', '1'],
        ['IntegrityLevel', 'Medium'],
        ['Hashes', hashListOf(0)],
        ['ParentProcessGuid', guid()],
        ['ParentProcessId', pid()],
        ['ParentImage', draw.one(PARENTS)],
        ['ParentCommandLine', `${draw.one(PARENTS)} -k netsvcs -p -s ${draw.text(10)}`],
        ['ParentUser', user],
      ];
    case 3:
      return [
        ...head,
        ['User', user],
        ['Protocol', 'tcp'],
        ['Initiated', 'true'],
        ['SourceIsIpv6', 'false'],
        ['SourceIp', `10.20.0.${draw.below(255)}`],
        ['SourceHostname', draw.one(COMPUTERS)],
        ['SourcePort', String(49_152 + draw.below(16_000))],
        ['SourcePortName', '-'],
        ['DestinationIsIpv6', 'false'],
        ['DestinationIp', `203.0.113.${draw.below(255)}`],
        ['DestinationHostname', '-'],
        ['DestinationPort', '443'],
        ['DestinationPortName', 'https'],
      ];
    case 5:
      return [...head, ['User', user]];
    case 7:
      return [
        ...head,
        ['ImageLoaded', `C:\\Windows\\System32\\${FILE_NAME}.dll`],
        ['FileVersion', '10.0.19041.1'],
        ['Description', 'A library'],
        ['Product', 'Fabrikam® Studio'],
        ['Company', 'Fabrikam, Inc.'],
        ['OriginalFileName', `${FILE_NAME}.dll`],
        ['Hashes', hashListOf(0)],
        ['Signed', 'true'],
        ['Signature', 'Fabrikam, Inc.'],
        ['SignatureStatus', 'Valid'],
        ['User', user],
      ];
    case 10:
      return [
        ...head,
        ['TargetProcessGUID', guid()],
        ['TargetImage', image()],
        ['GrantedAccess', '0x1410'],
        [
          'CallTrace',
          `C:\\Windows\\SYSTEM32\\ntdll.dll+9d4c4|${'C:\\Windows\\System32\\KERNELBASE.dll+2c13e|'.repeat(4)}`,
        ],
      ];
    case 13:
      return [
        ...head,
        ['EventType', 'SetValue'],
        ['TargetObject', `HKLM\\System\\CurrentControlSet\\Services\\${draw.text(10)}\\Start`],
        ['Details', 'DWORD (0x00000003)'],
        ['User', user],
      ];
    default:
      return [
        ...head,
        ['TargetFilename', `C:\\Users\\m.weber\\AppData\\Local\\Temp\\${draw.text(12)}.tmp`],
        ['CreationUtcTime', time.toISOString().slice(0, 23).replace('T', ' ')],
        ['User', user],
      ];
  }
}
