import { type CommandCue, cuesOf } from './command-line.js';
import { Column, DigestTable } from './digest-table.js';
import { DigestTally, DistinctCount, digestOf, mixDigests } from './distinct-count.js';
import type { FileEvidence } from './evidence.js';
import {
  hasDisguisedExtension,
  hasOddExtension,
  isDeceptive,
  isInstallerName,
  isLure,
  isRenamed,
  isTerse,
  looksRandom,
} from './file-name.js';
import {
  baseName,
  imitatesWindows,
  isProtectedPlace,
  isReservedName,
  isWindowsProgram,
  normalizePath,
  type ParentKind,
  type Place,
  parentKindOf,
  placeOf,
} from './windows.js';

/** What the other files of the night, and the time a file has waited, add to its own evidence. */
export interface Surroundings {
  /** Hosts with any sighting. */
  readonly hosts: number;
  /** Hosts that ran any file from the same place, version numbers and user names left aside; need not be counted beyond five. */
  readonly hostsAtPlace: number;
  /** Different files that ran under one of this file's paths. */
  readonly filesAtPath: number;
  /** Days, whole or not, since the file was first due for a question. */
  readonly daysWaited: number;
}

/** A rule that applied to a file. */
export interface RankingReason {
  readonly name: string;
  /** Points; negative for what speaks for an ordinary program. */
  readonly weight: number;
  readonly text: string;
}

/** How telling an answer on a file would be. */
export interface Score {
  /** The sum of all reasons' weights; higher is asked sooner. */
  readonly score: number;
  /** The weightiest first. */
  readonly reasons: readonly RankingReason[];
  /** Whether one rule alone is reason to ask, whatever a list of known files says. */
  readonly isStriking: boolean;
}

/** A rule of this weight shows something that no known-file list explains away. */
const STRIKING_WEIGHT = 20;

/** Everything the rules look at, worked out once per file. */
interface Traits {
  readonly evidence: FileEvidence;
  readonly paths: readonly string[];
  readonly names: readonly string[];
  readonly places: ReadonlySet<Place>;
  /** Only an administrator could put the file where it ran, every time. */
  readonly isProtected: boolean;
  /** A program of Windows by its folder, and by its company where that was logged. */
  readonly isOfWindows: boolean;
  readonly parentKinds: ReadonlySet<ParentKind>;
  readonly parentPlaces: ReadonlySet<Place>;
  readonly cues: ReadonlySet<CommandCue>;
  readonly parentCues: ReadonlySet<CommandCue>;
  readonly metadata: 'none' | 'some' | 'full' | 'not_logged';
  readonly isRenamed: boolean;
  /** Company or product stand in the path the program is installed under. */
  readonly isAtHome: boolean;
  readonly isInstaller: boolean;
  readonly isBuildOutput: boolean;
  /** Every path is one of those that installers make for themselves in a temporary folder. */
  readonly isScratch: boolean;
}

interface Rule {
  readonly name: string;
  readonly weight: number;
  readonly text: string;
  readonly applies: (traits: Traits) => boolean;
  /** What has to be so besides, of the file's hosts and of what all files say together. */
  readonly among?: (hosts: number, surroundings: Surroundings) => boolean;
}

const isFree = ({ isProtected }: Traits): boolean => !isProtected;
const isStrangerInWindows = ({ places, metadata }: Traits): boolean => places.has('windows') && metadata === 'none';
const ranFrom =
  (...places: readonly Place[]) =>
  (traits: Traits): boolean =>
    places.some((place) => traits.places.has(place));
const startedBy =
  (...kinds: readonly ParentKind[]) =>
  (traits: Traits): boolean =>
    !traits.isOfWindows && kinds.some((kind) => traits.parentKinds.has(kind));
const shows =
  (...cues: readonly CommandCue[]) =>
  (traits: Traits): boolean =>
    !traits.isOfWindows && cues.some((cue) => traits.cues.has(cue));

/** So many hosts at one place make it common, and so many files at one path make it one that is built again and again. */
const COMMON_HOSTS = 5;
const REBUILT_FILES = 3;

/** Cues that make even a program of Windows worth a question. */
const ABUSES: readonly CommandCue[] = ['encoded', 'download', 'remote_script', 'secrets', 'destruction'];

