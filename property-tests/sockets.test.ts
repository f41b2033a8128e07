/**
 * The workers' socket, case by case (spec/worker-protocol §8.9, §8.12 and §4.0; spec/http-api AU9, AU10): a real router
 * process, and workers that are rude, slow or unlucky. Test names begin with the ids of their cases.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, chunksOf, health, saidIn, untilHealth } from './callers.ts';
import { apiKey, gpuKey, type RouterProcess, startRouter, waitUntil, within } from './processes.ts';
import { openRaw, type RawSocket } from './raw-socket.ts';
import { helloScript, type Script, startWorker } from './scripted-worker.ts';

let router: RouterProcess;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});
test.after(() => router?.stop());

/** A case; every worker that it started must be gone after it. */
const it = (name: string, run: () => Promise<void>): void =>
  test(name, async () => {
    await run();
    await untilHealth(router.url, ({ workers }) => workers === 0, 'a worker is still there');
  });

const hello = (more: object = {}): object => ({
  type: 'hello',
  gpu_key: gpuKey,
  capabilities: { backend: 'mock', model: 'mock-model', ctx_size: 4096, total_slots: 1 },
  ...more,
});

const ended = (raw: RawSocket, ms = 2000): Promise<number> => within(ms, raw.ended, 'the socket was not closed');

/** A raw socket that is a worker by now. */
async function rawWorker(greeting = hello()): Promise<RawSocket> {
  const raw = await openRaw(router.port);
  raw.say(greeting);
  await untilHealth(router.url, ({ total_slots }) => total_slots > 0, 'the worker is not offered');
  return raw;
}

const aJob = async (raw: RawSocket): Promise<string> => {
  await waitUntil(
    () => raw.heard.some(({ type }) => type === 'job'),
    5000,
    () => 'no job came',
  );
  return raw.heard.find(({ type }) => type === 'job').job_id;
};

const complete = (jobId: string, text: string, more: object = {}): object => ({
  type: 'complete',
  job_id: jobId,
  full_response: text,
  duration_ms: 1,
  input_tokens: 1,
  output_tokens: 1,
  ...more,
});

it('AU9 SEC6 SEC7 SEC8: a hello with a wrong key, a caller’s key or none is refused in words, then closed', async () => {
  for (const key of [apiKey, '', `adm_${'x'.repeat(43)}`, 'k'.repeat(10_000)]) {
    const raw = await openRaw(router.port);
    raw.say(hello({ gpu_key: key }));
    assert.is(await ended(raw, 5000), 4401);
    assert.is(raw.heard.length, 1);
    assert.is(raw.heard[0].type, 'hello_ack');
    assert.is(raw.heard[0].success, false);
  }
});

it('AU10 SEC18 SEC19 SEC20: anything but a hello closes the socket, and nothing is said before', async () => {
  for (const [opcode, payload, code] of [
    [1, 'this is not json', 4400],
    [2, Uint8Array.from([0, 255, 1, 254, 2]), 4400],
    [1, '{"type":"token","job_id":"x","token":"t"}', 4405],
    [1, '{"type":"heartbeat"}', 4405],
    [1, '{"type":"no_such_type"}', 4405],
    [1, '{}', 4405],
    [1, 'null', 4400],
    [1, '{"type":"hello","gpu_key":7}', 4400],
    [1, `${JSON.stringify(hello())}${JSON.stringify(hello())}`, 4400],
  ] as const) {
    const raw = await openRaw(router.port);
    raw.frame(opcode, payload);
    assert.is(await ended(raw), code, String(payload));
    assert.equal(raw.heard, []);
  }
});

it('N17: a stranger that says nothing is closed, one that says too much is told so', async () => {
  const silent = await openRaw(router.port);
  const startedMs = performance.now();
  const big = await openRaw(router.port);
  big.say(hello({ padding: 'x'.repeat(2 ** 21) }));
  assert.is(await ended(big), 4413);
  assert.equal(big.heard, []);
  const dripping = await openRaw(router.port);
  for (let n = 0; n < 70; n += 1) dripping.frame(n === 0 ? 1 : 0, 'x'.repeat(16_384), { fin: false });
  assert.is(await ended(dripping), 4413);
  assert.is(await ended(silent, 12_000), 4408);
  assert.ok(performance.now() - startedMs > 9000);
});

