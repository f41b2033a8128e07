/** What a quiet answer says meanwhile: its place in the line, and how far its prompt is. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pingFrame } from '../protocol/anthropic-api.ts';
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

test('APIs whose clients wait for an event get theirs, behind the same comment', async () => {
  const { ask, clock } = openWorld();
  const caller = ask();
  Object.assign(caller, { keepAlive: pingFrame });
  await clock.pass(27_000);
  assert.ok(caller.text.endsWith(`: queued 1 of 1\n${pingFrame}`), caller.text);
});

test.run();
