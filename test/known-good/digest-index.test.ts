import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { DigestGatherer, type DigestIndex, openCachedIndex } from '../../src/known-good/digest-index.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-digests-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Few different bytes, so that digests repeat and share beginnings. */
const digest = fc
  .array(fc.constantFrom('00', '01', 'fe', 'ff'), { minLength: 16, maxLength: 16 })
  .map((bytes) => `${bytes.slice(0, 2).join('')}${'00'.repeat(12)}${bytes.slice(14).join('')}`);

const digestLists = fc.tuple(fc.array(digest, { maxLength: 400 }), fc.array(digest, { maxLength: 50 }));

function expectToAnswerLikeASet(index: DigestIndex, added: readonly string[], others: readonly string[]): void {
  const set = new Set(added);
  expect(index.count).toBe(set.size);
  for (const text of [...added, ...others]) expect([text, index.has(text)]).toEqual([text, set.has(text)]);
}

describe('an index of digests', () => {
  it('in memory answers like a set of what was added', () => {
    fc.assert(
      fc.property(digestLists, ([added, others]) => {
        const gatherer = new DigestGatherer();
        for (const text of added) gatherer.add(Buffer.from(text, 'hex'));
        expectToAnswerLikeASet(gatherer.finishInMemory(), added, others);
      }),
    );
  });

  it('in a file answers the same, though what was gathered went through temporary files', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(digestLists, async ([added, others]) => {
        run++;
        const source = join(folder, `source-${run}`);
        await writeFile(source, '');
        const again = await openCachedIndex(join(folder, 'indexes'), source, async (gatherer) => {
          for (const [number, text] of added.entries()) {
            gatherer.add(Buffer.from(text, 'hex'));
            if (number % 60 === 59) await gatherer.spill();
          }
        });
        expectToAnswerLikeASet(again, added, others);
        again.close();
      }),
      { numRuns: 15 },
    );
    expect((await readdir(join(folder, 'indexes'))).filter((name) => !name.endsWith('.index'))).toEqual([]);
  });

  it('leaves nothing behind when gathering fails', async () => {
    const source = join(folder, 'source');
    await writeFile(source, '');
    const failing = openCachedIndex(join(folder, 'indexes'), source, async (gatherer) => {
      gatherer.add(Buffer.alloc(16, 1));
      await gatherer.spill();
      throw new UsageError('BAD_SETTING', 'no such list');
    });
    await expect(failing).rejects.toThrow('no such list');
    expect(await readdir(join(folder, 'indexes'))).toEqual([]);
  });

  it('says when it has gathered more than its memory', () => {
    const gatherer = new DigestGatherer(join(folder, 'scratch'), 1024);
    expect(gatherer.isFull).toBe(false);
    for (let number = 0; number < 64; number++) gatherer.add(Buffer.alloc(16, number));
    expect(gatherer.isFull).toBe(true);
  });
});
