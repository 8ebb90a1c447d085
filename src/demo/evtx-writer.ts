import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { EnrichmentError } from '../errors.js';

/*
 * Writes Windows event logs as Windows does: the event in binary XML, templates and names inline where a chunk first uses
 * them and by reference afterwards. It knows nothing of the reader, so each is a check of the other.
 */

const FILE_HEADER_BYTES = 4096;
const CHUNK_BYTES = 65_536;
const CHUNK_HEADER_BYTES = 512;
/** Windows was never seen to fill a chunk to its last byte, and libevtx loses the record that does. */
const MAX_RECORDS_END = CHUNK_BYTES - 8;
const NAME_TABLE = 128;
const NAME_BUCKETS = 64;
const TEMPLATE_TABLE = 384;
const TEMPLATE_BUCKETS = 32;

const STRING_CODE = 0x01;
const XML_CODE = 0x21;
const NO_DEPENDENCY = 0xffff;
const EVENT_NAMESPACE = 'http://schemas.microsoft.com/win/2004/08/events/event';

/** A typed value of a field. `raw` is any other type of the format, by its code and bytes. */
export type EvtxValue =
  | { readonly type: 'null' }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'uint8' | 'uint16' | 'uint32' | 'hexInt32'; readonly value: number }
  | { readonly type: 'uint64' | 'hexInt64'; readonly value: bigint }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'guid' | 'sid'; readonly value: string }
  | { readonly type: 'filetime'; readonly value: Date }
  | { readonly type: 'raw'; readonly code: number; readonly bytes: Buffer }
  | { readonly type: 'xml'; readonly roots: readonly XmlRoot[] };

/** Content of an element or attribute. `bytes` are tokens written as they are. */
export type XmlContent =
  | string
  | XmlElement
  | { readonly substitution: number; readonly isOptional?: boolean; readonly code?: number }
  | { readonly entity: string }
  | { readonly bytes: Buffer };

export interface XmlElement {
  readonly name: string;
  readonly attributes?: readonly (readonly [name: string, content: XmlContent])[];
  readonly content?: readonly XmlContent[];
  /** Substitution without which the element is left out; written within templates only. */
  readonly dependency?: number;
}

/** What stands at the top of a record or of a nested value: an element, or a template with values for its substitutions. */
export type XmlRoot = XmlElement | { readonly template: XmlElement; readonly values: readonly EvtxValue[] };

/** A record by its binary XML. */
export interface EvtxXmlRecord {
  /** Id in the record's header. */
  readonly id: bigint;
  readonly time: Date;
  readonly roots: readonly XmlRoot[];
}

export interface EvtxField {
  readonly name: string;
  readonly value: EvtxValue;
  /** Without a value the element is left out instead of empty. */
  readonly isOptional?: boolean;
}

/** An event of a manifest provider such as Sysmon. */
export interface EvtxEvent {
  readonly provider: string;
  /** With or without braces. */
  readonly providerGuid: string;
  readonly eventId: number;
  readonly recordId: bigint;
  readonly timeCreated: Date;
  readonly channel: string;
  readonly computer: string;
  readonly fields: readonly EvtxField[];
}

/** The event as the local Windows stores it: a template for System, and in it one for EventData. */
export function eventRecord(event: EvtxEvent): EvtxXmlRecord {
  const values: EvtxValue[] = [
    { type: 'uint8', value: 4 },
    { type: 'uint8', value: 0 },
    { type: 'uint16', value: event.eventId },
    { type: 'uint16', value: event.eventId },
    { type: 'null' },
    { type: 'hexInt64', value: 0x8000000000000000n },
    { type: 'filetime', value: event.timeCreated },
    { type: 'null' },
    { type: 'uint32', value: 2088 },
    { type: 'uint32', value: 3116 },
    { type: 'uint64', value: event.recordId },
    { type: 'uint8', value: 5 },
    { type: 'sid', value: 'S-1-5-18' },
    { type: 'null' },
    { type: 'string', value: event.provider },
    { type: 'guid', value: event.providerGuid },
    { type: 'string', value: event.channel },
    { type: 'xml', roots: [{ template: dataTemplate(event.fields), values: event.fields.map(({ value }) => value) }] },
  ];
  return {
    id: event.recordId,
    time: event.timeCreated,
    roots: [{ template: systemTemplate(event.computer), values }],
  };
}

