import { readFile, writeFile } from 'node:fs/promises';
import { withLock } from '../../src/storage/lock.js';

// Adds one to a number in a file, as often as told, in a way that only a lock makes safe; prints a line for each time.
const [folder = '', counterPath = '', times = '0'] = process.argv.slice(2);
for (let time = 0; time < Number(times); time++) {
  await withLock(folder, 'counter', async () => {
    const count = Number(await readFile(counterPath, 'utf8'));
    await writeFile(counterPath, String(count + 1));
    process.stdout.write(`${count + 1}\n`);
  });
}
