import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EngineError } from './engine.ts';
import { openSlots } from './slots.ts';

const never = new AbortController().signal;

test('a job gets the free slot that shares the longest beginning with its prompt, else the one unused the longest', async () => {
  const [a, b] = [{ contextTokens: [1, 2] }, { contextTokens: [1, 2, 3, 4] }];
  const slots = openSlots([a, b], 10);
  assert.is(await slots.acquire([1, 2, 3, 9], never), b);
  slots.release(b);
  assert.is(await slots.acquire([1, 2, 9], never), a, 'equal shares: a was never used');
  assert.is(await slots.acquire([7], never), b);
});

test('when no slot is free, jobs wait in order, up to the cap (weakness X7)', async () => {
  const only = { contextTokens: [] };
  const slots = openSlots([only], 2);
  await slots.acquire([1], never);
  const order: number[] = [];
  const second = slots.acquire([2], never).then(() => order.push(2));
  const third = slots.acquire([3], never).then(() => order.push(3));
  try {
    await slots.acquire([4], never);
    assert.unreachable('a third waiter');
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    assert.is(error.code, 'server_overloaded');
  }
  slots.release(only);
  await second;
  slots.release(only);
  await third;
  assert.equal(order, [2, 3]);
});

test('a waiting job that is cancelled leaves the line', async () => {
  const only = { contextTokens: [] };
  const slots = openSlots([only], 2);
  await slots.acquire([1], never);
  const abort = new AbortController();
  const gone = slots.acquire([2], abort.signal);
  const next = slots.acquire([3], never);
  abort.abort(new EngineError('cancelled', 'cancelled'));
  try {
    await gone;
    assert.unreachable('the cancelled one');
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    assert.is(error.code, 'cancelled');
  }
  slots.release(only);
  assert.is(await next, only);
});

test.run();
