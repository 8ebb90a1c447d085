import { describe, expect, test } from 'vitest';
import { csvPieces } from '../../src/reports/csv.js';
import { parseVirustotalMember } from '../../src/reports/enriched-record.js';
import { renderHtml } from '../../src/reports/html/page.js';
import { jsonPieces } from '../../src/reports/json.js';
import { renderMarkdown } from '../../src/reports/markdown.js';
import { stixPieces } from '../../src/reports/stix.js';
import { gapsOf } from '../../src/reports/wording.js';
import {
  CHILD,
  creation,
  DROPPER,
  digest,
  event,
  guid,
  intrusion,
  intrusionReport,
  manyFindings,
  member,
  SHELL,
  setOf,
  setWithContext,
  uncheckedMember,
} from './records.js';

describe('the headline', () => {
  test('says how much is malicious, on how many hosts, and since when', () => {
    expect(intrusionReport().headline).toBe('1 malicious image on 1 of 3 hosts, first 2026-03-04 02:14 UTC');
  });

  test('leaves out the day where all records are of one', () => {
    const report = setOf([
      [creation('a.exe'), member('a.exe', 60)],
      [creation('b.exe', { host: 'WS-02', time: '2026-03-04 01:02:03.000' }), member('b.exe', 1)],
    ]).summarise();
    expect(report.headline).toBe('1 malicious and 1 suspicious images on 2 of 2 hosts, first 01:02 UTC');
  });

  test('never says that nothing is there', () => {
    const report = setOf([
      [creation('a.exe'), member('a.exe', 0)],
      [creation('b.exe'), member('b.exe', undefined)],
      [creation('c.exe'), uncheckedMember('c.exe', 'quota')],
    ]).summarise();
    expect(report.headline).toBe('No image with detections among 3 files; 1 unknown to VirusTotal, 1 not checked');
    expect(setOf([]).summarise().headline).toBe('No process creations in these records');
  });
});

describe('findings', () => {
  test('are files, worst first, with exact counts of what ran where', () => {
    const bad = 'C:\\bad.exe';
    const report = setOf([
      [creation('C:\\low.exe'), member('C:\\low.exe', 2)],
      [creation(bad, { host: 'WS-01', time: '2026-03-04 03:00:00.000' }), member(bad, 40)],
      [creation(bad, { host: 'ws-01', time: '2026-03-04 01:00:00.000' }), member(bad, 40)],
      [creation('D:\\copy.exe', { host: 'WS-02', time: '2026-03-04 02:00:00.000' }), member(bad, 40)],
      [creation('C:\\worst.exe'), member('C:\\worst.exe', 70)],
    ]).summarise();
    expect(report.findings.map(({ image, file }) => [image, file.verdict, file.detections])).toEqual([
      ['C:\\worst.exe', 'malicious', 70],
      [bad, 'malicious', 40],
      ['C:\\low.exe', 'suspicious', 2],
    ]);
    expect(report.findings[1]).toMatchObject({
      executions: 3,
      hostCount: 2,
      hosts: {
        listed: [
          { value: 'WS-01', executions: 2 },
          { value: 'WS-02', executions: 1 },
        ],
        unlistedExecutions: 0,
      },
      images: {
        listed: [
          { value: bad, executions: 2 },
          { value: 'D:\\copy.exe', executions: 1 },
        ],
      },
      firstRun: new Date('2026-03-04T01:00:00Z'),
      lastRun: new Date('2026-03-04T03:00:00Z'),
    });
  });

  test('list a few command lines and count the rest', () => {
    const records = Array.from(
      { length: 30 },
      (_, index) => [creation('a.exe', { fields: { CommandLine: `a.exe ${index}` } }), member('a.exe', 50)] as const,
    );
    const { commandLines } = setOf(records).summarise().findings[0] ?? {};
    expect(commandLines?.listed).toHaveLength(20);
    expect(commandLines?.unlistedExecutions).toBe(10);
  });

  test('are one file where VirusTotal names it by another hash than a record does', () => {
    const sha256 = digest('a.exe', 64);
    const bySha256 = { ...member('a.exe', 50), lookup_key: 'sha256', sha1: undefined };
    const notAsked = { verdict: 'unchecked', reason: 'quota', lookup_key: 'md5', md5: digest('a.exe', 32) };
    const report = setOf([
      [creation('a.exe'), notAsked],
      [creation('a.exe'), bySha256],
      [creation('a.exe'), member('a.exe', 50)],
    ]).summarise();
    expect(report.files).toBe(1);
    expect(report.findings).toMatchObject([{ id: sha256, executions: 3 }]);
  });

  test('become one file once an answer says that two hashes are of one', () => {
    const report = setOf([
      [creation('a.exe', { host: 'WS-01' }), { ...uncheckedMember('a.exe', 'quota') }],
      [
        creation('b.exe', { host: 'WS-02' }),
        { verdict: 'unchecked', reason: 'quota', lookup_key: 'md5', md5: digest('a.exe', 32) },
      ],
      [creation('a.exe', { host: 'WS-02' }), member('a.exe', 50)],
    ]).summarise();
    expect(report.files).toBe(1);
    expect(report.findings).toMatchObject([{ executions: 3, hostCount: 2 }]);
  });

  test('follow the newest answer where records of one file disagree', () => {
    const old = member('a.exe', 0, { checked_at: '2026-03-01T00:00:00.000Z' });
    for (const records of [
      [old, member('a.exe', 9)],
      [member('a.exe', 9), old],
    ]) {
      const report = setOf(records.map((virustotal) => [creation('a.exe'), virustotal])).summarise();
      expect(report.findings).toMatchObject([{ executions: 2, file: { detections: 9 } }]);
    }
  });
});

