import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SysmonEvent } from '../../src/event.js';
import { addSighting, emptyEvidence, evidenceToJson, type FileEvidence } from '../../src/evidence.js';
import { openSightings, type SightingOptions } from '../../src/sightings/index.js';
import { processMark } from '../../src/storage/process-identity.js';
import { selfMovingClock } from '../fakes/clock.js';

const HASH = '27c9be13b2f583309f95abb2fafe3fbd5a7c83ae';
const OTHER_HASH = 'cc91cd270691ad02f6ffabdfb5a3c436835afee5';
const MONDAY = new Date('2026-03-02T02:00:00Z');
const TUESDAY = new Date('2026-03-03T02:00:00Z');

let folder: string;
let reports: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-sightings-'));
  reports = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (options: SightingOptions = {}): ReturnType<typeof openSightings> =>
  openSightings(folder, { onReport: (report) => reports.push(report), ...options });

const batchFolder = (): string => join(folder, 'sightings', 'batches');

const batches = async (): Promise<string[]> => (await readdir(batchFolder())).filter((name) => name.endsWith('.jsonl'));

/** Brings all batches into shards, as it happens when there are many: here, copies of a small one. */
async function fold(options: SightingOptions = {}): Promise<void> {
  const before = await batches();
  const filler = (): Promise<void> =>
    open(options).add(new Map([[`99${'0'.repeat(38)}`, seenOn(['filler', String(fillers++)])]]));
  await filler();
  const [small = ''] = (await batches()).filter((name) => !before.includes(name));
  for (let copy = 0; copy < 64; copy++) {
    await copyFile(join(batchFolder(), small), join(batchFolder(), `copy-${copy}.jsonl`));
  }
  await filler();
  expect(await batches()).toEqual([]);
}
let fillers = 0;

function creation(computer: string, recordId: string): SysmonEvent {
  return {
    eventId: 1,
    recordId,
    provider: 'Microsoft-Windows-Sysmon',
    channel: 'Microsoft-Windows-Sysmon/Operational',
    computer,
    timeCreated: undefined,
    data: new Map([
      ['UtcTime', '2026-03-02 01:02:03.456'],
      ['Image', 'C:\\Temp\\a.exe'],
    ]),
  };
}

function seenOn(...records: readonly (readonly [computer: string, recordId: string])[]): FileEvidence {
  const evidence = emptyEvidence();
  for (const [computer, recordId] of records) addSighting(evidence, creation(computer, recordId), 'night.evtx');
  return evidence;
}

