import { describe, expect, it } from 'vitest';
import { judge, type Thresholds, virustotalMember } from '../src/verdict.js';
import { foundLookup } from './fakes/lookups.js';

const SHA1 = '3395856ce81f2b7382dee72602f798b642f14140';
const SHA256 = SHA1.padEnd(64, '0');
const ASKED_AT = new Date('2026-03-04T02:14:00Z');
const THRESHOLDS: Thresholds = { maliciousAt: 5, suspiciousAt: 1, trustedEngines: new Set(['engine 0']) };
const UNTRUSTING: Thresholds = { ...THRESHOLDS, trustedEngines: new Set() };

describe('judge', () => {
  it.each([
    [0, 'undetected'],
    [1, 'suspicious'],
    [4, 'suspicious'],
    [5, 'malicious'],
    [60, 'malicious'],
  ] as const)('calls %i detections %s', (detections, verdict) => {
    expect(judge(foundLookup(SHA1, detections, 72, ASKED_AT), UNTRUSTING).verdict).toBe(verdict);
  });

  it('believes one trusted engine', () => {
    expect(judge(foundLookup(SHA1, 1, 72, ASKED_AT), THRESHOLDS).verdict).toBe('malicious');
  });

  it('calls a file nobody gave an opinion on unknown and pending, never undetected', () => {
    expect(judge(foundLookup(SHA1, 0, 0, ASKED_AT), UNTRUSTING)).toMatchObject({
      verdict: 'unknown',
      reason: 'pending',
    });
  });

  it('calls a file VirusTotal does not know unknown', () => {
    const lookup = {
      status: 'not_found',
      askedHash: SHA1,
      askedAt: ASKED_AT,
      httpStatus: 404,
      hashes: { sha1: SHA1 },
    } as const;
    expect(judge(lookup, UNTRUSTING)).toEqual({ verdict: 'unknown', lookup });
  });
});

describe('the virustotal member', () => {
  const key = { algorithm: 'sha1', hash: SHA1 } as const;

  it('says what was detected by how many, where and when', () => {
    const lookup = foundLookup(SHA1, 54, 75, ASKED_AT, {
      label: 'trojan.orcus/msil',
      firstSubmission: new Date('2025-11-01T00:00:00Z'),
      lastAnalysis: new Date('2026-03-01T00:00:00Z'),
    });
    expect(virustotalMember(key, judge(lookup, UNTRUSTING))).toBe(
      `{"verdict":"malicious","detections":54,"engines":75,"label":"trojan.orcus/msil","lookup_key":"sha1","sha1":"${SHA1}",` +
        `"sha256":"${SHA256}","md5":"${SHA1.slice(0, 32)}","link":"https://www.virustotal.com/gui/file/${SHA256}",` +
        '"first_submission":"2025-11-01T00:00:00.000Z","last_analysis":"2026-03-01T00:00:00.000Z","checked_at":"2026-03-04T02:14:00.000Z"}',
    );
  });

  it('has no counts where nothing was found out', () => {
    expect(virustotalMember(key, { verdict: 'unchecked', reason: 'quota' })).toBe(
      `{"verdict":"unchecked","reason":"quota","lookup_key":"sha1","sha1":"${SHA1}"}`,
    );
    expect(virustotalMember(undefined, { verdict: 'unchecked', reason: 'no_hash' })).toBe(
      '{"verdict":"unchecked","reason":"no_hash"}',
    );
  });

  it('has no sha1 where the record had none, even if VirusTotal names it', () => {
    const lookup = foundLookup(SHA1, 0, 70, ASKED_AT);
    const member = JSON.parse(virustotalMember({ algorithm: 'sha256', hash: SHA256 }, judge(lookup, UNTRUSTING)));
    expect(member).toMatchObject({ lookup_key: 'sha256', sha256: SHA256, md5: SHA1.slice(0, 32) });
    expect(member).not.toHaveProperty('sha1');
  });

  it('names the digests and the page of a file that VirusTotal has not analysed yet', () => {
    const { report: _report, ...found } = foundLookup(SHA1, 0, 0, ASKED_AT);
    const report = { detectedBy: [], categories: [], goodware: [], tags: [], names: [] };
    const verdict = judge({ ...found, status: 'pending', report }, UNTRUSTING);
    expect(virustotalMember(key, verdict)).toBe(
      `{"verdict":"unknown","reason":"pending","lookup_key":"sha1","sha1":"${SHA1}","sha256":"${SHA256}",` +
        `"md5":"${SHA1.slice(0, 32)}","link":"https://www.virustotal.com/gui/file/${SHA256}","checked_at":"2026-03-04T02:14:00.000Z"}`,
    );
  });

  it('names nothing but the record’s own digest of a file that VirusTotal does not know', () => {
    const { report: _report, ...found } = foundLookup(SHA1, 0, 0, ASKED_AT);
    expect(virustotalMember(key, judge({ ...found, status: 'not_found' }, UNTRUSTING))).toBe(
      `{"verdict":"unknown","lookup_key":"sha1","sha1":"${SHA1}","checked_at":"2026-03-04T02:14:00.000Z"}`,
    );
  });

  it('marks an answer past its lifetime', () => {
    const verdict = { ...judge(foundLookup(SHA1, 0, 70, ASKED_AT), UNTRUSTING), stale: true };
    expect(JSON.parse(virustotalMember(key, verdict))).toMatchObject({ verdict: 'undetected', stale: true });
  });
});
