import { isSysmonProvider } from '../../event.js';
import {
  CHUNK_HEADER_BYTES,
  type Chunk,
  type Content,
  DEFINITION_HEAD_BYTES,
  type Definition,
  definitionAt,
  type Element,
  NAME_HEAD_BYTES,
  NO_DEPENDENCY,
} from './binxml.js';
import { Damage } from './damage.js';
import { isSysmonGuid } from './decode.js';

/*
 * A template definition alone says which substitution holds what. So it is understood once, as a plan, and a record costs
 * little more than the bytes that are wanted of it. What a plan cannot express has none, and is decoded the plain way.
 */

/** Constant bytes of JSON, padded so that they can be read four at once. */
export interface JsonBytes {
  readonly view: DataView;
  /** Without the padding. */
  readonly length: number;
}

/** UTF-8 of a piece of JSON. */
export function jsonBytes(json: string): JsonBytes {
  const length = Buffer.byteLength(json);
  const bytes = new Uint8Array(length + 4);
  bytes.set(Buffer.from(json));
  return { view: new DataView(bytes.buffer), length };
}

/** Where one value of the event comes from. */
export interface Slot {
  /** Which substitution, or -1: `constant` then, or nothing at all. */
  readonly index: number;
  readonly constant: string | undefined;
  /** The constant as the inside of a JSON string. */
  readonly constantJson: JsonBytes | undefined;
  /** Whether a null takes the element or attribute away, instead of leaving it empty. */
  readonly isOptional: boolean;
}

/** What the outer template of an event says; slots of members it does not have are empty. */
export interface EventPlan {
  readonly eventId: Slot;
  readonly provider: Slot;
  readonly providerGuid: Slot;
  /** Whether the constants of these two slots are Sysmon's. */
  readonly hasSysmonName: boolean;
  readonly hasSysmonGuid: boolean;
  readonly recordId: Slot;
  readonly channel: Slot;
  readonly computer: Slot;
  readonly timeCreated: Slot;
  /** The substitution that holds the nested EventData, or -1 where the template is built otherwise. */
  readonly dataIndex: number;
  /** Bytes of all constants as they are written. */
  readonly constantBytes: number;
}

/** A field of EventData, with its name as JSON: `,"Image":"`. */
export interface FieldPlan {
  readonly name: string;
  readonly slot: Slot;
  readonly nameJson: JsonBytes;
}

/** What the nested template of an EventData says. */
export interface DataPlan {
  readonly fields: readonly FieldPlan[];
  readonly slots: ReadonlyMap<string, Slot>;
  /** Substitution that holds `Hashes`, `Hash` or `HashType`, or -1. */
  readonly hashesIndex: number;
  readonly hashIndex: number;
  readonly hashTypeIndex: number;
  /** Bytes of all names and constants as they are written. */
  readonly constantBytes: number;
}

/** One template, whatever chunk it stands in. */
export interface Plan {
  /** First four bytes of the GUID, as a record repeats them. */
  readonly id: number;
  /** Bytes of the whole definition, its head included. */
  readonly byteCount: number;
  readonly event: EventPlan | undefined;
  readonly data: DataPlan | undefined;
}

const EMPTY_SLOT: Slot = { index: -1, constant: undefined, constantJson: undefined, isOptional: false };

/** Compiles a definition; `id` and `byteCount` as in a Plan. */
function compilePlan(definition: Definition, id: number, byteCount: number): Plan {
  const { root } = definition;
  const isEvent = definition.isExact && root.name === 'Event';
  const isData = definition.isExact && root.name === 'EventData' && root.dependency === NO_DEPENDENCY;
  return {
    id,
    byteCount,
    event: isEvent ? compileEvent(root) : undefined,
    data: isData ? compileData(root) : undefined,
  };
}

/** `Event` depends on its nested data by the letter; it is there all the same. */
function compileEvent(event: Element): EventPlan | undefined {
  let system: Element | undefined;
  let dataIndex = -1;
  for (const part of event.content) {
    if (part.kind === 'substitution') {
      if (dataIndex >= 0) return undefined;
      dataIndex = part.substitution.index;
    } else if (part.kind === 'element') {
      if (part.element.name === 'EventData') return undefined;
      if (part.element.name === 'System') system ??= part.element;
    }
  }
  if (system === undefined) return undefined;
  const slots = compileSystem(system);
  if (slots === undefined) return undefined;
  const slot = (name: string): Slot => slots.get(name) ?? EMPTY_SLOT;
  const provider = slot('Provider/Name');
  const providerGuid = slot('Provider/Guid');
  return {
    eventId: slot('EventID'),
    provider,
    providerGuid,
    hasSysmonName: isSysmonProvider(provider.constant ?? ''),
    hasSysmonGuid: isSysmonGuid(providerGuid.constant ?? ''),
    recordId: slot('EventRecordID'),
    channel: slot('Channel'),
    computer: slot('Computer'),
    timeCreated: slot('TimeCreated/SystemTime'),
    dataIndex,
    constantBytes: [provider, slot('Channel'), slot('Computer')].reduce((sum, each) => sum + constantBytesOf(each), 0),
  };
}

