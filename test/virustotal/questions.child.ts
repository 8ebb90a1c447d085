import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.js';
import { lookupFromJson, lookupToJson } from '../../src/lookup.js';
import { writeFileDurably } from '../../src/storage/json-file.js';
import { openClient } from '../../src/virustotal/client.js';
import { openDesk } from '../../src/virustotal/desk.js';
import { createQuestioner } from '../../src/virustotal/schedule.js';

// Asks about hashes on stdin's behalf: prints `hash outcome` for each. Answers lie in a folder, one file per hash.
const [folder = '', baseUrl = '', perDay = '0', ...hashes] = process.argv.slice(2);

async function freshAnswer(hash: string) {
  try {
    return lookupFromJson(JSON.parse(await readFile(join(folder, 'answers', hash), 'utf8')));
  } catch {
    return undefined;
  }
}

const key = 'key of the test';
const desk = await openDesk({
  folder,
  host: '127.0.0.1',
  key,
  limits: { perMinute: 60_000, perDay: Number(perDay), perMonth: Infinity, reservePerDay: 0 },
  purpose: 'batch',
  clock: systemClock,
  onLoss: (what) => {
    throw new Error(what);
  },
});
const client = await openClient({ baseUrl, key, version: '0', timeoutMs: 5000, clock: systemClock });
const questioner = await createQuestioner({
  client,
  desk,
  clock: systemClock,
  concurrency: 4,
  signal: new AbortController().signal,
  freshAnswer,
  onAnswer: (lookup) =>
    writeFileDurably(join(folder, 'answers', lookup.askedHash), JSON.stringify(lookupToJson(lookup))),
});
process.stdout.write('ready\n');
await questioner.lookUpAll(hashes, (hash, outcome) => {
  const word = outcome.kind === 'answered' ? (outcome.isOurs ? 'asked' : 'found') : outcome.reason;
  process.stdout.write(`${hash} ${word}\n`);
});
await desk.close();
client.close();