describe('the memory of sightings', () => {
  it('creates nothing by being read', async () => {
    expect(await open().get(HASH)).toBeUndefined();
    expect((await open().waiting()).size).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });

  it('adds the sightings of several runs up', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'], ['ws-2', '7'])]]));
    await open().add(new Map([[HASH, seenOn(['ws-1', '2'])]]));

    const evidence = await open().get(HASH);
    expect(evidence?.records.count).toBe(3);
    expect(evidence?.hostNames).toEqual(['ws-1', 'ws-2']);
    expect(evidence?.images).toEqual(['C:\\Temp\\a.exe']);
    expect(evidence?.firstSeen).toEqual(new Date('2026-03-02T01:02:03.456Z'));
  });

  it('never counts a record twice, however often its log is read', async () => {
    for (let night = 0; night < 3; night++) {
      await open().add(new Map([[HASH, seenOn(['ws-1', '1'], ['ws-1', '2'])]]));
    }
    expect((await open().get(HASH))?.records.count).toBe(2);
    await fold();
    expect((await open().get(HASH))?.records.count).toBe(2);
  });

  it('counts only what is new in a log that has grown', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'], ['ws-1', '2'])]]));
    expect((await open().get(HASH))?.records.count).toBe(2);
  });

  it('loses nothing when several processes add at once', async () => {
    await Promise.all(
      Array.from({ length: 6 }, (_, host) => open().add(new Map([[HASH, seenOn([`ws-${host}`, '1'])]]))),
    );
    expect((await open().get(HASH))?.hosts.count).toBe(6);
  });

  it('reads many files at once', async () => {
    await open().add(
      new Map([
        [HASH, seenOn(['ws-1', '1'])],
        [OTHER_HASH, seenOn(['ws-2', '1'])],
      ]),
    );
    const found = await readAll(open(), [OTHER_HASH, HASH, '0'.repeat(40)]);
    expect([...found.keys()]).toEqual([HASH, OTHER_HASH]);
  });

  it('sets a damaged shard aside, says so and goes on', async () => {
    await mkdir(join(folder, 'sightings'));
    await writeFile(join(folder, 'sightings', '27.json'), '{"files":{');
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    expect((await open().get(HASH))?.records.count).toBe(1);
    expect(reports).toEqual([expect.stringContaining('27.json.corrupt-')]);
  });

  it('keeps the good files of a shard with a damaged one, and a copy of the damage', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    await fold();
    const path = join(folder, 'sightings', '27.json');
    const document = JSON.parse(await readFile(path, 'utf8'));
    document.files = {
      [`27${'0'.repeat(38)}`]: { records: 'many' },
      ...document.files,
      __proto__x: { records: [], hosts: [] },
    };
    await writeFile(path, JSON.stringify(document));

    expect((await open().get(HASH))?.records.count).toBe(1);
    await open().add(new Map([[HASH, seenOn(['ws-9', '1'])]]));
    await fold();

    expect(reports).toEqual([expect.stringContaining("2 files' sightings could not be read")]);
    expect((await open().get(HASH))?.records.count).toBe(2);
    const names = await readdir(join(folder, 'sightings'));
    expect(names.filter((name) => name.startsWith('27.json.corrupt-'))).toHaveLength(1);
  });

  it('writes a night of thousands of files as one file, and folds many nights into shards', async () => {
    const night = new Map(
      Array.from({ length: 2000 }, (_, number) => [
        createHash('sha1').update(String(number)).digest('hex'),
        seenOn(['ws-1', String(number)]),
      ]),
    );
    await open().add(night);
    expect(await batches()).toHaveLength(1);
    expect(await readdir(join(folder, 'sightings'))).toEqual(['batches']);

    await fold();

    expect(await batches()).toEqual([]);
    expect((await readdir(join(folder, 'sightings'))).filter((name) => name.endsWith('.json'))).toHaveLength(256);
    expect((await readAll(open(), night.keys())).size).toBe(2000);
  });

  it('counts what stands in shards and in batches together, each record once', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    await fold();
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'], ['ws-1', '2'])]]));
    await open().add(new Map([[HASH, seenOn(['ws-3', '3'])]]));
    expect((await open().get(HASH))?.records.count).toBe(3);
    expect(await filesOf(open())).toMatchObject({ [HASH]: 3 });
  });

  it('gives the same of every file, however runs added to it and whoever reads it', async () => {
    const hashOf = (file: number): string => createHash('sha1').update(`file ${file}`).digest('hex');
    const writer = open();
    const expected = new Map<string, Set<string>>();
    for (let run = 0; run < 30; run++) {
      const seen = new Map<string, FileEvidence>();
      for (let file = run; file < 400; file += 1 + (run % 7)) {
        const record = String((file * run) % 50);
        seen.set(hashOf(file), seenOn(['ws-1', record]));
        expected.set(hashOf(file), (expected.get(hashOf(file)) ?? new Set()).add(record));
      }
      await writer.add(seen);
    }
    const counts = Object.fromEntries([...expected].map(([hash, records]) => [hash, records.size]));
    // Who has just written has the last batches in memory, another run has not.
    for (const store of [writer, open()]) {
      expect(await filesOf(store)).toEqual(counts);
      const some = Object.keys(counts).filter((_hash, index) => index % 3 === 0);
      const found = await readAll(store, some);
      expect(Object.fromEntries([...found].map(([hash, { records }]) => [hash, records.count]))).toEqual(
        Object.fromEntries(some.map((hash) => [hash, counts[hash]])),
      );
    }
    await fold();
    expect(await filesOf(open())).toMatchObject(counts);
  });

  it('leaves a damaged line of a batch out, says so, and keeps the file when the others are folded', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    const [name = ''] = await batches();
    const path = join(batchFolder(), name);
    const whole = await readFile(path, 'utf8');
    await writeFile(path, `${whole}{"hash":"${OTHER_HASH}","evidence":{"records":"no"}}\nnothing\n`);

    await fold();

    expect(Object.keys(await filesOf(open()))).toContain(HASH);
    expect(await open().get(OTHER_HASH)).toBeUndefined();
    expect(reports).toContainEqual(expect.stringContaining('damaged and left out'));
    expect((await readdir(batchFolder())).filter((kept) => kept.startsWith(`${name}.corrupt-`))).toHaveLength(1);
  });

  it('forgets files that have not run for as long as sightings are kept', async () => {
    const options = { keptMs: 30 * 86_400_000, clock: selfMovingClock('2026-03-20T00:00:00Z') };
    await open(options).add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    await fold(options);
    expect(await open().get(HASH)).toBeDefined();
    options.clock.advance(20 * 86_400_000);
    await open(options).add(new Map([[OTHER_HASH.replace('cc', '27'), seenOn(['ws-1', '2'])]]));
    await fold(options);
    expect(await open().get(HASH)).toBeUndefined();
  });
});

