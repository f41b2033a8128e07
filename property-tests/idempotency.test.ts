/** `Idempotency-Key` over HTTP: a real router process, callers that ask twice, and the official clients' own retries. */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, bearer, call, chat, chatInit, dataOf, saidIn, untilHealth, userSays } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { helloScript, type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});

test.after(() => router.stop());

async function withWorker<T>(script: Script, run: (worker: ScriptedWorker) => Promise<T>): Promise<T> {
  const worker = await startWorker(router.wsUrl, { script, slots: 8 });
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
    return await run(worker);
  } finally {
    worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

let last = 0;
const newKey = (): string => {
  last += 1;
  return `key-${process.pid}-${last}`;
};

const keyed = (key: string, body: object | string = {}, more: Record<string, string> = {}): Promise<Answer> =>
  chat(router.url, body, { headers: { 'idempotency-key': key, ...more } });

test('the same key and body is the same job: its answer comes again, streamed or whole', async () => {
  await withWorker(helloScript, async worker => {
    for (const body of [{}, { stream: true }]) {
      const key = newKey();
      const first = await keyed(key, body);
      const again = await keyed(key, body);
      assert.is(first.status, 200);
      assert.is(again.text, first.text);
      assert.is(again.headers.get('x-auxot-job'), first.headers.get('x-auxot-job'));
    }
    assert.is(worker.jobs.length, 2);
  });
});

// Found by the chaos run: the repeated request was never answered when its job had ended meanwhile.
test('a response in the background that is asked for again is told of at once, whether its job runs or has ended', async () => {
  const key = newKey();
  const ask = (): Promise<Answer> =>
    call(`${router.url}/v1/responses`, {
      method: 'POST',
      headers: { ...bearer, 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ model: 'm', input: 'hi', background: true }),
    });
  const first = await ask();
  assert.is(first.json.status, 'queued');
  assert.equal((await ask()).json, first.json);
  await withWorker(helloScript, () =>
    untilHealth(router.url, ({ active_jobs, queued_jobs }) => active_jobs + queued_jobs === 0, 'the job does not end'),
  );
  assert.equal((await ask()).json, first.json);
  const got = await call(`${router.url}/v1/responses/${first.json.id}`, { headers: bearer });
  assert.is(got.json.status, 'completed');
});

test('twenty at once make one job, and each gets its whole answer', async () => {
  const script: Script = async (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: 'slow ' });
    await new Promise(resolve => setTimeout(resolve, 200));
    worker.say({ type: 'token', job_id: job.job_id, token: 'answer' });
    worker.say({
      type: 'complete',
      job_id: job.job_id,
      full_response: 'slow answer',
      duration_ms: 1,
      input_tokens: 1,
      output_tokens: 2,
    });
  };
  await withWorker(script, async worker => {
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 20 }, () => keyed(key, { stream: true })));
    assert.is(worker.jobs.length, 1);
    assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
    assert.is(saidIn(answers[0]?.text ?? ''), 'slow answer');
  });
});

test('a key with another body is refused, in a way that clients do not try again', async () => {
  await withWorker(helloScript, async worker => {
    const key = newKey();
    await keyed(key);
    const other = await keyed(key, { messages: userSays('something else') });
    assert.equal(
      [other.status, other.json.error.type, other.json.error.code],
      [422, 'invalid_request_error', 'idempotency_conflict'],
    );
    const client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey, defaultHeaders: { 'idempotency-key': key } });
    try {
      await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'and another' }] });
      assert.unreachable();
    } catch (error) {
      assert.instance(error, OpenAI.UnprocessableEntityError);
    }
    assert.is(worker.jobs.length, 1);
  });
});

test('a key belongs to its route', async () => {
  await withWorker(helloScript, async worker => {
    const key = newKey();
    const body = JSON.stringify({ model: 'm', max_tokens: 9, messages: userSays('hi') });
    const one = await keyed(key, body);
    const two = await call(`${router.url}/v1/messages`, chatInit(body, { headers: { 'idempotency-key': key } }));
    assert.equal([one.json.object, two.json.type], ['chat.completion', 'message']);
    assert.is(worker.jobs.length, 2);
  });
});

test('a key of a request that was refused is free again', async () => {
  await withWorker(helloScript, async () => {
    const key = newKey();
    const refused = await Promise.all([keyed(key, { n: 'many' }), keyed(key, { n: 'many' })]);
    assert.equal(
      refused.map(({ status }) => status),
      [400, 400],
    );
    assert.is((await keyed(key)).status, 200);
    assert.is((await keyed('x'.repeat(256))).status, 400);
  });
});

