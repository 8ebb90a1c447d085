import { EnrichmentError, messageOf, StorageError, systemCodeOf } from '../errors.js';

const NEXT_STEPS: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'the disk is full: free some space, then run again'],
  ['EDQUOT', 'the disk quota is used up: free some space, then run again'],
  ['EACCES', 'permission denied: make it accessible to this user or choose another folder'],
  ['EPERM', 'not permitted: make it accessible to this user or choose another folder'],
  ['EROFS', 'the file system is read-only: choose another folder'],
  ['ENOTDIR', 'a part of this path is a file: choose another folder'],
  ['EISDIR', 'a folder stands in the place of this file: move it away, then run again'],
  ['EMFILE', 'too many open files: raise the limit (ulimit -n), then run again'],
]);

/**
 * What failed on which path and what to do about it, as StorageError with code CACHE and the cause kept.
 * `action` completes "cannot …". One of our own errors comes back as it is.
 */
export function storageError(action: string, path: string, error: unknown): EnrichmentError {
  if (error instanceof EnrichmentError) return error;
  const nextStep = NEXT_STEPS.get(systemCodeOf(error) ?? '') ?? messageOf(error);
  return new StorageError('CACHE', `${path}: cannot ${action}: ${nextStep}`, { cause: error });
}
