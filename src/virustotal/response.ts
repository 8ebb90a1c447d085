import { z } from 'zod';
import { VirusTotalError } from '../errors.js';
import { algorithmOf, type FileHashes, LOOKUP_ALGORITHMS, parseDigest } from '../hash.js';
import type { Detection, EngineCounts, FileReport, Lookup } from '../lookup.js';

/** What one request came to. Only `answer` says something about the file; everything else says something about the way there. */
export type Attempt =
  | { readonly kind: 'answer'; readonly lookup: Lookup }
  /** Too many requests (429), by the minute, the day, the month or an address: the answer does not tell which. */
  | { readonly kind: 'throttled'; readonly retryAfterMs?: number }
  /** Known to pass: worth another attempt. */
  | { readonly kind: 'transient'; readonly why: string; readonly retryAfterMs?: number }
  | Refusal
  /** VirusTotal does not take the question as it was put. */
  | { readonly kind: 'bad_request'; readonly status: number; readonly code?: string; readonly message: string }
  /** An answer that is not about this file or not VirusTotal's: never kept, never asked again in this run. */
  | { readonly kind: 'bad_answer'; readonly why: string };

/** 401 or 403: no further request with this key can succeed. `code` is absent where the refusal is not VirusTotal's own. */
export interface Refusal {
  readonly kind: 'refused';
  readonly status: number;
  readonly code?: string;
  readonly message: string;
}

/** What asking for VirusTotal's own count came to. */
export type QuotaAttempt =
  | { readonly kind: 'quotas'; readonly quotas: OverallQuotas }
  | Refusal
  /** It cannot be reached, or does not tell. */
  | { readonly kind: 'untold' };

/** An HTTP response as far as it was read. */
export interface HttpResponse {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly retryAfter: string | undefined;
  /** The decoded body, or why it could not be read to its end. */
  readonly body: { readonly text: string } | { readonly failure: string };
}

/** Which file was asked about, and when. */
export interface Question {
  /** Lower-case hex. */
  readonly hash: string;
  readonly askedAt: Date;
}

/** How much of one quota is used; of user and group the one with less left. */
interface Quota {
  readonly allowed: number;
  readonly used: number;
}

/** VirusTotal's own count. It has none by the minute; each is absent where the account has no such quota. */
export interface OverallQuotas {
  readonly hourly?: Quota;
  readonly daily?: Quota;
  readonly monthly?: Quota;
}

/** More than ever seen (some 80 engines), and few enough to keep for each of a million files. */
const MAX_DETECTIONS = 150;
const MAX_NAMES = 5;
const MAX_CATEGORIES = 5;
const MAX_GOODWARE_MARKS = 10;
const MAX_TEXT_LENGTH = 200;

/** A server that asks for more patience than this is asked again tomorrow anyway. */
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** The last second that ISO 8601 writes with a year of four digits. */
const MAX_EPOCH_SECONDS = 253_402_300_799;

const TRUST_TAGS: ReadonlySet<string> = new Set([
  'signed',
  'invalid-signature',
  'revoked-cert',
  'self-signed',
  'known-distributor',
  'legit',
  'trusted',
  'nsrl',
  'software-collection',
  'overlay',
  'corrupt',
]);

const COUNT_FIELDS: ReadonlyMap<string, keyof EngineCounts> = new Map([
  ['malicious', 'malicious'],
  ['suspicious', 'suspicious'],
  ['undetected', 'undetected'],
  ['harmless', 'harmless'],
  ['timeout', 'timeout'],
  ['confirmed-timeout', 'confirmedTimeout'],
  ['failure', 'failure'],
  ['type-unsupported', 'typeUnsupported'],
]);

// VirusTotal promises no attribute. One that is missing or of another type is left out; it never costs the rest of the answer.
const optionalText = z.string().optional().catch(undefined);
const optionalNumber = z.number().optional().catch(undefined);
const texts = z
  .array(z.unknown())
  .catch([])
  .transform((list) => list.filter((value): value is string => typeof value === 'string' && value !== ''));
// Most dates are numbers of seconds; a few came as a string of digits.
const optionalDate = z
  .union([z.number(), z.string().regex(/^\d+$/).transform(Number)])
  .refine((seconds) => seconds > 0 && seconds <= MAX_EPOCH_SECONDS)
  .transform((seconds) => new Date(seconds * 1000))
  .optional()
  .catch(undefined);

type JsonObject = { readonly [name: string]: unknown };

/** What one engine says. */
const engineSchema = z.object({ engine_name: optionalText, result: optionalText });

