import { createHash } from 'node:crypto';
import type { SysmonEvent } from '../src/event.js';

/** A file of a generated night and the process creations it appears in. */
export interface GeneratedFile {
  readonly hash: string;
  /** What the file stands for, to see in the measure what is mistaken for what. */
  readonly shape: string;
  readonly isBad: boolean;
  readonly events: readonly SysmonEvent[];
}

/** Draws from one seed: the same seed gives the same night. */
class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  one<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(this.next() * choices.length)];
    if (choice === undefined) throw new RangeError('nothing to choose from');
    return choice;
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  letters(length: number, alphabet = 'abcdefghijklmnopqrstuvwxyz'): string {
    let text = '';
    for (let index = 0; index < length; index++) text += alphabet[Math.floor(this.next() * alphabet.length)] ?? '';
    return text;
  }

  /** A made-up word that can be said. */
  word(): string {
    const syllables = Array.from(
      { length: this.int(2, 3) },
      () => `${this.letters(1, 'bcdfglmnprstv')}${this.letters(1, 'aeiou')}`,
    );
    return `${syllables.join('')}${this.one(['', 'n', 'r', 's', 'x', 'tor'])}`;
  }

  hex(length: number): string {
    return this.letters(length, '0123456789abcdef');
  }

  guid(): string {
    return [8, 4, 4, 4, 12]
      .map((length) => this.hex(length))
      .join('-')
      .toUpperCase();
  }

  version(): string {
    return `${this.int(1, 130)}.${this.int(0, 20)}.${this.int(0, 9000)}.${this.int(0, 300)}`;
  }
}

/** One file to be: where, under which names, on how many hosts and how often it runs. `{u}` stands for the user of each host. */
interface Sketch {
  readonly shape: string;
  readonly isBad?: boolean;
  readonly image: string;
  readonly parent: string;
  readonly commandLine?: string;
  readonly parentCommandLine?: string;
  readonly company?: string;
  readonly product?: string;
  readonly description?: string;
  readonly originalName?: string;
  readonly hosts?: number;
  readonly records?: number;
  readonly user?: 'user' | 'system';
  readonly integrity?: 'Medium' | 'High' | 'System';
}

const HOST_COUNT = 400;
const USERS = [
  'a.berg',
  'm.ito',
  'j.okafor',
  'k.lind',
  's.moreau',
  'p.novak',
  'd.ramos',
  'l.schmidt',
  't.wong',
  'e.rossi',
];
const NIGHT_START = Date.UTC(2026, 2, 3, 20, 0, 0);

const EXPLORER = 'C:\\Windows\\explorer.exe';
const CMD = 'C:\\Windows\\System32\\cmd.exe';
const POWERSHELL = 'C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe';
const SVCHOST = 'C:\\Windows\\System32\\svchost.exe';
const SERVICES = 'C:\\Windows\\System32\\services.exe';
const MSIEXEC = 'C:\\Windows\\System32\\msiexec.exe';
const CHROME = 'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe';
const EDGE = 'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe';
const OUTLOOK = 'C:\\Program Files\\Microsoft Office\\root\\Office16\\OUTLOOK.EXE';
const DEVENV = 'C:\\Program Files\\Microsoft Visual Studio\\2022\\Professional\\Common7\\IDE\\devenv.exe';
const CODE = 'C:\\Users\\{u}\\AppData\\Local\\Programs\\Microsoft VS Code\\Code.exe';

