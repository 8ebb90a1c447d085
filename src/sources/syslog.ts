import { LogError } from '../errors.js';
import type { RecordReceiver, WantedRecords } from '../event.js';
import type { ByteReader } from './byte-reader.js';
import { looksLikeCsv } from './csv.js';
import { isObject, parseJson } from './json/members.js';
import { recognise } from './json/recognise.js';
import { type LineVisitor, MAX_RECORD_BYTES, readLines } from './lines.js';
import { asRecordView } from './record-view.js';
import { handOver } from './text/hand-over.js';
import { ossec, snare } from './text/layouts.js';
import type { TextRecord } from './text/record.js';
import { looksLikeText } from './text.js';
import { XmlLog } from './xml.js';

/**
 * What syslog servers, journalctl, OSSEC, Wazuh and fluentd write in front of each record: a length (RFC 6587), a priority, a time in one of
 * their forms, and the host. Fluent Bit writes its tag and `[seconds,` instead; an alert of OSSEC's has a line of its own above it.
 */
const HEADER = new RegExp(
  `^(?:(?:\\d{1,7} )?(?:<\\d{1,3}>)?(?:1 )?(?:${[
    '[A-Z][a-z]{2} [ \\d]\\d (?:\\d{4} )?\\d\\d:\\d\\d:\\d\\d(?:\\.\\d{1,9})?(?: \\d{4})?',
    '\\d{4} [A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d',
    '(?:[A-Z][a-z]{2} )?\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d(?:[.,]\\d{1,9})?(?:Z| ?[+-]\\d\\d:?\\d\\d| UTC)?',
    '\\d{10}\\.\\d{6}',
  ].join(
    '|',
  )})[ \\t]+(?<host>\\S+)|<\\d{1,3}>\\S|[\\w.*-]{1,128}: \\[\\d{10}\\.\\d{1,9}, \\{|\\*\\* Alert \\d+\\.\\d+:)`,
);

/** Lines above the first with a header: what journalctl says first, or what is left of a line that was cut. */
const MAX_LINES_ABOVE = 2;

/** What a record begins with, behind its header: an event as XML, what OSSEC's and Snare's agents write, a JSON object. */
const MARK = new RegExp(
  '<(?:[A-Za-z_][\\w.-]{0,31}:)?Event(?:\\s[^<>]{0,400})?>\\s{0,100}<(?:[A-Za-z_][\\w.-]{0,31}:)?System[\\s>]|' +
    '(?<=\\bsysmon(?:\\[\\d{1,10}\\])?: )<Event[\\s>]|\\bWinEvtLog: |\\bMSWinEventLog(?:\\t|#011)|\\{\\s?"',
);

/** Where an event as XML ends; a line of a record that is still read may be this one's last. */
const EVENT_END = /<\/(?:[A-Za-z_][\w.-]{0,31}:)?Event>/;

/** Sysmon for Linux says when it starts and stops. */
const STATUS_LINE = /\bsysmon(?:\[\d{1,10}\])?: /;

const PROVIDER = 'Microsoft-Windows-Sysmon';

