/** The engine of a simulated worker: it says what truth.ts says, token by token in virtual time, and counts its jobs. */
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
} from '../../actors/engine/engine.ts';
import type { SimNode } from './node.ts';
import { callsDue } from './tool-truth.ts';
import { callOf, historyWith, shapeOf, startOf, textOf, tokenAfter, tokensOf, vectorOf } from './truth.ts';

export interface Pace {
  tokenMs: number;
  promptMs: number;
  /** The next job that says a token fails with this instead. */
  failWith: 'internal_error' | 'engine_crashed' | null;
}

export const promptOf = (messages: readonly Readonly<Record<string, unknown>>[]): string => {
  const content = messages.findLast(({ role }) => role === 'user')?.content;
  if (typeof content === 'string') return content;
  return Array.isArray(content) ? content.map(part => String(part?.text ?? '')).join('') : '';
};

export class SimEngine implements Engine {
  state: EngineState = 'loading';
  info: EngineInfo | null = null;
  /** Jobs that run and were not told to stop. */
  active = 0;
  readonly pace: Pace;
  readonly #node: SimNode;
  readonly #info: EngineInfo;
  readonly #changed: (state: EngineState) => void;
  readonly #tooMany: (active: number) => void;
  readonly #wrong: (what: string) => void;
  readonly #jobs = new Set<() => void>();

  constructor(
    node: SimNode,
    info: EngineInfo,
    pace: Pace,
    changed: (state: EngineState) => void,
    tooMany: (active: number) => void,
    wrong: (what: string) => void = () => undefined,
  ) {
    this.#node = node;
    this.#info = info;
    this.pace = pace;
    this.#changed = changed;
    this.#tooMany = tooMany;
    this.#wrong = wrong;
  }

  load(): Promise<EngineInfo> {
    return new Promise(resolve => {
      this.#node.after(200, () => {
        if (this.state !== 'loading') return;
        this.info = this.#info;
        this.state = 'ready';
        this.#changed('ready');
        resolve(this.#info);
      });
    });
  }

  generate(job: EngineJob, { signal, onProgress, onPiece }: GenerateHooks): Promise<EngineResult> {
    const prompt = promptOf(job.messages);
    const shape = shapeOf(prompt);
    const called = callsDue(job.messages, job.tools, this.#wrong);
    const tokensMax = Math.min(shape.tokens, job.maxTokens ?? Number.POSITIVE_INFINITY);
    const startedAt = this.#node.now();
    const said = { text: job.resume?.text ?? '', reasoning: job.resume?.reasoning ?? '' };
    const before = job.resume?.ids ?? [...tokensOf(said.reasoning), ...tokensOf(said.text)];
    let history = startOf(prompt);
    for (const id of before) history = historyWith(history, id);
    let count = before.length;
    return new Promise((resolve, reject) => {
      let active = true;
      this.active += 1;
      if (this.active > this.#info.slots) this.#tooMany(this.active);
      const over = (): void => {
        if (!active) return;
        active = false;
        this.active -= 1;
        this.#jobs.delete(crash);
      };
      const crash = (): void => {
        over();
        callOff();
        reject(new EngineError('engine_crashed', 'the engine crashed'));
      };
      this.#jobs.add(crash);
      const later = (ms: number, run: () => void): void => {
        callOff = this.#node.after(ms, run);
      };
      let callOff: () => void = () => undefined;
      signal.addEventListener('abort', () => {
        over();
        callOff();
        // An engine needs a moment to stop.
        this.#node.after(this.pace.tokenMs, () => reject(new EngineError('cancelled', 'stopped')));
      });
      const next = (): void => {
        if (this.pace.failWith !== null) {
          const code = this.pace.failWith;
          this.pace.failWith = null;
          over();
          return reject(new EngineError(code, 'the simulated engine fails'));
        }
        if (job.embed !== undefined) return embed(job.embed.inputs);
        if (count >= tokensMax || called.length > 0) return finish();
        // Sometimes two tokens make a piece.
        const pieces = count + 1 < tokensMax && count + 1 !== shape.thought && (history & 3) === 0 ? 2 : 1;
        const kind = count < shape.thought ? 'reasoning' : 'text';
        const ids: number[] = [];
        for (let n = 0; n < pieces; n += 1) {
          const id = tokenAfter(history);
          ids.push(id);
          history = historyWith(history, id);
        }
        count += pieces;
        const text = ids.map(textOf).join('');
        said[kind] += text;
        onPiece({ kind, text, ids });
        later(this.pace.tokenMs, next);
      };
      const finish = (): void => {
        over();
        const cut = count < shape.tokens && called.length === 0;
        const call = shape.calls && !cut ? callOf(history) : null;
        const calls = call === null ? called : [{ id: 'call_1', ...call }];
        resolve({
          finishReason: cut ? 'length' : calls.length === 0 ? 'stop' : 'tool_calls',
          usage: { input: 5, cached: 2, output: count, reasoning: Math.min(count, shape.thought) },
          ...said,
          toolCalls: [...calls],
          durationMs: Math.max(0, this.#node.now() - startedAt),
        });
      };
      const embed = (inputs: readonly unknown[]): void => {
        over();
        resolve({
          finishReason: 'stop',
          usage: { input: 5, cached: 0, output: 0, reasoning: 0 },
          text: '',
          reasoning: '',
          toolCalls: [],
          embeddings: inputs.map(input => vectorOf(String(input))),
          durationMs: Math.max(0, this.#node.now() - startedAt),
        });
      };
      later(this.pace.promptMs, () => {
        onProgress({ total: 7, cached: 2, processed: 7 });
        next();
      });
    });
  }

  async countTokens(): Promise<number> {
    return 7;
  }

  /** The process below the worker ends: all jobs are lost, and it starts again. */
  crash(): boolean {
    if (this.state !== 'ready') return false;
    this.state = 'restarting';
    this.#changed('restarting');
    for (const each of [...this.#jobs]) each();
    this.#node.after(500, () => {
      if (this.state !== 'restarting') return;
      this.state = 'ready';
      this.#changed('ready');
    });
    return true;
  }

  async close(): Promise<void> {
    this.state = 'closed';
  }
}
