import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChangeLog, describeChange, type NewlyMalicious, openChangeLog } from '../src/changes.js';
import { addSighting, emptyEvidence, type FileEvidence } from '../src/evidence.js';
import type { Lookup } from '../src/lookup.js';
import { foundLookup } from './fakes/lookups.js';

const HASH = '66728a632c7cd5b5d22bc7fc91fb3158505d3844';
const FIRST_DAY = Date.parse('2026-03-03T02:00:00Z');
const thresholds = { maliciousAt: 5, suspiciousAt: 1, trustedEngines: new Set<string>() };

let folder: string;
let reports: string[];
let malicious: NewlyMalicious[];
let noLonger: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-changes-'));
  reports = [];
  malicious = [];
  noLonger = [];
});
afterEach(() => rm(folder, { recursive: true }));

function open(): ChangeLog {
  return openChangeLog({
    folder,
    thresholds,
    sightingsOf: async (digests) => (digests.includes(HASH) ? seen() : undefined),
    watcher: {
      onNewlyMalicious: async (file) => {
        malicious.push(file);
      },
      onNoLongerMalicious: async (hash) => {
        noLonger.push(hash);
      },
    },
    onReport: (report) => reports.push(report),
  });
}

function seen(): FileEvidence {
  const evidence = emptyEvidence();
  for (const [number, computer] of ['ws-1', 'ws-2', 'ws-3', 'ws-1', 'ws-2'].entries()) {
    const data = new Map([
      ['UtcTime', `2026-03-0${number + 1} 04:22:01.123`],
      ['Image', 'C:\\Temp\\a.exe'],
    ]);
    const about = { provider: undefined, channel: undefined, timeCreated: undefined };
    addSighting(evidence, { eventId: 1, recordId: String(number), computer, data, ...about }, 'night.evtx');
  }
  return evidence;
}

/** The answer on the day with this number: so many of 70 engines detect the file, or VirusTotal does not know it. */
function answer(day: number, detections: number | 'not_found'): Lookup {
  const askedAt = new Date(FIRST_DAY + day * 86_400_000);
  if (detections !== 'not_found') return foundLookup(HASH, detections, 70, askedAt);
  return { status: 'not_found', askedHash: HASH, askedAt, httpStatus: 404, hashes: { sha1: HASH } };
}

/** One answer a day, each noted by a run of its own. */
async function answerDaily(...detections: (number | 'not_found')[]): Promise<string[]> {
  for (const [day, count] of detections.entries()) {
    const before = day === 0 ? undefined : answer(day - 1, detections[day - 1] ?? 0);
    await open().note(before, answer(day, count));
  }
  return (await open().history()).map(({ before, after }) => `${before.verdict} to ${after.verdict}`);
}

describe('a changed verdict', () => {
  it('is recorded with before, after and all sightings, and told in one line', async () => {
    await answerDaily(0, 23);
    const [change] = await open().history();
    expect(change).toMatchObject({
      hash: HASH,
      before: { verdict: 'undetected', detections: 0, engines: 70, askedAt: new Date(FIRST_DAY) },
      after: { verdict: 'malicious', detections: 23, engines: 70 },
      seen: { records: 5, hosts: 3, hostNames: ['ws-1', 'ws-2', 'ws-3'], logs: ['night.evtx'] },
    });
    expect(change === undefined ? '' : describeChange(change)).toBe(
      'was 0/70 on 2026-03-03, 23/70 now; ran on 3 hosts, 5 times, first at 2026-03-01 04:22 UTC',
    );
  });

  it('is nothing where the verdict stays, however the counts move', async () => {
    expect(await answerDaily(7, 40, 12)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('counts at once where more than one engine has changed its mind, or VirusTotal has come to know the file', async () => {
    expect(await answerDaily(0, 2)).toEqual(['undetected to suspicious']);
    expect(await answerDaily('not_found', 0)).toContain('unknown to undetected');
  });

  it('names both alerts and their end', async () => {
    await answerDaily(0, 9, 0);
    expect(malicious).toMatchObject([{ hash: HASH, before: { detections: 0 }, after: { detections: 9 } }]);
    expect(noLonger).toEqual([HASH]);
  });

  it('is told, not recorded, where the first answer is malicious already', async () => {
    expect(await answerDaily(9)).toEqual([]);
    expect(malicious).toMatchObject([{ hash: HASH, sha256: HASH.padEnd(64, '0'), after: { detections: 9 } }]);
    expect(malicious[0]).not.toHaveProperty('before');
  });

  it('is recorded once where a run was killed before the answer was in the cache', async () => {
    await open().note(answer(0, 0), answer(1, 9));
    await open().note(answer(0, 0), answer(1, 9));
    expect(await open().history()).toHaveLength(1);
    expect(malicious).toHaveLength(2);
  });

  it('survives damage to what was recorded, which is set aside and said', async () => {
    await answerDaily(0, 9);
    await writeFile(join(folder, 'changes.json'), '{"changes":[{}]');
    expect(await open().history()).toEqual([]);
    expect(reports).toEqual([expect.stringContaining('changes.json.corrupt-')]);
  });
});

describe('one engine', () => {
  it.each([
    [[0, 1, 0], []],
    [[0, 1, 0, 1, 0, 1], []],
    [[5, 4, 5], []],
    [[4, 5, 4, 5], []],
    [[4, 5, 4, 5, 5, 4, 5, 5, 5], []],
    [[0, 1, 1], ['undetected to suspicious']],
    [[0, 1, 0, 1, 1, 1], ['undetected to suspicious']],
    [[0, 1, 0, 7], ['undetected to malicious']],
    [[4, 5, 5], ['suspicious to malicious']],
    [[4, 5, 6], ['suspicious to malicious']],
    [[0, 1, 2], ['undetected to suspicious']],
    [[5, 4, 3], ['malicious to suspicious']],
  ])('answers %j: recorded %j', async (detections, expected) => {
    expect(await answerDaily(...detections)).toEqual(expected);
  });

  it('is not confirmed by the same answer noted twice', async () => {
    await open().note(answer(0, 4), answer(1, 5));
    await open().note(answer(0, 4), answer(1, 5));
    expect(await open().history()).toEqual([]);
    expect(malicious).toEqual([]);
  });

  it('raises no alarm while it flaps, and one when the verdict has changed', async () => {
    await answerDaily(4, 5, 4, 5, 5, 5);
    expect(malicious).toHaveLength(1);
    expect(malicious[0]?.before).toMatchObject({ verdict: 'suspicious', detections: 4 });
  });
});
