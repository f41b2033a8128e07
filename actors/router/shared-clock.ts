/**
 * The time that routers on one store agree upon: the store's. Deadlines and graces stand in the jobs' logs as instants, and
 * whoever takes a job over has to mean the same by them, however far the clocks of the two machines are apart.
 *
 * C1. It never goes back, and does not follow the machine's own clock when that is set.
 * C2. An answer says what the store's time is but for its round trip. What we have is kept for as long as it may be right,
 *     so that the time does not shake with every late answer.
 */
import { steadyTime } from '../worker/clock.ts';
import { within } from './membership.ts';
import type { Clock } from './ports.ts';

/** How often the store is asked: clocks run apart by milliseconds in this time, and a machine may have been asleep. */
const lookMs = 2000;

export class SharedClock implements Clock {
  readonly #base: Clock;
  readonly #sinceBoot: () => number;
  readonly #ask: () => Promise<number>;
  /** What is added to `sinceBoot` for the store's time. */
  #aheadMs = 0;
  #stopLooking: () => void = () => undefined;
  readonly now: () => number;

  /** `sinceBoot`: ms that pass evenly, from anywhere; `ask`: the store's time, epoch ms. Tells no time before `look`. */
  constructor(base: Clock, sinceBoot: () => number, ask: () => Promise<number>) {
    this.#base = base;
    this.#sinceBoot = sinceBoot;
    this.#ask = ask;
    this.now = steadyTime(() => Math.floor(sinceBoot() + this.#aheadMs));
  }

  after(ms: number, fire: () => void): () => void {
    return this.#base.after(ms, fire);
  }

  defer(run: () => void): void {
    this.#base.defer(run);
  }

  /** C2. Rejects when the store does not answer. */
  async look(): Promise<void> {
    const askedAt = this.#sinceBoot();
    const told = await within(this.#base, lookMs, this.#ask());
    const [least, most] = [told - this.#sinceBoot(), told - askedAt];
    if (this.#aheadMs < least || this.#aheadMs > most) this.#aheadMs = (least + most) / 2;
  }

  /** Looks now and then, until `stop`. */
  keep(): void {
    const again = (): void => {
      // A store in trouble is told elsewhere; time goes on without it.
      void this.look().catch(() => undefined);
      this.keep();
    };
    this.#stopLooking = this.#base.after(lookMs, again);
  }

  stop(): void {
    this.#stopLooking();
  }
}
