import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_RECORD_BYTES } from '../../../src/sources/lines.js';
import { looksLikeText, readText } from '../../../src/sources/text.js';
import { type Reading, readAll } from '../reading.js';

const SHA1 = '0123456789ABCDEF0123456789ABCDEF01234567';
const OTHER_SHA1 = '76543210FEDCBA9876543210FEDCBA9876543210';
const SHA256 = 'A'.repeat(64);
const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const PROVIDER = 'Microsoft-Windows-Sysmon';

interface Process {
  readonly number?: number;
  readonly commandLine?: string;
  readonly hashes?: string;
}

function fieldsOf({ number = 1, commandLine = 'tool.exe  --key: a: b ', hashes }: Process = {}): [string, string][] {
  return [
    ['RuleName', '-'],
    ['UtcTime', `2026-03-01 10:20:30.${String(number).padStart(3, '0')}`],
    ['ProcessGuid', `{11111111-2222-3333-4444-${String(number).padStart(12, '0')}}`],
    ['ProcessId', String(4000 + number)],
    ['Image', 'C:\\Tools\\a tool.exe'],
    ['CommandLine', commandLine],
    ['CurrentDirectory', 'C:\\Tools\\'],
    ['User', 'NT-AUTORITÄT\\SYSTEM'],
    ['LogonGuid', '{11111111-2222-3333-4444-666666666666}'],
    ['LogonId', '0x3E7'],
    ['TerminalSessionId', '0'],
    ['IntegrityLevel', 'System'],
    ['Hashes', hashes ?? `SHA1=${SHA1},SHA256=${SHA256}`],
    ['ParentProcessGuid', '{11111111-2222-3333-4444-777777777777}'],
    ['ParentProcessId', '4'],
    ['ParentImage', 'C:\\Windows\\explorer.exe'],
    ['ParentCommandLine', 'explorer.exe /e'],
    ['ParentUser', 'HOST\\someone'],
  ];
}

function messageLines(process?: Process): string[] {
  return ['Process Create:', ...fieldsOf(process).map(([name, value]) => `${name}: ${value}`)];
}

function eventXml(process?: Process): string {
  const data = fieldsOf(process).map(
    ([name, value]) => `    <Data Name="${name}">${value.replaceAll('<', '&lt;')}</Data>`,
  );
  return [
    '<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event">',
    '  <System>',
    `    <Provider Name="${PROVIDER}" Guid="{5770385f-c22a-43e0-bf4c-06f5698ffbd9}" />`,
    '    <EventID>1</EventID>',
    '    <TimeCreated SystemTime="2026-03-01T10:20:31.1234567Z" />',
    '    <EventRecordID>77</EventRecordID>',
    `    <Channel>${CHANNEL}</Channel>`,
    '    <Computer>host.example</Computer>',
    '  </System>',
    '  <EventData>',
    ...data,
    '  </EventData>',
    '</Event>',
  ].join('\r\n');
}

/** Breaks lines at `width` as PowerShell does: at the last blank that fits, else in the middle; `indent` before the rest. */
function wrap(line: string, width: number, indent: string): string[] {
  if (line.length <= width) return [line];
  const blank = line.lastIndexOf(' ', width - 1);
  const cut = blank > indent.length ? blank + 1 : width;
  return [line.slice(0, cut), ...wrap(indent + line.slice(cut), width, indent)];
}

function formatList(properties: readonly (readonly [string, string])[], width = 120): string {
  const column = Math.max(...properties.map(([name]) => name.length));
  const indent = ' '.repeat(column + 3);
  const lines = properties.flatMap(([name, value]) =>
    `${name.padEnd(column)} : ${value}`
      .split('\n')
      .flatMap((line, index) => wrap(index === 0 ? line : indent + line, width, indent)),
  );
  return `\r\n\r\n${lines.join('\r\n')}\r\n`;
}

async function readOne(log: string | Buffer): Promise<Reading['events'][number] | undefined> {
  expect(looksLikeText(Buffer.from(log))).toBe(true);
  const { events, rejects, others } = await readAll(readText, log);
  expect({ events: events.length, rejects, others }).toEqual({ events: 1, rejects: [], others: 0 });
  return events[0];
}

