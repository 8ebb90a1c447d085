import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AnswerCache } from '../src/cache/answer-cache.js';
import { openMemoryCache } from '../src/cache/memory.js';
import type { LookupKey } from '../src/hash.js';
import { type Judgement, Judgements, type MemberMark } from '../src/judgements.js';
import type { Lookup } from '../src/lookup.js';
import { MembersAsWritten } from '../src/pipeline/members-as-written.js';
import { REASONS, unansweredMember, type VerdictName } from '../src/verdict.js';
import { foundLookup } from './fakes/lookups.js';

const NOW = new Date('2026-03-04T06:00:00Z');
const DAY_MS = 86_400_000;
const KEY: LookupKey = { algorithm: 'sha1', hash: '66728a632c7cd5b5d22bc7fc91fb3158505d3844' };
const hashOf = (number: number): string => number.toString(16).padStart(40, '0');
const answer = (detections: number, hash = KEY.hash): Lookup => foundLookup(hash, detections, 70, NOW, {});

function judgementsOver(cache: AnswerCache): Judgements {
  return new Judgements({
    cache,
    thresholds: { maliciousAt: 5, suspiciousAt: 1, trustedEngines: new Set() },
    lifetimes: {
      notFoundMs: DAY_MS,
      pendingMs: DAY_MS,
      foundNewMs: DAY_MS,
      foundRecentMs: 7 * DAY_MS,
      foundMs: 30 * DAY_MS,
    },
    now: NOW,
    knownGood: undefined,
    knownBad: undefined,
    unaskedReason: 'waiting',
  });
}

describe('a judgement', () => {
  it('is of one file, whoever looks at it', async () => {
    const judgements = judgementsOver(openMemoryCache());
    const first = judgements.of(KEY);
    first.records++;
    first.computer = 'ws-1';
    expect(judgements.of(KEY)).toMatchObject({ number: first.number, records: 1, computer: 'ws-1', state: 'new' });
    expect(judgements.find(KEY.hash)?.number).toBe(first.number);
    expect(judgements.find(hashOf(1))).toBeUndefined();
    await judgements.resolve();
    expect(first.state).toBe('due');
    expect(first.member).toBe(unansweredMember(KEY, 'waiting'));
  });

  it('keeps the files apart', async () => {
    const cache = openMemoryCache();
    const counts = [0, 2, 40];
    for (const [number, detections] of counts.entries()) await cache.put(answer(detections, hashOf(number + 1)));
    const judgements = judgementsOver(cache);
    for (let number = 1; number <= 5_000; number++)
      judgements.of({ algorithm: 'sha1', hash: hashOf(number) }).records += number;
    await judgements.resolve();
    const verdicts = (numbers: readonly number[]): (VerdictName | undefined)[] =>
      numbers.map((number) => judgements.find(hashOf(number))?.verdict);
    expect(verdicts([1, 2, 3, 4, 5_000])).toEqual(['undetected', 'suspicious', 'malicious', 'unchecked', 'unchecked']);
    expect([...judgements.all()].map(({ hash, records }) => [hash, records])).toEqual(
      Array.from({ length: 5_000 }, (_, number) => [hashOf(number + 1), number + 1]),
    );
  });

  it('gives back the traces of its sightings and the facts of its answer', () => {
    const judgement = judgementsOver(openMemoryCache()).of(KEY);
    expect(judgement.traces).toBeUndefined();
    expect(judgement.firstSubmission).toBeUndefined();
    for (const traces of [
      { firstSeenMs: undefined, isRare: true, ranRenamed: false },
      { firstSeenMs: 0, isRare: false, ranRenamed: true },
      undefined,
    ]) {
      judgement.traces = traces;
      expect(judgement.traces).toEqual(traces);
    }
    judgement.setAnswerFacts({ isUnknownToVirusTotal: true, firstSubmission: new Date(0) });
    expect([judgement.isUnknownToVirusTotal, judgement.firstSubmission]).toEqual([true, new Date(0)]);
    judgement.isWithheld = true;
    judgement.isCatalogued = true;
    judgement.isWithheld = false;
    expect([judgement.isWithheld, judgement.isCatalogued, judgement.isUnknownToVirusTotal]).toEqual([
      false,
      true,
      true,
    ]);
  });
});

