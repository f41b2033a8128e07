/**
 * The official Anthropic client, in two major versions, against a real router process, with workers that do what a test
 * says. Every test is run once with each.
 */
import Anthropic1 from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import * as uvu from 'uvu';
import * as assert from 'uvu/assert';
import { call, untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';
import { helloScript, type Job, type Script, type ScriptedWorker } from './scripted-worker.ts';
import { withWorker as joined } from './with-worker.ts';

/** The major version that the running test is about. As far as the tests use them, the two have the same types. */
let Anthropic = Anthropic1;

function test(name: string, run: () => Promise<void>): void {
  for (const [major, client] of Object.entries({ 1: Anthropic1, 0: Anthropic0 as unknown as typeof Anthropic1 }))
    uvu.test(`@anthropic-ai/sdk ${major}: ${name}`, () => {
      Anthropic = client;
      return run();
    });
}

let router: RouterProcess;
/** With a queue of one and little patience. */
let narrow: RouterProcess;

uvu.test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_STREAM_KEEPALIVE: '1s' });
  narrow = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_MAX_QUEUE: '1', AUXOT_QUEUE_TIMEOUT: '2s' });
});
uvu.test.after(async () => {
  await router?.stop();
  await narrow?.stop();
});

const clientOf = (at: RouterProcess, base = '/api/anthropic', options: object = {}): Anthropic1 =>
  new Anthropic({ apiKey, baseURL: `${at.url}${base}`, maxRetries: 0, timeout: 20_000, ...options });

const ask = { model: 'test-model', max_tokens: 1024, messages: [{ role: 'user' as const, content: 'hi' }] };

const withWorker = (script: Script, run: (worker: ScriptedWorker) => Promise<void>): Promise<void> =>
  joined(router, script, run);

/** Tokens, each in a frame of its own, and a completion. */
const says =
  (tokens: readonly (readonly ['text' | 'reasoning', string])[], complete: object = {}): Script =>
  ({ job_id }, worker) => {
    for (const [kind, token] of tokens)
      worker.say({ type: 'token', job_id, token, ...(kind === 'reasoning' ? { reasoning: true } : {}) });
    const whole = (wanted: string): string =>
      tokens.flatMap(([kind, token]) => (kind === wanted ? token : [])).join('');
    const reasoning = whole('reasoning');
    worker.say({
      type: 'complete',
      job_id,
      full_response: whole('text'),
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
      input_tokens: 10,
      output_tokens: 5,
      ...complete,
    });
  };

const call1 = (id: string, name: string, json: string) => ({
  id,
  type: 'function',
  function: { name, arguments: json },
});

const weather = {
  name: 'weather',
  description: 'tells the weather',
  input_schema: { type: 'object' as const, properties: { city: { type: 'string' } } },
};

const callsWeather = says([['text', 'Looking.']], {
  tool_calls: [call1('call_1', 'weather', '{"city":"Oslo"}'), call1('call_2', 'weather', '{}')],
});

/** What the client throws. */
async function failureOf(promise: PromiseLike<unknown>): Promise<InstanceType<typeof Anthropic1.APIError>> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, Anthropic.APIError);
    return error as InstanceType<typeof Anthropic1.APIError>;
  }
  throw new Error('nothing was thrown');
}

async function eventsOf(client: Anthropic1, more: object = {}): Promise<Anthropic1.RawMessageStreamEvent[]> {
  const events: Anthropic1.RawMessageStreamEvent[] = [];
  for await (const event of await client.messages.create({ ...ask, ...more, stream: true })) events.push(event);
  return events;
}