describe('Event Viewer, details copied as text', () => {
  const headings = (names: readonly string[], id = 1, source = PROVIDER): string[] => {
    const values = [CHANNEL, source, '3/1/2026 11:20:31 AM', String(id), 'Process Create (rule: ProcessCreate)'];
    return [...values, 'Information', '', 'SYSTEM', 'host.example', ''].map(
      (value, index) => `${`${names[index]}:`.padEnd(15)}${value}`,
    );
  };
  const ENGLISH = ['Log Name', 'Source', 'Date', 'Event ID', 'Task Category', 'Level', 'Keywords', 'User', 'Computer'];
  const GERMAN = ['Protokollname', 'Quelle', 'Datum', 'Ereignis-ID', 'Aufgabenkategorie', 'Ebene', 'Schlüsselwörter'];
  const english = headings([...ENGLISH, 'Description']);

  test('is one record, although the event stands there as text and as XML', async () => {
    const log = [...english, ...messageLines(), 'Event Xml:', eventXml(), ''].join('\r\n');
    expect(await readOne(log)).toEqual({
      eventId: 1,
      recordId: '77',
      provider: PROVIDER,
      channel: CHANNEL,
      computer: 'host.example',
      timeCreated: '2026-03-01T10:20:31.1234567Z',
      data: new Map(fieldsOf()),
    });
  });

  test('without the XML gives what the headings say; a date without its zone is left out', async () => {
    expect(await readOne([...english, ...messageLines()].join('\n'))).toEqual({
      eventId: 1,
      recordId: undefined,
      provider: PROVIDER,
      channel: CHANNEL,
      computer: 'host.example',
      timeCreated: undefined,
      data: new Map(fieldsOf()),
    });
  });

  test('is taken from the message where the XML is cut', async () => {
    const xml = eventXml();
    for (const place of ['<EventData>', '<Data Name="Hashes">']) {
      const cut = xml.slice(0, xml.indexOf(place));
      const { data } = (await readOne([...english, ...messageLines(), 'Event Xml:', cut].join('\n'))) ?? {};
      expect(data).toEqual(new Map(fieldsOf()));
    }
  });

  test('is recognised by its order in German and in a language nobody listed', async () => {
    for (const names of [
      [...GERMAN, 'Benutzer', 'Computer', 'Beschreibung'],
      ['Log', 'Kilde', 'Dato', 'Id', 'Kategori', 'Niveau', 'Ord', 'Bruger', 'Maskine', 'Beskrivelse'],
    ]) {
      const log = [...headings(names), ...messageLines(), 'Ereignis-XML:', eventXml(), ''].join('\n');
      expect((await readOne(log))?.computer).toBe('host.example');
    }
  });

  test('gives records one after another, and counts those of others', async () => {
    const security = [...headings([...ENGLISH, 'Description'], 4624, 'Microsoft-Windows-Security-Auditing'), 'Logon.'];
    const log = [
      ...english,
      ...messageLines({ number: 1 }),
      'Event Xml:',
      eventXml({ number: 1 }),
      '',
      ...security,
      'Event Xml:',
      eventXml({ number: 9 }),
      '',
      ...english,
      ...messageLines({ number: 2 }),
    ].join('\n');
    const { events, others } = await readAll(readText, log);
    expect(events.map(({ data }) => data.get('ProcessId'))).toEqual(['4001', '4002']);
    expect(others).toBe(1);
  });

  test('does not believe XML that a command line brings along', async () => {
    const forged = eventXml({ number: 2, hashes: `SHA1=${OTHER_SHA1}` });
    const log = [...english, ...messageLines({ commandLine: `x\n${forged}` })].join('\n');
    const { hashes } = await readAll(readText, log);
    expect(hashes.map(({ sha1 }) => sha1)).not.toContain(OTHER_SHA1.toLowerCase());
  });
});

