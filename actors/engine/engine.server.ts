/**
 * The second engine: a llama-server, started by this worker or found running, for what the engine in our own process
 * lacks (it cannot see). The port is the same, and so are the answers.
 *
 *   loading ──▶ ready ──gone or silent──▶ restarting ──▶ ready
 *      │                                     └─ too often ─▶ broken ──after a rest──▶ restarting
 *      └─ cannot ─▶ closed
 *
 * V1. A started server listens on this machine only, behind a key that nobody else has, and ends with the worker.
 * V2. A server that was found running is looked at every few seconds; when it comes back with another model, that is said.
 * V3. A first start that fails is told with the server's own words and not tried again. A running server that is not there
 *     yet is waited for.
 * V4. Jobs wait for a slot in the server's own queue, up to a cap.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { withoutPassword } from '../../protocol/router-url.ts';
import { runChoices } from './choices.ts';
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineOptions,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
  joinMsDefault,
} from './engine.ts';
import { withJoinedNews } from './joined-hooks.ts';
import { readModelFile } from './model-file.ts';
import { restarts } from './restarts.ts';
import { embedOnServer } from './server-embed.ts';
import { featuresOf, readFacts, type ServerFacts } from './server-facts.ts';
import { type ServerHttp, ServerTrouble, serverHttp } from './server-http.ts';
import { checkLength, failure, type JobServer, preparePrompt, runServerJob } from './server-job.ts';
import { freePort, type Program, startProgram } from './server-program.ts';

/** Which server: a running one, or a program to start. */
export type ServerChoice =
  | { readonly kind: 'running'; readonly url: string; readonly apiKey: string | null }
  | {
      readonly kind: 'program';
      readonly path: string;
      /** The file with the model's eyes; null: it has none. */
      readonly projectorPath: string | null;
    };

export interface ServerEngineOptions extends EngineOptions {
  readonly server: ServerChoice;
  readonly onState: (state: EngineState) => void;
  readonly onLoading: (share: number) => void;
  readonly onTrouble: (message: string) => void;
  /** What the server itself writes. */
  readonly onLog: (line: string) => void;
}

/** The engine as the port has it, and the id of its process (null = none of ours), for tests that kill it. */
export interface ServerEngine extends Engine {
  readonly pid: number | null;
}

const contextSizeDefault = 8192;
const pollMs = 250;
const watchMs = 2000;
/** So many looks without an answer, and the server counts as gone. */
const missesMax = 3;
const loadMsMax = 30 * 60_000;
const backMsMax = 20_000;
const waitersMax = 256;
const complainEveryMs = 60_000;

