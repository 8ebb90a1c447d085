import { describe, expect, it } from 'vitest';
import { StorageError } from '../../src/errors.js';
import type { Lookup } from '../../src/lookup.js';
import type { Limits } from '../../src/virustotal/ledger.js';
import type { Attempt, OverallQuotas } from '../../src/virustotal/response.js';
import { createQuestioner, type Outcome } from '../../src/virustotal/schedule.js';
import { answer, fakeClient, fakeDesk, hashOf, lookupOf, START_MS, UNLIMITED, virtualClock } from './fakes.js';

interface Situation {
  readonly attempt?: (hash: string, number: number) => Attempt | Promise<Attempt>;
  readonly limits?: Limits;
  readonly quotas?: OverallQuotas;
  readonly concurrency?: number;
  readonly cache?: Map<string, Lookup>;
  readonly onAnswer?: (lookup: Lookup) => Promise<void>;
}

async function situation({
  attempt = answer,
  limits = UNLIMITED,
  quotas,
  concurrency = 4,
  cache = new Map<string, Lookup>(),
  onAnswer,
}: Situation = {}) {
  const clock = virtualClock();
  const desk = fakeDesk(clock, limits);
  const client = fakeClient(clock, attempt, quotas);
  const interrupt = new AbortController();
  const questioner = await createQuestioner({
    client,
    desk,
    clock,
    concurrency,
    signal: interrupt.signal,
    freshAnswer: async (hash) => cache.get(hash),
    onAnswer:
      onAnswer ??
      (async (lookup) => {
        cache.set(lookup.askedHash, lookup);
      }),
  });
  async function lookUpAll(count: number) {
    const outcomes = new Map<string, Outcome>();
    const hashes = Array.from({ length: count }, (_, index) => hashOf(index));
    await questioner.lookUpAll(hashes, (hash, outcome) => {
      expect(outcomes.has(hash)).toBe(false);
      outcomes.set(hash, outcome);
    });
    expect(outcomes.size).toBe(count);
    return [...outcomes.values()];
  }
  return { clock, desk, client, cache, interrupt, questioner, lookUpAll };
}

function reasons(outcomes: readonly Outcome[]): string[] {
  return outcomes.map((outcome) => (outcome.kind === 'answered' ? 'answered' : outcome.reason));
}

const TRANSIENT: Attempt = { kind: 'transient', why: 'HTTP 503' };

