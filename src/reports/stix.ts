import { createHash } from 'node:crypto';
import { present } from './present.js';
import type { Finding, Report, StoryProcess } from './report.js';
import { count, describeVerdict, grouped } from './wording.js';

/** The specification's namespace for ids of cyber observables (STIX 2.1, section 2.9). It must not be used for other objects. */
const OBSERVABLE_NAMESPACE = '00abedb4-aa42-466c-9c01-fed23315a9b7';
/** This program's own namespace, for all other ids. */
const OWN_NAMESPACE = '7b9c3b66-aed1-4e60-baaf-ab469fbb7241';
/** When objects that never change were made: the program itself, and machines, of which no more than the name is known. */
const CONSTANT_TIME = '2026-01-01T00:00:00.000Z';
/** Largest `number_observed` and `count` that the specification allows. */
const MAX_COUNT = 999_999_999;

type StixObject = { readonly type: string; readonly id: string; readonly [name: string]: unknown };

/**
 * The findings as a STIX 2.1 bundle: files, processes and users that were observed, an indicator for each file, its sightings on
 * hosts, and VirusTotal's analysis. All times come from the records, and ids from the content: the same records give the same
 * bytes, and objects of two reports have one id exactly where they are the same. Undetected and unknown files are not in it.
 */
export function* stixPieces(report: Report): Generator<string> {
  const bundle = new BundleWriter(report.findings);
  yield '{"type":"bundle","objects":[';
  const author = bundle.add(contentObject('identity', { ...constant(), name: 'sysmon-vt', identity_class: 'system' }));
  const left = report.findingsTotal - report.findings.length;
  if (left > 0) {
    const content = `${count(left, 'finding')} beyond the worst ${grouped(report.findings.length)} are not in this bundle.`;
    bundle.add(
      contentObject('note', { ...dated(report.lastRun), created_by_ref: author, content, object_refs: [author] }),
    );
  }
  yield bundle.take();
  for (const finding of report.findings) {
    addFinding(finding, author, bundle);
    yield bundle.take();
  }
  yield `],"id":"bundle--${bundle.id()}"}\n`;
}

/** Writes each object of a bundle once, in the order they are added. */
class BundleWriter {
  readonly #ids = new Set<string>();
  readonly #digest = createHash('sha1');
  readonly #told = new Map<string, ToldProcess>();
  #text = '';

