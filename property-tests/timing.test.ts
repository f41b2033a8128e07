/**
 * How fast a slot is used again (spec/worker-protocol N1, N2, N7): on real sockets and a real clock, with margins that
 * a busy machine with two cores keeps.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, untilHealth } from './callers.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { helloScript, type Script, startWorker } from './scripted-worker.ts';

let router: RouterProcess;
test.before(async () => {
  router = await startRouter({ AUXOT_FSYNC: 'no' });
});
test.after(() => router?.stop());

const offered = (slots: number): Promise<void> =>
  untilHealth(router.url, ({ total_slots }) => total_slots === slots, 'the worker is not offered');

/** The value that `share` of the list is not above. */
const quantile = (list: readonly number[], share: number): number =>
  [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(share * list.length))] ?? Number.NaN;

test('N1: four one-second jobs on four slots are done in less than 1.5 s', async () => {
  let running = 0;
  let runningMax = 0;
  const script: Script = async (job, worker) => {
    running += 1;
    runningMax = Math.max(runningMax, running);
    await new Promise(resolve => setTimeout(resolve, 1000));
    running -= 1;
    helloScript(job, worker);
  };
  const worker = await startWorker(router.wsUrl, { slots: 4, script });
  await offered(4);
  // The key is known from here on, as it is for every caller but the first.
  assert.is((await chat(router.url, '{')).status, 400);
  const startedMs = performance.now();
  const answers = await Promise.all(Array.from({ length: 4 }, () => chat(router.url)));
  const tookMs = performance.now() - startedMs;
  for (const { status } of answers) assert.is(status, 200);
  assert.is(runningMax, 4);
  assert.ok(tookMs < 1500, `took ${tookMs.toFixed(0)} ms`);
  worker.close();
});

test('N2: the next job is there within 20 ms of the end of the one before it', async () => {
  const doneAt: number[] = [];
  const script: Script = (job, worker) => {
    helloScript(job, worker);
    doneAt.push(performance.now());
  };
  const worker = await startWorker(router.wsUrl, { script });
  await offered(1);
  const answers = await Promise.all(Array.from({ length: 60 }, () => chat(router.url)));
  for (const { status } of answers) assert.is(status, 200);
  const gaps = worker.arrivals.slice(1).map((at, n) => at - (doneAt[n] ?? 0));
  assert.is(gaps.length, 59);
  const [p50, p99] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
  console.log(`next job after the end of the one before: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`);
  assert.ok(p50 < 20, `p50 ${p50.toFixed(1)} ms`);
  worker.close();
});

test('N7, weakness X1: a caller that hangs up is known to the worker within a second, streaming or not, and the slot is free', async () => {
  const script: Script = ({ job_id }, worker) => worker.say({ type: 'token', job_id, token: 'begun' });
  const worker = await startWorker(router.wsUrl, { script });
  await offered(1);
  const delays: number[] = [];
  for (let n = 0; n < 20; n += 1) {
    const abort = new AbortController();
    const asked = chat(router.url, { stream: n % 2 === 0 }, { signal: abort.signal }).catch(() => null);
    await waitUntil(
      () => worker.jobs.length === n + 1,
      5000,
      () => `job ${n} did not come`,
    );
    const leftAt = performance.now();
    abort.abort();
    await waitUntil(
      () => worker.cancelled.length === n + 1,
      1000,
      () => `no cancel for job ${n}`,
    );
    delays.push((worker.cancelled[n]?.at ?? 0) - leftAt);
    await asked;
  }
  console.log(
    `cancel at the worker: p50 ${quantile(delays, 0.5).toFixed(2)} ms, max ${Math.max(...delays).toFixed(2)} ms`,
  );
  assert.ok(Math.max(...delays) < 1000);
  await untilHealth(router.url, ({ active_jobs }) => active_jobs === 0, 'a slot is held', 1000);
  worker.close();
});

test.run();
