/** The Responses API through the official OpenAI client, against a real router process and workers that do what a test says. */
import OpenAI from 'openai';
import OpenAI5 from 'openai-5';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bearer, call, dataOf, untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { helloScript, type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});
test.after(async () => {
  await router?.stop();
});

const clientOf = (at: RouterProcess, base = '/v1'): OpenAI =>
  new OpenAI({ apiKey, baseURL: `${at.url}${base}`, maxRetries: 0, timeout: 20_000 });

async function withWorker(script: Script, run: (worker: ScriptedWorker) => Promise<void>, at = router): Promise<void> {
  const worker = await startWorker(at.wsUrl, { script, hello: { protocol_version: 2, instance_id: 'i1' } });
  try {
    await run(worker);
  } finally {
    worker.close();
    await untilHealth(at.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

const weather = {
  type: 'function' as const,
  name: 'weather',
  description: null,
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
  strict: false,
};

const ends =
  (more: object): Script =>
  ({ job_id }, worker) =>
    worker.say({ type: 'complete', job_id, full_response: '', input_tokens: 10, output_tokens: 5, ...more });

const callOf = (id: string, city: string) => ({
  id,
  type: 'function',
  function: { name: 'weather', arguments: JSON.stringify({ city }) },
});

/** Calls tools once, and answers when it has their results. */
const callsWeather: Script = (job, worker) => {
  const results = job.messages.filter(({ role }) => role === 'tool').map(({ content }) => content);
  if (results.length === 0)
    return ends({ tool_calls: [callOf('call_1', 'Oslo'), callOf('call_2', 'Rome')] })(job, worker);
  worker.say({ type: 'token', job_id: job.job_id, token: `It is ${results.join(' and ')}.` });
  return ends({})(job, worker);
};

/** What the client throws. */
async function failureOf(promise: PromiseLike<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, OpenAI.APIError);
    return error as InstanceType<typeof OpenAI.APIError>;
  }
  throw new Error('nothing was thrown');
}

async function drained(events: AsyncIterable<{ type: string }>, types: string[] = []): Promise<void> {
  for await (const { type } of events) types.push(type);
}

test('RS1: text in, one message out, under every base URL', async () => {
  await withWorker(helloScript, async worker => {
    for (const base of ['/v1', '/api/openai', '/api/openai/v1']) {
      const response = await clientOf(router, base).responses.create({
        model: 'm',
        input: 'hi',
        instructions: 'Be kind.',
        metadata: { a: 'b' },
      });
      assert.equal([response.status, response.output_text], ['completed', 'Hello from the GPU!']);
      assert.equal([response.model, response.instructions, response.metadata], ['m', 'Be kind.', { a: 'b' }]);
      assert.is(response.usage?.total_tokens, 15);
      assert.match(response.id, /^resp_/);
    }
    assert.equal(worker.jobs[0]?.messages, [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'hi' },
    ]);
  });
});

