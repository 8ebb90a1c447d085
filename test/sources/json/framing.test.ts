import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EnrichmentError, LogError } from '../../../src/errors.js';
import { type ByteReader, streamByteReader } from '../../../src/sources/byte-reader.js';
import { MAX_VALUE_BYTES, readValues, type ValueVisitor } from '../../../src/sources/json/framing.js';
import { looksLikeJson, readJson } from '../../../src/sources/json.js';
import { type Reading, readAll } from '../reading.js';

const PROVIDER = '"SourceName":"Microsoft-Windows-Sysmon"';

/** A process creation of its own, so that losing or doubling one is seen. */
function record(name: string): string {
  return `{"EventID":1,${PROVIDER},"Image":"C:\\\\${name}.exe"}`;
}

const A = record('a');
const B = record('b');
const C = record('c');

function pretty(text: string, indent = 2): string {
  return JSON.stringify(JSON.parse(text), undefined, indent);
}

function images({ events }: Reading): readonly (string | undefined)[] {
  return events.map(({ data }) => data.get('Image')?.replace(/^C:\\(.*)\.exe$/, '$1'));
}

describe('layouts', () => {
  it.each([
    ['one a line', `${A}\n${B}\n${C}\n`],
    ['without a last line feed', `${A}\n${B}\n${C}`],
    ['byte order mark, CRLF and blank lines', `\uFEFF${A}\r\n\r\n${B}\r\n  \r\n${C}\r\n`],
    ['a comma behind each line', `${A},\n${B},\n${C}`],
    ['a byte order mark in the middle, from joined files', `${A}\n\uFEFF${B}\n${C}`],
    ['NUL between, as GELF over TCP', `${A}\0${B}\0${C}\0`],
    ['record separators', `\x1e${A}\n\x1e${B}\n\x1e${C}\n`],
    ['one behind another on one line', A + B + C],
    ['pretty, one after another', `${pretty(A)}\n${pretty(B)}\n${pretty(C)}\n`],
    ['pretty, with a heading each', `Record 1\n${pretty(A)}\nRecord 22\n${pretty(B)}\nRecord 333\n${pretty(C)}\n`],
    ['an array on one line', `[${A},${B},${C}]`],
    ['a pretty array', pretty(`[${A},${B},${C}]`)],
    ['an array with an element a line', `[\n${A},\n${B},\n${C}\n]\n`],
    ['arrays one after another', `[${A}]\n[${B},${C}]`],
    ['a search response', `{"took":1,"hits":{"total":{"value":3},"hits":[${[A, B, C].map(hit).join()}]}}`],
    ['a pretty search response', pretty(`{"took":1,"hits":{"hits":[${[A, B, C].map(hit).join()}]}}`)],
    ['search responses, one a line', `{"hits":{"hits":[${hit(A)}]}}\n{"hits":{"hits":[${hit(B)},${hit(C)}]}}\n`],
    ['a multi-search', `{"responses":[{"hits":{"hits":[${hit(A)},${hit(B)}]}},{"hits":{"hits":[${hit(C)}]}}]}`],
    ["Splunk's REST answer", `{"preview":false,"messages":[],"results":[${A},${B},${C}],"highlighted":{}}`],
    ['aggregates among records', `[${A},{"kind":"aggregate","documents":[${B},${C}]}]`],
    ['a wrapped array of ConvertTo-Json', pretty(`{"value":[${A},${B},${C}],"Count":3}`)],
    ['tests of an ingest pipeline', pretty(`{"events":[${A},${B},${C}]}`)],
    ['what they expect', `{"expected":[${A},${B},${C}]}`],
    [
      'what Graylog finds',
      `{"query":"x","messages":[${[A, B, C].map((record) => `{"index":"x","message":${record}}`).join()}]}`,
    ],
    ['a search response as Kibana shows it', `{"rawResponse":{"hits":{"hits":[${[A, B, C].map(hit).join()}]}}}`],
    ['an asynchronous search', pretty(`{"id":"x","response":{"hits":{"hits":[${[A, B, C].map(hit).join()}]}}}`)],
    ['hits alone', `{"hits":[${[A, B, C].map(hit).join()}]}`],
    ['arrays of one name in an array of another', `{"pages":[{"logs":[${A},${B}]},{"logs":[${C}]}]}`],
    ['arrays one behind another', pretty(`{"first":[${A}],"count":{"of":[1]},"rest":{"of":[${B},${C}]}}`)],
    ['a bulk body', `{"index":{"_index":"x"}}\n${A}\n{"create":{}}\n${B}\n{"index":{"_id":"1"}}\n${C}\n`],
    ['blanks everywhere', ` \t ${A} \r\n\t ${B} \n ${C} `],
  ])('%s', async (_name, log) => {
    const reading = await readAll(readJson, log);

    expect(images(reading)).toEqual(['a', 'b', 'c']);
    expect([reading.others, reading.rejects, reading.notes]).toEqual([0, [], []]);
  });

  it('counts values that are no objects as other records', async () => {
    const reading = await readAll(readJson, `null\n[]\n${A}\n"text"\n-1.5e3\n[1,[2]]\n{}\n`);

    expect([images(reading), reading.others, reading.rejects]).toEqual([['a'], 6, []]);
  });

  it('does not take a record for a wrapper because of an array in it', async () => {
    const log = `{"EventID":1,${PROVIDER},"value":["x"],"results":[],"hits":[{"a":1}],"Image":"C:\\\\a.exe"}`;

    expect(images(await readAll(readJson, `${log}\n${pretty(log)}`))).toEqual(['a', 'a']);
  });
});

