import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { openCache } from '../../src/cache/index.js';
import { isOfThisHost, processIdentityFromJson } from '../../src/storage/process-identity.js';
import { type RoundLog, sha1Of, verdictOf, type World } from './world.js';

/** Answers about these files that the cache has, as the judge sees them: digests. */
export async function cachedAmong(world: World, files: readonly number[]): Promise<ReadonlySet<string>> {
  const cache = await openCache(world.answersRoot);
  try {
    return new Set((await cache.getMany(files.map(sha1Of))).keys());
  } finally {
    await cache.close();
  }
}

interface EnrichedLine {
  readonly virustotal: { readonly verdict: string; readonly sha1?: string };
}

/**
 * What is wrong with the enriched files of a folder: torn lines, lost or changed records, verdicts that no answer in the cache
 * stands for. `isFinal` also wants all of them there, with the verdict of each file, `excused` ones aside.
 */
export function wrongFiles(
  folder: string,
  logs: readonly RoundLog[],
  expected: {
    readonly cached: ReadonlySet<string>;
    readonly isFinal: boolean;
    readonly excused: (sha1: string) => boolean;
  },
): string[] {
  return logs.flatMap(({ name, files }) => {
    const path = join(folder, `${name}.enriched.jsonl`);
    if (!existsSync(path)) return expected.isFinal ? [`${name}: no enriched file`] : [];
    const text = readFileSync(path, 'utf8');
    if (!text.endsWith('}\n')) return [`${name}: the enriched file is torn`];
    const lines = text.trimEnd().split('\n');
    if (lines.length !== files.length) return [`${name}: ${lines.length} records instead of ${files.length}`];
    const bodies = bodiesOf(join(folder, name));
    return lines.flatMap((line, index) => {
      const sha1 = sha1Of(files[index] ?? -1);
      const { virustotal }: EnrichedLine = JSON.parse(line);
      const wrong: string[] = [];
      if (virustotal.sha1 !== sha1) wrong.push(`${name}:${index + 1}: another file's record`);
      if (bodies !== undefined && !line.startsWith(`${bodies[index]},"virustotal":`)) {
        wrong.push(`${name}:${index + 1}: the record has changed`);
      }
      if (expected.excused(sha1)) return wrong;
      if (virustotal.verdict !== 'unchecked' && !expected.cached.has(sha1)) {
        wrong.push(`${name}:${index + 1}: ${virustotal.verdict} without an answer in the cache`);
      }
      const verdict = verdictOf(files[index] ?? -1);
      if (virustotal.verdict !== verdict && (expected.isFinal || virustotal.verdict !== 'unchecked')) {
        wrong.push(`${name}:${index + 1}: ${virustotal.verdict} instead of ${verdict}`);
      }
      return wrong;
    });
  });
}

/** The records of a JSON log without their closing braces; undefined for other logs, whose records are written anew. */
function bodiesOf(logPath: string): string[] | undefined {
  if (logPath.endsWith('.evtx')) return undefined;
  const bytes = readFileSync(logPath);
  const text = (logPath.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(0, -1));
}

/**
 * What is wrong with the cache folder at rest: books or shards of these files that are no JSON (a damaged shard that nobody has
 * looked into since is mended when somebody does), claims that nobody needs any more, or journals where the last run has put answers and so had to fold them all.
 */
export function wrongCache(world: World, files: readonly number[], hasPut: boolean): string[] {
  const wrong: string[] = [];
  const shards = new Set(files.map((file) => `${sha1Of(file).slice(0, 3)}.json`));
  for (const folder of [join(world.answersRoot, 'answers'), join(world.cacheFolder, 'ledger')]) {
    const isShards = folder.endsWith('answers');
    const names = namesIn(folder).filter((candidate) => candidate.endsWith('.json'));
    const [latest] = names.toSorted((one, other) => changedAt(folder, other) - changedAt(folder, one));
    for (const name of names) {
      // With a damaged salt the old books are under a name that is not found again.
      if (isShards ? !shards.has(name) : name !== latest) continue;
      try {
        const json: { readonly claims?: readonly unknown[] } = JSON.parse(readFileSync(join(folder, name), 'utf8'));
        if (json.claims !== undefined && json.claims.length > 0) wrong.push(`${name}: a claim was left`);
      } catch (error) {
        wrong.push(`${name}: ${String(error)}`);
      }
    }
  }
  for (const name of namesIn(join(world.answersRoot, 'journal'))) {
    // One that was damaged is kept under another name, or for a day where its writer cannot be told any more.
    if (hasPut && name.endsWith('.jsonl') && hasKnownWriter(join(world.answersRoot, 'journal', name)))
      wrong.push(`the journal ${name} was left`);
  }
  return wrong;
}

function hasKnownWriter(journalPath: string): boolean {
  const [line = ''] = readFileSync(journalPath, 'utf8').split('\n', 1);
  try {
    const writer = processIdentityFromJson(JSON.parse(line));
    return writer !== undefined && isOfThisHost(writer);
  } catch {
    // Damaged beyond JSON.
    return false;
  }
}

function changedAt(folder: string, name: string): number {
  return statSync(join(folder, name)).mtimeMs;
}

export function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** What the ledger counts less than the stand-in saw, of the requests from `first` on. */
export async function wrongLedger(world: World, first: number): Promise<string[]> {
  const { day } = await world.usage();
  const today = new Date().toISOString().slice(0, 10);
  const seen = world.standIn.requests.slice(first).filter(({ at }) => at.toISOString().startsWith(today)).length;
  return day.used < seen ? [`the ledger counts ${day.used} of the ${seen} requests of the day`] : [];
}
