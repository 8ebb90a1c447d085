import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/reports/report.js';
import { stixPieces } from '../../src/reports/stix.js';
import { creation, digest, IMPLANT, intrusionReport, manyFindings, member, setOf } from './records.js';

/** The specification's own schemas, where the machine has them. */
const SCHEMAS = fileURLToPath(new URL('../../../shared/data/stix-schemas', import.meta.url));

interface Bundle {
  readonly id: string;
  readonly objects?: readonly { readonly type: string; readonly id: string; readonly [name: string]: unknown }[];
}

function renderStix(report: Report): string {
  return [...stixPieces(report)].join('');
}

function bundleOf(report = intrusionReport()): Bundle {
  return JSON.parse(renderStix(report));
}

function ofType(type: string, bundle = bundleOf()): NonNullable<Bundle['objects']> {
  return (bundle.objects ?? []).filter((object) => object.type === type);
}

describe('the STIX bundle', () => {
  test('has an indicator with the hashes of each finding', () => {
    const [indicator, ...others] = ofType('indicator');
    expect(others).toEqual([]);
    expect(indicator).toMatchObject({
      pattern_type: 'stix',
      indicator_types: ['malicious-activity'],
      valid_from: '2026-03-01T10:00:00.000Z',
      pattern: `[file:hashes.MD5 = '${digest(IMPLANT, 32)}' OR file:hashes.'SHA-1' = '${digest(IMPLANT, 40)}' OR file:hashes.'SHA-256' = '${digest(IMPLANT, 64)}']`,
    });
  });

  test('says what VirusTotal said, and when', () => {
    expect(ofType('malware-analysis')).toMatchObject([
      {
        product: 'virustotal',
        result: 'malicious',
        result_name: 'trojan.example/agent',
        analysis_ended: '2026-03-04T01:00:00.000Z',
        external_references: [{ source_name: 'virustotal', description: expect.stringContaining('54 of 75 engines') }],
      },
    ]);
  });

  test('says what ran where, and what started it', () => {
    const [host] = ofType('identity').filter(({ name }) => name === 'WS-01');
    expect(ofType('sighting')).toMatchObject([
      { count: 1, first_seen: '2026-03-04T02:14:09.000Z', where_sighted_refs: [host?.id] },
    ]);
    const processes = ofType('process');
    const implant = processes.find(({ command_line: line }) => String(line).includes('invoice.exe'));
    const parent = processes.find(({ id }) => id === implant?.['parent_ref']);
    expect(parent?.['command_line']).toContain('winword.exe');
  });

  test('holds every object that its objects refer to', () => {
    const { objects = [] } = bundleOf(manyFindings(20).summarise());
    const ids = new Set(objects.map(({ id }) => id));
    const references = JSON.stringify(objects).match(/"[a-z-]+--[0-9a-f-]{36}"/g) ?? [];
    expect(references.map((text) => text.slice(1, -1)).filter((id) => !ids.has(id))).toEqual([]);
    expect(ids.size).toBe(objects.length);
  });

  // Vectors of the specification, section 2.9, and of its text on files.
  test('gives observables the ids that every other program gives them', () => {
    const report = setOf([
      [creation('C:\\Windows\\System32\\a.exe'), member('C:\\Windows\\System32\\a.exe', 50)],
    ]).summarise();
    expect(ofType('directory', bundleOf(report)).map(({ path, id }) => [path, id])).toContainEqual([
      'C:\\Windows\\System32',
      'directory--0a58d0c1-59e6-5afd-8252-dcd3f13e5622',
    ]);
  });

  test('makes the id of a file of one hash, the first of MD5, SHA-1 and SHA-256', () => {
    const idOf = (image: string, hashes: object): string | undefined => {
      const virustotal = { ...member(image, 50), sha1: undefined, md5: undefined, sha256: undefined, ...hashes };
      return ofType('file', bundleOf(setOf([[creation(image), virustotal]]).summarise())).find(({ hashes }) => hashes)
        ?.id;
    };
    const sha256 = '841a8921140aba50671ebb0770fecc4ee308c4952cfeff8de154ab14eeef4649';
    expect(idOf('qu\u00eary.dll', { lookup_key: 'sha256', sha256 })).toBe('file--7d1e3a18-89e7-5bc5-be36-9879f5b7f5c8');
    const md5 = digest('a.exe', 32);
    const all = { md5, sha1: digest('a.exe', 40), sha256: digest('a.exe', 64) };
    expect(idOf('a.exe', all)).toBe(idOf('a.exe', { lookup_key: 'md5', md5 }));
  });

  test('is the same at every run, and its statements have other ids once they say something else', () => {
    expect(renderStix(intrusionReport())).toBe(renderStix(intrusionReport()));
    const one = setOf([[creation('a.exe'), member('a.exe', 50)]]).summarise();
    const two = setOf([[creation('a.exe'), member('a.exe', 51)]]).summarise();
    const idOf = (type: string, report: typeof one): string | undefined => ofType(type, bundleOf(report))[0]?.id;
    expect(idOf('malware-analysis', one)).not.toBe(idOf('malware-analysis', two));
    expect(idOf('indicator', one)).toBe(idOf('indicator', two));
  });

  test('leaves an empty list of objects out, as the specification demands, and has no null anywhere', () => {
    const text = renderStix(setOf([]).summarise());
    expect(text).not.toContain('null');
    expect(JSON.parse(text).objects).toMatchObject([{ type: 'identity', name: 'sysmon-vt' }]);
  });

  test('holds no half surrogate pair', () => {
    const image = 'C:\\\ud800.exe';
    expect(renderStix(setOf([[creation(image), member('x', 50)]]).summarise())).not.toMatch(/\\ud800/i);
  });

  // In CI and on a developer's machine alike the schemas may be absent; the tests above hold without them.
  describe.skipIf(!existsSync(SCHEMAS))('against the schemas of the specification', () => {
    test.each([
      ['an intrusion', () => intrusionReport()],
      ['many findings', () => manyFindings(30).summarise()],
      ['findings that are left out', () => ({ ...intrusionReport(), findingsTotal: 9 })],
      ['records without time, user and host', () => barest().summarise()],
    ])('is valid for %s', (_, report) => {
      const ajv = new Ajv2020({ strict: false, validateFormats: false, unicodeRegExp: false, allErrors: true });
      const idByType = new Map<string, string>();
      for (const folder of readdirSync(SCHEMAS, { withFileTypes: true })) {
        if (!folder.isDirectory()) continue;
        for (const file of readdirSync(join(SCHEMAS, folder.name))) {
          const schema: { readonly $id: string } = JSON.parse(readFileSync(join(SCHEMAS, folder.name, file), 'utf8'));
          ajv.addSchema(schema);
          if (folder.name !== 'common') idByType.set(file.replace('.json', ''), schema.$id);
        }
      }
      const bundle = bundleOf(report());
      for (const object of bundle.objects ?? []) {
        const validate = ajv.getSchema(idByType.get(object.type) ?? '');
        expect(validate, object.type).toBeDefined();
        expect(validate?.(object) ? [] : validate?.errors, JSON.stringify(object)).toEqual([]);
      }
    });
  });
});

function barest(): ReturnType<typeof setOf> {
  const fields = { User: '-', CommandLine: '-', ParentImage: '-', ProcessId: '-', Image: '-' };
  const record = { ...creation('a.exe', { time: 'never', fields }), computer: undefined, timeCreated: undefined };
  return setOf([
    [record, { ...member('a.exe', 50), label: undefined, first_submission: undefined, last_analysis: undefined }],
  ]);
}