describe('wevtutil /f:text', () => {
  const record = (start: string, description: readonly string[], date = '2026-03-01T11:20:31.1234567'): string[] => [
    start,
    `  Log Name: ${CHANNEL}`,
    `  Source: ${PROVIDER}`,
    `  Date: ${date}`,
    '  Event ID: 1',
    '  Task: Process Create (rule: ProcessCreate)',
    '  Level: Information',
    '  Opcode: Info',
    '  Keyword: N/A',
    '  User: S-1-5-18',
    '  User Name: NT AUTHORITY\\SYSTEM',
    '  Computer: host.example',
    '  Description: ',
    ...description,
    '',
  ];

  test.each(['Event[0]', 'Event[0]:'])('is read with records that start %s', async (start) => {
    const event = await readOne(record(start, messageLines()).join('\r\n'));
    expect(event?.data).toEqual(new Map(fieldsOf()));
    expect(event).toMatchObject({ channel: CHANNEL, provider: PROVIDER, computer: 'host.example' });
    expect(event?.timeCreated).toBeUndefined();
  });

  test('gives the time where it is said to be UTC', async () => {
    const date = '2026-03-01T11:20:31.1234567Z';
    expect((await readOne(record('Event[0]:', messageLines(), date).join('\r\n')))?.timeCreated).toBe(date);
  });

  test('finds the description behind translated headings by its place', async () => {
    const lines = record('Event[0]:', messageLines()).map((line) => line.replace('  Description', '  Popis'));
    expect((await readOne(lines.join('\n')))?.computer).toBe('host.example');
  });

  test('rejects a process creation whose message is not readable, and says where', async () => {
    const log = [
      ...record('Event[0]', messageLines()),
      ...record('Event[1]', ['The description for Event ID 1 cannot be found.']),
    ];
    const { events, rejects } = await readAll(readText, log.join('\n'));
    expect(events).toHaveLength(1);
    const offset = Buffer.byteLength(`${record('Event[0]', messageLines()).join('\n')}\n`);
    expect(rejects).toEqual([{ code: 'BAD_RECORD', message: expect.any(String), record: '2', offset }]);
  });
});

describe("PowerShell's Format-List", () => {
  const properties = (process?: Process): [string, string][] => [
    ['Message', messageLines(process).join('\n')],
    ['Id', '1'],
    ['Level', '4'],
    ['RecordId', '88'],
    ['ProviderName', PROVIDER],
    ['LogName', CHANNEL],
    ['ProcessId', '2940'],
    ['MachineName', 'host.example'],
    ['TimeCreated', '3/1/2026 11:20:31 AM'],
    ['KeywordsDisplayNames', '{}'],
  ];

  test.each([80, 120, 4096])('is read where the console is %i wide, hashes broken in the middle', async (width) => {
    const long = `tool.exe ${'word '.repeat(30)}C:\\${'x'.repeat(200)} end`;
    const log = formatList(properties({ commandLine: long }), width);
    const event = await readOne(log);
    expect(event?.data).toEqual(new Map(fieldsOf({ commandLine: long })));
    expect(event).toMatchObject({ recordId: '88', provider: PROVIDER, channel: CHANNEL, computer: 'host.example' });
  });

  test('takes the process id from the message, not that of the service beside it', async () => {
    expect((await readOne(formatList(properties())))?.data.get('ProcessId')).toBe('4001');
  });

  test('is read with the default properties, without indentation, and without any but the message', async () => {
    const defaults = properties().filter(([name]) => ['TimeCreated', 'ProviderName', 'Id', 'Message'].includes(name));
    const ordered = [...defaults.slice(1), ...defaults.slice(0, 1)];
    const flush = formatList(ordered).replaceAll(/^ +/gm, '');
    const onlyMessage = formatList(properties().slice(0, 1));
    for (const log of [formatList(ordered), flush, onlyMessage]) {
      expect((await readOne(log))?.data.get('ParentUser')).toBe('HOST\\someone');
    }
  });

  test('gives records one after another and counts those of others', async () => {
    const other = formatList([
      ['ProviderName', 'Microsoft-Windows-Kernel-General'],
      ['Id', '1'],
      ['Message', 'The system time has changed.\n\nReason: none'],
    ]);
    const log = formatList(properties({ number: 1 })) + other + formatList(properties({ number: 2 }));
    const { events, others } = await readAll(readText, log);
    expect(events.map(({ data }) => data.get('ProcessId'))).toEqual(['4001', '4002']);
    expect(others).toBe(1);
  });
});

