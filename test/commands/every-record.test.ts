import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { nxlogLine } from '../../src/demo/json-logs.js';
import { buildNight } from '../../src/demo/night.js';
import { fakeShell } from '../fakes/shell.js';

const night = buildNight();
let root: string;
let log: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-every-'));
  log = join(root, 'night.jsonl');
  writeFileSync(log, night.events.map(nxlogLine).join(''));
});
afterEach(() => rmSync(root, { recursive: true }));

const enrich = async (options: object): Promise<{ status: number; records: { total: number; rejected: number } }> => {
  const shell = fakeShell({ CACHE_URL: join(root, 'cache') });
  const status = await runEnrich(shell, [log], { offline: true, json: true, ...options });
  return { status, ...JSON.parse(shell.printed()) };
};

describe('enrich --all-events', () => {
  it('writes every record in the order of the log, a verdict on process creations only', async () => {
    const { status, records } = await enrich({ allEvents: true, out: join(root, 'out') });
    expect({ status, rejected: records.rejected }).toEqual({ status: 0, rejected: 0 });
    const lines = readFileSync(join(root, 'out', 'night.jsonl.enriched.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(lines).toHaveLength(night.events.length);
    for (const [index, event] of night.events.entries()) {
      const line = nxlogLine(event).trimEnd();
      if (event.eventId === 1) expect(lines[index]?.startsWith(`${line.slice(0, -1)},"virustotal":{`)).toBe(true);
      else expect(lines[index]).toBe(line);
    }
  });

  it('gives a report on the process creations, in which no other record is missing', async () => {
    const coverageOf = async (options: object): Promise<unknown> => {
      const out = join(root, JSON.stringify(options));
      await enrich({ ...options, report: 'json', out });
      const { coverage, executions } = JSON.parse(readFileSync(join(out, 'sysmon-vt-report.json'), 'utf8'));
      return { executions, unreadable: coverage.unreadable_lines };
    };
    const executions = night.events.filter(({ eventId }) => eventId === 1).length;
    expect(await coverageOf({ allEvents: true })).toEqual({ executions, unreadable: 0 });
    expect(await coverageOf({ events: '1,7,15,23' })).toEqual({ executions, unreadable: 0 });
  });

  it('counts the same records as without', async () => {
    expect((await enrich({ allEvents: true })).records).toEqual((await enrich({})).records);
  });
});