const attributesSchema = z.object({
  sha1: optionalText,
  sha256: optionalText,
  md5: optionalText,
  last_analysis_stats: z.custom<JsonObject>(isObject).optional().catch(undefined),
  // Of some seventy engines only those that detect are looked at: to check all would cost more than the rest of the answer.
  last_analysis_results: z.custom<JsonObject>(isObject).optional().catch(undefined),
  popular_threat_classification: z
    .object({
      suggested_threat_label: optionalText,
      popular_threat_category: z
        .array(z.object({ value: optionalText, count: z.number().catch(0) }).catch({ value: undefined, count: 0 }))
        .catch([]),
    })
    .optional()
    .catch(undefined),
  signature_info: z.object({ verified: optionalText, signers: optionalText }).optional().catch(undefined),
  known_distributors: z.object({ distributors: texts }).optional().catch(undefined),
  trusted_verdict: z.object({ verdict: optionalText, organization: optionalText }).optional().catch(undefined),
  monitor_info: z.object({ organizations: texts }).optional().catch(undefined),
  tags: texts,
  meaningful_name: optionalText,
  names: texts,
  type_description: optionalText,
  size: z.int().nonnegative().optional().catch(undefined),
  reputation: optionalNumber,
  first_submission_date: optionalDate,
  last_submission_date: optionalDate,
  last_analysis_date: optionalDate,
});

type Attributes = z.infer<typeof attributesSchema>;

const fileSchema = z.object({
  data: z.object({ type: z.literal('file'), id: optionalText, attributes: attributesSchema }),
});

const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string().catch('') }) });

const quotaSchema = z.object({ allowed: z.number().nonnegative(), used: z.number().nonnegative() });
const quotaSidesSchema = z
  .object({ user: quotaSchema.optional().catch(undefined), group: quotaSchema.optional().catch(undefined) })
  .optional()
  .catch(undefined);
const quotasSchema = z.object({
  data: z.object({
    api_requests_hourly: quotaSidesSchema,
    api_requests_daily: quotaSidesSchema,
    api_requests_monthly: quotaSidesSchema,
  }),
});

/**
 * What a response to `GET /files/{hash}` says. The status decides before the body is looked at: error pages of proxies and edges
 * are often not JSON. Only a whole 200 about the asked file and VirusTotal's own 404 become an answer.
 */
export function readAttempt(response: HttpResponse, question: Question): Attempt {
  const { status } = response;
  if (status === 200) return readFile(response, question);
  if (status === 404) return readNotFound(response, question);
  const wait = optionalRetryAfter(response, question.askedAt);
  if (status === 429) return { kind: 'throttled', ...wait };
  // 424: a request it depended on failed. 408 and 425 are asked for by proxies on the way.
  if (status >= 500 || status === 424 || status === 408 || status === 425) {
    return { kind: 'transient', why: `HTTP ${status}`, ...wait };
  }
  if (status >= 300 && status < 400) {
    return { kind: 'bad_answer', why: `a redirect (${status}): a portal or proxy may stand in the way` };
  }
  if (status < 300) return { kind: 'transient', why: `HTTP ${status} instead of an answer` };
  if (status === 407) return { kind: 'bad_answer', why: 'the proxy wants a user name and password (407)' };
  if (isRefusal(status)) return readRefusal(response);
  const refusal = readError(response);
  if (refusal?.code === 'NotAvailableYet') return { kind: 'transient', why: 'not available yet', ...wait };
  return { kind: 'bad_request', status, ...(refusal ?? { message: 'no reason given' }) };
}

/** What a response to `GET /users/{key}/overall_quotas` says. */
export function readQuotaAttempt(response: HttpResponse): QuotaAttempt {
  if (isRefusal(response.status)) return readRefusal(response);
  const quotas = response.status === 200 ? readOverallQuotas(response) : undefined;
  return quotas === undefined ? { kind: 'untold' } : { kind: 'quotas', quotas };
}

/** The failure that a refusal of the key is, for people. */
export function keyRefused({ status, code, message }: Refusal): VirusTotalError {
  const hint = status === 401 ? 'check VT_API_KEY' : 'the key may lack the right, or be banned';
  const cause = code === undefined ? message : `${code}: ${message}; ${hint}`;
  return new VirusTotalError('KEY_REFUSED', `VirusTotal: HTTP ${status}, ${cause}`, { isFinal: true });
}

function isRefusal(status: number): boolean {
  return status === 401 || status === 403;
}

function readRefusal(response: HttpResponse): Refusal {
  const said = readError(response) ?? {
    message: 'the refusal is not in the form of VirusTotal: a proxy or firewall may stand in the way',
  };
  return { kind: 'refused', status: response.status, ...said };
}

