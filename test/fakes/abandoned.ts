import { isAlive, thisProcess } from '../../src/storage/process-identity.js';
import { temporaryPath } from '../../src/storage/temporary.js';

/** The name that a process which has died has left beside `path`: one that ran under this one's process id before it. */
export function abandonedPath(path: string): string {
  const dead = { ...thisProcess(), startedAt: 'before' };
  if (isAlive(dead)) throw new Error('starts of processes cannot be told apart here');
  const [start = ''] = /[0-9a-f]{8}(?=-[0-9a-f]{12}\.tmp$)/.exec(temporaryPath(path)) ?? [];
  return temporaryPath(path).replace(`-${start}-`, `-${start === '00000000' ? '11111111' : '00000000'}-`);
}
