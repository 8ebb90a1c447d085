import { withLock } from '../../src/storage/lock.js';

// Takes a lock, says so, and keeps it until it is killed.
const [folder = ''] = process.argv.slice(2);
await withLock(folder, 'counter', async () => {
  process.stdout.write('held\n');
  await new Promise((resolve) => setTimeout(resolve, 60_000));
});