test('AN1: a whole message, under every base URL and with the key in either header', async () => {
  await withWorker(helloScript, async () => {
    const bases = ['/api/anthropic', '/api/anthropic/', '', '/'];
    const keys = [
      {},
      { apiKey: null, authToken: apiKey },
      { apiKey: null, authToken: null, defaultHeaders: { 'x-api-key': apiKey } },
    ];
    for (const [base, options] of [...bases.map(base => [base, {}] as const), ...keys.map(key => ['', key] as const)]) {
      const { data, request_id: requestId } = await clientOf(router, base, options).messages.create(ask).withResponse();
      assert.match(data.id, /^msg_[0-9A-Za-z]{24}$/);
      assert.equal([data.type, data.role, data.model], ['message', 'assistant', 'test-model']);
      assert.equal(data.content, [{ type: 'text', text: 'Hello from the GPU!' }]);
      assert.equal([data.stop_reason, data.stop_sequence], ['end_turn', null]);
      assert.equal(data.usage, {
        input_tokens: 10,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        output_tokens: 5,
      } as object);
      assert.match(requestId ?? '', /^req_[0-9a-f]{24}$/);
    }
  });
});

test('AN2 AN12: a streamed message opens with its start and a ping, and its text arrives whole', async () => {
  await withWorker(helloScript, async () => {
    const { status, headers, text } = await call(`${router.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey },
      body: JSON.stringify({ ...ask, stream: true }),
    });
    assert.is(status, 200);
    assert.is(headers.get('content-type'), 'text/event-stream');
    const names = [...text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
    assert.equal(names.slice(0, 3), ['message_start', 'ping', 'content_block_start']);
    assert.equal(names.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
    assert.match(text, '"content_block":{"type":"text","text":""}');
    const events = await eventsOf(clientOf(router));
    const said = events.map(event =>
      event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : '',
    );
    assert.is(said.join(''), 'Hello from the GPU!');
  });
});

test('AN12 AN13 AN14: the stream helper puts thinking, text and thinking again together, signed', async () => {
  const script = says([
    ['reasoning', 'Hm'],
    ['reasoning', 'm.'],
    ['text', 'A'],
    ['text', 'B'],
    ['reasoning', 'Wait.'],
    ['text', 'C'],
  ]);
  await withWorker(script, async () => {
    const client = clientOf(router);
    const thinking = { type: 'adaptive' as const };
    const streamed = await client.messages.stream({ ...ask, thinking }).finalMessage();
    const whole = await client.messages.create({ ...ask, thinking });
    for (const { content, usage } of [streamed, whole]) {
      const told = content.map(block =>
        block.type === 'thinking' ? block.thinking : block.type === 'text' ? block.text : block.type,
      );
      assert.equal(told, ['Hmm.', 'AB', 'Wait.', 'C']);
      for (const block of content) if (block.type === 'thinking') assert.match(block.signature, /^auxot:[0-9a-f]{16}$/);
      assert.equal([usage.input_tokens, usage.output_tokens], [10, 5]);
    }
    const events = await eventsOf(client);
    let open: number | null = null;
    let next = 0;
    let last = '';
    for (const event of events) {
      if (event.type === 'content_block_start') {
        assert.equal([open, event.index], [null, next]);
        open = next;
        next += 1;
      }
      if (event.type === 'content_block_delta') {
        assert.is(event.index, open);
        last = event.delta.type;
      }
      if (event.type === 'content_block_stop') {
        assert.is(event.index, open);
        if (open === 0 || open === 2) assert.is(last, 'signature_delta');
        open = null;
      }
    }
    assert.equal([open, next], [null, 4]);
  });
});

test('row 7: thinking that is asked to be left out is signed and empty', async () => {
  await withWorker(
    says([
      ['reasoning', 'secret'],
      ['text', 'ok'],
    ]),
    async () => {
      const asked = { ...ask, thinking: { type: 'adaptive' as const, display: 'omitted' as const } };
      const client = clientOf(router);
      for (const { content } of [
        await client.messages.create(asked),
        await client.messages.stream(asked).finalMessage(),
      ]) {
        const [first, second] = content;
        assert.is(first?.type === 'thinking' && first.thinking, '');
        assert.ok(first?.type === 'thinking' && first.signature.startsWith('auxot:'));
        assert.is(second?.type === 'text' && second.text, 'ok');
      }
    },
  );
});

test('AN15: tools are called with objects, streamed and not', async () => {
  await withWorker(callsWeather, async worker => {
    const client = clientOf(router);
    const runner = client.messages.stream({ ...ask, tools: [weather] });
    const pieces: string[] = [];
    runner.on('inputJson', piece => pieces.push(piece));
    for (const message of [await runner.finalMessage(), await client.messages.create({ ...ask, tools: [weather] })]) {
      assert.is(message.stop_reason, 'tool_use');
      const [text, first, second] = message.content;
      assert.is(text?.type === 'text' && text.text, 'Looking.');
      assert.equal(first?.type === 'tool_use' && [first.id, first.name, first.input], [
        'call_1',
        'weather',
        { city: 'Oslo' },
      ]);
      assert.equal(second?.type === 'tool_use' && second.input, {});
    }
    assert.equal(pieces, ['{"city":"Oslo"}', '']);
    assert.equal(worker.jobs[0]?.tools, [
      {
        type: 'function',
        function: { name: 'weather', description: 'tells the weather', parameters: weather.input_schema },
      },
    ]);
  });
});

test('a round with a tool: the helper runs it and sends the result back', async () => {
  let rounds = 0;
  const script: Script = (job, worker) => {
    rounds += 1;
    if (rounds === 1) callsWeather(job, worker);
    else helloScript(job, worker);
  };
  await withWorker(script, async worker => {
    const cities: unknown[] = [];
    const client = clientOf(router);
    const runner = client.beta.messages.toolRunner({
      ...ask,
      tools: [
        {
          ...weather,
          type: 'custom',
          parse: (input: unknown) => input as { city?: string },
          run: ({ city = 'nowhere' }) => {
            cities.push(city);
            return `sunny in ${city}`;
          },
        },
      ],
    });
    const final = await runner;
    assert.is(final.content[0]?.type === 'text' && final.content[0].text, 'Hello from the GPU!');
    assert.equal(cities, ['Oslo', 'nowhere']);
    const messages = worker.jobs[1]?.messages ?? [];
    assert.equal(
      messages.map(({ role }) => role),
      ['user', 'assistant', 'tool', 'tool'],
    );
    assert.is(messages[3]?.content, 'sunny in nowhere');
  });
});

test('AN16 AN17: reasons to stop, and counts that tell reused tokens apart, in both modes', async () => {
  for (const [complete, reason, sequence] of [
    [{ finish_reason: 'length' }, 'max_tokens', null],
    [{ finish_reason: 'length', context_full: true }, 'model_context_window_exceeded', null],
    [{ finish_reason: 'stop', stop_sequence: 'END' }, 'stop_sequence', 'END'],
    [{ finish_reason: 'stop' }, 'end_turn', null],
  ] as const) {
    await withWorker(says([['text', 'x']], { ...complete, cache_tokens: 7 }), async worker => {
      const client = clientOf(router);
      const asked = { ...ask, stop_sequences: ['END'] };
      for (const message of [await client.messages.create(asked), await client.messages.stream(asked).finalMessage()]) {
        assert.equal([message.stop_reason, message.stop_sequence], [reason, sequence]);
        const { input_tokens: input, cache_read_input_tokens: read, output_tokens: output } = message.usage;
        assert.equal([input, read, message.usage.cache_creation_input_tokens, output], [10, 7, 0, 5]);
      }
      assert.equal(worker.jobs[0]?.stop, ['END']);
    });
  }
});

test('AN28: arguments that are no object are mended, or shown as text; an empty answer is a block', async () => {
  await withWorker(says([], { tool_calls: [call1('c', 'f', '{"a":{"b":[1')] }), async () => {
    const { content } = await clientOf(router).messages.create(ask);
    assert.equal(content[0]?.type === 'tool_use' && content[0].input, { a: { b: [1] } });
  });
  await withWorker(says([], { tool_calls: [call1('c', 'f', 'not json')] }), async () => {
    for (const message of [
      await clientOf(router).messages.create(ask),
      await clientOf(router).messages.stream(ask).finalMessage(),
    ]) {
      assert.equal(message.content, [{ type: 'text', text: 'f(not json)' }] as object[]);
      assert.is(message.stop_reason, 'end_turn');
    }
  });
  await withWorker(says([]), async () => {
    assert.equal((await clientOf(router).messages.create(ask)).content, [{ type: 'text', text: '' }] as object[]);
    assert.equal((await clientOf(router).messages.stream(ask).finalMessage()).content, []);
  });
});

test('row 34: a call without an id gets one that begins with toolu_', async () => {
  await withWorker(says([], { tool_calls: [call1('', 'f', '')] }), async () => {
    const { content } = await clientOf(router).messages.create(ask);
    assert.match(content[0]?.type === 'tool_use' ? content[0].id : '', /^toolu_/);
  });
});

test('AN4 AN5: what is wrong with a request is said by name, in the envelope, with its id', async () => {
  const client = clientOf(router);
  await withWorker(says([]), async () => {
    for (const [body, named] of [
      [{ ...ask, max_tokens: undefined }, 'max_tokens'],
      [{ ...ask, model: undefined }, 'model'],
      [{ ...ask, messages: [] }, 'messages'],
      [{ ...ask, messages: [{ role: 'user', content: 7 }] }, 'messages[0].content'],
      [{ ...ask, tool_choice: { type: 'any' }, tools: [weather] }, 'tool_choice'],
      [{ ...ask, tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'web_search_20250305'],
      [{ ...ask, thread: { type: 'create' } }, 'thread'],
      [{ ...ask, output_config: { format: { type: 'json_schema', schema: {} } } }, 'output_config.format'],
    ] as const) {
      const failed = await failureOf(client.messages.create(body as Anthropic1.MessageCreateParamsNonStreaming));
      assert.instance(failed, Anthropic.BadRequestError);
      assert.is(failed.type, 'invalid_request_error');
      assert.ok(failed.message.includes(named), failed.message);
      const envelope = failed.error as { request_id?: string };
      assert.match(envelope.request_id ?? '', /^req_[0-9a-f]{24}$/);
      assert.is(failed.requestID, envelope.request_id);
    }
  });
  const wrong = await failureOf(clientOf(router, '', { apiKey: 'wrong' }).messages.create(ask));
  assert.instance(wrong, Anthropic.AuthenticationError);
  assert.match((wrong.error as { request_id?: string }).request_id ?? '', /^req_/);
});

test('AN10 AN5: batches are not implemented, and not tried again', async () => {
  const client = clientOf(router, '/api/anthropic', { maxRetries: 2 });
  const startedAt = performance.now();
  for (const asked of [
    () => client.messages.batches.list(),
    () => client.messages.batches.create({ requests: [] }),
    () => client.messages.batches.retrieve('b'),
    () => client.messages.batches.delete('b'),
    () => client.messages.batches.cancel('b'),
  ]) {
    const failed = await failureOf(asked());
    assert.equal([failed.status, failed.type as string], [501, 'not_implemented_error']);
  }
  assert.ok(performance.now() - startedAt < 1000, 'no retries');
});

test('AN8 AN9: models are listed and retrieved, at either base', async () => {
  for (const base of ['/api/anthropic', '']) {
    const client = clientOf(router, base);
    const page = await client.models.list();
    assert.equal(
      page.data.map(({ id, type, display_name }) => [id, type, display_name]),
      [['test-model', 'model', 'test-model']],
    );
    assert.equal([page.has_more, page.first_id, page.last_id], [false, 'test-model', 'test-model']);
    const { created_at: createdAt } = await client.models.retrieve('test-model');
    assert.match(createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.is(createdAt, page.data[0]?.created_at);
    const missing = await failureOf(client.models.retrieve('nope'));
    assert.instance(missing, Anthropic.NotFoundError);
    assert.is(missing.type, 'not_found_error');
  }
});

test('AN24: a quiet stream is kept alive by pings', async () => {
  const script: Script = (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: 'x' });
    setTimeout(() => helloScript(job, worker), 2500);
  };
  await withWorker(script, async () => {
    const { text } = await call(`${router.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey },
      body: JSON.stringify({ ...ask, stream: true }),
    });
    assert.ok((text.match(/^event: ping$/gm) ?? []).length >= 2, text);
    assert.not.ok(text.includes(': keep-alive'));
  });
});

