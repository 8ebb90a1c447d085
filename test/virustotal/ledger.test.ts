import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  block,
  EMPTY_LEDGER,
  type LedgerState,
  type Limits,
  ledgerAfterLoss,
  ledgerFromJson,
  MINUTE_MS,
  nextOpening,
  type Purpose,
  raise,
  spend,
  usageOf,
} from '../../src/virustotal/ledger.js';

const START = Date.UTC(2026, 2, 10, 12);
const DAY_MS = 86_400_000;
const UNLIMITED: Limits = { perMinute: Infinity, perDay: Infinity, perMonth: Infinity, reservePerDay: 0 };
const PUBLIC_KEY: Limits = { perMinute: 4, perDay: 500, perMonth: 15_500, reservePerDay: 20 };
const LEASE_MS = 1000;

/** A ledger with its clock. */
function ledgerOf(limits: Limits, startMs = START) {
  let state: LedgerState = EMPTY_LEDGER;
  return {
    nowMs: startMs,
    get state() {
      return state;
    },
    ask(purpose: Purpose = 'batch') {
      const spending = spend(state, { now: new Date(this.nowMs), limits, purpose, leaseMs: LEASE_MS });
      state = spending.state;
      return spending.decision;
    },
    block(untilMs: number) {
      state = block(state, 'day', new Date(untilMs));
    },
    /** Grants until it refuses, at one moment. */
    exhaust(purpose: Purpose = 'batch') {
      let granted = 0;
      for (;;) {
        const decision = this.ask(purpose);
        if (decision.kind !== 'granted') return { granted, refusal: decision };
        granted++;
      }
    },
    /** As a new process finds it. */
    restart() {
      const read = ledgerFromJson(JSON.parse(JSON.stringify(state)));
      if (read === undefined) throw new Error('not readable');
      state = read;
    },
  };
}