describe('arrays in objects', () => {
  it('are not torn out of records', async () => {
    const records = [
      `{"EventID":5,${PROVIDER},"events":[${A},${B}]}`,
      '{"rule":{"id":"x"},"events":[{"EventID":1,"SourceName":"Other"},{"Image":"x"}],"in":{"list":[{"a":1}]}}',
      `{"Event":{"System":[{"Provider":[{"Name":"Microsoft-Windows-Sysmon"}],"EventID":["1"]}],"EventData":[{}]}}`,
    ];

    const log = [...records, ...records.map((record) => pretty(record)), `[${records.join()}]`].join('\n');
    const reading = await readAll(readJson, log);

    expect([reading.events, reading.others, reading.rejects]).toEqual([[], 9, []]);
  });

  it('keep their elements as found, what is beside them goes', async () => {
    const log = `{"columns":[{"name":"x"}], "events":[${B} , {"EventID":5,${PROVIDER}}], "n":1}`;

    const reading = await readAll(readJson, log, { isEveryRecordWanted: true });

    expect(reading.handedOver).toEqual(['{"name":"x"}', B, `{"EventID":5,${PROVIDER}}`]);
  });

  it('are cut with the log', async () => {
    const reading = await readAll(readJson, `{"events":[${A},${B},`);

    expect([reading.events.length, reading.rejects.map(({ code }) => code)]).toEqual([0, ['TRUNCATED']]);
  });
});

