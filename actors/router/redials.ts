/**
 * Workers that dial in again: the connection that they had before is dead, and the jobs that they still hold are theirs
 * to go on with, if each job's own shard says so.
 *
 * D1. A worker's process has one connection. Whoever dials in later is the worker.
 * D2. A worker that claims jobs is known to the queue before it is greeted, so that it can hold them, and gets new ones
 *     only after all its claims were answered.
 */
import type { Effect, ShardInput } from '../../protocol/shard-messages.ts';
import type { ClaimLetter } from '../log/inbox.ts';
import { Claims } from './claims.ts';
import type { JobQueue } from './job-queue.ts';
import type { Clock } from './ports.ts';
import type { WorkerSockets } from './worker-sockets.ts';

export interface RedialsParts {
  readonly clock: Clock;
  readonly queue: JobQueue;
  readonly sockets: WorkerSockets;
  readonly isOurs: (jobId: string) => boolean;
  readonly post: (id: string, input: ShardInput) => void;
  /** Makes a job of another router ours, if it can be; null: there are no other routers. */
  readonly fetch: ((jobId: string, claim: ClaimLetter) => Promise<void>) | null;
}

export class Redials {
  readonly #parts: RedialsParts;
  readonly #claims: Claims;

  constructor(parts: RedialsParts) {
    this.#parts = parts;
    const { clock, post } = parts;
    this.#claims = new Claims((workerId, jobs) =>
      post(workerId, { kind: 'workerClaimed', at: clock.now(), workerId, jobs }),
    );
  }

  /** A worker is back and holds jobs still: each job's own shard says whether it may go on with it. */
  claimJobs({ workerId, offer, jobs }: Extract<Effect, { kind: 'claimJobs' }>): void {
    const { clock, queue, sockets, isOurs, post, fetch } = this.#parts;
    const { workerInstance, modelFile, protocol } = offer;
    if (sockets.get(workerId) === undefined || workerInstance === undefined) return;
    this.replaceFormer(workerId, workerInstance);
    // D2.
    queue.offer(workerId, offer);
    queue.withdraw(workerId);
    this.#claims.open(workerId, jobs);
    for (const { job_id: jobId, attempt, seq } of jobs) {
      const file = modelFile === undefined ? {} : { modelFile };
      const claim = { workerId, workerInstance, protocol, ...file, attempt, seq };
      const ask = (): void => post(jobId, { kind: 'jobClaimed', at: clock.now(), jobId, ...claim });
      if (fetch === null || isOurs(jobId)) ask();
      // Another router writes it, or did until it died. Whatever comes of that, the job's shard answers the worker.
      else void fetch(jobId, claim).then(ask);
    }
  }

  answered({ workerId, jobId, mark }: Extract<Effect, { kind: 'claimAnswered' }>): void {
    this.#claims.answer(workerId, jobId, mark);
  }

  /** The log says that the job goes on at the worker. */
  takeBack(jobId: string, workerId: string): void {
    const { clock, queue, post } = this.#parts;
    if (queue.takeBack(jobId, workerId)) return;
    // It was gone again before its claim was granted.
    post(jobId, { kind: 'jobOrphaned', at: clock.now(), jobId, workerId, reason: 'worker_lost' });
  }

  /** The connection before is dead, even if nobody has noticed yet (D1). */
  replaceFormer(workerId: string, instance: string | undefined): void {
    if (instance === undefined) return;
    const { sockets } = this.#parts;
    const mine = sockets.get(workerId);
    if (mine !== undefined) mine.instance = instance;
    for (const socket of [...sockets]) {
      if (socket.instance === instance && socket.workerId !== workerId) sockets.drop(socket);
    }
  }

  gone(workerId: string): void {
    this.#claims.forget(workerId);
  }
}
