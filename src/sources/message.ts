/** The text Windows renders of a Sysmon event, read back. Labels are English on every Windows: Sysmon's manifest has no other strings. */
export interface RenderedEvent {
  readonly eventId: number;
  /** By Sysmon's own field names, in the message's order; empty values are kept. */
  readonly fields: ReadonlyMap<string, string>;
}

interface Template {
  readonly eventId: number;
  /** Field labels in the order of the message; those of all versions of Sysmon. */
  readonly labels: readonly string[];
}

/** What a line break has become on the way: it stayed one, or a forwarder made two blanks or one of it. */
type Separator = 'line' | 'two-blanks' | 'blank';

/** A place that reads like a label. */
interface LabelPlace {
  /** Index into the template's labels. */
  readonly order: number;
  /** Where the value before it ends. */
  readonly start: number;
  /** Where its own value starts. */
  readonly valueStart: number;
}

/** From this indentation on, lines are those of PowerShell's Format-List (15 or 23 blanks), which wraps at the console's width. */
const MIN_FORMAT_LIST_INDENT = 8;
const INDENTED_LINE = new RegExp(`\\n[^\\S\\n]{${MIN_FORMAT_LIST_INDENT}}`);

const FILE_TAIL = 'ProcessGuid ProcessId User Image TargetFilename Hashes IsExecutable Archived User';

/** Titles and labels by event id, from Sysmon's manifests (schema 1.0 to 4.90); the other titles of one event follow a bar. */
const TEMPLATES: ReadonlyMap<string, Template> = new Map(
  [
    template(
      1,
      'Process Create|Event SYSMONEVENT_CREATE_PROCESS',
      'ProcessGuid ProcessId Image FileVersion Description Product Company OriginalFileName CommandLine CurrentDirectory User ' +
        'LogonGuid LogonId TerminalSessionId IntegrityLevel HashType Hash Hashes ParentProcessGuid ParentProcessId ParentImage ' +
        'ParentCommandLine ParentUser',
    ),
    template(
      2,
      'File creation time changed|Event SYSMONEVENT_FILE_TIME',
      'ProcessGuid ProcessId Image TargetFilename CreationUtcTime PreviousCreationUtcTime User',
    ),
    template(
      3,
      'Network connection detected|Event SYSMONEVENT_NETWORK_CONNECT',
      'ProcessGuid ProcessId Image User Protocol Initiated SourceIsIpv6 SourceIp SourceHostname SourcePort SourcePortName ' +
        'DestinationIsIpv6 DestinationIp DestinationHostname DestinationPort DestinationPortName',
    ),
    template(4, 'Sysmon service state changed|Event SYSMONEVENT_SERVICE_STATE_CHANGE', 'State Version SchemaVersion'),
    template(5, 'Process terminated|Event SYSMONEVENT_PROCESS_TERMINATE', 'ProcessGuid ProcessId Image User'),
    template(6, 'Driver loaded', 'ImageLoaded Hashes Signed Signature SignatureStatus'),
    template(
      7,
      'Image loaded',
      'ProcessGuid ProcessId Image ImageLoaded FileVersion Description Product Company OriginalFileName Hashes Signed Signature ' +
        'SignatureStatus User',
    ),
    template(
      8,
      'CreateRemoteThread detected',
      'SourceProcessGuid SourceProcessId SourceImage TargetProcessGuid TargetProcessId TargetImage NewThreadId StartAddress ' +
        'StartModule StartFunction SourceUser TargetUser',
    ),
    template(9, 'RawAccessRead detected|Event SYSMONEVENT_RAWACCESS_READ', 'ProcessGuid ProcessId Image Device User'),
    template(
      10,
      'Process accessed',
      'SourceProcessGUID SourceProcessId SourceThreadId SourceImage TargetProcessGUID TargetProcessId TargetImage GrantedAccess ' +
        'CallTrace SourceUser TargetUser',
    ),
    template(
      11,
      'File created|Event SYSMONEVENT_FILE_CREATE',
      'ProcessGuid ProcessId Image TargetFilename CreationUtcTime User',
    ),
    template(12, 'Registry object added or deleted', 'ProcessGuid ProcessId Image TargetObject User'),
    template(13, 'Registry value set', 'ProcessGuid ProcessId Image TargetObject Details User'),
    template(14, 'Registry object renamed', 'ProcessGuid ProcessId Image TargetObject NewName User'),
    template(
      15,
      'File stream created',
      'ProcessGuid ProcessId Image TargetFilename CreationUtcTime Hash Contents User',
    ),
    template(
      16,
      'Sysmon config state changed|Event SYSMONEVENT_SERVICE_CONFIGURATION_CHANGE',
      'Configuration ConfigurationFileHash',
    ),
    template(17, 'Pipe Created', 'ProcessGuid ProcessId PipeName Image User'),
    template(18, 'Pipe Connected', 'ProcessGuid ProcessId PipeName Image User'),
    template(19, 'WmiEventFilter activity detected', 'Operation User EventNamespace Name Query'),
    template(20, 'WmiEventConsumer activity detected', 'Operation User Name Type Destination'),
    template(21, 'WmiEventConsumerToFilter activity detected', 'Operation User Consumer Filter'),
    template(22, 'Dns query', 'ProcessGuid ProcessId QueryName QueryStatus QueryResults Image User'),
    template(23, 'File Delete|File Delete archived|Event SYSMONEVENT_FILE_DELETE', FILE_TAIL),
    template(24, 'Clipboard changed', 'ProcessGuid ProcessId Image Session ClientInfo Hashes Archived User'),
    template(25, 'Process Tampering', 'ProcessGuid ProcessId Image Type User'),
    template(26, 'File Delete logged', FILE_TAIL),
    template(27, 'File Block Executable', FILE_TAIL),
    template(28, 'File Block Shredding', FILE_TAIL),
    template(29, 'File Executable Detected', FILE_TAIL),
    template(255, 'Error report', 'ID Description'),
  ].flat(),
);

