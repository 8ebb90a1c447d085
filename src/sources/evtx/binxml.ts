import { Damage, requireBytes } from './damage.js';
import { trimNuls } from './values.js';

/*
 * Binary XML, MS-EVEN6 2.2.12: records and nested values as trees of elements. This is the complete and plain way;
 * `plan.ts` uses it once per template, `event.ts` for every record that a plan does not cover.
 */

/** Records start behind the chunk's header and its two tables; nothing a record refers to lies before. */
export const CHUNK_HEADER_BYTES = 512;

/** Tokens; bit 0x40 says that more follows (attributes, or more content of the same value). */
const MORE_FLAG = 0x40;
const END_TOKEN = 0x00;
const OPEN_TOKEN = 0x01;
const CLOSE_START_TOKEN = 0x02;
const CLOSE_EMPTY_TOKEN = 0x03;
const END_ELEMENT_TOKEN = 0x04;
const TEXT_TOKEN = 0x05;
const ATTRIBUTE_TOKEN = 0x06;
const CDATA_TOKEN = 0x07;
const CHARACTER_TOKEN = 0x08;
const ENTITY_TOKEN = 0x09;
const PI_TARGET_TOKEN = 0x0a;
const PI_DATA_TOKEN = 0x0b;
export const INSTANCE_TOKEN = 0x0c;
const SUBSTITUTION_TOKEN = 0x0d;
const OPTIONAL_TOKEN = 0x0e;
const FRAGMENT_TOKEN = 0x0f;

/** `0f 01 01 00`, the only fragment header there is, read as a little-endian u32. */
export const FRAGMENT_HEADER = 0x0001010f;
export const FRAGMENT_HEADER_BYTES = 4;

/** Token, version, template id and offset of the definition; an inline definition follows. */
export const INSTANCE_HEAD_BYTES = 10;
/** Next in the bucket u32, GUID 16, size of the body u32. */
export const DEFINITION_HEAD_BYTES = 24;
/** Next in the bucket u32, hash u16, length u16; UTF-16 and a NUL follow. */
export const NAME_HEAD_BYTES = 8;
/** Size u16, type u8, zero u8. */
export const DESCRIPTOR_BYTES = 4;

/** An element whose content depends on no substitution. */
export const NO_DEPENDENCY = 0xffff;

/** Deepest element; 3 seen in templates, 7 in raw elements. Each level costs a stack frame. */
const MAX_DEPTH = 64;
/** Elements of one definition or one fragment; 253 seen. */
const MAX_ELEMENTS = 4096;
/** Attributes of one element; 7 seen. */
const MAX_ATTRIBUTES = 256;
/** UTF-16 units of one name; 46 seen. */
const MAX_NAME_UNITS = 1024;
/** Values of one instance; 42 seen. */
export const MAX_VALUES = 1024;

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
  ['apos', "'"],
]);

export interface Element {
  readonly name: string;
  /** Index of the substitution without which the element is left out, or NO_DEPENDENCY. */
  readonly dependency: number;
  readonly attributes: readonly Attribute[];
  readonly content: readonly Content[];
}

export interface Attribute {
  readonly name: string;
  readonly content: readonly Content[];
}

export interface Substitution {
  readonly index: number;
  /** Without a value it takes its element or attribute away. */
  readonly isOptional: boolean;
}

/** A piece of an element's content, in order; text that stands in several tokens is several pieces. */
export type Content =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'substitution'; readonly substitution: Substitution }
  | { readonly kind: 'element'; readonly element: Element }
  | { readonly kind: 'root'; readonly root: Root };

/** An element with the values its substitutions refer to: none where it does not come from a template. */
export interface Root {
  readonly element: Element;
  readonly values: Values | undefined;
}

/** The values of a template instance: types, and offsets in the chunk where each starts; one offset more than types. */
export interface Values {
  readonly types: Uint8Array;
  readonly starts: Uint32Array;
}

/** Where a definition refers to a name; `at` counts from the start of its body. */
export interface NameUse {
  readonly at: number;
  readonly isInline: boolean;
  readonly name: string;
}

export interface Definition {
  readonly root: Element;
  /** In the order of their places. */
  readonly names: readonly NameUse[];
  /** Whether every element, every attribute list and the body end where their sizes say. */
  readonly isExact: boolean;
}

/** One 64 KiB chunk and what has been understood of it; offsets in it count from its first byte. The object is reused. */
export class Chunk {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Where its records end: nothing refers beyond. */
  end = 0;
  /** By offset; a definition that cannot be read keeps its reason, so that it is not tried once per record. */
  readonly definitions = new Map<number, Definition | Damage>();
  /** By offset. */
  readonly names = new Map<number, string>();
  readonly #claimedDefinitions = new Set<number>();
  #definitionBytesLeft = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Forgets what was known: the bytes have changed. Records end at `end`. */
  reset(end: number): void {
    this.end = end;
    this.definitions.clear();
    this.names.clear();
    this.#claimedDefinitions.clear();
    this.#definitionBytesLeft = this.bytes.length;
  }

