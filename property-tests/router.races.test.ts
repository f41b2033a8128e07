/**
 * Races between callers, workers, shards, store and boots that once went wrong, each told step by step. Most were found
 * by router.property.test.ts, which finds their kin; here each one stays.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Append, type AppendResult, type LogEntry, StoreTrouble } from '../actors/log/job-log.ts';
import type { Position } from '../protocol/position.ts';
import { FakeLog } from './fake-log.ts';
import { openWorld, type TestWorker } from './world.ts';

const none = { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 };

const say = (worker: TestWorker, jobId: string, ...tokens: string[]): void => {
  for (const token of tokens) worker.say({ type: 'token', job_id: jobId, token });
};
const complete = (worker: TestWorker, jobId: string, full: string): void =>
  worker.say({ type: 'complete', job_id: jobId, full_response: full, input_tokens: 10, output_tokens: 5 });

/** A log whose appends and reads can be held up or fail, each for itself. */
class HeldLog extends FakeLog {
  readsFail = false;
  /** Called before each read. */
  beforeRead: (jobId: string) => void | Promise<void> = () => undefined;
  #open: () => void = () => undefined;

  hold(): void {
    this.gate = new Promise(resolve => {
      this.#open = resolve;
    });
  }

  release(): void {
    this.gate = null;
    this.#open();
  }

  override async read(jobId: string, after?: Position, limit?: number): Promise<LogEntry[]> {
    if (this.readsFail) throw new StoreTrouble('the fake store cannot be read');
    const entries = await super.read(jobId, after, limit);
    await this.beforeRead(jobId);
    return entries;
  }

  /** As a boot that nobody knows of would. */
  put(append: Append): Promise<AppendResult[]> {
    return super.append([append]);
  }
}

test('a shard that dies while the store cannot be read is rebuilt when it can', async () => {
  const log = new HeldLog();
  const { clock, shards, failures, ask, worker } = openWorld({}, { shardCount: 1, log });
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  say(gpu, gpu.jobs[0] ?? '', 'before');
  await clock.settle();
  log.readsFail = true;
  shards.kill(0);
  complete(gpu, gpu.jobs[0] ?? '', 'before and after');
  await clock.pass(5_000);
  assert.equal(failures, []);
  log.readsFail = false;
  await clock.pass(2_000);
  assert.is(caller.said, 'before and after');
});

test('a caller that leaves while its shard is dead has its job cancelled', async () => {
  const { clock, log, front, shards, ask, worker } = openWorld({}, { shardCount: 1 });
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  // Its shard is told, and dies before it answers: the successor has never heard of this caller.
  front.callerClosed(caller.streamId);
  shards.kill(0);
  await clock.settle();
  assert.is(log.events(gpu.jobs[0] ?? '').at(-1)?.type, 'job.cancelled');
  assert.is(gpu.of('cancel').length, 1);
  assert.equal(front.load, none);
});

test('a worker that completes and goes while its shard is dead has completed', async () => {
  const { clock, shards, ask, worker } = openWorld({}, { shardCount: 1 });
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  say(gpu, gpu.jobs[0] ?? '', 'all ');
  complete(gpu, gpu.jobs[0] ?? '', 'all said');
  gpu.drop();
  shards.kill(0);
  await clock.settle();
  assert.is(caller.said, 'all said');
  assert.not.match(caller.text, /error/);
});

test('a worker that goes while its shard is dead leaves no timer behind', async () => {
  const { clock, front, shards, worker } = openWorld({}, { shardCount: 1 });
  const gpu = await worker(1, { protocol_version: 2, instance_id: 'w' });
  gpu.say({ type: 'status', state: 'draining' });
  await clock.settle();
  assert.is(front.load.timers, 1);
  shards.kill(0);
  gpu.drop();
  await clock.pass(1000);
  assert.equal(front.load, none);
});