const LABEL_PATTERNS: ReadonlyMap<Separator, string> = new Map([
  ['line', '\\n[ \\t]*'],
  ['two-blanks', '[ \\t]{2}'],
  ['blank', '[ \\t]'],
]);

/** A title is the first thing in a message; the longest is not half as long. */
const MAX_TITLE_LENGTH = 80;

/** Up to the first label that contains this, a message holds only what Sysmon itself wrote. */
const FIRST_FOREIGN_LABEL = 'Image';

/** The labels whose value decides which file is judged; no blank belongs in it, whatever wrapped it. */
const HASH_LABELS: ReadonlySet<string> = new Set(['Hashes', 'Hash', 'HashType']);

/**
 * The fields of a rendered process creation, or undefined if `message` is none.
 * Where attacker-written text (a command line) imitates labels so that the place of the hash cannot be told for sure, the value
 * it stands in takes the rest of the message: no field is lost, and no hash is invented.
 */
export function parseProcessCreationMessage(message: string): ReadonlyMap<string, string> | undefined {
  const rendered = parseMessage(message);
  return rendered?.eventId === 1 ? rendered.fields : undefined;
}

/**
 * Reads the rendered text of one of Sysmon's events, with its line breaks as Windows wrote them (CRLF, LF), made to blanks by a
 * forwarder, or wrapped and indented by Format-List: hand indented text over with its indentation, it tells wrapped lines from lines
 * of the value. Undefined for anything else, and without any field.
 */
