import { EnrichmentError } from '../errors.js';
import type { LookupKey } from '../hash.js';
import type { Judgements } from '../judgements.js';
import { inPlaceFile } from '../sinks/in-place.js';
import type { RecordForm } from '../sinks/record-form.js';
import { refreshFile } from '../sinks/refresh.js';
import type { LogCounts, MembersAsWritten } from './log-reading.js';

/** A log's enriched file, as this run wrote it or found it. */
export interface WrittenFile {
  readonly logName: string;
  /** Where the log lies; undefined for standard input. */
  readonly logPath: string | undefined;
  readonly enrichedPath: string;
  readonly counts: LogCounts;
  readonly members: MembersAsWritten;
  /** Hashes in it that a rule forbids asking about. */
  readonly withheld: ReadonlySet<string>;
}

/** Step 4: rewrites the files that hold a record whose verdict has changed since it was written. Trouble with one is reported. */
export async function refreshAll(
  files: readonly WrittenFile[],
  judgements: Judgements,
  form: RecordForm,
  onRefreshed: (path: string) => void,
  onError: (path: string, error: EnrichmentError) => void,
): Promise<void> {
  for (const { logPath, enrichedPath, members, counts } of files) {
    if (counts.processCreations + counts.otherEvents === 0 || !hasChanged(members)) continue;
    try {
      const output = logPath === enrichedPath ? await inPlaceFile(logPath, 'is kept') : undefined;
      const memberFor = (key: LookupKey): string | undefined => judgements.find(key.hash)?.member;
      if (await refreshFile(enrichedPath, memberFor, form, output)) onRefreshed(enrichedPath);
    } catch (error) {
      if (!(error instanceof EnrichmentError)) throw error;
      onError(enrichedPath, error);
    }
  }
}

function hasChanged(members: MembersAsWritten): boolean {
  if (members === undefined) return true;
  for (const [judgement, mark] of members) if (judgement.memberMark !== mark) return true;
  return false;
}

/** Whether a file of ours holds a process that some engine detects. */
export function isFlagged({ members }: WrittenFile, judgements: Judgements): boolean {
  const held = members === undefined ? judgements.all() : members.keys();
  for (const { verdict } of held) if (verdict === 'malicious' || verdict === 'suspicious') return true;
  return false;
}
