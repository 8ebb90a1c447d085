import { UsageError } from '../errors.js';
import { algorithmOf, parseHashes } from '../hash.js';
import { escapeControls, shorten } from '../terminal.js';

/** Far longer than any line with a digest and a path. */
const MAX_LINE_LENGTH = 64 * 1024;

/**
 * Reads the lines of a list of hashes, whichever program wrote it: bare digests, `sha1sum` and `--tag` lines, CSV with or without a
 * header (`Get-FileHash | Export-Csv`), `certutil -hashfile`, Sysmon's `SHA1=…,MD5=…`; `#` comments and blank lines.
 */
export class HashListReader {
  readonly #path: string;
  #line = 0;
  /** Columns with hashes, once a CSV header has been met. */
  #columns: readonly number[] | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** The digests of the next line, as written. Throws UsageError (BAD_SETTING) for a line that no hash list has. */
  read(line: string): readonly string[] {
    this.#line++;
    if (line.length > MAX_LINE_LENGTH) throw this.#refuse(line);
    const text = line.replace(/^\ufeff/, '').trim();
    if (text === '' || /^(#|;|\/\/)/.test(text)) return [];
    // `certutil -hashfile` prints a heading that ends in a colon, in the user's language, the digest, and a line about itself.
    if (/^(SHA-?(1|256)|MD5)\b.*:$/i.test(text) || /^CertUtil: /i.test(text)) return [];
    if (/^(SHA-?(1|256)|MD5)=/i.test(text)) return this.#required(Object.values(parseHashes(text)), line);
    const tagged = /^\\?(SHA-?1|SHA2?-?256|MD5) ?\(.*\) ?= ?([0-9a-f]+)$/i.exec(text);
    if (tagged !== null) return this.#required(digests(tagged[2] ?? ''), line);

    if (this.#columns !== undefined) {
      const cells = splitCsv(text);
      return this.#required(
        this.#columns.flatMap((column) => digests(cells[column] ?? '')),
        line,
      );
    }
    const columns = headerColumns(text);
    if (columns.length > 0) {
      this.#columns = columns;
      return [];
    }
    // A digest, alone or followed by something else; `\` before it says that the name after it is escaped.
    const first = /^\\?"?([0-9a-f]{32,64})"?(?=$|[\s,;|*])/i.exec(text)?.[1];
    // Old versions of certutil put blanks between the bytes.
    const spaced = /^([0-9a-f]{2} ){15,31}[0-9a-f]{2}$/i.test(text) ? text.replaceAll(' ', '') : undefined;
    return this.#required(digests(spaced ?? first ?? ''), line);
  }

  #required(found: readonly string[], line: string): readonly string[] {
    if (found.length === 0) throw this.#refuse(line);
    return found;
  }

  #refuse(line: string): UsageError {
    return new UsageError(
      'BAD_SETTING',
      `${this.#path}: line ${this.#line} holds no MD5, SHA1 or SHA256, so this is taken for no hash list: ${escapeControls(shorten(line, 60))}`,
    );
  }
}

/** The digests in a MISP warninglist (`{"type":"string","list":[…]}`). Throws UsageError (BAD_SETTING) where it is none or has none. */
export function readWarninglist(text: string, path: string): readonly string[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UsageError('BAD_SETTING', `${path}: begins like JSON but is none`, { cause: error });
  }
  const list = typeof json === 'object' && json !== null && 'list' in json ? json.list : undefined;
  if (!Array.isArray(list)) {
    throw new UsageError('BAD_SETTING', `${path}: JSON without a "list", so no MISP warninglist`);
  }
  // Lists mix algorithms, `filename|sha1` and fuzzy hashes; what is no digest names no file by its content.
  const found = list.flatMap((value: unknown) => (typeof value === 'string' ? value.split('|').flatMap(digests) : []));
  if (found.length === 0) throw new UsageError('BAD_SETTING', `${path}: a warninglist without any hash of a file`);
  return found;
}

function digests(text: string): string[] {
  return algorithmOf(text) === undefined ? [] : [text.trim()];
}

/** Columns that name files by their content. An import hash looks like an MD5 and is none. */
function headerColumns(text: string): readonly number[] {
  return splitCsv(text).flatMap((cell, column) =>
    /^(file)?[ _-]?(hash(es)?|md5|sha-?1|sha-?256|digest)([ _-]?(hash|value|sum))?$/i.test(cell) ? [column] : [],
  );
}

function splitCsv(text: string): string[] {
  const separator = text.includes(',') || !text.includes(';') ? ',' : ';';
  const cells: string[] = [];
  let cell = '';
  let isQuoted = false;
  for (const letter of text) {
    if (letter === '"') isQuoted = !isQuoted;
    else if (letter === separator && !isQuoted) {
      cells.push(cell.trim());
      cell = '';
    } else cell += letter;
  }
  cells.push(cell.trim());
  return cells;
}
