import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mayTell, parseMessage, parseProcessCreationMessage } from '../../src/sources/message.js';

const SHA1 = '0123456789ABCDEF0123456789ABCDEF01234567';
const OTHER_SHA1 = 'FEDCBA9876543210FEDCBA9876543210FEDCBA98';

/** Sysmon 15's event 1, in its order. */
const FIELDS: readonly (readonly [string, string])[] = [
  ['RuleName', '-'],
  ['UtcTime', '2026-03-01 10:20:30.456'],
  ['ProcessGuid', '{11111111-2222-3333-4444-555555555555}'],
  ['ProcessId', '4242'],
  ['Image', 'C:\\Tools\\a tool.exe'],
  ['FileVersion', '1.2.3'],
  ['Description', 'A tool: it does  things'],
  ['Product', '-'],
  ['Company', 'Example'],
  ['OriginalFileName', 'tool.exe'],
  ['CommandLine', '"C:\\Tools\\a tool.exe"  --name: x: y '],
  ['CurrentDirectory', 'C:\\Tools\\'],
  ['User', 'NT-AUTORITÄT\\SYSTEM'],
  ['LogonGuid', '{11111111-2222-3333-4444-666666666666}'],
  ['LogonId', '0x3E7'],
  ['TerminalSessionId', '0'],
  ['IntegrityLevel', 'System'],
  ['Hashes', `SHA1=${SHA1},MD5=00000000000000000000000000000001`],
  ['ParentProcessGuid', '{11111111-2222-3333-4444-777777777777}'],
  ['ParentProcessId', '1'],
  ['ParentImage', 'C:\\Windows\\explorer.exe'],
  ['ParentCommandLine', 'explorer.exe /e'],
  ['ParentUser', 'HOST\\someone'],
];

function render(separator: string, fields: readonly (readonly [string, string])[] = FIELDS): string {
  return ['Process Create:', ...fields.map(([name, value]) => `${name}: ${value}`)].join(separator);
}

function withFields(values: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return FIELDS.map(([name, value]) => [name, values[name] ?? value] as const);
}

