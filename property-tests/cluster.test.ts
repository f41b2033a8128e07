/**
 * Several routers on one Redis, as real processes, with callers and workers at any of them: they leave each other's jobs
 * alone while they live, run what the others have no slot for, and take over the jobs of one that is killed or away.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, saidIn, untilHealth } from './callers.ts';
import { waitUntil } from './processes.ts';
import { startWorker } from './scripted-worker.ts';
import { kill, lookMs, never, second, sleep, slowly, startTwoRouters, type TwoRouters, words } from './two-routers.ts';

const started = await startTwoRouters();
// Without a redis-server no test runs.
const { one, two, connection, eventsOf, openJobs, untilNothingIsOpen, untilOutput } = (started ?? {}) as TwoRouters;

test.after(() => started?.stop());

test('routers that live leave each other’s jobs alone', async () => {
  const first = await startWorker(one.wsUrl, { slots: 1, script: never });
  const other = await startWorker(two.wsUrl, { slots: 1 });
  const leaving = new AbortController();
  void chat(one.url, { stream: true }, { signal: leaving.signal }).catch(() => undefined);
  await waitUntil(
    () => first.jobs.length === 1,
    3000,
    () => 'the first router gave no job away',
  );
  // Longer than a lease lasts.
  await sleep(2000);
  assert.is(saidIn((await chat(two.url, { stream: true })).text), 'Hello from the GPU!');
  const [jobId = ''] = await openJobs();
  assert.equal(
    (await eventsOf(jobId)).map(({ type }) => type),
    ['job.submitted', 'job.assigned'],
  );
  assert.is(other.jobs.length, 1);
  leaving.abort();
  await untilNothingIsOpen();
  for (const worker of [first, other]) worker.close();
});

test('a job that finds no slot at its own router runs at another, and its caller notices nothing', async () => {
  const worker = await startWorker(two.wsUrl, { slots: 2, script: slowly(20, 10) });
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
  await untilNothingIsOpen();
  for (const line of ['begun', 'again', 'new'])
    assert.is(await connection.xlen(`auxot:offers:1:{test-model}:${line}`), 0, `offers stay in the line ${line}`);
  worker.close();
});

test('a caller that leaves ends its job at whichever router that runs', async () => {
  const worker = await startWorker(two.wsUrl, { slots: 1, script: slowly(1000, 20) });
  const leaving = new AbortController();
  const asked = chat(one.url, { stream: true }, { signal: leaving.signal }).catch(() => null);
  await waitUntil(
    () => worker.jobs.length === 1,
    5000,
    () => `no job came:\n${one.output()}\n${two.output()}`,
  );
  await sleep(300);
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

test('a worker that redials another router takes its jobs with it, and nothing is generated again', async () => {
  const worker = await startWorker(one.wsUrl, { slots: 1, script: never, hello: second('w-redial') });
  const asked = chat(one.url, { stream: true });
  await waitUntil(
    () => worker.jobs.length === 1,
    3000,
    () => 'no job came',
  );
  const [{ job_id = '', attempt = 0 } = {}] = worker.jobs;
  for (const seq of [1, 2, 3]) worker.say({ type: 'token', job_id, attempt, seq, ids: [seq], token: `w${seq} ` });
  await untilOutput(job_id);
  worker.close();
  const redialledAt = performance.now();
  // It has said one more, which the first router may not have got.
  const back = await startWorker(two.wsUrl, { slots: 1, hello: second('w-redial', [{ job_id, attempt, seq: 4 }]) });
  console.log(`  the redialled worker was greeted after ${Math.round(performance.now() - redialledAt)} ms`);
  const [mark] = back.granted;
  assert.is(mark?.job_id, job_id, two.output());
  await slowly(
    10,
    0,
    mark?.seq === undefined ? 1 : mark.seq + 1,
    2,
  )({ job_id, attempt: mark?.attempt ?? 0, messages: [] }, back);
  assert.is(saidIn((await asked).text), words(10));
  const types = (await eventsOf(job_id)).map(({ type }) => type);
  assert.is(types.filter(type => type === 'job.assigned').length, 1);
  assert.ok(types.includes('job.resumed'));
  back.close();
});

test('a router that is stopped past its lease writes nothing more when it goes on, and its callers are served', async () => {
  const worker = await startWorker(one.wsUrl, { slots: 1, script: slowly(400, 10) });
  const asked = chat(one.url, { stream: true });
  await waitUntil(
    () => worker.jobs.length === 1,
    3000,
    () => 'no job came',
  );
  const jobId = worker.jobs[0]?.job_id ?? '';
  const other = await startWorker(two.wsUrl, { slots: 1, script: slowly(5, 10) });
  await waitUntil(
    async () => (await eventsOf(jobId)).length > 3,
    3000,
    () => 'no output',
  );
  one.kill('SIGSTOP');
  await waitUntil(
    async () => (await eventsOf(jobId)).some(({ type }) => type === 'job.adopted'),
    4000,
    () => 'nobody took the job',
  );
  await sleep(300);
  const before = await eventsOf(jobId);
  one.kill('SIGCONT');
  const { text } = await asked;
  assert.equal(await eventsOf(jobId), before, 'nothing was written by the one that was away');
  // The worker of version 1 was in the middle of an answer that nobody can go on with: the caller is told so.
  assert.match(text, 'the worker was lost in the middle of the answer');
  await waitUntil(
    () => worker.cancelled.length === 1,
    3000,
    () => 'its worker was not told to stop',
  );
  await untilHealth(one.url, ({ available }) => available === 1, 'its slot does not come free');
  for (const each of [worker, other]) each.close();
});

test('the jobs of a router that is killed go on at another within 2 s, and callers there miss nothing', async () => {
  await sleep(2500);
  const worker = await startWorker(one.wsUrl, { slots: 1, script: never, hello: second('w-kill') });
  await sleep(lookMs);
  // The caller is at the router that lives, and the worker at the one that dies.
  const asked = chat(two.url, { stream: true });
  await waitUntil(
    () => worker.jobs.length === 1,
    3000,
    () => 'no job came',
  );
  const [{ job_id = '', attempt = 0 } = {}] = worker.jobs;
  for (const seq of [1, 2, 3]) worker.say({ type: 'token', job_id, attempt, seq, ids: [seq], token: `w${seq} ` });
  await untilOutput(job_id);
  const killedAt = Date.now();
  await kill(one);
  const back = await startWorker(two.wsUrl, { slots: 1, hello: second('w-kill', [{ job_id, attempt, seq: 5 }]) });
  const [mark] = back.granted;
  assert.is(mark?.job_id, job_id, two.output());
  await slowly(10, 0, (mark?.seq ?? 0) + 1, 2)({ job_id, attempt: mark?.attempt ?? 0, messages: [] }, back);
  assert.is(saidIn((await asked).text), words(10));
  const events = await eventsOf(job_id);
  const tookMs = (events.findLast(({ type }) => type === 'job.adopted')?.at ?? 0) - killedAt;
  console.log(`  taken over ${tookMs} ms after the router was killed`);
  assert.ok(tookMs > 0 && tookMs < 2000, `it took ${tookMs} ms`);
  assert.is(events.filter(({ type }) => type === 'job.assigned').length, 1, 'nothing was generated again');
  back.close();
});

if (started !== null) test.run();
