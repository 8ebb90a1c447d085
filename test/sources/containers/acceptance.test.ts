import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PeekableReader, streamByteReader } from '../../../src/sources/byte-reader.js';
import { DEFAULT_LIMITS, detectContainer, openMembers } from '../../../src/sources/containers.js';
import { SAMPLES } from '../samples.js';

interface Unpacked {
  readonly name: string;
  /** The member's bytes, or the code of its failure. */
  readonly content: Buffer | string;
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** All members of a container, those within members too. */
async function unpack(bytes: Buffer, path?: string): Promise<Unpacked[]> {
  const format = detectContainer(bytes.subarray(0, 512));
  if (format === undefined) return [{ name: '', content: bytes }];
  const unpacked: Unpacked[] = [];
  const log = path === undefined ? {} : { path };
  const reader = new PeekableReader(streamByteReader(oneChunk(bytes)));
  for await (const member of openMembers(format, reader, log, DEFAULT_LIMITS)) {
    if ('failure' in member) {
      unpacked.push({ name: member.name, content: member.failure.code });
      continue;
    }
    const parts: Buffer[] = [];
    for (;;) {
      const part = Buffer.alloc(100_000);
      const length = await member.reader.read(part);
      parts.push(part.subarray(0, length));
      if (length < part.length) break;
    }
    for (const inner of await unpack(Buffer.concat(parts))) {
      unpacked.push({ ...inner, name: [member.name, inner.name].filter((name) => name !== '').join('!') });
    }
  }
  return unpacked;
}

function read(name: string): Buffer {
  return readFileSync(join(SAMPLES, name));
}

function unpackSample(name: string): Promise<Unpacked[]> {
  return unpack(read(name), join(SAMPLES, name));
}

const hasSevenZip = ['7zz', '7z', '7za'].some((program) => spawnSync(program, ['i']).status === 0);

describe.skipIf(!existsSync(SAMPLES))('sample containers', () => {
  test.skipIf(!hasSevenZip)('sigma-regression-evtx-10.7z holds 10 logs', async () => {
    const members = await unpackSample('containers/sigma-regression-evtx-10.7z');
    expect(members.map(({ content }) => Buffer.isBuffer(content) && content.toString('latin1', 0, 7))).toEqual(
      Array.from({ length: 10 }, () => 'ElfFile'),
    );
  });

  test.each(['gz', 'multi-member.jsonl.gz', 'bz2', 'zst', 'xz'])('evtx_dump as %s holds the log', async (extension) => {
    const name = `containers/evtx_dump.${extension.includes('.') ? '' : 'jsonl.'}${extension}`;
    const [log, ...others] = await unpackSample(name);
    expect(others).toEqual([]);
    expect(read('json/evtx_dump.jsonl').equals(Buffer.from(log?.content ?? ''))).toBe(true);
  });

  test('mixed.zip holds its files without folders and twins', async () => {
    const members = await unpackSample('containers/mixed.zip');
    expect(members.map(({ name }) => name)).toEqual([
      'host1/a.jsonl',
      'host2/b.xml',
      'host2/empty.evtx',
      'notes.txt',
      'host3/c.csv.gz',
    ]);
  });

  test('an encrypted member is named', async () => {
    expect(await unpackSample('containers/password-infected.zip')).toEqual([
      { name: 'evtx_dump.jsonl', content: 'ENCRYPTED' },
    ]);
  });

  test.each([
    ['containers/sigma-regression-evtx.zip', 35],
    ['containers/sigma-regression-evtx-10.tar.zst', 10],
    ['containers/sigma-regression-json.tar.gz', 35],
  ])('%s holds %i logs', async (name, count) => {
    const members = await unpackSample(name);
    expect(members).toHaveLength(count);
    expect(members.every(({ content }) => Buffer.isBuffer(content) && content.length > 0)).toBe(true);
  });

  test.each([
    'empire_enable_rdp.tar.gz',
    'cmd_wevtutil_modify_security_eventlog_path.zip',
    'msf_record_mic.zip',
    'WindowsEvents.Zip',
  ])('%s holds one whole log', async (name) => {
    const members = await unpackSample(`security-datasets/${name}`);
    expect(members.map(({ content }) => (Buffer.isBuffer(content) ? content.at(-1) : content))).toEqual([0x0a]);
  });
});