describe('broken logs', () => {
  it.each([
    ['a line cut in a string', `${A}\n${B.slice(0, 40)}\n${C}\n`, [`2@${A.length + 1}`]],
    ['a line cut behind a comma', `${A}\n{"x":1,\n${C}\n`, [`2@${A.length + 1}`]],
    ['a line cut behind a colon', `${A}\n{"x":\n${C}\n`, [`2@${A.length + 1}`]],
    ['a line cut behind a brace', `${A}\n{\n${C}\n`, [`2@${A.length + 1}`]],
    ['a line that is cut at its start', `xyz"}\n${A}\n${C}\n`, ['1@0']],
    ['text between', `${A}\nnot json at all\n2031-01-01 text\n${C}\n`, [`2@${A.length + 1}`, `3@${A.length + 17}`]],
    ['text behind a value', `${A} tail\n${C}\n`, [`2@${A.length + 1}`]],
    [
      'a pretty object broken inside',
      `${pretty(A)}\n${pretty(B).replace('1,', '1')}\n${pretty(C)}`,
      [`2@${pretty(A).length + 1}`],
    ],
    [
      'a broken element of a pretty array',
      pretty(`[${A},${B},${C}]`).replace(/"EventID": 1,(?=[^}]*b\.exe)/, '"EventID" 1,'),
      undefined,
    ],
    ['a broken escape', `${A}\n{"x":"\\q"}\n${C}\n`, [`2@${A.length + 1}`]],
    ['a broken escape in a pretty object', `${pretty(A)}\n{\n"x":"\\q"\n}\n${C}\n`, [`2@${pretty(A).length + 1}`]],
    ['a closing bracket too many', `${A}\n]\n${C}\n`, [`2@${A.length + 1}`]],
    ['an array that another log follows', `[\n  ${A},\n  ${B.slice(0, 30)}\n[\n  ${C}\n]`, undefined],
  ])('%s costs that record', async (_name, log, places) => {
    const reading = await readAll(readJson, log);

    expect(images(reading)).toEqual(['a', 'c']);
    expect(reading.rejects.map(({ code }) => code)).toEqual((places ?? ['']).map(() => 'BAD_JSON'));
    if (places !== undefined)
      expect(reading.rejects.map((reject) => `${reject.record}@${reject.offset}`)).toEqual(places);
  });

  it.each([
    ['a line', `${A}\n${B}\n`],
    ['a pretty object', `${pretty(A)}\n${pretty(B)}`],
    ['an array', `[${A},${B}`],
  ])('says so where the log ends inside %s', async (_name, log) => {
    const reading = await readAll(readJson, log.slice(0, -8));

    expect(images(reading)).toEqual(['a']);
    expect(reading.rejects.map(({ code, record: number }) => [code, number])).toEqual([['TRUNCATED', '2']]);
  });

  it('does not take the inside of a broken record for records', async () => {
    const broken = pretty('{"x":[{"y":1},{"y":2}],"z":1}').replace('"z":', '"z"');
    const { others, rejects, ...reading } = await readAll(readJson, `${broken}\n${pretty(A)}`);

    expect([images({ others, rejects, ...reading }), others, rejects.length]).toEqual([['a'], 0, 1]);
  });

  it('notes an array that does not end', async () => {
    const reading = await readAll(readJson, `{"hits":{"hits":[${hit(A)},`);

    expect([images(reading), reading.rejects]).toEqual([['a'], []]);
    expect(reading.notes).toEqual([expect.stringContaining('ends before its array')]);
  });

  it('refuses a log without any JSON', async () => {
    await expect(readAll(readJson, 'one\ntwo\n')).rejects.toThrow(LogError);
    await expect(readAll(readJson, '\n')).resolves.toMatchObject({ events: [], rejects: [] });
  });

  it('gives nesting up that is deeper than any record', async () => {
    const deep = `{"x":${'['.repeat(300_000)}${']'.repeat(300_000)}}`;
    const reading = await readAll(
      readJson,
      `${deep}\n${A}\n${pretty(`{"x":${'['.repeat(300)}${']'.repeat(300)}}`)}\n${C}`,
    );

    expect(images(reading)).toEqual(['a', 'c']);
    expect(reading.rejects.map(({ code }) => code)).toEqual(['BAD_JSON', 'BAD_JSON']);
  });

  it('reads invalid UTF-8, and writes it valid', async () => {
    const log = Buffer.from(A.replace('a.exe', '\u00e4.exe'), 'latin1');
    const reading = await readAll(readJson, log);

    expect(images(reading)).toEqual(['\uFFFD']);
    expect(reading.bodies).toEqual([A.replace('a.exe', '\uFFFD.exe')]);
  });
});

