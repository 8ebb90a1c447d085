import type { FileHashes } from '../../src/hash.js';
import type { EngineCounts, Lookup, LookupStatus } from '../../src/lookup.js';

/** The moment that answers count their minutes from. */
export const NOON = Date.UTC(2026, 0, 15, 12);

/** All three digests of the file with this number; files with near numbers share shards. */
export function digestsOfFile(number: number): Required<FileHashes> {
  const digits = number.toString(16).padStart(4, '0');
  return {
    sha1: `${digits}${'1'.repeat(36)}`,
    sha256: `${digits}${'2'.repeat(60)}`,
    md5: `${digits}${'3'.repeat(28)}`,
  };
}

const COUNTS: EngineCounts = {
  malicious: 0,
  suspicious: 0,
  undetected: 60,
  harmless: 0,
  timeout: 1,
  confirmedTimeout: 0,
  failure: 0,
  typeUnsupported: 4,
};

/** An answer about a file known by these digests, asked so many minutes after noon. */
export function answer(
  hashes: FileHashes,
  minutes: number,
  { status = 'found', malicious = 0 }: { readonly status?: LookupStatus; readonly malicious?: number } = {},
): Lookup {
  const askedHash = hashes.sha1 ?? hashes.sha256 ?? hashes.md5 ?? '';
  const base = { status, askedHash, hashes, askedAt: new Date(NOON + minutes * 60_000) };
  if (status === 'not_found') return { ...base, httpStatus: 404 };
  return {
    ...base,
    httpStatus: 200,
    report: {
      ...(status === 'found' ? { counts: { ...COUNTS, malicious } } : {}),
      detectedBy: malicious > 0 ? [{ engine: 'Engine', signature: 'Bad "quoted" {name}' }] : [],
      categories: ['trojan'],
      goodware: [],
      tags: ['signed'],
      names: ['a.exe', '"},"answers":{"'],
      firstSubmission: new Date('2020-02-03T04:05:06.000Z'),
    },
  };
}