describe('more files than can be listed', () => {
  const firstTwo = (pieces: Generator<string>): unknown[] => [pieces.next().value, pieces.next().value];
  // More than details are held of at once: rising in badness, so that every one is listed for a while.
  const flood = setOf(
    Array.from({ length: 13_000 }, (_, index) => {
      const image = `C:\\${index}.exe`;
      return [creation(image), member(image, 5 + Math.floor(index / 200))] as const;
    }),
  );
  const report = flood.summarise();

  test('are counted, and the worst of them are listed with all that is known', () => {
    expect(report.findingsTotal).toBe(13_000);
    expect(report.findings).toHaveLength(5000);
    expect(report.findings[0]?.file.detections).toBe(5 + 64);
    expect(report.findings.at(-1)?.file.detections).toBe(5 + 40);
    expect(report.findings.filter(({ commandLines }) => commandLines.listed.length !== 1)).toEqual([]);
  });

  test('are said to be left out, in every format', () => {
    const said = '8,000 findings beyond the worst 5,000 are';
    expect(gapsOf(report)[0]).toContain(said);
    expect(renderMarkdown(report)).toContain(said);
    expect(renderMarkdown(report)).toContain(
      '4,800 more are in the JSON report, and another 8,000 are counted and listed nowhere.',
    );
    expect(renderHtml(report)).toContain(said);
    const [, head] = firstTwo(stixPieces(report));
    expect(head).toContain(`"content":"${said} not in this bundle."`);
    expect([...csvPieces(report)].at(-1)).toMatch(/^,,,"8,000 more findings left out",+\r\n$/);
  });

  test('keep their place before unknown ones, which are made by the thousand', () => {
    const bad = [creation('C:\\bad.exe'), member('C:\\bad.exe', 50)] as const;
    const unknown = Array.from({ length: 13_000 }, (_, index) => {
      const image = `C:\\${index}.exe`;
      const time = `2026-03-04 ${String(23 - (index % 24)).padStart(2, '0')}:00:00.000`;
      return [creation(image, { time }), member(image, undefined)] as const;
    });
    const { findings, leads, leadsTotal } = setOf([bad, ...unknown]).summarise();
    expect(findings[0]?.commandLines.listed).toHaveLength(1);
    expect(leadsTotal).toBe(13_000);
    expect(leads.filter(({ users }) => users.listed.length !== 1)).toEqual([]);
  });
});

describe('leads', () => {
  test('are the files that VirusTotal does not know, rarest first', () => {
    const unknown = (image: string, host: string): [ReturnType<typeof creation>, object] => [
      creation(image, { host }),
      member(image, undefined),
    ];
    const report = setOf([
      unknown('common.exe', 'WS-01'),
      unknown('common.exe', 'WS-02'),
      unknown('twice.exe', 'WS-01'),
      unknown('twice.exe', 'WS-01'),
      unknown('once.exe', 'WS-03'),
    ]).summarise();
    expect(report.leads.map(({ image }) => image)).toEqual(['once.exe', 'twice.exe', 'common.exe']);
  });
});

