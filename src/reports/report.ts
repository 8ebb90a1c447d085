import type { FileHashes, LookupKey } from '../hash.js';
import type { Reason, VerdictName } from '../verdict.js';

/** All verdicts, worst first: the order of every list, legend and total in a report. */
export const VERDICTS_WORST_FIRST = ['malicious', 'suspicious', 'unknown', 'unchecked', 'undetected'] as const;

/** A number for each verdict. */
export type VerdictCounts = { readonly [name in VerdictName]: number };

/** What the `virustotal` member of a record says of the file that ran. */
export interface FileVerdict {
  readonly verdict: VerdictName;
  readonly reason?: Reason;
  /** Engines that call the file malicious, and engines that gave an opinion; present only where VirusTotal analysed the file. */
  readonly detections?: number;
  readonly engines?: number;
  /** VirusTotal's suggested threat label. Written by strangers, as every text here. */
  readonly label?: string;
  /** What VirusTotal was or would be asked with; absent where the record has no hash. */
  readonly lookupKey?: LookupKey;
  /** The digests of the record's look-up and those VirusTotal named. */
  readonly hashes: FileHashes;
  /** The file's page on VirusTotal, built here from its SHA256; absent where VirusTotal has none. */
  readonly link?: string;
  readonly firstSubmission?: Date;
  readonly lastAnalysis?: Date;
  readonly checkedAt?: Date;
  /** The answer is past its lifetime and stands for want of a newer one. */
  readonly stale: boolean;
  /** The list that knows the file; such a mark never overrules a verdict. */
  readonly knownGood?: string;
  readonly flags: readonly string[];
}

/** A value of a record, and how many executions had it. */
export interface CountedValue {
  readonly value: string;
  readonly executions: number;
}

/** The values met first, most executions first, and how many executions had values that are not listed. */
export interface CountedValues {
  readonly listed: readonly CountedValue[];
  readonly unlistedExecutions: number;
}

/** A file, what is said of it, and where it was seen running. Counts are exact, lists are cut. */
export interface ReportedFile {
  /** The digest that names the file in this report: SHA256 where known, else SHA1, else MD5. */
  readonly id: string;
  readonly file: FileVerdict;
  /** The path it ran under most often. */
  readonly image: string;
  readonly images: CountedValues;
  readonly executions: number;
  readonly hostCount: number;
  readonly hosts: CountedValues;
  readonly users: CountedValues;
  readonly commandLines: CountedValues;
  readonly parents: CountedValues;
  readonly firstRun?: Date;
  readonly lastRun?: Date;
  /** What the first record says of the file's version resource; Sysmon copies it from the file, so the file's author wrote it. */
  readonly claims: FileClaims;
}

/** The version resource of an image. */
export interface FileClaims {
  readonly originalFileName?: string;
  readonly company?: string;
  readonly product?: string;
  readonly description?: string;
  readonly fileVersion?: string;
}

/** How a finding differs from the older set of records. */
export type FindingChange =
  | { readonly kind: 'new' }
  | { readonly kind: 'changed'; readonly from: VerdictName; readonly detections?: number; readonly engines?: number };

/** A file that engines on VirusTotal detect, with what happened around it. */
export interface Finding extends ReportedFile {
  readonly change?: FindingChange;
  readonly stories: readonly Story[];
  /** Processes of this file whose story is not told here. */
  readonly untoldExecutions: number;
}

/** One process of a flagged file: what started it, what it started, what it did and what was done to it. */
export interface Story {
  readonly host: string;
  readonly process: StoryProcess;
  /** Eldest first; the last one started the process. */
  readonly ancestors: readonly StoryProcess[];
  readonly children: readonly StoryProcess[];
  readonly unlistedChildren: number;
  readonly endedAt?: Date;
  /** In the order of time. */
  readonly steps: readonly StoryStep[];
  /** Steps that are only counted. */
  readonly unlistedSteps: number;
  /** False where the log's context records were not there: then the story is only what the process creation itself tells. */
  readonly hasContext: boolean;
}