test('RS2: the stream helper puts the response together', async () => {
  await withWorker(helloScript, async () => {
    const stream = clientOf(router).responses.stream({ model: 'm', input: [{ role: 'user', content: 'hi' }] });
    const numbers: number[] = [];
    const types = new Set<string>();
    let text = '';
    for await (const event of stream) {
      numbers.push(event.sequence_number);
      types.add(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    assert.equal(
      numbers,
      numbers.map((_, place) => place),
    );
    assert.ok(types.has('response.completed'));
    const response = await stream.finalResponse();
    assert.equal(
      [text, response.output_text, response.status],
      ['Hello from the GPU!', 'Hello from the GPU!', 'completed'],
    );
    assert.is(response.usage?.output_tokens, 5);
  });
});

test('RS1 RS2: the client of the major version before is answered, too', async () => {
  await withWorker(helloScript, async () => {
    const client = new OpenAI5({ apiKey, baseURL: `${router.url}/v1`, maxRetries: 0, timeout: 20_000 });
    const whole = await client.responses.create({ model: 'm', input: 'hi' });
    assert.is(whole.output_text, 'Hello from the GPU!');
    const streamed = await client.responses.stream({ model: 'm', input: 'hi' }).finalResponse();
    const [said] = streamed.output.flatMap(item => (item.type === 'message' ? item.content : []));
    assert.is(said?.type === 'output_text' && said.text, 'Hello from the GPU!');
    assert.is((await client.responses.retrieve(whole.id)).output_text, 'Hello from the GPU!');
  });
});

test('RS3: a round of two tools is one turn of the assistant', async () => {
  await withWorker(callsWeather, async worker => {
    const client = clientOf(router);
    const first = await client.responses.create({ model: 'm', input: 'Oslo and Rome?', tools: [weather] });
    const calls = first.output.flatMap(item => (item.type === 'function_call' ? [item] : []));
    assert.equal(
      calls.map(({ call_id, name, arguments: json }) => [call_id, name, json]),
      [
        ['call_1', 'weather', '{"city":"Oslo"}'],
        ['call_2', 'weather', '{"city":"Rome"}'],
      ],
    );
    const second = await client.responses.create({
      model: 'm',
      tools: [weather],
      input: [
        { role: 'user', content: 'Oslo and Rome?' },
        ...calls,
        { type: 'function_call_output', call_id: 'call_1', output: 'cold' },
        { type: 'function_call_output', call_id: 'call_2', output: 'warm' },
      ],
    });
    assert.is(second.output_text, 'It is cold and warm.');
    const turn = worker.jobs[1]?.messages.map(message => [message.role, 'tool_calls' in message]);
    assert.equal(turn, [
      ['user', false],
      ['assistant', true],
      ['tool', false],
      ['tool', false],
    ]);
  });
});

test('RS7: tools and items of other services are tolerated, and a probe with nothing to say is answered', async () => {
  await withWorker(helloScript, async worker => {
    const client = clientOf(router);
    const response = await client.responses.create({
      model: 'm',
      input: 'hi',
      tools: [weather, { type: 'web_search' }, { type: 'custom', name: 'patch' }, { type: 'local_shell' }],
    });
    assert.equal(
      response.tools.map(({ type }) => type),
      ['function', 'custom'],
    );
    assert.is(JSON.stringify(worker.jobs[0]?.tools).split('"name"').length, 3);
    const forced = await failureOf(
      client.responses.create({
        model: 'm',
        input: 'hi',
        tools: [{ type: 'web_search_preview' }],
        tool_choice: { type: 'web_search_preview' },
      }),
    );
    assert.equal([forced.status, forced.code, forced.param], [400, 'unsupported_parameter', 'tool_choice']);
    for (const input of ['', []]) {
      const probe = await client.responses.create({ model: 'm', input, max_output_tokens: 1 });
      assert.is(probe.status, 'incomplete', 'it says more than one token');
    }
  });
});

test('RS10: what goes wrong early has its status, and what goes wrong late ends the stream', async () => {
  const client = clientOf(router);
  const missing = await failureOf(client.responses.create({ model: 'm' }));
  assert.equal([missing.status, missing.param], [400, 'input']);
  const conversation = await failureOf(client.responses.create({ model: 'm', input: 'hi', conversation: 'conv_1' }));
  assert.equal(
    [conversation.status, conversation.code, conversation.param],
    [400, 'unsupported_parameter', 'conversation'],
  );
  const fails: Script = ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'Hel' });
    setTimeout(() => worker.say({ type: 'error', job_id, error: 'out of memory' }), 50);
  };
  await withWorker(fails, async () => {
    const late = await failureOf(drained(await client.responses.create({ model: 'm', input: 'hi', stream: true })));
    assert.equal([late.code, late.message], ['server_error', 'out of memory']);
    const { text } = await call(`${router.url}/v1/responses`, {
      method: 'POST',
      headers: bearer,
      body: JSON.stringify({ model: 'm', input: 'hi', stream: true }),
    });
    const events = dataOf(text).map(data => JSON.parse(data));
    const [error, failed] = events.slice(-2);
    assert.equal([error.type, error.message, failed.type], ['error', 'out of memory', 'response.failed']);
    const whole = await failureOf(client.responses.create({ model: 'm', input: 'hi' }));
    assert.is(whole.status, 500);
  });
});

const stopped = async (url: string): Promise<void> =>
  untilHealth(url, ({ active_jobs }) => active_jobs === 0, 'a job still runs');

/** Says two words, and ends only when it is told to. */
const waits = (): { script: Script; go: () => void } => {
  const held: (() => void)[] = [];
  return {
    script: (job, worker) => {
      worker.say({ type: 'token', job_id: job.job_id, token: 'Hello' });
      held.push(() => {
        worker.say({ type: 'token', job_id: job.job_id, token: ' there' });
        ends({})(job, worker);
      });
    },
    go: () => {
      for (const run of held.splice(0)) run();
    },
  };
};

