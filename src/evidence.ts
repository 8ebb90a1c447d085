import { cuesOf } from './command-line.js';
import { DistinctCount, insertAt } from './distinct-count.js';
import type { EventGlance } from './event.js';
import { normalizePath, parentKindOf, placeOf } from './windows.js';

/** How many different values of each kind are kept of one file. Reports show a few, and hostile logs must not fill the memory. */
const MAX_HOST_NAMES = 16;
const MAX_IMAGES = 8;
const MAX_PARENTS = 8;
const MAX_USERS = 8;
const MAX_LOGS = 8;
const MAX_COMMAND_LINES = 4;

/** Longer texts are cut: Windows' paths have at most 260 characters by default, command lines up to 32,767. */
const MAX_PATH_LENGTH = 520;
const MAX_COMMAND_LENGTH = 1024;
const MAX_NAME_LENGTH = 256;

/** What a file says of itself in its version resource. Empty text: Sysmon looked and found none; absent: that Sysmon did not log it. */
export interface FileMetadata {
  readonly originalFileName?: string;
  readonly company?: string;
  readonly product?: string;
  readonly description?: string;
  readonly fileVersion?: string;
}

/**
 * What the records tell of one file: its sightings, bounded however often it ran. Lists hold samples, the most telling first;
 * the counts are those of all sightings. The same sightings give the same evidence in any order, and adding one again changes nothing.
 */
export interface FileEvidence {
  /** Process creations, told apart by `identityOf`. */
  readonly records: DistinctCount;
  readonly hosts: DistinctCount;
  readonly hostNames: readonly string[];
  readonly images: readonly string[];
  readonly parents: readonly string[];
  readonly users: readonly string[];
  readonly integrityLevels: readonly string[];
  readonly commandLines: readonly string[];
  readonly parentCommandLines: readonly string[];
  /** The logs that hold the sightings, as the caller names them. */
  readonly logs: readonly string[];
  readonly metadata: FileMetadata;
  /** Undefined while no record had a readable time. */
  readonly firstSeen: Date | undefined;
  readonly lastSeen: Date | undefined;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type GrowingEvidence = Mutable<Omit<FileEvidence, 'metadata'>> & { metadata: Mutable<FileMetadata> };

/** A list of samples: how many values, how long, and the order in which values are kept when there are more. */
interface SampleList {
  readonly limit: number;
  readonly maxLength: number;
  readonly rank: (text: string) => number;
  /** Hardly any value is in a list of another file too. */
  readonly isOwn?: boolean;
}

const LISTS = {
  hostNames: { limit: MAX_HOST_NAMES, maxLength: MAX_NAME_LENGTH, rank: () => 0 },
  images: { limit: MAX_IMAGES, maxLength: MAX_PATH_LENGTH, rank: remembered(rankImage), isOwn: true },
  parents: { limit: MAX_PARENTS, maxLength: MAX_PATH_LENGTH, rank: remembered(rankParent) },
  users: { limit: MAX_USERS, maxLength: MAX_NAME_LENGTH, rank: () => 0 },
  integrityLevels: { limit: 6, maxLength: MAX_NAME_LENGTH, rank: () => 0 },
  // Nearly every line is another one, so their ranks are not worth remembering.
  commandLines: { limit: MAX_COMMAND_LINES, maxLength: MAX_COMMAND_LENGTH, rank: rankCommandLine, isOwn: true },
  parentCommandLines: { limit: MAX_COMMAND_LINES, maxLength: MAX_COMMAND_LENGTH, rank: rankCommandLine, isOwn: true },
  logs: { limit: MAX_LOGS, maxLength: MAX_PATH_LENGTH, rank: () => 0 },
} as const satisfies Readonly<Record<string, SampleList>>;

type ListName = keyof typeof LISTS;
const LIST_NAMES = Object.keys(LISTS) as readonly ListName[];
/** The lists with their names in stored JSON. */
const STORED_LISTS = LIST_NAMES.map((name) => [name, snakeCase(name)] as const);

/** Members of the version resource: here, in Sysmon's events and in stored JSON. */
const METADATA_FIELDS = [
  ['originalFileName', 'OriginalFileName', 'original_file_name'],
  ['company', 'Company', 'company'],
  ['product', 'Product', 'product'],
  ['description', 'Description', 'description'],
  ['fileVersion', 'FileVersion', 'file_version'],
] as const;

const NO_TEXTS: readonly string[] = [];

/** Evidence without any sighting. */
export function emptyEvidence(): FileEvidence {
  return {
    records: new DistinctCount(),
    hosts: new DistinctCount(),
    hostNames: NO_TEXTS,
    images: NO_TEXTS,
    parents: NO_TEXTS,
    users: NO_TEXTS,
    integrityLevels: NO_TEXTS,
    commandLines: NO_TEXTS,
    parentCommandLines: NO_TEXTS,
    logs: NO_TEXTS,
    metadata: {},
    firstSeen: undefined,
    lastSeen: undefined,
  };
}

/**
 * Adds one process creation of the file to its evidence, in place; true if that told anything new. `log` names the log for people.
 * Only process creations tell of a file: other events carry hashes of other files.
 */
export function addSighting(evidence: FileEvidence, event: EventGlance, log?: string): boolean {
  const growing = evidence as GrowingEvidence;
  const { data } = event;
  const computer = (event.computer ?? '').toLowerCase();
  const isNew = growing.records.add(identityOn(computer, event));
  // Read again: whatever this record tells has been kept or, for a sample, left out before.
  if (!isNew && growing.records.isExact) return log !== undefined && keep(growing, 'logs', log);
  let changed = isNew;
  if (computer !== '') {
    changed = growing.hosts.add(computer) || changed;
    changed = keep(growing, 'hostNames', computer) || changed;
  }
  changed = keep(growing, 'images', known(data.get('Image'))) || changed;
  changed = keep(growing, 'parents', known(data.get('ParentImage'))) || changed;
  changed = keep(growing, 'users', known(data.get('User'))) || changed;
  changed = keep(growing, 'integrityLevels', known(data.get('IntegrityLevel'))) || changed;
  changed = keep(growing, 'commandLines', known(data.get('CommandLine'))) || changed;
  changed = keep(growing, 'parentCommandLines', known(data.get('ParentCommandLine'))) || changed;
  if (log !== undefined) changed = keep(growing, 'logs', log) || changed;
  changed = addMetadata(growing, data) || changed;
  return addTime(growing, timeOf(event)) || changed;
}

/** Adds all of `other` to `evidence`, in place; true if that told anything new. */
export function mergeEvidence(evidence: FileEvidence, other: FileEvidence): boolean {
  const growing = evidence as GrowingEvidence;
  let changed = growing.records.merge(other.records);
  changed = growing.hosts.merge(other.hosts) || changed;
  for (const name of LIST_NAMES) {
    for (const text of other[name]) changed = keep(growing, name, text) || changed;
  }
  for (const [name] of METADATA_FIELDS) changed = setMetadata(growing, name, other.metadata[name]) || changed;
  changed = addTime(growing, other.firstSeen) || changed;
  return addTime(growing, other.lastSeen) || changed;
}

/**
 * What makes a record that record, in whatever log it is read again: its computer, channel and EventRecordID; where a format
 * drops the id, its computer, ProcessGuid and UtcTime.
 */
export function identityOf(event: EventGlance): string {
  return identityOn((event.computer ?? '').toLowerCase(), event);
}

function identityOn(computer: string, event: EventGlance): string {
  const { recordId } = event;
  if (recordId !== undefined) return `${computer}|${(event.channel ?? '').toLowerCase()}|${recordId}`;
  const guid = (event.data.get('ProcessGuid') ?? '').toLowerCase().replace(/[{}]/g, '');
  const time = timeOf(event)?.toISOString() ?? event.data.get('UtcTime') ?? event.timeCreated ?? '';
  // Without a guid (Sysmon 1) the process id and its command line have to do.
  const process = guid === '' ? `${event.data.get('ProcessId') ?? ''}|${event.data.get('CommandLine') ?? ''}` : guid;
  return `${computer}|${process}|${time}`;
}

/** When the process started, by Sysmon's own UtcTime, else when the record was written; undefined where neither can be read. */
export function timeOf(event: EventGlance): Date | undefined {
  return readTime(event.data.get('UtcTime')) ?? readTime(event.timeCreated);
}

/** `2026-11-24 04:22:01.123`, with a blank or a T, with or without Z: always UTC. */
const UTC_TIME = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,3})?/;

