import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { excuse, type Liveness, look, lookMs, newLiveness, seen } from './liveness.ts';

const limits = { pingMs: 10_000, silentMs: 60_000 };

interface Told {
  readonly verdict: string;
  readonly afterMs: number;
}

/** Looks as often as the router does, until the worker counts as gone; `each` says what it does meanwhile. */
function watched(hurried: boolean, each: (worker: Liveness, ms: number, pinged: boolean) => void, msMax: number): Told {
  const worker = newLiveness(0);
  for (let now = 0; now <= msMax; now += lookMs) {
    const verdict = look(worker, limits, hurried, now);
    if (verdict === 'silent' || verdict === 'stalled') return { verdict, afterMs: now };
    each(worker, now, verdict === 'ping');
  }
  return { verdict: 'alive', afterMs: msMax };
}

test('a worker with jobs that answers nothing is missed in 2 s', () => {
  const { verdict, afterMs } = watched(true, () => undefined, 10_000);
  assert.is(verdict, 'silent');
  assert.ok(afterMs >= 1750 && afterMs <= 2250, String(afterMs));
});

test('one that was slow to answer is given three times as long', () => {
  let pingedAt: number | null = null;
  const slow = watched(
    true,
    (worker, now, pinged) => {
      if (pinged) pingedAt ??= now;
      if (pingedAt === null || now - pingedAt < 1500 || now > 10_000) return;
      seen(worker, now);
      pingedAt = null;
    },
    60_000,
  );
  assert.is(slow.verdict, 'silent');
  assert.ok(slow.afterMs >= 13_000, String(slow.afterMs));
});

test('one that answers and says nothing keeps its jobs; one that said much and stops hangs after half a minute', () => {
  const answers = (worker: Liveness, now: number, pinged: boolean): void => {
    if (pinged) seen(worker, now);
  };
  assert.is(watched(true, answers, 600_000).verdict, 'alive');
  const hangs = watched(
    true,
    (worker, now, pinged) => {
      answers(worker, now, pinged);
      if (now < 5000) worker.lastFrameAt = now;
    },
    600_000,
  );
  assert.is(hangs.verdict, 'stalled');
  assert.ok(hangs.afterMs >= 34_000 && hangs.afterMs <= 36_000, String(hangs.afterMs));
});

test('a worker that promised nothing is waited for as long as is set', () => {
  const { verdict, afterMs } = watched(false, () => undefined, 120_000);
  assert.equal([verdict, afterMs], ['silent', 60_000]);
});

test('what was not heard while nobody listened proves nothing', () => {
  const worker = newLiveness(0);
  assert.is(look(worker, limits, true, 500), 'ping');
  excuse(worker, 5000);
  assert.is(look(worker, limits, true, 5600), 'alive');
});

test.run();
