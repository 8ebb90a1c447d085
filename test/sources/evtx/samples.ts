import type { EvtxEvent, EvtxField, EvtxValue } from '../../../src/demo/evtx-writer.js';

export const SYSMON_GUID = '{5770385F-C22A-43E0-BF4C-06F5698FFBD9}';

export function text(value: string): EvtxValue {
  return { type: 'string', value };
}

export function field(name: string, value: EvtxValue | string): EvtxField {
  return { name, value: typeof value === 'string' ? text(value) : value };
}

export const SHA1 = '0123456789abcdef0123456789abcdef01234567';
export const MD5 = 'fedcba9876543210fedcba9876543210';
export const SHA256 = `${SHA1}0123456789abcdef01234567`;

export const HASHES = `SHA1=${SHA1.toUpperCase()},MD5=${MD5.toUpperCase()},SHA256=${SHA256.toUpperCase()},IMPHASH=${'0'.repeat(32)}`;

/** A process creation; `overrides` replace any part of it. */
export function processCreation(overrides: Partial<EvtxEvent> = {}): EvtxEvent {
  return {
    provider: 'Microsoft-Windows-Sysmon',
    providerGuid: SYSMON_GUID,
    eventId: 1,
    recordId: 27_765n,
    timeCreated: new Date('2018-02-05T07:08:58.059Z'),
    channel: 'Microsoft-Windows-Sysmon/Operational',
    computer: 'HOST-A',
    fields: [
      field('RuleName', ''),
      field('UtcTime', '2018-02-05 07:08:58.058'),
      field('ProcessGuid', { type: 'guid', value: '{B669E388-4A98-5EE0-1704-00000000030F}' }),
      field('ProcessId', { type: 'uint32', value: 4_294_967_295 }),
      field('Image', 'C:\\Windows\\System32\\cmd.exe'),
      field('CommandLine', '"cmd.exe" /c echo <&>'),
      field('LogonId', { type: 'hexInt64', value: 0x3e7n }),
      field('Hashes', HASHES),
    ],
    ...overrides,
  };
}

/** A process creation with no other fields than these. */
export function withFields(...fields: readonly EvtxField[]): EvtxEvent {
  return processCreation({ fields });
}