describe('bare messages', () => {
  test('need no blank line between them', async () => {
    const one = messageLines({ number: 1 });
    const two = messageLines({ number: 2 });
    const file = ['File created:', 'RuleName: -', 'UtcTime: 2026-03-01 10:20:30.000', 'Image: x'];
    for (const log of [
      [...one, ...file, ...two],
      [...one, '', ...file, '', ...two, ''],
    ]) {
      const { events, others } = await readAll(readText, log.join('\r\n'));
      expect(events.map(({ data }) => [...data])).toEqual([fieldsOf({ number: 1 }), fieldsOf({ number: 2 })]);
      expect(others).toBe(1);
    }
  });

  test('carry neither provider nor channel, so the record has none', async () => {
    const { bodies } = await readAll(readText, messageLines().join('\n'));
    expect(JSON.parse(bodies[0] ?? '')).toEqual({ EventID: 1, EventData: Object.fromEntries(fieldsOf()) });
  });

  test('of sysmonLogView are headed by the name of the event', async () => {
    const log = [
      'Sysmon v1.3.3 - Monitors system events',
      '',
      'Event SYSMONEVENT_PROCESS_TERMINATE',
      '\tRuleName: -',
      '\tUtcTime: 2026-03-01 10:20:29.000',
      'Event SYSMONEVENT_CREATE_PROCESS',
      ...fieldsOf().map(([name, value]) => `\t${name}: ${value}`),
    ];
    const { events, others } = await readAll(readText, log.join('\n'));
    expect(events.map(({ data }) => data)).toEqual([new Map(fieldsOf())]);
    expect(others).toBe(1);
  });

  test('of other events are given where they are wanted', async () => {
    const log = [
      'Registry value set:',
      'RuleName: -',
      'EventType: SetValue',
      'UtcTime: 2026-03-01 10:20:30.456',
      'ProcessGuid: {11111111-2222-3333-4444-555555555555}',
      'Details: DWORD (0x00000001)',
    ];
    const { events } = await readAll(readText, log.join('\n'), { eventIds: [13] });
    expect(events.map(({ eventId, data }) => [eventId, data.get('Details'), data.get('EventType')])).toEqual([
      [13, 'DWORD (0x00000001)', 'SetValue'],
    ]);
  });

  test('cut before their hashes at the end of the log are rejected, not given as without hash', async () => {
    const whole = messageLines().join('\n');
    const { events, rejects } = await readAll(readText, `${whole}\n\n${whole.slice(0, whole.indexOf('SHA1=') + 12)}`);
    expect(events).toHaveLength(1);
    expect(rejects.map(({ code, record }) => [code, record])).toEqual([['TRUNCATED', '2']]);
  });
});

describe("Splunk's raw events", () => {
  const raw = (process?: Process, id = 1, source = PROVIDER): string[] => [
    '03/01/2026 11:20:31.123 AM',
    `LogName=${id === 1 ? CHANNEL : 'Security'}`,
    `EventCode=${id}`,
    'ComputerName=host.example',
    'User=NOT_TRANSLATED',
    `SourceName=${source}`,
    'RecordNumber=99',
    `Message=${messageLines(process).join('\n')}`,
  ];

  test('are parted at their dates', async () => {
    const log = [...raw({ number: 1 }), ...raw({}, 4688, 'Microsoft-Windows-Security-Auditing'), ...raw({ number: 2 })];
    const { events, others } = await readAll(readText, log.join('\n'));
    expect(events.map(({ data }) => [...data])).toEqual([fieldsOf({ number: 1 }), fieldsOf({ number: 2 })]);
    expect(events[0]).toMatchObject({ recordId: '99', computer: 'host.example', channel: CHANNEL });
    expect(others).toBe(1);
  });
});

