import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { KINDS, type Kind, playRounds, type RoundReport } from './rounds.js';

// npm run torture -- [--rounds N] [--seed N] [--kind NAME]...: plays rounds and prints a line for each, then what they came to.
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    kind: { type: 'string', multiple: true },
    program: { type: 'string', default: resolve(import.meta.dirname, '../../../dist/cli.js') },
  },
});
const isKind = (name: string): name is Kind => KINDS.some((kind) => kind === name);
const kinds = values.kind?.filter(isKind) ?? KINDS;
if (kinds.length === 0) throw new Error(`--kind takes ${KINDS.join(', ')}`);

const startedAt = performance.now();
const onRound = ({ round, kind, seed, requests, violations, skipped }: RoundReport): void => {
  const outcome = skipped ?? (violations.length === 0 ? 'clean' : `${violations.length} VIOLATIONS`);
  process.stdout.write(`${round + 1} ${kind} (seed ${seed}): ${requests} requests, ${outcome}\n`);
  for (const violation of violations) process.stdout.write(`    ${violation}\n`);
};
const reports = await playRounds({
  program: values.program,
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  kinds,
  onRound,
});
for (const kind of kinds) {
  const played = reports.filter((report) => report.kind === kind && report.skipped === undefined);
  const requests = played.reduce((sum, report) => sum + report.requests, 0);
  const bad = played.filter(({ violations }) => violations.length > 0).length;
  process.stdout.write(`${kind}: ${played.length} rounds, ${requests} requests, ${bad} with violations\n`);
}
process.stdout.write(`${Math.round((performance.now() - startedAt) / 1000)} s, first seed ${values.seed}\n`);
process.exitCode = reports.some(({ violations }) => violations.length > 0) ? 1 : 0;
