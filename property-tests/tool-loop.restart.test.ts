/** Tool rounds and the end of a router, under a stepped clock: the next one reads the log, and nothing is run twice. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { toolsOff } from '../actors/router/tool-offer.ts';
import { FakeLog } from './fake-log.ts';
import { calls, dialTools } from './tools-worker.fake.ts';
import { openWorld, TestWorker } from './world.ts';

const options = { tools: { ...toolsOff, allowed: ['t', 'u'] } };
const typesOf = (log: FakeLog, jobId: string, from: number): string[] =>
  log
    .events(jobId)
    .map(({ type }) => type)
    .slice(from);

/** Two calls are on their way when the router ends. */
async function died() {
  const log = new FakeLog();
  const first = openWorld(options, { log });
  const gpu = await first.worker(1);
  const tools = await dialTools(first.front, first.clock, ['t', 'u']);
  const caller = first.ask();
  await first.clock.settle();
  const [jobId = ''] = gpu.jobs;
  gpu.say({ ...calls(jobId, ['t', '{"n":1}'], ['u', '{}']), full_response: 'Let me look.' });
  await first.clock.settle();
  const next = openWorld({ ...options, writer: { instance: 'test', boot: 'boot-2' } }, { log });
  // Ids of connections are never drawn twice, which the counter of a world does not know.
  for (let n = 0; n < 9; n += 1) new TestWorker(next.front).drop();
  const recover = async (): Promise<void> => {
    const recovering = next.front.recover();
    await next.clock.settle();
    assert.is(await recovering, 1);
  };
  return { log, first, tools, caller, jobId, next, recover };
}

test('the next router sends what was begun to the worker that has it, and to no other', async () => {
  const { log, first, tools, jobId, next, recover } = await died();
  const [t, u] = tools.jobs;
  tools.answer(t, { result: 'of t' });
  await first.clock.settle();
  await recover();
  const stranger = await dialTools(next.front, next.clock, ['t', 'u'], { instance: 'tools-2' });
  await next.clock.pass(5000);
  assert.is(stranger.jobs.length, 0);
  const held = [u?.job_id ?? '', 'of a job that is none'];
  const back = await dialTools(next.front, next.clock, ['t', 'u'], { held });
  assert.equal(
    back.jobs.map(({ job_id, sent_to }) => [job_id, sent_to]),
    [u].map(job => [job?.job_id, 'tools-1']),
    'the result of the other is in the log',
  );
  await next.clock.pass(3000);
  assert.equal(
    back.worker.of('cancel').map(({ job_id }) => job_id),
    ['of a job that is none'],
  );
  const gpu = await next.worker(1);
  back.answer(back.jobs[0], { result: 'of u' });
  await next.clock.settle();
  const results = ((gpu.of('job')[0]?.messages ?? []) as { content: unknown }[]).slice(2).map(({ content }) => content);
  assert.equal(results, ['of t', 'of u']);
  gpu.say({ type: 'complete', job_id: jobId, full_response: 'Seen.' });
  await next.clock.settle();
  assert.equal(typesOf(log, jobId, 8), [
    'job.adopted',
    'toolCall.started',
    'toolCall.finished',
    'toolRound.finished',
    'job.assigned',
    'output.appended',
    'job.completed',
  ]);
  assert.equal([next.front.tools.size, next.front.load.jobs, next.front.load.timers], [0, 0, 0]);
});

test('a result that was logged and not acknowledged is acknowledged by the next router, and not run', async () => {
  const { tools, first, next, recover } = await died();
  const [t] = tools.jobs;
  tools.answer(t, { result: 'of t' });
  await first.clock.settle();
  await recover();
  const back = await dialTools(next.front, next.clock, ['t', 'u'], { held: [t?.job_id ?? ''] });
  back.answer(t, { result: 'of t' });
  await next.clock.pass(3000);
  assert.equal(
    back.worker.of('tool_ack').map(({ job_id }) => job_id),
    [t?.job_id],
  );
  assert.ok(back.jobs.every(({ job_id }) => job_id !== t?.job_id));
});

test('nobody comes back: the outcome is unknown after the grace, and the round goes on', async () => {
  const { log, jobId, next, recover } = await died();
  await recover();
  const stranger = await dialTools(next.front, next.clock, ['t', 'u'], { instance: 'tools-2' });
  const gpu = await next.worker(1);
  await next.clock.pass(16_000);
  assert.is(stranger.jobs.length, 0);
  assert.is(gpu.jobs.length, 1);
  const codes = log.events(jobId).flatMap(event => (event.type === 'toolCall.finished' ? [event.code] : []));
  assert.equal(codes, ['outcome_unknown', 'outcome_unknown']);
});

test('a worker that has a call, and no room to take it again, is asked a moment later, and nobody else is', async () => {
  const { log, jobId, next, recover } = await died();
  await recover();
  const stranger = await dialTools(next.front, next.clock, ['t', 'u'], { instance: 'tools-2' });
  const back = await dialTools(next.front, next.clock, ['t', 'u']);
  assert.is(back.jobs.length, 2);
  for (const job of back.jobs) back.answer(job, { error: 'full', code: 'overloaded' });
  await next.clock.pass(500);
  assert.is(back.jobs.length, 2, 'not at once: it would never end');
  await next.clock.pass(1500);
  assert.is(stranger.jobs.length, 0);
  assert.equal(
    back.jobs.slice(2).map(({ sent_to }) => sent_to),
    ['tools-1', 'tools-1'],
  );
  for (const job of back.jobs.slice(2)) back.answer(job, { result: 'now' });
  await next.clock.settle();
  const results = log.events(jobId).flatMap(event => (event.type === 'toolCall.finished' ? [event.result] : []));
  assert.equal(results, ['now', 'now']);
});

test.run();
