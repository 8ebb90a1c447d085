import { describe, expect, it } from 'vitest';
import { fileReport } from '../../src/demo/stand-in.js';
import { lookupFromJson, lookupToJson } from '../../src/lookup.js';
import { type Attempt, type HttpResponse, readAttempt, readQuotaAttempt } from '../../src/virustotal/response.js';

const SHA1 = 'a'.repeat(40);
const SHA256 = 'b'.repeat(64);
const MD5 = 'c'.repeat(32);
const HASHES = { sha1: SHA1, sha256: SHA256, md5: MD5 };
const ASKED_AT = new Date('2026-03-01T02:15:00Z');

function response(status: number, body: unknown, headers: Partial<HttpResponse> = {}): HttpResponse {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return { status, contentType: 'application/json; charset=utf-8', retryAfter: undefined, body: { text }, ...headers };
}

function read(status: number, body: unknown, headers: Partial<HttpResponse> = {}, hash = SHA1): Attempt {
  return readAttempt(response(status, body, headers), { hash, askedAt: ASKED_AT });
}

function file(attributes: object, id: unknown = SHA256): object {
  return { data: { id, type: 'file', attributes: { ...HASHES, ...attributes } } };
}

function found(attributes: object, hash = SHA1) {
  const attempt = read(200, file(attributes), {}, hash);
  if (attempt.kind !== 'answer') throw new Error(`no answer: ${JSON.stringify(attempt)}`);
  return attempt.lookup;
}

function error(code: string, message = ''): object {
  return { error: { code, message } };
}

const STATS = { last_analysis_stats: { malicious: 2, undetected: 70, 'type-unsupported': 4, 'confirmed-timeout': 1 } };

