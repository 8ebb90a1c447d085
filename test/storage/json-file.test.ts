import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Low } from 'lowdb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StorageError } from '../../src/errors.js';
import { jsonFile, makeFolder, writeFileDurably } from '../../src/storage/json-file.js';
import { storageError } from '../../src/storage/storage-error.js';

interface Shelf {
  readonly books: readonly string[];
}

let folder: string;
let path: string;
let setAside: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-json-'));
  path = join(folder, 'shelf.json');
  setAside = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function readShelf(json: unknown): Shelf | undefined {
  if (typeof json !== 'object' || json === null || !('books' in json) || !Array.isArray(json.books)) return undefined;
  return { books: json.books.map(String) };
}

const shelf = (): ReturnType<typeof jsonFile<Shelf>> => jsonFile(path, readShelf, (aside) => setAside.push(aside));

describe('jsonFile', () => {
  it('is empty where there is no file, and there again after a write', async () => {
    expect(await shelf().read()).toBeNull();
    await shelf().write({ books: ['a', 'b'] });
    expect(await shelf().read()).toEqual({ books: ['a', 'b'] });
    expect(await readFile(path, 'utf8')).toBe('{"books":["a","b"]}');
    expect(await readdir(folder)).toEqual(['shelf.json']);
  });

  it('reaches the disk through lowdb under a test runner too', async () => {
    const shelves = new Low<Shelf>(shelf(), { books: [] });
    await shelves.read();
    await shelves.update((data) => {
      shelves.data = { books: [...data.books, 'new'] };
    });
    await shelves.write();
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ books: ['new'] });
  });

  it.runIf(process.platform !== 'win32')('keeps files to their owner', async () => {
    await shelf().write({ books: [] });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['nothing', ''],
    ['half a document', '{"books":["a"'],
    ['zeros', '\0\0\0\0'],
    ['another shape', '{"records":[]}'],
  ])('sets a file that holds %s aside and says so', async (_, content) => {
    await writeFile(path, content);
    expect(await shelf().read()).toBeNull();
    expect(setAside).toHaveLength(1);
    expect(setAside[0]).toMatch(/shelf\.json\.corrupt-\d{4}-\d\d-\d\dT[0-9-]+\.\d{3}Z-/);
    expect(await readFile(setAside[0] ?? '', 'utf8')).toBe(content);
    expect(await shelf().read()).toBeNull();
    expect(setAside).toHaveLength(1);
  });

  it('keeps two damaged files of one moment apart', async () => {
    for (const content of ['first', 'second']) {
      await writeFile(path, content);
      await shelf().read();
    }
    expect(new Set(setAside).size).toBe(2);
  });

  it('lets no file reach the prototype of objects', async () => {
    await writeFile(path, '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"books":[]}');
    expect(await shelf().read()).toEqual({ books: [] });
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('survives many writers at once: the file is always one of the written ones', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => shelf().write({ books: [String(index)] })));
    expect((await shelf().read())?.books).toHaveLength(1);
    expect(await readdir(folder)).toEqual(['shelf.json']);
  });

  it('names the path and the next step where it cannot read', async () => {
    await writeFile(join(folder, 'file'), '');
    path = join(folder, 'file', 'shelf.json');
    await expect(shelf().read()).rejects.toThrow(StorageError);
    await expect(shelf().read()).rejects.toThrow(/file.shelf\.json: cannot read: .*choose another folder \[CACHE\]/);
  });
});

describe('writeFileDurably', () => {
  it('leaves the old file and no temporary one where it fails', async () => {
    await writeFileDurably(path, 'old');
    const directory = join(folder, 'taken');
    await writeFileDurably(join(folder, 'other'), 'other');
    await mkdir(join(directory, 'inside'), { recursive: true });
    await expect(writeFileDurably(directory, 'new')).rejects.toThrow(StorageError);
    expect((await readdir(folder)).sort()).toEqual(['other', 'shelf.json', 'taken']);
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('says that the folder is missing', async () => {
    await expect(writeFileDurably(join(folder, 'none', 'file'), '')).rejects.toThrow(/none.file: cannot write: ENOENT/);
  });

  it.runIf(process.platform === 'linux')('names a full disk', async () => {
    // /dev/full cannot be replaced by a rename, so the text is checked where every error passes.
    const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    expect(storageError('write', '/cache/abc.json', full).message).toBe(
      '/cache/abc.json: cannot write: the disk is full: free some space, then run again [CACHE]',
    );
  });

  if (process.getuid?.() !== 0 && process.platform !== 'win32') {
    it('names a folder it may not write', async () => {
      await chmod(folder, 0o500);
      await expect(writeFileDurably(path, '')).rejects.toThrow(/permission denied/);
      await chmod(folder, 0o700);
    });
  }
});

describe('makeFolder', () => {
  it('makes what is missing, for this user only, and takes what is there', async () => {
    const deep = join(folder, 'a', 'b', 'c');
    await makeFolder(deep);
    await Promise.all([makeFolder(deep), makeFolder(join(folder, 'a', 'd', 'e')), makeFolder(join(folder, 'a', 'd'))]);
    for (const path of [deep, join(folder, 'a'), join(folder, 'a', 'd', 'e')]) {
      const status = await stat(path);
      expect(status.isDirectory()).toBe(true);
      if (process.platform !== 'win32') expect(status.mode & 0o777).toBe(0o700);
    }
  });

  it('says so where a file is in the way', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(makeFolder(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(makeFolder(join(folder, 'file', 'below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  it.runIf(process.platform === 'linux')('ends where no folder can be made at all', async () => {
    await expect(makeFolder('/proc/nowhere/below')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
