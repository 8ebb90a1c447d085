import { baseName, stemOf } from './windows.js';

/** Extensions that Windows starts as programs of their own. */
const PROGRAM_EXTENSIONS: ReadonlySet<string> = new Set([
  'exe',
  'com',
  'scr',
  'pif',
  'cpl',
  'bat',
  'cmd',
  'bin',
  'tmp',
]);

/** Extensions of what people open without a thought; before `.exe` they are there to deceive. */
const DOCUMENT_EXTENSION =
  /\.(pdf|docx?|docm|xlsx?|xlsm|pptx?|rtf|txt|csv|jpe?g|png|gif|bmp|mp[34]|avi|mov|wav|zip|rar|7z|html?|eml|msg|lnk|one|iso|img)[\s._-]*\.[a-z]{2,4}$/i;

/** Words that make a recipient open an attachment. */
const LURE =
  /(^|[^a-z])(invoice|receipt|payment|remittance|swift|purchase|quotation|shipment|shipping|delivery|parcel|resume|curriculum|salary|bonus|statement|scan(ned)?|document|contract|agreement|order|notice|voucher|tax|fax|photo|image)s?([^a-z]|$)/i;

const INSTALLER =
  /(^|[^a-z])(setup|install(er)?|uninst(all(er)?)?|update(r|s)?|upgrade|autoupdate|patch|bootstrap(per)?|redist|deploy|msi)([^a-z]|$)|(setup|install(er)?|updat(er?|e)|upd|redist(ributable)?s?|bootstrapper)([-_. ]?[\d.x_()-]+)?$/i;

/** Whether a name hides that it is a program: a document's extension before the real one, text turned around, or padding. */
export function isDeceptive(name: string): boolean {
  // U+202A–U+202E and U+2066–U+2069 turn the reading direction, so `exe.pdf` may be read where `fdp.exe` stands.
  return DOCUMENT_EXTENSION.test(name) || /[\u202a-\u202e\u2066-\u2069]/.test(name) || /\s{4,}\S*$/.test(name);
}

/** Whether a program's file has an extension that programs do not have. A name without any is not judged. */
export function hasOddExtension(name: string): boolean {
  const dot = name.lastIndexOf('.');
  return dot > 0 && !PROGRAM_EXTENSIONS.has(name.slice(dot + 1).toLowerCase());
}

/** Whether a file is a screen saver, a control panel or of another kind that is a program but looks like none. */
export function hasDisguisedExtension(name: string): boolean {
  return /\.(scr|pif|com|cpl)$/i.test(name);
}

/** Whether a name promises a document. */
export function isLure(name: string): boolean {
  return LURE.test(stemOf(name));
}

/** Whether a name is one that installers and updaters have. */
export function isInstallerName(name: string): boolean {
  return INSTALLER.test(stemOf(name));
}

/** Whether a name is too short to have been chosen for anybody to read: `a`, `x1`, `123`. */
export function isTerse(name: string): boolean {
  return /^([a-z]{1,2}\d?|\d{1,6}|[a-z]\d{1,3})$/i.test(stemOf(name));
}

/** Whether a name looks drawn at random: letters and digits, or cases, mixed beyond use, or hardly to be pronounced. */
export function looksRandom(name: string): boolean {
  const stem = stemOf(name);
  if (stem.length < 6 || stem.length > 64) return false;
  // Installers call their temporary files by GUIDs and dates; these are not drawn to hide anything.
  if (/[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}/i.test(stem) || /^\D*\d{4}[-_.]?\d{2}[-_.]?\d{2}\D*$/.test(stem))
    return false;
  for (const word of stem.split(/[\s._\-+()[\]{}]+/)) {
    if (word.length >= 6 && isRandomWord(word)) return true;
  }
  return false;
}

function isRandomWord(word: string): boolean {
  if (/^(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}$/i.test(word)) return true;
  const digitChanges = (word.match(/\d(?=[a-z])|[a-z](?=\d)/gi) ?? []).length;
  // `aBcDe`: upper case inside words, more often than CamelCase of words of two letters would have it.
  const humps = (word.match(/[a-z][A-Z](?![A-Z]|[a-z]{2})/g) ?? []).length;
  if (digitChanges + humps >= 3 || humps >= 2) return true;
  if (!/^[a-z]+$/i.test(word)) return false;
  const lower = word.toLowerCase();
  if (/[bcdfghjklmnpqrstvwxz]{6}/.test(lower)) return true;
  const vowels = (lower.match(/[aeiouy]/g) ?? []).length;
  // A lone q or letters that no language in Latin script joins.
  const strange = (lower.match(/q[^u]|[jvqxz][bcdfghjklmnpqrtvwxz]|[bcdfghjkmnpqvwxz][jqxz]|[wv][fgjkmpqvx]/g) ?? [])
    .length;
  return (lower.length >= 7 && vowels / lower.length < 0.15) || strange >= 2;
}

/**
 * Whether a program runs under another name than its maker gave it. Versions, copies (`setup (1)`), other extensions and the
 * word size are no other name; neither is a longer or shorter form of the same words. Installers are called after what they install,
 * so their OriginalFileName says nothing.
 */
export function isRenamed(image: string, originalFileName: string): boolean {
  const name = plainName(stemOf(baseName(image)));
  const original = plainName(stemOf(baseName(originalFileName.replace(/\.mui$/i, ''))));
  if (name === '' || original === '' || isInstallerName(originalFileName)) return false;
  const [shorter, longer] = name.length < original.length ? [name, original] : [original, name];
  if (shorter.length >= 3 && longer.startsWith(shorter)) return false;
  return name !== original && !(longer.includes(shorter) && shorter.length * 2 >= longer.length);
}

function plainName(stem: string): string {
  return stem
    .toLowerCase()
    .replace(/\.(exe|dll|com)$/, '')
    .replace(/(x86|x64|amd64|arm64|win32|win64|32|64|86)(bit)?(?=\W|_|$)/g, '')
    .replace(/[^a-z]/g, '');
}
