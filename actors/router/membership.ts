/**
 * This boot among the routers of one store: keeps its lease, knows who else lives, and says whose jobs may be taken.
 *
 * M1. The lease is renewed every `renewMs`. One that had lapsed is told (`lapsed`): others may have this boot's jobs.
 * M2. Another boot counts as gone when its lease has lapsed and ours has lasted for longer than a lease: after trouble with
 *     the store all leases have lapsed, and everybody gets the time to renew theirs first.
 * M3. Each boot that is gone is told (`gone`) until what it left behind has been taken, and is buried then.
 */
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Clock, ClusterPort } from './ports.ts';

export interface MembershipEvents {
  lapsed(): void;
  /** Takes what these left behind; resolves when all of it is taken. */
  gone(isGone: (boot: string) => boolean): Promise<void>;
  /** Who lives has changed. */
  changed(): void;
}

export const renewMs = 500;
/** How long our own lease must have lasted before anybody else is judged, ms. */
const judgeAfterMs = 2000;
/** For the first lease, without which there is nothing to begin with, ms. */
const firstMs = 5000;
/** A lease is looked at again this long after the moment at which it should have lapsed, ms. */
const marginMs = 10;

export class Membership {
  readonly #boot: string;
  readonly #port: ClusterPort;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #events: MembershipEvents;
  #others: readonly string[] = [];
  /** Since when our lease has not lapsed; null while it cannot be renewed. */
  #heldSince: number | null = null;
  #taking = false;
  #stopped = false;
  #stopRenewing: () => void = () => undefined;
  #stopLooking: () => void = () => undefined;

  constructor(boot: string, port: ClusterPort, clock: Clock, diagnostics: Diagnostics, events: MembershipEvents) {
    this.#boot = boot;
    this.#port = port;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#events = events;
  }

  /** Other boots that live. */
  get others(): readonly string[] {
    return this.#others;
  }

  /** Takes the lease; rejects when the store does not take it. */
  async start(): Promise<void> {
    await within(this.#clock, firstMs, this.#port.renew());
    this.#heldSince = this.#clock.now();
    this.#renewLater();
    await this.#look();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopRenewing();
    this.#stopLooking();
    await within(this.#clock, renewMs, this.#port.leave());
  }

  #renewLater(): void {
    this.#stopRenewing = this.#clock.after(renewMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    // From here and not from the answer on: an answer may be late, and the next renewal must not be.
    this.#renewLater();
    try {
      const held = await within(this.#clock, renewMs, this.#port.renew());
      if (this.#stopped) return;
      if (!held || this.#heldSince === null) this.#heldSince = this.#clock.now();
      if (held) return;
      this.#diagnostics.warn('this router was away for longer than its lease: others may have taken its jobs');
      this.#events.lapsed();
    } catch {
      // Trouble with the store, which the log tells. Whoever cannot keep a lease does not judge others (M2).
      this.#heldSince = null;
    }
  }

  async #look(): Promise<void> {
    let againMs = renewMs;
    try {
      const boots = await within(this.#clock, renewMs, this.#port.boots());
      if (this.#stopped) return;
      againMs = this.#found(boots);
    } catch {
      // As above.
    }
    if (!this.#stopped) this.#stopLooking = this.#clock.after(againMs, () => void this.#look());
  }

  /** Returns how soon to look again: when the next lease should lapse, if it is not renewed before. */
  #found(boots: ReadonlyMap<string, number>): number {
    const others = [...boots].filter(([boot]) => boot !== this.#boot);
    const alive = others.flatMap(([boot, ms]) => (ms > 0 ? [boot] : []));
    const gone = others.flatMap(([boot, ms]) => (ms > 0 ? [] : [boot]));
    const changed = alive.join() !== this.#others.join();
    this.#others = alive;
    if (changed) this.#events.changed();
    if (gone.length > 0 && !this.#taking && this.#mayJudge()) void this.#take(gone, new Set([this.#boot, ...alive]));
    const nextMs = Math.min(renewMs, ...others.flatMap(([, ms]) => (ms > 0 ? [ms + marginMs] : [])));
    return Math.max(marginMs, nextMs);
  }

  /** M3. */
  async #take(gone: readonly string[], alive: ReadonlySet<string>): Promise<void> {
    this.#taking = true;
    this.#diagnostics.info('the jobs of routers that are gone are taken over', { routers: gone.length });
    try {
      await this.#events.gone(boot => !alive.has(boot));
      for (const boot of gone) await this.#port.bury(boot);
    } catch (error) {
      this.#diagnostics.warn('the jobs of a router that is gone could not be taken over yet', {
        reason: String(error),
      });
    } finally {
      this.#taking = false;
    }
  }

  #mayJudge(): boolean {
    return this.#heldSince !== null && this.#clock.now() - this.#heldSince >= judgeAfterMs;
  }
}

/** `promise`, or a rejection after `ms`: a store that is hung answers nothing at all. */
export function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(ms, () => reject(new Error(`the store did not answer within ${ms} ms`)));
    promise.then(resolve, reject).finally(stop);
  });
}