describe('asking', () => {
  it('keeps to the minute, and gets every answer', async () => {
    const { client, lookUpAll } = await situation({ limits: { ...UNLIMITED, perMinute: 4 } });
    expect(new Set(reasons(await lookUpAll(10)))).toEqual(new Set(['answered']));
    const times = client.asked.map(({ afterMs }) => afterMs);
    for (let index = 4; index < times.length; index++) {
      expect((times[index] ?? 0) - (times[index - 4] ?? 0)).toBeGreaterThanOrEqual(60_250);
    }
    expect(times.at(-1)).toBeLessThan(130_000);
  });

  it('asks in the given order and never for two of the same file', async () => {
    const { client, questioner } = await situation({ concurrency: 1 });
    const hashes = [3, 1, 2, 1, 3].map(hashOf);
    await questioner.lookUpAll(hashes, () => undefined);
    expect(client.asked.map(({ hash }) => hash)).toEqual([3, 1, 2].map(hashOf));
  });

  it('asks once about a file that records name by different digests', async () => {
    const files = [1, 2, 3].map((number) => ({
      sha1: hashOf(number),
      sha256: hashOf(number).padStart(64, 'a'),
      md5: hashOf(number).slice(8),
    }));
    const cache = new Map<string, Lookup>();
    const { client, questioner } = await situation({
      attempt: async (hash) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        const file = files.find(({ sha1, sha256, md5 }) => [sha1, sha256, md5].includes(hash));
        return { kind: 'answer', lookup: { ...lookupOf(hash), ...(file === undefined ? {} : { hashes: file }) } };
      },
      cache,
      onAnswer: async (lookup) => {
        for (const digest of Object.values(lookup.hashes)) cache.set(digest, lookup);
      },
    });
    const outcomes: Outcome[] = [];
    // As the ranking has them: the same evidence, so side by side.
    const hashes = files.flatMap(({ sha1, sha256, md5 }) => [sha1, sha256, md5]);
    await questioner.lookUpAll(hashes, (_hash, outcome) => void outcomes.push(outcome));
    expect(new Set(reasons(outcomes))).toEqual(new Set(['answered']));
    expect(outcomes).toHaveLength(9);
    expect(client.asked).toHaveLength(3);
  });

  it('asks once for two who ask at the same time', async () => {
    const { client, questioner } = await situation({
      attempt: async (hash) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return answer(hash);
      },
    });
    const together = await Promise.all([questioner.lookUp(hashOf(9)), questioner.lookUp(hashOf(9))]);
    expect(reasons(together)).toEqual(['answered', 'answered']);
    expect(client.asked).toHaveLength(1);
  });

  it('has no more under way than allowed, and takes no more hashes than it can ask', async () => {
    let running = 0;
    let most = 0;
    let taken = 0;
    let ahead = 0;
    let asked = 0;
    const { questioner } = await situation({
      concurrency: 3,
      attempt: async (hash) => {
        asked++;
        running++;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 20));
        running--;
        return answer(hash);
      },
    });
    async function* endless() {
      for (; taken < 60; taken++) {
        ahead = Math.max(ahead, taken - asked);
        yield hashOf(taken);
      }
    }
    await questioner.lookUpAll(endless(), () => undefined);
    expect(most).toBe(3);
    expect(ahead).toBeLessThanOrEqual(5);
    expect(asked).toBe(60);
  });

  it('lets a single question overtake the list', async () => {
    const { client, questioner } = await situation({
      concurrency: 1,
      attempt: async (hash) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return answer(hash);
      },
    });
    const list = questioner.lookUpAll([0, 1, 2, 3, 4, 5].map(hashOf), () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 3));
    await questioner.lookUp(hashOf(99));
    expect(client.asked.length).toBeLessThanOrEqual(3);
    await list;
    expect(client.asked).toHaveLength(7);
  });

  it('gives the claim back and tells of the answer only when it is durable', async () => {
    const events: string[] = [];
    const { questioner, desk } = await situation({
      onAnswer: async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        events.push(`durable, claimed: ${desk.claimed.size}`);
      },
    });
    await questioner.lookUp(hashOf(1));
    events.push(`told, claimed: ${desk.claimed.size}`);
    expect(events).toEqual(['durable, claimed: 1', 'told, claimed: 0']);
  });

  it('ends with the error of a cache that cannot be written, and keeps no claim', async () => {
    const { questioner, desk } = await situation({
      onAnswer: async () => {
        throw new StorageError('CACHE', 'the disk is full');
      },
    });
    await expect(questioner.lookUpAll([1, 2, 3].map(hashOf), () => undefined)).rejects.toThrow('the disk is full');
    expect(desk.claimed.size).toBe(0);
  });
});

describe('a failure that may pass', () => {
  it('is tried three times with growing pauses, each attempt paid for', async () => {
    const { client, lookUpAll, desk } = await situation({ attempt: () => TRANSIENT });
    const [outcome] = await lookUpAll(1);
    expect(outcome).toEqual({ kind: 'unanswered', reason: 'error', detail: 'HTTP 503, 3 attempts' });
    expect(client.asked.map(({ afterMs }) => afterMs)).toEqual([0, 2_000, 12_000]);
    expect((await desk.usage()).day.used).toBe(3);
    expect(desk.claimed.size).toBe(0);
  });

  it('is over with the first answer', async () => {
    const { client, lookUpAll } = await situation({
      attempt: (hash, number) => (number < 3 ? TRANSIENT : answer(hash)),
    });
    expect(reasons(await lookUpAll(1))).toEqual(['answered']);
    expect(client.asked).toHaveLength(3);
  });

  it('waits as long as the server asks for, if that is bearable', async () => {
    const timesWith = async (retryAfterMs: number) => {
      const { client, lookUpAll } = await situation({ attempt: () => ({ ...TRANSIENT, retryAfterMs }) });
      await lookUpAll(1);
      return client.asked.map(({ afterMs }) => afterMs);
    };
    expect(await timesWith(30_000)).toEqual([0, 30_000, 60_000]);
    expect(await timesWith(3_600_000)).toEqual([0]);
  });

  it('of five questions in a row ends the asking', async () => {
    const { client, lookUpAll, questioner } = await situation({ attempt: () => TRANSIENT, concurrency: 1 });
    expect(new Set(reasons(await lookUpAll(50)))).toEqual(new Set(['error']));
    expect(questioner.failure?.code).toBe('SERVICE_DOWN');
    expect(client.asked).toHaveLength(15);
  });

  it('of single questions among good ones does not, and is told', async () => {
    const { lookUpAll, questioner } = await situation({
      attempt: (hash) =>
        Number.parseInt(hash, 16) % 3 === 0 ? { kind: 'bad_answer', why: 'another file' } : answer(hash),
      concurrency: 1,
    });
    expect(reasons(await lookUpAll(30)).filter((reason) => reason === 'error')).toHaveLength(10);
    expect(questioner.failure).toMatchObject({
      code: 'BAD_ANSWER',
      isFinal: false,
      message: 'VirusTotal: 10 questions came to nothing, the first: another file; run again later [BAD_ANSWER]',
    });
  });
});

