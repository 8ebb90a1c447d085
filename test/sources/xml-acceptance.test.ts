import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PeekableReader, streamByteReader } from '../../src/sources/byte-reader.js';
import { decodingReader } from '../../src/sources/encoding.js';
import { looksLikeXml, readXml } from '../../src/sources/xml.js';
import { readAll } from './reading.js';
import { expectedCounts, SAMPLES, type SampleCounts } from './samples.js';

/** What the reader of logs looks at. */
const HEAD_BYTES = 64 * 1024;

async function countProcessCreations(bytes: Buffer): Promise<SampleCounts> {
  const { hashes } = await readAll(async (reader, wanted, receiver) => {
    const text = new PeekableReader(decodingReader(new PeekableReader(reader)));
    expect(looksLikeXml(await text.peek(HEAD_BYTES))).toBe(true);
    await readXml(text, wanted, receiver);
  }, bytes);
  const sha1s = hashes.flatMap(({ sha1 }) => sha1 ?? []);
  return { processCreations: hashes.length, withSha1: sha1s.length, distinctSha1: new Set(sha1s).size };
}

function xmlSamples(): string[] {
  if (!existsSync(SAMPLES)) return [];
  return [
    ...readdirSync(join(SAMPLES, 'xml')).map((name) => `xml/${name}`),
    'evtxecmd/evtxecmd.xml',
    'splunk/xmlwineventlog-raw.log',
    'containers/wevtutil-no-extension',
  ];
}

async function* oneChunk(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes;
}

describe.skipIf(!existsSync(SAMPLES))('sample logs with events as XML', () => {
  test.each(xmlSamples())('%s has the expected process creations and hashes', async (name) => {
    expect(await countProcessCreations(readFileSync(join(SAMPLES, name)))).toEqual(expectedCounts().get(name));
  });

  const others = ['csv', 'json', 'linux', 'syslog', 'text', 'negatives', 'evtx'].flatMap((folder) =>
    existsSync(SAMPLES) ? readdirSync(join(SAMPLES, folder)).map((name) => `${folder}/${name}`) : [],
  );
  test.each(others)('%s is not taken for XML', async (name) => {
    const log = streamByteReader(oneChunk(readFileSync(join(SAMPLES, name))));
    const text = new PeekableReader(decodingReader(new PeekableReader(log)));
    expect(looksLikeXml(await text.peek(HEAD_BYTES))).toBe(false);
  });
});