/** The event as a collector stores what it was sent: all of it as elements and text, without a template. */
export function forwardedRecord(event: EvtxEvent): EvtxXmlRecord {
  const text = (name: string, value: string): XmlElement => ({ name, content: escapedText(value) });
  const system: XmlElement = {
    name: 'System',
    content: [
      {
        name: 'Provider',
        attributes: [
          ['Name', event.provider],
          ['Guid', event.providerGuid],
        ],
      },
      text('EventID', String(event.eventId)),
      { name: 'TimeCreated', attributes: [['SystemTime', event.timeCreated.toISOString().replace('Z', '0000Z')]] },
      text('EventRecordID', String(event.recordId)),
      { name: 'Correlation' },
      text('Channel', event.channel),
      text('Computer', event.computer),
    ],
  };
  const data = event.fields
    .filter(({ value, isOptional }) => value.type !== 'null' || isOptional !== true)
    .map(({ name, value }): XmlElement => {
      return { name: 'Data', attributes: [['Name', name]], content: escapedText(valueText(value)) };
    });
  const content = [system, { name: 'EventData', content: data }];
  return {
    id: event.recordId,
    time: event.timeCreated,
    roots: [{ name: 'Event', attributes: [['xmlns', EVENT_NAMESPACE]], content }],
  };
}

/** The whole log in memory; for a large one write `evtxHeader` and then `evtxChunks` one by one. */
export function writeEvtx(records: Iterable<EvtxXmlRecord>): Buffer {
  const all = [...records];
  const chunks = [...evtxChunks(all)];
  const lastId = all.at(-1)?.id ?? 0n;
  return Buffer.concat([evtxHeader(chunks.length, lastId + 1n), ...chunks]);
}

/** The header block of a log of that many chunks, properly closed. */
export function evtxHeader(chunkCount: number, nextRecordId = 1n): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  header.write('ElfFile\0', 0, 'latin1');
  header.writeBigUInt64LE(BigInt(Math.max(0, chunkCount - 1)), 16);
  header.writeBigUInt64LE(nextRecordId, 24);
  header.writeUInt32LE(128, 32);
  header.writeUInt16LE(1, 36);
  header.writeUInt16LE(3, 38);
  header.writeUInt16LE(FILE_HEADER_BYTES, 40);
  header.writeUInt16LE(chunkCount & 0xffff, 42);
  header.writeUInt32LE(crc32(header.subarray(0, 120)), 124);
  return header;
}

/** Chunks of 64 KiB, each filled as far as whole records go. Throws TOO_LARGE for a record that fits in none. */
export function* evtxChunks(records: Iterable<EvtxXmlRecord>): Generator<Buffer, void> {
  let chunk = new ChunkWriter(1n);
  for (const record of records) {
    if (chunk.append(record)) continue;
    if (chunk.recordCount > 0) yield chunk.finish();
    chunk = new ChunkWriter(chunk.nextNumber);
    if (!chunk.append(record)) throw new EnrichmentError('TOO_LARGE', `record ${record.id} does not fit into a chunk`);
  }
  if (chunk.recordCount > 0) yield chunk.finish();
}

const systemTemplates = new Map<string, XmlElement>();
const dataTemplates = new Map<string, XmlElement>();