describe('a file report', () => {
  it('gives the three hashes, the counts, the dates and what bears on trust', () => {
    const { data } = fileReport({
      hashes: HASHES,
      detections: 2,
      family: 'emotet',
      signer: 'Example Corp',
      distributor: 'Example',
    });
    const lookup = found(data.attributes);
    expect(lookup).toMatchObject({
      status: 'found',
      askedHash: SHA1,
      askedAt: ASKED_AT,
      httpStatus: 200,
      hashes: HASHES,
      report: {
        counts: { malicious: 2, undetected: 70, harmless: 0, suspicious: 0, timeout: 0, confirmedTimeout: 0 },
        label: 'trojan.emotet/win32',
        categories: ['trojan'],
        signature: { verified: 'Signed', signer: 'Example Corp' },
        goodware: ['Example'],
        tags: ['signed', 'known-distributor'],
        type: 'Win32 EXE',
        sizeBytes: 73_802,
        firstSubmission: new Date('2024-01-15T00:00:00Z'),
        lastAnalysis: new Date('2026-01-15T00:00:00Z'),
      },
    });
    expect(lookup.report?.detectedBy).toHaveLength(2);
    expect(lookup.report?.detectedBy[0]?.signature).toMatch(/^Trojan\.emotet/);
  });

  it('survives being stored and read back', () => {
    const lookup = found({ ...STATS, names: ['a.exe'], first_submission_date: 1_700_000_000 });
    expect(lookupFromJson(JSON.parse(JSON.stringify(lookupToJson(lookup))))).toEqual(lookup);
  });

  it.each([
    ['sha1', SHA1],
    ['sha256', SHA256],
    ['md5', MD5],
  ])('may be asked for by %s', (_, hash) => {
    expect(found(STATS, hash)).toMatchObject({ askedHash: hash, hashes: HASHES });
  });

  it('is refused if it is about another file', () => {
    expect(read(200, file({ ...STATS, sha1: 'd'.repeat(40) })).kind).toBe('bad_answer');
    expect(read(200, file(STATS), {}, 'd'.repeat(64)).kind).toBe('bad_answer');
  });

  it('is refused if it does not name the hash that was asked, or contradicts itself', () => {
    expect(read(200, { data: { id: SHA256, type: 'file', attributes: STATS } }).kind).toBe('bad_answer');
    expect(read(200, file({ ...STATS, sha1: MD5 })).kind).toBe('bad_answer');
    expect(read(200, file(STATS, 'e'.repeat(64))).kind).toBe('bad_answer');
  });

  it.each([
    ['an analysis', { data: { id: SHA256, type: 'analysis', attributes: HASHES } }],
    ['a list', [1, 2]],
    ['nothing', {}],
    ['null', 'null'],
    ['attributes of another type', { data: { id: SHA256, type: 'file', attributes: [] } }],
  ])('is refused if it is %s', (_, body) => {
    expect(read(200, body).kind).toBe('bad_answer');
  });

  it('is pending without statistics, with empty ones, and while no engine has an opinion', () => {
    expect(found({})).toMatchObject({ status: 'pending' });
    expect(found({ last_analysis_stats: {}, last_analysis_results: {} })).toMatchObject({ status: 'pending' });
    expect(
      found({ last_analysis_stats: { malicious: 0, undetected: 0, timeout: 3, 'type-unsupported': 70 } }).status,
    ).toBe('pending');
    expect(found({}).report).not.toHaveProperty('counts');
  });

  it('has its counts rebuilt from the single results where the statistics are missing or damaged', () => {
    const last_analysis_results = {
      A: { engine_name: 'A', category: 'malicious', result: 'Bad' },
      B: { engine_name: 'B', category: 'undetected', result: null, engine_version: null },
      C: { category: 'type-unsupported' },
      D: 'nonsense',
    };
    for (const stats of [{}, { last_analysis_stats: { malicious: -1 } }, { last_analysis_stats: 'none' }]) {
      const { status, report } = found({ ...stats, last_analysis_results });
      expect(status).toBe('found');
      expect(report?.counts).toMatchObject({ malicious: 1, undetected: 1, typeUnsupported: 1 });
      expect(report?.detectedBy).toEqual([{ engine: 'A', signature: 'Bad' }]);
    }
  });

  it('leaves out attributes of the wrong type and keeps the rest', () => {
    const { report } = found({
      ...STATS,
      names: 'none',
      tags: [1, 'signed', {}, 'peexe'],
      size: -5,
      reputation: 'good',
      first_submission_date: 'yesterday',
      last_analysis_date: '1700000000',
      popular_threat_classification: { suggested_threat_label: 'bomb', popular_threat_category: 'x' },
      signature_info: { description: 'only version strings' },
    });
    expect(report).toMatchObject({ names: [], tags: ['signed'], categories: [], label: 'bomb' });
    expect(report?.lastAnalysis).toEqual(new Date(1_700_000_000_000));
    for (const name of ['sizeBytes', 'reputation', 'firstSubmission', 'signature'])
      expect(report).not.toHaveProperty(name);
  });

  it('takes a trusted verdict as a mark of goodware only if it says so', () => {
    const marked = (verdict: string) => found({ ...STATS, trusted_verdict: { verdict, organization: 'Example' } });
    expect(marked('goodware').report?.goodware).toEqual(['Example']);
    expect(marked('unknown').report?.goodware).toEqual([]);
  });

  it('keeps little of what is endless', () => {
    const many = Array.from({ length: 1000 }, (_, index) => `${index}-${'x'.repeat(10_000)}`);
    const { report } = found({
      ...STATS,
      names: many,
      known_distributors: { distributors: many },
      monitor_info: { organizations: many },
      popular_threat_classification: {
        suggested_threat_label: many[0],
        popular_threat_category: many.map((value, count) => ({ value, count })),
      },
      last_analysis_results: Object.fromEntries(many.map((name) => [name, { category: 'malicious', result: name }])),
    });
    expect(JSON.stringify(report).length).toBeLessThan(100_000);
    expect(report?.categories[0]).toMatch(/^999-/);
  });

  it('is not steered by names that are special in JavaScript', () => {
    const attributes = `{"sha1":"${SHA1}","last_analysis_stats":{"undetected":5,"__proto__":{"malicious":9}},"last_analysis_results":{"__proto__":{"category":"malicious"},"constructor":{"category":"malicious","result":"x"}}}`;
    const attempt = read(200, `{"data":{"type":"file","attributes":${attributes}}}`);
    expect(attempt).toMatchObject({ kind: 'answer', lookup: { report: { counts: { malicious: 0, undetected: 5 } } } });
    expect(({} as { malicious?: number }).malicious).toBeUndefined();
  });
});

describe('a 404', () => {
  const message = `File "${SHA1}" not found`;

  it('says that VirusTotal does not know the file, if it is in VirusTotal’s own words', () => {
    expect(read(404, error('NotFoundError', message))).toEqual({
      kind: 'answer',
      lookup: { status: 'not_found', askedHash: SHA1, askedAt: ASKED_AT, httpStatus: 404, hashes: { sha1: SHA1 } },
    });
  });

  it.each([
    ['a page', '<h1>Not found</h1>', { contentType: 'text/html' }],
    ['a page that says it is JSON', '<h1>Not found</h1>', {}],
    ['JSON that says it is a page', error('NotFoundError', message), { contentType: 'text/html' }],
    ['another error', error('SomethingElse'), {}],
    ['about another file', error('NotFoundError', `File "${SHA256}" not found`), {}],
  ])('is no answer if it is %s', (_, body, headers) => {
    expect(read(404, body, headers).kind).toBe('bad_answer');
  });
});

