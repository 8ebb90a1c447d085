import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LogError } from '../../../src/errors.js';
import { looksLikeCsv, readCsv } from '../../../src/sources/csv.js';
import { MAX_RECORD_BYTES } from '../../../src/sources/lines.js';
import { type Reading, readAll } from '../reading.js';

const SHA1 = '0123456789ABCDEF0123456789ABCDEF01234567';
const MD5 = '00112233445566778899AABBCCDDEEFF';
const HASHES = `SHA1=${SHA1},MD5=${MD5}`;
const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const PROVIDER = 'Microsoft-Windows-Sysmon';
const GUID = '11111111-2222-3333-4444-555555555555';
const PARENT_GUID = '11111111-2222-3333-4444-777777777777';

const FIELDS: readonly (readonly [string, string])[] = [
  ['RuleName', '-'],
  ['UtcTime', '2026-03-01 10:20:30.456'],
  ['ProcessGuid', `{${GUID}}`],
  ['ProcessId', '4242'],
  ['Image', 'C:\\Tools\\a tool.exe'],
  ['CommandLine', '"C:\\Tools\\a tool.exe"  --key: a, b; c\td ¦ e '],
  ['CurrentDirectory', 'C:\\Tools\\'],
  ['User', 'NT-AUTORITÄT\\SYSTEM'],
  ['Hashes', HASHES],
  ['ParentProcessGuid', `{${PARENT_GUID}}`],
  ['ParentProcessId', '4'],
  ['ParentImage', 'C:\\Windows\\explorer.exe'],
  ['ParentCommandLine', 'explorer.exe /e'],
];
const MESSAGE = ['Process Create:', ...FIELDS.map(([name, value]) => `${name}: ${value}`)].join('\r\n');
const SYSTEM_MESSAGE = 'The system time has changed.\r\n\r\nReason: "none"';

type Row = readonly (string | number)[];

function csv(rows: readonly Row[], delimiter = ',', lineBreak = '\r\n'): string {
  const lines = rows.map((row) => row.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(delimiter));
  return `${lines.join(lineBreak)}${lineBreak}`;
}

/** A table of one record: its columns and their values. */
function table(columns: Readonly<Record<string, string>>): string {
  return csv([Object.keys(columns), Object.values(columns)]);
}

async function readOne(log: string): Promise<Reading['events'][number] | undefined> {
  expect(looksLikeCsv(Buffer.from(log))).toBe(true);
  const { events, rejects, others } = await readAll(readCsv, log);
  expect({ events: events.length, rejects, others }).toEqual({ events: 1, rejects: [], others: 0 });
  return events[0];
}

describe('Event Viewer, saved as CSV', () => {
  const rows = (header: readonly string[]): Row[] => [
    header,
    ['Information', '3/1/2026 11:20:31 AM', 'Microsoft-Windows-Kernel-General', 1, '(5)', SYSTEM_MESSAGE],
    ['Information', '3/1/2026 11:20:31 AM', PROVIDER, 1, 'Process Create (rule: ProcessCreate)', MESSAGE],
    ['Information', '3/1/2026 11:20:31 AM', PROVIDER, 5, 'Process terminated', 'Process terminated:\r\nUtcTime: x'],
  ];

  test.each([
    ['English', ['Level', 'Date and Time', 'Source', 'Event ID', 'Task Category']],
    ['German', ['Ebene', 'Datum und Uhrzeit', 'Quelle', 'Ereignis-ID', 'Aufgabenkategorie']],
    ['Danish', ['Niveau', 'Dato og klokkeslæt', 'Kilde', 'Hændelses-id', 'Opgavekategori']],
  ])('names five columns and writes six, in %s too', async (_language, header) => {
    const log = `\ufeff${csv(rows(header))}`;
    expect(looksLikeCsv(Buffer.from(log))).toBe(true);
    const { bodies, others } = await readAll(readCsv, log);
    expect(others).toBe(2);
    // Local times, no computer, no record id.
    expect(bodies.map((body) => JSON.parse(body) as unknown)).toEqual([
      { EventID: 1, Provider: PROVIDER, EventData: Object.fromEntries(FIELDS) },
    ]);
  });
});

