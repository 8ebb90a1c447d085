import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCodeOf } from '../errors.js';
import type { Lookup } from '../lookup.js';
import { storageError } from '../storage/storage-error.js';
import type { CacheStats } from './answer-cache.js';

/** The part of a cache's statistics that its answers tell. */
export async function countAnswers(
  lookups: Iterable<Lookup> | AsyncIterable<Lookup>,
): Promise<Pick<CacheStats, 'answers' | 'oldest' | 'newest'>> {
  const answers = { found: 0, not_found: 0, pending: 0 };
  let oldest: Date | undefined;
  let newest: Date | undefined;
  for await (const { status, askedAt } of lookups) {
    answers[status]++;
    if (oldest === undefined || askedAt < oldest) oldest = askedAt;
    if (newest === undefined || askedAt > newest) newest = askedAt;
  }
  return { answers, oldest, newest };
}

/** The part of a cache's statistics that its files tell. Folders that are missing hold nothing. Throws StorageError. */
export async function measureFolders(
  folders: readonly string[],
): Promise<Pick<CacheStats, 'bytes' | 'shards' | 'journals' | 'corruptFiles'>> {
  const measured = { bytes: 0, shards: 0, journals: 0, corruptFiles: 0 };
  for (const folder of folders) {
    for (const name of await namesIn(folder)) {
      measured.bytes += await bytesOf(join(folder, name));
      if (name.includes('.corrupt-')) measured.corruptFiles++;
      else if (name.endsWith('.json')) measured.shards++;
      else if (name.endsWith('.jsonl')) measured.journals++;
    }
  }
  return measured;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw storageError('read', folder, error);
  }
}

async function bytesOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    // Removed since the folder was listed.
    if (systemCodeOf(error) === 'ENOENT') return 0;
    throw storageError('read', path, error);
  }
}
