import { open, readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { RecordReceiver } from '../src/event.js';
import { addSighting, emptyEvidence, type FileEvidence } from '../src/evidence.js';
import { isPlaceholder, lookupKeyOf } from '../src/hash.js';
import { rankFiles } from '../src/ranking.js';
import { fileByteReader } from '../src/sources/byte-reader.js';
import { DEFAULT_LIMITS, readLog } from '../src/sources/index.js';
import { isProtectedPlace, normalizePath, placeOf } from '../src/windows.js';
import { attackShapes, benignNight } from './night.js';

/*
 * How many bad files are asked within the first questions of a mixed night; see docs/ranking.md. Run:
 *   npx tsc -p tsconfig.test.json --noEmit false --outDir dist/bench && node dist/bench/bench/ranking.js [folder of sample logs]
 */

const SHARES = [0.01, 0.05, 0.1, 0.25] as const;

/** Logs in the sample folders that show an ordinary day and no attack. */
const QUIET_LOGS: ReadonlySet<string> = new Set(['sysmon.evtx', 'sysmon-9.01.evtx']);

/** Folders of cloud agents that stand in the attack logs and belong to none. */
const AGENT_FOLDERS = /^c:\\(windowsazure|packages)\\/;

interface NightFile {
  readonly evidence: FileEvidence;
  isBad: boolean;
  shape: string;
}

type MixedNight = Map<string, NightFile>;

function addGenerated(night: MixedNight, files: ReturnType<typeof benignNight>): void {
  for (const { hash, shape, isBad, events } of files) {
    const evidence = emptyEvidence();
    for (const event of events) addSighting(evidence, event);
    night.set(hash, { evidence, isBad, shape });
  }
}

/**
 * Adds real logs. A file of an attack log is bad if it ran from a folder that needs no administrator to write to: what attackers
 * brought along, and not Windows' own programs that they used, on which VirusTotal has nothing to say.
 */
async function addAttackLogs(night: MixedNight, folder: string): Promise<void> {
  for (const name of (await readdir(folder)).sort()) {
    // Copies of one log with damage in it.
    if (name.startsWith('derived-')) continue;
    await addLog(night, join(folder, name));
  }
}

async function addLog(night: MixedNight, path: string): Promise<void> {
  const file = await open(path, 'r');
  const receiver: RecordReceiver = {
    onEvent: (record) => {
      const key = lookupKeyOf(record.hashes);
      if (key === undefined || isPlaceholder(key.hash)) return;
      const event = record.decode();
      const image = normalizePath(event.data.get('Image') ?? '');
      const known = night.get(key.hash) ?? {
        evidence: emptyEvidence(),
        isBad: false,
        shape: `${basename(path)} ${image}`,
      };
      night.set(key.hash, known);
      addSighting(known.evidence, event);
      if (!QUIET_LOGS.has(basename(path)) && !isProtectedPlace(placeOf(image)) && !AGENT_FOLDERS.test(image)) {
        known.isBad = true;
      }
    },
    onOther: () => undefined,
    onReject: () => undefined,
    onDuplicate: () => undefined,
    onNote: () => undefined,
    onBlockEnd: () => Promise.resolve(),
  };
  try {
    const { size } = await file.stat();
    await readLog(
      fileByteReader(file, size),
      { wanted: { eventIds: new Set([1]) }, limits: DEFAULT_LIMITS, filePath: path },
      receiver,
      () => undefined,
    );
  } finally {
    await file.close();
  }
}

/** Shares of the bad files found within the first questions, for each of `SHARES`. */
function recallOf(order: readonly string[], night: MixedNight): number[] {
  const bad = [...night.values()].filter(({ isBad }) => isBad).length;
  return SHARES.map((share) => {
    const asked = order.slice(0, Math.ceil(order.length * share));
    return asked.filter((hash) => night.get(hash)?.isBad).length / bad;
  });
}

function rarestFirst(night: MixedNight): string[] {
  return [...night]
    .sort(
      ([hashA, { evidence: a }], [hashB, { evidence: b }]) =>
        a.hosts.count - b.hosts.count || a.records.count - b.records.count || (hashA < hashB ? -1 : 1),
    )
    .map(([hash]) => hash);
}

function byScore(night: MixedNight): string[] {
  const due = [...night].map(([hash, { evidence }]) => ({ hash, evidence }));
  return Array.from(rankFiles(due, new Date('2026-03-04T06:00:00Z')), ({ hash }) => hash);
}

function tableOf(title: string, night: MixedNight): string {
  const bad = [...night.values()].filter(({ isBad }) => isBad).length;
  const row = (name: string, recalls: readonly number[]): string =>
    `| ${name} | ${recalls.map((recall) => `${Math.round(recall * 100)} %`).join(' | ')} |`;
  return [
    `${title}: ${bad} bad of ${night.size} files`,
    '',
    `| order | ${SHARES.map((share) => `first ${share * 100} %`).join(' | ')} |`,
    `|---|${SHARES.map(() => '---:').join('|')}|`,
    row('by score', recallOf(byScore(night), night)),
    row('rarest first', recallOf(rarestFirst(night), night)),
    row('random (expected)', SHARES),
    '',
  ].join('\n');
}

/** The bad files that come last, to see what the rules miss. */
function latestOf(night: MixedNight, count: number): string {
  const order = byScore(night);
  return order
    .flatMap((hash, place) => {
      const file = night.get(hash);
      return file?.isBad ? [`${((100 * (place + 1)) / order.length).toFixed(1)} % ${file.shape}`] : [];
    })
    .slice(-count)
    .join('\n');
}

const folder = resolve(process.argv[2] ?? '../shared/data/sysmon');
const real: MixedNight = new Map();
addGenerated(real, benignNight(1));
await addAttackLogs(real, join(folder, 'evtx'));
await addAttackLogs(real, join(folder, 'security-datasets'));
process.stdout.write(`${tableOf('Real attack logs in a generated night', real)}\n${latestOf(real, 6)}\n\n`);

const other: MixedNight = new Map();
addGenerated(other, benignNight(4));
await addLog(other, join(folder, 'containers', 'sigma-regression-evtx.zip'));
await addLog(other, join(folder, 'json', 'real-eqllib-sysmon-atomic-red-team.json.gz'));
process.stdout.write(`${tableOf('Other real attack logs in a generated night', other)}\n${latestOf(other, 6)}\n\n`);

for (const seed of [2, 3]) {
  const generated: MixedNight = new Map();
  addGenerated(generated, benignNight(seed));
  addGenerated(generated, attackShapes(seed, 5));
  process.stdout.write(
    `${tableOf(`Generated attacks in a generated night, seed ${seed}`, generated)}\n${latestOf(generated, 12)}\n\n`,
  );
}
