/**
 * The llama.cpp engine: a process of its own with the model in it, kept alive.
 *
 *   loading ──▶ ready ──process ends──▶ restarting ──▶ ready
 *      │                                   └─ too often ─▶ broken ──after a rest──▶ restarting
 *      └─ cannot ─▶ closed
 *
 * L1. A job ends with `engine_crashed` when the process ends under it, and with `engine_unavailable` when there is none.
 * L2. Restarts wait longer each time; after several in a short time the engine rests before it tries again (restarts.ts).
 * L3. A first load that fails is told to the caller and not tried again: the file or the machine is at fault. Only one
 *     whose process was ended by a signal may have been too large all the same: smaller ones are tried, `loadsMax` in all.
 * L4. A load that shows no progress for `loadMsMax` has failed.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FromEngineProcess, JobNews, ToEngineProcess } from './engine.messages.ts';
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineOptions,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
} from './engine.ts';
import type { Bytes } from './fit.ts';
import { restarts } from './restarts.ts';

export interface LlamaEngineOptions extends EngineOptions {
  readonly onState: (state: EngineState) => void;
  /** Share of the model that is in memory, 0–1. */
  readonly onLoading: (share: number) => void;
  /** What was fitted into memory, and why not more: one sentence, before it is loaded. */
  readonly onChosen?: (message: string) => void;
  /** Something went wrong that a person may want to read. */
  readonly onTrouble: (message: string) => void;
  /** What runs as the engine's process; by default the one beside this file. */
  readonly program?: URL;
  readonly loadMsMax?: number;
}

/** The engine as the port has it, and the id of its process (null = none), for tests that kill it. */
export interface LlamaEngine extends Engine {
  readonly pid: number | null;
}

/** A cancelled job that does not stop in this time is given up; its slot frees itself when the evaluation returns. */
const cancelMsMax = 5000;
const closeMsMax = 3000;
const loadsMax = 3;
const loadMsMaxDefault = 600_000;
const countMsMax = 5000;
const stderrCharsMax = 4000;

interface Running {
  readonly hooks: GenerateHooks;
  readonly settle: (outcome: EngineResult | EngineError) => void;
}

