/**
 * An engine that makes images: an `sd-server` (stable-diffusion.cpp) of its own. A job is a conversation whose last words
 * of the user say what to paint; its answer is one image, as the text of a data URL.
 *
 *   loading ──▶ ready ──process ends──▶ restarting ──▶ ready
 *      └─ cannot ─▶ closed
 *
 * I1. It paints one image at a time; jobs that come meanwhile wait, up to a cap.
 * I2. A first start that fails is told with the program's own words. Later ones are tried again, later each time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isRecord } from '../../protocol/record.ts';
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
} from './engine.ts';
import { restarts } from './restarts.ts';
import { type ServerHttp, ServerTrouble, serverHttp } from './server-http.ts';
import { freePort, type Program, startProgram } from './server-program.ts';

/** The files beside the model that it paints with. */
export interface PaintFiles {
  readonly vae?: string;
  readonly llm?: string;
  readonly clipL?: string;
  readonly t5xxl?: string;
  readonly prediction?: string;
}

export interface SdEngineOptions {
  readonly path: string;
  readonly modelPath: string;
  /** Name of the model, as the registry has it. */
  readonly model: string;
  readonly parameters: string;
  readonly files: PaintFiles;
  readonly onState: (state: EngineState) => void;
  readonly onTrouble: (message: string) => void;
  readonly onLog: (line: string) => void;
}

export interface SdEngine extends Engine {
  readonly pid: number | null;
}

const contextSize = 4096;
const sizeDefault = '512x512';
const stepsDefault = 4;
const stepsMax = 150;
const pollMs = 250;
const loadMsMax = 30 * 60_000;
const paintMsMax = 30 * 60_000;
const waitersMax = 64;
/** A long text goes out in pieces. */
const pieceChars = 128 * 1024;

export function sdEngine({ path, modelPath, files, onState, onTrouble, onLog, ...about }: SdEngineOptions): SdEngine {
  let state: EngineState = 'loading';
  let info: EngineInfo | null = null;
  let http: ServerHttp | null = null;
  let program: Program | null = null;
  let waiting = 0;
  const nextRestart = restarts(true);
  let last: Promise<unknown> = Promise.resolve();
  let returning: Promise<void> = Promise.resolve();
  const closing = new AbortController();

  const enter = (next: EngineState): void => {
    if (state === next || state === 'closed') return;
    state = next;
    onState(next);
  };

  const bringUp = async (): Promise<void> => {
    const port = await freePort();
    const started = startProgram({ path, args: programArgs(modelPath, files, port), env: {}, onLine: onLog });
    program = started;
    const at = serverHttp(`http://127.0.0.1:${port}`, null);
    const untilAt = Date.now() + loadMsMax;
    for (;;) {
      closing.signal.throwIfAborted();
      if (started.over) {
        const { how, why } = await started.ended;
        throw new EngineError('model_load_failed', `sd-server ended (${how}) while it loaded the model: ${why}`);
      }
      const isThere = await at.call('/v1/models').then(
        () => true,
        () => false,
      );
      if (isThere) break;
      if (Date.now() > untilAt)
        throw new EngineError('model_load_failed', `sd-server has not loaded the model within ${loadMsMax} ms`);
      await sleep(pollMs, undefined, { signal: closing.signal });
    }
    http = at;
    void started.ended.then(({ how, why }) => {
      if (program === started && !closing.signal.aborted) returning = comeBack(`${how}${why === '' ? '' : `: ${why}`}`);
    });
  };

  const comeBack = async (why: string): Promise<void> => {
    for (let reason = why; !closing.signal.aborted; ) {
      const { waitMs, rests } = nextRestart();
      enter(rests ? 'broken' : 'restarting');
      onTrouble(`sd-server ended (${reason}); it starts again in ${Math.round(waitMs)} ms`);
      try {
        await sleep(waitMs, undefined, { signal: closing.signal });
        await bringUp();
        enter('ready');
        return;
      } catch (error) {
        await program?.kill();
        reason = error instanceof Error ? error.message : String(error);
      }
    }
  };

  const paint = async (job: EngineJob, { signal, onPiece, onProgress }: GenerateHooks): Promise<EngineResult> => {
    const startedAt = performance.now();
    if (state !== 'ready' || http === null)
      throw new EngineError('engine_unavailable', `the inference engine is not ready (${state})`);
    signal.throwIfAborted();
    onProgress({ total: 1, cached: 0, processed: 0 });
    const asked = { prompt: promptOf(job), n: 1, ...wishOf(job) };
    const answer = await http.call('/v1/images/generations', asked, { signal, msMax: paintMsMax });
    const [first] = isRecord(answer) && Array.isArray(answer.data) ? answer.data : [];
    const data: unknown = isRecord(first) ? first.b64_json : null;
    if (typeof data !== 'string' || data === '')
      throw new EngineError('internal_error', 'sd-server answers without an image');
    const text = `data:image/png;base64,${data}`;
    for (let at = 0; at < text.length; at += pieceChars)
      onPiece({ kind: 'text', text: text.slice(at, at + pieceChars), ids: [], isInexact: true });
    return {
      finishReason: 'stop',
      usage: { input: 0, cached: 0, output: 0, reasoning: 0 },
      text,
      reasoning: '',
      toolCalls: [],
      durationMs: Math.round(performance.now() - startedAt),
    };
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
        await bringUp();
      } catch (error) {
        await program?.kill();
        enter('closed');
        throw error;
      }
      info = {
        ...about,
        backend: 'stable-diffusion.cpp',
        contextSize,
        slots: 1,
        vramGb: 0,
        modelFile: `image:${about.model}`,
        features: [],
        threads: 0,
        gpu: '',
      };
      enter('ready');
      return info;
    },
    async generate(job, hooks) {
      if (waiting >= waitersMax)
        throw new EngineError('server_overloaded', `${waitersMax} images wait already to be painted`);
      waiting += 1;
      const signal = AbortSignal.any([hooks.signal, closing.signal]);
      const mine = last.then(() => paint(job, { ...hooks, signal }));
      last = mine.catch(() => undefined);
      try {
        return await mine;
      } catch (error) {
        if (signal.aborted) throw new EngineError('cancelled', 'the job was cancelled');
        throw failure(error);
      } finally {
        waiting -= 1;
      }
    },
    countTokens: () => Promise.reject(new EngineError('unsupported_parameter', 'a model that paints counts no tokens')),
    async close() {
      enter('closed');
      closing.abort();
      await program?.kill();
      await returning;
      await program?.kill();
      program = null;
    },
  };
}

