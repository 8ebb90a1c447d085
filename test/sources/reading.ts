import { ByteWriter } from '../../src/byte-writer.js';
import type { Reject } from '../../src/errors.js';
import {
  PROCESS_CREATION,
  type RecordReceiver,
  type RecordView,
  type SysmonEvent,
  type WantedRecords,
} from '../../src/event.js';
import type { FileHashes } from '../../src/hash.js';
import { type ByteReader, streamByteReader } from '../../src/sources/byte-reader.js';

/** All that a source said about one log. */
export interface Reading {
  readonly events: readonly SysmonEvent[];
  /** The digests of each event. */
  readonly hashes: readonly FileHashes[];
  /** Each event as it would be written, closed. */
  readonly bodies: readonly string[];
  /** All records handed over, wanted or not, in order, closed. */
  readonly handedOver: readonly string[];
  readonly others: number;
  readonly rejects: readonly Reject[];
  readonly duplicates: number;
  readonly notes: readonly string[];
}

type ReadLog = (reader: ByteReader, wanted: WantedRecords, receiver: RecordReceiver) => Promise<void>;

/** Runs a source over a log that arrives in chunks of `chunkBytes`, wanting process creations unless other ids are given. */
export async function readAll(
  read: ReadLog,
  log: string | Buffer,
  options: {
    readonly eventIds?: readonly number[];
    readonly chunkBytes?: number;
    readonly isEveryRecordWanted?: boolean;
  } = {},
): Promise<Reading> {
  const bytes = typeof log === 'string' ? Buffer.from(log) : log;
  const { eventIds = [PROCESS_CREATION], chunkBytes = 64 * 1024, isEveryRecordWanted = false } = options;
  const reading = {
    events: [] as SysmonEvent[],
    hashes: [] as FileHashes[],
    bodies: [] as string[],
    handedOver: [] as string[],
    others: 0,
    rejects: [] as Reject[],
    duplicates: 0,
    notes: [] as string[],
  };
  await read(
    streamByteReader(chunksOf(bytes, chunkBytes)),
    { eventIds: new Set(eventIds), isEveryRecordWanted },
    {
      onEvent: (record) => {
        const body = bodyOf(record);
        reading.events.push(record.decode());
        reading.hashes.push(record.hashes);
        reading.bodies.push(body);
        reading.handedOver.push(body);
      },
      onOtherRecord: (record) => {
        reading.handedOver.push(bodyOf(record));
      },
      onOther: (count) => {
        reading.others += count;
      },
      onReject: (reject) => {
        reading.rejects.push(reject);
      },
      onDuplicate: () => {
        reading.duplicates++;
      },
      onNote: (note) => {
        reading.notes.push(note);
      },
      onBlockEnd: () => Promise.resolve(),
    },
  );
  return reading;
}

function bodyOf(record: Pick<RecordView, 'writeBody'>): string {
  const out = new ByteWriter();
  record.writeBody(out);
  return `${out.view().toString('utf8')}}`;
}

async function* chunksOf(bytes: Buffer, chunkBytes: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += chunkBytes) yield bytes.subarray(start, start + chunkBytes);
}
