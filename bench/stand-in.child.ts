import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { fileReport } from '../src/demo/stand-in.js';
import { sha1Of } from './events.js';

/**
 * A stand-in for VirusTotal in a process of its own: knows the first so many generated files, answers after so many milliseconds.
 * Its answers are packed before it says where it is: while questions are measured it takes as little of the processor as it can.
 * `GET /span` tells how many answers it gave, in how many milliseconds from the first question to the last answer, and starts anew.
 */
const [fileCount = 0, latencyMs = 0] = process.argv.slice(2).map(Number);
const answers = new Map<string, Buffer>();
for (let file = 0; file < fileCount; file++) {
  const report = fileReport({ hashes: { sha1: sha1Of(file) }, detections: file % 10 === 0 ? 30 : 0 });
  answers.set(`/api/v3/files/${sha1Of(file)}`, gzipSync(JSON.stringify(report, undefined, 2)));
}
const noSpan = { answers: 0, firstMs: Number.NaN, lastMs: Number.NaN };
let span = { ...noSpan };

const server = createServer((request, response) => {
  if (request.url === '/span') {
    response.end(JSON.stringify({ answers: span.answers, ms: span.lastMs - span.firstMs }));
    span = { ...noSpan };
    return;
  }
  const answer = answers.get(request.url ?? '');
  if (answer === undefined) {
    response.writeHead(404).end();
    return;
  }
  if (span.answers === 0) span.firstMs = performance.now();
  span.answers++;
  setTimeout(() => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(answer);
    span.lastMs = performance.now();
  }, latencyMs);
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`http://127.0.0.1:${port}/api/v3\n`);
});