describe('every other status', () => {
  it.each([
    [200, 'not json', 'transient'],
    [204, '', 'transient'],
    [301, '', 'bad_answer'],
    [400, error('InvalidArgumentError'), 'bad_request'],
    [400, error('NotAvailableYet'), 'transient'],
    [401, error('WrongCredentialsError'), 'refused'],
    [403, '<html>', 'refused'],
    [407, '<html>', 'bad_answer'],
    [409, error('AlreadyExistsError'), 'bad_request'],
    [424, error('FailedDependencyError'), 'transient'],
    [429, error('QuotaExceededError'), 'throttled'],
    [429, '<title>429</title>', 'throttled'],
    [500, '', 'transient'],
    [502, '<html>', 'transient'],
    [503, error('TransientError'), 'transient'],
    [504, error('DeadlineExceededError'), 'transient'],
  ])('%i with %j is %s', (status, body, kind) => {
    expect(read(status, body).kind).toBe(kind);
  });

  it('decides even where the body could not be read', () => {
    const broken = { body: { failure: 'the connection was cut off' } };
    expect(read(429, '', broken).kind).toBe('throttled');
    expect(read(401, '', broken).kind).toBe('refused');
    expect(read(200, '', broken)).toEqual({ kind: 'transient', why: 'the connection was cut off' });
    expect(read(404, '', broken).kind).toBe('transient');
  });

  it('keeps a server’s words on one short line without control characters', () => {
    const attempt = read(401, error('WrongCredentialsError', `Wrong\u001b[31m API\r\nkey\u202e ${'!'.repeat(999)}`));
    expect(attempt).toMatchObject({ kind: 'refused', status: 401, code: 'WrongCredentialsError' });
    if (attempt.kind !== 'refused') return;
    expect(attempt.message).toMatch(/^Wrong \[31m API key {1,2}!+$/);
    expect(attempt.message.length).toBeLessThanOrEqual(200);
  });
});

describe('Retry-After', () => {
  it.each([
    ['120', 120_000],
    ['0', 0],
    ['Sun, 01 Mar 2026 02:16:00 GMT', 60_000],
    ['Sun, 01 Mar 2026 02:00:00 GMT', 0],
    ['99999999999', 86_400_000],
  ])('%s is %i ms', (retryAfter, retryAfterMs) => {
    expect(read(429, '', { retryAfter })).toEqual({ kind: 'throttled', retryAfterMs });
    expect(read(503, '', { retryAfter })).toMatchObject({ kind: 'transient', retryAfterMs });
  });

  it('is ignored where it makes no sense', () => {
    expect(read(429, '', { retryAfter: 'soon' })).toEqual({ kind: 'throttled' });
  });
});

describe('overall quotas', () => {
  it('are those of user or group, whichever has less left', () => {
    const body = {
      data: {
        api_requests_hourly: { user: { allowed: 240, used: 3 } },
        api_requests_daily: {
          user: { allowed: 500, used: 17 },
          group: { allowed: 1000, used: 990, inherited_from: 'x' },
        },
        api_requests_monthly: { user: { allowed: 'many', used: 0 } },
      },
    };
    expect(readQuotaAttempt(response(200, body))).toEqual({
      kind: 'quotas',
      quotas: { hourly: { allowed: 240, used: 3 }, daily: { allowed: 1000, used: 990 } },
    });
  });

  it('are unknown where the answer does not tell', () => {
    for (const [status, body] of [
      [200, { data: {} }],
      [200, '<html>'],
      [404, { data: { api_requests_daily: { user: { allowed: 1, used: 1 } } } }],
      [503, '<html>'],
    ] as const) {
      expect(readQuotaAttempt(response(status, body))).toEqual({ kind: 'untold' });
    }
  });

  it('are refused with the key, as an answer would be', () => {
    const error = { code: 'WrongCredentialsError', message: 'Wrong API key' };
    expect(readQuotaAttempt(response(401, { error }))).toEqual({ kind: 'refused', status: 401, ...error });
    const body = { data: { api_requests_daily: { user: { allowed: 1, used: 1 } } } };
    expect(readQuotaAttempt(response(403, body))).toMatchObject({ kind: 'refused', status: 403 });
  });
});