/**
 * The rules. Weights are judgements, not statistics: about 40 points for what hardly ever happens by accident, 20 for what an
 * analyst would look at, 10 for what is a little unusual; their order matters more than their size. No tool of attackers is named.
 */
export const RANKING_RULES: readonly Rule[] = [
  // How common the file is.
  {
    name: 'one_host',
    weight: 10,
    text: 'ran on one host only',
    applies: ({ evidence }) => evidence.hosts.count === 1,
    among: (_hosts, surroundings) => surroundings.hosts >= 5,
  },
  {
    name: 'few_hosts',
    weight: 4,
    text: 'ran on two or three hosts',
    applies: ({ evidence }) => evidence.hosts.count > 1 && evidence.hosts.count <= 3,
    among: (_hosts, surroundings) => surroundings.hosts >= 20,
  },
  {
    name: 'widespread',
    weight: -20,
    text: 'ran on a tenth of all hosts or more',
    // A file nobody answers for, all over the fleet in one night, may as well be a worm or an encryptor at work.
    applies: (traits) => traits.isProtected || traits.metadata !== 'none' || traits.isAtHome,
    among: (hosts, surroundings) => hosts >= Math.max(5, surroundings.hosts / 10),
  },
  {
    name: 'ran_rarely',
    weight: 3,
    text: 'ran once or twice',
    applies: ({ evidence }) => evidence.records.count <= 2,
  },
  {
    name: 'ran_often',
    weight: -6,
    text: 'ran more than 64 times',
    applies: ({ evidence }) => !evidence.records.isExact,
  },
  {
    name: 'common_place',
    weight: -10,
    text: 'other versions ran from the same place on five hosts or more',
    applies: (traits) => traits.evidence.hosts.count < 5 && !ranFrom('drop', 'downloads', 'temporary')(traits),
    among: (_hosts, surroundings) => surroundings.hostsAtPlace >= COMMON_HOSTS,
  },
  {
    name: 'rebuilt',
    weight: -12,
    text: 'three or more different files ran under the same path',
    applies: (traits) => !ranFrom('drop', 'downloads', 'temporary')(traits),
    among: (_hosts, surroundings) => surroundings.filesAtPath >= REBUILT_FILES,
  },

  // Where it ran.
  {
    name: 'drop_folder',
    weight: 26,
    text: 'ran from a folder where programs do not belong',
    applies: ranFrom('drop'),
  },
  { name: 'temporary_folder', weight: 14, text: 'ran from a temporary folder', applies: ranFrom('temporary') },
  {
    name: 'user_folder',
    weight: 12,
    text: "ran from a user's downloads, desktop or documents",
    applies: ranFrom('downloads'),
  },
  {
    name: 'program_data',
    weight: 10,
    text: 'ran from ProgramData, where users may write',
    applies: ranFrom('program-data'),
  },
  { name: 'app_data', weight: 8, text: "ran from a user's application data", applies: ranFrom('app-data') },
  { name: 'network', weight: 8, text: 'ran from a network share', applies: ranFrom('network') },
  {
    name: 'other_folder',
    weight: 6,
    text: 'ran from a folder of nobody in particular',
    applies: ranFrom('elsewhere', 'profile'),
  },
  {
    name: 'archive_folder',
    weight: 8,
    text: 'ran from inside an archive that was opened, not unpacked',
    applies: ({ paths }) =>
      paths.some((path) => /\\(temp\d+_[^\\]*\.(zip|rar|7z)|rar\$[^\\]*|7zo[0-9a-f]{6,}|wz[0-9a-f]{3,6})\\/.test(path)),
  },
  {
    name: 'hidden_folder',
    weight: 10,
    text: 'ran from a folder with a name drawn at random',
    applies: (traits) =>
      ranFrom('app-data', 'program-data', 'elsewhere', 'profile')(traits) &&
      traits.evidence.images.some((image) => looksRandom(lastFolderOf(image))),
  },
  {
    name: 'of_windows',
    weight: -25,
    text: "one of Windows' own programs in its folder",
    applies: ({ isOfWindows }) => isOfWindows,
  },
  {
    name: 'installed',
    weight: -14,
    text: 'ran only from where programs are installed by an administrator',
    applies: (traits) => traits.isProtected && !traits.isOfWindows && !isStrangerInWindows(traits),
  },

  // What it says of itself.
  {
    name: 'no_metadata',
    weight: 16,
    text: 'names no company, product or description',
    applies: (traits) => isFree(traits) && traits.metadata === 'none',
  },
  {
    name: 'no_metadata_installed',
    weight: 6,
    text: 'names no company, product or description, though installed',
    applies: (traits) => traits.isProtected && !traits.places.has('windows') && traits.metadata === 'none',
  },
  {
    name: 'stranger_in_windows',
    weight: 28,
    text: "names no company, in a folder of Windows'",
    applies: isStrangerInWindows,
  },
  {
    name: 'full_metadata',
    weight: -6,
    text: 'names company, product, description and version',
    applies: ({ metadata }) => metadata === 'full',
  },
  {
    name: 'at_home',
    weight: -14,
    text: 'company or product stand in its path',
    applies: (traits) => isFree(traits) && traits.isAtHome,
  },
  {
    name: 'renamed',
    weight: 20,
    text: 'runs under another name than its OriginalFileName',
    applies: (traits) => isFree(traits) && traits.isRenamed,
  },
  {
    name: 'renamed_windows_program',
    weight: 22,
    text: "a copy of one of Windows' programs under another name",
    applies: (traits) =>
      isFree(traits) && traits.isRenamed && isWindowsProgram(traits.evidence.metadata.originalFileName ?? ''),
  },
  {
    name: 'claims_windows',
    weight: 14,
    text: "says that it belongs to Windows, outside Windows' folders",
    applies: (traits) =>
      isFree(traits) && /windows\W{0,3}\s*operating system/i.test(traits.evidence.metadata.product ?? ''),
  },
  {
    name: 'system_name',
    weight: 38,
    text: "has the name of one of Windows' programs outside its folder",
    applies: ({ paths }) => paths.some((path) => isOutsideWindows(path) && isReservedName(baseName(path))),
  },
  {
    name: 'imitated_name',
    weight: 30,
    text: "has a name one slip off one of Windows' programs",
    applies: (traits) => traits.names.some(imitatesWindows),
  },

  // Its name.
  {
    name: 'deceptive_name',
    weight: 38,
    text: 'its name hides that it is a program (double extension, padding, turned text)',
    applies: ({ names }) => names.some(isDeceptive),
  },
  {
    name: 'odd_extension',
    weight: 16,
    text: 'a program without an extension of programs',
    applies: (traits) => isFree(traits) && traits.names.some(hasOddExtension),
  },
  {
    name: 'disguised_extension',
    weight: 12,
    text: 'a screen saver, control panel or other program that does not look like one',
    applies: (traits) => isFree(traits) && traits.names.some(hasDisguisedExtension),
  },
  {
    name: 'random_name',
    weight: 14,
    text: 'has a name drawn at random',
    applies: (traits) =>
      (isFree(traits) || isStrangerInWindows(traits)) &&
      !traits.isScratch &&
      traits.evidence.images.some((image) => looksRandom(baseName(image))),
  },
  {
    name: 'terse_name',
    weight: 12,
    text: 'has a name of one or two letters or only digits',
    applies: (traits) => isFree(traits) && traits.names.some(isTerse),
  },
  {
    name: 'lure_name',
    weight: 10,
    text: 'has a name that promises a document',
    applies: (traits) => isFree(traits) && traits.names.some(isLure),
  },
  {
    name: 'installer',
    weight: -12,
    text: 'an installer or updater that names its company',
    applies: (traits) => isFree(traits) && traits.isInstaller,
  },
  {
    name: 'installer_scratch',
    weight: -10,
    text: 'lies where installers unpack themselves, and was started as their parts are',
    applies: (traits) =>
      traits.isScratch &&
      !['office', 'script', 'shell', 'remote', 'server'].some((kind) => traits.parentKinds.has(kind as ParentKind)),
  },
  {
    name: 'build_output',
    weight: -8,
    text: 'lies in the output folder of a build',
    applies: (traits) => isFree(traits) && traits.isBuildOutput,
  },

  // What started it.
  { name: 'office_parent', weight: 30, text: 'was started by an office program', applies: startedBy('office') },
  {
    name: 'script_parent',
    weight: 22,
    text: 'was started by a script host or a program that runs code for others',
    applies: startedBy('script'),
  },
  { name: 'shell_parent', weight: 8, text: 'was started by PowerShell', applies: startedBy('shell') },
  {
    name: 'typed_in_user_folder',
    weight: 5,
    text: "was started from a command prompt in a user's downloads, desktop or documents, or a folder for all",
    applies: (traits) =>
      ranFrom('downloads', 'drop')(traits) && traits.evidence.parents.some((parent) => /(^|\\)cmd\.exe$/i.test(parent)),
  },
  { name: 'remote_parent', weight: 18, text: 'was started through remote management', applies: startedBy('remote') },
  {
    name: 'server_parent',
    weight: 18,
    text: 'was started by a web, database or other server',
    applies: (traits) => isFree(traits) && startedBy('server')(traits),
  },
  {
    name: 'archive_parent',
    weight: 8,
    text: 'was started out of an archive program',
    applies: startedBy('archive'),
  },
  {
    name: 'service_in_open_folder',
    weight: 16,
    text: 'runs as a service from a folder that is not protected, or unnamed in one of Windows',
    applies: (traits) => (isFree(traits) || isStrangerInWindows(traits)) && traits.parentKinds.has('service'),
  },
  {
    name: 'stray_parent',
    weight: 12,
    text: 'was started by a program in a temporary or unusual folder, from elsewhere',
    applies: (traits) =>
      isFree(traits) &&
      !traits.isInstaller &&
      traits.metadata !== 'full' &&
      (traits.parentPlaces.has('drop') || traits.parentPlaces.has('temporary')),
  },
  {
    name: 'build_parent',
    weight: -18,
    text: 'was started by a build tool or an editor',
    applies: (traits) => isFree(traits) && traits.parentKinds.has('build') && !ranFrom('drop')(traits),
  },
  {
    name: 'installer_parent',
    weight: -8,
    text: 'was started by an installer',
    applies: (traits) =>
      isFree(traits) && traits.metadata !== 'none' && traits.parentKinds.has('installer') && !ranFrom('drop')(traits),
  },
  {
    name: 'abused_parent',
    weight: 20,
    text: 'its parent ran encoded, hidden, downloaded or remote commands',
    applies: ({ isOfWindows, parentCues }) =>
      !isOfWindows &&
      (['encoded', 'download', 'remote_script', 'obfuscated', 'hidden_window'] as const).some((cue) =>
        parentCues.has(cue),
      ),
  },

  // What it was told to do.
  {
    name: 'encoded_command',
    weight: 20,
    text: 'its command line holds encoded or obfuscated text',
    applies: shows('encoded', 'obfuscated'),
  },
  {
    name: 'download_command',
    weight: 16,
    text: 'its command line downloads or runs code from elsewhere',
    applies: shows('download', 'remote_script'),
  },
  {
    name: 'harmful_command',
    weight: 24,
    text: 'its command line touches credentials, backups, logs or defences',
    applies: shows('secrets', 'destruction', 'defences', 'account'),
  },
  {
    name: 'archive_command',
    weight: 10,
    text: 'packs or unpacks with a password on its command line',
    applies: shows('archive_password'),
  },
  {
    name: 'address_command',
    weight: 12,
    text: 'its command line names a bare network address or a tunnel',
    applies: shows('address', 'tunnel'),
  },
  {
    name: 'shell_command',
    weight: 12,
    text: 'was told to start a shell, or to load code from an open folder',
    applies: (traits) =>
      isFree(traits) && shows('starts_shell', 'writable_code', 'persistence', 'hidden_window')(traits),
  },
  {
    name: 'windows_program_abused',
    weight: 16,
    text: "one of Windows' programs, told to download, decode, read secrets or destroy",
    applies: ({ isOfWindows, cues }) => isOfWindows && ABUSES.some((cue) => cues.has(cue)),
  },
  {
    name: 'windows_program_misplaced',
    weight: 12,
    text: "one of Windows' programs, started by an office program or a server",
    applies: ({ isOfWindows, parentKinds }) => isOfWindows && (parentKinds.has('office') || parentKinds.has('server')),
  },

  // As whom.
  {
    name: 'system_rights',
    weight: 14,
    text: 'ran with the rights of the system from a folder that is not protected',
    applies: (traits) =>
      isFree(traits) &&
      traits.evidence.integrityLevels.some((level) => /^system$/i.test(level)) &&
      !(traits.isInstaller || traits.isAtHome),
  },
  {
    name: 'high_rights',
    weight: 6,
    text: "ran elevated from a user's folder",
    applies: (traits) =>
      ranFrom('downloads', 'app-data', 'drop', 'temporary')(traits) &&
      !traits.isInstaller &&
      traits.evidence.integrityLevels.some((level) => /^high$/i.test(level)),
  },
];

