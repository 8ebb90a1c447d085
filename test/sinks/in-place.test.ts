import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inPlaceFile } from '../../src/sinks/in-place.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-in-place-'));
  path = join(folder, 'log.jsonl');
  writeFileSync(path, 'before');
});
afterEach(() => rmSync(folder, { recursive: true }));

const replace = async (text: string, original: 'to be kept' | 'is kept' = 'to be kept'): Promise<void> => {
  const file = await inPlaceFile(path, original);
  await file.write(Buffer.from(text));
  await file.commit();
};
const contents = (): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

describe('a log that is written in place', () => {
  it('stays beside its new self, which has its mode', async () => {
    chmodSync(path, 0o640);
    await replace('after');
    expect(contents()).toEqual({ 'log.jsonl': 'after', 'log.jsonl.orig': 'before' });
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it('is left alone by the same bytes', async () => {
    const before = statSync(path, { bigint: true });
    await replace('before');
    expect(contents()).toEqual({ 'log.jsonl': 'before' });
    expect(statSync(path, { bigint: true }).ino).toBe(before.ino);
  });

  it('is not replaced where another file has the name of the original', async () => {
    writeFileSync(`${path}.orig`, 'others');
    await expect(replace('after')).rejects.toThrow(/log\.jsonl\.orig is there already.*--out DIR.*\[OUTPUT\]/);
    const { 'log.jsonl': log, 'log.jsonl.orig': original } = contents();
    expect({ log, original }).toEqual({ log: 'before', original: 'others' });
  });

  it('is replaced where a run that was killed had kept the original already', async () => {
    writeFileSync(`${path}.orig`, 'before');
    await replace('after');
    expect(contents()).toEqual({ 'log.jsonl': 'after', 'log.jsonl.orig': 'before' });
  });

  it('keeps the first original when it is replaced again', async () => {
    await replace('after');
    await replace('later', 'is kept');
    expect(contents()).toEqual({ 'log.jsonl': 'later', 'log.jsonl.orig': 'before' });
  });

  it('is an output that cannot be written where it is gone', async () => {
    await expect(inPlaceFile(join(folder, 'gone'), 'is kept')).rejects.toThrow(/cannot be replaced.*\[OUTPUT\]/);
  });

  it('is not replaced where it was written to meanwhile, and nothing is left behind', async () => {
    const file = await inPlaceFile(path, 'to be kept');
    await file.write(Buffer.from('after'));
    appendFileSync(path, ' and more');
    await expect(file.commit()).rejects.toThrow(/changed while it was read.*\[OUTPUT\]/);
    await file.abandon();
    expect(contents()).toEqual({ 'log.jsonl': 'before and more' });
    expect(existsSync(`${path}.orig`)).toBe(false);
  });
});
