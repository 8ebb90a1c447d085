import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeAbandoned, temporaryPath, tidyBeside } from '../../src/storage/temporary.js';
import { abandonedPath } from '../fakes/abandoned.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-temporary-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const put = (path: string): string => {
  writeFileSync(path, 'half');
  return path;
};
/** A name as a process of another host would give. */
const foreignPath = (path: string): string =>
  temporaryPath(path).replace(/-[0-9a-f]{8}(?=-[0-9a-f]{8}-[0-9a-f]{12}\.tmp$)/, '-00000000');

describe('what is left half written', () => {
  it('by a process that has died is removed, with what it kept beside it', async () => {
    put(abandonedPath(join(folder, 'night.evtx.enriched.jsonl')));
    put(`${abandonedPath(join(folder, 'nsrl.index'))}.17`);
    await removeAbandoned(folder);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('by a process that runs stays', async () => {
    const path = put(temporaryPath(join(folder, 'night.evtx.enriched.jsonl')));
    const longAgo = new Date(Date.now() - 30 * 24 * 60 * 60 * 1000);
    utimesSync(path, longAgo, longAgo);
    await removeAbandoned(folder);
    expect(readdirSync(folder)).toEqual([basename(path)]);
  });

  it('by another host stays for a day after its last write', async () => {
    const [fresh, old] = [put(foreignPath(join(folder, 'a'))), put(foreignPath(join(folder, 'b')))];
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    utimesSync(old, longAgo, longAgo);
    await removeAbandoned(folder);
    expect(readdirSync(folder)).toEqual([basename(fresh)]);
  });

  it('by anybody else stays, as does a folder of such a name', async () => {
    const names = ['setup.tmp', 'a.sysmon-vt-1.tmp', `${basename(abandonedPath('a'))}.evtx`].sort();
    for (const name of names) put(join(folder, name));
    const named = abandonedPath(join(folder, 'z'));
    mkdirSync(named);
    await removeAbandoned(folder);
    expect(readdirSync(folder).sort()).toEqual([...names, basename(named)].sort());
  });

  it('is looked for once for each folder that is written to, and no refusal ends the writing', async () => {
    put(abandonedPath(join(folder, 'a')));
    await tidyBeside(join(folder, 'b'));
    expect(readdirSync(folder)).toEqual([]);
    put(abandonedPath(join(folder, 'a')));
    await tidyBeside(join(folder, 'c'));
    expect(readdirSync(folder)).toHaveLength(1);
    await tidyBeside(join(folder, 'nowhere', 'c'));
  });
});
