/**
 * Calls that tools workers speak of and that nobody here waits for: results that came late, calls that are still run for a
 * router that has forgotten them, and those of a worker that dialled in here while another router waits for it.
 *
 * S1. A result that nobody waits for is acknowledged only when nobody will ask for it again.
 * S2. On a store that routers share, the writer of the call's job is told of it, again and again while the worker is here,
 *     until that router says that the call is over: it waits for the worker so long.
 */
import { jobOfCall } from '../../machines/tool-round.decide.ts';
import { serialiseFrame } from '../../protocol/worker-frames.ts';
import type { Clock } from './ports.ts';

export interface ToolStrangersParts {
  readonly clock: Clock;
  readonly isKnown: (callId: string) => boolean;
  readonly send: (workerId: string, text: string) => void;
  /** S2; null where the store is this router's own. `result`: as the worker wrote it. */
  readonly tellWriter: ((jobId: string, callId: string, workerInstance: string, result: string | null) => void) | null;
  /** Between two words to a writer, ms: well below the time for which it waits. */
  readonly againMs: number;
}

export interface ToolsWorkerHere {
  readonly workerId: string;
  readonly workerInstance: string | undefined;
}

/** Before a result that nobody waits for is acknowledged: jobs that a router takes up may ask for it a little later. */
const strangerMs = 2000;
const overMax = 4096;
const awaitedMax = 4096;

interface Awaited {
  readonly jobId: string;
  readonly workerId: string;
  readonly workerInstance: string;
  readonly result: string | null;
}

export class ToolStrangers {
  readonly #parts: ToolStrangersParts;
  /** Calls that ended here a while ago: nobody asks for these again. */
  readonly #over = new Set<string>();
  /** Calls of workers here that may be awaited at another router. */
  readonly #awaited = new Map<string, Awaited>();
  #stopTelling: (() => void) | null = null;

  constructor(parts: ToolStrangersParts) {
    this.#parts = parts;
  }

  /** The call has ended here. */
  remember(callId: string): void {
    this.#over.add(callId);
    const [oldest] = this.#over;
    if (this.#over.size > overMax && oldest !== undefined) this.#over.delete(oldest);
  }

  isOver(callId: string): boolean {
    return this.#over.has(callId);
  }

  /** The worker has told the result of a call that it is not thought to have (S1). */
  heard(worker: ToolsWorkerHere, callId: string, text: string): void {
    const { clock, isKnown, tellWriter } = this.#parts;
    if (this.#over.has(callId)) return this.thank(worker.workerId, callId);
    if (tellWriter !== null) return this.#await(worker, callId, text);
    clock.after(strangerMs, () => {
      if (!isKnown(callId)) this.thank(worker.workerId, callId);
    });
  }

  /** The worker has dialled in and still runs these calls. */
  held(worker: ToolsWorkerHere, callIds: readonly string[]): void {
    const { clock, isKnown, tellWriter } = this.#parts;
    const { workerId } = worker;
    const unknown = callIds.filter(callId => !isKnown(callId) && !this.#over.has(callId));
    for (const callId of callIds) if (this.#over.has(callId)) this.cancel(workerId, callId);
    if (tellWriter !== null) for (const callId of unknown) this.#await(worker, callId, null);
    if (tellWriter !== null || unknown.length === 0) return;
    clock.after(strangerMs, () => {
      for (const callId of unknown) if (!isKnown(callId) && !this.#over.has(callId)) this.cancel(workerId, callId);
    });
  }

  /** The worker is not here any more. */
  gone(workerId: string): void {
    for (const [callId, awaited] of this.#awaited) if (awaited.workerId === workerId) this.#awaited.delete(callId);
  }

  /** Whoever waited for the call does not any more. */
  ended(callId: string): void {
    const awaited = this.#awaited.get(callId);
    if (awaited === undefined) return;
    this.#awaited.delete(callId);
    if (awaited.result === null) this.cancel(awaited.workerId, callId);
    else this.thank(awaited.workerId, callId);
  }

  thank(workerId: string, callId: string): void {
    this.#parts.send(workerId, serialiseFrame({ type: 'tool_ack', job_id: callId }));
  }

  cancel(workerId: string, callId: string): void {
    this.#parts.send(workerId, serialiseFrame({ type: 'cancel', job_id: callId }));
  }

  stop(): void {
    this.#stopTelling?.();
    this.#awaited.clear();
  }

  /** S2. */
  #await({ workerId, workerInstance }: ToolsWorkerHere, callId: string, result: string | null): void {
    const jobId = jobOfCall(callId);
    if (jobId === null || workerInstance === undefined || this.#awaited.size >= awaitedMax) return;
    const awaited = { jobId, workerId, workerInstance, result };
    this.#awaited.set(callId, awaited);
    this.#tell(callId, awaited);
    this.#tellLater();
  }

  #tell(callId: string, { jobId, workerInstance, result }: Awaited): void {
    // The job may have come here meanwhile.
    if (this.#parts.isKnown(callId)) this.#awaited.delete(callId);
    else this.#parts.tellWriter?.(jobId, callId, workerInstance, result);
  }

  #tellLater(): void {
    const { clock, againMs } = this.#parts;
    this.#stopTelling ??= clock.after(againMs, () => {
      this.#stopTelling = null;
      for (const [callId, awaited] of [...this.#awaited]) this.#tell(callId, awaited);
      if (this.#awaited.size > 0) this.#tellLater();
    });
  }
}
