import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Chunk, Effect } from '../../protocol/shard-messages.ts';
import { type Place, splitAhead } from './ahead.ts';

const call: Effect = { kind: 'callTool', jobId: 'j', callId: 'c1', name: 't', sentTo: null, idempotent: false };
const enqueue: Effect = { kind: 'enqueueJob', jobId: 'j', model: 'm', priority: 0, again: true };
const free: Effect = { kind: 'freeSlot', jobId: 'j', workerId: 'w' };
const arm: Effect = { kind: 'armTimer', key: 'tools:j', at: 1 };

const chunkOf = (effects: readonly Effect[], more: Partial<Chunk> = {}): Chunk => ({
  jobId: 'j',
  epoch: 1,
  sequence: 5,
  count: 1,
  events: '{}',
  creates: false,
  ends: false,
  effects,
  ...more,
});
const good: Place = { settled: true, hasSlot: true };
const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);
const split = (effects: readonly Effect[], place = good, more: Partial<Chunk> = {}): [string[], string[]] => {
  const { chunk, ahead } = splitAhead(chunkOf(effects, more), () => place);
  return [kinds(ahead), kinds(chunk.effects)];
};

test("a call's worker is chosen while the log writes that the round began; all else waits", () => {
  assert.equal(split([free, arm, call]), [['callTool'], ['freeSlot', 'armTimer']]);
  assert.equal(split([free, arm, call], { settled: false, hasSlot: false })[0], ['callTool']);
});

test('a call that is over in the same chunk is not looked for a worker', () => {
  const end: Effect = { kind: 'endTool', callId: 'c1', thanks: false };
  assert.equal(split([arm, call, end]), [[], ['armTimer', 'callTool', 'endTool']]);
});

test('a job goes on at once where a slot is free and nobody else may take it', () => {
  assert.equal(split([arm, enqueue]), [['enqueueJob'], ['armTimer']]);
  assert.equal(split([enqueue], { settled: true, hasSlot: false })[0], []);
});

test('a place in the queue overtakes nothing that was done to the queue before it', () => {
  assert.equal(split([enqueue], { settled: false, hasSlot: true })[0], []);
  assert.equal(split([free, enqueue])[0], []);
  assert.equal(split([enqueue, { kind: 'dequeueJob', jobId: 'j' }])[0], []);
});

test('a new job, and one that is to wait, wait for the log', () => {
  assert.equal(split([{ ...enqueue, again: false }])[0], []);
  assert.equal(split([enqueue], good, { creates: true })[0], []);
  assert.equal(split([{ ...enqueue, notBeforeAt: 5 }])[0], []);
});

test.run();