describe('the story of a flagged process', () => {
  const story = intrusionReport().findings[0]?.stories[0];

  test('names its ancestors, eldest first, and its children, with their verdicts', () => {
    expect(story?.ancestors.map(({ image, file }) => [image, file?.verdict])).toEqual([
      [SHELL, 'undetected'],
      [DROPPER, 'undetected'],
    ]);
    expect(story?.children.map(({ image, file }) => [image, file?.verdict])).toEqual([[CHILD, 'undetected']]);
  });

  test('tells what it did in the order of time', () => {
    expect(story?.steps.map(({ kind, object }) => [kind, object])).toEqual([
      ['resolved', 'c2.example'],
      ['connected', '203.0.113.9:443'],
      ['created_file', 'C:\\ProgramData\\stage2.dll'],
      ['changed_time', 'C:\\ProgramData\\stage2.dll'],
      ['opened_process', 'C:\\Windows\\System32\\lsass.exe'],
      ['started_child', CHILD],
      ['ended', ''],
    ]);
    expect(story?.endedAt).toEqual(new Date('2026-03-04T02:14:59Z'));
  });

  test('tells what was done to it', () => {
    const set = setWithContext(
      [[creation('a.exe', { process: 'a' }), member('a.exe', 50)]],
      [
        [
          event(8, 'unused', {
            SourceProcessGuid: guid('b'),
            TargetProcessGuid: guid('a'),
            SourceImage: 'b.exe',
            StartModule: 'ntdll.dll',
          }),
          undefined,
        ],
        [event(3, 'a', { Initiated: 'false', SourceIp: '::1', SourcePort: '5000', DestinationPort: '80' }), undefined],
        [event(25, 'a', { Image: 'a.exe', Type: 'Image is replaced' }), undefined],
      ],
    );
    expect(set.summarise().findings[0]?.stories[0]?.steps).toMatchObject([
      { kind: 'got_thread', object: 'b.exe', detail: 'in ntdll.dll' },
      { kind: 'accepted', object: '[::1]:5000', detail: 'on port 80' },
      { kind: 'was_tampered', object: '', detail: 'Image is replaced' },
    ]);
  });

  test('without context records knows the parent from the process creation alone, and says what is missing', () => {
    const report = setOf([[creation('a.exe', { parent: 'b.exe' }), member('a.exe', 50)]]).summarise();
    expect(report.findings[0]?.stories[0]).toMatchObject({ hasContext: false, ancestors: [{ image: 'b.exe' }] });
    expect(report.coverage.contextMissing).toEqual(['a.enriched.jsonl']);
  });

  test('counts what it does not list, and ends where a forged log has loops', () => {
    const set = setWithContext(
      [[creation('a.exe', { process: 'a', parent: 'b' }), member('a.exe', 50)]],
      [
        [creation('b.exe', { process: 'b', fields: { ParentProcessGuid: guid('a') } }), member('b.exe', 0)],
        ...Array.from(
          { length: 500 },
          (_, index) => [event(11, 'a', { TargetFilename: `C:\\${index}` }), undefined] as const,
        ),
      ],
    );
    const looped = set.summarise().findings[0]?.stories[0];
    expect(looped?.ancestors.map(({ image }) => image)).toEqual(['b.exe']);
    expect(looped?.steps.filter(({ kind }) => kind === 'created_file')).toHaveLength(50);
    expect(looped?.unlistedSteps).toBe(450);
  });

  test('prefers other hosts to more of the same', () => {
    const run = (host: string, process: string): [ReturnType<typeof creation>, object] => [
      creation('a.exe', { host, process }),
      member('a.exe', 50),
    ];
    const records = [...Array(10).keys()].map((index) => run('WS-01', `p${index}`));
    const report = setOf([...records, run('WS-02', 'x'), run('WS-03', 'y')]).summarise();
    expect(report.findings[0]?.stories.map(({ host }) => host).sort()).toEqual(['WS-01', 'WS-02', 'WS-03']);
    expect(report.findings[0]?.untoldExecutions).toBe(9);
  });
});

describe('coverage', () => {
  test('says what was not answered and why; the counts add up', () => {
    const report = intrusionReport();
    expect(report.coverage.unanswered).toEqual([
      { reason: 'no_hash', files: 0, executions: 1 },
      { reason: 'quota', files: 1, executions: 1 },
    ]);
    const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0);
    expect(sum(report.executionsByVerdict)).toBe(report.executions);
    expect(sum(report.filesByVerdict)).toBe(report.files);
    expect(report.timeline.spans.reduce((total, span) => total + sum(span.executions), 0)).toBe(report.executions);
    expect(report.hosts.reduce((total, { executions }) => total + executions, 0)).toBe(report.executions);
  });

  test('counts stale answers', () => {
    const report = setOf([[creation('a.exe'), member('a.exe', 0, { stale: true })]]).summarise();
    expect(report.coverage.staleFiles).toBe(1);
  });
});