/** Waiting raises a score by one point a day, and by no more than that in all: see `rankFiles` for why nothing starves. */
const MAX_WAITING_POINTS = 14;

/** Each rule as a reason. Files share them, since a first night ranks a hundred thousand. */
const REASONS: readonly RankingReason[] = RANKING_RULES.map(({ name, weight, text }) => ({ name, weight, text }));

/** Rules by their places in `RANKING_RULES`. */
type RuleList = readonly number[];

/** Scores one file. Pure: the same evidence and surroundings give the same score and reasons. */
export function scoreFile(evidence: FileEvidence, surroundings: Surroundings): Score {
  const rules = applyingRules(rulesOf(evidence), evidence.hosts.count, surroundings);
  return scoreOf(rules, waitingPointsOf(surroundings));
}

/** The rules that a file's own evidence calls for. */
function rulesOf(evidence: FileEvidence): RuleList {
  const traits = traitsOf(evidence);
  const rules: number[] = [];
  for (const [place, rule] of RANKING_RULES.entries()) if (rule.applies(traits)) rules.push(place);
  return rules;
}

/** Those of a file's rules that apply among all files. */
function applyingRules(rules: RuleList, hosts: number, surroundings: Surroundings): RuleList {
  return rules.filter((place) => RANKING_RULES[place]?.among?.(hosts, surroundings) ?? true);
}