describe('the minute', () => {
  it('grants what it has and tells how long to wait', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    const { granted, refusal } = ledger.exhaust();
    expect(granted).toBe(4);
    expect(refusal).toEqual({ kind: 'wait', ms: MINUTE_MS + LEASE_MS });
    ledger.nowMs += MINUTE_MS + LEASE_MS - 1;
    expect(ledger.ask().kind).toBe('wait');
    ledger.nowMs += 1;
    expect(ledger.exhaust().granted).toBe(4);
  });

  it('slides: each request gives its place back by itself', () => {
    const ledger = ledgerOf({ ...PUBLIC_KEY, perMinute: 2 });
    ledger.ask();
    ledger.nowMs += 20_000;
    ledger.ask();
    expect(ledger.ask()).toEqual({ kind: 'wait', ms: MINUTE_MS + LEASE_MS - 20_000 });
  });

  it('counts what was spent before a restart', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    ledger.exhaust();
    ledger.restart();
    expect(ledger.ask().kind).toBe('wait');
  });

  it('counts what lies in the future after the clock was set back, and recovers in about a minute', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    ledger.exhaust();
    ledger.nowMs -= 3650 * DAY_MS;
    const first = ledger.ask();
    expect(first.kind).toBe('wait');
    ledger.nowMs += MINUTE_MS + 11_000;
    expect(ledger.exhaust().granted).toBe(4);
  });

  it('never has more than its limit in any 60 seconds, whatever the order, the restarts and a clock that is set back', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('ask' as const), delayMs: fc.nat(LEASE_MS) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.oneof(fc.nat(2_000), fc.nat(70_000)) }),
      fc.record({ kind: fc.constant('wait' as const) }),
      fc.record({
        kind: fc.constant('set back' as const),
        ms: fc.oneof(fc.nat(5_000), fc.nat(120_000), fc.nat(40 * DAY_MS)),
      }),
      fc.record({ kind: fc.constant('restart' as const) }),
    );
    const limits = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 241, max: 300 }));
    fc.assert(
      fc.property(limits, fc.array(step, { maxLength: 120 }), (perMinute, steps) => {
        const ledger = ledgerOf({ ...UNLIMITED, perMinute });
        /** Time as it really passes: it is never set back. */
        let trueMs = 0;
        const leftAtMs: number[] = [];
        for (const next of steps) {
          if (next.kind === 'restart') ledger.restart();
          if (next.kind === 'set back') ledger.nowMs -= next.ms;
          if (next.kind === 'pass') {
            ledger.nowMs += next.ms;
            trueMs += next.ms;
          }
          if (next.kind === 'wait') {
            const decision = ledger.ask();
            if (decision.kind === 'granted') leftAtMs.push(trueMs);
            if (decision.kind !== 'wait') continue;
            ledger.nowMs += decision.ms;
            trueMs += decision.ms;
          }
          // Bursts, each request leaving at some time within its lease.
          if (next.kind === 'ask') {
            for (let count = 0; count < 100 && ledger.ask().kind === 'granted'; count++)
              leftAtMs.push(trueMs + next.delayMs);
          }
        }
        leftAtMs.sort((one, other) => one - other);
        for (let index = perMinute; index < leftAtMs.length; index++) {
          const apartMs = (leftAtMs[index] ?? 0) - (leftAtMs[index - perMinute] ?? 0);
          expect(apartMs).toBeGreaterThanOrEqual(60_000);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('stays small and exact enough at 60,000 a minute', () => {
    const ledger = ledgerOf({ ...UNLIMITED, perMinute: 60_000 });
    let granted = 0;
    for (let tick = 0; tick < 700; tick++) {
      for (let count = 0; count < 100 && ledger.ask().kind === 'granted'; count++) granted++;
      ledger.nowMs += 100;
    }
    expect(granted).toBeGreaterThan(59_000);
    expect(JSON.stringify(ledger.state).length).toBeLessThan(10_000);
    ledger.restart();
  });
});

describe('the day and the month', () => {
  it('keep a reserve from the nightly job, and give all to a person', () => {
    const ledger = ledgerOf({ ...UNLIMITED, perDay: 50, reservePerDay: 20 });
    expect(ledger.exhaust('batch')).toEqual({
      granted: 30,
      refusal: { kind: 'spent', window: 'day', resumesAt: new Date('2026-03-11T00:00:00Z') },
    });
    expect(ledger.exhaust('on_demand').granted).toBe(20);
  });

  it('begin at 00:00 UTC', () => {
    const ledger = ledgerOf({ ...UNLIMITED, perDay: 3, perMonth: 5 }, Date.UTC(2026, 0, 30, 23, 59));
    expect(ledger.exhaust().granted).toBe(3);
    ledger.nowMs = Date.UTC(2026, 0, 31);
    expect(ledger.exhaust()).toEqual({
      granted: 2,
      refusal: { kind: 'spent', window: 'month', resumesAt: new Date('2026-02-01T00:00:00Z') },
    });
    ledger.nowMs = Date.UTC(2026, 1, 1);
    expect(ledger.exhaust().granted).toBe(3);
  });

  it('count a request whose lease ends after midnight for both days', () => {
    const ledger = ledgerOf({ ...UNLIMITED, perDay: 10 }, Date.UTC(2026, 2, 10) - 500);
    for (let count = 0; count < 4; count++) ledger.ask();
    ledger.nowMs += 500;
    expect(ledger.exhaust().granted).toBe(6);
  });

  it('never grant more than their limit while the clock goes back and forth about midnight', () => {
    const midnightMs = Date.UTC(2026, 2, 1);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -20 * 3600_000, max: 20 * 3600_000 }), { maxLength: 60 }), (offsets) => {
        const ledger = ledgerOf({ ...UNLIMITED, perDay: 7 });
        const perLabel = new Map<string, number>();
        let total = 0;
        for (const offsetMs of offsets) {
          ledger.nowMs = midnightMs + offsetMs;
          const { granted } = ledger.exhaust();
          const label = new Date(ledger.nowMs).toISOString().slice(0, 10);
          perLabel.set(label, (perLabel.get(label) ?? 0) + granted);
          total += granted;
        }
        for (const count of perLabel.values()) expect(count).toBeLessThanOrEqual(7);
        expect(total).toBeLessThanOrEqual(14);
      }),
    );
  });

  it('count tomorrow’s requests too after a clock that ran ahead was set back', () => {
    const ledger = ledgerOf({ ...UNLIMITED, perDay: 10 });
    for (let count = 0; count < 3; count++) ledger.ask();
    ledger.nowMs += DAY_MS;
    for (let count = 0; count < 4; count++) ledger.ask();
    ledger.nowMs -= DAY_MS;
    // 10 - 3 - 4 = 3, of which each counts for both days.
    expect(ledger.exhaust().granted).toBe(2);
    ledger.nowMs += DAY_MS;
    expect(ledger.exhaust().granted).toBe(4);
  });

  it('recover within two days from a clock that was years ahead', () => {
    const ledger = ledgerOf({ ...UNLIMITED, perDay: 5, perMonth: 100 }, Date.UTC(2099, 5, 1));
    ledger.exhaust();
    ledger.nowMs = START;
    expect(ledger.ask().kind).toBe('spent');
    ledger.restart();
    ledger.nowMs += 2 * DAY_MS;
    expect(ledger.exhaust().granted).toBe(5);
    expect(ledger.state.days.every(([label]) => label < '2027')).toBe(true);
    // What the wrong clock counted is forgotten after a month, though it may be right for all we know.
    expect(ledger.state.ahead).toBeDefined();
    ledger.nowMs += 40 * DAY_MS;
    ledger.exhaust();
    expect(ledger.state.ahead).toBeUndefined();
  });

  it('count what was spent before a clock was set back by days, and meanwhile, once it is right again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 1, max: 12 }), (daysBack, first) => {
        const ledger = ledgerOf({ ...UNLIMITED, perDay: 20, perMonth: 30 });
        for (let count = 0; count < first; count++) ledger.ask();
        ledger.nowMs -= daysBack * DAY_MS;
        const meanwhile = [1, 2, 3, 4].filter(() => ledger.ask().kind === 'granted').length;
        ledger.restart();
        ledger.nowMs += daysBack * DAY_MS;
        const { granted } = ledger.exhaust();
        expect(first + meanwhile + granted).toBeLessThanOrEqual(20);
      }),
    );
  });

  it('count what was spent before a clock was set back, too, where it is then set to another day before the right one', () => {
    const cases = fc.record({
      daysBack: fc.integer({ min: 6, max: 30 }),
      daysOn: fc.integer({ min: 4, max: 28 }),
      first: fc.integer({ min: 1, max: 12 }),
      meanwhile: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(cases, ({ daysBack, daysOn, first, meanwhile }) => {
        fc.pre(daysOn <= daysBack - 2);
        const ledger = ledgerOf({ ...UNLIMITED, perDay: 20, perMonth: 300 });
        const ask = (count: number): number =>
          Array.from({ length: count }).filter(() => ledger.ask().kind === 'granted').length;
        let granted = ask(first);
        ledger.nowMs -= daysBack * DAY_MS;
        granted += ask(meanwhile);
        ledger.restart();
        ledger.nowMs += daysOn * DAY_MS;
        granted += ledger.exhaust().granted;
        expect(granted).toBeLessThanOrEqual(20);
        // If that clock is right, no more than two days are given less than they have.
        ledger.nowMs += 2 * DAY_MS;
        if (daysOn <= daysBack - 4) expect(ledger.exhaust().granted).toBe(20);
      }),
    );
  });

  it('with no requests at all are spent, not waited for', () => {
    expect(ledgerOf({ ...UNLIMITED, perDay: 0 }).ask().kind).toBe('spent');
    expect(ledgerOf({ ...UNLIMITED, perDay: 10, reservePerDay: 10 }).ask('batch').kind).toBe('spent');
    expect(ledgerOf({ ...UNLIMITED, perDay: 10, reservePerDay: 10 }).ask('on_demand').kind).toBe('granted');
  });
});