/** VirusTotal's count of what the key has used, or undefined if the answer does not tell. */
function readOverallQuotas(response: HttpResponse): OverallQuotas | undefined {
  const quotas = quotasSchema.safeParse(readJson(response));
  if (!quotas.success) return undefined;
  const { api_requests_hourly, api_requests_daily, api_requests_monthly } = quotas.data.data;
  const hourly = tighter(api_requests_hourly);
  const daily = tighter(api_requests_daily);
  const monthly = tighter(api_requests_monthly);
  if (hourly === undefined && daily === undefined && monthly === undefined) return undefined;
  return {
    ...(hourly === undefined ? {} : { hourly }),
    ...(daily === undefined ? {} : { daily }),
    ...(monthly === undefined ? {} : { monthly }),
  };
}

function tighter(sides: z.infer<typeof quotaSidesSchema>): Quota | undefined {
  const quotas = [sides?.user, sides?.group].filter((quota) => quota !== undefined);
  return quotas.sort((one, other) => one.allowed - one.used - (other.allowed - other.used))[0];
}

function readFile(response: HttpResponse, { hash, askedAt }: Question): Attempt {
  if ('failure' in response.body) return { kind: 'transient', why: response.body.failure };
  const json = readJson(response);
  // What is no JSON is no answer of VirusTotal's; a good one may follow.
  if (json === undefined) return { kind: 'transient', why: 'an answer that is not JSON' };
  const file = fileSchema.safeParse(json);
  if (!file.success) return { kind: 'bad_answer', why: 'an answer that is not a file report' };
  const { id, attributes } = file.data.data;
  const hashes = readHashes(id, attributes);
  const algorithm = algorithmOf(hash);
  if (algorithm === undefined || hashes?.[algorithm] === undefined) {
    return { kind: 'bad_answer', why: 'an answer that does not name the file asked about' };
  }
  if (hashes[algorithm] !== hash) return { kind: 'bad_answer', why: 'an answer about another file' };
  const counts = readCounts(attributes);
  return {
    kind: 'answer',
    lookup: {
      status: counts === undefined ? 'pending' : 'found',
      askedHash: hash,
      askedAt,
      httpStatus: response.status,
      hashes,
      report: readReport(attributes, counts),
    },
  };
}

function readNotFound(response: HttpResponse, { hash, askedAt }: Question): Attempt {
  if ('failure' in response.body) return { kind: 'transient', why: response.body.failure };
  const algorithm = algorithmOf(hash);
  const refusal = readError(response);
  if (algorithm === undefined || refusal?.code !== 'NotFoundError') {
    return { kind: 'bad_answer', why: 'a 404 that is not VirusTotal’s: a portal or proxy may stand in the way' };
  }
  // The real message repeats the hash as asked.
  const named = /\b[0-9a-f]{32,64}\b/i.exec(refusal.message)?.[0].toLowerCase();
  if (named !== undefined && named !== hash) return { kind: 'bad_answer', why: 'an answer about another file' };
  return {
    kind: 'answer',
    lookup: {
      status: 'not_found',
      askedHash: hash,
      askedAt,
      httpStatus: response.status,
      hashes: { [algorithm]: hash },
    },
  };
}

/** The digests that the answer gives for its file; undefined where they contradict each other. */
function readHashes(id: string | undefined, attributes: Attributes): FileHashes | undefined {
  // The id of a file is its SHA-256, whatever it was asked by.
  const idHash = id === undefined ? undefined : parseDigest('sha256', id);
  const hashes: { sha1?: string; sha256?: string; md5?: string } = idHash === undefined ? {} : { sha256: idHash };
  for (const algorithm of LOOKUP_ALGORITHMS) {
    const text = attributes[algorithm];
    const hash = text === undefined ? undefined : parseDigest(algorithm, text);
    if (hash === undefined) continue;
    if (hashes[algorithm] !== undefined && hashes[algorithm] !== hash) return undefined;
    hashes[algorithm] = hash;
  }
  return hashes;
}

/** The counts; undefined where no engine has given an opinion yet. */
function readCounts(attributes: Attributes): EngineCounts | undefined {
  const { last_analysis_stats: stats, last_analysis_results: results } = attributes;
  const stated = stats === undefined ? undefined : statedCounts(stats);
  if (stated !== undefined) return stated;
  if (results === undefined) return undefined;
  const counts = noCounts();
  for (const result of Object.values(results)) {
    const category = categoryOf(result);
    const field = typeof category === 'string' ? COUNT_FIELDS.get(category) : undefined;
    if (field !== undefined) counts[field]++;
  }
  return hasOpinion(counts) ? counts : undefined;
}

function statedCounts(stats: JsonObject): EngineCounts | undefined {
  const counts = noCounts();
  for (const [category, field] of COUNT_FIELDS) {
    const count = stats[category];
    if (count === undefined) continue;
    if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) return undefined;
    counts[field] = count;
  }
  return hasOpinion(counts) ? counts : undefined;
}

type MutableCounts = { -readonly [Field in keyof EngineCounts]: number };

