import { describe, expect, it } from 'vitest';
import { readJson } from '../../../src/sources/json.js';
import { readAll } from '../reading.js';

const SYSMON = { EventID: 1, Provider: 'Microsoft-Windows-Sysmon', Image: 'C:\\a.exe' };
const SHA1 = 'a1'.repeat(20);
const GOOD = JSON.stringify({ ...SYSMON, Hashes: `SHA1=${SHA1}` });

/** `inner` within so many more values. */
const nested = (open: string, close: string, levels: number, inner = '1'): string =>
  open.repeat(levels) + inner + close.repeat(levels);

describe('a value nested deeper than any record', () => {
  it.each([
    ['arrays of digests', `{"EventID":1,"Provider":"Microsoft-Windows-Sysmon","Hashes":${nested('[', ']', 100_000)}}`],
    ['texts of elements', `{"EventID":${nested('{"value":[', ']}', 9_000)}}`],
    ['fields in fields', `{"Event":{"EventData":${nested('{"EventData":', '}', 12_000, '{}')}}}`],
    ['members in another case', `{"eventid":1,"PROVIDERNAME":${nested('[{"A":', '}]', 20_000)}}`],
    ['JSON in a text', JSON.stringify({ log: `{"EventID":${nested('{"value":[', ']}', 9_000)}}` })],
  ])('costs that record, not the run: %s', async (_name, line) => {
    const { events } = await readAll(readJson, `${line}\n${GOOD}\n`);
    expect(events.at(-1)?.data.get('Hashes')).toBe(`SHA1=${SHA1}`);
    expect(events.filter(({ data }) => data.has('Hashes'))).toHaveLength(1);
  });
});

describe('text that looks like an event', () => {
  const xml = `<Event><System><Provider Name="Linux-Sysmon"/><EventID>1</EventID></System><EventData><Data Name="Image">/x</Data></EventData></Event>`;

  it.each(['http_user_agent', 'request_body', 'url', 'CommandLine', 'comment', 'user'])(
    'is none where a client may have sent it: %s',
    async (name) => {
      const { events } = await readAll(readJson, `${JSON.stringify({ ts: 1, host: 'web', [name]: xml })}\n`);
      expect(events).toEqual([]);
    },
  );

  it.each(['event', 'EventXml', '@message', 'xml_string', 'SyslogMessage', 'raw_event', 'payload'])(
    'is one where collectors put it: %s',
    async (name) => {
      const { events } = await readAll(readJson, `${JSON.stringify({ ts: 1, host: 'web', [name]: xml })}\n`);
      expect(events).toHaveLength(1);
    },
  );
});

describe('an object that wraps records', () => {
  it('is one however many records of others come first', async () => {
    const other = { EventID: 4688, Provider: 'Microsoft-Windows-Security-Auditing', Channel: 'Security' };
    const rows = [...Array.from({ length: 1_500 }, () => other), JSON.parse(GOOD)];
    expect((await readAll(readJson, JSON.stringify({ rows }))).events).toHaveLength(1);
  });

  it('is told of where events stand beside its arrays, of which nothing is read', async () => {
    const event = JSON.parse(GOOD);
    const { events, notes } = await readAll(readJson, JSON.stringify({ trigger: event, related: [event, event] }));
    expect(events).toHaveLength(2);
    expect(notes).toEqual([expect.stringContaining('what is in there was not read')]);
    expect((await readAll(readJson, JSON.stringify({ about: { id: 1 }, related: [event] }))).notes).toEqual([]);
  });

  it('is told of where it may as well be a record that is too large', async () => {
    const record = JSON.stringify({ ...SYSMON, extra: [{ a: 1 }], blob: 'x'.repeat(17 * 1024 * 1024) });
    const { events, notes } = await readAll(readJson, `${record}\n${GOOD}\n`);
    expect(events).toHaveLength(1);
    expect(notes).toEqual([expect.stringMatching(/^at 0x0 the value is longer than 16777216 bytes: /)]);
  });
});

it('with a long run of blanks in a digest takes no time', async () => {
  const line = JSON.stringify({ ...SYSMON, Hashes: `SHA1=${SHA1}${' '.repeat(200_000)}\n  MD5=${'b2'.repeat(16)}` });
  const { events } = await readAll(readJson, `${line}\n`.repeat(20));
  expect(events).toHaveLength(20);
  expect(events[0]?.data.get('Hashes')).toBe(`SHA1=${SHA1},MD5=${'b2'.repeat(16)}`);
});
