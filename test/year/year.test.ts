import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { liveThrough, type YearFigures } from './year.js';

// Short, small years with the proportions of the large ones, whose figures stand in docs/ranking.md (test/year/run.ts).

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-year-'));
});
afterEach(() => rm(folder, { recursive: true }));

function expectWithinLimits(figures: YearFigures, perDay: number): void {
  expect(figures.refused).toBe(0);
  expect(figures.mostIn60s).toBeLessThanOrEqual(4);
  expect(figures.mostInADay).toBeLessThanOrEqual(perDay);
  expect(figures.mostInAMonth).toBeLessThanOrEqual(perDay * 31);
}

describe('a year', () => {
  it('whose questions fit into the quota: every changed verdict is found in time, nothing waits, flaps hardly alarm', async () => {
    const figures = await liveThrough({
      nights: 100,
      newFilesPerNight: 4,
      limits: { perMinute: 4, perDay: 200, perMonth: 6200, reservePerDay: 8 },
      recheckFirst: 0,
      seed: 11,
      folder,
    });
    expectWithinLimits(figures, 192);
    expect(figures).toMatchObject({ stillWaiting: 0, waitMaxNights: 0 });
    // An engine that errs twice in a row, by chance, is believed.
    expect(figures.flapsSeen).toBeGreaterThan(10);
    expect(figures.falseAlarms).toBeLessThanOrEqual(figures.flapsSeen / 10);
    expect(figures.turned).toBeGreaterThan(2);
    expect(figures.turnedFoundInTime).toBe(figures.turned);
  }, 120_000);

  it('with twice as many new files as questions: within every limit, the bad ones first, the patient ones after all', async () => {
    const figures = await liveThrough({
      nights: 60,
      newFilesPerNight: 20,
      limits: { perMinute: 4, perDay: 10, perMonth: 310, reservePerDay: 0 },
      recheckFirst: 2,
      seed: 12,
      folder,
    });
    expectWithinLimits(figures, 10);
    expect(figures.requests).toBe(600);
    expect(figures.firstAnswers + figures.stillWaiting).toBe(figures.files);
    expect(figures.badAskedFirstNight / figures.bad).toBeGreaterThan(0.7);
    // The oldest get a fifth of the questions, so a harmless file of the first nights has had its turn.
    expect(figures.waitMaxNights).toBeGreaterThan(7);
    expect(figures.longestStillWaitingNights).toBeLessThan(60);
  }, 120_000);
});