describe("PowerShell's Export-Csv", () => {
  const RECORD = {
    Message: MESSAGE,
    Id: '1',
    Version: '5',
    Level: '4',
    Task: '1',
    RecordId: '18446744073709551615',
    ProviderName: PROVIDER,
    ProviderId: '5770385f-c22a-43e0-bf4c-06f5698ffbd9',
    LogName: CHANNEL,
    ProcessId: '2940',
    ThreadId: '3748',
    MachineName: 'host.example',
    TimeCreated: '3/1/2026 11:20:31 AM',
  };

  test('is read below its type line; ProcessId is that of the service and not taken', async () => {
    const event = await readOne(`#TYPE System.Diagnostics.Eventing.Reader.EventLogRecord\r\n${table(RECORD)}`);
    expect(event).toEqual({
      eventId: 1,
      recordId: '18446744073709551615',
      provider: PROVIDER,
      channel: CHANNEL,
      computer: 'host.example',
      timeCreated: undefined,
      data: new Map(FIELDS),
    });
  });

  test.each([';', '\t'])('is read with %j between the cells, found or named by Excel', async (delimiter) => {
    const log = csv([Object.keys(RECORD), Object.values(RECORD)], delimiter);
    expect((await readOne(log))?.data).toEqual(new Map(FIELDS));
    expect((await readOne(`\ufeffsep=${delimiter}\r\n${log}`))?.data).toEqual(new Map(FIELDS));
  });

  test.each([
    ['TimeCreated,Id,MachineName,Message', ['TimeCreated', 'Id', 'MachineName', 'Message']],
    ['Message,Id in this order', ['Message', 'Id', 'ProviderName']],
    ['TimeCreated,Message', ['TimeCreated', 'Message']],
    ['Message alone', ['Message']],
  ])('is read where only some columns were selected: %s', async (_name, names) => {
    const row = names.map((name) => RECORD[name as keyof typeof RECORD]);
    expect((await readOne(csv([names, row])))?.data).toEqual(new Map(FIELDS));
  });

  test('takes names without regard to case', async () => {
    const lower = Object.fromEntries(Object.entries(RECORD).map(([name, value]) => [name.toLowerCase(), value]));
    expect((await readOne(table(lower)))?.data).toEqual(new Map(FIELDS));
  });

  test('of event 1 of others is not taken for a process creation, with a provider or without', async () => {
    const log = csv([
      ['Id', 'MachineName', 'ProviderName', 'Message'],
      [1, 'host', 'Microsoft-Windows-Kernel-General', SYSTEM_MESSAGE],
      [1, 'host', 'Another-Provider', MESSAGE],
      [1, 'host', '', SYSTEM_MESSAGE],
    ]);
    const { events, others, rejects } = await readAll(readCsv, log);
    expect({ events, others, rejects }).toEqual({ events: [], others: 3, rejects: [] });
  });

  test('joined to another export has its header and type line once more', async () => {
    const log = `#TYPE X\r\n${table(RECORD)}`;
    const { events, others, rejects } = await readAll(readCsv, log + log);
    expect({ events: events.length, others, rejects }).toEqual({ events: 2, others: 0, rejects: [] });
  });
});

