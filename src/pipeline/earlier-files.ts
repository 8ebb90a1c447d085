import { access } from 'node:fs/promises';
import { EnrichmentError, messageOf, StorageError, systemCodeOf } from '../errors.js';
import type { Judgements } from '../judgements.js';
import { contextPathOf } from '../log-paths.js';
import { inPlaceFile } from '../sinks/in-place.js';
import { RECORD_FORMS, type RecordForm } from '../sinks/record-form.js';
import { type MemberFor, readMembers, refreshFile, type WrittenMember } from '../sinks/refresh.js';
import type { ContainerLimits } from '../sources/index.js';
import { isFlagging, removeContext, writeContext } from './context-records.js';
import type { EarlierFile, LogStates } from './log-states.js';

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

/** What refreshing enriched files of earlier runs rests on. */
interface RefreshSetup {
  readonly states: LogStates;
  readonly judgements: Judgements;
  readonly limits: ContainerLimits;
  /** Absolute paths of enriched files that hold all there is to know already. */
  readonly upToDate?: ReadonlySet<string>;
}

/**
 * Refreshes all enriched files of earlier runs that hold one of these files, from its judgement, and before each its context, so that a kill
 * in between leaves the file to be refreshed and the context to be written once more. The logs are not needed, but where what happened
 * around a process is to be told that was not flagged before. Files that are gone are passed over. Trouble with one file is reported;
 * rejects with StorageError where what was done cannot be remembered.
 */
export async function refreshEarlierFiles(
  { changed, answered }: News,
  setup: RefreshSetup,
  observer: EarlierFilesObserver,
): Promise<void> {
  const hashes = new Set([...answered, ...changed]);
  if (hashes.size === 0) return;
  const { states, judgements, upToDate = new Set() } = setup;
  const memberFor: MemberFor = ({ hash }, written) => {
    const isNews = changed.has(hash) || (answered.has(hash) && isWaitingForAnswer(written));
    return isNews ? judgements.find(hash)?.member : undefined;
  };
  for (const file of states.holders(hashes)) {
    const { enrichedPath, logPath } = file;
    const form = RECORD_FORMS.get(file.form);
    if (form === undefined || upToDate.has(enrichedPath) || !(await exists(enrichedPath))) continue;
    try {
      const found = await membersToBe(enrichedPath, form, memberFor);
      if (!found.hasNews) continue;
      const hasContext = await refreshContext(file, form, memberFor, found, setup, observer);
      const output = logPath === enrichedPath ? await inPlaceFile(logPath, 'is kept') : undefined;
      if (!(await refreshFile(enrichedPath, memberFor, form, output))) continue;
      observer.onRefreshed(enrichedPath);
      await states.noteRefreshed(enrichedPath, hasContext);
    } catch (error) {
      if (!(error instanceof EnrichmentError)) throw error;
      observer.onError(enrichedPath, error);
    }
  }
  await states.save();
}

/** What a file's members come to when it is refreshed. */
interface MembersToBe {
  /** Some member is to be another. */
  readonly hasNews: boolean;
  /** Some file is flagged then. */
  readonly isFlagged: boolean;
  /** Some file is flagged then of which there is news. */
  readonly isNewsFlagged: boolean;
}

async function membersToBe(path: string, form: RecordForm, memberFor: MemberFor): Promise<MembersToBe> {
  let hasNews = false;
  let isFlagged = false;
  let isNewsFlagged = false;
  await readMembers(path, form, (member, key, written) => {
    if (key === undefined) return;
    const other = memberFor(key, written);
    const isNews = other !== undefined && other !== member;
    if (isNews) hasNews = true;
    if (!isFlagging(isNews ? verdictIn(other) : written.verdict)) return;
    isFlagged = true;
    if (isNews) isNewsFlagged = true;
  });
  return { hasNews, isFlagged, isNewsFlagged };
}

/** As `contextFor`; its trouble is told and costs the context, nothing else. Returns undefined then. */
async function refreshContext(...about: Parameters<typeof contextFor>): Promise<boolean | undefined> {
  const [{ enrichedPath, logPath }, , , , , observer] = about;
  try {
    return await contextFor(...about);
  } catch (error) {
    if (error instanceof StorageError) observer.onError(contextPathOf(enrichedPath), error);
    // As with any log: that it cannot be read again is no failure.
    else if (error instanceof EnrichmentError || systemCodeOf(error) !== undefined)
      observer.onNote(logPath, `no context could be written: ${messageOf(error)}`);
    else throw error;
    return undefined;
  }
}

/** Makes the context of a file what its members, as they are to be, say of its processes. Returns whether there is one then. */
async function contextFor(
  { enrichedPath, logPath }: EarlierFile,
  form: RecordForm,
  memberFor: MemberFor,
  { isFlagged, isNewsFlagged }: MembersToBe,
  { states, limits }: RefreshSetup,
  observer: EarlierFilesObserver,
): Promise<boolean> {
  if (!isFlagged) {
    await removeContext(enrichedPath);
    return false;
  }
  if (!(await states.isLogUnchanged(enrichedPath))) {
    const contextPath = contextPathOf(enrichedPath);
    const hasContext = await exists(contextPath);
    if (hasContext) await refreshFile(contextPath, memberFor);
    if (isNewsFlagged) {
      observer.onNote(logPath, 'the log is gone or has changed: what happened around is not written');
    }
    return hasContext;
  }
  // What stands in the enriched file and no more: of other files the cache may know more by now, which is not for the context to tell.
  const said = new Map<string, { readonly verdict: unknown; readonly member: string }>();
  await readMembers(enrichedPath, form, (member, key, written) => {
    if (key === undefined || said.has(key.hash)) return;
    const other = memberFor(key, written);
    said.set(key.hash, other === undefined ? { verdict: written.verdict, member } : saidBy(other));
  });
  const records = await writeContext({ path: logPath, enrichedPath }, (hash) => said.get(hash), limits);
  observer.onContext(enrichedPath, records);
  return records > 0;
}

function saidBy(member: string): { readonly verdict: unknown; readonly member: string } {
  return { verdict: verdictIn(member), member };
}

/** The verdict that a member of this program's says. */
function verdictIn(member: string): unknown {
  const { verdict }: WrittenMember = JSON.parse(member);
  return verdict;
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
