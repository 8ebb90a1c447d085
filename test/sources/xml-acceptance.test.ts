import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PROCESS_CREATION, type RecordReceiver } from '../../src/event.js';
import { PeekableReader, streamByteReader } from '../../src/sources/byte-reader.js';
import { decodingReader } from '../../src/sources/encoding.js';
import { looksLikeXml, readXml } from '../../src/sources/xml.js';

const SAMPLES = join(import.meta.dirname, '../../../shared/data/sysmon');

interface Counts {
  readonly processCreations: number;
  readonly withSha1: number;
  readonly distinctSha1: number;
}

async function* oneChunk(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes;
}

async function countProcessCreations(bytes: Buffer): Promise<Counts> {
  const reader = new PeekableReader(decodingReader(new PeekableReader(streamByteReader(oneChunk(bytes)))));
  expect(looksLikeXml(await reader.peek(8192))).toBe(true);
  const sha1s: string[] = [];
  let processCreations = 0;
  const receiver: RecordReceiver = {
    onEvent: (record) => {
      processCreations += 1;
      if (record.hashes.sha1 !== undefined) sha1s.push(record.hashes.sha1);
    },
    onOther: () => {},
    onReject: () => {},
    onDuplicate: () => {},
    onNote: () => {},
    onBlockEnd: async () => {},
  };
  await readXml(reader, { eventIds: new Set([PROCESS_CREATION]) }, receiver);
  return { processCreations, withSha1: sha1s.length, distinctSha1: new Set(sha1s).size };
}

function readExpected(): Map<string, Counts> {
  const lines = readFileSync(join(SAMPLES, 'expected.tsv'), 'utf8').trim().split('\n').slice(1);
  return new Map(
    lines.map((line) => {
      const [name = '', processCreations, withSha1, distinctSha1] = line.split('\t');
      return [
        name,
        { processCreations: Number(processCreations), withSha1: Number(withSha1), distinctSha1: Number(distinctSha1) },
      ];
    }),
  );
}

function xmlSamples(): string[] {
  if (!existsSync(SAMPLES)) return [];
  return [
    ...readdirSync(join(SAMPLES, 'xml')).map((name) => `xml/${name}`),
    ...readdirSync(join(SAMPLES, 'linux'))
      .filter((name) => name.endsWith('.log'))
      .map((name) => `linux/${name}`),
    'evtxecmd/evtxecmd.xml',
    'splunk/xmlwineventlog-raw.log',
    'containers/wevtutil-no-extension',
  ];
}

describe.skipIf(!existsSync(SAMPLES))('sample logs with events as XML', () => {
  test.each(xmlSamples())('%s has the expected process creations and hashes', async (name) => {
    expect(await countProcessCreations(readFileSync(join(SAMPLES, name)))).toEqual(readExpected().get(name));
  });

  const others = ['csv', 'json', 'syslog', 'text', 'negatives', 'evtx'].flatMap((folder) =>
    existsSync(SAMPLES) ? readdirSync(join(SAMPLES, folder)).map((name) => `${folder}/${name}`) : [],
  );
  test.each(others)('%s is not taken for XML', async (name) => {
    const reader = decodingReader(new PeekableReader(streamByteReader(oneChunk(readFileSync(join(SAMPLES, name))))));
    expect(looksLikeXml(await new PeekableReader(reader).peek(8192))).toBe(false);
  });
});
