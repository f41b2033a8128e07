/** Vectors by the real engine with the demo model: what they are worth it does not matter, only that they are llama.cpp's. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { demoModel } from '../../registry/load.ts';
import { canShorten, encoded, useOf } from './embeddings.ts';
import { type LlamaEngine, llamaEngine } from './engine.llama.ts';
import { type EmbeddingsChoice, EngineError, type EngineJob, type EngineResult } from './engine.ts';

const engineOf = (embeddings: EmbeddingsChoice): LlamaEngine =>
  llamaEngine({
    modelPath: demoModel().path,
    contextSize: 128,
    slots: 2,
    threads: 1,
    gpuLayers: 0,
    embeddings,
    onState: () => undefined,
    onLoading: () => undefined,
    onTrouble: () => undefined,
  });

const engine = engineOf('also');
test.before(async () => {
  await engine.load();
});
test.after(() => engine.close());

const ask = (job: Partial<EngineJob>, signal = new AbortController().signal, from = engine): Promise<EngineResult> =>
  from.generate({ messages: [], ...job }, { signal, onPiece: fail, onProgress: () => undefined, onToolCall: fail });
const nothing = (): void => undefined;
const fail = (): never => assert.unreachable('an embedding says nothing') as never;
const embed = async (...inputs: (string | number[])[]): Promise<EngineResult> => ask({ embed: { inputs } });
const floats = (vector = ''): number[] => {
  const bytes = Buffer.from(vector, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(index * 4));
};
const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, number, index) => sum + number * (b[index] ?? 0), 0);

async function refusalOf(asked: Promise<unknown>): Promise<EngineError> {
  try {
    await asked;
  } catch (error) {
    assert.instance(error, EngineError);
    return error as EngineError;
  }
  return assert.unreachable('it was not refused') as never;
}

test('each text has a vector of length 1, in order, the same in whatever company', async () => {
  const texts = ['Hello', 'What is the weather in Paris?', 'Hello'];
  const { embeddings = [], usage, text, finishReason } = await embed(...texts);
  const vectors = embeddings.map(floats);
  assert.is(vectors.length, 3);
  for (const vector of vectors) assert.ok(Math.abs(cosine(vector, vector) - 1) < 1e-5);
  assert.equal(vectors[2], vectors[0]);
  assert.ok(cosine(vectors[0] ?? [], vectors[1] ?? []) < 0.999);
  assert.equal((await embed('Hello')).embeddings, [embeddings[0]]);
  assert.equal([usage.output, text, finishReason], [0, '', 'stop']);
  assert.ok(usage.input >= 6);
});

test('tokens are those of the model, and others are refused at their place', async () => {
  const { embeddings, usage } = await embed([1, 2, 3], [4]);
  assert.is(embeddings?.length, 2);
  assert.ok(usage.input >= 4);
  const refused = await refusalOf(embed('a', [1, 10_000_000]));
  assert.is(refused.code, 'invalid_request');
  assert.match(refused.message, 'input[1]: 10000000');
});

test('a text that does not fit is refused with its place and the numbers, before any is evaluated', async () => {
  const refused = await refusalOf(embed('a', 'word '.repeat(500)));
  assert.is(refused.code, 'context_length_exceeded');
  assert.match(refused.message, /input\[1\] has \d+ tokens.* 128/);
});

test('chats go on beside embeddings, and neither disturbs the other', async () => {
  const job: EngineJob = { messages: [], prompt: 'Once upon a', temperature: 0, maxTokens: 8 };
  const hooks = { signal: new AbortController().signal, onPiece: nothing, onProgress: nothing, onToolCall: nothing };
  const alone = await engine.generate(job, hooks);
  const [together, vectors] = await Promise.all([engine.generate(job, hooks), embed('Once upon a', 'time')]);
  assert.is(together.text, alone.text);
  assert.equal((await embed('Once upon a', 'time')).embeddings, vectors.embeddings);
});

test('a cancelled job stops between two texts', async () => {
  const abort = new AbortController();
  const job = ask({ embed: { inputs: Array(2000).fill('Hello') } }, abort.signal);
  setTimeout(() => abort.abort(), 20);
  assert.is((await refusalOf(job)).code, 'cancelled');
});

test('shorter vectors only of models that are known to allow them', async () => {
  assert.match((await refusalOf(ask({ embed: { inputs: ['a'], dimensions: 2 } }))).message, 'dimensions');
  for (const name of [
    'Qwen3-Embedding-0.6B-Q8_0.gguf',
    'Nomic Embed Text v1.5',
    'embeddinggemma-300M',
    'Snowflake Arctic Embed L v2.0',
  ])
    assert.ok(canShorten(['', name]), name);
  for (const name of ['auxot-demo', 'bge-large-en-v1.5', 'nomic-embed-text-v1', 'all-MiniLM-L6-v2'])
    assert.not(canShorten([name]), name);
  const [three, two] = [encoded([3, 4, 12], 3), encoded([3, 4, 12], 2)].map(floats);
  assert.equal(three, floats(encoded([6, 8, 24], 3)));
  assert.ok(Math.abs((two?.[0] ?? 0) - 0.6) < 1e-6 && Math.abs((two?.[1] ?? 0) - 0.8) < 1e-6 && two?.length === 2);
});

test('what a model is used for follows from the choice, and from what it was made for', () => {
  const generative = { architecture: 'llama', pooling: undefined };
  const encoder = { architecture: 'bert', pooling: undefined };
  const pooled = { architecture: 'qwen3', pooling: 3 };
  const ranks = { architecture: 'qwen3', pooling: 4 };
  assert.equal(useOf('auto', generative), { embeds: false, answers: true });
  assert.equal(useOf('also', generative), { embeds: true, answers: true });
  assert.equal(useOf('only', generative), { embeds: true, answers: false });
  assert.equal(useOf('auto', encoder), { embeds: true, answers: false });
  assert.equal(useOf('auto', pooled), { embeds: true, answers: false });
  assert.equal(useOf('auto', ranks), { embeds: false, answers: true });
  assert.equal(useOf('never', pooled), { embeds: false, answers: true });
});

test('a worker offers what its model is used for, and refuses the rest', async () => {
  assert.equal(engine.info?.features.slice(-1), ['embeddings']);
  const only = engineOf('only');
  const never = engineOf('never');
  try {
    assert.equal((await only.load()).features, ['embeddings', 'embeddings_only']);
    assert.is((await refusalOf(ask({ prompt: 'a' }, undefined, only))).code, 'unsupported_parameter');
    const { embeddings } = await ask({ embed: { inputs: ['Hello'] } }, undefined, only);
    assert.ok(cosine(floats(embeddings?.[0]), floats((await embed('Hello')).embeddings?.[0])) > 0.9999);
    assert.not((await never.load()).features.includes('embeddings'));
    assert.is((await refusalOf(ask({ embed: { inputs: ['a'] } }, undefined, never))).code, 'unsupported_parameter');
  } finally {
    await only.close();
    await never.close();
  }
});

test.run();
