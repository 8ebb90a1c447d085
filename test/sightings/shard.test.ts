import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addSighting, emptyEvidence, type FileEvidence } from '../../src/evidence.js';
import { openGrowingShard, rewriteShard } from '../../src/sightings/shard.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-shard-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const DAY_MS = 86_400_000;
const START_MS = Date.parse('2026-03-01T00:00:00Z');

/** Texts of attackers that look like what stands around them in a shard. */
const texts = fc.oneof(
  fc.string(),
  fc.constantFrom('},"27ff":{"records":', '"}}', '\\', '"', ',"last_seen":"2001-01-01T00:00:00.000Z"}', '\u2028é'),
);

interface Sighted {
  readonly day: number | undefined;
  readonly commandLine: string;
}

const sightings = fc.dictionary(
  fc.integer({ min: 0, max: 40 }).map((number) => `27${String(number).padStart(38, '0')}`),
  fc.record({ day: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }), commandLine: texts }),
);

function evidenceOf({ day, commandLine }: Sighted): FileEvidence {
  const evidence = emptyEvidence();
  const time = day === undefined ? undefined : new Date(START_MS + day * DAY_MS).toISOString();
  const data = new Map([['CommandLine', commandLine]]);
  const event = { eventId: 1, recordId: `${day}`, channel: 'sysmon', computer: 'ws-1', timeCreated: time, data };
  addSighting(evidence, event);
  return evidence;
}

const evidenceOfAll = (sighted: Readonly<Record<string, Sighted>>): Map<string, FileEvidence> =>
  new Map(Object.entries(sighted).map(([hash, seen]) => [hash, evidenceOf(seen)]));

const noReport = (path: string): void => expect.fail(`${path} was set aside`);

describe('a shard that grows', () => {
  it('becomes byte for byte what it becomes when it is parsed and written as a whole', async () => {
    await fc.assert(
      fc.asyncProperty(sightings, sightings, fc.integer({ min: 0, max: 45 }), async (stored, added, oldestDay) => {
        const [spliced, parsed] = [join(folder, 'spliced.json'), join(folder, 'parsed.json')];
        await rewriteShard(parsed, noReport, async () => evidenceOfAll(stored), Number.NEGATIVE_INFINITY);
        await copyFile(parsed, spliced);
        const oldestMs = START_MS + oldestDay * DAY_MS;
        const changed = evidenceOfAll(added);

        await rewriteShard(parsed, noReport, async () => new Map([...evidenceOfAll(stored), ...changed]), oldestMs);
        await openGrowingShard(spliced)?.write(new Set(changed.keys()), changed, oldestMs);

        expect(await readFile(spliced, 'utf8')).toBe(await readFile(parsed, 'utf8'));
      }),
    );
  });

  it('is none where it is larger than any of ours', async () => {
    const path = join(folder, '27.json');
    await writeFile(path, '');
    // Of nothing but a hole: nobody may read it whole to find that out.
    await truncate(path, 4 * 1024 ** 3);
    expect(openGrowingShard(path)).toBeUndefined();
  });

  it('is one that was not there, and loses what is replaced by nothing', async () => {
    const path = join(folder, '27.json');
    const files = evidenceOfAll({ [`27${'1'.repeat(38)}`]: { day: 1, commandLine: 'a' } });
    await openGrowingShard(path)?.write(new Set(files.keys()), files, 0);
    expect(openGrowingShard(path)?.find(`27${'1'.repeat(38)}`)).toMatchObject({ commandLines: ['a'] });
    await openGrowingShard(path)?.write(new Set(files.keys()), new Map(), 0);
    expect(await readFile(path, 'utf8')).toBe('{"order":"digest","files":{}}');
  });

  it.each([
    ['not ordered', (text: string) => text.replace('"order":"digest",', '')],
    ['laid out anew', (text: string) => JSON.stringify(JSON.parse(text), undefined, 1)],
    ['cut', (text: string) => text.slice(0, -3)],
    ['cut in its middle', (text: string) => text.replace(/,"hosts":\[\d+\]/, '').replace(/\},"27/, '"27')],
    ['without a name', (text: string) => text.replace(/"271{38}"/, '"constructor"')],
    ['out of order', (text: string) => text.replace(/"271{38}"/, `"27${'3'.repeat(38)}"`)],
    ['followed by more', (text: string) => text.replace(/\}\}$/, ',"x":{"hosts":[]}}}')],
  ])('is none where it is %s', async (_what, damage) => {
    const path = join(folder, '27.json');
    const seen = { day: 1, commandLine: 'a' };
    const files = evidenceOfAll({ [`27${'1'.repeat(38)}`]: seen, [`27${'2'.repeat(38)}`]: seen });
    await openGrowingShard(path)?.write(new Set(files.keys()), files, 0);
    const text = await readFile(path, 'utf8');
    await writeFile(path, damage(text));
    expect(damage(text)).not.toBe(text);
    expect(openGrowingShard(path)).toBeUndefined();
  });
});
