import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { messageOf, systemCodeOf, UsageError } from './errors.js';

/** A log to read. */
export interface LogFile {
  /** As a person would write it; also how messages name it. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Named itself on the command line, not met in a folder: then it has to be readable and a log. */
  readonly isNamed: boolean;
  /** Where its enriched records go. */
  readonly enrichedPath: string;
}

/** A PATH, or something below one, that cannot be used. */
export interface PathFailure {
  readonly path: string;
  readonly why: string;
}

/** What the PATHs of a command line lead to. */
export interface FoundLogs {
  readonly logs: readonly LogFile[];
  readonly failures: readonly PathFailure[];
  /** Files of our own that were named, as by a shell that expands `*`. */
  readonly own: readonly string[];
}

/** Endings of the files this program writes itself; they are never read as logs. */
export const ENRICHED_ENDING = '.enriched.jsonl';
/** Of rows with columns added. */
export const ENRICHED_CSV_ENDING = '.enriched.csv';
/** What a log's enriched file may end in. */
export type EnrichedEnding = typeof ENRICHED_ENDING | typeof ENRICHED_CSV_ENDING;
const CONTEXT_ENDING = '.context.jsonl';
/** Ending of a log that stands beside the one that was written in its place. */
export const ORIGINAL_ENDING = '.orig';
const OWN_FILE = /(\.enriched\.(jsonl|csv)|\.context\.jsonl)$|\.sysmon-vt-[0-9a-f-]+\.tmp$/i;

/** Where the context of a log's flagged processes is written: beside its enriched file, which is the log itself where that was written in place. */
export function contextPathOf(enrichedPath: string): string {
  const ending = [ENRICHED_ENDING, ENRICHED_CSV_ENDING].find((known) => enrichedPath.endsWith(known)) ?? '';
  return `${enrichedPath.slice(0, enrichedPath.length - ending.length)}${CONTEXT_ENDING}`;
}

/** Whether a file is what this program writes beside a log, by its name. */
export function isOwnOutput(name: string): boolean {
  return OWN_FILE.test(name);
}

/** Whether a file beside `names` is one of ours; an `.orig` is only beside the log it was kept for. */
function isOwn(name: string, names: ReadonlySet<string>): boolean {
  if (isOwnOutput(name)) return true;
  return name.endsWith(ORIGINAL_ENDING) && names.has(name.slice(0, -ORIGINAL_ENDING.length));
}

/** Deeper folders than any real tree; stops at mounts that contain themselves. */
const MAX_FOLDER_DEPTH = 64;

interface Candidate {
  readonly path: string;
  readonly sizeBytes: number;
  readonly isNamed: boolean;
}

const acceptAll = (): boolean => true;

/**
 * Finds the logs that PATHs (files, folders, globs) name, each once, in a stable order. Links to files and folders are
 * followed once; FIFOs, sockets and devices never are. Our own output files are left out, and so are files of folders and globs that were
 * last changed before `since`. What is written for a log has its name and `ending`.
 * Throws UsageError COLLISION where two logs would be written to one file, or one to a `reserved` one, before anything is read.
 */
export async function findLogs(
  paths: readonly string[],
  outFolder?: string,
  {
    since,
    reserved = [],
    ending = ENRICHED_ENDING,
  }: {
    readonly since?: Date | undefined;
    readonly reserved?: readonly string[];
    readonly ending?: EnrichedEnding;
  } = {},
): Promise<FoundLogs> {
  const failures: PathFailure[] = [];
  const own: string[] = [];
  const found: Candidate[] = [];
  const roots: string[] = [];
  const seenFolders = new Set<string>();

  const walk = async (folder: string, depth: number, accept: (path: string) => boolean): Promise<void> => {
    let names: string[];
    try {
      const identity = await realpath(folder);
      // A folder met again is a loop of links or a PATH inside another.
      if (seenFolders.has(identity) && depth > 0) return;
      seenFolders.add(identity);
      names = (await readdir(folder)).sort();
    } catch (error) {
      failures.push({ path: folder, why: `the folder cannot be read (${messageOf(error)})` });
      return;
    }
    if (depth >= MAX_FOLDER_DEPTH) {
      failures.push({ path: folder, why: `folders deeper than ${MAX_FOLDER_DEPTH} are not followed` });
      return;
    }
    const beside = new Set(names);
    for (const name of names) {
      const path = join(folder, name);
      try {
        const status = await stat(path);
        if (status.isDirectory()) await walk(path, depth + 1, accept(path) ? acceptAll : accept);
        else if (status.isFile() && accept(path) && !isOwn(name, beside) && isRecent(status, since)) {
          found.push({ path, sizeBytes: status.size, isNamed: false });
        }
      } catch (error) {
        // A dangling link or loop of links is no log; anything else that cannot be looked at might be one.
        const isLink = await lstat(path).then(
          (status) => status.isSymbolicLink(),
          () => false,
        );
        if (!isLink && systemCodeOf(error) !== 'ENOENT') failures.push({ path, why: messageOf(error) });
      }
    }
  };

  for (const path of paths) {
    const status = await stat(path).catch((error: unknown) => error);
    if (!(status instanceof Error) && isStats(status)) {
      if (status.isDirectory()) {
        roots.push(resolve(path));
        await walk(path, 0, acceptAll);
      } else if (status.isFile() && (await isOwnNamed(path))) {
        own.push(path);
      } else if (status.isFile()) {
        roots.push(dirname(resolve(path)));
        found.push({ path, sizeBytes: status.size, isNamed: true });
      } else {
        failures.push({ path, why: 'it is neither a file nor a folder' });
      }
      continue;
    }
    const { default: picomatch } = await import('picomatch');
    const glob = picomatch.scan(path);
    if (!glob.isGlob) {
      const code = systemCodeOf(status);
      failures.push({ path, why: code === 'ENOENT' ? 'no such file or folder' : messageOf(status) });
      continue;
    }
    const base = glob.base === '' ? '.' : glob.base;
    const matches = picomatch(resolve(base, glob.glob).split(sep).join('/'), { dot: true });
    let hasMatch = false;
    seenFolders.clear();
    roots.push(resolve(base));
    await walk(base, 0, (candidate) => {
      const isMatch = matches(resolve(candidate).split(sep).join('/'));
      hasMatch ||= isMatch;
      return isMatch;
    });
    // What matches and is skipped, as our own files and old ones are, is no failure: there are nights without new logs.
    if (!hasMatch) failures.push({ path, why: 'nothing matches' });
  }

  const logs = await withOutputs(found, { common: commonFolder(roots), outFolder, reserved, ending });
  return { logs, failures, own };
}

