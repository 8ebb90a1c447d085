import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, 'docs', path), 'utf8');
const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
const help = execFileSync(process.execPath, [join(ROOT, 'dist/cli.js'), 'enrich', '--help'], { encoding: 'utf8' });

/** The command as the scheduler runs it, from the subcommand on. */
const COMMANDS: Readonly<Record<string, string | undefined>> = {
  'systemd/sysmon-vt.service': /^ExecStart=.*?\b(enrich .*)$/m.exec(read('systemd/sysmon-vt.service'))?.[1],
  'cron/sysmon-vt': /^\d.*\b(enrich .*)$/m.exec(read('cron/sysmon-vt'))?.[1],
  'windows/sysmon-vt.xml': /<Arguments>.*?\b(enrich .*?)<\/Arguments>/.exec(read('windows/sysmon-vt.xml'))?.[1],
};

describe('the service files in docs/', () => {
  it.each(Object.entries(COMMANDS))('%s: runs a command line that there is', (_path, command) => {
    const options = [...(command ?? '').matchAll(/--[a-z-]+/g)].map(([option]) => option);
    expect(options).toContain('--out');
    for (const option of options) expect(help).toContain(`${option} <`.replace('--quiet <', '--quiet'));
  });

  // Other systems have none.
  if (hasSystemd) {
    it('the systemd units satisfy systemd-analyze verify', () => {
      const { status, stderr } = spawnSync(
        'systemd-analyze',
        [
          'verify',
          '--man=no',
          join(ROOT, 'docs/systemd/sysmon-vt.service'),
          join(ROOT, 'docs/systemd/sysmon-vt.timer'),
        ],
        { encoding: 'utf8' },
      );
      // It speaks of other units of this machine too.
      expect(stderr.split('\n').filter((line) => line.includes('sysmon-vt'))).toEqual([]);
      expect(status).toBe(0);
    });
  }

  it('the systemd service keeps the key from others and the system from the service', () => {
    const unit = read('systemd/sysmon-vt.service');
    for (const line of ['DynamicUser=yes', 'UMask=0077', 'NoNewPrivileges=yes', 'ProtectSystem=strict']) {
      expect(unit).toContain(`\n${line}\n`);
    }
    expect(unit).toMatch(/^LoadCredential=vt_api_key:/m);
    expect(unit).not.toMatch(/^Environment=VT_API_KEY=/m);
  });

  it('the cron line has five times, a user and a command, and no % that cron would take for a line feed', () => {
    const lines = read('cron/sysmon-vt')
      .split('\n')
      .filter((line) => /^[^#A-Z\s]/.test(line));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^(\d+|\*) (\d+|\*) (\d+|\*) (\d+|\*) (\d+|\*) [a-z-]+ sysmon-vt enrich \S/);
    expect(lines[0]).not.toContain('%');
  });

  it('the task of the Task Scheduler is well-formed, and each element is closed where it was opened', () => {
    const xml = read('windows/sysmon-vt.xml');
    const open: string[] = [];
    for (const [, slash, name = ''] of xml
      .replace(/<\?.*?\?>|<!--(?:(?!--)[\s\S])*-->/g, '')
      .matchAll(/<(\/?)([A-Za-z]+)[^<>]*>/g)) {
      if (slash === '') open.push(name);
      else expect(open.pop()).toBe(name);
    }
    expect(open).toEqual([]);
    expect(xml).toContain('http://schemas.microsoft.com/windows/2004/02/mit/task');
    expect(xml).not.toMatch(/[^\x20-\x7e\n]/);
  });
});
