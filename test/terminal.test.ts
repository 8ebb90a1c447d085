import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeBytes, describeDuration, escapeControls } from '../src/terminal.js';

describe('escapeControls', () => {
  it('makes terminal escapes, line feeds, bidi and invisible characters visible', () => {
    expect(escapeControls('a\u001b[31mb\nc\u202ecod.exe\u200b\u2028\ud800')).toBe(
      'a\\u{1b}[31mb\\u{a}c\\u{202e}cod.exe\\u{200b}\\u{2028}\\u{d800}',
    );
    expect(escapeControls('C:\\Prögramme\\日本.exe')).toBe('C:\\Prögramme\\日本.exe');
  });

  it('leaves nothing a terminal obeys', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        expect(escapeControls(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
      }),
    );
  });
});

describe('numbers for people', () => {
  it('are short', () => {
    expect([0, 42_000, 300_000, 3_900_000, 200_000_000].map(describeDuration)).toEqual([
      '0 s',
      '42 s',
      '5 min',
      '1 h 5 min',
      '2 d 7 h',
    ]);
    expect([0, 999, 1000, 1_400_000, 250_000_000].map(describeBytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '1.4 MB',
      '250 MB',
    ]);
  });
});
