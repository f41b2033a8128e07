/**
 * When workers are not read for a while: the shards, or the log, are behind. A worker that is not read stops sending when
 * its socket is full, so what waits here stays bounded.
 */
import type { WorkerSocket } from './worker-sockets.ts';

export interface ThrottleParts {
  /** What the shards have not answered yet. */
  readonly backlog: () => { readonly batches: number; readonly inputs: number };
  readonly waitingChars: (jobId: string) => number;
  readonly heldBy: (workerId: string) => readonly string[];
  /** The worker that runs the job. */
  readonly workerOf: (jobId: string) => WorkerSocket | undefined;
  /** Stops reading the worker until `mayRead` says yes. */
  readonly pause: (worker: WorkerSocket, mayRead: () => boolean) => void;
}

/** Characters a job may have waiting for the log before its worker is not read any more, and when it is again. */
const stopReadingChars = 2 ** 20;
const startReadingChars = 2 ** 18;
/** What shards may owe an answer for before workers are not read any more. */
const batchesMax = 64;
const inputsMax = 8192;

export class Throttle {
  readonly #parts: ThrottleParts;

  constructor(parts: ThrottleParts) {
    this.#parts = parts;
  }

  /** The worker has said something. */
  heard(worker: WorkerSocket): void {
    if (this.#crowded(1)) this.#pause(worker);
  }

  /** The job has something to be logged. */
  logs(jobId: string): void {
    const { waitingChars, workerOf } = this.#parts;
    if (waitingChars(jobId) <= stopReadingChars) return;
    const worker = workerOf(jobId);
    if (worker !== undefined) this.#pause(worker);
  }

  #pause(worker: WorkerSocket): void {
    this.#parts.pause(worker, () => !this.#crowded(0.5) && !this.#overflows(worker.workerId));
  }

  #crowded(share: number): boolean {
    const { batches, inputs } = this.#parts.backlog();
    return batches > batchesMax * share || inputs > inputsMax * share;
  }

  #overflows(workerId: string): boolean {
    const { heldBy, waitingChars } = this.#parts;
    return heldBy(workerId).some(jobId => waitingChars(jobId) > startReadingChars);
  }
}
