/**
 * All keys of the embedded store: streams of our own beside the values that ioredis-mock keeps, with one expiry for both.
 *
 * ioredis-mock is given this keyspace as its data and its expiry table, so its commands and ours see the same keys.
 * A key whose time has come is gone at the next look at it, or within a second, and its end is told to `onExpired`.
 */
import { wrongType } from './reply-error.ts';
import { Stream, type Value } from './stream-value.ts';

/** What ioredis-mock keeps under a key. */
export type Plain = Value | Set<unknown> | Readonly<Record<string, Value>>;

export type KeyType = 'none' | 'stream' | 'string' | 'hash' | 'set';

/** Expired keys removed in one go before others get their turn. */
const expiredPerTurn = 1000;
/** A timer cannot wait longer than this. */
const timerMsMax = 2 ** 31 - 1;

export class Keyspace {
  readonly values = new Map<string, Stream | Plain>();
  readonly expiries = new Map<string, number>();
  /** Grows with every change that ioredis-mock makes. */
  changes = 0;
  /** Keys do not expire while a file is read: what is in it decides. */
  loading = false;
  onExpired: (key: string) => void = () => undefined;
  private readonly now: () => number;
  private readonly queue = new ExpiryQueue();
  private timer: NodeJS.Timeout | null = null;
  private timerAt = Number.POSITIVE_INFINITY;

  constructor(now: () => number) {
    this.now = now;
  }

  get(key: string): Stream | Plain | undefined {
    if (this.expiries.size > 0) this.expireIfDue(key);
    return this.values.get(key);
  }

  /** The stream under `key`, undefined if there is nothing, WRONGTYPE if there is something else. */
  stream(key: string): Stream | undefined {
    const value = this.get(key);
    if (value === undefined || value instanceof Stream) return value;
    throw wrongType();
  }

  type(key: string): KeyType {
    const value = this.get(key);
    if (value === undefined) return 'none';
    if (value instanceof Stream) return 'stream';
    if (value instanceof Set) return 'set';
    return typeof value === 'string' || Buffer.isBuffer(value) ? 'string' : 'hash';
  }

  set(key: string, value: Stream | Plain): void {
    this.values.set(key, value);
  }

  delete(key: string): boolean {
    this.expiries.delete(key);
    return this.values.delete(key);
  }

  expireAt(key: string, at: number): void {
    this.expiries.set(key, at);
    this.queue.push({ at, key });
    if (!this.loading) this.arm();
  }

  persist(key: string): boolean {
    return this.expiries.delete(key);
  }

  clear(): void {
    this.values.clear();
    this.expiries.clear();
    this.queue.clear();
  }

  /** Keys that have not expired. */
  keys(): string[] {
    const now = this.now();
    return [...this.values.keys()].filter(key => this.loading || (this.expiries.get(key) ?? Infinity) > now);
  }

  loaded(): void {
    this.loading = false;
    this.arm();
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.timerAt = Number.POSITIVE_INFINITY;
  }

  private expireIfDue(key: string): void {
    const at = this.expiries.get(key);
    if (at === undefined || this.loading || at > this.now()) return;
    this.delete(key);
    this.onExpired(key);
  }

  private arm(): void {
    const next = this.queue.first();
    if (next === null || next.at >= this.timerAt) return;
    this.close();
    this.timerAt = next.at;
    const waitMs = Math.min(Math.max(next.at - this.now(), 1), timerMsMax);
    this.timer = setTimeout(() => this.expireDue(), waitMs).unref();
  }

  private expireDue(): void {
    this.close();
    const now = this.now();
    for (let turn = 0; turn < expiredPerTurn; turn++) {
      const next = this.queue.first();
      if (next === null || next.at > now) break;
      this.queue.shift();
      if (this.expiries.get(next.key) === next.at) this.expireIfDue(next.key);
    }
    this.arm();
  }
}

interface Expiry {
  readonly at: number;
  readonly key: string;
}

/** A binary heap, soonest first. Expiries that were changed since stay in it and are passed over. */
class ExpiryQueue {
  private heap: Expiry[] = [];

  first(): Expiry | null {
    return this.heap[0] ?? null;
  }

  push(expiry: Expiry): void {
    let at = this.heap.push(expiry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.heap[parent];
      if (above === undefined || above.at <= expiry.at) break;
      this.heap[at] = above;
      at = parent;
    }
    this.heap[at] = expiry;
  }

  shift(): void {
    const last = this.heap.pop();
    const { length } = this.heap;
    if (last === undefined || length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const [a, b] = [this.heap[left], this.heap[left + 1]];
      const child = b !== undefined && a !== undefined && b.at < a.at ? left + 1 : left;
      const below = this.heap[child];
      if (below === undefined || below.at >= last.at) break;
      this.heap[at] = below;
      at = child;
    }
    this.heap[at] = last;
  }

  clear(): void {
    this.heap = [];
  }
}
