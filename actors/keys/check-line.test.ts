import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CheckBusyError, openCheckLine } from './check-line.ts';

/** A line whose runs are held by hand and whose clock is stepped. */
function world({ runsMax = 1, waitingMax = 8, waitMsMax = 1000 } = {}) {
  let at = 0;
  const line = openCheckLine({ runsMax, waitingMax, waitMsMax, now: () => at });
  const open: { name: string; done: (right: boolean) => void; fail: (error: Error) => void }[] = [];
  const started: string[] = [];
  const ended = new Map<string, string>();
  return {
    line,
    started,
    ended,
    step: (ms: number) => {
      at += ms;
    },
    enter(source: string, name: string) {
      line
        .enter(source, () => {
          started.push(name);
          return new Promise<boolean>((resolve, reject) => open.push({ name, done: resolve, fail: reject }));
        })
        .then(
          right => ended.set(name, String(right)),
          error => ended.set(name, error instanceof CheckBusyError ? 'busy' : error.message),
        );
    },
    running: () => open.length,
    async finish(right = true) {
      open.shift()?.done(right);
      await settled();
    },
    async break(message: string) {
      open.shift()?.fail(new Error(message));
      await settled();
    },
  };
}

const settled = () => new Promise(resolve => setImmediate(resolve));

test('L2: a source that sends many keys delays the key of another by one run', async () => {
  const w = world();
  for (const n of [1, 2, 3, 4]) w.enter('flood', `flood${n}`);
  w.enter('other', 'real');
  await w.finish(false);
  await w.finish(false);
  assert.equal(w.started.slice(0, 3), ['flood1', 'flood2', 'real']);
  while (w.running() > 0) await w.finish(false);
  assert.equal(w.started, ['flood1', 'flood2', 'real', 'flood3', 'flood4']);
  assert.is(w.line.waiting, 0);
});

test('L3: a full line refuses the newest of the source that waits with most', async () => {
  const w = world({ waitingMax: 3 });
  for (const n of [1, 2, 3, 4]) w.enter('flood', `flood${n}`); // one runs, three wait
  w.enter('other', 'real');
  await settled();
  assert.equal([...w.ended], [['flood4', 'busy']]);
  w.enter('flood', 'flood5');
  await settled();
  assert.is(w.ended.get('flood5'), 'busy');
  while (w.running() > 0) await w.finish();
  assert.is(w.ended.get('real'), 'true');
});

test('L4: who waited too long is refused at the next turn', async () => {
  const w = world({ waitMsMax: 1000 });
  w.enter('a', 'first');
  w.enter('a', 'late');
  w.enter('b', 'late too');
  w.step(1001);
  w.enter('c', 'fresh');
  await w.finish();
  assert.equal([w.ended.get('late'), w.ended.get('late too')], ['busy', 'busy']);
  assert.equal(w.started, ['first', 'fresh']);
  await w.finish();
});

test('a run that breaks tells its own caller and lets the next one go', async () => {
  const w = world();
  w.enter('a', 'broken');
  w.enter('a', 'next');
  await w.break('out of memory');
  assert.is(w.ended.get('broken'), 'out of memory');
  await w.finish();
  assert.is(w.ended.get('next'), 'true');
});

test('L1: under any traffic few run, few wait, and everybody gets an answer', async () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('enter' as const), source: fc.constantFrom('a', 'b', 'c') }),
    fc.constant({ kind: 'finish' as const }),
    fc.record({ kind: fc.constant('step' as const), ms: fc.nat(800) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), fc.integer({ min: 1, max: 3 }), async (actions, runsMax) => {
      const w = world({ runsMax, waitingMax: 4 });
      let entered = 0;
      for (const each of actions) {
        if (each.kind === 'enter') w.enter(each.source, `${entered++}`);
        else if (each.kind === 'finish') await w.finish();
        else w.step(each.ms);
        assert.ok(w.running() <= runsMax && w.line.waiting <= 4);
      }
      while (w.running() > 0) await w.finish();
      assert.is(w.ended.size, entered);
      assert.is(w.line.waiting, 0);
    }),
    {
      numRuns: Number(process.env.FC_RUNS ?? 200),
      ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
    },
  );
});

test.run();