test('AN26 AN34: what a worker reports has its own status, and its own class in the client', async () => {
  const fails =
    (code: string, error: string): Script =>
    ({ job_id }, worker) =>
      worker.say({ type: 'error', job_id, code, error });
  const tooLong = "the prompt has 9000 tokens, but this worker's context holds 4096 and the answer needs room in it";
  for (const [code, error, status, type, message] of [
    [
      'context_length_exceeded',
      tooLong,
      400,
      'invalid_request_error',
      'prompt is too long: 9000 tokens > 4096 maximum',
    ],
    ['invalid_request', 'no', 400, 'invalid_request_error', 'no'],
    ['overloaded', 'busy', 529, 'overloaded_error', 'busy'],
    ['timeout', 'late', 504, 'timeout_error', 'late'],
    ['worker_error', 'bang', 500, 'api_error', 'bang'],
  ] as const) {
    await withWorker(fails(code, error), async () => {
      for (const stream of [false, true]) {
        const failed = await failureOf(clientOf(router).messages.create({ ...ask, stream }));
        assert.equal([failed.status, failed.type as string], [status, type]);
        assert.is((failed.error as { error: { message: string } }).error.message, message);
        if (status === 529) assert.is(failed.headers?.get('retry-after'), '1');
      }
    });
  }
});

