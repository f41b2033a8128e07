/**
 * The yardstick for the engine: node-llama-cpp in a loop, in a process of its own. Prompts are tokens already, answers
 * stay tokens; nothing is cancelled, stopped, streamed, checked or logged.
 */
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type Token } from 'node-llama-cpp';

export interface BareOrder {
  readonly modelPath: string;
  readonly contextSize: number;
  readonly threads: number;
  readonly jobs: number;
  readonly answers: number;
  readonly prompt: string;
  readonly tokensMax: number;
}

export interface BareRound {
  readonly ms: number;
  readonly tokens: number;
}

async function open({ modelPath, contextSize, threads, jobs, answers, prompt, tokensMax }: BareOrder) {
  const llama = await getLlama({ gpu: 'auto', build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({ sequences: jobs, contextSize, threads });
  const sequences = Array.from({ length: jobs }, () => context.getSequence());
  const tokens = model.tokenize(prompt, true);

  const answer = async (sequence: LlamaContextSequence): Promise<number> => {
    await sequence.adaptStateToTokens(tokens.slice(0, -1), false);
    const rest: Token[] = tokens.slice(sequence.nextTokenIndex);
    let said = 0;
    for await (const token of sequence.evaluate(rest, { temperature: 0, yieldEogToken: true })) {
      said += 1;
      if (model.isEogToken(token) || said >= tokensMax) break;
    }
    return said;
  };

  return async (): Promise<BareRound> => {
    const startedAt = performance.now();
    const said = await Promise.all(
      sequences.map(async sequence => {
        let sum = 0;
        for (let n = 0; n < answers; n += 1) sum += await answer(sequence);
        return sum;
      }),
    );
    return { ms: performance.now() - startedAt, tokens: said.reduce((a, b) => a + b, 0) };
  };
}

let round: (() => Promise<BareRound>) | null = null;

process.on('message', async (order: BareOrder | 'round') => {
  try {
    if (order === 'round') process.send?.({ kind: 'round', round: await round?.() });
    else {
      round = await open(order);
      process.send?.({ kind: 'ready' });
    }
  } catch (error) {
    process.send?.({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
  }
});
process.once('disconnect', () => process.exit());
