/** HTTP: the older completions API. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, chunksOf, dataOf, userSays } from './callers.ts';
import { openai, runWithRouters, withWorker } from './http-routers.ts';
import type { Script } from './scripted-worker.ts';

test('OA4 OA5 OA6: a completion of the older API, from a text or a list of one', async () => {
  const complete = (body: object): Promise<Answer> =>
    openai('completions', { method: 'POST', body: JSON.stringify(body) });
  await withWorker({}, async worker => {
    for (const prompt of ['Say hello', ['Say hello']]) {
      const { json, status } = await complete({ prompt, max_tokens: 7 });
      assert.is(status, 200, JSON.stringify(json));
      assert.is(json.object, 'text_completion');
      assert.match(json.id, /^cmpl-[0-9a-zA-Z]{24}$/);
      assert.equal(json.choices, [{ text: 'Hello from the GPU!', index: 0, logprobs: null, finish_reason: 'stop' }]);
      assert.is(json.usage.prompt_tokens, 10);
      assert.equal(worker.jobs.at(-1)?.messages, userSays('Say hello'));
      assert.is(worker.jobs.at(-1)?.max_tokens, 7);
    }
    const echoed = await complete({ prompt: 'Say hello: ', echo: true });
    assert.is(echoed.json.choices[0].text, 'Say hello: Hello from the GPU!');
  });
  for (const [body, param] of [
    [{ prompt: '' }, 'prompt'],
    [{}, 'prompt'],
    [{ prompt: [1, 2] }, 'prompt'],
    [{ prompt: ['a', 'b'] }, 'prompt'],
    [{ prompt: 'a', suffix: 'b' }, 'suffix'],
    [{ prompt: 'a', best_of: 2 }, 'best_of'],
  ] as const) {
    const refused = await complete(body);
    assert.equal([refused.status, refused.json.error.param], [400, param], refused.text);
  }
});

test('OA40: a streamed completion: pieces without a reason, then the reason, the counts, and an error as a line', async () => {
  const ask = (body: object): Promise<Answer> =>
    openai('completions', { method: 'POST', body: JSON.stringify({ prompt: 'Once', stream: true, ...body }) });
  await withWorker({}, async () => {
    const { text, headers } = await ask({});
    assert.is(headers.get('content-type'), 'text/event-stream');
    const chunks = chunksOf(text);
    const reasons = chunks.map(({ choices }) => choices[0].finish_reason);
    assert.equal([reasons.at(-1), reasons.slice(0, -1).every(reason => reason === null)], ['stop', true]);
    assert.is(chunks.map(({ choices }) => choices[0].text).join(''), 'Hello from the GPU!');
    assert.is(chunks.at(-1).usage.completion_tokens, 5);
    assert.is(dataOf(text).at(-1), '[DONE]');
    const counted = chunksOf((await ask({ stream_options: { include_usage: true }, echo: true })).text);
    assert.is(counted[0].choices[0].text, 'Once');
    assert.equal([counted[0].usage, counted.at(-1).choices, counted.at(-1).usage.prompt_tokens], [null, [], 10]);
  });
  const failing: Script = ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'a' });
    worker.say({ type: 'error', job_id, error: 'broken' });
  };
  await withWorker({ script: failing }, async () => {
    const lines = chunksOf((await ask({})).text);
    assert.is(lines.at(-1).error.message, 'broken');
  });
});

test('a worker of version 2 is told to go on with the text as it is; of one choice or several', async () => {
  const script: Script = ({ job_id, attempt }, worker) => {
    const token = (seq: number, more: object): void =>
      worker.say({ type: 'token', job_id, attempt, seq, ids: [seq], ...more });
    const logprobs = [{ token: 'b', logprob: -1, bytes: [98], top_logprobs: [{ token: 'c', logprob: -2 }] }];
    token(1, { token: 'a' });
    token(2, { token: '', end: { finish_reason: 'length' } });
    token(3, { token: 'b', choice: 1, logprobs });
    token(4, { token: '', choice: 1, end: { finish_reason: 'stop' } });
    worker.say({ type: 'complete', job_id, attempt, seq: 4, full_response: 'a', input_tokens: 1, output_tokens: 2 });
  };
  const hello = { protocol_version: 2, instance_id: 'legacy', features: ['n', 'logprobs'] };
  await withWorker({ script, hello }, async worker => {
    const body = { prompt: 'Once', n: 2, logprobs: 1 };
    const { json } = await openai('completions', { method: 'POST', body: JSON.stringify(body) });
    assert.equal([worker.jobs[0]?.prompt, worker.jobs[0]?.n, worker.jobs[0]?.top_logprobs], ['Once', 2, 1]);
    assert.equal(
      json.choices.map(({ text, finish_reason: why }: { text: string; finish_reason: string }) => [text, why]),
      [
        ['a', 'length'],
        ['b', 'stop'],
      ],
    );
    assert.equal(json.choices[1].logprobs, {
      tokens: ['b'],
      token_logprobs: [-1],
      top_logprobs: [{ c: -2 }],
      text_offset: [0],
    });
    const streamed = await openai('completions', { method: 'POST', body: JSON.stringify({ ...body, stream: true }) });
    const chunks = chunksOf(streamed.text).flatMap(({ choices }) => choices);
    assert.equal(
      chunks.map(({ index, text }) => [index, text]),
      [
        [0, 'a'],
        [0, ''],
        [1, 'b'],
        [1, ''],
      ],
    );
  });
});

runWithRouters();