test('AN25 AN34: a failure in the middle of a stream reaches the caller as one', async () => {
  const script: Script = async ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'half' });
    await new Promise(resolve => setTimeout(resolve, 50));
    worker.say({ type: 'error', job_id, error: 'the GPU fell off' });
  };
  await withWorker(script, async () => {
    let said = '';
    const runner = clientOf(router).messages.stream(ask);
    runner.on('text', text => {
      said += text;
    });
    const failed = await failureOf(runner.finalMessage());
    assert.is(said, 'half');
    assert.match(failed.message, /the GPU fell off/);
    assert.is(failed.type, 'api_error');
  });
});

test('AN27: a full queue is an overload to wait for', async () => {
  const client = clientOf(narrow);
  const first = failureOf(client.messages.create(ask));
  await untilHealth(narrow.url, ({ queued_jobs: queued }) => queued === 1, 'the first is not queued');
  const failed = await failureOf(client.messages.create(ask));
  assert.equal([failed.status, failed.type as string], [529, 'overloaded_error']);
  assert.is(failed.headers?.get('retry-after'), '1');
  // Version 0 has no class of its own for it.
  assert.instance(failed, Anthropic.OverloadedError ?? Anthropic.InternalServerError);
  const late = await first;
  assert.equal([late.status, late.type as string], [529, 'overloaded_error']);
  const waiting = client.messages.create(ask);
  await untilHealth(narrow.url, ({ queued_jobs: queued }) => queued === 1, 'nothing is queued');
  const patient = clientOf(narrow, '/api/anthropic', { maxRetries: 3 }).messages.create(ask);
  await joined(narrow, helloScript, async () => {
    assert.is((await within(5000, patient, 'no answer')).stop_reason, 'end_turn');
    assert.is((await waiting).stop_reason, 'end_turn');
  });
});