test('RS6: a response is gone on from, with all that was said, and without its instructions', async () => {
  const echoes: Script = (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: `${job.messages.length} messages` });
    ends({})(job, worker);
  };
  await withWorker(echoes, async worker => {
    const client = clientOf(router);
    const first = await client.responses.create({ model: 'm', input: 'one', instructions: 'Be kind.' });
    const second = await client.responses.create({ model: 'm', input: 'two', previous_response_id: first.id });
    const third = await client.responses.create({ model: 'm', input: 'three', previous_response_id: second.id });
    assert.equal(worker.jobs[2]?.messages, [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: '2 messages' },
      { role: 'user', content: 'two' },
      { role: 'assistant', content: '3 messages' },
      { role: 'user', content: 'three' },
    ]);
    assert.equal([third.output_text, third.previous_response_id], ['5 messages', second.id]);
    const referred = await client.responses.create({
      model: 'm',
      input: [
        { type: 'item_reference', id: first.output[0]?.id ?? '' },
        { role: 'user', content: 'four' },
      ],
    });
    assert.equal(
      worker.jobs[3]?.messages.map(({ content }) => content),
      ['2 messages', 'four'],
    );
    assert.is(referred.status, 'completed');
    const unknown = await failureOf(
      client.responses.create({ model: 'm', input: 'x', previous_response_id: `resp_${'0'.repeat(24)}` }),
    );
    assert.equal(
      [unknown.status, unknown.code, unknown.param],
      [400, 'previous_response_not_found', 'previous_response_id'],
    );
    assert.match(unknown.message, /resp_0/);
    const foreign = await failureOf(
      client.responses.create({ model: 'm', input: 'x', previous_response_id: 'resp_other' }),
    );
    assert.is(foreign.code, 'previous_response_not_found');
    const unstored = await client.responses.create({ model: 'm', input: 'x', store: false });
    assert.is((await failureOf(client.responses.retrieve(unstored.id))).status, 404);
    const after = await failureOf(client.responses.create({ model: 'm', previous_response_id: unstored.id }));
    assert.is(after.code, 'previous_response_not_found');
  });
});

test('RS6 RS11: a stored response is as it was answered, has its items, counts them, and goes', async () => {
  await withWorker(callsWeather, async () => {
    const client = clientOf(router);
    const input = [
      { role: 'user' as const, content: 'Oslo?' },
      { type: 'function_call' as const, call_id: 'c', name: 'weather', arguments: '{}' },
      { type: 'function_call_output' as const, call_id: 'c', output: 'cold' },
    ];
    const made = await client.responses.create({ model: 'm', input, tools: [weather] });
    assert.equal(await client.responses.retrieve(made.id), made);
    const items: string[] = [];
    for await (const item of client.responses.inputItems.list(made.id, { order: 'asc', limit: 2 }))
      items.push(`${item.type} ${item.id}`);
    const tail = made.id.slice('resp_'.length);
    assert.equal(items, [
      `message msg_${tail}_i0`,
      `function_call fc_${tail}_i1`,
      `function_call_output fco_${tail}_i2`,
    ]);
    const backwards = await client.responses.inputItems.list(made.id, { limit: 1 });
    assert.equal([backwards.data[0]?.type, backwards.has_more], ['function_call_output', true]);
    const counted = await client.responses.inputTokens.count({ model: 'm', input, previous_response_id: made.id });
    assert.ok(counted.input_tokens > 10 && counted.object === 'response.input_tokens');
    await client.responses.delete(made.id);
    assert.is((await failureOf(client.responses.retrieve(made.id))).status, 404);
    assert.is((await failureOf(client.responses.delete(made.id))).status, 404);
  });
});

test('a response that nobody waits for is asked for until it is there', async () => {
  const { script, go } = waits();
  const client = clientOf(router);
  const queued = await client.responses.create({ model: 'm', input: 'hi', background: true });
  assert.equal([queued.status, queued.background, queued.output], ['queued', true, []]);
  assert.is((await client.responses.retrieve(queued.id)).status, 'queued');
  await withWorker(script, async () => {
    await waitUntil(
      async () => (await client.responses.retrieve(queued.id)).output_text === 'Hello',
      5000,
      () => 'it never began',
    );
    assert.is((await client.responses.retrieve(queued.id)).status, 'in_progress');
    go();
    await waitUntil(
      async () => (await client.responses.retrieve(queued.id)).status === 'completed',
      5000,
      () => 'it never ended',
    );
    const done = await client.responses.retrieve(queued.id);
    assert.equal([done.output_text, done.usage?.output_tokens], ['Hello there', 5]);
  });
});

test('a request in the background that is repeated gets the same answer at once, and makes no second job', async () => {
  const { script, go } = waits();
  await withWorker(script, async worker => {
    const client = clientOf(router);
    const asked = { model: 'm', input: 'hi', background: true } as const;
    const first = await client.responses.create(asked, { idempotencyKey: 'k1', headers: { 'Idempotency-Key': 'k1' } });
    const again = await client.responses.create(asked, { idempotencyKey: 'k1', headers: { 'Idempotency-Key': 'k1' } });
    assert.equal([again.id, again.status], [first.id, 'queued']);
    await waitUntil(
      () => worker.jobs.length > 0,
      5000,
      () => 'it never began',
    );
    go();
    await stopped(router.url);
    assert.is(worker.jobs.length, 1);
  });
});

