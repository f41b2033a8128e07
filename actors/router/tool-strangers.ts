/**
 * Calls that tools workers speak of and that nobody here waits for: results that came late, and calls that are still run
 * for a router that has forgotten them.
 *
 * S1. A result that nobody waits for is acknowledged only when nobody will ask for it again.
 * S2. On a store that routers share, what nobody here knows may be another's, and is left alone.
 */
import { serialiseFrame } from '../../protocol/worker-frames.ts';
import type { Clock } from './ports.ts';

export interface ToolStrangersParts {
  readonly clock: Clock;
  /** S2. */
  readonly shared: boolean;
  readonly isKnown: (callId: string) => boolean;
  readonly send: (workerId: string, text: string) => void;
}

/** Before a result that nobody waits for is acknowledged: jobs that a router takes up may ask for it a little later. */
const strangerMs = 2000;
const overMax = 4096;

export class ToolStrangers {
  readonly #parts: ToolStrangersParts;
  /** Calls that ended here a while ago: nobody asks for these again. */
  readonly #over = new Set<string>();

  constructor(parts: ToolStrangersParts) {
    this.#parts = parts;
  }

  /** The call has ended here. */
  remember(callId: string): void {
    this.#over.add(callId);
    const [oldest] = this.#over;
    if (this.#over.size > overMax && oldest !== undefined) this.#over.delete(oldest);
  }

  /** The worker has told of a call that it is not thought to have (S1). */
  heard(workerId: string, callId: string): void {
    const { clock, isKnown, shared } = this.#parts;
    if (this.#over.has(callId)) return this.thank(workerId, callId);
    if (shared) return;
    clock.after(strangerMs, () => {
      if (!isKnown(callId)) this.thank(workerId, callId);
    });
  }

  /** The worker has dialled in and still runs these calls. */
  held(workerId: string, callIds: readonly string[]): void {
    const { clock, isKnown, shared } = this.#parts;
    const unknown = callIds.filter(callId => !isKnown(callId) && !this.#over.has(callId));
    for (const callId of callIds) if (this.#over.has(callId)) this.cancel(workerId, callId);
    if (shared || unknown.length === 0) return;
    clock.after(strangerMs, () => {
      for (const callId of unknown) if (!isKnown(callId) && !this.#over.has(callId)) this.cancel(workerId, callId);
    });
  }

  thank(workerId: string, callId: string): void {
    this.#parts.send(workerId, serialiseFrame({ type: 'tool_ack', job_id: callId }));
  }

  cancel(workerId: string, callId: string): void {
    this.#parts.send(workerId, serialiseFrame({ type: 'cancel', job_id: callId }));
  }
}
