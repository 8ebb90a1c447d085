import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { LogError } from '../errors.js';
import type { RecordReceiver, WantedRecords } from '../event.js';
import { isOwnOutput } from '../log-paths.js';
import { escapeControls, shorten } from '../terminal.js';
import { type ByteReader, fileByteReader, PeekableReader } from './byte-reader.js';
import {
  type ContainerFormat,
  type ContainerLimits,
  detectContainer,
  InflationBudget,
  openMembers,
} from './containers.js';
import { looksLikeCsv, readCsv } from './csv.js';
import { decodingReader, detectEncoding, withMark } from './encoding.js';
import { isEvtx, readEvtx } from './evtx/index.js';
import { looksLikeJson, readJson } from './json.js';
import { looksLikeSyslog, readSyslog } from './syslog.js';
import { looksLikeText, readText } from './text.js';
import { looksLikeXml, readXml } from './xml.js';

export { type ContainerLimits, DEFAULT_LIMITS } from './containers.js';

/** A log format: how its first bytes look, and how it is read. */
interface Source {
  /** As people know it. */
  readonly format: string;
  /** What gives it away, for people. */
  readonly sign: string;
  looksLike(head: Buffer): boolean;
  /** Whether a log that looks like it may turn out to be none, which `read` says at its end. */
  readonly isKnownAtItsEnd?: boolean;
  read(reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver): Promise<void>;
}

/**
 * Text formats, asked in this order about the first bytes as UTF-8. What is known by the very first line comes first: whoever starts a
 * process writes the lines of its command line, and these must not look like another format.
 */
const TEXT_SOURCES: readonly Source[] = [
  { format: 'event XML', sign: 'Event elements', looksLike: looksLikeXml, isKnownAtItsEnd: true, read: readXml },
  { format: 'JSON', sign: 'JSON objects', looksLike: looksLikeJson, read: readJson },
  {
    format: 'syslog',
    sign: 'headers of syslog, OSSEC or fluentd before each line',
    looksLike: looksLikeSyslog,
    isKnownAtItsEnd: true,
    read: readSyslog,
  },
  { format: 'CSV', sign: 'a header or rows of known columns', looksLike: looksLikeCsv, read: readCsv },
  { format: 'text', sign: 'the headings a tool writes around each event', looksLike: looksLikeText, read: readText },
];

const NOTHING_WANTED: WantedRecords = { eventIds: new Set() };

/** Enough to recognise every format; also the most that is held of a log's start. */
const HEAD_BYTES = 64 * 1024;

/** Formats that carry no Sysmon events in practice; named, so that nobody thinks they were read. */
const FOREIGN_FORMATS: readonly (readonly [signature: readonly number[], name: string])[] = [
  [[0x30, 0, 0, 0, 0x4c, 0x66, 0x4c, 0x65], 'an event log of Windows XP/2003 (.evt), which Sysmon never wrote'],
  [[0x4d, 0x5a], 'a Windows program'],
  [[0x7f, 0x45, 0x4c, 0x46], 'an ELF program'],
  [[0x25, 0x50, 0x44, 0x46], 'a PDF'],
  [[0x89, 0x50, 0x4e, 0x47], 'a picture'],
  [[0x04, 0x22, 0x4d, 0x18], 'lz4 data, which is not supported: unpack it with lz4 -d first'],
  [[0x53, 0x51, 0x4c, 0x69, 0x74, 0x65], 'an SQLite database'],
];

/** What reading a log needs to know besides its bytes. */
export interface ReadingOptions {
  readonly wanted: WantedRecords;
  readonly limits: ContainerLimits;
  /** Where the log lies, if it is a file: archives with a directory at their end are read by position. */
  readonly filePath: string | undefined;
}

/** What a log, or one member of an archive, was taken for. */
export interface ReadPart {
  /** Member names from the outside in, apart by `!`; empty for the log itself. */
  readonly member: string;
  readonly format: string;
  /** What gave it away, for people. */
  readonly sign: string;
}

/** What came of reading a log. */
export interface LogReading {
  /** `EVTX`, `gzip of JSON`, `zip of EVTX, event XML`. */
  readonly format: string;
  /** One for the log, or one for each member that was read. */
  readonly parts: readonly ReadPart[];
}

