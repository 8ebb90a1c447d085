import { isMessageTitle } from '../message.js';
import { eventIdOf, type TextRecord } from './record.js';

/** How a tool lays records out as text. */
export interface TextLayout {
  /** Whether a record starts with this line, or with the one before it. */
  startOf(line: string, previous: string): 'line' | 'previous' | undefined;
  /** Reads the lines of one record, the first being the one that `startOf` was asked about. */
  read(lines: readonly string[]): TextRecord;
  /** Whether records start with a line of their own that holds them whole. */
  readonly isLinePerRecord: boolean;
}

/** A heading or property and its value. */
interface Heading {
  readonly name: string;
  readonly value: string;
}

/** `Log Name` as Event Viewer translates it; a heading before Sysmon's channel is taken for it in every other language. */
const LOG_NAME_HEADING =
  /^(?:Log Name|Protokollname|Nom du journal|Nombre de registro|Nome registro|Nome do Log|Logboeknaam|Nazwa dziennika|Имя журнала|ログの名前|日志名称)\s*:|^[^\s:<"][^:<"]{0,60}:\s{2,}Microsoft-Windows-Sysmon\/Operational\s*$/u;

const DESCRIPTION_HEADING = /^(?:Description|Beschreibung)$/;

/** `Event Xml:`, `Ereignis-XML:`, `XML de evento:`. */
const XML_HEADING = /^(?=.{0,60}$)[^:]*xml[^:]*:\s*$/i;

/** Where the headings stand that are read, counted from 0: tools translate their names and keep their order. */
const SOURCE_HEADING = 1;
const DATE_HEADING = 2;
const EVENT_ID_HEADING = 3;

/** Headings before the description: log, source, date, event id, category, level, keywords, user, computer. */
const EVENT_VIEWER_HEADINGS = 9;

/** Headings before the description: log, source, date, event id, task, level, opcode, keyword, user, user name, computer. */
const WEVTUTIL_HEADINGS = 11;

/** Event Viewer's "Copy details as text": headings, `Description:`, the message, `Event Xml:` and the event as XML. */
const eventViewer: TextLayout = {
  startOf: (line) => (LOG_NAME_HEADING.test(line) ? 'line' : undefined),
  read: (lines) => readHeadings(lines, EVENT_VIEWER_HEADINGS),
  isLinePerRecord: false,
};

/** `wevtutil qe /f:text`: a line `Event[n]`, with a colon in older versions, indented headings, the message at the margin. */
const wevtutil: TextLayout = {
  startOf: (line) => (/^Event\[\d+\]:?\s*$/.test(line) ? 'line' : undefined),
  read: (lines) => readHeadings(lines.slice(1), WEVTUTIL_HEADINGS),
  isLinePerRecord: false,
};

/** Properties of .NET's EventLogRecord, and those that remoting adds: Format-List starts with any of them. */
const EVENT_LOG_RECORD_PROPERTY =
  /^(?:Message|Id|Version|Qualifiers|Level|Task|Opcode|Keywords|RecordId|ProviderName|ProviderId|LogName|ProcessId|ThreadId|MachineName|UserId|TimeCreated|ActivityId|RelatedActivityId|ContainerLog|MatchedQueryIds|Bookmark|LevelDisplayName|OpcodeDisplayName|TaskDisplayName|KeywordsDisplayNames|Properties|PSComputerName|RunspaceId)\s+:/;

/** `Get-WinEvent | Format-List`: `Name : value` with the colons in one column, values indented to it, blank lines between records. */
const formatList: TextLayout = {
  startOf: (line, previous) => (previous.trim() === '' && EVENT_LOG_RECORD_PROPERTY.test(line) ? 'line' : undefined),
  read: (lines) => {
    const properties = readProperties(lines);
    return {
      eventId: eventIdOf(properties.get('Id')),
      provider: properties.get('ProviderName')?.trim(),
      channel: properties.get('LogName')?.trim(),
      computer: properties.get('MachineName')?.trim(),
      recordId: properties.get('RecordId')?.trim(),
      message: properties.get('Message'),
    };
  },
  isLinePerRecord: false,
};

