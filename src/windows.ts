/*
 * What is known of Windows' own programs and folders, and of classes of programs that start others. Windows' own names come from
 * the folders of a Windows 10 installation as they appear in event logs; no tool of attackers is named anywhere.
 */

/** The part after the last separator. */
export function baseName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('\\'), path.lastIndexOf('/')) + 1);
}

/** A file name without its last extension. */
export function stemOf(name: string): string {
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(0, dot) : name;
}

/**
 * A path in the one form that the tables here use: lower case, backslashes, drive C for `\SystemRoot` and device names, without
 * `\\?\` and `\??\`. A path of Linux keeps its slashes.
 */
export function normalizePath(path: string): string {
  let text = path.trim().toLowerCase();
  if (text.startsWith('/')) return text;
  text = text.replaceAll('/', '\\');
  text = text.replace(/^\\(\\\?|\?\?)\\(unc\\)?/, (_prefix, _kind, unc) => (unc === undefined ? '' : '\\\\'));
  return text
    .replace(/^\\systemroot\\/, 'c:\\windows\\')
    .replace(/^\\device\\harddiskvolume\d+\\/, 'c:\\')
    .replace(/\\{2,}/g, (run, offset: number) => (offset === 0 ? run : '\\'));
}

/**
 * What kind of place a program runs from. `windows`, `programs` and `packages` need an administrator to write to; `drop` are
 * places where programs do not belong, and most of them are writable for all.
 */
export type Place =
  | 'windows'
  | 'programs'
  | 'packages'
  | 'temporary'
  | 'drop'
  | 'downloads'
  | 'app-data'
  | 'program-data'
  | 'profile'
  | 'network'
  | 'elsewhere'
  | 'unknown';

