import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from './ports.ts';
import { Timers } from './timers.ts';

/** Time that stands until it is moved on, timer by timer. */
class StillClock implements Clock {
  #now = 1000;
  #waits: { readonly at: number; readonly fire: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, fire: () => void): () => void {
    const wait = { at: this.#now + ms, fire };
    this.#waits.push(wait);
    return () => {
      this.#waits = this.#waits.filter(one => one !== wait);
    };
  }

  defer(run: () => void): void {
    run();
  }

  get waits(): number {
    return this.#waits.length;
  }

  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#waits.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#waits = this.#waits.filter(one => one !== next);
      this.#now = Math.max(this.#now, next.at);
      next.fire();
    }
    this.#now = end;
  }
}

const anyStep = fc.oneof(
  fc.record({ kind: fc.constant('arm' as const), key: fc.nat(12), inMs: fc.integer({ min: -5, max: 60 }) }),
  fc.record({ kind: fc.constant('disarm' as const), key: fc.nat(12), inMs: fc.constant(0) }),
  fc.record({ kind: fc.constant('pass' as const), key: fc.constant(0), inMs: fc.nat(40) }),
);

test('each timer fires once, at its time and in order; one that was moved or taken back does not fire before', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 60 }), steps => {
      const clock = new StillClock();
      const wanted = new Map<string, number>();
      const timers = new Timers(clock, (key, at) => {
        const due = wanted.get(key);
        assert.is(at, clock.now());
        assert.is(due === undefined ? null : Math.max(due, armedAt.get(key) ?? 0), at, `${key} at ${at}`);
        for (const other of wanted.values()) assert.ok(other >= (due ?? 0), 'the earliest comes first');
        wanted.delete(key);
      });
      const armedAt = new Map<string, number>();
      for (const { kind, key, inMs } of [...steps, { kind: 'pass' as const, key: 0, inMs: 1000 }]) {
        if (kind === 'pass') clock.pass(inMs);
        else if (kind === 'disarm') {
          timers.disarm(String(key));
          wanted.delete(String(key));
        } else {
          timers.arm(String(key), clock.now() + inMs);
          wanted.set(String(key), clock.now() + inMs);
          armedAt.set(String(key), clock.now());
        }
        assert.is(timers.size, wanted.size);
      }
      assert.is(timers.size, 0);
      assert.ok(clock.waits <= 1);
    }),
  );
});

test('stopped, nothing fires any more', () => {
  const clock = new StillClock();
  const timers = new Timers(clock, () => assert.unreachable());
  timers.arm('a', clock.now() + 5);
  timers.stop();
  clock.pass(100);
  assert.is(clock.waits, 0);
});

test.run();
