/** The real clock (port: ports.ts). */
import { steadyTime } from '../worker/clock.ts';
import type { Clock } from './ports.ts';

export const realClock: Clock = {
  now: steadyTime(),
  after(ms, fire) {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
  // After the reads of this turn of the event loop: what came in together goes on together.
  defer: run => void setImmediate(run),
};