test('a response that nobody waits for can be cancelled, and no other', async () => {
  const { script } = waits();
  await withWorker(script, async worker => {
    const client = clientOf(router);
    const queued = await client.responses.create({ model: 'm', input: 'hi', background: true });
    await waitUntil(
      async () => (await client.responses.retrieve(queued.id)).output_text === 'Hello',
      5000,
      () => 'it never began',
    );
    const cancelled = await client.responses.cancel(queued.id);
    assert.equal(
      [cancelled.status, JSON.stringify(cancelled.output).includes('"Hello"'), cancelled.output[0]?.type],
      ['cancelled', true, 'message'],
    );
    assert.is((await client.responses.cancel(queued.id)).status, 'cancelled', 'again is no error');
    await waitUntil(
      () => worker.cancelled.length === 1,
      5000,
      () => 'its worker was not told',
    );
    await stopped(router.url);
    await client.responses.delete(queued.id);
  });
  await withWorker(helloScript, async () => {
    const client = clientOf(router);
    const made = await client.responses.create({ model: 'm', input: 'hi' });
    assert.is((await failureOf(client.responses.cancel(made.id))).status, 400);
  });
});

test('a stream that broke is gone on with behind any event, while it runs and after it', async () => {
  const { script, go } = waits();
  await withWorker(script, async () => {
    const client = clientOf(router);
    const seen: { sequence_number: number }[] = [];
    let id = '';
    for await (const event of await client.responses.create({
      model: 'm',
      input: 'hi',
      background: true,
      stream: true,
    })) {
      seen.push(event);
      if (event.type === 'response.created') id = event.response.id;
      if (event.type === 'response.output_text.delta') break;
    }
    const rest: { sequence_number: number }[] = [];
    const after = seen.at(-1)?.sequence_number ?? -1;
    setTimeout(go, 200);
    for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: after }))
      rest.push(event);
    const all = [...seen, ...rest];
    assert.equal(
      all.map(({ sequence_number }) => sequence_number),
      all.map((_, place) => place),
    );
    for (const [place, { sequence_number }] of all.entries()) {
      const again: object[] = [];
      for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: sequence_number }))
        again.push(event);
      assert.equal(again, all.slice(place + 1));
    }
    const whole: object[] = [];
    const stream = client.responses.stream({ response_id: id });
    for await (const event of stream) whole.push(event);
    assert.is(whole.length, all.length);
    assert.equal((await stream.finalResponse()).output_text, 'Hello there');
  });
});

test('RS10: a response that failed is streamed again to its failure', async () => {
  const fails: Script = ({ job_id }, worker) => worker.say({ type: 'error', job_id, error: 'out of memory' });
  await withWorker(fails, async () => {
    const client = clientOf(router);
    const queued = await client.responses.create({ model: 'm', input: 'hi', background: true });
    await waitUntil(
      async () => (await client.responses.retrieve(queued.id)).status === 'failed',
      5000,
      () => 'it never failed',
    );
    assert.match((await client.responses.retrieve(queued.id)).error?.message ?? '', /out of memory/);
    const types: string[] = [];
    const late = await failureOf(drained(await client.responses.retrieve(queued.id, { stream: true }), types));
    assert.equal(types, ['response.created', 'response.queued', 'response.in_progress']);
    assert.match(late.message, /out of memory/);
    const { text } = await call(`${router.url}/v1/responses/${queued.id}?stream=true`, { headers: bearer });
    assert.match(text, /event: error\n(.|\n)*event: response.failed\n/);
  });
});

test('a response in the background outlives its router, and is gone on from after that', async () => {
  const before = await startRouter({ AUXOT_FSYNC: 'no' });
  const queued = await clientOf(before).responses.create({ model: 'm', input: 'hi', background: true });
  before.kill('SIGKILL');
  await before.ended;
  const after = await startRouter({ AUXOT_FSYNC: 'no' }, before.dataDir);
  try {
    await withWorker(
      helloScript,
      async worker => {
        const client = clientOf(after);
        await waitUntil(
          async () => (await client.responses.retrieve(queued.id)).status === 'completed',
          10_000,
          () => 'it never ended',
        );
        await client.responses.create({ model: 'm', input: 'more', previous_response_id: queued.id });
        assert.equal(
          worker.jobs.at(-1)?.messages.map(({ content }) => content),
          ['hi', 'Hello from the GPU!', 'more'],
        );
      },
      after,
    );
  } finally {
    await after.stop();
  }
});

test.run();
