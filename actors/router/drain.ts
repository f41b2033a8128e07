/**
 * The way to a router's end: no new jobs, time for those there are, the rest to another router or to an error that says why.
 *
 * D1. What was said before the end is in the log before anybody else may read it on.
 * D2. Each wait has an end: the grace, and a moment for last words.
 */
import { closeCodes } from '../../protocol/codes.ts';
import type { ShardInput } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Appender } from './appender.ts';
import type { Callers } from './callers.ts';
import type { Cluster } from './cluster.ts';
import type { JobQueue } from './job-queue.ts';
import { lookMs } from './liveness.ts';
import type { OwnJobs } from './own-jobs.ts';
import type { Clock } from './ports.ts';
import type { WorkerSockets } from './worker-sockets.ts';

export interface DrainParts {
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  readonly appender: Appender;
  readonly queue: JobQueue;
  readonly callers: Callers;
  readonly sockets: WorkerSockets;
  readonly jobs: OwnJobs;
  readonly cluster: Cluster | null;
  readonly post: (id: string, input: ShardInput) => void;
}

/** After a shutdown's grace, for the jobs that are cut to say so. */
const lastWordsMs = 2000;
const lastLookMs = 10;

export class Drain {
  readonly #parts: DrainParts;
  #begun = false;
  #whenIdle: (() => void)[] = [];

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  get begun(): boolean {
    return this.#begun;
  }

  /** Resolves when nothing goes on any more, and all that was said is in the log. */
  async run(graceMs: number): Promise<void> {
    const { diagnostics, queue, jobs, sockets, cluster } = this.#parts;
    this.#begun = true;
    queue.close();
    cluster?.stopTaking();
    if (this.#hasOthers) this.#sendAway();
    if (!(await this.#idleWithin(graceMs))) {
      const cut = [...jobs].filter(jobId => !this.#hasOthers || !this.#canMove(jobId));
      diagnostics.warn('jobs outlast the shutdown', { cut: cut.length, handedOver: jobs.size - cut.length });
      await this.#cancelAll(cut);
    }
    sockets.closeAll(closeCodes.goingAway, 'the router is shutting down');
    await this.#lastAppends();
  }

  /** A job or a caller has gone: it may have been the last. */
  look(): void {
    if (this.#whenIdle.length === 0 || !this.#idle) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  get #idle(): boolean {
    return this.#parts.jobs.size === 0 && this.#parts.callers.size === 0;
  }

  get #hasOthers(): boolean {
    return this.#parts.cluster?.hasOthers ?? false;
  }

  /** Workers go to other routers when they have finished, and what waits here runs there. */
  #sendAway(): void {
    const { clock, sockets, cluster, post } = this.#parts;
    const at = clock.now();
    for (const { workerId, protocol } of sockets) {
      if (protocol >= 2) post(workerId, { kind: 'workerDrained', at, workerId });
    }
    cluster?.look();
  }

  /** Whether the job can go on at another router: it waits, or its worker takes it there. */
  #canMove(jobId: string): boolean {
    const { queue, sockets } = this.#parts;
    const workerId = queue.holder(jobId);
    return workerId === undefined || (sockets.get(workerId)?.protocol ?? 1) >= 2;
  }

  async #cancelAll(jobIds: readonly string[]): Promise<void> {
    const { clock, callers, jobs, post } = this.#parts;
    const at = clock.now();
    for (const jobId of jobIds) post(jobId, { kind: 'jobCancel', at, jobId, reason: 'shutdown' });
    const left = (): boolean => jobIds.some(jobId => jobs.has(jobId) || callers.watch(jobId));
    for (; left() && clock.now() < at + lastWordsMs; ) await new Promise<void>(resolve => clock.after(lookMs, resolve));
  }

  /** D1. */
  async #lastAppends(): Promise<void> {
    const { clock, appender } = this.#parts;
    const until = clock.now() + lastWordsMs;
    while (this.#hasOthers && appender.pending > 0 && clock.now() < until)
      await new Promise<void>(resolve => clock.after(lastLookMs, resolve));
  }

  #idleWithin(ms: number): Promise<boolean> {
    if (this.#idle) return Promise.resolve(true);
    return new Promise(resolve => {
      const giveUp = this.#parts.clock.after(ms, () => resolve(false));
      this.#whenIdle.push(() => {
        giveUp();
        resolve(true);
      });
    });
  }
}
