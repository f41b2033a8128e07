/**
 * An engine at the worker's engine port that says known words: token n of every answer is `w<n> `. It says eight of them,
 * or thousands to whoever asks for a story; one every `pieceMs`, or by hand.
 */
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineOptions,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
} from '../../actors/engine/engine.ts';
import type { EngineEvents } from '../../actors/worker/gpu-worker.ts';

export interface ScriptedEngine extends Engine {
  /** Jobs that run now, oldest first. By hand: each is told when to say its next word, and when to end. */
  readonly running: readonly RunningAnswer[];
}

export interface RunningAnswer {
  readonly job: EngineJob;
  say(): void;
  finish(): void;
  fail(message: string): void;
}

export const word = (n: number): string => `w${n} `;
export const wordsTo = (count: number): string => Array.from({ length: count }, (_, n) => word(n)).join('');

export function scriptedEngine(
  options: EngineOptions,
  events: EngineEvents,
  { pieceMs }: { readonly pieceMs: number | null },
): ScriptedEngine {
  const info: EngineInfo = {
    model: 'scripted',
    backend: 'llama.cpp',
    contextSize: options.contextSize ?? 2048,
    slots: options.slots,
    vramGb: 0,
    parameters: '',
    modelFile: 'sha256:scripted',
    features: [],
    threads: 1,
    gpu: 'false',
  };
  let state: EngineState = 'loading';
  let running: RunningAnswer[] = [];
  return {
    get state() {
      return state;
    },
    get info() {
      return state === 'loading' ? null : info;
    },
    get running() {
      return running;
    },
    async load() {
      await new Promise(resolve => setTimeout(resolve, 5));
      if (state === 'closed') throw new EngineError('engine_unavailable', 'closed');
      state = 'ready';
      events.onState(state);
      return info;
    },
    countTokens: async ({ messages }) => 10 * messages.length,
    generate: (job, hooks) =>
      new Promise((resolve, reject) => {
        const answer = answerOf(job, hooks, resolve, reject);
        const leave = (): void => {
          running = running.filter(one => one !== answer);
        };
        running = [...running, answer];
        hooks.signal.addEventListener('abort', () => answer.fail('the job was ended'));
        if (pieceMs === null) answer.ended.finally(leave).catch(() => undefined);
        else {
          const timer = setInterval(() => answer.say(), pieceMs);
          answer.ended.finally(() => clearInterval(timer)).finally(leave);
        }
      }),
    async close() {
      state = 'closed';
      for (const answer of running) answer.fail('the engine is closed');
    },
  };
}

const naturalLength = (job: EngineJob): number => (/story/i.test(JSON.stringify(job.messages)) ? 5000 : 8);

function answerOf(
  job: EngineJob,
  hooks: GenerateHooks,
  resolve: (result: EngineResult) => void,
  reject: (error: Error) => void,
): RunningAnswer & { readonly ended: Promise<void> } {
  const natural = naturalLength(job);
  const length = Math.min(natural, job.maxTokens ?? natural);
  let said = job.resume?.tokens ?? 0;
  let over = false;
  let settle: () => void = () => undefined;
  const ended = new Promise<void>(done => {
    settle = done;
  });
  const end = (how: () => void): void => {
    if (over) return;
    over = true;
    how();
    settle();
  };
  const finish = (): void =>
    end(() =>
      resolve({
        finishReason: said >= natural ? 'stop' : 'length',
        usage: { input: 10, cached: 0, output: said, reasoning: 0 },
        text: wordsTo(said),
        reasoning: '',
        toolCalls: [],
        durationMs: 1,
      }),
    );
  return {
    job,
    ended,
    say() {
      if (over) return;
      if (said >= length) return finish();
      hooks.onPiece({ kind: 'text', text: word(said), ids: [1000 + said] });
      said += 1;
    },
    finish,
    fail: message => end(() => reject(new EngineError('internal_error', message))),
  };
}
