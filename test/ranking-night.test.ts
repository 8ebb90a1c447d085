import { expect, it } from 'vitest';
import { attackShapes, benignNight } from '../bench/night.js';
import { addSighting, emptyEvidence } from '../src/evidence.js';
import { rankFiles } from '../src/ranking.js';

// Seeds that were not looked at while the rules were weighed.
it.each([101, 102])('nine of ten bad files are asked within the first tenth of a mixed night, seed %i', (seed) => {
  const files = [...benignNight(seed, 0.2), ...attackShapes(seed, 1)];
  const bad = new Set(files.filter(({ isBad }) => isBad).map(({ hash }) => hash));
  const due = files.map(({ hash, events }) => {
    const evidence = emptyEvidence();
    for (const event of events) addSighting(evidence, event);
    return { hash, evidence };
  });
  const asked = rankFiles(due, new Date('2026-03-04T06:00:00Z')).slice(0, Math.ceil(files.length / 10));
  expect(asked.filter(({ hash }) => bad.has(hash)).length / bad.size).toBeGreaterThanOrEqual(0.9);
});