describe('the mark of a member', () => {
  type Step = (judgements: Judgements, judgement: Judgement) => void;
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.constantFrom(0, 2, 40).map(
      (detections): Step =>
        (judgements, judgement) =>
          judgements.settle(judgement, answer(detections), true),
    ),
    fc.constantFrom('quota' as const, 'limit' as const).map(
      (reason): Step =>
        (judgements, judgement) =>
          judgements.leaveUnanswered(judgement, reason),
    ),
    fc.constant<Step>((judgements, judgement) => {
      judgement.traces = { firstSeenMs: undefined, isRare: true, ranRenamed: true };
      judgements.flag(judgement);
    }),
  );
  /** Members that a record may have had: those without an answer, and those that steps come to. */
  const memberAfter = (steps: readonly Step[]): string => {
    const judgements = judgementsOver(openMemoryCache());
    const judgement = judgements.of(KEY);
    for (const step of steps) step(judgements, judgement);
    return judgement.member;
  };
  const found = fc.oneof(
    fc.constantFrom(...REASONS).map((reason) => unansweredMember(KEY, reason)),
    fc.array(step, { maxLength: 3 }).map(memberAfter),
    fc.constantFrom('{}', '{"verdict":"unchecked","reason":"offline"}', '{"verdict":"malicious"}'),
  );

  it('is that of the judgement as long as the member is, and no longer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(found, { maxLength: 3 }),
        fc.constantFrom(undefined, 0, 40),
        fc.array(step, { maxLength: 5 }),
        async (members, cached, steps) => {
          const cache = openMemoryCache();
          if (cached !== undefined) await cache.put(answer(cached));
          const judgements = judgementsOver(cache);
          const judgement = judgements.of(KEY);
          const marks: (readonly [member: string, mark: MemberMark, isFirst: boolean])[] = [];
          for (const [place, member] of members.entries()) {
            marks.push([member, judgement.markOf(member), place === 0]);
            await judgements.resolve();
          }
          await judgements.resolve();
          for (const step of steps) {
            step(judgements, judgement);
            marks.push([judgement.member, judgement.memberMark, false]);
          }
          for (const [member, mark, isFirst] of marks) {
            if (mark === judgement.memberMark) expect(judgement.member).toBe(member);
            // A night that changes nothing must see that for what the records of unchanged logs say.
            if (isFirst && judgement.member === member) expect(mark).toBe(judgement.memberMark);
          }
        },
      ),
    );
  });
});

describe('the members of an enriched file', () => {
  it('are kept once for each file, whatever their number', async () => {
    const judgements = judgementsOver(openMemoryCache());
    const all = Array.from({ length: 3_000 }, (_, number) =>
      judgements.of({ algorithm: 'sha1', hash: hashOf(number + 1) }),
    );
    await judgements.resolve();
    const members = new MembersAsWritten();
    const odd = all.filter(({ number }) => number % 2 === 1);
    for (const judgement of odd) members.add(judgement, judgement.memberMark);
    for (const judgement of all) expect(members.has(judgement)).toBe(judgement.number % 2 === 1);
    expect([...members.finished().all()]).toEqual(odd.map(({ number, memberMark }) => [number, memberMark]));
    expect(members.isWhole).toBe(true);
  });

  it('are none once there are too many, which is told', () => {
    const judgements = judgementsOver(openMemoryCache());
    const members = new MembersAsWritten();
    for (let number = 1; number <= 250_001; number++) {
      const judgement = judgements.of({ algorithm: 'sha1', hash: hashOf(number) });
      if (!members.has(judgement)) members.add(judgement, judgement.memberMark);
    }
    expect(members.has(judgements.of({ algorithm: 'sha1', hash: hashOf(250_002) }))).toBe(true);
    expect(members.finished().isWhole).toBe(false);
    expect([...members.all()]).toEqual([]);
  });
});
