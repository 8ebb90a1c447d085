import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseEventXml, readEventXml } from '../../src/sources/event-xml.js';

const DATA: Readonly<Record<string, string>> = {
  RuleName: '',
  UtcTime: '2026-03-01 10:20:30.456',
  ProcessGuid: '{11111111-2222-3333-4444-555555555555}',
  Image: 'C:\\Tools\\tool.exe',
  CommandLine: 'tool.exe /x',
  Hashes: 'SHA1=0123456789ABCDEF0123456789ABCDEF01234567',
  ParentProcessGuid: '{11111111-2222-3333-4444-777777777777}',
};

const SYSTEM =
  "<System><Provider Name='Microsoft-Windows-Sysmon' Guid='{5770385f-c22a-43e0-bf4c-06f5698ffbd9}'/><EventID>1</EventID>" +
  "<TimeCreated SystemTime='2026-03-01T10:20:30.456789100Z'/><EventRecordID>812</EventRecordID>" +
  "<Execution ProcessID='7' ThreadID='8'/><Channel>Microsoft-Windows-Sysmon/Operational</Channel><Computer>host.example</Computer></System>";

function dataElements(values: Readonly<Record<string, string>> = DATA): string {
  return Object.entries(values)
    .map(([name, value]) => (value === '' ? `<Data Name='${name}'/>` : `<Data Name='${name}'>${value}</Data>`))
    .join('');
}

function eventXml(values: Readonly<Record<string, string>> = {}, system = SYSTEM): string {
  const namespace = "xmlns='http://schemas.microsoft.com/win/2004/08/events/event'";
  return `<Event ${namespace}>${system}<EventData>${dataElements({ ...DATA, ...values })}</EventData></Event>`;
}

describe('one event as XML', () => {
  test('gives all that Sysmon and Windows say of it', () => {
    expect(parseEventXml(eventXml())).toEqual({
      eventId: 1,
      recordId: '812',
      provider: 'Microsoft-Windows-Sysmon',
      channel: 'Microsoft-Windows-Sysmon/Operational',
      computer: 'host.example',
      timeCreated: '2026-03-01T10:20:30.456789100Z',
      data: new Map(Object.entries(DATA)),
    });
  });

  test('is the same pretty-printed, in double quotes, with a prefix, and with a declaration before it', () => {
    const prefixed = eventXml()
      .replaceAll("'", '"')
      .replaceAll(/<(\/?)(?=\w)/g, '<$1e:')
      .replace('xmlns=', 'xmlns:e=')
      .replaceAll('><e:', '>\r\n  <e:');
    const declared = `<?xml version="1.1" encoding="utf-8" standalone="yes" ?>\n<!-- <Event> -->\n${prefixed}`;
    expect(parseEventXml(declared)).toEqual(parseEventXml(eventXml()));
  });

  test('has entities, numeric references and CDATA replaced in its values', () => {
    const CommandLine =
      'a &lt;b&gt; &amp;&amp; &quot;c&quot; &apos;&#xA;&#13;&#x1F600;<![CDATA[</Data><x> &amp;]]>&amp;lt;';
    expect(parseEventXml(eventXml({ CommandLine }))?.data.get('CommandLine')).toBe(
      'a <b> && "c" \'\n\r\u{1F600}</Data><x> &amp;&lt;',
    );
  });

  test('tolerates what XML forbids', () => {
    const CommandLine = 'a\u0001\u0000\u001b && b < c; <b>d</b> &unknown; &#xFFFFFF; &';
    expect(parseEventXml(eventXml({ CommandLine }))?.data.get('CommandLine')).toBe(CommandLine);
  });

  test('never expands an entity that the document defines', () => {
    const document = `<!DOCTYPE Event [<!ENTITY lol "SHA1=FEDCBA9876543210FEDCBA9876543210FEDCBA98">]>${eventXml({ CommandLine: '&lol;' })}`;
    expect(parseEventXml(document)?.data.get('CommandLine')).toBe('&lol;');
  });

  test('takes nothing from RenderingInfo and UserData', () => {
    const rendering =
      "<RenderingInfo Culture='de-DE'><Message>Process Create:\r\nHashes: x</Message><Provider>Other</Provider><Channel>C</Channel>" +
      "<EventData><Data Name='Hashes'>y</Data></EventData></RenderingInfo>";
    const before = eventXml().replace('<System>', `${rendering}<System>`);
    const after = eventXml().replace('</Event>', `${rendering}</Event>`);
    expect(parseEventXml(before)).toEqual(parseEventXml(eventXml()));
    expect(parseEventXml(after)).toEqual(parseEventXml(eventXml()));
  });

  test('reads typed values as Windows renders them, whatever a tool made of them', () => {
    const values = { ProcessGuid: DATA['ProcessGuid']?.slice(1, -1) ?? '', LogonId: '0x00000000000003e7' };
    const event = parseEventXml(eventXml(values));
    expect(event?.data.get('ProcessGuid')).toBe(DATA['ProcessGuid']);
    expect(event?.data.get('LogonId')).toBe('0x3e7');
    expect(parseEventXml(eventXml({ LogonId: '0x0' }))?.data.get('LogonId')).toBe('0x0');
  });

  test.each([
    ['2019-02-16 10:01:46.884037', '2019-02-16T10:01:46.884037Z'],
    ['2019-02-16 10:01:46.884037+00:00', '2019-02-16T10:01:46.884037Z'],
    ['2019-02-16T12:01:46.884+02:00', '2019-02-16T10:01:46.884Z'],
    ['2019-02-16T10:01:46Z', '2019-02-16T10:01:46Z'],
    ['16.02.2019 10:01', undefined],
  ])('gives SystemTime %j as %j', (systemTime, expected) => {
    expect(parseEventXml(eventXml({}, SYSTEM.replace('2026-03-01T10:20:30.456789100Z', systemTime)))?.timeCreated).toBe(
      expected,
    );
  });

  test('knows the id with a Qualifiers attribute', () => {
    const system = SYSTEM.replace('<EventID>1<', '<EventID Qualifiers="">\n1 <');
    expect(parseEventXml(eventXml({}, system))?.eventId).toBe(1);
  });

  test("is Sysmon for Linux's, too", () => {
    const system = SYSTEM.replaceAll('Microsoft-Windows-Sysmon', 'Linux-Sysmon');
    expect(parseEventXml(eventXml({}, system))?.provider).toBe('Linux-Sysmon');
  });

  test('that says a field twice is trusted with neither', () => {
    const twice = eventXml({
      CommandLine: "x</Data><Data Name='Hashes'>SHA1=0000000000000000000000000000000000000001",
    });
    expect(parseEventXml(twice)?.data.has('Hashes')).toBe(false);
    expect(parseEventXml(twice)?.data.get('Image')).toBe(DATA['Image']);
  });

  test.each([
    [
      "another provider's event 1",
      eventXml({}, SYSTEM.replace('Microsoft-Windows-Sysmon', 'Microsoft-Windows-Kernel-General')),
    ],
    [
      'an event without id',
      eventXml({}, '<System><Provider Name="Linux-Sysmon"/></System>').replace(/CommandLine/, 'X'),
    ],
    ['no event', '<Events></Events>'],
    ['text', 'Event < 1 > 0'],
    ['nothing', ''],
  ])('is not seen in %s', (_name, xml) => {
    expect(parseEventXml(xml)).toBeUndefined();
  });
});

