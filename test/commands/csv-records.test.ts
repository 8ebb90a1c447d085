import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runEnrich } from '../../src/commands/enrich.js';
import { runReport } from '../../src/commands/report.js';
import { VERDICT_COLUMNS } from '../../src/csv-cells.js';
import { buildNight } from '../../src/demo/night.js';
import { evtxLog } from '../../src/demo/night-logs.js';
import { type StandIn, startStandIn } from '../../src/demo/stand-in.js';
import { type FakeClock, selfMovingClock } from '../fakes/clock.js';
import { askingShell, KEY, knownFiles } from '../fakes/night.js';
import type { FakeShell } from '../fakes/shell.js';
import { zipArchive } from '../sources/containers/archives.js';

const night = buildNight();
const creations = night.events.filter(({ eventId }) => eventId === 1);
const ADDED = VERDICT_COLUMNS.join(',');
const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';
const COLUMNS = [
  'EventID',
  'Computer',
  'Channel',
  'UtcTime',
  'ProcessGuid',
  'Image',
  'CommandLine',
  'Hashes',
  'ParentImage',
];

let root: string;
let logs: string;
let clock: FakeClock;
let standIn: StandIn;

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

/** The night as one column per field. Command lines go over two lines and hold what looks like a verdict. */
function nightRows(delimiter = ','): string {
  const rows = night.events.map(({ eventId, computer, data }) =>
    [
      String(eventId),
      computer,
      CHANNEL,
      ...['UtcTime', 'ProcessGuid', 'Image'].map((name) => data.get(name) ?? ''),
      `${data.get('CommandLine') ?? ''} \r\n"malicious",=cmd|1,"{""verdict"":""unchecked""}"`,
      ...['Hashes', 'ParentImage'].map((name) => data.get(name) ?? ''),
    ]
      .map(quoted)
      .join(delimiter),
  );
  return `${[COLUMNS.join(delimiter), ...rows].join('\r\n')}\r\n`;
}

/** Rows as RFC 4180 has them. */
function parseRows(text: string, delimiter = ','): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^${delimiter}"\\r\\n]*))(${delimiter}|\\r?\\n)`, 'y');
  for (let found = cell.exec(text); found !== null; found = cell.exec(text)) {
    row.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '');
    if (found[3] === delimiter) continue;
    rows.push(row);
    row = [];
  }
  return rows;
}

const read = (name: string): string => readFileSync(join(logs, name), 'utf8');

const shell = (options: { stdin?: string } = {}): FakeShell => askingShell({ standIn, root, clock }, {}, options);

async function run(options = {}, paths = [logs]): Promise<{ status: number; said: string }> {
  const running = shell();
  const status = await runEnrich(running, paths, { records: 'csv', ...options });
  return { status, said: running.said() };
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'sysmon-vt-csv-'));
  logs = join(root, 'logs');
  mkdirSync(logs);
  clock = selfMovingClock('2026-03-04T07:00:00Z');
  standIn = await startStandIn({
    key: KEY,
    clock,
    files: knownFiles(night),
  });
});
afterEach(async () => {
  await standIn.close();
  rmSync(root, { recursive: true });
});

