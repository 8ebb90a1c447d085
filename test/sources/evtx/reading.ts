import { ByteWriter } from '../../../src/byte-writer.js';
import { writeCanonicalBody } from '../../../src/canonical.js';
import type { Reject } from '../../../src/errors.js';
import type { EventGlance, SysmonEvent } from '../../../src/event.js';
import type { FileHashes } from '../../../src/hash.js';
import type { ByteReader } from '../../../src/sources/byte-reader.js';
import { type EvtxOptions, readEvtx } from '../../../src/sources/evtx/index.js';

/** All that a log gave. */
export interface Reading {
  readonly events: readonly { readonly event: SysmonEvent; readonly hashes: FileHashes; readonly body: string }[];
  readonly other: number;
  readonly rejects: readonly Reject[];
  readonly notes: readonly string[];
  readonly blocks: number;
}

/** Hands out `bytes` as a file would. */
export function bytesReader(bytes: Buffer): ByteReader {
  let position = 0;
  return {
    read: (target) => {
      const copied = bytes.copy(target, 0, position);
      position += copied;
      return Promise.resolve(copied);
    },
  };
}

const ALL_EVENT_IDS: ReadonlySet<number> = new Set(Array.from({ length: 256 }, (_, eventId) => eventId));

/** Reads a log one way. Fails where a record writes another body than its decoded event would. */
export async function readOneWay(
  log: Buffer | ByteReader,
  options: EvtxOptions = {},
  eventIds: ReadonlySet<number> = ALL_EVENT_IDS,
): Promise<Reading> {
  const events: { event: SysmonEvent; hashes: FileHashes; body: string }[] = [];
  const rejects: Reject[] = [];
  const notes: string[] = [];
  let other = 0;
  let blocks = 0;
  const written = new ByteWriter(64);
  const expected = new ByteWriter(64);
  const receiver = {
    onEvent: (record: Parameters<Parameters<typeof readEvtx>[2]['onEvent']>[0]): void => {
      written.clear();
      expected.clear();
      const event = record.decode();
      record.writeBody(written);
      writeCanonicalBody(event, expected);
      if (!written.view().equals(expected.view())) {
        throw new Error(`body ${written.view().toString()} is not that of the event, ${expected.view().toString()}`);
      }
      checkGlance(record.glance?.() ?? event, event);
      events.push({ event, hashes: { ...record.hashes }, body: written.view().toString() });
    },
    onOther: (count: number): void => {
      other += count;
    },
    onReject: (reject: Reject): void => {
      rejects.push(reject);
    },
    onDuplicate: (): void => {
      throw new Error('EVTX holds no record in two guises');
    },
    onNote: (note: string): void => {
      notes.push(note);
    },
    onBlockEnd: (): Promise<void> => {
      blocks++;
      return Promise.resolve();
    },
  };
  await readEvtx(Buffer.isBuffer(log) ? bytesReader(log) : log, { eventIds }, receiver, options);
  return { events, other, rejects, notes, blocks };
}

/** Fails where a glance at a record shows anything else than its decoded event. */
function checkGlance(glance: EventGlance, event: SysmonEvent): void {
  const shown = (seen: EventGlance): string =>
    JSON.stringify([seen.eventId, seen.recordId, seen.channel, seen.computer, seen.timeCreated]);
  const names = [...event.data.keys(), 'NoSuchField'];
  if (shown(glance) !== shown(event) || names.some((name) => glance.data.get(name) !== event.data.get(name))) {
    throw new Error(`a glance shows another event than ${shown(event)}`);
  }
}

/** Reads a log with plans and without, and fails where that makes any difference. */
export async function readBothWays(log: Buffer, eventIds?: ReadonlySet<number>): Promise<Reading> {
  const planned = await readOneWay(log, {}, eventIds);
  const plain = await readOneWay(log, { plans: false }, eventIds);
  // Compared as text: vitest's own comparison of thousands of Maps takes seconds.
  if (asText(planned) !== asText(plain)) throw new Error(`with plans ${asText(planned)}, without ${asText(plain)}`);
  return planned;
}

function asText(reading: Reading): string {
  const events = reading.events.map(({ event, hashes, body }) => [
    body,
    hashes.sha1,
    hashes.sha256,
    hashes.md5,
    [...event.data],
  ]);
  return JSON.stringify({ ...reading, events }, null, 1);
}
