/** The Responses API through the official OpenAI client, against a real router process and workers that do what a test says. */
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter } from './processes.ts';
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
    const types: string[] = [];
    for await (const event of await client.responses.create({ model: 'm', input: 'hi', stream: true }))
      types.push(event.type);
    assert.equal(types.slice(-2), ['error', 'response.failed']);
    const whole = await failureOf(client.responses.create({ model: 'm', input: 'hi' }));
    assert.is(whole.status, 500);
  });
});

test.run();
