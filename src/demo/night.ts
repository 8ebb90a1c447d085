import { createHash } from 'node:crypto';

/** One Sysmon event of the demo's night; values as Windows renders them, in the order of Sysmon's manifest. */
export interface NightEvent {
  readonly computer: string;
  readonly eventId: number;
  readonly recordId: number;
  readonly time: Date;
  readonly data: ReadonlyMap<string, string>;
}

/** What the stand-in knows of a file; files without detections are ordinary ones. */
export interface NightFile {
  readonly sha1: string;
  readonly sha256: string;
  readonly md5: string;
  readonly name: string;
  readonly company: string;
  readonly detections: number;
  readonly engines: number;
  readonly label?: string;
  readonly signer?: string;
  readonly firstSubmission: Date;
  readonly lastAnalysis: Date;
  readonly isKnown: boolean;
}

/** A night of a small fleet with one intrusion in it. */
export interface Night {
  readonly events: readonly NightEvent[];
  readonly files: readonly NightFile[];
}

/** An image that runs somewhere in the night. */
interface Image {
  readonly path: string;
  readonly company: string;
  readonly product: string;
  readonly description: string;
  readonly originalName: string;
  readonly version: string;
  readonly file: NightFile;
}

interface Host {
  readonly name: string;
  readonly user: string;
  readonly guidPrefix: string;
}

interface Process {
  readonly guid: string;
  readonly pid: number;
  readonly image: Image;
  readonly commandLine: string;
  readonly user: string;
}

const HOSTS: readonly Host[] = [
  { name: 'WS-FIN-03.corp.example', user: 'CORP\\m.weber', guidPrefix: '7A1B2C3D' },
  { name: 'WS-DEV-11.corp.example', user: 'CORP\\a.okafor', guidPrefix: '5E6F7081' },
  { name: 'SRV-FILE-01.corp.example', user: 'CORP\\svc-backup', guidPrefix: '92A3B4C5' },
  { name: 'DC-01.corp.example', user: 'NT AUTHORITY\\SYSTEM', guidPrefix: 'D6E7F809' },
];

const NIGHT_START = Date.UTC(2026, 2, 3, 22, 0, 0);
const HOUR_MS = 3_600_000;

