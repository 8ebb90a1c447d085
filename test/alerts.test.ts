import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AlertChannel,
  type AlertOutbox,
  commandChannel,
  openAlertOutbox,
  parseCommand,
  webhookChannel,
} from '../src/alerts.js';
import type { NewlyMalicious } from '../src/changes.js';
import { selfMovingClock } from './fakes/clock.js';

const HASH = '66728a632c7cd5b5d22bc7fc91fb3158505d3844';
const SHA256 = '237ea8ec2590acb05a775cbbbbe70593f247458031a12a4927a8e5ad59c7d81f';

let folder: string;
let reports: string[];
const clock = selfMovingClock('2026-03-04T07:00:00Z');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-alerts-'));
  reports = [];
});
afterEach(() => rm(folder, { recursive: true }));

const open = (...channels: AlertChannel[]): AlertOutbox =>
  openAlertOutbox({ folder, channels, clock, onReport: (report) => reports.push(report) });

function malicious(hash = HASH, image = 'C:\\Temp\\a.exe'): NewlyMalicious {
  return {
    hash,
    sha256: SHA256,
    label: 'trojan.lynx/win32',
    before: { verdict: 'undetected', detections: 0, engines: 70, askedAt: new Date('2026-03-03T02:00:00Z') },
    after: { verdict: 'malicious', detections: 23, engines: 70, askedAt: new Date('2026-03-04T02:00:00Z') },
    seen: {
      records: 5,
      hosts: 3,
      hostNames: ['ws-1', 'ws-2', 'ws-3'],
      images: [image],
      users: ['CORP\\m.weber'],
      logs: ['night.evtx'],
      firstSeen: new Date('2026-03-01T04:22:00Z'),
    },
  };
}

/** A channel that takes what it is given, or says why not. */
function channel(name = 'ALERT_URL'): AlertChannel & { taken: string[]; failure: string | undefined; tries: number } {
  const fake = {
    name,
    taken: [] as string[],
    failure: undefined as string | undefined,
    tries: 0,
    send: async (alert: string) => {
      fake.tries++;
      if (fake.failure === undefined) fake.taken.push(alert);
      return fake.failure;
    },
  };
  return fake;
}

describe('the outbox', () => {
  it('delivers each alert once, over all runs, however often the same fact comes', async () => {
    const hook = channel();
    await open(hook).add(malicious());
    await open(hook).add(malicious());
    expect(await open(hook).deliver()).toEqual({ delivered: 1, waiting: 0, failures: [] });
    await open(hook).add(malicious());
    expect(await open(hook).deliver()).toEqual({ delivered: 0, waiting: 0, failures: [] });
    expect(hook.taken).toHaveLength(1);
  });

  it('keeps what could not be delivered for the next run, and does not try a broken channel again in this one', async () => {
    const hook = channel();
    hook.failure = 'hooks.example answered HTTP 503';
    await open(hook).add(malicious());
    await open(hook).add(malicious('a'.repeat(40)));
    const failed = await open(hook).deliver();
    expect(failed).toMatchObject({ delivered: 0, waiting: 2 });
    expect(failed.failures).toEqual([expect.stringContaining('ALERT_URL: hooks.example answered HTTP 503')]);
    expect(hook.tries).toBe(1);
    hook.failure = undefined;
    expect(await open(hook).deliver()).toMatchObject({ delivered: 2, waiting: 0 });
  });

  it('delivers on every channel, and on one that failed alone again', async () => {
    const hook = channel();
    const program = channel('--exec');
    program.failure = 'exit status 1';
    await open(hook, program).add(malicious());
    expect(await open(hook, program).deliver()).toMatchObject({ delivered: 1, waiting: 1 });
    program.failure = undefined;
    expect(await open(hook, program).deliver()).toMatchObject({ delivered: 1, waiting: 0 });
    expect([hook.taken.length, program.taken.length]).toEqual([1, 1]);
  });

  it('tells again of a file that was no longer malicious in between', async () => {
    const hook = channel();
    await open(hook).add(malicious());
    await open(hook).deliver();
    await open(hook).withdraw(HASH);
    await open(hook).add(malicious());
    expect(await open(hook).deliver()).toMatchObject({ delivered: 1 });
  });

  it('drops an alert that came to nothing before it left', async () => {
    const hook = channel();
    await open(hook).add(malicious());
    await open(hook).withdraw(HASH);
    expect(await open(hook).deliver()).toMatchObject({ delivered: 0, waiting: 0 });
  });

  it('keeps nothing where nobody is to be told', async () => {
    await open().add(malicious());
    await open().withdraw(HASH);
    expect(await open().deliver()).toEqual({ delivered: 0, waiting: 0, failures: [] });
    expect(await readdir(folder)).toEqual([]);
  });

  it('gives up after 30 days what no run has a channel for, and says so', async () => {
    await open(channel('--exec')).add(malicious());
    clock.advance(31 * 86_400_000);
    const hook = channel();
    await open(hook).deliver();
    expect(reports).toEqual([expect.stringContaining(`the alert on ${HASH} for --exec is given up`)]);
  });

  it('sets a damaged outbox aside and says so', async () => {
    const hook = channel();
    await open(hook).add(malicious());
    await writeFile(join(folder, 'alerts.json'), '{"waiting":');
    expect(await open(hook).deliver()).toMatchObject({ delivered: 0 });
    expect(reports).toEqual([expect.stringContaining('alerts.json.corrupt-')]);
  });
});

