import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Reject } from '../../src/errors.js';
import { looksLikeXml, readXml } from '../../src/sources/xml.js';
import { readAll } from './reading.js';

interface XmlReading {
  /** The canonical records of the wanted events. */
  readonly records: readonly string[];
  readonly others: number;
  readonly rejects: readonly Reject[];
  readonly notes: readonly string[];
}

async function read(
  log: string | Buffer,
  eventIds: readonly number[] = [1],
  chunkBytes = 1 << 20,
): Promise<XmlReading> {
  const { bodies, others, rejects, duplicates, notes } = await readAll(readXml, log, { eventIds, chunkBytes });
  expect(duplicates).toBe(0);
  return { records: bodies, others, rejects, notes };
}

const SHA1 = '0123456789abcdef0123456789abcdef01234567';

function event(
  recordId: number,
  eventId = 1,
  provider = 'Microsoft-Windows-Sysmon',
  commandLine = 'a &amp; b',
): string {
  return (
    `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='${provider}'/>` +
    `<EventID>${eventId}</EventID><EventRecordID>${recordId}</EventRecordID><Channel>${provider}/Operational</Channel>` +
    "<Computer>host</Computer></System><EventData><Data Name='ProcessGuid'>{1}</Data><Data Name='Image'>C:\\a.exe</Data>" +
    `<Data Name='CommandLine'>${commandLine}</Data><Data Name='Hashes'>SHA1=${SHA1}</Data><Data Name='ParentImage'>p</Data></EventData></Event>`
  );
}

function canonical(recordId: number, provider = 'Microsoft-Windows-Sysmon', CommandLine = 'a & b'): string {
  return JSON.stringify({
    EventID: 1,
    EventRecordID: recordId,
    Provider: provider,
    Channel: `${provider}/Operational`,
    Computer: 'host',
    EventData: {
      ProcessGuid: '{1}',
      Image: 'C:\\a.exe',
      CommandLine,
      Hashes: `SHA1=${SHA1}`,
      ParentImage: 'p',
    },
  });
}

const LINUX = (recordId: number): string => event(recordId, 1, 'Linux-Sysmon').replaceAll("'", '"');

/** Two process creations, 7 and 8, in every dress they come in. */
const DRESSES: readonly (readonly [string, string])[] = [
  ['one event a line without root', `${event(7)}\r\n${event(8)}\r\n`],
  ['concatenated without a line break', event(7) + event(8)],
  [
    'within Events, below a declaration',
    `<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<Events>${event(7)}${event(8)}</Events>`,
  ],
  ['within root', `<root>\r\n${event(7)}\r\n${event(8)}\r\n</root>`],
  [
    'with a record line and a declaration before each',
    `Record 7\n<?xml version="1.0"?>\n${event(7)}\n\nRecord 8\n<?xml version="1.0"?>\n${event(8)}\n`,
  ],
  ["below a tool's banner", `evtxexport 20260101\n\n${event(7)}\n\n${event(8)}\n`],
  [
    'with a namespace prefix',
    `<e:Events xmlns:e="x">${(event(7) + event(8)).replaceAll(/<(\/?)(?=[A-Z])/g, '<$1e:')}</e:Events>`,
  ],
  ['within elements of any name', `<results>\n<result id="1"><Logs>${event(7)}${event(8)}</Logs></result></results>`],
  [
    'behind the rest of one that was cut',
    `/Data><Data Name='x'>y</Data></EventData></Event>\n${event(7)}\n${event(8)}\n`,
  ],
  [
    'as journalctl exports it',
    [7, 8].map((id) => `__CURSOR=x\n_HOSTNAME=host\nMESSAGE=${event(id)}\n_PID=1\n\n`).join(''),
  ],
  ['pretty-printed', `<Events>\n${(event(7) + event(8)).replaceAll('><', '>\n  <').replaceAll("'", '"')}\n</Events>`],
  [
    'with RenderingInfo',
    `${event(7)}\n${event(8)}`.replaceAll(
      '</Event>',
      "<RenderingInfo Culture='de-DE'><Message>Process Create:\r\nHashes: SHA1=0&lt;\r\n</Message><Provider>x</Provider></RenderingInfo></Event>",
    ),
  ],
];

