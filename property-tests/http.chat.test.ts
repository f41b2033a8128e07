/** HTTP: chat completions, whole and streamed, the list of models, and what of a request reaches the worker. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, chat, chunksOf, dataOf, saidIn, userSays } from './callers.ts';
import { completion, isError, openai, router, runWithRouters, strict, withWorker } from './http-routers.ts';
import type { RouterProcess } from './processes.ts';
import type { Script } from './scripted-worker.ts';

test('OA1 OA13 OA14 OA16: a whole answer', async () => {
  await withWorker({}, async worker => {
    const { json, headers } = await chat(router.url, { model: 'mine' });
    assert.is(json.object, 'chat.completion');
    assert.match(json.id, /^chatcmpl-.{24}$/);
    assert.is(json.id, worker.jobs[0]?.job_id);
    assert.is(json.model, 'mine');
    assert.is(json.choices.length, 1);
    assert.is(json.choices[0].message.role, 'assistant');
    assert.is(json.choices[0].message.content, 'Hello from the GPU!');
    assert.is(json.choices[0].finish_reason, 'stop');
    assert.is(json.usage.prompt_tokens, 10);
    assert.is(json.usage.completion_tokens, 5);
    assert.is(json.usage.total_tokens, 15);
    assert.is(headers.get('content-type'), 'application/json');
    assert.ok(headers.has('content-length'));
    const second = await chat(router.url);
    assert.is(second.json.model, 'test-model');
    assert.is.not(second.json.id, json.id);
  });
});

test('OA2 OA13 OA17 OA19: a streamed answer', async () => {
  await withWorker({}, async () => {
    const { text, headers } = await chat(router.url, { stream: true });
    assert.is(headers.get('content-type'), 'text/event-stream');
    assert.is(headers.get('cache-control'), 'no-cache');
    assert.is(headers.get('x-accel-buffering'), 'no');
    assert.is(dataOf(text).at(-1), '[DONE]');
    const chunks = chunksOf(text);
    assert.ok(chunks.length >= 3);
    assert.is(chunks[0].choices[0].delta.role, 'assistant');
    for (const chunk of chunks) {
      assert.is(chunk.object, 'chat.completion.chunk');
      assert.is(chunk.id, chunks[0].id);
      assert.is(chunk.created, chunks[0].created);
    }
    for (const chunk of chunks.slice(1)) assert.not('role' in chunk.choices[0].delta);
    assert.is(saidIn(text), 'Hello from the GPU!');
    const last = chunks.at(-1);
    assert.equal(last.choices[0].delta, {});
    assert.is(last.choices[0].finish_reason, 'stop');
    assert.is(last.usage.total_tokens, 15);
    for (const chunk of chunks.slice(0, -1)) assert.is(chunk.choices[0].finish_reason, null);
  });
});

test('OA18: with include_usage, the counts come in a chunk of their own', async () => {
  await withWorker({}, async () => {
    const { text } = await chat(router.url, { stream: true, stream_options: { include_usage: true } });
    const chunks = chunksOf(text);
    for (const chunk of chunks.slice(0, -1)) assert.is(chunk.usage, null);
    assert.equal(chunks.at(-1).choices, []);
    assert.is(chunks.at(-1).usage.total_tokens, 15);
    assert.is(dataOf(text).at(-1), '[DONE]');
  });
});

test('OA3 OA36: a refusal names the place', async () => {
  for (const [body, param] of [
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'user', content: 7 }] }, 'messages[0].content'],
    [{ model: 'x'.repeat(2000) }, 'model'],
    [{ temperature: 99 }, 'temperature'],
    [{ max_tokens: -5 }, 'max_tokens'],
    [{ stream: 'yes' }, 'stream'],
    [{ tools: {} }, 'tools'],
  ] as const) {
    const answer = await chat(router.url, body);
    isErrorAt(answer, param);
  }

  function isErrorAt(answer: Answer, param: string): void {
    assert.is(answer.status, 400, answer.text);
    assert.is(answer.json.error.param, param, answer.text);
  }
});

test('OA7: the models are those configured, their aliases, and those of the workers', async () => {
  const ids = async (at: RouterProcess): Promise<string[]> =>
    (await openai('models', {}, at)).json.data.map(({ id }: { id: string }) => id);
  assert.equal(await ids(router), ['test-model']);
  assert.equal(await ids(strict), ['test-model', 'gpt-4o', 'big/one']);
  await withWorker({}, async () => assert.equal(await ids(router), ['test-model', 'mock-model']));
  const { json } = await openai('models');
  assert.is(json.object, 'list');
  assert.is(json.data[0].object, 'model');
  assert.is(json.data[0].owned_by, 'auxot');
  assert.is((await openai('models')).json.data[0].created, json.data[0].created);
});

test('OA8: one model by its id, slashes and all; an unknown one is not found', async () => {
  assert.is((await openai('models/test-model')).json.id, 'test-model');
  assert.is((await openai('models/big%2Fone', {}, strict)).json.id, 'big/one');
  assert.is((await openai('models/big/one', {}, strict)).json.id, 'big/one');
  isError(await openai('models/none'), 404, 'not_found_error', 'model_not_found');
  isError(await openai('models/TEST-MODEL'), 404, 'not_found_error', 'model_not_found');
});

test('OA9 OA10: no completions are stored', async () => {
  const list = await openai('chat/completions?limit=3');
  assert.equal(list.json, { object: 'list', data: [], has_more: false, first_id: null, last_id: null });
  isError(await openai('chat/completions/some-id'), 404, 'not_found_error');
  isError(await openai('chat/completions/some-id/messages'), 404, 'not_found_error');
  isError(await openai('chat/completions/some-id', { method: 'DELETE' }), 400, 'invalid_request_error');
});

test('OA11: embeddings are not implemented', async () => {
  const answer = await openai('embeddings', { method: 'POST', body: '{"input":"x"}' });
  isError(answer, 501, 'not_implemented');
  assert.is(answer.headers.get('x-should-retry'), 'false');
});

const weather = {
  type: 'function',
  function: { name: 'weather', description: 'd', parameters: { type: 'object', properties: {} } },
};

test('OA12 OA20 OA23 OA26 OA29 OA30: what a request says reaches the worker', async () => {
  await withWorker({ hello: { protocol_version: 2, instance_id: 'i1' } }, async worker => {
    await chat(router.url, {
      messages: [
        { role: 'developer', content: 'be brief' },
        { role: 'user', content: 'hi', unknown: 1 },
        { role: 'assistant', content: 'hm', reasoning_content: 'they greet' },
        { role: 'user', content: 'go on' },
      ],
      temperature: 0.7,
      max_completion_tokens: 77,
      max_tokens: 2048,
      stop: ['END'],
      seed: 42,
      top_p: 0.5,
      presence_penalty: 0.25,
      frequency_penalty: -0.5,
      tools: [weather],
      unknown_field: { a: 1 },
      chat_template_kwargs: { enable_thinking: false },
    });
    const job = worker.jobs[0];
    assert.equal(
      job?.messages.map(({ role }) => role),
      ['system', 'user', 'assistant', 'user'],
    );
    assert.match(JSON.stringify(job?.messages[2]), /they greet/);
    assert.is(job?.temperature, 0.7);
    assert.is(job?.max_tokens, 77);
    assert.match(JSON.stringify(job), /"END"/);
    assert.match(JSON.stringify(job), /"seed":42/);
    assert.match(JSON.stringify(job), /"top_p":0.5/);
    assert.match(JSON.stringify(job), /"presence_penalty":0.25/);
    assert.match(JSON.stringify(job), /"frequency_penalty":-0.5/);
    assert.match(JSON.stringify(job), /"enable_thinking":false/);
    assert.match(JSON.stringify(job?.tools), /^\[\{[^[]*"weather"/);
    await chat(router.url, { tools: [weather], tool_choice: 'none' });
    assert.equal(worker.jobs[1]?.tools ?? [], []);
    await chat(router.url, { messages: userSays('only messages') });
    assert.is(worker.jobs[2]?.messages[0]?.content, 'only messages');
  });
});

test('OA21: a limit reached at the worker is told as length, in both modes', async () => {
  const script: Script = (job, worker) =>
    worker.say(completion(job, { full_response: 'cut', finish_reason: 'length' }));
  await withWorker({ script, hello: { protocol_version: 2, instance_id: 'i1' } }, async () => {
    assert.is((await chat(router.url)).json.choices[0].finish_reason, 'length');
    assert.is(chunksOf((await chat(router.url, { stream: true })).text).at(-1).choices[0].finish_reason, 'length');
  });
});

test('OA22 OA43: text, reasoning and calls stand beside each other, and all tokens are counted', async () => {
  const script: Script = (job, worker) =>
    worker.say(
      completion(job, {
        full_response: 'Let me look.',
        reasoning_content: 'I need the weather',
        cache_tokens: 3,
        reasoning_tokens: 2,
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }],
      }),
    );
  await withWorker({ script }, async () => {
    const { json } = await chat(router.url, { tools: [weather] });
    const [choice] = json.choices;
    assert.is(choice.finish_reason, 'tool_calls');
    assert.is(choice.message.content, 'Let me look.');
    assert.is(choice.message.reasoning_content, 'I need the weather');
    assert.equal(choice.message.tool_calls, [
      { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
    ]);
    assert.is(json.usage.prompt_tokens_details.cached_tokens, 3);
    assert.is(json.usage.completion_tokens_details.reasoning_tokens, 2);
    assert.is(json.usage.cache_tokens, 3);
    const chunks = chunksOf((await chat(router.url, { tools: [weather], stream: true })).text);
    const calls = chunks.flatMap(chunk => chunk.choices[0]?.delta.tool_calls ?? []);
    assert.is(calls.length, 1);
    assert.is(calls[0].index, 0);
    assert.is(calls[0].function.arguments, '{"city":"Oslo"}');
    assert.is(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
  });
});

runWithRouters();
