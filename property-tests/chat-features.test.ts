/**
 * What only some workers can do, from the request to the worker and back (spec/http-api §8.0, §8.1, §10.3, §10.5): a real
 * router process and workers that do what a test says. Test names begin with the ids of their cases.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, bearer, call, chat, chunksOf, untilHealth, userSays } from './callers.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});
test.after(async () => {
  await router?.stop();
});

const says =
  (text: string, more: object = {}): Script =>
  ({ job_id, attempt }, worker) =>
    worker.say({
      type: 'complete',
      job_id,
      full_response: text,
      input_tokens: 10,
      output_tokens: 5,
      ...(attempt === undefined ? {} : { attempt }),
      ...more,
    });

/** A worker of version 2 with these features; null: one of version 1. */
async function withWorker<T>(
  features: readonly string[] | null,
  script: Script,
  run: (worker: ScriptedWorker) => Promise<T>,
): Promise<T> {
  const hello =
    features === null ? {} : { protocol_version: 2, instance_id: `i-${Math.random()}`, ready: true, features };
  const worker = await startWorker(router.wsUrl, { script, hello });
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
    return await run(worker);
  } finally {
    worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

const message = (body: object): Promise<Answer> =>
  call(`${router.url}/api/anthropic/v1/messages`, {
    method: 'POST',
    headers: { ...bearer, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', max_tokens: 100, messages: userSays('hi'), ...body }),
  });

const isUnsupported = (answer: Answer, param: string): void => {
  assert.is(answer.status, 400, answer.text);
  assert.is(answer.json.error.code, 'unsupported_parameter');
  assert.is(answer.json.error.param, param);
  assert.ok(answer.json.error.message.includes(param));
};

const f = { type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } };
const g = { type: 'function', function: { name: 'g' } };
const schema = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };
const format = { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } };
const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }] };
const calls = { tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }] };

test('OA25: a response format reaches a worker that offers it; one that does not is never asked', async () => {
  await withWorker(['response_format'], says('{"a":1}'), async worker => {
    const answer = await chat(router.url, { response_format: format });
    assert.is(answer.json.choices[0].message.content, '{"a":1}', answer.text);
    assert.equal(worker.jobs[0]?.response_format, format);
    await chat(router.url, { response_format: { type: 'json_object' } });
    assert.equal(worker.jobs[1]?.response_format, { type: 'json_object' });
    await chat(router.url, { response_format: { type: 'text' } });
    assert.is(worker.jobs[2]?.response_format, undefined);
  });
  await withWorker(null, says('no'), async worker => {
    isUnsupported(await chat(router.url, { response_format: format }), 'response_format');
    assert.is(worker.jobs.length, 0);
  });
});

test('OA25: a schema that cannot be held is refused with the place in it', async () => {
  await withWorker(['response_format'], says('no'), async worker => {
    const odd = { type: 'object', properties: { a: { type: 'array', uniqueItems: true } } };
    const answer = await chat(router.url, {
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: odd } },
    });
    isUnsupported(answer, 'response_format');
    assert.match(answer.json.error.message, 'properties.a.uniqueItems');
    const missing = await chat(router.url, { response_format: { type: 'json_schema' } });
    assert.is(missing.status, 400);
    assert.is(worker.jobs.length, 0);
  });
});

test('OA24: a forced tool choice, in all its forms, reaches a worker that offers it', async () => {
  await withWorker(['tool_choice'], says('', calls), async worker => {
    const tools = [f, g];
    for (const [given, choice, names] of [
      ['required', 'required', ['f', 'g']],
      [{ type: 'function', function: { name: 'f' } }, { type: 'function', function: { name: 'f' } }, ['f', 'g']],
      [{ type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [f] } }, 'required', ['f']],
      [{ type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [g] } }, undefined, ['g']],
    ] as const) {
      const answer = await chat(router.url, { tools, tool_choice: given });
      assert.is(answer.status, 200, answer.text);
      assert.is(answer.json.choices[0].finish_reason, 'tool_calls');
      const job = worker.jobs.at(-1) as { tool_choice?: unknown; tools?: (typeof f)[] } | undefined;
      assert.equal(job?.tool_choice, choice);
      assert.equal(
        job?.tools?.map(tool => tool.function.name),
        names,
      );
    }
  });
  await withWorker([], says(''), async worker => {
    isUnsupported(await chat(router.url, { tools: [f], tool_choice: 'required' }), 'tool_choice');
    assert.is(worker.jobs.length, 0);
  });
});

test('a schema of a strict tool that cannot be held is refused, once the tool must be called', async () => {
  const odd = { type: 'function', function: { name: 'f', strict: true, parameters: { not: {} } } };
  await withWorker(['tool_choice'], says('', calls), async () => {
    isUnsupported(
      await chat(router.url, { tools: [odd], tool_choice: 'required' }),
      'tools[0].function.parameters.not',
    );
    const lax = { ...odd, function: { ...odd.function, strict: false } };
    assert.is((await chat(router.url, { tools: [lax], tool_choice: 'required' })).status, 200);
  });
});

