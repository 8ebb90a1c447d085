import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runEnrich } from '../src/commands/enrich.js';
import { parseDigest } from '../src/hash.js';
import type { Summary } from '../src/summary.js';
import { fakeShell } from './fakes/shell.js';

/** Real and derived logs with counts made by other tools; see the README there. Not part of this repository. */
const SAMPLES = resolve(import.meta.dirname, '../../shared/data/sysmon');

interface Expected {
  readonly file: string;
  readonly eid1: number;
  readonly withSha1: number;
  readonly uniqueSha1: number;
}

function readExpected(): Expected[] {
  const path = join(SAMPLES, 'expected.tsv');
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [file = '', eid1, withSha1, uniqueSha1] = line.split('\t');
      return { file, eid1: Number(eid1), withSha1: Number(withSha1), uniqueSha1: Number(uniqueSha1) };
    });
}

let out: string;
beforeAll(() => {
  out = mkdtempSync(join(tmpdir(), 'sysmon-vt-acceptance-'));
});
afterAll(() => rmSync(out, { recursive: true }));

describe('the sample logs', () => {
  if (process.env['CI'] !== undefined) {
    it('are there where they are required', () => {
      expect(existsSync(join(SAMPLES, 'expected.tsv'))).toBe(true);
    });
  }

  it.each(readExpected())(
    '$file: $eid1 process creations, $withSha1 with a SHA1, $uniqueSha1 distinct',
    async (expected) => {
      const shell = fakeShell({ CACHE_URL: join(out, 'cache') });
      const folder = join(out, expected.file);
      const status = await runEnrich(shell, [join(SAMPLES, expected.file)], { offline: true, json: true, out: folder });
      const summary: Summary = JSON.parse(shell.printed());
      const name = expected.file.slice(expected.file.lastIndexOf('/') + 1);
      const enriched = join(folder, `${name}.enriched.jsonl`);
      const lines = existsSync(enriched) ? readFileSync(enriched, 'utf8').trimEnd().split('\n') : [];
      const sha1s = lines.flatMap((line) => {
        const { sha1 } = JSON.parse(line).virustotal;
        return typeof sha1 === 'string' && parseDigest('sha1', sha1) === sha1 ? [sha1] : [];
      });
      expect({
        eid1: summary.records.process_creations,
        lines: lines.length,
        withSha1: sha1s.length,
        uniqueSha1: new Set(sha1s).size,
      }).toEqual({
        eid1: expected.eid1,
        lines: expected.eid1,
        withSha1: expected.withSha1,
        uniqueSha1: expected.uniqueSha1,
      });
      expect(shell.said()).not.toContain('unexpected failure');
      expect([0, 3]).toContain(status);
    },
  );
});
