import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { evtxHeader } from '../src/demo/evtx-writer.js';
import { nxlogLine } from '../src/demo/json-logs.js';
import { evtxLog } from '../src/demo/night-logs.js';
import { Draw } from './draw.js';
import { DENSE_MIX, FILE_NAME, fileNameOf, hashListOf, sysmonEvents } from './events.js';

/** A log to be written: at least so many bytes, in which so many different files run. */
export interface LogSize {
  readonly bytes: number;
  readonly distinctFiles: number;
}

const FILE_HEADER_BYTES = 4096;
const CHUNK_BYTES = 65_536;
const CHUNK_HEADER_BYTES = 512;
const EVTX_BASE_EVENTS = 6_000;
const WRITE_BYTES = 8 * 1024 * 1024;

/** Where a record of a log says which file it is about; it may say so more than once. */
interface FilePlaces {
  readonly lists: readonly number[];
  readonly names: readonly number[];
}

/** Part of a log whose records can be made to be about other files, since all hash lists and all names have one length. */
interface Piece {
  readonly bytes: Buffer;
  readonly records: readonly FilePlaces[];
}

/** A file as the bytes of a log name it. */
interface FileBytes {
  readonly list: Buffer;
  readonly name: Buffer;
}

/** Draws a file per record: each once, as long as there are new ones, and then those that came first most often. */
class FileChoice {
  readonly #files: readonly FileBytes[];
  readonly #draw = new Draw(7);
  #next = 0;

  constructor(distinctFiles: number, encoding: 'utf16le' | 'latin1') {
    this.#files = Array.from({ length: distinctFiles }, (_, file) => ({
      list: Buffer.from(hashListOf(file), encoding),
      name: Buffer.from(fileNameOf(file), encoding),
    }));
  }

  next(): FileBytes {
    const most = Math.ceil(this.#files.length / 20);
    const drawn = this.#draw.below(this.#draw.below(20) === 0 ? this.#files.length : most);
    const file = this.#files[this.#next++] ?? this.#files[drawn];
    if (file === undefined) throw new RangeError('no files');
    return file;
  }
}

/** Writes an event log dense with hashes, as several versions of Sysmon would, with right checksums. Returns its size in bytes. */
export async function writeEvtxLog(path: string, { bytes, distinctFiles }: LogSize): Promise<number> {
  const log = evtxLog(take(sysmonEvents(DENSE_MIX), EVTX_BASE_EVENTS));
  const pieces: Piece[] = [];
  // The last chunk is not full; without it all are.
  for (let at = FILE_HEADER_BYTES; at + 2 * CHUNK_BYTES <= log.length; at += CHUNK_BYTES) {
    const chunk = log.subarray(at, at + CHUNK_BYTES);
    pieces.push({ bytes: chunk, records: recordsOf(chunk) });
  }
  const chunkCount = Math.ceil(bytes / CHUNK_BYTES);
  const files = new FileChoice(distinctFiles, 'utf16le');
  return writePieces(path, evtxHeader(chunkCount), pieces, { bytes, files, onPatched: sealChunk });
}

/** The checksums of a chunk whose records have changed: of its records, then of its header, which holds the former. */
function sealChunk(chunk: Buffer): void {
  chunk.writeUInt32LE(crc32(chunk.subarray(CHUNK_HEADER_BYTES, chunk.readUInt32LE(48))), 52);
  chunk.writeUInt32LE(crc32(chunk.subarray(128, CHUNK_HEADER_BYTES), crc32(chunk.subarray(0, 120))), 124);
}

const JSON_BASE_LINES = 20_000;
/** Lines of 2.9 KB are what collected logs of several channels come to. */
const MESSAGE_CHARACTERS = 3_000;

/**
 * Writes JSON lines as NXLog collects them from several channels: one in 830 is a process creation, and three in four of those with
 * event id 1 are. With `isDense` every line is a process creation. Returns the size in bytes.
 */
export async function writeJsonLog(path: string, size: LogSize, isDense = false): Promise<number> {
  const lines = isDense ? take(map(sysmonEvents([[1, 1]]), nxlogLine), 2_000) : sparseLines();
  const pieces: Piece[] = [];
  for (let at = 0; at < lines.length; at += 500) {
    const records: FilePlaces[] = [];
    const parts: Buffer[] = [];
    let before = 0;
    for (const line of lines.slice(at, at + 500)) {
      const part = Buffer.from(line);
      const lists = placesOf(Buffer.from('SHA1='), part, before);
      if (lists.length > 0) records.push({ lists, names: placesOf(Buffer.from(FILE_NAME), part, before) });
      parts.push(part);
      before += part.length;
    }
    pieces.push({ bytes: Buffer.concat(parts), records });
  }
  const files = new FileChoice(size.distinctFiles, 'latin1');
  return writePieces(path, Buffer.alloc(0), pieces, { bytes: size.bytes, files, onPatched: () => undefined });
}