/** Told of a part of a log that cannot be read; `member` is its place within archives, empty for the log itself. */
export type FailureReceiver = (member: string, error: LogError) => void;

/**
 * Reads one log of any format, archives and compressed ones included, member after member, and resolves with what it was taken for.
 * Parts that cannot be read are reported through `onFailure` and do not end the rest. Rejects with LogError where the log as a
 * whole is none (NOT_A_LOG) or nothing of it can be read, and with the system's error where reading its bytes fails.
 */
export function readLog(
  reader: ByteReader,
  options: ReadingOptions,
  receiver: RecordReceiver,
  onFailure: FailureReceiver,
): Promise<LogReading> {
  const reading = new NestedReading(options, receiver, onFailure);
  return reading.read(new PeekableReader(reader), '', 0).then((format) => ({ format, parts: reading.parts }));
}

/** One log with all that is packed in it. */
class NestedReading {
  readonly #options: ReadingOptions;
  readonly #receiver: RecordReceiver;
  readonly #onFailure: FailureReceiver;
  /** Shared by all levels: a bomb may be spread over many members. */
  readonly #budget: InflationBudget;
  readonly parts: ReadPart[] = [];

  constructor(options: ReadingOptions, receiver: RecordReceiver, onFailure: FailureReceiver) {
    this.#options = options;
    this.#receiver = receiver;
    this.#onFailure = onFailure;
    this.#budget = new InflationBudget(options.limits);
  }

  /** Reads what stands at `place` (member names, outermost first) and returns its format. */
  async read(reader: PeekableReader, place: string, depth: number): Promise<string> {
    const { wanted } = this.#options;
    const head = await reader.peek(HEAD_BYTES);
    if (head.length === 0) {
      this.#receiver.onNote(place === '' ? 'empty' : `${place}: empty`);
      return this.#takenFor(place, 'empty', 'no bytes');
    }
    const isInPlace = wanted.isEveryByteWanted ?? false;
    const areRowsWanted = wanted.areRowsWanted ?? false;
    if (isEvtx(head)) {
      if (isInPlace) throw notInPlace('EVTX');
      if (areRowsWanted) throw notInRows('EVTX');
      await readEvtx(reader, wanted, this.#receiver);
      return this.#takenFor(place, 'EVTX', 'the signature of event log files or chunks');
    }
    const container = detectContainer(head);
    if (container !== undefined) {
      if (isInPlace) throw notInPlace(`a ${container} archive`);
      return this.#readMembers(container, reader, place, depth);
    }
    const { encoding, markBytes } = detectEncoding(head);
    const text = new PeekableReader(decodingReader(reader));
    const textHead = await text.peek(HEAD_BYTES);
    for (const source of TEXT_SOURCES) {
      if (!source.looksLike(textHead)) continue;
      const isRefused = (isInPlace && source.read !== readJson) || (areRowsWanted && source.read !== readCsv);
      // What is no log need not be written, and its refusal would be a failure.
      if (isRefused && source.isKnownAtItsEnd === true) await source.read(text, NOTHING_WANTED, this.#deaf());
      if (isInPlace) {
        if (source.read !== readJson) throw notInPlace(source.format);
        if (encoding !== 'utf-8') throw notInPlace(`JSON in ${encoding}`);
        this.#receiver.onPassage?.(head.subarray(0, markBytes));
      }
      if (areRowsWanted && source.read !== readCsv) throw notInRows(source.format);
      // Rows keep the mark they had; what was UTF-16 needs one, since spreadsheets take text without for their own code page.
      const isMarked = areRowsWanted && (markBytes > 0 || encoding !== 'utf-8');
      await source.read(isMarked ? withMark(text) : text, wanted, this.#receiver);
      return this.#takenFor(place, source.format, source.sign);
    }
    throw new LogError('NOT_A_LOG', `no log format that is known here; it ${describeHead(head, textHead)}`);
  }

  /** Takes nothing of a log; blocks still end, so that reading can be stopped. */
  #deaf(): RecordReceiver {
    return {
      onEvent: () => {},
      onOther: () => {},
      onReject: () => {},
      onDuplicate: () => {},
      onNote: () => {},
      onBlockEnd: () => this.#receiver.onBlockEnd(),
    };
  }

  #takenFor(member: string, format: string, sign: string): string {
    this.parts.push({ member, format, sign });
    return format;
  }

  async #readMembers(
    container: ContainerFormat,
    reader: PeekableReader,
    place: string,
    depth: number,
  ): Promise<string> {
    if (depth >= this.#options.limits.maxDepth) {
      throw new LogError(
        'TOO_LARGE',
        `archives nested deeper than ${this.#options.limits.maxDepth} are not opened; unpack it first`,
      );
    }
    const { limits, filePath } = this.#options;
    const formats = new Set<string>();
    let strayMembers = 0;
    let failedMembers = 0;
    const log = { budget: this.#budget, ...(depth === 0 && filePath !== undefined ? { path: filePath } : {}) };
    for await (const member of openMembers(container, reader, log, limits)) {
      const memberPlace = [place, member.name].filter((name) => name !== '').join('!');
      if ('reader' in member && isOwnOutput(member.name)) {
        strayMembers++;
        this.#receiver.onNote(`${memberPlace}: skipped, it is one of this program's own files`);
        continue;
      }
      const failure =
        'failure' in member ? member.failure : await this.#readMember(member.reader, memberPlace, depth, formats);
      if (failure === undefined) continue;
      const isWhole = formats.size === 0 && failedMembers === 0;
      if (failure.code === 'NOT_A_LOG') {
        // The one member of a compression is the log itself.
        if (member.name === '') throw failure;
        strayMembers++;
        this.#receiver.onNote(`${memberPlace}: skipped: ${failure.message}`);
      } else if (failure.code === 'CHECKSUM') {
        this.#receiver.onNote(`${memberPlace === '' ? '' : `${memberPlace}: `}${failure.message}`);
      } else if (failure.code === 'TRUNCATED' && formats.size > 0) {
        this.#receiver.onNote(
          `${memberPlace === '' ? '' : `${memberPlace}: `}${failure.message}; what came before was read`,
        );
      } else if (member.name === '' && isWhole) {
        throw failure;
      } else {
        failedMembers++;
        this.#onFailure(memberPlace, failure);
      }
    }
    if (formats.size === 0 && failedMembers === 0 && strayMembers > 0) {
      throw new LogError('NOT_A_LOG', `none of the ${strayMembers} files in this ${container} archive is a log`);
    }
    return `${container}${formats.size === 0 ? '' : ` of ${[...formats].sort().join(', ')}`}`;
  }

