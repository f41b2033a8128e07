/**
 * Which job a caller's `Idempotency-Key` stands for, kept in the store for as long as a job and its log may last.
 *
 * The first claim wins (SET NX), whichever router makes it. A job that ended without an answer hands the key on: the next
 * claim is made under its id (`<key>/<job>`), so that of two callers who try again one wins, too.
 */
import { isTerminal, type JobEvent } from '../../protocol/job-events.ts';
import { lastSaid } from './last-said.ts';
import { parseEntry } from './log-entry.ts';
import { requestKey } from './log-keys.ts';
import { type Store, StoreTrouble } from './store.ts';

/** Of a job's log: its last event if that ends the job. */
export type Ending = 'missing' | 'open' | JobEvent;

export class StoredRequestKeys {
  readonly #store: Store;
  readonly #ttlMs: number;

  constructor(store: Store, ttlMs: number) {
    this.#store = store;
    this.#ttlMs = ttlMs;
  }

  /** Null: `value` stands there now. Else what stood there before. */
  async claim(key: string, value: string): Promise<string | null> {
    return trying(async () => {
      for (;;) {
        const won = await this.#store.set(requestKey(key), value, 'PX', this.#ttlMs, 'NX');
        if (won !== null) return null;
        const there = await this.#store.get(requestKey(key));
        // A reply that was lost, and the command sent again: it is ours.
        if (there === value) return null;
        // It lapsed in between.
        if (there !== null) return there;
      }
    });
  }

  async release(key: string): Promise<void> {
    await trying(() => this.#store.del(requestKey(key)));
  }

  async ending(jobId: string): Promise<Ending> {
    const entry = await trying(() => lastSaid(this.#store, jobId));
    if (entry === undefined) return 'missing';
    return parseEntry(jobId, entry).events.findLast(({ type }) => isTerminal(type)) ?? 'open';
  }
}

async function trying<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new StoreTrouble('The store refused a command about a request key.', error);
  }
}
