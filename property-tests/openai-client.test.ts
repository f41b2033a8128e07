/**
 * The official OpenAI client, in two major versions, against a real router process, with workers that do what a test
 * says. Every test is run once with each.
 */
import OpenAI6 from 'openai';
import OpenAI5 from 'openai-5';
import * as uvu from 'uvu';
import * as assert from 'uvu/assert';
import { call, chat, chatInit, dataOf, health, saidIn, untilHealth } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';
import { helloScript, type Script, type ScriptedWorker } from './scripted-worker.ts';
import { withWorker as joined } from './with-worker.ts';

/** The major version that the running test is about. As far as the tests use them, the two have the same types. */
let OpenAI = OpenAI6;

function test(name: string, run: () => Promise<void>): void {
  for (const [major, client] of Object.entries({ 6: OpenAI6, 5: OpenAI5 as unknown as typeof OpenAI6 }))
    uvu.test(`openai ${major}: ${name}`, () => {
      OpenAI = client;
      return run();
    });
}

let router: RouterProcess;
/** With a queue of one and little patience. */
let narrow: RouterProcess;

uvu.test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
  narrow = await startRouter({ AUXOT_FSYNC: 'no', AUXOT_MAX_QUEUE: '1', AUXOT_QUEUE_TIMEOUT: '2s' });
});
uvu.test.after(async () => {
  await router?.stop();
  await narrow?.stop();
});

const clientOf = (at: RouterProcess, base = '/v1', options: object = {}): OpenAI6 =>
  new OpenAI({ apiKey, baseURL: `${at.url}${base}`, maxRetries: 0, timeout: 20_000, ...options });

const ask = { model: 'test-model', messages: [{ role: 'user' as const, content: 'hi' }] };

const withWorker = (
  script: Script,
  run: (worker: ScriptedWorker) => Promise<void>,
  { at = router, features = [] as readonly string[] } = {},
): Promise<void> => joined(at, script, run, { features });

const weather = {
  type: 'function' as const,
  function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
};

const callsWeather: Script = ({ job_id }, worker) => {
  worker.say({ type: 'token', job_id, token: 'Looking.' });
  worker.say({
    type: 'complete',
    job_id,
    full_response: 'Looking.',
    tool_calls: [
      { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
      { id: 'call_2', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
    ],
    input_tokens: 10,
    output_tokens: 5,
  });
};

const ends =
  (finishReason: string): Script =>
  ({ job_id }, worker) =>
    worker.say({
      type: 'complete',
      job_id,
      full_response: 'text',
      finish_reason: finishReason,
      input_tokens: 1,
      output_tokens: 1,
    });

/** What the client throws. */
async function failureOf(promise: PromiseLike<unknown>): Promise<InstanceType<typeof OpenAI6.APIError>> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, OpenAI.APIError);
    return error as InstanceType<typeof OpenAI6.APIError>;
  }
  throw new Error('nothing was thrown');
}

test('a whole answer, under every base URL', async () => {
  await withWorker(helloScript, async () => {
    for (const base of ['/v1', '/v1/', '/api/openai', '/api/openai/', '/api/openai/v1']) {
      const { data, request_id: requestId } = await clientOf(router, base).chat.completions.create(ask).withResponse();
      assert.is(data.choices[0]?.message.content, 'Hello from the GPU!');
      assert.is(data.choices[0]?.finish_reason, 'stop');
      assert.is(data.usage?.total_tokens, 15);
      assert.match(requestId ?? '', /^req_/);
    }
  });
});

test('a streamed answer, with and without counts', async () => {
  await withWorker(helloScript, async () => {
    for (const counted of [true, false]) {
      const stream = await clientOf(router).chat.completions.create({
        ...ask,
        stream: true,
        ...(counted ? { stream_options: { include_usage: true } } : {}),
      });
      const pieces: string[] = [];
      const usages: number[] = [];
      for await (const chunk of stream) {
        pieces.push(chunk.choices[0]?.delta.content ?? '');
        if (chunk.usage) {
          usages.push(chunk.usage.total_tokens);
          assert.is(chunk.choices.length, counted ? 0 : 1);
        }
      }
      assert.is(pieces.join(''), 'Hello from the GPU!');
      assert.equal(usages, [15]);
    }
  });
});

