/**
 * When a worker counts as gone although its connection has not closed: a stopped process, a half-open socket, a cut
 * network. Two deadlines, because they prove different things:
 *
 * - The process lives: it answers pings. A worker of version 2 with jobs is pinged several times a second, and counts as
 *   gone when a ping is not answered within `suspectMs`, or three times as long as it lately took, if that is more: a
 *   worker that is known to be slow is given time, a healthy one is missed within seconds.
 * - Its jobs advance: tokens, progress and heartbeats come. One that has begun to send them and stops for `stallMs`, while
 *   its socket still answers pings, hangs.
 *
 * All other workers, which promised nothing, are gone after `silentMs` without any sign of life.
 */
export interface Liveness {
  lastSeenAt: number;
  /** Of the first ping that nothing has answered yet. */
  pingedAt: number | null;
  /** How long the slowest of the late answers took, and less with every one since. */
  slowMs: number;
  lastFrameAt: number;
  /** Looks, since it has jobs, at which a new frame had come. */
  beats: number;
  lookedAt: number;
}

export interface LivenessLimits {
  readonly pingMs: number;
  /** 0: never. */
  readonly silentMs: number;
}

export type Look = 'alive' | 'ping' | 'silent' | 'stalled';

/** How often to look. */
export const lookMs = 250;
const suspectMs = 1750;
const stallMs = 30_000;
/** A worker that was heard at so many looks sends frames all the time. */
const beatsMin = 4;
/** Of the slowest answer, what the next one leaves in memory: half of it in half a minute of pings. */
const memory = 0.99;

export const newLiveness = (now: number): Liveness => ({
  lastSeenAt: now,
  pingedAt: null,
  slowMs: 0,
  lastFrameAt: now,
  beats: 0,
  lookedAt: now,
});

export function seen(worker: Liveness, now: number): void {
  worker.lastSeenAt = now;
  if (worker.pingedAt === null) return;
  worker.slowMs = Math.max(now - worker.pingedAt, worker.slowMs * memory);
  worker.pingedAt = null;
}

/** We were not listening ourselves for this long, so that nothing follows from what we did not hear. */
export function excuse(worker: Liveness, ms: number): void {
  worker.lastSeenAt += ms;
  worker.lastFrameAt += ms;
  if (worker.pingedAt !== null) worker.pingedAt += ms;
}

/** `hurried`: it speaks version 2 and has jobs. */
export function look(worker: Liveness, { pingMs, silentMs }: LivenessLimits, hurried: boolean, now: number): Look {
  const silenceMs = now - worker.lastSeenAt;
  if (silentMs > 0 && silenceMs >= silentMs) return 'silent';
  const waitedMs = worker.pingedAt === null ? 0 : now - worker.pingedAt;
  const isNew = worker.lastFrameAt >= worker.lookedAt;
  worker.lookedAt = now;
  if (!hurried) worker.beats = 0;
  else {
    if (waitedMs >= Math.max(suspectMs, 3 * worker.slowMs)) return 'silent';
    if (isNew) worker.beats += 1;
    if (worker.beats >= beatsMin && now - worker.lastFrameAt >= stallMs) return 'stalled';
  }
  if (worker.pingedAt !== null || silenceMs < (hurried ? lookMs : pingMs)) return 'alive';
  worker.pingedAt = now;
  return 'ping';
}