test('AN29: an abort and a break reach the worker within a second', async () => {
  const endless: Script = ({ job_id }, worker) => {
    const timer = setInterval(() => {
      worker.say({ type: 'token', job_id, token: 'and ' });
      if (worker.cancelled.some(({ jobId }) => jobId === job_id)) clearInterval(timer);
    }, 20);
    worker.socket.once('close', () => clearInterval(timer));
  };
  await withWorker(endless, async worker => {
    const leave = [
      async () => {
        const stream = await clientOf(router).messages.create({ ...ask, stream: true });
        for await (const event of stream) if (event.type === 'content_block_delta') break;
      },
      async () => {
        const abort = new AbortController();
        const asked = clientOf(router).messages.create(ask, { signal: abort.signal });
        setTimeout(() => abort.abort(), 100);
        assert.instance(await failureOf(asked), Anthropic.APIUserAbortError);
      },
      async () => {
        const runner = clientOf(router).messages.stream(ask);
        runner.once('text', () => runner.abort());
        assert.instance(
          await failureOf(within(5000, runner.done(), 'the helper does not end')),
          Anthropic.APIUserAbortError,
        );
      },
    ];
    for (const [n, go] of leave.entries()) {
      await go();
      await waitUntil(
        () => worker.cancelled.length === n + 1,
        1000,
        () => `no cancel for way ${n}`,
      );
      assert.is(worker.cancelled[n]?.jobId, worker.jobs[n]?.job_id);
    }
    await untilHealth(router.url, ({ active_jobs }) => active_jobs === 0, 'a slot is held', 1000);
  });
});

