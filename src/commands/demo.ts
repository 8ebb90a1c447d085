import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNight } from '../demo/night.js';
import { writeNightLogs } from '../demo/night-logs.js';
import { fileReport, startStandIn } from '../demo/stand-in.js';
import { ENRICHED_ENDING } from '../log-paths.js';
import { runCheck } from './check.js';
import { runEnrich } from './enrich.js';
import { runReport } from './report.js';
import { type CommonOptions, EXIT, type ExitStatus, print, type Shell } from './shell.js';

/** Generous, so that the demo takes seconds; the ledger counts all the same. */
const DEMO_SETTINGS = {
  VT_API_KEY: 'demo-key-for-the-stand-in',
  VT_REQUESTS_PER_MINUTE: '600',
  VT_REQUESTS_PER_DAY: '5000',
} as const;

/** `demo`: the main job on a generated night of logs against the stand-in, in a temporary folder. */
export async function runDemo(shell: Shell, options: CommonOptions & { readonly keep?: boolean }): Promise<ExitStatus> {
  const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-demo-'));
  const night = buildNight();
  const standIn = await startStandIn({
    key: DEMO_SETTINGS.VT_API_KEY,
    perMinute: Number(DEMO_SETTINGS.VT_REQUESTS_PER_MINUTE),
    files: night.files
      .filter(({ isKnown }) => isKnown)
      .map(({ sha1, sha256, md5, detections, engines, label, name, signer, firstSubmission, lastAnalysis }) =>
        fileReport({
          hashes: { sha1, sha256, md5 },
          detections,
          engines,
          name,
          firstSubmission,
          lastAnalysis,
          ...(label === undefined ? {} : { family: label.replace(/^[^.]*\.|\/.*$/g, '') }),
          ...(signer === undefined ? {} : { signer }),
        }),
      ),
  });
  try {
    const logs = join(folder, 'logs');
    const names = await writeNightLogs(night, logs);
    // An empty settings file of our own: neither a .env nor the environment of this machine has a say in the demo.
    const envFile = join(folder, 'settings');
    await writeFile(envFile, '');
    const inner: Shell = {
      ...shell,
      env: {
        ...DEMO_SETTINGS,
        VT_BASE_URL: standIn.baseUrl,
        CACHE_URL: join(folder, 'cache'),
        NO_COLOR: shell.env['NO_COLOR'],
      },
    };
    const tell = async (text: string): Promise<void> => {
      if (!options.quiet) await print(shell.stderr, text);
    };
    const common = {
      envFile,
      ...(options.failOn === undefined ? {} : { failOn: options.failOn }),
      ...(options.json ? { json: true } : {}),
      ...(options.quiet ? { quiet: true } : {}),
    };

    await tell(`A generated night on ${names.length} machines, and a stand-in for VirusTotal on this machine.\n\n`);
    await tell(`$ sysmon-vt enrich logs/     (${names.join(', ')})\n`);
    const first = await runEnrich(inner, [logs], common);
    await tell('\n$ sysmon-vt report logs/\n');
    await runReport(inner, [logs], { ...common, json: false, out: folder });
    await tell('\n$ sysmon-vt enrich logs/     (again: every answer is in the cache)\n');
    const second = await runEnrich(inner, [logs], { ...common, json: false });
    const worst = night.files.find(({ detections }) => detections > 60);
    if (!options.json && !options.quiet && worst !== undefined) {
      await tell(`\n$ sysmon-vt check ${worst.sha1}\n`);
      await runCheck(inner, [worst.sha1], { envFile });
      const enriched = join(logs, `WS-FIN-03.evtx${ENRICHED_ENDING}`);
      const line = (await readFile(enriched, 'utf8'))
        .split('\n')
        .find((candidate) => candidate.includes('"verdict":"malicious"'));
      await tell(`\n$ grep -m1 malicious logs/WS-FIN-03.evtx${ENRICHED_ENDING}\n${line ?? ''}\n`);
    }
    if (options.keep) await tell(`\nLogs and results are in ${folder}\n`);
    return first === EXIT.done ? second : first;
  } finally {
    await standIn.close();
    if (!options.keep) await rm(folder, { recursive: true, force: true });
  }
}
