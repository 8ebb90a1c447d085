export { type AskingOptions, type OpenQuestioner, openQuestioner } from './assembly.js';
export { type AnswerCache, type CacheStats, openCache, openConfiguredCache } from './cache/index.js';
export { type Clock, systemClock } from './clock.js';
export { type Config, loadConfig, type RequestLimits, Secret } from './config.js';
export {
  EnrichmentError,
  type ErrorCode,
  LogError,
  type Reject,
  StorageError,
  UsageError,
  VirusTotalError,
} from './errors.js';
export type { SysmonEvent } from './event.js';
export { type FileHashes, type HashAlgorithm, type LookupKey, lookupKeyOf, parseHashes } from './hash.js';
export { type FoundLogs, findLogs, type LogFile } from './log-paths.js';
export type { EngineCounts, FileReport, Lifetimes, Lookup, LookupStatus } from './lookup.js';
export {
  type DetectedFile,
  type EnrichJob,
  type EnrichOutcome,
  type EnrichQuestioner,
  enrich,
  type RunObserver,
} from './pipeline.js';
export { type ContainerLimits, DEFAULT_LIMITS } from './sources/index.js';
export type { QuotaSummary, RunFailure, Summary } from './summary.js';
export {
  countDetections,
  judge,
  type Reason,
  type Thresholds,
  type Verdict,
  type VerdictName,
  virustotalMember,
} from './verdict.js';
export type { Outcome } from './virustotal/schedule.js';
