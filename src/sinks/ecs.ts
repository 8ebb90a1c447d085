import type { ByteWriter } from '../byte-writer.js';
import { PROCESS_CREATION, type SysmonEvent } from '../event.js';
import { parseHashes } from '../hash.js';

/*
 * Records in the Elastic Common Schema, as Elastic's own Sysmon pipeline writes them (integrations, windows/sysmon_operational),
 * plus `threat.enrichments`, which ECS has for matches against what others know of an indicator.
 */

const ECS_VERSION = '8.17.0';
const ZERO_GUID = '{00000000-0000-0000-0000-000000000000}';

/** `event.category`, `event.type` and `event.action` by Sysmon's id. */
const EVENT_KINDS: ReadonlyMap<number, readonly [category: string, type: string, action: string]> = new Map([
  [1, ['process', 'start', 'Process creation']],
  [6, ['driver', 'start', 'Driver loaded']],
  [7, ['library', 'start', 'Image loaded']],
  [15, ['file', 'access', 'FileCreateStreamHash']],
  [23, ['file', 'deletion', 'FileDelete']],
  [26, ['file', 'deletion', 'FileDeleteDetected']],
  [27, ['file', 'creation', 'FileBlockExecutable']],
  [28, ['file', 'deletion', 'FileBlockShredding']],
  [29, ['file', 'creation', 'FileExecutableDetected']],
]);

type JsonObject = { readonly [name: string]: unknown };

/** Appends the event as an ECS document without its closing brace; the verdict's part follows it (`ecsThreat`). */
export function writeEcsBody(event: SysmonEvent, out: ByteWriter): void {
  out.text(JSON.stringify(ecsDocument(event)).slice(0, -1));
}

/**
 * `threat` with one enrichment, as JSON text, for a file VirusTotal knows; undefined for all others, since ECS enrichments are matches.
 * `member` is the parsed `virustotal` member.
 */
export function ecsThreat(event: { readonly eventId: number }, member: JsonObject): string | undefined {
  const key = member['lookup_key'];
  if (typeof member['detections'] !== 'number' || typeof key !== 'string') return undefined;
  const atomic = member[key];
  return JSON.stringify({
    enrichments: [
      {
        indicator: {
          type: 'file',
          provider: 'virustotal',
          name: member['sha256'] ?? atomic,
          description: member['label'],
          scanner_stats: member['detections'],
          first_seen: member['first_submission'],
          last_seen: member['last_analysis'],
          reference: member['link'],
          file: { hash: { md5: member['md5'], sha1: member['sha1'], sha256: member['sha256'] } },
        },
        matched: {
          atomic,
          field: `${hashParent(event.eventId)}.hash.${key}`,
          type: 'indicator_match_rule',
          occurred: member['checked_at'],
        },
      },
    ],
  });
}

function hashParent(eventId: number): string {
  if (eventId === PROCESS_CREATION) return 'process';
  return eventId === 7 ? 'dll' : 'file';
}

function ecsDocument(event: SysmonEvent): JsonObject {
  const data = new Map([...event.data].filter(([, value]) => value !== '' && value !== '-' && value !== ZERO_GUID));
  const take = (name: string): string | undefined => {
    const value = data.get(name);
    data.delete(name);
    return value;
  };
  const number = (text: string | undefined): number | undefined =>
    text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  const [category, type, action] = EVENT_KINDS.get(event.eventId) ?? [undefined, undefined, undefined];

  const utcTime = take('UtcTime');
  const hashesField = take('Hashes') ?? take('Hash') ?? '';
  const digests = parseHashes(hashesField);
  const imphash = /(?:^|,)\s*IMPHASH=([0-9a-f]{32})\s*(?:,|$)/i.exec(hashesField)?.[1]?.toLowerCase();
  const isRealHash = (hash: string | undefined): hash is string => hash !== undefined && !/^0+$/.test(hash);
  const real = (hash: string | undefined): string | undefined => (isRealHash(hash) ? hash : undefined);
  const hash = present({ md5: real(digests.md5), sha1: real(digests.sha1), sha256: real(digests.sha256) });
  const pe = present({
    imphash: real(imphash),
    original_file_name: take('OriginalFileName'),
    company: data.get('Company'),
    description: data.get('Description'),
    file_version: data.get('FileVersion'),
    product: data.get('Product'),
  });
  const isProcess = event.eventId === PROCESS_CREATION;
  const image = take('Image');
  const user = take('User');
  const [domain, userName] = user !== undefined && user.split('\\').length === 2 ? user.split('\\') : [undefined, user];
  const parentImage = take('ParentImage');
  const filePath = take('TargetFilename') ?? take('ImageLoaded');
  const file = isProcess ? undefined : present({ path: filePath, name: baseName(filePath), hash, pe });
  const ruleName = take('RuleName');
  const related = [digests.md5, digests.sha1, digests.sha256, imphash].filter(isRealHash);

  return present({
    '@timestamp': isoTime(utcTime) ?? event.timeCreated,
    ecs: { version: ECS_VERSION },
    event: present({
      kind: 'event',
      category: category === undefined ? undefined : [category],
      type: type === undefined ? undefined : [type],
      action,
      code: String(event.eventId),
      module: 'sysmon',
      provider: event.provider,
      created: event.timeCreated,
    }),
    host: event.computer === undefined ? undefined : { name: event.computer },
    rule: ruleName === undefined ? undefined : { name: ruleName },
    user: present({ domain, name: userName }),
    process: present({
      entity_id: take('ProcessGuid'),
      pid: number(take('ProcessId')),
      name: baseName(image),
      executable: image,
      command_line: take('CommandLine'),
      working_directory: take('CurrentDirectory'),
      hash: isProcess ? hash : undefined,
      pe: isProcess ? pe : undefined,
      parent: present({
        entity_id: take('ParentProcessGuid'),
        pid: number(take('ParentProcessId')),
        name: baseName(parentImage),
        executable: parentImage,
        command_line: take('ParentCommandLine'),
      }),
    }),
    ...(event.eventId === 7 ? { dll: file } : { file }),
    related: present({
      hash: related.length === 0 ? undefined : related,
      user: userName === undefined ? undefined : [userName],
    }),
    winlog: present({
      channel: event.channel,
      provider_name: event.provider,
      event_id: String(event.eventId),
      record_id: event.recordId,
      computer_name: event.computer,
      event_data: data.size === 0 ? undefined : Object.fromEntries(data),
    }),
  }) as JsonObject;
}

/** The object without members that are undefined, or undefined where none is left. */
function present(object: JsonObject): JsonObject | undefined {
  const members = Object.entries(object).filter(([, value]) => value !== undefined);
  return members.length === 0 ? undefined : Object.fromEntries(members);
}

function baseName(path: string | undefined): string | undefined {
  return path?.slice(Math.max(path.lastIndexOf('\\'), path.lastIndexOf('/')) + 1);
}

/** `2026-03-04 02:14:41.000` as ISO 8601; undefined for the other forms old versions wrote. */
function isoTime(utcTime: string | undefined): string | undefined {
  return utcTime !== undefined && /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/.test(utcTime)
    ? `${utcTime.replace(' ', 'T')}Z`
    : undefined;
}
