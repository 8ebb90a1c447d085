import { describe, expect, it } from 'vitest';
import {
  type EvtxEvent,
  type EvtxValue,
  type EvtxXmlRecord,
  eventRecord,
  forwardedRecord,
  writeEvtx,
  type XmlContent,
  type XmlElement,
  type XmlRoot,
} from '../../../src/demo/evtx-writer.js';
import { Chunk } from '../../../src/sources/evtx/binxml.js';
import { PlanCache } from '../../../src/sources/evtx/plan.js';
import { TemplateRecord } from '../../../src/sources/evtx/template-record.js';
import { readBothWays } from './reading.js';
import { field, HASHES, processCreation, SHA1, text, withFields } from './samples.js';

/** A process creation whose EventData is `roots` instead of the usual template. */
function withDataRoots(...roots: readonly XmlRoot[]): EvtxXmlRecord {
  const record = eventRecord(processCreation());
  const [root] = record.roots;
  if (root === undefined || !('template' in root)) throw new Error('a local event is a template');
  const values = root.values.map((value): EvtxValue => (value.type === 'xml' ? { type: 'xml', roots } : value));
  return { ...record, roots: [{ template: root.template, values }] };
}

function data(name: XmlContent, ...content: readonly XmlContent[]): XmlElement {
  return { name: 'Data', attributes: [['Name', name]], content };
}

async function dataOf(...records: readonly EvtxXmlRecord[]): Promise<unknown> {
  const { events, rejects } = await readBothWays(writeEvtx(records));
  expect(rejects).toEqual([]);
  return events.map(({ event }) => Object.fromEntries(event.data));
}

function utf16(value: string): Buffer {
  return Buffer.from(value, 'utf16le');
}

function counted(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length, 0]), utf16(value)]);
}

describe('a record that no plan covers is read all the same:', () => {
  it('EventData as raw elements in the nested value', async () => {
    const root: XmlElement = { name: 'EventData', content: [data('Image', 'a.exe'), data('Hashes', `SHA1=${SHA1}`)] };
    expect(await dataOf(withDataRoots(root))).toEqual([{ Image: 'a.exe', Hashes: `SHA1=${SHA1}` }]);
  });

  it('RenderingInfo behind the data, which is ignored', async () => {
    const template: XmlElement = { name: 'EventData', content: [data('Image', { substitution: 0 })] };
    const rendering: XmlElement = { name: 'RenderingInfo', content: [data('Image', 'rendered')] };
    expect(await dataOf(withDataRoots({ template, values: [text('a.exe')] }, rendering))).toEqual([{ Image: 'a.exe' }]);
  });

  it('constant text beside a substitution, and several substitutions', async () => {
    const template: XmlElement = {
      name: 'EventData',
      content: [data('A', 'pid ', { substitution: 0 }, '/', { substitution: 1 }), data('B', 'constant')],
    };
    const values: EvtxValue[] = [
      { type: 'uint32', value: 7 },
      { type: 'uint32', value: 8 },
    ];
    expect(await dataOf(withDataRoots({ template, values }))).toEqual([{ A: 'pid 7/8', B: 'constant' }]);
  });

  it('a field name that is a substitution', async () => {
    const template: XmlElement = { name: 'EventData', content: [data({ substitution: 0 }, { substitution: 1 })] };
    const values = [text('Image'), text('a.exe')];
    expect(await dataOf(withDataRoots({ template, values }))).toEqual([{ Image: 'a.exe' }]);
  });

  it('a field name twice, a field without a name, one value in two fields', async () => {
    const template: XmlElement = {
      name: 'EventData',
      content: [
        data('A', { substitution: 0 }),
        data('A', { substitution: 1 }),
        { name: 'Data', content: [{ substitution: 0 }] },
        { name: 'Binary', content: [{ substitution: 1 }] },
      ],
    };
    const values = [text('one'), text('two')];
    expect(await dataOf(withDataRoots({ template, values }))).toEqual([{ A: 'one, two', Data: 'one', Binary: 'two' }]);
  });

  it('CDATA, character and entity references, processing instructions, text in pieces', async () => {
    const content: XmlContent[] = [
      'a',
      { entity: 'amp' },
      { entity: 'unknown' },
      { bytes: Buffer.concat([Buffer.from([0x07]), counted('<c>')]) },
      { bytes: Buffer.from([0x08, 0x26, 0x00]) },
      { bytes: Buffer.concat([Buffer.from([0x0b]), counted('ignored')]) },
      'z',
    ];
    const root: XmlElement = { name: 'EventData', content: [data('A', ...content)] };
    expect(await dataOf(withDataRoots(root))).toEqual([{ A: 'a&&unknown;<c>&z' }]);
  });

  it('an index beyond the values, which is absent', async () => {
    const template: XmlElement = {
      name: 'EventData',
      content: [
        data('A', { substitution: 9 }),
        data('B', { substitution: 9, isOptional: true }),
        data('C', { substitution: 0 }),
      ],
    };
    expect(await dataOf(withDataRoots({ template, values: [text('c')] }))).toEqual([{ A: '', C: 'c' }]);
  });

  it('fields nested in a value of EventData', async () => {
    const inner: XmlElement = { name: 'Data', attributes: [['Name', 'A']], content: ['a'] };
    const template: XmlElement = { name: 'EventData', content: [{ substitution: 0 }] };
    expect(await dataOf(withDataRoots({ template, values: [{ type: 'xml', roots: [inner] }] }))).toEqual([{ A: 'a' }]);
  });

  it('an element that depends on a value that is null is left out, Event itself never', async () => {
    const template: XmlElement = {
      name: 'EventData',
      content: [
        { ...data('A', 'a'), dependency: 0 },
        { ...data('B', 'b'), dependency: 1 },
      ],
    };
    expect(await dataOf(withDataRoots({ template, values: [{ type: 'null' }, text('x')] }))).toEqual([{ B: 'b' }]);
    const record = eventRecord(processCreation());
    const [root] = record.roots;
    if (root === undefined || !('template' in root)) throw new Error('a local event is a template');
    const values = root.values.map((value): EvtxValue => (value.type === 'xml' ? { type: 'null' } : value));
    const { events } = await readBothWays(writeEvtx([{ ...record, roots: [{ template: root.template, values }] }]));
    expect(events.map(({ body }) => body)).toEqual([expect.stringMatching(/,"EventData":\{\}$/)]);
  });

  it('sizes of elements that do not fit', async () => {
    const log = writeEvtx([eventRecord(processCreation())]);
    // The root of the outer template: head of the record 24, fragment and instance 14, definition 24, fragment 4, token and dependency 3.
    const sizeAt = 4096 + 512 + 24 + 14 + 24 + 4 + 3;
    log.writeUInt32LE(log.readUInt32LE(sizeAt) - 1, sizeAt);
    const { events, notes } = await readBothWays(log);
    expect(events).toHaveLength(1);
    expect(notes).toEqual(['wrong chunk checksum at 0x1000 (1)']);
  });

  it('provider, channel and event id that are constants of the template', async () => {
    const record = forwardedRecord(processCreation());
    const [root] = record.roots;
    if (root === undefined || 'template' in root) throw new Error('a forwarded event has no template');
    const { events } = await readBothWays(writeEvtx([{ ...record, roots: [{ template: root, values: [] }] }]));
    const plain = await readBothWays(writeEvtx([record]));
    expect(events).toEqual(plain.events);
    expect(events).toHaveLength(1);
  });
});

