import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

/** Where browsers of Chromium's family stand, by the name of their programs on the PATH and by their usual places. */
const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'microsoft-edge', 'msedge'];
const PLACES = [
  '/usr/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe',
];

/** The switches keep a browser from talking to its maker; `--no-sandbox` is what root needs. */
const SWITCHES = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

/** Starts the browser of this machine. Rejects with what to install where there is none. */
export async function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: findBrowser(), args: SWITCHES });
}

function findBrowser(): string {
  const onPath = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = [
    process.env['CHROMIUM_PATH'] ?? '',
    ...PROGRAMS.flatMap((program) => onPath.map((folder) => join(folder, program))),
    ...PLACES,
  ];
  const found = candidates.find((path) => path !== '' && isProgram(path));
  if (found !== undefined) return found;
  throw new Error(
    'The report is tested in a real browser and none was found: install chromium (Debian: apt-get install chromium), Chrome or Edge, ' +
      'or name one in CHROMIUM_PATH.',
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not there, or not to be run: the next place is looked at.
    return false;
  }
}
