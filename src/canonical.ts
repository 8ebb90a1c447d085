import type { ByteWriter } from './byte-writer.js';
import type { SysmonEvent } from './event.js';

/**
 * The canonical form of a record that was not JSON, without its closing brace:
 * `{"EventID":1,"EventRecordID":…,"Provider":…,"Channel":…,"Computer":…,"TimeCreated":…,"EventData":{…}`.
 * Members the format does not carry are absent; lone surrogates are escaped, so the bytes are valid UTF-8 and valid JSON.
 */
export function writeCanonicalBody(event: SysmonEvent, out: ByteWriter): void {
  let body = `{"EventID":${event.eventId}`;
  // A record id has 64 bits; its digits are copied, since a JavaScript number would round them. JSON allows no zeros before them.
  const recordId = /^0*(\d{1,20})$/.exec(event.recordId ?? '')?.[1];
  if (recordId !== undefined) body += `,"EventRecordID":${recordId}`;
  if (event.provider !== undefined) body += `,"Provider":${JSON.stringify(event.provider)}`;
  if (event.channel !== undefined) body += `,"Channel":${JSON.stringify(event.channel)}`;
  if (event.computer !== undefined) body += `,"Computer":${JSON.stringify(event.computer)}`;
  if (event.timeCreated !== undefined) body += `,"TimeCreated":${JSON.stringify(event.timeCreated)}`;
  let separator = ',"EventData":{';
  for (const [name, value] of event.data) {
    body += `${separator}${JSON.stringify(name)}:${JSON.stringify(value)}`;
    separator = ',';
  }
  if (event.data.size === 0) body += separator;
  out.text(`${body}}`);
}