it('64 strangers of one address are enough, and a worker among them is let in when they are gone', async () => {
  const strangers = await Promise.all(Array.from({ length: 64 }, () => openRaw(router.port)));
  const oneMore = await openRaw(router.port);
  assert.is(await ended(oneMore), 4429);
  for (const raw of strangers) raw.close();
  await Promise.all(strangers.map(({ ended: end }) => end));
  const worker = await startWorker(router.wsUrl);
  worker.close();
});

it('workers whose key is right are no strangers, however many come from one address', async () => {
  const workers = [];
  for (let n = 0; n < 70; n += 1) workers.push(await startWorker(router.wsUrl));
  await untilHealth(router.url, ({ workers: now }) => now === 70, 'not all are workers');
  for (const worker of workers) worker.close();
});

it('N21: a message of 20 kB in frames of 4096 bytes is put together, in binary frames too, with a newline behind', async () => {
  const text = 'word '.repeat(4000);
  const raw = await rawWorker();
  for (const opcode of [1, 2]) {
    raw.heard.length = 0;
    const asked = chat(router.url);
    const message = Buffer.from(`${JSON.stringify(complete(await aJob(raw), text))}\n`);
    assert.ok(message.length > 4 * 4096);
    for (let at = 0; at < message.length; at += 4096)
      raw.frame(at === 0 ? opcode : 0, message.subarray(at, at + 4096), { fin: at + 4096 >= message.length });
    assert.is((await asked).json.choices[0].message.content, text);
  }
  raw.close();
});

it('a hello in a binary frame, in fragments, with a newline, is a hello', async () => {
  const raw = await openRaw(router.port);
  const message = Buffer.from(`${JSON.stringify(hello())}\n`);
  raw.frame(2, message.subarray(0, 10), { fin: false });
  raw.frame(9, 'ping between fragments');
  raw.frame(0, message.subarray(10));
  await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the worker is not offered');
  assert.is(raw.heard[0].type, 'hello_ack');
  assert.match(raw.heard[0].gpu_id, /^[0-9a-f]{32}$/);
  raw.close();
});

it('N22: null lists and null content from a Go peer are accepted', async () => {
  const raw = await rawWorker(
    hello({
      protocol_version: null,
      worker_type: null,
      capabilities: { backend: 'mock', model: 'm', ctx_size: 1, total_slots: 1, capabilities: null },
    }),
  );
  const asked = chat(router.url);
  const jobId = await aJob(raw);
  raw.say({ type: 'token', job_id: jobId, token: null });
  raw.say({ type: 'token', job_id: jobId, token: 'said' });
  raw.say({
    type: 'complete',
    job_id: jobId,
    full_response: null,
    tool_calls: null,
    duration_ms: null,
    reasoning_content: null,
  });
  const { json } = await asked;
  assert.is(json.choices[0].message.content, 'said');
  assert.is(json.choices[0].finish_reason, 'stop');
  raw.close();
});

it('N3 OA32: a worker that dies after two tokens leaves an error line, and no text twice', async () => {
  const dying: Script = ({ job_id }, self) => {
    for (const token of ['one', ' two']) self.say({ type: 'token', job_id, token });
    setTimeout(() => self.close(), 100);
  };
  const first = await startWorker(router.wsUrl, { script: dying });
  await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the worker is not offered');
  const asked = chat(router.url, { stream: true });
  await waitUntil(
    () => first.jobs.length === 1,
    5000,
    () => 'no job came',
  );
  const second = await startWorker(router.wsUrl);
  const { text } = await asked;
  assert.is(saidIn(text), 'one two');
  assert.is(chunksOf(text).at(-1).error.code, 'worker_lost');
  assert.is(second.jobs.length, 0);
  second.close();
});