/** Splunk's raw form of Windows events (`renderXml=false`): a date, then `Name=value` a line, the message last. */
const splunkClassic: TextLayout = {
  startOf: (line, previous) => {
    if (!line.startsWith('LogName=')) return undefined;
    return /^\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4} \d{1,2}:\d\d:\d\d(?:\.\d+)?(?: [AP]M)?\s*$/.test(previous)
      ? 'previous'
      : undefined;
  },
  read: readSplunkClassic,
  isLinePerRecord: false,
};

/** Only messages, each headed by its title; also what sysmonLogView prints. The event may follow as XML. */
const messages: TextLayout = {
  startOf: (line) => (isMessageTitle(line) ? 'line' : undefined),
  read: splitXml,
  isLinePerRecord: false,
};

/** What may stand before a syslog message: no markup, so that a marker quoted in XML or JSON is none. */
const OSSEC_RECORD = /^(?:<\d{1,3}>)?[^<{]*\bWinEvtLog: /;

/** `WinEvtLog: channel: LEVEL(id): source: user: domain: computer: message`. */
const OSSEC_FIELDS = /^WinEvtLog: (.{1,256}?): [A-Z_ ]{1,32}\((\d{1,5})\): ([^:]*): [^:]*: [^:]*: ([^:]*): ?(.*)$/s;

/** OSSEC and Wazuh 2: archives.log, one line a record, line breaks of the message made to two blanks. */
export const ossec: TextLayout = {
  startOf: (line) => (OSSEC_RECORD.test(line) ? 'line' : undefined),
  read: (lines) => {
    const text = lines.join('\n');
    const [, channel, eventId, provider, computer, message] =
      OSSEC_FIELDS.exec(text.slice(text.indexOf('WinEvtLog: '))) ?? [];
    return { eventId: eventIdOf(eventId), provider, channel, computer, message };
  },
  isLinePerRecord: true,
};

/** Syslog servers write a host and a tab in front of it, agents a blank. */
const SNARE_RECORD = /^(?:<\d{1,3}>)?(?:[^\s<{]{1,255}\t)?[^<{\t]*\bMSWinEventLog(?:\t|#011)/;

/** Fields behind `MSWinEventLog`, counted from 0; the message is followed by a counter. */
const SNARE_CHANNEL = 1;
const SNARE_EVENT_ID = 4;
const SNARE_SOURCE = 5;
const SNARE_COMPUTER = 9;
const SNARE_MESSAGE = 12;

/** Snare's agents, with or without a syslog header. Syslog servers write the tabs as `#011` unless told not to. */
export const snare: TextLayout = {
  startOf: (line) => (SNARE_RECORD.test(line) ? 'line' : undefined),
  read: (lines) => {
    const text = lines.join('\n');
    const tab = /MSWinEventLog(\t|#011)/.exec(text)?.[1] ?? '\t';
    const fields = text.slice(text.indexOf('MSWinEventLog')).split(tab).slice(1);
    const counter = fields.findLastIndex((field, index) => index > SNARE_MESSAGE && /^\d{1,20}$/.test(field));
    // A relay may add fields of its own behind the counter.
    const last = counter > 0 ? counter : fields.length > SNARE_MESSAGE + 1 ? fields.length - 1 : fields.length;
    return {
      eventId: eventIdOf(fields[SNARE_EVENT_ID]),
      provider: fields[SNARE_SOURCE],
      channel: fields[SNARE_CHANNEL],
      computer: fields[SNARE_COMPUTER],
      message: unescaped(fields.slice(SNARE_MESSAGE, last).join(tab)),
    };
  },
  isLinePerRecord: true,
};

/** Line breaks and tabs that a syslog server wrote as their numbers. */
function unescaped(message: string): string {
  return message.includes('#01') ? message.replace(/#015#012|#012/g, '\n').replaceAll('#011', '\t') : message;
}

/** All layouts, the more particular starts first. */
const TEXT_LAYOUTS: readonly TextLayout[] = [wevtutil, eventViewer, splunkClassic, formatList, ossec, snare, messages];

/** The layout in which a record starts here, or undefined. */
export function findLayout(line: string, previous: string): TextLayout | undefined {
  return TEXT_LAYOUTS.find((layout) => layout.startOf(line, previous) !== undefined);
}

/** Reads the lines of one event in Splunk's raw form; the date above may be among them or not. */
function readSplunkClassic(lines: readonly string[]): TextRecord {
  const values = new Map<string, string>();
  let message: string | undefined;
  for (const [index, line] of lines.entries()) {
    const equals = line.indexOf('=');
    if (equals < 0) continue;
    const name = line.slice(0, equals);
    if (name === 'Message') {
      message = [line.slice(equals + 1), ...lines.slice(index + 1)].join('\n');
      break;
    }
    values.set(name, line.slice(equals + 1).trim());
  }
  return {
    eventId: eventIdOf(values.get('EventCode')),
    provider: values.get('SourceName'),
    channel: values.get('LogName'),
    computer: values.get('ComputerName'),
    recordId: values.get('RecordNumber'),
    message,
  };
}

function readHeadings(lines: readonly string[], headingCount: number): TextRecord {
  const headings: Heading[] = [];
  let next = 0;
  let description = '';
  for (const line of lines) {
    next++;
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).trim();
    const value = line.slice(colon + 1).trim();
    if (headings.length === headingCount || DESCRIPTION_HEADING.test(name)) {
      description = value;
      break;
    }
    headings.push({ name, value });
  }
  const date = headings[DATE_HEADING]?.value ?? '';
  const body = lines.slice(next);
  return {
    eventId: eventIdOf(headings[EVENT_ID_HEADING]?.value),
    provider: headings[SOURCE_HEADING]?.value,
    channel: headings[0]?.value,
    computer: headings.at(-1)?.value,
    // Without its zone a date is the local time of whoever exported the log.
    timeCreated: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(date) ? date : undefined,
    ...splitXml(description === '' ? body : [description, ...body]),
  };
}

function readProperties(lines: readonly string[]): ReadonlyMap<string, string> {
  const column = lines[0]?.indexOf(':') ?? -1;
  const properties = new Map<string, string>();
  let name = '';
  for (const line of lines) {
    const [head, ownName] = /^([A-Za-z]\w*)\s+:/.exec(line) ?? [];
    if (ownName !== undefined && head?.length === column + 1) {
      name = ownName;
      properties.set(name, line.slice(column + 2));
    } else {
      properties.set(name, `${properties.get(name) ?? ''}\n${line}`);
    }
  }
  return properties;
}

/** Parts a message from the XML of the same event below it, and from the heading between them. */
function splitXml(lines: readonly string[]): Pick<TextRecord, 'message' | 'xml'> {
  // The last start counts: inside the XML every `<` of a value is escaped, above it a command line may hold anything.
  const start = lines.findLastIndex((line) => /^\s*<(?:\w+:)?Event[\s>]/.test(line));
  if (start < 0) return { message: lines.join('\n') };
  const hasHeading = XML_HEADING.test(lines[start - 1] ?? '');
  return {
    message: lines.slice(0, hasHeading ? start - 1 : start).join('\n'),
    xml: lines.slice(start).join('\n'),
  };
}

/** Reads a text that is one record in any of the layouts; undefined if it is in none. */
export function readSingleRecord(text: string): TextRecord | undefined {
  const lines = text.split(/\r?\n/);
  let previous = '';
  for (const [index, line] of lines.entries()) {
    const layout = findLayout(line, previous);
    if (layout !== undefined) return layout.read(lines.slice(index));
    previous = line;
  }
  return undefined;
}
