import { ByteWriter } from '../byte-writer.js';
import { writeCanonicalBody } from '../canonical.js';
import { CONTEXT_EVENT_IDS, ParentIndex, type ProcessKey, processKey, selectContext } from '../context.js';
import { PROCESS_CREATION, type RecordReceiver, type RecordView, type SysmonEvent } from '../event.js';
import { lookupKeyOf, parseHashes } from '../hash.js';
import { contextPathOf } from '../log-paths.js';
import { outputFile } from '../sinks/enriched-file.js';
import { type ContainerLimits, openLogFile, readLog } from '../sources/index.js';

const FLUSH_BYTES = 128 * 1024;

/** Removes the context of a log of whose processes none is flagged any more. Rejects with StorageError. */
export function removeContext(enrichedPath: string): Promise<void> {
  return outputFile(contextPathOf(enrichedPath)).commit();
}

/** What is said of a file in the context. */
interface SaidOfFile {
  readonly verdict: unknown;
  /** The `virustotal` member, JSON text. */
  readonly member: string;
}

/** Whether a verdict makes a process one whose story is told. */
export function isFlagging(verdict: unknown): boolean {
  return verdict === 'malicious' || verdict === 'suspicious';
}

/**
 * Reads a log twice more and writes the records around its flagged processes: what they did and suffered, their children's process
 * creations and their ancestors', in canonical form, process creations with their verdict. Returns how many records there are.
 * Rejects as `readLog` does, with StorageError, and with the signal's reason once it aborts: then nothing is written.
 */
export async function writeContext(
  log: { readonly path: string; readonly enrichedPath: string },
  saidOf: (hash: string) => SaidOfFile | undefined,
  limits: ContainerLimits,
  signal?: AbortSignal,
): Promise<number> {
  const parents = new ParentIndex();
  const flagged = new Set<ProcessKey>();
  const stopIfAborted = async (): Promise<void> => signal?.throwIfAborted();
  await readEvents(
    log.path,
    new Set([PROCESS_CREATION]),
    limits,
    (event) => {
      parents.add(event);
      if (!isFlagging(saidOfEvent(event, saidOf)?.verdict)) return;
      const key = processKey(event.computer, event.data.get('ProcessGuid'));
      if (key !== undefined) flagged.add(key);
    },
    stopIfAborted,
  );

  const isContext = selectContext(flagged, parents);
  const output = outputFile(contextPathOf(log.enrichedPath));
  const out = new ByteWriter(FLUSH_BYTES * 2);
  let records = 0;
  try {
    await readEvents(
      log.path,
      CONTEXT_EVENT_IDS,
      limits,
      (event) => {
        if (!isContext(event)) return;
        records++;
        writeCanonicalBody(event, out);
        const member = event.eventId === PROCESS_CREATION ? saidOfEvent(event, saidOf)?.member : undefined;
        out.text(member === undefined ? '}\n' : `,"virustotal":${member}}\n`);
      },
      async () => {
        await stopIfAborted();
        if (out.length < FLUSH_BYTES) return;
        await output.write(out.view());
        out.clear();
      },
    );
    if (out.length > 0) await output.write(out.view());
    await output.commit();
  } catch (error) {
    await output.abandon();
    throw error;
  }
  return records;
}

function saidOfEvent(event: SysmonEvent, saidOf: (hash: string) => SaidOfFile | undefined): SaidOfFile | undefined {
  const key = lookupKeyOf(parseHashes(event.data.get('Hashes') ?? ''));
  return key === undefined ? undefined : saidOf(key.hash);
}

async function readEvents(
  path: string,
  eventIds: ReadonlySet<number>,
  limits: ContainerLimits,
  onEvent: (event: SysmonEvent) => void,
  onBlockEnd: () => Promise<void>,
): Promise<void> {
  // What cannot be read was told when the log was read for its verdicts.
  const receiver: RecordReceiver = {
    onEvent: (record: RecordView) => onEvent(record.decode()),
    onOther: () => undefined,
    onReject: () => undefined,
    onDuplicate: () => undefined,
    onNote: () => undefined,
    onBlockEnd,
  };
  const file = await openLogFile(path);
  try {
    await readLog(file.reader, { filePath: path, limits, wanted: { eventIds } }, receiver, () => undefined);
  } finally {
    await file.close();
  }
}