describe('VirusTotal’s own word', () => {
  it('stops everything until then, for a person too', () => {
    const ledger = ledgerOf(UNLIMITED);
    ledger.block(START + 3600_000);
    const spent = { kind: 'spent', window: 'day', resumesAt: new Date(START + 3600_000) };
    expect(ledger.ask('on_demand')).toEqual(spent);
    ledger.block(START + 1000);
    expect(ledger.ask()).toEqual(spent);
    ledger.nowMs += 3600_000;
    expect(ledger.ask().kind).toBe('granted');
  });

  it('from a clock that was years ahead is not believed', () => {
    const ledger = ledgerOf(UNLIMITED);
    ledger.block(START + 400 * DAY_MS);
    expect(ledger.ask().kind).toBe('granted');
  });
});

describe('a stored ledger', () => {
  it('comes back as it was', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    ledger.exhaust();
    ledger.block(START + 1000);
    expect(ledgerFromJson(JSON.parse(JSON.stringify(ledger.state)))).toEqual(ledger.state);
  });

  it('is not read if anything in it is not as it should be', () => {
    const good = { minute: [[1, 1]], days: [['2026-01-01', 1]], months: [['2026-01', 1]] };
    expect(ledgerFromJson(good)).toEqual(good);
    const bad: unknown[] = [
      null,
      [],
      {},
      { ...good, minute: [[1, -1]] },
      { ...good, minute: [[1.5, 1]] },
      { ...good, minute: Array.from({ length: 2000 }, () => [1, 1]) },
      { ...good, days: [['today', 1]] },
      { ...good, days: [['2026-01', 1]] },
      { ...good, months: {} },
      { ...good, blocked: { window: 'year', untilMs: 1 } },
    ];
    for (const json of bad) expect(ledgerFromJson(json)).toBeUndefined();
  });

  it('that was lost is taken to have a full minute', () => {
    const now = new Date(START);
    const state = ledgerAfterLoss(now, PUBLIC_KEY);
    const { decision } = spend(state, { now, limits: PUBLIC_KEY, purpose: 'on_demand', leaseMs: LEASE_MS });
    expect(decision).toEqual({ kind: 'wait', ms: MINUTE_MS });
  });
});

