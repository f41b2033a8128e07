/**
 * How long to wait before dialling again.
 *
 * A router of version 2 expects its workers back within seconds, so the first attempt is made at once and the waits are
 * spread over their whole length, so that the workers of a restarted router do not arrive together. For the first minutes
 * none is longer than `briefMsMax`: a router that restarts, however often, has its workers a few seconds later. A router of version 1
 * is given the pause that it is used to, which grows from `msMin` to `msMax`, with a part left to chance.
 */
export interface BackoffRange {
  readonly msMin: number;
  readonly msMax: number;
}

const quickMs = 250;
const briefMsMax = 5000;
/** About four minutes of waits that last half of `briefMsMax` on average. */
const briefAttempts = 100;

/** `attempt` counts failures since the last good connection, from 0. `random` is in [0, 1). */
export function backoffMs(version: 1 | 2, attempt: number, { msMin, msMax }: BackoffRange, random: number): number {
  if (version === 2) {
    if (attempt === 0) return 0;
    const longest = attempt <= briefAttempts ? Math.min(msMax, briefMsMax) : msMax;
    return Math.round(random * Math.min(longest, quickMs * 2 ** (attempt - 1)));
  }
  return Math.round(Math.min(msMax, msMin * 2 ** attempt * (1 + random / 2)));
}