describe('large logs', () => {
  it('does not hold a value that is too large, wherever it stands', async () => {
    const block = Buffer.alloc(1 << 20, 'x');
    async function* log(): AsyncGenerator<Buffer> {
      yield Buffer.from(`[${A},{"x":"`);
      for (let written = 0; written <= MAX_VALUE_BYTES; written += block.length) yield block;
      yield Buffer.from(`"},${B}]\n{"y":"`);
      for (let written = 0; written <= MAX_VALUE_BYTES; written += block.length) yield block;
      yield Buffer.from(`\n${C}\n`);
    }
    const reading = await readStream(log());

    expect(images(reading)).toEqual(['a', 'b', 'c']);
    expect(reading.rejects.map(({ code, record: number, offset }) => [code, number, offset])).toEqual([
      ['TOO_LARGE', '2', A.length + 2],
      ['TOO_LARGE', '4', expect.any(Number)],
    ]);
  });

  it('does not parse a value of very many parts', async () => {
    const reading = await readAll(readJson, `${A}\n{"x":[\n${'[],'.repeat(200_000)}{}]}\n${C}\n`);

    expect([images(reading), reading.rejects.map(({ code }) => code)]).toEqual([['a', 'c'], ['TOO_LARGE']]);
  });

  it('shows the elements of a wrapped array before the array ends', async () => {
    const shown: number[] = [];
    let isOver = false;
    async function* log(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"took":1,"hits":{"hits":[');
      for (let count = 0; count < 4; count++) yield Buffer.from(`${hit(record('x'.repeat(1 << 20)))},`);
      isOver = true;
      yield Buffer.from(`${hit(A)}]}}`);
    }
    await readValues(
      streamByteReader(log()),
      visitor({ onObject: (object) => shown.push(isOver ? -1 : object.length) > 0 }),
    );

    expect(shown.length).toBe(5);
    expect(shown[0]).toBeGreaterThan(1 << 20);
  });
});

describe('large objects', () => {
  it.each([
    ['many parts', record('x'), 30_000],
    ['many bytes', record('x'.repeat(1 << 16)), 300],
  ])('with %s in an array of any name are wrappers', async (_name, element, count) => {
    const log = `{"id":1,"wrapped":{"here":[\n${`${element},\n`.repeat(count)}${A}]}}`;
    const lengths: number[] = [];
    const seen = visitor({ onObject: (object) => lengths.push(object.length) > 0 });
    await readValues(streamByteReader(chunks(Buffer.from(log))), seen);
    const reading = await readAll(readJson, log);

    expect([lengths.length, lengths[0], lengths.at(-1)]).toEqual([count + 1, element.length, A.length]);
    expect([reading.events.length, reading.others, reading.rejects]).toEqual([count + 1, 0, []]);
  });

  it('in an array beside other values are wrappers, too', async () => {
    const reading = await readAll(readJson, `[0,{"here":[${`${A},`.repeat(30_000)}${B}]}]\n${C}`);

    expect([reading.events.length, images(reading).at(-1), reading.others, reading.rejects]).toEqual([
      30_002,
      'c',
      0,
      [],
    ]);
  });

  it('are held no longer than it takes to see that they wrap records', async () => {
    let shown = 0;
    let most = 0;
    async function* log(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"wrapped":[');
      for (let count = 0; count < 40; count++) {
        yield Buffer.from(`${record('x'.repeat(1 << 20))},`);
        most = Math.max(most, count - shown);
      }
      yield Buffer.from(`${A}]}`);
    }
    await readValues(streamByteReader(log()), visitor({ onObject: () => ++shown > 0 }));

    expect(shown).toBe(41);
    expect(most).toBeLessThanOrEqual(MAX_VALUE_BYTES / (1 << 20) + 2);
  });
});

describe('properties', () => {
  const value = fc.json({ maxDepth: 3 }).map((text) => (text.startsWith('{') ? text : `{"v":${text}}`));
  const spelled = value.chain((text) => fc.constantFrom(text, pretty(text), pretty(text, 4)));
  const separator = fc.constantFrom('\n', '\r\n', '\n\n', '\0', ',\n', '');
  const logs = fc.array(fc.tuple(spelled, separator), { minLength: 1, maxLength: 6 });

  it('reads may be cut anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        logs,
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        async (values, isArray, sizes) => {
          const joined = values.map(([text, between]) => text + (isArray ? ',' : '') + between).join('');
          const log = Buffer.from(isArray ? `[${joined}]` : joined);

          expect(await framed(shortReader(log, sizes))).toEqual(values.map(([text]) => text));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('whatever the bytes, nothing but our errors is thrown, and whole lines before the damage are read', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(`${A}\n${B}\n${C}\n`, pretty(`[${A},${B}]`), `{"hits":{"hits":[${hit(A)},${hit(B)}]}}`),
        fc.nat(),
        fc.oneof(fc.constant(undefined), fc.integer({ min: 0, max: 255 })),
        async (log, where, byte) => {
          const bytes = Buffer.from(log);
          const place = where % bytes.length;
          if (byte !== undefined) bytes[place] = byte;
          const damaged = byte === undefined ? bytes.subarray(0, place) : bytes;
          try {
            const reading = await readAll(readJson, damaged, { chunkBytes: 7 });
            if (log.startsWith(A) && place > A.length) expect(images(reading)[0]).toBe('a');
          } catch (error) {
            if (!(error instanceof EnrichmentError)) throw error;
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('the bytes of a log', () => {
  const piece = fc.oneof(
    fc.constantFrom(A, B, pretty(A), `[${A},${B}]`, hit(A), `{"hits":{"hits":[${hit(A)}]}}`, `{"EventID":1,"x":"\n`),
    fc.constantFrom(`{"n":[1],"events":[${A},${B}],"in":{"c":[{}]}}`, pretty(`{"events":[${A},{"events":[${B}]}]}`)),
    fc.constantFrom(
      '\n',
      '\r\n',
      '\0',
      ',',
      ' ',
      ']',
      '}',
      '{',
      '\uFEFF',
      'null',
      '12',
      '"s"',
      'Record 7\n',
      'not JSON\n',
    ),
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

  it('are all shown or told as passed, once and in their order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), sizes, fc.boolean(), async (pieces, sizes, takesLines) => {
        const log = Buffer.from(pieces.join(''));
        const told: Buffer[] = [];
        const keep = (bytes: Buffer): boolean => told.push(Buffer.from(bytes)) > 0;
        const keepRecord = (object: Buffer): boolean => !object.includes('"events"') && keep(object);
        const takeLine = (line: Buffer): boolean => {
          // As the source does: a line is taken where it is one object.
          return takesLines && isObjectText(line.toString()) && keepRecord(line);
        };
        const parts = { onLine: takeLine, onObject: keepRecord, onPassed: keep, onReject: () => {} };
        await readValues(shortReader(log, sizes), visitor(parts));

        expect(Buffer.concat(told).toString()).toBe(log.toString());
      }),
      { numRuns: 150 },
    );
  });
});

describe('looksLikeJson', () => {
  it.each([
    '{"a":1}',
    '\uFEFF \n{ "a": 1 }',
    '{\n',
    '[{"a":1}]',
    '[\r\n    {',
    '[]',
    'null\n{"a":1}',
    'Record 1\n{\n',
    'x":1}\n{"a":1}\n{"a":2}\n{"a"',
  ])('takes %j', (head) => {
    expect(looksLikeJson(Buffer.from(head))).toBe(true);
  });

  it.each([
    '',
    '[2031-01-01 00:00:00] started',
    '{set}',
    '[section]\nkey=1',
    '<Event>',
    'Record 1\n<?xml',
    'a,b\n1,2\n',
    'Process Create:\n',
    'Title\n\nText\n',
  ])('does not take %j', (head) => {
    expect(looksLikeJson(Buffer.from(head))).toBe(false);
  });
});

function isObjectText(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object';
  } catch {
    // Told to the framer as no object.
    return false;
  }
}

function hit(document: string): string {
  return `{"_index":"x","_source":${document}}`;
}

async function* chunks(log: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < log.length; start += 1 << 16) yield log.subarray(start, start + (1 << 16));
}

async function readStream(chunks: AsyncGenerator<Buffer>): Promise<Reading> {
  const reader = streamByteReader(chunks);
  return readAll((_unused, wanted, receiver) => readJson(reader, wanted, receiver), '');
}

/** Gives fewer bytes at a time than are asked for only by cutting the log: blocks end where `sizes` say. */
function shortReader(log: Buffer, sizes: readonly number[]): ByteReader {
  let position = 0;
  let reads = 0;
  return {
    read: async (target) => {
      const size = Math.min(sizes[reads % sizes.length] ?? 1, target.length, log.length - position);
      reads += 1;
      log.copy(target, 0, position, position + size);
      position += size;
      return size;
    },
  };
}

function visitor(parts: Partial<ValueVisitor>): ValueVisitor {
  return {
    isKnownOther: () => false,
    onLine: () => false,
    onObject: () => true,
    onOtherValue: () => {},
    onReject: (reject) => {
      throw new Error(reject.message);
    },
    onNote: () => {},
    onBlockEnd: () => Promise.resolve(),
    ...parts,
  };
}

async function framed(reader: ByteReader): Promise<readonly string[]> {
  const texts: string[] = [];
  await readValues(reader, visitor({ onObject: (object) => texts.push(object.toString('utf8')) > 0 }));
  return texts;
}