function constantBytesOf({ constantJson }: Slot): number {
  return constantJson?.length ?? 0;
}

/** Slots of `System` by element, or element and attribute; undefined where they are not plain slots. */
function compileSystem(system: Element): Map<string, Slot> | undefined {
  if (system.dependency !== NO_DEPENDENCY) return undefined;
  const slots = new Map<string, Slot>();
  const keep = (name: string, slot: Slot | undefined): boolean => {
    if (slot === undefined || slots.has(name)) return false;
    slots.set(name, slot);
    return true;
  };
  for (const part of system.content) {
    if (part.kind === 'text') continue;
    if (part.kind !== 'element') return undefined;
    const { element } = part;
    switch (element.name) {
      case 'EventID':
      case 'EventRecordID':
      case 'Channel':
      case 'Computer':
        if (!keep(element.name, compileSlot(element.content, element.dependency))) return undefined;
        break;
      case 'Provider':
      case 'TimeCreated':
        for (const { name, content } of element.attributes) {
          if (!keep(`${element.name}/${name}`, compileSlot(content, element.dependency))) return undefined;
        }
        break;
      default:
    }
  }
  return slots;
}

/** The one substitution or the constant text that makes up `content`; undefined for anything else. */
function compileSlot(content: readonly Content[], dependency: number): Slot | undefined {
  const [first] = content;
  if (first?.kind === 'substitution' && content.length === 1) {
    const { index, isOptional } = first.substitution;
    if (dependency !== NO_DEPENDENCY && dependency !== index) return undefined;
    return { ...EMPTY_SLOT, index, isOptional: isOptional || dependency !== NO_DEPENDENCY };
  }
  if (dependency !== NO_DEPENDENCY) return undefined;
  let constant = '';
  for (const part of content) {
    if (part.kind !== 'text') return undefined;
    constant += part.text;
  }
  return { ...EMPTY_SLOT, constant, constantJson: jsonBytes(JSON.stringify(constant).slice(1, -1)) };
}

/** A plan has each field and each substitution once: so what it writes is no more than the record holds. */
function compileData(data: Element): DataPlan | undefined {
  const fields: FieldPlan[] = [];
  const slots = new Map<string, Slot>();
  const indexes = new Set<number>();
  for (const part of data.content) {
    if (part.kind === 'text') continue;
    if (part.kind !== 'element') return undefined;
    const { element } = part;
    const attributes = element.attributes.filter(({ name }) => name === 'Name');
    const name = compileSlot(attributes[0]?.content ?? [], NO_DEPENDENCY)?.constant;
    const slot = compileSlot(element.content, element.dependency);
    if (attributes.length !== 1 || name === undefined || slot === undefined || slots.has(name)) return undefined;
    if (slot.index >= 0 && indexes.has(slot.index)) return undefined;
    indexes.add(slot.index);
    // A hash that stands in the template itself was never seen, and is not worth a special case.
    if (slot.index < 0 && name.startsWith('Hash')) return undefined;
    slots.set(name, slot);
    fields.push({
      name,
      slot,
      nameJson: jsonBytes(`,${JSON.stringify(name)}:"`),
    });
  }
  return {
    fields,
    slots,
    hashesIndex: slots.get('Hashes')?.index ?? -1,
    hashIndex: slots.get('Hash')?.index ?? -1,
    hashTypeIndex: slots.get('HashType')?.index ?? -1,
    constantBytes: fields.reduce((sum, { nameJson, slot }) => sum + nameJson.length + 1 + constantBytesOf(slot), 0),
  };
}

/** A name a definition uses, for telling whether another definition uses the same. */
interface NamePlace {
  /** From the start of the body. */
  readonly at: number;
  readonly isInline: boolean;
  /** UTF-16LE. */
  readonly text: DataView;
  /** Numbers the distinct names of the definition. */
  readonly number: number;
}

/** A plan with what proves that a definition is the one it was compiled from. */
interface KnownPlan {
  readonly plan: Plan;
  /** The definition's bytes from the GUID on. */
  readonly bytes: DataView;
  readonly names: readonly NamePlace[];
  /** By name number: where that name was found and compared last, in the chunk at hand. */
  readonly comparedAt: Uint32Array;
}

/** The GUID and the size of the body come before the body. */
const GUID_OFFSET = 4;
const KNOWN_HEAD_BYTES = DEFINITION_HEAD_BYTES - GUID_OFFSET;

