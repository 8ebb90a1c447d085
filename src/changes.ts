import { join } from 'node:path';
import { EnrichmentError } from './errors.js';
import type { FileEvidence } from './evidence.js';
import { algorithmOf, type FileHashes, LOOKUP_ALGORITHMS, lookupKeyOf } from './hash.js';
import type { Lookup } from './lookup.js';
import { jsonFile, makeFolder, writeFileDurably } from './storage/json-file.js';
import { withLock } from './storage/lock.js';
import { storageError } from './storage/storage-error.js';
import { countDetections, judge, type Thresholds, type VerdictName } from './verdict.js';

/** What an answer came to by the thresholds of its day. */
export interface JudgedAnswer {
  readonly verdict: VerdictName;
  /** Both absent where VirusTotal did not know the file or had not analysed it. */
  readonly detections?: number;
  readonly engines?: number;
  readonly askedAt: Date;
}

/** Where a file was seen running, as far as it was remembered when this was written. */
export interface SeenRunning {
  readonly records: number;
  readonly hosts: number;
  /** Samples, like all lists here. */
  readonly hostNames: readonly string[];
  readonly images: readonly string[];
  readonly users: readonly string[];
  readonly logs: readonly string[];
  readonly firstSeen?: Date;
  readonly lastSeen?: Date;
}

/** That VirusTotal says something else of a file than before. */
export interface VerdictChange {
  /** The digest the file is kept under: SHA1 where that is known, else SHA256, else MD5. */
  readonly hash: string;
  readonly before: JudgedAnswer;
  readonly after: JudgedAnswer;
  readonly seen: SeenRunning;
}

/** A file that has become malicious: by its first answer (then there is no `before`) or by a change. */
export interface NewlyMalicious {
  readonly hash: string;
  readonly before?: JudgedAnswer;
  readonly after: JudgedAnswer;
  readonly sha256?: string;
  readonly label?: string;
  readonly seen: SeenRunning;
}

/** The history of changed verdicts, shared by processes. All methods reject with StorageError, unless a run can do without it. */
export interface ChangeLog {
  /**
   * Compares a new answer with the last one on the same file, undefined for none, and records a change; to be called before the new
   * answer takes the old one's place, so that a kill in between repeats the comparison and loses nothing. What it found is durable
   * once resolved.
   */
  note(before: Lookup | undefined, after: Lookup): Promise<void>;
  /** The changes recorded by this object, in their order. */
  readonly changes: readonly VerdictChange[];
  /** All recorded changes that are kept, the oldest first. */
  history(): Promise<readonly VerdictChange[]>;
  /** All digests of files whose changed verdict may not stand in all enriched files yet. */
  unrefreshed(): Promise<ReadonlySet<string>>;
  /** Notes that the verdicts of these digests stand everywhere. */
  markRefreshed(digests: ReadonlySet<string>): Promise<void>;
}

/** Who is told when a file becomes malicious, or no longer is; durable once resolved. */
export interface MaliciousWatcher {
  /** Absent where nobody is to be told: what is told takes a search through all sightings, for each file. */
  onNewlyMalicious?(file: NewlyMalicious): Promise<void>;
  onNoLongerMalicious(hash: string): Promise<void>;
}

export interface ChangeLogOptions {
  /** The cache folder of one host of VirusTotal. */
  readonly folder: string;
  readonly thresholds: Thresholds;
  /** All sightings of the file with one of these digests; undefined where it never ran here. */
  readonly sightingsOf: (digests: readonly string[]) => Promise<FileEvidence | undefined>;
  readonly watcher?: MaliciousWatcher;
  /** Told that a damaged history was set aside. One line for people. */
  readonly onReport: (message: string) => void;
  /**
   * Told once that the history cannot be read or kept. Then nothing rejects any more: changes are told and alarmed as they come, by the
   * answer before them alone, and are not recorded. Without it such trouble rejects.
   */
  readonly onFailure?: (failure: EnrichmentError) => void;
}

const LOCK = 'changes';

/** So many changes are kept; the oldest go. */
const MAX_CHANGES = 5_000;

