import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { systemClock } from '../../src/clock.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight, type NightEvent } from '../../src/demo/night.js';
import { evtxLog } from '../../src/demo/night-logs.js';
import { fileReport, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import type { VerdictName } from '../../src/verdict.js';
import { openDesk } from '../../src/virustotal/desk.js';
import type { Usage } from '../../src/virustotal/ledger.js';
import { openRelay, type Relay } from './relay.js';

const KEY = 'key-of-the-torture';

/** How a run of the program ended. */
export interface Ended {
  /** Null after a kill. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** One machine: a cache, a VirusTotal that answers, and the program as a process. */
export interface World {
  readonly root: string;
  readonly cacheFolder: string;
  /** Where the cache keeps answers and journals of the stand-in. */
  readonly answersRoot: string;
  readonly standIn: StandIn;
  readonly relay: Relay;
  /** Starts `sysmon-vt` with these arguments. `uid` runs it as another user (root only). */
  start(args: readonly string[], settings?: Readonly<Record<string, string>>, uid?: number): Running;
  /** What the ledger counts now. */
  usage(): Promise<Usage>;
  remove(): Promise<void>;
}

/** Files are numbered; each fourth one is known to the stand-in, with as many detections as its number tells. */
export function sha1Of(file: number): string {
  return createHash('sha1').update(`file ${file}`).digest('hex');
}

function isKnown(file: number): boolean {
  return file % 4 === 0;
}

/** What has to be said of a file in the end. */
export function verdictOf(file: number): VerdictName {
  if (!isKnown(file)) return 'unknown';
  const detections = file % 9;
  return detections >= 5 ? 'malicious' : detections >= 1 ? 'suspicious' : 'undetected';
}

/** Opens a world whose stand-in knows the files up to `files`. The cache is below `cacheRoot`, which may be a file system of its own. */
export async function openWorld(options: {
  readonly program: string;
  readonly files: number;
  readonly latencyMs: number;
  readonly cacheRoot?: string;
}): Promise<World> {
  const root = mkdtempSync(join(tmpdir(), 'sysmon-vt-torture-'));
  const cacheFolder = join(options.cacheRoot ?? root, 'cache');
  const standIn = await startStandIn({
    key: KEY,
    latencyMs: options.latencyMs,
    files: Array.from({ length: options.files }, (_, file) => file)
      .filter(isKnown)
      .map((file) => fileReport({ hashes: { sha1: sha1Of(file) }, detections: file % 9 })),
  });
  const relay = await openRelay(Number(new URL(standIn.baseUrl).port));
  const host = `127.0.0.1:${relay.port}`;
  const running = new Set<ChildProcess>();
  return {
    root,
    cacheFolder,
    answersRoot: join(cacheFolder, host.replace(':', '_')),
    standIn,
    relay,
    start: (args, settings = {}, uid) => {
      const child = spawn(process.execPath, [options.program, ...args], {
        env: {
          PATH: process.env['PATH'] ?? '',
          HOME: root,
          VT_API_KEY: KEY,
          VT_BASE_URL: `http://${host}/api/v3`,
          CACHE_URL: cacheFolder,
          VT_REQUESTS_PER_MINUTE: 'unlimited',
          VT_REQUESTS_PER_DAY: '1000000',
          VT_REQUESTS_PER_MONTH: 'unlimited',
          ...settings,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(uid === undefined ? {} : { uid, gid: uid }),
      });
      running.add(child);
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      const ended = new Promise<Ended>((resolve) =>
        child.on('close', (status) => {
          running.delete(child);
          resolve({ status, stdout, stderr });
        }),
      );
      return { child, ended };
    },
    usage: async () => {
      const desk = await openDesk({
        folder: cacheFolder,
        host,
        key: KEY,
        limits: { perMinute: Infinity, perDay: 1_000_000, perMonth: Infinity, reservePerDay: 20 },
        purpose: 'on_demand',
        clock: systemClock,
        onLoss: (what) => {
          throw new Error(`a run should have mended it: ${what}`);
        },
      });
      return desk.usage();
    },
    remove: async () => {
      for (const child of running) child.kill('SIGKILL');
      await relay.cut();
      await standIn.close();
      rmSync(root, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

const templates: readonly NightEvent[] = buildNight().events.filter(({ eventId }) => eventId === 1);

/** One log of a round and the files whose process creations are in it, in order. */
export interface RoundLog {
  readonly name: string;
  readonly files: readonly number[];
}

/** Writes process creations of these files as three logs of different kinds into `folder`, which is made. */
export function writeLogs(folder: string, files: readonly number[]): RoundLog[] {
  mkdirSync(folder, { recursive: true });
  const third = Math.ceil(files.length / 3);
  const part = (index: number): number[] => files.slice(index * third, (index + 1) * third);
  const logs = [
    { name: 'a.jsonl', files: part(0), write: (events: NightEvent[]) => events.map(nxlogLine).join('') },
    { name: 'b.jsonl.gz', files: part(1), write: (events: NightEvent[]) => gzipSync(events.map(nxlogLine).join('')) },
    { name: 'c.evtx', files: part(2), write: evtxLog },
  ];
  for (const { name, files: held, write } of logs) {
    const events = held.map((file, index): NightEvent => {
      const template = templates[(file + index) % templates.length];
      if (template === undefined) throw new RangeError('the night has no process creations');
      return { ...template, data: new Map(template.data).set('Hashes', `SHA1=${sha1Of(file).toUpperCase()}`) };
    });
    writeFileSync(join(folder, name), write(events));
  }
  return logs.map(({ name, files: held }) => ({ name, files: held }));
}
