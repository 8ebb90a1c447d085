import type { RecordReceiver, WantedRecords } from '../event.js';
import type { ByteReader } from './byte-reader.js';
import { type LineVisitor, MAX_RECORD_BYTES, readLines } from './lines.js';
import { handOver } from './text/hand-over.js';
import { findLayout, type TextLayout } from './text/layouts.js';

/** How a line of XML or JSON starts; a priority of syslog (`<14>`), a prompt (`[PC]: PS C:\>`) or a heading (`[section]`) is neither. */
const MARKUP = /^\s*(?:<[A-Za-z?!/]|\{|\[\s*(?:$|[{["\]]))/;

/**
 * Whether a log that starts with these bytes of UTF-8 is text `readText` can read: a record in one of its layouts starts in it, before
 * anything that looks like XML or JSON.
 */
export function looksLikeText(head: Buffer): boolean {
  let previous = '';
  for (const line of head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)) {
    if (MARKUP.test(line)) return false;
    if (findLayout(line, previous) !== undefined) return true;
    previous = line;
  }
  return false;
}

/**
 * Reads the text of event viewers and forwarders, UTF-8: Event Viewer's details, `wevtutil /f:text`, PowerShell's Format-List, bare
 * messages and sysmonLogView, Splunk's raw events, OSSEC archives, Snare. The first line that starts a record in one of these layouts
 * decides for the whole log; what stands before it is ignored. Rejects where reading fails.
 */
export async function readText(reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver): Promise<void> {
  const records = new TextRecords(wanted, receiver);
  await readLines(reader, records);
  records.finish();
  await receiver.onBlockEnd();
}

/** Gathers lines to records and hands the wanted ones over. */
class TextRecords implements LineVisitor {
  readonly #wanted: WantedRecords;
  readonly #receiver: RecordReceiver;
  #layout: TextLayout | undefined;
  /** The lines of the record that is being read; undefined before the first, and while one that is too large is skipped. */
  #lines: string[] | undefined;
  #length = 0;
  #offset = 0;
  #count = 0;
  #previous = '';
  #previousOffset = 0;

  constructor(wanted: WantedRecords, receiver: RecordReceiver) {
    this.#wanted = wanted;
    this.#receiver = receiver;
  }

  onLine(raw: string, offset: number): void {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    this.#layout ??= findLayout(line, this.#previous);
    const start = this.#layout?.startOf(line, this.#previous);
    if (start !== undefined) {
      if (start === 'previous') this.#lines?.pop();
      this.#flush(false);
      this.#begin(start === 'previous' ? this.#previousOffset : offset);
    }
    this.#previous = line;
    this.#previousOffset = offset;
    if (this.#lines === undefined) return;
    this.#lines.push(line);
    this.#length += raw.length + 1;
    if (this.#length > MAX_RECORD_BYTES) this.#rejectAsTooLarge();
  }

  onTooLong(offset: number): void {
    this.#previous = '';
    if (this.#lines === undefined || this.#layout?.isLinePerRecord === true) {
      this.#flush(false);
      this.#begin(offset);
    }
    this.#rejectAsTooLarge();
  }

  onBlockEnd(): Promise<void> {
    return this.#receiver.onBlockEnd();
  }

  /** Hands the last record over. */
  finish(): void {
    this.#flush(true);
  }

  #begin(offset: number): void {
    this.#lines = [];
    this.#length = 0;
    this.#offset = offset;
    this.#count++;
  }

  #rejectAsTooLarge(): void {
    this.#lines = undefined;
    this.#receiver.onReject({
      code: 'TOO_LARGE',
      message: `the record is longer than ${MAX_RECORD_BYTES} bytes`,
      record: String(this.#count),
      offset: this.#offset,
    });
  }

  #flush(isLast: boolean): void {
    if (this.#layout === undefined || this.#lines === undefined) return;
    const record = this.#layout.read(this.#lines);
    this.#lines = undefined;
    handOver(record, { record: String(this.#count), offset: this.#offset, isLast }, this.#wanted, this.#receiver);
  }
}
