import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { PeekableReader, streamByteReader } from '../../../src/sources/byte-reader.js';
import { decodingReader } from '../../../src/sources/encoding.js';
import { looksLikeJson, readJson } from '../../../src/sources/json.js';
import { readAll } from '../reading.js';
import { expectedCounts, SAMPLES } from '../samples.js';

/** Negatives with text of their own, and all JSON of the samples. */
const FILES: readonly string[] = existsSync(SAMPLES)
  ? [
      ...list('json', /./),
      ...list('evtxecmd', /\.json$/),
      ...list('splunk', /\.json$/),
      ...list('linux', /\.ndjson$/),
      ...list('negatives', /\.jsonl?$|zeek/),
    ]
  : [];

function list(folder: string, name: RegExp): readonly string[] {
  return readdirSync(join(SAMPLES, folder))
    .filter((file) => name.test(file))
    .map((file) => `${folder}/${file}`);
}

async function readUtf8(bytes: Buffer): Promise<Buffer> {
  const chunks = (async function* (): AsyncGenerator<Buffer> {
    yield bytes;
  })();
  const reader = decodingReader(new PeekableReader(streamByteReader(chunks)));
  const target = Buffer.alloc(bytes.length * 2);
  return target.subarray(0, await reader.read(target));
}

describe.skipIf(FILES.length === 0)('real and derived samples', () => {
  const expected = existsSync(SAMPLES) ? expectedCounts() : new Map();

  it.each(FILES)('%s', async (file) => {
    const stored = readFileSync(join(SAMPLES, file));
    const log = await readUtf8(file.endsWith('.gz') ? gunzipSync(stored) : stored);

    const reading = await readAll(readJson, log);
    const digests = reading.hashes.flatMap(({ sha1 }) => sha1 ?? []);

    expect(looksLikeJson(log.subarray(0, 64 * 1024))).toBe(true);
    expect({
      processCreations: reading.events.length,
      withSha1: digests.length,
      distinctSha1: new Set(digests).size,
    }).toEqual(expected.get(file));
    for (const event of reading.events) {
      expect([...event.data.keys()]).toEqual(expect.arrayContaining(['ProcessGuid', 'Image', 'CommandLine']));
    }
    for (const body of reading.bodies) {
      expect(body).not.toMatch(/[\r\n]/);
      expect(JSON.parse(body)).toBeTypeOf('object');
    }
  });
});
