import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cachedAmong, namesIn, wrongCache, wrongFiles, wrongLedger } from './checks.js';
import { playClockRound } from './clock-rounds.js';
import { type Random, seeded } from './random.js';
import { type Ended, openWorld, type RoundLog, type Running, sha1Of, type World, writeLogs } from './world.js';

/** What is done to the program in a round. */
export const KINDS = [
  'kill',
  'kill_one_of_two',
  'terminate',
  'cut',
  'corrupt',
  'full_disk',
  'unreadable',
  'clock',
] as const;
export type Kind = (typeof KINDS)[number];

/** One round and what was wrong in it. */
export interface RoundReport {
  readonly kind: Kind;
  readonly round: number;
  readonly seed: number;
  readonly requests: number;
  /** Empty where all invariants held. */
  readonly violations: readonly string[];
  /** Undefined where it was played; else why it cannot be here. */
  readonly skipped?: string;
}

/** How a series of rounds is played. */
export interface TortureOptions {
  /** `dist/cli.js`. */
  readonly program: string;
  readonly rounds: number;
  readonly seed: number;
  readonly kinds?: readonly Kind[];
  readonly onRound?: (report: RoundReport) => void;
}

const FRESH_FILES = 24;
const OLD_FILES = 12;
/** So many rounds share a cache, which then has seen all that was done to it before. */
const ROUNDS_PER_WORLD = 20;
const LATENCY_MS = 4;
const CONCURRENCY = 4;
/** No run takes nearly as long; whoever needs more hangs. */
const MAX_RUN_MS = 60_000;
/** nobody: a user for whom permissions hold. */
const UNPRIVILEGED = 65_534;
const SETTINGS = { VT_CONCURRENCY: String(CONCURRENCY) };

const isRoot = process.getuid?.() === 0;

/** What a round has to know to judge what it sees. */
interface Stage {
  readonly world: World;
  readonly random: Random;
  readonly folder: string;
  readonly files: readonly number[];
  readonly logs: readonly RoundLog[];
  readonly violations: string[];
  /** Where the ledger's count starts: it was lost there, and that was said. */
  ledgerFrom: number;
  /** Digests whose stored answers were damaged. */
  readonly damaged: Set<string>;
  /** Damaged so that a value may have changed unseen. */
  readonly altered: Set<string>;
}

/** Plays rounds one after the other. Each is one disturbed run, the invariants, a run that has to complete, and the invariants again. */
export async function playRounds(options: TortureOptions): Promise<readonly RoundReport[]> {
  const kinds = options.kinds ?? KINDS;
  const reports: RoundReport[] = [];
  let world: World | undefined;
  let firstOfWorld = 0;
  let ledgerFrom = 0;
  try {
    for (let round = 0; round < options.rounds; round++) {
      const kind = kinds[round % kinds.length] ?? 'kill';
      const seed = options.seed + round;
      const report = (rest: Pick<RoundReport, 'requests' | 'violations' | 'skipped'>): void => {
        const whole = { kind, round, seed, ...rest };
        reports.push(whole);
        options.onRound?.(whole);
      };
      if (kind === 'clock') {
        report(await playClockRound(seed));
        continue;
      }
      if ((kind === 'full_disk' || kind === 'unreadable') && !isRoot) {
        report({ requests: 0, violations: [], skipped: 'needs root' });
        continue;
      }
      if (kind === 'full_disk') {
        report(await playFullDisk(options.program, seed));
        continue;
      }
      if (world === undefined || round - firstOfWorld >= ROUNDS_PER_WORLD) {
        await world?.remove();
        world = await openWorld({
          program: options.program,
          files: ROUNDS_PER_WORLD * FRESH_FILES,
          latencyMs: LATENCY_MS,
        });
        firstOfWorld = round;
        ledgerFrom = 0;
      }
      const stage = setStage(world, seeded(seed), round - firstOfWorld, ledgerFrom);
      const before = world.standIn.requests.length;
      await disturbAndCheck(stage, DISTURBANCES[kind]);
      ledgerFrom = stage.ledgerFrom;
      report({ requests: world.standIn.requests.length - before, violations: stage.violations });
    }
  } finally {
    await world?.remove();
  }
  return reports;
}

