import { appendFile, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fileByteReader } from '../../src/sources/byte-reader.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-byte-reader-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('reads a file up to the size it had, whatever is appended while it is read', async () => {
  const path = join(folder, 'growing.jsonl');
  await writeFile(path, 'abcdefgh');
  const file = await open(path);
  const reader = fileByteReader(file, 8);
  const target = Buffer.alloc(6);
  expect(await reader.read(target)).toBe(6);
  await appendFile(path, 'ijkl');
  expect(await reader.read(target)).toBe(2);
  expect(target.toString('latin1', 0, 2)).toBe('gh');
  expect(await reader.read(target)).toBe(0);
  await file.close();
});

it('gives all else its turn every few MiB, so that a large log can be interrupted', async () => {
  const path = join(folder, 'large.jsonl');
  const bytes = 16 * 1024 * 1024;
  await writeFile(path, Buffer.alloc(bytes));
  const file = await open(path);
  const reader = fileByteReader(file, bytes);
  const target = Buffer.alloc(1024 * 1024);
  let turns = 0;
  const count = (): void => {
    turns++;
    if (turns < 100) setImmediate(count);
  };
  setImmediate(count);
  while ((await reader.read(target)) > 0);
  expect(turns).toBeGreaterThanOrEqual(3);
  await file.close();
});
