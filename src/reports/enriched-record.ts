import { type FileHashes, isLookupAlgorithm, LOOKUP_ALGORITHMS, parseDigest } from '../hash.js';
import { fileLink, isReason, type VerdictName } from '../verdict.js';
import { type FileVerdict, VERDICTS_WORST_FIRST } from './report.js';

/** Longest label, flag or list name that is kept; VirusTotal's own are far shorter. */
const MAX_TEXT = 200;
const MAX_FLAGS = 16;

/**
 * Reads a `virustotal` member. Undefined for anything that does not have the form this program writes: a damaged or forged member
 * must not become a verdict. Its `link` is not taken over but built anew from the SHA256.
 */
export function parseVirustotalMember(member: unknown): FileVerdict | undefined {
  if (!isObject(member)) return undefined;
  const verdict = VERDICTS_WORST_FIRST.find((name) => name === member['verdict']);
  if (verdict === undefined) return undefined;
  const hashes: { sha1?: string; sha256?: string; md5?: string } = {};
  for (const algorithm of LOOKUP_ALGORITHMS) {
    const text = member[algorithm];
    if (text === undefined) continue;
    const digest = typeof text === 'string' ? parseDigest(algorithm, text) : undefined;
    if (digest === undefined) return undefined;
    hashes[algorithm] = digest;
  }
  const counts = readCounts(verdict, member);
  if (counts === undefined) return undefined;
  const lookupKey = readLookupKey(member['lookup_key'], hashes);
  if (member['lookup_key'] !== undefined && lookupKey === undefined) return undefined;
  // What is none of ours is not shown.
  const reason = isReason(member['reason']) ? member['reason'] : undefined;
  const knownGood = isObject(member['known_good']) ? readText(member['known_good']['source']) : undefined;
  const label = readText(member['label']);
  const firstSubmission = readDate(member['first_submission']);
  const lastAnalysis = readDate(member['last_analysis']);
  const checkedAt = readDate(member['checked_at']);
  const flags = Array.isArray(member['flags']) ? member['flags'].slice(0, MAX_FLAGS) : [];
  return {
    verdict,
    ...(reason === undefined ? {} : { reason }),
    ...counts,
    ...(label === undefined ? {} : { label }),
    ...(lookupKey === undefined ? {} : { lookupKey }),
    hashes,
    ...(hashes.sha256 !== undefined && member['link'] !== undefined ? { link: fileLink(hashes.sha256) } : {}),
    ...(firstSubmission === undefined ? {} : { firstSubmission }),
    ...(lastAnalysis === undefined ? {} : { lastAnalysis }),
    ...(checkedAt === undefined ? {} : { checkedAt }),
    stale: member['stale'] === true,
    ...(knownGood === undefined ? {} : { knownGood }),
    flags: flags.flatMap((flag: unknown) => readText(flag) ?? []),
  };
}

/** Detections and engines; both are there exactly where engines judged the file. */
function readCounts(
  verdict: VerdictName,
  member: JsonObject,
): { readonly detections?: number; readonly engines?: number } | undefined {
  const { detections, engines } = member;
  if (verdict === 'unknown' || verdict === 'unchecked') {
    return detections === undefined && engines === undefined ? {} : undefined;
  }
  if (!isCount(detections) || !isCount(engines) || detections > engines) return undefined;
  return { detections, engines };
}

function readLookupKey(algorithm: unknown, hashes: FileHashes): FileVerdict['lookupKey'] {
  if (!isLookupAlgorithm(algorithm)) return undefined;
  const hash = hashes[algorithm];
  return hash === undefined ? undefined : { algorithm, hash };
}

type JsonObject = { readonly [name: string]: unknown };

function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isCount(json: unknown): json is number {
  return typeof json === 'number' && Number.isInteger(json) && json >= 0 && json < 10_000;
}

function readText(json: unknown): string | undefined {
  return typeof json === 'string' && json !== '' ? json.slice(0, MAX_TEXT) : undefined;
}

function readDate(json: unknown): Date | undefined {
  if (typeof json !== 'string' || json.length > 40) return undefined;
  const date = new Date(json);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