  constructor(findings: readonly Finding[]) {
    for (const finding of findings) {
      for (const { host, process, ancestors } of finding.stories) {
        const id = processId(host, process);
        if (!this.#told.has(id)) this.#told.set(id, { finding, process, parent: ancestors.at(-1) });
      }
    }
  }

  add(object: StixObject): string {
    if (this.#ids.has(object.id)) return object.id;
    const text = wellFormedJson(object);
    this.#text += `${this.#ids.size === 0 ? '' : ','}${text}`;
    this.#ids.add(object.id);
    this.#digest.update(`${object.id} `);
    return object.id;
  }

  /** What is told of this process where it is one of a finding's: more than another process's story says of it. */
  toldOf(id: string): ToldProcess | undefined {
    return this.#told.get(id);
  }

  /** The objects added since the last time, as text of a JSON array without its brackets. */
  take(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** A UUID of all ids so far. */
  id(): string {
    return uuidV5(OWN_NAMESPACE, `bundle ${this.#digest.digest('hex')}`);
  }
}

interface ToldProcess {
  /** The finding that the process is one of. */
  readonly finding: Finding | undefined;
  readonly process: StoryProcess;
  readonly parent: StoryProcess | undefined;
}

function addFinding(finding: Finding, author: string, bundle: BundleWriter): void {
  const { file, executions, firstRun, lastRun } = finding;
  const observed = new Set<string>();
  const fileRef = addFile(finding.image, finding, bundle, observed);
  for (const { host, process, ancestors } of finding.stories) {
    const parent = ancestors.at(-1);
    if (parent !== undefined) {
      const told = bundle.toldOf(processId(host, parent));
      addProcess(host, told ?? { finding: undefined, process: parent, parent: undefined }, bundle, observed);
    }
    addProcess(host, { finding, process, parent }, bundle, observed);
  }

  const add = (object: StixObject): string => bundle.add(object);
  const hosts = finding.hosts.listed.map(({ value }) =>
    add(contentObject('identity', { ...constant(), created_by_ref: author, name: value, identity_class: 'system' })),
  );
  const pattern = Object.entries(stixHashes(finding))
    .map(([name, hash]) => `file:hashes.${name.includes('-') ? `'${name}'` : name} = '${hash}'`)
    .join(' OR ');
  const indicator = add(
    contentObject('indicator', {
      ...dated(file.firstSubmission ?? file.lastAnalysis ?? file.checkedAt),
      created_by_ref: author,
      name: `File detected on VirusTotal: ${finding.id}`,
      indicator_types: [file.verdict === 'malicious' ? 'malicious-activity' : 'anomalous-activity'],
      pattern: `[${pattern}]`,
      pattern_type: 'stix',
      valid_from: (file.firstSubmission ?? file.lastAnalysis ?? file.checkedAt)?.toISOString() ?? CONSTANT_TIME,
    }),
  );
  add(
    contentObject('malware-analysis', {
      ...dated(file.lastAnalysis ?? file.checkedAt),
      created_by_ref: author,
      product: 'virustotal',
      result: file.verdict,
      ...present('result_name', file.label),
      ...present('submitted', file.firstSubmission?.toISOString()),
      ...present('analysis_ended', file.lastAnalysis?.toISOString()),
      sample_ref: fileRef,
      external_references: [
        { source_name: 'virustotal', ...present('url', file.link), description: describeVerdict(file) },
      ],
    }),
  );
  // An observation has a time; records without one that can be read are sighted, not observed.
  const isDated = firstRun !== undefined && lastRun !== undefined;
  const observation = isDated
    ? add(
        contentObject('observed-data', {
          ...dated(lastRun),
          created_by_ref: author,
          first_observed: firstRun.toISOString(),
          last_observed: lastRun.toISOString(),
          number_observed: Math.min(executions, MAX_COUNT),
          object_refs: [...observed],
        }),
      )
    : undefined;
  add(
    contentObject('sighting', {
      ...dated(lastRun ?? file.checkedAt),
      created_by_ref: author,
      ...present('first_seen', firstRun?.toISOString()),
      ...present('last_seen', lastRun?.toISOString()),
      count: Math.min(executions, MAX_COUNT),
      sighting_of_ref: indicator,
      ...(observation === undefined ? {} : { observed_data_refs: [observation] }),
      ...(hosts.length === 0 ? {} : { where_sighted_refs: hosts }),
    }),
  );
  if (observation === undefined) return;
  add(
    contentObject('relationship', {
      ...dated(lastRun),
      created_by_ref: author,
      relationship_type: 'based-on',
      source_ref: indicator,
      target_ref: observation,
    }),
  );
}

/** A file under one path. Its id contains one hash only, the first of MD5, SHA-1 and SHA-256 that is known. */
function addFile(image: string, finding: Finding | undefined, bundle: BundleWriter, observed: Set<string>): string {
  const [, folder, name] = /^(?:(.*)[\\/])?([^\\/]*)$/s.exec(image) ?? [];
  const directoryRef =
    folder === undefined || folder === ''
      ? undefined
      : bundle.add(observable('directory', { path: folder }, { path: folder }));
  if (directoryRef !== undefined) observed.add(directoryRef);
  const hashes = finding === undefined ? {} : stixHashes(finding);
  const [firstHash] = Object.entries(hashes);
  const named = {
    // A file needs a name or a hash; a record can lack its image.
    ...(name === undefined || name === '' ? (firstHash === undefined ? { name: 'unknown' } : {}) : { name }),
    ...present('parent_directory_ref', directoryRef),
  };
  const id = bundle.add(
    observable(
      'file',
      { ...(firstHash === undefined ? {} : { hashes: Object.fromEntries([firstHash]) }), ...named },
      { ...(firstHash === undefined ? {} : { hashes }), ...named },
    ),
  );
  observed.add(id);
  return id;
}

/** A process. Its parent is only referred to: whoever tells of the process adds that one too. */
function addProcess(
  host: string,
  { finding, process, parent }: ToldProcess,
  bundle: BundleWriter,
  observed: Set<string>,
): void {
  const { pid, commandLine, user, startedAt, image } = process;
  const account = user === undefined ? undefined : { user_id: user, account_login: loginOf(user) };
  const userRef = account === undefined ? undefined : bundle.add(observable('user-account', account, account));
  const isOfFinding = finding !== undefined && image === finding.image;
  const imageRef = addFile(image, isOfFinding ? finding : undefined, bundle, observed);
  const id = bundle.add({
    type: 'process',
    spec_version: '2.1',
    id: processId(host, process),
    ...present('pid', pid !== undefined && /^\d{1,10}$/.test(pid) ? Number(pid) : undefined),
    ...present('created_time', startedAt?.toISOString()),
    ...present('command_line', commandLine),
    ...present('creator_user_ref', userRef),
    image_ref: imageRef,
    ...present('parent_ref', parent === undefined ? undefined : processId(host, parent)),
  });
  if (userRef !== undefined) observed.add(userRef);
  observed.add(id);
}

/**
 * The id of a process. The specification wants a random one; one made of host and ProcessGuid is as unique and stays the same from
 * report to report, which "other algorithms may be used" allows. Without a GUID it is made of all that is known.
 */
function processId(host: string, { guid, pid, image, commandLine, user, startedAt }: StoryProcess): string {
  const process =
    guid?.toLowerCase() ?? [pid, image, commandLine, user, startedAt?.toISOString()].map((fact) => fact ?? '');
  return `process--${uuidV5(OWN_NAMESPACE, `process ${canonicalJson({ host: host.toLowerCase(), process })}`)}`;
}

function loginOf(user: string): string {
  return user.slice(user.lastIndexOf('\\') + 1) || user;
}

function stixHashes({ file }: Finding): Readonly<Record<string, string>> {
  const { md5, sha1, sha256 } = file.hashes;
  return { ...present('MD5', md5), ...present('SHA-1', sha1), ...present('SHA-256', sha256) };
}

function constant(): { readonly created: string; readonly modified: string } {
  return { created: CONSTANT_TIME, modified: CONSTANT_TIME };
}

function dated(time: Date | undefined): { readonly created: string; readonly modified: string } {
  const text = time?.toISOString() ?? CONSTANT_TIME;
  return { created: text, modified: text };
}

/** A cyber observable with the specification's own deterministic id (section 2.9). */
function observable(type: string, identifying: object, body: object): StixObject {
  return {
    type,
    spec_version: '2.1',
    id: `${type}--${uuidV5(OBSERVABLE_NAMESPACE, canonicalJson(identifying))}`,
    ...body,
  };
}

/** An object whose id is made of its content: a different statement is another object, never an old one changed without a date. */
function contentObject(type: string, body: object): StixObject {
  const id = `${type}--${uuidV5(OWN_NAMESPACE, `${type} ${canonicalJson(body)}`)}`;
  return { type, spec_version: '2.1', id, ...body };
}

/** JSON with sorted names and without blanks: for texts, whole numbers and such as here this is RFC 8785. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(typeof value === 'string' ? wellFormed(value) : value);
}

/** Text that every reader of JSON takes: half a surrogate pair, which a log can hold, becomes U+FFFD. */
function wellFormed(text: string): string {
  return text.replace(/\p{Cs}/gu, '\ufffd');
}

/** JSON in which no text holds half a surrogate pair. */
function wellFormedJson(object: StixObject): string {
  const text = JSON.stringify(object);
  // Such halves stand there escaped. Asking for each text takes three times as long as writing it.
  if (!text.includes('\\ud')) return text;
  return JSON.stringify(object, (_name, value: unknown) => (typeof value === 'string' ? wellFormed(value) : value));
}

/** A name-based UUID of RFC 9562, section 5.5. */
function uuidV5(namespace: string, name: string): string {
  const digest = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name, 'utf8')
    .digest()
    .subarray(0, 16);
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x50;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  return digest.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
