/**
 * A worker that is about to leave hands its jobs over without a gap (PROTOCOL.md R15, machines/job.moves.ts), under the
 * stepped clock: who speaks until when, and what becomes of everybody's slots.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openWorld, TestWorker, type World } from './world.ts';

const idle = { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 };

async function dialIn({ front, clock }: World, name: string, more: object = {}): Promise<TestWorker> {
  const worker = new TestWorker(front);
  const capabilities = { backend: 'llama.cpp', model: 'm', ctx_size: 4096, total_slots: 1 };
  const process = { protocol_version: 2, instance_id: name, ready: true, model_file: 'sha256:same' };
  worker.say({ type: 'hello', gpu_key: 'adm_test', capabilities, ...process, ...more });
  await clock.settle();
  return worker;
}

const say = (worker: TestWorker, jobId: string, attempt: number, seq: number, token: string): void =>
  worker.say({ type: 'token', job_id: jobId, token, attempt, seq, ids: [100 + seq] });

const complete = (worker: TestWorker, { job_id, attempt }: Record<string, unknown>, seq: number): void =>
  worker.say({ type: 'complete', job_id, input_tokens: 3, output_tokens: 9, attempt, seq, finish_reason: 'stop' });

/** The job by which the worker gets ready. */
const warming = (worker: TestWorker): Record<string, unknown> =>
  worker.of('job').findLast(({ job_id }) => String(job_id).startsWith('warm:')) ?? {};

const kinds = ({ log }: World, jobId: string): string[] => log.events(jobId).map(({ type }) => type);

/** A job has said `A ` at the first of two workers, which then says that it leaves. */
async function leaving(request = {}, secondMore: object | null = {}) {
  const world = openWorld();
  const first = await dialIn(world, 'first');
  const caller = world.ask(request);
  await world.clock.settle();
  const jobId = first.jobs[0] ?? '';
  say(first, jobId, 1, 1, 'A ');
  await world.clock.settle();
  const second = secondMore === null ? null : await dialIn(world, 'second', secondMore);
  first.say({ type: 'status', state: 'draining' });
  await world.clock.settle();
  return { ...world, first, second: second ?? first, caller, jobId };
}

test('the worker that leaves goes on until another has read all, and then that one does', async () => {
  const { clock, first, second, caller, jobId, ...world } = await leaving({ max_tokens: 50 });
  const frame = warming(second);
  assert.is(frame.max_tokens, 2, 'one token behind what was said');
  assert.equal((frame.resume as { text: string }).text, 'A ');
  say(first, jobId, 1, 2, 'B ');
  say(second, String(frame.job_id), 2, 1, 'X ');
  await clock.settle();
  assert.is(caller.said, 'A B ');
  assert.equal(first.of('cancel'), []);
  complete(second, frame, 1);
  await clock.settle();
  assert.equal(
    first.of('cancel').map(({ attempt }) => attempt),
    [1],
  );
  const job = second.of('job').at(-1) ?? {};
  assert.equal([job.job_id, job.attempt, job.max_tokens], [jobId, 2, 50]);
  const { text, ids } = job.resume as { text: string; ids: number[] };
  assert.equal([text, ids], ['A B ', [101, 102]]);
  say(first, jobId, 1, 3, 'late ');
  say(second, jobId, 2, 1, 'C ');
  complete(second, job, 1);
  await clock.settle();
  assert.is(caller.said, 'A B C ');
  assert.equal(kinds({ ...world, clock } as World, jobId), [
    'job.submitted',
    'job.assigned',
    'output.appended',
    'output.appended',
    'job.moved',
    'output.appended',
    'job.completed',
  ]);
  first.drop();
  await clock.settle();
  assert.equal(world.front.load, idle);
  // The worker is told that its word about getting ready needs to be kept no longer.
  await clock.pass(200);
  assert.ok(second.of('ack').some(({ job_id, ended }) => job_id === frame.job_id && ended === true));
});

test('a job that ends before another is ready ends that, too', async () => {
  const { clock, front, first, second, caller, jobId, ask } = await leaving();
  complete(first, { job_id: jobId, attempt: 1 }, 1);
  await clock.settle();
  assert.ok(caller.ended);
  const { job_id, attempt } = warming(second);
  assert.equal(second.of('cancel'), [{ type: 'cancel', job_id, attempt }]);
  first.drop();
  await clock.settle();
  assert.equal(front.load, idle);
  ask();
  await clock.settle();
  assert.is(second.of('job').length, 2, 'its slot is free');
});

