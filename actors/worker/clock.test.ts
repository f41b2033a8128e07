import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { steadyTime } from './clock.ts';

test('time goes on when the system’s clock is set back, and is the system’s again when that has come up with it', () => {
  let wall = 10_000;
  const now = steadyTime(() => wall);
  assert.is(now(), 10_000);
  wall = 4_000;
  assert.is(now(), 10_000);
  wall = 4_500;
  assert.is(now(), 10_500);
  wall = 4_400;
  assert.is(now(), 10_500);
  wall = 4_600;
  assert.is(now(), 10_700);
  wall = 11_000;
  assert.is(now(), 11_000);
  wall = 50_000;
  assert.is(now(), 50_000);
});

test.run();
