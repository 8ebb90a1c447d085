import { emptyEvidence, type FileEvidence } from '../evidence.js';
import { flagSightings, tracesOf } from '../flags.js';
import type { Judgement, Judgements } from '../judgements.js';
import { type RankedFile, type RankedFiles, Ranking } from '../ranking.js';
import type { WaitingFile, WaitingFiles } from '../sightings/waiting.js';
import type { Memory } from './memory.js';
import type { DueAnswer } from './recheck.js';

/**
 * The order in which due files are asked: the most telling first, by all that is remembered of them. Without a memory, in the order
 * they were met, without reasons. `waiting` are the files that have waited for a question since earlier runs. Leaves with every judgement the traces of its sightings.
 */
export async function chooseQuestions(
  judgements: Judgements,
  memory: Memory | undefined,
  waiting: WaitingFiles,
  now: Date,
): Promise<RankedFiles> {
  if (memory === undefined) {
    return [...judgements.all()]
      .filter(isToBeAsked)
      .map(({ hash }) => ({ hash, score: 0, reasons: [], isStriking: false }));
  }
  const ranking = new Ranking(now, judgements.files);
  const add = (judgement: Judgement, evidence: FileEvidence): void => {
    const waitingSince = waiting.get(judgement.hash)?.since;
    ranking.add({
      hash: judgement.hash,
      evidence,
      ...(waitingSince === undefined ? {} : { waitingSince }),
      // A catalogue explains away no file that shows an evidence flag.
      isKnown: judgement.isCatalogued && !isFlagged(judgement),
    });
  };
  for await (const batch of memory.evidenceOf(hashesOf(judgements, ({ state }) => state !== 'placeholder'))) {
    for (const [hash, evidence] of batch) {
      const judgement = judgements.find(hash);
      if (judgement === undefined) continue;
      judgement.traces = tracesOf(evidence);
      if (isToBeAsked(judgement)) add(judgement, evidence);
    }
  }
  const nothing = emptyEvidence();
  for (const judgement of judgements.all()) {
    if (judgement.traces === undefined && isToBeAsked(judgement)) add(judgement, nothing);
  }
  return ranking.order();
}

function isToBeAsked({ state, isWithheld }: Judgement): boolean {
  return state === 'due' && !isWithheld;
}

function isFlagged(judgement: Judgement): boolean {
  const { traces } = judgement;
  const isFlaggedBySightings = traces !== undefined && flagSightings(traces, judgement).flags.length > 0;
  return isFlaggedBySightings || judgement.member.includes('"flags":[');
}

function* hashesOf(judgements: Judgements, isMeant: (judgement: Judgement) => boolean): Generator<string> {
  for (const judgement of judgements.all()) if (isMeant(judgement)) yield judgement.hash;
}

/** So many files of earlier nights are taken into a night's choice, half of them by score and half by how long they have waited. */
const MAX_CARRIED_OVER = 10_000;

/** The score of a file that waits and was never ranked, since its run was interrupted: above all others. */
export const UNRANKED_SCORE = 1_000_000;

/** The waiting files whose turn may come: the most telling and the oldest, since rankFiles asks both, and such as are to be ranked first. */
export function carriedOver(waiting: WaitingFiles): Set<string> {
  if (waiting.size <= MAX_CARRIED_OVER) return new Set(waiting.hashes());
  const half = MAX_CARRIED_OVER / 2;
  const isRanked = ({ score }: WaitingFile): boolean => score < UNRANKED_SCORE;
  const byScore = waiting.first(half, (a, b) => b.score - a.score, isRanked);
  const byAge = waiting.first(
    half,
    (a, b) => a.since.getTime() - b.since.getTime(),
    () => true,
  );
  // A flood of them takes no place from the ranked.
  const unranked = waiting.first(
    half,
    () => 0,
    (file) => !isRanked(file),
  );
  return new Set([...byScore, ...byAge, ...unranked]);
}

/** A file's first answer tells more than another one: an old answer needs so many points of risk more to be asked for again first. */
const FIRST_ANSWER_POINTS = 40;

/** Why an old answer is asked for again, in the disclosure log. */
export const OLD_ANSWER_REASON = 'the answer on it is past its lifetime';

/** A question, and why it is asked, where there is something to tell. */
interface Question {
  readonly hash: string;
  readonly because: string | undefined;
}

/** The old answers on files that are not to be asked about anyway. */
export function notAmong(order: Iterable<RankedFile>, old: readonly DueAnswer[]): readonly DueAnswer[] {
  if (old.length === 0) return old;
  const olds = new Set(old.map(({ hash }) => hash));
  for (const { hash } of order) olds.delete(hash);
  return old.filter(({ hash }) => olds.has(hash));
}

/**
 * The order of questions where there are more than may be asked: old answers, the riskiest first, among the files that have none. A
 * risk is weighed against the score of the file whose turn it is, and never are two old answers asked for in a row, so that both go on.
 */
export function* amongFirstQuestions(
  order: Iterable<RankedFile>,
  old: readonly DueAnswer[],
): Generator<Question, undefined> {
  let next = 0;
  for (const { hash, score, reasons } of order) {
    const riskiest = old[next];
    if (riskiest !== undefined && riskiest.risk - FIRST_ANSWER_POINTS > score) {
      yield { hash: riskiest.hash, because: OLD_ANSWER_REASON };
      next++;
    }
    yield { hash, because: reasons[0]?.text };
  }
  for (const { hash } of old.slice(next)) yield { hash, because: OLD_ANSWER_REASON };
}

/** Adds to judgements what sightings, of this run and all before it, say together with the answers, and where the files ran. */
export async function flagFiles(judgements: Judgements, hashes: Iterable<string>, memory: Memory): Promise<void> {
  for await (const batch of memory.evidenceOf(hashes)) {
    for (const [hash, evidence] of batch) {
      const judgement = judgements.find(hash);
      if (judgement === undefined) continue;
      judgement.traces = tracesOf(evidence);
      judgements.flag(judgement);
      locate(judgement, evidence);
    }
  }
}

/** Adds to judgements where the files ran. */
export async function locateFiles(judgements: Judgements, hashes: Iterable<string>, memory: Memory): Promise<void> {
  for await (const batch of memory.evidenceOf(hashes)) {
    for (const [hash, evidence] of batch) {
      const judgement = judgements.find(hash);
      if (judgement !== undefined) locate(judgement, evidence);
    }
  }
}

function locate(judgement: Judgement, evidence: FileEvidence): void {
  if (judgement.image === '') judgement.image = evidence.images[0] ?? '';
  if (judgement.computer === '') judgement.computer = evidence.hostNames[0] ?? '';
}