/** First match wins. Folders below Windows that all users may write to: from the default permissions of Windows 10. */
const PLACES: readonly (readonly [RegExp, Place])[] = [
  [/^[a-z]:\\windows\\(servicetemp|systemtemp|temp)\\/, 'temporary'],
  [
    /^[a-z]:\\windows\\(tasks|tracing|debug|fonts|media|cursors|web|addins|help|pla|vss|registration\\crmlog|(system32|syswow64)\\(tasks|com\\dmp|fxstmp|spool\\(drivers\\color|printers|servers)|microsoft\\crypto\\rsa\\machinekeys))\\/,
    'drop',
  ],
  [/^[a-z]:\\windows\\(winsxs|systemapps|installer|softwaredistribution|uus|servicing|ccmcache|ccm)\\/, 'packages'],
  [/^[a-z]:\\windows\\/, 'windows'],
  [/^[a-z]:\\program files( \(x86\))?\\windowsapps\\/, 'packages'],
  [/^[a-z]:\\program files( \(x86\))?\\(common files\\)?[^\\]*$/, 'drop'],
  [/^[a-z]:\\(program files( \(x86\))?|progra~\d)\\/, 'programs'],
  [/^[a-z]:\\programdata\\(package cache|microsoft)\\/, 'packages'],
  [/^[a-z]:\\programdata\\[^\\]*$/, 'drop'],
  [/^[a-z]:\\programdata\\/, 'program-data'],
  [/^[a-z]:\\(users|documents and settings)\\(public|default|all users)\\/, 'drop'],
  [/^[a-z]:\\(\$recycle\.bin|recycler|perflogs|system volume information|recovery|boot|efi)\\/, 'drop'],
  [/\\(temp|tmp|temporary internet files|inetcache)(\\|[^\\]*\.tmp$)/, 'temporary'],
  [/^[a-z]:\\(users|documents and settings)\\[^\\]+\\appdata\\(local|locallow|roaming)\\[^\\]*$/, 'drop'],
  [/\\start menu\\programs\\startup\\/, 'drop'],
  [/^[a-z]:\\(users|documents and settings)\\[^\\]+\\(appdata|application data|local settings)\\/, 'app-data'],
  [
    /^[a-z]:\\(users|documents and settings)\\[^\\]+\\(onedrive[^\\]*\\)?(downloads|desktop|documents|my documents|pictures|music|videos|favorites|contacts|links|saved games|searches)\\/,
    'downloads',
  ],
  [/^[a-z]:\\(users|documents and settings)\\/, 'profile'],
  [/^\\\\.*\\(downloads|desktop)\\/, 'downloads'],
  [/^\\\\/, 'network'],
  [/^[a-z]:\\[^\\]*$/, 'drop'],
  [/^[a-z]:\\/, 'elsewhere'],
  [/^\/(tmp|var\/tmp|run\/user)\//, 'temporary'],
  [/^\/(dev\/shm|dev|var\/www|var\/spool|proc)\//, 'drop'],
  [/^\/(usr|bin|sbin|lib|lib64)\//, 'windows'],
  [/^\/(opt|snap|nix)\//, 'programs'],
  [/^\/(home|root)\//, 'profile'],
  [/^\//, 'elsewhere'],
];

/** The kind of place a normalized path is in; `unknown` for a bare name. */
export function placeOf(normalizedPath: string): Place {
  for (const [pattern, place] of PLACES) if (pattern.test(normalizedPath)) return place;
  return 'unknown';
}

const PROTECTED_PLACES: ReadonlySet<Place> = new Set<Place>(['windows', 'programs', 'packages']);

/** Whether only an administrator, or Windows itself, could put a program there. */
export function isProtectedPlace(place: Place): boolean {
  return PROTECTED_PLACES.has(place);
}

/** Programs of Windows itself, without extension, that attackers hide behind or copy away; all live below `C:\Windows`. */
const WINDOWS_PROGRAMS: ReadonlySet<string> = new Set(
  `alg applicationframehost arp at atbroker attrib audiodg autochk backgroundtaskhost bcdedit bitsadmin calc certreq certutil
  chcp cipher cleanmgr clip cmd cmdkey cmstp compattelrunner comppkgsrv conhost consent control cscript csrss ctfmon curl
  dasHost defrag dfsvc dism dllhost dllhst3g dnscmd driverquery dsquery dwm dxdiag esentutl eventvwr expand explorer extrac32
  fltmc fodhelper fontdrvhost forfiles format fsutil ftp gpresult gpscript gpupdate hh hostname icacls ie4uinit installutil
  ipconfig jsc klist ktmutil logman logonui lsaiso lsass lsm magnify makecab mavinject microsoft.workflow.compiler mmc mobsync
  mpcmdrun msbuild msconfig msdt mshta msiexec mspaint mstsc narrator nbtstat net net1 netsh netstat nltest notepad nslookup
  ntoskrnl odbcconf openfiles osk pcalua ping powershell powershell_ise presentationhost print printui query quser qwinsta
  rasdial rdpclip reg regasm regedit regini register-cimprovider regsvcs regsvr32 replace robocopy route runas rundll32
  runonce runtimebroker sc schtasks scrcons sdbinst searchfilterhost searchindexer searchprotocolhost searchui secedit
  services sethc setx shutdown sihost slui smartscreen smss snippingtool spoolsv sppsvc startmenuexperiencehost svchost
  syncappvpublishingserver systeminfo systemsettings takeown taskeng taskhost taskhostex taskhostw taskkill tasklist taskmgr
  tiworker tracert trustedinstaller ui0detect unsecapp userinit utilman vds verclsid vssadmin vssvc w32tm wbadmin wbengine
  werfault wermgr wevtutil where whoami wininit winlogon winrm winrshost winver wmiadap wmiapsrv wmic wmiprvse wordpad
  wscript wsmprovhost wudfhost wusa xcopy`
    .toLowerCase()
    .split(/\s+/),
);

/** Programs that look like Windows' own to whoever reads a process list; a name one letter off is no accident. */
const IMITATED: readonly string[] = [
  'svchost',
  'lsass',
  'csrss',
  'explorer',
  'services',
  'winlogon',
  'spoolsv',
  'dllhost',
  'rundll32',
  'taskhost',
  'taskhostw',
  'conhost',
  'wininit',
  'runtimebroker',
  'searchindexer',
  'sihost',
  'wuauclt',
  'msiexec',
];

/** Names of Windows' that others use rightly outside its folder: copies shipped with other programs. */
const SHIPPED_ELSEWHERE: ReadonlySet<string> = new Set(
  'at clip control curl expand find format ftp hostname installutil jsc mpcmdrun msbuild print query replace route searchui setx where wordpad'.split(
    ' ',
  ),
);

/** Whether a file name or an OriginalFileName is that of a program of Windows itself. */
export function isWindowsProgram(name: string): boolean {
  return WINDOWS_PROGRAMS.has(stemOf(name.toLowerCase().replace(/\.mui$/, '')));
}

/** Whether nobody but Windows rightly calls a program so. */
export function isReservedName(name: string): boolean {
  const stem = stemOf(name.toLowerCase());
  return WINDOWS_PROGRAMS.has(stem) && !SHIPPED_ELSEWHERE.has(stem);
}

/** Whether a name is one letter off, or two swapped, from one that everybody takes for Windows' own. */
export function imitatesWindows(name: string): boolean {
  const stem = stemOf(name.toLowerCase());
  if (stem.length < 5 || WINDOWS_PROGRAMS.has(stem)) return false;
  const plain = stem.replaceAll('0', 'o').replaceAll('1', 'l').replaceAll('vv', 'w').replaceAll('rn', 'm');
  return IMITATED.some((imitated) => plain === imitated || isOneSlipOff(stem, imitated));
}

function isOneSlipOff(text: string, model: string): boolean {
  let start = 0;
  while (start < text.length && text[start] === model[start]) start++;
  const rest = text.slice(start);
  const modelRest = model.slice(start);
  if (rest.slice(1) === modelRest.slice(1) && rest.length === modelRest.length) return true;
  if (rest.slice(1) === modelRest || rest === modelRest.slice(1)) return true;
  return rest.slice(2) === modelRest.slice(2) && rest[0] === modelRest[1] && rest[1] === modelRest[0];
}

/** What kind of program started another, as far as that tells something. */
export type ParentKind =
  | 'office'
  | 'script'
  | 'shell'
  | 'remote'
  | 'server'
  | 'service'
  | 'browser'
  | 'archive'
  | 'installer'
  | 'build';

const PARENT_KINDS: ReadonlyMap<string, ParentKind> = new Map(
  (
    [
      [
        'office',
        'winword excel powerpnt outlook msaccess mspub onenote onenotem visio winproj eqnedt32 fltldr acrord32 acrobat foxitreader foxitpdfreader soffice wordpad hh',
      ],
      [
        'script',
        'wscript cscript mshta regsvr32 rundll32 cmstp msxsl installutil regasm regsvcs odbcconf presentationhost forfiles pcalua msdt scrcons mavinject bitsadmin certutil',
      ],
      ['shell', 'powershell powershell_ise pwsh'],
      ['remote', 'wmiprvse wsmprovhost winrshost mmc'],
      [
        'server',
        'w3wp httpd nginx tomcat tomcat8 tomcat9 php-cgi php sqlservr mysqld postgres oracle java javaw ws_tomcatservice umworkerprocess spoolsv dns',
      ],
      ['service', 'services'],
      ['browser', 'chrome msedge firefox iexplore opera brave vivaldi microsoftedge microsoftedgecp'],
      ['archive', '7zfm 7zg winrar winzip32 winzip64 peazip bandizip'],
      ['installer', 'msiexec setup install installer update updater'],
      [
        'build',
        'devenv msbuild vbcscompiler cl link csc cargo rustc go gopls cmake ctest ninja make gmake nmake mingw32-make gradle mvn dotnet testhost vstest.console node npm yarn code idea64 rider64 clion64 goland64 pycharm64 webstorm64 rustrover64 dlv gdb lldb bazel meson',
      ],
    ] as const
  ).flatMap(([kind, names]) => names.split(' ').map((name) => [name, kind] as const)),
);

/** The kind of a parent by its image's name; undefined where it tells nothing. */
export function parentKindOf(image: string): ParentKind | undefined {
  return PARENT_KINDS.get(stemOf(baseName(image).toLowerCase()));
}
