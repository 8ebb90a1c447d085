/** What a command line shows that ordinary use seldom does. */
export type CommandCue =
  | 'encoded'
  | 'download'
  | 'remote_script'
  | 'obfuscated'
  | 'hidden_window'
  | 'secrets'
  | 'destruction'
  | 'defences'
  | 'persistence'
  | 'writable_code'
  | 'tunnel'
  | 'address'
  | 'starts_shell'
  | 'account'
  | 'archive_password';

/** Longer lines are judged by their start: repetition is cheap for whoever wrote them and not for us. Sysmon keeps up to 32 kB. */
const MAX_LENGTH = 8192;

/** A cue, what shows it, and of what length-three pieces every line that shows it has one (`HINTS`). */
type CueRule = readonly [cue: CommandCue, pattern: RegExp, hints: readonly string[]];

/**
 * All repetition is bounded, so that no line takes more than linear time. A long run is searched from where it begins only: tried
 * from each of its letters, that one pattern took as long as all others.
 */
export const CUES: readonly CueRule[] = [
  [
    'encoded',
    /\s[-/–]e(c|nc?o?d?e?d?c?o?m?m?a?n?d?)?\s{1,9}["']?[a-z0-9+/=]{24}|frombase64string|(?<![a-z0-9+/])[a-z0-9+/]{180}/i,
    [' -e', ' /e', 'omb'],
  ],
  [
    'download',
    /download(string|file|data)|invoke-(webrequest|restmethod)|\b(iwr|irm|wget|curl(\.exe)?)\b.{1,80}(https?|ftp):\/\/|start-bitstransfer|\/transfer\b.{1,120}https?:\/\/|\/addfile\b|urlcache|webclient/i,
    ['wnl', 'ke-', 'iwr', 'irm', 'wge', 'url', 't-b', '/tr', 'ddf', 'ebc'],
  ],
  [
    'remote_script',
    /(\/i|\/format|script|javascript|vbscript):["']?(https?:|\\\\|\.\.|["'(])|mshta.{1,9}https?:|scrobj/i,
    ['/i:', 'at:', 'pt:', 'sht', 'obj'],
  ],
  [
    'obfuscated',
    /\biex\b|invoke-expression|-bxor|-join\b|\[char\]|reflection\.assembly|\^[a-z]\^|[a-z]\^[a-z].{0,9}\^|[`'"]\+["'`]|gzipstream|%[a-z]{3,12}:~\d/i,
    ['iex', 'ke-', '-bx', '-jo', '[ch', 'n.a', 'gzi', ':~0'],
  ],
  [
    'hidden_window',
    /-w(in(dowstyle)?)?\s{1,4}(h(id(den)?)?|1)\b|-nop(rofile)?\b.{0,60}-(w|e|c|i)|-e(p|xec(utionpolicy)?)\s{1,4}(bypass|unrestricted)/i,
    ['-w ', '-wi', '-no', '-ep', '-ex'],
  ],
  [
    'secrets',
    /\blsass\b|\bntds(\.dit|util)?\b|minidump|comsvcs|save\s{1,4}"?hklm\\(sam|system|security)|\\config\\sam\b|vaultcmd|\\login data\b|\bcpassword\b/i,
    ['lsa', 'ntd', 'nid', 'msv', 'klm', 'g\\s', 'ltc', 'n d', 'cpa'],
  ],
  [
    'destruction',
    /(vssadmin|shadowcopy|shadows|wbadmin|catalog|usn|deletejournal).{1,40}\bdelete|\bdelete\b.{1,20}(shadow|catalog|backup)|recoveryenabled|ignoreallfailures|wevtutil.{0,12}\s(cl|clear-log)\b|clear-eventlog|resize\s{1,4}shadowstorage/i,
    ['let', 'yen', 'gno', 'vtu', 'r-e', 'wst'],
  ],
  [
    'defences',
    /(set|add)-mppreference|disablerealtime|disableantispyware|amsi(enable|utils|initfailed)|(stop|disable|delete|kill)\b.{1,40}(windefend|mpssvc|sense|sysmon|eventlog|mssense)|advfirewall.{1,60}(state\s{1,3}off|add\s{1,3}rule)|unload\b.{1,12}sysmon/i,
    ['mpp', 'ler', 'spy', 'ien', 'iut', 'iin', 'def', 'mps', 'nse', 'ysm', 'tlo', 'vfi'],
  ],
  [
    'persistence',
    /schtasks.{1,12}\/create|\bsc(\.exe)?\s{1,4}(\\\\\S{1,60}\s{1,4})?(create|config)\b|\\currentversion\\run(once)?\b|image file execution|\\winlogon\b.{1,40}(shell|userinit)|userinitmprlogonscript|new-service\b/i,
    ['cht', 'sc ', 'sc.', 'n\\r', 'e f', 'inl', 'mpr', 'w-s'],
  ],
  [
    'writable_code',
    /\\(appdata|temp|tmp|users\\public|programdata|downloads|perflogs)\\[^"*?<>|]{0,160}\.(dll|cpl|ocx|sct|jse?|vbs|vbe|wsf|hta|ps1|bat|cmd|tmp|dat|bin|xsl|sys|msi)\b/i,
    [
      '.dl',
      '.cp',
      '.oc',
      '.sc',
      '.js',
      '.vb',
      '.ws',
      '.ht',
      '.ps',
      '.ba',
      '.cm',
      '.tm',
      '.da',
      '.bi',
      '.xs',
      '.sy',
      '.ms',
    ],
  ],
  [
    'tunnel',
    /\s-[a-z]{0,3}[lrd]\s{0,2}([\w.]{1,40}:)?\d{2,5}(:[\w.-]{1,60}:\d{2,5})?\b|\bsocks[45]?\b|:\d{2,5}:[\w.-]{1,60}:\d{2,5}/i,
    ['ock', ':00'],
  ],
  [
    'address',
    /(https?:\/\/|\\\\|\s|=|@)(?!0\.0\.0\.0|127\.|255\.)([12]?\d?\d\.){3}[12]?\d?\d(?=[:/\\\s"']|$)(?![.\d])/,
    ['0.0'],
  ],
  [
    'account',
    /\bnet1?(\.exe)?\s{1,4}(user|localgroup|group)\b.{1,80}\/add|\/(rp|pass(word)?):\S/i,
    ['/ad', '/rp', '/pa'],
  ],
  // How archives are packed for carrying off, and carried in past scanners: `a -pSECRET`, `e -pSECRET`, `-hpSECRET`.
  ['archive_password', /\s[aeux]\s{1,4}(\S{1,260}\s{1,4}){0,8}"?-h?p\S{3}/i, [' a ', ' e ', ' u ', ' x ']],
];

/** Pieces that only `starts_shell` needs, and those of which `tunnel` needs one of each besides its own. */
const SHELL_HINTS = ['cmd', 'rsh', 'pws'];
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];

/** Characters in 32 kinds: a full stop, letters, digits, blanks, slashes, dashes, and the rest. */
const KIND_BITS = 5;
const [FULL_STOP, DIGIT, BLANK, SLASH, DASH, OTHER] = [0, 27, 28, 29, 30, 31] as const;

function kindOf(character: string): number {
  if (/[a-z]/i.test(character)) return (character.charCodeAt(0) | 0x20) - 0x60;
  if (/\d/.test(character)) return DIGIT;
  if (/\s/.test(character)) return BLANK;
  if (character === '.') return FULL_STOP;
  if (character === '/' || character === '\\') return SLASH;
  return character === '-' || character === '–' ? DASH : OTHER;
}

const ASCII_KINDS = Uint8Array.from({ length: 128 }, (_, code) => kindOf(String.fromCharCode(code)));

/**
 * Which cues a line may show, by any three kinds of characters in a row: a bit per rule of `CUES`, then that of shells, then the two of
 * tunnels. Most lines show no cue, and to look at each three once costs a tenth of what trying all patterns does.
 */
const HINTS = new Uint32Array(2 ** (3 * KIND_BITS));
const MAY_START_SHELL = 1 << CUES.length;
const HAS_SWITCH = MAY_START_SHELL << 1;
const HAS_DIGITS = MAY_START_SHELL << 2;

function placeOfHint(hint: string): number {
  return [...hint].reduce((place, character) => (place << KIND_BITS) | kindOf(character), 0);
}

for (const [rule, [, , hints]] of CUES.entries()) for (const hint of hints) addHint(hint, 1 << rule);
for (const hint of SHELL_HINTS) addHint(hint, MAY_START_SHELL);
for (const letter of LETTERS) addHint(` -${letter}`, HAS_SWITCH);
for (let kind = 0; kind <= OTHER; kind++) {
  const place = (kind << (2 * KIND_BITS)) | (DIGIT << KIND_BITS) | DIGIT;
  HINTS[place] = (HINTS[place] ?? 0) | HAS_DIGITS;
}

function addHint(hint: string, bits: number): void {
  const place = placeOfHint(hint);
  HINTS[place] = (HINTS[place] ?? 0) | bits;
}

/** A run of this length is encoded text, whatever its letters. */
const LONG_RUN = 180;
const ENCODED = 1 << CUES.findIndex(([cue]) => cue === 'encoded');
const OBFUSCATED = 1 << CUES.findIndex(([cue]) => cue === 'obfuscated');
const TUNNEL = 1 << CUES.findIndex(([cue]) => cue === 'tunnel');

/** What the pieces of a line allow. */
function hintsIn(line: string): number {
  let bits = 0;
  let place = 0;
  for (let at = 0; at < line.length; at++) {
    const code = line.charCodeAt(at);
    const kind = code < 128 ? (ASCII_KINDS[code] ?? OTHER) : kindOf(line.charAt(at));
    place = ((place << KIND_BITS) | kind) & (HINTS.length - 1);
    if (at >= 2) bits |= HINTS[place] ?? 0;
  }
  if (line.length >= LONG_RUN) bits |= ENCODED;
  if (line.includes('^') || line.includes('+')) bits |= OBFUSCATED;
  if ((bits & HAS_SWITCH) !== 0 && (bits & HAS_DIGITS) !== 0) bits |= TUNNEL;
  return bits;
}

/** Another program's shell as an argument: what relays, exploits and installers of services do. */
const SHELL_ARGUMENT = /[\s"'=](\S{0,120}\\)?(cmd|powershell|pwsh)(\.exe)?["']?(\s|$)/i;
const SHELLS = /^("([^"]{0,260}\\)?|(\S{0,260}\\)?)(cmd|powershell|pwsh|powershell_ise)(\.exe)?"?(\s|$)/i;

const NOTHING: readonly CommandCue[] = [];

/** The cues in one command line, each once, in a fixed order. */
export function cuesOf(commandLine: string): readonly CommandCue[] {
  // A bare path has no arguments to judge; most service and desktop programs are started so.
  if (!commandLine.includes(' ')) return NOTHING;
  const line = commandLine.length > MAX_LENGTH ? commandLine.slice(0, MAX_LENGTH) : commandLine;
  const hints = hintsIn(line);
  if (hints === 0) return NOTHING;
  const cues: CommandCue[] = [];
  let bit = 1;
  for (const [cue, pattern] of CUES) {
    if ((hints & bit) !== 0 && pattern.test(line)) cues.push(cue);
    bit <<= 1;
  }
  if ((hints & MAY_START_SHELL) !== 0 && !SHELLS.test(line)) {
    const end = line.startsWith('"') ? line.indexOf('"', 1) + 1 : line.indexOf(' ');
    if (SHELL_ARGUMENT.test(line.slice(Math.max(0, end)))) cues.push('starts_shell');
  }
  return cues.length === 0 ? NOTHING : cues;
}
