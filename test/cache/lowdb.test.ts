import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCache } from '../../src/cache/index.js';
import { describeCache } from '../contracts/cache.js';

describeCache('lowdb', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-cache-'));
  return {
    open: () => openCache(`file:${folder}`),
    isLasting: true,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
});
