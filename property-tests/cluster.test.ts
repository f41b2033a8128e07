/**
 * Several routers on one Redis, as real processes: they leave each other's jobs alone while they live, and take over those
 * of one that was killed.
 */
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { JobLog, type Store } from '../actors/log/job-log.ts';
import type { JobEvent } from '../protocol/job-events.ts';
import { chat, saidIn } from './callers.ts';
import { type RouterProcess, startRouter, waitUntil } from './processes.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { type Script, startWorker } from './scripted-worker.ts';

const redis: RedisServer | null = await startRedis(['--appendonly', 'no']);
const routers: RouterProcess[] = [];
let connection: Redis;
let log: JobLog;

async function router(env: Record<string, string> = {}): Promise<RouterProcess> {
  const started = await startRouter({ AUXOT_REDIS_URL: redis?.url ?? '', AUXOT_SHARDS: '1', ...env });
  routers.push(started);
  return started;
}

async function kill(killed: RouterProcess): Promise<void> {
  killed.kill('SIGKILL');
  await killed.ended;
}

/** Routers look twice a second who else is there. */
const acquainted = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 700));
const eventsOf = async (jobId: string): Promise<JobEvent[]> =>
  (await log.read(jobId)).flatMap(({ events }) => [...events]);
const openJobs = (): Promise<string[]> => log.openJobs();
const never: Script = () => undefined;

test.before(() => {
  connection = new Redis(redis?.url ?? '');
  log = new JobLog(connection as unknown as Store, {});
});
test.before.each(async () => {
  await connection.flushall();
});
test.after.each(async () => {
  for (const { kill: end, ended, output } of routers.splice(0)) {
    if (process.env.SHOW === '1') console.log(output());
    end('SIGKILL');
    await ended;
  }
});
test.after(async () => {
  connection.disconnect();
  await redis?.stop();
});

test('routers that live leave each other’s jobs alone', async () => {
  const [one, two] = await Promise.all([router(), router()]);
  const first = await startWorker(one.wsUrl, { slots: 4, script: never });
  const second = await startWorker(two.wsUrl, { slots: 4 });
  void chat(one.url, { stream: true }).catch(() => undefined);
  await waitUntil(
    () => first.jobs.length === 1,
    3000,
    () => 'the first router gave no job away',
  );
  // Longer than a lease lasts, and longer than it takes to judge others.
  await new Promise(resolve => setTimeout(resolve, 3500));
  assert.is(saidIn((await chat(two.url, { stream: true })).text), 'Hello from the GPU!');
  const [jobId = ''] = await openJobs();
  assert.equal(
    (await eventsOf(jobId)).map(({ type }) => type),
    ['job.submitted', 'job.assigned'],
  );
  assert.is(second.jobs.length, 1);
  for (const worker of [first, second]) worker.close();
});

test('the jobs of a router that is killed go on at another within 2 s', async () => {
  const [one, two] = await Promise.all([router(), router()]);
  const first = await startWorker(one.wsUrl, { slots: 1, script: never });
  void chat(one.url, { stream: true }).catch(() => undefined);
  await waitUntil(
    () => first.jobs.length === 1,
    3000,
    () => 'the first router gave no job away',
  );
  await new Promise(resolve => setTimeout(resolve, 2500));
  const [jobId = ''] = await openJobs();
  const second = await startWorker(two.wsUrl, { slots: 1 });
  const killedAt = Date.now();
  await kill(one);
  await waitUntil(
    () => second.jobs.length === 1,
    6000,
    () => `the job was not taken over:\n${two.output()}`,
  );
  await waitUntil(
    async () => (await openJobs()).length === 0,
    3000,
    () => 'the job did not end',
  );
  const events = await eventsOf(jobId);
  assert.is(events.at(-1)?.type, 'job.completed');
  const tookMs = (events.find(({ type }) => type === 'job.adopted')?.at ?? 0) - killedAt;
  console.log(`  taken over ${tookMs} ms after the router was killed`);
  assert.ok(tookMs > 0 && tookMs < 2000, `it took ${tookMs} ms`);
  for (const worker of [first, second]) worker.close();
});

/** Says `count` words, one each `ms`. */
const slowly =
  (count: number, ms: number): Script =>
  async ({ job_id }, worker) => {
    for (let i = 1; i <= count; i += 1) {
      await new Promise(resolve => setTimeout(resolve, ms));
      worker.say({ type: 'token', job_id, token: `w${i} ` });
    }
    worker.say({ type: 'complete', job_id, full_response: '', input_tokens: 1, output_tokens: count });
  };
const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i + 1} `).join('');

test('a job that finds no slot at its own router runs at another, and its caller notices nothing', async () => {
  const [one, two] = await Promise.all([router(), router()]);
  const worker = await startWorker(two.wsUrl, { slots: 2, script: slowly(20, 10) });
  await waitUntil(
    async () => (await connection.hlen('auxot:boots')) === 2,
    3000,
    () => 'there are not two routers',
  );
  for (const stream of [true, false]) {
    const askedAt = performance.now();
    const answer = await chat(one.url, { stream });
    assert.is(answer.status, 200, answer.text);
    const addedMs = performance.now() - askedAt - 200;
    console.log(`  an answer of 200 ms by way of another router took ${Math.round(addedMs)} ms more`);
    assert.ok(addedMs < 500, `${addedMs} ms`);
    assert.is(stream ? saidIn(answer.text) : answer.json.choices[0].message.content, words(20));
  }
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, i) => chat((i % 2 === 0 ? one : two).url, { stream: true })),
  );
  assert.equal(new Set(answers.map(({ text }) => saidIn(text))), new Set([words(20)]));
  assert.is(worker.jobs.length, 14);
  await waitUntil(
    async () => (await openJobs()).length === 0,
    3000,
    () => 'jobs stay in the index',
  );
  for (const line of ['begun', 'again', 'new'])
    assert.is(await connection.xlen(`auxot:offers:1:{test-model}:${line}`), 0, `offers stay in the line ${line}`);
  worker.close();
});

test('a caller that leaves ends its job at whichever router that runs', async () => {
  const [one, two] = await Promise.all([router(), router()]);
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(1000, 20) });
  const leaving = new AbortController();
  const asked = chat(one.url, { stream: true }, { signal: leaving.signal }).catch(() => null);
  await waitUntil(
    () => worker.jobs.length === 1,
    5000,
    () => `no job came:\n${one.output()}\n${two.output()}`,
  );
  await new Promise(resolve => setTimeout(resolve, 300));
  const leftAt = performance.now();
  leaving.abort();
  await asked;
  await waitUntil(
    () => worker.cancelled.length === 1,
    5000,
    () => 'the worker was not told',
  );
  const tookMs = (worker.cancelled[0]?.at ?? 0) - leftAt;
  console.log(`  the worker was told ${Math.round(tookMs)} ms after the caller had left`);
  assert.ok(tookMs < 1000, `${tookMs} ms`);
  worker.close();
});

if (redis !== null) test.run();
