/**
 * Jobs that outlive their workers, under the stepped clock: the races of PROTOCOL.md, numbered as there, and what is
 * carried from one worker to the next.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openWorld, TestWorker, type World } from './world.ts';

interface Mark {
  readonly job_id: string;
  readonly attempt: number;
  readonly seq: number;
}

/** A version 2 worker: `name` is its process, `file` its model file. */
function two(name: string, file = 'sha256:same', jobs: readonly Mark[] = []): object {
  return {
    protocol_version: 2,
    instance_id: name,
    ready: true,
    model_file: file,
    ...(jobs.length > 0 ? { jobs } : {}),
  };
}

function say(worker: TestWorker, { job_id, attempt, seq }: Mark, ...texts: string[]): void {
  texts.forEach((token, index) => {
    const number = seq + 1 + index;
    worker.say({ type: 'token', job_id, token, attempt, seq: number, ids: [100 + token.length] });
  });
}

function complete(worker: TestWorker, { job_id, attempt, seq }: Mark, full: string): void {
  const counts = { input_tokens: 3, output_tokens: 9 };
  worker.say({ type: 'complete', job_id, full_response: full, ...counts, attempt, seq, finish_reason: 'stop' });
}

/** A caller whose job has said `A B ` at the first of two workers; the second one is idle. */
async function begun(options: Parameters<typeof openWorld>[0] = {}) {
  const world = openWorld(options);
  const first = await world.worker(1, two('first'));
  const caller = world.ask();
  await world.clock.settle();
  const mark = { job_id: first.jobs[0] ?? '', attempt: 1, seq: 0 };
  say(first, mark, 'A ', 'B ');
  await world.clock.settle();
  assert.is(caller.said, 'A B ');
  return { ...world, first, caller, mark, jobId: mark.job_id };
}

interface Resume {
  readonly text: string;
  readonly ids?: readonly number[];
}
const resumeOf = (worker: TestWorker): Resume | undefined => worker.of('job')[0]?.resume as Resume | undefined;
const granted = (worker: TestWorker): unknown => worker.of('hello_ack')[0]?.jobs;
const cancelled = (worker: TestWorker): unknown[] => worker.of('cancel').map(({ attempt }) => attempt);
const kinds = ({ log }: World, jobId: string): string[] => log.events(jobId).map(({ type }) => type);
const idle = { jobs: 0, callers: 0, holders: 0, timers: 0, appends: 0, batches: 0 };

test('a standby goes on at once, told by ids what was said, and the caller sees one answer', async () => {
  const world = await begun();
  const { clock, first, caller, jobId } = world;
  const second = await world.worker(1, two('second'));
  const newer = world.ask();
  await clock.settle();
  // The slot is taken: the job waits, before all new ones, for the next.
  complete(second, { job_id: second.jobs[0] ?? '', attempt: 1, seq: 0 }, 'other');
  first.drop();
  await clock.settle();
  assert.is(newer.said, 'other');
  assert.equal(second.of('job')[1]?.resume, {
    text: 'A B ',
    reasoning: '',
    tokens: 2,
    reasoning_tokens: 0,
    ids: [102, 102],
  });
  const mark = { job_id: jobId, attempt: 2, seq: 0 };
  say(second, mark, 'C ');
  complete(second, { ...mark, seq: 1 }, 'A B C ');
  await clock.settle();
  assert.is(caller.said, 'A B C ');
  assert.ok(caller.ended);
  assert.equal(kinds(world, jobId), [
    'job.submitted',
    'job.assigned',
    'output.appended',
    'job.orphaned',
    'job.assigned',
    'output.appended',
    'job.completed',
  ]);
  assert.equal(world.front.load, idle);
});

test('an orphaned job goes before new ones', async () => {
  const { clock, front, ask, first, jobId } = await begun();
  ask();
  first.drop();
  await clock.settle();
  const [other, same] = [new TestWorker(front), new TestWorker(front)];
  other.hello(1, two('other', 'sha256:other'));
  same.hello(1, two('same'));
  await clock.settle();
  assert.is(other.jobs.length + same.jobs.length, 2);
  const holder = [same, other].find(({ jobs }) => jobs.includes(jobId));
  assert.ok(holder !== undefined && resumeOf(holder) !== undefined);
});

