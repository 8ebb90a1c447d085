import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Layouts } from '../../../src/sources/json/layouts.js';
import { recognise } from '../../../src/sources/json/recognise.js';
import { readJson } from '../../../src/sources/json.js';
import { type Reading, readAll } from '../reading.js';

const PROVIDER = 'Microsoft-Windows-Sysmon';

/** Texts that look like what is searched for. */
const text = fc.oneof(
  fc.constantFrom(
    '"EventID":1',
    '{"EventID":1}',
    '\\"EventID\\":1,',
    '\\',
    '"',
    'Process Create:\r\nImage: x',
    '1',
    '\u0000é',
  ),
  fc.string({ maxLength: 6 }),
);

/** Parts of records with the id in every place that dialects have it, and in places that only look like it. */
const member: fc.Arbitrary<readonly [string, unknown]> = fc.oneof(
  fc.tuple(
    fc.constantFrom('EventID', 'EventId', 'EventCode', 'event_id', 'Id'),
    fc.constantFrom(1, 10, 12, '1', '12', null, 1.5, 111111),
  ),
  fc.tuple(fc.constantFrom('SourceName', 'Channel', 'Message', 'message', 'Image', 'x', 'eventid'), text),
  fc.tuple(fc.constant('SourceName'), fc.constantFrom(PROVIDER, 'other')),
  fc.tuple(
    fc.constantFrom('x', 'Event', 'winlog', '_source', 'result', 'data', 'fields', 'message', 'body'),
    fc.constantFrom(
      { EventID: 1 },
      { EventID: 12, SourceName: PROVIDER },
      { EventID: 1, SourceName: PROVIDER },
      { System: { EventID: 1, Provider: { Name: PROVIDER } } },
      { System: { EventID: 12, Provider: { Name: PROVIDER } } },
      { event_id: 1, provider_name: PROVIDER },
      { event_id: '12', provider_name: PROVIDER },
      [1, 'a', { EventID: 1 }],
    ),
  ),
);

/** A record in one of the spellings that JSON allows. */
const line = fc
  .tuple(
    fc.uniqueArray(member, { selector: ([name]) => name, maxLength: 6 }),
    fc.constantFrom('plain', 'blanks', 'escapes'),
  )
  .map(([members, spelling]) => {
    const json = JSON.stringify(Object.fromEntries(members));
    if (spelling === 'blanks') return json.replaceAll('":', '" : ').replaceAll('{"', '{ "');
    if (spelling === 'escapes') return json.replaceAll('EventID', 'Event\\u0049D');
    return json;
  });

/** Logs whose lines repeat, so that there are layouts to learn, each line with values of its own. */
const log = fc
  .tuple(
    fc.array(line, { minLength: 1, maxLength: 4 }),
    fc.array(fc.tuple(fc.nat(), fc.constantFrom('1', '12'), fc.constantFrom('\n', '\n', '\n', '\0', '', ' ')), {
      maxLength: 24,
    }),
  )
  .map(([lines, turns]) =>
    turns.reduce(
      (log, [turn, id, separator]) =>
        `${log}${separator}${(lines[turn % lines.length] ?? '').replace(/:("?)1\d?\1(?=[,}])/, `:${id}`)}`,
      lines.join('\n'),
    ),
  );

