import { algorithmOf, type FileHashes, LOOKUP_ALGORITHMS, lookupKeyOf } from './hash.js';

/** What asking VirusTotal gave. `pending`: it knows the file and has not analysed it yet. */
export type LookupStatus = 'found' | 'not_found' | 'pending';

/** How many engines answered in which way, in VirusTotal's own categories. */
export interface EngineCounts {
  readonly malicious: number;
  readonly suspicious: number;
  readonly undetected: number;
  readonly harmless: number;
  readonly timeout: number;
  readonly confirmedTimeout: number;
  readonly failure: number;
  readonly typeUnsupported: number;
}

/** An engine that calls the file malicious, and under what name. */
export interface Detection {
  readonly engine: string;
  readonly signature?: string;
}

/** What is kept of VirusTotal's data on a file: all that judging may need later without a new question. */
export interface FileReport {
  /** Absent while the file has not been analysed. */
  readonly counts?: EngineCounts;
  readonly detectedBy: readonly Detection[];
  /** VirusTotal's suggested threat label, e.g. `trojan.orcusrat/msil`. */
  readonly label?: string;
  /** Threat categories, most votes first. */
  readonly categories: readonly string[];
  /** Sigcheck's view; a signature is good only where `verified` is `Signed`. */
  readonly signature?: { readonly verified?: string; readonly signer?: string };
  /** Marks of goodware: distributors and organizations that vouch for the file. They never overrule a detection. */
  readonly goodware: readonly string[];
  /** VirusTotal's tags that bear on trust, e.g. `revoked-cert`, `signed`. */
  readonly tags: readonly string[];
  /** A few of the names the file was submitted under. Written by strangers. */
  readonly names: readonly string[];
  readonly type?: string;
  readonly sizeBytes?: number;
  readonly reputation?: number;
  readonly firstSubmission?: Date;
  readonly lastSubmission?: Date;
  readonly lastAnalysis?: Date;
}

/** One answer of VirusTotal about one file. Only answers are kept, never failures. */
export interface Lookup {
  readonly status: LookupStatus;
  /** The digest that was asked with, lower-case hex. */
  readonly askedHash: string;
  readonly askedAt: Date;
  readonly httpStatus: number;
  /** All digests known to name this file; holds `askedHash`. */
  readonly hashes: FileHashes;
  /** Present where `status` is `found` or `pending`. */
  readonly report?: FileReport;
}

