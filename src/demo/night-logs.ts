import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type EvtxField, type EvtxValue, eventRecord, writeEvtx } from './evtx-writer.js';
import { nxlogLine, winlogbeatLine } from './json-logs.js';
import type { Night, NightEvent } from './night.js';

const PROVIDER = 'Microsoft-Windows-Sysmon';
const PROVIDER_GUID = '{5770385F-C22A-43E0-BF4C-06F5698FFBD9}';
const CHANNEL = 'Microsoft-Windows-Sysmon/Operational';

const GUID_FIELDS: ReadonlySet<string> = new Set(['ProcessGuid', 'ParentProcessGuid', 'LogonGuid']);
const UINT32_FIELDS: ReadonlySet<string> = new Set(['ProcessId', 'ParentProcessId', 'TerminalSessionId']);
const UINT16_FIELDS: ReadonlySet<string> = new Set(['SourcePort', 'DestinationPort']);
const BOOLEAN_FIELDS: ReadonlySet<string> = new Set(['Initiated', 'SourceIsIpv6', 'DestinationIsIpv6']);

/** The types are those of Sysmon's manifest. */
function evtxValue(name: string, value: string): EvtxValue {
  if (GUID_FIELDS.has(name)) return { type: 'guid', value };
  if (UINT32_FIELDS.has(name)) return { type: 'uint32', value: Number(value) };
  if (UINT16_FIELDS.has(name)) return { type: 'uint16', value: Number(value) };
  if (BOOLEAN_FIELDS.has(name)) return { type: 'boolean', value: value === 'true' };
  if (name === 'LogonId') return { type: 'hexInt64', value: BigInt(value) };
  return { type: 'string', value };
}

/** The events as a `.evtx` file. */
export function evtxLog(events: readonly NightEvent[]): Buffer {
  return writeEvtx(
    events.map((event) =>
      eventRecord({
        provider: PROVIDER,
        providerGuid: PROVIDER_GUID,
        eventId: event.eventId,
        recordId: BigInt(event.recordId),
        timeCreated: event.time,
        channel: CHANNEL,
        computer: event.computer,
        fields: [...event.data].map(([name, value]): EvtxField => ({ name, value: evtxValue(name, value) })),
      }),
    ),
  );
}

/** Writes the night as a collector would have left it: a log for each machine, in the form its forwarder writes. Returns the file names. */
export async function writeNightLogs(night: Night, folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const of = (computer: string): NightEvent[] => night.events.filter((event) => event.computer.startsWith(computer));
  const logs: readonly (readonly [name: string, bytes: Buffer | string])[] = [
    ['DC-01.evtx', evtxLog(of('DC-01'))],
    ['SRV-FILE-01.nxlog.jsonl.gz', gzipSync(of('SRV-FILE-01').map(nxlogLine).join(''))],
    ['WS-DEV-11.winlogbeat.jsonl', of('WS-DEV-11').map(winlogbeatLine).join('')],
    ['WS-FIN-03.evtx', evtxLog(of('WS-FIN-03'))],
  ];
  for (const [name, bytes] of logs) await writeFile(join(folder, name), bytes);
  return logs.map(([name]) => name);
}
