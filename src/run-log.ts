import { Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Clock } from './clock.js';

/** Longer lines are handed on in pieces. */
const MAX_LINE_LENGTH = 64 * 1024;

/**
 * stderr for a machine: each line for people written to it becomes one JSON line, `{"time":…,"message":…}`, on `output`. Empty
 * lines are left out. Back-pressure and errors are those of `output`.
 */
export function jsonRunLog(output: Writable, clock: Clock): Writable {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const jsonLine = (line: string): string => {
    const message = line.replace(/^sysmon-vt: /, '').trimEnd();
    return message === '' ? '' : `${JSON.stringify({ time: clock.now().toISOString(), message })}\n`;
  };
  return new Writable({
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, done) => {
      const lines = (rest + decoder.write(chunk)).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE_LENGTH) {
        lines.push(rest);
        rest = '';
      }
      const text = lines.map(jsonLine).join('');
      if (text === '') done();
      else output.write(text, done);
    },
    final: (done) => {
      const text = jsonLine(rest);
      if (text === '') done();
      else output.write(text, done);
    },
  });
}