test('a caller paused by the very last bytes of its answer gets its end', async () => {
  const { clock, front, ask, worker } = openWorld();
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  say(gpu, gpu.jobs[0] ?? '', 'all');
  await clock.settle();
  let buffered = 2 ** 20;
  Object.defineProperty(caller, 'bufferedBytes', { get: () => buffered });
  complete(gpu, gpu.jobs[0] ?? '', 'all');
  await clock.settle();
  buffered = 0;
  caller.drain(front);
  await clock.settle();
  assert.is(caller.said, 'all');
  assert.ok(caller.ended);
  assert.equal(front.load, none);
});

test('a caller that has caught up is shown nothing that is still on its way to the log', async () => {
  const log = new HeldLog();
  const { clock, front, ask, worker } = openWorld({}, { log });
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  caller.slow = true;
  const piece = 'x'.repeat(300_000);
  say(gpu, jobId, piece);
  await clock.settle();
  // 1. It wakes and reads the log. 2. Meanwhile its worker goes on. 3. What it says is not acknowledged yet.
  log.hold();
  caller.slow = false;
  caller.drain(front);
  say(gpu, jobId, ' held');
  await clock.settle();
  assert.is(caller.said, piece);
  log.release();
  await clock.settle();
  assert.is(caller.said, `${piece} held`);
});

test('what was held back for a caller before it woke is not said to it twice', async () => {
  const log = new HeldLog();
  const { clock, front, ask, worker } = openWorld({}, { log });
  const gpu = await worker(1);
  const caller = ask();
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  caller.slow = true;
  const piece = 'x'.repeat(300_000);
  log.hold();
  say(gpu, jobId, piece);
  await clock.settle();
  say(gpu, jobId, ' one');
  await clock.settle();
  // 1. The first append is acknowledged, and what it releases pauses the caller. The second is held up.
  const write = caller.write.bind(caller);
  caller.write = text => {
    caller.write = write;
    log.hold();
    write(text);
  };
  log.release();
  await clock.settle();
  assert.is(caller.said, piece);
  // 2. The caller wakes, and asks the log for what it missed. 3. The second append releases just that.
  caller.slow = false;
  caller.drain(front);
  await clock.settle();
  log.release();
  complete(gpu, jobId, `${piece} one`);
  await clock.settle();
  assert.is(caller.said, `${piece} one`);
});

test('a worker that left out its first frame is told to stop before its slot is given away', async () => {
  const { clock, ask, worker } = openWorld();
  const gpu = await worker(1, { protocol_version: 2, instance_id: 'i' });
  ask();
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  gpu.say({ type: 'token', job_id: jobId, token: 'b', attempt: 1, seq: 2 });
  await clock.settle();
  const kinds = gpu.frames.map(({ type, attempt }) => `${type} ${attempt}`);
  assert.equal(kinds.slice(-3), ['job 1', 'cancel 1', 'job 2']);
});

test('what the former boot logs before it is fenced counts, also behind our first look', async () => {
  const log = new HeldLog();
  const old = openWorld({}, { log });
  const gpu = await old.worker(1);
  old.ask();
  await old.clock.settle();
  const [jobId = ''] = gpu.jobs;
  let looks = 0;
  log.beforeRead = () => {
    looks += 1;
    if (looks > 1) return;
    const event = { type: 'output.appended', at: 1, attempt: 1, kind: 'text', text: 'late', tokens: 1 };
    return log.put({ jobId, epoch: 1, sequence: 3, count: 1, events: JSON.stringify([event]) }).then(() => undefined);
  };
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  const recovered = next.front.recover();
  await next.clock.settle();
  assert.is(await recovered, 1);
  // It said something: it is not begun anew, which would say it twice.
  assert.equal(
    log.events(jobId).map(({ type }) => type),
    ['job.submitted', 'job.assigned', 'output.appended', 'job.adopted', 'job.failed'],
  );
});

