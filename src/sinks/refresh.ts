import { type FileHandle, open } from 'node:fs/promises';
import { ByteWriter } from '../byte-writer.js';
import { messageOf, StorageError } from '../errors.js';
import { isLookupAlgorithm, type LookupKey, parseDigest } from '../hash.js';
import { type OutputFile, outputFile } from './enriched-file.js';
import { NATIVE_FORM, type RecordForm } from './record-form.js';

/** Bytes read at once. */
const BLOCK_BYTES = 256 * 1024;
/** Bytes collected before they are written. */
const FLUSH_BYTES = 256 * 1024;

/** Longest line that may be ours: no source hands over a record of more than 16 MiB. */
const MAX_LINE_BYTES = 32 * 1024 * 1024;

const LINE_FEED = 0x0a;

/** The `virustotal` member as it should be for a file, JSON text; undefined to leave it as it is. `written` is the one that stands there. */
export type MemberFor = (key: LookupKey, written: WrittenMember) => string | undefined;

/** A member that stands in a file of ours, parsed; nothing in it is known to be as this program writes it. */
export interface WrittenMember {
  readonly verdict?: unknown;
  readonly stale?: unknown;
}

/**
 * Streams an enriched file once and replaces the verdict's part of each record for which `memberFor` gives another member; all other
 * bytes stay, line ends and lines that are none of ours too. The file is rewritten whole or, where nothing differs, not at all.
 * Returns whether it was rewritten.
 */
export async function refreshFile(
  path: string,
  memberFor: MemberFor,
  form: RecordForm = NATIVE_FORM,
  output: OutputFile = outputFile(path),
): Promise<boolean> {
  const file = await openEnriched(path);
  const out = new ByteWriter(FLUSH_BYTES * 2);
  let hasChanged = false;
  try {
    for await (const { line, isWhole } of linesOf(file)) {
      const found = isWhole ? form.findVerdict(line) : undefined;
      const member = found && memberOtherThan(found.member, memberFor);
      if (found === undefined || member === undefined) {
        out.bytes(line);
      } else {
        out.bytes(line, 0, found.start);
        out.text(found.rewritten(member));
        out.bytes(line, found.end);
        hasChanged = true;
      }
      if (out.length >= FLUSH_BYTES) {
        await output.write(out.view());
        out.clear();
      }
    }
    if (!hasChanged) {
      await output.abandon();
      return false;
    }
    await output.write(out.view());
    await output.commit();
    return true;
  } catch (error) {
    await output.abandon();
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * Streams an enriched file and tells of each record's `virustotal` member: its text, the file it names (undefined where it names none), and
 * then what it says. Lines that are not this program's are passed over. Rejects with StorageError where the file cannot be read.
 */
export async function readMembers(
  path: string,
  form: RecordForm,
  onMember: (member: string, key: LookupKey | undefined, written: WrittenMember) => void,
): Promise<void> {
  const file = await openEnriched(path);
  try {
    for await (const { line, isWhole } of linesOf(file)) {
      const found = isWhole ? form.findVerdict(line) : undefined;
      if (found === undefined) continue;
      const json = parsedMember(found.member);
      onMember(found.member, json && keyOf(json), json ?? {});
    }
  } finally {
    await file.close();
  }
}

async function openEnriched(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw new StorageError('OUTPUT', `${path}: cannot be read for its refresh (${messageOf(error)})`, { cause: error });
  }
}

/** The member that is to take the place of one; undefined where it is to stay. */
function memberOtherThan(written: string, memberFor: MemberFor): string | undefined {
  const json = parsedMember(written);
  if (json === undefined) return undefined;
  const key = keyOf(json);
  const member = key && memberFor(key, json);
  return member === written ? undefined : member;
}

/** A member that names a file, or undefined if it is none of ours or names none. */
function parsedMember(member: string): (WrittenMember & { readonly lookup_key: unknown }) | undefined {
  let json: unknown;
  try {
    json = JSON.parse(member);
  } catch {
    // Not a line this program wrote: it is kept as it is.
    return undefined;
  }
  return typeof json === 'object' && json !== null && 'lookup_key' in json ? json : undefined;
}

/** The look-up key that a member names, or undefined if it names none. */
function keyOf(json: { readonly lookup_key: unknown }): LookupKey | undefined {
  const algorithm = json.lookup_key;
  if (!isLookupAlgorithm(algorithm)) return undefined;
  const hash = new Map<string, unknown>(Object.entries(json)).get(algorithm);
  const digest = typeof hash === 'string' ? parseDigest(algorithm, hash) : undefined;
  return digest === undefined ? undefined : { algorithm, hash: digest };
}

/** A line with its line feed, or a piece of one that is too long to be ours. */
interface Line {
  readonly line: Buffer;
  readonly isWhole: boolean;
}

/** The lines of a file, as views that last until the next one is asked for. */
async function* linesOf(file: FileHandle): AsyncGenerator<Line> {
  let block = Buffer.allocUnsafe(BLOCK_BYTES);
  let filled = 0;
  let isWhole = true;
  for (;;) {
    const { bytesRead } = await file.read(block, filled, block.length - filled);
    filled += bytesRead;
    let start = 0;
    for (;;) {
      const end = block.subarray(0, filled).indexOf(LINE_FEED, start);
      if (end < 0) break;
      yield { line: block.subarray(start, end + 1), isWhole };
      isWhole = true;
      start = end + 1;
    }
    if (bytesRead === 0) {
      if (start < filled) yield { line: block.subarray(start, filled), isWhole };
      return;
    }
    if (start > 0 || filled < block.length) {
      block.copyWithin(0, start, filled);
      filled -= start;
    } else if (block.length < MAX_LINE_BYTES) {
      const grown = Buffer.allocUnsafe(block.length * 2);
      block.copy(grown, 0, 0, filled);
      block = grown;
    } else {
      isWhole = false;
      yield { line: block.subarray(0, filled), isWhole };
      filled = 0;
    }
  }
}
