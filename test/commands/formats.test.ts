import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runFormats } from '../../src/commands/formats.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';
import { evtxLog } from '../../src/demo/night-logs.js';
import { fakeShell } from '../fakes/shell.js';

const night = buildNight();
const creations = night.events.filter(({ eventId }) => eventId === 1).length;
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-formats-'));
});
afterEach(() => rmSync(root, { recursive: true }));

describe('formats', () => {
  it('tells what each file is by its content, what is in it, and what cannot be read', async () => {
    writeFileSync(join(root, 'a.txt'), evtxLog(night.events));
    writeFileSync(join(root, 'b.evtx'), gzipSync(`{"cut": \n${night.events.map(nxlogLine).join('')}`));
    writeFileSync(join(root, 'c.jsonl'), 'nothing that any tool writes');
    writeFileSync(join(root, 'd.evtx'), '');
    const before = readdirSync(root);
    const shell = fakeShell({});
    expect(await runFormats(shell, [root], { json: true })).toBe(0);
    const reports = shell
      .printed()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(reports.map(({ format, process_creations, rejected }) => [format, process_creations, rejected])).toEqual([
      ['EVTX', creations, 0],
      ['gzip of JSON', creations, 1],
      [null, 0, 0],
      ['empty', 0, 0],
    ]);
    expect(reports[1].rejects[0]).toContain('at 0x0');
    expect(reports[2].failures[0]).toContain('begins with "nothing that any tool writes"');
    expect(readdirSync(root)).toEqual(before);
  });

  it('ends with 3 for a folder with a log that cannot be read, and not for a file that is no log', async () => {
    writeFileSync(join(root, 'a.jsonl'), night.events.map(nxlogLine).join(''));
    writeFileSync(join(root, 'b.txt'), 'nothing that any tool writes');
    expect(await runFormats(fakeShell({}), [root], {})).toBe(0);
    writeFileSync(join(root, 'c.zip'), Buffer.from('PK\u0003\u0004 and no directory'));
    const shell = fakeShell({});
    expect(await runFormats(shell, [root], { json: true })).toBe(3);
    const broken = JSON.parse(shell.printed().trimEnd().split('\n').at(-1) ?? '');
    expect(broken).toMatchObject({ path: join(root, 'c.zip'), format: null });
    expect(broken.failures).toHaveLength(1);
  });

  it('fails for a named file that is no log, and says why for people', async () => {
    writeFileSync(join(root, 'x\u001b[31m.log'), Buffer.from('MZ\u0000\u0001'));
    const shell = fakeShell({});
    expect(await runFormats(shell, [join(root, 'x\u001b[31m.log')], {})).toBe(3);
    expect(shell.printed()).toContain('a Windows program');
    expect(shell.printed()).not.toContain('\u001b');
  });
});
