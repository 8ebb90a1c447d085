import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { type Clock, systemClock } from '../clock.js';
import { algorithmOf, type FileHashes } from '../hash.js';

/** A file report in VirusTotal's form, as far as the stand-in looks into it; real answers fit too. */
export interface ReportBody {
  readonly data: {
    readonly attributes: { readonly sha1?: string; readonly sha256?: string; readonly md5?: string };
  };
}

/** The few facts that a made-up report is built around. */
export interface FileFacts {
  /** At least one digest; the others are derived from it, the same every time. */
  readonly hashes: FileHashes;
  /** Engines that call it malicious; 0 without. */
  readonly detections?: number;
  /** Engines with an opinion; 72 without. 0 makes a file that was not analysed yet. */
  readonly engines?: number;
  /** As `family` of `trojan.family/win32`. */
  readonly family?: string;
  readonly name?: string;
  readonly signer?: string;
  readonly distributor?: string;
  readonly sizeBytes?: number;
  readonly firstSubmission?: Date;
  readonly lastAnalysis?: Date;
}

/** What goes wrong with one request, in place of an answer. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string; readonly isHtml?: boolean }
  | { readonly kind: 'reset' }
  | { readonly kind: 'hang' }
  /** The answer, a few bytes at a time, for ever. */
  | { readonly kind: 'drip' }
  | { readonly kind: 'truncated' }
  /** A portal's page with status 200, or another. */
  | { readonly kind: 'portal'; readonly status?: number }
  | { readonly kind: 'content_type' }
  | { readonly kind: 'huge' }
  | { readonly kind: 'another_file' }
  /** Says gzip and is not. */
  | { readonly kind: 'not_packed' }
  | { readonly kind: 'redirect'; readonly location: string };

/** One question that reached the stand-in. */
interface StandInRequest {
  readonly hash: string;
  /** Counted from 1. */
  readonly number: number;
  readonly at: Date;
  readonly isKeyOk: boolean;
  /** What was answered; 0 where no status was sent. */
  readonly status: number;
}

/** What the stand-in knows and how it behaves. */
export interface StandInOptions {
  readonly files?: Iterable<ReportBody>;
  /** The only key it takes; any without. */
  readonly key?: string;
  /** Requests that it allows; no limit without. */
  readonly perMinute?: number;
  readonly perDay?: number;
  readonly perMonth?: number;
  /** By which it counts and delays; the machine's without. */
  readonly clock?: Clock;
  readonly latencyMs?: number;
  /** Asked for each question with the right key that the quota allows. */
  readonly fault?: (request: Pick<StandInRequest, 'hash' | 'number'>) => Fault | undefined;
}

/** A running stand-in. */
export interface StandIn {
  /** `http://127.0.0.1:<port>/api/v3`. */
  readonly baseUrl: string;
  /** All questions about files so far, in the order of their arrival. */
  readonly requests: readonly StandInRequest[];
  /** From now on it knows these files, and judges them so. */
  learn(files: Iterable<ReportBody>): void;
  /** Ends it and all its connections. */
  close(): Promise<void>;
}

const BASE_PATH = '/api/v3';
const JSON_TYPE = 'application/json; charset=utf-8';
const DRIP_PAUSE_MS = 20;
const HUGE_BYTES = 64 * 1024 * 1024;
/** Packed once: that takes longer than all else here. */
let hugeBody: Buffer | undefined;
const PORTAL_PAGE = '<!doctype html><title>Sign in</title><p>Please sign in to use this network.</p>';

