/** Time as the worker's parts see it; a simulation brings its own. */
export interface Clock {
  now(): number;
  /** Runs once, later; the result calls it off. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: Date.now,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