test('with no slot free the job stays, and moves when there is one', async () => {
  const { clock, first, caller, jobId, ...world } = await leaving({}, null);
  say(first, jobId, 1, 2, 'B ');
  await clock.settle();
  const third = await dialIn({ ...world, clock } as World, 'third');
  complete(third, warming(third), 1);
  await clock.settle();
  assert.is(third.jobs.at(-1), jobId);
  assert.is(caller.said, 'A B ');
});

test('the worker leaves before another is ready: the job goes on there at once', async () => {
  const { clock, first, second, jobId, ...world } = await leaving();
  first.drop(1001);
  await clock.settle();
  assert.is(second.jobs.at(-1), jobId);
  assert.equal(second.of('cancel').length, 1);
  assert.ok(kinds({ ...world, clock } as World, jobId).includes('job.orphaned'));
});

test('one that gets ready is lost, or leaves itself, or cannot: the next one is asked, or the job stays', async () => {
  for (const how of ['lost', 'leaves', 'cannot'] as const) {
    const { clock, first, second, jobId, caller, ...world } = await leaving();
    const third = await dialIn({ ...world, clock } as World, 'third');
    const { job_id, attempt } = warming(second);
    if (how === 'lost') second.drop();
    else if (how === 'leaves') second.say({ type: 'status', state: 'draining' });
    else second.say({ type: 'error', job_id, attempt, error: 'no', code: 'overloaded' });
    await clock.settle();
    say(first, jobId, 1, 2, 'B ');
    if (how === 'cannot') assert.equal(third.jobs, [], how);
    else complete(third, warming(third), 1);
    await clock.settle();
    if (how !== 'cannot') assert.is(third.jobs.at(-1), jobId, how);
    complete(
      how === 'cannot' ? first : third,
      { job_id: jobId, attempt: how === 'cannot' ? 1 : 2 },
      how === 'cannot' ? 2 : 0,
    );
    await clock.settle();
    assert.ok(caller.ended, how);
    for (const worker of [first, second]) worker.drop();
    await clock.settle();
    assert.equal(world.front.load, idle, how);
  }
});

test('one that dials in again while it gets ready is greeted, and asked anew', async () => {
  const { second, jobId, ...world } = await leaving();
  const { job_id, attempt } = warming(second);
  const again = await dialIn(world as World, 'second', { jobs: [{ job_id, attempt, seq: 0 }] });
  assert.equal(again.of('hello_ack')[0]?.jobs, []);
  complete(again, warming(again), 1);
  await world.clock.settle();
  assert.is(again.jobs.at(-1), jobId);
});

test('who is paid by the word, or speaks version 1, gets nothing to read in advance', async () => {
  const cli = { capabilities: { backend: 'claude', model: 'm', ctx_size: 4096, total_slots: 1 } };
  const { second } = await leaving({}, cli);
  assert.equal(second.jobs, []);
  const old = await leaving({}, { protocol_version: 1 });
  assert.equal(old.second.jobs, []);
});

test('several answers at once, and vectors, are not moved', async () => {
  const world = openWorld();
  const more = { features: ['n'] };
  const first = await dialIn(world, 'first', more);
  world.ask({ n: 2 });
  await world.clock.settle();
  assert.is(first.jobs.length, 1);
  const second = await dialIn(world, 'second', more);
  first.say({ type: 'status', state: 'draining' });
  await world.clock.settle();
  assert.equal(second.jobs, []);
});

test('the shard dies: nobody gets ready any more, the slot is free, and the job goes on where it is', async () => {
  const { clock, first, second, caller, jobId, shards, ask, ...world } = await leaving();
  for (let shard = 0; shard < shards.count; shard += 1) shards.kill(shard);
  await clock.pass(1000);
  complete(second, warming(second), 1);
  say(first, jobId, 1, 2, 'B ');
  await clock.settle();
  assert.is(caller.said, 'A B ');
  assert.not.ok(second.jobs.includes(jobId));
  ask();
  await clock.settle();
  assert.is(second.of('job').length, 2, 'its slot is free');
  assert.not.ok(kinds({ ...world, clock } as World, jobId).includes('job.moved'));
});

test.run();
