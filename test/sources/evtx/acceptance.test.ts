import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { fileByteReader } from '../../../src/sources/byte-reader.js';
import { readBothWays, readOneWay } from './reading.js';

const SAMPLES = '../shared/data/sysmon';

/** `eid1 with_sha1 unique_sha1` by file. */
function expectedCounts(): Map<string, string> {
  const lines = readFileSync(`${SAMPLES}/expected.tsv`, 'utf8').trim().split('\n');
  return new Map(
    lines.map((line) => line.split('\t')).map(([file = '', ...counts]) => [file, counts.slice(0, 3).join(' ')]),
  );
}

describe.skipIf(!existsSync(SAMPLES))('real event logs', () => {
  const files = existsSync(SAMPLES)
    ? ['evtx', 'negatives'].flatMap((folder) => readdirSync(`${SAMPLES}/${folder}`).map((name) => `${folder}/${name}`))
    : [];

  it.each(files.filter((name) => name.endsWith('.evtx')))(
    '%s has the process creations it is known to have',
    async (name) => {
      const file = await open(`${SAMPLES}/${name}`);
      try {
        const { size } = await file.stat();
        const { events } = await readOneWay(fileByteReader(file, size), {}, new Set([1]));
        const sha1s = events.flatMap(({ hashes }) => (hashes.sha1 === undefined ? [] : [hashes.sha1]));
        expect(`${events.length} ${sha1s.length} ${new Set(sha1s).size}`).toBe(expectedCounts().get(name));
      } finally {
        await file.close();
      }
    },
  );

  it.each(files.filter((name) => name.endsWith('.evtx')))('%s reads the same with plans and without', async (name) => {
    const { events, other, rejects } = await readBothWays(readFileSync(`${SAMPLES}/${name}`));
    if (!name.includes('empty')) expect(events.length + other + rejects.length).toBeGreaterThan(0);
  });
});