/** Makers and products that do not exist, in the forms real ones take. */
const MAKERS = [
  ['Northwind Traders Inc.', 'Northwind Desktop', 'northwind'],
  ['Contoso Ltd', 'Contoso Meet', 'ContosoMeet'],
  ['Fabrikam GmbH', 'Fabrikam Viewer', 'fabview'],
  ['Tailspin Toys LLC', 'Tailspin Launcher', 'TailspinLauncher'],
  ['Wingtip Software AB', 'Wingtip Sync', 'wtsync'],
  ['Adatum Corporation', 'Adatum VPN Client', 'advpn'],
  ['Lucerne Publishing', 'Lucerne Reader', 'LucerneReader'],
  ['Proseware, Inc.', 'Proseware Studio', 'proseware'],
  ['Litware Technologies', 'Litware Chat', 'litware'],
  ['Trey Research', 'Trey Lab Suite', 'TreyLab'],
  ['Graphic Design Institute', 'GDI Paint', 'gdipaint'],
  ['Coho Winery SA', 'Coho Stock', 'coho'],
  ['Blue Yonder Airlines', 'Yonder Planner', 'yplan'],
  ['Woodgrove Bank', 'Woodgrove Signer', 'wgsign'],
  ['Relecloud', 'Relecloud Drive', 'relecloud'],
  ['Humongous Insurance', 'HI Forms', 'hiforms'],
  ['Margie Travel', 'Margie Booker', 'margie'],
  ['VanArsdel, Ltd.', 'VanArsdel CAD', 'vacad'],
  ['Bellows College', 'Bellows Exam', 'bellows'],
  ['Alpine Ski House', 'Alpine Notes', 'alpnotes'],
] as const;

const WINDOWS_PROGRAMS =
  'svchost conhost taskhostw RuntimeBroker dllhost backgroundTaskHost SearchProtocolHost SearchFilterHost smartscreen sihost ctfmon cmd WerFault wermgr rundll32 reg net net1 sc schtasks ipconfig whoami tasklist netsh ping nslookup gpupdate cscript wscript mmc notepad mspaint calc taskkill find findstr where xcopy robocopy attrib icacls csrss smss winlogon services lsass wininit dwm fontdrvhost spoolsv LogonUI userinit msiexec regsvr32 certutil bitsadmin w32tm powercfg defrag cleanmgr dxdiag UsoClient MusNotification wuauclt CompatTelRunner sppsvc SgrmBroker audiodg consent'.split(
    ' ',
  );

const BUILD_NAMES = [
  'OrderService',
  'billing-api',
  'unit_tests',
  'sandbox',
  'hello',
  'importer',
  'ConsoleApp1',
  'demo',
  'parser_test',
  'svc',
  'worker',
  'bench',
  'ui',
  'tool',
  'Scratch',
];
const TOOL_NAMES = [
  'rg',
  'fd',
  'jq',
  'yq',
  'hugo',
  'terraform',
  'kubectl',
  'helm',
  'gopls',
  'staticcheck',
  'esbuild',
  'deno',
  'bat',
  'fzf',
  'protoc',
  'buf',
  'k9s',
  'ffmpeg',
  'pandoc',
  'upx',
];

/**
 * The harmless part of the night: about six thousand files, a good half of them outside protected folders. `share` makes it smaller,
 * with as many of each shape in proportion.
 */