function noCounts(): MutableCounts {
  return {
    malicious: 0,
    suspicious: 0,
    undetected: 0,
    harmless: 0,
    timeout: 0,
    confirmedTimeout: 0,
    failure: 0,
    typeUnsupported: 0,
  };
}

function hasOpinion(counts: EngineCounts): boolean {
  return counts.malicious + counts.suspicious + counts.undetected + counts.harmless > 0;
}

function readReport(attributes: Attributes, counts: EngineCounts | undefined): FileReport {
  const threat = attributes.popular_threat_classification;
  const trusted = attributes.trusted_verdict;
  const categories = (threat?.popular_threat_category ?? [])
    .sort((one, other) => other.count - one.count)
    .flatMap(({ value }) => value ?? []);
  const goodware = [
    ...(attributes.known_distributors?.distributors ?? []),
    ...(trusted?.verdict === 'goodware' && trusted.organization !== undefined ? [trusted.organization] : []),
    ...(attributes.monitor_info?.organizations ?? []),
  ];
  const names = attributes.meaningful_name ? [attributes.meaningful_name, ...attributes.names] : attributes.names;
  return {
    ...optional('counts', counts),
    detectedBy: readDetections(attributes),
    ...optional('label', shortText(threat?.suggested_threat_label)),
    categories: shortTexts(categories, MAX_CATEGORIES),
    ...optional('signature', readSignature(attributes)),
    goodware: shortTexts(goodware, MAX_GOODWARE_MARKS),
    tags: [...new Set(attributes.tags)].filter((tag) => TRUST_TAGS.has(tag)),
    names: shortTexts(names, MAX_NAMES),
    ...optional('type', shortText(attributes.type_description)),
    ...optional('sizeBytes', attributes.size),
    ...optional('reputation', attributes.reputation),
    ...optional('firstSubmission', attributes.first_submission_date),
    ...optional('lastSubmission', attributes.last_submission_date),
    ...optional('lastAnalysis', attributes.last_analysis_date),
  };
}

function readDetections({ last_analysis_results: results }: Attributes): Detection[] {
  return Object.entries(results ?? {})
    .filter(([, result]) => categoryOf(result) === 'malicious')
    .slice(0, MAX_DETECTIONS)
    .map(([name, said]) => {
      const { engine_name: engine, result } = engineSchema.parse(said);
      return { engine: cut(engine ?? name), ...optional('signature', shortText(result)) };
    });
}

/** In which way an engine answered. */
function categoryOf(result: unknown): unknown {
  return isObject(result) ? result['category'] : undefined;
}

/** Present also for unsigned files that only have version strings; `verified` is missing then. */
function readSignature({ signature_info: signature }: Attributes): FileReport['signature'] {
  // One string, the leaf's name first: "Microsoft Windows; Microsoft Windows Production PCA 2011; …".
  const signer = signature?.signers?.split(';')[0]?.trim();
  if (!signature?.verified && !signer) return undefined;
  return { ...optional('verified', shortText(signature?.verified)), ...optional('signer', shortText(signer)) };
}

function readError(response: HttpResponse): { readonly code: string; readonly message: string } | undefined {
  const refusal = errorSchema.safeParse(readJson(response));
  if (!refusal.success) return undefined;
  const { code, message } = refusal.data.error;
  return { code: printable(code), message: printable(message) };
}

function readJson({ body, contentType }: HttpResponse): unknown {
  if ('failure' in body || !/^application\/([\w.+-]+\+)?json\b/i.test(contentType ?? '')) return undefined;
  try {
    return JSON.parse(body.text);
  } catch {
    // The callers tell what it means that the body is no JSON.
    return undefined;
  }
}

function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function optionalRetryAfter({ retryAfter }: HttpResponse, now: Date): { readonly retryAfterMs?: number } {
  if (retryAfter === undefined) return {};
  // RFC 9110, 10.2.3: seconds or an HTTP date.
  const ms = /^\s*\d+\s*$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - now.getTime();
  return Number.isNaN(ms) ? {} : { retryAfterMs: Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS) };
}

/** Text of a server for a message to people: one line, no characters that steer a terminal. */
function printable(text: string): string {
  return cut(text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' '));
}

function shortTexts(list: readonly string[], maxCount: number): string[] {
  return [...new Set(list.map(cut))].slice(0, maxCount);
}

function shortText(text: string | undefined): string | undefined {
  return text ? cut(text) : undefined;
}

function cut(text: string): string {
  if (text.length <= MAX_TEXT_LENGTH) return text;
  // Half of a pair would not survive UTF-8.
  return text.slice(0, MAX_TEXT_LENGTH).replace(/[\uD800-\uDBFF]$/, '');
}

/** `{ [name]: value }`, or nothing where there is no value: absent members stay absent. */
function optional<Name extends string, Value>(name: Name, value: Value | undefined): { [key in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { [key in Name]?: Value });
}
