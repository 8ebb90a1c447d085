import fc from 'fast-check';
import type { EngineCounts, FileReport, Lookup } from '../../src/lookup.js';

const hex = (length: number): fc.Arbitrary<string> =>
  fc
    .array(fc.constantFrom(...'0123456789abcdef'), { minLength: length, maxLength: length })
    .map((digits) => digits.join(''));

const date = fc.date({
  min: new Date('2005-01-01T00:00:00Z'),
  max: new Date('2035-01-01T00:00:00Z'),
  noInvalidDate: true,
});

const counts: fc.Arbitrary<EngineCounts> = fc.record({
  malicious: fc.nat(80),
  suspicious: fc.nat(3),
  undetected: fc.nat(80),
  harmless: fc.nat(3),
  timeout: fc.nat(3),
  confirmedTimeout: fc.nat(3),
  failure: fc.nat(8),
  typeUnsupported: fc.nat(15),
});

const report = (withCounts: boolean): fc.Arbitrary<FileReport> =>
  fc.record(
    {
      counts,
      detectedBy: fc.array(fc.record({ engine: fc.string(), signature: fc.string() }, { requiredKeys: ['engine'] }), {
        maxLength: 5,
      }),
      label: fc.string({ unit: 'binary' }),
      categories: fc.array(fc.string(), { maxLength: 3 }),
      signature: fc.record({ verified: fc.string(), signer: fc.string() }, { requiredKeys: [] }),
      goodware: fc.array(fc.string(), { maxLength: 3 }),
      tags: fc.array(fc.string(), { maxLength: 3 }),
      names: fc.array(fc.string(), { maxLength: 3 }),
      type: fc.string(),
      sizeBytes: fc.nat(),
      reputation: fc.integer({ min: -5000, max: 5000 }),
      firstSubmission: date,
      lastSubmission: date,
      lastAnalysis: date,
    },
    {
      requiredKeys: [
        'detectedBy',
        'categories',
        'goodware',
        'tags',
        'names',
        ...(withCounts ? (['counts'] as const) : []),
      ],
    },
  );

/** Any answer VirusTotal can give, asked by SHA1. */
export const lookupArbitrary: fc.Arbitrary<Lookup> = fc
  .record({
    sha1: hex(40),
    sha256: hex(64),
    md5: hex(32),
    askedAt: date,
    status: fc.constantFrom('found', 'not_found', 'pending'),
    full: report(true),
    bare: report(false),
  })
  .map(({ sha1, sha256, md5, askedAt, status, full, bare }): Lookup => {
    if (status === 'not_found') return { status, askedHash: sha1, askedAt, httpStatus: 404, hashes: { sha1 } };
    const base = { askedHash: sha1, askedAt, httpStatus: 200, hashes: { sha1, sha256, md5 } };
    return status === 'found' ? { ...base, status, report: full } : { ...base, status: 'pending', report: bare };
  });

/** An answer about a file that `malicious` of `engines` detect. */
export function foundLookup(
  sha1: string,
  malicious: number,
  engines: number,
  askedAt: Date,
  about: Partial<FileReport> = {},
): Lookup {
  return {
    status: 'found',
    askedHash: sha1,
    askedAt,
    httpStatus: 200,
    hashes: { sha1, sha256: sha1.padEnd(64, '0'), md5: sha1.slice(0, 32) },
    report: {
      counts: {
        malicious,
        suspicious: 0,
        undetected: engines - malicious,
        harmless: 0,
        timeout: 0,
        confirmedTimeout: 0,
        failure: 1,
        typeUnsupported: 4,
      },
      detectedBy: Array.from({ length: malicious }, (_, index) => ({
        engine: `Engine ${index}`,
        signature: 'Trojan.Gen',
      })),
      categories: [],
      goodware: [],
      tags: [],
      names: [],
      ...about,
    },
  };
}
