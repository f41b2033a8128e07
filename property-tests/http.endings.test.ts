/**
 * HTTP: how answers end, late, badly or not at all: deadlines, silence, errors, callers that leave, full queues, a
 * shutdown.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, chunksOf, dataOf, health, saidIn, untilHealth } from './callers.ts';
import { completion, isError, router, runWithRouters, strict, withWorker } from './http-routers.ts';
import { startRouter, waitUntil } from './processes.ts';
import { helloScript, type Script, startWorker } from './scripted-worker.ts';

test('OA31 N9 N19: a deadline is an error in both modes, never a stop, and frees the slot', async () => {
  const script: Script = (job, worker) => worker.say({ type: 'token', job_id: job.job_id, token: 'begun' });
  await withWorker(
    { script },
    async worker => {
      const streamed = await chat(strict.url, { stream: true });
      assert.is(streamed.status, 200);
      assert.is(saidIn(streamed.text), 'begun');
      assert.is(chunksOf(streamed.text).at(-1).error.code, 'timeout');
      assert.not.match(streamed.text, /"finish_reason":"stop"/);
      const whole = await chat(strict.url);
      isError(whole, 504, 'server_error', 'timeout');
      await waitUntil(
        () => worker.cancelled.length === 2,
        1000,
        () => 'the worker was not told',
      );
      await untilHealth(strict.url, ({ active_jobs }) => active_jobs === 0, 'a slot is held');
    },
    strict,
  );
});

test('OA33: silence is filled with comments that clients ignore', async () => {
  const script: Script = async (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: 'a' });
    await new Promise(resolve => setTimeout(resolve, 2200));
    worker.say({ type: 'token', job_id: job.job_id, token: 'b' });
    worker.say(completion(job, { full_response: 'ab' }));
  };
  await withWorker(
    { script },
    async () => {
      const { text } = await chat(strict.url, { stream: true });
      assert.match(text, /\n\n: keep-alive\n\n/);
      assert.is(saidIn(text), 'ab');
    },
    strict,
  );
});

test('OA34 OA36: an error before the first token has a status of its own, also in a stream', async () => {
  const script: Script = (job, worker) => worker.say({ type: 'error', job_id: job.job_id, error: 'out of memory' });
  await withWorker({ script }, async () => {
    for (const stream of [true, false]) {
      const answer = await chat(router.url, { stream });
      isError(answer, 500, 'server_error', 'worker_error');
      assert.match(answer.json.error.message, /out of memory/);
    }
  });
});

test('an error after the first token is a line of the stream, and [DONE] follows', async () => {
  const script: Script = (job, worker) => {
    worker.say({ type: 'token', job_id: job.job_id, token: 'half' });
    setTimeout(() => worker.say({ type: 'error', job_id: job.job_id, error: 'broke' }), 50);
  };
  await withWorker({ script }, async () => {
    const { text, status } = await chat(router.url, { stream: true });
    assert.is(status, 200);
    assert.is(saidIn(text), 'half');
    assert.match(chunksOf(text).at(-1).error.message, /broke/);
    assert.is(dataOf(text).at(-1), '[DONE]');
  });
});

test('OA35 N7: a caller that leaves has its running job cancelled and its waiting job removed', async () => {
  await withWorker({ script: () => undefined }, async worker => {
    const running = new AbortController();
    const waiting = new AbortController();
    const first = chat(router.url, {}, { signal: running.signal }).catch(() => 'left');
    await waitUntil(
      () => worker.jobs.length === 1,
      5000,
      () => 'no job came',
    );
    const second = chat(router.url, { stream: true }, { signal: waiting.signal }).catch(() => 'left');
    await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 1, 'the second job is not queued');
    waiting.abort();
    await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 0, 'the second job is still queued', 1000);
    running.abort();
    const leftAt = performance.now();
    await waitUntil(
      () => worker.cancelled.length === 1,
      1000,
      () => 'no cancel came',
    );
    assert.ok((worker.cancelled[0]?.at ?? 0) - leftAt < 1000);
    assert.is(worker.cancelled[0]?.jobId, worker.jobs[0]?.job_id);
    await untilHealth(router.url, ({ active_jobs }) => active_jobs === 0, 'the slot is not free', 1000);
    assert.equal([await first, await second], ['left', 'left']);
  });
});

test('OA38: a full queue turns callers away, and says when to come again', async () => {
  const waiting = chat(strict.url, {});
  await untilHealth(strict.url, ({ queued_jobs }) => queued_jobs === 1, 'nothing is queued');
  const answer = await chat(strict.url, {});
  isError(answer, 429, 'rate_limit_error', 'queue_full');
  assert.is(answer.headers.get('retry-after'), '1');
  await withWorker({}, async () => assert.is((await waiting).status, 200), strict);
});

test('OA44: three callers at one slot are all served', async () => {
  const script: Script = (job, worker) => void setTimeout(() => helloScript(job, worker), 200);
  await withWorker({ script }, async () => {
    const answers = await Promise.all([chat(router.url), chat(router.url), chat(router.url)]);
    for (const { json } of answers) assert.is(json.choices[0].message.content, 'Hello from the GPU!');
  });
});

test('OA45: a request without a worker waits for one', async () => {
  const asked = chat(router.url);
  await untilHealth(router.url, ({ queued_jobs }) => queued_jobs === 1, 'nothing is queued');
  await withWorker({}, async () => assert.is((await asked).json.choices[0].message.content, 'Hello from the GPU!'));
});

test('OA46: a shutdown ends open streams with an error that says so, and the program with status 0', async () => {
  const own = await startRouter({ AUXOT_FSYNC: 'no' });
  const script: Script = (job, worker) => worker.say({ type: 'token', job_id: job.job_id, token: 'begun' });
  const worker = await startWorker(own.wsUrl, { script });
  const asked = chat(own.url, { stream: true });
  await waitUntil(
    () => worker.jobs.length === 1,
    5000,
    () => 'no job came',
  );
  own.kill('SIGTERM');
  const { text } = await asked;
  assert.is(saidIn(text), 'begun');
  assert.is(chunksOf(text).at(-1).error.code, 'shutting_down');
  assert.is((await own.ended).status, 0);
  worker.close();
  await own.stop();
});

test('OA48 HL2: two slots run two jobs at once, and health tells', async () => {
  const script: Script = (job, worker) => void setTimeout(() => helloScript(job, worker), 500);
  await withWorker({ script, slots: 2 }, async () => {
    const now = await health(router.url);
    assert.equal([now.workers, now.total_slots, now.available, now.active_jobs], [1, 2, 2, 0]);
    const startedMs = performance.now();
    const both = Promise.all([chat(router.url), chat(router.url)]);
    await untilHealth(router.url, ({ active_jobs, available }) => active_jobs === 2 && available === 0, 'not both run');
    await both;
    assert.ok(performance.now() - startedMs < 900, 'they ran one after the other');
    assert.is((await health(router.url)).active_jobs, 0);
  });
});

test('OA49: ten jobs one after the other leave no gap to speak of', async () => {
  const dones: number[] = [];
  const script: Script = (job, worker) => {
    helloScript(job, worker);
    dones.push(performance.now());
  };
  await withWorker({ script }, async worker => {
    await Promise.all(Array.from({ length: 10 }, () => chat(router.url)));
    const gaps = worker.arrivals.slice(1).map((at, n) => at - (dones[n] ?? 0));
    assert.is(gaps.length, 9);
    assert.ok(Math.max(...gaps) < 50, `gaps: ${gaps.map(gap => gap.toFixed(1)).join(' ')}`);
  });
});

runWithRouters();
