/** A worker's process in the chaos runs: the real line to its router and the real keeping of jobs, around another engine. */
import { randomUUID } from 'node:crypto';
import { openDiagnostics } from '../../actors/config/diagnostics.ts';
import { systemClock } from '../../actors/worker/clock.ts';
import { type GpuWorkerOptions, gpuWorker } from '../../actors/worker/gpu-worker.ts';
import { dialWs } from '../../actors/worker/socket.ws.ts';
import { gpuKey } from '../processes.ts';

/** Ends this process when the worker has ended. */
export async function runWorker(
  options: Pick<GpuWorkerOptions, 'routerUrl' | 'modelPath' | 'openEngine'>,
): Promise<never> {
  const worker = gpuWorker({
    ...options,
    gpuKey,
    instanceId: randomUUID(),
    threads: null,
    gpuLayers: null,
    heartbeatMs: 10_000,
    redial: { msMin: 2000, msMax: 60_000 },
    jobMsMax: 300_000,
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
}