describe('fewer failures than make an outage', () => {
  const bad: Attempt = { kind: 'bad_answer', why: 'an answer about another file' };
  const refused: Attempt = { kind: 'bad_request', status: 400, message: 'no' };

  it.each<[string, Attempt, number, string, string]>([
    ['one outage', TRANSIENT, 1, 'SERVICE_DOWN', 'one question came to nothing: HTTP 503, 3 attempts; run again'],
    ['four', TRANSIENT, 4, 'SERVICE_DOWN', '4 questions came to nothing, the first: HTTP 503, 3 attempts'],
    ['the wrong file', bad, 2, 'BAD_ANSWER', 'the first: an answer about another file; run again later [BAD_ANSWER]'],
    ['no taken question', refused, 1, 'REQUEST_REFUSED', 'came to nothing: HTTP 400, no; run again'],
  ])('are no success: %s', async (_, attempt, count, code, text) => {
    const { lookUpAll, questioner } = await situation({ attempt: () => attempt });
    expect(new Set(reasons(await lookUpAll(count)))).toEqual(new Set(['error']));
    expect(questioner.failure?.code).toBe(code);
    expect(questioner.failure?.message).toContain(text);
  });

  it('are none after answers, and in a single question, either', async () => {
    const { lookUpAll, questioner } = await situation({
      attempt: (hash, number) => (number <= 3 ? answer(hash) : bad),
      concurrency: 1,
    });
    await lookUpAll(3);
    expect(questioner.failure).toBeUndefined();
    await questioner.lookUp(hashOf(9));
    expect(questioner.failure?.code).toBe('BAD_ANSWER');
  });

  it.each([1, 2, 3, 4])('come to the same wherever the bad answer comes: as number %i', async (place) => {
    const { lookUpAll, questioner } = await situation({
      attempt: (hash, number) => (number === place ? bad : answer(hash)),
      concurrency: 1,
    });
    await lookUpAll(4);
    expect(questioner.failure?.message).toBe(
      'VirusTotal: one question came to nothing: an answer about another file; run again later [BAD_ANSWER]',
    );
  });

  it('are over with an answer on the same file, or with another list; until then asking goes on', async () => {
    const { client, questioner } = await situation({ attempt: (hash, number) => (number === 1 ? bad : answer(hash)) });
    await questioner.lookUp(hashOf(0));
    expect(questioner.failure).toBeDefined();
    expect((await questioner.lookUp(hashOf(1))).kind).toBe('answered');
    expect(questioner.failure).toBeDefined();
    expect((await questioner.lookUp(hashOf(0))).kind).toBe('answered');
    expect(questioner.failure).toBeUndefined();
    expect(client.asked).toHaveLength(3);
  });

  it('are not told again of the next list', async () => {
    const { lookUpAll, questioner } = await situation({
      attempt: (hash, number) => (number === 1 ? bad : answer(hash)),
    });
    await lookUpAll(1);
    expect(questioner.failure).toBeDefined();
    await questioner.lookUpAll([hashOf(7)], () => undefined);
    expect(questioner.failure).toBeUndefined();
  });
});

