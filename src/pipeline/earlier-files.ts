import { access } from 'node:fs/promises';
import { EnrichmentError, messageOf, systemCodeOf } from '../errors.js';
import type { LookupKey } from '../hash.js';
import type { Judgements } from '../judgements.js';
import { inPlaceFile } from '../sinks/in-place.js';
import { RECORD_FORMS, type RecordForm } from '../sinks/record-form.js';
import { readMembers, refreshFile, type WrittenMember } from '../sinks/refresh.js';
import type { ContainerLimits } from '../sources/index.js';
import { flagFiles } from './choosing.js';
import { writeContext } from './context-records.js';
import type { EarlierFile, LogStates } from './log-states.js';
import type { Memory } from './memory.js';

/** Who hears of enriched files of earlier runs. */
export interface EarlierFilesObserver {
  onRefreshed(path: string): void;
  onContext(path: string, records: number): void;
  onNote(logName: string, note: string): void;
  onError(path: string, error: EnrichmentError): void;
}

/** Files of which more is known than when their records were written, by digests of theirs. */
export interface News {
  /** VirusTotal says something else of them: every record of theirs is to say it. */
  readonly changed: ReadonlySet<string>;
  /**
   * An answer came for which records were waiting: those without one, and those marked stale, are to have it. Others say the same but for
   * its time; on that account alone years of enriched files would be written anew with every answer on a file that runs every day.
   */
  readonly answered: ReadonlySet<string>;
}

/**
 * Refreshes all enriched files of earlier runs that hold one of these files, from its judgement; the logs are not needed, but where a
 * log is still as it was, the context of processes that are flagged now is written. Files that are gone are passed over.
 * Trouble with one file is reported; rejects with StorageError where what was done cannot be remembered.
 */
export async function refreshEarlierFiles(
  { changed, answered }: News,
  setup: {
    readonly states: LogStates;
    readonly judgements: Judgements;
    readonly memory: Memory;
    readonly limits: ContainerLimits;
    /** Absolute paths of enriched files that hold all there is to know already. */
    readonly upToDate?: ReadonlySet<string>;
  },
  observer: EarlierFilesObserver,
): Promise<void> {
  const hashes = new Set([...answered, ...changed]);
  if (hashes.size === 0) return;
  const { states, judgements, upToDate = new Set() } = setup;
  const isFlagged = [...hashes].some((hash) => {
    const verdict = judgements.find(hash)?.verdict;
    return verdict === 'malicious' || verdict === 'suspicious';
  });
  const memberFor = ({ hash }: LookupKey, written: WrittenMember): string | undefined => {
    const isNews = changed.has(hash) || (answered.has(hash) && isWaitingForAnswer(written));
    return isNews ? judgements.find(hash)?.member : undefined;
  };
  for (const file of states.holders(hashes)) {
    const { enrichedPath, logPath } = file;
    const form = RECORD_FORMS.get(file.form);
    if (form === undefined || upToDate.has(enrichedPath) || !(await exists(enrichedPath))) continue;
    try {
      const output = logPath === enrichedPath ? await inPlaceFile(logPath, 'is kept') : undefined;
      // Asked before the file is written, which may be the log itself.
      const isLogThere = isFlagged && (await states.isLogUnchanged(enrichedPath));
      if (!(await refreshFile(enrichedPath, memberFor, form, output))) continue;
      observer.onRefreshed(enrichedPath);
      await states.noteRefreshed(enrichedPath);
      if (isLogThere) await writeEarlierContext(file, form, setup, observer);
      else if (isFlagged)
        observer.onNote(logPath, 'the log is gone or has changed: what happened around is not written');
    } catch (error) {
      if (!(error instanceof EnrichmentError)) throw error;
      observer.onError(enrichedPath, error);
    }
  }
  await states.save();
}

async function writeEarlierContext(
  { enrichedPath, logPath }: EarlierFile,
  form: RecordForm,
  {
    judgements,
    memory,
    limits,
  }: { readonly judgements: Judgements; readonly memory: Memory; readonly limits: ContainerLimits },
  observer: EarlierFilesObserver,
): Promise<void> {
  // The context is that of all flagged processes of the log, whose other files were not asked about in this run.
  const others: string[] = [];
  await readMembers(enrichedPath, form, (_member, key) => {
    if (key === undefined || judgements.find(key.hash) !== undefined) return;
    judgements.of(key);
    others.push(key.hash);
  });
  await judgements.resolve();
  await flagFiles(judgements, others, memory);
  try {
    observer.onContext(enrichedPath, await writeContext({ path: logPath, enrichedPath }, judgements, limits));
  } catch (error) {
    // As with any log: that it cannot be read again is told and costs the context, nothing else.
    if (!(error instanceof EnrichmentError) && systemCodeOf(error) === undefined) throw error;
    observer.onNote(logPath, `no context could be written: ${messageOf(error)}`);
  }
}

function isWaitingForAnswer({ verdict, stale }: WrittenMember): boolean {
  return verdict === 'unchecked' || stale === true;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