describe('fragments and cut events', () => {
  test('a DataItem of Log Analytics is a process creation by its fields', () => {
    const fragment = `<DataItem Type="System.XmlData" time="2026-03-01T10:20:30Z" sourceHealthServiceId="x"><EventData xmlns="y">${dataElements()}</EventData></DataItem>`;
    const event = parseEventXml(fragment);
    expect(event?.eventId).toBe(1);
    expect(event?.provider).toBeUndefined();
    expect([...(event?.data ?? [])]).toEqual(Object.entries(DATA));
  });

  test('a fragment of another event is no process creation', () => {
    expect(
      parseEventXml("<EventData><Data Name='ProcessGuid'>x</Data><Data Name='Image'>y</Data></EventData>"),
    ).toBeUndefined();
  });

  test('of a cut event only the complete fields count', () => {
    const xml = eventXml();
    const cut = readEventXml(xml.slice(0, xml.indexOf("</Data><Data Name='ParentProcessGuid")));
    expect(cut?.isCut).toBe(true);
    expect([...(cut?.data.keys() ?? [])]).toEqual(['RuleName', 'UtcTime', 'ProcessGuid', 'Image', 'CommandLine']);
    expect(readEventXml(xml)?.isCut).toBe(false);
  });

  test('every cut and every changed character gives an event or nothing, never anything half', () => {
    const xml = eventXml({ CommandLine: 'a <![CDATA[b]]> &lt;' });
    const whole = parseEventXml(xml);
    for (let end = 0; end < xml.length; end++) {
      for (const [name, value] of parseEventXml(xml.slice(0, end))?.data ?? [])
        expect(value).toBe(whole?.data.get(name));
    }
    fc.assert(
      fc.property(fc.nat(xml.length - 1), fc.constantFrom('<', '>', '"', "'", '&', '/', '\0', ']'), (at, character) => {
        readEventXml(xml.slice(0, at) + character + xml.slice(at + 1));
      }),
    );
  });

  test('a flood of opened tags, quotes and references is read in bounded time', () => {
    for (const flood of [
      '<Event ',
      '<![CDATA[',
      '<!--',
      '<a b="',
      '&#x41;',
      '<Data Name="x">',
      "</Data><Data Name='",
      '<',
    ]) {
      readEventXml(eventXml({ CommandLine: flood.repeat(20_000) }));
    }
  });

  test('a tag whose attributes are one long name is read in bounded time', () => {
    const event = readEventXml(eventXml().replace('<Data ', `<Data ${'n'.repeat(500_000)} `));
    expect(event?.eventId).toBe(1);
  });
});
