import type { ByteWriter } from '../byte-writer.js';
import type { RecordView, RowHeader } from '../event.js';
import { ENRICHED_CSV_ENDING, ENRICHED_ENDING, type EnrichedEnding } from '../log-paths.js';
import { CsvWriter, findCsvVerdict } from './csv.js';
import { ecsThreat, writeEcsBody } from './ecs.js';

/** How records are written into a file of ours, and how what is said of them is found there again. */
export interface RecordForm {
  /** As `--records` names it. */
  readonly name: string;
  /** What stands behind a log's name in that of its file. */
  readonly ending: EnrichedEnding;
  /** Whether records are rows of CSV logs, so that no other log can be written so. */
  readonly areRowsWanted: boolean;
  /** Writes the records of one log. */
  open(): RecordWriter;
  /**
   * What is said of a record, in the line of ours that it ends with; undefined where nothing is, and for any other line. Nothing that a log
   * can say is taken for it.
   */
  findVerdict(line: Buffer): WrittenVerdict | undefined;
}

/** Writes records, each as a body, its verdict's part, and an end. */
export interface RecordWriter {
  /** Follows every record. */
  readonly recordEnd: string;
  /**
   * Appends the header of the rows that come next, unless it was written before. Throws LogError UNSUPPORTED where their columns are not
   * those of the rows before, and where nothing can be added to them.
   */
  writeHeader(header: RowHeader, out: ByteWriter): void;
  /** Appends a record without anything of the verdict. */
  writeBody(record: RecordView, out: ByteWriter): void;
  /** Appends a record that gets no verdict, up to its end. */
  writeOther(record: Pick<RecordView, 'writeBody'>, out: ByteWriter): void;
  /** What stands between a body that has members and the record's end. `member` is the `virustotal` member, JSON text. */
  tail(eventId: number, member: string): string;
}

/** What a line of ours says of a file. */
export interface WrittenVerdict {
  /** The `virustotal` member, JSON text as it was given to `tail`. */
  readonly member: string;
  /** Where the verdict's part stands in the line. */
  readonly start: number;
  readonly end: number;
  /** What stands there for another member. */
  rewritten(member: string): string;
}

/** Records as they were found, or in canonical form where they were no JSON. */
export const NATIVE_FORM: RecordForm = jsonForm({
  name: 'jsonl',
  writeBody: (record, out) => record.writeBody(out),
  tail: (_eventId, member) => `,"virustotal":${member}`,
  tailStart: (_line, memberStart) => memberStart,
  eventIdOf: () => 0,
});

const THREAT_START = Buffer.from(',"threat":{"enrichments":[');

/** Records in the Elastic Common Schema; the `virustotal` member stays as the last one, since ECS has no place for all of it. */
const ECS_FORM: RecordForm = jsonForm({
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
});

/** Rows of CSV logs as they stand there, with columns added at the right. */
export const CSV_FORM: RecordForm = {
  name: 'csv',
  ending: ENRICHED_CSV_ENDING,
  areRowsWanted: true,
  open: () => new CsvWriter(),
  findVerdict: findCsvVerdict,
};

/** What `--records` may name. */
export const RECORD_FORMS: ReadonlyMap<string, RecordForm> = new Map(
  [NATIVE_FORM, ECS_FORM, CSV_FORM].map((form) => [form.name, form]),
);

const MEMBER_NAME = Buffer.from('"virustotal":{');
const CLOSING_BRACE = 0x7d;
const COMMA = 0x2c;

/** Records as JSON objects, a line each. */
function jsonForm({
  name,
  writeBody,
  tail,
  tailStart,
  eventIdOf,
}: {
  readonly name: string;
  /** Appends the record without its closing brace. */
  readonly writeBody: RecordWriter['writeBody'];
  readonly tail: RecordWriter['tail'];
  /** Where the tail begins in a line of ours whose member begins at `memberStart` (its comma). */
  readonly tailStart: (line: Buffer, memberStart: number) => number;
  /** The event's id, read back from a line of ours; only asked where the tail depends on it. */
  readonly eventIdOf: (line: Buffer) => number;
}): RecordForm {
  const writer: RecordWriter = {
    recordEnd: '}\n',
    writeHeader: () => undefined,
    writeBody,
    writeOther: (record, out) => record.writeBody(out),
    tail,
  };
  return {
    name,
    ending: ENRICHED_ENDING,
    areRowsWanted: false,
    open: () => writer,
    // The member is the last one of its line. Inside a JSON string its name would have its quotes escaped, so the last occurrence of
    // the bytes is the member itself.
    findVerdict: (line) => {
      const found = line.lastIndexOf(MEMBER_NAME);
      if (found < 1) return undefined;
      // The line ends in the member's own brace and the record's.
      const end = line.lastIndexOf(CLOSING_BRACE);
      const member = line.toString('utf8', found + MEMBER_NAME.length - 1, end);
      const rewritten = (other: string): string => tail(eventIdOf(line), other);
      // A record without any other member has no comma before this one.
      if (line[found - 1] !== COMMA)
        return { member, start: found, end, rewritten: (other) => rewritten(other).slice(1) };
      return { member, start: tailStart(line, found - 1), end, rewritten };
    },
  };
}