describe('an answer that is none', () => {
  it('is not asked for again, and told with its code', async () => {
    const { client, lookUpAll, cache } = await situation({
      attempt: () => ({ kind: 'bad_answer', why: 'an answer about another file' }),
    });
    expect(await lookUpAll(1)).toEqual([
      { kind: 'unanswered', reason: 'error', detail: 'an answer about another file [BAD_ANSWER]' },
    ]);
    expect(client.asked).toHaveLength(1);
    expect(cache.size).toBe(0);
  });
});

describe('a refused key', () => {
  it('ends the asking at once', async () => {
    const refused: Attempt = { kind: 'refused', status: 401, code: 'WrongCredentialsError', message: 'Wrong API key' };
    const { client, lookUpAll, questioner } = await situation({ attempt: () => refused });
    const outcomes = await lookUpAll(50);
    expect(new Set(reasons(outcomes))).toEqual(new Set(['error']));
    expect(client.asked.length).toBeLessThanOrEqual(4);
    expect(questioner.failure?.code).toBe('KEY_REFUSED');
    expect(questioner.failure?.message).toContain('Wrong API key; check VT_API_KEY');
  });

  it('wakes those who wait for the minute', async () => {
    const { clock, lookUpAll } = await situation({
      limits: { ...UNLIMITED, perMinute: 1 },
      attempt: async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return { kind: 'refused', status: 403, message: 'no' };
      },
    });
    await lookUpAll(4);
    expect(clock.nowMs - START_MS).toBeLessThan(60_000);
  });
});

describe('a 429', () => {
  const throttled: Attempt = { kind: 'throttled' };

  /** The first four requests are under way together, and all come back with a 429. */
  function burst(then: (hash: string, number: number) => Attempt | Promise<Attempt>) {
    let release: () => void = () => undefined;
    const together = new Promise<void>((resolve) => {
      release = resolve;
    });
    return async (hash: string, number: number): Promise<Attempt> => {
      if (number === 4) release();
      if (number > 4) return then(hash, number);
      await together;
      return throttled;
    };
  }

  it('is waited for, by all, and one asks before the others', async () => {
    let underWay = 0;
    const { client, lookUpAll } = await situation({
      attempt: burst(async (hash, number) => {
        underWay++;
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (number <= 6) expect(underWay).toBe(1);
        underWay--;
        return number === 5 ? throttled : answer(hash);
      }),
    });
    expect(new Set(reasons(await lookUpAll(8)))).toEqual(new Set(['answered']));
    expect(client.asked.map(({ afterMs }) => afterMs).slice(0, 6)).toEqual([0, 0, 0, 0, 60_000, 120_000]);
    expect(client.quotaQuestions()).toBe(0);
  });

  it('is waited for as long as the server says', async () => {
    const { client, lookUpAll } = await situation({
      attempt: (hash, number) => (number === 1 ? { ...throttled, retryAfterMs: 5_000 } : answer(hash)),
    });
    await lookUpAll(1);
    expect(client.asked.map(({ afterMs }) => afterMs)).toEqual([0, 5_000]);
  });

  it.each<[string, OverallQuotas | undefined, string]>([
    ['the day is spent', { daily: { allowed: 500, used: 500 } }, '2026-03-11T00:00:00.000Z'],
    [
      'the month is spent',
      { daily: { allowed: 9, used: 9 }, monthly: { allowed: 1, used: 1 } },
      '2026-04-01T00:00:00.000Z',
    ],
    ['the hour is spent', { hourly: { allowed: 240, used: 240 } }, '2026-03-10T13:00:00.000Z'],
    ['nobody can tell', undefined, '2026-03-11T00:00:00.000Z'],
  ])('that stays is a spent quota: %s', async (_, quotas, resumesAt) => {
    const { client, lookUpAll, questioner, desk } = await situation({
      attempt: burst(() => throttled),
      ...(quotas && { quotas }),
    });
    const outcomes = await lookUpAll(100);
    expect(new Set(reasons(outcomes))).toEqual(new Set(['quota']));
    expect(
      outcomes.every((outcome) => outcome.kind === 'unanswered' && outcome.resumesAt?.toISOString() === resumesAt),
    ).toBe(true);
    // The first four were under way together; then one alone, twice.
    expect(client.asked).toHaveLength(6);
    expect(client.quotaQuestions()).toBe(1);
    expect(questioner.failure).toBeUndefined();
    expect((await desk.usage()).resumesAt?.toISOString()).toBe(resumesAt);
  });

  it('with a pause that nobody waits for is a spent quota at once', async () => {
    const { client, lookUpAll } = await situation({
      attempt: () => ({ ...throttled, retryAfterMs: 3_600_000 }),
      concurrency: 1,
    });
    const outcomes = await lookUpAll(5);
    expect(outcomes.at(-1)).toMatchObject({ reason: 'quota', resumesAt: new Date(START_MS + 3_600_000) });
    expect(client.asked).toHaveLength(1);
  });
});

