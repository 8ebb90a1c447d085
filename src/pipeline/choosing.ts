import { emptyEvidence, type FileEvidence } from '../evidence.js';
import type { Judgement, Judgements } from '../judgements.js';
import { type RankedFile, Ranking } from '../ranking.js';
import type { SightingStore, WaitingFile } from '../sightings/index.js';
import type { Memory } from './memory.js';

/**
 * The order in which due files are asked: the most telling first, by all that is remembered of them. Without a memory, in the order
 * they were met, without reasons.
 */
export async function chooseQuestions(
  due: readonly Judgement[],
  memory: Memory | undefined,
  sightings: SightingStore | undefined,
  now: Date,
): Promise<RankedFile[]> {
  if (memory === undefined || sightings === undefined) {
    return due.map(({ key }) => ({ hash: key.hash, score: 0, reasons: [], isStriking: false }));
  }
  const waiting = await sightings.waiting();
  const byHash = new Map(due.map((judgement) => [judgement.key.hash, judgement]));
  const ranking = new Ranking(now);
  // Twice through the store: the evidence of a first night's files would fill the memory.
  for await (const batch of memory.evidenceOf([...byHash.keys()])) {
    for (const evidence of batch.values()) ranking.add(evidence);
  }
  const score = (hash: string, evidence: FileEvidence): void => {
    const judgement = byHash.get(hash);
    if (judgement === undefined) return;
    const waitingSince = waiting.get(hash)?.since;
    ranking.score({
      hash,
      evidence,
      ...(waitingSince === undefined ? {} : { waitingSince }),
      // A catalogue explains away no file that shows an evidence flag.
      isKnown: judgement.isCatalogued && !judgement.member.includes('"flags":['),
    });
    byHash.delete(hash);
  };
  for await (const batch of memory.evidenceOf([...byHash.keys()])) {
    for (const [hash, evidence] of batch) score(hash, evidence);
  }
  for (const hash of byHash.keys()) score(hash, emptyEvidence());
  return ranking.order();
}

/** So many files of earlier nights are taken into a night's choice, half of them by score and half by how long they have waited. */
const MAX_CARRIED_OVER = 10_000;

/** The waiting files whose turn may come: the most telling and the oldest, since rankFiles asks both. */
export function carriedOver(waiting: ReadonlyMap<string, WaitingFile>): Set<string> {
  const files = [...waiting];
  if (files.length <= MAX_CARRIED_OVER) return new Set(waiting.keys());
  const half = MAX_CARRIED_OVER / 2;
  const byScore = files.toSorted(([, a], [, b]) => b.score - a.score).slice(0, half);
  const byAge = files.toSorted(([, a], [, b]) => a.since.getTime() - b.since.getTime()).slice(0, half);
  return new Set([...byScore, ...byAge].map(([hash]) => hash));
}

/** Adds to all judgements what sightings, of this run and all before it, say together with the answers. */
export function flagAll(judgements: Judgements, memory: Memory): Promise<void> {
  const hashes = [...judgements.all()].filter(({ state }) => state !== 'placeholder').map(({ key }) => key.hash);
  return flagFiles(judgements, hashes, memory);
}

/** The same for some files; once for each, since flags are added to those there are. */
export async function flagFiles(judgements: Judgements, hashes: readonly string[], memory: Memory): Promise<void> {
  for await (const batch of memory.evidenceOf(hashes)) {
    for (const [hash, evidence] of batch) {
      const judgement = judgements.find(hash);
      if (judgement === undefined) continue;
      judgements.flag(judgement, evidence);
      // A log that was not read again told nothing of where the file ran.
      if (judgement.image === '') judgement.image = evidence.images[0] ?? '';
      if (judgement.computer === '') judgement.computer = evidence.hostNames[0] ?? '';
    }
  }
}
