/**
 * Where the embedded store's changes go before they count.
 *
 * J1. A reply goes out after every change made before it is acknowledged, also the reply of a read: nobody sees what a
 *     crash or a failed write could still take back.
 */
import type { StoreTrouble } from './store.ts';
import type { Value } from './stream-value.ts';

export interface Journal {
  /** Why a command cannot be taken now; null: it can. */
  refusal(writes: boolean): StoreTrouble | null;
  wrote(words: readonly Value[]): void;
  /** Settles with `reply` once all that was written so far is acknowledged. */
  acknowledged<T>(reply: T): Promise<T>;
  close(): Promise<void>;
}

/** Keeps nothing: for a store that lives in memory only. */
export const noJournal: Journal = {
  refusal: () => null,
  wrote: () => undefined,
  acknowledged: reply => Promise.resolve(reply),
  close: () => Promise.resolve(),
};
