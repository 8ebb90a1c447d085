import { isSysmonProvider, PROCESS_CREATION, type SysmonEvent, type WantedRecords } from '../../event.js';
import { parseEventXml } from '../event-xml.js';
import { parseMessage, type RenderedEvent } from '../message.js';

/** What one record of a text or CSV log says, before it is known who wrote it. What the log does not say is undefined. */
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
  /** Values by Sysmon's field names, where the log has them apart; they go before those in the message. */
  readonly data?: ReadonlyMap<string, string> | undefined;
}

/** `other`: not Sysmon's, or not wanted. `unreadable`: wanted, but nothing in it can be read. */
export type DecodedRecord = SysmonEvent | 'other' | 'unreadable';

const SYSMON_CHANNEL = /^(?:Sysmon|(?:Microsoft-Windows|Linux)-Sysmon\/Operational)$/i;

/** The event a record stands for: its XML where that tells the same process, else its fields, with gaps filled from its message. */
export function decodeRecord(record: TextRecord, wanted: WantedRecords): DecodedRecord {
  const isSysmons = isKnownSysmons(record);
  if (isSysmons === false || (record.eventId !== undefined && !wanted.eventIds.has(record.eventId))) return 'other';
  const rendered = parseRecordMessage(record, isSysmons === true);
  const event = readXml(record, rendered) ?? readFields(record, rendered, isSysmons === true);
  if (event === undefined) {
    return isSysmons === true && record.eventId !== undefined ? 'unreadable' : 'other';
  }
  return wanted.eventIds.has(event.eventId) ? event : 'other';
}

/** The number of an event as text, or undefined if it is none. */
export function eventIdOf(text: string | undefined): number | undefined {
  const digits = text?.trim() ?? '';
  return /^\d{1,5}$/.test(digits) ? Number(digits) : undefined;
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

function readXml({ xml }: TextRecord, rendered: RenderedEvent | undefined): SysmonEvent | undefined {
  const event = xml === undefined ? undefined : parseEventXml(xml);
  const guid = event?.data.get('ProcessGuid');
  const renderedGuid = rendered?.fields.get('ProcessGuid');
  // A command line can hold XML, but not the identity that its process will get.
  const isSameProcess = renderedGuid === undefined || guid?.toLowerCase() === renderedGuid.toLowerCase();
  return isSameProcess ? event : undefined;
}

function readFields(
  record: TextRecord,
  rendered: RenderedEvent | undefined,
  isSysmons: boolean,
): SysmonEvent | undefined {
  const data = new Map(record.data);
  const eventId = record.eventId ?? rendered?.eventId ?? (isProcessCreation(data) ? PROCESS_CREATION : undefined);
  if (eventId === undefined) return undefined;
  if (rendered !== undefined && rendered.eventId === eventId) {
    for (const [name, value] of rendered.fields) if (!data.has(name)) data.set(name, value);
  }
  // Every event of Sysmon's says when; without provider and channel that is what tells it from others with the same id.
  const isRecognised = isSysmons ? data.size > 0 : data.has('UtcTime') || data.has('ProcessGuid');
  if (!isRecognised) return undefined;
  const { recordId, channel, computer, timeCreated } = record;
  const provider = record.provider !== undefined && isSysmonProvider(record.provider) ? record.provider : undefined;
  return { eventId, recordId, provider, channel, computer, timeCreated, data };
}

function isProcessCreation(data: ReadonlyMap<string, string>): boolean {
  return data.has('ProcessGuid') && data.has('Image') && (data.has('ParentProcessGuid') || data.has('ParentImage'));
}
