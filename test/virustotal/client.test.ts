import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { type Fault, fileReport, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { openClient, type VirusTotalClient } from '../../src/virustotal/client.js';

const KEY = randomBytes(32).toString('hex');
const HOST = 'https://www.virustotal.com';
const SHA1 = 'a'.repeat(40);
const REPORT = fileReport({ hashes: { sha1: SHA1 }, detections: 3 });

function client(options: { readonly baseUrl?: string; readonly timeoutMs?: number } = {}): Promise<VirusTotalClient> {
  return openClient({
    baseUrl: `${HOST}/api/v3`,
    key: KEY,
    version: '1.2.3',
    timeoutMs: 2000,
    clock: systemClock,
    ...options,
  });
}

/** No way of looking at a value may show the key. */
function expectNoKey(value: unknown): void {
  const error = value instanceof Error ? `${value.message}${value.stack}` : '';
  expect(`${inspect(value, { depth: 8, showHidden: true })}${JSON.stringify(value)}${error}`).not.toContain(KEY);
}

describe('over a mocked network', () => {
  beforeEach(() => {
    nock.disableNetConnect();
  });

  afterEach(() => {
    const pending = nock.pendingMocks();
    nock.cleanAll();
    nock.enableNetConnect();
    expect(pending).toEqual([]);
  });

  const files = () => nock(`${HOST}/api/v3`).get(`/files/${SHA1}`);

  it('asks with the key in a header, under its name, and unpacks the answer', async () => {
    nock(`${HOST}/api/v3`, {
      reqheaders: {
        'x-apikey': KEY,
        'x-tool': 'sysmon-vt',
        'user-agent': 'sysmon-vt/1.2.3 (gzip)',
        'accept-encoding': 'gzip',
      },
    })
      .get(`/files/${SHA1}`)
      .reply(200, gzipSync(JSON.stringify(REPORT)), { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    const attempt = await (await client()).ask(SHA1);
    expect(attempt).toMatchObject({
      kind: 'answer',
      lookup: { askedHash: SHA1, report: { counts: { malicious: 3 } } },
    });
  });

  it.each([
    [400, 'BadRequestError', 'bad_request'],
    [400, 'InvalidArgumentError', 'bad_request'],
    [400, 'NotAvailableYet', 'transient'],
    [401, 'AuthenticationRequiredError', 'refused'],
    [401, 'WrongCredentialsError', 'refused'],
    [401, 'UserNotActiveError', 'refused'],
    [403, 'ForbiddenError', 'refused'],
    [404, 'NotFoundError', 'answer'],
    [409, 'AlreadyExistsError', 'bad_request'],
    [424, 'FailedDependencyError', 'transient'],
    [429, 'QuotaExceededError', 'throttled'],
    [429, 'TooManyRequestsError', 'throttled'],
    [500, 'Unknown', 'transient'],
    [502, 'Unknown', 'transient'],
    [503, 'TransientError', 'transient'],
    [504, 'DeadlineExceededError', 'transient'],
  ])('HTTP %i %s is %s', async (status, code, kind) => {
    const message = status === 404 ? `File "${SHA1}" not found` : `said with ${KEY}`;
    files().reply(status, { error: { code, message } });
    const attempt = await (await client()).ask(SHA1);
    expect(attempt.kind).toBe(kind);
    expectNoKey(attempt);
  });

  it.each([
    ['ECONNRESET', 'cut off'],
    ['ETIMEDOUT', 'no whole answer within 2 s'],
    ['ENOTFOUND', 'no connection (ENOTFOUND)'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'NODE_EXTRA_CA_CERTS'],
  ])('a connection that fails with %s is transient', async (code, why) => {
    files().replyWithError(Object.assign(new Error(`failed with ${KEY}`), { code }));
    const attempt = await (await client()).ask(SHA1);
    expect(attempt).toMatchObject({ kind: 'transient', why: expect.stringContaining(why) });
    expectNoKey(attempt);
  });

  it('waits no longer than it was told', async () => {
    files().delayConnection(1000).reply(200, REPORT);
    const attempt = await (await client({ timeoutMs: 100 })).ask(SHA1);
    expect(attempt).toEqual({ kind: 'transient', why: 'no whole answer within 0.1 s' });
    nock.abortPendingRequests();
  });

  it('passes Retry-After on', async () => {
    files().reply(429, '<title>429</title>', { 'content-type': 'text/html', 'retry-after': '90' });
    expect(await (await client()).ask(SHA1)).toEqual({ kind: 'throttled', retryAfterMs: 90_000 });
  });

  it('does not follow a redirect, so the key goes nowhere else', async () => {
    files().reply(302, '', { location: `https://portal.example/files/${SHA1}` });
    expect((await (await client()).ask(SHA1)).kind).toBe('bad_answer');
  });

  it('asks for the quotas by the key and tells nothing of it', async () => {
    const quotas = () => nock(`${HOST}/api/v3`).get(`/users/${KEY}/overall_quotas`);
    quotas().reply(200, { data: { api_requests_daily: { user: { allowed: 500, used: 20 } } } });
    quotas().reply(403, { error: { code: 'ForbiddenError', message: KEY } });
    quotas().replyWithError(Object.assign(new Error(KEY), { code: 'ECONNRESET' }));
    const opened = await client();
    expect(await opened.overallQuotas()).toEqual({ kind: 'quotas', quotas: { daily: { allowed: 500, used: 20 } } });
    expect(await opened.overallQuotas()).toEqual({
      kind: 'refused',
      status: 403,
      code: 'ForbiddenError',
      message: '[key]',
    });
    expect(await opened.overallQuotas()).toEqual({ kind: 'untold' });
    expectNoKey(opened);
  });
});

describe('over a real connection', () => {
  let standIn: StandIn | undefined;

  afterEach(async () => {
    await standIn?.close();
  });

  async function askWith(fault: Fault, timeoutMs = 2000) {
    standIn = await startStandIn({ files: [REPORT], key: KEY, fault: () => fault });
    const opened = await client({ baseUrl: standIn.baseUrl, timeoutMs });
    const attempt = await opened.ask(SHA1);
    opened.close();
    expectNoKey(attempt);
    return attempt;
  }

  it('gets an answer', async () => {
    standIn = await startStandIn({ files: [REPORT], key: KEY });
    const opened = await client({ baseUrl: standIn.baseUrl });
    expect(await opened.ask(SHA1)).toMatchObject({ kind: 'answer', lookup: { status: 'found' } });
    opened.close();
  });

  it.each<[Fault, string]>([
    [{ kind: 'reset' }, 'cut off'],
    [{ kind: 'truncated' }, 'cut off'],
    [{ kind: 'hang' }, 'no whole answer within 0.3 s'],
    [{ kind: 'drip' }, 'no whole answer within 0.3 s'],
    [{ kind: 'portal' }, 'not JSON'],
    [{ kind: 'content_type' }, 'not JSON'],
    [{ kind: 'not_packed' }, 'does not unpack'],
    [{ kind: 'status', status: 503 }, 'HTTP 503'],
  ])('%j is transient', async (fault, why) => {
    const attempt = await askWith(fault, 300);
    expect(attempt).toMatchObject({ kind: 'transient', why: expect.stringContaining(why) });
  });

  it('stops unpacking an answer that grows beyond all reports', async () => {
    expect(await askWith({ kind: 'huge' }, 10_000)).toEqual({ kind: 'transient', why: 'an answer of more than 8 MiB' });
  });

  it.each<[Fault]>([
    [{ kind: 'another_file' }],
    [{ kind: 'portal', status: 404 }],
    [{ kind: 'redirect', location: 'http://127.0.0.1:9/elsewhere' }],
  ])('%j is no answer', async (fault) => {
    expect((await askWith(fault)).kind).toBe('bad_answer');
  });

  it('stops reading an answer that is not packed and grows beyond all reports', async () => {
    const endless = createServer((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024, ' ')));
      };
      response.writeHead(200, { 'content-type': 'application/json' }).on('drain', more);
      more();
    });
    await new Promise<void>((done) => endless.listen(0, '127.0.0.1', done));
    const { port } = endless.address() as AddressInfo;
    const opened = await client({ baseUrl: `http://127.0.0.1:${port}`, timeoutMs: 10_000 });
    expect(await opened.ask(SHA1)).toEqual({ kind: 'transient', why: 'an answer of more than 8 MiB' });
    opened.close();
    await new Promise((done) => endless.close(done));
  });

  it('uses one connection for one question after another', async () => {
    standIn = await startStandIn({ files: [REPORT], key: KEY });
    const opened = await client({ baseUrl: standIn.baseUrl });
    for (let count = 0; count < 3; count++) await opened.ask(SHA1);
    expect(standIn.requests).toHaveLength(3);
    expect(new Set(standIn.requests.map(({ status }) => status))).toEqual(new Set([200]));
    opened.close();
  });
});
