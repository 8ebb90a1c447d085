import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shardPrefixOf } from '../src/cache/shard.js';
import { digestsOf, type Lookup, lookupToJson, primaryDigestOf } from '../src/lookup.js';
import { sha1Of } from './events.js';

/** The answer on a generated file: one in ten is detected, one in eight unknown to VirusTotal. */
export function answerOn(file: number, askedAt: Date): Lookup {
  const sha1 = sha1Of(file);
  if (file % 8 === 3) {
    return { status: 'not_found', askedHash: sha1, askedAt, httpStatus: 404, hashes: { sha1 } };
  }
  const digest = (algorithm: string): string => createHash(algorithm).update(`file ${file}`).digest('hex');
  const malicious = file % 10 === 0 ? 1 + (file % 50) : 0;
  const engines = ['AmberScan', 'BasaltLab', 'FjordGuard'].slice(0, malicious);
  return {
    status: 'found',
    askedHash: sha1,
    askedAt,
    httpStatus: 200,
    hashes: { sha1, sha256: digest('sha256'), md5: digest('md5') },
    report: {
      counts: {
        malicious,
        suspicious: 0,
        undetected: 70 - malicious,
        harmless: 0,
        timeout: 1,
        confirmedTimeout: 0,
        failure: 1,
        typeUnsupported: 4,
      },
      detectedBy: engines.map((engine) => ({ engine, signature: `Trojan.Generic.${file}` })),
      categories: [],
      goodware: [],
      tags: ['peexe', 'signed'],
      names: [`setup-${file}.exe`],
      type: 'Win32 EXE',
      sizeBytes: 73_802 + file,
      reputation: 0,
      firstSubmission: new Date(Date.UTC(2020, 1, 1)),
      lastSubmission: new Date(Date.UTC(2026, 1, 1)),
      lastAnalysis: new Date(Date.UTC(2026, 1, 1)),
    },
  };
}

/** Fills a cache folder with answers as folding leaves it: whole shards and no journal. Putting a million one by one would take hours. */
export async function writeAnswers(cacheFolder: string, count: number, askedAt: Date): Promise<void> {
  const answers = new Map<string, [string, unknown][]>();
  const aliases = new Map<string, [string, string][]>();
  const append = <T>(shards: Map<string, T[]>, digest: string, value: T): void => {
    const values = shards.get(shardPrefixOf(digest)) ?? [];
    shards.set(shardPrefixOf(digest), values);
    values.push(value);
  };
  for (let file = 0; file < count; file++) {
    const lookup = answerOn(file, askedAt);
    const primary = primaryDigestOf(lookup);
    append(answers, primary, [primary, lookupToJson(lookup)]);
    for (const digest of digestsOf(lookup)) if (digest !== primary) append(aliases, digest, [digest, primary]);
  }
  const folder = join(cacheFolder, 'answers');
  await mkdir(folder, { recursive: true });
  for (const prefix of new Set([...answers.keys(), ...aliases.keys()])) {
    const shard = { answers: sorted(answers.get(prefix)), aliases: sorted(aliases.get(prefix)) };
    await writeFile(join(folder, `${prefix}.json`), JSON.stringify(shard));
  }
}

function sorted(members: readonly [string, unknown][] = []): Record<string, unknown> {
  return Object.fromEntries([...members].sort(([a], [b]) => (a < b ? -1 : 1)));
}