/** Windows writes the computer's name into the template itself. */
function systemTemplate(computer: string): XmlElement {
  let template = systemTemplates.get(computer);
  if (template === undefined) {
    const optional = (substitution: number): XmlContent => ({ substitution, isOptional: true });
    const element = (name: string, substitution: number): XmlElement => ({
      name,
      dependency: substitution,
      content: [optional(substitution)],
    });
    const content: XmlElement[] = [
      {
        name: 'Provider',
        attributes: [
          ['Name', optional(14)],
          ['Guid', optional(15)],
        ],
      },
      { ...element('EventID', 3), attributes: [['Qualifiers', optional(4)]] },
      element('Version', 11),
      element('Level', 0),
      element('Task', 2),
      element('Opcode', 1),
      element('Keywords', 5),
      { name: 'TimeCreated', attributes: [['SystemTime', optional(6)]] },
      element('EventRecordID', 10),
      {
        name: 'Correlation',
        attributes: [
          ['ActivityID', optional(7)],
          ['RelatedActivityID', optional(13)],
        ],
      },
      {
        name: 'Execution',
        attributes: [
          ['ProcessID', optional(8)],
          ['ThreadID', optional(9)],
        ],
      },
      element('Channel', 16),
      { name: 'Computer', content: [computer] },
      { name: 'Security', attributes: [['UserID', optional(12)]] },
    ];
    template = {
      name: 'Event',
      dependency: 17,
      attributes: [['xmlns', EVENT_NAMESPACE]],
      content: [{ name: 'System', content }, optional(17)],
    };
    systemTemplates.set(computer, template);
  }
  return template;
}

function dataTemplate(fields: readonly EvtxField[]): XmlElement {
  const key = JSON.stringify(fields.map(({ name, isOptional }) => [name, isOptional === true]));
  let template = dataTemplates.get(key);
  if (template === undefined) {
    const content = fields.map(({ name, isOptional = false }, substitution): XmlElement => {
      return {
        name: 'Data',
        attributes: [['Name', name]],
        content: [{ substitution, isOptional }],
        ...(isOptional ? { dependency: substitution } : {}),
      };
    });
    template = { name: 'EventData', content };
    dataTemplates.set(key, template);
  }
  return template;
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['&', 'amp'],
  ['<', 'lt'],
  ['>', 'gt'],
  ['"', 'quot'],
  ["'", 'apos'],
]);

