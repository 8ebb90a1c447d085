import process from 'node:process';
import { fileReport, startStandIn } from '../src/demo/stand-in.js';
import { sha1Of } from './events.js';

/** A stand-in for VirusTotal in a process of its own: knows the first so many generated files, answers after so many milliseconds. */
const [fileCount = 0, latencyMs = 0] = process.argv.slice(2).map(Number);
const files = Array.from({ length: fileCount }, (_, file) =>
  fileReport({ hashes: { sha1: sha1Of(file) }, detections: file % 10 === 0 ? 30 : 0 }),
);
const standIn = await startStandIn({ files, latencyMs });
process.stdout.write(`${standIn.baseUrl}\n`);
