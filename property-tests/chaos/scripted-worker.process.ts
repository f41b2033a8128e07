/**
 * A worker as a process of its own: the real line to its router and the real keeping of jobs, with answers from the book.
 *
 *   node --import tsx scripted-worker.process.ts <router urls> <ms between words>
 */
import { randomUUID } from 'node:crypto';
import { openDiagnostics } from '../../actors/config/diagnostics.ts';
import { systemClock } from '../../actors/worker/clock.ts';
import { gpuWorker } from '../../actors/worker/gpu-worker.ts';
import { dialWs } from '../../actors/worker/socket.ws.ts';
import { gpuKey } from '../processes.ts';
import { ScriptedEngine } from './scripted-engine.ts';

const [routerUrl = '', wordMs = '20'] = process.argv.slice(2);
const worker = gpuWorker({
  routerUrl,
  gpuKey,
  instanceId: randomUUID(),
  modelPath: 'book',
  threads: null,
  gpuLayers: null,
  heartbeatMs: 10_000,
  redial: { msMin: 2000, msMax: 60_000 },
  jobMsMax: 300_000,
  openEngine: ({ slots }, { onState }) => new ScriptedEngine(slots, Number(wordMs), onState),
  dial: dialWs,
  clock: systemClock,
  random: Math.random,
  diagnostics: openDiagnostics({ level: 'info' }),
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void worker.stop());
worker.start();
const { exitCode, message } = await worker.ended;
console.log(message);
process.exit(exitCode);
