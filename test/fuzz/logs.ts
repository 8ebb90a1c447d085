import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { nxlogLine, winlogbeatLine } from '../../src/demo/json-logs.js';
import { buildNight, type NightEvent } from '../../src/demo/night.js';
import { evtxLog } from '../../src/demo/night-logs.js';
import { tarArchive, zipArchive } from '../sources/containers/archives.js';
import type { Random } from '../torture/random.js';

/** A log before anything was done to it. */
export interface SoundLog {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Larger logs are left out: what goes wrong in them goes wrong in smaller ones, which are read more often in the same time. */
const MAX_LOG_BYTES = 2 * 1024 * 1024;

/** No mutant is larger, so that what a byte may cost is known. */
const MAX_MUTANT_BYTES = 4 * 1024 * 1024;

/** One generated log of each kind, and all files below `folder` that are not too large. */
export function soundLogs(folder: string | undefined): readonly SoundLog[] {
  return [...generatedLogs(), ...(folder === undefined ? [] : filesBelow(folder))];
}

function generatedLogs(): SoundLog[] {
  const events = buildNight().events.slice(0, 120);
  const json = Buffer.from(events.map(nxlogLine).join(''));
  const evtx = evtxLog(events);
  const xml = Buffer.from(events.map(xmlOf).join(''));
  const texts: readonly (readonly [string, Buffer])[] = [
    ['nxlog', json],
    ['winlogbeat', Buffer.from(events.map(winlogbeatLine).join(''))],
    ['array', Buffer.from(`[${events.map(nxlogLine).join(',')}]`)],
    ['pretty', Buffer.from(events.map((event) => JSON.stringify(JSON.parse(nxlogLine(event)), null, 2)).join('\n'))],
    ['xml', xml],
    ['viewer', Buffer.from(events.map(viewerTextOf).join(''))],
    ['list', Buffer.from(events.map(formatListOf).join(''))],
    ['csv', Buffer.from(`EventID,Computer,Message\r\n${events.map(rowOf).join('')}`)],
    ['fields', Buffer.from(fieldsCsv(events))],
  ];
  return [
    ['evtx', evtx] as const,
    ...texts,
    ...texts.map(([name, bytes]) => [`${name} utf-16`, Buffer.from(`\ufeff${bytes.toString()}`, 'utf16le')] as const),
    ['gzip', Buffer.concat([gzipSync(json), gzipSync(json)])] as const,
    [
      'zip',
      zipArchive([
        { name: 'a.evtx', content: evtx },
        { name: 'b', content: xml, hasDataDescriptor: true },
      ]),
    ] as const,
    [
      'tar.gz',
      gzipSync(
        tarArchive([
          { name: 'a', content: json },
          { name: 'b', content: evtx },
        ]),
      ),
    ] as const,
  ].map(([name, bytes]) => ({ name: `generated ${name}`, bytes }));
}

function filesBelow(folder: string): SoundLog[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const status = statSync(path);
    if (status.isDirectory()) return filesBelow(path);
    return status.size > 0 && status.size <= MAX_LOG_BYTES ? [{ name: path, bytes: readFileSync(path) }] : [];
  });
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

function messageOf({ eventId, data }: NightEvent): string {
  const title = eventId === 1 ? 'Process Create' : 'Process terminated';
  return [`${title}:`, ...[...data].map(([name, value]) => `${name}: ${value}`)].join('\r\n');
}

function xmlOf({ eventId, computer, recordId, data }: NightEvent): string {
  const fields = [...data].map(([name, value]) => `<Data Name='${name}'>${escaped(value)}</Data>`);
  return (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Sysmon'/>" +
    `<EventID>${eventId}</EventID><EventRecordID>${recordId}</EventRecordID><Computer>${computer}</Computer></System>` +
    `<EventData>${fields.join('')}</EventData></Event>\r\n`
  );
}

function viewerTextOf(event: NightEvent): string {
  const source = 'Microsoft-Windows-Sysmon';
  return (
    `Log Name:      ${source}/Operational\r\nSource:        ${source}\r\nDate:          ${event.time.toISOString()}\r\n` +
    `Event ID:      ${event.eventId}\r\nComputer:      ${event.computer}\r\nDescription:\r\n${messageOf(event)}\r\n` +
    `Event Xml:\r\n${xmlOf(event)}`
  );
}

function formatListOf(event: NightEvent): string {
  const message = messageOf(event)
    .split('\r\n')
    .flatMap((line) => line.match(/.{1,100}/g) ?? [''])
    .join('\r\n               ');
  return `\r\n\r\nTimeCreated  : 3/1/2026\r\nProviderName : Microsoft-Windows-Sysmon\r\nId           : ${event.eventId}\r\nMessage      : ${message}\r\n`;
}

function rowOf(event: NightEvent): string {
  return `${event.eventId},${event.computer},"${messageOf(event).replaceAll('"', '""')}"\r\n`;
}

function fieldsCsv(events: readonly NightEvent[]): string {
  const creations = events.filter(({ eventId }) => eventId === 1);
  const names = [...(creations[0]?.data.keys() ?? [])];
  const rows = creations.map(({ data }) =>
    names.map((name) => `"${(data.get(name) ?? '').replaceAll('"', '""')}"`).join(';'),
  );
  return `EventID;${names.join(';')}\n${rows.map((row) => `1;${row}\n`).join('')}`;
}

