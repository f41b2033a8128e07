/** What a GPU worker's tests put around it: an engine that is finished by hand, and a router on a real socket. */
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { parseWorkerFrame, type WorkerFrame } from '../../protocol/worker-frames.ts';
import { silentDiagnostics } from '../config/diagnostics.ts';
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineOptions,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
} from '../engine/engine.ts';
import { systemClock } from './clock.ts';
import { type EngineEvents, type GpuWorker, type GpuWorkerOptions, gpuWorker } from './gpu-worker.ts';
import { dialWs } from './socket.ws.ts';

export const policy = {
  model_name: 'demo',
  quantization: '',
  context_size: 2048,
  max_parallelism: 2,
  capabilities: ['chat'],
};

/** An engine whose load and jobs are finished by hand. */
function scriptedEngine(options: EngineOptions, events: EngineEvents) {
  const jobs: {
    readonly hooks: GenerateHooks;
    readonly resolve: (result: EngineResult) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  const info: EngineInfo = {
    model: 'auxot-demo',
    backend: 'llama.cpp',
    contextSize: options.contextSize ?? 1024,
    slots: options.slots,
    vramGb: 0,
    parameters: '1M',
    modelFile: 'sha256:00',
    features: [],
    threads: 1,
    gpu: 'false',
  };
  let loaded: { resolve: (info: EngineInfo) => void; reject: (error: Error) => void } | null = null;
  let state: EngineState = 'loading';
  const levers = { refuseCounts: false };
  const engine: Engine = {
    get state() {
      return state;
    },
    get info() {
      return state === 'loading' ? null : info;
    },
    load: () =>
      new Promise((resolve, reject) => {
        loaded = { resolve, reject };
      }),
    countTokens: async ({ messages }) => {
      if (levers.refuseCounts) throw new EngineError('internal_error', 'cannot count');
      return 10 * messages.length;
    },
    generate: (_job, hooks) =>
      new Promise((resolve, reject) => {
        jobs.push({ hooks, resolve, reject });
        hooks.signal.addEventListener('abort', () => reject(new EngineError('cancelled', 'cancelled')));
      }),
    close: async () => {
      state = 'closed';
    },
  };
  const enter = (next: EngineState): void => {
    state = next;
    events.onState(next);
  };
  return {
    engine,
    options,
    jobs,
    levers,
    enter,
    finishLoad: () => {
      enter('ready');
      loaded?.resolve(info);
    },
    failLoad: (message: string) => loaded?.reject(new EngineError('model_load_failed', message)),
    closed: () => state === 'closed',
  };
}

export const result: EngineResult = {
  finishReason: 'stop',
  usage: { input: 7, cached: 3, output: 2, reasoning: 0 },
  text: 'Hi!',
  reasoning: '',
  toolCalls: [],
  durationMs: 12,
};

export interface World {
  readonly worker: GpuWorker;
  readonly engines: ReturnType<typeof scriptedEngine>[];
  /** What it warned of. */
  readonly warnings: string[];
  /** Every connection so far, with what was heard on it. */
  readonly lines: { readonly socket: WebSocket; readonly heard: WorkerFrame[]; closed: number | null }[];
  send(frame: object): void;
  /** The next frame of a type on the newest connection, each only once. */
  next<T extends WorkerFrame['type']>(type: T): Promise<Extract<WorkerFrame, { type: T }>>;
}

export async function inWorld(
  ack: (connection: number) => object,
  run: (world: World) => Promise<void>,
  model: Pick<GpuWorkerOptions, 'modelPath' | 'fetchModel'> = { modelPath: 'demo.gguf' },
): Promise<void> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
  await new Promise(resolve => server.once('listening', resolve));
  const lines: World['lines'] = [];
  server.on('connection', socket => {
    const line: World['lines'][number] = { socket, heard: [], closed: null };
    lines.push(line);
    socket.on('close', code => {
      line.closed = code;
    });
    socket.on('message', (data: Buffer) => {
      const parsed = parseWorkerFrame(data.toString());
      if (!parsed.ok) throw new Error(`the worker sent ${data}: ${parsed.message}`);
      line.heard.push(parsed.frame);
      if (parsed.frame.type === 'hello') socket.send(JSON.stringify(ack(lines.length)));
    });
  });
  const engines: World['engines'] = [];
  const warnings: string[] = [];
  const { port } = server.address() as AddressInfo;
  const worker = gpuWorker({
    routerUrl: `ws://127.0.0.1:${port}/ws`,
    gpuKey: 'adm_key',
    instanceId: 'worker-1',
    ...model,
    threads: null,
    gpuLayers: null,
    heartbeatMs: 60_000,
    redial: { msMin: 20, msMax: 50 },
    jobMsMax: 60_000,
    openEngine: (options, events) => {
      const scripted = scriptedEngine(options, events);
      engines.push(scripted);
      return scripted.engine;
    },
    openCli: ({ type }) => {
      throw new Error(`there is no ${type}`);
    },
    dial: dialWs,
    clock: systemClock,
    random: Math.random,
    diagnostics: { ...silentDiagnostics, warn: message => void warnings.push(message) },
  });
  const taken = new Set<WorkerFrame>();
  try {
    worker.start();
    await run({
      worker,
      engines,
      warnings,
      lines,
      send: frame => lines.at(-1)?.socket.send(JSON.stringify(frame)),
      async next(type) {
        let found: WorkerFrame | undefined;
        await until(() => {
          found = lines.at(-1)?.heard.find(frame => frame.type === type && !taken.has(frame));
          return found !== undefined;
        }, `a ${type} frame`);
        if (found === undefined) throw new Error('unreachable');
        taken.add(found);
        return found as Extract<WorkerFrame, { type: typeof type }>;
      },
    });
  } finally {
    await worker.stop();
    for (const client of server.clients) client.terminate();
    await new Promise(resolve => server.close(resolve));
  }
}

export async function until(done: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 5000;
  while (!done()) {
    if (Date.now() > end) throw new Error(`${what} did not come within 5 s`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
