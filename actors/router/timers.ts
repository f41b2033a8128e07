/**
 * Named timers over one clock timer: a binary heap by instant. Arming a name again moves it; thousands of deadlines
 * that never come due cost one heap place each and leave nothing behind when they are taken back.
 */
import type { Clock } from './ports.ts';

interface Timer {
  readonly key: string;
  at: number;
  place: number;
}

export class Timers {
  readonly #clock: Clock;
  readonly #fired: (key: string, at: number) => void;
  readonly #heap: Timer[] = [];
  readonly #byKey = new Map<string, Timer>();
  #stopWaiting: (() => void) | null = null;
  #waitingFor = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, fired: (key: string, at: number) => void) {
    this.#clock = clock;
    this.#fired = fired;
  }

  get size(): number {
    return this.#heap.length;
  }

  arm(key: string, at: number): void {
    const known = this.#byKey.get(key);
    if (known === undefined) {
      const timer = { key, at, place: this.#heap.length };
      this.#byKey.set(key, timer);
      this.#heap.push(timer);
      this.#rise(timer);
    } else {
      known.at = at;
      this.#rise(known);
      this.#sink(known);
    }
    this.#wait();
  }

  disarm(key: string): void {
    const timer = this.#byKey.get(key);
    if (timer === undefined) return;
    this.#byKey.delete(key);
    const last = this.#heap.pop();
    if (last === undefined || last === timer) return;
    this.#put(last, timer.place);
    this.#rise(last);
    this.#sink(last);
  }

  stop(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = null;
    this.#heap.length = 0;
    this.#byKey.clear();
    this.#waitingFor = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#stopWaiting = null;
    this.#waitingFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      this.disarm(first.key);
      this.#fired(first.key, now);
    }
    this.#wait();
  }

  #wait(): void {
    const first = this.#heap[0];
    if (first === undefined || first.at >= this.#waitingFor) return;
    this.#stopWaiting?.();
    this.#waitingFor = first.at;
    // Node's own timers hold 31 bits of ms; a longer wait goes round again.
    const ms = Math.min(Math.max(0, first.at - this.#clock.now()), 2 ** 31 - 1);
    this.#stopWaiting = this.#clock.after(ms, () => this.#fire());
  }

  #put(timer: Timer, place: number): void {
    timer.place = place;
    this.#heap[place] = timer;
  }

  #rise(timer: Timer): void {
    for (let place = timer.place; place > 0; ) {
      const parent = this.#heap[(place - 1) >> 1];
      if (parent === undefined || parent.at <= timer.at) return;
      this.#put(parent, place);
      place = (place - 1) >> 1;
      this.#put(timer, place);
    }
  }

  #sink(timer: Timer): void {
    for (let place = timer.place; ; ) {
      const left = this.#heap[2 * place + 1];
      const right = this.#heap[2 * place + 2];
      const child = right !== undefined && left !== undefined && right.at < left.at ? right : left;
      if (child === undefined || child.at >= timer.at) return;
      const below = child.place;
      this.#put(child, place);
      this.#put(timer, below);
      place = below;
    }
  }
}
