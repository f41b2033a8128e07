/**
 * A worker whose model calls tools: the real line to its router and the real keeping of jobs. A question names itself and
 * how many rounds of calls it wants; the answer says what became of every call.
 *
 *   node --import tsx tools-model.process.ts <router url>
 */
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
import { runWorker } from './worker-process.ts';

const callsInRound = 2;
const wordMs = 30;

class CallingEngine implements Engine {
  state: EngineState = 'loading';
  info: EngineInfo | null = null;
  readonly #slots: number;
  readonly #onState: (state: EngineState) => void;

  constructor(slots: number, onState: (state: EngineState) => void) {
    this.#slots = slots;
    this.#onState = onState;
  }

  async load(): Promise<EngineInfo> {
    await sleep(1);
    this.info = {
      model: 'caller of tools',
      backend: 'scripted',
      contextSize: 4096,
      slots: this.#slots,
      vramGb: 0,
      parameters: '',
      modelFile: 'c'.repeat(64),
      features: [],
      threads: 1,
      gpu: '',
    };
    this.state = 'ready';
    this.#onState('ready');
    return this.info;
  }

  async generate({ messages, tools, resume }: EngineJob, hooks: GenerateHooks): Promise<EngineResult> {
    const asked = messages.findLastIndex(({ role }) => role === 'user');
    const [, id = '', rounds = '0'] = /(q[\w-]+) (\d+)/.exec(JSON.stringify(messages[asked]?.content)) ?? [];
    const results = messages.slice(asked + 1).filter(({ role }) => role === 'tool');
    const round = results.length / callsInRound;
    const offered = JSON.stringify(tools ?? []).includes('"note"');
    const calls = round < Number(rounds) && offered;
    const told = results.map(({ content }) => wordOf(String(content)));
    const words = calls ? [`Round ${round}. `] : [`${id}:`, ...told.map(word => ` ${word}`), offered ? '' : ' untold'];
    const text = words.join('');
    let said = resume?.text ?? '';
    if (!text.startsWith(said)) throw new EngineError('internal_error', `asked to go on after ${said}`);
    while (said.length < text.length) {
      await sleep(wordMs, null, { signal: hooks.signal }).catch(() => {
        throw new EngineError('cancelled', 'stopped');
      });
      const piece = text.slice(said.length, said.length + 7);
      said += piece;
      // A token's id is its length.
      hooks.onPiece({ kind: 'text', text: piece, ids: [piece.length] });
    }
    const made = Array.from({ length: calls ? callsInRound : 0 }, (_, n) => ({
      id: `call_${n}`,
      name: 'note',
      arguments: JSON.stringify({ key: `${id}.${round}.${n}` }),
    }));
    return {
      finishReason: calls ? 'tool_calls' : 'stop',
      usage: { input: 10, cached: 0, output: Math.ceil(text.length / 7), reasoning: 0 },
      text,
      reasoning: '',
      toolCalls: made,
      durationMs: 1,
    };
  }

  async countTokens(): Promise<number> {
    return 10;
  }

  async close(): Promise<void> {
    this.state = 'closed';
  }
}

/** `ok` for what the tool said, else the code of what went wrong. */
const wordOf = (content: string): string =>
  content.startsWith('noted') ? 'ok' : (/"code":"(\w+)"/.exec(content)?.[1] ?? `odd(${content.slice(0, 80)})`);

const [routerUrl = ''] = process.argv.slice(2);
await runWorker({
  routerUrl,
  modelPath: 'calls',
  openEngine: ({ slots }, { onState }) => new CallingEngine(slots, onState),
});
