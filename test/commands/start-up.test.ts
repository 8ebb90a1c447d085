import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCache } from '../../src/cache/index.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';
import { foundLookup } from '../fakes/lookups.js';

const DIST = resolve(import.meta.dirname, '../../dist');
const HASH = '3395856ce81f2b7382dee72602f798b642f14140';

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-start-up-'));
  const cache = await openCache(join(folder, 'cache', 'www.virustotal.com'));
  await cache.put(foundLookup(HASH, 50, 70, new Date('2026-01-01T00:00:00Z')));
  await cache.close();
  writeFileSync(join(folder, 'night.jsonl'), buildNight().events.map(nxlogLine).join(''));
  writeFileSync(
    join(folder, 'hooks.mjs'),
    `import { appendFileSync } from 'node:fs';
    export async function resolve(specifier, context, next) {
      const resolved = await next(specifier, context);
      appendFileSync(process.env.LOADED, resolved.url + '\\n');
      return resolved;
    }`,
  );
  writeFileSync(
    join(folder, 'register.mjs'),
    `import { register } from 'node:module';
    register('./hooks.mjs', import.meta.url);`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a command line printed and what it loaded: modules of Node and of packages by name, our own by their paths in dist. */
function run(words: readonly string[]): {
  readonly printed: string;
  readonly builtins: readonly string[];
  readonly packages: readonly string[];
  readonly own: readonly string[];
} {
  const list = join(folder, `loaded-by-${words[0]}.txt`);
  writeFileSync(list, '');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', pathToFileURL(join(folder, 'register.mjs')).href, join(DIST, 'cli.js'), ...words],
    {
      env: {
        PATH: process.env['PATH'],
        HOME: folder,
        CACHE_URL: join(folder, 'cache'),
        VT_API_KEY: 'a-key',
        LOADED: list,
      },
      encoding: 'utf8',
    },
  );
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const urls = [...new Set(readFileSync(list, 'utf8').trim().split('\n'))];
  const paths = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  const packages = paths.flatMap(
    (path) => /.*[\\/]node_modules[\\/](@[^\\/]+[\\/][^\\/]+|[^\\/]+)/.exec(path)?.[1] ?? [],
  );
  return {
    printed: stdout,
    builtins: urls.filter((url) => url.startsWith('node:')).sort(),
    packages: [...new Set(packages)].sort(),
    own: paths.filter((path) => path.startsWith(DIST)).map((path) => relative(DIST, path)),
  };
}

describe('a check whose answer is cached', () => {
  it('loads no package, little of Node and only what reads the cache, since it takes no longer than that', () => {
    const { printed, packages, builtins, own } = run(['check', HASH, '--offline']);
    expect(printed).toContain('50 of 70 engines');
    expect(packages).toEqual([]);
    expect(builtins).toEqual(['node:fs', 'node:os', 'node:path', 'node:stream', 'node:url']);
    expect(own).toContain('check.js');
    // Each costs some two milliseconds.
    expect(own.length).toBeLessThanOrEqual(3);
  });
});

describe('a run that asks nothing', () => {
  it.each([{ words: ['queue'] }, { words: ['enrich', 'FOLDER', '--dry-run'] }])(
    'loads nothing to ask, unpack, match or start programs with: $words',
    ({ words }) => {
      const { own, packages, builtins } = run(
        words.map((word) => (word === 'FOLDER' ? join(folder, 'night.jsonl') : word)),
      );
      expect(own).toContain('ledger.js');
      expect(packages).toEqual(['commander', 'lowdb']);
      expect(builtins).not.toContain('node:child_process');
    },
  );
});

describe('a quiet run', () => {
  it('leaves nothing on stderr, on whatever version of Node: V8 complains there of flags it does not know', () => {
    const words = [join(DIST, 'cli.js'), 'enrich', join(folder, 'night.jsonl'), '--dry-run', '--quiet'];
    const env = { PATH: process.env['PATH'], HOME: folder, CACHE_URL: join(folder, 'cache') };
    const { status, stderr } = spawnSync(process.execPath, words, { env, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

describe('what is built', () => {
  it('asks for no package that is not installed with it', () => {
    const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
      readFileSync(resolve(DIST, '../package.json'), 'utf8'),
    );
    const wanted = readdirSync(DIST)
      .filter((name) => name.endsWith('.js'))
      .flatMap((name) => [
        ...readFileSync(join(DIST, name), 'utf8').matchAll(/(?:^import .*?|\bimport\()"([^."\n][^"\n]*)"/gm),
      ])
      .map((match) => match[1] ?? '')
      .filter((name) => !name.startsWith('node:'));
    expect(wanted).toContain('commander');
    expect(wanted.filter((name) => !(name in dependencies))).toEqual([]);
  });
});
