import { openCache } from '../../src/cache/index.js';
import { describeCache } from '../contracts/cache.js';

describeCache('memory', async () => ({
  open: () => openCache('memory:'),
  isLasting: false,
  remove: () => Promise.resolve(),
}));