/** Text outside a template: markup characters are entity references of their own. */
function escapedText(text: string): XmlContent[] {
  return text
    .split(/([&<>"'])/)
    .filter((part) => part !== '')
    .map((part) => {
      const entity = ENTITIES.get(part);
      return entity === undefined ? part : { entity };
    });
}

/** A value as the sending Windows renders it. */
function valueText(value: EvtxValue): string {
  switch (value.type) {
    case 'null':
      return '';
    case 'hexInt32':
    case 'hexInt64':
      return `0x${value.value.toString(16)}`;
    case 'guid':
      return `{${value.value.replace(/[{}]/g, '').toUpperCase()}}`;
    case 'filetime':
      return value.value.toISOString().replace('Z', '0000Z');
    case 'raw':
    case 'xml':
      throw new EnrichmentError('UNSUPPORTED', `a ${value.type} value has no text of its own`);
    default:
      return String(value.value);
  }
}

const TEMPLATE_IDENTITIES = new WeakMap<XmlElement, Buffer>();

/** A GUID that stands for this template and no other. */
function templateGuid(template: XmlElement): Buffer {
  let guid = TEMPLATE_IDENTITIES.get(template);
  if (guid === undefined) {
    guid = createHash('sha256').update(JSON.stringify(template)).digest().subarray(0, 16);
    TEMPLATE_IDENTITIES.set(template, guid);
  }
  return guid;
}

/** Raised within `append` where the rest of the chunk is too small. */
class ChunkFull extends Error {}

/** A table head that a record changed, for undoing it. */
interface TableChange {
  readonly known: Map<string, number>;
  readonly key: string;
  readonly headAt: number;
  readonly earlierHead: number;
}

/** One chunk in the making. */
class ChunkWriter {
  recordCount = 0;
  readonly #firstNumber: bigint;
  readonly #bytes = Buffer.alloc(CHUNK_BYTES);
  readonly #names = new Map<string, number>();
  readonly #templates = new Map<string, number>();
  #changes: TableChange[] = [];
  #at = CHUNK_HEADER_BYTES;
  #lastRecordAt = 0;
  #firstId = 0n;
  #lastId = 0n;

  constructor(firstNumber: bigint) {
    this.#firstNumber = firstNumber;
  }

  /** Number of the record that comes next in the log. */
  get nextNumber(): bigint {
    return this.#firstNumber + BigInt(this.recordCount);
  }

  /** Writes a record, or leaves the chunk as it is and returns false where it does not fit. */
  append(record: EvtxXmlRecord): boolean {
    const start = this.#at;
    this.#changes = [];
    try {
      this.#writeRecord(record);
    } catch (error) {
      if (!(error instanceof ChunkFull)) throw error;
      for (const { known, key, headAt, earlierHead } of this.#changes.reverse()) {
        known.delete(key);
        this.#bytes.writeUInt32LE(earlierHead, headAt);
      }
      this.#bytes.fill(0, start);
      this.#at = start;
      return false;
    }
    if (this.recordCount === 0) this.#firstId = record.id;
    this.#lastId = record.id;
    this.#lastRecordAt = start;
    this.recordCount++;
    return true;
  }

  /** The chunk with its header and checksums. */
  finish(): Buffer {
    const bytes = this.#bytes;
    bytes.write('ElfChnk\0', 0, 'latin1');
    bytes.writeBigUInt64LE(this.#firstNumber, 8);
    bytes.writeBigUInt64LE(this.nextNumber - 1n, 16);
    bytes.writeBigUInt64LE(this.#firstId, 24);
    bytes.writeBigUInt64LE(this.#lastId, 32);
    bytes.writeUInt32LE(128, 40);
    bytes.writeUInt32LE(this.#lastRecordAt, 44);
    bytes.writeUInt32LE(this.#at, 48);
    bytes.writeUInt32LE(crc32(bytes.subarray(CHUNK_HEADER_BYTES, this.#at)), 52);
    bytes.writeUInt32LE(1, 120);
    bytes.writeUInt32LE(crc32(bytes.subarray(128, CHUNK_HEADER_BYTES), crc32(bytes.subarray(0, 120))), 124);
    return bytes;
  }

  #writeRecord({ id, time, roots }: EvtxXmlRecord): void {
    const start = this.#at;
    const sizeAt = start + 4;
    this.#u32(0x00002a2a);
    this.#u32(0);
    this.#u64(id);
    this.#u64(filetimeOf(time));
    this.#writeFragment(roots);
    while ((this.#at + 4) % 8 !== 0) this.#u8(0);
    const size = this.#at + 4 - start;
    this.#u32(size);
    this.#bytes.writeUInt32LE(size, sizeAt);
  }

  #writeFragment(roots: readonly XmlRoot[]): void {
    for (const root of roots) {
      this.#u32(0x0001010f);
      if ('template' in root) this.#writeInstance(root.template, root.values);
      else this.#writeElement(root, false);
    }
    this.#u8(0);
  }

  #writeInstance(template: XmlElement, values: readonly EvtxValue[]): void {
    const guid = templateGuid(template);
    const key = guid.toString('hex');
    this.#u8(0x0c);
    this.#u8(1);
    this.#u32(guid.readUInt32LE(0));
    const known = this.#templates.get(key);
    this.#u32(known ?? this.#at + 4);
    if (known === undefined) this.#writeDefinition(template, guid, key);
    this.#u32(values.length);
    const descriptorsAt = this.#at;
    for (const value of values) {
      this.#u16(0);
      this.#u16(codeOf(value));
    }
    for (const [index, value] of values.entries()) {
      const start = this.#at;
      if (value.type === 'xml') this.#writeFragment(value.roots);
      else this.#raw(valueBytes(value));
      const size = this.#at - start;
      if (size > 0xffff) throw new ChunkFull();
      this.#bytes.writeUInt16LE(size, descriptorsAt + 4 * index);
    }
  }

  #writeDefinition(template: XmlElement, guid: Buffer, key: string): void {
    this.#enchain(this.#templates, key, TEMPLATE_TABLE + 4 * (templateHash(guid) % TEMPLATE_BUCKETS));
    this.#raw(guid);
    const sizeAt = this.#at;
    this.#u32(0);
    this.#u32(0x0001010f);
    this.#writeElement(template, true);
    this.#u8(0);
    this.#bytes.writeUInt32LE(this.#at - sizeAt - 4, sizeAt);
  }

  #writeElement(element: XmlElement, isInTemplate: boolean): void {
    const { name, attributes = [], content = [], dependency = NO_DEPENDENCY } = element;
    this.#u8(attributes.length > 0 ? 0x41 : 0x01);
    if (isInTemplate) this.#u16(dependency);
    const sizeAt = this.#at;
    this.#u32(0);
    this.#writeName(name);
    if (attributes.length > 0) this.#writeAttributes(attributes, isInTemplate);
    if (content.length === 0) {
      this.#u8(0x03);
    } else {
      this.#u8(0x02);
      for (const [index, part] of content.entries()) {
        this.#writeContent(part, isInTemplate, index + 1 < content.length);
      }
      this.#u8(0x04);
    }
    this.#bytes.writeUInt32LE(this.#at - sizeAt - 4, sizeAt);
  }

  #writeAttributes(attributes: NonNullable<XmlElement['attributes']>, isInTemplate: boolean): void {
    const sizeAt = this.#at;
    this.#u32(0);
    for (const [index, [name, content]] of attributes.entries()) {
      this.#u8(index + 1 < attributes.length ? 0x46 : 0x06);
      this.#writeName(name);
      this.#writeContent(content, isInTemplate, false);
    }
    this.#bytes.writeUInt32LE(this.#at - sizeAt - 4, sizeAt);
  }

  /** `hasMore`: more content of the same element follows. */
  #writeContent(content: XmlContent, isInTemplate: boolean, hasMore: boolean): void {
    const moreFlag = hasMore ? 0x40 : 0;
    if (typeof content === 'string') {
      this.#u8(0x05 | moreFlag);
      this.#u8(STRING_CODE);
      this.#u16(content.length);
      this.#raw(Buffer.from(content, 'utf16le'));
    } else if ('substitution' in content) {
      this.#u8(content.isOptional === true ? 0x0e : 0x0d);
      this.#u16(content.substitution);
      this.#u8(content.code ?? STRING_CODE);
    } else if ('entity' in content) {
      this.#u8(0x09 | moreFlag);
      this.#writeName(content.entity);
    } else if ('bytes' in content) {
      this.#raw(content.bytes);
    } else {
      this.#writeElement(content, isInTemplate);
    }
  }

  #writeName(name: string): void {
    const known = this.#names.get(name);
    this.#u32(known ?? this.#at + 4);
    if (known !== undefined) return;
    const hash = nameHash(name);
    this.#enchain(this.#names, name, NAME_TABLE + 4 * (hash % NAME_BUCKETS));
    this.#u16(hash);
    this.#u16(name.length);
    this.#raw(Buffer.from(`${name}\0`, 'utf16le'));
  }

  /** Writes the link to the structure that headed the chain so far; the one that starts here heads it from now on. */
  #enchain(known: Map<string, number>, key: string, headAt: number): void {
    const earlierHead = this.#bytes.readUInt32LE(headAt);
    this.#changes.push({ known, key, headAt, earlierHead });
    known.set(key, this.#at);
    this.#bytes.writeUInt32LE(this.#at, headAt);
    this.#u32(earlierHead);
  }

  /** Where the next `byteCount` bytes go. */
  #advance(byteCount: number): number {
    const at = this.#at;
    if (byteCount > MAX_RECORDS_END - at) throw new ChunkFull();
    this.#at += byteCount;
    return at;
  }

  #u8(value: number): void {
    this.#bytes[this.#advance(1)] = value;
  }

  #u16(value: number): void {
    this.#bytes.writeUInt16LE(value, this.#advance(2));
  }

  #u32(value: number): void {
    this.#bytes.writeUInt32LE(value, this.#advance(4));
  }

  #u64(value: bigint): void {
    this.#bytes.writeBigUInt64LE(value, this.#advance(8));
  }

  #raw(bytes: Buffer): void {
    bytes.copy(this.#bytes, this.#advance(bytes.length));
  }
}

