/**
 * Text from logs and from VirusTotal made harmless for a terminal and for lines in a log file: control characters (C0, C1,
 * so also line feeds and ESC), bidirectional and invisible formatting characters and lone surrogates become visible `\u{…}`.
 * Everything else stays as it is.
 */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

// Cc, Cs, line and paragraph separators, and every Cf (bidi controls, zero width characters, BOM, tags), which can reorder or hide text.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Cf}\u2028\u2029]/gu;

/** Cuts text to `maxCharacters`, marking the cut. */
export function shorten(text: string, maxCharacters: number): string {
  return text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters - 1)}…`;
}

/** Colours for people; each is the identity where the output is no terminal or `NO_COLOR` is set. */
export interface Palette {
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly green: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
}

/** The palette for one output. */
export function palette(hasColour: boolean): Palette {
  const style = (open: number, close: number) => (text: string) =>
    hasColour ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return { red: style(31, 39), yellow: style(33, 39), green: style(32, 39), dim: style(2, 22), bold: style(1, 22) };
}

/** `1 h 5 min`, `42 s`: a duration for people, two units at most. */
export function describeDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `1.4 MB`: a size for people. */
export function describeBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ''}`;
}
