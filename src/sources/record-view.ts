import { writeCanonicalBody } from '../canonical.js';
import type { RecordView, SysmonEvent } from '../event.js';
import { type FileHashes, parseHashes } from '../hash.js';

/** Sysmon's events whose hash is not that of a file: a configuration (16), and text of the clipboard (24), which is private. */
const EVENTS_WITHOUT_FILE: ReadonlySet<number> = new Set([16, 24]);

/** A decoded event as a source hands it over where the log's own bytes are not JSON. */
export function asRecordView(event: SysmonEvent): RecordView {
  return {
    eventId: event.eventId,
    hashes: fileHashesOf(event),
    writeBody: (out) => writeCanonicalBody(event, out),
    decode: () => event,
  };
}

/**
 * The digests of the file an event is about: those in `Hashes`, in event 15 in `Hash`, in Sysmon 1.x in `Hash` with its algorithm in
 * `HashType`. Empty where there is none.
 */
export function fileHashesOf(event: Pick<SysmonEvent, 'eventId' | 'data'>): FileHashes {
  if (EVENTS_WITHOUT_FILE.has(event.eventId)) return {};
  const hashes = event.data.get('Hashes');
  if (hashes !== undefined) return parseHashes(hashes);
  const hash = event.data.get('Hash');
  if (hash === undefined) return {};
  const algorithm = event.data.get('HashType');
  return parseHashes(algorithm === undefined ? hash : `${algorithm}=${hash}`);
}