export function parseMessage(message: string): RenderedEvent | undefined {
  const text = message.trimStart();
  const titled = findTemplate(text);
  if (titled === undefined) return undefined;
  const { template: found, bodyStart } = titled;
  const blanks = /^[ \t]*\r?\n?/.exec(text.slice(bodyStart, bodyStart + MAX_TITLE_LENGTH))?.[0] ?? '';
  const separator: Separator = blanks.includes('\n') ? 'line' : blanks.length > 1 ? 'two-blanks' : 'blank';
  const body = separator === 'line' ? unwrap(text.slice(bodyStart), found.labels) : text.slice(bodyStart);
  const places = chooseLabels(findLabels(body, found.labels, separator), found.labels);
  if (places.length === 0) return undefined;
  const fields = new Map<string, string>();
  for (const [index, place] of places.entries()) {
    const label = found.labels[place.order];
    if (label === undefined) continue;
    const next = places[index + 1];
    const value = readValue(body, place.valueStart, next?.start);
    fields.set(label, HASH_LABELS.has(label) ? value.replace(/\s+/g, '') : value);
  }
  return { eventId: found.eventId, fields };
}

/**
 * Whether a line is the title of one of Sysmon's messages and nothing else (sysmonLogView's `Event SYSMONEVENT_…` too): where messages
 * stand one after another, it starts the next.
 */
export function isMessageTitle(line: string): boolean {
  const title = line.trimEnd();
  return title.length <= MAX_TITLE_LENGTH && findTemplate(title)?.bodyStart === title.length;
}

function template(eventId: number, titles: string, labels: string): [string, Template][] {
  const ordered = ['RuleName', 'EventType', 'UtcTime', ...labels.split(' ')];
  return titles.split('|').map((title) => [title.toLowerCase(), { eventId, labels: ordered }]);
}

/** The labels of an event's messages, and how they stand there. */
const LABELS: ReadonlyMap<number, readonly (readonly [label: string, mark: string])[]> = new Map(
  [...TEMPLATES.values()].map(({ eventId, labels }) => [eventId, labels.map((label) => [label, `${label}:`])]),
);

/**
 * Whether reading a message of this event can give a field that is wanted. Reading costs many times as much, and most messages only
 * repeat what stands beside them.
 */
export function mayTell(message: string, eventId: number, isWanted: (field: string) => boolean): boolean {
  const wanted = LABELS.get(eventId)?.filter(([label]) => isWanted(label)) ?? [];
  // Where lines are wrapped, labels may be.
  return wanted.some(([, mark]) => message.includes(mark)) || (wanted.length > 0 && INDENTED_LINE.test(message));
}

function findTemplate(text: string): { readonly template: Template; readonly bodyStart: number } | undefined {
  const title = /^(Event SYSMONEVENT_[A-Z_]+|[A-Za-z ]+):?/.exec(text.slice(0, MAX_TITLE_LENGTH));
  if (title?.[1] === undefined) return undefined;
  const found = TEMPLATES.get(title[1].trimEnd().toLowerCase());
  // Only sysmonLogView writes a title without a colon.
  if (found === undefined || (!title[0].endsWith(':') && !title[0].startsWith('Event '))) return undefined;
  return { template: found, bodyStart: title[0].length };
}

/** Undoes Format-List: indentation goes, and lines that start with no label are joined to the one before. */
function unwrap(body: string, labels: readonly string[]): string {
  const lines = body.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  const first = lines.find((line) => line.trim() !== '');
  const indent = first === undefined ? 0 : first.length - first.trimStart().length;
  if (indent < MIN_FORMAT_LIST_INDENT) return lines.join('\n');
  const startsWithLabel = new RegExp(`^\\s*(?:${labels.join('|')}):`);
  const width = lines.reduce((longest, line) => Math.max(longest, line.length), 0);
  let unwrapped = '';
  let previous = '';
  for (const line of lines) {
    const content = line.slice(Math.min(indent, line.length - line.trimStart().length));
    if (startsWithLabel.test(line) || unwrapped === '') {
      unwrapped += `\n${content}`;
    } else {
      // A line is broken at a blank where there is one, and only there shorter than the console; editors trim that blank.
      unwrapped += previous.length < width && !previous.endsWith(' ') && content !== '' ? ` ${content}` : content;
    }
    previous = line;
  }
  return unwrapped;
}