/** The night, the same at every call: 22:00 to 06:00 UTC on four machines, with an intrusion that starts at 02:14. */
export function buildNight(): Night {
  const random = seededRandom(20_260_303);
  const images = buildImages();
  const events: NightEvent[] = [];
  const recordIds = new Map<string, number>();
  const record = (host: Host, time: number, eventId: number, data: readonly (readonly [string, string])[]): void => {
    const recordId = (recordIds.get(host.name) ?? 48_210) + 1;
    recordIds.set(host.name, recordId);
    events.push({ computer: host.name, eventId, recordId, time: new Date(time), data: new Map(data) });
  };
  let pid = 1200;
  let sequence = 0;
  const start = (
    host: Host,
    time: number,
    image: Image,
    commandLine: string,
    parent: Process | undefined,
    user = host.user,
  ): Process => {
    pid += 4 + Math.floor(random() * 40) * 4;
    sequence++;
    const guid = processGuid(host, time, sequence);
    const process: Process = { guid, pid, image, commandLine, user };
    record(host, time, 1, [
      ['RuleName', '-'],
      ['UtcTime', utcTime(time)],
      ['ProcessGuid', guid],
      ['ProcessId', String(pid)],
      ['Image', image.path],
      ['FileVersion', image.version],
      ['Description', image.description],
      ['Product', image.product],
      ['Company', image.company],
      ['OriginalFileName', image.originalName],
      ['CommandLine', commandLine],
      ['CurrentDirectory', 'C:\\Windows\\system32\\'],
      ['User', user],
      ['LogonGuid', `{${host.guidPrefix}-0001-69A7-E703-000000000000}`],
      ['LogonId', user.startsWith('NT ') ? '0x3e7' : '0x4f1a2'],
      ['TerminalSessionId', user.startsWith('NT ') ? '0' : '1'],
      ['IntegrityLevel', user.startsWith('NT ') ? 'System' : 'Medium'],
      ['Hashes', hashesField(image.file)],
      ['ParentProcessGuid', parent?.guid ?? '{00000000-0000-0000-0000-000000000000}'],
      ['ParentProcessId', String(parent?.pid ?? 648)],
      ['ParentImage', parent?.image.path ?? '-'],
      ['ParentCommandLine', parent?.commandLine ?? '-'],
      ['ParentUser', parent?.user ?? '-'],
    ]);
    return process;
  };
  const about = (process: Process, time: number): [string, string][] => [
    ['RuleName', '-'],
    ['UtcTime', utcTime(time)],
    ['ProcessGuid', process.guid],
    ['ProcessId', String(process.pid)],
  ];
  const end = (host: Host, time: number, process: Process): void =>
    record(host, time, 5, [...about(process, time), ['Image', process.image.path], ['User', process.user]]);
  const connect = (host: Host, time: number, process: Process, destination: string, port: number): void =>
    record(host, time, 3, [
      ...about(process, time),
      ['Image', process.image.path],
      ['User', process.user],
      ['Protocol', 'tcp'],
      ['Initiated', 'true'],
      ['SourceIsIpv6', 'false'],
      ['SourceIp', '10.20.3.17'],
      ['SourceHostname', host.name],
      ['SourcePort', String(49_152 + Math.floor(random() * 9000))],
      ['SourcePortName', '-'],
      ['DestinationIsIpv6', 'false'],
      ['DestinationIp', destination],
      ['DestinationHostname', '-'],
      ['DestinationPort', String(port)],
      ['DestinationPortName', port === 443 ? 'https' : '-'],
    ]);
  const create = (host: Host, time: number, process: Process, target: string): void =>
    record(host, time, 11, [
      ...about(process, time),
      ['Image', process.image.path],
      ['TargetFilename', target],
      ['CreationUtcTime', utcTime(time)],
      ['User', process.user],
    ]);
  const retime = (host: Host, time: number, process: Process, target: string, pretended: number): void =>
    record(host, time, 2, [
      ...about(process, time),
      ['Image', process.image.path],
      ['TargetFilename', target],
      ['CreationUtcTime', utcTime(pretended)],
      ['PreviousCreationUtcTime', utcTime(time)],
      ['User', process.user],
    ]);

  // The ordinary night: services and updaters, over and over, as on any fleet.
  for (const host of HOSTS) {
    const services = start(
      host,
      NIGHT_START,
      images.services,
      'C:\\Windows\\system32\\services.exe',
      undefined,
      'NT AUTHORITY\\SYSTEM',
    );
    const explorer = start(host, NIGHT_START + 4_000, images.explorer, 'C:\\Windows\\Explorer.EXE', services);
    for (let minute = 3; minute < 8 * 60; minute += 4 + Math.floor(random() * 9)) {
      const time = NIGHT_START + minute * 60_000 + Math.floor(random() * 50_000);
      const { image, commandLine } = pick(images.background, random);
      const parent = image.path.includes('\\Windows\\') ? services : explorer;
      const process = start(
        host,
        time,
        image,
        commandLine,
        parent,
        parent === services ? 'NT AUTHORITY\\SYSTEM' : host.user,
      );
      if (random() < 0.3) connect(host, time + 900, process, '20.190.160.14', 443);
      if (random() < 0.2) create(host, time + 1200, process, `C:\\ProgramData\\Cache\\${minute}.tmp`);
      end(host, time + 2_000 + Math.floor(random() * 40_000), process);
    }
  }

  // The intrusion: a document, a script, a dropped program with a changed date, and the move to the file server.
  const [workstation, developer, server] = HOSTS as unknown as readonly [Host, Host, Host, Host];
  const breach = NIGHT_START + 4 * HOUR_MS + 14 * 60_000;
  const mail = start(
    workstation,
    breach,
    images.outlook,
    '"C:\\Program Files\\Microsoft Office\\root\\Office16\\OUTLOOK.EXE"',
    undefined,
  );
  const word = start(
    workstation,
    breach + 41_000,
    images.word,
    '"C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE" /n "C:\\Users\\m.weber\\Downloads\\Invoice 4711.docm"',
    mail,
  );
  const script = start(
    workstation,
    breach + 55_000,
    images.powershell,
    'powershell.exe -NoP -W Hidden -Enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoA',
    word,
  );
  connect(workstation, breach + 56_500, script, '203.0.113.77', 443);
  const dropped = images.dropper.path;
  create(workstation, breach + 58_000, script, dropped);
  retime(workstation, breach + 58_700, script, dropped, Date.UTC(2019, 10, 11, 8, 30));
  const implant = start(workstation, breach + 61_000, images.dropper, `"${dropped}" -k`, script);
  connect(workstation, breach + 62_000, implant, '203.0.113.77', 8443);
  const whoami = start(workstation, breach + 95_000, images.whoami, 'whoami /all', implant);
  end(workstation, breach + 95_400, whoami);
  const helper = 'C:\\Users\\m.weber\\AppData\\Local\\Temp\\nbtscan64.exe';
  create(workstation, breach + 130_000, implant, helper);
  const scanner = start(workstation, breach + 133_000, images.scanner, `${helper} 10.20.0.0/16`, implant);
  end(workstation, breach + 171_000, scanner);
  const provider = start(
    server,
    breach + 300_000,
    images.wmi,
    'C:\\Windows\\system32\\wbem\\wmiprvse.exe -secured -Embedding',
    undefined,
    'NT AUTHORITY\\NETWORK SERVICE',
  );
  create(server, breach + 301_000, provider, images.impostor.path);
  const impostor = start(
    server,
    breach + 303_000,
    images.impostor,
    `${images.impostor.path} -svc`,
    provider,
    'NT AUTHORITY\\SYSTEM',
  );
  connect(server, breach + 305_000, impostor, '203.0.113.77', 8443);
  create(server, breach + 360_000, impostor, 'C:\\Shares\\Finance\\README_RESTORE.txt');
  end(workstation, breach + 900_000, implant);
  // A free tool with a browser toolbar in it: a few engines complain, as they do about many.
  const installer = start(
    developer,
    NIGHT_START + 2 * HOUR_MS,
    images.bundle,
    '"C:\\Users\\a.okafor\\Downloads\\pdf-joiner-setup.exe" /S',
    undefined,
  );
  end(developer, NIGHT_START + 2 * HOUR_MS + 30_000, installer);

  const files = new Map<string, NightFile>();
  for (const { file } of images.all) files.set(file.sha1, file);
  return {
    events: events.sort((a, b) => a.time.getTime() - b.time.getTime()),
    files: [...files.values()],
  };
}