/** Files whose last answer differs from the verdict that stands by one engine only. Far more than flap at a time. */
const MAX_UNSETTLED = 10_000;

/** Digests whose refresh is outstanding; each change adds up to three, and each run takes them all. */
const MAX_UNREFRESHED = 30_000;

const NEVER_SEEN: SeenRunning = { records: 0, hosts: 0, hostNames: [], images: [], users: [], logs: [] };

/** A verdict that one engine alone puts into question: it stands until enough answers in a row say otherwise. */
interface Unsettled {
  /** What stands. */
  readonly standing: JudgedAnswer;
  /** What the last answer said. */
  readonly said: JudgedAnswer;
  /** So many answers in a row have said that instead of what stands; 0 where the last one agreed with it again. */
  readonly inARow: number;
  /** So many it takes: one more for each time that it came to nothing. */
  readonly needed: number;
}

interface StoredChanges {
  readonly changes: readonly VerdictChange[];
  readonly unsettled: ReadonlyMap<string, Unsettled>;
  readonly unrefreshed: ReadonlySet<string>;
}

const NOTHING_STORED: StoredChanges = { changes: [], unsettled: new Map(), unrefreshed: new Set() };

/** Opens the history in `changes.json`. Nothing is created before the first change. */
export function openChangeLog(options: ChangeLogOptions): ChangeLog {
  return new LowdbChangeLog(options);
}

class LowdbChangeLog implements ChangeLog {
  readonly changes: VerdictChange[] = [];
  readonly #options: ChangeLogOptions;
  readonly #path: string;
  /** The files with an unsettled verdict, as this process last saw them. */
  #unsettled: ReadonlySet<string> | undefined;
  #isLost = false;
  /** Of this object's changes. */
  readonly #changedDigests = new Set<string>();

  constructor(options: ChangeLogOptions) {
    this.#options = options;
    this.#path = join(options.folder, 'changes.json');
  }

