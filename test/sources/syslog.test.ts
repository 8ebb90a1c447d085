import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_RECORD_BYTES } from '../../src/sources/lines.js';
import { looksLikeSyslog, readSyslog } from '../../src/sources/syslog.js';
import { type Reading, readAll } from './reading.js';
import { expectedCounts, SAMPLES } from './samples.js';

const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const PROVIDER = 'Microsoft-Windows-Sysmon';
const SHA1 = '0123456789ABCDEF0123456789ABCDEF01234567';

const FIELDS: readonly (readonly [string, string])[] = [
  ['UtcTime', '2026-03-01 10:20:30.123'],
  ['ProcessGuid', '{11111111-2222-3333-4444-555555555555}'],
  ['ProcessId', '42'],
  ['Image', 'C:\\tool.exe'],
  ['CommandLine', 'tool.exe {"a": 1} /x'],
  ['Hashes', `SHA1=${SHA1}`],
  ['ParentProcessGuid', '{11111111-2222-3333-4444-777777777777}'],
  ['ParentImage', 'C:\\explorer.exe'],
  ['ParentCommandLine', 'explorer.exe /e'],
];
const ALL_FIELDS = new Map(FIELDS);

const message = (separator = '  '): string =>
  ['Process Create:', ...FIELDS.map(([name, value]) => `${name}: ${value}`)].join(separator);

const xml = (provider = 'Linux-Sysmon', eventId = 1): string =>
  `<Event><System><Provider Name="${provider}"/><EventID>${eventId}</EventID><EventRecordID>7</EventRecordID><Channel>${provider}/Operational</Channel><Computer>host7</Computer></System><EventData>${FIELDS.map(([name, value]) => `<Data Name="${name}">${value}</Data>`).join('')}</EventData></Event>`;

const json = JSON.stringify({
  EventID: 1,
  SourceName: PROVIDER,
  Channel: CHANNEL,
  Hostname: 'host7',
  ...Object.fromEntries(FIELDS),
});

const linux = (text = xml()): string => `May 11 18:10:22 host7 sysmon: ${text}`;
const winEvtLog = `2026 Mar 01 11:20:31 WinEvtLog: ${CHANNEL}: INFORMATION(1): ${PROVIDER}: SYSTEM: NT AUTHORITY: host7: ${message()}`;
const mswin = `MSWinEventLog\t1\t${CHANNEL}\t812\tSun Mar 01 11:20:31 2026\t1\t${PROVIDER}\tSYSTEM\tUser\tInformation\thost7\tx\t\t${message()}\t4711`;
const forwarded = (text: string): string => `Mar  1 11:20:31 web nxlog[7]: ${text}`;
const sshd = 'Mar  1 11:20:31 web sshd[1]: Accepted password for root';

function read(log: string, options?: Parameters<typeof readAll>[2]): Promise<Reading> {
  expect(looksLikeSyslog(Buffer.from(log.slice(0, 64 * 1024)))).toBe(true);
  return readAll(readSyslog, log, options);
}

