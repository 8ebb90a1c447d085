import { openCache } from '../../src/cache/index.js';
import { answer, digestsOfFile } from '../contracts/answers.js';

// Puts answers about numbered files, several at a time, and prints each number once its answer is kept. Closes and opens the cache
// again every now and then, so that a kill hits any step.
const [folder = '', first = '0', count = '0', perSession = '0'] = process.argv.slice(2);
const end = Number(first) + Number(count);
let next = Number(first);
while (next < end) {
  const cache = await openCache(folder, { onReport: (message) => process.stdout.write(`report: ${message}\n`) });
  const sessionEnd = Math.min(end, next + Number(perSession));
  const put = async (): Promise<void> => {
    while (next < sessionEnd) {
      const number = next++;
      await cache.put(answer(digestsOfFile(number), number % 60));
      process.stdout.write(`${number}\n`);
    }
  };
  await Promise.all([put(), put(), put()]);
  await cache.close();
}