export function benignNight(seed: number, share = 1): GeneratedFile[] {
  const draw = new Draw(seed);
  const sketches: Sketch[] = [];
  const repeat = (times: number, sketch: () => Sketch): void => {
    for (let turn = 0; turn < times * share; turn++) sketches.push(sketch());
  };

  for (const name of WINDOWS_PROGRAMS) {
    repeat(4, () => ({
      shape: 'windows program',
      image: `C:\\Windows\\System32\\${name}.exe`,
      parent: draw.one([SVCHOST, SERVICES, EXPLORER, CMD, POWERSHELL]),
      commandLine: `C:\\Windows\\System32\\${name}.exe ${draw.one(['', '-Embedding', '-k netsvcs -p -s Schedule', '/c "ver"', '/query', '-ExecutionPolicy Bypass -File C:\\Scripts\\inventory.ps1'])}`,
      company: 'Microsoft Corporation',
      product: 'Microsoft® Windows® Operating System',
      description: `Windows ${name}`,
      originalName: draw.chance(0.05) ? `${name}.dll` : `${name}.exe`,
      hosts: draw.chance(0.2) ? draw.int(1, 4) : draw.int(5, 300),
      records: draw.int(1, 200),
      user: draw.one(['user', 'system']),
    }));
  }
  repeat(1700, () => {
    const [company, product, short] = draw.one(MAKERS);
    const name = draw.one([
      short,
      `${short}Helper`,
      `${short}-crashpad`,
      'launcher',
      'agent',
      'uninstall',
      `${short}Svc`,
      `${short}${draw.int(1, 64)}`,
    ]);
    const isMute = draw.chance(0.12);
    return {
      shape: 'installed program',
      image: `C:\\Program Files${draw.chance(0.4) ? ' (x86)' : ''}\\${product}\\${draw.chance(0.5) ? `${draw.version()}\\` : ''}${name}.exe`,
      parent: draw.one([SERVICES, EXPLORER, SVCHOST, `C:\\Program Files\\${product}\\${short}.exe`]),
      ...(isMute ? {} : { company, product, description: `${product} ${name}` }),
      ...(isMute ? {} : { originalName: draw.chance(0.1) ? 'main.exe' : `${name}.exe` }),
      hosts: draw.chance(0.5) ? draw.int(1, 2) : draw.int(1, 150),
      records: draw.int(1, 60),
      user: draw.one(['user', 'system'] as const),
    };
  });
  repeat(700, () => {
    const [company, product, short] = draw.one(MAKERS);
    const folder = draw.one([
      `Local\\${product.split(' ')[0] ?? ''}\\${product}`,
      `Local\\Programs\\${short}`,
      `Local\\${short}\\app-${draw.int(1, 9)}.${draw.int(0, 30)}.${draw.int(0, 9)}`,
      `Roaming\\${short}`,
    ]);
    const name = draw.one([short, 'Update', `${short}Update`, 'Squirrel', `${short}-updater`, `${short} Helper`]);
    const isMute = draw.chance(0.08);
    return {
      shape: 'program or updater in AppData',
      image: `C:\\Users\\{u}\\AppData\\${folder}\\${name}.exe`,
      parent: draw.one([SVCHOST, EXPLORER, `C:\\Users\\{u}\\AppData\\${folder}\\${short}.exe`]),
      commandLine: draw.one([
        '"{i}" --processStart',
        '"{i}" /ua /installsource scheduler',
        '"{i}" --type=renderer --lang=en',
        '"{i}"',
        '"{i}" --checkUrl=https://updates.example/check',
      ]),
      ...(isMute ? {} : { company, product, description: product }),
      ...(isMute ? {} : { originalName: draw.chance(0.15) ? 'electron.exe' : `${name}.exe` }),
      hosts: draw.chance(0.5) ? 1 : draw.int(1, 30),
      records: draw.int(1, 30),
    };
  });
  repeat(650, () => {
    const [company, product, short] = draw.one(MAKERS);
    const setup = draw.one([
      `${short}Setup-${draw.int(1, 9)}.${draw.int(0, 9)}`,
      `${short}_installer`,
      `Setup (${draw.int(1, 4)})`,
      `${short}-${draw.version()}-x64`,
      'setup',
      `install_${short}`,
    ]);
    const [folder, parent] = draw.one([
      ['C:\\Users\\{u}\\Downloads\\', draw.one([EXPLORER, CHROME, EDGE])],
      ['C:\\Users\\{u}\\Desktop\\', EXPLORER],
      [
        `C:\\Users\\{u}\\AppData\\Local\\Temp\\is-${draw.letters(5, 'ABCDEFGHIJKLMNOPQRSTUV0123456789')}.tmp\\`,
        `C:\\Users\\{u}\\Downloads\\${setup}.exe`,
      ],
      [`C:\\Users\\{u}\\AppData\\Local\\Temp\\{${draw.guid()}}\\`, MSIEXEC],
      [
        `C:\\Users\\{u}\\AppData\\Local\\Temp\\7zS${draw.hex(8).toUpperCase()}\\`,
        `C:\\Users\\{u}\\Downloads\\${setup}.exe`,
      ],
      [
        `C:\\Windows\\Temp\\${draw.hex(8)}\\`,
        draw.one([SVCHOST, SERVICES, 'C:\\Program Files\\Relecloud Drive\\agent.exe']),
      ],
      [`C:\\ProgramData\\Package Cache\\{${draw.guid()}}\\`, SVCHOST],
      [`C:\\Windows\\ccmcache\\${draw.hex(2)}\\`, 'C:\\Windows\\CCM\\CcmExec.exe'],
    ] as const);
    const isMute = draw.chance(0.25);
    return {
      shape: isMute ? 'installer without metadata' : 'installer',
      image: `${folder}${setup}${folder.includes('is-') ? '.tmp' : '.exe'}`,
      parent,
      commandLine: draw.one(['"{i}"', '"{i}" /S', '"{i}" /quiet /norestart', '"{i}" /SL5="$40A5C,1048576,58368"']),
      ...(isMute ? {} : { company, product, description: `${product} Setup` }),
      ...(isMute ? {} : { originalName: draw.one([`${setup}.exe`, 'setup.exe', '', 'mini_installer.exe']) }),
      hosts: draw.chance(0.85) ? 1 : draw.int(2, 40),
      records: draw.int(1, 3),
      user: folder.includes('Windows') ? 'system' : 'user',
      integrity: folder.includes('Windows') ? 'System' : draw.one(['Medium', 'High'] as const),
    };
  });
  const projects = Array.from(
    { length: 60 },
    () =>
      `${draw.one(['C:\\Users\\{u}\\source\\repos\\', 'C:\\src\\', 'D:\\git\\', 'C:\\Users\\{u}\\code\\', 'C:\\dev\\'])}${draw.word()}\\${draw.one(['bin\\Debug\\net8.0\\', 'bin\\x64\\Release\\', 'x64\\Debug\\', 'target\\debug\\', 'target\\debug\\deps\\', 'build\\Debug\\', 'cmake-build-debug\\', 'out\\build\\x64-Debug\\', 'build\\'])}${draw.one(BUILD_NAMES)}.exe`,
  );
  repeat(850, () => ({
    shape: 'build output',
    image: draw.chance(0.6)
      ? draw.one(projects)
      : draw.one([
          `C:\\Users\\{u}\\AppData\\Local\\Temp\\go-build${draw.int(10 ** 8, 10 ** 9)}\\b001\\exe\\main.exe`,
          `C:\\Users\\{u}\\source\\repos\\${draw.word()}\\bin\\Debug\\${draw.one(BUILD_NAMES)}.exe`,
          `C:\\src\\${draw.word()}\\target\\debug\\deps\\${draw.word()}-${draw.hex(16)}.exe`,
          `C:\\Users\\{u}\\${draw.word()}\\${draw.one(BUILD_NAMES)}.exe`,
        ]),
    parent: draw.one([
      DEVENV,
      DEVENV,
      CMD,
      POWERSHELL,
      CODE,
      'C:\\Program Files\\Go\\bin\\go.exe',
      'C:\\Users\\{u}\\.cargo\\bin\\cargo.exe',
      'C:\\Program Files\\dotnet\\dotnet.exe',
      'C:\\Program Files\\Git\\usr\\bin\\bash.exe',
    ]),
    commandLine: draw.one(['"{i}"', '{i} --port 8080', '{i} --test-threads 4', '{i} -test.v=true']),
    ...(draw.chance(0.4)
      ? {
          company: draw.one(['OrderService', 'ConsoleApp1', 'Contoso Ltd']),
          product: draw.one(BUILD_NAMES),
          description: draw.one(BUILD_NAMES),
          originalName: draw.one(BUILD_NAMES.map((name) => `${name}.dll`)),
        }
      : {}),
    hosts: 1,
    records: draw.int(1, 6),
    integrity: draw.chance(0.1) ? 'High' : 'Medium',
  }));
  repeat(350, () => ({
    shape: 'developer tool',
    image: `${draw.one(['C:\\Users\\{u}\\go\\bin\\', 'C:\\Users\\{u}\\.cargo\\bin\\', 'C:\\Users\\{u}\\scoop\\shims\\', 'C:\\ProgramData\\chocolatey\\bin\\', `C:\\src\\${draw.word()}\\node_modules\\@esbuild\\win32-x64\\`, 'C:\\tools\\', 'C:\\Users\\{u}\\bin\\', `C:\\src\\${draw.word()}\\.venv\\Scripts\\`, 'C:\\Users\\{u}\\AppData\\Local\\Microsoft\\WinGet\\Packages\\'])}${draw.one(TOOL_NAMES)}.exe`,
    parent: draw.one([
      CMD,
      POWERSHELL,
      CODE,
      'C:\\Program Files\\Git\\usr\\bin\\bash.exe',
      'C:\\Program Files\\nodejs\\node.exe',
    ]),
    commandLine: draw.one(['{i} --version', '{i} build ./...', '{i} get pods', '{i} serve --service=0.20 --ping']),
    hosts: draw.int(1, 3),
    records: draw.int(1, 40),
  }));
  repeat(300, () => {
    const [company, product, short] = draw.one(MAKERS);
    const isMute = draw.chance(0.4);
    return {
      shape: isMute ? 'administration without metadata' : 'administration',
      image: `${draw.one(['C:\\Tools\\', 'C:\\Scripts\\bin\\', '\\\\files01\\apps\\', 'D:\\Apps\\', `C:\\ProgramData\\${short}\\`, 'C:\\Temp\\', 'C:\\Windows\\LTSvc\\', '\\\\corp.example\\NETLOGON\\'])}${draw.one([short, `${short}cli`, 'inventory', 'backup', 'deploy', 'logcollect', 'psinfo', 'agent'])}.exe`,
      parent: draw.one([
        CMD,
        POWERSHELL,
        SVCHOST,
        SERVICES,
        'C:\\Windows\\System32\\wbem\\WmiPrvSE.exe',
        'C:\\Windows\\System32\\gpscript.exe',
        'C:\\Windows\\System32\\wscript.exe',
      ]),
      commandLine: draw.one([
        '"{i}"',
        '{i} /server 10.20.0.15 /quiet',
        '{i} -c C:\\ProgramData\\agent\\config.xml',
        '{i} --upload https://collector.example/in',
      ]),
      ...(isMute ? {} : { company, product, description: product, originalName: `${short}.exe` }),
      hosts: draw.chance(0.4) ? 1 : draw.int(2, 200),
      records: draw.int(1, 20),
      user: draw.one(['user', 'system'] as const),
      integrity: draw.one(['High', 'System', 'Medium'] as const),
    };
  });
  repeat(260, () => {
    const [company, product, short] = draw.one(MAKERS);
    const isMute = draw.chance(0.45);
    return {
      shape: isMute ? 'portable program without metadata' : 'portable program',
      image: `${draw.one([`C:\\Users\\{u}\\Downloads\\${short}-portable\\`, 'C:\\Users\\{u}\\Downloads\\', `C:\\Users\\{u}\\Desktop\\${product}\\`, `C:\\Users\\{u}\\AppData\\Local\\Temp\\Temp1_${short}.zip\\`, 'E:\\', `C:\\Users\\{u}\\Documents\\${short}\\`])}${short}${draw.one(['', '64', '-portable', `_v${draw.int(1, 9)}`])}.exe`,
      parent: draw.one([EXPLORER, EXPLORER, CMD]),
      ...(isMute
        ? {}
        : { company, product, description: product, originalName: draw.chance(0.2) ? 'app.exe' : `${short}.exe` }),
      hosts: draw.int(1, 2),
      records: draw.int(1, 8),
    };
  });
  repeat(200, () => ({
    shape: 'game or media',
    image: `${draw.one(['D:\\SteamLibrary\\steamapps\\common\\', 'D:\\Games\\', 'E:\\Media\\'])}${draw.word()}\\${draw.one(['game', 'launcher', 'Win64-Shipping', 'crashreport', draw.word()])}.exe`,
    parent: draw.one([EXPLORER, 'C:\\Program Files (x86)\\Steam\\steam.exe']),
    ...(draw.chance(0.5) ? { company: 'Tailspin Toys LLC', product: 'Game', description: 'Game' } : {}),
    hosts: 1,
    records: draw.int(1, 4),
  }));
  repeat(220, () => {
    const scratch = draw.one([
      `nsq${draw.hex(4).toUpperCase()}.tmp\\ns${draw.hex(4).toUpperCase()}.tmp`,
      '~nsuA.tmp\\Au_.exe',
      `_MEI${draw.int(10000, 200000)}\\helper.exe`,
      `MSI${draw.hex(4).toUpperCase()}.tmp`,
      `CR_${draw.hex(5).toUpperCase()}.tmp\\setup.exe`,
      `{${draw.guid()}}\\ISBEW64.exe`,
      `jna-${draw.int(10 ** 6, 10 ** 8)}\\jna${draw.int(10 ** 6, 10 ** 8)}.exe`,
    ]);
    return {
      shape: 'scratch of an installer',
      image: `${draw.one(['C:\\Users\\{u}\\AppData\\Local\\Temp\\', 'C:\\Windows\\Temp\\', 'C:\\Windows\\Installer\\'])}${scratch}`,
      parent: draw.one([
        MSIEXEC,
        'C:\\Users\\{u}\\Downloads\\setup.exe',
        'C:\\Program Files\\Northwind Desktop\\uninstall.exe',
        EXPLORER,
      ]),
      ...(draw.chance(0.5)
        ? {
            company: 'Fabrikam GmbH',
            product: 'Fabrikam Viewer',
            description: 'Fabrikam Viewer',
            originalName: 'uninstall.exe',
          }
        : {}),
      hosts: 1,
      records: draw.int(1, 2),
      integrity: draw.one(['High', 'System', 'Medium'] as const),
    };
  });
  repeat(50, () => ({
    shape: 'program started by mail or documents',
    image: draw.one([
      'C:\\Users\\{u}\\AppData\\Roaming\\ContosoMeet\\bin\\ContosoMeet.exe',
      'C:\\Users\\{u}\\AppData\\Local\\litware\\litware.exe',
      'C:\\Program Files\\Lucerne Reader\\LucerneReader.exe',
    ]),
    parent: OUTLOOK,
    company: draw.one(['Contoso Ltd', 'Litware Technologies', 'Lucerne Publishing']),
    product: 'Contoso Meet',
    description: 'Meeting',
    originalName: 'app.exe',
    hosts: draw.int(1, 3),
    records: draw.int(1, 5),
  }));
  return sketches.map((sketch) => fileOf(sketch, draw));
}