describe('syslog lines', () => {
  const flat = (separator: string, title = 'Process Create:', process?: Process): string =>
    [title, ...messageLines(process).slice(1)].join(separator);
  const ossec = (id: number, message: string, source = PROVIDER): string =>
    `2026 Mar 01 11:20:31 WinEvtLog: ${CHANNEL}: INFORMATION(${id}): ${source}: SYSTEM: NT AUTHORITY: HOST7: ${message}`;
  const snare = (id: number, message: string, source = PROVIDER, header = '<14>Mar 01 11:20:31 HOST7 '): string =>
    `${header}${['MSWinEventLog', 1, CHANNEL, 812, 'Sun Mar 01 11:20:31 2026', id, source, 'SYSTEM', 'User', 'Information', 'HOST7', 'Process Create (rule: ProcessCreate)', '', message, 4711].join('\t')}`;

  test('of OSSEC give the id in brackets and the computer before the message', async () => {
    const event = await readOne(ossec(1, flat('  ')));
    expect(event).toMatchObject({ provider: PROVIDER, channel: CHANNEL, computer: 'HOST7' });
    expect(event?.data).toEqual(new Map(fieldsOf()));
  });

  test('of Sysmon 1 give the hash with its algorithm', async () => {
    const { hashes } = await readAll(
      readText,
      ossec(1, `Process Create:  UtcTime: 12/20/2014 2:29 PM  ProcessGuid: {x}  HashType: SHA1  Hash: ${SHA1}`),
    );
    expect(hashes).toEqual([{ sha1: SHA1.toLowerCase() }]);
  });

  test('of OSSEC may stand behind an agent header, and go on in lines of their own', async () => {
    const header = '2026 Mar 01 11:20:31 (WIN7-0) 192.0.2.10->WinEvtLog ';
    const log = [header + ossec(1, flat('  ', undefined, { commandLine: 'a\n\tb' })), header + ossec(4, 'State.')];
    const { events, others } = await readAll(readText, log.join('\n'));
    expect(events[0]?.data.get('CommandLine')).toBe('a\n\tb');
    expect(others).toBe(1);
  });

  test.each([
    ['with a syslog header', snare(1, flat('  '))],
    ['without a header', snare(1, flat('  '), PROVIDER, '')],
    ['with a header without priority and date', snare(1, flat('  '), PROVIDER, 'HOST7 ')],
    ['with a tab behind the host', snare(1, flat('  '), PROVIDER, 'HOST7\t')],
    ['with a tab behind priority and host', snare(1, flat('  '), PROVIDER, '<14>HOST7\t')],
    ['with a field that a relay added', `${snare(1, flat('  '))}\tfromhost-ip=192.0.2.1`],
    ['with tabs a syslog server escaped', snare(1, flat('  ')).replaceAll('\t', '#011')],
  ])('of Snare are read %s', async (_name, line) => {
    const event = await readOne(line);
    expect(event).toMatchObject({ provider: PROVIDER, channel: CHANNEL, computer: 'HOST7' });
    expect(event?.data).toEqual(new Map(fieldsOf()));
  });

  test('of Snare may have one blank between fields, a title and a source of their own', async () => {
    const process = { commandLine: 'tool.exe --key: a: b' };
    const line = snare(1, flat(' ', 'Sysmon  Event ID 1 - Process creation:', process), 'Windows');
    const event = await readOne(line);
    expect(event?.data).toEqual(new Map(fieldsOf(process)));
    expect(event?.provider).toBeUndefined();
  });

  test('of other channels and other events are counted', async () => {
    const log = [
      snare(3, 'Network connection detected:  RuleName: -  UtcTime: x'),
      snare(1, 'Setup.', 'Microsoft-Windows-Kernel-General').replace(CHANNEL, 'System'),
      snare(1, flat('  ')),
    ];
    const { events, others, rejects } = await readAll(readText, log.join('\r\n'));
    expect({ events: events.length, others, rejects }).toEqual({ events: 1, others: 2, rejects: [] });
  });

  test('that are too long cost only themselves', async () => {
    const long = snare(1, `Process Create:  UtcTime: ${'x'.repeat(MAX_RECORD_BYTES)}`);
    const log = [snare(1, flat('  ')), long, snare(1, flat('  '))].join('\n');
    const { events, rejects } = await readAll(readText, log);
    expect(events).toHaveLength(2);
    const offset = Buffer.byteLength(snare(1, flat('  '))) + 1;
    expect(rejects).toEqual([{ code: 'TOO_LARGE', message: expect.any(String), record: '2', offset }]);
  });
});