test('the stream helper puts an answer together: text, reasoning, calls, counts', async () => {
  await withWorker(callsWeather, async () => {
    const runner = clientOf(router).chat.completions.stream({
      ...ask,
      tools: [weather],
      stream_options: { include_usage: true },
    });
    const events: string[] = [];
    runner.on('tool_calls.function.arguments.done', call => events.push(`${call.name} ${call.arguments}`));
    const final = await runner.finalChatCompletion();
    const message = final.choices[0]?.message;
    assert.is(message?.content, 'Looking.');
    assert.is(final.choices[0]?.finish_reason, 'tool_calls');
    assert.equal(
      message?.tool_calls?.map(call => (call.type === 'function' ? [call.id, call.function.arguments] : [])),
      [
        ['call_1', '{"city":"Oslo"}'],
        ['call_2', '{"city":"Rome"}'],
      ],
    );
    assert.equal(events, ['weather {"city":"Oslo"}', 'weather {"city":"Rome"}']);
    assert.is((await runner.totalUsage()).total_tokens, 15);
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
    const cities: string[] = [];
    const runner = clientOf(router).chat.completions.runTools({
      ...ask,
      stream: true,
      tools: [
        {
          type: 'function',
          function: {
            ...weather.function,
            description: 'tells the weather',
            parse: (text: string): { city: string } => JSON.parse(text),
            function: ({ city }: { city: string }) => {
              cities.push(city);
              return `sunny in ${city}`;
            },
          },
        },
      ],
    });
    assert.is(await runner.finalContent(), 'Hello from the GPU!');
    assert.equal(cities, ['Oslo', 'Rome']);
    assert.equal(
      worker.jobs[1]?.messages.map(({ role }) => role),
      ['user', 'assistant', 'tool', 'tool'],
    );
    assert.is(worker.jobs[1]?.messages[3]?.content, 'sunny in Rome');
  });
});

test('reasons to stop, in both modes', async () => {
  for (const reason of ['stop', 'length'] as const) {
    await withWorker(ends(reason), async () => {
      const whole = await clientOf(router).chat.completions.create(ask);
      assert.is(whole.choices[0]?.finish_reason, reason);
      const reasons: unknown[] = [];
      for await (const chunk of await clientOf(router).chat.completions.create({ ...ask, stream: true }))
        if (chunk.choices[0]?.finish_reason) reasons.push(chunk.choices[0].finish_reason);
      assert.equal(reasons, [reason]);
    });
  }
  await withWorker(callsWeather, async () => {
    const whole = await clientOf(router).chat.completions.create({ ...ask, tools: [weather] });
    assert.is(whole.choices[0]?.finish_reason, 'tool_calls');
  });
});

test('a wrong key and a wrong request have errors of their own kind', async () => {
  const wrongKey = await failureOf(clientOf(router, '/v1', { apiKey: 'sk-wrong' }).chat.completions.create(ask));
  assert.instance(wrongKey, OpenAI.AuthenticationError);
  assert.is(wrongKey.code, 'invalid_api_key');
  const wrong = await failureOf(clientOf(router).chat.completions.create({ ...ask, temperature: 99 }));
  assert.instance(wrong, OpenAI.BadRequestError);
  assert.is(wrong.param, 'temperature');
  assert.match(wrong.requestID ?? '', /^req_/);
  const unsupported = await failureOf(clientOf(router).chat.completions.create({ ...ask, modalities: ['audio'] }));
  assert.is(unsupported.code, 'unsupported_parameter');
  assert.is(unsupported.param, 'modalities');
});

test('OA37: what is not implemented is asked for once', async () => {
  let attempts = 0;
  const counting = clientOf(router, '/v1', {
    maxRetries: 2,
    fetch: (...args: Parameters<typeof fetch>) => {
      attempts += 1;
      return fetch(...args);
    },
  });
  const refused = await failureOf(counting.embeddings.create({ model: 'test-model', input: 'x' }));
  assert.is(refused.status, 501);
  assert.is(attempts, 1);
});

