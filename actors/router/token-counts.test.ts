import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from './ports.ts';
import { TokenCounts } from './token-counts.ts';

/** Timers that fire when the test says so. */
function stopped() {
  const timers = new Set<{ at: number; fire: () => void }>();
  let now = 0;
  const clock: Clock = {
    now: () => now,
    after: (ms, fire) => {
      const timer = { at: now + ms, fire };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    defer: run => run(),
  };
  const pass = (ms: number): void => {
    now += ms;
    for (const timer of [...timers].filter(({ at }) => at <= now)) {
      timers.delete(timer);
      timer.fire();
    }
  };
  return { clock, pass, timers };
}

function open({ worker = 'w1' as string | null } = {}) {
  const { clock, pass, timers } = stopped();
  const frames: string[] = [];
  const heard: unknown[] = [];
  const counts = new TokenCounts(clock, (_model, frame) => {
    frames.push(frame);
    return worker;
  });
  const port = {
    counted: (tokens: number) => void heard.push(tokens),
    respond: ({ status }: { status: number }) => void heard.push(status),
    refuse: (code: string) => void heard.push(code),
  };
  const begin = (): string => counts.add(port) ?? '';
  const read = (countId: string) => counts.ask({ kind: 'countTokens', countId, model: 'm', frame: 'f', estimate: 7 });
  const says = (countId: string, tokens: number | null, workerId = 'w1') =>
    counts.counted({ kind: 'tokensCounted', workerId, countId, tokens });
  return { counts, pass, timers, frames, heard, begin, read, says };
}

test('T1: the number of the worker, and the estimate when it cannot tell', () => {
  for (const [tokens, expected] of [
    [42, 42],
    [null, 7],
    [-1, 7],
  ] as const) {
    const { begin, read, says, heard, timers, counts } = open();
    const id = begin();
    read(id);
    says(id, tokens);
    assert.equal([heard, timers.size, counts.size], [[expected], 0, 0]);
  }
});

test('T1: without a worker, at once; with a silent one, after two seconds; with a lost one, when it is lost', () => {
  const alone = open({ worker: null });
  alone.read(alone.begin());
  assert.equal(alone.heard, [7]);

  const silent = open();
  const id = silent.begin();
  silent.read(id);
  silent.pass(1999);
  assert.equal(silent.heard, []);
  silent.pass(1);
  assert.equal(silent.heard, [7]);
  silent.says(id, 42);
  assert.equal(silent.heard, [7], 'too late');

  const lost = open();
  lost.read(lost.begin());
  lost.counts.workerGone('w2');
  assert.equal(lost.heard, []);
  lost.counts.workerGone('w1');
  assert.equal(lost.heard, [7]);
});

test('T1: a shard that takes long may, and one that never answers is given up', () => {
  const slow = open({ worker: null });
  const id = slow.begin();
  slow.pass(3000);
  slow.read(id);
  assert.equal(slow.heard, [7]);

  const dead = open();
  dead.begin();
  dead.pass(15_000);
  assert.equal([dead.heard, dead.counts.size], [['server_overloaded'], 0]);
});

test('T1: a slow shard does not take the time of the worker', () => {
  const { begin, read, pass, heard } = open();
  const id = begin();
  pass(14_000);
  read(id);
  pass(1999);
  assert.equal(heard, []);
  pass(1);
  assert.equal(heard, [7]);
});

test('T2: only the worker that was asked is heard, and only once', () => {
  const { begin, read, says, heard, frames } = open();
  const id = begin();
  says(id, 1);
  read(id);
  read(id);
  assert.is(frames.length, 1);
  says(id, 1, 'w2');
  says('99', 1);
  assert.equal(heard, []);
  says(id, 42);
  says(id, 43);
  assert.equal(heard, [42]);
});

test('T3: there is a cap, a refusal, and a shutdown', () => {
  const { begin, counts, heard, timers } = open();
  const first = begin();
  for (let n = 1; n < 256; n += 1) begin();
  assert.is(counts.size, 256);
  assert.is(begin(), '');
  assert.equal(heard, ['server_overloaded']);
  counts.respond({ kind: 'refuseCount', countId: first, answer: { status: 400, headers: {}, body: '' } });
  assert.equal(heard.at(-1), 400);
  counts.stop();
  assert.equal([counts.size, timers.size, heard.at(-1)], [0, 0, 'shutting_down']);
});

test.run();