describe('a rendered process creation', () => {
  test.each([
    ['CRLF, as Windows writes it', '\r\n'],
    ['LF, as Winlogbeat writes it', '\n'],
    ['two blanks, as OSSEC and Snare write it', '  '],
  ])('gives every field verbatim with %s between the lines', (_name, separator) => {
    expect([...(parseProcessCreationMessage(render(separator)) ?? [])]).toEqual(FIELDS);
  });

  test('is read with one blank between the lines', () => {
    const fields = withFields({ CommandLine: 'tool.exe --name: x: y', Description: 'A tool: it does things' });
    expect([...(parseProcessCreationMessage(render(' ', fields)) ?? [])]).toEqual(fields);
  });

  test('keeps empty values, with and without the blank behind the colon', () => {
    for (const message of [
      'Process Create:\r\nRuleName: \r\nUtcTime: u\r\nImage: i',
      'Process Create:\nRuleName:\nUtcTime: u\nImage: i\n',
    ]) {
      expect([...(parseProcessCreationMessage(message) ?? [])]).toEqual([
        ['RuleName', ''],
        ['UtcTime', 'u'],
        ['Image', 'i'],
      ]);
    }
  });

  test('of Sysmon 1 has HashType and Hash', () => {
    const message = `Process Create:  UtcTime: 1/2/2014 2:29 PM  ProcessId: 3  HashType: SHA1  Hash: ${SHA1}  ParentProcessId: 4`;
    const fields = parseProcessCreationMessage(message);
    expect(fields?.get('HashType')).toBe('SHA1');
    expect(fields?.get('Hash')).toBe(SHA1);
    expect(fields?.get('UtcTime')).toBe('1/2/2014 2:29 PM');
  });

  test('keeps a line break that belongs to a command line', () => {
    const fields = withFields({ CommandLine: 'cmd /c echo a\necho b: c' });
    expect([...(parseProcessCreationMessage(render('\n', fields)) ?? [])]).toEqual(fields);
  });

  test('wrapped by Format-List is joined again, inside hashes too', () => {
    const indent = ' '.repeat(15);
    const lines = [
      'UtcTime: 2026-03-01 10:20:30.456',
      'CommandLine: C:\\Windows\\cmd.exe /c ',
      'C:\\Temp\\a-rather-long-name-that-is-broken-at-the-console',
      '.bat',
      `Hashes: SHA1=${SHA1}`,
      ',MD5=00000000000000000000000000000001',
      'ParentProcessId: 1',
    ];
    const fields = parseProcessCreationMessage(
      `Process Create:\r\n${lines.map((line) => `${indent}${line}`).join('\r\n')}\r\n`,
    );
    expect([...(fields ?? [])]).toEqual([
      ['UtcTime', '2026-03-01 10:20:30.456'],
      ['CommandLine', 'C:\\Windows\\cmd.exe /c C:\\Temp\\a-rather-long-name-that-is-broken-at-the-console.bat'],
      ['Hashes', `SHA1=${SHA1},MD5=00000000000000000000000000000001`],
      ['ParentProcessId', '1'],
    ]);
  });

  test('wrapped at a blank that an editor has trimmed gets it back', () => {
    const indent = ' '.repeat(15);
    const message = ['Process Create:', 'CommandLine: cmd.exe /c', 'start.bat', 'User: 123456789012345678901234567890']
      .map((line, index) => (index === 0 ? line : `${indent}${line}`))
      .join('\n');
    expect(parseProcessCreationMessage(message)?.get('CommandLine')).toBe('cmd.exe /c start.bat');
  });

  test('of sysmonLogView is read', () => {
    const message = 'Event SYSMONEVENT_CREATE_PROCESS\n\tRuleName: -\n\tImage: /usr/bin/id\n\tHashes: -';
    expect([...(parseProcessCreationMessage(message) ?? [])]).toEqual([
      ['RuleName', '-'],
      ['Image', '/usr/bin/id'],
      ['Hashes', '-'],
    ]);
  });

  test.each([
    ['nothing', ''],
    ['another title', 'Process terminated:\nUtcTime: u\nImage: i'],
    ['a title alone', 'Process Create:'],
    ['the title of a Security event', 'A new process has been created.\nProcess Create:\nImage: i'],
    ['labels without title', 'UtcTime: u\nImage: i'],
  ])('is not seen in %s', (_name, message) => {
    expect(parseProcessCreationMessage(message)).toBeUndefined();
  });
});

describe('text that imitates labels', () => {
  test.each(['\n', '  '])("does not displace the record's own hash, with %j between the lines", (separator) => {
    const forged = `x${separator}Hashes: SHA1=${OTHER_SHA1}`;
    for (const name of ['Description', 'CommandLine', 'ParentCommandLine']) {
      const fields = parseProcessCreationMessage(render(separator, withFields({ [name]: forged })));
      expect(fields?.get('Hashes') ?? SHA1, name).not.toContain(OTHER_SHA1);
    }
  });

  test('that makes two readings possible costs the hash, not the evidence', () => {
    const whole = render('\n', withFields({ CommandLine: 'x' }));
    const tail = whole.slice(whole.indexOf('\nCurrentDirectory'));
    const forged = `x${tail.replace(SHA1, OTHER_SHA1)}`;
    const message = render('\n', withFields({ CommandLine: forged }));
    const fields = parseProcessCreationMessage(message);
    expect(fields?.has('Hashes')).toBe(false);
    expect(fields?.get('Image')).toBe('C:\\Tools\\a tool.exe');
    expect(fields?.get('CommandLine')).toBe(message.slice(message.indexOf('CommandLine: ') + 'CommandLine: '.length));
  });

  test('of a whole message within the message costs the hash only', () => {
    const message = render('\n', withFields({ ParentCommandLine: `x\n${render('\n').replace(SHA1, OTHER_SHA1)}` }));
    const fields = parseProcessCreationMessage(message);
    expect(fields?.has('Hashes')).toBe(false);
    expect(fields?.get('ProcessGuid')).toBe('{11111111-2222-3333-4444-555555555555}');
    expect(fields?.get('Image')).toContain('C:\\Tools\\a tool.exe');
  });

  test('in great numbers is read in bounded time', () => {
    const flood = 'Hashes: x  User: y  Image: z  '.repeat(40_000);
    expect(parseProcessCreationMessage(render('  ', withFields({ CommandLine: flood })))?.get('ProcessId')).toBe(
      '4242',
    );
  });

  test('never yields a digest that no label stands before', () => {
    const piece = fc.constantFrom('  ', '\n', ' ', ...FIELDS.map(([name]) => `${name}:`), 'x', `SHA1=${OTHER_SHA1}`);
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.constantFrom('\n', '  '), (pieces, separator) => {
        const message = render(separator, withFields({ CommandLine: pieces.join('') }));
        const hashes = parseProcessCreationMessage(message)?.get('Hashes');
        expect(hashes === undefined || message.includes('Hashes:')).toBe(true);
        expect(parseProcessCreationMessage(message)?.get('Image')).toBe('C:\\Tools\\a tool.exe');
      }),
      { numRuns: 300 },
    );
  });
});