test('a full queue is tried again, and served when there is room', async () => {
  const waiting = chat(narrow.url).catch(() => null);
  await untilHealth(narrow.url, ({ queued_jobs }) => queued_jobs === 1, 'nothing is queued');
  const refused = await failureOf(clientOf(narrow).chat.completions.create(ask));
  assert.instance(refused, OpenAI.RateLimitError);
  assert.is(refused.code, 'queue_full');
  const patient = clientOf(narrow, '/v1', { maxRetries: 3 }).chat.completions.create(ask);
  await withWorker(
    helloScript,
    async () => {
      assert.is((await within(5000, patient, 'no answer')).choices[0]?.message.content, 'Hello from the GPU!');
      assert.is((await waiting)?.status, 200);
    },
    { at: narrow },
  );
});

test('no worker in time is a server that is overloaded, with a status of its own in a stream too', async () => {
  for (const stream of [true, false]) {
    const failed = await failureOf(clientOf(narrow).chat.completions.create({ ...ask, stream }));
    assert.is(failed.status, 503);
    assert.is(failed.code, 'server_overloaded');
    assert.is(failed.headers?.get('retry-after'), '1');
  }
});

test('an error in the middle of a stream is thrown, after the text before it', async () => {
  const script: Script = ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'half' });
    setTimeout(() => worker.say({ type: 'error', job_id, error: 'the GPU fell off' }), 50);
  };
  await withWorker(script, async () => {
    let said = '';
    const failed = await failureOf(
      (async () => {
        for await (const chunk of await clientOf(router).chat.completions.create({ ...ask, stream: true }))
          said += chunk.choices[0]?.delta.content ?? '';
      })(),
    );
    assert.is(said, 'half');
    assert.match(failed.message, /the GPU fell off/);
    assert.is(failed.code, 'worker_error');
  });
});

test('an abort, a break and a closed helper reach the worker within a second', async () => {
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
        const stream = await clientOf(router).chat.completions.create({ ...ask, stream: true });
        for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
      },
      async () => {
        const abort = new AbortController();
        const asked = clientOf(router).chat.completions.create(ask, { signal: abort.signal });
        setTimeout(() => abort.abort(), 100);
        assert.instance(await failureOf(asked), OpenAI.APIUserAbortError);
      },
      async () => {
        const runner = clientOf(router).chat.completions.stream(ask);
        runner.once('content', () => runner.abort());
        assert.instance(await failureOf(runner.done()), OpenAI.APIUserAbortError);
      },
    ];
    for (const [n, go] of leave.entries()) {
      await go();
      const leftAt = performance.now();
      await waitUntil(
        () => worker.cancelled.length === n + 1,
        1000,
        () => `no cancel for way ${n}`,
      );
      assert.ok((worker.cancelled[n]?.at ?? 0) - leftAt < 1000);
      assert.is(worker.cancelled[n]?.jobId, worker.jobs[n]?.job_id);
    }
    await untilHealth(router.url, ({ active_jobs }) => active_jobs === 0, 'a slot is held', 1000);
  });
});

test('models are listed and retrieved', async () => {
  const client = clientOf(router);
  const ids: string[] = [];
  for await (const { id } of client.models.list()) ids.push(id);
  assert.equal(ids, ['test-model']);
  assert.is((await client.models.retrieve('test-model')).owned_by, 'auxot');
  const missing = await failureOf(client.models.retrieve('a/b c'));
  assert.instance(missing, OpenAI.NotFoundError);
  assert.is(missing.code, 'model_not_found');
});

test('stored completions are none, and a file upload is not implemented', async () => {
  const client = clientOf(router);
  assert.equal((await client.chat.completions.list()).data, []);
  assert.instance(await failureOf(client.chat.completions.retrieve('chatcmpl-x')), OpenAI.NotFoundError);
  assert.instance(await failureOf(client.chat.completions.delete('chatcmpl-x')), OpenAI.BadRequestError);
  const form = new FormData();
  form.append('file', new Blob(['x'.repeat(300_000)]), 'x.txt');
  const upload = await fetch(`${router.url}/v1/files`, { method: 'POST', body: form });
  assert.is(upload.status, 501);
  const { active_jobs: active, queued_jobs: queued } = await health(router.url);
  assert.equal([active, queued], [0, 0]);
});

