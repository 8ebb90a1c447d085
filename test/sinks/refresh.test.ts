import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { refreshFile } from '../../src/sinks/refresh.js';

const SHA1 = '3395856ce81f2b7382dee72602f798b642f14140';
const OTHER = '0123456789012345678901234567890123456789';
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-refresh-'));
  path = join(folder, 'log.enriched.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const unchecked = (hash: string): string =>
  `{"verdict":"unchecked","reason":"waiting","lookup_key":"sha1","sha1":"${hash}"}`;
const answered = `{"verdict":"malicious","detections":9,"lookup_key":"sha1","sha1":"${SHA1}"}`;

describe('refreshing an enriched file', () => {
  it('replaces the member of records of answered files and keeps every other byte', async () => {
    const nested = `{"x": 9007199254740993, "inner":{"virustotal":{"lookup_key":"sha1","sha1":"${SHA1}"}},"s":",\\"virustotal\\":{"`;
    writeFileSync(path, `${nested},"virustotal":${unchecked(SHA1)}}\n{"b":1,"virustotal":${unchecked(OTHER)}}\n`);
    expect(await refreshFile(path, ({ hash }) => (hash === SHA1 ? answered : undefined))).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe(
      `${nested},"virustotal":${answered}}\n{"b":1,"virustotal":${unchecked(OTHER)}}\n`,
    );
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('leaves a file alone in which nothing changes', async () => {
    writeFileSync(
      path,
      `{"b":1,"virustotal":${unchecked(OTHER)}}\n{"virustotal":{"verdict":"unchecked","reason":"no_hash"}}\nnot ours\n`,
    );
    const before = statSync(path, { bigint: true });
    expect(await refreshFile(path, () => undefined)).toBe(false);
    expect(statSync(path, { bigint: true }).ino).toBe(before.ino);
    expect(readdirSync(folder)).toEqual(['log.enriched.jsonl']);
  });

  it('handles records longer than its blocks', async () => {
    const long = 'x'.repeat(700_000);
    writeFileSync(path, `{"a":"${long}","virustotal":${unchecked(SHA1)}}\n`.repeat(3));
    await refreshFile(path, () => answered);
    expect(readFileSync(path, 'utf8')).toBe(`{"a":"${long}","virustotal":${answered}}\n`.repeat(3));
  });

  it('never touches what log text says, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 6 }), async (texts) => {
        const record = (text: string, member: string): string =>
          `${JSON.stringify({ text, virustotal_: text }).slice(0, -1)},"virustotal":${member}}\n`;
        writeFileSync(path, texts.map((text) => record(text, unchecked(SHA1))).join(''));
        await refreshFile(path, () => answered);
        expect(readFileSync(path, 'utf8')).toBe(texts.map((text) => record(text, answered)).join(''));
      }),
      { numRuns: 20 },
    );
  });
});
