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

const MEMBER_NAME = Buffer.from('"virustotal":{');
const LINE_FEED = 0x0a;
const CLOSING_BRACE = 0x7d;
const COMMA = 0x2c;

/** The `virustotal` member as it should be for a file, JSON text; undefined to leave it as it is. */
type MemberFor = (key: LookupKey) => string | undefined;

/**
 * Streams an enriched file once and replaces the `virustotal` member of each record for which `memberFor` gives another text;
 * all other bytes stay, line ends and lines that are none of ours too. The file is rewritten whole or, where nothing differs, not at all.
 * Returns whether it was rewritten.
 * The member is the last one of its line, since that is how this program writes it. Inside a JSON string its name would have
 * its quotes escaped, so the last occurrence of the bytes is the member itself.
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
      const replaced = isWhole ? replaceTail(line, memberFor, form) : undefined;
      if (replaced === undefined) {
        out.bytes(line);
      } else {
        out.bytes(line, 0, replaced.start);
        out.text(replaced.tail);
        out.bytes(line, replaced.end);
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
 * Streams an enriched file and tells of each record's `virustotal` member: its text and the file it names (undefined where it names none).
 * Lines that are not this program's are passed over. Rejects with StorageError where the file cannot be read.
 */
export async function readMembers(
  path: string,
  onMember: (member: string, key: LookupKey | undefined) => void,
): Promise<void> {
  const file = await openEnriched(path);
  try {
    for await (const { line, isWhole } of linesOf(file)) {
      const found = isWhole ? findMember(line) : undefined;
      if (found !== undefined) onMember(found.text, keyOf(found.text));
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

/** Where a line's member stands (`name`: its name's first byte, `end`: the record's closing brace), and its text. */
function findMember(line: Buffer): { readonly name: number; readonly end: number; readonly text: string } | undefined {
  const name = line.lastIndexOf(MEMBER_NAME);
  if (name < 1) return undefined;
  const start = name + MEMBER_NAME.length - 1;
  // The line ends in the member's own brace and the record's.
  const end = line.lastIndexOf(CLOSING_BRACE);
  return { name, end, text: line.toString('utf8', start, end) };
}

/** What takes the place of a line's bytes from `start` to `end`. */
interface Replacement {
  readonly start: number;
  readonly end: number;
  readonly tail: string;
}

function replaceTail(line: Buffer, memberFor: MemberFor, form: RecordForm): Replacement | undefined {
  const found = findMember(line);
  const key = found === undefined ? undefined : keyOf(found.text);
  if (found === undefined || key === undefined) return undefined;
  const { name, end, text } = found;
  const member = memberFor(key);
  if (member === undefined || member === text) return undefined;
  // A record without any other member has no comma before this one.
  if (line[name - 1] !== COMMA) return { start: name, end, tail: form.tail(form.eventIdOf(line), member).slice(1) };
  return { start: form.tailStart(line, name - 1), end, tail: form.tail(form.eventIdOf(line), member) };
}

/** The look-up key that a member names, or undefined if it is none of ours or names none. */
function keyOf(member: string): LookupKey | undefined {
  let json: unknown;
  try {
    json = JSON.parse(member);
  } catch {
    // Not a line this program wrote: it is kept as it is.
    return undefined;
  }
  if (typeof json !== 'object' || json === null || !('lookup_key' in json)) return undefined;
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