test('one call at most, although a worker of version 1 makes two', async () => {
  const two = {
    tool_calls: ['a', 'b'].map(id => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })),
  };
  await withWorker(null, says('', two), async () => {
    const one = await chat(router.url, { tools: [f], parallel_tool_calls: false });
    assert.is(one.json.choices[0].message.tool_calls.length, 1);
    const both = await chat(router.url, { tools: [f] });
    assert.is(both.json.choices[0].message.tool_calls.length, 2);
  });
});

test('AN22: tool_choice any, tool, auto and none, and one call at most', async () => {
  const tools = [{ name: 'f', input_schema: { type: 'object', properties: {} } }];
  await withWorker(['tool_choice'], says('', calls), async worker => {
    for (const [tool_choice, choice, parallel] of [
      [{ type: 'any' }, 'required', undefined],
      [
        { type: 'tool', name: 'f', disable_parallel_tool_use: true },
        { type: 'function', function: { name: 'f' } },
        false,
      ],
      [{ type: 'auto', disable_parallel_tool_use: true }, undefined, false],
    ] as const) {
      const answer = await message({ tools, tool_choice });
      assert.is(answer.json.stop_reason, 'tool_use', answer.text);
      assert.equal(worker.jobs.at(-1)?.tool_choice, choice);
      assert.is(worker.jobs.at(-1)?.parallel_tool_calls, parallel);
    }
    await message({ tools, tool_choice: { type: 'none' } });
    assert.is(worker.jobs.at(-1)?.tools, undefined);
    const structured = await message({ output_config: { format: { type: 'json_schema', schema } } });
    assert.is(structured.status, 400, 'this worker offers no formats');
    assert.match(structured.json.error.message, 'output_config.format');
  });
  await withWorker(['response_format'], says('{"a":1}'), async worker => {
    const structured = await message({ output_config: { format: { type: 'json_schema', schema } } });
    assert.is(structured.json.content[0].text, '{"a":1}', structured.text);
    assert.match(JSON.stringify(worker.jobs[0]?.response_format), JSON.stringify(schema));
  });
});

test('AN19: images go to a worker that sees them, of either version; without one they are refused', async () => {
  const vision = {
    capabilities: { backend: 'mock', model: 'm', ctx_size: 4096, total_slots: 1, model_capabilities: ['vision'] },
  };
  const block = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } };
  const worker = await startWorker(router.wsUrl, { script: says('a cat'), hello: vision });
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
    const answer = await chat(router.url, { messages: [image] });
    assert.is(answer.json.choices[0].message.content, 'a cat', answer.text);
    assert.equal(worker.jobs[0]?.messages[0]?.content, image.content);
    assert.is((await message({ messages: [{ role: 'user', content: [block] }] })).status, 200);
    assert.equal(worker.jobs[1]?.messages[0]?.content, image.content);
  } finally {
    worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
  await withWorker(['response_format'], says('no'), async worker => {
    isUnsupported(await chat(router.url, { messages: [image] }), 'messages[0].content[0]');
    const answer = await message({ messages: [{ role: 'user', content: [block] }] });
    assert.is(answer.status, 400);
    assert.match(answer.json.error.message, 'messages[0].content[0]');
    assert.is(worker.jobs.length, 0);
  });
});

const ends: Script = ({ job_id, attempt }, worker) => {
  const token = (seq: number, more: object): void =>
    worker.say({ type: 'token', job_id, attempt, seq, ids: [seq], ...more });
  const logprobs = [{ token: 'two', logprob: -0.5, bytes: [116, 119, 111], top_logprobs: [] }];
  token(1, { token: 'one' });
  token(2, { token: 'two', choice: 1, logprobs });
  token(3, { token: '', choice: 1, end: { finish_reason: 'length' } });
  token(4, { token: '', end: { finish_reason: 'stop' } });
  worker.say({ type: 'complete', job_id, attempt, seq: 4, full_response: 'one', input_tokens: 3, output_tokens: 4 });
};

test('OA27, OA28: several choices and logprobs go to a worker that offers them', async () => {
  const asks = { n: 2, logprobs: true, top_logprobs: 3 };
  await withWorker(['n', 'logprobs'], ends, async worker => {
    const answer = await chat(router.url, asks);
    assert.is(answer.status, 200, answer.text);
    const { choices, usage } = answer.json;
    assert.equal([choices[0].message.content, choices[1].message.content], ['one', 'two']);
    assert.equal([choices[0].finish_reason, choices[1].finish_reason], ['stop', 'length']);
    assert.is(choices[1].logprobs.content[0].logprob, -0.5);
    assert.is(usage.completion_tokens, 4);
    assert.equal([worker.jobs[0]?.n, worker.jobs[0]?.logprobs, worker.jobs[0]?.top_logprobs], [2, true, 3]);
    const streamed = await chat(router.url, { ...asks, stream: true });
    const chunks = chunksOf(streamed.text).flatMap(chunk => chunk.choices);
    assert.equal(
      chunks.map(({ index }) => index),
      [0, 1, 0, 1, 1, 0],
    );
  });
  await withWorker(null, says('no'), async () => {
    isUnsupported(await chat(router.url, { n: 2 }), 'n');
    isUnsupported(await chat(router.url, { logprobs: true }), 'logprobs');
  });
  await withWorker(['n'], says('no'), async () => {
    isUnsupported(await chat(router.url, { n: 9 }), 'n');
    isUnsupported(await chat(router.url, asks), 'logprobs');
  });
});

