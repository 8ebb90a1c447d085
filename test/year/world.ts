import { createHash } from 'node:crypto';
import { type NightEvent, seededRandom } from '../../src/demo/night.js';
import type { Lookup } from '../../src/lookup.js';

const DAY_MS = 86_400_000;
const ENGINES = 70;

/** From here on a file is malicious; the program's own default. */
const MALICIOUS_AT = 5;

/** What VirusTotal will say of a file in the course of the year. */
type Fate =
  /** Nobody ever detects it. */
  | 'harmless'
  /** Detected before it first ran here. */
  | 'malicious'
  /** Detected by nobody at first; engine after engine from `turnsAtMs` on. */
  | 'turncoat'
  /** One engine detects it on one day in eight, by chance. */
  | 'flapping'
  /** Never sent to VirusTotal. */
  | 'unknown';

/** One file of the year. */
export interface WorldFile {
  readonly hash: string;
  readonly fate: Fate;
  /** The night whose log first has it. */
  readonly night: number;
  readonly firstSubmissionMs: number;
  /** When its detections begin to grow; Infinity for all but turncoats. */
  readonly turnsAtMs: number;
  /** Where it runs: an ordinary program, one of a user's, or one that looks odd. */
  readonly looks: 'installed' | 'of_a_user' | 'odd';
}

/** A year of a fleet: which files run on which night, and what VirusTotal knows of them when. The same for the same seed. */
export class World {
  readonly files = new Map<string, WorldFile>();
  readonly #startMs: number;
  readonly #random: () => number;

  constructor(startMs: number, seed: number) {
    this.#startMs = startMs;
    this.#random = seededRandom(seed);
  }

