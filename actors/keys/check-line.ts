/**
 * The waiting line before Argon2: a run takes a tenth of a second and 64 MiB, so few go at once and few may wait.
 *
 * L1. At most `runsMax` runs go at once, at most `waitingMax` wait.
 * L2. Sources take turns: one that sends a thousand keys delays another source's key by one run, not by a thousand.
 * L3. When the line is full, room is made at the expense of the source that waits with most; its newest is refused.
 * L4. Nobody waits longer than `waitMsMax` and one run: who does is refused.
 */
export class CheckBusyError extends Error {
  override readonly name = 'CheckBusyError';
  readonly code = 'rate_limit_exceeded';
  readonly retryable = true;
  readonly retryAfterMs = 1000;

  constructor() {
    super('too many keys are waiting to be checked; try again shortly');
  }
}

interface Waiter {
  readonly run: () => Promise<boolean>;
  readonly since: number;
  readonly resolve: (right: boolean) => void;
  readonly reject: (reason: unknown) => void;
}

export interface CheckLine {
  /** Runs the check when its turn comes; rejects with CheckBusyError when it does not come. */
  enter(source: string, run: () => Promise<boolean>): Promise<boolean>;
  readonly waiting: number;
}

export function openCheckLine({
  runsMax,
  waitingMax,
  waitMsMax,
  now,
}: {
  runsMax: number;
  waitingMax: number;
  waitMsMax: number;
  now: () => number;
}): CheckLine {
  /** Waiters by source. A Map keeps the order of insertion, and a source that had its turn is put at the end. */
  const lanes = new Map<string, Waiter[]>();
  let running = 0;
  let waiting = 0;

  const makeRoom = (): void => {
    let longest: [string, Waiter[]] | null = null;
    for (const lane of lanes) if (longest === null || lane[1].length > longest[1].length) longest = lane;
    if (longest === null) return;
    const [source, lane] = longest;
    waiting--;
    lane.pop()?.reject(new CheckBusyError());
    if (lane.length === 0) lanes.delete(source);
  };

  const next = (): Waiter | null => {
    for (const [source, lane] of lanes) {
      lanes.delete(source);
      const waiter = lane.shift();
      if (lane.length > 0) lanes.set(source, lane);
      if (waiter === undefined) continue;
      waiting--;
      if (now() - waiter.since <= waitMsMax) return waiter;
      waiter.reject(new CheckBusyError());
    }
    return null;
  };

  const advance = (): void => {
    while (running < runsMax) {
      const waiter = next();
      if (waiter === null) return;
      running++;
      waiter
        .run()
        .then(waiter.resolve, waiter.reject)
        .finally(() => {
          running--;
          advance();
        });
    }
  };

  return {
    enter: (source, run) =>
      new Promise<boolean>((resolve, reject) => {
        const waiter = { run, since: now(), resolve, reject };
        waiting++;
        const lane = lanes.get(source);
        if (lane === undefined) lanes.set(source, [waiter]);
        else lane.push(waiter);
        advance();
        if (waiting > waitingMax) makeRoom();
      }),
    get waiting() {
      return waiting;
    },
  };
}
