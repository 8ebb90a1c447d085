import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDoNotAsk, readDoNotAsk } from '../src/do-not-ask.js';
import { UsageError } from '../src/errors.js';

const RULES = String.raw`
# our own builds
path C:\Program Files (x86)\Our Company\**
path **\build\*.exe
path \\files.corp.example\dev$\**
host lab-*
host SRV-SECRET-01.corp.example
`;
const rules = parseDoNotAsk(RULES);
const ofPath = (...images: string[]): string | undefined => rules.ruleAgainst({ images, hostNames: [] });
const ofHost = (...hostNames: string[]): string | undefined => rules.ruleAgainst({ images: [], hostNames });

describe('DO_NOT_ASK', () => {
  it('forbids by path: ** crosses folders, * stays in a name, brackets stand for themselves, case does not matter', () => {
    expect(ofPath('c:\\program files (x86)\\our company\\app\\bin\\app.exe')).toBe(
      'path C:\\Program Files (x86)\\Our Company\\**',
    );
    expect(ofPath('D:\\src\\build\\tool.EXE')).toBeDefined();
    expect(ofPath('D:/src/build/tool.exe')).toBeDefined();
    expect(ofPath('D:\\src\\build\\deep\\tool.exe')).toBeUndefined();
    expect(ofPath('C:\\Program Files x86\\Our Company\\app.exe')).toBeUndefined();
    expect(ofPath('\\\\files.corp.example\\dev$\\a\\b.exe')).toBeDefined();
    expect(ofPath('C:\\Windows\\System32\\cmd.exe')).toBeUndefined();
  });

  it('forbids by host, with or without its domain', () => {
    expect(ofHost('LAB-7.corp.example')).toBe('host lab-*');
    expect(ofHost('lab-7')).toBeDefined();
    expect(ofHost('srv-secret-01.corp.example')).toBeDefined();
    expect(ofHost('srv-secret-01')).toBeUndefined();
    expect(ofHost('collab-7.corp.example')).toBeUndefined();
  });

  it('forbids a file if one of its places is named, wherever else it ran', () => {
    expect(ofPath('C:\\Windows\\a.exe', 'D:\\x\\build\\a.exe')).toBe('path **\\build\\*.exe');
    expect(rules.ruleAgainst({ images: ['C:\\Windows\\a.exe'], hostNames: ['WS-1', 'lab-3'] })).toBe('host lab-*');
    expect(rules.ruleAgainst({ images: [], hostNames: [] })).toBeUndefined();
  });

  it('does not let a rule that is not understood pass for none', () => {
    for (const line of ['C:\\Secret\\**', 'path', 'path ', 'hash 00', `path ${'x'.repeat(2000)}`]) {
      expect(() => parseDoNotAsk(`host ok\n${line}\n`), line).toThrow(/DO_NOT_ASK: line 2/);
    }
    expect(() => parseDoNotAsk('host a\n'.repeat(10_001))).toThrow(UsageError);
    expect(() => readDoNotAsk('/nowhere/rules')).toThrow(/DO_NOT_ASK: \/nowhere\/rules cannot be read/);
  });

  it('reads a file as Windows’ editors write it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sysmon-vt-rules-'));
    try {
      writeFileSync(join(folder, 'rules.txt'), '\ufeffhost a*\r\n\r\n# b\r\n');
      expect(readDoNotAsk(join(folder, 'rules.txt')).ruleAgainst({ images: [], hostNames: ['abc'] })).toBe('host a*');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('takes any text as a rule’s literal part: a path without wildcards matches itself and nothing longer', () => {
    const literal = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 60 })
      .map((text) => `x${text.replace(/[\s*?]/g, '_')}x`);
    fc.assert(
      fc.property(literal, (path) => {
        const matcher = parseDoNotAsk(`path ${path}`);
        expect(matcher.ruleAgainst({ images: [path], hostNames: [] })).toBeDefined();
        expect(matcher.ruleAgainst({ images: [`${path}y`], hostNames: [path] })).toBeUndefined();
      }),
    );
  });

  it('stays fast on names made to slow it down', () => {
    const slow = parseDoNotAsk(`path ${'**a'.repeat(300)}`);
    const startedAt = performance.now();
    slow.ruleAgainst({ images: ['a'.repeat(520)], hostNames: [] });
    slow.ruleAgainst({ images: [`${'a'.repeat(519)}b`], hostNames: [] });
    expect(performance.now() - startedAt).toBeLessThan(3000);
  });
});
