/** Two routers on one Redis: a caller may come back at either, for the answer of a job that the other runs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bearer, call, chat, chatInit, saidIn } from './callers.ts';
import { waitUntil } from './processes.ts';
import { startWorker } from './scripted-worker.ts';
import { sleep, slowly, startTwoRouters, type TwoRouters, words } from './two-routers.ts';

const started = await startTwoRouters();
// Without a redis-server no test runs.
const { one, two, untilNothingIsOpen } = (started ?? {}) as TwoRouters;

test.after(() => started?.stop());

const keyed = (url: string, key: string) => chat(url, { stream: true }, { headers: { 'idempotency-key': key } });

test('one key at two routers at once is one job, and both callers get its answer', async () => {
  const workers = [
    await startWorker(one.wsUrl, { slots: 2, script: slowly(20, 10) }),
    await startWorker(two.wsUrl, { slots: 2, script: slowly(20, 10) }),
  ];
  const answers = await Promise.all([one, two, one, two].map(({ url }) => keyed(url, 'at-once')));
  assert.is(saidIn(answers[0]?.text ?? ''), words(20));
  assert.is(new Set(answers.map(({ text }) => text)).size, 1);
  assert.is(workers.flatMap(({ jobs }) => jobs).length, 1);
  for (const { url } of [one, two]) assert.is((await keyed(url, 'at-once')).text, answers[0]?.text);
  await untilNothingIsOpen();
  for (const worker of workers) worker.close();
});

test('a caller that lost its connection to one router goes on at the other', async () => {
  const worker = await startWorker(one.wsUrl, { slots: 1, script: slowly(60, 20) });
  const leaving = new AbortController();
  const response = await fetch(
    `${one.url}/v1/chat/completions`,
    chatInit({ stream: true }, { signal: leaving.signal, headers: { 'x-auxot-keep': '30' } }),
  );
  const jobId = response.headers.get('x-auxot-job') ?? '';
  await sleep(200);
  leaving.abort();
  const whole = await call(`${two.url}/api/jobs/${jobId}/events`, { headers: bearer });
  assert.is(saidIn(whole.text), words(60));
  const late = await call(`${two.url}/api/jobs/${jobId}/events`, { headers: { ...bearer, 'last-event-id': '1-1.0' } });
  assert.is(late.text, whole.text.slice(whole.text.indexOf('\n\n') + 2));
  assert.equal(worker.cancelled, []);
  await untilNothingIsOpen();
  worker.close();
});

test('a job waits for its caller as long as it was asked to, at whichever router it runs', async () => {
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(1000, 20) });
  const leaving = new AbortController();
  const asked = fetch(
    `${one.url}/v1/chat/completions`,
    chatInit({ stream: true }, { signal: leaving.signal, headers: { 'x-auxot-keep': '3' } }),
  );
  const response = await asked;
  const jobId = response.headers.get('x-auxot-job') ?? '';
  leaving.abort();
  await sleep(1500);
  assert.equal(worker.cancelled, []);
  await waitUntil(
    () => worker.cancelled.length === 1,
    6000,
    () => `job ${jobId} went on without its caller`,
  );
  await untilNothingIsOpen();
  worker.close();
});

test('a caller that comes back to the other router has its answer to the end, however short the time was', async () => {
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(300, 20) });
  const leaving = new AbortController();
  const headers = { 'x-auxot-keep': '2' };
  const init = chatInit({ stream: true }, { signal: leaving.signal, headers });
  const jobId = (await fetch(`${two.url}/v1/chat/completions`, init)).headers.get('x-auxot-job') ?? '';
  await sleep(300);
  leaving.abort();
  await sleep(300);
  const rest = await call(`${one.url}/api/jobs/${jobId}/events`, { headers: bearer });
  assert.is(saidIn(rest.text), words(300));
  assert.equal(worker.cancelled, []);
  await untilNothingIsOpen();
  worker.close();
});

test('of two that read at different routers, one may leave', async () => {
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(200, 20) });
  const leaving = new AbortController();
  const init = chatInit({ stream: true }, { signal: leaving.signal });
  const jobId = (await fetch(`${two.url}/v1/chat/completions`, init)).headers.get('x-auxot-job') ?? '';
  const other = call(`${one.url}/api/jobs/${jobId}/events`, { headers: bearer });
  await sleep(1000);
  leaving.abort();
  assert.is(saidIn((await other).text), words(200));
  assert.equal(worker.cancelled, []);
  await untilNothingIsOpen();
  worker.close();
});

if (started !== null) test.run();
