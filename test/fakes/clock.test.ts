import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { selfMovingClock } from './clock.js';

const START = '2026-03-04T07:00:00.000Z';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
};

describe('the clock of the tests', () => {
  it('stands still while a request is under way, however long that takes, and then moves on', async () => {
    const clock = selfMovingClock(START);
    const arrivals: string[] = [];
    server = createServer(async (_request, response) => {
      await turns(50);
      arrivals.push(clock.now().toISOString());
      response.end('ok');
    });
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const answered = new Promise<string>((resolve, reject) => {
      get(`http://127.0.0.1:${port}`, (response) => {
        response.resume().on('end', () => resolve(clock.now().toISOString()));
      }).on('error', reject);
    });
    const slept = clock.sleep(60_000);
    expect(await answered).toBe(START);
    expect(arrivals).toEqual([START]);
    await slept;
    expect(clock.now().toISOString()).toBe('2026-03-04T07:01:00.000Z');
  });

  it('stands still while a file is written', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-clock-'));
    const clock = selfMovingClock(START);
    const slept = clock.sleep(60_000);
    await writeFile(join(folder, 'large'), Buffer.alloc(32 * 1024 * 1024));
    expect(clock.now().toISOString()).toBe(START);
    await slept;
    await rm(folder, { recursive: true });
  });

  it('wakes sleepers in the order of their alarms', async () => {
    const clock = selfMovingClock(START);
    const woken: number[] = [];
    await Promise.all([3000, 1000, 2000].map((ms) => clock.sleep(ms).then(() => woken.push(ms))));
    expect(woken).toEqual([1000, 2000, 3000]);
  });
});
