import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Real logs beside the project; absent where only the project is checked out. */
export const SAMPLES = join(import.meta.dirname, '../../../shared/data/sysmon');

/** What a sample holds, counted by other programs. */
export interface SampleCounts {
  readonly processCreations: number;
  readonly withSha1: number;
  readonly distinctSha1: number;
}

/** The counts of all samples by path. */
export function expectedCounts(): ReadonlyMap<string, SampleCounts> {
  const lines = readFileSync(join(SAMPLES, 'expected.tsv'), 'utf8').trim().split('\n').slice(1);
  return new Map(
    lines.map((line) => {
      const [name = '', processCreations, withSha1, distinctSha1] = line.split('\t');
      return [
        name,
        { processCreations: Number(processCreations), withSha1: Number(withSha1), distinctSha1: Number(distinctSha1) },
      ];
    }),
  );
}