function programArgs(modelPath: string, { vae, llm, clipL, t5xxl, prediction }: PaintFiles, port: number): string[] {
  const given = { '--vae': vae, '--llm': llm, '--clip_l': clipL, '--t5xxl': t5xxl, '--prediction': prediction };
  return [
    ...['--diffusion-model', modelPath, '--listen-ip', '127.0.0.1', '--listen-port', String(port)],
    ...Object.entries(given).flatMap(([flag, value]) => (value === undefined ? [] : [flag, value])),
    ...['--offload-to-cpu', '--diffusion-fa'],
  ];
}

/** What the user said last. */
function promptOf({ messages, prompt }: EngineJob): string {
  if (prompt !== undefined && prompt.trim() !== '') return prompt;
  for (const { role, content } of [...messages].reverse()) {
    if (role !== 'user') continue;
    const text = typeof content === 'string' ? content : textOf(content);
    if (text.trim() !== '') return text;
  }
  throw new EngineError('invalid_request', 'messages: no user message says what to paint');
}

const textOf = (content: unknown): string =>
  Array.isArray(content)
    ? content.map((part: unknown) => (isRecord(part) && typeof part.text === 'string' ? part.text : '')).join('')
    : '';

function wishOf({ image = {}, templateOptions = {} }: EngineJob): { readonly size: string; readonly steps: number } {
  const { size = sizeDefault, steps = stepsDefault } = { ...templateOptions, ...image };
  if (typeof size !== 'string' || !/^[1-9]\d{1,3}x[1-9]\d{1,3}$/.test(size))
    throw new EngineError('invalid_request', `size: write for example ${sizeDefault}, not ${JSON.stringify(size)}`);
  if (typeof steps !== 'number' || !Number.isInteger(steps) || steps < 1 || steps > stepsMax)
    throw new EngineError(
      'invalid_request',
      `steps: a whole number from 1 to ${stepsMax}, not ${JSON.stringify(steps)}`,
    );
  return { size, steps };
}

function failure(error: unknown): unknown {
  if (!(error instanceof ServerTrouble)) return error;
  if (error.status === null) return new EngineError('engine_crashed', `sd-server: ${error.message}`, error);
  const isRefusal = error.status === 400 || error.status === 422;
  return new EngineError(isRefusal ? 'invalid_request' : 'internal_error', `sd-server: ${error.message}`, error);
}
