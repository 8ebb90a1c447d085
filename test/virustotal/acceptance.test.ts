import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { countDetections } from '../../src/verdict.js';
import { type Attempt, readAttempt, readQuotaAttempt } from '../../src/virustotal/response.js';

// Recorded answers lie beside the project, not in it: they are VirusTotal's data.
const FOLDER = fileURLToPath(new URL('../../../shared/data/virustotal/', import.meta.url));

function response(name: string) {
  const contentType = name.endsWith('.json') ? 'application/json' : 'text/html';
  return {
    status: Number(name.slice(name.lastIndexOf('/') + 1).slice(0, 3)),
    contentType,
    retryAfter: undefined,
    body: { text: readFileSync(`${FOLDER}${name}`, 'utf8') },
  };
}

function read(name: string, hash: string): Attempt {
  return readAttempt(response(name), { hash, askedAt: new Date('2026-03-01T00:00:00Z') });
}

/** Asks each recorded report by its own SHA1. */
function readReport(name: string): Attempt {
  return read(name, JSON.parse(response(name).body.text).data.attributes.sha1);
}

describe.skipIf(!existsSync(FOLDER))('recorded answers', () => {
  it.each([
    ['200-malicious-rich-exe.json', 54, 75],
    ['200-clean-signed-dll.json', 0, 72],
    ['200-undetected-dll.json', 0, 75],
    ['200-known-distributor-one-detection.json', 1, 75],
    ['200-low-detection-shim.json', 4, 69],
    ['200-undetected-2020-sparse.json', 0, 60],
    ['200-empty-file-2018-shape.json', 0, 60],
  ])('%s is found with %i/%i', (name, detections, engines) => {
    const attempt = readReport(name);
    if (attempt.kind !== 'answer' || attempt.lookup.report?.counts === undefined) throw new Error('not found');
    const { report, hashes } = attempt.lookup;
    expect(countDetections(attempt.lookup.report.counts)).toEqual({ detections, engines });
    expect(report?.detectedBy).toHaveLength(detections);
    expect(Object.keys(hashes).sort()).toEqual(['md5', 'sha1', 'sha256']);
    expect(report?.firstSubmission?.getUTCFullYear()).toBeGreaterThan(2000);
    expect(report?.lastAnalysis?.getTime()).toBeLessThan(Date.UTC(2026, 0, 1));
  });

  it('tell what bears on trust', () => {
    expect(readReport('200-clean-signed-dll.json')).toMatchObject({
      lookup: {
        report: {
          signature: { verified: 'Signed' },
          tags: expect.arrayContaining(['revoked-cert', 'invalid-signature']),
        },
      },
    });
    expect(readReport('200-undetected-dll.json')).not.toHaveProperty('lookup.report.signature');
    expect(readReport('200-known-distributor-one-detection.json')).toMatchObject({
      lookup: { report: { goodware: ['Linux'], tags: ['known-distributor', 'legit'] } },
    });
    expect(readReport('200-empty-file-2018-shape.json')).toMatchObject({
      lookup: { report: { goodware: ['Microsoft Corporation'] } },
    });
    expect(readReport('200-malicious-rich-exe.json')).toMatchObject({
      lookup: { report: { label: 'trojan.orcusrat/msil', categories: ['trojan'] } },
    });
  });

  it('without an analysis are pending', () => {
    expect(readReport('derived/200-no-analysis-yet.json')).toMatchObject({ lookup: { status: 'pending' } });
  });

  it('of refusals are read as what they are', () => {
    const hash = 'fffdddd2c3dc06d147c5ddddddd5c7e6acda4d1f1369fbc994cddd3c19a2de88';
    expect(read('404-not-found.json', hash)).toMatchObject({ kind: 'answer', lookup: { status: 'not_found' } });
    expect(read('404-not-found.json', 'a'.repeat(40)).kind).toBe('bad_answer');
    expect(read('401-wrong-key.json', hash)).toMatchObject({ kind: 'refused', code: 'WrongCredentialsError' });
    expect(read('401-missing-key.json', hash).kind).toBe('refused');
    expect(read('429-quota-exceeded.json', hash).kind).toBe('throttled');
    expect(read('429-edge.html', hash).kind).toBe('throttled');
    expect(read('200-rescan-descriptor.json', hash).kind).toBe('bad_answer');
  });

  it('of quotas give what is left to user and group together', () => {
    expect(readQuotaAttempt(response('200-overall-quotas.json'))).toMatchObject({
      kind: 'quotas',
      quotas: { daily: { allowed: 99_000_000, used: 45_073 }, monthly: { allowed: 1_000_000_000, used: 137 } },
    });
  });

  it('are all covered here', () => {
    const names = readdirSync(FOLDER).filter((name) => /^\d{3}-/.test(name));
    const text = readFileSync(fileURLToPath(import.meta.url), 'utf8');
    expect(names.filter((name) => !text.includes(name))).toEqual([]);
  });
});