test('another model file is told the text, and no ids', async () => {
  const { clock, first, worker } = await begun();
  const second = await worker(1, two('second', 'sha256:other'));
  first.drop();
  await clock.settle();
  assert.equal(second.of('job')[0]?.resume, { text: 'A B ', reasoning: '', tokens: 2, reasoning_tokens: 0 });
});

test('nothing said: the standby gets the job as it was', async () => {
  const { clock, ask, worker } = openWorld();
  const first = await worker(1, two('first'));
  ask();
  await clock.settle();
  const second = await worker(1, two('second'));
  first.drop();
  await clock.settle();
  assert.is(second.jobs.length, 1);
  assert.is(second.of('job')[0]?.resume, undefined);
});

test('R3, R15: the job ends while its worker is away, which says so when it is back', async () => {
  const { clock, front, first, caller, jobId } = await begun();
  first.drop();
  await clock.pass(2000);
  const back = new TestWorker(front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 3 }]));
  await clock.settle();
  assert.equal(granted(back), [{ job_id: jobId, attempt: 2, seq: 2 }]);
  say(back, { job_id: jobId, attempt: 2, seq: 2 }, 'C ');
  complete(back, { job_id: jobId, attempt: 2, seq: 3 }, 'A B C ');
  await clock.pass(200);
  assert.is(caller.said, 'A B C ');
  assert.equal(back.of('ack').at(-1), { type: 'ack', job_id: jobId, attempt: 2, seq: 3, ended: true });
  assert.is(back.jobs.length, 0, 'it was not sent the job again');
  assert.equal(front.load, idle);
});

test('R9: the worker comes back before its standby speaks', async () => {
  const { clock, front, worker, first, caller, jobId } = await begun();
  const second = await worker(1, two('second'));
  first.drop();
  await clock.settle();
  assert.equal(second.jobs, [jobId]);
  const back = new TestWorker(front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 4 }]));
  await clock.settle();
  assert.equal(granted(back), [{ job_id: jobId, attempt: 3, seq: 2 }]);
  assert.equal(cancelled(second), [2]);
  say(second, { job_id: jobId, attempt: 2, seq: 0 }, 'ghost ');
  say(back, { job_id: jobId, attempt: 3, seq: 2 }, 'C ', 'D ');
  complete(back, { job_id: jobId, attempt: 3, seq: 4 }, 'A B C D ');
  await clock.settle();
  assert.is(caller.said, 'A B C D ');
  assert.ok(caller.ended);
});

test('R10: the standby speaks before the worker comes back', async () => {
  const { clock, front, worker, first, caller, jobId } = await begun();
  const second = await worker(1, two('second'));
  first.drop();
  await clock.settle();
  say(second, { job_id: jobId, attempt: 2, seq: 0 }, 'C ');
  const back = new TestWorker(front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 4 }]));
  await clock.settle();
  assert.equal(granted(back), []);
  say(back, { job_id: jobId, attempt: 1, seq: 2 }, 'ghost ');
  complete(second, { job_id: jobId, attempt: 2, seq: 1 }, 'A B C ');
  await clock.settle();
  assert.is(caller.said, 'A B C ');
});

test('R11: everybody drops at once; either may come back, and no third is asked', async () => {
  for (const returning of ['first', 'second', null]) {
    const { clock, front, worker, first, caller, jobId } = await begun();
    const second = await worker(1, two('second'));
    first.drop();
    await clock.settle();
    second.drop();
    await clock.settle();
    const third = await worker(1, two('third'));
    assert.equal(third.jobs, [], 'not given to a third');
    if (returning === null) {
      await clock.pass(15_000);
      assert.match(caller.text, /worker_lost/);
      assert.match(caller.text, /2 workers in a row/);
      continue;
    }
    const back = new TestWorker(front);
    const held = { job_id: jobId, attempt: returning === 'first' ? 1 : 2, seq: returning === 'first' ? 2 : 0 };
    back.hello(1, two(returning, 'sha256:same', [held]));
    await clock.settle();
    assert.equal(granted(back), [{ ...held, attempt: 3 }]);
    complete(back, { ...held, attempt: 3 }, 'A B and the end');
    await clock.settle();
    assert.is(caller.said, 'A B and the end');
  }
});