describe('lines of a known layout', () => {
  it('are passed over exactly where parsing them finds nothing wanted', async () => {
    await fc.assert(
      fc.asyncProperty(log, async (lines) => {
        expect(summary(await readAll(readJson, lines))).toEqual(summary(await readAll(readEveryLine, lines)));
      }),
      { numRuns: 1000 },
    );
  });

  it('have their id read without parsing', () => {
    const layouts = new Layouts();
    const learnt = { a: 'x\\"', list: ['1', 2], in: { b: null, EventID: '10' } };
    layouts.learn(Buffer.from(JSON.stringify(learnt)), learnt, ['in', 'EventID']);
    const idOf = (line: string): number | undefined => layouts.eventIdOf(Buffer.from(line), 0, line.length);

    expect(idOf('{"a":"","list":["22",-1e5],"in":{"b":true,"EventID":"4"},"EventID":1}')).toBe(4);
    expect(idOf('{"a":"","list":["22"],"in":{"b":true,"EventID":"4"}}')).toBeUndefined();
    expect(idOf('{"a":"","list":["22",1],"in":{"b":"x","EventID":"4"}}')).toBeUndefined();
    expect(idOf('{"a":"","list":["22",1],"in":{"b":{"c":1,"EventID":"4"}}}')).toBeUndefined();
    expect(idOf('{"a":"","list":["22",1],"in":{"b":1,"EventID":4}}')).toBeUndefined();
    expect(idOf('{"a":"","list":["22",1],"in":{"b":1,"EventID":"4x"}}')).toBeUndefined();
    expect(idOf('{"a": "","list":["22",1],"in":{"b":1,"EventID":"4"}}')).toBeUndefined();
    expect(idOf('{"a":"","list":["22",1],"in":{"b":1,"EventID":"')).toBeUndefined();
  });

  it('are parsed where something before the id may give another dialect away', async () => {
    const line = (code: string): string => `{"event":{"code":"${code}","provider":"${PROVIDER}"},"EventID":12}`;

    const { events, others } = await readAll(readJson, [line('x'), line('y'), line('1')].join('\n'));

    expect([events.length, others]).toEqual([1, 2]);
  });

  it('are parsed where only what stands behind the id gives the envelope away', async () => {
    const inner = `"event":{"EventID":12,"SourceName":"${PROVIDER}"}`;
    const outer = `"EventID":1,"SourceName":"${PROVIDER}"`;

    const { events, others } = await readAll(readJson, `{${inner},"time":1}\n{${inner},${outer}}`);

    expect([events.length, others]).toEqual([1, 1]);
  });

  it('are learnt where a text stands in the place of an envelope', () => {
    const record = { message: 'x', body: 1, event_id: 12, source_name: PROVIDER };

    expect(recognise(record)?.idPath).toEqual(['event_id']);
    expect(recognise({ ...record, body: {} })?.idPath).toBeUndefined();
  });

  it('are parsed where only what stands behind the id gives the dialect away', async () => {
    const wrapped = (id: number): string => `{"Id":${id},"result":{"EventID":1,"SourceName":"${PROVIDER}"}}`;

    const { events, others } = await readAll(readJson, ['{"Id":1,"Message":""}', wrapped(1), wrapped(12)].join('\n'));

    expect([events.length, others]).toEqual([2, 1]);
  });

  it('are as many records as values stand on them, whatever parts these', async () => {
    const record = (id: number): string => `{"EventID":${id},"SourceName":"${PROVIDER}"}`;
    for (const separator of ['\0', '', ' ']) {
      const { events, others } = await readAll(
        readJson,
        [record(5), [5, 1, 5, 1].map(record).join(separator)].join('\n'),
      );
      expect([events.length, others]).toEqual([2, 3]);
    }
  });

  it('are not learnt where the way to the id ends inside a name', async () => {
    const line = `{"a":"${'x'.repeat(16 * 1024 - 20)}","a name that is long":1,"EventID":1,"SourceName":"${PROVIDER}"}`;
    expect((await readAll(readJson, `${line}\n${line}`)).events).toHaveLength(2);
  });

  it('still are rejects where they are cut', async () => {
    const whole = `{"EventID":12,"SourceName":"${PROVIDER}"}`;

    const { others, rejects } = await readAll(readJson, `${whole}\n${whole}\n${whole.slice(0, -5)}\n${whole}`);

    expect([others, rejects.map(({ code, record }) => [code, record])]).toEqual([3, [['BAD_JSON', '3']]]);
  });
});

function readEveryLine(...[reader, wanted, receiver]: Parameters<typeof readJson>): Promise<void> {
  return readJson(reader, wanted, receiver, { parsesEveryLine: true });
}

function summary({ bodies, hashes, others, rejects, duplicates }: Reading): unknown {
  return { bodies, hashes, others, rejects, duplicates };
}