/** An HTTP server on loopback that behaves as VirusTotal's API v3 for `GET /files/{hash}` and for the quotas of a key. */
export async function startStandIn(options: StandInOptions = {}): Promise<StandIn> {
  const { key, clock = systemClock, latencyMs = 0, fault } = options;
  const limits = {
    perMinute: options.perMinute ?? Infinity,
    perDay: options.perDay ?? Infinity,
    perMonth: options.perMonth ?? Infinity,
  };
  const bodies = new Map<string, ReportBody>();
  const learn = (files: Iterable<ReportBody>): void => {
    for (const body of files) {
      const { sha1, sha256, md5 } = body.data.attributes;
      for (const hash of [sha1, sha256, md5]) if (hash !== undefined) bodies.set(hash, body);
    }
  };
  learn(options.files ?? []);
  const requests: StandInRequest[] = [];
  const spentAt: Date[] = [];

  function used(): { readonly minute: number; readonly hour: number; readonly day: number; readonly month: number } {
    const now = clock.now();
    const since = (ms: number): number => spentAt.filter((at) => now.getTime() - at.getTime() < ms).length;
    const within = (length: number): number =>
      spentAt.filter((at) => at.toISOString().slice(0, length) === now.toISOString().slice(0, length)).length;
    return { minute: since(60_000), hour: since(3_600_000), day: within(10), month: within(7) };
  }

  const isUnlimited = Object.values(limits).every((limit) => limit === Infinity);

  function isSpent(): boolean {
    if (isUnlimited) return false;
    const { minute, day, month } = used();
    return minute >= limits.perMinute || day >= limits.perDay || month >= limits.perMonth;
  }

  async function answerFile(request: IncomingMessage, response: ServerResponse, hash: string): Promise<void> {
    const number = requests.length + 1;
    const isKeyOk = keyRefusal(request, key) === undefined;
    const log = (status: number): void => {
      requests[number - 1] = { hash, number, at, isKeyOk, status };
    };
    const at = clock.now();
    log(0);
    const sent = (status: number, body: object): void => {
      log(status);
      sendJson(request, response, status, body);
    };
    const refusal = keyRefusal(request, key);
    if (refusal !== undefined) return sent(401, refusal);
    if (isSpent()) return sent(429, errorBody('QuotaExceededError', 'Quota exceeded'));
    spentAt.push(at);
    if (latencyMs > 0) await clock.sleep(latencyMs);
    const planned = fault?.({ hash, number });
    if (planned !== undefined) {
      log(await fail(planned, request, response, bodies.get(hash) ?? fileReport({ hashes: hashesOf(hash) })));
      return;
    }
    const body = bodies.get(hash.toLowerCase());
    if (body !== undefined) return sent(200, body);
    if (algorithmOf(hash) === undefined) {
      return sent(400, errorBody('InvalidArgumentError', `Resource "${hash}" is not a valid hash`));
    }
    sent(404, errorBody('NotFoundError', `File "${hash}" not found`));
  }

  function answerQuotas(request: IncomingMessage, response: ServerResponse): void {
    const { hour, day, month } = used();
    const quota = (allowed: number, count: number): object => ({
      user: { allowed: Number.isFinite(allowed) ? allowed : 1_000_000_000, used: count },
    });
    sendJson(request, response, 200, {
      data: {
        api_requests_hourly: quota(limits.perMinute * 60, hour),
        api_requests_daily: quota(limits.perDay, day),
        api_requests_monthly: quota(limits.perMonth, month),
      },
    });
  }

  const server = createServer((request, response) => {
    const [, hash] = /^\/api\/v3\/files\/([^/?]+)$/.exec(request.url ?? '') ?? [];
    const [, user] = /^\/api\/v3\/users\/([^/?]+)\/overall_quotas$/.exec(request.url ?? '') ?? [];
    if (hash !== undefined) {
      answerFile(request, response, hash).catch(() => response.destroy());
      return;
    }
    const refusal = keyRefusal(request, key);
    if (refusal !== undefined) sendJson(request, response, 401, refusal);
    else if (user !== undefined) answerQuotas(request, response);
    else sendJson(request, response, 404, errorBody('NotFoundError', 'Resource not found'));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}${BASE_PATH}`,
    requests,
    learn,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A report as VirusTotal would give for these facts, the same every time. Its engines are made up: no vendor said any of this. */
export function fileReport(facts: FileFacts): ReportBody {
  const hashes = allHashes(facts.hashes);
  const { detections = 0, engines = 72, firstSubmission = new Date(Date.UTC(2024, 0, 15)) } = facts;
  const { lastAnalysis = new Date(Date.UTC(2026, 0, 15)), name = `${hashes.sha1.slice(0, 8)}.exe` } = facts;
  const firstSubmissionSeconds = Math.floor(firstSubmission.getTime() / 1000);
  const lastAnalysisSeconds = Math.floor(lastAnalysis.getTime() / 1000);
  const isSigned = facts.signer !== undefined;
  const signature = `Trojan.${facts.family ?? 'Generic'}`;
  const results = ENGINE_NAMES.slice(0, engines).map((engine, index) => [
    engine,
    {
      method: 'blacklist',
      engine_name: engine,
      engine_version: '1.0.0',
      engine_update: lastAnalysis.toISOString().slice(0, 10).replaceAll('-', ''),
      category: index < detections ? 'malicious' : 'undetected',
      result: index < detections ? `${signature}.${hashes.sha1.slice(0, 4)}` : null,
    },
  ]);
  const analysis = {
    last_analysis_date: lastAnalysisSeconds,
    last_analysis_stats: {
      malicious: detections,
      suspicious: 0,
      undetected: engines - detections,
      harmless: 0,
      timeout: 0,
      'confirmed-timeout': 0,
      failure: 0,
      'type-unsupported': ENGINE_NAMES.length - engines,
    },
    last_analysis_results: Object.fromEntries(results),
  };
  const threat = {
    popular_threat_classification: {
      suggested_threat_label: `trojan.${facts.family}/win32`,
      popular_threat_category: [{ value: 'trojan', count: detections }],
      popular_threat_name: [{ value: facts.family, count: detections }],
    },
  };
  const attributes = {
    ...hashes,
    ...(engines > 0 ? analysis : {}),
    ...(facts.family !== undefined ? threat : {}),
    ...(isSigned ? { signature_info: { verified: 'Signed', signers: `${facts.signer}; Example Root CA` } } : {}),
    ...(facts.distributor !== undefined
      ? { known_distributors: { distributors: [facts.distributor], products: [], filenames: [name] } }
      : {}),
    first_submission_date: firstSubmissionSeconds,
    last_submission_date: Math.max(firstSubmissionSeconds, lastAnalysisSeconds),
    last_modification_date: Math.max(firstSubmissionSeconds, lastAnalysisSeconds),
    times_submitted: 1,
    unique_sources: 1,
    reputation: 0,
    total_votes: { harmless: 0, malicious: 0 },
    meaningful_name: name,
    names: [name],
    type_description: 'Win32 EXE',
    type_tag: 'peexe',
    type_extension: 'exe',
    size: facts.sizeBytes ?? 73_802,
    tags: ['peexe', ...(isSigned ? ['signed'] : []), ...(facts.distributor !== undefined ? ['known-distributor'] : [])],
  };
  // VirusTotal's name for a file is its SHA-256, whatever it is asked by.
  const self = `https://www.virustotal.com/api/v3/files/${hashes.sha256}`;
  const data = { id: hashes.sha256, type: 'file', links: { self }, attributes };
  return { data };
}

const ENGINE_NAMES: readonly string[] = [
  'Amber',
  'Basalt',
  'Cobalt',
  'Dune',
  'Ember',
  'Fjord',
  'Granite',
  'Harbor',
  'Iris',
].flatMap((first) =>
  ['Defender', 'Guard', 'Lab', 'Scan', 'Sentry', 'Shield', 'Trace', 'Watch'].map((last) => `${first}${last}`),
);

function allHashes(hashes: FileHashes): Required<FileHashes> {
  const seed = hashes.sha1 ?? hashes.sha256 ?? hashes.md5 ?? '';
  const derived = (algorithm: string): string => createHash(algorithm).update(seed).digest('hex');
  return {
    sha1: hashes.sha1 ?? derived('sha1'),
    sha256: hashes.sha256 ?? derived('sha256'),
    md5: hashes.md5 ?? derived('md5'),
  };
}

function hashesOf(hash: string): FileHashes {
  const algorithm = algorithmOf(hash);
  return algorithm === undefined ? {} : { [algorithm]: hash };
}

function keyRefusal(request: IncomingMessage, key: string | undefined): object | undefined {
  const given = request.headers['x-apikey'];
  if (given === undefined) return errorBody('AuthenticationRequiredError', 'X-Apikey header is missing');
  return key === undefined || given === key ? undefined : errorBody('WrongCredentialsError', 'Wrong API key');
}

function errorBody(code: string, message: string): object {
  return { error: { message, code } };
}

/** As VirusTotal does, packs only for who accepts gzip and has the word in its User-Agent. */
function sendJson(request: IncomingMessage, response: ServerResponse, status: number, body: object): void {
  const text = Buffer.from(JSON.stringify(body, undefined, 2));
  const wantsGzip = [request.headers['accept-encoding'], request.headers['user-agent']].every((header) =>
    String(header).includes('gzip'),
  );
  response.writeHead(status, { 'content-type': JSON_TYPE, ...(wantsGzip ? { 'content-encoding': 'gzip' } : {}) });
  response.end(wantsGzip ? gzipSync(text) : text);
}

/** Does what the fault says; returns the status that was sent. */
async function fail(
  fault: Fault,
  request: IncomingMessage,
  response: ServerResponse,
  body: ReportBody,
): Promise<number> {
  const text = JSON.stringify(body);
  switch (fault.kind) {
    case 'status': {
      const type = fault.isHtml ? 'text/html' : JSON_TYPE;
      const retryAfter = fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter };
      response.writeHead(fault.status, { 'content-type': type, ...retryAfter });
      const code = fault.status === 429 ? 'QuotaExceededError' : 'TransientError';
      const page = `<title>${fault.status}</title>${fault.status}`;
      response.end(fault.isHtml ? page : JSON.stringify(errorBody(code, 'Try again later')));
      return fault.status;
    }
    case 'reset':
      request.socket.resetAndDestroy();
      return 0;
    case 'hang':
      return 0;
    case 'drip': {
      response.writeHead(200, { 'content-type': JSON_TYPE });
      for (let position = 0; !response.destroyed; position = (position + 1) % text.length) {
        response.write(text[position]);
        await systemClock.sleep(DRIP_PAUSE_MS);
      }
      return 200;
    }
    case 'truncated':
      response.writeHead(200, { 'content-type': JSON_TYPE, 'content-length': String(text.length) });
      response.write(text.slice(0, text.length / 2), () => request.socket.destroy());
      return 200;
    case 'portal':
      response.writeHead(fault.status ?? 200, { 'content-type': 'text/html' }).end(PORTAL_PAGE);
      return fault.status ?? 200;
    case 'content_type':
      response.writeHead(200, { 'content-type': 'text/plain' }).end(text);
      return 200;
    case 'huge':
      response.writeHead(200, { 'content-type': JSON_TYPE, 'content-encoding': 'gzip' });
      hugeBody ??= gzipSync(Buffer.alloc(HUGE_BYTES, ' '));
      response.end(hugeBody);
      return 200;
    case 'another_file': {
      const other = createHash('sha1').update(`another than ${text}`).digest('hex');
      response.writeHead(200, { 'content-type': JSON_TYPE });
      response.end(JSON.stringify(fileReport({ hashes: { sha1: other } })));
      return 200;
    }
    case 'not_packed':
      response.writeHead(200, { 'content-type': JSON_TYPE, 'content-encoding': 'gzip' }).end(text);
      return 200;
    case 'redirect':
      response.writeHead(302, { location: fault.location }).end();
      return 302;
  }
}
