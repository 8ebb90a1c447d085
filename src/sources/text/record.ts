import { isSysmonProvider, PROCESS_CREATION, type SysmonEvent } from '../../event.js';
import { asAnyEvent, asSysmonEvent, readEventXml } from '../event-xml.js';
import { parseMessage, type RenderedEvent } from '../message.js';

/** What one record of a text log says, before it is known who wrote it. What the log does not say is undefined. */
export interface TextRecord {
  readonly eventId?: number | undefined;
  readonly provider?: string | undefined;
  readonly channel?: string | undefined;
  readonly computer?: string | undefined;
  readonly recordId?: string | undefined;
  readonly timeCreated?: string | undefined;
  /** The rendered message, indented as it was found. */
  readonly message?: string | undefined;
  /** The same event as XML. */
  readonly xml?: string | undefined;
}

/** `other`: not Sysmon's, or not wanted. `unreadable`: wanted, but nothing in it can be read. */
export type DecodedRecord = SysmonEvent | 'other' | 'unreadable';

const SYSMON_CHANNEL = /^(?:Sysmon|(?:Microsoft-Windows|Linux)-Sysmon\/Operational)$/i;

/**
 * The event a record stands for: its XML where that is whole and tells of the same process, else its message. Without `eventIds` every
 * event of Sysmon's is wanted.
 */
export function decodeRecord(record: TextRecord, eventIds?: ReadonlySet<number>): DecodedRecord {
  const isSysmons = isKnownSysmons(record);
  if (isSysmons === false || (record.eventId !== undefined && eventIds?.has(record.eventId) === false)) return 'other';
  const told = parseRecordMessage(record, isSysmons === true);
  const inXml = readXml(record, told);
  const rendered = inXml === undefined ? parseWholeMessage(record, told) : told;
  const event = inXml ?? (rendered && readMessage(record, rendered, isSysmons === true));
  if (event === undefined) {
    return isSysmons === true && record.eventId !== undefined ? 'unreadable' : 'other';
  }
  return eventIds?.has(event.eventId) === false ? 'other' : event;
}

/**
 * A record that is none of the wanted events, as far as it can be told: another event of Sysmon's, the XML of another provider's, or its
 * headings with `Message` as its only field. Undefined where not even its id is there.
 */
export function decodeOtherRecord(record: TextRecord): SysmonEvent | undefined {
  const sysmons = decodeRecord(record);
  if (typeof sysmons !== 'string') return sysmons;
  const xml = record.xml === undefined ? undefined : readEventXml(record.xml);
  const event = xml === undefined || xml.isCut ? undefined : asAnyEvent(xml);
  if (event !== undefined) return event;
  const { eventId, recordId, provider, channel, computer, timeCreated, message = '' } = record;
  if (eventId === undefined) return undefined;
  const text = message.trim();
  const data = new Map(text === '' ? [] : [['Message', text] as const]);
  return { eventId, recordId, provider, channel, computer, timeCreated, data };
}

/** The number of an event as text, or undefined if it is none. Tools that know but one kind of number write it with a fraction. */
export function eventIdOf(text: string | undefined): number | undefined {
  const digits = text?.trim() ?? '';
  return /^\d{1,5}(?:\.0{1,6})?$/.test(digits) ? Number(digits) : undefined;
}

/** Whether provider or channel are Sysmon's; undefined where the record has neither. Forwarders rename the provider, not the channel. */
function isKnownSysmons({ provider, channel }: TextRecord): boolean | undefined {
  if (provider === undefined && channel === undefined) return undefined;
  return (
    (provider !== undefined && isSysmonProvider(provider)) || (channel !== undefined && SYSMON_CHANNEL.test(channel))
  );
}

function parseRecordMessage({ message, eventId }: TextRecord, isSysmons: boolean): RenderedEvent | undefined {
  if (message === undefined) return undefined;
  const rendered = parseMessage(message);
  if (rendered !== undefined || !isSysmons || eventId !== PROCESS_CREATION) return rendered;
  // Some Snare agents write a title of their own (`Sysmon  Event ID 1 - Process creation:`); the labels below it are Sysmon's.
  const firstLabel = /(?:[ \t]{2}|\s)(?:RuleName|UtcTime):/.exec(message);
  return firstLabel === null ? undefined : parseMessage(`Process Create:${message.slice(firstLabel.index)}`);
}

/** Where the XML is none of this event, it may be a line of the message: a command line can hold anything. */
function parseWholeMessage(record: TextRecord, told: RenderedEvent | undefined): RenderedEvent | undefined {
  const { message, xml } = record;
  if (told === undefined || message === undefined || xml === undefined) return told;
  const whole = parseMessage(`${message}\n${xml}`);
  return whole !== undefined && whole.fields.size > told.fields.size ? whole : told;
}

function readXml({ xml }: TextRecord, rendered: RenderedEvent | undefined): SysmonEvent | undefined {
  const event = xml === undefined ? undefined : readEventXml(xml);
  if (event === undefined || (event.isCut && rendered !== undefined)) return undefined;
  const renderedGuid = rendered?.fields.get('ProcessGuid');
  // A command line can hold XML, but not the identity that its process will get.
  const isSameProcess =
    renderedGuid === undefined || event.data.get('ProcessGuid')?.toLowerCase() === renderedGuid.toLowerCase();
  return isSameProcess ? asSysmonEvent(event) : undefined;
}

function readMessage(record: TextRecord, rendered: RenderedEvent, isSysmons: boolean): SysmonEvent | undefined {
  const { eventId, fields } = rendered;
  if (record.eventId !== undefined && record.eventId !== eventId) return undefined;
  // Every event of Sysmon's says when; without provider and channel that is what tells it from others with such a title.
  if (!isSysmons && !fields.has('UtcTime')) return undefined;
  const { recordId, channel, computer, timeCreated } = record;
  const provider = record.provider !== undefined && isSysmonProvider(record.provider) ? record.provider : undefined;
  return { eventId, recordId, provider, channel, computer, timeCreated, data: fields };
}