function waitingPointsOf({ daysWaited }: Surroundings): number {
  return Math.min(MAX_WAITING_POINTS, Math.floor(Math.max(0, daysWaited)));
}

function scoreOf(rules: RuleList, waitingPoints: number): Score {
  const reasons: RankingReason[] = [];
  for (const place of rules) {
    const reason = REASONS[place];
    if (reason !== undefined) reasons.push(reason);
  }
  if (waitingPoints > 0) reasons.push({ name: 'waited', weight: waitingPoints, text: 'has waited for days' });
  reasons.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  return {
    score: reasons.reduce((sum, { weight }) => sum + weight, 0),
    reasons,
    isStriking: reasons.some(({ weight }) => weight >= STRIKING_WEIGHT),
  };
}

/** A file that is due for a question. */
export interface DueFile {
  readonly hash: string;
  readonly evidence: FileEvidence;
  /** Since when it has been due; undefined for a file that is due for the first time. */
  readonly waitingSince?: Date;
  /** A list of known, not necessarily good, files has it. */
  readonly isKnown?: boolean;
}

/** A due file's place in the order of questions, and why. */
export interface RankedFile extends Score {
  readonly hash: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** From so many days of waiting on, a file has a claim to one of the places kept for those who have waited longest. */
const PATIENCE_DAYS = 7;

/** Every fifth question goes to the file that has waited longest, once that is beyond patience. */
const PLACES_PER_PATIENT_FILE = 5;

/**
 * The order in which files are asked: by score; files on a known-file list come last unless a striking rule applies to them; equal
 * scores go by waiting time, then hash. Every fifth place goes to whoever has waited longest, once that is seven days: so under any
 * quota each file is asked at some time, and a flood of old harmless files still leaves four places of five to the most telling.
 */
export function rankFiles(files: Iterable<DueFile>, now: Date): RankedFiles {
  const ranking = new Ranking(now);
  for (const file of files) ranking.add(file);
  return ranking.order();
}

/** The files in the order of their questions; each is put together when it is asked for. */
export interface RankedFiles extends Iterable<RankedFile> {
  readonly length: number;
  slice(start: number, end: number): RankedFile[];
}

const IS_KNOWN = 1;
const IS_PLACED = 2;

/** All files of a ranking, a row each. */
class RankingRows {
  size = 0;
  /** Numbers of their digests. */
  readonly files = new Column(Uint32Array);
  /** The rules that their own evidence calls for, by number. */
  readonly rules = new Column(Uint32Array);
  readonly hosts = new Column(Uint32Array);
  /** Where its part of all paths and of all places ends, which begins where that of the file before it does. */
  readonly pathsEnd = new Column(Uint32Array);
  readonly placesEnd = new Column(Uint32Array);
  readonly waitedMs = new Column(Float64Array);
  readonly bits = new Column(Uint8Array);
  /** By number. */
  readonly scores = new Column(Uint32Array);
}

/** What `rankFiles` does, for more evidence than is to be held at a time: `add` all files, then `order` them. Evidence is not kept. */
export class Ranking {
  readonly #now: Date;
  readonly #files: DigestTable;
  readonly #rows = new RankingRows();
  /** Digests of all files' paths, and of these without what differs from user to user and from version to version. */
  readonly #paths = new Column(Float64Array);
  readonly #places = new Column(Float64Array);
  #pathsEnd = 0;
  #placesEnd = 0;
  readonly #hosts = new DistinctCount();
  readonly #filesAtPath = new DigestTally();
  readonly #hostsAtPlace = new DigestTally();
  /** Which host was counted at which place. */
  readonly #hostAtPlace = new DigestTally();
  /** Lists of rules, and scores by what they are made of: few of them are those of many files. */
  readonly #ruleLists = new Numbered<RuleList>();
  readonly #scores = new Numbered<Score>();

