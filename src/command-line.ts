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

/**
 * All repetition is bounded, so that no line takes more than linear time. A long run is searched from where it begins only: tried
 * from each of its letters, that one pattern took as long as all others.
 */
const CUES: readonly (readonly [CommandCue, RegExp])[] = [
  [
    'encoded',
    /\s[-/–]e(c|nc?o?d?e?d?c?o?m?m?a?n?d?)?\s{1,9}["']?[a-z0-9+/=]{24}|frombase64string|(?<![a-z0-9+/])[a-z0-9+/]{180}/i,
  ],
  [
    'download',
    /download(string|file|data)|invoke-(webrequest|restmethod)|\b(iwr|irm|wget|curl(\.exe)?)\b.{1,80}(https?|ftp):\/\/|start-bitstransfer|\/transfer\b.{1,120}https?:\/\/|\/addfile\b|urlcache|webclient/i,
  ],
  [
    'remote_script',
    /(\/i|\/format|script|javascript|vbscript):["']?(https?:|\\\\|\.\.|["'(])|mshta.{1,9}https?:|scrobj/i,
  ],
  [
    'obfuscated',
    /\biex\b|invoke-expression|-bxor|-join\b|\[char\]|reflection\.assembly|\^[a-z]\^|[a-z]\^[a-z].{0,9}\^|[`'"]\+["'`]|gzipstream|%[a-z]{3,12}:~\d/i,
  ],
  [
    'hidden_window',
    /-w(in(dowstyle)?)?\s{1,4}(h(id(den)?)?|1)\b|-nop(rofile)?\b.{0,60}-(w|e|c|i)|-e(p|xec(utionpolicy)?)\s{1,4}(bypass|unrestricted)/i,
  ],
  [
    'secrets',
    /\blsass\b|\bntds(\.dit|util)?\b|minidump|comsvcs|save\s{1,4}"?hklm\\(sam|system|security)|\\config\\sam\b|vaultcmd|\\login data\b|\bcpassword\b/i,
  ],
  [
    'destruction',
    /(vssadmin|shadowcopy|shadows|wbadmin|catalog|usn|deletejournal).{1,40}\bdelete|\bdelete\b.{1,20}(shadow|catalog|backup)|recoveryenabled|ignoreallfailures|wevtutil.{0,12}\s(cl|clear-log)\b|clear-eventlog|resize\s{1,4}shadowstorage/i,
  ],
  [
    'defences',
    /(set|add)-mppreference|disablerealtime|disableantispyware|amsi(enable|utils|initfailed)|(stop|disable|delete|kill)\b.{1,40}(windefend|mpssvc|sense|sysmon|eventlog|mssense)|advfirewall.{1,60}(state\s{1,3}off|add\s{1,3}rule)|unload\b.{1,12}sysmon/i,
  ],
  [
    'persistence',
    /schtasks.{1,12}\/create|\bsc(\.exe)?\s{1,4}(\\\\\S{1,60}\s{1,4})?(create|config)\b|\\currentversion\\run(once)?\b|image file execution|\\winlogon\b.{1,40}(shell|userinit)|userinitmprlogonscript|new-service\b/i,
  ],
  [
    'writable_code',
    /\\(appdata|temp|tmp|users\\public|programdata|downloads|perflogs)\\[^"*?<>|]{0,160}\.(dll|cpl|ocx|sct|jse?|vbs|vbe|wsf|hta|ps1|bat|cmd|tmp|dat|bin|xsl|sys|msi)\b/i,
  ],
  [
    'tunnel',
    /\s-[a-z]{0,3}[lrd]\s{0,2}([\w.]{1,40}:)?\d{2,5}(:[\w.-]{1,60}:\d{2,5})?\b|\bsocks[45]?\b|:\d{2,5}:[\w.-]{1,60}:\d{2,5}/i,
  ],
  [
    'address',
    /(https?:\/\/|\\\\|\s|=|@)(?!0\.0\.0\.0|127\.|255\.)([12]?\d?\d\.){3}[12]?\d?\d(?=[:/\\\s"']|$)(?![.\d])/,
  ],
  ['account', /\bnet1?(\.exe)?\s{1,4}(user|localgroup|group)\b.{1,80}\/add|\/(rp|pass(word)?):\S/i],
  // How archives are packed for carrying off, and carried in past scanners: `a -pSECRET`, `e -pSECRET`, `-hpSECRET`.
  ['archive_password', /\s[aeux]\s{1,4}(\S{1,260}\s{1,4}){0,8}"?-h?p\S{3}/i],
];

/** Another program's shell as an argument: what relays, exploits and installers of services do. */
const SHELL_ARGUMENT = /[\s"'=](\S{0,120}\\)?(cmd|powershell|pwsh)(\.exe)?["']?(\s|$)/i;
const SHELLS = /^("([^"]{0,260}\\)?|(\S{0,260}\\)?)(cmd|powershell|pwsh|powershell_ise)(\.exe)?"?(\s|$)/i;

/** What both need; most lines do not have it. */
const SHELL_NAME = /cmd|powershell|pwsh/i;

const NOTHING: readonly CommandCue[] = [];

/** The cues in one command line, each once, in a fixed order. */
export function cuesOf(commandLine: string): readonly CommandCue[] {
  // A bare path has no arguments to judge; most service and desktop programs are started so.
  if (!commandLine.includes(' ')) return NOTHING;
  const line = commandLine.length > MAX_LENGTH ? commandLine.slice(0, MAX_LENGTH) : commandLine;
  const cues: CommandCue[] = [];
  for (const [cue, pattern] of CUES) if (pattern.test(line)) cues.push(cue);
  if (SHELL_NAME.test(line) && !SHELLS.test(line)) {
    const end = line.startsWith('"') ? line.indexOf('"', 1) + 1 : line.indexOf(' ');
    if (SHELL_ARGUMENT.test(line.slice(Math.max(0, end)))) cues.push('starts_shell');
  }
  return cues.length === 0 ? NOTHING : cues;
}