/** 809 GUIDs were seen in 625 files. A file that makes up templates costs others a recompilation, no more. */
const MAX_PLANS = 4096;
/** A GUID comes in up to 4 sizes, and its texts may differ between machines. */
const MAX_PLANS_PER_ID = 16;
const MAX_PLAN_BYTES = 16 * 1024 * 1024;

/**
 * Plans kept over chunks and files. A GUID alone proves nothing, since whoever writes the log writes the GUID:
 * a known plan is used only after every byte of the definition and every name it refers to has been compared.
 */
export class PlanCache {
  readonly #byId = new Map<number, KnownPlan[]>();
  #planCount = 0;
  #byteCount = 0;

  /** The plan of the definition at `offset`, which lies within the chunk; undefined where it cannot be read. */
  planAt(chunk: Chunk, offset: number): Plan | undefined {
    try {
      return this.#planAt(chunk, offset);
    } catch (error) {
      if (error instanceof Damage) return undefined;
      throw error;
    }
  }

  #planAt(chunk: Chunk, offset: number): Plan {
    const id = chunk.view.getInt32(offset + GUID_OFFSET, true);
    for (const known of this.#byId.get(id) ?? []) {
      if (isSame(known, chunk, offset)) {
        chunk.claimDefinition(offset, known.plan.byteCount - DEFINITION_HEAD_BYTES);
        return known.plan;
      }
    }
    const byteCount = DEFINITION_HEAD_BYTES + chunk.view.getUint32(offset + 20, true);
    const definition = definitionAt(chunk, offset);
    const plan = compilePlan(definition, id, byteCount);
    if (definition.isExact) this.#keep(id, knownPlan(plan, definition, chunk, offset));
    return plan;
  }

  #keep(id: number, known: KnownPlan): void {
    if (this.#planCount >= MAX_PLANS || this.#byteCount + known.bytes.byteLength > MAX_PLAN_BYTES) {
      this.#byId.clear();
      this.#planCount = 0;
      this.#byteCount = 0;
    }
    const plans = this.#byId.get(id) ?? [];
    if (plans.length >= MAX_PLANS_PER_ID) return;
    plans.push(known);
    this.#byId.set(id, plans);
    this.#planCount++;
    this.#byteCount += known.bytes.byteLength;
  }
}

function copyOf(bytes: Buffer): DataView {
  return new DataView(Uint8Array.from(bytes).buffer);
}

function knownPlan(plan: Plan, definition: Definition, chunk: Chunk, offset: number): KnownPlan {
  const numbers = new Map<string, number>();
  const names = definition.names.map(({ at, isInline, name }) => {
    const number = numbers.get(name) ?? numbers.size;
    numbers.set(name, number);
    return { at, isInline, text: copyOf(Buffer.from(name, 'utf16le')), number };
  });
  return {
    plan,
    bytes: copyOf(chunk.bytes.subarray(offset + GUID_OFFSET, offset + plan.byteCount)),
    names,
    comparedAt: new Uint32Array(numbers.size),
  };
}

/**
 * Whether the definition at `offset` means what the known one means: equal bytes but for the fields that hold positions
 * (each name's offset, and the chain pointer of each inline name), and equal names where those lead.
 */
function isSame(known: KnownPlan, chunk: Chunk, offset: number): boolean {
  const { view } = chunk;
  const head = offset + GUID_OFFSET;
  if (view.getUint32(offset + 20, true) !== known.plan.byteCount - DEFINITION_HEAD_BYTES) return false;
  known.comparedAt.fill(0);
  let from = 0;
  for (const name of known.names) {
    const at = KNOWN_HEAD_BYTES + name.at;
    if (!isEqual(known.bytes, from, at, view, head)) return false;
    const target = view.getUint32(head + at, true);
    const inlineTarget = head + at + 4;
    if (name.isInline) {
      if (target !== inlineTarget) return false;
      from = at + 8;
    } else {
      if (target >= head + at || target < CHUNK_HEADER_BYTES) return false;
      if (known.comparedAt[name.number] !== target) {
        const { byteLength: length } = name.text;
        if (target + NAME_HEAD_BYTES + length + 2 > chunk.end) return false;
        if (view.getUint16(target + 6, true) * 2 !== length) return false;
        if (!isEqual(name.text, 0, length, view, target + NAME_HEAD_BYTES)) return false;
        known.comparedAt[name.number] = target;
      }
      from = at + 4;
    }
  }
  return isEqual(known.bytes, from, known.bytes.byteLength, view, head);
}

/** Whether `bytes[from, to)` equals what lies at the same distance behind `base`. */
function isEqual(bytes: DataView, from: number, to: number, view: DataView, base: number): boolean {
  let at = from;
  for (; at + 4 <= to; at += 4) {
    if (bytes.getUint32(at) !== view.getUint32(base + at)) return false;
  }
  for (; at < to; at++) {
    if (bytes.getUint8(at) !== view.getUint8(base + at)) return false;
  }
  return true;
}
