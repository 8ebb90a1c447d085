import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DisclosureLog, openDisclosureLog } from '../src/disclosure.js';
import { selfMovingClock } from './fakes/clock.js';

const hashOf = (number: number): string => number.toString(16).padStart(40, '0');

const STARTED_AT = new Date('2026-03-31T23:00:00.000Z');

let folder: string;
const clock = selfMovingClock('2026-03-31T23:59:59.500Z');
const open = (host = 'www.virustotal.com'): DisclosureLog =>
  openDisclosureLog({ cacheFolder: folder, host, clock, why: 'batch', command: 'enrich', startedAt: STARTED_AT });
const linesOf = (month: string): unknown[] =>
  readFileSync(join(folder, 'disclosed', `${month}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-disclosure-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the disclosure log', () => {
  it('says of each hash when it was asked, of whom and why, in a file for each month', async () => {
    const log = open();
    await log.note(hashOf(1), { because: 'lies in a temporary folder', image: 'C:\\Temp\\a.exe' });
    clock.advance(1000);
    await log.note(hashOf(2));
    await log.close();
    expect(readdirSync(join(folder, 'disclosed')).sort()).toEqual(['2026-03.jsonl', '2026-04.jsonl']);
    expect(linesOf('2026-03')).toEqual([
      {
        at: '2026-03-31T23:59:59.500Z',
        hash: hashOf(1),
        host: 'www.virustotal.com',
        why: 'batch',
        command: 'enrich',
        run: '2026-03-31T23:00:00.000Z',
        because: 'lies in a temporary folder',
        image: 'C:\\Temp\\a.exe',
      },
    ]);
    expect(linesOf('2026-04')).toMatchObject([{ hash: hashOf(2) }]);
    if (process.platform !== 'win32') {
      expect(statSync(join(folder, 'disclosed', '2026-03.jsonl')).mode & 0o777).toBe(0o600);
    }
  });

  it('has a line before the request leaves, whole, whoever else writes', async () => {
    const logs = [open('one.example'), open('two.example'), open('three.example')];
    await Promise.all(logs.flatMap((log) => Array.from({ length: 50 }, (_, number) => log.note(hashOf(number)))));
    // Not closed yet: what `note` has resolved for can be read.
    expect(linesOf('2026-04')).toHaveLength(150);
    await Promise.all(logs.map((log) => log.close()));
  });

  it('holds no more of what a log says than a line takes', async () => {
    const log = open();
    await log.note(hashOf(1), { image: `C:\\${'x'.repeat(30_000)}\n.exe` });
    await log.close();
    expect(linesOf('2026-04')).toMatchObject([{ image: expect.stringMatching(/^C:.{290,300}…$/) }]);
  });

  it('keeps what an earlier run has noted', async () => {
    for (const number of [1, 2]) {
      const log = open();
      await log.note(hashOf(number));
      await log.close();
    }
    expect(linesOf('2026-04')).toMatchObject([{ hash: hashOf(1) }, { hash: hashOf(2) }]);
  });

  it('lets nothing be asked that it cannot note', async () => {
    writeFileSync(join(folder, 'disclosed'), 'in the way');
    const log = open();
    await expect(log.note(hashOf(1))).rejects.toMatchObject({
      code: 'CACHE',
      message: expect.stringContaining('disclosed'),
    });
    rmSync(join(folder, 'disclosed'));
    await log.note(hashOf(2));
    await log.close();
    expect(linesOf('2026-04')).toMatchObject([{ hash: hashOf(2) }]);
  });

  it('is no file at all where nothing was asked', async () => {
    await open().close();
    expect(readdirSync(folder)).toEqual([]);
  });
});
