/** A parsed JSON object. Its names come from the log: only own members are ever looked at. */
export type JsonObject = { readonly [name: string]: unknown };

/** A way down through members, written `winlog.event_id`. */
export type Path = readonly string[];

/** Splits `winlog.event_id` into its steps. */
export function path(text: string): Path {
  return text.split('.');
}

/** Whether a parsed value is an object and no array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What stands at the end of a path, or undefined. */
export function valueAt(record: JsonObject, steps: Path): unknown {
  let value: unknown = record;
  for (const step of steps) {
    if (!isObject(value) || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return value;
}

/** The object at the end of a path, or undefined. */
export function objectAt(record: JsonObject, steps: Path): JsonObject | undefined {
  const value = valueAt(record, steps);
  return isObject(value) ? value : undefined;
}

/** The first text found on one of several paths; empty texts and `-` count as absent. */
export function textAt(record: JsonObject, paths: readonly Path[]): string | undefined {
  for (const steps of paths) {
    const text = textOf(valueAt(record, steps));
    if (text !== undefined && text !== '' && text !== '-') return text;
  }
  return undefined;
}

/**
 * The text of a value: strings as they are, numbers and booleans spelled out, the first value of an array (Kibana's `fields`),
 * the text of an element with attributes (`#text`, `text`, Velociraptor's and PowerShell's `Value`).
 * Undefined for null, other objects, and integers a JavaScript number has rounded.
 */
export function textOf(value: unknown): string | undefined {
  const scalar = Array.isArray(value) ? (value[0] as unknown) : value;
  switch (typeof scalar) {
    case 'string':
      return scalar;
    case 'boolean':
      return String(scalar);
    case 'number':
      return Number.isInteger(scalar) && !Number.isSafeInteger(scalar) ? undefined : String(scalar);
    default:
      if (!isObject(scalar)) return undefined;
      for (const name of TEXT_MEMBERS) {
        if (!Object.hasOwn(scalar, name)) continue;
        const text = scalar[name];
        return isObject(text) ? undefined : textOf(text);
      }
      return undefined;
  }
}

const TEXT_MEMBERS = ['#text', 'text', 'Value', 'value'] as const;

/** A small number on one of several paths, given as a number or as a string: an event id. */
export function idAt(record: JsonObject, paths: readonly Path[]): number | undefined {
  for (const steps of paths) {
    const id = idOf(valueAt(record, steps));
    if (id !== undefined) return id;
  }
  return undefined;
}

/** An event id written as a number or in digits, else undefined. */
export function idOf(value: unknown): number | undefined {
  const text = textOf(value)?.trim();
  return text !== undefined && /^\d{1,5}$/.test(text) ? Number(text) : undefined;
}

/** Deepest level at which names are respelled: `Event.System.Provider.#attributes.Name` has five. */
const MAX_RESPELLED_DEPTH = 6;

/** A copy whose members have other names, down to the depth records use; undefined where every name stays as it is. */
export function respell(record: JsonObject, spell: (name: string) => string): JsonObject | undefined {
  let isChanged = false;
  const copy = (value: unknown, depth: number): unknown => {
    if (depth > MAX_RESPELLED_DEPTH) return value;
    if (Array.isArray(value)) return value.map((element: unknown) => copy(element, depth + 1));
    if (!isObject(value)) return value;
    const respelled: { [name: string]: unknown } = Object.create(null);
    for (const [name, member] of Object.entries(value)) {
      const spelled = spell(name);
      if (spelled !== name) isChanged = true;
      // Where two names become one, the first counts.
      if (!(spelled in respelled)) respelled[spelled] = copy(member, depth + 1);
    }
    return respelled;
  };
  const respelled = copy(record, 0);
  return isChanged && isObject(respelled) ? respelled : undefined;
}

/** Longest way down that a dotted name can describe. */
const MAX_DOTTED_STEPS = 8;

/** A copy in which `{"process.hash.sha1": …}` has become nested objects; undefined where no name has a separator. */
export function nest(record: JsonObject, separator: string): JsonObject | undefined {
  if (!Object.keys(record).some((name) => name.includes(separator))) return undefined;
  const nested: NestedObject = { members: Object.create(null), inner: new Map() };
  for (const [name, value] of Object.entries(record)) {
    const steps = name.split(separator, MAX_DOTTED_STEPS);
    const last = steps.pop() ?? name;
    let holder = nested;
    for (const step of steps) holder = innerOf(holder, step);
    // The same member may be given both ways: `"process": {"pid": 4}, "process.name": "System"`.
    const inner = holder.inner.get(last);
    if (inner === undefined) holder.members[last] = value;
    else if (isObject(value)) Object.assign(inner.members, value);
  }
  return nested.members;
}

interface NestedObject {
  readonly members: { [name: string]: unknown };
  /** The objects in `members` that were made here and may be added to. */
  readonly inner: Map<string, NestedObject>;
}

function innerOf(holder: NestedObject, step: string): NestedObject {
  const present = holder.inner.get(step);
  if (present !== undefined) return present;
  const value = holder.members[step];
  const made: NestedObject = {
    members: Object.assign(Object.create(null), isObject(value) ? value : {}),
    inner: new Map(),
  };
  holder.members[step] = made.members;
  holder.inner.set(step, made);
  return made;
}