describe('executions over time', () => {
  test('fit into a few spans of round width, whatever the period', () => {
    for (const [last, spanMs] of [
      ['2026-03-04 02:20:00.000', 60_000],
      ['2026-03-04 12:00:00.000', 900_000],
      ['2026-04-04 12:00:00.000', 86_400_000],
      ['2126-04-04 12:00:00.000', 28 * 86_400_000 * 32],
    ] as const) {
      const { timeline } = setOf([
        [creation('a.exe', { time: '2026-03-04 02:14:00.000' }), member('a.exe', 50)],
        [creation('b.exe', { time: last }), member('b.exe', 0)],
      ]).summarise();
      expect(timeline.spanMs).toBe(spanMs);
      expect(timeline.spans.length).toBeLessThanOrEqual(48);
      expect(timeline.spans[0]?.executions.malicious).toBe(1);
      expect(timeline.spans.at(-1)?.executions.undetected).toBe(1);
    }
  });

  test('count what has no readable time', () => {
    const timeless = { ...creation('a.exe', { time: 'soon' }), timeCreated: undefined };
    expect(setOf([[timeless, member('a.exe', 0)]]).summarise().timeline).toMatchObject({ spans: [], withoutTime: 1 });
  });
});

describe('two sets compared', () => {
  const before = setOf([
    [creation('stays.exe'), member('stays.exe', 50)],
    [creation('turns.exe'), member('turns.exe', 0, { checked_at: '2026-03-03T00:00:00.000Z' })],
    [creation('gone.exe'), member('gone.exe', 7)],
  ]);
  const report = setOf([
    [creation('stays.exe'), member('stays.exe', 50)],
    [creation('turns.exe'), member('turns.exe', 23)],
    [creation('new.exe', { host: 'WS-09' }), member('new.exe', 60)],
    [creation('odd.exe'), member('odd.exe', undefined)],
  ]).summarise(before);

  test('say what is new, what changed and what is gone', () => {
    expect(report.comparison).toMatchObject({
      newFindings: 1,
      newUnknown: 1,
      newHosts: 1,
      changedTotal: 1,
      goneTotal: 1,
    });
    expect(report.comparison?.changed).toMatchObject([
      {
        image: 'turns.exe',
        before: { verdict: 'undetected', detections: 0 },
        now: { verdict: 'malicious', detections: 23 },
      },
    ]);
    expect(report.comparison?.gone).toMatchObject([{ image: 'gone.exe', before: { detections: 7 } }]);
  });

  test('mark each finding', () => {
    expect(report.findings.map(({ image, change }) => [image, change?.kind])).toEqual([
      ['new.exe', 'new'],
      ['stays.exe', undefined],
      ['turns.exe', 'changed'],
    ]);
  });
});

describe('a virustotal member', () => {
  test('is read as it was written', () => {
    expect(parseVirustotalMember(member('a.exe', 54))).toMatchObject({
      verdict: 'malicious',
      detections: 54,
      engines: 75,
    });
  });

  test('gets its link from its own hash, never from the record', () => {
    const forged = parseVirustotalMember(member('a.exe', 54, { link: 'javascript:alert(1)' }));
    expect(forged?.link).toBe(`https://www.virustotal.com/gui/file/${digest('a.exe', 64)}`);
  });

  test.each([
    ['no object', 'malicious'],
    ['an unknown verdict', { ...member('a.exe', 1), verdict: 'clean' }],
    ['more detections than engines', { ...member('a.exe', 1), detections: 80 }],
    ['a verdict without counts', { ...member('a.exe', 50), detections: undefined }],
    ['counts without a verdict', { ...member('a.exe', undefined), detections: 1, engines: 2 }],
    ['a hash that is none', { ...member('a.exe', 50), sha256: 'x' }],
    ['a key that is not there', { ...member('a.exe', 50), sha1: undefined }],
  ])('is refused where it has %s', (_, forged) => {
    expect(parseVirustotalMember(forged)).toBeUndefined();
  });
});

test('the same records give the same report', () => {
  expect([...jsonPieces(intrusion().summarise())]).toEqual([...jsonPieces(intrusion().summarise())]);
  expect(manyFindings(1000).summarise().findingsTotal).toBe(1000);
});
