import { describe, expect, test } from 'vitest';
import type { WantedRecords } from '../../src/event.js';
import { DEFAULT_LIMITS, readLog } from '../../src/sources/index.js';
import { readAll } from './reading.js';

const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const PROVIDER = 'Microsoft-Windows-Sysmon';
const SHA1 = '0123456789ABCDEF0123456789ABCDEF01234567';

function fieldsOf(commandLine: string, number: number): readonly (readonly [string, string])[] {
  return [
    ['RuleName', '-'],
    ['UtcTime', '2026-03-01 10:20:30.123'],
    ['ProcessGuid', `{11111111-2222-3333-4444-${String(number).padStart(12, '0')}}`],
    ['ProcessId', '42'],
    ['Image', 'C:\\tool.exe'],
    ['CommandLine', commandLine],
    ['Hashes', `SHA1=${SHA1}`],
    ['ParentProcessGuid', '{11111111-2222-3333-4444-777777777777}'],
    ['ParentImage', 'C:\\explorer.exe'],
  ];
}

const messageOf = (commandLine: string, number: number): string =>
  ['Process Create:', ...fieldsOf(commandLine, number).map(([name, value]) => `${name}: ${value}`)].join('\r\n');

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

function xmlOf(commandLine: string, number: number): string {
  const data = fieldsOf(commandLine, number).map(
    ([name, value]) => `<Data Name='${name}'>${value.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</Data>`,
  );
  return `<Event xmlns='x'><System><Provider Name='${PROVIDER}'/><EventID>1</EventID><Channel>${CHANNEL}</Channel></System><EventData>${data.join('')}</EventData></Event>`;
}

/** A way to write a log: what stands above its records, and each record with the values somebody else chose. */
interface Writer {
  readonly format: string;
  readonly head: string;
  /** The marks that start its own records: a command line with one of them parts a record, and that is all. */
  readonly ownMarks?: readonly string[];
  record(commandLine: string, number: number): string;
}

const WRITERS: Readonly<Record<string, Writer>> = {
  'CSV of Event Viewer': {
    format: 'CSV',
    head: 'Level,Date and Time,Source,Event ID,Task Category\r\n',
    record: (line, number) => `Information,3/1/2026 1:02:03 PM,${PROVIDER},1,x,${quoted(messageOf(line, number))}\r\n`,
  },
  'CSV with a column for each field': {
    format: 'CSV',
    head: `EventID,Channel,${fieldsOf('', 0)
      .map(([name]) => name)
      .join(',')}\r\n`,
    record: (line, number) =>
      `1,${CHANNEL},${fieldsOf(line, number)
        .map(([, value]) => quoted(value))
        .join(',')}\r\n`,
  },
  'CSV with whole events as XML': {
    format: 'CSV',
    head: '"_raw","_time"\n',
    record: (line, number) => `${quoted(xmlOf(line, number))},"x"\n`,
  },
  'XML below a declaration': {
    format: 'event XML',
    head: '<?xml version="1.0"?>\n<Events>\n',
    record: (line, number) => `${xmlOf(line, number)}\n`,
  },
  'XML of evtx_dump': {
    format: 'event XML',
    head: '',
    record: (line, number) => `Record ${number}\n<?xml version="1.0"?>\n${xmlOf(line, number)}\n\n`,
  },
  'syslog of Sysmon for Linux': {
    format: 'syslog',
    head: 'Mar  1 11:20:31 web sshd[1]: Accepted password for root\n',
    ownMarks: ['a line of syslog', 'a line of syslog with an event', 'the start of an alert'],
    record: (line, number) => `Mar  1 11:20:31 web sysmon: ${xmlOf(line, number)}\n`,
  },
  'OSSEC archives': {
    format: 'syslog',
    head: '2026 Mar 01 11:20:31 (web) any->/var/log/auth.log x\n',
    record: (line, number) =>
      `2026 Mar 01 11:20:31 WinEvtLog: ${CHANNEL}: INFORMATION(1): ${PROVIDER}: S: D: H: ${messageOf(line, number).replaceAll('\r\n', '  ')}\n`,
  },
  'Snare behind a host': {
    format: 'text',
    head: '',
    record: (line, number) =>
      `HOST\tMSWinEventLog\t1\t${CHANNEL}\t1\tx\t1\t${PROVIDER}\tS\tU\tI\tH\tx\t\t${messageOf(line, number).replaceAll('\r\n', '  ')}\t1\n`,
  },
  'JSON lines behind headers': {
    format: 'syslog',
    head: '',
    record: (line, number) =>
      `<14>Mar  1 11:20:31 H x[1]: ${JSON.stringify({ EventID: 1, SourceName: PROVIDER, ...Object.fromEntries(fieldsOf(line, number)) })}\n`,
  },
  'text of wevtutil': {
    format: 'text',
    head: '',
    ownMarks: ["wevtutil's heading"],
    record: (line, number) =>
      `Event[${number}]\r\n  Log Name: ${CHANNEL}\r\n  Source: ${PROVIDER}\r\n  Date: x\r\n  Event ID: 1\r\n  Task: x\r\n  Description: \r\n${messageOf(line, number)}\r\n\r\n`,
  },
  'text of Format-List': {
    format: 'text',
    head: '\r\n',
    record: (line, number) =>
      `\r\nId           : 1\r\nProviderName : ${PROVIDER}\r\nMessage      : ${messageOf(line, number).replaceAll('\r\n', `\r\n${' '.repeat(15)}`)}\r\n\r\n`,
  },
  'text of Splunk': {
    format: 'text',
    head: '',
    ownMarks: ["Splunk's first lines"],
    record: (line, number) =>
      `03/01/2026 11:20:31 AM\nLogName=${CHANNEL}\nEventCode=1\nMessage=${messageOf(line, number)}\n`,
  },
};