function buildImages() {
  const all: Image[] = [];
  const image = (
    path: string,
    about: { company?: string; product?: string; description?: string; originalName?: string; version?: string },
    known: Partial<NightFile> = {},
  ): Image => {
    const name = path.slice(path.lastIndexOf('\\') + 1);
    const seed = `${path}|${about.version ?? ''}`;
    const built: Image = {
      path,
      company: about.company ?? '-',
      product: about.product ?? '-',
      description: about.description ?? '-',
      originalName: about.originalName ?? '-',
      version: about.version ?? '-',
      file: {
        sha1: createHash('sha1').update(seed).digest('hex'),
        sha256: createHash('sha256').update(seed).digest('hex'),
        md5: createHash('md5').update(seed).digest('hex'),
        name,
        company: about.company ?? '',
        detections: 0,
        engines: 72,
        firstSubmission: new Date(Date.UTC(2021, 4, 12, 9, 21)),
        lastAnalysis: new Date(Date.UTC(2026, 1, 27, 4, 3)),
        isKnown: true,
        ...(about.company === undefined ? {} : { signer: about.company }),
        ...known,
      },
    };
    all.push(built);
    return built;
  };
  const windows = (path: string, description: string): Image =>
    image(path, {
      company: 'Microsoft Corporation',
      product: 'Microsoft® Windows® Operating System',
      description,
      originalName: path.slice(path.lastIndexOf('\\') + 1).toLowerCase(),
      version: '10.0.19041.3636 (WinBuild.160101.0800)',
    });
  const system32 = 'C:\\Windows\\System32\\';
  const background = [
    [
      windows(`${system32}svchost.exe`, 'Host Process for Windows Services'),
      'C:\\Windows\\system32\\svchost.exe -k netsvcs -p',
    ],
    [windows(`${system32}taskhostw.exe`, 'Host Process for Windows Tasks'), 'taskhostw.exe'],
    [windows(`${system32}conhost.exe`, 'Console Window Host'), '\\??\\C:\\Windows\\system32\\conhost.exe 0xffffffff'],
    [
      windows(`${system32}SearchProtocolHost.exe`, 'Microsoft Windows Search Protocol Host'),
      '"C:\\Windows\\system32\\SearchProtocolHost.exe" Global',
    ],
    [windows(`${system32}MusNotification.exe`, 'MusNotification.exe'), 'C:\\Windows\\system32\\MusNotification.exe'],
    [
      windows(`${system32}wevtutil.exe`, 'Eventing Command Line Utility'),
      'wevtutil.exe epl Security C:\\Backup\\Security.evtx',
    ],
    [
      image('C:\\Program Files (x86)\\Google\\Update\\GoogleUpdate.exe', {
        company: 'Google LLC',
        product: 'Google Update',
        description: 'Google Installer',
        originalName: 'GoogleUpdate.exe',
        version: '1.3.36.352',
      }),
      '"C:\\Program Files (x86)\\Google\\Update\\GoogleUpdate.exe" /ua /installsource scheduler',
    ],
    [
      image('C:\\Users\\Public\\AppData\\Local\\Microsoft\\OneDrive\\OneDriveStandaloneUpdater.exe', {
        company: 'Microsoft Corporation',
        product: 'Microsoft OneDrive',
        description: 'Standalone Updater',
        originalName: 'OneDriveStandaloneUpdater.exe',
        version: '24.020.0128.0003',
      }),
      'OneDriveStandaloneUpdater.exe /reporting',
    ],
    [
      image('C:\\Program Files\\Backup Agent\\agent.exe', {
        company: 'Nordlicht Backup GmbH',
        product: 'Backup Agent',
        description: 'Backup Agent',
        originalName: 'agent.exe',
        version: '7.4.1',
      }),
      '"C:\\Program Files\\Backup Agent\\agent.exe" --scheduled',
    ],
    // The company's own tool: nobody ever showed it to VirusTotal.
    [
      image(
        'C:\\Program Files\\Corp\\inventory.exe',
        {
          company: 'Corp IT',
          product: 'Inventory',
          description: 'Inventory',
          originalName: 'inventory.exe',
          version: '1.9',
        },
        { isKnown: false },
      ),
      '"C:\\Program Files\\Corp\\inventory.exe" --report',
    ],
  ] as const;
  const recent = {
    firstSubmission: new Date(Date.UTC(2026, 2, 3, 19, 2)),
    lastAnalysis: new Date(Date.UTC(2026, 2, 4, 3, 40)),
  };
  return {
    all,
    background: background.map(([built, commandLine]) => ({ image: built, commandLine })),
    services: windows(`${system32}services.exe`, 'Services and Controller app'),
    explorer: windows('C:\\Windows\\explorer.exe', 'Windows Explorer'),
    powershell: windows(`${system32}WindowsPowerShell\\v1.0\\powershell.exe`, 'Windows PowerShell'),
    whoami: windows(`${system32}whoami.exe`, 'whoami - displays logged on user information'),
    wmi: windows(`${system32}wbem\\WmiPrvSE.exe`, 'WMI Provider Host'),
    outlook: image('C:\\Program Files\\Microsoft Office\\root\\Office16\\OUTLOOK.EXE', {
      company: 'Microsoft Corporation',
      product: 'Microsoft Outlook',
      description: 'Microsoft Outlook',
      originalName: 'Outlook.exe',
      version: '16.0.17328.20124',
    }),
    word: image('C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE', {
      company: 'Microsoft Corporation',
      product: 'Microsoft Office',
      description: 'Microsoft Word',
      originalName: 'WinWord.exe',
      version: '16.0.17328.20124',
    }),
    dropper: image(
      'C:\\Users\\m.weber\\AppData\\Local\\Temp\\invoice_4711.pdf.exe',
      {},
      {
        ...recent,
        detections: 54,
        engines: 72,
        label: 'trojan.lynxloader/msil',
      },
    ),
    impostor: image(
      'C:\\Windows\\Temp\\svchost.exe',
      { description: 'Host Process', originalName: 'lynx.exe', version: '1.0.0.0' },
      {
        ...recent,
        detections: 61,
        engines: 71,
        label: 'ransomware.lynx/crypt',
      },
    ),
    scanner: image(
      'C:\\Users\\m.weber\\AppData\\Local\\Temp\\nbtscan64.exe',
      { version: '0.0.0.0' },
      { isKnown: false },
    ),
    bundle: image(
      'C:\\Users\\a.okafor\\Downloads\\pdf-joiner-setup.exe',
      {
        company: 'Joiner Software',
        product: 'PDF Joiner',
        description: 'PDF Joiner Setup',
        originalName: 'setup.exe',
        version: '3.2',
      },
      { detections: 3, engines: 71, label: 'pua.toolbar/joiner' },
    ),
  };
}

function hashesField({ sha1, md5, sha256 }: NightFile): string {
  const imphash = md5.split('').reverse().join('');
  return `SHA1=${sha1},MD5=${md5},SHA256=${sha256},IMPHASH=${imphash}`.replace(/=[0-9a-f]+/g, (hex) =>
    hex.toUpperCase(),
  );
}

function processGuid(host: Host, time: number, sequence: number): string {
  const seconds = Math.floor(time / 1000)
    .toString(16)
    .toUpperCase()
    .padStart(8, '0');
  return `{${host.guidPrefix}-${seconds.slice(0, 4)}-${seconds.slice(4)}-0000-${sequence.toString(16).toUpperCase().padStart(12, '0')}}`;
}

/** Sysmon's `UtcTime`: `2026-03-04 02:14:41.000`. */
function utcTime(time: number): string {
  return new Date(time).toISOString().replace('T', ' ').replace('Z', '');
}

function pick<T>(choices: readonly T[], random: () => number): T {
  const choice = choices[Math.floor(random() * choices.length)];
  if (choice === undefined) throw new RangeError('nothing to pick from');
  return choice;
}

/** A small generator of numbers in [0, 1) (mulberry32), so that the demo is the same every time. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
