import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCache } from '../../src/cache/index.js';
import { UsageError } from '../../src/errors.js';
import { answer, digestsOfFile } from '../contracts/answers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon vt cache '));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('openCache', () => {
  it.each([
    ['a folder', (path: string) => path],
    ['file: and a folder', (path: string) => `file:${path}`],
    ['a file:// URL', (path: string) => pathToFileURL(path).href],
  ])('takes %s', async (_, urlOf) => {
    const cache = await openCache(urlOf(folder));
    await cache.put(answer(digestsOfFile(1), 0));
    await cache.close();
    expect(await readdir(join(folder, 'answers'))).toEqual(['000.json']);
  });

  it('takes memory:, which leaves nothing', async () => {
    const cache = await openCache('memory:');
    await cache.put(answer(digestsOfFile(1), 0));
    expect(await (await openCache('memory:')).get(digestsOfFile(1).sha1)).toBeUndefined();
  });

  it.each(['redis://host/0', 'https://host/', '', 'file://host:80x/'])(
    'refuses %j and says what to use',
    async (url) => {
      await expect(openCache(url)).rejects.toThrow(UsageError);
      await expect(openCache(url)).rejects.toThrow(/use file: and a folder \[BAD_SETTING\]/);
    },
  );
});