describe('EvtxECmd', () => {
  const payload = JSON.stringify({
    EventData: {
      Data: FIELDS.map(([name, value]) => ({ '@Name': name, '#text': value.replace(/^\{(.*)\}$/, '$1') })),
    },
  });
  const COLUMNS = {
    RecordNumber: '3',
    EventRecordId: '88',
    TimeCreated: '2026-03-01 10:20:31.1234567',
    EventId: '1',
    Level: 'Info',
    Provider: PROVIDER,
    Channel: CHANNEL,
    ProcessId: '2284',
    ThreadId: '5252',
    Computer: 'host.example',
    MapDescription: 'Process creation',
    UserName: 'NT-AUTORITÄT\\SYSTEM',
    PayloadData1: `ProcessID: 4242, ProcessGUID: ${GUID}`,
    PayloadData2: 'RuleName: -',
    PayloadData3: HASHES,
    PayloadData4: 'ParentProcess: C:\\Windows\\explorer.exe',
    PayloadData5: `ParentProcessID: 4, ParentProcessGUID: ${PARENT_GUID}`,
    PayloadData6: 'ParentCommandLine: explorer.exe /e',
    ExecutableInfo: 'tool.exe --run',
    Keywords: 'Classic',
  };

  test('gives the fields of the payload as Windows renders them, in any order of columns', async () => {
    const log = table({ ...COLUMNS, Payload: payload });
    const reversed = table(Object.fromEntries(Object.entries({ ...COLUMNS, Payload: payload }).reverse()));
    for (const text of [`\ufeff${log}`, reversed]) {
      expect(await readOne(text)).toEqual({
        eventId: 1,
        recordId: '88',
        provider: PROVIDER,
        channel: CHANNEL,
        computer: 'host.example',
        timeCreated: '2026-03-01T10:20:31.1234567Z',
        data: new Map(FIELDS),
      });
    }
  });

  test('is read whatever the case of its column names', async () => {
    const columns = Object.entries({ ...COLUMNS, Payload: payload });
    const log = table(Object.fromEntries(columns.map(([name, cell]) => [name.toLowerCase(), cell])));
    expect(await readOne(log)).toMatchObject({ eventId: 1, recordId: '88', data: new Map(FIELDS) });
  });

  test('gives what its maps put into columns where there is no payload', async () => {
    const event = await readOne(table(COLUMNS));
    expect(Object.fromEntries(event?.data ?? [])).toMatchObject({
      ProcessId: '4242',
      ProcessGuid: `{${GUID}}`,
      CommandLine: 'tool.exe --run',
      Hashes: HASHES,
      ParentImage: 'C:\\Windows\\explorer.exe',
      ParentProcessGuid: `{${PARENT_GUID}}`,
    });
  });
});

describe('hayabusa', () => {
  const HEADER = [
    'Timestamp',
    'RuleTitle',
    'Level',
    'Computer',
    'Channel',
    'EventID',
    'RecordID',
    'Details',
    'ExtraFieldInfo',
  ];
  const details = (separator = ' ¦ '): string =>
    [
      'Cmdline: tool.exe --run',
      'Proc: C:\\Tools\\a tool.exe',
      'User: HOST\\someone',
      'LID: 0x3e7',
      'PID: 4242',
      `PGUID: ${GUID}`,
      'ParentPID: 4',
      `ParentPGUID: ${PARENT_GUID}`,
      'Description: n/a',
      `Hashes: ${HASHES}`,
    ].join(separator);
  const row = (rule: string, recordId: number, text = details()): Row => [
    '2026-03-01 11:20:31.123 +01:00',
    rule,
    'info',
    'host.example',
    'Sysmon',
    1,
    recordId,
    text,
    'CurrentDirectory: C:\\Tools\\ ¦ ParentImage: C:\\Windows\\explorer.exe',
  ];

  test('is read whatever the case of its column names', async () => {
    for (const header of [HEADER.map((name) => name.toLowerCase()), HEADER.map((name) => name.toUpperCase())]) {
      const event = await readOne(csv([header, row('Proc Exec', 7)]));
      expect(event?.data.get('Hashes')).toBe(HASHES);
      expect(event?.data.get('ParentImage')).toBe('C:\\Windows\\explorer.exe');
    }
  });

  test.each([
    ['bars', ' ¦ '],
    ['lines (--multiline)', '\r\n'],
    ['tabs (--tab-separator)', '\t'],
  ])('gives the fields of its details, parted by %s', async (_name, separator) => {
    const event = await readOne(csv([HEADER, row('Proc Exec', 7, details(separator))]));
    expect(event).toMatchObject({ recordId: '7', channel: CHANNEL, computer: 'host.example' });
    expect(event?.timeCreated).toBe('2026-03-01T10:20:31.123Z');
    expect(Object.fromEntries(event?.data ?? [])).toEqual({
      CommandLine: 'tool.exe --run',
      Image: 'C:\\Tools\\a tool.exe',
      User: 'HOST\\someone',
      LogonId: '0x3e7',
      ProcessId: '4242',
      ProcessGuid: `{${GUID}}`,
      ParentProcessId: '4',
      ParentProcessGuid: `{${PARENT_GUID}}`,
      Hashes: HASHES,
      CurrentDirectory: 'C:\\Tools\\',
      ParentImage: 'C:\\Windows\\explorer.exe',
    });
  });

  test('writes a row for each rule that matches an event: the first counts', async () => {
    const rows = [row('Proc Exec', 7), row('Suspicious', 7), row('Proc Exec', 8), row('Third', 7)];
    const { events, duplicates } = await readAll(readCsv, csv([HEADER, ...rows]));
    expect(events.map(({ recordId }) => recordId)).toEqual(['7', '8']);
    expect(duplicates).toBe(2);
  });

  test('keeps a bar that stands in a value', async () => {
    const event = await readOne(csv([HEADER, row('Proc Exec', 7, details().replace('--run', '¦ --run'))]));
    expect(event?.data.get('CommandLine')).toBe('tool.exe ¦ --run');
  });

  test('does not believe a command line that brings fields along', async () => {
    const forged = `x ¦ Hashes: SHA1=${'0'.repeat(39)}1 ¦ Proc: C:\\benign.exe`;
    const log = csv([HEADER, row('Proc Exec', 7, details().replace('tool.exe --run', forged))]);
    const { hashes, events } = await readAll(readCsv, log);
    expect(hashes.map(({ sha1 }) => sha1)).toEqual([SHA1.toLowerCase()]);
    expect(events[0]?.data.has('Image')).toBe(false);
  });
});