/** What gives a format away, as a command line may hold it. */
const MARKS: Readonly<Record<string, string>> = {
  'the title of a message': 'x\r\nProcess Create:\r\nRuleName: y',
  "wevtutil's heading": 'x\r\nEvent[7]\r\n',
  "Event Viewer's first heading": 'x\r\nLog Name: x',
  "Event Viewer's heading of XML": 'x\r\nEvent Xml:\r\ny',
  "OSSEC's mark": 'x WinEvtLog: x',
  "Snare's mark": 'x MSWinEventLog\t1\t',
  'a property behind a blank line': 'x\r\n\r\nTimeCreated  : x',
  'the id behind a blank line': 'powershell "\r\n\r\nId : 5\r\nMessage : x\r\n"',
  "Splunk's first lines": 'x\r\n01/02/2026 03:04:05 PM\r\nLogName=x',
  'a line of JSON': 'x\r\n{"a":1}',
  'an array of JSON': 'x\r\n[{"a":1}]',
  'the start of an event as XML': 'x\r\n<Event xmlns="a">',
  'an XML declaration': 'x\r\n<?xml version="1.0"?>\r\n<Events>',
  'a line of syslog': 'x\r\nMay 11 18:10:22 host sysmon: x',
  'a line of syslog with an event': 'x\r\nMay 11 18:10:22 host sysmon: <Event>',
  'the start of an alert': 'x\r\n** Alert 1772364031.123: - x\r\n',
  'a header of CSV': 'x\r\nEventID,Channel,Image,CommandLine,Hashes',
};

interface Reading {
  readonly format: string;
  /** Whether nothing was rejected, and each process has its hash. */
  readonly isWhole: boolean;
  readonly commandLines: readonly (string | undefined)[];
}

async function readRecords(log: string): Promise<Reading> {
  let format = '';
  const { events, hashes, rejects } = await readAll(async (reader, wanted, receiver) => {
    const options = { wanted, limits: DEFAULT_LIMITS, filePath: undefined };
    ({ format } = await readLog(reader, options, receiver, () => {}));
  }, log);
  return {
    format,
    isWhole: rejects.length === 0 && hashes.every(({ sha1 }) => sha1 !== undefined),
    commandLines: events.map(({ data }) => data.get('CommandLine')),
  };
}

describe('whoever writes a command line does not choose the format', () => {
  test.each(
    Object.entries(WRITERS).flatMap(([dress, writer]) =>
      Object.entries(MARKS).map(([mark, commandLine]) => ({ dress, mark, writer, commandLine })),
    ),
  )('$dress with $mark', async ({ writer, mark, commandLine }) => {
    for (const place of [0, 1]) {
      const lines = ['a.exe', 'b.exe'];
      lines[place] = commandLine;
      const { format, isWhole, commandLines } = await readRecords(
        writer.head + lines.map((line, number) => writer.record(line, number)).join(''),
      );
      expect(format).toBe(writer.format);
      expect(commandLines).toContain(lines[1 - place]);
      if (writer.ownMarks?.includes(mark)) continue;
      expect(commandLines).toHaveLength(2);
      expect(isWhole).toBe(true);
    }
  });
});

describe('a log of which only its end says that it is none', () => {
  const syslog = 'Mar  1 11:20:31 web sshd[1]: Accepted password for root\n';
  const xml = '<?xml version="1.0"?>\n<project/>';

  test.each([
    ['in place', { isEveryByteWanted: true }],
    ['in rows', { areRowsWanted: true }],
  ])('is no failure where records are to be written %s', async (_way, how) => {
    for (const log of [syslog, xml]) {
      await expect(readAs(log, how)).rejects.toMatchObject({ code: 'NOT_A_LOG' });
    }
    for (const log of [`${syslog}Mar  1 11:20:31 web sysmon: ${xmlOf('a', 1)}\n`, xmlOf('a', 1)]) {
      await expect(readAs(log, how)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    }
  });

  function readAs(log: string, how: Partial<WantedRecords>): Promise<unknown> {
    return readAll((reader, wanted, receiver) => {
      const options = { wanted: { ...wanted, ...how }, limits: DEFAULT_LIMITS, filePath: undefined };
      return readLog(reader, options, receiver, () => {}).then(() => {});
    }, log);
  }
});
