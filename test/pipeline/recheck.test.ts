import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { addSighting, emptyEvidence, type FileEvidence } from '../../src/evidence.js';
import type { Lookup } from '../../src/lookup.js';
import { RISK_POINTS, riskOf } from '../../src/pipeline/recheck.js';
import { foundLookup } from '../fakes/lookups.js';

const HASH = '66728a632c7cd5b5d22bc7fc91fb3158505d3844';
const DAY_MS = 86_400_000;
const NOW = new Date('2026-06-01T02:00:00Z');

const ago = (days: number): Date => new Date(NOW.getTime() - days * DAY_MS);

/** An answer about a file that VirusTotal has known for years, so many days after its lifetime of 30 days has ended. */
const answered = (detections: number, overdueDays = 0): Lookup =>
  foundLookup(HASH, detections, 70, ago(30 + overdueDays), { firstSubmission: new Date('2020-01-01') });

function ranLast(daysAgo: number, image = 'C:\\Program Files\\Contoso\\a.exe'): FileEvidence {
  const evidence = emptyEvidence();
  const data = new Map([
    ['UtcTime', ago(daysAgo).toISOString().replace('T', ' ').replace('Z', '')],
    ['Image', image],
  ]);
  const about = { provider: undefined, channel: undefined, timeCreated: undefined };
  addSighting(evidence, { eventId: 1, recordId: '1', computer: 'ws-1', data, ...about }, 'night.evtx');
  return evidence;
}

function risk(lookup: Lookup, about: { evidence?: FileEvidence; wasDetected?: boolean; isCatalogued?: boolean } = {}) {
  return riskOf({
    lookup,
    evidence: ranLast(100),
    wasDetected: false,
    isCatalogued: false,
    thresholds: { maliciousAt: 5, suspiciousAt: 1, trustedEngines: new Set() },
    lifetimes: {
      notFoundMs: DAY_MS,
      pendingMs: DAY_MS / 24,
      foundNewMs: DAY_MS,
      foundRecentMs: 7 * DAY_MS,
      foundMs: 30 * DAY_MS,
    },
    now: NOW,
    ...about,
  });
}

const QUIET = risk(answered(0));

describe('the risk of an old answer', () => {
  it.each([
    ['few engines detect it', risk(answered(2)), RISK_POINTS.few_detections],
    ['it is malicious already', risk(answered(40)), RISK_POINTS.malicious],
    ['it was detected once', risk(answered(0), { wasDetected: true }), RISK_POINTS.once_detected],
    ['it ran this week', risk(answered(0), { evidence: ranLast(3) }), RISK_POINTS.ran_this_week],
    ['it ran this month', risk(answered(0), { evidence: ranLast(20) }), RISK_POINTS.ran_this_month],
    ['a catalogue has it', risk(answered(0), { isCatalogued: true }), RISK_POINTS.catalogued],
    ['it is 12 days past its lifetime', risk(answered(0, 12)), 12],
  ])('%s', (_why, points, expected) => {
    expect(points - QUIET).toBe(expected);
  });

  it('counts what VirusTotal did not know or had not analysed', () => {
    const notFound: Lookup = {
      status: 'not_found',
      askedHash: HASH,
      askedAt: ago(1),
      httpStatus: 404,
      hashes: { sha1: HASH },
    };
    const report = { detectedBy: [], categories: [], goodware: [], tags: [], names: [] };
    expect(risk(notFound) - QUIET).toBe(RISK_POINTS.unknown);
    expect(risk({ ...notFound, status: 'pending', report }) - QUIET).toBe(RISK_POINTS.pending);
  });

  it('puts what its records make telling before what they do not, and takes catalogued files at their word no further', () => {
    const odd = ranLast(100, 'C:\\Users\\ann\\AppData\\Local\\Temp\\Invoice.pdf.exe');
    expect(risk(answered(0), { evidence: odd })).toBeGreaterThan(QUIET);
    expect(risk(answered(0), { evidence: odd, isCatalogued: true })).toBe(risk(answered(0), { evidence: odd }));
  });

  it('lets no answer wait for ever', () => {
    expect(risk(answered(0, 200))).toBeGreaterThan(risk(answered(2), { evidence: ranLast(1) }));
  });

  it('stands in docs/ranking.md', () => {
    const docs = readFileSync(resolve(import.meta.dirname, '../../docs/ranking.md'), 'utf8');
    for (const [name, points] of Object.entries(RISK_POINTS)) expect(docs).toContain(`| \`${name}\` | ${points} |`);
  });
});
