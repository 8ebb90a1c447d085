import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonRunLog } from '../src/run-log.js';
import { selfMovingClock } from './fakes/clock.js';

const clock = selfMovingClock('2026-03-04T02:00:00Z');

async function logged(pieces: readonly (string | Buffer)[]): Promise<string> {
  const written: Buffer[] = [];
  const output = new Writable({
    write: (chunk, _encoding, done) => {
      written.push(chunk);
      done();
    },
  });
  const log = jsonRunLog(output, clock);
  for (const piece of pieces) log.write(piece);
  log.end();
  await finished(log);
  return Buffer.concat(written).toString('utf8');
}

describe('--log-format json', () => {
  it('makes each line for people a JSON line', async () => {
    expect(await logged(['sysmon-vt: the disk is full [CACHE]\n', '\n', 'logs  4 read\nfil', 'es  21'])).toBe(
      '{"time":"2026-03-04T02:00:00.000Z","message":"the disk is full [CACHE]"}\n' +
        '{"time":"2026-03-04T02:00:00.000Z","message":"logs  4 read"}\n' +
        '{"time":"2026-03-04T02:00:00.000Z","message":"files  21"}\n',
    );
  });

  it('keeps whatever a log has put into a line, however it is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.string({ unit: 'binary' }).map((text) => `x${text.replaceAll('\n', ' ')}x`),
          { maxLength: 5 },
        ),
        fc.integer({ min: 1, max: 7 }),
        async (lines, size) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
          const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
            bytes.subarray(index * size, (index + 1) * size),
          );
          const written = await logged(pieces);
          const messages = written
            .split('\n')
            .filter((line) => line !== '')
            .map((line) => JSON.parse(line).message);
          expect(messages).toEqual(lines.map((line) => Buffer.from(line).toString('utf8')));
        },
      ),
      { numRuns: 50 },
    );
  });
});