describe('Splunk', () => {
  const raw = [
    '03/01/2026 11:20:31 AM',
    `LogName=${CHANNEL}`,
    'EventCode=1',
    'ComputerName=host.example',
    'User=NOT_TRANSLATED',
    `SourceName=${PROVIDER}`,
    'RecordNumber=99',
    `Message=${MESSAGE.replaceAll('\r', '')}`,
  ].join('\n');
  const xml = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='${PROVIDER}'/><EventID>1</EventID><Channel>${CHANNEL}</Channel><Computer>host.example</Computer></System><EventData>${FIELDS.map(([name, value]) => `<Data Name='${name}'>${value}</Data>`).join('')}</EventData></Event>`;

  test('gives the raw event, as text over several lines and as XML', async () => {
    for (const text of [raw, xml]) {
      const event = await readOne(
        table({
          _raw: text,
          _time: '2026-03-01T11:20:31.000+0000',
          host: 'collector',
          source: `WinEventLog:${CHANNEL}`,
          sourcetype: 'WinEventLog',
        }),
      );
      expect(event).toMatchObject({ provider: PROVIDER, channel: CHANNEL, computer: 'host.example' });
      expect(event?.data).toEqual(new Map(FIELDS));
    }
  });

  test('gives extracted fields; the account of the heading is not that of the process', async () => {
    const event = await readOne(
      table({
        _time: '2026-03-01T11:20:31.000+0000',
        Computer: 'host.example',
        EventCode: '1',
        LogName: CHANNEL,
        source: `WinEventLog:${CHANNEL}`,
        Image: 'C:\\Tools\\a tool.exe',
        User: 'NOT_TRANSLATED\nHOST\\someone',
        ProcessGuid: `{${GUID}}`,
        SHA1,
        MD5,
      }),
    );
    expect(Object.fromEntries(event?.data ?? [])).toMatchObject({ User: 'HOST\\someone', Hashes: HASHES });
  });
});

describe("Splunk's tables without a channel", () => {
  const columns = {
    _time: '2026-03-01T11:20:31.000+0000',
    host: 'host.example',
    EventCode: '1',
    Image: 'C:\\Tools\\a tool.exe',
    Hashes: HASHES,
  };

  test.each(['source', 'sourcetype'])('have it in their %s', async (name) => {
    const event = await readOne(table({ ...columns, [name]: `XmlWinEventLog:${CHANNEL}` }));
    expect(event).toMatchObject({ channel: CHANNEL, computer: 'host.example' });
    expect(event?.data.get('Hashes')).toBe(HASHES);
  });

  test('are not of Sysmon where that names another, or a column of its own does', async () => {
    for (const record of [
      { ...columns, source: 'XmlWinEventLog:System' },
      { ...columns, source: `XmlWinEventLog:${CHANNEL}`, Channel: 'System' },
    ]) {
      const { events, others } = await readAll(readCsv, table({ ...record, Hashes: '' }));
      expect({ events, others }).toEqual({ events: [], others: 1 });
    }
  });
});

describe('Log Analytics, exported from the portal', () => {
  const COLUMNS = {
    TenantId: 'x',
    'TimeGenerated [UTC]': '3/1/2026, 1:20:31.123 PM',
    Source: PROVIDER,
    EventLog: CHANNEL,
    Computer: 'host.example',
    EventID: '1',
    Type: 'Event',
  };

  test('gives the fields of EventData, which is XML or JSON, before those of the description', async () => {
    const xml = `<DataItem Type="System.XmlData" time="2026-03-01T13:20:31.1234567Z"><EventData xmlns="x">${FIELDS.map(([name, value]) => `<Data Name="${name}">${value}</Data>`).join('')}</EventData></DataItem>`;
    const json = JSON.stringify(Object.fromEntries(FIELDS));
    for (const data of [xml, json]) {
      const wrong = MESSAGE.replace('ProcessId: 4242', 'ProcessId: 0');
      const event = await readOne(`\ufeff${table({ ...COLUMNS, EventData: data, RenderedDescription: wrong })}`);
      expect(event?.data).toEqual(new Map(FIELDS));
      expect(event).toMatchObject({ provider: PROVIDER, channel: CHANNEL, computer: 'host.example' });
      expect(event?.timeCreated).toMatch(/^2026-03-01T13:20:31\.123/);
    }
  });

  test('gives the fields of the description where there is nothing else', async () => {
    expect((await readOne(table({ ...COLUMNS, RenderedDescription: MESSAGE })))?.data).toEqual(new Map(FIELDS));
  });
});

describe('Kibana', () => {
  const COLUMNS = {
    '@timestamp': '2026-03-01T10:20:30.456Z',
    'event.code': '1',
    'winlog.channel': CHANNEL,
    'host.name': 'host.example',
    'agent.name': 'collector',
    'process.entity_id': `{${GUID}}`,
    'process.pid': '4242',
    'process.executable': 'C:\\Tools\\a tool.exe',
    'process.command_line': '-',
    'process.hash.sha1': SHA1.toLowerCase(),
    'process.hash.md5': '-',
    'user.domain': 'HOST',
    'user.name': 'someone',
    'process.parent.entity_id': `{${PARENT_GUID}}`,
    'process.parent.executable': 'C:\\Windows\\explorer.exe',
  };

  test('gives the fields of the Elastic Common Schema; a dash is no value', async () => {
    const event = await readOne(`\ufeff${table(COLUMNS)}`);
    expect(event).toMatchObject({ channel: CHANNEL, computer: 'host.example' });
    expect(Object.fromEntries(event?.data ?? [])).toEqual({
      UtcTime: '2026-03-01 10:20:30.456',
      ProcessGuid: `{${GUID}}`,
      ProcessId: '4242',
      Image: 'C:\\Tools\\a tool.exe',
      User: 'HOST\\someone',
      Hashes: `SHA1=${SHA1}`,
      ParentProcessGuid: `{${PARENT_GUID}}`,
      ParentImage: 'C:\\Windows\\explorer.exe',
    });
  });

  test('has hashes of deleted files and of the clipboard under the same name: they are no process creations', async () => {
    for (const code of ['23', '24', '26']) {
      const { events, others } = await readAll(readCsv, table({ ...COLUMNS, 'event.code': code }));
      expect({ events, others }).toEqual({ events: [], others: 1 });
    }
  });

  test('gives the fields Winlogbeat leaves where they were', async () => {
    const columns = Object.fromEntries(FIELDS.map(([name, value]) => [`winlog.event_data.${name}`, value]));
    const event = await readOne(
      table({ '@timestamp': 'x', 'winlog.event_id': '1', 'winlog.provider_name': PROVIDER, ...columns }),
    );
    expect(event?.data.get('Hashes')).toBe(HASHES);
    expect(event?.data.get('CommandLine')).toBe(FIELDS[5]?.[1]);
  });
});

describe('cells that hold whole events', () => {
  const data = FIELDS.map(([name, value]) => `<Data Name="${name}">${value}</Data>`).join('');
  const xml = `<Event><System><Provider Name="${PROVIDER}"/><EventID>1</EventID><Channel>${CHANNEL}</Channel><Computer>host.example</Computer></System><EventData>${data}</EventData></Event>`;
  const fields = Object.fromEntries(FIELDS);
  const system = { Provider: { Name: PROVIDER }, EventID: { Value: 1 }, Channel: CHANNEL, Computer: 'host.example' };
  const yaml = FIELDS.map(([name, value]) => `${name}: ${/^[{"]/.test(value) ? `'${value}'` : value}`).join('\n');
  const chainsaw = {
    timestamp: 'x',
    detections: '+ a rule',
    path: 'x.evtx',
    'Event.System.Provider': PROVIDER,
    'Event ID': '1',
    'Record ID': '88',
    Computer: 'host.example',
    'Event Data': yaml,
  };

  test.each([
    ['Sysmon for Linux in Log Analytics', { 'TimeGenerated [UTC]': 'x', Computer: 'host.example', SyslogMessage: xml }],
    ['XML as the message', { timestamp: 'x', host: 'host.example', message: xml }],
    ['XML as the message behind a header', { time: 'x', message: `May 11 18:10:22 host.example sysmon: ${xml}` }],
    ['JSON as the message', { time: 'x', message: JSON.stringify({ ...system, EventID: 1, EventData: fields }) }],
    ['XML that ToXml() gave', { TimeCreated: 'x', Id: '1', ProviderName: PROVIDER, Xml: xml }],
    ['JSON of Velociraptor', { System: JSON.stringify(system), EventData: JSON.stringify(fields), Message: 'x' }],
    ['lines of chainsaw', chainsaw],
    [
      'messages that Graylog has twice, once cut',
      {
        source: 'host.example',
        message: MESSAGE.slice(0, 64),
        full_message: MESSAGE,
        EventID: '1',
        SourceName: PROVIDER,
      },
    ],
  ])('are read: %s', async (_name, record) => {
    const event = await readOne(table(record));
    expect(event?.data).toEqual(new Map(FIELDS));
  });

  test('make no log of others', () => {
    for (const log of ['time,message\n1,{"a": 1}\n', 'time,Xml\n1,<a>\n', 'time,message\n1,<Event><a/></Event>\n']) {
      expect(looksLikeCsv(Buffer.from(log))).toBe(false);
    }
  });

  test('of chainsaw may stand there for each rule, and may not name digests twice', async () => {
    const forged = { ...chainsaw, 'Record ID': '89', 'Event Data': `${yaml}\nHashes: SHA1=${'1'.repeat(40)}` };
    const rows = [chainsaw, { ...chainsaw, detections: '+ another rule' }, forged].map((record) =>
      Object.values(record),
    );
    const { events, duplicates } = await readAll(readCsv, csv([Object.keys(chainsaw), ...rows]));
    expect({ hashes: events.map((event) => event.data.get('Hashes')), duplicates }).toEqual({
      hashes: [HASHES, undefined],
      duplicates: 1,
    });
  });
});

describe("columns named like Sysmon's fields", () => {
  const columns = Object.fromEntries(FIELDS.slice(1));

  test('are recognised by an event id, and without one by their shape', async () => {
    for (const log of [table({ EventID: '1', Computer: 'host', ...columns }), table(columns)]) {
      expect((await readOne(log))?.data).toEqual(new Map(FIELDS.slice(1)));
    }
  });

  test('may have ids with a fraction, as data frames with gaps write them', async () => {
    const { events, others } = await readAll(
      readCsv,
      csv([
        ['', 'EventID', 'Channel', ...Object.keys(columns)],
        [0, '1.0', CHANNEL, ...Object.values(columns)],
        [1, '3.0', CHANNEL, ...Object.values(columns)],
        [2, '1.5', CHANNEL, ...Object.values(columns)],
      ]),
    );
    expect({ hashes: events.map(({ data }) => data.get('Hashes')), others }).toEqual({ hashes: [HASHES], others: 2 });
  });

  test('may be spelled in any case', async () => {
    const lower = Object.fromEntries(Object.entries(columns).map(([name, value]) => [name.toLowerCase(), value]));
    expect((await readOne(table({ eventid: '1', ...lower })))?.data.get('ParentCommandLine')).toBe('explorer.exe /e');
  });

  test('that say nothing for one record leave its fields away', async () => {
    const event = await readOne(table({ EventID: '1', ...columns, FileVersion: '' }));
    expect(event?.data.has('FileVersion')).toBe(false);
  });

  test('whose names are those of prototypes do no harm', async () => {
    const event = await readOne(
      table({ EventID: '1', ...columns, ['__proto__']: 'x', constructor: 'y', toString: 'z' }),
    );
    expect(event?.data.get('Hashes')).toBe(HASHES);
  });
});

describe('any CSV', () => {
  const HEADER = ['Id', 'ProviderName', 'Message'];
  const row: Row = [1, PROVIDER, MESSAGE];

  test('is not claimed without columns of events, and refused when read', async () => {
    for (const log of [
      'id,name,message\n1,a,b\n',
      'timestamp,level,source,message\n1,a,b,c\n',
      `EventID,Computer${',x'.repeat(5000)}\n`,
      'a,b,c\n1,2,3\n',
      'just text, with a comma\n',
      '#separator \\x09\n#fields\tts\tuid\tid.orig_h\n1.5\tC\t192.0.2.1\n',
      '\n\n',
      '',
    ]) {
      expect(looksLikeCsv(Buffer.from(log))).toBe(false);
    }
    await expect(readAll(readCsv, 'a,b,c\n1,2,3\n')).rejects.toThrow(LogError);
  });

  test('with a header and no rows holds nothing', async () => {
    expect(looksLikeCsv(Buffer.from('EventID,Computer,Hashes\r\n'))).toBe(true);
    expect(await readAll(readCsv, 'EventID,Computer,Hashes\r\n')).toMatchObject({ events: [], others: 0, rejects: [] });
  });

  test('cut inside a quoted cell, or before its last cells, loses only that row', async () => {
    const whole = csv([HEADER, row, row]);
    for (const end of [whole.length - 40, whole.lastIndexOf(PROVIDER)]) {
      const { events, rejects } = await readAll(readCsv, whole.slice(0, end));
      expect(events).toHaveLength(1);
      expect(rejects).toEqual([
        { code: 'TRUNCATED', message: expect.any(String), record: '2', offset: Buffer.byteLength(csv([HEADER, row])) },
      ]);
    }
  });

  test('whose rows are all shorter than the header is not cut', async () => {
    const { events, rejects } = await readAll(readCsv, csv([[...HEADER, 'Empty'], row, row]));
    expect({ events: events.length, rejects }).toEqual({ events: 2, rejects: [] });
  });

  test('with a quote that never ends is rejected at the limit and read on', async () => {
    const open = `1,x,"${'line\n'.repeat(MAX_RECORD_BYTES / 5 + 1)}`;
    const { events, rejects } = await readAll(readCsv, `${csv([HEADER])}${open}${csv([row])}`);
    expect(events).toHaveLength(1);
    expect(rejects.map(({ code, record }) => [code, record])).toEqual([['TOO_LARGE', '1']]);
  });

  test('says which row of Sysmon it could not read', async () => {
    const { events, rejects } = await readAll(readCsv, csv([HEADER, [1, PROVIDER, 'not rendered'], row]));
    expect(events).toHaveLength(1);
    expect(rejects.map(({ code, record }) => [code, record])).toEqual([['BAD_RECORD', '1']]);
  });

  test('gives the same in chunks of any size', async () => {
    const log = `\ufeff${csv([HEADER, row, [2, 'x', 'y'], row])}`;
    const whole = await readAll(readCsv, log);
    expect(whole.events).toHaveLength(2);
    for (const chunkBytes of [1, 7, 1000]) expect(await readAll(readCsv, log, { chunkBytes })).toEqual(whole);
  });

  test('cut or changed anywhere gives records and rejects or a LogError, and no hash that is not in it', async () => {
    const bytes = Buffer.from(csv([HEADER, row, row]));
    const flips = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), flips, async (end, changes) => {
        const damaged = Buffer.from(bytes);
        for (const [place, value] of changes) damaged[place] = value;
        const { hashes } = await readAll(readCsv, damaged.subarray(0, end)).catch((error: unknown) => {
          if (error instanceof LogError) return { hashes: [] };
          throw error;
        });
        const text = damaged.toString('utf8', 0, end).replace(/\s+/g, '').toLowerCase();
        for (const { sha1 = '', md5 = '' } of hashes) {
          expect(text).toContain(sha1);
          expect(text).toContain(md5);
        }
      }),
      { numRuns: 300 },
    );
  });
});