export function serverEngine({
  server,
  onState,
  onLoading,
  onTrouble,
  onLog,
  ...options
}: ServerEngineOptions): ServerEngine {
  let state: EngineState = 'loading';
  let info: EngineInfo | null = null;
  let facts: ServerFacts | null = null;
  let http: ServerHttp | null = null;
  let program: Program | null = null;
  let running = 0;
  const nextRestart = restarts(server.kind === 'program');
  let returning: Promise<void> | null = null;
  /** Aborts with the engine's end; every wait hears it. */
  const closing = new AbortController();

  const enter = (next: EngineState): void => {
    if (state === next || state === 'closed') return;
    state = next;
    onState(next);
  };

  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: closing.signal });

  /** Starts the program, if it is one to start. */
  const start = async (slots: number): Promise<ServerHttp> => {
    if (server.kind === 'running') return serverHttp(server.url, server.apiKey);
    const port = await freePort();
    const apiKey = randomBytes(24).toString('hex');
    let dots = 0;
    program = startProgram({
      path: server.path,
      args: programArgs(options, server.projectorPath, port, slots),
      env: { LLAMA_API_KEY: apiKey },
      onLine: line => {
        onLog(line);
        // It draws a line of a hundred dots while it reads the model.
        if (!/^\.+$/.test(line.trim()) || state === 'ready') return;
        dots += line.trim().length;
        onLoading(Math.min(1, dots / 100));
      },
    });
    return serverHttp(`http://127.0.0.1:${port}`, apiKey);
  };

  /** Waits until the model is in the server's memory. @throws when its process ends before. */
  const awaitReady = async (at: ServerHttp): Promise<void> => {
    const startedAt = Date.now();
    let complainedAt = startedAt - complainEveryMs + pollMs * 8;
    for (;;) {
      closing.signal.throwIfAborted();
      const ending = program;
      if (ending?.over === true) {
        const { how, why } = await ending.ended;
        throw new EngineError('model_load_failed', `llama-server ended (${how}) while it loaded the model: ${why}`);
      }
      try {
        await at.call('/health', undefined, { signal: closing.signal, msMax: 5000 });
        return;
      } catch (error) {
        closing.signal.throwIfAborted();
        if (!(error instanceof ServerTrouble)) throw error;
        if (error.status === null && program === null && Date.now() - complainedAt >= complainEveryMs) {
          complainedAt = Date.now();
          onTrouble(
            `no llama-server answers at ${withoutPassword(at.base)} (AUXOT_LLAMA_URL); it is waited for: ${error.message}`,
          );
        }
        const isOther = error.status !== null && error.status !== 503;
        if (isOther)
          throw new EngineError(
            'model_load_failed',
            `${withoutPassword(at.base)}/health answers as no llama-server does: ${error.message}`,
          );
      }
      if (program !== null && Date.now() - startedAt > loadMsMax)
        throw new EngineError('model_load_failed', `llama-server has not loaded the model within ${loadMsMax} ms`);
      await pause(pollMs);
    }
  };

  const bringUp = async (slots: number): Promise<EngineInfo> => {
    const at = await start(slots);
    try {
      await awaitReady(at);
      const read = await readFacts(at, options.toolFormat ?? null);
      const made = await infoOf(read, options, server);
      if (info !== null && made.modelFile !== info.modelFile)
        onTrouble(`llama-server has another model now: ${made.model} in the place of ${info.model}`);
      http = at;
      facts = read;
      info = made;
      return made;
    } catch (error) {
      await program?.kill();
      program = null;
      closing.signal.throwIfAborted();
      throw error;
    }
  };

  const watch = async (): Promise<void> => {
    let misses = 0;
    while (!closing.signal.aborted) {
      await pause(watchMs);
      if (state !== 'ready' || http === null) continue;
      try {
        await http.call('/health', undefined, { signal: closing.signal });
        misses = 0;
      } catch (error) {
        closing.signal.throwIfAborted();
        misses += 1;
        if (misses >= missesMax) lost(error instanceof Error ? error.message : String(error));
      }
    }
  };

  /** The server does not answer, or its process has ended. */
  const lost = (why: string): void => {
    if (closing.signal.aborted || returning !== null) return;
    returning = comeBack(why)
      .catch(() => undefined)
      .finally(() => {
        returning = null;
      });
  };

  const comeBack = async (why: string): Promise<void> => {
    let reason = why;
    for (;;) {
      const { waitMs, rests } = nextRestart();
      const then = server.kind === 'program' ? 'it starts again' : 'it is looked for again';
      onTrouble(`llama-server is gone: ${reason}; ${then} in ${Math.round(waitMs)} ms`);
      enter(rests ? 'broken' : 'restarting');
      await program?.kill();
      program = null;
      await pause(waitMs);
      try {
        await bringUp(options.slots);
        heed();
        enter('ready');
        return;
      } catch (error) {
        closing.signal.throwIfAborted();
        reason = error instanceof Error ? error.message : String(error);
      }
    }
  };

  /** Hears when the process ends. */
  const heed = (): void => {
    const heard = program;
    void heard?.ended.then(({ how, why }) => {
      if (program === heard) lost(`its process ended (${how})${why === '' ? '' : `: ${why}`}`);
    });
  };

  const ready = (): { readonly http: ServerHttp; readonly facts: ServerFacts } => {
    if (state !== 'ready' || http === null || facts === null)
      throw new EngineError('engine_unavailable', `the inference engine is not ready (${state})`);
    return { http, facts };
  };

  const jobServer = (): JobServer => {
    const now = ready();
    return {
      ...now,
      // A process of ours that ended has lost the job's slot; the router gives the job to whoever is there.
      async backAgain(signal) {
        if (server.kind === 'program') return false;
        const untilAt = Date.now() + backMsMax;
        while (Date.now() < untilAt && !closing.signal.aborted) {
          await sleep(pollMs, undefined, { signal: AbortSignal.any([signal, closing.signal]) }).catch(() => undefined);
          if (signal.aborted || closing.signal.aborted) return false;
          const isThere = await now.http.call('/health', undefined, { signal }).then(
            () => true,
            () => false,
          );
          if (isThere) return (await readFacts(now.http, null)).shape === now.facts.shape;
        }
        lost('connections to it break');
        return false;
      },
    };
  };

  const generate = async (job: EngineJob, hooks: GenerateHooks): Promise<EngineResult> => {
    const at = jobServer();
    if (job.embed !== undefined) {
      if (!at.facts.embeds)
        throw new EngineError('unsupported_parameter', 'embeddings: this llama-server makes none (--embeddings)');
      return embedOnServer(at.http, at.facts, job.embed, hooks);
    }
    if (!at.facts.answers) throw new EngineError('unsupported_parameter', 'this model makes embeddings and no answers');
    if (running >= (info?.slots ?? 1) + waitersMax)
      throw new EngineError('server_overloaded', `all slots are busy and ${waitersMax} jobs wait already`);
    running += 1;
    try {
      const prompt = await preparePrompt(at, job, hooks.signal);
      checkLength(prompt, at.facts.contextSize);
      return await runChoices(job, hooks, (choice, resume, heard) =>
        runServerJob(at, prompt, { ...choice, resume }, heard),
      );
    } finally {
      running -= 1;
    }
  };

  return {
    get state() {
      return state;
    },
    get info() {
      return info;
    },
    get pid() {
      return program?.pid ?? null;
    },
    async load() {
      try {
        if (server.kind === 'program') await readModelFile(options.modelPath);
        const loaded = await firstLoad(options.slots, bringUp, onTrouble);
        heed();
        enter('ready');
        void watch().catch(() => undefined);
        return loaded;
      } catch (error) {
        enter('closed');
        closing.abort();
        if (error instanceof EngineError) throw error;
        throw new EngineError('model_load_failed', error instanceof Error ? error.message : String(error), error);
      }
    },
    async generate(job, hooks) {
      const signal = AbortSignal.any([hooks.signal, closing.signal]);
      try {
        return await withJoinedNews({ ...hooks, signal }, options.joinMs ?? joinMsDefault, heard =>
          generate(job, heard),
        );
      } catch (error) {
        if (signal.aborted) throw new EngineError('cancelled', 'the job was cancelled');
        throw failure(error);
      }
    },
    async countTokens(job) {
      try {
        const { tokens } = await preparePrompt(jobServer(), job);
        if (tokens === null)
          throw new EngineError('unsupported_parameter', 'images: what they take is not known before');
        return tokens.length;
      } catch (error) {
        throw failure(error);
      }
    },
    async close() {
      enter('closed');
      closing.abort(new EngineError('cancelled', 'the engine is closed'));
      await program?.kill();
      await returning;
      program = null;
    },
  };
}