function readTime(text: string | undefined): Date | undefined {
  const match = text === undefined ? null : UTC_TIME.exec(text);
  if (match === null) return undefined;
  const [time] = match;
  const date = new Date(`${time.slice(0, 10)}T${time.slice(11)}Z`);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** The evidence as it is stored: plain JSON, snake_case, empty lists left out. */
export function evidenceToJson(evidence: FileEvidence): Readonly<Record<string, unknown>> {
  const json: Record<string, unknown> = { records: evidence.records.toJSON(), hosts: evidence.hosts.toJSON() };
  for (const [name, member] of STORED_LISTS) if (evidence[name].length > 0) json[member] = evidence[name];
  for (const [name, , member] of METADATA_FIELDS) {
    const value = evidence.metadata[name];
    if (value !== undefined) json[member] = value;
  }
  if (evidence.firstSeen !== undefined) json['first_seen'] = evidence.firstSeen.toISOString();
  if (evidence.lastSeen !== undefined) json['last_seen'] = evidence.lastSeen.toISOString();
  return json;
}

/** Reads `evidenceToJson`'s output back; undefined for anything else. */
export function evidenceFromJson(json: unknown): FileEvidence | undefined {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined;
  const members = json as { readonly [name: string]: unknown };
  const records = DistinctCount.fromJson(members['records']);
  const hosts = DistinctCount.fromJson(members['hosts']);
  if (records === undefined || hosts === undefined) return undefined;
  const evidence: GrowingEvidence = { ...(emptyEvidence() as GrowingEvidence), records, hosts };
  for (const [name, member] of STORED_LISTS) {
    const texts = members[member] ?? NO_TEXTS;
    if (!Array.isArray(texts) || texts.length > LISTS[name].limit) return undefined;
    for (const text of texts) {
      if (typeof text !== 'string' || text.length > LISTS[name].maxLength) return undefined;
    }
    // Stored in its order already: ranking every sample anew would cost most of the reading.
    evidence[name] = texts;
  }
  for (const [name, , member] of METADATA_FIELDS) {
    const value = members[member];
    if (value !== undefined && typeof value !== 'string') return undefined;
    setMetadata(evidence, name, value);
  }
  for (const name of ['first_seen', 'last_seen'] as const) {
    const value = members[name];
    if (value === undefined) continue;
    const time = typeof value === 'string' ? readTime(value) : undefined;
    if (time === undefined) return undefined;
    addTime(evidence, time);
  }
  return evidence;
}

/** Keeps a text among the samples if there is room or if it ranks before one of them; true if the list changed. */
function keep(evidence: GrowingEvidence, name: ListName, value: string | undefined): boolean {
  if (value === undefined) return false;
  const list = evidence[name];
  const { limit, maxLength, rank, isOwn = false }: SampleList = LISTS[name];
  const text = value.length > maxLength ? value.slice(0, maxLength) : value;
  if (list.includes(text)) return false;
  let place = list.length;
  if (place > 0) {
    const textRank = rank(text);
    while (place > 0) {
      const before = list[place - 1] ?? '';
      const beforeRank = rank(before);
      if (beforeRank < textRank || (beforeRank === textRank && before < text)) break;
      place--;
    }
    if (place >= limit) return false;
  }
  evidence[name] = insertAt(list, place, isOwn ? text : shared(text), limit);
  return true;
}

/** Texts that are kept in few copies, and how long they may be. */
const MAX_SHARED = 4096;
const MAX_SHARED_LENGTH = 128;
const sharedTexts = new Map<string, string>();

/** The same text for all evidence that names the same user, parent or maker: a night's files differ in few of them. */
function shared(text: string): string {
  if (text.length > MAX_SHARED_LENGTH) return text;
  const known = sharedTexts.get(text);
  if (known !== undefined) return known;
  if (sharedTexts.size >= MAX_SHARED) sharedTexts.clear();
  sharedTexts.set(text, text);
  return text;
}

/** Ranks that are remembered per kind of text. */
const MAX_RANKS = 4096;

/** The same ranks, worked out once for a text that comes again: every new text is compared with the same few that are kept. */
function remembered(rank: (text: string) => number): (text: string) => number {
  const ranks = new Map<string, number>();
  return (text) => {
    const known = ranks.get(text);
    if (known !== undefined) return known;
    if (ranks.size >= MAX_RANKS) ranks.clear();
    const fresh = rank(text);
    ranks.set(text, fresh);
    return fresh;
  };
}

function rankImage(image: string): number {
  const place = placeOf(normalizePath(image));
  return place === 'windows' || place === 'programs' || place === 'packages' ? 1 : 0;
}

function rankParent(image: string): number {
  return parentKindOf(image) === undefined ? rankImage(image) + 1 : 0;
}

function rankCommandLine(commandLine: string): number {
  return -cuesOf(commandLine).length;
}

function addMetadata(evidence: GrowingEvidence, data: EventGlance['data']): boolean {
  let changed = false;
  for (const [name, field] of METADATA_FIELDS) {
    const value = data.get(field);
    // `-` is how Sysmon 11 and later write that there is none, `?` how some versions do.
    const text = value === '-' || value === '?' ? '' : value?.trim().slice(0, MAX_NAME_LENGTH);
    changed = setMetadata(evidence, name, text) || changed;
  }
  return changed;
}

/** One file has one version resource: what a record does not know, another may, and of two texts the lesser is kept, whatever came first. */
function setMetadata(evidence: GrowingEvidence, name: keyof FileMetadata, value: string | undefined): boolean {
  if (value === undefined) return false;
  const current = evidence.metadata[name];
  if (current === value || (current !== undefined && current !== '' && (value === '' || current < value))) return false;
  // The rest tells files of one maker apart.
  evidence.metadata[name] = name === 'company' || name === 'product' ? shared(value) : value;
  return true;
}

function addTime(evidence: GrowingEvidence, time: Date | undefined): boolean {
  if (time === undefined) return false;
  let changed = false;
  if (evidence.firstSeen === undefined || time < evidence.firstSeen) {
    evidence.firstSeen = time;
    changed = true;
  }
  if (evidence.lastSeen === undefined || time > evidence.lastSeen) {
    evidence.lastSeen = time;
    changed = true;
  }
  return changed;
}

function known(value: string | undefined): string | undefined {
  return value === undefined || value === '' || value === '-' ? undefined : value;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
