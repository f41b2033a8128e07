/** Tools that the router runs for a model, under a stepped clock: from the model's call to its next answer. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { toolsOff } from '../actors/router/tool-offer.ts';
import { calls, dialTools } from './tools-worker.fake.ts';
import { openWorld, type TestWorker } from './world.ts';

const toolsOf = (allowed: readonly string[], more: object = {}) => ({ tools: { ...toolsOff, allowed, ...more } });
const say = (gpu: TestWorker, jobId: string, full: string): void =>
  gpu.say({ type: 'complete', job_id: jobId, full_response: full, input_tokens: 20, output_tokens: 7 });
interface Message {
  readonly role: string;
  readonly content: string;
  readonly tool_call_id: string;
}
const messagesOf = (gpu: TestWorker): Message[] => (gpu.of('job').at(-1)?.messages ?? []) as Message[];
const tool = (name: string) => ({ type: 'function', function: { name, description: '', parameters: {} } });

test('a call of the router’s tool runs at a tools worker, and the model goes on (X5, TL5)', async () => {
  const { front, clock, ask, worker, log } = openWorld(toolsOf(['get_time']));
  const gpu = await worker(2);
  const tools = await dialTools(front, clock, ['get_time']);
  assert.is(tools.worker.of('hello_ack')[0]?.success, true, 'X1');
  const caller = ask({ stream: false });
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  const [first] = gpu.of('job');
  assert.equal(
    ((first?.tools ?? []) as { function: { name: string } }[]).map(each => each.function.name),
    ['get_time'],
  );
  gpu.say(calls(jobId, ['get_time', '{"zone":"UTC"}']));
  await clock.settle();
  assert.is(tools.jobs.length, 1);
  assert.equal(tools.jobs[0]?.arguments, { zone: 'UTC' });
  assert.is(front.health().active, 0, 'no slot is held while a tool runs');
  tools.answer(tools.jobs[0], { result: { time: 'noon' } });
  await clock.settle();
  assert.is(tools.worker.of('tool_ack').length, 1);
  assert.is(gpu.jobs.length, 2);
  assert.equal(
    messagesOf(gpu).map(({ role, content }) => [role, content]),
    [
      ['user', 'hi'],
      ['assistant', ''],
      ['tool', '{"time":"noon"}'],
    ],
  );
  say(gpu, jobId, 'It is noon.');
  await clock.settle();
  const body = JSON.parse(caller.text);
  assert.is(caller.status, 200);
  assert.is(body.choices[0].message.content, 'It is noon.');
  assert.is(body.choices[0].finish_reason, 'stop');
  assert.equal([body.usage.prompt_tokens, body.usage.completion_tokens], [30, 12], 'counts of both rounds');
  assert.is(front.load.jobs, 0);
  assert.is(front.tools.size, 0);
  assert.is(front.load.timers, 0);
  assert.ok(log !== null);
});

test('text of every round is streamed, calls of the router’s tools are not, and no arguments are {} (N11)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['get_time']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['get_time']);
  const caller = ask();
  await clock.settle();
  const [jobId = ''] = gpu.jobs;
  gpu.say({ type: 'token', job_id: jobId, token: 'Let me look.' });
  gpu.say({ type: 'token', job_id: jobId, token: '', call: { index: 0, id: 'x', name: 'get_time', arguments: '{' } });
  gpu.say({ ...calls(jobId, ['get_time', '']), full_response: 'Let me look.' });
  await clock.settle();
  assert.equal(tools.jobs[0]?.arguments, {}, 'N11: no arguments are an empty object');
  tools.answer(tools.jobs[0], { result: 'noon' });
  await clock.settle();
  gpu.say({ type: 'token', job_id: jobId, token: 'Noon.' });
  say(gpu, jobId, 'Noon.');
  await clock.settle();
  assert.is(caller.said, 'Let me look.\n\nNoon.');
  assert.not.match(caller.text, /tool_calls|get_time/);
  assert.match(caller.text, /"finish_reason":"stop"/);
});

test('without a tools worker the call is the caller’s (X6, TL6)', async () => {
  const { clock, ask, worker } = openWorld(toolsOf(['get_time']));
  const gpu = await worker(1);
  const caller = ask({ stream: false });
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['get_time', '{}']));
  await clock.settle();
  assert.is(JSON.parse(caller.text).choices[0].finish_reason, 'tool_calls');
});

test('the caller gets exactly its own calls (N13, TL9)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['get_time', 'mine']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['get_time', 'mine']);
  for (const list of [
    [['mine', '{}']],
    [
      ['get_time', '{}'],
      ['mine', '{"a":1}'],
    ],
  ] as const) {
    const caller = ask({ stream: false, tools: [tool('mine')] });
    await clock.settle();
    gpu.say(calls(gpu.jobs.at(-1) ?? '', ...list));
    await clock.settle();
    const [choice] = JSON.parse(caller.text).choices;
    assert.is(choice.finish_reason, 'tool_calls');
    assert.equal(
      choice.message.tool_calls.map((call: { function: { name: string } }) => call.function.name),
      ['mine'],
    );
  }
  assert.is(tools.jobs.length, 0);
});

test('calls run in parallel; equal ids get their own results, in order (N12)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['a', 'b']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['a', 'b']);
  ask({ stream: false });
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['a', '{}', 'same'], ['b', '{}', 'same'], ['a', '{broken', 'x']));
  await clock.settle();
  assert.is(tools.jobs.length, 2);
  tools.answer(tools.jobs[1], { result: 'of b' });
  await clock.settle();
  assert.is(gpu.jobs.length, 1);
  tools.answer(tools.jobs[0], { error: 'a failed' });
  tools.answer(tools.jobs[0], { result: 'twice' });
  await clock.settle();
  const messages = messagesOf(gpu);
  const results = messages.slice(2);
  assert.equal(
    results.map(({ content }) => content),
    ['{"error":"a failed"}', 'of b', '{"error":"the arguments are not JSON","code":"invalid_arguments"}'],
  );
  assert.is(new Set(results.map(({ tool_call_id }) => tool_call_id)).size, 3);
});

test('text and a picture of a tool reach a model that can see as two parts, the text first (T5, TL8)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['look']));
  const gpu = await worker(1, { protocol_version: 2, instance_id: 'g' });
  const capabilities = { backend: 'mock', model: 'm', ctx_size: 4096, total_slots: 1 };
  gpu.say({ type: 'config', capabilities, features: ['images'] });
  await clock.settle();
  const tools = await dialTools(front, clock, ['look']);
  ask();
  await clock.settle();
  gpu.say({ ...calls(gpu.jobs[0] ?? '', ['look', '{}']), attempt: 1 });
  await clock.settle();
  tools.answer(tools.jobs[0], { result: 'a cat', image_parts: [{ mime_type: 'image/png', data: 'iVBORw0KGgo=' }] });
  await clock.settle();
  assert.equal(messagesOf(gpu).at(-1)?.content, [
    { type: 'text', text: 'a cat' },
    { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } },
  ]);
});

test('a job whose tools are done goes before new ones, with all of its fields', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t']));
  const gpu = await worker(1, { protocol_version: 2, instance_id: 'g' });
  const capabilities = { backend: 'mock', model: 'm', ctx_size: 4096, total_slots: 1 };
  gpu.say({ type: 'config', capabilities, features: ['tool_choice'] });
  await clock.settle();
  const tools = await dialTools(front, clock, ['t']);
  ask({ temperature: 0.3, seed: 7, stop: ['x'], max_tokens: 50, tool_choice: 'required', tools: [tool('own')] });
  await clock.settle();
  ask();
  ask();
  await clock.settle();
  const [first = ''] = gpu.jobs;
  const before = gpu.of('job')[0] ?? {};
  gpu.say({ ...calls(first, ['t', '{}']), attempt: 1 });
  await clock.settle();
  const second = gpu.of('job')[1];
  tools.answer(tools.jobs[0], { result: 1 });
  await clock.settle();
  gpu.say({ type: 'complete', job_id: second?.job_id, attempt: 1, full_response: 'x' });
  await clock.settle();
  const { messages: _, attempt, tool_choice, ...after } = gpu.of('job')[2] ?? {};
  assert.is(after.job_id, first);
  assert.is(attempt, 2);
  assert.is(tool_choice, 'auto');
  const { messages: __, attempt: ___, tool_choice: ____, ...was } = before;
  assert.equal(after, was);
});

test('the loop stops at the round limit (N15)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t'], { roundsMax: 2 }));
  const gpu = await worker(1, { protocol_version: 2, instance_id: 'g' });
  const tools = await dialTools(front, clock, ['t']);
  const caller = ask({ stream: false });
  for (let round = 1; round <= 3; round += 1) {
    await clock.settle();
    const job = gpu.of('job').at(-1);
    assert.is(job?.tool_choice, round === 3 ? 'none' : undefined);
    const results = messagesOf(gpu).filter(({ role }) => role === 'tool');
    assert.equal(
      results.map(({ content }) => content),
      ['1', '2'].slice(0, round - 1),
      'the model is shown all rounds so far',
    );
    gpu.say({ ...calls(String(job?.job_id), ['t', `{"n":${round}}`]), attempt: round, full_response: `r${round}` });
    await clock.settle();
    if (round < 3) tools.answer(tools.jobs.at(-1), { result: round });
  }
  const [choice] = JSON.parse(caller.text).choices;
  assert.is(choice.finish_reason, 'length');
  assert.is(choice.message.content, 'r1\n\nr2\n\nr3');
  assert.is(tools.jobs.length, 2);
});

test('a caller that leaves stops the tool (N15)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t']);
  const caller = ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
  await clock.settle();
  front.callerClosed(caller.streamId);
  await clock.settle();
  assert.equal(
    tools.worker.of('cancel').map(({ job_id }) => job_id),
    [tools.jobs[0]?.job_id],
  );
  assert.is(front.load.jobs, 0);
  tools.answer(tools.jobs[0], { error: 'cancelled', code: 'cancelled' });
  await clock.settle();
  assert.is(tools.worker.of('tool_ack').length, 1);
  assert.is(gpu.jobs.length, 1);
});

test('a tools worker of version 1 that is lost ends the call at once (N10, TL10)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['code_executor']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['code_executor'], { version: 1 });
  ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['code_executor', '{"code":"1"}']));
  await clock.settle();
  assert.is(tools.jobs[0]?.timeout_ms, undefined);
  tools.worker.drop();
  await clock.settle();
  const messages = messagesOf(gpu);
  assert.match(messages.at(-1)?.content ?? '', /outcome_unknown/);
});

test('a tools worker that comes back is asked again by the same id, and says who had it', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t']));
  const gpu = await worker(1);
  const first = await dialTools(front, clock, ['t']);
  const other = await dialTools(front, clock, ['t'], { instance: 'tools-2' });
  ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
  await clock.settle();
  const [had, rest] = first.jobs.length === 1 ? [first, other] : [other, first];
  const instance = had === first ? 'tools-1' : 'tools-2';
  had.worker.drop();
  await clock.pass(3000);
  assert.is(rest.jobs.length, 0, 'nobody else runs it');
  const back = await dialTools(front, clock, ['t'], { instance, held: [had.jobs[0]?.job_id ?? ''] });
  assert.is(back.jobs[0]?.job_id, had.jobs[0]?.job_id);
  assert.is(back.jobs[0]?.sent_to, instance);
  back.answer(back.jobs[0], { result: 'once' });
  await clock.settle();
  assert.is(gpu.jobs.length, 2);
  await clock.pass(3000);
  assert.is(back.worker.of('cancel').length, 0);
});

test('one that does not come back leaves an unknown outcome; an idempotent call moves', async () => {
  for (const idempotent of [false, true]) {
    const { front, clock, ask, worker } = openWorld(toolsOf(['t']));
    const gpu = await worker(1);
    const first = await dialTools(front, clock, ['t'], { idempotent });
    ask();
    await clock.settle();
    gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
    await clock.settle();
    const other = await dialTools(front, clock, ['t'], { idempotent, instance: 'tools-2' });
    first.worker.drop();
    await clock.pass(idempotent ? 900 : 16_000);
    assert.is(other.jobs.length, idempotent ? 1 : 0);
    if (idempotent) {
      assert.is(other.jobs[0]?.sent_to, 'tools-1');
      assert.is(other.jobs[0]?.job_id, first.jobs[0]?.job_id);
      continue;
    }
    assert.is(gpu.jobs.length, 2);
    assert.match(JSON.stringify(messagesOf(gpu)), /outcome_unknown/);
  }
});

test('a call that was not begun is sent again; a round ends by its deadline', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t'], { callMs: 20_000 }));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t']);
  ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
  await clock.settle();
  tools.answer(tools.jobs[0], { error: 'full', code: 'overloaded' });
  await clock.pass(1500);
  assert.is(tools.jobs.length, 2);
  assert.is(tools.jobs[1]?.sent_to, undefined);
  await clock.pass(24_000);
  assert.is(gpu.jobs.length, 2);
  assert.match(JSON.stringify(messagesOf(gpu)), /took too long/);
  assert.is(tools.worker.of('cancel').length, 1);
});

test('a frame about a call that is no result of it is ignored: a later version may have such', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t']);
  ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
  await clock.settle();
  const [job] = tools.jobs;
  tools.worker.say({ type: 'tool_of_tomorrow', job_id: job?.job_id, progress: 0.5 });
  tools.worker.say({ progress: 0.5, job_id: job?.job_id, type: 'tool_of_tomorrow' });
  tools.worker.say({ type: 'token', job_id: job?.job_id, token: 'x' });
  await clock.settle();
  assert.is(tools.worker.closed, null);
  assert.is(gpu.jobs.length, 1);
  tools.answer(job, { result: 'noon' });
  await clock.settle();
  assert.is(messagesOf(gpu).at(-1)?.content, 'noon');
});

test('a shard that dies in mid-round runs nothing twice', async () => {
  const { front, clock, ask, worker, shards } = openWorld(toolsOf(['t']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t']);
  const caller = ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
  await clock.settle();
  shards.kill(0);
  shards.kill(1);
  await clock.settle();
  assert.is(tools.jobs.length, 1);
  tools.answer(tools.jobs[0], { result: 1 });
  await clock.settle();
  assert.is(gpu.jobs.length, 2);
  say(gpu, gpu.jobs[0] ?? '', 'done');
  await clock.settle();
  assert.is(caller.said, 'done');
});

test('a slot of a tools worker serves one call after the other', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t'], { callMs: 20_000 }));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t'], { slots: 1 });
  ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{"n":1}', 'a'], ['t', '{"n":2}', 'b'], ['t', '{"n":3}', 'c']));
  await clock.settle();
  for (let n = 1; n <= 3; n += 1) {
    assert.is(tools.jobs.length, n, 'never more than its slots, and the next when one is over');
    tools.answer(tools.jobs[n - 1], { result: n });
    await clock.pass(300);
  }
  assert.is(gpu.jobs.length, 2);
});

test('a secret goes with the calls of its own tool and with no other', async () => {
  const credentials = { key_tool: { API_KEY: 'secret-of-key-tool' }, other_tool: { OTHER: 'secret-of-other' } };
  const { front, clock, ask, worker } = openWorld(toolsOf(['key_tool', 'other_tool', 'plain'], { credentials }));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['plain', 'other_tool', 'key_tool']);
  ask();
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['plain', '{}', 'a'], ['other_tool', '{}', 'b'], ['key_tool', '{}', 'c']));
  await clock.settle();
  assert.equal(Object.fromEntries(tools.jobs.map(({ tool_name, credentials: given }) => [tool_name, given])), {
    plain: undefined,
    other_tool: { OTHER: 'secret-of-other' },
    key_tool: { API_KEY: 'secret-of-key-tool' },
  });
});

test('a tool outside the allow-list is neither offered nor run for a model (N14)', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['other']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t', 'other']);
  const caller = ask({ stream: false });
  await clock.settle();
  assert.not.match(JSON.stringify(gpu.of('job').at(-1)?.tools), /"t"/);
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}']));
  await clock.settle();
  assert.is(JSON.parse(caller.text).choices[0].finish_reason, 'tool_calls');
  assert.is(tools.jobs.length, 0);
});

test('arguments that are nested without end fail their call, and not the thread that reads them', async () => {
  const { front, clock, ask, worker } = openWorld(toolsOf(['t']));
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t']);
  const caller = ask({ stream: false });
  await clock.settle();
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', deep], ['t', '{}']));
  await clock.settle();
  assert.is(tools.jobs.length, 1, 'the other call is made');
  tools.answer(tools.jobs[0], { result: 1 });
  await clock.settle();
  assert.match(messagesOf(gpu).at(-2)?.content ?? '', 'nested deeper than');
  say(gpu, gpu.jobs.at(-1) ?? '', 'done');
  await clock.settle();
  assert.is(caller.status, 200);
});

test.run();