describe('any text', () => {
  const message = messageLines();
  const headings = [
    'Source',
    'Date',
    'Event ID',
    'Task Category',
    'Level',
    'Keywords',
    'User',
    'Computer',
    'Description',
  ];
  const values = [PROVIDER, '3/1/2026', '1', 'x', 'Information', '', 'SYSTEM', 'host.example', ''];
  const eventViewer = headings.map((heading, index) => `${heading}: ${values[index]}`);
  const logs = [
    ['Log Name: x', ...eventViewer, ...message, 'Event Xml:', eventXml()],
    ['Event[0]', `  Log Name: ${CHANNEL}`, ...eventViewer.slice(0, 5), '  Description:', ...message, 'Event[1]'],
    [
      formatList([
        ['ProviderName', PROVIDER],
        ['Id', '1'],
        ['Message', message.join('\n')],
      ]),
    ],
    ['03/01/2026 11:20:31 AM', `LogName=${CHANNEL}`, 'EventCode=1', `Message=${message.join('\n')}`],
    [...message, ...message],
    [`2026 Mar 01 11:20:31 WinEvtLog: ${CHANNEL}: INFORMATION(1): ${PROVIDER}: S: D: HOST: ${message.join('  ')}`],
    [`MSWinEventLog\t1\t${CHANNEL}\t8\tx\t1\t${PROVIDER}\tS\tU\tI\tHOST\tC\t\t${message.join('  ')}\t1`],
  ].map((lines) => lines.join('\n'));

  test('whose record never ends is rejected at the limit and read on at the next record', async () => {
    const filler = `${'line\n'.repeat(200)}`;
    const long = `Process Create:\n${filler.repeat(Math.ceil(MAX_RECORD_BYTES / filler.length) + 1)}`;
    const { events, rejects } = await readAll(readText, `${long}${messageLines().join('\n')}`);
    expect(events).toHaveLength(1);
    expect(rejects.map(({ code, record, offset }) => [code, record, offset])).toEqual([['TOO_LARGE', '1', 0]]);
  });

  test('gives the same in chunks of any size', async () => {
    for (const log of logs) {
      const whole = await readAll(readText, log);
      expect(whole.events.length).toBeGreaterThan(0);
      for (const chunkBytes of [1, 7, 1000]) expect(await readAll(readText, log, { chunkBytes })).toEqual(whole);
    }
  });

  test('cut or changed anywhere gives records and rejects, never an error, and no hash that is not in it', async () => {
    const flips = fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...logs), fc.nat(5000), flips, async (log, end, changes) => {
        const damaged = Buffer.from(log).subarray(0, end);
        for (const [place, value] of changes) if (place < damaged.length) damaged[place] = value;
        const { hashes } = await readAll(readText, damaged);
        const unwrapped = damaged.toString('utf8').replace(/\s+/g, '').toLowerCase();
        for (const { sha1 = '', sha256 = '' } of hashes) {
          expect(unwrapped).toContain(sha1);
          expect(unwrapped).toContain(sha256);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('of random bytes is read to its end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (bytes) => {
        expect((await readAll(readText, Buffer.from(bytes))).events).toEqual([]);
      }),
    );
  });

  test.each([
    '[PC01]: PS C:\\Users\\a> Get-WinEvent x | fl *',
    '[2026-03-01] x',
    '<# exported #>',
    '[Sysmon EventID#1]',
  ])('may stand below a line as %j', async (line) => {
    const log = `${line}\r\n\r\n${message.join('\r\n')}`;
    expect(looksLikeText(Buffer.from(log))).toBe(true);
    expect((await readAll(readText, log)).events).toHaveLength(1);
  });

  test.each(['<html>', '{"a": 1}', '[{"a": 1},', '[', '["a"]', '<!-- x -->', '{ a: 1 }'])(
    'is not claimed below a line of another format, as %j',
    (line) => {
      expect(looksLikeText(Buffer.from(`${line}\n\n${message.join('\n')}`))).toBe(false);
    },
  );

  test('is not claimed where it is XML, JSON, CSV or another log', () => {
    for (const other of [
      eventXml(),
      `<Events>\n${eventXml()}`,
      `{"Message":"x"}\nProcess Create:\n`,
      `May 11 18:10:22 UBUNTU5 sysmon: <Event><System><Provider Name="Linux-Sysmon"/></System></Event>\n`,
      `"_raw","_time"\n"03/01/2026 11:20:31 AM\nLogName=${CHANNEL}\n`,
      '#separator \\x09\n#fields\tts\tuid\n1.5\tC\n',
      '',
    ]) {
      expect(looksLikeText(Buffer.from(other))).toBe(false);
    }
  });
});
