import { describe, expect, it } from 'vitest';
import { RunOutput } from '../../src/commands/run-output.js';
import { fakeShell } from '../fakes/shell.js';

/** What a run says while it reads and asks. */
function saidBy(env: Readonly<Record<string, string>>, isTerminal: boolean): string {
  const shell = fakeShell(env, { isTerminal });
  const output = new RunOutput(shell, 'normal');
  output.onReadingStart(1, 100);
  output.onLogStart('a.jsonl');
  output.onProgress(50);
  output.onAskingStart(2);
  output.onOutcome('a', { kind: 'unanswered', reason: 'quota', detail: 'spent' });
  output.end();
  return shell.said();
}

describe('progress', () => {
  it('is drawn on a terminal', () => {
    expect(saidBy({}, true)).toContain('reading 1/1: 50 B of 100 B');
    expect(saidBy({}, true)).toContain('asking VirusTotal: 1/2');
    expect(saidBy({}, true)).toContain('\u001b[2K');
  });

  it.each([
    ['elsewhere', {}, false],
    ['with NO_COLOR', { NO_COLOR: '1' }, true],
  ])('is not told %s, but that files are asked about is', (_where, env, isTerminal) => {
    expect(saidBy(env, isTerminal)).toBe('asking VirusTotal about 2 files\n');
  });
});