test('R12: the answer to a redial is lost', async () => {
  const { clock, front, first, caller, jobId } = await begun();
  first.drop();
  await clock.settle();
  const deaf = new TestWorker(front);
  deaf.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 2 }]));
  await clock.settle();
  assert.equal(granted(deaf), [{ job_id: jobId, attempt: 2, seq: 2 }]);
  deaf.drop();
  await clock.settle();
  const back = new TestWorker(front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 2 }]));
  await clock.settle();
  assert.equal(granted(back), [{ job_id: jobId, attempt: 3, seq: 2 }]);
  complete(back, { job_id: jobId, attempt: 3, seq: 2 }, 'A B ');
  await clock.settle();
  assert.ok(caller.ended);
  assert.is(caller.said, 'A B ');
});

test('R13: the new connection is faster than the end of the old one', async () => {
  const { clock, front, first, caller, jobId } = await begun();
  const back = new TestWorker(front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 2 }]));
  await clock.settle();
  assert.is(first.closed?.code, 1001);
  assert.equal(granted(back), [{ job_id: jobId, attempt: 2, seq: 2 }]);
  assert.is(front.health().workers, 1);
  complete(back, { job_id: jobId, attempt: 2, seq: 2 }, 'A B ');
  await clock.settle();
  assert.is(caller.said, 'A B ');
});

test('R14: the router dies, and the worker hands over what it never stopped saying', async () => {
  const { log, first, jobId } = await begun();
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  const recovering = next.front.recover();
  await next.clock.settle();
  assert.is(await recovering, 1);
  const idler = await next.worker(1, two('idler'));
  await next.clock.pass(4000);
  assert.equal(idler.jobs, [], 'no standby yet: the worker may come back');
  const back = new TestWorker(next.front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 5 }]));
  await next.clock.settle();
  assert.equal(granted(back), [{ job_id: jobId, attempt: 2, seq: 2 }]);
  say(back, { job_id: jobId, attempt: 2, seq: 2 }, 'C ', 'D ', 'E ');
  complete(back, { job_id: jobId, attempt: 2, seq: 5 }, 'A B C D E ');
  await next.clock.settle();
  assert.equal(
    log
      .events(jobId)
      .map(({ type }) => type)
      .slice(3),
    ['job.adopted', 'job.orphaned', 'job.resumed', 'output.appended', 'job.completed'],
  );
  assert.ok(first);
  assert.equal(next.front.load, idle);
});

test('R14: the worker died with the router, and after a moment a standby goes on from the log', async () => {
  const { log, jobId } = await begun();
  const next = openWorld({ writer: { instance: 'test', boot: 'boot-2' } }, { log });
  const recovering = next.front.recover();
  await next.clock.settle();
  await recovering;
  const idler = await next.worker(1, two('idler'));
  await next.clock.pass(5001);
  assert.equal(idler.jobs, [jobId]);
  assert.is(resumeOf(idler)?.text, 'A B ');
  complete(idler, { job_id: jobId, attempt: 2, seq: 0 }, 'A B end');
  await next.clock.settle();
  assert.is(log.events(jobId).at(-1)?.type, 'job.completed');
  assert.equal(next.front.load, idle);
});

test('no slot and no redial: the job fails after the grace with an error that says so; unsaid, it is queued anew', async () => {
  const { clock, front, first, caller } = await begun();
  first.drop();
  await clock.pass(14_000);
  assert.not.ok(caller.ended);
  await clock.pass(2000);
  assert.match(caller.text, /worker_lost/);
  assert.match(caller.text, /AUXOT_REDIAL_GRACE/);
  assert.equal(front.load, idle);

  const quiet = openWorld();
  const gone = await quiet.worker(1, two('first'));
  const waiting = quiet.ask();
  await quiet.clock.settle();
  gone.drop();
  await quiet.clock.pass(60_000);
  assert.not.ok(waiting.ended);
  const late = await quiet.worker(1);
  assert.is(late.jobs.length, 1, 'any worker may have it');
});

test('version 1 workers are given nothing that was begun elsewhere', async () => {
  const { clock, worker, first, jobId } = await begun();
  const old = await worker(4);
  first.drop();
  await clock.settle();
  assert.equal(old.jobs, []);
  const second = await worker(1, two('second'));
  assert.equal(second.jobs, [jobId]);
});