it('N4: a worker that dies before it spoke is replaced within a second', async () => {
  const first = await startWorker(router.wsUrl, { script: () => undefined });
  await untilHealth(router.url, ({ total_slots }) => total_slots === 1, 'the worker is not offered');
  const asked = chat(router.url);
  await waitUntil(
    () => first.jobs.length === 1,
    5000,
    () => 'no job came',
  );
  const second = await startWorker(router.wsUrl);
  const diedAt = performance.now();
  first.close();
  assert.is((await asked).json.choices[0].message.content, 'Hello from the GPU!');
  assert.ok((second.arrivals[0] ?? 0) - diedAt < 1000);
  assert.is(second.jobs[0]?.job_id, first.jobs[0]?.job_id);
  second.close();
});

it('N5: a job that kills two workers is failed, not given to a third', async () => {
  const asked = chat(router.url);
  for (let n = 0; n < 2; n += 1) {
    const killed = await startWorker(router.wsUrl, { script: (_job, self) => self.close() });
    await waitUntil(
      () => killed.jobs.length === 1,
      5000,
      () => 'no job came',
    );
  }
  const answer = await asked;
  assert.is(answer.status, 500);
  assert.is(answer.json.error.code, 'worker_lost');
  const third = await startWorker(router.wsUrl);
  assert.is((await health(router.url)).queued_jobs, 0);
  assert.is(third.jobs.length, 0);
  third.close();
});

it('N6: a connection that only asks for the policy never gets a job, and delays none', async () => {
  const asking = { backend: 'pending', model: 'pending', ctx_size: 0, total_slots: 1 };
  const probe = await startWorker(router.wsUrl, { hello: { capabilities: asking } });
  const asked = chat(router.url);
  const worker = await startWorker(router.wsUrl);
  assert.is((await asked).status, 200);
  assert.is(probe.jobs.length, 0);
  assert.is(worker.jobs.length, 1);
  probe.close();
  worker.close();
});

it('N8: a worker over its own limits gives the job back, and its slot is free', async () => {
  let refused = 0;
  const script: Script = (job, self) => {
    if (refused++ === 0) self.say({ type: 'job.overload', job_id: job.job_id });
    else helloScript(job, self);
  };
  const worker = await startWorker(router.wsUrl, { script });
  const answer = await chat(router.url);
  // What is promised of the job is that it ends; and of the slot, that the next one runs.
  assert.ok([200, 429, 503].includes(answer.status), answer.text);
  assert.is((await chat(router.url)).status, 200);
  worker.close();
});

it('N16: a token from a worker that does not own the job is ignored, and so is one for no job at all', async () => {
  const raw = await rawWorker();
  const asked = chat(router.url, { stream: true });
  const jobId = await aJob(raw);
  const thief = await startWorker(router.wsUrl);
  thief.say({ type: 'token', job_id: jobId, token: 'forged' });
  thief.say(complete(jobId, 'forged'));
  for (const id of ['chatcmpl-00nobodyknowsthisjob00', '', '__proto__', 'chatcmpl-zz', '\u0000'])
    thief.say({ type: 'token', job_id: id, token: 'lost' });
  await new Promise(resolve => setTimeout(resolve, 100));
  raw.say({ type: 'token', job_id: jobId, token: 'true' });
  raw.say(complete(jobId, 'true'));
  assert.is(saidIn((await asked).text), 'true');
  assert.is((await health(router.url)).workers, 2);
  thief.close();
  raw.close();
});

it('a frame with a fraction where an integer belongs fails its job at once, not at the deadline', async () => {
  const raw = await rawWorker();
  const asked = chat(router.url);
  raw.say(complete(await aJob(raw), 'x', { duration_ms: 12.5 }));
  const answer = await within(3000, asked, 'no answer');
  assert.is(answer.json.error.code, 'worker_error');
  assert.match(answer.json.error.message, /duration_ms/);
  assert.is((await health(router.url)).workers, 1);
  raw.close();
});

test.run();