  /**
   * Accounts for a definition that is about to be used. In a sound chunk definitions do not overlap, so together they are
   * never larger than the chunk: raises BAD_RECORD once they are, or understanding them could cost any time.
   */
  claimDefinition(offset: number, bodyBytes: number): void {
    if (this.#claimedDefinitions.has(offset)) return;
    if (bodyBytes > this.#definitionBytesLeft) throw new Damage('BAD_RECORD', 'template definitions overlap');
    this.#definitionBytesLeft -= bodyBytes;
    this.#claimedDefinitions.add(offset);
  }
}

interface Cursor {
  readonly chunk: Chunk;
  at: number;
  readonly end: number;
  elementsLeft: number;
  isExact: boolean;
  /** Set inside a definition, where names are recorded and elements have a dependency; names count from here. */
  readonly definition: { readonly bodyStart: number; readonly names: NameUse[] } | undefined;
}

/**
 * Parses a record's event or a nested value at `[start, end)` into its roots: raw elements and instances of templates.
 * Raises Damage. Sizes of elements are not relied upon: tokens say where everything ends.
 */
export function parseFragment(chunk: Chunk, start: number, end: number): readonly Root[] {
  const cursor: Cursor = {
    chunk,
    at: start,
    end,
    elementsLeft: MAX_ELEMENTS,
    isExact: true,
    definition: undefined,
  };
  const roots: Root[] = [];
  while (cursor.at < end) {
    const token = peekToken(cursor);
    if (token === END_TOKEN) break;
    if (token === FRAGMENT_TOKEN) skipFragmentHeader(cursor);
    else if (token === OPEN_TOKEN) roots.push({ element: parseElement(cursor, 0), values: undefined });
    else if (token === INSTANCE_TOKEN) roots.push(parseInstance(cursor));
    else if (token === PI_TARGET_TOKEN || token === PI_DATA_TOKEN) skipInstruction(cursor, token);
    else throw unexpectedToken(cursor);
  }
  return roots;
}

function peekToken(cursor: Cursor): number {
  requireBytes('a token', cursor.at, 1, cursor.end);
  return cursor.chunk.view.getUint8(cursor.at) & ~MORE_FLAG;
}

function unexpectedToken(cursor: Cursor): Damage {
  const token = cursor.chunk.view.getUint8(cursor.at);
  return new Damage(
    'BAD_RECORD',
    `unexpected token 0x${token.toString(16)} at 0x${cursor.at.toString(16)} of its chunk`,
  );
}

function skipFragmentHeader(cursor: Cursor): void {
  requireBytes('a fragment header', cursor.at, FRAGMENT_HEADER_BYTES, cursor.end);
  if (cursor.chunk.view.getUint32(cursor.at, true) !== FRAGMENT_HEADER) throw unexpectedToken(cursor);
  cursor.at += FRAGMENT_HEADER_BYTES;
}

function readU16(cursor: Cursor, what: string): number {
  requireBytes(what, cursor.at, 2, cursor.end);
  const value = cursor.chunk.view.getUint16(cursor.at, true);
  cursor.at += 2;
  return value;
}

function readU32(cursor: Cursor, what: string): number {
  requireBytes(what, cursor.at, 4, cursor.end);
  const value = cursor.chunk.view.getUint32(cursor.at, true);
  cursor.at += 4;
  return value;
}

/**
 * Element: token, dependency u16 (inside a definition only), size u32, name, [attribute-list size u32, attributes],
 * 03 or 02 content 04. Sizes count from behind their own field.
 */
function parseElement(cursor: Cursor, depth: number): Element {
  if (depth >= MAX_DEPTH) throw new Damage('BAD_RECORD', `elements nested deeper than ${MAX_DEPTH}`);
  if (--cursor.elementsLeft < 0) throw new Damage('BAD_RECORD', `more than ${MAX_ELEMENTS} elements`);
  const hasAttributes = (cursor.chunk.view.getUint8(cursor.at) & MORE_FLAG) !== 0;
  cursor.at++;
  const dependency = cursor.definition === undefined ? NO_DEPENDENCY : readU16(cursor, 'an element');
  const size = readU32(cursor, 'an element');
  const end = cursor.at + size;
  const name = parseName(cursor);
  const attributes = hasAttributes ? parseAttributes(cursor) : [];
  const token = peekToken(cursor);
  const content: Content[] = [];
  if (token === CLOSE_EMPTY_TOKEN) {
    cursor.at++;
  } else if (token === CLOSE_START_TOKEN) {
    cursor.at++;
    parseContent(cursor, depth, content);
  } else {
    throw unexpectedToken(cursor);
  }
  if (cursor.at !== end) cursor.isExact = false;
  return { name, dependency, attributes, content };
}

function parseAttributes(cursor: Cursor): Attribute[] {
  const size = readU32(cursor, 'an attribute list');
  const end = cursor.at + size;
  const attributes: Attribute[] = [];
  while (peekToken(cursor) === ATTRIBUTE_TOKEN) {
    if (attributes.length >= MAX_ATTRIBUTES) throw new Damage('BAD_RECORD', `more than ${MAX_ATTRIBUTES} attributes`);
    cursor.at++;
    const name = parseName(cursor);
    const content: Content[] = [];
    while (parseText(cursor, peekToken(cursor), content));
    attributes.push({ name, content });
  }
  if (cursor.at !== end) cursor.isExact = false;
  return attributes;
}

function parseContent(cursor: Cursor, depth: number, content: Content[]): void {
  for (;;) {
    const token = peekToken(cursor);
    if (token === END_ELEMENT_TOKEN) {
      cursor.at++;
      return;
    }
    if (token === OPEN_TOKEN) content.push({ kind: 'element', element: parseElement(cursor, depth + 1) });
    else if (token === INSTANCE_TOKEN) content.push({ kind: 'root', root: parseInstance(cursor) });
    else if (token === PI_TARGET_TOKEN || token === PI_DATA_TOKEN) skipInstruction(cursor, token);
    else if (!parseText(cursor, token, content)) throw unexpectedToken(cursor);
  }
}

/** Parses one token of character data and returns true, or leaves everything as it is and returns false. */
function parseText(cursor: Cursor, token: number, content: Content[]): boolean {
  switch (token) {
    case TEXT_TOKEN:
      cursor.at++;
      requireBytes('a text', cursor.at, 1, cursor.end);
      // Values inside the binary XML itself are strings; all other types come as substitutions.
      if (cursor.chunk.view.getUint8(cursor.at) !== 1) throw new Damage('BAD_RECORD', 'a text is no string');
      cursor.at++;
      content.push({ kind: 'text', text: readCounted(cursor) });
      return true;
    case CDATA_TOKEN:
      cursor.at++;
      content.push({ kind: 'text', text: readCounted(cursor) });
      return true;
    case CHARACTER_TOKEN:
      cursor.at++;
      content.push({ kind: 'text', text: String.fromCharCode(readU16(cursor, 'a character reference')) });
      return true;
    case ENTITY_TOKEN: {
      cursor.at++;
      const name = parseName(cursor);
      content.push({ kind: 'text', text: ENTITIES.get(name) ?? `&${name};` });
      return true;
    }
    case SUBSTITUTION_TOKEN:
    case OPTIONAL_TOKEN: {
      if (cursor.definition === undefined) throw new Damage('BAD_RECORD', 'a substitution outside a template');
      cursor.at++;
      const index = readU16(cursor, 'a substitution');
      requireBytes('a substitution', cursor.at, 1, cursor.end);
      cursor.at++;
      content.push({ kind: 'substitution', substitution: { index, isOptional: token === OPTIONAL_TOKEN } });
      return true;
    }
    default:
      return false;
  }
}

function readCounted(cursor: Cursor): string {
  const byteCount = 2 * readU16(cursor, 'a text');
  requireBytes('a text', cursor.at, byteCount, cursor.end);
  const start = cursor.at;
  cursor.at += byteCount;
  return cursor.chunk.bytes.toString('utf16le', start, trimNuls(cursor.chunk.view, start, cursor.at));
}

/** Processing instructions say nothing about the event. */
function skipInstruction(cursor: Cursor, token: number): void {
  cursor.at++;
  if (token === PI_TARGET_TOKEN) parseName(cursor);
  else readCounted(cursor);
}

/** A name: the offset of its structure in the chunk, which stands right here where the name is first used. */
function parseName(cursor: Cursor): string {
  const { chunk } = cursor;
  const field = cursor.at;
  const offset = readU32(cursor, 'a name');
  const isInline = offset === cursor.at;
  // Back or right here, never forward: so no name can lie in what has not been read.
  if (!isInline && (offset < CHUNK_HEADER_BYTES || offset >= field)) {
    throw new Damage('BAD_RECORD', `name at impossible offset 0x${offset.toString(16)}`);
  }
  const end = isInline ? cursor.end : chunk.end;
  requireBytes('a name', offset, NAME_HEAD_BYTES, end);
  const units = chunk.view.getUint16(offset + 6, true);
  if (units > MAX_NAME_UNITS) throw new Damage('BAD_RECORD', `name of ${units} characters`);
  const nameEnd = offset + NAME_HEAD_BYTES + 2 * units;
  requireBytes('a name', nameEnd, 2, end);
  let name = chunk.names.get(offset);
  if (name === undefined) {
    name = chunk.bytes.toString('utf16le', offset + NAME_HEAD_BYTES, nameEnd);
    chunk.names.set(offset, name);
  }
  if (isInline) cursor.at = nameEnd + 2;
  cursor.definition?.names.push({ at: field - cursor.definition.bodyStart, isInline, name });
  return name;
}

/**
 * Template instance: 0c, 01, template id u32, offset of the definition u32, [definition], n u32, n descriptors, n values.
 * The definition is inline exactly if it lies where the instance's head ends.
 */
function parseInstance(cursor: Cursor): Root {
  const { chunk } = cursor;
  if (cursor.definition !== undefined) throw new Damage('BAD_RECORD', 'a template inside a template');
  const at = cursor.at;
  requireBytes('a template instance', at, INSTANCE_HEAD_BYTES, cursor.end);
  const id = chunk.view.getUint32(at + 2, true);
  const offset = chunk.view.getUint32(at + 6, true);
  cursor.at += INSTANCE_HEAD_BYTES;
  const isInline = offset === cursor.at;
  checkDefinitionPlace(chunk, offset, at, isInline ? cursor.end : chunk.end, isInline);
  // The id repeats the first four bytes of the GUID: where it does not, the definition has been overwritten.
  if (chunk.view.getUint32(offset + 4, true) !== id) {
    throw new Damage('BAD_RECORD', `template 0x${id.toString(16)} is not at 0x${offset.toString(16)} of its chunk`);
  }
  const definition = definitionAt(chunk, offset);
  if (isInline) cursor.at += DEFINITION_HEAD_BYTES + chunk.view.getUint32(offset + 20, true);
  const values = parseValues(cursor);
  return { element: definition.root, values };
}

function checkDefinitionPlace(chunk: Chunk, offset: number, instance: number, end: number, isInline: boolean): void {
  if (!isInline && (offset < CHUNK_HEADER_BYTES || offset >= instance)) {
    throw new Damage('BAD_RECORD', `template definition at impossible offset 0x${offset.toString(16)}`);
  }
  requireBytes('a template definition', offset, DEFINITION_HEAD_BYTES, end);
  const size = chunk.view.getUint32(offset + 20, true);
  requireBytes('a template definition', offset + DEFINITION_HEAD_BYTES, size, end);
}

/**
 * The definition whose head is at `offset`: next in the bucket u32, GUID 16, size S u32, then S bytes: a fragment header,
 * one element, 00. The caller has checked that it lies in the chunk. Raises Damage where it cannot be read.
 */
export function definitionAt(chunk: Chunk, offset: number): Definition {
  let definition = chunk.definitions.get(offset);
  if (definition === undefined) {
    try {
      definition = parseDefinition(chunk, offset);
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      definition = error;
    }
    chunk.definitions.set(offset, definition);
  }
  if (definition instanceof Damage) throw definition;
  return definition;
}

function parseDefinition(chunk: Chunk, offset: number): Definition {
  const bodyStart = offset + DEFINITION_HEAD_BYTES;
  const size = chunk.view.getUint32(offset + 20, true);
  chunk.claimDefinition(offset, size);
  const names: NameUse[] = [];
  const cursor: Cursor = {
    chunk,
    at: bodyStart,
    end: bodyStart + size,
    elementsLeft: MAX_ELEMENTS,
    isExact: true,
    definition: { bodyStart, names },
  };
  if (peekToken(cursor) === FRAGMENT_TOKEN) skipFragmentHeader(cursor);
  else cursor.isExact = false;
  if (peekToken(cursor) !== OPEN_TOKEN) throw unexpectedToken(cursor);
  const root = parseElement(cursor, 0);
  const isEnded = cursor.at + 1 === cursor.end && chunk.view.getUint8(cursor.at) === END_TOKEN;
  return { root, names, isExact: cursor.isExact && isEnded };
}

function parseValues(cursor: Cursor): Values {
  const { view } = cursor.chunk;
  const count = readU32(cursor, 'template data');
  if (count > MAX_VALUES) throw new Damage('BAD_RECORD', `template data of ${count} values`);
  requireBytes('template data', cursor.at, count * DESCRIPTOR_BYTES, cursor.end);
  const types = new Uint8Array(count);
  const starts = new Uint32Array(count + 1);
  const valuesStart = cursor.at + count * DESCRIPTOR_BYTES;
  let start = valuesStart;
  for (let index = 0; index < count; index++) {
    starts[index] = start;
    types[index] = view.getUint8(cursor.at + 2);
    // A null value may have a size all the same, and its bytes are there.
    start += view.getUint16(cursor.at, true);
    cursor.at += DESCRIPTOR_BYTES;
  }
  starts[count] = start;
  requireBytes('template data', valuesStart, start - valuesStart, cursor.end);
  cursor.at = start;
  return { types, starts };
}
