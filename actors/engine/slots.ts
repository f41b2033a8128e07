/**
 * The places where jobs run: one sequence of the model's context each, with what it still holds of the job before.
 *
 * A job gets the free slot that shares the longest beginning with its prompt, so that this part need not be evaluated
 * again; of equals, the one unused the longest. When none is free, jobs wait their turn, up to a cap.
 */
import { EngineError } from './engine.ts';

/** What is needed of a sequence; a test can write one down. */
export interface Sequence<T> {
  readonly contextTokens: readonly T[];
}

export interface Slots<S> {
  /** Waits for a slot; refuses when too many wait, and when `signal` aborts. */
  acquire(prompt: readonly number[], signal: AbortSignal): Promise<S>;
  release(sequence: S): void;
}

interface Slot<S> {
  readonly sequence: S;
  busy: boolean;
  /** Counts releases: a lower number was used longer ago. */
  usedAt: number;
}

export function openSlots<S extends Sequence<number>>(sequences: readonly S[], waitersMax: number): Slots<S> {
  const slots: Slot<S>[] = sequences.map(sequence => ({ sequence, busy: false, usedAt: 0 }));
  const waiters: { readonly prompt: readonly number[]; readonly go: (sequence: S) => void }[] = [];
  let releases = 0;

  const take = (prompt: readonly number[]): S | null => {
    let best: { readonly slot: Slot<S>; readonly shared: number } | null = null;
    for (const slot of slots) {
      if (slot.busy) continue;
      const shared = sharedLength(slot.sequence.contextTokens, prompt);
      if (best === null || shared > best.shared || (shared === best.shared && slot.usedAt < best.slot.usedAt)) {
        best = { slot, shared };
      }
    }
    if (best === null) return null;
    best.slot.busy = true;
    return best.slot.sequence;
  };

  return {
    async acquire(prompt, signal) {
      signal.throwIfAborted();
      const free = waiters.length === 0 ? take(prompt) : null;
      if (free !== null) return free;
      if (waiters.length >= waitersMax) {
        throw new EngineError(
          'server_overloaded',
          `all ${slots.length} slots are busy and ${waitersMax} jobs wait already`,
        );
      }
      return new Promise<S>((resolve, reject) => {
        const stop = (): void => {
          waiters.splice(waiters.indexOf(waiter), 1);
          reject(signal.reason);
        };
        const waiter = {
          prompt,
          go: (sequence: S): void => {
            signal.removeEventListener('abort', stop);
            resolve(sequence);
          },
        };
        signal.addEventListener('abort', stop, { once: true });
        waiters.push(waiter);
      });
    },
    release(sequence) {
      const slot = slots.find(slot => slot.sequence === sequence);
      if (slot === undefined) throw new Error('this sequence is not one of the slots');
      slot.busy = false;
      releases += 1;
      slot.usedAt = releases;
      const next = waiters[0];
      if (next === undefined) return;
      const free = take(next.prompt);
      if (free === null) return;
      waiters.shift();
      next.go(free);
    },
  };
}

function sharedLength(held: readonly number[], prompt: readonly number[]): number {
  let length = 0;
  while (length < held.length && length < prompt.length && held[length] === prompt[length]) length += 1;
  return length;
}