/**
 * Shapes of attacks, for development only: general ways in which programs of attackers have come and run, written down before the
 * rules were weighed, and no sample of anything in particular. The share of old Sysmon versions is in the real logs.
 */
export function attackShapes(seed: number, each: number): GeneratedFile[] {
  const draw = new Draw(seed);
  const random = (): string =>
    draw.letters(draw.int(6, 10), 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789');
  const encoded = `powershell -nop -w hidden -enc ${draw.letters(120, 'ABCDEFGHIJKLMNOPabcdefghijklmnop0123456789')}`;
  const shapes: readonly (() => Sketch)[] = [
    () => ({
      shape: 'macro drops to temp',
      image: `C:\\Users\\{u}\\AppData\\Local\\Temp\\${random()}.exe`,
      parent: draw.one([OUTLOOK, 'C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE']),
    }),
    () => ({
      shape: 'attachment with two extensions',
      image: `C:\\Users\\{u}\\Downloads\\${draw.one(['Invoice_2291.pdf', 'scan0012.docx', 'order.xlsx'])}.exe`,
      parent: draw.one([EXPLORER, OUTLOOK]),
    }),
    () => ({
      shape: 'system name in a user folder',
      image: `C:\\Users\\{u}\\AppData\\Roaming\\${draw.one(['svchost', 'csrss', 'lsass', 'explorer', 'RuntimeBroker'])}.exe`,
      parent: EXPLORER,
      ...(draw.chance(0.5)
        ? {
            company: 'Microsoft Corporation',
            product: 'Microsoft® Windows® Operating System',
            description: 'Host Process',
          }
        : {}),
    }),
    () => ({
      shape: 'near system name',
      image: `C:\\ProgramData\\${draw.one(['svch0st', 'scvhost', 'lsasss', 'expl0rer', 'rundl132'])}.exe`,
      parent: SVCHOST,
    }),
    () => ({
      shape: 'script host starts a download',
      image: `C:\\Users\\Public\\${draw.letters(5)}.exe`,
      parent: draw.one(['C:\\Windows\\System32\\wscript.exe', 'C:\\Windows\\System32\\mshta.exe']),
    }),
    () => ({
      shape: 'encoded PowerShell starts it',
      image: `C:\\ProgramData\\${draw.letters(6)}\\${draw.letters(6)}.exe`,
      parent: POWERSHELL,
      parentCommandLine: encoded,
    }),
    () => ({
      shape: 'renamed program of Windows',
      image: `C:\\ProgramData\\${draw.letters(4)}.exe`,
      parent: CMD,
      company: 'Microsoft Corporation',
      product: 'Microsoft® Windows® Operating System',
      description: 'Windows',
      originalName: draw.one(['CertUtil.exe', 'RUNDLL32.EXE', 'PowerShell.EXE', 'PSR.exe']),
    }),
    () => ({
      shape: 'renamed tool',
      image: `C:\\Windows\\Temp\\${draw.letters(3)}.exe`,
      parent: CMD,
      company: 'Trey Research',
      product: 'Copy tool',
      description: 'Copies files',
      originalName: 'fastcopyd.exe',
      commandLine: '{i} copy C:\\Shares remote:x --transfers 12',
      integrity: 'High',
    }),
    () => ({
      shape: 'service in the Windows folder',
      image: `C:\\Windows\\${draw.letters(8, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')}.exe`,
      parent: SERVICES,
      user: 'system',
      integrity: 'System',
    }),
    () => ({
      shape: 'reads credentials',
      image: `C:\\Users\\{u}\\Downloads\\${draw.letters(5)}.exe`,
      parent: CMD,
      commandLine: '{i} -ma lsass.exe C:\\Windows\\Temp\\l.dmp',
      integrity: 'High',
    }),
    () => ({
      shape: 'payload from a browser',
      image: `C:\\Users\\{u}\\Downloads\\${draw.one(['update', 'player', 'file', 'free_download', 'x64'])}${draw.int(1, 99)}.exe`,
      parent: draw.one([EXPLORER, CHROME]),
    }),
    () => ({
      shape: 'archive from mail',
      image: `C:\\Users\\{u}\\AppData\\Local\\Temp\\Temp1_documents.zip\\${draw.one(['statement', 'contract'])}.scr`,
      parent: EXPLORER,
    }),
    () => ({
      shape: 'web server starts it',
      image: `C:\\Windows\\Temp\\${draw.letters(4)}.exe`,
      parent: 'C:\\Windows\\System32\\inetsrv\\w3wp.exe',
      user: 'system',
      integrity: 'High',
    }),
    () => ({
      shape: 'remote execution',
      image: `C:\\Users\\Public\\Music\\${draw.letters(6)}.exe`,
      parent: 'C:\\Windows\\System32\\wbem\\WmiPrvSE.exe',
      user: 'system',
      hosts: draw.int(1, 4),
    }),
    () => ({
      shape: 'tunnel',
      image: `C:\\ProgramData\\${draw.letters(3)}.exe`,
      parent: CMD,
      commandLine: `{i} client 203.0.113.${draw.int(1, 250)}:443 R:socks`,
      hosts: draw.int(1, 2),
    }),
    () => ({
      shape: 'random name in Roaming',
      image: `C:\\Users\\{u}\\AppData\\Roaming\\${random()}\\${random()}.exe`,
      parent: draw.one([EXPLORER, SVCHOST]),
      records: draw.int(1, 20),
    }),
    () => ({
      shape: 'forged metadata',
      image: `C:\\Users\\{u}\\AppData\\Roaming\\${draw.letters(7)}\\${draw.letters(7)}.exe`,
      parent: SVCHOST,
      company: 'Northwind Traders Inc.',
      product: 'Northwind Desktop',
      description: 'Northwind',
      originalName: 'northwind.exe',
    }),
    () => ({ shape: 'recycler', image: `C:\\$Recycle.Bin\\${draw.letters(4)}.exe`, parent: CMD }),
    () => ({
      shape: 'cipher on many hosts',
      image: `C:\\Windows\\Temp\\${draw.letters(6)}.exe`,
      parent: SERVICES,
      user: 'system',
      integrity: 'System',
      hosts: draw.int(20, 60),
      records: 60,
    }),
    () => ({
      shape: 'compiled on the victim',
      image: `C:\\Users\\{u}\\AppData\\Local\\Temp\\${draw.letters(8)}.exe`,
      parent: POWERSHELL,
    }),
    () => ({
      shape: 'tool built elsewhere',
      image: `C:\\Users\\{u}\\Desktop\\x64\\Release\\${draw.letters(8)}.exe`,
      parent: CMD,
      commandLine: '{i} -p 636 cmd.exe',
    }),
    () => ({ shape: 'root of the drive', image: `C:\\${draw.letters(4)}.exe`, parent: CMD }),
    () => ({
      shape: 'script payload without metadata in ProgramData',
      image: `C:\\ProgramData\\${draw.one(['Oracle', 'Intel', 'Adobe'])}\\${draw.letters(6)}.exe`,
      parent: draw.one([SVCHOST, 'C:\\Windows\\System32\\rundll32.exe']),
      user: 'system',
      integrity: 'System',
    }),
    () => ({
      shape: 'inside Program Files',
      image: `C:\\Program Files\\Common Files\\${draw.letters(6)}.exe`,
      parent: CMD,
      commandLine: `{i} -c 198.51.100.7:8443`,
      integrity: 'High',
    }),
  ];
  return shapes.flatMap((shape) =>
    Array.from({ length: each }, () => fileOf({ isBad: true, hosts: 1, records: draw.int(1, 3), ...shape() }, draw)),
  );
}

function fileOf(sketch: Sketch, draw: Draw): GeneratedFile {
  const hash = createHash('sha1').update(draw.hex(40)).digest('hex');
  const hostCount = Math.min(HOST_COUNT, sketch.hosts ?? 1);
  const firstHost = draw.int(0, HOST_COUNT - 1);
  const recordCount = Math.max(sketch.records ?? 1, hostCount);
  const events = Array.from({ length: recordCount }, (_, index) => {
    const host = (firstHost + (index % hostCount) * 7) % HOST_COUNT;
    const user = USERS[host % USERS.length] ?? 'user';
    const fill = (text: string): string => text.replaceAll('{u}', user);
    const image = fill(sketch.image);
    const isSystem = sketch.user === 'system';
    const time = new Date(NIGHT_START + draw.int(0, 36_000_000)).toISOString().replace('T', ' ').replace('Z', '');
    const parent = fill(sketch.parent);
    const data: [string, string][] = [
      ['UtcTime', time],
      ['ProcessGuid', `{${draw.guid()}}`],
      ['Image', image],
      ['FileVersion', sketch.company === undefined ? '-' : '1.0.0.0'],
      ['Description', sketch.description ?? '-'],
      ['Product', sketch.product ?? '-'],
      ['Company', sketch.company ?? '-'],
      ['OriginalFileName', sketch.originalName === undefined || sketch.originalName === '' ? '-' : sketch.originalName],
      ['CommandLine', fill(sketch.commandLine ?? '"{i}"').replaceAll('{i}', image)],
      ['User', isSystem ? 'NT AUTHORITY\\SYSTEM' : `CORP\\${user}`],
      ['IntegrityLevel', sketch.integrity ?? (isSystem ? 'System' : 'Medium')],
      ['ParentImage', parent],
      ['ParentCommandLine', fill(sketch.parentCommandLine ?? `"${parent}"`)],
    ];
    return {
      eventId: 1,
      recordId: String(draw.int(1, 10 ** 9)),
      provider: 'Microsoft-Windows-Sysmon',
      channel: 'Microsoft-Windows-Sysmon/Operational',
      computer: `ws-${host}.corp.example`,
      timeCreated: undefined,
      data: new Map(data),
    } satisfies SysmonEvent;
  });
  return { hash, shape: sketch.shape, isBad: sketch.isBad ?? false, events };
}
