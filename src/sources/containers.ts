import { LogError, messageOf } from '../errors.js';
import type { ByteReader } from './byte-reader.js';
import { BZIP2_WINDOW_BYTES, bzip2Chunks, isBzip2 } from './containers/bzip2.js';
import { gzipChunks } from './containers/gzip.js';
import { type ContainerLimits, InflationBudget } from './containers/limits.js';
import { type Member, oneMember } from './containers/member.js';
import { PackedInput } from './containers/packed-input.js';
import { sevenZipMembers } from './containers/seven-zip.js';
import { type Spool, spool } from './containers/spool.js';
import { isTar, tarMembers } from './containers/tar.js';
import { isXz, XZ_WINDOW_BYTES, xzChunks } from './containers/xz.js';
import { zipMembers } from './containers/zip.js';
import { isZstd, ZSTD_WINDOW_BYTES, zstdChunks } from './containers/zstd.js';

export { type ContainerLimits, DEFAULT_LIMITS, InflationBudget } from './containers/limits.js';
export type { Member } from './containers/member.js';

/** Archives and compressions that logs come in. */
export type ContainerFormat = 'gzip' | 'zip' | 'tar' | 'zstd' | 'bzip2' | 'xz' | '7z';

/** What is known of a log besides its bytes. */
export interface ContainedLog {
  /** Where it lies, if it is a file: formats with their directory at the end are read by position there. */
  readonly path?: string;
  /** What unpacking it has cost so far; containers within one log share it. */
  readonly budget?: InflationBudget;
}

const SIGNATURES: readonly (readonly [format: ContainerFormat, signature: readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b, 8]],
  ['zip', [0x50, 0x4b, 3, 4]],
  // An empty archive, and one that was meant to be split.
  ['zip', [0x50, 0x4b, 5, 6]],
  ['zip', [0x50, 0x4b, 7, 8]],
  ['7z', [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]],
];

/** What kind of container begins with these bytes (512 tell all), or undefined. Names and extensions do not matter. */
export function detectContainer(head: Buffer): ContainerFormat | undefined {
  for (const [format, signature] of SIGNATURES) {
    if (signature.every((byte, index) => head[index] === byte)) return format;
  }
  if (isZstd(head)) return 'zstd';
  if (isBzip2(head)) return 'bzip2';
  if (isXz(head)) return 'xz';
  return isTar(head) ? 'tar' : undefined;
}

/**
 * The members of a container, in its order, one at a time: a member's reader is valid until the next member is asked for, and need not
 * be read. Directories, links and what macOS adds (`__MACOSX`, `._name`) are left out; a compression has one member with an empty name.
 *
 * Never rejects for what the container holds. A member that cannot be read comes as a failure; one that turns out damaged or cut while
 * it is read ends there, and its failure follows under the same name: TRUNCATED (what came before was read), CORRUPT, TOO_LARGE. With
 * an empty name, in an archive, the failure is the archive's. zip and 7z are read from `log.path`; without it they are copied to a
 * private temporary file first, which is removed when the iteration ends.
 */
export async function* openMembers(
  format: ContainerFormat,
  reader: ByteReader,
  log: ContainedLog,
  limits: ContainerLimits,
): AsyncGenerator<Member, void, void> {
  const budget = log.budget ?? new InflationBudget(limits);
  switch (format) {
    case 'gzip':
      yield* oneMember('', gzipChunks(new PackedInput(reader)), budget, 'gzip data');
      return;
    case 'zstd':
      yield* oneMember('', zstdChunks(new PackedInput(reader, ZSTD_WINDOW_BYTES)), budget, 'zstd data');
      return;
    case 'bzip2':
      yield* oneMember('', bzip2Chunks(new PackedInput(reader, BZIP2_WINDOW_BYTES)), budget, 'bzip2 data');
      return;
    case 'xz':
      yield* oneMember('', xzChunks(new PackedInput(reader, XZ_WINDOW_BYTES)), budget, 'xz data');
      return;
    case 'tar':
      yield* tarMembers(reader);
      return;
    case 'zip':
      yield* fromFile(reader, log.path, limits, (path) => zipMembers(path, budget));
      return;
    case '7z':
      yield* fromFile(reader, log.path, limits, (path) => sevenZipMembers(path, budget));
      return;
  }
}

/** Members of an archive that has to be a file: the log's own, or a private copy that is gone afterwards. */
async function* fromFile(
  reader: ByteReader,
  path: string | undefined,
  limits: ContainerLimits,
  readMembers: (path: string) => AsyncGenerator<Member, void, void>,
): AsyncGenerator<Member, void, void> {
  if (path !== undefined) {
    yield* readMembers(path);
    return;
  }
  let copy: Spool;
  try {
    copy = await spool(reader, limits.maxSpooledBytes);
  } catch (error) {
    const failure =
      error instanceof LogError
        ? error
        : new LogError('UNREADABLE', `archive cannot be copied to a temporary file: ${messageOf(error)}`, {
            cause: error,
          });
    yield { name: '', failure };
    return;
  }
  try {
    yield* readMembers(copy.path);
  } finally {
    await copy.remove();
  }
}
