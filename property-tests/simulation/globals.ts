/**
 * The timers and the clock that programs reach without asking, put under virtual time: whoever calls `setTimeout` or
 * `Date.now` in code under simulation gets the time of the node that is running. Outside a run they are the real ones.
 */

import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';
import type { Event, VirtualClock } from './clock.ts';

export const realSetImmediate = globalThis.setImmediate;
export const realSetTimeout = globalThis.setTimeout;
export const realClearTimeout = globalThis.clearTimeout;
export const realNow = Date.now;
const real = { ...timersPromises };

/** What `setTimeout` gives, as far as it is used. */
class VirtualTimer {
  event: Event | null = null;

  unref(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  stop(): void {
    if (this.event !== null) this.event.run = null;
    this.event = null;
  }
}

let installed = false;

/** Until `remove` is called, time is `clock`'s. One clock at a time in a thread. */
export function installClock(clock: VirtualClock): { remove: () => void } {
  if (installed) throw new Error('there is a virtual clock in this thread already');
  installed = true;
  const after = (ms: number, run: () => void): VirtualTimer => {
    const timer = new VirtualTimer();
    timer.event = clock.after(ms, clock.node, run);
    return timer;
  };
  const every = (ms: number, run: () => void): VirtualTimer => {
    const timer = new VirtualTimer();
    const node = clock.node;
    const again = (): void => {
      timer.event = clock.after(ms, node, () => {
        again();
        run();
      });
    };
    again();
    return timer;
  };
  const stop = (timer: unknown): void => {
    if (timer instanceof VirtualTimer) timer.stop();
    else realClearTimeout(timer as NodeJS.Timeout); // set before the run: a real one
  };
  const keep = { ...globals };
  Object.assign(globalThis, {
    setTimeout: (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => after(ms, () => run(...args)),
    setInterval: (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => every(ms, () => run(...args)),
    setImmediate: (run: (...args: unknown[]) => void, ...args: unknown[]) => after(0, () => run(...args)),
    clearTimeout: stop,
    clearInterval: stop,
    clearImmediate: stop,
  });
  Date.now = () => Math.floor(clock.node?.wall() ?? clock.now);
  const sleep = <T>(ms = 0, value?: T): Promise<T | undefined> =>
    new Promise(resolve => void after(ms, () => resolve(value)));
  Object.assign(timersPromises, { setTimeout: sleep, setImmediate: <T>(value?: T) => sleep(0, value) });
  syncBuiltinESMExports();
  return {
    remove() {
      installed = false;
      Object.assign(globalThis, keep);
      Date.now = realNow;
      Object.assign(timersPromises, real);
      syncBuiltinESMExports();
    },
  };
}

const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate } = globalThis;
const globals = { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate };
