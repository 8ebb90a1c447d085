import { UsageError } from '../errors.js';

/** A proxy as axios takes it, its credentials decoded. */
export interface HttpProxy {
  readonly protocol: 'http' | 'https';
  readonly host: string;
  readonly port: number;
  readonly auth?: { readonly username: string; readonly password: string };
}

/**
 * The proxy to reach `baseUrl` by, as `HTTPS_PROXY` and `NO_PROXY` say (lower-case names win, as with curl), or undefined for none.
 * Plain http goes to loopback only, never through a proxy. Throws UsageError BAD_SETTING, without the value: it may hold a password.
 * Ours because axios passes percent-encoded credentials on undecoded.
 */
export function proxyFromEnvironment(
  environment: { readonly [name: string]: string | undefined },
  baseUrl: string,
): HttpProxy | undefined {
  const target = new URL(baseUrl);
  if (target.protocol !== 'https:') return undefined;
  const setting = environment['https_proxy'] || environment['HTTPS_PROXY'];
  if (!setting) return undefined;
  if (isExempt(target, environment['no_proxy'] || environment['NO_PROXY'] || '')) return undefined;
  // `proxy.example:3128` without a scheme is common.
  const address = setting.includes('://') ? setting : `http://${setting}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UsageError('BAD_SETTING', 'HTTPS_PROXY: expected http://[user:password@]host:port');
  }
  const protocol = url.protocol === 'https:' ? 'https' : 'http';
  const port = url.port === '' ? (protocol === 'https' ? 443 : 80) : Number(url.port);
  const username = decoded(url.username);
  const password = decoded(url.password);
  const auth = username === '' && password === '' ? {} : { auth: { username, password } };
  return { protocol, host: url.hostname, port, ...auth };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new UsageError('BAD_SETTING', 'HTTPS_PROXY: a % in the user name or password has to be written as %25');
  }
}

/** `NO_PROXY`: `*`, or hosts apart by commas or blanks; each also exempts the hosts below it; `:port` narrows it to that port. */
function isExempt(target: URL, exemptions: string): boolean {
  const port = target.port === '' ? '443' : target.port;
  return exemptions
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((exemption) => exemption !== '')
    .some((exemption) => {
      if (exemption === '*') return true;
      const [, host = '', onlyPort] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(exemption) ?? [];
      if (onlyPort !== undefined && onlyPort !== port) return false;
      return target.hostname === host || target.hostname.endsWith(`.${host}`);
    });
}