describe('whether a message may tell a field', () => {
  /** Format-List: every line indented, and broken wherever the console ends. */
  const wrapped = (message: string, width: number): string =>
    message
      .split('\n')
      .flatMap((line) => line.match(new RegExp(`.{1,${width}}`, 'g')) ?? [''])
      .map((line) => ' '.repeat(15) + line)
      .join('\n');

  test('is never denied of one that it tells', () => {
    const shown = fc.subarray([...FIELDS]).filter((fields) => fields.length > 0);
    fc.assert(
      fc.property(
        shown,
        fc.constantFrom('\n', '\r\n', '  ', ' '),
        fc.integer({ min: 4, max: 80 }),
        (fields, end, width) => {
          const message = render(end, fields);
          for (const text of end === '\n'
            ? [message, `Process Create:\n${wrapped(message.slice(16), width)}`]
            : [message]) {
            for (const name of parseMessage(text)?.fields.keys() ?? []) {
              expect(mayTell(text, 1, (field) => field === name)).toBe(true);
            }
          }
        },
      ),
    );
  });

  test('is denied of one that does not stand there, of one that is not wanted, and of other events', () => {
    const message = render('\n', [['Image', 'a']]);
    expect(mayTell(message, 1, () => true)).toBe(true);
    expect(mayTell(message, 1, (field) => field === 'Hashes')).toBe(false);
    expect(mayTell(message, 1, () => false)).toBe(false);
    expect(mayTell(message, 4711, () => true)).toBe(false);
  });
});

describe('blank lines', () => {
  test('within the last value belong to it, however many, behind it they do not', () => {
    const value = `a${'\r\n'.repeat(50_000)}b `;
    const message = `Process Create:\nUtcTime: 2026-03-01 10:20:30.456\nParentCommandLine: ${value}`;
    expect(parseProcessCreationMessage(message)?.get('ParentCommandLine')).toBe(value.replaceAll('\r\n', '\n'));
    expect(parseProcessCreationMessage(`${message}\r\n \r\n`)?.get('ParentCommandLine')).toBe(
      value.replaceAll('\r\n', '\n').trimEnd(),
    );
  });
});

describe('other events', () => {
  test.each([
    [
      'Network connection detected:\nRuleName: -\nUtcTime: u\nImage: i\nUser: a\nDestinationIp: 192.0.2.1',
      3,
      'DestinationIp',
      '192.0.2.1',
    ],
    ['Process accessed:\r\nSourceProcessGUID: {1}\r\nCallTrace: a|b\r\nTargetUser: t', 10, 'CallTrace', 'a|b'],
    [`File stream created:  UtcTime: u  Hash: SHA1=${SHA1}  Contents: c`, 15, 'Hash', `SHA1=${SHA1}`],
    [`File Delete archived:\nUtcTime: u\nUser: a\nHashes: SHA1=${SHA1}\nArchived: true`, 23, 'User', 'a'],
    ['File Delete logged:\nUtcTime: u\nIsExecutable: true', 26, 'IsExecutable', 'true'],
    ['Image loaded:\nUtcTime: u\nImage: a\nImageLoaded: b', 7, 'ImageLoaded', 'b'],
  ])('%j is event %i', (message, eventId, name, value) => {
    const rendered = parseMessage(message);
    expect(rendered?.eventId).toBe(eventId);
    expect(rendered?.fields.get(name)).toBe(value);
  });
});
