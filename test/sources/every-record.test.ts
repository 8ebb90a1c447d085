import { describe, expect, test } from 'vitest';
import {
  type EvtxXmlRecord,
  eventRecord,
  forwardedRecord,
  writeEvtx,
  type XmlElement,
} from '../../src/demo/evtx-writer.js';
import { readCsv } from '../../src/sources/csv.js';
import { readEvtx } from '../../src/sources/evtx/index.js';
import { readJson } from '../../src/sources/json.js';
import { readText } from '../../src/sources/text.js';
import { readXml } from '../../src/sources/xml.js';
import { field, processCreation } from './evtx/samples.js';
import { readAll } from './reading.js';

/** What a source hands over where every record is wanted, parsed; and that it counts only these where they are not. */
async function readEvery(source: Parameters<typeof readAll>[0], log: string | Buffer): Promise<readonly unknown[]> {
  const every = await readAll(source, log, { isEveryRecordWanted: true });
  const wantedOnly = await readAll(source, log);
  expect(every.bodies).toEqual(wantedOnly.bodies);
  expect(every.rejects).toEqual(wantedOnly.rejects);
  expect(every.handedOver.length - every.bodies.length + every.others).toBe(wantedOnly.others);
  expect(wantedOnly.handedOver).toEqual(wantedOnly.bodies);
  return every.handedOver.map((record): unknown => JSON.parse(record));
}

const GUID = '{11111111-2222-3333-4444-555555555555}';
const MESSAGE = `Process Create:\r\nRuleName: -\r\nUtcTime: 2026-03-01 10:20:30.456\r\nProcessGuid: ${GUID}\r\nImage: C:\\a.exe`;
const TERMINATED = `Process terminated:\r\nRuleName: -\r\nUtcTime: 2026-03-01 10:20:31.000\r\nProcessGuid: ${GUID}\r\nProcessId: 4`;
const FIELDS = { RuleName: '-', UtcTime: '2026-03-01 10:20:30.456', ProcessGuid: GUID, Image: 'C:\\a.exe' };
const TERMINATED_FIELDS = { RuleName: '-', UtcTime: '2026-03-01 10:20:31.000', ProcessGuid: GUID, ProcessId: '4' };

describe('EVTX where every record is wanted', () => {
  const termination = processCreation({ eventId: 5, fields: [field('ProcessGuid', GUID), field('Image', 'a')] });
  const logon = processCreation({
    eventId: 4624,
    provider: 'Microsoft-Windows-Security-Auditing',
    providerGuid: '{54849625-5478-4994-A5BA-3E3B0328C30D}',
    channel: 'Security',
    fields: [field('TargetUserName', 'someone'), field('LogonType', { type: 'uint32', value: 3 })],
  });

  test('hands over other events of Sysmon and of other providers in their place, local and forwarded', async () => {
    for (const recordOf of [eventRecord, forwardedRecord]) {
      const records = await readEvery(readEvtx, writeEvtx([termination, processCreation(), logon].map(recordOf)));
      expect(records).toEqual([
        expect.objectContaining({ EventID: 5, EventRecordID: 27_765, EventData: { ProcessGuid: GUID, Image: 'a' } }),
        expect.objectContaining({ EventID: 1 }),
        {
          EventID: 4624,
          EventRecordID: 27_765,
          Provider: 'Microsoft-Windows-Security-Auditing',
          Channel: 'Security',
          Computer: 'HOST-A',
          TimeCreated: '2018-02-05T07:08:58.0590000Z',
          EventData: { TargetUserName: 'someone', LogonType: '3' },
        },
      ]);
    }
  });

  test('reads UserData and values without a name', async () => {
    const element = (name: string, ...content: NonNullable<XmlElement['content']>): XmlElement => ({ name, content });
    const event = (...content: XmlElement[]): EvtxXmlRecord => {
      const provider: XmlElement = { name: 'Provider', attributes: [['Name', 'Microsoft-Windows-Eventlog']] };
      const system = element('System', provider, element('EventID', '1102'), element('Channel', 'Security'));
      return { id: 1n, time: new Date('2026-03-01'), roots: [element('Event', system, ...content)] };
    };
    const cleared = element('LogFileCleared', element('SubjectUserName', 'someone'), element('SubjectDomainName', 'D'));
    const records = await readEvery(
      readEvtx,
      writeEvtx([
        event(element('UserData', cleared)),
        event(element('EventData', element('Data', 'one'), element('Data', 'two'), element('Binary', '00FF'))),
      ]),
    );
    expect(records).toMatchObject([
      { EventID: 1102, EventData: { SubjectUserName: 'someone', SubjectDomainName: 'D' } },
      { EventID: 1102, EventData: { Data: 'one, two', Binary: '00FF' } },
    ]);
  });

  test('rejects a record that cannot be decoded, although it would only have been counted', async () => {
    const unreadable: EvtxXmlRecord = {
      id: 7n,
      time: new Date('2026-03-01'),
      roots: [{ name: 'Event', content: [{ name: 'System', content: [{ name: 'EventID', content: ['none'] }] }] }],
    };
    const log = writeEvtx([unreadable, eventRecord(processCreation())]);
    const every = await readAll(readEvtx, log, { isEveryRecordWanted: true });
    expect(every.handedOver).toHaveLength(1);
    expect(every.rejects).toMatchObject([{ code: 'BAD_RECORD', message: 'event without an id', record: '7' }]);
    expect((await readAll(readEvtx, log)).others).toBe(1);
  });
});