describe('lines behind the headers of syslog', () => {
  test.each([
    ['RFC 3164', linux()],
    ['RFC 3164 with a priority', `<14>${linux()}`],
    ['RFC 5424', `<14>1 2026-05-11T18:10:20.39+00:00 host7 sysmon 15 - [x y="z\\"]"] ${xml()}`],
    ['RFC 6587, octet-counted', `1234 <14>${linux()}`],
    ['a time with its year', `2026 May 11 18:10:20 host7 sysmon: ${xml()}`],
    ['a time with a blank', `2026-05-11 18:10:20 host7 sysmon: ${xml()}`],
    ['journalctl -o short-iso', `2026-05-11T18:10:20+0000 host7 sysmon[812]: ${xml()}`],
    ['journalctl -o short-precise', `May 11 18:10:20.123456 host7 sysmon[812]: ${xml()}`],
    ['journalctl -o short-full', `Mon 2026-05-11 18:10:20 UTC host7 sysmon[812]: ${xml()}`],
    ['journalctl -o short-unix', `1778523020.123456 host7 sysmon[812]: ${xml()}`],
    ["journalctl's first line above", `-- Journal begins at Mon 2026-05-11 --\n${linux()}`],
    ['a cut line above', `Data></EventData></Event>\n${linux()}`],
    ['OSSEC', winEvtLog],
    ['OSSEC and an agent', `2026 Mar 01 11:20:31 (WIN7-0) 192.0.2.10->WinEvtLog ${winEvtLog}`],
    ['OSSEC around those of syslog', `2026 Mar 01 11:20:31 (web) 192.0.2.10->/var/log/syslog ${linux()}`],
    [
      "OSSEC's alerts",
      `** Alert 1772364031.123: - sysmon,\n2026 Mar 01 11:20:31 (x) any->WinEvtLog\nRule: 1 (level 0) -> 'x'\nUser: SYSTEM\n${winEvtLog}\n`,
    ],
    ['Wazuh, with JSON', `2026 Mar 01 11:20:31 (x) any->EventChannel ${json}`],
    [
      "Wazuh's alerts, with JSON",
      `** Alert 1772364031.123: - sysmon,\n2026 Mar 01 11:20:31 (x) any->EventChannel\nRule: 1 (level 0) -> 'x'\n${json}\nwin.system.eventID: 1\n`,
    ],
    ['syslog and Snare', `<14>Mar  1 11:20:31 host7 ${mswin}`],
    ['syslog and Snare, host and tab', `<14>host7\t${mswin}`],
    ['syslog and Snare, with escaped tabs', `<14>Mar  1 11:20:31 host7 ${mswin.replaceAll('\t', '#011')}`],
    [
      'syslog and Snare, with escaped line breaks',
      `<14>Mar  1 11:20:31 host7 ${mswin.replace(message(), message('#015#012')).replaceAll('\t', '#011')}`,
    ],
    ['NXLog with JSON', `<14>Mar  1 11:20:31 host7 ${PROVIDER}[1728]: ${json}`],
    ['NXLog with JSON as RFC 5424 has it', `<14>1 2026-03-01T11:20:31.123Z host7 ${PROVIDER} 1728 - - ${json}`],
    ['NXLog with the message alone', `<14>Mar  1 11:20:31 host7 ${PROVIDER}[1728]: ${message()}`],
    [
      'NXLog with every field beside the message',
      `<14>1 2026-03-01T11:20:31.123Z host7 ${PROVIDER} 1728 - [NXLOG@14506 EventID="1" CommandLine="x WinEvtLog: {\\"a\\" \\]: Image loaded: UtcTime: y"] ${message(' ')}`,
    ],
    ['fluentd', `2026-03-01T11:20:31+00:00\twinevt.raw\t${json}`],
    ["fluentd's stdout", `2026-03-01 11:20:31.123456789 +0000 winevt.raw: ${json}`],
    ['Fluent Bit', `winevtlog.0: [1772364031.678900000, ${json}]`],
    ['a container runtime', `2026-03-01T11:20:31.123456789Z stdout F ${json}`],
  ])('are read with the header of %s', async (_name, line) => {
    const { events, rejects, others, notes } = await read(`${line}\n${line}\n`);
    expect({ events: events.length, rejects, others, notes }).toEqual({ events: 2, rejects: [], others: 0, notes: [] });
    for (const event of events) {
      expect(event.computer).toBe('host7');
      expect(event.data).toEqual(ALL_FIELDS);
    }
  });

  test('are no events where a program logs what a client sent it', async () => {
    const program = 'Mar  1 11:20:31 web app: login failed for';
    const sent = [linux().slice(linux().indexOf('<Event')), winEvtLog.slice(winEvtLog.indexOf('WinEvtLog: ')), json];
    for (const text of sent) {
      await expect(read(`${program} ${text}\n`)).rejects.toMatchObject({ code: 'NOT_A_LOG' });
      await expect(read(`Mar  1 11:20:31 web nginx "${text}"\n`)).rejects.toMatchObject({ code: 'NOT_A_LOG' });
    }
  });

  test('as XML go on to their end, whatever their command line holds', async () => {
    for (const line of ['Jan  1 00:00:00 h x', '2026-01-01 00:00:00 x', '** Alert 1772364031.123: -']) {
      const whole = linux();
      const { events } = await read(`${whole.replace('</Data>', `\n${line}\n</Data>`)}\n${whole}\n`);
      expect(events).toHaveLength(2);
      for (const { data } of events) expect(data.get('ParentCommandLine')).toBeDefined();
    }
  });

  test('of several forwarders stand in one log', async () => {
    const lines = [sshd, linux(), winEvtLog, sshd, `<14>Mar  1 11:20:31 host7 ${mswin}`, forwarded(json), sshd];
    expect((await read(lines.join('\n'))).events).toHaveLength(4);
  });

  test('of other programs may fill the whole start of a log', async () => {
    const head = `${sshd}\n`.repeat(2000);
    expect((await read(`${head}${linux()}\n`)).events).toHaveLength(1);
    const archive = '2026 Mar 01 11:20:31 (web) 192.0.2.10->/var/log/auth.log Mar  1 11:20:31 web sshd[1]: x\n';
    expect((await read(`${archive.repeat(2000)}${winEvtLog}\n`)).events).toHaveLength(1);
  });

  test('of other programs end a record and are no part of it', async () => {
    const agent = '2026 Mar 01 11:20:31 (x) any->ossec-monitord ossec: Agent started';
    for (const next of [sshd, agent, '** Alert 1772364031.123: - syslog,', '<38>web sshd: x']) {
      const { events, others } = await read(`${winEvtLog}\n${next}\n`);
      expect(others).toBe(0);
      expect(events[0]?.data.get('ParentCommandLine')).toBe('explorer.exe /e');
    }
  });

  test('go on in lines without a header', async () => {
    const { events } = await read(`${winEvtLog.replace('/x', '\n\tb')}\n${sshd}\n`);
    expect(events[0]?.data.get('CommandLine')).toBe('tool.exe {"a": 1} \n\tb');
  });

  test('that hold no event at all are no log, but Sysmon that only starts makes one', async () => {
    const mail = `${sshd}\nMar  1 11:20:31 web app: {"a": 1}\nMar  1 11:20:31 web app: <Event>\n`;
    await expect(read(mail)).rejects.toMatchObject({ code: 'NOT_A_LOG' });
    const { events, others } = await read(`${sshd}\nMar  1 11:20:31 web sysmon[3041]: Sysmon v1.0.0 < - >\n`);
    expect({ events, others }).toEqual({ events: [], others: 0 });
  });

  test('of other events and other providers are counted, and given where every record is wanted', async () => {
    const lines = [
      linux(xml('Linux-Sysmon', 5)),
      winEvtLog.replace('(1)', '(5)'),
      forwarded(json.replace('"EventID":1', '"EventID":5')),
      forwarded(json.replace(PROVIDER, 'Microsoft-Windows-Kernel-General').replace(CHANNEL, 'System')),
    ];
    const { events, others } = await read(lines.join('\n'));
    expect({ events: events.length, others }).toEqual({ events: 0, others: 4 });
    const all = await read(lines.join('\n'), { isEveryRecordWanted: true });
    expect(all.handedOver).toHaveLength(3);
    expect(all.others).toBe(1);
  });

  test('that are cut are told', async () => {
    const whole = linux();
    const cut = whole.slice(0, whole.indexOf('</EventData>'));
    const { events, notes, rejects } = await read(
      `${cut}\n${linux('<Event><System>')}\n${forwarded(json.slice(0, -5))}\n`,
    );
    expect(events).toHaveLength(1);
    expect(notes).toEqual([expect.stringContaining('[TRUNCATED]')]);
    const jsonAt = Buffer.byteLength(`${cut}\n${linux('<Event><System>')}\n`);
    expect(rejects).toEqual([
      { code: 'TRUNCATED', message: expect.any(String), record: '2', offset: cut.length + 1 + linux('').length },
      { code: 'BAD_JSON', message: expect.any(String), record: '3', offset: jsonAt },
    ]);
  });

  test('that are too long cost only themselves', async () => {
    const long = `${sshd} ${'x'.repeat(MAX_RECORD_BYTES)}`;
    const { events, rejects } = await read(`${linux()}\n${long}\n${linux()}\n`);
    expect(events).toHaveLength(2);
    expect(rejects.map(({ code, offset }) => [code, offset])).toEqual([['TOO_LARGE', linux().length + 1]]);
  });

  test('are not seen in other logs', () => {
    for (const other of [
      `TimeCreated\tId\tProviderName\tMessage\n2026-03-01 11:20:31\t1\t${PROVIDER}\tx\n`,
      `Process Create:\nMay 11 18:10:22 host7 sysmon: <Event>\n`,
      'Log Name: x\nMay 11 18:10:22 host7 sysmon: <Event>\n',
      `{"a":1}\n`,
      xml(),
      '2026-03-01,11:20:31,x\n',
      'MSWinEventLog\t1\n',
      '',
    ]) {
      expect(looksLikeSyslog(Buffer.from(other))).toBe(false);
    }
  });
});

