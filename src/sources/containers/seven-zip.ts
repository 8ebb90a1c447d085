import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import { type LogError, messageOf, systemCodeOf } from '../../errors.js';
import { type ByteReader, streamByteReader } from '../byte-reader.js';
import type { InflationBudget } from './limits.js';
import {
  type ChunkSource,
  damaged,
  isMacTwin,
  type Member,
  nameFailure,
  truncated,
  unpackingReader,
} from './member.js';

/** 7-Zip's own program and what distributions call it. */
const PROGRAMS = ['7zz', '7z', '7za'] as const;

/** A listing of a million files is some 300 MB; more is no collection of logs. */
const MAX_LISTING_BYTES = 256 * 1024 * 1024;

/** What is kept of a program's complaint. */
const MAX_COMPLAINT_LENGTH = 4096;

const CHUNK_BYTES = 64 * 1024;

/** A password nobody has, so that an encrypted archive fails instead of asking the terminal for one. */
const NO_PASSWORD = '-p\u0001';

interface ListedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly isEncrypted: boolean;
}

/** A running 7-Zip: its output, and what it complained of in the end. */
interface Run {
  readonly output: Readable;
  /** Waits for its end; undefined if all went well. */
  complaint(): Promise<string | undefined>;
  stop(): void;
}

/**
 * The files in a 7z archive, unpacked by 7-Zip where it is on the PATH: one run that writes all files one after another, cut by the
 * sizes of a listing, since a file of its own from a solid archive costs unpacking all before it.
 */
export async function* sevenZipMembers(path: string, budget: InflationBudget): AsyncGenerator<Member, void, void> {
  const listed = await listFiles(path);
  if ('failure' in listed) {
    yield { name: '', failure: listed.failure };
    return;
  }
  const { program, files } = listed;
  for (const { name, isEncrypted } of files) {
    if (isEncrypted)
      yield { name, failure: damaged('ENCRYPTED', '7z member is encrypted; unpack it with its password first') };
  }
  const plainFiles = files.filter(({ isEncrypted }) => !isEncrypted);
  if (plainFiles.length === 0) return;
  // Naming the files is needed only to leave encrypted ones out; -spd takes the names literally.
  const names = plainFiles.length === files.length ? [] : plainFiles.map(({ name }) => name);
  const run = await start(program, ['x', '-so', '-bd', '-y', '-spd', NO_PASSWORD, '--', path, ...names]);
  const { size: archiveBytes } = await stat(path);
  try {
    const output = streamByteReader(run.output);
    let name = '';
    for (const file of plainFiles) {
      name = file.name;
      const part = partChunks(output, file.sizeBytes, archiveBytes);
      const failure = nameFailure(name);
      if (failure !== undefined) yield { name, failure };
      else if (!isMacTwin(name)) {
        const reader = unpackingReader(part, budget, '7z member');
        yield { name, reader };
        if (reader.failure !== undefined) {
          yield { name, failure: reader.failure };
          if (reader.failure.code === 'TOO_LARGE') return;
        }
      }
      if (!(await part.skipRest())) break;
    }
    const complaint = await run.complaint();
    if (complaint !== undefined) yield { name, failure: damaged('CORRUPT', `7z archive: ${complaint}`) };
  } finally {
    run.stop();
  }
}

async function listFiles(
  path: string,
): Promise<{ readonly program: string; readonly files: readonly ListedFile[] } | { readonly failure: LogError }> {
  for (const program of PROGRAMS) {
    let run: Run;
    try {
      run = await start(program, ['l', '-slt', '-ba', '-sccUTF-8', NO_PASSWORD, '--', path]);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') continue;
      return { failure: damaged('UNREADABLE', `7z archive: ${program}: ${messageOf(error)}`, error) };
    }
    try {
      const listing = await readText(run.output);
      const complaint = await run.complaint();
      if (listing === undefined) return { failure: damaged('TOO_LARGE', '7z archive lists more files than are read') };
      if (complaint === undefined) return { program, files: parseListing(listing) };
      const isEncrypted = /encrypted|password/i.test(complaint);
      return {
        failure: isEncrypted
          ? damaged('ENCRYPTED', '7z archive is encrypted; unpack it with its password first')
          : damaged('CORRUPT', `7z archive: ${complaint}`),
      };
    } finally {
      run.stop();
    }
  }
  return {
    failure: damaged(
      'UNSUPPORTED',
      '7z archives are read with 7-Zip: install 7zz or 7z on the PATH, or unpack the archive first',
    ),
  };
}

/** Blocks of `Name = value` lines, an empty line between them; folders have `D` among their attributes. */
function parseListing(listing: string): ListedFile[] {
  return listing.split(/\r?\n\r?\n/).flatMap((block) => {
    const values = new Map(
      block.split(/\r?\n/).flatMap((line) => {
        const equals = line.indexOf(' = ');
        return equals < 0 ? [] : [[line.slice(0, equals), line.slice(equals + 3)] as const];
      }),
    );
    const name = values.get('Path');
    const sizeBytes = Number(values.get('Size') ?? '');
    const isFolder = values.get('Folder') === '+' || /^D/.test(values.get('Attributes') ?? '');
    if (name === undefined || isFolder || !Number.isSafeInteger(sizeBytes)) return [];
    return [{ name: name.replaceAll('\\', '/'), sizeBytes, isEncrypted: values.get('Encrypted') === '+' }];
  });
}

/** Rejects with the system's error if there is no such program. */
async function start(program: string, args: readonly string[]): Promise<Run> {
  const { spawn } = await import('node:child_process');
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    windowsHide: true,
  });
  // Node throws output away that nobody has begun to read when the program ends.
  const output = child.stdout.pipe(new PassThrough());
  let complaint = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    complaint = (complaint + text).slice(0, MAX_COMPLAINT_LENGTH);
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  await once(child, 'spawn');
  return {
    output,
    complaint: async () => {
      const status = await ended;
      if (status === 0) return undefined;
      const line = complaint.split('\n').find((text) => /error|wrong|can ?not/i.test(text));
      return line?.trim() ?? `7-Zip ended with status ${status}`;
    },
    stop: () => {
      child.kill('SIGKILL');
    },
  };
}

async function readText(output: Readable): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of output as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_LISTING_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The next `sizeBytes` of the output, and what steps over those nobody read; false there if the output ends within them. */
function partChunks(
  output: ByteReader,
  sizeBytes: number,
  archiveBytes: number,
): ChunkSource & { skipRest(): Promise<boolean> } {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let leftBytes = sizeBytes;
  const next = async (): Promise<Buffer | undefined> => {
    if (leftBytes === 0) return undefined;
    const length = await output.read(buffer.subarray(0, Math.min(leftBytes, buffer.length)));
    if (length === 0) throw truncated('7z member');
    leftBytes -= length;
    return buffer.subarray(0, length);
  };
  return {
    next,
    packedBytes: () => archiveBytes,
    close: () => {},
    skipRest: async () => {
      while (leftBytes > 0) {
        const length = await output.read(buffer.subarray(0, Math.min(leftBytes, buffer.length)));
        if (length === 0) return false;
        leftBytes -= length;
      }
      return true;
    },
  };
}
