/**
 * One router writes to a Redis at a time: a lease that it renews while it lives (the embedded store has a lock file).
 *
 * Jobs are fenced by their epochs in any case. The lease is there because a second router would take the first one's
 * open jobs for those of a dead predecessor, adopt them and cut off their callers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Store } from './store.ts';

export interface WriterLease {
  /** Resolves with a reason when another router holds the lease. */
  readonly lost: Promise<string>;
  release(): Promise<void>;
}

export interface LeaseTimes {
  /** Without renewal the lease lapses after this long: a router that was killed can be started again then. */
  readonly lapseMs: number;
  readonly renewMs: number;
}

const usual: LeaseTimes = { lapseMs: 5000, renewMs: 1500 };
const leaseKey = 'auxot:writer';
const lookAgainMs = 100;

/** Waits for a dead predecessor's lease to lapse. Rejects when a living router holds it. */
export async function takeWriterLease(store: Store, boot: string, times: LeaseTimes = usual): Promise<WriterLease> {
  const { lapseMs, renewMs } = times;
  const take = (): Promise<string | null> => store.set(leaseKey, boot, 'PX', lapseMs, 'NX');
  for (const giveUpAt = Date.now() + lapseMs + renewMs; (await take()) === null; await sleep(lookAgainMs)) {
    if (Date.now() < giveUpAt) continue;
    throw new Error(
      `AUXOT_REDIS_URL: another router (boot ${await store.get(leaseKey)}) uses this Redis, and routers do not share jobs yet. Stop it, or give this one a database of its own (…/1).`,
    );
  }
  let lose: (reason: string) => void = () => undefined;
  const lost = new Promise<string>(resolve => {
    lose = resolve;
  });
  const renew = async (): Promise<void> => {
    const holder = await store.get(leaseKey);
    if (holder === boot) await store.pexpire(leaseKey, lapseMs);
    // Nobody's: the server was away or was emptied, and came back.
    else if (holder === null ? (await take()) === null : true) lose('another router has taken over this Redis');
  };
  // A server that does not answer is the log's trouble, and told there.
  const timer = setInterval(() => void renew().catch(() => undefined), renewMs);
  return {
    lost,
    async release() {
      clearInterval(timer);
      if ((await store.get(leaseKey)) === boot) await store.del(leaseKey);
    },
  };
}