function findLabels(body: string, labels: readonly string[], separator: Separator): LabelPlace[] {
  const pattern = new RegExp(`${LABEL_PATTERNS.get(separator)}(${labels.join('|')}):`, 'g');
  const places: LabelPlace[] = [];
  for (const match of body.matchAll(pattern)) {
    const label = match[1] ?? '';
    const valueStart = match.index + match[0].length;
    // A label may stand at two places of the order (User): both are tried, and the order decides.
    for (let order = labels.indexOf(label); order >= 0; order = labels.indexOf(label, order + 1)) {
      places.push({ order, start: match.index, valueStart });
    }
  }
  return places;
}

/**
 * Of all places that read like labels, the longest chain in the template's order: what a value merely quotes stands outside that
 * order, or makes the choice ambiguous. Of several longest chains the earliest is taken, unless they disagree about the hash: then
 * the chain ends before the first label they disagree about that stands behind text of others.
 */
function chooseLabels(places: readonly LabelPlace[], labels: readonly string[]): LabelPlace[] {
  const depths = chainLengths(places, labels.length);
  const heights = chainLengths(
    places.toReversed().map((place) => ({ ...place, order: labels.length - 1 - place.order, start: -place.start })),
    labels.length,
  ).toReversed();
  const longest = depths.reduce((most, depth) => Math.max(most, depth), 0);
  const rivals = Array.from({ length: longest }, (): LabelPlace[] => []);
  for (const [index, place] of places.entries()) {
    const depth = depths[index] ?? 0;
    if (depth + (heights[index] ?? 0) - 1 === longest) rivals[depth - 1]?.push(place);
  }
  const isHashAmbiguous = rivals.some(
    (atDepth) => atDepth.length > 1 && atDepth.some(({ order }) => HASH_LABELS.has(labels[order] ?? '')),
  );
  const firstForeign = labels.findIndex((label) => label.includes(FIRST_FOREIGN_LABEL));
  const chosen: LabelPlace[] = [];
  for (const atDepth of rivals) {
    if (isHashAmbiguous && atDepth.length > 1 && atDepth.every(({ order }) => order > firstForeign)) break;
    const previous = chosen.at(-1);
    const next = atDepth.find(
      ({ order, start }) => previous === undefined || (order > previous.order && start > previous.start),
    );
    if (next !== undefined) chosen.push(next);
  }
  return chosen;
}

/** For each place the length of the longest chain that ends there, with orders and starts both growing. */
function chainLengths(places: readonly LabelPlace[], labelCount: number): number[] {
  const longestByOrder = new Array<number>(labelCount).fill(0);
  const lengths: number[] = [];
  let pending: { readonly start: number; readonly order: number; readonly length: number }[] = [];
  for (const { order, start } of places) {
    // Places that share a start are two readings of one label, never two links of a chain.
    if (pending[0] !== undefined && pending[0].start !== start) {
      for (const link of pending) longestByOrder[link.order] = Math.max(longestByOrder[link.order] ?? 0, link.length);
      pending = [];
    }
    let length = 0;
    for (let before = 0; before < order; before++) length = Math.max(length, longestByOrder[before] ?? 0);
    lengths.push(length + 1);
    pending.push({ start, order, length: length + 1 });
  }
  return lengths;
}

function readValue(body: string, start: number, end: number | undefined): string {
  const value = body.slice(body[start] === ' ' ? start + 1 : start, Math.max(start, end ?? body.length));
  // What follows the last value is the message's own end; a blank that ends a command line belongs to it.
  if (end !== undefined) return value;
  const trimmed = value.trimEnd();
  return value.includes('\n', trimmed.length) ? trimmed : value;
}
