import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { PeekableReader, streamByteReader } from '../../../src/sources/byte-reader.js';
import { looksLikeCsv, readCsv } from '../../../src/sources/csv.js';
import { decodingReader } from '../../../src/sources/encoding.js';
import { readAll } from '../reading.js';
import { expectedCounts, SAMPLES } from '../samples.js';

const HEAD_BYTES = 64 * 1024;

function samplesIn(folder: string, pattern = /./): string[] {
  if (!existsSync(SAMPLES)) return [];
  return readdirSync(join(SAMPLES, folder))
    .filter((name) => pattern.test(name))
    .map((name) => `${folder}/${name}`);
}

async function headOf(bytes: Buffer): Promise<Buffer> {
  const source = new PeekableReader(streamByteReader(Readable.from([bytes])));
  return new PeekableReader(decodingReader(source)).peek(HEAD_BYTES);
}

describe.skipIf(!existsSync(SAMPLES))('sample logs of CSV', () => {
  test.each([...samplesIn('csv'), ...samplesIn('splunk', /\.csv$/), ...samplesIn('evtxecmd', /\.csv$/)])(
    '%s has the expected process creations and hashes',
    async (name) => {
      const bytes = readFileSync(join(SAMPLES, name));
      expect(looksLikeCsv(await headOf(bytes))).toBe(true);
      const { hashes, rejects } = await readAll(
        (reader, wanted, receiver) => readCsv(decodingReader(new PeekableReader(reader)), wanted, receiver),
        bytes,
      );
      const sha1s = hashes.flatMap(({ sha1 }) => sha1 ?? []);
      expect(rejects).toEqual([]);
      expect({
        processCreations: hashes.length,
        withSha1: sha1s.length,
        distinctSha1: new Set(sha1s).size,
      }).toEqual(expectedCounts().get(name));
    },
  );

  test.each([
    ...samplesIn('text'),
    ...samplesIn('syslog'),
    ...samplesIn('xml'),
    ...samplesIn('json'),
    ...samplesIn('linux'),
    ...samplesIn('negatives'),
    ...samplesIn('evtxecmd', /\.(?:json|xml)$/),
    ...samplesIn('splunk', /\.(?:txt|json|log)$/),
  ])('%s is not taken for CSV', async (name) => {
    expect(looksLikeCsv(await headOf(readFileSync(join(SAMPLES, name))))).toBe(false);
  });
});
