import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { KINDS, playRounds } from './rounds.js';

const PROGRAM = resolve(import.meta.dirname, '../../dist/cli.js');

const securityMd = readFileSync(resolve(import.meta.dirname, '../../SECURITY.md'), 'utf8');

/** One seed for all machines; `npm run torture` draws a new one each time. */
const SEED = 20_261_124;

describe('the program under torture', () => {
  it.each(KINDS)(
    '%s: loses no answer, counts each request, leaves whole files, and completes the next time',
    async (kind) => {
      const reports = await playRounds({ program: PROGRAM, rounds: 1, seed: SEED, kinds: [kind] });
      expect(reports).toHaveLength(1);
      expect(securityMd).toContain(`| ${kind} |`);
      expect(reports.flatMap(({ violations }) => violations)).toEqual([]);
      // Whatever was skipped says why; nothing passes for played.
      for (const { requests, skipped } of reports) expect(skipped ?? requests).toBeTruthy();
    },
    120_000,
  );
});
