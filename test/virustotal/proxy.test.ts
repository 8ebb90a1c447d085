import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { openClient } from '../../src/virustotal/client.js';
import { proxyFromEnvironment } from '../../src/virustotal/proxy.js';

const HOST = 'https://www.virustotal.com';

describe('the proxy', () => {
  const proxy = (environment: { readonly [name: string]: string }, baseUrl = `${HOST}/api/v3`) =>
    proxyFromEnvironment(environment, baseUrl);

  it('comes from HTTPS_PROXY, with decoded credentials', () => {
    expect(proxy({ HTTPS_PROXY: 'http://user:pa%40ss@proxy.example:3128' })).toEqual({
      protocol: 'http',
      host: 'proxy.example',
      port: 3128,
      auth: { username: 'user', password: 'pa@ss' },
    });
    expect(proxy({ https_proxy: 'proxy.example:8080', HTTPS_PROXY: 'http://other' })).toMatchObject({
      host: 'proxy.example',
    });
  });

  it.each([
    '*',
    'www.virustotal.com',
    '.virustotal.com',
    'virustotal.com',
    'a.example, *.virustotal.com',
    'virustotal.com:443',
  ])('is not used with NO_PROXY=%s', (NO_PROXY) => {
    expect(proxy({ HTTPS_PROXY: 'http://proxy.example', NO_PROXY })).toBeUndefined();
  });

  it.each(['total.com', 'virustotal.com:8443', 'www.virustotal.com.example'])(
    'is used with NO_PROXY=%s',
    (NO_PROXY) => {
      expect(proxy({ HTTPS_PROXY: 'http://proxy.example', NO_PROXY })).toMatchObject({ port: 80 });
    },
  );

  it('is not used for loopback', () => {
    expect(proxy({ HTTPS_PROXY: 'http://proxy.example' }, 'http://127.0.0.1:8080/api/v3')).toBeUndefined();
  });

  it.each(['http://us%er:secret@proxy', 'socks5://user:secret@proxy', 'http://user:secret@:x'])(
    'is refused without showing its password: %s',
    (HTTPS_PROXY) => {
      expect(() => proxy({ HTTPS_PROXY })).toThrow(/^(?!.*secret).*BAD_SETTING/);
    },
  );

  it('is asked for a tunnel with those credentials, and its refusals are not taken for VirusTotal’s', async () => {
    const tunnels: unknown[] = [];
    const statuses = ['407 Proxy Authentication Required', '403 Forbidden', '502 Bad Gateway'];
    const server = createServer().on('connect', (request, socket) => {
      tunnels.push([request.url, request.headers['proxy-authorization'], request.headers['x-apikey']]);
      socket.end(`HTTP/1.1 ${statuses.shift()}\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n`);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const opened = await openClient({
      baseUrl: `${HOST}/api/v3`,
      key: 'secret key',
      version: '1',
      timeoutMs: 2000,
      clock: systemClock,
      proxy: {
        protocol: 'http',
        host: '127.0.0.1',
        port: (server.address() as AddressInfo).port,
        auth: { username: 'user', password: 'p@ss word' },
      },
    });
    const attempts = [
      await opened.ask('a'.repeat(40)),
      await opened.ask('a'.repeat(40)),
      await opened.ask('a'.repeat(40)),
    ];
    server.close();
    opened.close();
    expect(attempts).toMatchObject([
      { kind: 'bad_answer', why: expect.stringContaining('proxy') },
      { kind: 'refused', message: expect.stringContaining('proxy') },
      { kind: 'transient' },
    ]);
    const authorization = `Basic ${Buffer.from('user:p@ss word').toString('base64')}`;
    expect(new Set(tunnels.map(String))).toEqual(new Set([`www.virustotal.com:443,${authorization},`]));
    expect(inspect([attempts, opened], { depth: 8, showHidden: true })).not.toMatch(/p@ss|secret|dXNlcj/);
  });

  it('that cannot be reached is told without its password', async () => {
    const opened = await openClient({
      baseUrl: `${HOST}/api/v3`,
      key: 'secret key',
      version: '1',
      timeoutMs: 2000,
      clock: systemClock,
      proxy: { protocol: 'http', host: '127.0.0.1', port: 9, auth: { username: 'user', password: 'p@ss word' } },
    });
    const attempt = await opened.ask('a'.repeat(40));
    expect(attempt).toEqual({ kind: 'transient', why: 'no connection (ECONNREFUSED)' });
  });
});