async function isOwnNamed(path: string): Promise<boolean> {
  const name = basename(path);
  const original = path.slice(0, -ORIGINAL_ENDING.length);
  const isThere = await stat(original).then(
    () => true,
    () => false,
  );
  return isOwn(name, new Set(isThere ? [basename(original)] : []));
}

/**
 * Throws UsageError COLLISION where `path`, which the user named for `what`, is one of the logs or a file that is written for one:
 * evidence must not be lost to a slip of the pen.
 */
export async function refuseLoss(path: string, what: string, logs: readonly LogFile[]): Promise<void> {
  const identity = await realpath(path).catch(() => resolve(path));
  for (const log of logs) {
    const taken = [
      await realpath(log.path).catch(() => resolve(log.path)),
      resolve(log.enrichedPath),
      resolve(contextPathOf(log.enrichedPath)),
    ];
    if (taken.includes(identity)) {
      throw new UsageError(
        'COLLISION',
        `${what} ${path} would be written over ${log.path}, or over what is written for it`,
      );
    }
  }
}

function isRecent(status: { readonly mtime: Date }, since: Date | undefined): boolean {
  return since === undefined || status.mtime >= since;
}

function isStats(value: unknown): value is { isDirectory(): boolean; isFile(): boolean; size: number } {
  return typeof value === 'object' && value !== null && 'isDirectory' in value;
}

/** Drops repeats of one file (a named one wins over one met in a folder) and gives each log its output. */
async function withOutputs(
  found: readonly Candidate[],
  {
    common,
    outFolder,
    reserved,
    ending,
  }: {
    readonly common: string;
    readonly outFolder: string | undefined;
    readonly reserved: readonly string[];
    readonly ending: EnrichedEnding;
  },
): Promise<LogFile[]> {
  const byIdentity = new Map<string, Candidate>();
  for (const candidate of found) {
    const identity = await realpath(candidate.path).catch(() => resolve(candidate.path));
    const known = byIdentity.get(identity);
    if (known === undefined || (candidate.isNamed && !known.isNamed)) byIdentity.set(identity, candidate);
  }
  const inputs = new Set([...byIdentity.keys()]);
  const takenBy = new Map(reserved.map((path) => [resolve(path), 'standard input']));
  return [...byIdentity.values()].map((candidate) => {
    const target = outFolder === undefined ? candidate.path : join(outFolder, relativeBelow(common, candidate.path));
    const enrichedPath = `${target}${ending}`;
    const other = takenBy.get(resolve(enrichedPath));
    if (other !== undefined) {
      throw new UsageError('COLLISION', `${candidate.path} and ${other} would both be written to ${enrichedPath}`);
    }
    if (inputs.has(resolve(enrichedPath))) {
      throw new UsageError(
        'COLLISION',
        `${candidate.path} would be written to ${enrichedPath}, which is a log to be read`,
      );
    }
    takenBy.set(resolve(enrichedPath), candidate.path);
    return { ...candidate, enrichedPath };
  });
}

function relativeBelow(folder: string, path: string): string {
  const below = relative(folder, resolve(path));
  return below === '..' || below.startsWith(`..${sep}`) ? basename(path) : below;
}

/** The deepest folder that holds all of `folders`. */
function commonFolder(folders: readonly string[]): string {
  const [first, ...others] = folders.map((folder) => folder.split(sep));
  if (first === undefined) return resolve('.');
  let shared = first.length;
  for (const other of others) {
    let same = 0;
    while (same < shared && same < other.length && first[same] === other[same]) same++;
    shared = same;
  }
  return first.slice(0, shared).join(sep) || sep;
}
