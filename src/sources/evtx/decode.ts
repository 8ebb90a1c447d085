import { isSysmonProvider, type SysmonEvent } from '../../event.js';
import {
  type Chunk,
  type Content,
  type Element,
  NO_DEPENDENCY,
  parseFragment,
  type Root,
  type Values,
} from './binxml.js';
import { Damage } from './damage.js';
import { BINXML_TYPE, NULL_TYPE, valueText } from './values.js';

/** UTF-16 units of all fields of one record: what one large value under many fields could be blown up to. */
const MAX_TEXT_UNITS = 1024 * 1024;
/** Elements, attributes and texts looked at for one record: bounds the time that nested templates can cost. */
const MAX_STEPS = 65_536;

/** Providers by GUID, which stays where the provider's name was changed; lower case without braces. */
const SYSMON_GUIDS: ReadonlySet<string> = new Set([
  '5770385f-c22a-43e0-bf4c-06f5698ffbd9',
  'ff032593-a8d3-4f13-b0d6-01fc615a0f97',
]);

/** Whether a GUID, in any case and with or without braces, is that of Sysmon for Windows or Linux. */
export function isSysmonGuid(guid: string): boolean {
  return SYSMON_GUIDS.has(guid.toLowerCase().replace(/[{}]/g, ''));
}

interface Reading {
  readonly chunk: Chunk;
  textUnitsLeft: number;
  stepsLeft: number;
}

/**
 * Decodes the event in `[start, end)` of a chunk by walking its whole binary XML, whatever its shape.
 * Returns undefined for an event that is not Sysmon's or whose id is not in `eventIds`; all ids are wanted where that is absent.
 * Raises Damage.
 */
export function decodeEvent(
  chunk: Chunk,
  start: number,
  end: number,
  eventIds?: ReadonlySet<number>,
): SysmonEvent | undefined {
  const reading = startReading(chunk);
  const event = eventAt(chunk, start, end);
  const system = systemOf(event);
  if (!isFromSysmon(reading, system)) return undefined;
  const eventId = parseEventId(systemText(reading, system, 'EventID'));
  if (eventIds !== undefined && !eventIds.has(eventId)) return undefined;
  return { eventId, ...originOf(reading, system), data: dataOf(reading, event) };
}

/**
 * Decodes an event of any provider: fields by the provider's own names, those of UserData too; values without a name stand under that
 * of their element. Raises Damage.
 */
export function decodeAnyEvent(chunk: Chunk, start: number, end: number): SysmonEvent {
  const reading = startReading(chunk);
  const event = eventAt(chunk, start, end);
  const system = systemOf(event);
  const eventId = parseEventId(systemText(reading, system, 'EventID'));
  const origin = originOf(reading, system);
  const data = dataOf(reading, event);
  for (const root of childrenOf(reading, event)) {
    if (root.element.name !== 'UserData' || isLeftOut(root.element, root.values)) continue;
    for (const holder of childrenOf(reading, root)) addFields(reading, holder, data);
  }
  return { eventId, ...origin, data };
}

function startReading(chunk: Chunk): Reading {
  return { chunk, textUnitsLeft: MAX_TEXT_UNITS, stepsLeft: MAX_STEPS };
}

function eventAt(chunk: Chunk, start: number, end: number): Root {
  const event = parseFragment(chunk, start, end).find(({ element }) => element.name === 'Event');
  if (event === undefined) throw new Damage('BAD_RECORD', 'no Event element');
  return event;
}

function originOf(reading: Reading, system: Root): Omit<SysmonEvent, 'eventId' | 'data'> {
  return {
    recordId: systemText(reading, system, 'EventRecordID'),
    provider: systemText(reading, system, 'Provider', 'Name'),
    channel: systemText(reading, system, 'Channel'),
    computer: systemText(reading, system, 'Computer'),
    timeCreated: systemText(reading, system, 'TimeCreated', 'SystemTime'),
  };
}

function parseEventId(text: string | undefined): number {
  const digits = text?.trim() ?? '';
  const eventId = Number(digits);
  if (!/^\d{1,5}$/.test(digits) || eventId > 0xffff) throw new Damage('BAD_RECORD', 'event without an id');
  return eventId;
}

/**
 * The child elements of a root, with those that come as nested values, each with the values it refers to. Nested values are
 * opened for the children of Event and of what holds its fields only, so nesting needs no further limit.
 */