test('a gap in the frames, and an engine that crashed, cost the caller nothing', async () => {
  for (const trouble of ['gap', 'crash']) {
    const { clock, worker, first, caller, mark, jobId } = await begun();
    const second = await worker(1, two('second'));
    if (trouble === 'gap') say(first, { ...mark, seq: 7 }, 'lost');
    else first.say({ type: 'error', job_id: jobId, error: 'gone', code: 'engine_crashed', attempt: 1 });
    await clock.settle();
    const holder = second.jobs.includes(jobId) ? second : first;
    assert.equal(cancelled(first), trouble === 'gap' ? [1] : []);
    complete(holder, { job_id: jobId, attempt: 2, seq: 0 }, 'A B C');
    await clock.settle();
    assert.is(caller.said, 'A B C', trouble);
  }
});

test('a stopped worker loses its jobs within 3 s', async () => {
  const { clock, worker, first, jobId } = await begun();
  const second = await worker(1, two('second'));
  await clock.pass(10_000);
  first.answersPings = false;
  await clock.pass(2900);
  assert.is(first.closed?.code, 4504);
  assert.equal(second.jobs, [jobId]);
});

test('a prompt that is evaluated for ten minutes is left alone, with progress or with pongs', async () => {
  for (const sign of ['progress', 'pongs']) {
    const { clock, ask, worker } = openWorld({ jobTimeoutMs: 3_600_000, queueTimeoutMs: 3_600_000 });
    const gpu = await worker(1, two('first'));
    ask();
    await clock.settle();
    const job_id = gpu.jobs[0] ?? '';
    if (sign === 'progress') gpu.answersPings = false;
    for (let second = 0; second < 600; second += 1) {
      await clock.pass(1000);
      if (sign === 'progress')
        gpu.say({ type: 'prompt_progress', job_id, total: 600, cached: 0, processed: second, attempt: 1 });
    }
    assert.is(gpu.closed, null, sign);
  }
});

test('a worker whose frames stop although its socket answers is given up', async () => {
  const { clock, worker, first, jobId } = await begun();
  for (let beat = 0; beat < 10; beat += 1) {
    first.say({ type: 'heartbeat' });
    await clock.pass(1000);
  }
  const second = await worker(1, two('second'));
  await clock.pass(28_000);
  assert.is(first.closed, null);
  await clock.pass(4000);
  assert.is(first.closed?.code, 4504);
  assert.equal(second.jobs, [jobId]);
});

test('a worker that is known to answer slowly is given time', async () => {
  const { clock, front, first } = await begun();
  first.answersPings = false;
  for (let round = 0; round < 8; round += 1) {
    await clock.pass(1500);
    front.workerSeen(first.workerId);
  }
  await clock.pass(3500);
  assert.is(first.closed, null);
  await clock.pass(2500);
  assert.is(first.closed?.code, 4504);
});

test('a shard that dies between a loss and a redial changes nothing', async () => {
  for (const moment of ['before', 'between', 'after']) {
    const { clock, front, shards, worker, first, caller, jobId } = await begun();
    const second = await worker(1, two('second'));
    const kill = (when: string): void => {
      if (when === moment) for (let index = 0; index < shards.count; index += 1) shards.kill(index);
    };
    kill('before');
    first.drop();
    kill('between');
    await clock.settle();
    const back = new TestWorker(front);
    back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 2 }]));
    kill('after');
    await clock.pass(1000);
    const [mark] = granted(back) as Mark[];
    assert.is(mark?.seq, 2, moment);
    assert.is(cancelled(second).length, second.jobs.length, moment);
    if (mark !== undefined) complete(back, mark, 'A B end');
    await clock.settle();
    assert.is(caller.said, 'A B end', moment);
  }
});

test('a claim waits until the log has it', async () => {
  const { clock, front, log, first, jobId } = await begun();
  first.drop();
  await clock.settle();
  log.down = true;
  const back = new TestWorker(front);
  back.hello(1, two('first', 'sha256:same', [{ job_id: jobId, attempt: 1, seq: 2 }]));
  await clock.pass(3000);
  assert.is(back.of('hello_ack').length, 0);
  log.down = false;
  await clock.pass(2000);
  assert.equal(granted(back), [{ job_id: jobId, attempt: 2, seq: 2 }]);
});

test.run();
