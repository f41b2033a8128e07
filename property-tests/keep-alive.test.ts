/** What a quiet answer says meanwhile: its place in the line, and how far its prompt is. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { toolsOff } from '../actors/router/tool-offer.ts';
import { pingFrame } from '../protocol/anthropic-api.ts';
import { calls, dialTools } from './tools-worker.fake.ts';
import { openWorld } from './world.ts';

test('a caller whose job waits is told its place, and a caller whose prompt is read how far that is', async () => {
  const { ask, clock, worker } = openWorld({}, { shardCount: 1 });
  const callers = [ask(), ask(), ask()];
  // The head goes out after 10 s of silence, and then 15 s pass.
  await clock.pass(27_000);
  assert.equal(
    callers.map(({ text }) => /^: .*$/m.exec(text)?.[0]),
    [': queued 1 of 3', ': queued 2 of 3', ': queued 3 of 3'],
  );
  const one = await worker(1);
  const [job = ''] = one.jobs;
  one.say({ type: 'prompt_progress', job_id: job, total: 2048, cached: 0, processed: 512 });
  await clock.pass(16_000);
  assert.match(callers[0]?.text ?? '', /\n\n: prompt 512\/2048\n\n$/);
  assert.match(callers[1]?.text ?? '', /\n\n: queued 1 of 2\n\n$/);
  one.say({ type: 'token', job_id: job, token: 'hello' });
  await clock.pass(16_000);
  assert.match(callers[0]?.text ?? '', /"hello"[^\n]*\n\n: keep-alive\n\n$/);
  assert.is(callers[0]?.said, 'hello');
});

test('a caller whose model waits for tools is told how many have answered', async () => {
  const { front, ask, clock, worker } = openWorld({ tools: { ...toolsOff, allowed: ['t'] } });
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t']);
  const caller = ask();
  await clock.settle();
  gpu.say({ ...calls(gpu.jobs[0] ?? '', ['t', '{}'], ['t', '{}']), full_response: 'Let me look.' });
  await clock.pass(16_000);
  assert.match(caller.text, /\n\n: tools 0\/2\n\n$/);
  tools.answer(tools.jobs[1], { result: 1 });
  await clock.pass(16_000);
  assert.match(caller.text, /\n\n: tools 1\/2\n\n$/);
  tools.answer(tools.jobs[0], { result: 2 });
  await clock.settle();
  gpu.say({ type: 'token', job_id: gpu.jobs[1], token: 'Seen.' });
  await clock.pass(16_000);
  assert.match(caller.text, /"Seen\."[^\n]*\n\n: keep-alive\n\n$/);
});

test('how far a call is stands behind that, of the one that told of it last, and no line of its own', async () => {
  const { front, ask, clock, worker } = openWorld({ tools: { ...toolsOff, allowed: ['t', 'u'] } }, { shardCount: 1 });
  const gpu = await worker(1);
  const tools = await dialTools(front, clock, ['t', 'u']);
  const [caller, other] = [ask(), ask()];
  await clock.settle();
  gpu.say(calls(gpu.jobs[0] ?? '', ['t', '{}'], ['u', '{}']));
  await clock.settle();
  const tell = (n: number, far: object): void =>
    tools.worker.say({ type: 'tool_progress', job_id: tools.jobs[n]?.job_id, ...far });
  tell(0, { progress: 2, total: 8, message: 'a\n\ndata: [DONE]\n\n' });
  await clock.pass(27_000);
  assert.match(caller.text, /\n\n: tools 0\/2, t 2\/8\n\n$/);
  tell(1, { progress: 0.5 });
  await clock.pass(16_000);
  assert.match(caller.text, /\n\n: tools 0\/2, u 0\.5\n\n$/);
  tools.answer(tools.jobs[0], { result: 1 });
  await clock.settle();
  tell(0, { progress: 8, total: 8 });
  await clock.pass(16_000);
  assert.match(caller.text, /\n\n: tools 1\/2\n\n$/, 'what is told behind the end is no news');
  assert.not.match(caller.text + other.text, /DONE/);
  assert.not.match(other.text, /tools/);
});

test('APIs whose clients wait for an event get theirs, behind the same comment', async () => {
  const { ask, clock } = openWorld();
  const caller = ask();
  Object.assign(caller, { keepAlive: pingFrame });
  await clock.pass(27_000);
  assert.ok(caller.text.endsWith(`: queued 1 of 1\n${pingFrame}`), caller.text);
});

test.run();
