import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { csvCell } from '../../src/csv-cells.js';
import { csvPieces } from '../../src/reports/csv.js';
import { jsonPieces } from '../../src/reports/json.js';
import { markdownCode, renderMarkdown } from '../../src/reports/markdown.js';
import type { Report } from '../../src/reports/report.js';
import { describeVerdict } from '../../src/reports/wording.js';
import { creation, IMPLANT, intrusion, intrusionReport, member, setOf } from './records.js';

const HOSTILE = [
  '=cmd|"/c calc"!A1',
  '+1+1',
  '-2+3',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  '＝1+1',
  'a;=1+1',
  'a;"=1+1"',
  '`code` | **bold** [x](http://evil.example) <script>alert(1)</script> @team #1',
  '\u202egpj.exe\u202c \u0000\u001b[31m\u200b',
  'a\nb',
];

const renderCsv = (report: Report): string => [...csvPieces(report)].join('');
const renderJson = (report: Report): string => [...jsonPieces(report)].join('');

describe('Markdown', () => {
  const markdown = renderMarkdown(intrusionReport());

  test('starts with the headline and says whose verdicts these are', () => {
    expect(markdown).toMatch(/^# 1 malicious image on 1 of 3 hosts, first 2026-03-04 02:14 UTC\n/);
    expect(markdown).toContain('54 of 75 engines on VirusTotal, analysed 2026-03-04');
    expect(markdown).toContain('No verdict means that a file is safe');
  });

  test('tells the story in order and names what is not known', () => {
    const order = [
      'looked up `c2.example`',
      'connected to `203.0.113.9:443`',
      'created `C:\\ProgramData\\stage2.dll`',
      'ended',
    ];
    const places = order.map((text) => markdown.indexOf(text));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places).not.toContain(-1);
    expect(markdown).toContain('1 file, 1 execution without an answer: the quota was spent');
    expect(markdown).toContain('1 execution (15 %) without a hash of the image');
  });

  test.each(HOSTILE)('shows %j as text in a code span', (text) => {
    const code = markdownCode(text, true);
    const fence = /^`+/.exec(code)?.[0] ?? '';
    expect(fence).not.toBe('');
    expect(code.endsWith(fence)).toBe(true);
    const inside = code.slice(fence.length, -fence.length);
    expect(inside.match(/`+/g) ?? []).not.toContain(fence);
    expect(inside).not.toMatch(/(^|[^\\])\||[\p{Cc}\p{Cf}]/u);
  });
});

/** RFC 4180, read without any of the code that wrote it. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,"\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    if (end === '\r\n') rows.push([]);
    else if (end === '') break;
  }
  return rows.filter((row) => row.length > 1 || row[0] !== '');
}

describe('CSV', () => {
  test('has a row for each finding and each unknown file', () => {
    const [names = [], ...rows] = parseCsv(renderCsv(intrusionReport()).replace(/^\ufeff/, ''));
    expect(rows.map((row) => Object.fromEntries(row.map((cell, index) => [names[index], cell])))).toMatchObject([
      { verdict: 'malicious', detections: '54', engines: '75', image: IMPLANT, hosts: 'WS-01' },
      { verdict: 'unknown', detections: '', engines: '', image: 'C:\\Tools\\own.exe' },
    ]);
  });

  test.each(HOSTILE)('gives a spreadsheet no formula and no control character for %j', (text) => {
    const [[cell = ''] = []] = parseCsv(csvCell(text));
    expect(cell).not.toMatch(/^\s*[=+\-@＝]/);
    expect(cell).not.toMatch(/[;\t\n][\s"]*[=+\-@＝]/);
    expect(cell.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test('leaves harmless text as it is', () => {
    expect(csvCell('C:\\a "b", c')).toBe('"C:\\a ""b"", c"');
  });
});

describe('JSON', () => {
  test('keeps the texts of logs verbatim', () => {
    for (const text of HOSTILE) {
      const report = setOf([[creation('a.exe', { fields: { CommandLine: text } }), member('a.exe', 50)]]).summarise();
      const json = JSON.parse(renderJson(report));
      expect(json.findings[0].command_lines.listed[0].value).toBe(text);
    }
  });

  test('is laid out as JSON with an indent of one', () => {
    for (const report of [intrusion().summarise(intrusion()), setOf([]).summarise()]) {
      const text = renderJson(report);
      expect(text).toBe(`${JSON.stringify(JSON.parse(text), undefined, 1)}\n`);
    }
  });

  test('names every member in the documented schema', () => {
    const schema = readFileSync(new URL('../../docs/report-schema.md', import.meta.url), 'utf8');
    const names = new Set<string>();
    const collect = (value: unknown): void => {
      if (Array.isArray(value)) value.forEach(collect);
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      for (const [name, inner] of Object.entries(value)) {
        names.add(name);
        collect(inner);
      }
    };
    collect(JSON.parse(renderJson(intrusion().summarise(intrusion()))));
    expect([...names].filter((name) => !schema.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('the wording of a verdict', () => {
  const wordingOf = (virustotal: object): string => {
    const report = setOf([[creation('a.exe'), virustotal]]).summarise();
    const [file] = [...report.findings, ...report.leads];
    return file === undefined ? '' : describeVerdict(file.file);
  };

  test('gives counts, source and date', () => {
    expect(wordingOf(member('a.exe', 54))).toBe('54 of 75 engines on VirusTotal, analysed 2026-03-04');
    expect(wordingOf(member('a.exe', 54, { stale: true }))).toBe(
      '54 of 75 engines on VirusTotal, analysed 2026-03-04; asked 2026-03-04, now stale',
    );
    expect(wordingOf(member('a.exe', undefined))).toBe('unknown to VirusTotal when asked on 2026-03-04');
  });

  test('never calls anything clean or safe', () => {
    const report = intrusionReport();
    const texts = [renderMarkdown(report), renderCsv(report), renderJson(report)].join('').toLowerCase();
    expect(texts.replace('no verdict means that a file is safe', '')).not.toMatch(/\b(clean|safe|benign|harmless)\b/);
  });
});

test('the same records give the same bytes in every format', () => {
  for (const render of [renderMarkdown, renderCsv, renderJson]) {
    expect(render(intrusionReport())).toBe(render(intrusionReport()));
  }
});