/** A header as RFC 5424 has it, with the structured data, in which NXLog sends every field, and so what others wrote. */
const STRUCTURED_HEADER =
  /^(?:\d{1,7} )?<\d{1,3}>1 \S+ (?<host>\S+) (?<tag>\S+) \S+ \S+ (?:-|(?:\[(?:[^\]"\\]|"(?:[^"\\]|\\.)*")*\])+) ?/s;

/** Longest header that is looked through: a field of NXLog's has at most 32 Ki characters. */
const MAX_HEADER_LENGTH = 128 * 1024;

/** What stands between the host and the message as RFC 3164 has it. */
const TAG = /[ \t]+(?<tag>[\w./-]{1,64})(?:\[\d{1,10}\])?: /y;

/** A rendered message alone: its title, and the first of its labels. */
const MESSAGE_START = /^[A-Z][A-Za-z ]{2,60}:\s{1,2}(?:RuleName|UtcTime):/;

/** Whether a log that starts with these bytes of UTF-8 is made of lines behind headers of syslog, OSSEC or fluentd, whatever they hold. */
export function looksLikeSyslog(head: Buffer): boolean {
  const lines = head
    .toString('utf8')
    .trimStart()
    .split('\n', MAX_LINES_ABOVE + 1);
  const first = lines.findIndex((line) => HEADER.test(line));
  if (first <= 0) return first === 0;
  // A row may start with a time, and a message may hold a line like these.
  return !looksLikeCsv(head) && !looksLikeText(Buffer.from(lines.slice(0, first).join('\n')));
}

/**
 * Reads lines behind headers, UTF-8: Sysmon for Linux, OSSEC and Wazuh archives and alerts, Snare, and JSON or messages that were sent on
 * as syslog, also where they stand among lines of other programs, which are passed over. Each record tells by itself what it is; the next
 * header ends it. Rejects with LogError NOT_A_LOG where no line holds any event, and where reading fails.
 */
export async function readSyslog(reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver): Promise<void> {
  const records = new SyslogRecords(wanted, receiver);
  await readLines(reader, records);
  records.finish();
  await receiver.onBlockEnd();
}

/** Gathers lines to records and hands the wanted ones over. */
class SyslogRecords implements LineVisitor {
  readonly #wanted: WantedRecords;
  readonly #receiver: RecordReceiver;
  readonly #events: XmlLog;
  /** The lines of the record that is being read; undefined before the first, and while one that is too large is skipped. */
  #lines: string[] | undefined;
  #length = 0;
  #offset = 0;
  #count = 0;
  /** The record is an event as XML that has not ended yet: its command line may hold lines that look like headers. */
  #isInEvent = false;
  #isSysmons = false;

  constructor(wanted: WantedRecords, receiver: RecordReceiver) {
    this.#wanted = wanted;
    this.#receiver = receiver;
    this.#events = new XmlLog(wanted, receiver);
  }

  onLine(raw: string, offset: number): void {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if ((HEADER.test(line) || snare.startOf(line, '') !== undefined) && !(this.#isInEvent && markIn(line) === null)) {
      this.#flush(false);
      this.#lines = [];
      this.#length = 0;
      this.#offset = offset;
      this.#isInEvent = line.includes('Event') && !EVENT_END.test(line) && markIn(line)?.[0].startsWith('<') === true;
    }
    if (this.#lines === undefined) return;
    this.#lines.push(line);
    if (this.#isInEvent && this.#lines.length > 1 && EVENT_END.test(line)) this.#isInEvent = false;
    this.#length += raw.length + 1;
    if (this.#length > MAX_RECORD_BYTES) this.#rejectAsTooLarge();
  }

  onTooLong(offset: number): void {
    this.#flush(false);
    this.#offset = offset;
    this.#rejectAsTooLarge();
  }

  onBlockEnd(): Promise<void> {
    return this.#receiver.onBlockEnd();
  }

  /** Hands the last record over. */
  finish(): void {
    this.#flush(true);
    this.#events.end();
    if (this.#count === 0 && !this.#isSysmons) {
      throw new LogError(
        'NOT_A_LOG',
        'lines of syslog, none of which holds an event of Windows or of Sysmon for Linux',
      );
    }
  }

  #rejectAsTooLarge(): void {
    this.#lines = undefined;
    this.#reject('TOO_LARGE', `the record is longer than ${MAX_RECORD_BYTES} bytes`);
  }

  #reject(code: 'TOO_LARGE' | 'BAD_JSON', message: string): void {
    this.#count++;
    this.#receiver.onReject({ code, message, record: String(this.#count), offset: this.#offset });
  }

  #flush(isLast: boolean): void {
    const lines = this.#lines;
    if (lines === undefined) return;
    this.#lines = undefined;
    const text = lines.join('\n');
    const { host, tag, start } = readHeader(text);
    const payload = text.slice(start);
    if (tag === PROVIDER && MESSAGE_START.test(payload)) {
      this.#hand({ provider: PROVIDER, computer: host, message: payload }, isLast);
      return;
    }
    // What a forwarder writes stands before all that others could write: the first mark counts.
    const mark = markIn(payload);
    if (mark === null) {
      if (STATUS_LINE.test(text)) this.#isSysmons = true;
    } else if (mark[0].startsWith('<')) {
      this.#count++;
      const xmlStart = start + mark.index;
      const offset = this.#offset + Buffer.byteLength(text.slice(0, xmlStart));
      this.#events.readEvents(Buffer.from(text.slice(xmlStart)), offset, true);
    } else if (mark[0].startsWith('{')) {
      this.#readJson(payload.slice(mark.index).split('\n', 1)[0] ?? '');
    } else {
      this.#hand((mark[0].startsWith('Win') ? ossec : snare).read(payload.split('\n')), isLast);
    }
  }

  #hand(record: TextRecord, isLast: boolean): void {
    this.#count++;
    const place = { record: String(this.#count), offset: this.#offset, isLast };
    handOver(record, place, this.#wanted, this.#receiver);
  }

  #readJson(line: string): void {
    const record = parseJson(line.slice(0, line.lastIndexOf('}') + 1));
    if (!isObject(record)) {
      // Other programs write what only looks like JSON.
      if (/sysmon/i.test(line)) this.#reject('BAD_JSON', 'what follows the header is no JSON, or cut');
      return;
    }
    const recognition = recognise(record);
    if (recognition === undefined) return;
    this.#count++;
    const { event } = recognition;
    if (event !== undefined && this.#wanted.eventIds.has(event.eventId)) {
      this.#receiver.onEvent(asRecordView(event.decode()));
    } else if (event !== undefined && this.#wanted.isEveryRecordWanted === true) {
      this.#receiver.onOtherRecord?.(asRecordView(event.decode()));
    } else {
      this.#receiver.onOther(1);
    }
  }
}

/** More than a time, a host and a program's tag, behind which Fluent Bit has its own time: what a program says of its own accord. */
const PROSE = /"|: +(?!\[\d)\S/;

/**
 * The first mark in a text, if no more than headers stand before it on its line: a program may log what a client sent it, and that is no event
 * of this machine.
 */
function markIn(text: string): RegExpExecArray | null {
  const mark = MARK.exec(text);
  if (mark === null) return null;
  const lineStart = text.lastIndexOf('\n', mark.index) + 1;
  return PROSE.test(text.slice(lineStart, mark.index)) ? null : mark;
}

/** Who sent a record, and where what was sent starts. */
function readHeader(text: string): {
  readonly host: string | undefined;
  readonly tag: string | undefined;
  readonly start: number;
} {
  const structured = STRUCTURED_HEADER.exec(text.slice(0, MAX_HEADER_LENGTH));
  if (structured !== null) {
    return { host: structured.groups?.['host'], tag: structured.groups?.['tag'], start: structured[0].length };
  }
  const header = HEADER.exec(text);
  TAG.lastIndex = header?.[0].length ?? 0;
  const tag = TAG.exec(text);
  const isSysmons = tag?.groups?.['tag'] === PROVIDER;
  // A mark may stand in the tag itself: `WinEvtLog: `.
  return { host: header?.groups?.['host'], tag: tag?.groups?.['tag'], start: isSysmons ? TAG.lastIndex : 0 };
}