/** What is put where it hurts: marks of formats, brackets that open and never close, lengths, labels of Sysmon's own. */
const SPLINTERS: readonly Buffer[] = [
  ...[
    '{',
    '[',
    '[[[[[[[[',
    '{"a":',
    '"',
    '\\',
    '\\u',
    '\n',
    '\r\n',
    '\0',
    '\ufeff',
    ',',
    '""',
    '<Event>',
    '<Event ',
    '</Event>',
  ],
  ...[
    '<![CDATA[',
    ']]>',
    '<!--',
    '&#x110000;',
    '&amp;',
    '<Data Name=',
    'Process Create:\n',
    'UtcTime: ',
    'Hashes: SHA1=',
  ],
  ...[
    'Event[0]:\n',
    'Log Name:      ',
    'Message      : ',
    '{"hits":{"hits":[',
    '{"results":[',
    'Record 1\n',
    '__proto__',
  ],
  ...['"virustotal":{', 'PK\x03\x04', 'ElfChnk\0', '**\0\0', '\x1f\x8b\x08', 'BZh9', '7z\xbc\xaf\x27\x1c', 'ustar'],
].map((text) => Buffer.from(text, 'latin1'));

const BYTES_OF_INTEREST = [0, 1, 0x0a, 0x22, 0x27, 0x2c, 0x3c, 0x5b, 0x5c, 0x7b, 0x7f, 0x80, 0xff] as const;

/** One to six changes of a log, each cutting, flipping, repeating, moving, nesting or mixing in something else. */
export function mutate(random: Random, logs: readonly SoundLog[]): SoundLog {
  const log = random.one(logs);
  let bytes: Buffer = Buffer.from(log.bytes);
  const names: string[] = [];
  for (let left = random.int(1, 6); left > 0; left--) {
    const [name, change] = random.one(CHANGES);
    bytes = change(bytes, random, logs).subarray(0, MAX_MUTANT_BYTES);
    names.push(name);
  }
  return { name: `${log.name}: ${names.join(', ')}`, bytes };
}

type Change = (bytes: Buffer, random: Random, logs: readonly SoundLog[]) => Buffer;

const CHANGES: readonly (readonly [name: string, change: Change])[] = [
  ['cut the end', (bytes, random) => bytes.subarray(0, random.int(0, bytes.length))],
  ['cut the start', (bytes, random) => bytes.subarray(random.int(0, bytes.length))],
  [
    'cut the middle',
    (bytes, random) => {
      const [start, end] = rangeIn(bytes, random);
      return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
    },
  ],
  [
    'flip bits',
    (bytes, random) => {
      for (let left = random.int(1, 20); left > 0 && bytes.length > 0; left--) {
        const at = random.int(0, bytes.length - 1);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
      }
      return bytes;
    },
  ],
  [
    'set bytes',
    (bytes, random) => {
      for (let left = random.int(1, 8); left > 0 && bytes.length > 0; left--) {
        bytes[random.int(0, bytes.length - 1)] = random.one(BYTES_OF_INTEREST);
      }
      return bytes;
    },
  ],
  [
    'fill',
    (bytes, random) => {
      const [start, end] = rangeIn(bytes, random);
      return bytes.fill(random.one(BYTES_OF_INTEREST), start, end);
    },
  ],
  [
    'scramble',
    (bytes, random) => {
      const [start, end] = rangeIn(bytes, random, 4096);
      for (let at = start; at < end; at++) bytes[at] = random.int(0, 255);
      return bytes;
    },
  ],
  [
    'repeat',
    (bytes, random) => {
      const [start, end] = rangeIn(bytes, random, 65_536);
      const times = random.int(1, random.chance(0.1) ? 2000 : 20);
      const piece = bytes.subarray(start, end);
      const pieces = new Array<Buffer>(Math.min(times, Math.ceil(MAX_MUTANT_BYTES / Math.max(1, piece.length)))).fill(
        piece,
      );
      return Buffer.concat([bytes.subarray(0, end), ...pieces, bytes.subarray(end)]);
    },
  ],
  [
    'splice',
    (bytes, random, logs) => {
      const other = random.one(logs).bytes;
      const [start, end] = rangeIn(other, random, 262_144);
      const at = random.int(0, bytes.length);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(start, end), bytes.subarray(at)]);
    },
  ],
  [
    'insert',
    (bytes, random) => {
      const at = random.int(0, bytes.length);
      const times = random.chance(0.15) ? random.int(100, 300_000) : random.int(1, 3);
      const splinters = new Array<Buffer>(times).fill(random.one(SPLINTERS));
      return Buffer.concat([bytes.subarray(0, at), ...splinters, bytes.subarray(at)]);
    },
  ],
  ['pack', (bytes) => gzipSync(bytes, { level: 1 })],
  ['archive', (bytes) => tarArchive([{ name: 'member', content: bytes }])],
];

function rangeIn(bytes: Buffer, random: Random, maxLength = bytes.length): readonly [start: number, end: number] {
  const start = random.int(0, bytes.length);
  return [start, random.int(start, Math.min(bytes.length, start + maxLength))];
}
