import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/byte-writer.js';
import type { RecordForm } from '../../src/sinks/record-form.js';
import { readMembers, refreshFile } from '../../src/sinks/refresh.js';

const SHA1 = '3395856ce81f2b7382dee72602f798b642f14140';
const WAITING = JSON.stringify({ verdict: 'unchecked', reason: 'waiting', lookup_key: 'sha1', sha1: SHA1 });
const NO_HASH = JSON.stringify({ verdict: 'unchecked', reason: 'no_hash' });
const ANSWERED = JSON.stringify({
  verdict: 'malicious',
  detections: 9,
  engines: 70,
  label: 'trojan."x";=cmd|1, y',
  lookup_key: 'sha1',
  sha1: SHA1,
  last_analysis: '2026-03-04T02:00:00.000Z',
  flags: ['renamed', 'old_answer'],
});

/** Texts that look like what is searched for, and what parts cells, lines and members. */
const oddText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        ...['"', '""', ',', ';', '\n', '\r\n', '\t', '=1+1', '{', '}', '}"', '\\', 'é', '\ufeff', 'vt_verdict'],
        ...[
          `,"virustotal":${ANSWERED}}`,
          `,"${WAITING.replaceAll('"', '""')}"`,
          `"${ANSWERED.replaceAll('"', '""')}"\n`,
        ],
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join('')),
);

/** What every form of records promises. `writeLog` writes a file of records, each with one text of a log, and each with its member. */
export function describeRecordForm(
  form: RecordForm,
  writeLog: (
    records: readonly { readonly text: string; readonly member: string | undefined }[],
    out: ByteWriter,
  ) => void,
): void {
  describe(`records as ${form.name}`, () => {
    let folder: string;
    let path: string;
    const fileOf = (records: Parameters<typeof writeLog>[0]): Buffer => {
      const out = new ByteWriter();
      writeLog(records, out);
      return Buffer.from(out.view());
    };

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-form-'));
      path = join(folder, `log${form.ending}`);
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it('are refreshed to the bytes that writing them anew gives, whatever the log says', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(oddText, { minLength: 1, maxLength: 5 }), async (texts) => {
          const members = [WAITING, NO_HASH, undefined];
          const records = texts.map((text, index) => ({ text, member: members[index % members.length] }));
          writeFileSync(path, fileOf(records));
          expect(await refreshFile(path, () => ANSWERED, form)).toBe(true);
          const answered = records.map(({ text, member }) => ({
            text,
            member: member === WAITING ? ANSWERED : member,
          }));
          expect(readFileSync(path).equals(fileOf(answered))).toBe(true);
        }),
        { numRuns: 60 },
      );
    });

    it('give back the members they were written with', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(oddText, { minLength: 1, maxLength: 5 }), async (texts) => {
          const members = [ANSWERED, NO_HASH, undefined, WAITING];
          const records = texts.map((text, index) => ({ text, member: members[index % members.length] }));
          writeFileSync(path, fileOf(records));
          const read: string[] = [];
          await readMembers(path, form, (member) => read.push(member));
          expect(read).toEqual(records.flatMap(({ member }) => member ?? []));
        }),
        { numRuns: 60 },
      );
    });

    it('are left alone where no member changes', async () => {
      writeFileSync(path, fileOf([{ text: 'a', member: ANSWERED }]));
      const { ino } = statSync(path, { bigint: true });
      expect(await refreshFile(path, () => ANSWERED, form)).toBe(false);
      expect(await refreshFile(path, () => undefined, form)).toBe(false);
      expect(statSync(path, { bigint: true }).ino).toBe(ino);
    });
  });
}
