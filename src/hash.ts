/** The algorithms VirusTotal takes as a file's name, in the order of preference for a look-up. */
export const LOOKUP_ALGORITHMS = ['sha1', 'sha256', 'md5'] as const;

export type HashAlgorithm = (typeof LOOKUP_ALGORITHMS)[number];

/** Whether a name, in lower case, is that of a look-up algorithm. */
export function isLookupAlgorithm(name: unknown): name is HashAlgorithm {
  return LOOKUP_ALGORITHMS.some((algorithm) => algorithm === name);
}

/** The digests one record gives for its file: lower-case hex, each absent where the record has none. */
export interface FileHashes {
  readonly sha1?: string;
  readonly sha256?: string;
  readonly md5?: string;
}

/** What VirusTotal is asked with for one record. */
export interface LookupKey {
  readonly algorithm: HashAlgorithm;
  /** Lower-case hex. */
  readonly hash: string;
}

const ALGORITHM_BY_LENGTH: ReadonlyMap<number, HashAlgorithm> = new Map([
  [32, 'md5'],
  [40, 'sha1'],
  [64, 'sha256'],
]);

const HEX = /^[0-9a-f]+$/;
const HEX_IN_ANY_CASE = /^[0-9a-f]+$/i;
const ZEROS = /^0+$/;

/** Digests of zero bytes: every empty file has them, so they say nothing about what ran. */
const EMPTY_FILE_HASHES: ReadonlySet<string> = new Set([
  'da39a3ee5e6b4b0d3255bfef95601890afd80709',
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  'd41d8cd98f00b204e9800998ecf8427e',
]);

/**
 * The lower-case digest if `text` is one digest of that algorithm, else undefined.
 * The length decides, so an MD5 never passes for a SHA1.
 */
export function parseDigest(algorithm: HashAlgorithm, text: string): string | undefined {
  const hash = text.trim().toLowerCase();
  return ALGORITHM_BY_LENGTH.get(hash.length) === algorithm && HEX.test(hash) ? hash : undefined;
}

/** The algorithm that yields digests of this length, or undefined if `text` is no bare hex digest. */
export function algorithmOf(text: string): HashAlgorithm | undefined {
  const hash = text.trim();
  const algorithm = ALGORITHM_BY_LENGTH.get(hash.length);
  return algorithm !== undefined && HEX_IN_ANY_CASE.test(hash) ? algorithm : undefined;
}

/**
 * Reads Sysmon's `Hashes` field, `SHA1=…,MD5=…,SHA256=…,IMPHASH=…`: any order, any case, blanks allowed around the parts.
 * Parts that are not a whole digest of their algorithm are left out; IMPHASH names imports, not a file, and is ignored.
 */
export function parseHashes(field: string): FileHashes {
  const hashes: { sha1?: string; sha256?: string; md5?: string } = {};
  for (const part of field.split(/[,;]/)) {
    const equals = part.indexOf('=');
    if (equals < 0) continue;
    const name = part.slice(0, equals).trim().toLowerCase().replace('-', '');
    if (name !== 'sha1' && name !== 'sha256' && name !== 'md5') continue;
    const digest = parseDigest(name, part.slice(equals + 1));
    if (digest !== undefined) hashes[name] = digest;
  }
  return hashes;
}

/**
 * The hash to ask with: SHA1, where the record has none SHA256, else MD5; undefined if it has none of them. Zeros stand where Sysmon failed
 * to hash, so they are no digest as long as there is another.
 */
export function lookupKeyOf(hashes: FileHashes): LookupKey | undefined {
  let zeros: LookupKey | undefined;
  for (const algorithm of LOOKUP_ALGORITHMS) {
    const hash = hashes[algorithm];
    if (hash === undefined) continue;
    if (!ZEROS.test(hash)) return { algorithm, hash };
    zeros ??= { algorithm, hash };
  }
  return zeros;
}

/** Whether a digest stands for no particular file: all zeros, or that of the empty file. It is never asked. */
export function isPlaceholder(hash: string): boolean {
  return EMPTY_FILE_HASHES.has(hash) || ZEROS.test(hash);
}