export function llamaEngine(given: LlamaEngineOptions): LlamaEngine {
  const { onState, onLoading, onTrouble, onChosen, program = processFile, loadMsMax = loadMsMaxDefault } = given;
  const options = engineOptionsOf(given);
  let state: EngineState = 'loading';
  let info: EngineInfo | null = null;
  let child: ChildProcess | null = null;
  let stderr = '';
  let nextId = 1;
  const nextRestart = restarts(true);
  let restart: NodeJS.Timeout | null = null;
  let loads = 0;
  /** What the load that is under way needs, when that is known. */
  let loadNeeds: Bytes | null = null;
  let loadLate: NodeJS.Timeout | null = null;
  let isLate = false;
  const running = new Map<number, Running>();
  const counting = new Map<number, (outcome: number | EngineError) => void>();
  let first: { readonly resolve: (info: EngineInfo) => void; readonly reject: (error: EngineError) => void } | null =
    null;

  const enter = (next: EngineState): void => {
    if (state === next || state === 'closed') return;
    state = next;
    onState(next);
  };

  const failAll = (error: EngineError): void => {
    for (const job of [...running.values()]) job.settle(error);
    for (const settle of [...counting.values()]) settle(error);
  };

  const post = (message: ToEngineProcess): void => {
    // A message lost because the process just ended needs no care: its end is told as such.
    if (child?.connected === true) child.send(message, () => undefined);
  };

  const awaitProgress = (): void => {
    endWait();
    loadLate = setTimeout(() => {
      isLate = true;
      stderr += `\nno progress for ${Math.round(loadMsMax / 1000)} s`;
      child?.kill('SIGKILL');
    }, loadMsMax);
  };
  const endWait = (): void => {
    if (loadLate !== null) clearTimeout(loadLate);
    loadLate = null;
  };

  const spawn = (failed: Bytes | null = null): void => {
    restart = null;
    stderr = '';
    loads += 1;
    loadNeeds = null;
    isLate = false;
    const started = fork(fileURLToPath(program), [], {
      env: withoutSecrets(process.env),
      execArgv: process.execArgv.filter(flag => !flag.startsWith('--inspect')),
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    child = started;
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-stderrCharsMax);
    });
    let over = false;
    const ended = (how: string): void => {
      if (over) return;
      over = true;
      if (child === started) lost(how);
    };
    started.on('error', error => ended(error.message));
    started.on('exit', (code, signal) => ended(signal === null ? `exit code ${code}` : `signal ${signal}`));
    // The child is the same program: what it sends is of this type.
    started.on('message', message => receive(message as FromEngineProcess));
    post({ type: 'load', options, failed });
    awaitProgress();
  };

  const receive = (message: FromEngineProcess): void => {
    switch (message.type) {
      case 'chosen':
        awaitProgress();
        loadNeeds = message.need;
        onChosen?.(message.message);
        break;
      case 'loading':
        awaitProgress();
        onLoading(message.share);
        break;
      case 'loaded':
        endWait();
        info = message.info;
        enter('ready');
        first?.resolve(message.info);
        first = null;
        break;
      case 'loadFailed':
        refuse(new EngineError(message.failure.code, message.failure.message));
        break;
      case 'news':
        for (const item of message.news) hear(item);
        break;
    }
  };

  const hear = (item: JobNews): void => {
    if (item.type === 'counted') {
      counting.get(item.id)?.(item.tokens);
      return;
    }
    if (item.type === 'error') counting.get(item.id)?.(new EngineError(item.failure.code, item.failure.message));
    const job = running.get(item.id);
    if (job === undefined) return; // given up or settled already
    switch (item.type) {
      case 'piece':
        job.hooks.onPiece(item.piece);
        break;
      case 'progress':
        job.hooks.onProgress(item.progress);
        break;
      case 'toolCall':
        job.hooks.onToolCall();
        break;
      case 'result':
        job.settle(item.result);
        break;
      case 'error':
        job.settle(new EngineError(item.failure.code, item.failure.message));
        break;
    }
  };

  /** The process says that it cannot load the model. */
  const refuse = (error: EngineError): void => {
    endWait();
    if (first === null) {
      onTrouble(`the engine started again but cannot load the model: ${error.message}`);
      child?.kill('SIGKILL'); // its end counts as a crash, and the wait before the next try grows
      return;
    }
    enter('closed');
    first.reject(error);
    first = null;
    post({ type: 'close' });
  };

  /** The process ended. */
  const lost = (how: string): void => {
    child = null;
    endWait();
    if (state === 'closed') return;
    const tail = stderr.trim();
    const error = new EngineError('engine_crashed', `the inference engine ended unexpectedly (${how})`);
    if (first !== null) {
      if (how.startsWith('signal') && loadNeeds !== null && loads < loadsMax && !isLate) {
        onTrouble(`${error.message} while it loaded the model, perhaps for want of memory: trying less`);
        return spawn(loadNeeds);
      }
      enter('closed');
      first.reject(new EngineError('model_load_failed', `${error.message} while it loaded the model: ${tail}`));
      first = null;
      return;
    }
    const { waitMs, rests } = nextRestart();
    onTrouble(`${error.message}; it starts again in ${Math.round(waitMs)} ms${tail === '' ? '' : `: ${tail}`}`);
    enter(rests ? 'broken' : 'restarting');
    failAll(error);
    restart = setTimeout(() => spawn(), waitMs);
  };

  return {
    get state() {
      return state;
    },
    get info() {
      return info;
    },
    get pid() {
      return child?.pid ?? null;
    },
    load() {
      return new Promise<EngineInfo>((resolve, reject) => {
        first = { resolve, reject };
        spawn();
      });
    },
    generate(job: EngineJob, hooks: GenerateHooks) {
      return new Promise<EngineResult>((resolve, reject) => {
        if (state !== 'ready') {
          reject(new EngineError('engine_unavailable', `the inference engine is not ready (${state})`));
          return;
        }
        const { signal } = hooks;
        if (signal.aborted) {
          reject(cancelled());
          return;
        }
        const id = nextId++;
        let giveUp: NodeJS.Timeout | null = null;
        const abort = (): void => {
          post({ type: 'cancel', id });
          giveUp = setTimeout(() => settle(cancelled()), cancelMsMax);
        };
        const settle = (outcome: EngineResult | EngineError): void => {
          running.delete(id);
          signal.removeEventListener('abort', abort);
          if (giveUp !== null) clearTimeout(giveUp);
          if (outcome instanceof EngineError) reject(outcome);
          else resolve(outcome);
        };
        running.set(id, { hooks, settle });
        signal.addEventListener('abort', abort, { once: true });
        post({ type: 'generate', id, job });
      });
    },
    countTokens(job) {
      return new Promise<number>((resolve, reject) => {
        if (state !== 'ready')
          return reject(new EngineError('engine_unavailable', `the engine is not ready (${state})`));
        const id = nextId++;
        const late = setTimeout(
          () => settle(new EngineError('server_overloaded', `the engine has not counted within ${countMsMax} ms`)),
          countMsMax,
        );
        const settle = (outcome: number | EngineError): void => {
          counting.delete(id);
          clearTimeout(late);
          if (outcome instanceof EngineError) reject(outcome);
          else resolve(outcome);
        };
        counting.set(id, settle);
        post({ type: 'count', id, job });
      });
    },
    async close() {
      enter('closed');
      endWait();
      if (restart !== null) clearTimeout(restart);
      first?.reject(cancelled());
      first = null;
      failAll(cancelled());
      const ending = child;
      if (ending === null || ending.exitCode !== null) return;
      const exit = new Promise(resolve => ending.once('exit', resolve));
      const kill = setTimeout(() => ending.kill('SIGKILL'), closeMsMax);
      post({ type: 'close' });
      if (!ending.connected) ending.kill('SIGKILL');
      await exit;
      clearTimeout(kill);
    },
  };
}

const cancelled = (): EngineError => new EngineError('cancelled', 'the job was cancelled');

/** Beside this file, and with its ending: `.ts` from the source, `.js` once built. */
const processFile = new URL(`./engine.process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

/** What of the options goes to the other process. */
function engineOptionsOf(given: LlamaEngineOptions): EngineOptions {
  const { modelPath, contextSize, slots, threads, gpuLayers, embeddings, memory, toolFormat, joinMs } = given;
  return {
    modelPath,
    contextSize,
    slots,
    threads,
    gpuLayers,
    ...(embeddings === undefined ? {} : { embeddings }),
    ...(memory === undefined ? {} : { memory }),
    ...(toolFormat === undefined ? {} : { toolFormat }),
    ...(joinMs === undefined ? {} : { joinMs }),
  };
}

/** The engine needs no key, so it gets none. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/key|token|secret|passw/i.test(name)));
}
