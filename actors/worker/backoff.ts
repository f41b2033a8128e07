/**
 * How long to wait before dialling again.
 *
 * A router of version 2 expects its workers back within seconds, so the first attempt is made at once and the waits are
 * spread over their whole length, so that the workers of a restarted router do not arrive together. A router of version 1
 * is given the pause that it is used to, which grows from `msMin` to `msMax`, with a part left to chance.
 */
export interface BackoffRange {
  readonly msMin: number;
  readonly msMax: number;
}

const quickMs = 250;

/** `attempt` counts failures since the last good connection, from 0. `random` is in [0, 1). */
export function backoffMs(version: 1 | 2, attempt: number, { msMin, msMax }: BackoffRange, random: number): number {
  if (version === 2) return attempt === 0 ? 0 : Math.round(random * Math.min(msMax, quickMs * 2 ** (attempt - 1)));
  return Math.round(Math.min(msMax, msMin * 2 ** attempt * (1 + random / 2)));
}