const CODES = {
  null: 0x00,
  string: STRING_CODE,
  uint8: 0x04,
  uint16: 0x06,
  uint32: 0x08,
  uint64: 0x0a,
  boolean: 0x0d,
  guid: 0x0f,
  filetime: 0x11,
  sid: 0x13,
  hexInt32: 0x14,
  hexInt64: 0x15,
  xml: XML_CODE,
} as const;

function codeOf(value: EvtxValue): number {
  return value.type === 'raw' ? value.code : CODES[value.type];
}

function valueBytes(value: Exclude<EvtxValue, { readonly type: 'xml' }>): Buffer {
  switch (value.type) {
    case 'null':
      return Buffer.alloc(0);
    case 'string':
      return Buffer.from(value.value, 'utf16le');
    case 'uint8':
      return Buffer.of(value.value);
    case 'uint16':
      return littleEndian(BigInt(value.value), 2);
    case 'uint32':
    case 'hexInt32':
      return littleEndian(BigInt(value.value), 4);
    case 'uint64':
    case 'hexInt64':
      return littleEndian(value.value, 8);
    case 'boolean':
      return littleEndian(value.value ? 1n : 0n, 4);
    case 'guid':
      return guidBytes(value.value);
    case 'sid':
      return sidBytes(value.value);
    case 'filetime':
      return littleEndian(filetimeOf(value.value), 8);
    case 'raw':
      return value.bytes;
  }
}