function childrenOf(reading: Reading, { element, values }: Root): Root[] {
  const children: Root[] = [];
  for (const part of element.content) {
    countStep(reading);
    if (part.kind === 'element') {
      children.push({ element: part.element, values });
    } else if (part.kind === 'root') {
      children.push(part.root);
    } else if (part.kind === 'substitution' && values?.types[part.substitution.index] === BINXML_TYPE) {
      const { index } = part.substitution;
      for (const root of parseFragment(reading.chunk, values.starts[index] ?? 0, values.starts[index + 1] ?? 0)) {
        countStep(reading);
        children.push(root);
      }
    }
  }
  return children;
}

function countStep(reading: Reading): void {
  if (--reading.stepsLeft < 0) throw new Damage('TOO_LARGE', `event of more than ${MAX_STEPS} parts`);
}

function elementsOf({ content }: Element): Element[] {
  return content.flatMap((part) => (part.kind === 'element' ? [part.element] : []));
}

function systemOf({ element: event, values }: Root): Root {
  const system = elementsOf(event).find(({ name }) => name === 'System');
  if (system === undefined) throw new Damage('BAD_RECORD', 'no System element');
  return { element: system, values };
}

/** The text of a child of System, or of its attribute; undefined where it is absent or left out. The first of a name counts. */
function systemText(reading: Reading, system: Root, name: string, attribute?: string): string | undefined {
  const { values } = system;
  if (isLeftOut(system.element, values)) return undefined;
  const element = elementsOf(system.element).find((child) => child.name === name);
  if (element === undefined || isLeftOut(element, values)) return undefined;
  if (attribute === undefined) return textOf(reading, element.content, values);
  const found = element.attributes.find((each) => each.name === attribute);
  return found && textOf(reading, found.content, values);
}

function isFromSysmon(reading: Reading, system: Root): boolean {
  return (
    isSysmonProvider(systemText(reading, system, 'Provider', 'Name') ?? '') ||
    isSysmonGuid(systemText(reading, system, 'Provider', 'Guid') ?? '')
  );
}

/** `EventData` by field name; values of a repeated name are joined with `, `. */
function dataOf(reading: Reading, event: Root): Map<string, string> {
  const data = new Map<string, string>();
  for (const root of childrenOf(reading, event)) {
    // What else is there, above all RenderingInfo, says the same in the language of the sender.
    if (root.element.name !== 'EventData' || isLeftOut(root.element, root.values)) continue;
    addFields(reading, root, data);
  }
  return data;
}

function addFields(reading: Reading, holder: Root, data: Map<string, string>): void {
  for (const { element, values } of childrenOf(reading, holder)) {
    if (isLeftOut(element, values)) continue;
    const text = textOf(reading, element.content, values);
    if (text === undefined) continue;
    const attribute = element.attributes.find(({ name }) => name === 'Name');
    const name = attribute && textOf(reading, attribute.content, values);
    const field = name ?? element.name;
    const earlier = data.get(field);
    data.set(field, earlier === undefined ? text : `${earlier}, ${text}`);
  }
}

function isLeftOut({ dependency }: Element, values: Values | undefined): boolean {
  return dependency !== NO_DEPENDENCY && typeAt(values, dependency) === NULL_TYPE;
}

/** The type of a value; one that is not there is as good as null. */
function typeAt(values: Values | undefined, index: number): number {
  return values?.types[index] ?? NULL_TYPE;
}

/** The character data of an element or attribute; undefined where an optional substitution without a value takes it away. */
function textOf(reading: Reading, content: readonly Content[], values: Values | undefined): string | undefined {
  let text = '';
  for (const part of content) {
    countStep(reading);
    if (part.kind === 'text') {
      text += part.text;
    } else if (part.kind === 'substitution') {
      const { index, isOptional } = part.substitution;
      const type = typeAt(values, index);
      if (type === NULL_TYPE && isOptional) return undefined;
      if (type === NULL_TYPE || values === undefined) continue;
      const { bytes, view } = reading.chunk;
      text += valueText(bytes, view, type, values.starts[index] ?? 0, values.starts[index + 1] ?? 0);
    }
    if (text.length > reading.textUnitsLeft) {
      throw new Damage('TOO_LARGE', `fields of more than ${MAX_TEXT_UNITS} characters`);
    }
  }
  reading.textUnitsLeft -= text.length;
  return text;
}
