import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import type { AxiosInstance } from 'axios';
import type { Clock } from '../clock.js';
import { systemCodeOf } from '../errors.js';
import type { HttpProxy } from './proxy.js';
import type { Attempt, HttpResponse, QuotaAttempt } from './response.js';

/** How VirusTotal is reached. */
export interface ClientOptions {
  /** Validated: https, or http to loopback. */
  readonly baseUrl: string;
  readonly key: string;
  /** Of this program, for the User-Agent. */
  readonly version: string;
  /** For one attempt as a whole, from the first byte sent to the last one read. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly proxy?: HttpProxy;
}

/** VirusTotal, one request at a time: no retries, no pacing, no memory. */
export interface VirusTotalClient {
  /** Asks about one file by a lower-case digest. Whatever happens on the way is told by the attempt; never rejects. */
  ask(hash: string): Promise<Attempt>;
  /** Asks for VirusTotal's own count of what the key has used. Costs no quota; never rejects. */
  overallQuotas(): Promise<QuotaAttempt>;
  /** Closes idle connections. */
  close(): void;
}

/** The largest report seen had 1.1 MB; the bound is on the unpacked body. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

type ResponseModule = typeof import('./response.js');

/** A client whose libraries are loaded here and not before: they cost more start-up time than an answer from the cache. */
export async function openClient(options: ClientOptions): Promise<VirusTotalClient> {
  const [{ default: axios }, response] = await Promise.all([import('axios'), import('./response.js')]);
  // As axios asks for at each request: what differs is set anew each time, on both ends of it.
  const keepAlive = { keepAlive: true, keepAliveMsecs: 60_000 };
  const agents = {
    httpAgent: new HttpAgent(keepAlive),
    httpsAgent: new HttpsAgent({ ...keepAlive, rejectUnauthorized: true }),
  };
  const http = axios.create({
    ...agents,
    adapter: 'http',
    baseURL: options.baseUrl.replace(/\/+$/, ''),
    timeout: options.timeoutMs,
    // axios would send x-apikey along to wherever a redirect points.
    maxRedirects: 0,
    sensitiveHeaders: ['x-apikey'],
    // Bounded where the body is read: axios would lay two more streams over it.
    maxContentLength: -1,
    // The status is judged before the body is read, and by us.
    validateStatus: () => true,
    responseType: 'stream',
    // Unpacked here at once: a stream for each answer costs ten times as much as unpacking it.
    decompress: false,
    proxy: options.proxy === undefined ? false : { ...options.proxy },
    headers: {
      accept: 'application/json',
      'accept-encoding': 'gzip',
      // VirusTotal packs answers only for a User-Agent that has the word gzip in it.
      'user-agent': `sysmon-vt/${options.version} (gzip)`,
      'x-tool': 'sysmon-vt',
    },
  });
  return new AxiosClient(http, response, options, agents);
}

class AxiosClient implements VirusTotalClient {
  // Private fields, so that no inspection of the client shows the key or the proxy's password.
  readonly #http: AxiosInstance;
  readonly #response: ResponseModule;
  readonly #key: string;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #agents: { readonly httpAgent: HttpAgent; readonly httpsAgent: HttpsAgent };

  constructor(
    http: AxiosInstance,
    response: ResponseModule,
    { key, timeoutMs, clock }: ClientOptions,
    agents: { readonly httpAgent: HttpAgent; readonly httpsAgent: HttpsAgent },
  ) {
    this.#http = http;
    this.#response = response;
    this.#key = key;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#agents = agents;
  }

  async ask(hash: string): Promise<Attempt> {
    const askedAt = this.#clock.now();
    const response = await this.#get(`/files/${hash}`);
    if ('failure' in response) return { kind: 'transient', why: response.failure };
    return this.#response.readAttempt(this.#redact(response), { hash, askedAt });
  }

