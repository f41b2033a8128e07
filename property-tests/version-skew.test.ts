/** Routers of two versions on one Redis: what a newer one writes does an older one no harm, and is left to it. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, health, saidIn } from './callers.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { startRedis } from './redis-server.ts';
import { startWorker } from './scripted-worker.ts';
import { sleep } from './two-routers.ts';

const redis = await startRedis();
const skew = redis === null ? test.skip : test;
const connection = new Redis(redis?.url ?? '', { lazyConnect: true });
let router: RouterProcess;

test.before(async () => {
  if (redis === null) return;
  await connection.connect();
  router = await startRouter({ AUXOT_REDIS_URL: redis.url, AUXOT_SHARDS: '1' });
});

test.after(async () => {
  connection.disconnect();
  await router?.stop();
  await redis?.stop();
});

const at = Date.now();
const boot = 'f'.repeat(24);

/** A job of a newer router, which is gone: its log has what this version has no word for. */
async function newerJob(...events: object[]): Promise<string> {
  const jobId = `chatcmpl-00${randomBytes(16).toString('base64url')}`.slice(0, 33);
  const submitted = {
    ...{ type: 'job.submitted', at, jobId, instance: 'newer', boot, priority: 0, deadlineAt: at + 600_000 },
    ...{ request: { model: 'm', messages: [{ role: 'user', content: 'hi' }] } },
    answer: { api: 'openai.chat', stream: true, model: 'm' },
  };
  await connection.xadd('auxot:ready', '*', 'job', jobId, 'boot', boot);
  await connection.xadd(`auxot:{${jobId}}:log`, '1-1', 'v', '1', 'e', JSON.stringify([submitted, ...events]));
  return jobId;
}

/** Its router was there, and its lease has lapsed. */
async function newerGone(): Promise<void> {
  await connection.hset('auxot:boots', boot, '{"version":"9.0.0"}');
}

const lengthOf = (jobId: string): Promise<number> => connection.xlen(`auxot:{${jobId}}:log`);

skew('jobs, letters and offers that it has no word for are left alone, and all else goes on', async () => {
  const blessed = await newerJob({ type: 'job.blessed', at, by: 'a newer router' });
  const plain = await newerJob();
  await newerGone();
  const own = Object.keys(await connection.hgetall('auxot:boots')).find(each => each !== boot) ?? '';
  await connection.xadd(
    `auxot:inbox:${own}`,
    '*',
    'm',
    JSON.stringify({ kind: 'greeting', from: boot, jobId: blessed }),
  );
  await connection.xadd(`auxot:inbox:${own}`, '*', 'm', 'no JSON');
  // A field more than this version writes.
  const worker = await startWorker(router.wsUrl, { slots: 2 });
  assert.is(saidIn((await chat(router.url, { stream: true })).text), 'Hello from the GPU!');
  await waitUntil(
    async () => (await lengthOf(plain)) > 1,
    10_000,
    () => `the job that it knows every word of is not taken:\n${router.output()}`,
  );
  await sleep(1000);
  assert.is(await lengthOf(blessed), 1, 'nothing is written to a log that it cannot read');
  assert.is((await health(router.url)).status, 'ok');
  assert.is(saidIn((await chat(router.url, { stream: true })).text), 'Hello from the GPU!');
  worker.close();
});

skew('fields that it does not know are no obstacle', async () => {
  const jobId = await newerJob({
    type: 'output.appended',
    at,
    attempt: 1,
    kind: 'text',
    text: '',
    tokens: 0,
    mood: 'good',
  });
  await newerGone();
  const worker = await startWorker(router.wsUrl, { slots: 2 });
  await waitUntil(
    async () => (await lengthOf(jobId)) > 1,
    10_000,
    () => `not taken:\n${router.output()}`,
  );
  worker.close();
});

test.run();
