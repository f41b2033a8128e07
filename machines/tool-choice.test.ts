import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chooseToolsWorker, fnv1a64, type ToolsWorkerState } from './tool-choice.ts';

const runs = Number(process.env.FC_RUNS ?? 300);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

const worker = (workerId: string, tools: readonly string[], slots = 4, size = 0): ToolsWorkerState => ({
  workerId,
  tools: new Set(tools),
  slots,
  calls: { size },
});
const three = ['c', 'a', 'b'].map(id => worker(id, ['look']));
const chosen = (workers: Iterable<ToolsWorkerState>, name: string, threadId: string | null): string | null =>
  chooseToolsWorker(workers, name, threadId)?.workerId ?? null;

test('the digest of a conversation is FNV-1a of 64 bits', () => {
  assert.is(fnv1a64(''), 14695981039346656037n);
  assert.is(fnv1a64('a'), 12638187200555641996n);
  assert.is(fnv1a64('thread-A'), 3214808147625017711n);
});

test('T1, TL7: a conversation stays with one worker, whatever it runs and in whatever order they are known', () => {
  const first = chosen(three, 'look', 'thread-A');
  assert.is(first, 'c', '3214808147625017711 mod 3 is 2');
  const busy = [worker('b', ['look'], 1, 9), worker('c', ['look'], 1, 9), worker('a', ['look'])];
  for (let n = 0; n < 5; n += 1) assert.is(chosen(n % 2 === 0 ? three : busy, 'look', 'thread-A'), first);
});

test('T2, TL7: other conversations have their workers, and keep them', () => {
  assert.is(chosen(three, 'look', 'thread-B'), 'a');
  assert.is(chosen(three, 'look', 'thread-C'), 'b');
  for (const thread of ['x', 'yy', 'ünï', '🙂'])
    assert.is(chosen(three, 'look', thread), chosen(three, 'look', thread));
});

test('T3, TL7: no worker has the tool', () => {
  assert.is(chosen(three, 'add', 'thread-A'), null);
  assert.is(chosen(three, 'add', null), null);
  assert.is(chosen([], 'look', 'thread-A'), null);
});

test('T4, TL7: no name of a tool means any worker', () => {
  assert.ok(chosen(three, '', null));
  assert.ok(chosen([worker('z', [])], '', 'thread-A'));
});

test('a call without a conversation goes to whoever has the smaller part of its slots taken', () => {
  const workers = [worker('a', ['look'], 2, 1), worker('b', ['look'], 8, 3), worker('c', ['add'], 8, 0)];
  assert.is(chosen(workers, 'look', null), 'b');
  assert.is(chosen([...workers].reverse(), 'look', ''), 'b');
});

test('whoever is chosen has the tool, and the order in which workers are known changes nothing', () => {
  const anyWorker = fc.record({
    workerId: fc.string({ minLength: 1, maxLength: 3 }),
    tools: fc.subarray(['look', 'add', 'note']).map(names => new Set(names)),
    slots: fc.integer({ min: 1, max: 8 }),
    calls: fc.record({ size: fc.nat(9) }),
  });
  const anyWorkers = fc.uniqueArray(anyWorker, { selector: ({ workerId }) => workerId, maxLength: 6 });
  const anyThread = fc.option(fc.string({ maxLength: 5 }));
  fc.assert(
    fc.property(anyWorkers, fc.constantFrom('look', 'add', 'none'), anyThread, (workers, name, thread) => {
      const found = chooseToolsWorker(workers, name, thread);
      assert.is(found === null, !workers.some(({ tools }) => tools.has(name)));
      assert.is(found?.tools.has(name) ?? true, true);
      assert.is(chosen([...workers].reverse(), name, thread), found?.workerId ?? null);
    }),
    { numRuns: runs, ...seeded },
  );
});

test.run();
