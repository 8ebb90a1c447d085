import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findLogs } from '../src/log-paths.js';

let root: string;

function put(path: string): string {
  const full = join(root, path);
  mkdirSync(join(full, '..'), { recursive: true });
  writeFileSync(full, 'x');
  return full;
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-paths-'));
});
afterEach(() => rmSync(root, { recursive: true }));

describe('finding logs', () => {
  it('walks folders in a stable order and leaves our own files out', async () => {
    for (const path of ['b.evtx', 'a/z.json', 'a/z.json.enriched.jsonl', 'a/z.json.context.jsonl', 'b.evtx.orig'])
      put(path);
    put('b.evtx.enriched.jsonl.sysmon-vt-12-0a1b.tmp');
    const { logs, failures } = await findLogs([root], undefined);
    expect(logs.map(({ path, enrichedPath, isNamed }) => ({ path, enrichedPath, isNamed }))).toEqual([
      { path: join(root, 'a/z.json'), enrichedPath: join(root, 'a/z.json.enriched.jsonl'), isNamed: false },
      { path: join(root, 'b.evtx'), enrichedPath: join(root, 'b.evtx.enriched.jsonl'), isNamed: false },
    ]);
    expect(failures).toEqual([]);
  });

  it('takes globs, and says where none matches', async () => {
    put('x/one.evtx');
    put('x/y/two.evtx');
    put('x/y/three.json');
    const { logs } = await findLogs([join(root, '**/*.evtx')], undefined);
    expect(logs.map(({ path }) => path)).toEqual([join(root, 'x/one.evtx'), join(root, 'x/y/two.evtx')]);
    const { failures } = await findLogs([join(root, '*.none')], undefined);
    expect(failures).toEqual([{ path: join(root, '*.none'), why: 'nothing matches' }]);
  });

  it('finds no fault with a glob of which all that matches is skipped: nights without new logs are no failures', async () => {
    const log = put('old.json');
    utimesSync(log, 0, 0);
    put('old.json.enriched.jsonl');
    for (const glob of ['*', '*.json', '*.enriched.jsonl']) {
      const { logs, failures } = await findLogs([join(root, glob)], undefined, { since: new Date() });
      expect({ glob, logs, failures }).toEqual({ glob, logs: [], failures: [] });
    }
  });

  it('walks the folders that a glob matches, as where the shell had matched them', async () => {
    put('ws-1/deep/a.evtx');
    put('ws-2/b.evtx');
    put('srv-1/c.evtx');
    const { logs, failures } = await findLogs([join(root, 'ws-*')], undefined);
    expect(logs.map(({ path }) => path)).toEqual([join(root, 'ws-1/deep/a.evtx'), join(root, 'ws-2/b.evtx')]);
    expect(failures).toEqual([]);
  });

  it('takes a file whose name looks like a glob', async () => {
    const path = put('log[1].json');
    const { logs } = await findLogs([path], undefined);
    expect(logs.map((log) => log.path)).toEqual([path]);
  });

  it('reads a file once that several paths lead to', async () => {
    const path = put('a/log.json');
    symlinkSync(path, join(root, 'a/link.json'));
    const { logs } = await findLogs([root, path, join(root, 'a')], undefined);
    expect(logs).toHaveLength(1);
    expect(logs[0]?.isNamed).toBe(true);
  });

  it('is not caught in a loop of links, and follows no FIFO', async () => {
    put('a/log.json');
    symlinkSync(root, join(root, 'a/up'));
    symlinkSync(join(root, 'a/self'), join(root, 'a/self'));
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const { logs, failures } = await findLogs([root], undefined);
    expect(logs.map(({ path }) => path)).toEqual([join(root, 'a/log.json')]);
    expect(failures).toEqual([]);
    const named = await findLogs([join(root, 'pipe')], undefined);
    expect(named.failures).toEqual([{ path: join(root, 'pipe'), why: 'it is neither a file nor a folder' }]);
  });

  it('says which path does not exist', async () => {
    const { failures } = await findLogs([join(root, 'nowhere')], undefined);
    expect(failures).toEqual([{ path: join(root, 'nowhere'), why: 'no such file or folder' }]);
  });

  it('keeps the tree below the deepest shared folder with --out', async () => {
    put('night/ws/a.evtx');
    put('night/srv/a.evtx');
    const { logs } = await findLogs([join(root, 'night/ws'), join(root, 'night/srv')], join(root, 'out'));
    expect(logs.map(({ enrichedPath }) => enrichedPath)).toEqual([
      join(root, 'out/ws/a.evtx.enriched.jsonl'),
      join(root, 'out/srv/a.evtx.enriched.jsonl'),
    ]);
  });
});
