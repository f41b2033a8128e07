/** Answers gone on with over HTTP: a real router process, and callers that come back for what they missed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, bearer, call, chat, chatInit, saidIn, untilHealth, userSays } from './callers.ts';
import { apiKey, type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { helloScript, type Script, type ScriptedWorker, startWorker } from './scripted-worker.ts';

let router: RouterProcess;

test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});

test.after(() => router.stop());

async function withWorker<T>(script: Script, run: (worker: ScriptedWorker) => Promise<T>): Promise<T> {
  const worker = await startWorker(router.wsUrl, { script, slots: 4 });
  try {
    await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
    return await run(worker);
  } finally {
    worker.close();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'the worker is still there');
  }
}

const job = (id: string, path = '', headers: Record<string, string> = {}): Promise<Answer> =>
  call(`${router.url}/api/jobs/${id}${path}`, { headers: { ...bearer, ...headers } });

const events = (id: string, lastEventId?: string): Promise<Answer> =>
  job(id, '/events', lastEventId === undefined ? {} : { 'last-event-id': lastEventId });

const message = (stream: boolean): Promise<Answer> =>
  call(`${router.url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', max_tokens: 9, stream, messages: userSays('hi') }),
  });

const jobOf = ({ headers }: Answer): string => headers.get('x-auxot-job') ?? '';

/** Frames of a streamed answer with their ids; comments and pings have none and do not count. */
function framesOf(text: string): { id: string; frame: string }[] {
  return text.split(/(?<=\n\n)/).flatMap(frame => {
    const id = /^id: (.*)$/m.exec(frame)?.[1];
    return id === undefined ? [] : [{ id, frame }];
  });
}

test('a finished answer can be had again from behind any of its frames, in the API in which it was asked for', async () => {
  await withWorker(helloScript, async () => {
    for (const answer of [await chat(router.url, { stream: true }), await message(true)]) {
      const frames = framesOf(answer.text);
      assert.is(frames.map(({ frame }) => frame).join(''), answer.text, 'every frame has an id');
      const id = jobOf(answer);
      assert.is((await events(id)).text, answer.text);
      for (const [index, { id: seen }] of frames.entries()) {
        const rest = await events(id, seen);
        const missing = frames.slice(index + 1).map(({ frame }) => frame);
        assert.is(rest.text, missing.join(''), seen);
        assert.is(rest.status, missing.length > 0 ? 200 : 204, 'with nothing left, a client need not come again');
      }
      const [first = { id: '', frame: '' }] = frames;
      assert.is((await job(id, `/events?starting_after=${first.id}`)).text, answer.text.slice(first.frame.length));
    }
  });
});

test('a streamed answer can be had in one piece, and one in one piece as a stream', async () => {
  await withWorker(helloScript, async () => {
    const streamed = await job(jobOf(await chat(router.url, { stream: true })));
    assert.is(streamed.status, 200);
    assert.is(streamed.json.choices[0].message.content, 'Hello from the GPU!');
    const blocking = await chat(router.url);
    assert.equal((await job(jobOf(blocking))).json, blocking.json);
    assert.is(saidIn((await events(jobOf(blocking))).text), 'Hello from the GPU!');
    const asked = await message(false);
    assert.equal((await job(asked.json.id)).json, asked.json, 'the id in the answer will do');
  });
});

test('a second caller follows an answer that is being written, and asking how it stands ends nothing', async () => {
  let say: (text: string | null) => void = () => undefined;
  const script: Script = ({ job_id }, worker) => {
    let text = '';
    say = token => {
      text += token ?? '';
      if (token !== null) worker.say({ type: 'token', job_id, token });
      else
        worker.say({
          type: 'complete',
          job_id,
          full_response: text,
          duration_ms: 1,
          input_tokens: 1,
          output_tokens: 2,
        });
    };
    say('one ');
  };
  await withWorker(script, async worker => {
    const response = await fetch(`${router.url}/api/openai/chat/completions`, chatInit({ stream: true }));
    const id = response.headers.get('x-auxot-job') ?? '';
    const standing = await job(id);
    assert.equal([standing.status, standing.json.status, standing.json.id], [202, 'in_progress', id]);
    assert.is(standing.headers.get('retry-after'), '1');
    const second = events(id);
    const late = events(id, '1-1.0');
    await new Promise(resolve => setTimeout(resolve, 50));
    say('two');
    say(null);
    const text = await response.text();
    assert.is(saidIn(text), 'one two');
    assert.is((await second).text, text);
    assert.is(
      (await late).text,
      framesOf(text)
        .slice(1)
        .map(({ frame }) => frame)
        .join(''),
    );
    assert.equal(worker.cancelled, []);
  });
});

