import type { SysmonEvent } from '../event.js';

const UTC_TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z?$/;
/** Sysmon 1.x: `12/20/2014 2:29 PM`, UTC like its successors. */
const US_TIME = /^(\d{1,2})\/(\d{1,2})\/(\d{4}) (\d{1,2}):(\d\d)(?::(\d\d))? ([AP])M$/;

/** When an event happened: Sysmon's `UtcTime`, else when the record was written; undefined where neither can be read. */
export function timeOf(event: SysmonEvent): Date | undefined {
  const utcTime = event.data.get('UtcTime');
  return (utcTime === undefined ? undefined : parseTime(utcTime)) ?? parseTime(event.timeCreated ?? '');
}

function parseTime(text: string): Date | undefined {
  const utc = UTC_TIME.exec(text);
  if (utc !== null) return asDate(`${utc[1]}T${utc[2]}.${(utc[3] ?? '').slice(0, 3).padEnd(3, '0')}Z`);
  const us = US_TIME.exec(text);
  if (us === null) return undefined;
  const [, month = '', day = '', year = '', hour = '', minute = '', second = '0', half] = us;
  const hour24 = (Number(hour) % 12) + (half === 'P' ? 12 : 0);
  const pad = (digits: string | number): string => String(digits).padStart(2, '0');
  return asDate(`${year}-${pad(month)}-${pad(day)}T${pad(hour24)}:${minute}:${pad(second)}.000Z`);
}

function asDate(iso: string): Date | undefined {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
