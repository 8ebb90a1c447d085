import type { ByteWriter } from '../byte-writer.js';
import type { RecordView } from '../event.js';
import { ecsThreat, writeEcsBody } from './ecs.js';

/** How records are written, a line each: what comes before the verdict, and the verdict's part that a refresh replaces. */
export interface RecordForm {
  /** As `--records` names it. */
  readonly name: string;
  /** Appends the record without its closing brace and without anything of the verdict. */
  writeBody(record: RecordView, out: ByteWriter): void;
  /** All that follows the body up to the closing brace, for a body that has members. `member` is the `virustotal` member, JSON text. */
  tail(eventId: number, member: string): string;
  /** Where the tail begins in a line of ours whose member begins at `memberStart` (its comma or opening brace). */
  tailStart(line: Buffer, memberStart: number): number;
  /** The event's id, read back from a line of ours; only asked where the tail depends on it. */
  eventIdOf(line: Buffer): number;
}

/** Records as they were found, or in canonical form where they were no JSON. */
export const NATIVE_FORM: RecordForm = {
  name: 'jsonl',
  writeBody: (record, out) => record.writeBody(out),
  tail: (_eventId, member) => `,"virustotal":${member}`,
  tailStart: (_line, memberStart) => memberStart,
  eventIdOf: () => 0,
};

const THREAT_START = Buffer.from(',"threat":{"enrichments":[');

/** Records in the Elastic Common Schema; the `virustotal` member stays as the last one, since ECS has no place for all of it. */
export const ECS_FORM: RecordForm = {
  name: 'ecs',
  writeBody: (record, out) => writeEcsBody(record.decode(), out),
  tail: (eventId, member) => {
    const threat = ecsThreat({ eventId }, JSON.parse(member));
    return `${threat === undefined ? '' : `,"threat":${threat}`},"virustotal":${member}`;
  },
  tailStart: (line, memberStart) => {
    const threat = line.lastIndexOf(THREAT_START, memberStart);
    return threat < 0 ? memberStart : threat;
  },
  eventIdOf: (line) => {
    const document: { winlog?: { event_id?: unknown } } = JSON.parse(line.toString('utf8'));
    return Number(document.winlog?.event_id ?? 0);
  },
};

/** What `--records` may name. */
export const RECORD_FORMS: ReadonlyMap<string, RecordForm> = new Map(
  [NATIVE_FORM, ECS_FORM].map((form) => [form.name, form]),
);