  async note(before: Lookup | undefined, after: Lookup): Promise<void> {
    const { thresholds, watcher } = this.#options;
    const is = judgeAnswer(after, thresholds);
    const hashes: FileHashes = { ...before?.hashes, ...after.hashes };
    const hash = lookupKeyOf(hashes)?.hash ?? after.askedHash;
    if (before === undefined) {
      if (is.verdict === 'malicious') await watcher?.onNewlyMalicious?.(await this.#newlyMalicious(hash, after, is));
      return;
    }
    const was = judgeAnswer(before, thresholds);
    this.#unsettled ??= new Set((await this.#orNothing(() => this.#read(), NOTHING_STORED)).unsettled.keys());
    if (was.verdict === is.verdict && !this.#unsettled.has(hash)) return;

    const seen = await this.#seen(hashes);
    const unrecorded = was.verdict === is.verdict ? undefined : { hash, before: was, after: is, seen };
    const digests = digestsOf(hashes);
    const change = await this.#orNothing(() => this.#record({ hash, digests, was, is, seen }), unrecorded);
    if (change === undefined) return;
    this.changes.push(change);
    for (const digest of digests) this.#changedDigests.add(digest);
    if (is.verdict === 'malicious') {
      await watcher?.onNewlyMalicious?.(await this.#newlyMalicious(hash, after, is, change.before));
    } else if (change.before.verdict === 'malicious') {
      await watcher?.onNoLongerMalicious(hash);
    }
  }

  async history(): Promise<readonly VerdictChange[]> {
    return (await this.#orNothing(() => this.#read(), NOTHING_STORED)).changes;
  }

  async unrefreshed(): Promise<ReadonlySet<string>> {
    const unrecorded = { ...NOTHING_STORED, unrefreshed: this.#changedDigests };
    return (await this.#orNothing(() => this.#read(), unrecorded)).unrefreshed;
  }

  async markRefreshed(digests: ReadonlySet<string>): Promise<void> {
    if (digests.size === 0) return;
    const forget = (stored: StoredChanges): StoredChanges => ({
      ...stored,
      unrefreshed: new Set([...stored.unrefreshed].filter((digest) => !digests.has(digest))),
    });
    await this.#orNothing(() => this.#change(forget), undefined);
  }

  /** What `work` gives, or `nothing` where the history cannot be used and the run goes on without. */
  async #orNothing<T>(work: () => Promise<T>, nothing: T): Promise<T> {
    if (this.#isLost) return nothing;
    try {
      return await work();
    } catch (error) {
      const { onFailure } = this.#options;
      if (onFailure === undefined || !(error instanceof EnrichmentError)) throw error;
      this.#isLost = true;
      onFailure(error);
      return nothing;
    }
  }

  /** Decides under the lock, writes what is decided, and returns the change if it is one. */
  async #record(noted: {
    readonly hash: string;
    readonly digests: readonly string[];
    readonly was: JudgedAnswer;
    readonly is: JudgedAnswer;
    readonly seen: SeenRunning;
  }): Promise<VerdictChange | undefined> {
    const { hash, digests, was, is, seen } = noted;
    let change: VerdictChange | undefined;
    await this.#change((stored) => {
      const unsettled = new Map(stored.unsettled);
      const decision = decide(unsettled.get(hash), was, is);
      // Set anew at the end, so that the oldest go where there are too many.
      unsettled.delete(hash);
      if (decision.kind !== 'changed' && decision.unsettled !== undefined) unsettled.set(hash, decision.unsettled);
      this.#unsettled = new Set(unsettled.keys());
      const settled = { ...stored, unsettled: new Map([...unsettled].slice(-MAX_UNSETTLED)) };
      if (decision.kind !== 'changed') return settled;
      change = { hash, before: decision.standing, after: is, seen };
      return {
        ...settled,
        changes: withChange(stored.changes, change),
        unrefreshed: new Set([...stored.unrefreshed, ...digests].slice(-MAX_UNREFRESHED)),
      };
    });
    return change;
  }

  async #change(change: (stored: StoredChanges) => StoredChanges): Promise<void> {
    const { folder } = this.#options;
    try {
      await makeFolder(folder);
    } catch (error) {
      throw storageError('make the folder', folder, error);
    }
    await withLock(folder, LOCK, async () => {
      const changed = change(await this.#read());
      await writeFileDurably(this.#path, JSON.stringify(storedToJson(changed)));
    });
  }

  async #newlyMalicious(
    hash: string,
    { hashes, report }: Lookup,
    after: JudgedAnswer,
    before?: JudgedAnswer,
  ): Promise<NewlyMalicious> {
    return {
      hash,
      after,
      ...(before === undefined ? {} : { before }),
      ...(hashes.sha256 === undefined ? {} : { sha256: hashes.sha256 }),
      ...(report?.label === undefined ? {} : { label: report.label }),
      seen: await this.#seen(hashes),
    };
  }

  async #seen(hashes: FileHashes): Promise<SeenRunning> {
    const evidence = await this.#options.sightingsOf(digestsOf(hashes));
    return evidence === undefined ? NEVER_SEEN : seenRunning(evidence);
  }

  async #read(): Promise<StoredChanges> {
    const file = jsonFile(this.#path, storedFromJson, (copy) =>
      this.#options.onReport(`${this.#path} is damaged: set aside as ${copy}; the history of changes begins anew`),
    );
    return (await file.read()) ?? NOTHING_STORED;
  }
}

/** The history with one more change; one that was recorded before, by a run that was killed then, is not recorded twice. */
function withChange(changes: readonly VerdictChange[], change: VerdictChange): VerdictChange[] {
  const { hash, before, after } = change;
  const others = changes.filter(
    (other) =>
      other.hash !== hash ||
      other.after.verdict !== after.verdict ||
      other.before.askedAt.getTime() !== before.askedAt.getTime(),
  );
  return [...others, change].slice(-MAX_CHANGES);
}

type Decision =
  | { readonly kind: 'same'; readonly unsettled: Unsettled | undefined }
  | { readonly kind: 'unsettled'; readonly unsettled: Unsettled }
  | { readonly kind: 'changed'; readonly standing: JudgedAnswer };

const FIRST_NEEDED = 2;
const MOST_NEEDED = 10;

