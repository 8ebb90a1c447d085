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

/** Deepest nesting that is followed; real records nest below 20. A broken line may be scanned once for each level. */
export const MAX_DEPTH = 64;

/**
 * The value of a JSON text; undefined where it is none, or nested deeper than any record: what looks into values calls itself for each level,
 * and whoever writes a log could make it end in the middle.
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return isNestedBeyond(value, MAX_DEPTH) ? undefined : value;
}

function isNestedBeyond(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const name in value) if (isNestedBeyond((value as JsonObject)[name], levels - 1)) return true;
  return false;
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

/**
 * The same object, whose members can be asked for in any case; where several names differ in case alone, the one that was asked for, else
 * the first. Listed, its names are those of the log.
 */
export function inAnyCase(record: JsonObject): JsonObject {
  const names = new Map<string, string>();
  for (const name of Object.keys(record)) {
    const lower = name.toLowerCase();
    if (!names.has(lower)) names.set(lower, name);
  }
  const nameOf = (asked: string | symbol): string | undefined => {
    if (typeof asked === 'symbol') return undefined;
    return Object.hasOwn(record, asked) ? asked : names.get(asked.toLowerCase());
  };
  const memberAt = (asked: string | symbol): unknown => {
    const name = nameOf(asked);
    return name === undefined ? undefined : valueInAnyCase(record[name]);
  };
  return new Proxy<JsonObject>(Object.create(null), {
    get: (_target, asked) => memberAt(asked),
    ownKeys: () => Object.keys(record),
    has: (_target, asked) => nameOf(asked) !== undefined,
    getOwnPropertyDescriptor: (_target, asked) =>
      nameOf(asked) === undefined
        ? undefined
        : { value: memberAt(asked), enumerable: true, configurable: true, writable: false },
  });
}

function valueInAnyCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.some(isObject) ? value.map(valueInAnyCase) : value;
  return isObject(value) ? inAnyCase(value) : value;
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