function setStage(world: World, random: Random, roundOfWorld: number, ledgerFrom: number): Stage {
  const first = roundOfWorld * FRESH_FILES;
  const files = Array.from({ length: FRESH_FILES + (first > 0 ? OLD_FILES : 0) }, (_, index) =>
    index < FRESH_FILES ? first + index : random.int(0, first - 1),
  ).toSorted((one, other) => (sha1Of(one) < sha1Of(other) ? -1 : 1));
  const folder = join(world.root, `round-${roundOfWorld}`);
  return {
    world,
    random,
    folder,
    files,
    logs: writeLogs(folder, files),
    violations: [],
    ledgerFrom,
    damaged: new Set(),
    altered: new Set(),
  };
}

/** Does harm during or between runs; returns how many answers may have been delivered without having been acknowledged. */
type Disturbance = (stage: Stage) => Promise<number>;

const DISTURBANCES: Readonly<Record<Exclude<Kind, 'clock' | 'full_disk'>, Disturbance>> = {
  kill: async (stage) => {
    const running = start(stage, stage.folder);
    await somewhereIn(stage, running);
    running.child.kill('SIGKILL');
    await end(stage, running, [null, 0]);
    return CONCURRENCY;
  },
  kill_one_of_two: async (stage) => {
    const other = `${stage.folder}-other`;
    const logs = writeLogs(other, stage.files);
    const [victim, survivor] = [start(stage, stage.folder), start(stage, other)];
    await somewhereIn(stage, victim);
    victim.child.kill('SIGKILL');
    await end(stage, victim, [null, 0]);
    const { stdout } = await end(stage, survivor, [0]);
    expectNoneWaiting(stage, stdout);
    const cached = await cachedAmong(stage.world, stage.files);
    stage.violations.push(...wrongFiles(other, logs, { cached, isFinal: true, excused: () => false }));
    return CONCURRENCY;
  },
  terminate: async (stage) => {
    const running = start(stage, stage.folder);
    await somewhereIn(stage, running);
    running.child.kill('SIGTERM');
    // Null where it had not come so far as to take the signal.
    await end(stage, running, [143, null, 0]);
    return 0;
  },
  cut: async (stage) => {
    const { world, random } = stage;
    const running = start(stage, stage.folder);
    await requestsReach(stage, running, random.int(1, FRESH_FILES - 1));
    await world.relay.cut();
    await sleep(random.int(0, 300));
    const isMended = random.chance(0.7);
    if (isMended) await world.relay.mend();
    else running.child.kill(random.one(['SIGTERM', 'SIGKILL']));
    const { status, stdout } = await end(stage, running, isMended ? [0] : [143, null, 0]);
    if (isMended && status === 0) expectNoneWaiting(stage, stdout);
    await world.relay.mend();
    return isMended ? 0 : CONCURRENCY;
  },
  corrupt: async (stage) => {
    const running = start(stage, stage.folder);
    await somewhereIn(stage, running);
    running.child.kill('SIGKILL');
    await end(stage, running, [null, 0]);
    // Killed before there was anything to damage.
    if (!existsSync(stage.world.cacheFolder)) return CONCURRENCY;
    for (let times = stage.random.int(1, 3); times > 0; times--) damageOneFile(stage);
    return FRESH_FILES;
  },
  unreadable: async (stage) => {
    const { world, random, folder } = stage;
    chmodSync(world.root, 0o711);
    chownAll(world.root, UNPRIVILEGED);
    const targets = [
      join(folder, 'a.jsonl'),
      folder,
      ...[join(world.answersRoot, 'answers'), join(world.cacheFolder, 'ledger'), world.cacheFolder],
      ...namesIn(join(world.answersRoot, 'answers')).map((name) => join(world.answersRoot, 'answers', name)),
      ...namesIn(join(world.cacheFolder, 'ledger')).map((name) => join(world.cacheFolder, 'ledger', name)),
    ].filter(existsSync);
    // Half of the time a log, which must cost that log alone.
    const target = random.chance(0.5)
      ? join(folder, random.one(['a.jsonl', 'b.jsonl.gz', 'c.evtx']))
      : random.one(targets);
    const { mode } = lstatSync(target);
    chmodSync(target, random.one([0, 0o400]) & (target.startsWith(folder + sep) ? 0 : 0o777));
    try {
      const { status, stderr } = await end(stage, start(stage, folder, UNPRIVILEGED), [0, 3]);
      if (target.startsWith(folder + sep) && (status !== 3 || !stderr.includes(target))) {
        stage.violations.push(`${target} could not be read, and that was not said`);
      }
    } finally {
      chmodSync(target, mode);
      chownAll(world.root, 0);
    }
    return CONCURRENCY;
  },
};

