/** The clock that routers share: the store's time, whatever the machine's says (C1, C2 of shared-clock.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from './ports.ts';
import { SharedClock } from './shared-clock.ts';

/** A machine and a store whose clocks are far apart; an answer of the store takes `there` and `back`. */
function world() {
  const at = { ms: 5, storeAheadMs: 1_700_000_000_000, there: 0, back: 0, silent: false };
  const base: Clock = {
    now: () => 42,
    after: (_ms, fire) => {
      if (at.silent) fire();
      return () => undefined;
    },
    defer: run => run(),
  };
  const ask = async (): Promise<number> => {
    if (at.silent) return new Promise(() => undefined);
    at.ms += at.there;
    const told = at.ms + at.storeAheadMs;
    at.ms += at.back;
    return told;
  };
  return { at, clock: new SharedClock(base, () => at.ms, ask) };
}

test('it tells the time of the store, but for half a round trip', async () => {
  const { at, clock } = world();
  Object.assign(at, { there: 10, back: 30 });
  await clock.look();
  assert.is(Math.abs(clock.now() - (at.ms + at.storeAheadMs)) <= 20, true);
});

test('an answer that was long under way changes nothing while the time may be right', async () => {
  const { at, clock } = world();
  await clock.look();
  Object.assign(at, { there: 900, back: 3 });
  await clock.look();
  assert.is(clock.now(), at.ms + at.storeAheadMs);
});

test('a machine that was asleep catches up', async () => {
  const { at, clock } = world();
  await clock.look();
  at.storeAheadMs += 3_600_000;
  await clock.look();
  assert.is(clock.now(), at.ms + at.storeAheadMs);
});

test('a store whose clock was set back does not take the time back', async () => {
  const { at, clock } = world();
  await clock.look();
  const before = clock.now();
  at.storeAheadMs -= 3_600_000;
  at.ms += 100;
  await clock.look();
  assert.is(clock.now(), before);
  at.ms += 50;
  assert.is(clock.now(), before + 50);
});

test('a store that does not answer is told, and time goes on', async () => {
  const { at, clock } = world();
  await clock.look();
  at.silent = true;
  const failure = await clock.look().catch((error: Error) => error.message);
  assert.is(failure, 'the store did not answer within 2000 ms');
  at.ms += 7;
  assert.is(clock.now(), at.ms + at.storeAheadMs);
});

test.run();
