import { parentPort, workerData } from 'node:worker_threads';
import { ByteWriter } from '../../src/byte-writer.js';
import { EnrichmentError } from '../../src/errors.js';
import { HASH_BEARING_EVENTS, type RecordReceiver, type RowHeader, type WantedRecords } from '../../src/event.js';
import { CSV_FORM, type RecordWriter } from '../../src/sinks/record-form.js';
import type { ByteReader } from '../../src/sources/byte-reader.js';
import { DEFAULT_LIMITS, readLog } from '../../src/sources/index.js';
import { seeded } from '../torture/random.js';
import { mutate, type SoundLog, soundLogs } from './logs.js';

// The worker of run.ts: reads mutants one after another and tells of each. It is watched from outside, since it may hang.

/** What came of one mutant. */
export interface MutantReading {
  readonly seed: number;
  readonly name: string;
  readonly byteCount: number;
  /** Of the processor, so that other work on the machine does not count. */
  readonly ms: number;
  readonly records: number;
  readonly rejects: number;
  /** How it ended: `read`, the code of an error of ours, or what is wrong. */
  readonly end: string;
  readonly violation?: string;
}

/** Bytes per second below which a mutant counts as slow, and what every mutant may take whatever its size. */
const MIN_BYTES_PER_SECOND = 400_000;
const MIN_MS = 3000;
/** A packed log may hold a thousand lines of rubbish for each of its own bytes; each is told, and none may take long. */
const MS_PER_REJECT = 0.025;

const LIMITS = { ...DEFAULT_LIMITS, maxInflatedBytes: 64 * 1024 * 1024 };

async function readMutant(seed: number, logs: readonly SoundLog[]): Promise<MutantReading> {
  const random = seeded(seed);
  const { name, bytes } = mutate(random, logs);
  const wanted: WantedRecords = {
    eventIds: new Set(random.chance(0.5) ? [1] : HASH_BEARING_EVENTS),
    isEveryRecordWanted: random.chance(0.3),
    isEveryByteWanted: random.chance(0.15),
    areRowsWanted: /csv/i.test(name) && random.chance(0.5),
  };
  const receiver = new CheckingReceiver(wanted.areRowsWanted ?? false);
  const startedAt = process.cpuUsage();
  let inflated = bytes.length;
  let end = 'read';
  let violation: string | undefined;
  try {
    await readLog(bytesReader(bytes), { wanted, limits: LIMITS, filePath: undefined }, receiver, (_member, error) => {
      end = error.code;
    });
    inflated = Math.max(inflated, receiver.bytes);
    if (wanted.isEveryByteWanted && end === 'read') violation = receiver.differenceFrom(bytes);
  } catch (error) {
    if (error instanceof EnrichmentError) end = error.code;
    else violation = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  const { user, system } = process.cpuUsage(startedAt);
  const ms = (user + system) / 1000;
  violation ??= receiver.violation;
  const { records, rejects } = receiver;
  if (ms > MIN_MS + (inflated / MIN_BYTES_PER_SECOND) * 1000 + rejects * MS_PER_REJECT) {
    violation ??= `${Math.round(ms)} ms for ${inflated} bytes and ${rejects} rejects`;
  }
  const told = { seed, name, byteCount: bytes.length, ms, records, rejects, end };
  return violation === undefined ? told : { ...told, violation };
}

/** What is said of every row. */
const MEMBER = JSON.stringify({ verdict: 'unchecked', reason: 'waiting', lookup_key: 'md5', md5: '0'.repeat(32) });

/**
 * Takes records as the pipeline does and checks that each is one JSON object on one line without a verdict, or a row in whose last line the
 * verdict that is added to it, and no other, is found.
 */
class CheckingReceiver implements RecordReceiver {
  records = 0;
  rejects = 0;
  bytes = 0;
  violation: string | undefined;
  readonly #out = new ByteWriter();
  readonly #passages: Buffer[] = [];
  readonly #rows: RecordWriter | undefined;

  constructor(areRowsWanted: boolean) {
    this.#rows = areRowsWanted ? CSV_FORM.open() : undefined;
  }

  onHeader(header: RowHeader): void {
    this.#out.clear();
    this.#rows?.writeHeader(header, this.#out);
  }

  onEvent(record: Parameters<RecordReceiver['onEvent']>[0]): void {
    record.decode();
    for (const hash of Object.values(record.hashes)) {
      if (!/^[0-9a-f]{32,64}$/.test(hash ?? '')) this.violation ??= `hash ${hash}`;
    }
    if (this.#rows === undefined) this.onOtherRecord(record);
    else this.#checkRow(record, this.#rows);
  }

  #checkRow(record: Parameters<RecordReceiver['onEvent']>[0], rows: RecordWriter): void {
    this.records++;
    this.#out.clear();
    rows.writeBody(record, this.#out);
    this.bytes += this.#out.length;
    this.#out.text(rows.tail(1, MEMBER) + rows.recordEnd);
    const lines = this.#out
      .view()
      .toString('latin1')
      .split(/(?<=\n)/);
    const found = lines.map((line) => CSV_FORM.findVerdict(Buffer.from(line, 'latin1'))?.member);
    if (found.pop() !== MEMBER) this.violation ??= 'a row whose verdict is not found';
    if (found.some((member) => member !== undefined)) this.violation ??= 'a row with a verdict in its middle';
  }

  onOtherRecord(record: Pick<Parameters<RecordReceiver['onEvent']>[0], 'writeBody'>): void {
    if (this.#rows !== undefined) return;
    this.records++;
    this.#out.clear();
    record.writeBody(this.#out);
    const body = this.#out.view();
    this.bytes += body.length;
    this.#passages.push(Buffer.from(body));
    const text = `${body.toString('utf8')}}`;
    if (/[\r\n]/.test(text)) this.violation ??= 'a record of several lines';
    try {
      if (Object.hasOwn(JSON.parse(text), 'virustotal')) this.violation ??= 'a record with a verdict of its own';
    } catch (error) {
      this.violation ??= `a record that is no JSON: ${String(error)}`;
    }
  }

  onPassage(bytes: Buffer): void {
    this.#passages.push(Buffer.from(bytes));
  }

  onOther(): void {}

  onReject(): void {
    this.rejects++;
  }

  onDuplicate(): void {}

  onNote(): void {}

  onBlockEnd(): Promise<void> {
    return Promise.resolve();
  }

  /** What is wrong with a log that was put together again: it may lack closing braces, and verdicts it had before, and no more. */
  differenceFrom(log: Buffer): string | undefined {
    const together = Buffer.concat(this.#passages).length;
    if (this.records > 0 || together === log.length) return undefined;
    return `${together} of ${log.length} bytes are left`;
  }
}

function bytesReader(bytes: Buffer): ByteReader {
  let position = 0;
  return {
    read: async (target) => {
      const copied = bytes.copy(target, 0, position);
      position += copied;
      return copied;
    },
  };
}

const { firstSeed, samples, isSingle } = workerData as { firstSeed: number; samples?: string; isSingle: boolean };
const logs = soundLogs(samples);
for (let seed = firstSeed; seed === firstSeed || !isSingle; seed++) {
  parentPort?.postMessage(seed);
  parentPort?.postMessage(await readMutant(seed, logs));
}