describe('a quota that our own count shows as spent', () => {
  it('is not tried, and the rest is told until when', async () => {
    const { client, lookUpAll } = await situation({ limits: { ...UNLIMITED, perDay: 5, reservePerDay: 2 } });
    const outcomes = await lookUpAll(1000);
    expect(reasons(outcomes).filter((reason) => reason === 'answered')).toHaveLength(3);
    expect(outcomes.at(-1)).toEqual({
      kind: 'unanswered',
      reason: 'quota',
      detail: 'the quota of the day is spent until 2026-03-11T00:00:00.000Z',
      resumesAt: new Date('2026-03-11T00:00:00Z'),
    });
    expect(client.asked).toHaveLength(3);
  });

  it('is there again the next day', async () => {
    const { clock, lookUpAll, questioner } = await situation({ limits: { ...UNLIMITED, perDay: 2 } });
    expect(reasons(await lookUpAll(3))).toEqual(['answered', 'answered', 'quota']);
    clock.nowMs = Date.UTC(2026, 2, 11);
    expect((await questioner.lookUp(hashOf(50))).kind).toBe('answered');
  });
});

describe('an interruption', () => {
  it('finishes what is under way and asks nothing more', async () => {
    const finish: (() => void)[] = [];
    const { client, interrupt, lookUpAll, cache } = await situation({
      concurrency: 2,
      attempt: async (hash) => {
        await new Promise<void>((resolve) => finish.push(resolve));
        return answer(hash);
      },
    });
    const all = lookUpAll(10);
    while (finish.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    interrupt.abort();
    for (const resolve of finish) resolve();
    expect(reasons(await all).sort()).toEqual(['answered', 'answered', ...Array(8).fill('interrupted')]);
    expect(client.asked).toHaveLength(2);
    expect(cache.size).toBe(2);
  });

  it('ends every wait', async () => {
    const { interrupt, lookUpAll, clock } = await situation({
      limits: { ...UNLIMITED, perMinute: 1 },
      attempt: async (hash) => {
        interrupt.abort();
        return answer(hash);
      },
    });
    expect(reasons(await lookUpAll(5)).sort()).toEqual(['answered', ...Array(4).fill('interrupted')]);
    expect(clock.nowMs - START_MS).toBeLessThan(60_000);
  });
});

describe('a file that another process is asking about', () => {
  it('is waited for and answered from the cache', async () => {
    const { clock, client, desk, cache, lookUpAll } = await situation();
    desk.claimedByOthers.add(hashOf(0));
    void clock.sleep(20_000).then(() => {
      cache.set(hashOf(0), lookupOf(hashOf(0)));
      desk.claimedByOthers.clear();
    });
    expect(await lookUpAll(1)).toEqual([{ kind: 'answered', lookup: lookupOf(hashOf(0)), isOurs: false }]);
    expect(client.asked).toEqual([]);
  });

  it('is asked here once the other one has died', async () => {
    const { clock, client, desk, lookUpAll } = await situation();
    desk.claimedByOthers.add(hashOf(0));
    void clock.sleep(3_000).then(() => desk.claimedByOthers.clear());
    expect(await lookUpAll(1)).toMatchObject([{ kind: 'answered', isOurs: true }]);
    expect(client.asked).toHaveLength(1);
  });

  it('is not waited for without end', async () => {
    const { client, desk, lookUpAll } = await situation();
    desk.claimedByOthers.add(hashOf(0));
    expect(reasons(await lookUpAll(1))).toEqual(['error']);
    expect(client.asked).toEqual([]);
  }, 60_000);
});