function littleEndian(value: bigint, byteCount: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.subarray(0, byteCount);
}

/** h = h * 65599 + unit over the UTF-16 units, low 16 bits. */
function nameHash(name: string): number {
  let hash = 0;
  for (let index = 0; index < name.length; index++) hash = (Math.imul(hash, 65_599) + name.charCodeAt(index)) >>> 0;
  return hash & 0xffff;
}

/** The same over a GUID's eight 16-bit units, of version 3.1 of the format. */
function templateHash(guid: Buffer): number {
  let hash = 0;
  for (let at = 0; at < 16; at += 2) hash = (Math.imul(hash, 65_599) + guid.readUInt16LE(at)) >>> 0;
  return hash;
}

/** 100-nanosecond ticks since 1601. */
function filetimeOf(time: Date): bigint {
  return (BigInt(time.getTime()) + 11_644_473_600_000n) * 10_000n;
}

/** The first three groups are little-endian. */
function guidBytes(guid: string): Buffer {
  const digits = Buffer.from(guid.replace(/[{}-]/g, ''), 'hex');
  if (digits.length !== 16) throw new EnrichmentError('BAD_RECORD', `${guid} is no GUID`);
  digits.subarray(0, 4).reverse();
  digits.subarray(4, 6).reverse();
  digits.subarray(6, 8).reverse();
  return digits;
}

/** Revision u8, count u8, authority 6 bytes big-endian, sub-authorities u32. */
function sidBytes(sid: string): Buffer {
  const [revision, authority, ...parts] = sid.replace(/^S-/, '').split('-').map(Number);
  const bytes = Buffer.alloc(8 + 4 * parts.length);
  bytes.writeUInt8(revision ?? 1, 0);
  bytes.writeUInt8(parts.length, 1);
  bytes.writeUIntBE(authority ?? 0, 2, 6);
  for (const [index, part] of parts.entries()) bytes.writeUInt32LE(part, 8 + 4 * index);
  return bytes;
}