test('AN30: any version and unknown betas give the same', async () => {
  await withWorker(helloScript, async () => {
    for (const headers of [
      {},
      { 'anthropic-version': '2023-06-01' },
      { 'anthropic-version': '2026-10-21', 'anthropic-beta': 'never-heard-of-2030-01-01' },
    ]) {
      const { status, json } = await call(`${router.url}/api/anthropic/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': apiKey, ...headers } as Record<string, string>,
        body: JSON.stringify({ ...ask, temperature: 0.5, top_p: 0.9, top_k: 5 }),
      });
      assert.equal([status, json.content[0].text], [200, 'Hello from the GPU!']);
    }
  });
});

/** Answers a request to count as `answer` says; null: not at all. */
function counts(worker: ScriptedWorker, answer: object | null): Job[] {
  const asked: Job[] = [];
  worker.socket.on('message', (data: Buffer) => {
    const frame = JSON.parse(data.toString());
    if (frame.type !== 'count_tokens') return;
    asked.push(frame);
    if (answer !== null) worker.say({ type: 'token_count', count_id: frame.count_id, ...answer });
  });
  return asked;
}

test('AN7 AN32: tokens are counted by the worker, with its tools and its system prompt', async () => {
  await withWorker(helloScript, async worker => {
    const asked = counts(worker, { input_tokens: 4321 });
    const client = clientOf(router);
    const { messages, model } = ask;
    const { input_tokens: tokens } = await client.messages.countTokens({
      model,
      messages,
      system: 'Be brief.',
      tools: [weather],
    });
    assert.is(tokens, 4321);
    assert.equal(asked[0]?.messages, [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'hi' },
    ]);
    assert.match(JSON.stringify(asked[0]?.tools), '"name":"weather"');
    assert.is(worker.jobs.length, 0);
  });
});

test('AN7: without a worker that can count, tokens are estimated, in bounded time', async () => {
  const client = clientOf(router);
  const { model } = ask;
  const count = async (content: string, more: object = {}): Promise<number> =>
    (await client.messages.countTokens({ model, messages: [{ role: 'user', content }], ...more })).input_tokens;
  assert.equal([await count('x'.repeat(31)), await count('xy'), await count('')], [11, 5, 4]);
  assert.ok((await count('hi', { system: 'You are a helpful assistant.' })) >= 5);
  await withWorker(helloScript, async worker => {
    counts(worker, { error: 'cannot' });
    assert.is(await count('xy'), 5);
  });
  await withWorker(helloScript, async worker => {
    counts(worker, null);
    const startedAt = performance.now();
    assert.is(await count('xy'), 5);
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs > 1500 && tookMs < 4000, `${tookMs} ms`);
  });
  await withWorker(helloScript, async worker => {
    const asked = counts(worker, null);
    const counted = count('xy');
    await waitUntil(
      () => asked.length === 1,
      1000,
      () => 'the worker is not asked',
    );
    const leftAt = performance.now();
    worker.close();
    assert.is(await counted, 5);
    assert.ok(performance.now() - leftAt < 1000, 'at once when the worker is gone');
  });
  const bare = await call(`${router.url}/v1/messages/count_tokens`, {
    method: 'POST',
    headers: { 'x-api-key': apiKey },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'xy' }] }),
  });
  assert.equal([bare.status, bare.json], [200, { input_tokens: 5 }]);
  const failed = await failureOf(client.messages.countTokens({ model, messages: [] }));
  assert.instance(failed, Anthropic.BadRequestError);
});

uvu.test.run();
