/**
 * CLI workers of any make at our router, under a stepped clock: calls of tools, limits of their providers, and the policy
 * that they get. Tests name the weaknesses of spec/workers §4.3.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { policyFor } from '../machines/worker-policy.ts';
import { openWorld } from './world.ts';

const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }];

test("C1: every tool is named as the caller's, and a call in the middle of an answer is answered at once", async () => {
  const { clock, ask, worker } = openWorld();
  const cli = await worker(1);
  const caller = ask({ tools });
  await clock.settle();
  const [job] = cli.of('job');
  assert.equal(job?.caller_tools, ['weather']);
  const call = {
    type: 'job.tool.call.request',
    job_id: job?.job_id,
    call_id: 'c1',
    tool_name: 'weather',
    arguments: '{}',
  };
  cli.say(call);
  await clock.settle();
  const [answer] = cli.of('job.tool.call.result');
  assert.is(answer?.call_id, 'c1');
  assert.is(answer?.is_error, true);
  cli.say({ type: 'complete', job_id: job?.job_id, full_response: 'Well then.' });
  await clock.settle();
  assert.is(caller.said, 'Well then.');
});

for (const protocol of [1, 2]) {
  const more = protocol === 1 ? {} : { protocol_version: 2, instance_id: 'cli', model_file: 'cli:claude:m' };
  const attempt = (n: number) => (protocol === 1 ? {} : { attempt: n });

  test(`C2: at a limit the job goes to another worker (version ${protocol})`, async () => {
    const { clock, ask, worker } = openWorld();
    const limited = await worker(1, more);
    const caller = ask();
    await clock.settle();
    const [jobId = ''] = limited.jobs;
    const other = await worker(1, { ...more, ...(protocol === 1 ? {} : { instance_id: 'other' }) });
    if (protocol === 2) limited.say({ type: 'status', state: 'loading' });
    limited.say({ type: 'job.overload', job_id: jobId, retry_after_secs: 60, ...attempt(1) });
    await clock.settle();
    const had = limited.jobs.length + other.jobs.length;
    assert.is(had, 2, 'nobody has it');
    if (protocol === 2) {
      assert.equal(other.jobs, [jobId]);
      other.say({ type: 'complete', job_id: jobId, full_response: 'Here.', seq: 0, ...attempt(2) });
      await clock.settle();
      assert.is(caller.said, 'Here.');
    }
  });

  test(`C2: at the second limit in a row the caller is told when to come back (version ${protocol})`, async () => {
    const { clock, ask, worker } = openWorld();
    const limited = await worker(1, more);
    const caller = ask({ stream: false });
    await clock.settle();
    const [jobId = ''] = limited.jobs;
    for (const n of [1, 2]) {
      limited.say({ type: 'job.overload', job_id: jobId, retry_after_secs: 60, ...attempt(n) });
      await clock.settle();
    }
    assert.is(caller.status, 503);
    assert.is(JSON.parse(caller.text).error.code, 'server_overloaded');
  });
}

test('C3: a worker that names its program gets the policy of a CLI worker, also from a router for GPUs', () => {
  const policy = { model_name: 'm', quantization: '', context_size: 1, max_parallelism: 1, capabilities: ['chat'] };
  for (const backend of ['claude', 'cli/claude', 'codex', 'CLI/Cursor']) {
    const given = policyFor(policy, { backend, model: 'sonnet', slots: 0 });
    assert.is(given.worker_type, 'cli', backend);
    assert.is(given.cli_type, backend.replace(/^cli\//i, '').toLowerCase());
    assert.is(given.model_name, 'sonnet');
  }
  assert.is(policyFor(policy, { backend: 'llama.cpp', model: 'm', slots: 0 }).worker_type, undefined);
});

test.run();
