import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');
const HASH = '3395856ce81f2b7382dee72602f798b642f14140';

let folder: string;
let settings: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-check-'));
  settings = join(folder, 'none.env');
  writeFileSync(settings, '');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a command line printed and how it ended. */
function run(words: readonly string[]): {
  readonly status: number | null;
  readonly printed: string;
  readonly said: string;
} {
  const env = { PATH: process.env['PATH'], HOME: folder, CACHE_URL: join(folder, 'cache') };
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...words], { env, encoding: 'utf8' });
  return { status, printed: stdout, said: stderr };
}

describe('check, which reads the simplest command lines without the parser of all others', () => {
  it.each([
    { words: ['check', HASH, '--offline'] },
    { words: ['check', '--offline', '--json', `SHA1=${HASH}`, HASH.toUpperCase()] },
    { words: ['check', '-q', '--offline', HASH] },
    { words: ['check', '--offline', 'no such file'] },
    { words: ['check', HASH] },
  ])('$words means the same with and without an option that only the parser knows', ({ words }) => {
    const plain = run(words);
    expect(plain.status).not.toBeNull();
    expect(plain).toEqual(run([...words, '--env-file', settings]));
  });

  it.each([{ words: ['check'] }, { words: ['check', '--offline'] }, { words: ['check', HASH, '--no-such-option'] }])(
    '$words is a wrong command line',
    ({ words }) => {
      const { status, said } = run(words);
      expect(status).toBe(2);
      expect(said).toContain('--help');
    },
  );
});
