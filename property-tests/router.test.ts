/** The whole router under a stepped clock (style §10): jobs from request to answer, and what may go wrong on the way. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openWorld, type TestWorker } from './world.ts';

const say = (worker: TestWorker, jobId: string, ...tokens: string[]): void => {
  for (const token of tokens) worker.say({ type: 'token', job_id: jobId, token });
};
const complete = (worker: TestWorker, jobId: string, full: string, more: object = {}): void =>
  worker.say({ type: 'complete', job_id: jobId, full_response: full, input_tokens: 10, output_tokens: 5, ...more });

test('a streamed chat goes from request to worker to caller (MW1, MW2, OA2)', async () => {
  const { front, clock, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  say(gpu, jobId, 'Hello', ' from');
  await clock.settle();
  assert.is(caller.status, 200);
  assert.is(caller.said, 'Hello from');
  say(gpu, jobId, ' the', ' GPU', '!');
  complete(gpu, jobId, 'Hello from the GPU!');
  await clock.settle();
  assert.is(caller.said, 'Hello from the GPU!');
  assert.ok(caller.ended);
  assert.is(caller.chunks.at(-1)?.data, '[DONE]');
  assert.is(front.load.jobs, 0);
  assert.is(front.load.callers, 0);
});

test('a blocking chat gets one body (OA1)', async () => {
  const { clock, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask({ stream: false });
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  say(gpu, jobId, 'Hello');
  await clock.settle();
  assert.is(caller.status, 0);
  complete(gpu, jobId, 'Hello');
  await clock.settle();
  const body = JSON.parse(caller.text);
  assert.is(body.id, jobId);
  assert.is(body.choices[0].message.content, 'Hello');
  assert.is(body.usage.prompt_tokens, 10);
});

test('four slots run four jobs, the fifth starts when one is done (N1, N2)', async () => {
  const { clock, ask, worker } = openWorld();
  const gpu = await worker(4);
  for (let n = 0; n < 5; n += 1) ask();
  await clock.settle();
  assert.is(gpu.jobs.length, 4);
  complete(gpu, gpu.jobs[0] ?? '', 'x');
  await clock.settle();
  assert.is(gpu.jobs.length, 5);
});

test('a request without a worker waits for one (OA45)', async () => {
  const { clock, ask, worker } = openWorld();
  const caller = ask();
  await clock.pass(5000);
  assert.is(caller.status, 0);
  const gpu = await worker(1);
  complete(gpu, gpu.jobs[0] ?? '', 'late');
  await clock.settle();
  assert.is(caller.said, 'late');
});

test('a caller that leaves has its job cancelled at the worker and the slot is free (N7)', async () => {
  const { front, clock, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  front.callerClosed(caller.streamId);
  const next = ask();
  await clock.settle();
  assert.equal(
    gpu.of('cancel').map(({ job_id }) => job_id),
    [gpu.jobs[0]],
  );
  assert.is(gpu.jobs.length, 2);
  complete(gpu, gpu.jobs[1] ?? '', 'second');
  await clock.settle();
  assert.is(next.said, 'second');
});

test('a deadline ends a stream with an error, never with a false stop (N19, OA31)', async () => {
  const { clock, ask, worker } = openWorld({ jobTimeoutMs: 20_000 });
  const gpu = await worker(1);
  const streaming = ask();
  await clock.settle();
  say(gpu, gpu.jobs[0] ?? '', 'so far');
  const waiting = ask({ stream: false });
  await clock.pass(21_000);
  const error = JSON.parse(streaming.chunks.at(-2)?.data ?? '{}').error;
  assert.is(error.code, 'timeout');
  assert.not.match(streaming.text, /"finish_reason":"stop"/);
  assert.ok(streaming.ended);
  assert.is(waiting.status, 504);
  assert.is(gpu.of('cancel').length, 1);
});

test('a one-slot worker that never completes loses the job, not the slot (N9)', async () => {
  const { clock, ask, worker } = openWorld({ jobTimeoutMs: 20_000 });
  const gpu = await worker(1);
  ask();
  await clock.pass(21_000);
  const next = ask();
  await clock.settle();
  complete(gpu, gpu.jobs[1] ?? '', 'again');
  await clock.settle();
  assert.is(next.said, 'again');
});

test('a worker lost before it said anything is replaced; after, the caller is told (N3, N4, OA32)', async () => {
  const { clock, ask, worker } = openWorld();
  const first = await worker(2);
  const silent = ask();
  const speaking = ask();
  await clock.settle();
  const [quietJob = '', loudJob = ''] = first.jobs;
  say(first, loudJob, 'A', 'B');
  await clock.settle();
  const second = await worker(2);
  first.drop();
  await clock.settle();
  assert.equal(second.jobs, [quietJob]);
  complete(second, quietJob, 'ok');
  await clock.settle();
  assert.is(silent.said, 'ok');
  assert.is(speaking.said, 'AB');
  assert.match(speaking.text, /worker_lost/);
});

test('a job that loses two workers is not given to a third (N5)', async () => {
  const { clock, ask, worker } = openWorld();
  const caller = ask({ stream: false });
  for (let n = 0; n < 2; n += 1) (await worker(1)).drop();
  await clock.settle();
  const third = await worker(1);
  assert.equal(third.jobs, []);
  assert.is(JSON.parse(caller.text).error.code, 'worker_lost');
});

test('a discovery connection never gets a job (N6)', async () => {
  const { clock, ask, front } = openWorld();
  const { TestWorker } = await import('./world.ts');
  const probe = new TestWorker(front);
  probe.say({
    type: 'hello',
    gpu_key: 'adm_test',
    capabilities: { backend: 'pending', model: 'pending', ctx_size: 0 },
  });
  ask();
  await clock.pass(5000);
  assert.is(probe.of('hello_ack').length, 1);
  assert.equal(probe.jobs, []);
});

test('frames about jobs of other workers are ignored (N16)', async () => {
  const { clock, ask, worker } = openWorld();
  const gpu = await worker(1);
  const other = await worker(1);
  const caller = ask();
  await clock.settle();
  const [holder, stranger] = gpu.jobs.length > 0 ? [gpu, other] : [other, gpu];
  const jobId = holder.jobs[0] ?? '';
  say(stranger, jobId, 'forged');
  complete(stranger, jobId, 'forged');
  await clock.settle();
  assert.is(caller.text, '');
  complete(holder, jobId, 'true');
  await clock.settle();
  assert.is(caller.said, 'true');
});

test('nothing is said to a caller before it is in the log', async () => {
  const { clock, log, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  let open: () => void = () => undefined;
  log.gate = new Promise(resolve => {
    open = resolve;
  });
  say(gpu, gpu.jobs[0] ?? '', 'held');
  await clock.settle();
  assert.is(caller.text, '');
  log.gate = null;
  open();
  await clock.settle();
  assert.is(caller.said, 'held');
});

test('a store that is down holds bytes back and refuses new jobs, and all goes on when it is up (design 2a.12)', async () => {
  const { clock, log, front, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  log.down = true;
  say(gpu, gpu.jobs[0] ?? '', 'one', ' two');
  await clock.pass(3000);
  assert.is(caller.text, '');
  assert.is(front.turnedAway()?.code, 'store_unavailable');
  assert.is(front.health().working, false);
  log.down = false;
  complete(gpu, gpu.jobs[0] ?? '', 'one two');
  await clock.pass(3000);
  assert.is(caller.said, 'one two');
  assert.is(front.turnedAway(), null);
});

test('an append whose reply was lost is repeated without harm', async () => {
  const { clock, log, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  log.loseReplies = 2;
  say(gpu, gpu.jobs[0] ?? '', 'once');
  complete(gpu, gpu.jobs[0] ?? '', 'once');
  await clock.pass(2000);
  assert.is(caller.said, 'once');
});

test('a slow caller is paused, costs nothing, and later gets the rest from the log', async () => {
  const { clock, front, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  const jobId = gpu.jobs[0] ?? '';
  caller.slow = true;
  const piece = 'x'.repeat(100_000);
  let expected = '';
  for (let n = 0; n < 10; n += 1) {
    say(gpu, jobId, `${n}${piece}`);
    expected += `${n}${piece}`;
    await clock.settle();
  }
  assert.ok(caller.said.length < expected.length / 2);
  caller.slow = false;
  caller.drain(front);
  say(gpu, jobId, 'while catching up');
  await clock.settle();
  complete(gpu, jobId, `${expected}while catching up`);
  await clock.settle();
  assert.is(caller.said, `${expected}while catching up`);
  assert.ok(caller.ended);
});

test('a shard killed in mid-stream is not noticed by any caller', async () => {
  const { clock, front, shards, ask, worker } = openWorld();
  const gpu = await worker(20);
  const callers = Array.from({ length: 20 }, () => ask());
  await clock.settle();
  for (let n = 0; n < 10; n += 1) {
    for (const jobId of gpu.jobs) say(gpu, jobId, `${n} `);
    if (n % 3 === 0) shards.kill(n % 2);
    if (n % 2 === 0) await clock.settle();
  }
  for (const jobId of gpu.jobs) complete(gpu, jobId, '0 1 2 3 4 5 6 7 8 9 ');
  await clock.pass(1000);
  assert.is(shards.deaths, 4);
  for (const caller of callers) {
    assert.is(caller.said, '0 1 2 3 4 5 6 7 8 9 ');
    assert.ok(caller.ended);
  }
  assert.equal(front.load, { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 });
});

test('an input that kills its shard twice is quarantined, and its job alone fails', async () => {
  const { clock, shards, failures, ask, worker } = openWorld({}, { shardCount: 1 });
  const gpu = await worker(2);
  const doomed = ask();
  const lucky = ask();
  await clock.settle();
  const [a = '', b = ''] = gpu.jobs;
  shards.before = message => {
    if (
      'inputs' in message &&
      message.inputs.some(input => input.kind === 'jobFrames' && input.lines.includes('poison'))
    )
      throw new Error('poison');
  };
  say(gpu, b, 'fine');
  say(gpu, a, 'poison');
  say(gpu, b, ' too');
  await clock.settle();
  complete(gpu, b, 'fine too');
  await clock.settle();
  assert.is(lucky.said, 'fine too');
  assert.match(doomed.text, /poisoned_input/);
  assert.is(shards.deaths, 2);
  assert.equal(failures, []);
});

test('jobs of an earlier boot are taken up: those without output run again (design: router killed)', async () => {
  const { log, clock, ask, worker } = openWorld();
  const gpu = await worker(2);
  ask();
  ask();
  await clock.settle();
  say(gpu, gpu.jobs[0] ?? '', 'said');
  await clock.settle();
  const [spoken = '', silent = ''] = gpu.jobs;
  // The router is gone; another boot opens the same log.
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  assert.is(await next.front.recover(), 2);
  await next.clock.settle();
  const again = await next.worker(2);
  assert.equal(again.jobs, [silent]);
  complete(again, silent, 'done');
  await next.clock.settle();
  assert.equal(
    log.events(silent).map(({ type }) => type),
    [
      'job.submitted',
      'job.assigned',
      'job.adopted',
      'job.requeued',
      'job.assigned',
      'output.appended',
      'job.completed',
    ],
  );
  assert.is(log.events(spoken).at(-1)?.type, 'job.failed');
  // The old boot is fenced: what it still says does not land.
  say(gpu, spoken, 'ghost');
  await clock.settle();
  assert.is(log.events(spoken).at(-1)?.type, 'job.failed');
});

test('a stop lets jobs finish, then ends the rest with an error that says why (OA46)', async () => {
  const { clock, front, ask, worker } = openWorld();
  const gpu = await worker(2);
  const quick = ask();
  const endless = ask();
  await clock.settle();
  say(gpu, gpu.jobs[1] ?? '', 'and on');
  const stopped = front.stop(10_000);
  await clock.pass(1000);
  assert.is(front.turnedAway()?.code, 'shutting_down');
  complete(gpu, gpu.jobs[0] ?? '', 'quick');
  await clock.pass(10_000);
  await clock.pass(3000);
  await stopped;
  assert.is(quick.said, 'quick');
  assert.match(endless.text, /shutting_down/);
  assert.is(gpu.closed?.code, 1001);
});

test('silence is answered by pings, and a dead peer by the end of its connection (H7)', async () => {
  const { clock, worker, front } = openWorld({ silentMs: 45_000, pingMs: 10_000 });
  const gpu = await worker(1);
  await clock.pass(60_000);
  assert.ok(gpu.pings >= 5);
  assert.is(front.health().workers, 1);
  gpu.answersPings = false;
  await clock.pass(60_000);
  assert.is(front.health().workers, 0);
  assert.is(gpu.closed?.code, 4504);
});

test.run();
