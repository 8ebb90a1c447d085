import { describe, expect, it } from 'vitest';
import { addSighting, emptyEvidence, type FileEvidence } from '../src/evidence.js';
import { flagEvidence } from '../src/flags.js';
import type { FileReport, Lookup, LookupStatus } from '../src/lookup.js';

const NOW = new Date('2026-03-10T02:00:00Z');
const HASH = '27c9be13b2f583309f95abb2fafe3fbd5a7c83ae';

interface Run {
  readonly image?: string;
  readonly originalName?: string;
  readonly hosts?: number;
  readonly at?: string;
}

function ran({
  image = 'C:\\Temp\\a.exe',
  originalName,
  hosts = 1,
  at = '2026-03-02 01:00:00.000',
}: Run): FileEvidence {
  const evidence = emptyEvidence();
  for (let host = 0; host < hosts; host++) {
    addSighting(evidence, {
      eventId: 1,
      recordId: '1',
      channel: 'Microsoft-Windows-Sysmon/Operational',
      computer: `ws-${host}`,
      timeCreated: undefined,
      data: new Map([
        ['UtcTime', at],
        ['Image', image],
        ...(originalName === undefined ? [] : [['OriginalFileName', originalName] as const]),
      ]),
    });
  }
  return evidence;
}

function answer(status: LookupStatus, report: Partial<FileReport> = {}): Lookup {
  return {
    status,
    askedHash: HASH,
    askedAt: NOW,
    httpStatus: status === 'not_found' ? 404 : 200,
    hashes: { sha1: HASH },
    ...(status === 'not_found'
      ? {}
      : { report: { detectedBy: [], categories: [], goodware: [], tags: [], names: [], ...report } }),
  };
}

const flagsOf = (evidence: FileEvidence, lookup?: Lookup): readonly string[] =>
  flagEvidence(evidence, lookup, NOW).flags;

describe('evidence flags', () => {
  it('are none for an ordinary file with an ordinary answer', () => {
    const lookup = answer('found', { firstSubmission: new Date('2020-01-01T00:00:00Z'), lastAnalysis: NOW });
    expect(flagEvidence(ran({ originalName: 'a.exe' }), lookup, NOW)).toEqual({ flags: [] });
  });

  it('say that a file ran before anybody had sent it in, and how long before', () => {
    const lookup = answer('found', { firstSubmission: new Date('2026-03-05T01:00:00Z'), lastAnalysis: NOW });
    expect(flagEvidence(ran({}), lookup, NOW)).toEqual({
      flags: ['ran_before_first_submission'],
      ranBeforeFirstSubmissionMs: 3 * 24 * 60 * 60 * 1000,
    });
  });

  it('allow for clocks that are minutes off', () => {
    const lookup = answer('found', { firstSubmission: new Date('2026-03-02T01:09:00Z'), lastAnalysis: NOW });
    expect(flagsOf(ran({}), lookup)).toEqual([]);
  });

  it('say that a file is unknown and rare, but not that an unknown one is common', () => {
    expect(flagsOf(ran({ hosts: 2 }), answer('not_found'))).toEqual(['rare_unknown']);
    expect(flagsOf(ran({ hosts: 3 }), answer('not_found'))).toEqual([]);
    expect(flagsOf(ran({}), undefined)).toEqual([]);
  });

  it.each([
    ['another name in an open folder', 'C:\\Users\\Public\\notes.exe', 'fastcopyd.exe', true],
    ["a copy of Windows' own", 'C:\\ProgramData\\x.exe', 'CertUtil.exe', true],
    ['a copy of a download', 'C:\\Users\\a\\Downloads\\viewer (2).exe', 'Viewer.exe', false],
    ['another word size', 'C:\\Users\\a\\Downloads\\viewer64.exe', 'viewer.exe', false],
    ['an installer called after its program', 'C:\\Users\\a\\Downloads\\contoso-7.exe', 'setup.exe', false],
    ['an installed program', 'C:\\Program Files\\Contoso\\c.exe', 'main.exe', false],
    ['no name given by its maker', 'C:\\Users\\Public\\notes.exe', '-', false],
  ])('call %s renamed or not', (_what, image, originalName, isFlagged) => {
    expect(flagsOf(ran({ image, originalName }))).toEqual(isFlagged ? ['renamed'] : []);
  });

  it.each([
    ['a tag', { tags: ['signed', 'revoked-cert'] }],
    ['a sentence of Sigcheck', { signature: { verified: 'A certificate was explicitly revoked by its issuer.' } }],
  ])('find a revoked signature in %s', (_what, report) => {
    expect(flagsOf(ran({}), answer('found', { lastAnalysis: NOW, ...report }))).toEqual(['revoked_signature']);
  });

  it('say that an analysis is older than a year, however lately it was asked for', () => {
    const lookup = answer('found', { lastAnalysis: new Date('2025-03-01T00:00:00Z') });
    expect(flagsOf(ran({}), lookup)).toEqual(['old_answer']);
  });
});
