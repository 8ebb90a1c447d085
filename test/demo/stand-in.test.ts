import { request as httpRequest } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { fileReport, type StandIn, type StandInOptions, startStandIn } from '../../src/demo/stand-in.js';

const SHA1 = 'a'.repeat(40);
const REPORT = fileReport({ hashes: { sha1: SHA1 }, detections: 54, engines: 70, family: 'emotet' });

let standIn: StandIn;

afterEach(async () => {
  await standIn.close();
});

async function start(options: StandInOptions = {}): Promise<void> {
  standIn = await startStandIn({ files: [REPORT], ...options });
}

interface Answer {
  readonly status: number | undefined;
  readonly encoding: string | undefined;
  readonly json: unknown;
}

function get(path: string, headers: { readonly [name: string]: string } = { 'x-apikey': 'any' }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpRequest(`${standIn.baseUrl}${path}`, { headers: { ...headers }, agent: false }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const encoding = response.headers['content-encoding'];
      const text = (encoding === 'gzip' ? gunzipSync(body) : body).toString();
      resolve({ status: response.statusCode, encoding, json: JSON.parse(text) });
    })
      .on('error', reject)
      .end();
  });
}

describe('the stand-in for VirusTotal', () => {
  it('finds a file by any of its hashes, in any case', async () => {
    await start();
    const { sha256 = '', md5 = '' } = REPORT.data.attributes;
    for (const hash of [SHA1, sha256, md5, SHA1.toUpperCase()]) {
      expect(await get(`/files/${hash}`)).toEqual({ status: 200, encoding: undefined, json: REPORT });
    }
    expect(standIn.requests.map(({ number, status }) => [number, status])).toEqual(
      [1, 2, 3, 4].map((number) => [number, 200]),
    );
  });

  it('answers what it does not know as VirusTotal does', async () => {
    await start();
    const hash = 'b'.repeat(64);
    expect(await get(`/files/${hash}`)).toMatchObject({
      status: 404,
      json: { error: { code: 'NotFoundError', message: `File "${hash}" not found` } },
    });
    expect(await get('/files/nonsense')).toMatchObject({
      status: 400,
      json: { error: { code: 'InvalidArgumentError' } },
    });
    expect(await get('/elsewhere')).toMatchObject({ status: 404 });
    expect(await get('/files/%zz')).toMatchObject({ status: 400 });
  });

  it('takes only the key it was given, and counts nothing for another', async () => {
    await start({ key: 'right', perDay: 1 });
    expect(await get(`/files/${SHA1}`, {})).toMatchObject({
      status: 401,
      json: { error: { message: 'X-Apikey header is missing' } },
    });
    expect(await get(`/files/${SHA1}`, { 'x-apikey': 'wrong' })).toMatchObject({
      status: 401,
      json: { error: { message: 'Wrong API key' } },
    });
    expect(await get(`/files/${SHA1}`, { 'x-apikey': 'right' })).toMatchObject({ status: 200 });
    expect(standIn.requests.map(({ isKeyOk }) => isKeyOk)).toEqual([false, false, true]);
  });

  it('enforces its quotas by its clock and tells what is used', async () => {
    let nowMs = Date.UTC(2026, 0, 31, 23, 58);
    await start({
      perMinute: 2,
      perDay: 3,
      perMonth: 4,
      clock: { now: () => new Date(nowMs), sleep: async () => undefined },
    });
    const statuses = async (count: number) => {
      const all: (number | undefined)[] = [];
      for (let index = 0; index < count; index++) all.push((await get(`/files/${SHA1}`)).status);
      return all;
    };
    expect(await statuses(3)).toEqual([200, 200, 429]);
    nowMs += 60_000;
    expect(await statuses(2)).toEqual([200, 429]);
    expect((await get('/users/any/overall_quotas')).json).toMatchObject({
      data: {
        api_requests_hourly: { user: { allowed: 120, used: 3 } },
        api_requests_daily: { user: { allowed: 3, used: 3 } },
        api_requests_monthly: { user: { allowed: 4, used: 3 } },
      },
    });
    // The first of February: a new day in a new month.
    nowMs += 120_000;
    expect(await statuses(3)).toEqual([200, 200, 429]);
  });

  it('packs answers only for who says gzip twice', async () => {
    await start();
    const encodingFor = async (userAgent: string) =>
      (await get(`/files/${SHA1}`, { 'x-apikey': 'any', 'accept-encoding': 'gzip', 'user-agent': userAgent })).encoding;
    expect(await encodingFor('tool (gzip)')).toBe('gzip');
    expect(await encodingFor('tool')).toBeUndefined();
  });

  it('fails one request as it was told, and answers the next', async () => {
    await start({
      fault: ({ number }) =>
        number === 1 ? { kind: 'reset' } : number === 2 ? { kind: 'status', status: 503 } : undefined,
    });
    await expect(get(`/files/${SHA1}`)).rejects.toThrow();
    expect((await get(`/files/${SHA1}`)).status).toBe(503);
    expect((await get(`/files/${SHA1}`)).status).toBe(200);
    expect(standIn.requests.map(({ status }) => status)).toEqual([0, 503, 200]);
  });

  it('makes the same report of the same facts every time, with its counts in order', async () => {
    await start();
    expect(fileReport({ hashes: { sha1: SHA1 }, detections: 54, engines: 70, family: 'emotet' })).toEqual(REPORT);
    const attributes = REPORT.data.attributes as {
      readonly last_analysis_stats: { readonly [category: string]: number };
      readonly last_analysis_results: { readonly [engine: string]: { readonly category: string } };
    };
    expect(attributes.last_analysis_stats).toMatchObject({ malicious: 54, undetected: 16 });
    const results = Object.values(attributes.last_analysis_results);
    expect(results.filter(({ category }) => category === 'malicious')).toHaveLength(54);
    expect(results).toHaveLength(70);
  });
});