test('a job is cancelled when the last of its callers has gone, and not before', async () => {
  const script: Script = ({ job_id }, worker) => worker.say({ type: 'token', job_id, token: 'begun' });
  await withWorker(script, async worker => {
    const first = new AbortController();
    const response = await fetch(
      `${router.url}/api/openai/chat/completions`,
      chatInit({ stream: true }, { signal: first.signal }),
    );
    const id = response.headers.get('x-auxot-job') ?? '';
    const second = new AbortController();
    const follower = await fetch(`${router.url}/api/jobs/${id}/events`, { headers: bearer, signal: second.signal });
    assert.is(follower.status, 200);
    first.abort();
    await new Promise(resolve => setTimeout(resolve, 100));
    assert.equal(worker.cancelled, []);
    second.abort();
    await waitUntil(
      () => worker.cancelled.length === 1,
      1000,
      () => 'the worker was not told',
    );
    assert.match((await events(id)).text, /"code":"cancelled"/);
  });
});

test('a request can ask that its job waits for its caller to come back', async () => {
  let go: () => void = () => undefined;
  const script: Script = ({ job_id }, worker) => {
    worker.say({ type: 'token', job_id, token: 'begun' });
    go = () => {
      worker.say({ type: 'token', job_id, token: ' and done' });
      worker.say({ type: 'complete', job_id, full_response: '', duration_ms: 1, input_tokens: 1, output_tokens: 2 });
    };
  };
  const leave = async (keep: string): Promise<string> => {
    const controller = new AbortController();
    const response = await fetch(
      `${router.url}/api/openai/chat/completions`,
      chatInit({ stream: true }, { signal: controller.signal, headers: { 'x-auxot-keep': keep } }),
    );
    controller.abort();
    return response.headers.get('x-auxot-job') ?? '';
  };
  await withWorker(script, async worker => {
    const kept = await leave('30');
    await new Promise(resolve => setTimeout(resolve, 200));
    assert.is((await job(kept)).json.status, 'in_progress');
    assert.equal(worker.cancelled, []);
    const rest = events(kept);
    go();
    assert.is(saidIn((await rest).text), 'begun and done');
    await leave('1');
    await new Promise(resolve => setTimeout(resolve, 500));
    assert.equal(worker.cancelled, []);
    await waitUntil(
      () => worker.cancelled.length === 1,
      1500,
      () => 'the job went on without its caller',
    );
    const answer = await chat(router.url, {}, { headers: { 'x-auxot-keep': 'long' } });
    assert.equal([answer.status, answer.json.error.type], [400, 'invalid_request_error']);
  });
});

test('a job can be cancelled by its id, once and again', async () => {
  const script: Script = ({ job_id }, worker) => worker.say({ type: 'token', job_id, token: 'begun' });
  const cancel = (id: string, method = 'POST', path = '/cancel'): Promise<Answer> =>
    call(`${router.url}/api/jobs/${id}${path}`, { method, headers: bearer });
  const finished = await withWorker(helloScript, () => chat(router.url));
  await withWorker(script, async worker => {
    for (const how of [['POST', '/cancel'] as const, ['DELETE', ''] as const]) {
      const response = await fetch(`${router.url}/api/openai/chat/completions`, chatInit({ stream: true }));
      const id = response.headers.get('x-auxot-job') ?? '';
      const first = await cancel(id, ...how);
      assert.equal([first.status, first.json.status, first.json.id], [200, 'cancelled', id]);
      assert.match(await response.text(), /"code":"cancelled"/);
      assert.equal((await cancel(id, ...how)).json, first.json);
    }
    assert.is(worker.cancelled.length, 2);
    const over = jobOf(finished);
    assert.is((await cancel(over)).json.status, 'completed');
    assert.is((await cancel(`chatcmpl-ab${'x'.repeat(22)}`)).status, 404);
  });
});

test('a key, a known id and a readable position are needed', async () => {
  const unknown = `chatcmpl-ab${'x'.repeat(22)}`;
  for (const path of ['', '/events']) {
    assert.is((await call(`${router.url}/api/jobs/${unknown}${path}`)).status, 401);
    const answer = await job(unknown, path);
    assert.is(answer.status, 404);
    assert.is(answer.json.error.type, 'not_found_error');
    assert.is((await job('nonsense', path)).status, 404);
  }
  for (const bad of ['7', '0-0.0', '1-1.0/x', '1-1.0/1/1', '../..'])
    assert.is((await events(unknown, bad)).status, 400, bad);
  assert.is((await job(unknown, '/other')).status, 404);
  assert.is((await call(`${router.url}/api/jobs/${unknown}/events`, { method: 'PUT', headers: bearer })).status, 404);
});

test('a restart keeps the answers that there are', async () => {
  const answer = await withWorker(helloScript, () => chat(router.url, { stream: true }));
  await router.stop(true);
  router = await startRouter({ AUXOT_FSYNC: 'no' }, router.dataDir);
  assert.is((await events(jobOf(answer))).text, answer.text);
});

test.run();
