import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addSighting, emptyEvidence, type FileEvidence } from '../src/evidence.js';
import { type DueFile, RANKING_RULES, rankFiles, type Surroundings, scoreFile } from '../src/ranking.js';

const NOW = new Date('2026-03-10T02:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;

const EXPLORER = 'C:\\Windows\\explorer.exe';
const VENDOR = { Company: 'Contoso Ltd', Product: 'Contoso Meet', Description: 'Contoso Meet', FileVersion: '1.0' };
const NONE = { Company: '-', Product: '-', Description: '-', FileVersion: '-', OriginalFileName: '-' };
const WINDOWS = {
  Company: 'Microsoft Corporation',
  Product: 'Microsoft® Windows® Operating System',
  Description: 'Windows',
  FileVersion: '10.0',
};

type Fields = Readonly<Record<string, string>>;

function ran(fields: Fields, hosts = 1): FileEvidence {
  const evidence = emptyEvidence();
  for (let host = 0; host < hosts; host++) {
    addSighting(evidence, {
      eventId: 1,
      recordId: '1',
      channel: 'Microsoft-Windows-Sysmon/Operational',
      computer: `ws-${host}`,
      timeCreated: undefined,
      data: new Map(Object.entries({ ParentImage: EXPLORER, ...fields })),
    });
  }
  return evidence;
}

const FLEET: Surroundings = { hosts: 200, hostsAtPlace: 1, filesAtPath: 1, daysWaited: 0 };

const rulesOf = (fields: Fields, hosts = 1, surroundings: Partial<Surroundings> = {}): readonly string[] =>
  scoreFile(ran(fields, hosts), { ...FLEET, ...surroundings }).reasons.map(({ name }) => name);
const pointsOf = (fields: Fields, hosts = 1): number => scoreFile(ran(fields, hosts), FLEET).score;

describe('the rules', () => {
  it.each<[rule: string, fields: Fields]>([
    ['drop_folder', { Image: 'C:\\Users\\Public\\Music\\tool.exe' }],
    ['drop_folder', { Image: 'C:\\PerfLogs\\tool.exe' }],
    ['drop_folder', { Image: 'C:\\ProgramData\\tool.exe' }],
    ['drop_folder', { Image: 'C:\\Windows\\System32\\spool\\drivers\\color\\tool.exe' }],
    ['drop_folder', { Image: '/dev/shm/.x' }],
    ['temporary_folder', { Image: 'C:\\Users\\ann\\AppData\\Local\\Temp\\tool.exe' }],
    ['temporary_folder', { Image: '\\\\?\\C:\\Windows\\Temp\\tool.exe' }],
    ['user_folder', { Image: 'C:\\Users\\ann\\Downloads\\tool.exe' }],
    ['app_data', { Image: 'C:\\Users\\ann\\AppData\\Roaming\\Contoso\\tool.exe' }],
    ['network', { Image: '\\\\files01\\apps\\tool.exe' }],
    ['archive_folder', { Image: 'C:\\Users\\ann\\AppData\\Local\\Temp\\Temp1_mail.zip\\tool.exe' }],
    ['no_metadata', { Image: 'C:\\Users\\ann\\Downloads\\tool.exe', ...NONE }],
    ['stranger_in_windows', { Image: 'C:\\Windows\\System32\\tool.exe', ...NONE }],
    ['renamed', { Image: 'C:\\Users\\ann\\notes.exe', OriginalFileName: 'fastcopy.exe' }],
    ['renamed', { Image: 'C:\\Users\\ann\\renamed-copy.exe', OriginalFileName: 'copy.exe' }],
    ['renamed_windows_program', { Image: 'C:\\ProgramData\\x\\notes.exe', OriginalFileName: 'CertUtil.exe' }],
    ['claims_windows', { Image: 'C:\\Users\\ann\\Downloads\\tool.exe', ...WINDOWS }],
    ['system_name', { Image: 'C:\\Users\\ann\\AppData\\Roaming\\svchost.exe' }],
    ['imitated_name', { Image: 'C:\\ProgramData\\x\\svch0st.exe' }],
    ['imitated_name', { Image: 'C:\\ProgramData\\x\\scvhost.exe' }],
    ['imitated_name', { Image: 'C:\\ProgramData\\x\\lsasss.exe' }],
    ['deceptive_name', { Image: 'C:\\Users\\ann\\Downloads\\plan.pdf.exe' }],
    ['deceptive_name', { Image: 'C:\\Users\\ann\\Downloads\\plan\u202efdp.exe' }],
    ['deceptive_name', { Image: 'C:\\Users\\ann\\Downloads\\plan.txt          .exe' }],
    ['odd_extension', { Image: 'C:\\Users\\ann\\picture.jpg' }],
    ['disguised_extension', { Image: 'C:\\Users\\ann\\Downloads\\holiday.scr' }],
    ['random_name', { Image: 'C:\\Users\\ann\\AppData\\Roaming\\x\\qX7kPz2v.exe' }],
    ['hidden_folder', { Image: 'C:\\Users\\ann\\AppData\\Roaming\\9QxTsAU9w8gy\\tool.exe' }],
    ['terse_name', { Image: 'C:\\Users\\ann\\Downloads\\a.exe' }],
    ['lure_name', { Image: 'C:\\Users\\ann\\Downloads\\Invoice_2291.exe' }],
    ['office_parent', { Image: 'C:\\x\\tool.exe', ParentImage: 'C:\\Program Files\\Microsoft Office\\WINWORD.EXE' }],
    ['script_parent', { Image: 'C:\\x\\tool.exe', ParentImage: 'C:\\Windows\\System32\\mshta.exe' }],
    ['remote_parent', { Image: 'C:\\x\\tool.exe', ParentImage: 'C:\\Windows\\System32\\wbem\\WmiPrvSE.exe' }],
    ['server_parent', { Image: 'C:\\x\\tool.exe', ParentImage: 'C:\\Windows\\System32\\inetsrv\\w3wp.exe' }],
    ['service_in_open_folder', { Image: 'C:\\x\\tool.exe', ParentImage: 'C:\\Windows\\System32\\services.exe' }],
    ['stray_parent', { Image: 'C:\\x\\tool.exe', ParentImage: 'C:\\Users\\Public\\y.exe' }],
    ['abused_parent', { Image: 'C:\\x\\tool.exe', ParentCommandLine: 'powershell -nop -w hidden -c "x"' }],
    ['encoded_command', { Image: 'C:\\x\\tool.exe', CommandLine: `tool.exe -enc ${'QUJD'.repeat(20)}` }],
    ['download_command', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe curl https://files.example/x.bin' }],
    ['harmful_command', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe lsass.exe out.dmp' }],
    ['archive_command', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe a -hpSecret1 C:\\out.rar C:\\Shares' }],
    ['archive_command', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe e "C:\\a b\\in.7z" -pSecret1' }],
    [
      'typed_in_user_folder',
      { Image: 'C:\\Users\\ann\\Desktop\\t.exe', ParentImage: 'C:\\Windows\\System32\\cmd.exe' },
    ],
    ['address_command', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe 203.0.113.9:443' }],
    ['shell_command', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe -p c:\\windows\\system32\\cmd.exe' }],
    [
      'windows_program_abused',
      {
        Image: 'C:\\Windows\\System32\\certutil.exe',
        CommandLine: 'certutil.exe -urlcache -split -f http://203.0.113.9/x.bin x',
        ...WINDOWS,
      },
    ],
    ['system_rights', { Image: 'C:\\x\\tool.exe', IntegrityLevel: 'System' }],
    ['high_rights', { Image: 'C:\\Users\\ann\\Downloads\\tool.exe', IntegrityLevel: 'High' }],
    ['one_host', { Image: 'C:\\x\\tool.exe' }],
    // What speaks for a file.
    ['of_windows', { Image: 'C:\\Windows\\System32\\svchost.exe', ...WINDOWS }],
    ['of_windows', { Image: '\\SystemRoot\\System32\\smss.exe' }],
    ['installed', { Image: 'C:\\Program Files\\Contoso\\meet.exe', ...VENDOR }],
    ['at_home', { Image: 'C:\\Users\\ann\\AppData\\Local\\Contoso\\meet.exe', ...VENDOR }],
    ['installer', { Image: 'C:\\Users\\ann\\Downloads\\ContosoSetup-1.2.exe', ...VENDOR }],
    ['installer_scratch', { Image: 'C:\\Users\\ann\\AppData\\Local\\Temp\\is-A1B2C.tmp\\setup.tmp', ...VENDOR }],
    ['build_output', { Image: 'C:\\src\\x\\bin\\Debug\\net8.0\\x.exe' }],
    ['build_parent', { Image: 'C:\\src\\x\\x.exe', ParentImage: 'C:\\Program Files\\dotnet\\dotnet.exe' }],
    ['full_metadata', { Image: 'C:\\x\\tool.exe', ...VENDOR }],
  ])('%s applies to %j', (rule, fields) => {
    expect(rulesOf(fields)).toContain(rule);
  });

  it.each<[rule: string, why: string, fields: Fields]>([
    ['system_name', 'in its folder', { Image: 'C:\\Windows\\SysWOW64\\svchost.exe' }],
    ['system_name', 'of a name others use too', { Image: 'C:\\Tools\\curl.exe' }],
    ['imitated_name', 'of the real one', { Image: 'C:\\Windows\\System32\\svchost.exe' }],
    ['no_metadata', 'where Sysmon did not log any', { Image: 'C:\\Users\\ann\\Downloads\\tool.exe' }],
    ['renamed', 'by version and word size', { Image: 'C:\\x\\Procview64.exe', OriginalFileName: 'procview.exe' }],
    ['renamed', 'with words after it', { Image: 'C:\\x\\ProcviewPortable.exe', OriginalFileName: 'procview.exe' }],
    ['random_name', 'of words', { Image: 'C:\\x\\ContosoCrashReporter.exe' }],
    ['random_name', 'with a version', { Image: 'C:\\x\\contoso-12.4.101-x64.exe' }],
    ['hidden_folder', 'of words', { Image: 'C:\\Users\\ann\\AppData\\Local\\ContosoMeet\\tool.exe' }],
    ['drop_folder', 'of its maker', { Image: 'C:\\ProgramData\\Contoso\\tool.exe' }],
    ['lure_name', 'inside another word', { Image: 'C:\\x\\Fourteen.exe' }],
    ['address_command', 'of a version', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe --version=92.0.902.67.1' }],
    ['address_command', 'of this host', { Image: 'C:\\x\\tool.exe', CommandLine: 'tool.exe --host 127.0.0.1:80' }],
    ['office_parent', 'for a program of Windows', { Image: 'C:\\Windows\\splwow64.exe', ParentImage: 'EXCEL.EXE' }],
    ['installer', 'that names no company', { Image: 'C:\\Users\\ann\\Downloads\\setup.exe', ...NONE }],
    ['at_home', 'in a folder that anybody names', { Image: 'C:\\Users\\ann\\Downloads\\Contoso\\meet.exe', ...VENDOR }],
  ])('%s does not apply %s', (rule, _why, fields) => {
    expect(rulesOf(fields)).not.toContain(rule);
  });

  it('take the fleet into account', () => {
    const image = { Image: 'C:\\Users\\ann\\AppData\\Local\\Contoso\\app-1.2\\meet.exe', ...VENDOR };
    expect(rulesOf(image, 40)).toContain('widespread');
    expect(rulesOf(image, 2)).toContain('few_hosts');
    expect(rulesOf(image, 1, { hosts: 1 })).not.toContain('one_host');
    expect(rulesOf(image, 1, { hostsAtPlace: 30 })).toContain('common_place');
    expect(rulesOf(image, 1, { filesAtPath: 5 })).toContain('rebuilt');
  });

  it('do not excuse a nameless file in a temporary folder because it is everywhere', () => {
    expect(rulesOf({ Image: 'C:\\Windows\\Temp\\tool.exe', ...NONE }, 150)).not.toContain('widespread');
  });

  it('have names of their own, weights and texts', () => {
    expect(new Set(RANKING_RULES.map(({ name }) => name)).size).toBe(RANKING_RULES.length);
    for (const { weight, text } of RANKING_RULES) {
      expect(Number.isInteger(weight) && weight !== 0).toBe(true);
      expect(text).not.toBe('');
    }
  });
});

describe('docs/ranking.md', () => {
  it('has a line for each rule, with its weight and text', () => {
    const docs = readFileSync(resolve(import.meta.dirname, '../docs/ranking.md'), 'utf8');
    const missing = RANKING_RULES.map(({ name, weight, text }) => `| \`${name}\` | ${weight} | ${text} |`);
    expect(missing.filter((line) => !docs.includes(line))).toEqual([]);
  });
});

describe('a score', () => {
  it('is the sum of its reasons, the weightiest first', () => {
    const { score, reasons } = scoreFile(ran({ Image: 'C:\\Users\\Public\\a.exe', ...NONE }), FLEET);
    expect(score).toBe(reasons.reduce((sum, { weight }) => sum + weight, 0));
    const weights = reasons.map(({ weight }) => Math.abs(weight));
    expect(weights).toEqual(weights.toSorted((a, b) => b - a));
  });

  it('puts the hard harmless cases below their evil twins', () => {
    const updater = pointsOf({ Image: 'C:\\Users\\ann\\AppData\\Local\\Contoso\\Update.exe', ...VENDOR });
    const implant = pointsOf({ Image: 'C:\\Users\\ann\\AppData\\Roaming\\kd83h2xq\\Update.exe', ...NONE });
    const installer = pointsOf({ Image: 'C:\\Users\\ann\\Downloads\\ContosoSetup.exe', ...VENDOR });
    const attachment = pointsOf({ Image: 'C:\\Users\\ann\\Downloads\\Invoice 2291.exe', ...NONE });
    const build = pointsOf({
      Image: 'C:\\Users\\ann\\source\\repos\\x\\bin\\Debug\\x.exe',
      ParentImage: 'C:\\Program Files\\Microsoft Visual Studio\\devenv.exe',
      ...NONE,
    });
    const dropped = pointsOf({
      Image: 'C:\\Users\\ann\\Music\\x.exe',
      ParentImage: 'C:\\Windows\\System32\\wscript.exe',
      ...NONE,
    });
    expect(Math.max(updater, installer, build)).toBeLessThan(Math.min(implant, attachment, dropped));
  });

  it('never throws and never differs, whatever a log says', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.constantFrom('C:\\Users\\', '\\\\', '/', '.', 'C:\\Windows\\System32\\', ' '.repeat(3000)),
    );
    const fields = fc.dictionary(
      fc.constantFrom(
        'Image',
        'ParentImage',
        'CommandLine',
        'ParentCommandLine',
        'OriginalFileName',
        'Company',
        'Product',
      ),
      text,
    );
    fc.assert(
      fc.property(fields, (data) => {
        expect(scoreFile(ran(data), FLEET)).toEqual(scoreFile(ran(data), FLEET));
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    ['blanks', ' '.repeat(32_000)],
    ['one letter', 'a'.repeat(32_000)],
    ['digits and dots', '1.'.repeat(16_000)],
    ['switches', ' -e'.repeat(10_000)],
    ['backslashes', '\\temp\\'.repeat(5000)],
    ['carets', '^a'.repeat(16_000)],
  ])(
    'takes no long time over 32 kB of %s',
    (_what, text) => {
      const evidence = ran({ Image: `C:\\Temp\\${text}.exe`, CommandLine: `x ${text}`, ParentCommandLine: text });
      expect(Number.isInteger(scoreFile(evidence, FLEET).score)).toBe(true);
    },
    5000,
  );
});

describe('the order of questions', () => {
  const hashOf = (number: number): string => number.toString(16).padStart(40, '0');
  const due = (number: number, fields: Fields, more: Partial<DueFile> = {}): DueFile => ({
    hash: hashOf(number),
    evidence: ran(fields),
    ...more,
  });
  const TELLING = { Image: 'C:\\Users\\Public\\a.exe', ...NONE };
  const ORDINARY = { Image: 'C:\\Program Files\\Contoso\\meet.exe', ...VENDOR };
  const orderOf = (files: readonly DueFile[]): readonly string[] =>
    Array.from(rankFiles(files, NOW), ({ hash }) => hash);

  it('is by score, with reasons', () => {
    const ranked = [...rankFiles([due(1, ORDINARY), due(2, TELLING)], NOW)];
    expect(ranked.map(({ hash }) => hash)).toEqual([hashOf(2), hashOf(1)]);
    expect(ranked[0]?.reasons[0]?.name).toBe('drop_folder');
  });

  it('does not depend on the order in which files were met', () => {
    const files = Array.from({ length: 30 }, (_, number) => due(number, number % 3 === 0 ? TELLING : ORDINARY));
    expect(orderOf(files)).toEqual(orderOf(files.toReversed()));
  });

  it('holds each file once, whatever has waited', () => {
    const file = fc.record({ number: fc.nat(60), days: fc.nat(30), isTelling: fc.boolean(), isKnown: fc.boolean() });
    fc.assert(
      fc.property(fc.uniqueArray(file, { selector: ({ number }) => number, maxLength: 40 }), (drawn) => {
        const files = drawn.map(({ number, days, isTelling, isKnown }) =>
          due(number, isTelling ? TELLING : ORDINARY, {
            waitingSince: new Date(NOW.getTime() - days * DAY_MS),
            isKnown,
          }),
        );
        expect([...orderOf(files)].sort()).toEqual(files.map(({ hash }) => hash).sort());
      }),
    );
  });

  it('asks known files last, but for those that show something striking', () => {
    const files = [
      due(1, ORDINARY, { isKnown: true }),
      due(2, TELLING, { isKnown: true }),
      due(3, ORDINARY),
      due(4, { Image: 'C:\\Users\\ann\\Downloads\\viewer.exe', ...NONE }, { isKnown: true }),
    ];
    expect(orderOf(files)).toEqual([hashOf(2), hashOf(3), hashOf(4), hashOf(1)]);
  });

  it('lets waiting raise a file slowly', () => {
    const [waited, fresh] = [
      due(2, ORDINARY, { waitingSince: new Date(NOW.getTime() - 3 * DAY_MS) }),
      due(1, ORDINARY),
    ];
    expect(orderOf([fresh, waited])).toEqual([waited.hash, fresh.hash]);
    expect(orderOf([waited, due(3, TELLING)])[0]).toBe(hashOf(3));
  });

  it('keeps every fifth place for whoever has waited longest, once that is a week', () => {
    const old = due(99, ORDINARY, { waitingSince: new Date(NOW.getTime() - 40 * DAY_MS), isKnown: true });
    const files = [...Array.from({ length: 50 }, (_, number) => due(number, TELLING)), old];
    expect(orderOf(files).indexOf(old.hash)).toBe(4);
    const young = { ...old, waitingSince: new Date(NOW.getTime() - 6 * DAY_MS) };
    expect(orderOf([...files.slice(0, -1), young]).indexOf(old.hash)).toBe(50);
  });

  it('starves nothing and keeps the telling first when twice as much comes as can be asked', () => {
    let waiting: DueFile[] = [];
    let next = 0;
    const askedOn = new Map<string, number>();
    const arrivedOn = new Map<string, number>();
    const isTelling = new Set<string>();
    for (let day = 0; day < 60; day++) {
      const now = new Date(NOW.getTime() + day * DAY_MS);
      for (let arrival = 0; arrival < 20; arrival++) {
        const file = due(next++, arrival === 0 ? TELLING : ORDINARY, { waitingSince: now });
        if (arrival === 0) isTelling.add(file.hash);
        arrivedOn.set(file.hash, day);
        waiting.push(file);
      }
      const asked = new Set(
        rankFiles(waiting, now)
          .slice(0, 10)
          .map(({ hash }) => hash),
      );
      for (const hash of asked) askedOn.set(hash, day);
      waiting = waiting.filter(({ hash }) => !asked.has(hash));
    }
    for (const hash of isTelling) expect(askedOn.get(hash)).toBe(arrivedOn.get(hash));
    const ordinary = [...arrivedOn].filter(([hash, day]) => day === 0 && !isTelling.has(hash));
    expect(ordinary.filter(([hash]) => !askedOn.has(hash))).toEqual([]);
  });
});