async function readAll(
  store: Pick<ReturnType<typeof openSightings>, 'read'>,
  hashes: Iterable<string>,
): Promise<Map<string, FileEvidence>> {
  const all = new Map<string, FileEvidence>();
  for await (const part of store.read(hashes)) for (const [hash, evidence] of part) all.set(hash, evidence);
  return all;
}

async function filesOf(store: ReturnType<typeof openSightings>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for await (const files of store.select(async (digests) => digests))
    for (const [hash, { records }] of files) counts[hash] = records.count;
  return counts;
}

describe('shards', () => {
  const sha1 = (number: number): string => createHash('sha1').update(String(number)).digest('hex');
  const many = new Map(Array.from({ length: 1500 }, (_, number) => [sha1(number), seenOn(['ws-1', String(number)])]));
  const shardPath = (hash: string): string => join(folder, 'sightings', `${hash.slice(0, 2)}.json`);

  it('give each file of thousands, and none that is not there', async () => {
    await open().add(many);
    await fold();
    const found = await readAll(open(), [...many.keys(), sha1(-1), `${sha1(0).slice(0, 2)}${'f'.repeat(38)}`]);
    expect([...found.keys()].sort()).toEqual([...many.keys()].sort());
    for (const [hash, evidence] of many) {
      expect(evidenceToJson(found.get(hash) ?? emptyEvidence())).toEqual(evidenceToJson(evidence));
    }
  });

  it('are read in whatever order another program has written them', async () => {
    await open().add(many);
    await fold();
    const path = shardPath(sha1(0));
    const { files } = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ files: Object.fromEntries(Object.entries(files).reverse()) }, undefined, 2));
    expect((await readAll(open(), many.keys())).size).toBe(many.size);
    expect(reports).toEqual([]);
  });

  it('are not fooled by texts that look like files', async () => {
    const evidence = emptyEvidence();
    const look = `"${OTHER_HASH}":{"records":[1],"hosts":[1]},`;
    const event = creation('ws-1', '1');
    addSighting(evidence, { ...event, data: new Map([...event.data, ['CommandLine', look], ['User', `${look}\\`]]) });
    await open().add(new Map([[HASH, evidence]]));
    await fold();
    const found = await readAll(open(), [HASH, OTHER_HASH]);
    expect([...found.keys()]).toEqual([HASH]);
    expect(found.get(HASH)?.commandLines).toEqual([look]);
    expect(Object.keys(await filesOf(open()))).not.toContain(OTHER_HASH);
  });

  it('tell of a file whose sightings are damaged, and give the others', async () => {
    await open().add(many);
    await fold();
    const path = shardPath(sha1(7));
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(`"${sha1(7)}":{"records":[`, `"${sha1(7)}":{"records":["x",`));
    expect((await readAll(open(), many.keys())).size).toBe(many.size - 1);
    expect(reports).toEqual([expect.stringContaining("1 files' sightings could not be read")]);
  });

  it('take over no line whose digest is none', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    const [name = ''] = await batches();
    const path = join(batchFolder(), name);
    const line = await readFile(path, 'utf8');
    await writeFile(path, line + line.replace(HASH, `27${'z'.repeat(38)}`));
    await fold();
    expect(Object.keys(await filesOf(open())).filter((digest) => digest.startsWith('27'))).toEqual([HASH]);
    expect(await readFile(shardPath(HASH), 'utf8')).not.toContain('zzz');
    expect(reports).toEqual([expect.stringContaining('is damaged and left out')]);
  });

  it('are read only for the files that are chosen', async () => {
    await open().add(many);
    await fold();
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    const offered: string[] = [];
    const chosen: string[] = [];
    const parts = open().select(async (digests) => {
      offered.push(...digests);
      return digests.filter((digest) => digest === HASH || digest === sha1(3));
    });
    for await (const part of parts) chosen.push(...part.keys());
    expect(offered.filter((digest) => many.has(digest) || digest === HASH)).toHaveLength(many.size + 1);
    expect(chosen.sort()).toEqual([HASH, sha1(3)].sort());
  });
});

