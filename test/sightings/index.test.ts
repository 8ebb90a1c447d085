import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SysmonEvent } from '../../src/event.js';
import { addSighting, emptyEvidence, type FileEvidence } from '../../src/evidence.js';
import { openSightings } from '../../src/sightings/index.js';

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

const open = (): ReturnType<typeof openSightings> =>
  openSightings(folder, { onReport: (report) => reports.push(report) });

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

  it('never counts a record twice, however often its log is read, and then writes nothing', async () => {
    const night = seenOn(['ws-1', '1'], ['ws-1', '2']);
    await open().add(new Map([[HASH, night]]));
    const path = join(folder, 'sightings', '27.json');
    const before = await stat(path);

    await open().add(new Map([[HASH, seenOn(['ws-1', '1'], ['ws-1', '2'])]]));

    expect((await open().get(HASH))?.records.count).toBe(2);
    expect((await stat(path)).ino).toBe(before.ino);
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
    const found = await open().getMany([OTHER_HASH, HASH, '0'.repeat(40)]);
    expect([...found.keys()].sort()).toEqual([HASH, OTHER_HASH]);
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
    const path = join(folder, 'sightings', '27.json');
    const document = JSON.parse(await readFile(path, 'utf8'));
    document.files[`27${'0'.repeat(38)}`] = { records: 'many' };
    document.files['__proto__x'] = { records: [], hosts: [] };
    await writeFile(path, JSON.stringify(document));

    expect((await open().get(HASH))?.records.count).toBe(1);
    await open().add(new Map([[HASH, seenOn(['ws-9', '1'])]]));

    expect(reports).toEqual([expect.stringContaining("2 files' sightings could not be read")]);
    expect((await open().get(HASH))?.records.count).toBe(2);
    const names = await readdir(join(folder, 'sightings'));
    expect(names.filter((name) => name.startsWith('27.json.corrupt-'))).toHaveLength(1);
  });
});

describe('the files that wait', () => {
  it('wait since they were first due, over runs, until they are settled', async () => {
    await open().updateWaiting({ due: [HASH, OTHER_HASH], settled: [], now: MONDAY });
    await open().updateWaiting({ due: [HASH], settled: [OTHER_HASH], now: TUESDAY });
    expect(await open().waiting()).toEqual(new Map([[HASH, MONDAY]]));
  });

  it('are not waited for when they are answered in the same run', async () => {
    await open().updateWaiting({ due: [HASH], settled: [HASH], now: MONDAY });
    expect((await open().waiting()).size).toBe(0);
  });

  it('are only files', async () => {
    await open().updateWaiting({ due: ['constructor', '__proto__', HASH], settled: [], now: MONDAY });
    expect([...(await open().waiting()).keys()]).toEqual([HASH]);
  });
});
