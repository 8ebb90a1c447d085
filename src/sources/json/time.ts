/** From this number on, seconds since 1970 would lie in the year 5138: it counts milliseconds. */
const FIRST_MILLISECONDS = 1e11;

/** Date and time with blank or `T` between, `-` or `/` in the date, with any fraction and zone. */
const DATE_TIME = /^(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,9})?\s*(Z|[+-]\d\d:?\d\d)?$/;

/**
 * A time as tools write it, in ISO 8601 UTC with the precision it came in: dates with or without zone, seconds or milliseconds since
 * 1970, PowerShell's `/Date(…)/`. Undefined for anything else, and for a time without zone unless `isUtc` says that it is UTC.
 */
export function toIsoUtc(text: string, isUtc: boolean): string | undefined {
  // Splunk extracts attributes with their quotes.
  const bare = text.trim().replace(/^'(.*)'$/, '$1');
  const ticks = /^\/Date\((-?\d+)\)\/$/.exec(bare)?.[1];
  if (ticks !== undefined) return isoOf(Number(ticks));
  if (/^\d{9,13}(?:\.\d+)?$/.test(bare)) {
    const since1970 = Number(bare);
    return isoOf(since1970 < FIRST_MILLISECONDS ? since1970 * 1000 : since1970);
  }
  const [, year, month, day, time, fraction = '', zone] = DATE_TIME.exec(bare) ?? [];
  if (year === undefined) return undefined;
  // fluentd writes slashes, and UTC.
  if (zone === undefined && !isUtc && !bare.includes('/')) return undefined;
  const isZero = zone === undefined || /^(?:Z|[+-]00:?00)$/.test(zone);
  if (isZero) return isoOf(Date.parse(`${year}-${month}-${day}T${time}Z`))?.replace('.000Z', `${fraction}Z`);
  const offset = zone.includes(':') ? zone : `${zone.slice(0, 3)}:${zone.slice(3)}`;
  return isoOf(Date.parse(`${year}-${month}-${day}T${time}${offset}`))?.replace('.000Z', `${fraction}Z`);
}

function isoOf(milliseconds: number): string | undefined {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