/** Reads the first record of a log through its template and says what came of it. */
function outcomeOf(plans: PlanCache, log: Buffer): string {
  const chunk = new Chunk(log.subarray(4096, 4096 + 65_536));
  chunk.reset(chunk.view.getUint32(48, true));
  const record = new TemplateRecord(plans);
  record.startChunk();
  return record.read(chunk, 512 + 24, 512 + chunk.view.getUint32(516, true) - 4, new Set([1]));
}

describe('a template', () => {
  it('is planned for what Sysmon writes, and not for forwarded events', () => {
    const plans = new PlanCache();
    expect(outcomeOf(plans, writeEvtx([eventRecord(processCreation())]))).toBe('wanted');
    expect(outcomeOf(plans, writeEvtx([eventRecord(processCreation({ eventId: 3 }))]))).toBe('other');
    expect(outcomeOf(plans, writeEvtx([forwardedRecord(processCreation())]))).toBe('unplanned');
  });

  const twoFields: EvtxEvent = withFields(
    field('Image', 'image value'),
    field('Owner', 'owner value'),
    field('Hashes', HASHES),
  );

  it('that is forged under a known GUID is read for what it says', async () => {
    const genuine = writeEvtx([eventRecord(twoFields)]);
    expect(await readBothWays(genuine)).toMatchObject({
      events: [{ body: expect.stringContaining('"Image":"image value"') }],
    });
    const forged = Buffer.from(genuine);
    const image = forged.indexOf(utf16('Image'));
    const owner = forged.indexOf(utf16('Owner'));
    utf16('Owner').copy(forged, image);
    utf16('Image').copy(forged, owner);
    const { events } = await readBothWays(forged);
    expect(events[0]?.body).toContain('"Owner":"image value","Image":"owner value"');
    expect(await readBothWays(genuine)).toMatchObject({
      events: [{ body: expect.stringContaining('"Image":"image value"') }],
    });
  });

  it('is forged, too, by changing a name it refers to outside of itself', async () => {
    // The first record brings the name EventData, so that the second one's template refers to it.
    const genuine = writeEvtx([eventRecord(processCreation()), eventRecord(twoFields)]);
    expect((await readBothWays(genuine)).events[1]?.event.data.get('Image')).toBe('image value');
    const forged = Buffer.from(genuine);
    utf16('EventDota').copy(forged, forged.indexOf(utf16('EventData')));
    const { events } = await readBothWays(forged);
    expect(events.map(({ event }) => event.data.size)).toEqual([0, 0]);
  });

  it('may stand anywhere in a chunk, with its names inline or by reference, and means the same', async () => {
    const others = Array.from({ length: 20 }, (_, index) =>
      withFields(...Array.from({ length: index }, (_field, at) => field(`F${at}`, 'x'))),
    );
    for (const before of [0, 1, 7, 20]) {
      const log = writeEvtx([...others.slice(0, before), twoFields].map(eventRecord));
      const { events } = await readBothWays(log);
      expect(events.at(-1)?.body).toContain('"Image":"image value","Owner":"owner value"');
    }
  });

  it('cannot fill the cache without end', async () => {
    // More templates than are remembered, in chunks of a few dozen.
    const records = Array.from({ length: 5000 }, (_, index) => eventRecord(withFields(field(`Field${index}`, 'x'))));
    const { events, rejects } = await readBothWays(writeEvtx(records));
    expect(events).toHaveLength(5000);
    expect(events.every(({ event }, index) => event.data.get(`Field${index}`) === 'x')).toBe(true);
    expect(rejects).toEqual([]);
  });
});