  async overallQuotas(): Promise<QuotaAttempt> {
    const response = await this.#get(`/users/${encodeURIComponent(this.#key)}/overall_quotas`);
    if ('failure' in response) return { kind: 'untold' };
    return this.#response.readQuotaAttempt(this.#redact(response));
  }

  close(): void {
    this.#agents.httpAgent.destroy();
    this.#agents.httpsAgent.destroy();
  }

  /** An AxiosError holds the key, the proxy's password and sometimes the URL: it is put into words here and dropped. */
  async #get(path: string): Promise<HttpResponse | { readonly failure: string }> {
    // axios' timeout does not end a body that trickles in, this does.
    const deadline = AbortSignal.timeout(this.#timeoutMs);
    try {
      const { status, headers, data } = await this.#http.get<Readable>(path, {
        signal: deadline,
        headers: { 'x-apikey': this.#key },
      });
      return {
        status,
        contentType: textOf(headers['content-type']),
        retryAfter: textOf(headers['retry-after']),
        body: await this.#readBody(data, textOf(headers['content-encoding']), deadline),
      };
    } catch (error) {
      return { failure: this.#describe(error, deadline) };
    }
  }

  /** Refusals are quoted to people, and a server may repeat the key in them. Answers are not touched. */
  #redact(response: HttpResponse): HttpResponse {
    if (response.status === 200 || response.status === 404 || 'failure' in response.body) return response;
    return { ...response, body: { text: response.body.text.replaceAll(this.#key, '[key]') } };
  }

  async #readBody(
    stream: Readable,
    encoding: string | undefined,
    deadline: AbortSignal,
  ): Promise<HttpResponse['body']> {
    try {
      const bytes = await readWhole(stream);
      // Gzip is the only packing that was asked for; some servers name it in the old way.
      const isPacked = encoding !== undefined && /^\s*(x-)?gzip\s*$/i.test(encoding) && bytes.length > 0;
      return { text: (isPacked ? gunzipSync(bytes, { maxOutputLength: MAX_BODY_BYTES }) : bytes).toString('utf8') };
    } catch (error) {
      return { failure: this.#describe(error, deadline) };
    }
  }

  /** What went wrong on the way, in our own words: from codes only, since messages may quote the URL. */
  #describe(error: unknown, deadline: AbortSignal): string {
    const code = systemCodeOf(error) ?? 'no code';
    if (deadline.aborted || code === 'ETIMEDOUT' || code === 'ECONNABORTED') {
      return `no whole answer within ${this.#timeoutMs / 1000} s`;
    }
    if (code === 'ERR_BUFFER_TOO_LARGE') {
      return `an answer of more than ${MAX_BODY_BYTES / 1024 / 1024} MiB`;
    }
    if (code.startsWith('Z_')) return 'an answer that does not unpack';
    if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ERR_BAD_RESPONSE') {
      return 'the connection was cut off';
    }
    if (/CERT|SIGNATURE|ISSUER|ERR_TLS/.test(code)) {
      return `the server’s certificate is not trusted (${code}): behind a proxy that opens TLS, set NODE_EXTRA_CA_CERTS`;
    }
    return `no connection (${code})`;
  }
}

/** By events, since iterating costs as much as all that is done with the bytes. Rejects with ERR_BUFFER_TOO_LARGE as gunzip does. */
function readWhole(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_BODY_BYTES) {
        stream.destroy(Object.assign(new RangeError('the body is too large'), { code: 'ERR_BUFFER_TOO_LARGE' }));
      }
    });
    stream.once('end', () => resolve(Buffer.concat(chunks)));
    stream.once('error', reject);
    stream.once('close', () => {
      if (stream.readableEnded) return;
      reject(Object.assign(new Error('cut off'), { code: 'ERR_STREAM_PREMATURE_CLOSE' }));
    });
  });
}

function textOf(header: unknown): string | undefined {
  return typeof header === 'string' ? header : undefined;
}