describe('events as XML', () => {
  test.each(DRESSES)('are read %s', async (_name, log) => {
    expect(looksLikeXml(Buffer.from(log))).toBe(true);
    expect(await read(log)).toEqual({ records: [canonical(7), canonical(8)], others: 0, rejects: [], notes: [] });
  });

  test('that are not wanted, and those of other providers, are counted', async () => {
    const log =
      event(1, 3) +
      event(2, 1, 'Microsoft-Windows-Kernel-General') +
      event(3) +
      event(4, 4688, 'Microsoft-Windows-Security-Auditing');
    expect(await read(log)).toEqual({ records: [canonical(3)], others: 3, rejects: [], notes: [] });
    expect((await read(log, [1, 3])).records).toHaveLength(2);
  });

  test('may hold CDATA that imitates the end of an event and a new one', async () => {
    const commandLine = `x</Data></EventData></Event>${event(666)}`;
    const log = event(1, 1, undefined, `<![CDATA[${commandLine}]]>`) + event(2);
    expect(await read(log)).toEqual({
      records: [canonical(1, undefined, commandLine), canonical(2)],
      others: 0,
      rejects: [],
      notes: [],
    });
  });

  test('are read the same however they arrive', async () => {
    const log = Buffer.from(
      `\u00e4<Events>${event(1)}\n${event(2, 5)}<!-- ${'x'.repeat(3000)} -->${event(3, 1, undefined, '<![CDATA[</Event>]]>\u6f22')}</Events>`,
    );
    const whole = await read(log);
    expect(whole.records).toHaveLength(2);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5000 }), async (chunkBytes) => {
        expect(await read(log, [1], chunkBytes)).toEqual(whole);
      }),
      { numRuns: 50 },
    );
  });

  test('are read beyond the first buffer', async () => {
    const log = Array.from({ length: 3000 }, (_, index) => event(index)).join('\n');
    expect((await read(log)).records).toEqual(Array.from({ length: 3000 }, (_, index) => canonical(index)));
  });
});