test('a job that its former boot ends at the last moment has one end', async () => {
  const log = new HeldLog();
  const old = openWorld({}, { log });
  const gpu = await old.worker(1);
  old.ask();
  await old.clock.settle();
  const [jobId = ''] = gpu.jobs;
  let looks = 0;
  log.beforeRead = () => {
    looks += 1;
    if (looks > 1) return;
    const event = { type: 'job.cancelled', at: 1, reason: 'caller_gone' };
    const events = JSON.stringify([event]);
    return log.put({ jobId, epoch: 1, sequence: 3, count: 1, events, ends: true }).then(() => undefined);
  };
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  const recovered = next.front.recover();
  await next.clock.settle();
  assert.is(await recovered, 0);
  assert.equal(next.front.load, none);
  assert.equal(
    log.events(jobId).map(({ type }) => type),
    ['job.submitted', 'job.assigned', 'job.cancelled', 'job.adopted'],
  );
});

test('of two boots that take up a job at once, the last to open an epoch has it, alone', async () => {
  const log = new HeldLog();
  const old = openWorld({}, { log });
  const gpu = await old.worker(1);
  old.ask();
  await old.clock.settle();
  const [jobId = ''] = gpu.jobs;
  const second = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  const third = openWorld({ writer: { instance: 'test', boot: 'boot-3' } }, { log });
  // The second has opened its epoch; before it has read the log again, the third opens the next.
  let taken: Promise<number> | null = null;
  log.beforeRead = async () => {
    if (taken !== null || log.logs.get(jobId)?.at(-1)?.epoch !== 2) return;
    taken = third.front.recover();
    await third.clock.settle();
  };
  const recovered = second.front.recover();
  await second.clock.settle();
  await second.clock.settle();
  assert.is(await taken, 1);
  await recovered;
  await Promise.all([second.worker(1), third.worker(1)]);
  await second.clock.settle();
  await third.clock.settle();
  const boots = log.events(jobId).flatMap(event => (event.type === 'job.adopted' ? [event.boot] : []));
  assert.equal(boots, ['boot-2', 'boot-3']);
  const assigned = log.logs.get(jobId)?.at(-1);
  assert.is(assigned?.epoch, 3);
  assert.equal(second.front.load, none);
});

test('a shard rebuilt after another boot took its job writes nothing more', async () => {
  const log = new HeldLog();
  const old = openWorld({}, { log, shardCount: 1 });
  const gpu = await old.worker(1);
  const caller = old.ask();
  await old.clock.settle();
  const [jobId = ''] = gpu.jobs;
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  const recovered = next.front.recover();
  await next.clock.settle();
  await recovered;
  // The rebuild reads the other boot's epoch. Going on behind it would make two writers of one epoch.
  old.shards.kill(0);
  say(gpu, jobId, 'ghost');
  await old.clock.settle();
  assert.is(
    log.events(jobId).findIndex(({ type }) => type === 'output.appended'),
    -1,
  );
  assert.ok(caller.destroyed);
  assert.equal(old.front.load, none);
});

test('jobs that an earlier boot had accepted are taken up although more wait than may', async () => {
  const { log, clock, ask } = openWorld();
  for (let n = 0; n < 5; n += 1) ask();
  await clock.settle();
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' }, maxQueue: 2 }, { log });
  const recovered = next.front.recover();
  await next.clock.settle();
  assert.is(await recovered, 5);
  const gpu = await next.worker(5);
  assert.is(gpu.jobs.length, 5);
});

test('a broken frame about a job that its worker has just lost does not fail the job', async () => {
  const log = new HeldLog();
  const { clock, ask, worker } = openWorld({}, { log });
  const first = await worker(1, { protocol_version: 2, instance_id: 'i' });
  const caller = ask();
  await clock.settle();
  const [jobId = ''] = first.jobs;
  log.hold();
  first.say({ type: 'token', job_id: jobId, token: 'b', attempt: 1, seq: 2 });
  await clock.settle();
  // The job is queued again, but the store has not said so: the front still counts the worker as its holder.
  first.say({ type: 'token', job_id: jobId, token: 7, attempt: 1, seq: 3 });
  await clock.settle();
  log.release();
  await clock.settle();
  first.say({ type: 'complete', job_id: jobId, full_response: 'ok', attempt: 2 });
  await clock.settle();
  assert.is(caller.said, 'ok');
});

test.run();
