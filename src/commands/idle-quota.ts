import { openQuestioner } from '../assembly.js';
import type { AnswerCache } from '../cache/index.js';
import type { Clock } from '../clock.js';
import { type Config, Secret } from '../config.js';
import type { QuotaSummary, QuotaWindow } from '../summary.js';

/**
 * The quota of a run that asks nothing: what the ledger of the key says, without a word to VirusTotal, and nothing used where there is no
 * key, which has no ledger. Limits set to `auto` are those of a public key. Throws StorageError where the ledger cannot be read.
 */
export async function idleQuota(
  config: Config,
  about: { readonly cache: AnswerCache; readonly clock: Clock; readonly say: (text: string) => void },
): Promise<QuotaSummary> {
  if (config.apiKey === undefined) {
    const unused = (limit: number): QuotaWindow => ({ used: 0, limit: Number.isFinite(limit) ? limit : null });
    const { perMinute, perDay, perMonth } = config.limits;
    return { minute: unused(perMinute), day: unused(perDay), month: unused(perMonth), resumes_at: null };
  }
  // A proxy that is set up wrongly is no matter of a run that needs none.
  const quiet: Config = { ...config, autoLimits: new Set(), proxyEnvironment: new Secret({}) };
  const questioner = await openQuestioner(quiet, { ...about, purpose: 'batch' });
  try {
    return await questioner.usage();
  } finally {
    await questioner.close();
  }
}
