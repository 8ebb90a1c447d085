import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = resolve(import.meta.dirname, '../src');

/** Which parts a part may import from, besides itself; the flow of ARCHITECTURE.md. `vocabulary` is what every part may use. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  vocabulary: [],
  storage: ['vocabulary'],
  sources: ['vocabulary', 'storage'],
  cache: ['vocabulary', 'storage'],
  virustotal: ['vocabulary', 'storage'],
  'known-good': ['vocabulary', 'storage'],
  sightings: ['vocabulary', 'storage'],
  runs: ['vocabulary', 'storage'],
  disclosure: ['vocabulary', 'storage'],
  changes: ['vocabulary', 'storage'],
  sinks: ['vocabulary', 'storage'],
  reports: ['vocabulary', 'storage', 'sources', 'sinks'],
  pipeline: [
    'vocabulary',
    'storage',
    'sources',
    'cache',
    'virustotal',
    'known-good',
    'sightings',
    'sinks',
    'reports',
    'disclosure',
    'changes',
  ],
  demo: ['vocabulary', 'storage'],
  commands: [
    'vocabulary',
    'storage',
    'pipeline',
    'sources',
    'cache',
    'virustotal',
    'known-good',
    'sightings',
    'sinks',
    'reports',
    'demo',
    'runs',
    'disclosure',
    'changes',
  ],
};

/** Files at the top of src/ that are no vocabulary. */
const TOP_LEVEL: Readonly<Record<string, string>> = {
  'cli.ts': 'commands',
  'index.ts': 'commands',
  'pipeline.ts': 'pipeline',
  'judgements.ts': 'pipeline',
  'assembly.ts': 'pipeline',
  'runs.ts': 'runs',
  'disclosure.ts': 'disclosure',
  'changes.ts': 'changes',
  'alerts.ts': 'changes',
};

function partOf(path: string): string {
  const [first = '', ...rest] = relative(SRC, path).split('/');
  return rest.length > 0 ? first : (TOP_LEVEL[first] ?? 'vocabulary');
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => join(SRC, path));

function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, target = '']) =>
    resolve(dirname(path), target).replace(/\.js$/, '.ts'),
  );
}

describe('imports', () => {
  it('go one way only', () => {
    const wrong: string[] = [];
    for (const path of files) {
      const part = partOf(path);
      for (const target of importsOf(path)) {
        const targetPart = partOf(target);
        if (targetPart !== part && !(MAY_IMPORT[part] ?? []).includes(targetPart)) {
          wrong.push(`${relative(SRC, path)} (${part}) imports ${relative(SRC, target)} (${targetPart})`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('know every part', () => {
    expect([...new Set(files.map(partOf))].filter((part) => !(part in MAY_IMPORT))).toEqual([]);
  });

  it('touch the process only at its edge', () => {
    const touching = files.filter((path) =>
      /\bprocess\.(exit|stdout|stderr|stdin|env|argv|cwd|on)\b/.test(readFileSync(path, 'utf8')),
    );
    expect(touching.map((path) => relative(SRC, path))).toEqual(['cli.ts']);
  });
});
