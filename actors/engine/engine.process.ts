/**
 * The engine's own process: native code that aborts, or that runs long, takes nothing with it but this process.
 *
 * It lives as long as its parent: when the channel between them closes, it ends. Signals that a terminal or a service
 * manager sends to the whole group are left to the parent, which lets jobs finish first.
 */
import type { EngineFailure, FromEngineProcess, ToEngineProcess } from './engine.messages.ts';
import { EngineError, type EngineJob, type EngineOptions, joinMsDefault } from './engine.ts';
import type { Bytes } from './fit.ts';
import { joinedNews, processClock } from './joined-news.ts';
import { type LoadedModel, loadModel } from './llama-model.ts';

/** A load is told of in steps of this share: a callback a tensor would flood the channel. */
const progressStep = 0.01;

let model: LoadedModel | null = null;
const running = new Map<number, AbortController>();

/** With the channel gone there is nobody left to tell, and `disconnect` ends the process. */
function send(message: FromEngineProcess): void {
  process.send?.(message, undefined, undefined, () => undefined);
}

let joinMs = joinMsDefault;

const tell = joinedNews({
  ...processClock,
  send: news => send({ type: 'news', news }),
  gapMs: () => joinMs,
});

async function load(options: EngineOptions, failed: Bytes | null): Promise<void> {
  joinMs = options.joinMs ?? joinMsDefault;
  let told = 0;
  try {
    model = await loadModel(options, failed, {
      onChosen: (message, need) => {
        told = 0;
        send({ type: 'chosen', message, need });
      },
      onProgress: share => {
        if (share - told < progressStep) return;
        told = share;
        send({ type: 'loading', share });
      },
    });
    send({ type: 'loaded', info: model.info });
  } catch (error) {
    send({ type: 'loadFailed', failure: failureOf(error, 'model_load_failed') });
  }
}

async function generate(id: number, job: EngineJob): Promise<void> {
  const abort = new AbortController();
  running.set(id, abort);
  try {
    if (model === null) throw new EngineError('engine_unavailable', 'no model is loaded yet');
    const result = await model.generate(job, {
      signal: abort.signal,
      onProgress: progress => tell({ id, type: 'progress', progress }),
      onPiece: piece => tell({ id, type: 'piece', piece }),
      onToolCall: () => tell({ id, type: 'toolCall' }),
    });
    tell({ id, type: 'result', result });
  } catch (error) {
    tell({ id, type: 'error', failure: failureOf(error, 'internal_error') });
  } finally {
    running.delete(id);
  }
}

function count(id: number, job: EngineJob): void {
  try {
    if (model === null) throw new EngineError('engine_unavailable', 'no model is loaded yet');
    tell({ id, type: 'counted', tokens: model.countTokens(job) });
  } catch (error) {
    tell({ id, type: 'error', failure: failureOf(error, 'internal_error') });
  }
}

function failureOf(error: unknown, code: EngineFailure['code']): EngineFailure {
  if (error instanceof EngineError) return { code: error.code, message: error.message };
  return { code, message: error instanceof Error ? error.message : String(error) };
}

function receive(message: ToEngineProcess): void {
  switch (message.type) {
    case 'load':
      void load(message.options, message.failed);
      break;
    case 'generate':
      void generate(message.id, message.job);
      break;
    case 'count':
      count(message.id, message.job);
      break;
    case 'cancel':
      running.get(message.id)?.abort(new EngineError('cancelled', 'the job was cancelled'));
      break;
    case 'close':
      process.exit(0);
  }
}

// The parent is the same program: what it sends is of this type.
process.on('message', message => receive(message as ToEngineProcess));
process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.title = 'auxot-engine';
