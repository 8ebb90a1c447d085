import { join } from 'node:path';
import type { Night } from '../../src/demo/night.js';
import { fileReport, type ReportBody, type StandIn } from '../../src/demo/stand-in.js';
import type { FakeClock } from './clock.js';
import { type FakeShell, fakeShell } from './shell.js';

/** A key of VirusTotal's form; the stand-in takes it, and no output may show it. */
export const KEY = `${'c0ffee'.repeat(10)}abcd`;

/** The files of a night that VirusTotal knows, as the stand-in answers on them: with the night's own detections or others, by SHA1. */
export function knownFiles(night: Night, detections: Readonly<Record<string, number>> = {}): ReportBody[] {
  return night.files
    .filter(({ isKnown }) => isKnown)
    .map(({ sha1, sha256, md5, engines, ...file }) =>
      fileReport({ hashes: { sha1, sha256, md5 }, detections: detections[sha1] ?? file.detections, engines }),
    );
}

/** A shell that may ask the stand-in, with its cache below `root` and limits that no night meets. */
export function askingShell(
  { standIn, root, clock }: { readonly standIn: StandIn; readonly root: string; readonly clock: FakeClock },
  env: Readonly<Record<string, string>> = {},
  options: { readonly stdin?: string } = {},
): FakeShell {
  return fakeShell(
    {
      VT_API_KEY: KEY,
      VT_BASE_URL: standIn.baseUrl,
      CACHE_URL: join(root, 'cache'),
      VT_REQUESTS_PER_MINUTE: '1000',
      ...env,
    },
    { clock, ...options },
  );
}