/**
 * Whether a new answer changes the verdict that stands. One engine alone does not change it at once: where the count of detections
 * has moved by exactly one since the verdict that stands, a second answer in a row has to say the same, and each time that it came to
 * nothing one more (0, 1, 0 or 5, 4, 5 around a threshold is one engine that cannot decide; 0, 1, 1 is a change). Everything else changes
 * it at once.
 */
function decide(open: Unsettled | undefined, was: JudgedAnswer, is: JudgedAnswer): Decision {
  const { standing, inARow, needed } = open ?? { standing: was, inARow: 0, needed: FIRST_NEEDED };
  if (is.verdict === standing.verdict) {
    if (open === undefined) return { kind: 'same', unsettled: undefined };
    const more = inARow > 0 ? Math.min(needed + 1, MOST_NEEDED) : needed;
    return { kind: 'same', unsettled: { standing: is, said: is, inARow: 0, needed: more } };
  }
  const isOneEngine = Math.abs((is.detections ?? 0) - (standing.detections ?? 0)) === 1;
  if (!isOneEngine) return { kind: 'changed', standing };
  // An answer that is noted a second time, after a kill, is no second answer.
  const isNext = open === undefined || was.askedAt >= open.said.askedAt;
  const isAgain = open === undefined || inARow === 0 || open.said.verdict === is.verdict;
  const count = isNext ? (isAgain ? inARow + 1 : 1) : inARow;
  if (count >= needed) return { kind: 'changed', standing };
  return { kind: 'unsettled', unsettled: { standing, said: is, inARow: count, needed } };
}

function judgeAnswer(lookup: Lookup, thresholds: Thresholds): JudgedAnswer {
  const { verdict } = judge(lookup, thresholds);
  const counts = lookup.report?.counts;
  return { verdict, ...(counts === undefined ? {} : countDetections(counts)), askedAt: lookup.askedAt };
}

function digestsOf(hashes: FileHashes): string[] {
  return LOOKUP_ALGORITHMS.flatMap((algorithm) => hashes[algorithm] ?? []);
}

function seenRunning(evidence: FileEvidence): SeenRunning {
  const { hostNames, images, users, logs, firstSeen, lastSeen } = evidence;
  return {
    records: evidence.records.count,
    hosts: evidence.hosts.count,
    hostNames,
    images,
    users,
    logs,
    ...(firstSeen === undefined ? {} : { firstSeen }),
    ...(lastSeen === undefined ? {} : { lastSeen }),
  };
}

/** `was 0/70 on 2026-03-03, 23/70 now; ran on 3 hosts, 5 times, first at 2026-03-01 04:22 UTC`: for people, not escaped. */
export function describeChange({ before, after, seen }: VerdictChange): string {
  const day = before.askedAt.toISOString().slice(0, 10);
  return `was ${describeJudged(before)} on ${day}, ${describeJudged(after)} now; ${describeSeen(seen)}`;
}