describe('XML where every record is wanted', () => {
  const event = (id: number, provider: string, content: string): string =>
    `<Event xmlns='x'><System><Provider Name='${provider}'/><EventID>${id}</EventID><EventRecordID>9</EventRecordID>` +
    `<Channel>C</Channel><Computer>host</Computer></System>${content}</Event>\r\n`;
  const data = (name: string, value: string): string => `<Data Name='${name}'>${value}</Data>`;

  test('hands over the other records in their place, with the provider’s own names', async () => {
    const records = await readEvery(
      readXml,
      event(5, 'Microsoft-Windows-Sysmon', `<EventData>${data('Image', 'a &amp; b')}</EventData>`) +
        event(
          1,
          'Microsoft-Windows-Sysmon',
          `<EventData>${data('ProcessGuid', GUID)}${data('Image', 'i')}</EventData>`,
        ) +
        event(1, 'Microsoft-Windows-Kernel-General', '<EventData><Data>one</Data><Data>two</Data></EventData>') +
        event(
          1102,
          'Microsoft-Windows-Eventlog',
          "<UserData><LogFileCleared xmlns='y'><SubjectUserName>a&lt;b</SubjectUserName><None/></LogFileCleared></UserData>",
        ),
    );
    const origin = { EventRecordID: 9, Channel: 'C', Computer: 'host' };
    expect(records).toEqual([
      { EventID: 5, Provider: 'Microsoft-Windows-Sysmon', ...origin, EventData: { Image: 'a & b' } },
      { EventID: 1, Provider: 'Microsoft-Windows-Sysmon', ...origin, EventData: { ProcessGuid: GUID, Image: 'i' } },
      { EventID: 1, Provider: 'Microsoft-Windows-Kernel-General', ...origin, EventData: { Data: 'one, two' } },
      {
        EventID: 1102,
        Provider: 'Microsoft-Windows-Eventlog',
        ...origin,
        EventData: { SubjectUserName: 'a<b', None: '' },
      },
    ]);
  });
});

describe('JSON where every record is wanted', () => {
  const process = { EventID: 1, SourceName: 'Microsoft-Windows-Sysmon', ProcessGuid: GUID, Image: 'C:\\a.exe' };
  const other = '{"EventID":4624, "n":-9223372036854775808,"SourceName":"x"}';

  test('hands over other objects as they were found, in their place', async () => {
    const log = `${other}\n${JSON.stringify(process)}\n{"any":"thing"}\n{}\n[1]\nnull\n`;
    const every = await readAll(readJson, log, { isEveryRecordWanted: true });
    expect(every.handedOver).toEqual([other, JSON.stringify(process), '{"any":"thing"}', '{}']);
    expect(every.others).toBe(2);
    expect((await readAll(readJson, log)).others).toBe(5);
  });

  test('hands over elements of arrays and objects that span lines, and no action lines of bulk bodies', async () => {
    const log = `[${other},\n{\n  "a": [1,\n 2]\n}]\n{"index":{"_index":"logs"}}\n{"b":1}\n`;
    expect((await readAll(readJson, log, { isEveryRecordWanted: true })).handedOver).toEqual([
      other,
      '{"a":[1,2]}',
      '{"b":1}',
    ]);
  });

  test('lets no verdict of an earlier run through, nor a line that only looks like JSON', async () => {
    const line = (id: number, rest: string): string => `{"EventID":${id},"SourceName":"x"${rest}}`;
    const log = [line(2, ''), line(3, ',"virustotal":{"verdict":"malicious"}'), line(4, ',oops'), line(5, '')].join(
      '\n',
    );
    const every = await readAll(readJson, log, { isEveryRecordWanted: true });
    expect(every.handedOver).toEqual([line(2, ''), line(3, ''), line(5, '')]);
    expect(every.rejects).toMatchObject([{ code: 'BAD_JSON' }]);
  });
});