describe('any lines behind headers', () => {
  const logs = [
    linux(),
    winEvtLog,
    `<14>Mar  1 11:20:31 host7 ${mswin}`,
    `<14>1 2026-03-01T11:20:31Z h a 1 - [x y="z"] ${json}`,
  ];
  const log = logs.map((line) => `${line}\n`).join(`${sshd}\n`);

  test('give the same in chunks of any size', async () => {
    const whole = await readAll(readSyslog, log);
    expect(whole.events).toHaveLength(4);
    for (const chunkBytes of [1, 7, 1000]) expect(await readAll(readSyslog, log, { chunkBytes })).toEqual(whole);
  });

  test('cut or changed anywhere give records and rejects or NOT_A_LOG, and no hash that is not in them', async () => {
    const flips = fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.nat(5000), flips, async (end, changes) => {
        const damaged = Buffer.from(log).subarray(0, end);
        for (const [place, value] of changes) if (place < damaged.length) damaged[place] = value;
        const reading = await readAll(readSyslog, damaged).catch((error: unknown) => error);
        if (!isReading(reading)) {
          expect(reading).toMatchObject({ code: 'NOT_A_LOG' });
          return;
        }
        const text = damaged.toString('latin1').toLowerCase();
        for (const { sha1 = '' } of reading.hashes) expect(text).toContain(sha1);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['quotes that never end', `<14>1 x h a 1 - [x y="${'a\\"'.repeat(600_000)}`],
    ['starts of events', `${sshd} ${'<Event '.repeat(500_000)}`],
    ['starts of JSON', `${sshd} ${'{"'.repeat(1_500_000)}`],
    ['digits', '1'.repeat(3_000_000)],
    ['marks', `${sshd} ${'WinEvtLog: '.repeat(300_000)}`],
    ['short lines without a header', `${sshd}\n${'{\n'.repeat(1_500_000)}`],
  ])('take bounded time with %s', async (_name, hostile) => {
    const start = performance.now();
    looksLikeSyslog(Buffer.from(hostile.slice(0, 64 * 1024)));
    await readAll(readSyslog, `${hostile}\n${linux()}\n`);
    expect(performance.now() - start).toBeLessThan(3000);
  });
});

function isReading(value: unknown): value is Reading {
  return typeof value === 'object' && value !== null && 'hashes' in value;
}

describe.skipIf(!existsSync(SAMPLES))('sample logs of syslog', () => {
  const names = existsSync(SAMPLES)
    ? ['linux', 'syslog'].flatMap((folder) =>
        readdirSync(join(SAMPLES, folder))
          .filter((name) => name.endsWith('.log'))
          .map((name) => `${folder}/${name}`),
      )
    : [];

  test.each(names)('%s has the expected process creations and hashes', async (name) => {
    const { hashes, rejects } = await readAll(readSyslog, readFileSync(join(SAMPLES, name)));
    const sha1s = hashes.flatMap(({ sha1 }) => sha1 ?? []);
    expect(rejects).toEqual([]);
    expect({
      processCreations: hashes.length,
      withSha1: sha1s.length,
      distinctSha1: new Set(sha1s).size,
    }).toEqual(expectedCounts().get(name));
  });
});