describe('sightings apart', () => {
  it('are found together with those that are kept, and leave them as they are', async () => {
    await open().add(new Map([[HASH, seenOn(['ws-1', '1'])]]));
    const before = await snapshot();
    const apart = open().apart();
    await apart.add(new Map([[HASH, seenOn(['ws-2', '1'])]]));
    await apart.add(new Map([[OTHER_HASH, seenOn(['ws-3', '1'])]]));
    const found = await readAll(apart, [HASH, OTHER_HASH]);
    expect(found.get(HASH)?.hostNames).toEqual(['ws-1', 'ws-2']);
    expect(found.get(OTHER_HASH)?.hostNames).toEqual(['ws-3']);
    await apart.close();

    expect(await snapshot()).toEqual(before);
    expect((await readAll(open(), [HASH])).get(HASH)?.hostNames).toEqual(['ws-1']);
  });

  it('may be more than the memory is to hold', async () => {
    const night = (first: number): Map<string, FileEvidence> =>
      new Map(
        Array.from({ length: 3000 }, (_, number) => [
          createHash('sha1')
            .update(String(first + number))
            .digest('hex'),
          seenOn(['ws-1', String(first + number)]),
        ]),
      );
    const apart = open().apart();
    const all = new Set<string>();
    for (const first of [0, 3000, 6000]) {
      const seen = night(first);
      for (const hash of seen.keys()) all.add(hash);
      await apart.add(seen);
    }
    const written = async (): Promise<string[]> =>
      (await readdir(tmpdir())).filter((name) => name.startsWith(`sysmon-vt-${processMark()}-`));
    expect(await written()).toHaveLength(1);
    expect((await readAll(apart, all)).size).toBe(9000);
    await apart.close();
    expect(await written()).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  const snapshot = async (): Promise<Record<string, string>> => {
    const files: Record<string, string> = {};
    for (const name of await batches()) files[name] = await readFile(join(batchFolder(), name), 'utf8');
    return files;
  };
});

describe('the files that wait', () => {
  it('wait since they were first due, over runs, until they are settled', async () => {
    const due = [
      { hash: HASH, score: 12 },
      { hash: OTHER_HASH, score: 3 },
    ];
    await open().updateWaiting({ due, settled: [], now: MONDAY });
    await open().updateWaiting({ due: [{ hash: HASH, score: 13 }], settled: [OTHER_HASH], now: TUESDAY });
    const waiting = await open().waiting();
    expect([...waiting.hashes()]).toEqual([HASH]);
    expect(waiting.get(HASH)).toEqual({ since: MONDAY, score: 13 });
  });

  it('are not waited for when they are answered in the same run', async () => {
    await open().updateWaiting({ due: [{ hash: HASH, score: 0 }], settled: [HASH], now: MONDAY });
    expect((await open().waiting()).size).toBe(0);
  });

  it('are only files', async () => {
    const due = ['constructor', '__proto__', HASH].map((hash) => ({ hash, score: 1 }));
    await open().updateWaiting({ due, settled: [], now: MONDAY });
    expect([...(await open().waiting()).hashes()]).toEqual([HASH]);
  });
});