  /** `files` may hold digests that are not ranked. */
  constructor(now: Date, files: DigestTable = new DigestTable()) {
    this.#now = now;
    this.#files = files;
  }

  /** Takes a file, and its part in what all files say together. Its digest is to be one. */
  add({ hash, evidence, waitingSince, isKnown }: DueFile): void {
    const file = this.#files.add(hash);
    if (file === undefined) throw new Error(`not a digest: ${JSON.stringify(hash)}`);
    const { hosts } = evidence;
    this.#hosts.merge(hosts);
    const normalized = evidence.images.map(normalizePath);
    for (const path of normalized) {
      const digest = digestOf(path);
      this.#filesAtPath.add(digest);
      this.#paths.set(this.#pathsEnd++, digest);
    }
    for (const place of distinct(normalized.map(patternOf))) {
      const digest = digestOf(place);
      this.#countHosts(digest, hosts);
      this.#places.set(this.#placesEnd++, digest);
    }
    const rows = this.#rows;
    const row = rows.size++;
    const rules = rulesOf(evidence);
    rows.files.set(row, file);
    rows.rules.set(
      row,
      this.#ruleLists.numberOf(rules.join(), () => rules),
    );
    rows.hosts.set(row, hosts.count);
    rows.pathsEnd.set(row, this.#pathsEnd);
    rows.placesEnd.set(row, this.#placesEnd);
    rows.waitedMs.set(row, waitingSince === undefined ? 0 : Math.max(0, this.#now.getTime() - waitingSince.getTime()));
    rows.bits.set(row, isKnown === true ? IS_KNOWN : 0);
  }

  /** All files, the first to be asked first. */
  order(): RankedFiles {
    this.#scoreAll();
    const { size, files, waitedMs, bits } = this.#rows;
    const score = (row: number): number => this.#scoreOf(row).score;
    const isLast = (row: number): number => Number((bits.get(row) & IS_KNOWN) !== 0 && !this.#scoreOf(row).isStriking);
    const byHash = (a: number, b: number): number => this.#files.compare(files.get(a), files.get(b));
    const ranked = Uint32Array.from({ length: size }, (_, row) => row).sort(
      (a, b) => isLast(a) - isLast(b) || score(b) - score(a) || waitedMs.get(b) - waitedMs.get(a) || byHash(a, b),
    );
    const patient = ranked
      .filter((row) => waitedMs.get(row) >= PATIENCE_DAYS * DAY_MS)
      .sort((a, b) => waitedMs.get(b) - waitedMs.get(a) || score(b) - score(a) || byHash(a, b));

    const order = new Uint32Array(size);
    let placed = 0;
    const isPlaced = (row: number): boolean => (bits.get(row) & IS_PLACED) !== 0;
    const place = (row: number | undefined): void => {
      if (row === undefined || isPlaced(row)) return;
      bits.set(row, bits.get(row) | IS_PLACED);
      order[placed++] = row;
    };
    let nextPatient = 0;
    for (const row of ranked) {
      if (isPlaced(row)) continue;
      if (placed % PLACES_PER_PATIENT_FILE === PLACES_PER_PATIENT_FILE - 1) {
        while (nextPatient < patient.length && isPlaced(patient[nextPatient] ?? 0)) nextPatient++;
        place(patient[nextPatient]);
      }
      place(row);
    }
    return new Order(order, (row) => ({
      hash: this.#files.hashAt(files.get(row)),
      ...this.#scoreOf(row),
    }));
  }

  /** Counts hosts at a place as far as a rule asks for them. */
  #countHosts(place: number, hosts: DistinctCount): void {
    const { digests } = hosts;
    if (digests === undefined) {
      this.#hostsAtPlace.raise(place, COMMON_HOSTS);
      return;
    }
    for (const host of digests) {
      if (this.#hostsAtPlace.count(place) >= COMMON_HOSTS) return;
      if (this.#hostAtPlace.add(mixDigests(place, host)) === 1) this.#hostsAtPlace.add(place);
    }
  }

  #scoreAll(): void {
    const rows = this.#rows;
    const hosts = this.#hosts.count;
    let path = 0;
    let place = 0;
    for (let row = 0; row < rows.size; row++) {
      let filesAtPath = 0;
      for (; path < rows.pathsEnd.get(row); path++)
        filesAtPath = Math.max(filesAtPath, this.#filesAtPath.count(this.#paths.get(path)));
      let hostsAtPlace = 0;
      for (; place < rows.placesEnd.get(row); place++)
        hostsAtPlace = Math.max(hostsAtPlace, this.#hostsAtPlace.count(this.#places.get(place)));
      const surroundings = { hosts, hostsAtPlace, filesAtPath, daysWaited: rows.waitedMs.get(row) / DAY_MS };
      const rules = applyingRules(this.#ruleLists.at(rows.rules.get(row)) ?? [], rows.hosts.get(row), surroundings);
      const waitingPoints = waitingPointsOf(surroundings);
      const number = this.#scores.numberOf(`${waitingPoints}:${rules.join()}`, () => scoreOf(rules, waitingPoints));
      rows.scores.set(row, number);
    }
  }

  #scoreOf(row: number): Score {
    return this.#scores.at(this.#rows.scores.get(row)) ?? NO_SCORE;
  }
}

const NO_SCORE: Score = { score: 0, reasons: [], isStriking: false };

class Order implements RankedFiles {
  readonly #rows: Uint32Array;
  readonly #fileAt: (row: number) => RankedFile;

  constructor(rows: Uint32Array, fileAt: (row: number) => RankedFile) {
    this.#rows = rows;
    this.#fileAt = fileAt;
  }

  get length(): number {
    return this.#rows.length;
  }

  slice(start: number, end: number): RankedFile[] {
    return Array.from(this.#rows.subarray(start, end), this.#fileAt);
  }

  *[Symbol.iterator](): Generator<RankedFile> {
    for (const row of this.#rows) yield this.#fileAt(row);
  }
}

/** Values by name, each made once, and their numbers. */
class Numbered<T> {
  readonly #numbers = new Map<string, number>();
  readonly #values: T[] = [];

  numberOf(name: string, make: () => T): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.#values.length);
    return this.#values.push(make()) - 1;
  }

  at(number: number): T | undefined {
    return this.#values[number];
  }
}

function distinct(texts: readonly string[]): readonly string[] {
  return texts.length < 2 ? texts : [...new Set(texts)];
}

/** A path without what differs from user to user and from version to version. */
function patternOf(path: string): string {
  return path.replace(/^([a-z]:\\users\\)[^\\]+/, '$1*').replace(/\d+/g, '#');
}

function traitsOf(evidence: FileEvidence): Traits {
  const paths = evidence.images.map(normalizePath);
  const names = paths.map(baseName);
  const places = new Set(paths.map(placeOf));
  const isProtected = places.size > 0 && [...places].every(isProtectedPlace);
  const { company, originalFileName } = evidence.metadata;
  const hasOtherName =
    originalFileName !== undefined && evidence.images.some((image) => isRenamed(image, originalFileName));
  const isInstaller =
    (company ?? '') !== '' &&
    (isInstallerName(originalFileName ?? '') || (names.some(isInstallerName) && !hasOtherName)) &&
    !names.some(isLure);
  return {
    evidence,
    paths,
    names,
    places,
    isProtected,
    isOfWindows:
      isProtected &&
      (places.has('windows') || places.has('packages')) &&
      (company === undefined || /^microsoft/i.test(company)) &&
      !names.some((name) => name.includes('.') && !/\.(exe|com|scr|cpl|bin)$/.test(name)),
    parentKinds: new Set(evidence.parents.map(parentKindOf).filter((kind) => kind !== undefined)),
    parentPlaces: new Set(evidence.parents.map((parent) => placeOf(normalizePath(parent)))),
    cues: new Set(evidence.commandLines.flatMap(cuesOf)),
    parentCues: new Set(evidence.parentCommandLines.flatMap(cuesOf)),
    metadata: metadataOf(evidence),
    isRenamed: hasOtherName,
    // Downloads and the like are named by whoever unpacks there; only installers make folders for a maker elsewhere.
    isAtHome:
      paths.every((path) => isAtHome(path, evidence)) &&
      [...places].every((place) => ['app-data', 'program-data', 'elsewhere', 'packages', 'programs'].includes(place)),
    isInstaller,
    isBuildOutput: paths.length > 0 && paths.every((path) => BUILD_OUTPUT.test(path)),
    isScratch: paths.length > 0 && paths.every((path) => INSTALLER_SCRATCH.test(path)),
  };
}

function metadataOf({ metadata }: FileEvidence): Traits['metadata'] {
  const { company, product, description, fileVersion } = metadata;
  if (company === undefined) return 'not_logged';
  const said = [company, product, description, fileVersion].filter((text) => (text ?? '') !== '').length;
  if (said === 0) return 'none';
  return said === 4 ? 'full' : 'some';
}

/** Words in companies and products that name nobody. */
const GENERIC_WORDS: ReadonlySet<string> = new Set(
  'inc llc ltd gmbh corp corporation company limited software systems technologies technology group the and for foundation project labs team application app windows microsoft operating system user users appdata local roaming programs program files data service services client server tool tools temp setup installer update updater desktop downloads documents public programdata'.split(
    ' ',
  ),
);

function isAtHome(path: string, { metadata }: FileEvidence): boolean {
  const folders = path
    .split(/[\\/]/)
    .slice(2, -1)
    .join(' ')
    .replace(/[^a-z0-9]+/g, ' ');
  const squeezed = folders.replaceAll(' ', '');
  // Windows' own vendor counts by its folder of that name only, since its name is the one most often borrowed.
  const isMicrosoft = /^microsoft/i.test(metadata.company ?? '');
  if (isMicrosoft) return /\\(microsoft|package cache)\\/.test(path);
  const words = `${metadata.company ?? ''} ${metadata.product ?? ''}`.toLowerCase().split(/[^a-z0-9]+/);
  return words.some((word) => word.length >= 3 && !GENERIC_WORDS.has(word) && squeezed.includes(word));
}

const BUILD_OUTPUT =
  /[\\/](bin|obj|x64|x86|win32|arm64|target|out|cmake-build-\w+|build)[\\/]((x64|x86|any cpu|bin|exe|[a-z0-9_-]{1,40})[\\/])?(debug|release|relwithdebinfo|minsizerel)[\\/]|[\\/]target[\\/](debug|release)[\\/]|[\\/]cmake-build-|[\\/](x64|win32|arm64)[\\/](debug|release)[\\/]|[\\/]go-build\d+[\\/]|[\\/]node_modules[\\/]|[\\/]\.?venv[\\/]scripts[\\/]|[\\/](bazel-out|\.gradle|\.cargo|\.rustup)[\\/]|[\\/](build|out|dist)[\\/][^\\/]*$/;

/** The folders and names that Inno Setup, NSIS, MSI, InstallShield, PyInstaller, Chromium's and 7-Zip's installers unpack to. */
const INSTALLER_SCRATCH =
  /[\\/](is-[a-z0-9]{5}\.tmp|ns[a-z]{1,2}[0-9a-f]{2,5}\.tmp|~nsu\w*\.tmp|_mei\d{4,}|cr_[0-9a-f]{5}\.tmp|7zs[0-9a-f]{8}|\{[0-9a-f-]{36}\})[\\/]|[\\/](msi[0-9a-f]{3,5}|ns[0-9a-f]{3,5})\.tmp$/;

function isOutsideWindows(path: string): boolean {
  const place = placeOf(path);
  return place !== 'windows' && place !== 'packages' && place !== 'unknown';
}

function lastFolderOf(image: string): string {
  const path = image.replaceAll('/', '\\');
  return baseName(path.slice(0, Math.max(0, path.lastIndexOf('\\'))));
}
