import { readFileSync } from 'node:fs';

/** The folder of this installation, which the sources and what is built of them lie one below. */
export const PACKAGE_ROOT = new URL('..', import.meta.url);

/** The version of this package. */
export function packageVersion(): string {
  const { version }: { readonly version: string } = JSON.parse(
    readFileSync(new URL('package.json', PACKAGE_ROOT), 'utf8'),
  );
  return version;
}
