import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { buildNight } from '../src/demo/night.js';
import { writeNightLogs } from '../src/demo/night-logs.js';
import { fileReport, startStandIn } from '../src/demo/stand-in.js';

const ROOT = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const readme = read('README.md');
const help = (...args: string[]): string =>
  execFileSync(process.execPath, [join(ROOT, 'dist/cli.js'), ...args, '--help'], { encoding: 'utf8' });

const COMMANDS = [...help().matchAll(/^ {2}([a-z]+) /gm)]
  .map(([, name = '']) => name)
  .filter((name) => name !== 'help');

describe('the README', () => {
  it('names every command and every option of its help', () => {
    expect(COMMANDS).toContain('enrich');
    const missing = COMMANDS.flatMap((command) => {
      const options = [...help(command).matchAll(/--[a-z][a-z-]+/g)].map(([option]) => option);
      return [`\`${command}`, ...new Set(options)]
        .filter((text) => !readme.includes(text))
        .map((text) => `${command}: ${text}`);
    });
    expect(missing).toEqual([]);
  });

  it('promises no option that a command does not have', () => {
    const rows = [...readme.matchAll(/^\| `([a-z]+)[ `…].*$/gm)].filter(([, command = '']) =>
      COMMANDS.includes(command),
    );
    expect(rows.length).toBeGreaterThan(5);
    const unknown = rows.flatMap(([row, command = '']) => {
      const text =
        command === 'cache'
          ? ['stats', 'get', 'prune', 'export', 'import'].map((part) => help('cache', part)).join()
          : help(command);
      return [...row.matchAll(/`(--[a-z][a-z-]+)/g)]
        .map(([, option = '']) => option)
        .filter((option) => !text.includes(option));
    });
    expect(unknown).toEqual([]);
  });

  it('names every setting, and .env.example has them all with the same defaults', () => {
    const settings = new Set(
      [
        ...read('src/config.ts').matchAll(
          /'((?:VT|TTL|CACHE|MALICIOUS|SUSPICIOUS|TRUSTED|KNOWN|ALERT|DO_NOT)_[A-Z_]+)'/g,
        ),
      ].map(([, name = '']) => name),
    );
    expect(settings.size).toBeGreaterThan(15);
    const example = read('.env.example');
    for (const setting of settings) {
      expect(readme).toContain(`\`${setting}\``);
      expect(example).toMatch(new RegExp(`^#?${setting}=`, 'm'));
    }
    for (const [, name = ''] of example.matchAll(/^#?([A-Z_]+)=/gm)) expect([...settings]).toContain(name);
  });

  it('lists every error code', () => {
    const union = /export type ErrorCode =([\s\S]*?);/.exec(read('src/errors.ts'))?.[1] ?? '';
    const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code = '']) => code);
    expect(codes.length).toBeGreaterThan(10);
    for (const code of codes) expect(readme).toContain(`\`${code}\``);
  });

  it('lists every reason for an unchecked file', () => {
    const union = /export type Reason =([\s\S]*?);/.exec(read('src/verdict.ts'))?.[1] ?? '';
    for (const [, reason = ''] of union.matchAll(/'([a-z_]+)'/g)) expect(readme).toContain(`\`${reason}\``);
  });

  it('has a library example that runs', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-readme-'));
    const night = buildNight();
    const standIn = await startStandIn({
      files: night.files
        .filter(({ isKnown }) => isKnown)
        .map(({ sha1, sha256, md5, detections, engines }) =>
          fileReport({ hashes: { sha1, sha256, md5 }, detections, engines }),
        ),
    });
    try {
      await writeNightLogs(night, join(folder, 'logs'));
      const [, example = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? [];
      writeFileSync(
        join(folder, 'example.mjs'),
        example.replace("'sysmon-vt'", JSON.stringify(join(ROOT, 'dist/index.js'))),
      );
      const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], {
        cwd: folder,
        env: {
          VT_API_KEY: 'key',
          VT_BASE_URL: standIn.baseUrl,
          VT_REQUESTS_PER_MINUTE: '1000',
          CACHE_URL: join(folder, 'cache'),
        },
      });
      expect(stdout).toContain('malicious: 2');
      expect(readdirSync(join(folder, 'results')).filter((name) => name.endsWith('.enriched.jsonl'))).toHaveLength(4);
    } finally {
      await standIn.close();
      rmSync(folder, { recursive: true });
    }
  });

  it('links only to files that are there', () => {
    for (const [, target = ''] of readme.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      expect(() => readFileSync(join(ROOT, target)), target).not.toThrow();
    }
  });
});

describe('the help of every command', () => {
  const cacheCommands = [...help('cache').matchAll(/^ {2}([a-z]+) \[/gm)]
    .map(([, name = '']) => `cache ${name}`)
    .filter((name) => name !== 'cache help');

  it.each([...COMMANDS.filter((name) => name !== 'cache'), ...cacheCommands])(
    'begins with examples of it, and has the options that stand everywhere: %s',
    (name) => {
      const text = help(...name.split(' '));
      expect(text).toMatch(new RegExp(`^Examples:\\n( {2}.*\\n)*? {2}.*sysmon-vt ${name}\\b`));
      for (const option of ['--json', '-q, --quiet', '-v, --verbose', '--env-file', '--log-format']) {
        expect(text).toContain(option);
      }
    },
  );

  it('of the program and of its groups begins with examples too', () => {
    expect(cacheCommands.length).toBeGreaterThan(3);
    for (const text of [help(), help('cache')]) expect(text).toMatch(/^Examples:\n {2}sysmon-vt /);
  });

  it('says where --json prints lines', () => {
    for (const command of ['check', 'formats', 'runs']) expect(help(command)).toMatch(/--json +print JSON lines/);
  });
});

describe('ARCHITECTURE.md', () => {
  it('justifies every run-time dependency', () => {
    const architecture = read('ARCHITECTURE.md');
    const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(read('package.json'));
    const described = [...architecture.matchAll(/^\| ([a-z-]+) \| /gm)]
      .map(([, name = '']) => name)
      .filter((name) => name !== 'package' && name !== 'part');
    expect(described.sort()).toEqual(Object.keys(dependencies).sort());
  });
});

describe('the project', () => {
  it('has no package with an install script', () => {
    const { packages }: { packages: Record<string, { hasInstallScript?: boolean; optional?: boolean }> } = JSON.parse(
      read('package-lock.json'),
    );
    const scripted = Object.entries(packages).filter(([, entry]) => entry.hasInstallScript && !entry.optional);
    expect(scripted.map(([name]) => name)).toEqual([]);
  });

  it('keeps nothing in cache/ but its marker', () => {
    expect(execFileSync('git', ['ls-files', 'cache'], { cwd: ROOT, encoding: 'utf8' }).trim()).toBe('cache/.gitkeep');
    expect(readdirSync(ROOT)).toEqual(
      expect.arrayContaining(['package.json', 'tsconfig.json', 'src', 'cache', 'test', '.env.example', 'README.md']),
    );
  });
});
