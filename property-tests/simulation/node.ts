/** One process of the cluster: it runs, stands still for a while (SIGSTOP, a swapped-out machine), or is dead for good. */
import { steadyTime } from '../../actors/worker/clock.ts';
import type { Event, Node, VirtualClock } from './clock.ts';

export class SimNode implements Node {
  readonly name: string;
  readonly clock: VirtualClock;
  /** How far its wall clock is off. */
  skewMs = 0;
  dead = false;
  #held: (() => void)[] | null = null;

  constructor(name: string, clock: VirtualClock) {
    this.name = name;
    this.clock = clock;
  }

  /** The system's time. */
  wall(): number {
    return Math.floor(this.clock.now) + this.skewMs;
  }

  /** As its program has it. */
  readonly now = steadyTime(() => this.wall());

  get frozen(): boolean {
    return this.#held !== null;
  }

  take(what: () => void): void {
    if (this.dead) return;
    if (this.#held !== null) this.#held.push(what);
    else what();
  }

  after(ms: number, run: () => void): () => void {
    const event: Event = this.clock.after(ms, this, run);
    let held = true;
    // A timer of a node that stands still is due, and waits among the held: it can still be called off there.
    const original = event.run;
    event.run = () => held && original?.();
    return () => {
      held = false;
      event.run = null;
    };
  }

  freeze(): boolean {
    if (this.dead || this.#held !== null) return false;
    this.#held = [];
    return true;
  }

  /** Everything that came meanwhile happens now, in order. */
  thaw(): void {
    const held = this.#held;
    if (held === null) return;
    this.#held = null;
    for (const what of held) this.clock.after(0, this, what);
  }

  die(): void {
    this.dead = true;
    this.#held = null;
  }
}
