/** Time as the worker's parts see it; a simulation brings its own. */
export interface Clock {
  now(): number;
  /** Runs once, later; the result calls it off. */
  after(ms: number, run: () => void): () => void;
}

/**
 * The system's time, but for one thing: it never goes back. When somebody sets the system's clock back by an hour, a
 * deadline must not come an hour later, nor silence go unnoticed for so long; it goes on from where it was instead, until
 * the system's time has come up with it. Set forward, it is as late as it says.
 */
export function steadyTime(wall: () => number = Date.now): () => number {
  let aheadMs = 0;
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const told = wall();
    if (told >= last) aheadMs = 0;
    else if (told + aheadMs < last) aheadMs = last - told;
    last = told + aheadMs;
    return last;
  };
}

export const systemClock: Clock = {
  now: steadyTime(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