function sparseLines(): string[] {
  const draw = new Draw(3);
  const sysmon = map(
    sysmonEvents([
      [3, 20],
      [5, 10],
      [10, 30],
      [11, 20],
      [13, 20],
    ]),
    nxlogLine,
  );
  const creations = map(sysmonEvents([[1, 1]], 2), nxlogLine);
  const lines: string[] = [];
  for (let index = 0; index < JSON_BASE_LINES; index++) {
    if (index % 830 === 0) lines.push(creations.next().value);
    else if (draw.below(2) === 0) lines.push(sysmon.next().value);
    else lines.push(foreignLine(index, index % 2490 === 1 ? 1 : draw.one([4688, 4624, 5156, 4103, 800]), draw));
  }
  return lines;
}

/** An event of another provider, long like those of PowerShell. */
function foreignLine(record: number, eventId: number, draw: Draw): string {
  const words = Array.from({ length: 40 }, () => draw.text(3 + draw.below(9)));
  let message = 'Command invocation:';
  while (message.length < MESSAGE_CHARACTERS) message += ` ${draw.one(words)}="${draw.one(words)}"\r\n`;
  return `${JSON.stringify({
    EventTime: '2026-03-03 22:00:00',
    Hostname: 'WS-FIN-03.corp.example',
    Keywords: 0,
    EventType: 'INFO',
    Severity: 'INFO',
    EventID: eventId,
    SourceName: eventId < 1000 ? 'PowerShell' : 'Microsoft-Windows-Security-Auditing',
    Task: 12_544,
    RecordNumber: record,
    Channel: eventId < 1000 ? 'Windows PowerShell' : 'Security',
    Message: message,
    SubjectUserName: 'm.weber',
    TargetUserName: draw.text(8),
  })}\n`;
}

interface PieceWork {
  readonly bytes: number;
  readonly files: FileChoice;
  readonly onPatched: (piece: Buffer) => void;
}

/** Writes `pieces` round after round, each time with other hash lists, until there are enough bytes. */
async function writePieces(path: string, head: Buffer, pieces: readonly Piece[], work: PieceWork): Promise<number> {
  const file = await open(path, 'w');
  try {
    let written = await append(file, head);
    let batch: Buffer[] = [];
    let batchBytes = 0;
    for (let index = 0; written + batchBytes < work.bytes; index++) {
      const piece = pieces[index % pieces.length];
      if (piece === undefined) throw new RangeError('nothing to write');
      const copy = Buffer.from(piece.bytes);
      for (const { lists, names } of piece.records) {
        const file = work.files.next();
        for (const place of lists) file.list.copy(copy, place);
        for (const place of names) file.name.copy(copy, place);
      }
      work.onPatched(copy);
      batch.push(copy);
      batchBytes += copy.length;
      if (batchBytes < WRITE_BYTES) continue;
      written += await append(file, Buffer.concat(batch));
      batch = [];
      batchBytes = 0;
    }
    return written + (await append(file, Buffer.concat(batch)));
  } finally {
    await file.close();
  }
}

async function append(file: FileHandle, bytes: Buffer): Promise<number> {
  await file.appendFile(bytes);
  return bytes.length;
}

/** The records of a chunk that have a hash list; their names all come before it. */
function recordsOf(chunk: Buffer): FilePlaces[] {
  const names = placesOf(Buffer.from(FILE_NAME, 'utf16le'), chunk);
  let earlier = 0;
  return placesOf(Buffer.from('SHA1=', 'utf16le'), chunk).map((list) => {
    const own = names.filter((place) => place > earlier && place < list);
    earlier = list;
    return { lists: [list], names: own };
  });
}

/** Where `sign` stands in `bytes`, which themselves start at `offset`. */
function placesOf(sign: Buffer, bytes: Buffer, offset = 0): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(sign); at >= 0; at = bytes.indexOf(sign, at + 1)) places.push(offset + at);
  return places;
}

function take<T>(source: Iterator<T, unknown>, count: number): T[] {
  return Array.from({ length: count }, () => {
    const { value, done } = source.next();
    if (done === true) throw new RangeError('the source has ended');
    return value;
  });
}

function* map<T, U>(source: Generator<T, never>, change: (value: T) => U): Generator<U, never> {
  for (;;) yield change(source.next().value);
}