test('a job that failed for a passing reason is tried again under its key, one that failed for good is not', async () => {
  let code = 'overloaded';
  const script: Script = (job, worker) => {
    if (code === '') return helloScript(job, worker);
    worker.say({ type: 'error', job_id: job.job_id, error: 'no', code });
  };
  await withWorker(script, async worker => {
    const key = newKey();
    assert.ok((await keyed(key)).status >= 500);
    code = '';
    const before = worker.jobs.length;
    const answers = await Promise.all([keyed(key), keyed(key)]);
    assert.equal(
      answers.map(({ status }) => status),
      [200, 200],
    );
    assert.is(answers[0]?.text, answers[1]?.text);
    assert.is(worker.jobs.length, before + 1);
    code = 'context_length_exceeded';
    const other = newKey();
    const failed = await keyed(other);
    code = '';
    const again = await keyed(other);
    assert.equal([again.status, again.text], [failed.status, failed.text]);
  });
});

test('the same request with Last-Event-ID goes on with its answer', async () => {
  await withWorker(helloScript, async worker => {
    const key = newKey();
    const body = { stream: true };
    const whole = await keyed(key, body);
    const [first = ''] = whole.text.split(/(?<=\n\n)/);
    const rest = await keyed(key, body, { 'last-event-id': '1-1.0' });
    assert.is(first + rest.text, whole.text);
    assert.is(worker.jobs.length, 1);
    const unknown = await keyed(newKey(), body, { 'last-event-id': '1-1.0' });
    assert.is(unknown.status, 404, 'an answer that is not there is not begun anew behind its middle');
    const keyless = await chat(router.url, body, { headers: { 'last-event-id': '1-1.0' } });
    assert.is(keyless.status, 400);
  });
});

// Found by the simulation: the rest was looked for in the first job that had the key, which had failed.
test('the rest of an answer under a key that was handed on is that of the job that has it now', async () => {
  let code = 'overloaded';
  const script: Script = (job, worker) => {
    if (code === '') return helloScript(job, worker);
    worker.say({ type: 'error', job_id: job.job_id, error: 'no', code });
  };
  await withWorker(script, async () => {
    const [key, body] = [newKey(), { stream: true }];
    assert.ok((await keyed(key, body)).status >= 500);
    code = '';
    const whole = await keyed(key, body);
    const [first = ''] = whole.text.split(/(?<=\n\n)/);
    const rest = await keyed(key, body, { 'last-event-id': '1-1.0' });
    assert.is(first + rest.text, whole.text);
  });
});

test('a caller that left and comes back with its key gets an answer', async () => {
  let begun = 0;
  const script: Script = (job, worker) => {
    begun += 1;
    worker.say({ type: 'token', job_id: job.job_id, token: 'x' });
    if (begun > 1)
      worker.say({
        type: 'complete',
        job_id: job.job_id,
        full_response: 'x',
        duration_ms: 1,
        input_tokens: 1,
        output_tokens: 1,
      });
  };
  await withWorker(script, async worker => {
    const key = newKey();
    const controller = new AbortController();
    await fetch(
      `${router.url}/v1/chat/completions`,
      chatInit({ stream: true }, { headers: { 'idempotency-key': key }, signal: controller.signal }),
    );
    controller.abort();
    await waitUntil(
      () => worker.cancelled.length === 1,
      1000,
      () => 'the job was not cancelled',
    );
    assert.is(saidIn((await keyed(key, { stream: true })).text), 'x');
  });
});

test('keys outlive the router', async () => {
  const key = newKey();
  const first = await withWorker(helloScript, () => keyed(key));
  await router.stop(true);
  router = await startRouter({ AUXOT_FSYNC: 'no' }, router.dataDir);
  assert.is((await keyed(key)).text, first.text);
  assert.is((await keyed(key, { messages: userSays('else') })).status, 422);
});

/** Sends the request, and loses the connection before the answer is there, the first time. */
function lossyFetch(): typeof fetch {
  let lost = false;
  return async (url, init) => {
    if (lost) return fetch(url, init);
    lost = true;
    const response = await fetch(url, init);
    await response.body?.cancel();
    throw new TypeError('the connection was lost');
  };
}

test("the official clients' own retries do not pay twice", async () => {
  await withWorker(helloScript, async worker => {
    const openai = new OpenAI({ baseURL: `${router.url}/v1`, apiKey, fetch: lossyFetch() });
    const said = await openai.chat.completions.create(
      { model: 'm', messages: [{ role: 'user', content: 'hi' }] },
      { headers: { 'Idempotency-Key': newKey() } },
    );
    assert.is(said.choices[0]?.message.content, 'Hello from the GPU!');
    const anthropic = new Anthropic({ baseURL: router.url, apiKey, fetch: lossyFetch() });
    const message = await anthropic.messages.create(
      { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] },
      { headers: { 'Idempotency-Key': newKey() } },
    );
    assert.equal(message.content, [{ type: 'text', text: 'Hello from the GPU!' }]);
    assert.is(worker.jobs.length, 2);
  });
});

test('without a key every request is a job of its own', async () => {
  await withWorker(helloScript, async worker => {
    const [one, two] = [await chat(router.url, { stream: true }), await chat(router.url, { stream: true })];
    assert.is(worker.jobs.length, 2);
    for (const { text } of [one, two]) assert.is(dataOf(text).at(-1), '[DONE]');
    assert.is((await call(`${router.url}/v1/models`, { headers: { ...bearer, 'idempotency-key': 'k' } })).status, 200);
  });
});

test.run();
