import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchCache } from './cache-parts.js';
import { type BenchSetup, benchEvtx, benchGrowth, benchJson } from './log-parts.js';
import { benchQuestions } from './question-parts.js';
import { markdownOf, type Table, writeTables } from './tables.js';

const USAGE = `npm run bench -- [--part NAME,…] [--mib N] [--rounds N] [--write]
  --part    evtx, json, cache, questions, growth; all without
  --mib     size of the large logs, 256 without
  --rounds  how often all commands are run in turn, 5 without
  --write   put the tables into bench/RESULTS.md
`;

const PARTS: ReadonlyMap<string, (setup: BenchSetup) => Promise<Table>> = new Map([
  ['evtx', benchEvtx],
  ['json', benchJson],
  ['cache', benchCache],
  ['questions', benchQuestions],
  ['growth', benchGrowth],
]);

const { values } = parseArgs({
  options: {
    part: { type: 'string', default: [...PARTS.keys()].join(',') },
    mib: { type: 'string', default: '256' },
    rounds: { type: 'string', default: '5' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(USAGE);
else await runParts(values.part.split(','));

async function runParts(names: readonly string[]): Promise<void> {
  const unknown = names.filter((name) => !PARTS.has(name));
  if (unknown.length > 0) throw new RangeError(`no part ${unknown.join(', ')}\n${USAGE}`);
  for (const name of names) {
    const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-bench-'));
    try {
      const setup = { folder, rounds: Number(values.rounds), bytes: Number(values.mib) * 1024 * 1024 };
      const table = await PARTS.get(name)?.(setup);
      if (table === undefined) continue;
      process.stdout.write(`${markdownOf(table)}\n`);
      // tsc puts this file into dist-bench/bench.
      if (values.write) await writeTables(join(import.meta.dirname, '../../bench/RESULTS.md'), [table]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