/** Too little memory for all slots is no reason to give up: half as many are tried. */
async function firstLoad(
  slots: number,
  bringUp: (slots: number) => Promise<EngineInfo>,
  onTrouble: (message: string) => void,
): Promise<EngineInfo> {
  for (let wanted = slots; ; ) {
    try {
      return await bringUp(wanted);
    } catch (error) {
      const isShort = error instanceof EngineError && /out of memory|failed to allocate|bad_alloc/i.test(error.message);
      if (!isShort || wanted <= 1) throw error;
      wanted = Math.floor(wanted / 2);
      onTrouble(`${error.message}; ${wanted} slots are tried`);
    }
  }
}

function programArgs(
  { modelPath, contextSize, slots: _, threads, gpuLayers, embeddings }: EngineOptions,
  projectorPath: string | null,
  port: number,
  slots: number,
): string[] {
  return [
    ...['--model', modelPath, '--host', '127.0.0.1', '--port', String(port)],
    // The context of all slots together, as this program counts.
    ...['--ctx-size', String((contextSize ?? contextSizeDefault) * slots), '--parallel', String(slots)],
    ...(gpuLayers === null ? [] : ['--n-gpu-layers', String(gpuLayers)]),
    ...(threads === null ? [] : ['--threads', String(threads)]),
    ...(projectorPath === null ? [] : ['--mmproj', projectorPath]),
    ...(embeddings === 'only' || embeddings === 'also' ? ['--embeddings'] : []),
    '--jinja',
  ];
}

async function infoOf(facts: ServerFacts, options: EngineOptions, server: ServerChoice): Promise<EngineInfo> {
  const path = server.kind === 'program' ? options.modelPath : facts.modelPath;
  // A server on this machine names a file that is here; of another only its numbers are known.
  const file = path === '' ? null : await readModelFile(path).catch(() => null);
  const named = createHash('sha256').update(`${facts.model}\n${facts.shape}`).digest('hex');
  return {
    model: facts.model,
    backend: 'llama.cpp',
    contextSize: facts.contextSize,
    slots: facts.slots,
    vramGb: 0,
    parameters: facts.parameters,
    modelFile: file?.digest ?? `named:${named}`,
    features: featuresOf(facts),
    threads: options.threads ?? 0,
    gpu: `llama-server ${facts.build}`.trim(),
  };
}