describe('usage', () => {
  it('tells what is used; a full minute is no reason to wait for tomorrow', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    expect(usageOf(ledger.state, new Date(START), PUBLIC_KEY, 'batch')).not.toHaveProperty('resumesAt');
    ledger.exhaust();
    expect(usageOf(ledger.state, new Date(START), PUBLIC_KEY, 'batch')).toEqual({
      minute: { used: 4, limit: 4 },
      day: { used: 4, limit: 500 },
      month: { used: 4, limit: 15_500 },
    });
  });

  it('opens hours, days and months where VirusTotal does', () => {
    const now = new Date('2026-12-31T22:15:00Z');
    expect(nextOpening('hour', now)).toEqual(new Date('2026-12-31T23:00:00Z'));
    expect(nextOpening('day', now)).toEqual(new Date('2027-01-01T00:00:00Z'));
    expect(nextOpening('unknown', now)).toEqual(new Date('2027-01-01T00:00:00Z'));
    expect(nextOpening('month', new Date('2026-01-31T00:00:00Z'))).toEqual(new Date('2026-02-01T00:00:00Z'));
  });
});

describe('VirusTotal’s own count', () => {
  const now = new Date(START);
  const used = (state: LedgerState, at = now): { day: number; month: number } => {
    const { day, month } = usageOf(state, at, PUBLIC_KEY, 'batch');
    return { day: day.used, month: month.used };
  };

  it('raises ours where it is higher: the key was used elsewhere too', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    ledger.ask();
    const raised = raise(ledger.state, now, { day: 480, month: 7000 });
    expect(used(raised)).toEqual({ day: 480, month: 7000 });
    const { decision } = spend(raised, { now, limits: PUBLIC_KEY, purpose: 'batch', leaseMs: LEASE_MS });
    expect(decision).toMatchObject({ kind: 'spent', window: 'day' });
  });

  it('never lowers ours: what we have spent may not have arrived yet', () => {
    const ledger = ledgerOf(PUBLIC_KEY);
    ledger.ask();
    ledger.ask();
    expect(raise(ledger.state, now, { day: 1 })).toBe(ledger.state);
    expect(raise(ledger.state, now, {})).toBe(ledger.state);
  });

  it('is of this day and month alone', () => {
    const raised = raise(EMPTY_LEDGER, now, { day: 300, month: 300 });
    expect(used(raised, new Date(START + DAY_MS))).toEqual({ day: 0, month: 300 });
    expect(ledgerFromJson(JSON.parse(JSON.stringify(raised)))).toEqual(raised);
  });
});
