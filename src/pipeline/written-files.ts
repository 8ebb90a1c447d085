import { EnrichmentError } from '../errors.js';
import type { LookupKey } from '../hash.js';
import type { Judgements } from '../judgements.js';
import { inPlaceFile } from '../sinks/in-place.js';
import type { RecordForm } from '../sinks/record-form.js';
import { refreshFile } from '../sinks/refresh.js';
import { isFlagging } from './context-records.js';
import type { LogCounts } from './log-reading.js';
import type { MembersAsWritten } from './members-as-written.js';

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
  /** Whether a context was left beside it by the run that read the log; undefined where that is not known, as of a log read in this run. */
  readonly hadContext: boolean | undefined;
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
    if (counts.processCreations + counts.otherEvents === 0 || !hasChanged(members, judgements)) continue;
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

function hasChanged(members: MembersAsWritten, judgements: Judgements): boolean {
  if (!members.isWhole) return true;
  for (const [number, mark] of members.all()) if (judgements.at(number).memberMark !== mark) return true;
  return false;
}

/** Whether a file of ours holds a process that some engine detects. */
export function isFlagged({ members }: WrittenFile, judgements: Judgements): boolean {
  if (!members.isWhole) {
    for (const { verdict } of judgements.all()) if (isFlagging(verdict)) return true;
  }
  for (const [number] of members.all()) if (isFlagging(judgements.at(number).verdict)) return true;
  return false;
}