async function disturbAndCheck(stage: Stage, disturb: Disturbance): Promise<void> {
  const { world, files, folder, logs, violations } = stage;
  const { requests } = world.standIn;
  const first = requests.length;
  const before = await cachedAmong(world, files);
  const mayBeMissing = await disturb(stage);

  const inDisturbed = requests.slice(first);
  const askedTwice = inDisturbed.filter(({ hash }) => before.has(hash));
  if (askedTwice.length > 0) violations.push(`${askedTwice.length} files were asked whose answers were in the cache`);
  const cached = await cachedAmong(world, files);
  const delivered = new Set(
    inDisturbed.filter(({ status }) => status === 200 || status === 404).map(({ hash }) => hash),
  );
  const missing = [...delivered].filter((hash) => !cached.has(hash) && !stage.damaged.has(hash));
  if (missing.length > mayBeMissing) violations.push(`${missing.length} delivered answers are lost`);
  const lost = [...before].filter((hash) => !cached.has(hash) && !stage.damaged.has(hash));
  if (lost.length > 0) violations.push(`${lost.length} answers were in the cache and are lost`);
  const excused = (sha1: string): boolean => stage.damaged.has(sha1);
  violations.push(...wrongFiles(folder, logs, { cached, isFinal: false, excused }));

  await runToEnd(stage, cached);
}

/** A run without harm: it has to complete, ask nothing twice and leave everything in order. */
async function runToEnd(stage: Stage, cached: ReadonlySet<string>): Promise<void> {
  const { world, files, folder, logs, violations } = stage;
  const { requests } = world.standIn;
  const first = requests.length;
  const { stdout } = await end(stage, start(stage, folder), [0]);
  expectNoneWaiting(stage, stdout);
  const asked = requests.slice(first).map(({ hash }) => hash);
  if (new Set(asked).size < asked.length) violations.push('the completing run asked a file twice');
  const again = asked.filter((hash) => cached.has(hash) && !stage.damaged.has(hash));
  if (again.length > 0) violations.push(`the completing run asked ${again.length} files that were in the cache`);
  const now = await cachedAmong(world, files);
  violations.push(
    ...wrongFiles(folder, logs, { cached: now, isFinal: true, excused: (sha1) => stage.altered.has(sha1) }),
  );
  violations.push(...wrongCache(world, files, asked.length > 0));
  violations.push(...(await wrongLedger(world, stage.ledgerFrom)));
  rmSync(folder, { recursive: true });
}

function start({ world }: Stage, folder: string, uid?: number): Running {
  return world.start(['enrich', folder, '--json'], SETTINGS, uid);
}

/** Waits for the end of a run, notes one that hangs, ends in another way than it may, or fails with a defect of the program's. */
async function end({ violations }: Stage, running: Running, may: readonly (number | null)[]): Promise<Ended> {
  const alarm = setTimeout(() => {
    violations.push('a run hung');
    running.child.kill('SIGKILL');
  }, MAX_RUN_MS);
  const ended = await running.ended;
  clearTimeout(alarm);
  if (!may.includes(ended.status)) violations.push(`exit status ${ended.status}: ${ended.stderr.slice(-600)}`);
  if (ended.stderr.includes('unexpected failure')) violations.push(`a defect: ${ended.stderr.slice(-1500)}`);
  return ended;
}

function expectNoneWaiting({ violations }: Stage, stdout: string): void {
  const waiting = /"waiting":(\d+)/.exec(stdout)?.[1];
  if (waiting !== '0') violations.push(`${waiting ?? 'unknown how many'} files wait after a whole run`);
}

/** Some moment of a run: by time, so that starting and ending are met too, or by how much was asked. */
async function somewhereIn(stage: Stage, running: Running): Promise<void> {
  if (stage.random.chance(0.5)) await Promise.race([sleep(stage.random.int(0, 900)), running.ended]);
  else await requestsReach(stage, running, stage.random.int(1, FRESH_FILES));
  await Promise.race([sleep(stage.random.int(0, 12)), running.ended]);
}

async function requestsReach({ world }: Stage, running: Running, count: number): Promise<void> {
  const target = world.standIn.requests.length + count;
  let hasEnded = false;
  void running.ended.then(() => {
    hasEnded = true;
  });
  while (world.standIn.requests.length < target && !hasEnded) await sleep(1);
}