/** How long an answer counts as fresh, in milliseconds. */
export interface Lifetimes {
  readonly notFoundMs: number;
  readonly pendingMs: number;
  /** Found, first submitted under 30 days before it was asked. */
  readonly foundNewMs: number;
  /** Found, first submitted under a year before it was asked. */
  readonly foundRecentMs: number;
  readonly foundMs: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** How long this answer stays fresh, in milliseconds from `askedAt`: verdicts move most in a file's first days. */
export function lifetimeMs(lookup: Lookup, lifetimes: Lifetimes): number {
  if (lookup.status === 'not_found') return lifetimes.notFoundMs;
  if (lookup.status === 'pending') return lifetimes.pendingMs;
  const firstSubmission = lookup.report?.firstSubmission;
  if (firstSubmission === undefined) return lifetimes.foundNewMs;
  const ageMs = lookup.askedAt.getTime() - firstSubmission.getTime();
  if (ageMs < 30 * DAY_MS) return lifetimes.foundNewMs;
  if (ageMs < 365 * DAY_MS) return lifetimes.foundRecentMs;
  return lifetimes.foundMs;
}

/** Whether the answer is still within its lifetime. One from the future (a clock set back) is not trusted beyond it either. */
export function isFresh(lookup: Lookup, lifetimes: Lifetimes, now: Date): boolean {
  const ageMs = now.getTime() - lookup.askedAt.getTime();
  const lifetime = lifetimeMs(lookup, lifetimes);
  return ageMs < lifetime && ageMs > -lifetime;
}

/** The digest an answer is kept under: SHA1, where that is not known SHA256, else MD5. */
export function primaryDigestOf(lookup: Lookup): string {
  return lookupKeyOf(lookup.hashes)?.hash ?? lookup.askedHash;
}

/** All digests that name the answer's file. */
export function digestsOf(lookup: Lookup): string[] {
  return LOOKUP_ALGORITHMS.flatMap((algorithm) => lookup.hashes[algorithm] ?? []);
}

const COUNT_KEYS = [
  ['malicious', 'malicious'],
  ['suspicious', 'suspicious'],
  ['undetected', 'undetected'],
  ['harmless', 'harmless'],
  ['timeout', 'timeout'],
  ['confirmed_timeout', 'confirmedTimeout'],
  ['failure', 'failure'],
  ['type_unsupported', 'typeUnsupported'],
] as const;

type JsonObject = { readonly [name: string]: unknown };

/** The answer as it is stored: plain JSON, snake_case, times in ISO 8601. */
export function lookupToJson(lookup: Lookup): JsonObject {
  const { report } = lookup;
  return {
    status: lookup.status,
    asked_hash: lookup.askedHash,
    asked_at: lookup.askedAt.toISOString(),
    http_status: lookup.httpStatus,
    hashes: lookup.hashes,
    ...(report === undefined ? {} : { report: reportToJson(report) }),
  };
}

function reportToJson(report: FileReport): JsonObject {
  const { counts } = report;
  return {
    counts:
      counts === undefined ? undefined : Object.fromEntries(COUNT_KEYS.map(([key, field]) => [key, counts[field]])),
    detected_by: report.detectedBy,
    label: report.label,
    categories: report.categories,
    signature: report.signature,
    goodware: report.goodware,
    tags: report.tags,
    names: report.names,
    type: report.type,
    size_bytes: report.sizeBytes,
    reputation: report.reputation,
    first_submission: report.firstSubmission?.toISOString(),
    last_submission: report.lastSubmission?.toISOString(),
    last_analysis: report.lastAnalysis?.toISOString(),
  };
}

/**
 * Reads a stored answer back. Returns undefined for anything that is not a whole one: a damaged file must not become a verdict.
 * Checked by hand, not with a schema library, because `check` reads the cache and has to start at once.
 */
export function lookupFromJson(json: unknown): Lookup | undefined {
  if (!isObject(json)) return undefined;
  const status = json['status'];
  const askedHash = json['asked_hash'];
  const askedAt = readDate(json['asked_at']);
  const httpStatus = json['http_status'];
  const hashes = readHashes(json['hashes']);
  if (status !== 'found' && status !== 'not_found' && status !== 'pending') return undefined;
  if (
    typeof askedHash !== 'string' ||
    askedAt === undefined ||
    typeof httpStatus !== 'number' ||
    hashes === undefined
  ) {
    return undefined;
  }
  const algorithm = algorithmOf(askedHash);
  if (algorithm === undefined || hashes[algorithm] !== askedHash) return undefined;
  if (status === 'not_found') return { status, askedHash, askedAt, httpStatus, hashes };
  const report = readReport(json['report']);
  if (report === undefined || (status === 'found' && report.counts === undefined)) return undefined;
  return { status, askedHash, askedAt, httpStatus, hashes, report };
}

function readReport(json: unknown): FileReport | undefined {
  if (!isObject(json)) return undefined;
  const rawCounts = json['counts'];
  const counts = rawCounts === undefined ? undefined : readCounts(rawCounts);
  if (rawCounts !== undefined && counts === undefined) return undefined;
  const report: Mutable<FileReport> = {
    detectedBy: readDetections(json['detected_by']),
    categories: readTexts(json['categories']),
    goodware: readTexts(json['goodware']),
    tags: readTexts(json['tags']),
    names: readTexts(json['names']),
  };
  // Set one by one, since a run reads a hundred thousand of these: spreading an object for each took longer than all else.
  if (counts !== undefined) report.counts = counts;
  const signature = readSignature(json['signature']);
  if (signature !== undefined) report.signature = signature;
  const label = readText(json['label']);
  if (label !== undefined) report.label = label;
  const type = readText(json['type']);
  if (type !== undefined) report.type = type;
  const sizeBytes = readNumber(json['size_bytes']);
  if (sizeBytes !== undefined) report.sizeBytes = sizeBytes;
  const reputation = readNumber(json['reputation']);
  if (reputation !== undefined) report.reputation = reputation;
  const firstSubmission = readDate(json['first_submission']);
  if (firstSubmission !== undefined) report.firstSubmission = firstSubmission;
  const lastSubmission = readDate(json['last_submission']);
  if (lastSubmission !== undefined) report.lastSubmission = lastSubmission;
  const lastAnalysis = readDate(json['last_analysis']);
  if (lastAnalysis !== undefined) report.lastAnalysis = lastAnalysis;
  return report;
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

function readSignature(json: unknown): FileReport['signature'] {
  if (!isObject(json)) return undefined;
  return { ...optional('verified', readText(json['verified'])), ...optional('signer', readText(json['signer'])) };
}

function readCounts(json: unknown): EngineCounts | undefined {
  if (!isObject(json)) return undefined;
  const counts = {
    malicious: 0,
    suspicious: 0,
    undetected: 0,
    harmless: 0,
    timeout: 0,
    confirmedTimeout: 0,
    failure: 0,
    typeUnsupported: 0,
  };
  for (const [key, field] of COUNT_KEYS) {
    const count = readNumber(json[key]);
    if (count === undefined || !Number.isInteger(count) || count < 0) return undefined;
    counts[field] = count;
  }
  return counts;
}

function readDetections(json: unknown): Detection[] {
  if (!Array.isArray(json)) return [];
  return json.flatMap((detection: unknown) => {
    if (!isObject(detection) || typeof detection['engine'] !== 'string') return [];
    return [{ engine: detection['engine'], ...optional('signature', readText(detection['signature'])) }];
  });
}

function readHashes(json: unknown): FileHashes | undefined {
  if (!isObject(json)) return undefined;
  const hashes: { sha1?: string; sha256?: string; md5?: string } = {};
  for (const algorithm of LOOKUP_ALGORITHMS) {
    const hash = json[algorithm];
    if (hash === undefined) continue;
    if (typeof hash !== 'string' || algorithmOf(hash) !== algorithm) return undefined;
    hashes[algorithm] = hash;
  }
  return hashes;
}

function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function readText(json: unknown): string | undefined {
  return typeof json === 'string' ? json : undefined;
}

function readTexts(json: unknown): string[] {
  return Array.isArray(json) ? json.filter((text): text is string => typeof text === 'string') : [];
}

function readNumber(json: unknown): number | undefined {
  return typeof json === 'number' && Number.isFinite(json) ? json : undefined;
}

function readDate(json: unknown): Date | undefined {
  if (typeof json !== 'string') return undefined;
  const date = new Date(json);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** `{ [name]: value }`, or nothing where there is no value: absent members stay absent. */
function optional<Name extends string, Value>(name: Name, value: Value | undefined): { [key in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { [key in Name]?: Value });
}