/** A process in a story's tree. */
export interface StoryProcess {
  readonly guid?: string;
  readonly pid?: string;
  readonly image: string;
  readonly commandLine?: string;
  readonly user?: string;
  readonly startedAt?: Date;
  /** What is said of its image; absent where only its child's record names it. */
  readonly file?: FileVerdict;
  /** The `id` of the finding that this process is one of. */
  readonly findingId?: string;
}

/** What a process did, or what was done to it. */
export type StepKind =
  | 'started_child'
  | 'connected'
  | 'accepted'
  | 'resolved'
  | 'created_file'
  | 'created_stream'
  | 'deleted_file'
  | 'changed_time'
  | 'injected_thread'
  | 'got_thread'
  | 'opened_process'
  | 'was_opened'
  | 'was_tampered'
  | 'ended';

/** One event of a story's timeline. */
export interface StoryStep {
  readonly at?: Date;
  readonly eventId: number;
  readonly kind: StepKind;
  /** What it was done to or with: an address, a name, a path, an image; empty where that is the process itself. */
  readonly object: string;
  /** What else the event tells: port and protocol, addresses, times, access rights. */
  readonly detail?: string;
}

/** What a host ran. Files are counted once, executions each. */
export interface HostSummary {
  readonly host: string;
  readonly executions: number;
  readonly files: VerdictCounts;
}

/** Executions by verdict over time, in spans of equal width. */
export interface ExecutionTimeline {
  readonly spanMs: number;
  readonly spans: readonly { readonly start: Date; readonly executions: VerdictCounts }[];
  readonly withoutTime: number;
}

/** Files without an answer, by why. */
export interface UnansweredFiles {
  readonly reason: Reason;
  readonly files: number;
  readonly executions: number;
}

/** What the report does and does not rest on. */
export interface Coverage {
  /** Files of enriched records that were read to their end. */
  readonly enrichedFiles: number;
  readonly failures: readonly { readonly path: string; readonly message: string }[];
  /** Lines that are no enriched record, and the first few of them. */
  readonly unreadableLines: number;
  readonly unreadableExamples: readonly string[];
  readonly unanswered: readonly UnansweredFiles[];
  readonly staleFiles: number;
  readonly oldestAnswer?: Date;
  readonly newestAnswer?: Date;
  /** Enriched files with flagged processes whose context records are not there. */
  readonly contextMissing: readonly string[];
  readonly contextMissingTotal: number;
  readonly withoutHost: number;
}

/** A file whose verdict is another one than in the older set, or that is gone. */
export interface ComparedFile {
  readonly id: string;
  readonly image: string;
  readonly before: Pick<FileVerdict, 'verdict' | 'detections' | 'engines'>;
  readonly now?: Pick<FileVerdict, 'verdict' | 'detections' | 'engines'>;
}

/** What is different from an older set of enriched records. */
export interface Comparison {
  readonly before: { readonly first?: Date; readonly last?: Date; readonly files: number; readonly executions: number };
  /** Flagged files that the older set does not have. */
  readonly newFindings: number;
  /** Unknown files that the older set does not have. */
  readonly newUnknown: number;
  readonly newHosts: number;
  /** Files of both sets whose verdict differs. */
  readonly changed: readonly ComparedFile[];
  readonly changedTotal: number;
  /** Files flagged in the older set that did not run in this one. */
  readonly gone: readonly ComparedFile[];
  readonly goneTotal: number;
}

/** All that any format of the report shows: a pure function of enriched records and context records. */
export interface Report {
  readonly headline: string;
  readonly firstRun?: Date;
  readonly lastRun?: Date;
  readonly executions: number;
  readonly executionsWithoutHash: number;
  readonly executionsByVerdict: VerdictCounts;
  readonly files: number;
  readonly filesByVerdict: VerdictCounts;
  readonly timeline: ExecutionTimeline;
  readonly hostCount: number;
  /** Hosts with the most malicious, suspicious, unknown files first. */
  readonly hosts: readonly HostSummary[];
  /** Worst first. */
  readonly findings: readonly Finding[];
  readonly findingsTotal: number;
  /** Files unknown to VirusTotal, rarest first. */
  readonly leads: readonly ReportedFile[];
  readonly leadsTotal: number;
  readonly coverage: Coverage;
  readonly comparison?: Comparison;
}
