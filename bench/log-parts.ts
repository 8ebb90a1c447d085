import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type LogSize, writeEvtxLog, writeJsonLog } from './log-workloads.js';
import { compare, findProgram, type Job, SYSMON_VT } from './measure.js';
import { COST_COLUMNS, circumstances, costRow, digits, type Table } from './tables.js';

/** What the parts of the benchmark are told. */
export interface BenchSetup {
  /** An empty folder for workloads, removed afterwards. */
  readonly folder: string;
  /** At least 5 for numbers to be written down. */
  readonly rounds: number;
  /** Size of the large logs. */
  readonly bytes: number;
}

const MIB = 1024 * 1024;
/** libevtx reads 9 MB/s and python-evtx 0.3. */
const EVTX_PEER_BYTES = 32 * MIB;
const PYTHON_PEER_BYTES = 1 * MIB;

/** Process creations of an event log to JSON lines, against the tools there are. */
export async function benchEvtx(setup: BenchSetup): Promise<Table> {
  const large = await evtxLog(setup, setup.bytes);
  const small = await evtxLog(setup, EVTX_PEER_BYTES);
  const tiny = await evtxLog(setup, PYTHON_PEER_BYTES);
  const evtxDump = await findProgram('evtx_dump');
  const evtxexport = await findProgram('evtxexport');
  const pythonDump = (await findProgram('evtx_dump.py')) ?? (await findProgram('python3-evtx-dump'));
  const rows = [
    ...(await rowsOf(setup, large, [
      ...offline(setup, large),
      ...(evtxDump === undefined ? [] : [{ name: 'evtx_dump -o jsonl', command: [evtxDump, '-o', 'jsonl', large] }]),
    ])),
    ...(await rowsOf(setup, small, [
      ...offline(setup, small),
      ...(evtxexport === undefined ? [] : [{ name: 'evtxexport -f xml', command: [evtxexport, '-f', 'xml', small] }]),
    ])),
    ...(await rowsOf(setup, tiny, [
      ...offline(setup, tiny),
      ...(pythonDump === undefined ? [] : [{ name: 'python-evtx', command: [pythonDump, tiny] }]),
    ])),
  ];
  return {
    title: 'EVTX',
    columns: ['job', 'MiB', ...COST_COLUMNS, 'CPU, sysmon-vt = 1'],
    rows,
    notes: ['One record in four is a process creation; 5,000 distinct files.', circumstances()],
  };
}

/** Process creations of JSON lines, against what only searches and what parses. */
export async function benchJson(setup: BenchSetup): Promise<Table> {
  const path = await jsonLog(setup, setup.bytes);
  const jobs: Job[] = [...offline(setup, path)];
  const peers: readonly (readonly [program: string, ...options: string[]])[] = [
    ['grep', '-c', 'SHA1='],
    ['rg', '-c', 'SHA1='],
    ['jq', '-c', 'select(.EventID==1)'],
  ];
  for (const [program, ...options] of peers) {
    const found = await findProgram(program);
    if (found !== undefined) jobs.push({ name: [program, ...options].join(' '), command: [found, ...options, path] });
  }
  return {
    title: 'JSON lines',
    columns: ['job', 'MiB', ...COST_COLUMNS, 'CPU, sysmon-vt = 1'],
    rows: await rowsOf(setup, path, jobs),
    notes: ['NXLog lines of several channels; one in 830 is a process creation.', circumstances()],
  };
}

/** How cost and memory grow with the size of a log and with the number of distinct files in it. */
export async function benchGrowth(setup: BenchSetup): Promise<Table> {
  const rows: string[][] = [];
  const add = async (what: string, path: string, job: Job | undefined): Promise<void> => {
    if (job === undefined) return;
    const [measure] = await compare([job], Math.min(3, setup.rounds));
    if (measure !== undefined) rows.push([what, ...costRow(measure)]);
    await rm(path);
  };
  for (let bytes = 10 * MIB; bytes <= setup.bytes; bytes *= 4) {
    const evtx = await evtxLog(setup, bytes);
    await add(`EVTX, ${Math.round(bytes / MIB)} MiB, 5,000 files`, evtx, offline(setup, evtx)[0]);
    const json = await jsonLog(setup, bytes);
    await add(`JSON lines, ${Math.round(bytes / MIB)} MiB`, json, offline(setup, json)[0]);
  }
  for (let files = 1000; files <= 1_000_000 && files * DENSE_LINE_BYTES <= setup.bytes * 4; files *= 10) {
    const path = join(setup.folder, `files-${files}.jsonl`);
    await writeJsonLog(path, { bytes: files * DENSE_LINE_BYTES, distinctFiles: files }, true);
    await add(`JSON lines, ${files} process creations of as many files`, path, offline(setup, path)[0]);
  }
  return { title: 'Growth', columns: ['log', ...COST_COLUMNS], rows, notes: [circumstances()] };
}

/** A generated process creation as NXLog writes it. */
export const DENSE_LINE_BYTES = 3_400;

async function rowsOf(setup: BenchSetup, path: string, jobs: readonly Job[]): Promise<string[][]> {
  const { size } = await stat(path);
  const measures = await compare(jobs, setup.rounds);
  const own = measures[0]?.cpuS ?? Number.NaN;
  return measures.map((measure) => [
    measure.name,
    String(Math.round(size / MIB)),
    ...costRow(measure),
    digits(measure.cpuS / own),
  ]);
}

/** The whole job as on the first night, with nothing cached or remembered, and the same without writing. */
function offline({ folder }: BenchSetup, path: string): Job[] {
  const cache = join(folder, 'no-answers');
  const command = [...SYSMON_VT, 'enrich', path, '--offline', '--quiet'];
  const common = { env: { CACHE_URL: cache }, forgets: cache };
  return [
    { name: 'sysmon-vt enrich --offline', command: [...command, '--out', join(folder, 'out')], ...common },
    { name: 'sysmon-vt enrich --dry-run', command: [...command, '--dry-run'], ...common },
  ];
}

function evtxLog(setup: BenchSetup, bytes: number): Promise<string> {
  return written(setup, `${bytes}.evtx`, writeEvtxLog, { bytes, distinctFiles: 5_000 });
}

function jsonLog(setup: BenchSetup, bytes: number): Promise<string> {
  return written(setup, `${bytes}.jsonl`, writeJsonLog, { bytes, distinctFiles: 1_000 });
}

/** A workload in the setup's folder, made only once. */
async function written(
  { folder }: BenchSetup,
  name: string,
  write: (path: string, size: LogSize) => Promise<number>,
  size: LogSize,
): Promise<string> {
  const path = join(folder, name);
  if (!existsSync(path)) await write(path, size);
  return path;
}
