/**
 * How long an engine that has ended waits before it is started again: longer each time, by chance within bounds so that many
 * workers do not start together; and after `crashesMax` within `crashWindowMs` it rests.
 */
const msMin = 250;
const msMax = 30_000;
const crashesMax = 5;
const crashWindowMs = 300_000;
const restMs = 60_000;

export interface Restart {
  readonly waitMs: number;
  /** It ends too often. */
  readonly rests: boolean;
}

/** The returned function is called when it has ended. `mayRest` false: it is looked for again and never given up for long. */
export function restarts(mayRest: boolean): () => Restart {
  let crashedAt: number[] = [];
  return () => {
    const now = Date.now();
    crashedAt = [...crashedAt.filter(at => now - at < crashWindowMs), now];
    const rests = mayRest && crashedAt.length >= crashesMax;
    const longestMs = Math.min(msMax, msMin * 2 ** crashedAt.length);
    return { rests, waitMs: rests ? restMs : msMin + Math.random() * (longestMs - msMin) };
  };
}