describe('events that are not whole', () => {
  test('at the end of the log count with their complete fields if they say what ran, and a note says so', async () => {
    const whole = event(1);
    const reading = await read(event(0) + whole.slice(0, whole.indexOf('</Data></EventData>')));
    expect(reading.records).toEqual([canonical(0), canonical(1).replace(',"ParentImage":"p"', '')]);
    expect(reading.notes).toEqual(['1 events are cut; the fields before the cut are used [TRUNCATED]']);
  });

  test('are rejected with their place if they do not', async () => {
    const whole = event(812);
    const reading = await read(event(811) + whole.slice(0, whole.indexOf('<EventData>') + '<EventData>'.length));
    expect(reading.records).toEqual([canonical(811)]);
    expect(reading.rejects).toEqual([
      { code: 'TRUNCATED', message: 'event is cut before its data', record: '812', offset: event(811).length },
    ]);
  });

  test('in the middle end where the next begins', async () => {
    const cut = LINUX(1).slice(0, LINUX(1).indexOf('</Data></EventData>'));
    const log = `May  1 18:10:22 web sysmon: ${cut}\nMay  1 18:10:23 web sysmon: ${LINUX(2)}\n`;
    expect((await read(log)).records).toEqual([
      canonical(1, 'Linux-Sysmon').replace(',"ParentImage":"p"', ''),
      canonical(2, 'Linux-Sysmon'),
    ]);
  });

  test('because JSON stands among them are told once, with the place', async () => {
    const log = `${event(1)}\n{"a":1}\n{"a":2}\n${event(2)}\n`;
    for (const chunkBytes of [1, 1000, 1 << 20]) {
      const { records, rejects } = await read(log, [1], chunkBytes);
      expect(records).toHaveLength(2);
      expect(rejects).toEqual([
        { code: 'BAD_RECORD', message: expect.stringContaining('JSON'), offset: Buffer.byteLength(event(1)) + 1 },
      ]);
    }
  });

  test('because they have no id are rejected', async () => {
    const reading = await read(event(5).replace('<EventID>1', '<EventID>one') + event(6));
    expect(reading.records).toEqual([canonical(6)]);
    expect(reading.rejects.map(({ code, record }) => [code, record])).toEqual([['BAD_RECORD', '5']]);
  });

  test('because they have no end within 4 MiB are rejected, and reading goes on behind them', async () => {
    const endless = event(1).replace('</Event>', 'x'.repeat(5 * 1024 * 1024));
    const reading = await read(`${event(0)}${endless}\n${event(2)}`);
    expect(reading.rejects.map(({ code, offset }) => [code, offset])).toEqual([['TOO_LARGE', event(0).length]]);
    expect(reading.records).toEqual([canonical(0), canonical(2)]);
  });

  test('in number, or made of hostile repetition, cost bounded time', async () => {
    for (const flood of ['<Event ', '<![CDATA[]]>', '<![CDATA[', '</Event', '<e:Event>', '<', "<Data Name='x'>"]) {
      await read(`<Event >${flood.repeat(Math.floor(3_000_000 / flood.length))}`);
    }
  });

  test('with any byte changed, anything cut off, or random, give records or rejects and nothing else', async () => {
    const log = Buffer.from(event(1) + event(2, 3) + event(3));
    await fc.assert(
      fc.asyncProperty(fc.nat(log.length - 1), fc.nat(255), fc.nat(log.length), async (at, byte, end) => {
        const changed = Buffer.from(log);
        changed[at] = byte;
        const { records, others, rejects } = await read(changed.subarray(0, Math.max(end, at)));
        expect(records.length + others + rejects.length).toBeLessThanOrEqual(4);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (bytes) => {
        expect((await read(Buffer.from(bytes))).records).toEqual([]);
      }),
    );
  });
});

test('XML of something else is no log, an empty log is one', async () => {
  for (const other of ['<?xml version="1.0"?>\n<project><Events2/></project>', '<!DOCTYPE html><html></html>']) {
    await expect(read(other)).rejects.toMatchObject({ code: 'NOT_A_LOG' });
  }
  for (const empty of ['<?xml version="1.0"?>\n<Events/>', '<!-- x --><root>\n</root>', '<Events></Events>']) {
    expect(await read(empty)).toEqual({ records: [], others: 0, rejects: [], notes: [] });
  }
});

describe('looking at the start of a log', () => {
  test('takes little time where it is blank lines alone', () => {
    expect(looksLikeXml(Buffer.from(`x${'\n'.repeat(512 * 1024)}`))).toBe(false);
  });

  test.each([
    ['JSON with XML in a string', `{"System":"${event(1)}"}`],
    ['CSV with XML in a column', `_time,_raw\n2026-01-01T00:00:00,"${event(1)}"`],
    ['Event Viewer text with its XML', `Log Name:      x\nEvent Xml:\n${event(1)}`],
    ['syslog', '<14>May  1 18:10:22 web sysmon: <Event><System></System></Event>'],
    ['another log that quotes the end of an event', `x</Event>\nLog Name: x\n${event(1)}`],
    ['a line of a journal in another log', `Log Name: x\n__CURSOR=x\nMESSAGE=${event(1)}`],
    ['HTML', '<html><body>Event</body></html>'],
    ['nothing', ''],
  ])('does not take %s for events as XML', (_name, log) => {
    expect(looksLikeXml(Buffer.from(log))).toBe(false);
  });
});
