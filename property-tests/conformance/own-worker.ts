/** Our own worker's connection, jobs and policy code, with a scripted engine where llama.cpp would be. */
import { silentDiagnostics } from '../../actors/config/diagnostics.ts';
import { systemClock } from '../../actors/worker/clock.ts';
import { type GpuWorker, gpuWorker } from '../../actors/worker/gpu-worker.ts';
import { dialWs } from '../../actors/worker/socket.ws.ts';
import { instanceId } from './router-peer.ts';
import { type ScriptedEngine, scriptedEngine } from './scripted-engine.ts';

export interface OwnWorker {
  readonly worker: GpuWorker;
  /** Of its engines the newest. */
  engine(): ScriptedEngine | undefined;
}

/** `pieceMs` null: the engine speaks by hand. */
export function startOwnWorker(port: number, gpuKey: string, pieceMs: number | null): OwnWorker {
  const engines: ScriptedEngine[] = [];
  const worker = gpuWorker({
    routerUrl: `ws://127.0.0.1:${port}/ws`,
    gpuKey,
    instanceId: instanceId(),
    modelPath: 'scripted',
    threads: null,
    gpuLayers: null,
    heartbeatMs: 2000,
    redial: { msMin: 20, msMax: 50 },
    jobMsMax: 60_000,
    openEngine: (options, events) => {
      const engine = scriptedEngine(options, events, { pieceMs });
      engines.push(engine);
      return engine;
    },
    dial: dialWs,
    clock: systemClock,
    random: Math.random,
    diagnostics: silentDiagnostics,
  });
  worker.start();
  return { worker, engine: () => engines.at(-1) };
}