/** Damages one file of the cache folder, as a bad disk or a careless hand would. */
function damageOneFile(stage: Stage): void {
  const { world, random } = stage;
  const paths = readdirSync(world.cacheFolder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(world.cacheFolder, name))
    .filter((path) => lstatSync(path).isFile() && !path.includes('.corrupt-') && !path.endsWith('.tmp'));
  const ofKind = random.one([
    '/answers/',
    '/journal/',
    '/ledger/',
    '/locks/',
    '/sightings/',
    '/runs/',
    '/disclosed/',
    '',
  ]);
  // Killed before there was anything to damage.
  if (paths.length === 0) return;
  const path = random.one(
    paths.some((candidate) => candidate.includes(ofKind))
      ? paths.filter((candidate) => candidate.includes(ofKind))
      : paths,
  );
  const bytes = readFileSync(path);
  const how = random.one(['flip', 'cut', 'empty', 'zero', 'garbage'] as const);
  if (path.includes('/answers/') || path.includes('/journal/')) {
    const text = bytes.toString('latin1');
    for (const file of everyFile(stage)) {
      const sha1 = sha1Of(file);
      if (!text.includes(sha1)) continue;
      stage.damaged.add(sha1);
      if (how === 'flip') stage.altered.add(sha1);
    }
  }
  if (path.includes('/ledger/')) stage.ledgerFrom = world.standIn.requests.length;
  writeFileSync(path, damaged(bytes, how, random));
}

function everyFile({ files }: Stage): number[] {
  return Array.from({ length: Math.max(...files) + 1 }, (_, file) => file);
}

function damaged(bytes: Buffer, how: 'flip' | 'cut' | 'empty' | 'zero' | 'garbage', random: Random): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return Buffer.from('{');
  switch (how) {
    case 'empty':
      return Buffer.alloc(0);
    case 'cut':
      return copy.subarray(0, random.int(0, copy.length - 1));
    case 'zero':
      return copy.fill(0, random.int(0, copy.length - 1));
    case 'garbage':
      for (let at = random.int(0, copy.length - 1); at < copy.length; at++) copy[at] = random.int(0, 255);
      return copy;
    case 'flip': {
      const at = random.int(0, copy.length - 1);
      copy[at] = (copy[at] ?? 0) ^ (1 << random.int(0, 7));
      return copy;
    }
  }
}

function chownAll(folder: string, uid: number): void {
  chownSync(folder, uid, uid);
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    // Lock tickets come and go.
    if (existsSync(join(folder, name))) chownSync(join(folder, name), uid, uid);
  }
}

/** A run whose cache, or whose output, is on a file system with too little room; then there is room. */
async function playFullDisk(
  program: string,
  seed: number,
): Promise<Pick<RoundReport, 'requests' | 'violations' | 'skipped'>> {
  const random = seeded(seed);
  const disk = mkdtempSync(join(tmpdir(), 'sysmon-vt-torture-disk-'));
  const sizeKb = random.int(24, 900);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKb}k`, 'tmpfs', disk], { stdio: 'pipe' });
  } catch (error) {
    rmSync(disk, { recursive: true });
    return { requests: 0, violations: [], skipped: `no tmpfs can be mounted (${String(error).slice(0, 80)})` };
  }
  const isCacheThere = random.chance(0.6);
  const world = await openWorld({
    program,
    files: FRESH_FILES,
    latencyMs: 0,
    ...(isCacheThere ? { cacheRoot: disk } : {}),
  });
  try {
    const stage = setStage(world, random, 0, 0);
    const folder = isCacheThere ? stage.folder : join(disk, 'logs');
    const filled: Stage = isCacheThere ? stage : { ...stage, folder };
    if (!isCacheThere) {
      mkdirSync(folder);
      try {
        writeLogs(folder, stage.files);
      } catch {
        // Not even the logs fit: then there is nothing to see here, and the next step makes room.
      }
    }
    const running = start(filled, folder);
    const { status, stderr } = await end(filled, running, [0, 3]);
    if (status === 3 && !/no space|disk is full|ENOSPC|\[/i.test(stderr))
      filled.violations.push(`it was not said: ${stderr}`);
    execFileSync('mount', ['-o', 'remount,size=64m', disk]);
    if (!isCacheThere) writeLogs(folder, stage.files);
    const cached = await cachedAmong(world, filled.files);
    const delivered = new Set(world.standIn.requests.map(({ hash }) => hash));
    const missing = [...delivered].filter((hash) => !cached.has(hash)).length;
    if (missing > CONCURRENCY) filled.violations.push(`${missing} delivered answers are lost on a full disk`);
    await runToEnd(filled, cached);
    return { requests: world.standIn.requests.length, violations: filled.violations };
  } finally {
    await world.remove();
    execFileSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  }
}
