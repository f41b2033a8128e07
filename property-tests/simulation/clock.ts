/**
 * Virtual time: a heap of events, taken one by one, each with all promises that it moves before the next.
 *
 * V1. Events run in the order of their instants, and of the same instant in the order in which they were set.
 * V2. Between two events every microtask has run: the next step is a tick that a microtask asks for, and Node takes a
 *     tick only when no microtask is left. (A turn of the event loop would do as well and costs four times as much.)
 * V3. What an event starts belongs to the event's node, also behind promises, because of V2.
 */
import { realSetImmediate } from './globals.ts';

export interface Event {
  readonly at: number;
  readonly order: number;
  readonly node: Node | null;
  /** Null: called off. */
  run: (() => void) | null;
}

/** A place where things happen: a process that can be stopped, continued and killed (node.ts). */
export interface Node {
  readonly name: string;
  /** Runs `what` now, or later if the node stands still, or never if it is dead. */
  take(what: () => void): void;
  /** What its system takes for the time, epoch ms. */
  wall(): number;
}

/** Events between two looks at the real event loop: rejections that nobody handles are told there. */
const turnEvery = 512;

export class VirtualClock {
  /** Epoch ms. Every world begins at the same instant. */
  now = 1_700_000_000_000;
  readonly startedAt = this.now;
  /** Whose event it is that runs now. */
  node: Node | null = null;
  events = 0;
  readonly #heap: Event[] = [];
  #order = 0;
  #failed: ((error: unknown) => void) | null = null;

  after(ms: number, node: Node | null, run: () => void): Event {
    this.#order += 1;
    const at = this.now + Math.max(0, ms);
    const event: Event = { at, order: this.#order, node, run };
    this.#push(event);
    return event;
  }

  /** Events of a node that are still to come. */
  waitingOf(node: Node): number {
    return this.#heap.filter(event => event.run !== null && event.node === node).length;
  }

  /** Something threw where no event runs: ends the run. */
  fail(error: unknown): void {
    this.#failed?.(error);
  }

  runUntil(until: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let done = false;
      const end = (settle: () => void): void => {
        done = true;
        this.#failed = null;
        this.node = null;
        settle();
      };
      this.#failed = error => end(() => reject(error));
      const step = (): void => {
        if (done) return;
        const first = this.#heap[0];
        if (first === undefined || first.at > until) {
          if (this.now < until) this.now = until;
          // What the last event left to the real loop, a rejection say, is heard before this run counts as over.
          realSetImmediate(() => done || end(resolve));
          return;
        }
        this.#pop();
        const { run, node } = first;
        if (run !== null) {
          first.run = null;
          this.now = first.at;
          this.node = node;
          this.events += 1;
          try {
            if (node === null) run();
            else node.take(run);
          } catch (error) {
            return end(() => reject(error));
          }
        }
        if (this.events % turnEvery === 0) realSetImmediate(step);
        else queueMicrotask(later);
      };
      const later = (): void => process.nextTick(step);
      step();
    });
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(event);
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || before(parent, event)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      const left = 2 * place + 1;
      let child = heap[left];
      if (child === undefined) break;
      let at = left;
      const right = heap[left + 1];
      if (right !== undefined && before(right, child)) [child, at] = [right, left + 1];
      if (before(last, child)) break;
      heap[place] = child;
      place = at;
    }
    heap[place] = last;
  }
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