  /** Reads one member; its own trouble is returned, so that the next one is read all the same. */
  async #readMember(
    reader: ByteReader,
    place: string,
    depth: number,
    formats: Set<string>,
  ): Promise<LogError | undefined> {
    try {
      formats.add(await this.read(new PeekableReader(reader), place, depth + 1));
      return undefined;
    } catch (error) {
      if (error instanceof LogError) return error;
      throw error;
    }
  }
}

function notInPlace(format: string): LogError {
  return new LogError(
    'UNSUPPORTED',
    `${format} cannot be changed in place, only JSON lines in UTF-8 can; give --out DIR instead`,
  );
}

function notInRows(format: string): LogError {
  return new LogError(
    'UNSUPPORTED',
    `${format} has no rows that columns could be added to; --records csv takes CSV logs only, leave it out for this one`,
  );
}

function describeHead(head: Buffer, textHead: Buffer): string {
  for (const [signature, name] of FOREIGN_FORMATS) {
    if (signature.every((byte, index) => head[index] === byte)) return `looks like ${name}`;
  }
  const isBinary = textHead.subarray(0, 512).some((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27));
  if (isBinary)
    return `begins with the bytes ${head
      .subarray(0, 8)
      .toString('hex')
      .replace(/..(?=.)/g, '$& ')}`;
  const firstLine =
    textHead
      .toString('utf8', 0, 200)
      .split(/\r?\n/)
      .find((line) => line.trim() !== '') ?? '';
  return `begins with "${shorten(escapeControls(firstLine.trim()), 60)}"`;
}

/** An open log file. */
interface OpenLog {
  readonly reader: ByteReader;
  close(): Promise<void>;
}

/** Opens a log file for one pass up to its present size. Rejects with the system's error. */
export async function openLogFile(path: string): Promise<OpenLog> {
  // A FIFO that has taken the place of a log since it was found would keep a plain open waiting for ever. Windows has neither.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new LogError('UNREADABLE', 'it is no file any more');
    return { reader: fileByteReader(file, status.size), close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}