test('with no worker connected, a job that needs much waits for one that can', async () => {
  const waiting = chat(router.url, { response_format: format });
  await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 1, 'the job does not wait');
  await withWorker([], says('wrong'), async plain => {
    await withWorker(['response_format', 'n'], says('{"a":2}'), async () => {
      assert.is((await waiting).json.choices[0].message.content, '{"a":2}');
      assert.is(plain.jobs.length, 0);
      plain.close();
    });
  });
});

test('a version 1 worker, which knows no stop texts, is stopped at one: in any API, streamed and not', async () => {
  const talks: Script = ({ job_id }, worker) => {
    for (const token of ['One E', 'N', 'E two E', 'ND three', ' four']) worker.say({ type: 'token', job_id, token });
  };
  await withWorker(null, talks, async worker => {
    const whole = await chat(router.url, { stop: ['END', 'STOP'] });
    assert.is(whole.json.choices[0].message.content, 'One ENE two ', whole.text);
    assert.is(whole.json.choices[0].finish_reason, 'stop');
    // What came in the same moment is counted with it.
    assert.ok([4, 5].includes(whole.json.usage.completion_tokens), whole.text);
    assert.ok(whole.json.usage.prompt_tokens > 0);
    const streamed = chunksOf((await chat(router.url, { stop: 'END', stream: true })).text);
    const text = streamed.map(({ choices }) => choices[0]?.delta?.content ?? '').join('');
    assert.is(text, 'One ENE two ');
    const said = await message({ stop_sequences: ['END'] });
    assert.equal(
      [said.json.content[0].text, said.json.stop_reason, said.json.stop_sequence],
      ['One ENE two ', 'stop_sequence', 'END'],
    );
    await waitUntil(
      () => worker.cancelled.length === 3,
      2000,
      () => `${worker.cancelled.length} of 3 were cancelled`,
    );
    assert.is(worker.jobs[0]?.stop, undefined);
  });
});

test('OA27 OA32: a worker that dies between choices is gone on from, and nothing is said twice', async () => {
  const two = (name: string, script: Script) =>
    startWorker(router.wsUrl, {
      script,
      hello: { protocol_version: 2, instance_id: name, ready: true, model_file: 'sha256:same', features: ['n'] },
    });
  const end = { finish_reason: 'stop' };
  const first = await two('first', ({ job_id, attempt }, worker) => {
    worker.say({ type: 'token', job_id, attempt, seq: 1, ids: [1, 2], token: 'one two' });
    worker.say({ type: 'token', job_id, attempt, seq: 2, ids: [], token: '', end });
    worker.say({ type: 'token', job_id, attempt, seq: 3, ids: [3], token: 'un ', choice: 1 });
    setTimeout(() => worker.close(), 300);
  });
  await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the first is not offered');
  const waiting = chat(router.url, { n: 3, stream: true });
  await waitUntil(
    () => first.jobs.length === 1,
    5000,
    () => 'no job came',
  );
  const second = await two('second', ({ job_id, attempt }, worker) => {
    worker.say({ type: 'token', job_id, attempt, seq: 1, ids: [4], token: 'deux', choice: 1 });
    worker.say({ type: 'token', job_id, attempt, seq: 2, ids: [], token: '', choice: 1, end });
    worker.say({ type: 'token', job_id, attempt, seq: 3, ids: [5, 6], token: 'eins zwei', choice: 2 });
    worker.say({ type: 'token', job_id, attempt, seq: 4, ids: [], token: '', choice: 2, end });
    const counts = { input_tokens: 9, output_tokens: 6 };
    worker.say({
      type: 'complete',
      job_id,
      attempt,
      seq: 4,
      full_response: 'one two',
      ...counts,
      finish_reason: 'stop',
    });
  });
  const chunks = chunksOf((await waiting).text);
  const texts = ['', '', ''];
  const ends: unknown[] = [];
  for (const { choices } of chunks) {
    for (const { index, delta, finish_reason: reason } of choices) {
      texts[index] += delta.content ?? '';
      if (reason !== null) ends.push([index, reason]);
    }
  }
  assert.equal(texts, ['one two', 'un deux', 'eins zwei']);
  assert.equal(ends, [
    [0, 'stop'],
    [1, 'stop'],
    [2, 'stop'],
  ]);
  const { resume } = second.jobs[0] as unknown as { resume: Record<string, unknown> };
  assert.equal([resume.text, resume.ids, resume.ended], ['one two', [1, 2], true]);
  assert.equal(resume.others, [{ text: 'un ', reasoning: '', tokens: 1, reasoning_tokens: 0, ids: [3] }]);
  second.close();
  await untilHealth(router.url, ({ workers }) => workers === 0, 'a worker is still there');
});

test.run();
