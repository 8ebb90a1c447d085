/*
 * Makes the pictures of the README from the demo, so that they show what the program does today: `npm run pictures`.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const ROOT = resolve(import.meta.dirname, '../..');
const PICTURES = join(ROOT, 'docs/pictures');
/** Keeps Chromium from calling home while it draws two local pages. */
const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const ANSI_COLOURS: ReadonlyMap<string, string> = new Map([
  ['31', '#ff7b72'],
  ['32', '#7ee787'],
  ['33', '#e3b341'],
  ['2', '#8b949e'],
  ['1', '#ffffff'],
]);

async function main(): Promise<void> {
  const { folder, text } = await runDemo();
  try {
    await mkdir(PICTURES, { recursive: true });
    const browser = await chromium.launch({
      executablePath: process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium',
      args: CHROMIUM_FLAGS,
    });
    try {
      const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, colorScheme: 'light' });
      await page.goto(pathToFileURL(join(folder, 'sysmon-vt-report.html')).href);
      await page.screenshot({ path: join(PICTURES, 'report.png') });
      await page
        .locator('details[open]')
        .nth(1)
        .screenshot({ path: join(PICTURES, 'story.png') });
      // A page of its own: the report's policy would forbid this one its style.
      const terminal = await browser.newPage({ viewport: { width: 1200, height: 900 } });
      await terminal.setContent(terminalPage(text));
      await terminal.locator('pre').screenshot({ path: join(PICTURES, 'terminal.png') });
    } finally {
      await browser.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Runs the demo as on a terminal and returns where it left its files and what it said of the first run. */
async function runDemo(): Promise<{ readonly folder: string; readonly text: string }> {
  const command = `${process.execPath} ${join(ROOT, 'dist/cli.js')} demo --keep`;
  // `script` gives the program a terminal, so that it shows its colours.
  const { stdout } = await promisify(execFile)('script', ['-qec', command, '/dev/null'], {
    maxBuffer: 16 * 1024 * 1024,
  });
  const folder = /Logs and results are in (\S+)/.exec(stdout)?.[1];
  if (folder === undefined) throw new Error('the demo did not say where its files are');
  const first = stdout.slice(stdout.indexOf('$ sysmon-vt enrich'), stdout.indexOf('$ sysmon-vt report'));
  // Progress lines overwrite one another on a terminal; only what stays is shown.
  const lines = first.split('\n').map((line) => line.slice(line.lastIndexOf('\u001b[2K') + 1).replace(/^\[2K/, ''));
  const kept = lines
    .map((line) => line.replace(/\r/g, ''))
    .filter((line) => !line.startsWith('VirusTotal:') && !line.startsWith('Its verdicts'));
  return { folder, text: kept.join('\n').trim() };
}

function terminalPage(text: string): string {
  const escaped = text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
  const coloured = escaped
    .split('\u001b[')
    .map((part, index) => {
      const end = part.indexOf('m');
      if (index === 0 || end < 0) return part;
      const colour = ANSI_COLOURS.get(part.slice(0, end));
      return `${colour === undefined ? '</span>' : `<span style="color:${colour}">`}${part.slice(end + 1)}`;
    })
    .join('');
  return `<!doctype html><body style="margin:0;background:#0d1117"><pre style="display:inline-block;margin:0;padding:20px 28px;background:#0d1117;color:#c9d1d9;font:14px/1.45 'DejaVu Sans Mono',monospace">${coloured}</pre>`;
}

await main();