/** `ran on 3 hosts, 5 times, first at 2026-03-01 04:22 UTC`. */
export function describeSeen({ records, hosts, firstSeen }: SeenRunning): string {
  if (records === 0) return 'never seen running here';
  const where = hosts === 1 ? '1 host' : `${hosts} hosts`;
  const times = records === 1 ? 'once' : `${records} times`;
  const first =
    firstSeen === undefined ? '' : `, first at ${firstSeen.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  return `ran on ${where}, ${times}${first}`;
}

/** `23/70`, or in words where there are no counts. */
export function describeJudged({ verdict, detections, engines }: JudgedAnswer): string {
  if (detections !== undefined && verdict !== 'unknown') return `${detections}/${engines}`;
  return verdict === 'unknown' ? 'unknown to VirusTotal' : verdict;
}

/** A change as it is printed with `--json` and stored. */
export function changeToJson({ hash, before, after, seen }: VerdictChange): object {
  return { hash, before: judgedToJson(before), after: judgedToJson(after), seen: seenToJson(seen) };
}

/** An answer's verdict as it is printed and stored. */
export function judgedToJson({ verdict, detections, engines, askedAt }: JudgedAnswer): object {
  return { verdict, detections, engines, asked_at: askedAt.toISOString() };
}

/** Sightings as they are printed and stored. */
export function seenToJson(seen: SeenRunning): object {
  return {
    records: seen.records,
    hosts: seen.hosts,
    host_names: seen.hostNames,
    images: seen.images,
    users: seen.users,
    logs: seen.logs,
    first_seen: seen.firstSeen?.toISOString(),
    last_seen: seen.lastSeen?.toISOString(),
  };
}

function storedToJson({ changes, unsettled, unrefreshed }: StoredChanges): object {
  return {
    changes: changes.map(changeToJson),
    unsettled: [...unsettled].map(([hash, { standing, said, inARow, needed }]) => ({
      hash,
      standing: judgedToJson(standing),
      said: judgedToJson(said),
      in_a_row: inARow,
      needed,
    })),
    unrefreshed: [...unrefreshed],
  };
}

type JsonObject = { readonly [name: string]: unknown };

function storedFromJson(json: unknown): StoredChanges | undefined {
  if (!isObject(json) || !Array.isArray(json['changes']) || !Array.isArray(json['unsettled'])) return undefined;
  if (!Array.isArray(json['unrefreshed'])) return undefined;
  const changes: VerdictChange[] = [];
  for (const value of json['changes']) {
    const change = changeFromJson(value);
    if (change === undefined) return undefined;
    changes.push(change);
  }
  const unsettled = new Map<string, Unsettled>();
  for (const value of json['unsettled']) {
    if (!isObject(value)) return undefined;
    const { hash, in_a_row: inARow, needed } = value;
    const standing = judgedFromJson(value['standing']);
    const said = judgedFromJson(value['said']);
    if (typeof hash !== 'string' || standing === undefined || said === undefined) return undefined;
    if (!isCount(inARow) || !isCount(needed)) return undefined;
    unsettled.set(hash, { standing, said, inARow, needed });
  }
  return { changes, unsettled, unrefreshed: new Set(textsFromJson(json['unrefreshed'])) };
}

function changeFromJson(json: unknown): VerdictChange | undefined {
  if (!isObject(json) || typeof json['hash'] !== 'string' || algorithmOf(json['hash']) === undefined) return undefined;
  const before = judgedFromJson(json['before']);
  const after = judgedFromJson(json['after']);
  const seen = seenFromJson(json['seen']);
  if (before === undefined || after === undefined || seen === undefined) return undefined;
  return { hash: json['hash'], before, after, seen };
}

const VERDICTS: readonly VerdictName[] = ['malicious', 'suspicious', 'undetected', 'unknown', 'unchecked'];

function judgedFromJson(json: unknown): JudgedAnswer | undefined {
  if (!isObject(json)) return undefined;
  const verdict = VERDICTS.find((name) => name === json['verdict']);
  const askedAt = dateFromJson(json['asked_at']);
  const { detections, engines } = json;
  if (verdict === undefined || askedAt === undefined) return undefined;
  if (detections === undefined && engines === undefined) return { verdict, askedAt };
  return isCount(detections) && isCount(engines) ? { verdict, detections, engines, askedAt } : undefined;
}

function seenFromJson(json: unknown): SeenRunning | undefined {
  if (!isObject(json) || !isCount(json['records']) || !isCount(json['hosts'])) return undefined;
  const firstSeen = dateFromJson(json['first_seen']);
  const lastSeen = dateFromJson(json['last_seen']);
  return {
    records: json['records'],
    hosts: json['hosts'],
    hostNames: textsFromJson(json['host_names']),
    images: textsFromJson(json['images']),
    users: textsFromJson(json['users']),
    logs: textsFromJson(json['logs']),
    ...(firstSeen === undefined ? {} : { firstSeen }),
    ...(lastSeen === undefined ? {} : { lastSeen }),
  };
}

function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isCount(json: unknown): json is number {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0;
}

function textsFromJson(json: unknown): string[] {
  return Array.isArray(json) ? json.filter((text): text is string => typeof text === 'string') : [];
}

function dateFromJson(json: unknown): Date | undefined {
  const date = typeof json === 'string' ? new Date(json) : undefined;
  return date === undefined || Number.isNaN(date.getTime()) ? undefined : date;
}