describe('--records csv', () => {
  it('writes rows of process creations as they stand, with the columns of the verdict at the right', async () => {
    const log = nightRows();
    writeFileSync(join(logs, 'night.csv'), log);
    expect((await run()).status).toBe(0);
    expect(readdirSync(logs)).toEqual(['night.csv', 'night.csv.context.jsonl', 'night.csv.enriched.csv']);
    const enriched = read('night.csv.enriched.csv');
    const [header, ...rows] = parseRows(enriched);
    expect(header).toEqual([...COLUMNS, ...VERDICT_COLUMNS]);
    const originals = parseRows(log).filter(([eventId]) => eventId === '1');
    expect(rows.map((row) => row.slice(0, COLUMNS.length))).toEqual(originals);
    for (const row of rows) {
      const [verdict, , detections, engines] = row.slice(COLUMNS.length);
      const member = JSON.parse(row.at(-1) ?? '');
      expect([verdict, detections, engines]).toEqual([
        member.verdict,
        String(member.detections ?? ''),
        String(member.engines ?? ''),
      ]);
    }
    expect(rows.filter((row) => row[COLUMNS.length] === 'malicious').length).toBeGreaterThan(0);
    // Without what was added it is the log, byte for byte.
    const bytes = enriched.split(/\r\n(?="1",|$)/).map((row) => row.replace(/(,("(?:[^"]|"")*"|\d*)){9}$/, ''));
    expect(bytes.slice(1)).toEqual(log.split(/\r\n(?="\d+",|$)/).filter((row) => row.startsWith('"1",') || row === ''));
  });

  it('gives the same bytes when it runs again, read anew or not', async () => {
    writeFileSync(join(logs, 'night.csv'), nightRows());
    await run();
    const first = read('night.csv.enriched.csv');
    await run();
    expect(read('night.csv.enriched.csv')).toBe(first);
    await run({ force: true });
    expect(read('night.csv.enriched.csv')).toBe(first);
  });

  it('writes answers that come later into the cells, with the log gone', async () => {
    writeFileSync(join(logs, 'night.csv'), nightRows(';'));
    await run({ offline: true });
    expect(
      new Set(
        parseRows(read('night.csv.enriched.csv'), ';')
          .slice(1)
          .map((row) => row.at(-8)),
      ),
    ).toEqual(new Set(['offline']));
    rmSync(join(logs, 'night.csv'));
    writeFileSync(join(logs, 'other.csv'), `${COLUMNS.join(',')}\r\n${'-,'.repeat(8)}\r\n`);
    expect((await run()).status).toBe(0);
    const refreshed = parseRows(read('night.csv.enriched.csv'), ';').slice(1);
    expect(refreshed).toHaveLength(creations.length);
    expect(refreshed.some((row) => row.at(-9) === 'malicious')).toBe(true);
    expect(refreshed.some((row) => row.at(-9) === 'unchecked')).toBe(false);
  });

  it('leaves the cells of other records empty with --all-events', async () => {
    writeFileSync(join(logs, 'night.csv'), nightRows(';'));
    await run({ allEvents: true });
    const [, ...rows] = parseRows(read('night.csv.enriched.csv'), ';');
    expect(rows).toHaveLength(night.events.length);
    for (const row of rows) {
      expect(row).toHaveLength(COLUMNS.length + VERDICT_COLUMNS.length);
      const added = row.slice(COLUMNS.length);
      if (row[0] === '1') expect(added[0]).not.toBe('');
      else expect(added.join('')).toBe('');
    }
  });

  it('refuses a log without rows, in a folder too, names it and says what to do', async () => {
    writeFileSync(join(logs, 'a.evtx'), evtxLog(night.events));
    writeFileSync(join(logs, 'night.csv'), nightRows());
    const { status, said } = await run();
    expect(status).toBe(3);
    expect(said).toMatch(
      /a\.evtx: EVTX has no rows .*--records csv takes CSV logs only, leave it out.*\[UNSUPPORTED\]/,
    );
    expect(readdirSync(logs)).toContain('night.csv.enriched.csv');
    expect(readdirSync(logs)).not.toContain('a.evtx.enriched.csv');
  });

  it('writes standard input to standard output', async () => {
    const running = shell({ stdin: nightRows() });
    expect(await runEnrich(running, ['-'], { records: 'csv', quiet: true })).toBe(0);
    expect(parseRows(running.printed())).toHaveLength(creations.length + 1);
  });

  it('fills the header up where rows are wider, and keeps the line that names the delimiter and the byte order mark', async () => {
    const message = creations
      .slice(0, 3)
      .map(({ data }) => `Process Create:\r\n${[...data].map(([name, value]) => `${name}: ${value}`).join('\r\n')}`);
    const rows = message.map((text) => `Info,3/1/2026 11:20 AM,Microsoft-Windows-Sysmon,1,Create,${quoted(text)}\r\n`);
    const header = 'Ebene,Datum und Uhrzeit,Quelle,Ereignis-ID,Aufgabenkategorie';
    writeFileSync(join(logs, 'viewer.csv'), `\ufeffsep=,\r\n${header}\r\n${rows.join('')}`);
    expect((await run()).status).toBe(0);
    const enriched = read('viewer.csv.enriched.csv');
    expect(enriched.startsWith(`\ufeffsep=,\r\n${header},,${ADDED}\r\n${rows[0]?.trimEnd()},"`)).toBe(true);
  });

  it('turns UTF-16 into UTF-8 with a byte order mark', async () => {
    writeFileSync(join(logs, 'wide.csv'), Buffer.from(`\ufeff${nightRows('\t')}`, 'utf16le'));
    expect((await run()).status).toBe(0);
    const [header] = parseRows(read('wide.csv.enriched.csv'), '\t');
    expect(header?.[0]).toBe('\ufeffEventID');
  });

  it('keeps bytes that are no UTF-8', async () => {
    const log = Buffer.from(nightRows().replaceAll('WS-', 'W\u00dc-'), 'latin1');
    writeFileSync(join(logs, 'ansi.csv'), log);
    await run();
    const enriched = readFileSync(join(logs, 'ansi.csv.enriched.csv'));
    expect(enriched.includes(Buffer.from('W\u00dc-', 'latin1'))).toBe(true);
    expect(enriched.includes(Buffer.from('\ufffd'))).toBe(false);
  });

  it('replaces the columns of an earlier run in a log that has them', async () => {
    writeFileSync(join(logs, 'night.csv'), nightRows());
    await run({ offline: true, allEvents: true });
    writeFileSync(join(logs, 'copy.csv'), read('night.csv.enriched.csv'));
    await run({ allEvents: true });
    expect(read('copy.csv.enriched.csv')).toBe(read('night.csv.enriched.csv'));
  });

  it('joins members of an archive with the same columns, and reports one with others', async () => {
    const other = nightRows().replace('ParentImage', 'Parent');
    const members = { 'a.csv': nightRows(), 'b.csv': nightRows(), 'c.csv': other };
    const files = Object.entries(members).map(([name, text]) => ({ name, content: Buffer.from(text) }));
    writeFileSync(join(logs, 'all.zip'), zipArchive(files));
    const { status, said } = await run();
    expect(status).toBe(3);
    expect(said).toMatch(/all\.zip!c\.csv: its columns are not those .*unpack the archive first \[UNSUPPORTED\]/);
    expect(parseRows(read('all.zip.enriched.csv'))).toHaveLength(2 * creations.length + 1);
  });

  it('reads a compressed log', async () => {
    writeFileSync(join(logs, 'night.csv.gz'), gzipSync(nightRows()));
    expect((await run()).status).toBe(0);
    expect(parseRows(read('night.csv.gz.enriched.csv'))).toHaveLength(creations.length + 1);
  });

  it('keeps every cell, whatever it says', async () => {
    const odd = fc
      .array(
        fc.oneof(
          fc.constantFrom('"', '""', ',', ';', '\n', '\r\n', '=1', '{', '}', '}"', '\\', 'x', '"{""verdict"":""'),
          fc.string(),
        ),
        { maxLength: 6 },
      )
      .map((parts) => parts.join(''))
      .map((text) => text.replaceAll('\0', ''));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(odd, odd), { minLength: 1, maxLength: 4 }), async (texts) => {
        const rows = texts.map(([first, last]) =>
          ['1', first, night.files[0]?.sha1 ?? '', `SHA1=${night.files[0]?.sha1}`, CHANNEL, last].map(quoted).join(','),
        );
        const log = `${['EventID,RuleName,Image,Hashes,Channel,CommandLine', ...rows].join('\r\n')}\r\n`;
        writeFileSync(join(logs, 'odd.csv'), log);
        await run({ offline: true, force: true, quiet: true });
        const offline = read('odd.csv.enriched.csv');
        expect(parseRows(offline).map((row) => row.slice(0, 6))).toEqual(parseRows(log));
        await run({ quiet: true });
        const answered = read('odd.csv.enriched.csv');
        expect(parseRows(answered).map((row) => row.slice(0, 6))).toEqual(parseRows(log));
        expect(
          parseRows(answered)
            .slice(1)
            .every((row) => row[6] !== '' && row[6] !== 'unchecked'),
        ).toBe(true);
      }),
      { numRuns: 15 },
    );
  });
});

describe('report', () => {
  const headlineOf = async (paths: readonly string[]): Promise<string> => {
    const running = shell();
    expect(await runReport(running, paths, { out: join(root, 'out') })).toBe(0);
    return running.said().split('\n').at(-2) ?? '';
  };

  it('says the same of rows as of JSON lines, and counts a log that was written in both forms once', async () => {
    writeFileSync(join(logs, 'night.csv'), nightRows());
    await run({ records: 'jsonl' });
    const lines = await headlineOf([logs]);
    expect(lines).toMatch(/malicious/);
    await run();
    expect(await headlineOf([join(logs, 'night.csv.enriched.csv')])).toBe(lines);
    expect(await headlineOf([logs])).toBe(lines);
    const later = statSync(join(logs, 'night.csv.enriched.csv')).mtimeMs / 1000 + 60;
    utimesSync(join(logs, 'night.csv.enriched.jsonl'), later, later);
    writeFileSync(join(logs, 'night.csv.enriched.csv'), `${COLUMNS.join(',')},${ADDED}\n`);
    expect(await headlineOf([logs])).toBe(lines);
  });
});
