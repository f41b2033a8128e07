/** Callers that follow a job of another caller, in a world whose time and deaths a test holds in its hands. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Follow } from '../protocol/shard-messages.ts';
import { openWorld, TestCaller, type World } from './world.ts';

function follow({ front }: World, jobId: string, how: Partial<Follow> = {}): TestCaller {
  const caller = new TestCaller();
  caller.streamId = front.followArrived(caller, jobId, { cursor: null, shape: 'asked', waits: true, ...how });
  return caller;
}

const token = (job_id: string, text: string): object => ({ type: 'token', job_id, token: text });
const complete = (job_id: string): object => ({
  type: 'complete',
  job_id,
  full_response: '',
  duration_ms: 1,
  input_tokens: 1,
  output_tokens: 3,
});

test('followers of a live job and of one that has ended notice nothing of a shard that dies', async () => {
  for (let killAt = 0; killAt < 6; killAt += 1) {
    const world = openWorld({}, { shardCount: 1 });
    const { clock, ask, shards } = world;
    const worker = await world.worker(2);
    const caller = ask();
    await clock.settle();
    const [job = ''] = worker.jobs;
    const followers: TestCaller[] = [];
    const steps = [
      () => worker.say(token(job, 'one ')),
      () => void followers.push(follow(world, job)),
      () => worker.say(token(job, 'two ')),
      () => void followers.push(follow(world, job, { cursor: { position: { epoch: 1, number: 1 }, frames: null } })),
      () => worker.say(complete(job)),
      () => void followers.push(follow(world, job)),
    ];
    for (const [index, step] of steps.entries()) {
      step();
      // Before the shard has answered, and after.
      if (index === killAt) shards.kill(0);
      await clock.pass(200);
      if (index === killAt) shards.kill(0);
      await clock.pass(200);
    }
    await clock.pass(1000);
    assert.ok(caller.ended);
    assert.is(caller.said, 'one two ');
    const [whole, resumed, late] = followers;
    assert.is(whole?.text, caller.text);
    assert.is(late?.text, caller.text);
    const head = caller.text.indexOf('\n\n') + 2;
    assert.is(resumed?.text, caller.text.slice(head), `killed at step ${killAt}`);
    assert.ok(followers.every(({ ended }) => ended));
    assert.equal(shards.sizes(), [{ jobs: 0, streams: 0, workers: 1 }]);
  }
});

test('a follower that reads slowly gets the same bytes, and keeps nothing waiting', async () => {
  const world = openWorld({}, { shardCount: 1 });
  const { clock, ask } = world;
  const worker = await world.worker(1);
  const caller = ask();
  await clock.settle();
  const [job = ''] = worker.jobs;
  const slow = follow(world, job);
  slow.slow = true;
  for (let n = 0; n < 200; n += 1) {
    worker.say(token(job, 'x'.repeat(4000)));
    await clock.settle();
  }
  const tailing = follow(world, job);
  worker.say(complete(job));
  await clock.settle();
  const late = follow(world, job);
  late.slow = true;
  await clock.pass(1000);
  assert.ok(slow.text.length < caller.text.length / 2, 'it was paused');
  for (let n = 0; n < 40 && !(slow.ended && late.ended); n += 1) {
    slow.drain(world.front);
    late.drain(world.front);
    await clock.pass(1000);
  }
  for (const each of [slow, tailing, late]) assert.is(each.text, caller.text);
  assert.equal(world.shards.sizes(), [{ jobs: 0, streams: 0, workers: 1 }]);
});

test('a job that nobody has heard of is not there, whoever asks', async () => {
  const world = openWorld();
  const unknown = follow(world, `chatcmpl-00${'0'.repeat(22)}`);
  await world.clock.pass(1000);
  assert.is(unknown.status, 404);
  assert.equal(
    world.shards.sizes().map(({ streams }) => streams),
    [0, 0],
  );
});

test.run();