describe('text where every record is wanted', () => {
  test('hands over other messages of Sysmon’s, and of others what their headings say', async () => {
    const block = (id: number, source: string, message: string): string =>
      [
        'Event[0]:',
        `  Log Name: ${source}/Operational`,
        `  Source: ${source}`,
        '  Date: 2026-03-01T10:20:31.123Z',
        `  Event ID: ${id}`,
        '  Task: N/A',
        '  Level: Information',
        '  Opcode: Info',
        '  Keyword: N/A',
        '  User: N/A',
        '  User Name: N/A',
        '  Computer: host',
        '  Description: ',
        message,
        '',
        '',
      ].join('\r\n');
    const sysmon = 'Microsoft-Windows-Sysmon';
    const origin = (provider: string): object => ({
      Provider: provider,
      Channel: `${provider}/Operational`,
      Computer: 'host',
      TimeCreated: '2026-03-01T10:20:31.123Z',
    });
    const records = await readEvery(
      readText,
      block(5, sysmon, TERMINATED) + block(1, sysmon, MESSAGE) + block(1, 'Other', 'It said:\r\nhello'),
    );
    expect(records).toEqual([
      { EventID: 5, ...origin(sysmon), EventData: TERMINATED_FIELDS },
      { EventID: 1, ...origin(sysmon), EventData: FIELDS },
      { EventID: 1, ...origin('Other'), EventData: { Message: 'It said:\nhello' } },
    ]);
  });

  test('counts what has no id', async () => {
    const log = `LogName=x\r\n03/01/2026 10:20:30 AM\r\nLogName=Application\r\nSourceName=Other\r\nMessage=hello\r\n`;
    expect(await readEvery(readText, log)).toEqual([]);
    expect((await readAll(readText, log, { isEveryRecordWanted: true })).others).toBe(1);
  });
});

describe('CSV where every record is wanted', () => {
  const csv = (...rows: readonly (readonly string[])[]): string =>
    rows.map((row) => `${row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')}\r\n`).join('');

  test('hands over other rows of Sysmon’s, and of others their cells by the names of their columns', async () => {
    const records = await readEvery(
      readCsv,
      csv(
        ['Id', 'ProviderName', 'LogName', 'RecordId', 'MachineName', 'Message', 'Empty'],
        ['5', 'Microsoft-Windows-Sysmon', 'S', '7', 'host', TERMINATED, ''],
        ['1', 'Microsoft-Windows-Sysmon', 'S', '8', 'host', MESSAGE, ''],
        ['1', 'Other', 'Application', '9', 'host', 'hello,\r\n"you"', ''],
        ['none', 'Other', 'Application', '10', 'host', 'hello', ''],
      ),
    );
    expect(records).toEqual([
      {
        EventID: 5,
        EventRecordID: 7,
        Provider: 'Microsoft-Windows-Sysmon',
        Channel: 'S',
        Computer: 'host',
        EventData: TERMINATED_FIELDS,
      },
      expect.objectContaining({ EventID: 1, EventData: FIELDS }),
      {
        EventID: 1,
        EventRecordID: 9,
        Provider: 'Other',
        Channel: 'Application',
        Computer: 'host',
        EventData: {
          Id: '1',
          ProviderName: 'Other',
          LogName: 'Application',
          RecordId: '9',
          MachineName: 'host',
          Message: 'hello,\r\n"you"',
        },
      },
    ]);
    const { others } = await readAll(readCsv, csv(['Id', 'ProviderName', 'Message'], ['none', 'Other', 'm']), {
      isEveryRecordWanted: true,
    });
    expect(others).toBe(1);
  });

  test('hands over the events in Splunk’s column of whole events', async () => {
    const xml = (id: number): string =>
      `<Event><System><Provider Name='P'/><EventID>${id}</EventID></System><EventData><Data Name='a'>1</Data></EventData></Event>`;
    expect(await readEvery(readCsv, csv(['_time', '_raw'], ['1', xml(7)], ['2', xml(8)]))).toEqual([
      { EventID: 7, Provider: 'P', EventData: { a: '1' } },
      { EventID: 8, Provider: 'P', EventData: { a: '1' } },
    ]);
  });
});