  /** The process creations of a night: each new file on one to three hosts, and as many files again that ran before. */
  night(night: number, newFiles: number): NightEvent[] {
    const atMs = this.#startMs + night * DAY_MS;
    const before = [...this.files.values()];
    const events: NightEvent[] = [];
    for (let number = 0; number < newFiles; number++) {
      const file = this.#newFile(night, number, atMs);
      this.files.set(file.hash, file);
      const hosts = file.looks === 'odd' ? 1 : 1 + Math.floor(this.#random() * 3);
      for (let host = 0; host < hosts; host++) events.push(this.#creation(file, atMs, events.length));
    }
    for (let number = 0; number < newFiles / 5 && before.length > 0; number++) {
      const file = before[Math.floor(this.#random() ** 3 * before.length)];
      if (file !== undefined) events.push(this.#creation(file, atMs, events.length));
    }
    return events;
  }

  /** VirusTotal's answer about a file at a time. */
  answer(hash: string, at: Date): Lookup {
    const file = this.files.get(hash);
    const detections = file === undefined ? undefined : detectionsOf(file, at.getTime());
    if (file === undefined || detections === undefined) {
      return { status: 'not_found', askedHash: hash, askedAt: at, httpStatus: 404, hashes: { sha1: hash } };
    }
    const counts = { suspicious: 0, harmless: 0, timeout: 0, confirmedTimeout: 0, failure: 0, typeUnsupported: 5 };
    return {
      status: 'found',
      askedHash: hash,
      askedAt: at,
      httpStatus: 200,
      hashes: { sha1: hash },
      report: {
        counts: { ...counts, malicious: detections, undetected: ENGINES - detections },
        detectedBy: [],
        categories: [],
        goodware: [],
        tags: [],
        names: [],
        firstSubmission: new Date(file.firstSubmissionMs),
      },
    };
  }

  #newFile(night: number, number: number, atMs: number): WorldFile {
    const hash = createHash('sha1').update(`${night}/${number}`).digest('hex');
    const draw = this.#random();
    const fate: Fate =
      draw < 0.86
        ? 'harmless'
        : draw < 0.88
          ? 'malicious'
          : draw < 0.91
            ? 'turncoat'
            : draw < 0.94
              ? 'flapping'
              : 'unknown';
    const odds = this.#random();
    const isBad = fate === 'malicious' || fate === 'turncoat';
    const looks = odds < (isBad ? 0.7 : 0.04) ? 'odd' : odds < (isBad ? 0.9 : 0.3) ? 'of_a_user' : 'installed';
    // Most files that run anywhere are old; what turns out malicious later is young.
    const age = fate === 'turncoat' ? 0.9 + this.#random() / 10 : this.#random();
    const ageDays =
      age < 0.6 ? 400 + this.#random() * 2000 : age < 0.85 ? 30 + this.#random() * 330 : this.#random() * 30;
    const turnsAtMs = fate === 'turncoat' ? atMs + (1 + this.#random() * 90) * DAY_MS : Number.POSITIVE_INFINITY;
    return { hash, fate, night, firstSubmissionMs: atMs - ageDays * DAY_MS, turnsAtMs, looks };
  }

  #creation({ hash, looks }: WorldFile, atMs: number, recordId: number): NightEvent {
    const host = Math.floor(this.#random() * 400);
    const name = hash.slice(0, 8);
    const image = {
      installed: `C:\\Program Files\\Maker ${name.slice(0, 3)}\\${name}.exe`,
      of_a_user: `C:\\Users\\user${host}\\AppData\\Local\\Programs\\${name}\\${name}.exe`,
      odd: `C:\\Users\\user${host}\\AppData\\Local\\Temp\\${name}.exe`,
    }[looks];
    const isNamed = looks !== 'odd';
    const time = new Date(atMs - Math.floor(this.#random() * DAY_MS));
    return {
      computer: `WS-${host}.corp.example`,
      eventId: 1,
      recordId: atMs / DAY_MS + recordId,
      time,
      data: new Map([
        ['UtcTime', time.toISOString().replace('T', ' ').replace('Z', '')],
        ['ProcessGuid', `{${host}-${recordId}-${atMs}}`],
        ['Image', image],
        ['FileVersion', isNamed ? '1.2.3' : '-'],
        ['Description', isNamed ? `Program ${name}` : '-'],
        ['Product', isNamed ? `Product ${name}` : '-'],
        ['Company', isNamed ? `Maker ${name.slice(0, 3)}` : '-'],
        ['OriginalFileName', isNamed ? `${name}.exe` : '-'],
        ['CommandLine', `"${image}" --run`],
        ['User', `CORP\\user${host}`],
        ['IntegrityLevel', 'Medium'],
        ['Hashes', `SHA1=${hash.toUpperCase()}`],
        ['ParentImage', looks === 'odd' ? 'C:\\Windows\\System32\\wscript.exe' : 'C:\\Windows\\explorer.exe'],
        ['ParentCommandLine', 'explorer.exe'],
      ]),
    };
  }
}

/** How many engines detect a file at a time; undefined where VirusTotal does not know it. */
export function detectionsOf({ fate, turnsAtMs, hash }: WorldFile, atMs: number): number | undefined {
  switch (fate) {
    case 'unknown':
      return undefined;
    case 'malicious':
      return 40;
    case 'flapping':
      // Around the one threshold or the other, by the file.
      return (Number.parseInt(hash[0] ?? '0', 16) % 2 === 0 ? 0 : MALICIOUS_AT - 1) + (isFlapDay(hash, atMs) ? 1 : 0);
    case 'turncoat':
      return atMs < turnsAtMs ? 0 : Math.min(45, 2 + Math.floor(((atMs - turnsAtMs) / DAY_MS) * 6));
    case 'harmless':
      return 0;
  }
}

/** Whether that one engine detects a flapping file on the day of this moment. */
export function isFlapDay(hash: string, atMs: number): boolean {
  const day = Math.floor(atMs / DAY_MS);
  return (createHash('sha1').update(`${hash}/${day}`).digest()[0] ?? 0) < 32;
}

/** When a turncoat is malicious for good: half a day after its first detections. */
export function maliciousSinceMs({ turnsAtMs }: WorldFile): number {
  return turnsAtMs + DAY_MS / 2;
}
