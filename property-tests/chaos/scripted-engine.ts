/** An engine that reads its answers from the book, a word each `wordMs`, and goes on from any place in them. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Engine,
  EngineError,
  type EngineInfo,
  type EngineJob,
  type EngineResult,
  type EngineState,
  type GenerateHooks,
} from '../../actors/engine/engine.ts';
import { answerTo, piecesOf } from './book.ts';

export class ScriptedEngine implements Engine {
  state: EngineState = 'loading';
  info: EngineInfo | null = null;
  readonly #info: EngineInfo;
  readonly #wordMs: number;
  readonly #onState: (state: EngineState) => void;

  constructor(slots: number, wordMs: number, onState: (state: EngineState) => void) {
    this.#wordMs = wordMs;
    this.#onState = onState;
    this.#info = {
      model: 'book',
      backend: 'scripted',
      contextSize: 4096,
      slots,
      vramGb: 0,
      parameters: '',
      modelFile: 'b'.repeat(64),
      features: [],
      threads: 1,
      gpu: '',
    };
  }

  async load(): Promise<EngineInfo> {
    await sleep(1);
    this.info = this.#info;
    this.state = 'ready';
    this.#onState('ready');
    return this.#info;
  }

  async generate(job: EngineJob, { signal, onProgress, onPiece }: GenerateHooks): Promise<EngineResult> {
    const startedAt = performance.now();
    const question = textOf(job.messages.at(-1)?.content);
    const answer = answerTo(question);
    if (answer === undefined) throw new EngineError('invalid_request', `${question} is not in the book`);
    const { text: said = '', ids } = job.resume ?? {};
    const idsLength = ids?.reduce((sum, id) => sum + id, 0) ?? said.length;
    if (!answer.startsWith(said) || idsLength !== said.length)
      throw new EngineError('internal_error', `asked to go on after ${JSON.stringify(said)} (${idsLength} by its ids)`);
    onProgress({ total: 10, cached: 0, processed: 10 });
    const pieces = piecesOf(answer.slice(said.length));
    for (const text of pieces) {
      await sleep(this.#wordMs, null, { signal }).catch(() => {
        throw new EngineError('cancelled', 'stopped');
      });
      // A token's id is its length.
      onPiece({ kind: 'text', text, ids: [text.length] });
    }
    return {
      finishReason: 'stop',
      usage: { input: 10, cached: 0, output: (job.resume?.tokens ?? 0) + pieces.length, reasoning: 0 },
      text: answer,
      reasoning: '',
      toolCalls: [],
      durationMs: Math.round(performance.now() - startedAt),
    };
  }

  async countTokens(): Promise<number> {
    return 10;
  }

  async close(): Promise<void> {
    this.state = 'closed';
  }
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  return Array.isArray(content) ? content.map(part => String(part?.text ?? '')).join('') : '';
}
