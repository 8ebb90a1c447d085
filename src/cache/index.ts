import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.js';
import { messageOf, UsageError } from '../errors.js';
import type { AnswerCache } from './answer-cache.js';
import { openLowdbCache } from './lowdb.js';

export type { AnswerCache, CacheStats } from './answer-cache.js';

export interface CacheOptions {
  /**
   * Told what is worth knowing about the storage and ended nothing: a damaged file that was set aside, answers that stay in the
   * journal for now. One line for people, each said once per cache.
   */
  readonly onReport?: (message: string) => void;
}

/**
 * Opens the cache at `url`: `file:` and a folder, a `file://` URL, a plain folder, or `memory:` for one that ends with the process.
 * Nothing is created or locked before the first `put`. Throws UsageError for any other URL.
 */
export async function openCache(url: string, options: CacheOptions = {}): Promise<AnswerCache> {
  if (url === 'memory:') return (await import('./memory.js')).openMemoryCache();
  return openLowdbCache(folderOf(url), options.onReport ?? (() => undefined));
}

/** The folder that a cache URL names. Throws UsageError for any other URL. */
export function folderOf(url: string): string {
  // One letter before the colon is a Windows drive.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase();
  if (url === '') throw new UsageError('BAD_SETTING', 'the cache URL is empty: use file: and a folder');
  if (scheme === undefined) return url;
  if (scheme !== 'file') {
    throw new UsageError('BAD_SETTING', `${scheme}: is no known kind of cache: use file: and a folder`);
  }
  if (!/^file:\/\//i.test(url)) return url.slice('file:'.length);
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new UsageError('BAD_SETTING', `${url}: ${messageOf(error)}: use file: and a folder`, { cause: error });
  }
}

/** The folder of all data: the ledger, sightings and states stand beside the answers of all hosts. Throws UsageError where none is named. */
export function dataFolder(config: Config): string {
  return folderOf(config.cacheUrl);
}

/** Answers are kept per VirusTotal host, so that a test server's never mix with the real ones. */
export function cacheFolderName(baseUrl: string): string {
  return new URL(baseUrl).host.replace(/[^a-z0-9.-]/gi, '_');
}

/** Opens the cache the settings name. `onReport` is told what is worth knowing about it. */
export async function openConfiguredCache(config: Config, onReport: (report: string) => void): Promise<AnswerCache> {
  return openCache(join(dataFolder(config), cacheFolderName(config.baseUrl)), { onReport });
}
