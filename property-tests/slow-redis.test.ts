/** Two routers whose Redis is far away: 10 ms for every reply. Slower, and nothing else. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chat, health, saidIn } from './callers.ts';
import { Link } from './chaos/link.ts';
import { waitUntil, within } from './processes.ts';
import { startWorker } from './scripted-worker.ts';
import { kill, second, slowly, startTwoRouters, type TwoRouters, words } from './two-routers.ts';

let link: Link | null = null;
const started = await startTwoRouters([], async ({ port }) => {
  link = await Link.open([port]);
  // Of both directions.
  link.delay(5);
  return `redis://127.0.0.1:${link.port}`;
});
// Without a redis-server no test runs.
const { one, two, eventsOf, untilNothingIsOpen } = (started ?? {}) as TwoRouters;

test.after(async () => {
  await started?.stop();
  await link?.close();
});

test('answers across routers are whole, at the pace of their worker, and nobody is taken for dead', async () => {
  const worker = await startWorker(two.wsUrl, { slots: 8, script: slowly(100, 10, 1, 2), hello: second('w-far') });
  const askedAt = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, i) => chat((i % 2 === 0 ? one : two).url, { stream: true })),
  );
  const tookMs = performance.now() - askedAt;
  for (const { text } of answers) assert.is(saidIn(text), words(100));
  console.log(`  eight answers of 1 s took ${Math.round(tookMs)} ms`);
  await untilNothingIsOpen();
  for (const { job_id } of worker.jobs) {
    const types = (await eventsOf(job_id)).map(({ type }) => type);
    assert.not.ok(types.includes('job.requeued') || types.includes('job.orphaned'), types.join(' '));
  }
  assert.is(worker.jobs.length, 8, 'each job ran once');
  for (const { url } of [one, two]) assert.is((await health(url)).status, 'ok');
  worker.close();
});

test('a router that is killed is replaced all the same', async () => {
  const gone = await startWorker(two.wsUrl, { slots: 1, script: slowly(1000, 10, 1, 2), hello: second('w-lost') });
  const asked = chat(two.url, { stream: true }).catch(() => null);
  await waitUntil(
    () => gone.jobs.length === 1,
    5000,
    () => 'no job came',
  );
  const jobId = gone.jobs[0]?.job_id ?? '';
  await waitUntil(
    async () => (await eventsOf(jobId)).some(({ type }) => type === 'output.appended'),
    5000,
    () => 'nothing was said',
  );
  await kill(two);
  const killedAt = performance.now();
  await waitUntil(
    async () => (await eventsOf(jobId)).some(({ type }) => type === 'job.adopted'),
    6000,
    () => 'nobody took the job',
  );
  const tookMs = performance.now() - killedAt;
  console.log(`  taken over ${Math.round(tookMs)} ms after the router was killed`);
  assert.ok(tookMs < 3000, `${tookMs} ms`);
  gone.close();
  await within(5000, asked, 'the end of the first caller');
});

test.run();
