/**
 * What a job says of sampling reaches the sampler: with the demo model, each setting alone changes the answer in the way
 * that it must. Settings that leave one token to choose from make a hot answer the greedy one.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { demoModel } from '../../registry/load.ts';
import { type LlamaEngine, llamaEngine } from './engine.llama.ts';
import type { EngineJob, EngineResult } from './engine.ts';

const engine: LlamaEngine = llamaEngine({
  modelPath: demoModel().path,
  contextSize: 512,
  slots: 1,
  threads: 1,
  gpuLayers: 0,
  onState: () => undefined,
  onLoading: () => undefined,
  onTrouble: () => undefined,
});
test.before(async () => {
  await engine.load();
});
test.after(() => engine.close());

async function ask(job: Partial<EngineJob>): Promise<EngineResult & { readonly ids: readonly number[] }> {
  const ids: number[] = [];
  const messages = [{ role: 'user', content: 'tell me a story about a cat' }];
  const result = await engine.generate(
    { messages, maxTokens: 16, ...job },
    {
      signal: new AbortController().signal,
      onPiece: piece => ids.push(...piece.ids),
      onProgress: () => undefined,
      onToolCall: () => undefined,
    },
  );
  return { ...result, ids };
}

const greedy = { temperature: 0 };
const hot = { temperature: 3, seed: 7, topK: 0, topP: 1, minP: 0 };

test('a hot answer is another than the greedy one, and the seed makes it the same again', async () => {
  const [cold, one, again, other] = [await ask(greedy), await ask(hot), await ask(hot), await ask({ ...hot, seed: 8 })];
  assert.not.equal(one.ids, cold.ids);
  assert.equal(again.ids, one.ids);
  assert.not.equal(other.ids, one.ids);
});

test('top_k, top_p and min_p each leave only the likeliest token (G16)', async () => {
  const { ids } = await ask(greedy);
  assert.equal((await ask({ ...hot, topK: 1 })).ids, ids);
  assert.equal((await ask({ ...hot, topP: 0.000_001 })).ids, ids);
  assert.equal((await ask({ ...hot, minP: 1 })).ids, ids);
});

test('a bias brings a token, and bans one', async () => {
  const { ids } = await ask(greedy);
  const [first = 0, second = 0] = ids;
  const [brought] = (await ask({ ...greedy, logitBias: { [String(second)]: 100 } })).ids;
  assert.is(brought, second);
  assert.not((await ask({ ...greedy, logitBias: { [String(first)]: -100 } })).ids.includes(first));
});

test('each penalty by itself leaves fewer repetitions', async () => {
  const counting = { ...greedy, messages: [{ role: 'user', content: 'count to 20' }], maxTokens: 40 };
  const plain = await ask(counting);
  const kinds = (ids: readonly number[]): number => new Set(ids).size / ids.length;
  for (const penalty of [{ frequencyPenalty: 20 }, { presencePenalty: 20 }, { repeatPenalty: 5 }]) {
    const { ids } = await ask({ ...counting, ...penalty });
    assert.ok(kinds(ids) > kinds(plain.ids), JSON.stringify(penalty));
  }
});

test('a stop text ends the answer before it', async () => {
  const { text } = await ask(greedy);
  const stop = text.slice(6, 9);
  const stopped = await ask({ ...greedy, stop: [stop] });
  assert.equal(
    [stopped.text, stopped.finishReason, stopped.stopSequence],
    [text.slice(0, text.indexOf(stop)), 'stop', stop],
  );
});

test.run();