test('OA22: what was thought stands beside the answer', async () => {
  const thinks: Script = ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'Hm.', reasoning: true });
    worker.say({ type: 'token', job_id, token: 'Yes.' });
    worker.say({
      type: 'complete',
      job_id,
      full_response: 'Yes.',
      reasoning_content: 'Hm.',
      input_tokens: 10,
      output_tokens: 5,
      reasoning_tokens: 2,
    });
  };
  await withWorker(thinks, async worker => {
    const asked = { ...ask, reasoning_effort: 'low' as const };
    const whole = await clientOf(router).chat.completions.create(asked);
    const streamed = await clientOf(router).chat.completions.stream(asked).finalChatCompletion();
    for (const { choices } of [whole, streamed]) {
      const message = choices[0]?.message as { content: string; reasoning_content?: string } | undefined;
      assert.equal([message?.content, message?.reasoning_content], ['Yes.', 'Hm.']);
    }
    assert.is(whole.usage?.completion_tokens_details?.reasoning_tokens, 2);
    assert.is(worker.jobs[0]?.reasoning_effort, 'low');
  });
});

test('OA24 OA25: a forced tool, a format and a picture reach a worker that can do them, and are refused by name without', async () => {
  const picture = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AAAA' } };
  const schema = {
    type: 'object',
    properties: { n: { type: 'integer' } },
    required: ['n'],
    additionalProperties: false,
  };
  const wishes = {
    tool_choice: { tools: [weather], tool_choice: { type: 'function', function: { name: 'weather' } } },
    response_format: { response_format: { type: 'json_schema', json_schema: { name: 'n', schema, strict: true } } },
    images: { messages: [{ role: 'user', content: [{ type: 'text', text: 'What?' }, picture] }] },
  } as const;
  const asked = (wish: object) => clientOf(router).chat.completions.create({ ...ask, ...wish });
  await withWorker(
    helloScript,
    async worker => {
      for (const wish of Object.values(wishes)) await asked(wish);
      const [tool, format, seen] = worker.jobs;
      assert.match(JSON.stringify(tool?.tool_choice), /weather/);
      assert.match(JSON.stringify(format?.response_format), /"integer"/);
      assert.ok(JSON.stringify(seen?.messages).includes(picture.image_url.url));
    },
    { features: Object.keys(wishes) },
  );
  await withWorker(helloScript, async () => {
    for (const [name, wish] of Object.entries(wishes)) {
      const refused = await failureOf(asked(wish));
      assert.instance(refused, OpenAI.BadRequestError);
      assert.is(refused.code, 'unsupported_parameter');
      assert.match(refused.param ?? '', name === 'images' ? /^messages/ : name);
    }
  });
});

test('OA36 OA39: what a worker reports has its status, its code, and its class in the client', async () => {
  for (const [code, status, kind, shown] of [
    ['context_length_exceeded', 400, OpenAI.BadRequestError, 'context_length_exceeded'],
    ['invalid_request', 400, OpenAI.BadRequestError, null],
    ['overloaded', 503, OpenAI.InternalServerError, 'server_overloaded'],
    ['timeout', 504, OpenAI.InternalServerError, 'timeout'],
    ['worker_error', 500, OpenAI.InternalServerError, 'worker_error'],
  ] as const) {
    const fails: Script = ({ job_id }, worker) => worker.say({ type: 'error', job_id, code, error: 'no' });
    await withWorker(fails, async () => {
      for (const stream of [false, true]) {
        const failed = await failureOf(clientOf(router).chat.completions.create({ ...ask, stream }));
        assert.instance(failed, kind);
        assert.equal([failed.status, failed.code], [status, shown]);
      }
    });
  }
});

test('OA42: a body with input and flat tools gets an answer of this route', async () => {
  const { function: described } = weather;
  const body = { model: 'm', input: [{ role: 'user', content: 'hi' }], tools: [{ type: 'function', ...described }] };
  await withWorker(callsWeather, async worker => {
    const whole = await clientOf(router).post<OpenAI6.ChatCompletion>('/chat/completions', { body });
    assert.is(whole.object, 'chat.completion');
    assert.is(whole.choices[0]?.message.tool_calls?.length, 2);
    assert.match(JSON.stringify(worker.jobs[0]?.tools), /"weather".*"city"/);
    const { text } = await call(
      `${router.url}/v1/chat/completions`,
      chatInit(JSON.stringify({ ...body, stream: true })),
    );
    assert.equal([saidIn(text), dataOf(text).at(-1)], ['Looking.', '[DONE]']);
  });
});

uvu.test.run();
