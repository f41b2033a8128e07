/** What a request for embeddings may hold, and what its answer looks like. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { featuresNeeded } from './features.ts';
import { embeddingInputsMax, embeddingsBody, parseEmbeddingRequest } from './openai-api.embeddings.ts';

test('OA41: a text, texts, tokens and lists of tokens are read as they are', () => {
  for (const [input, inputs] of [
    ['a', ['a']],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [[1, 2], [[1, 2]]],
    [
      [[1], [2, 3], 'c'],
      [[1], [2, 3], 'c'],
    ],
  ]) {
    const parsed = parseEmbeddingRequest({ input, model: 'm' });
    assert.ok(parsed.ok);
    assert.equal(parsed.request.embed, { inputs });
    assert.equal(featuresNeeded(parsed.request), ['embeddings']);
    assert.equal(parsed.answer, { api: 'openai.embeddings', stream: false, model: 'm' });
  }
});

test('what cannot be meant is refused at its place', () => {
  for (const [body, param] of [
    [{}, 'input'],
    [{ input: null }, 'input'],
    [{ input: '' }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: ['a', ''] }, 'input[1]'],
    [{ input: ['a', 7] }, 'input[1]'],
    [{ input: [[]] }, 'input[0]'],
    [{ input: [1, -1] }, 'input'],
    [{ input: [1, 'a'] }, 'input'],
    [{ input: [[0.5]] }, 'input[0]'],
    [{ input: { a: 1 } }, 'input'],
    [{ input: Array(embeddingInputsMax + 1).fill('a') }, 'input'],
    [{ input: 'a', encoding_format: 'hex' }, 'encoding_format'],
    [{ input: 'a', dimensions: 0 }, 'dimensions'],
    [{ input: 'a', dimensions: 8 }, 'dimensions'],
  ] as const) {
    const parsed = parseEmbeddingRequest(body);
    assert.ok(!parsed.ok, JSON.stringify(body).slice(0, 80));
    assert.is(parsed.param, param);
  }
});

test('shorter vectors are asked for only of workers that say they may be', () => {
  const parsed = parseEmbeddingRequest(
    { input: 'a', dimensions: 8, encoding_format: 'base64' },
    { honours: new Set(['embeddings', 'embedding_dimensions']) },
  );
  assert.ok(parsed.ok);
  assert.equal(parsed.request.embed, { inputs: ['a'], dimensions: 8 });
  assert.equal(featuresNeeded(parsed.request), ['embeddings', 'embedding_dimensions']);
  assert.is(parsed.answer.encoding, 'base64');
});

test('floats are the ones that went in, and base64 is as it came', () => {
  const floats = Float32Array.from([0.1, -1e-20, 3e20, 1 / 3]);
  const vector = Buffer.from(floats.buffer).toString('base64');
  const usage = { input: 4, cached: 0, output: 0, reasoning: 0 };
  const body = embeddingsBody({ model: 'm' }, [vector], usage);
  assert.equal(Float32Array.from(body.data[0]?.embedding as number[]), floats);
  assert.is(JSON.stringify(body.data[0]?.embedding).slice(0, 13), '[0.100000001,');
  assert.equal(embeddingsBody({ model: 'm', encoding: 'base64' }, [vector], usage), {
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: vector }],
    model: 'm',
    usage: { prompt_tokens: 4, total_tokens: 4 },
  });
});

test.run();