describe('an alert', () => {
  async function sent(file: NewlyMalicious): Promise<{ text: string; [name: string]: unknown }> {
    const hook = channel();
    await open(hook).add(file);
    await open(hook).deliver();
    return JSON.parse(hook.taken[0] ?? '');
  }

  it('says what, since when and where: text for people, members for programs', async () => {
    const { text, ...rest } = await sent(malicious());
    expect(text).toBe(
      'Malicious: `C:\\Temp\\a.exe` (23/70 engines on VirusTotal, `trojan.lynx/win32`); it was 0/70 on 2026-03-03. ' +
        `Ran on 3 hosts, 5 times, first at 2026-03-01 04:22 UTC (\`ws-1\`, \`ws-2\`, \`ws-3\`). https://www.virustotal.com/gui/file/${SHA256}`,
    );
    expect(rest).toMatchObject({
      event: 'newly_malicious',
      hash: HASH,
      before: { verdict: 'undetected', detections: 0 },
      after: { verdict: 'malicious', detections: 23, engines: 70 },
      seen: { records: 5, hosts: 3, host_names: ['ws-1', 'ws-2', 'ws-3'], first_seen: '2026-03-01T04:22:00.000Z' },
    });
  });

  it('is harmless and short, whatever an attacker calls his program', async () => {
    const { text } = await sent(
      malicious(HASH, `<!channel> \`x\` \u202e\n<https://evil.example|click>${'A'.repeat(5000)}`),
    );
    expect(text).toContain("`&lt;!channel&gt; 'x' \\u{202e}\\u{a}&lt;https://evil.example|click&gt;");
    expect(text).not.toMatch(/[<>\n\u202e]/);
    expect(text.length).toBeLessThanOrEqual(1500);
  });
});

describe('ALERT_URL', () => {
  let server: Server;
  let url: string;
  let bodies: string[];
  let statuses: number[];
  let headers: Record<string, string>;

  beforeEach(async () => {
    bodies = [];
    statuses = [];
    headers = {};
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        bodies.push(`${request.method} ${request.headers['content-type']} ${body}`);
        response.writeHead(statuses.shift() ?? 200, headers).end('ok');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/services/T0/B0/secret-token`;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const send = (): Promise<string | undefined> =>
    webhookChannel({ url, version: '1.0.0', clock }).send('{"text":"Malicious"}\n');

  it('gets each alert as a POST of JSON', async () => {
    expect(await send()).toBeUndefined();
    expect(bodies).toEqual(['POST application/json {"text":"Malicious"}']);
  });

  it('is tried again where that may help', async () => {
    statuses = [503, 429];
    headers = { 'retry-after': '5' };
    expect(await send()).toBeUndefined();
    expect(bodies).toHaveLength(3);
  });

  it('is told to have refused what it refuses, without its token', async () => {
    statuses = [404];
    expect(await send()).toBe(`${new URL(url).host} answered HTTP 404`);
    expect(bodies).toHaveLength(1);
  });

  it('follows no redirect', async () => {
    statuses = [302];
    headers = { location: 'http://127.0.0.1:1/' };
    expect(await send()).toContain('answered HTTP 302');
  });

  it('is told to be out of reach, without its token', async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const failure = await send();
    expect(failure).toContain('could not be reached (ECONNREFUSED), 3 attempts');
    expect(failure).not.toContain('secret-token');
  });
});

describe('--exec', () => {
  const node = process.execPath;
  const script = async (source: string): Promise<string> => {
    const path = join(folder, 'take alert.mjs');
    await writeFile(path, source);
    return `${node} "${path}" first "second word"`;
  };
  const env = { PATH: process.env['PATH'] };

  it('runs a program without a shell and gives it the alert on standard input', async () => {
    const out = join(folder, 'out.json');
    const command = await script(
      `import { readFileSync, writeFileSync } from 'node:fs';
       writeFileSync(${JSON.stringify(out)}, JSON.stringify([process.argv.slice(2), readFileSync(0, 'utf8')]));`,
    );
    const alert = '{"text":"$(touch /tmp/owned) `id` ; rm -rf"}\n';
    expect(await commandChannel({ command, env }).send(alert)).toBeUndefined();
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual([['first', 'second word'], alert]);
  });

  it('has failed where the program says so, and its words are told', async () => {
    const command = await script(`console.error('no such channel'); process.exit(4);`);
    expect(await commandChannel({ command, env }).send('{}')).toContain('exit status 4: no such channel');
  });

  it('has failed where the program cannot be started or does not end', async () => {
    expect(await commandChannel({ command: join(folder, 'nowhere'), env }).send('{}')).toContain(
      'could not be started',
    );
    const command = await script('setInterval(() => undefined, 1000);');
    expect(await commandChannel({ command, env, timeoutMs: 300 }).send('{}')).toContain('ended by SIGKILL');
  });

  it('has succeeded where the program does not care to read', async () => {
    const command = await script('process.exit(0);');
    expect(await commandChannel({ command, env }).send('x'.repeat(1024 * 1024))).toBeUndefined();
  });

  it.each([
    ['notify', ['notify']],
    ['  /opt/a/notify   --level high ', ['/opt/a/notify', '--level', 'high']],
    ['"C:\\Program Files\\n.exe" --to="the team" $HOME', ['C:\\Program Files\\n.exe', '--to=the team', '$HOME']],
  ])('splits %j at blanks, with double quotes', (command, words) => {
    expect(parseCommand(command)).toEqual(words);
  });

  it.each(['', '   ', '"unclosed', '"" x'])('refuses %j', (command) => {
    expect(() => parseCommand(command)).toThrow('--exec');
  });
});
