/**
 * The front: owns sockets, timers, the queue and the log's writer, and does the thinking of none of them.
 *
 * Everything that arrives becomes an input of the shard that owns its job or connection; what the shards say becomes
 * appends and, once these are acknowledged, effects. All I/O stands behind ports (ports.ts), so that this very code also
 * runs in one process under a stepped clock.
 *
 * This file is what the edge sees. The work is in the parts that wiring.ts puts together: callers in requests.ts, workers
 * in worker-traffic.ts, the jobs that are ours in own-jobs.ts, what shards ask for in effects.ts, other routers in
 * cluster.ts, the end in drain.ts.
 */
import type { Follow, Look, WorkerOffer } from '../../protocol/shard-messages.ts';
import type { FrontOptions, FrontParts } from './front.options.ts';
import { lookMs } from './liveness.ts';
import type { LookPort } from './looks.ts';
import type { CallerPort, Clock, WorkerPort } from './ports.ts';
import type { Found } from './request-keys.ts';
import type { CountRequest, Request } from './requests.ts';
import type { CountPort } from './token-counts.ts';
import type { ToolCalls } from './tool-calls.ts';
import { type Wired, wire } from './wiring.ts';

/** Why a request is not taken in; `code` is one of codes.ts. */
export type Turned = {
  readonly code: 'store_unavailable' | 'shutting_down' | 'queue_full' | 'server_overloaded';
  readonly message: string;
};

const sweepMs = 1000;

export class Front {
  readonly #clock: Clock;
  readonly #wired: Wired;
  #sweptAt = 0;
  #stopSweep: () => void = () => undefined;

  constructor(options: FrontOptions, parts: FrontParts) {
    this.#clock = parts.clock;
    this.#wired = wire(options, parts);
    this.#sweepLater();
  }

  /** Calls of tools, and the tools workers. */
  get tools(): ToolCalls {
    return this.#wired.tools;
  }

  /**
   * Takes up the jobs that an earlier boot left open. Resolves with their number when all have been read. On a store that
   * routers share it is 0: whose jobs may be taken shows while their leases lapse.
   */
  async recover(): Promise<number> {
    const { cluster, logs } = this.#wired;
    if (cluster === null) return logs.takeAll();
    await cluster.start();
    return 0;
  }

  /** The store's connection was lost and is there again: it may lead to another server. */
  storeReturned(): void {
    void this.#wired.cluster?.checkOwned();
  }

  /** Why no request can be taken in now; null when one can. Asked before the body is read. */
  turnedAway(): Turned | null {
    const { appender, drain, queue } = this.#wired;
    if (drain.begun) return { code: 'shutting_down', message: 'the router is shutting down' };
    if (!appender.working) return { code: 'store_unavailable', message: 'the event log cannot be written now' };
    if (queue.full) {
      return { code: 'queue_full', message: 'too many jobs wait for a worker already (AUXOT_MAX_QUEUE)' };
    }
    return null;
  }

  /** A request with its body. The answer goes to `port`; returns the stream's id. */
  requestArrived(port: CallerPort, request: Request): number {
    return this.#wired.requests.arrived(port, request);
  }

  /** The answer of a job that was asked for before, from where the caller stands. Returns the stream's id. */
  followArrived(port: CallerPort, jobId: string, follow: Follow): number {
    return this.#wired.requests.follow(port, jobId, follow);
  }

  /** Which job a request with this key and body is. Rejects when the store is in trouble. */
  jobFor(key: string, body: string, resumes: boolean): Promise<Found> {
    return this.#wired.requests.jobFor(key, body, resumes);
  }

  /** The request for which `jobFor` gave out this id does not come. */
  noJobFor(jobId: string): void {
    this.#wired.requests.noJobFor(jobId);
  }

  /** Ends a job that has not ended; the caller is told how it stands then. Returns the stream's id. */
  cancelArrived(port: CallerPort, jobId: string): number {
    return this.#wired.requests.cancel(port, jobId);
  }

  /** A request to count tokens, with its body. The answer goes to `port`. */
  countArrived(port: CountPort, request: CountRequest): void {
    this.#wired.requests.count(port, request);
  }

  /** A stored response is asked for, or something is to be done with it. */
  lookArrived(port: LookPort, look: Look): void {
    this.#wired.looks.begin(port, look);
  }

  /** The caller's connection is gone, before or after its answer's end. */
  callerClosed(streamId: number): void {
    this.#wired.requests.closed(streamId);
    this.#wired.drain.look();
  }

  /** The caller's connection has taken all that was written. */
  callerDrained(streamId: number): void {
    this.#wired.callers.drained(streamId);
  }

  /** A worker's socket has opened; returns the connection's id. */
  workerOpened(port: WorkerPort, remote: string): string {
    return this.#wired.traffic.opened(port, remote);
  }

  workerMessage(workerId: string, text: string): void {
    this.#wired.traffic.message(workerId, text);
  }

  /** A pong: the worker's process lives. */
  workerSeen(workerId: string): void {
    this.#wired.traffic.seen(workerId);
  }

  workerClosed(workerId: string, code: number): void {
    this.#wired.sockets.remove(workerId, code);
  }

  health(): {
    working: boolean;
    workers: number;
    toolsWorkers: number;
    slots: number;
    active: number;
    queued: number;
    streams: number;
  } {
    const { appender, callers, queue, tools } = this.#wired;
    const { workers, slots, held, waiting } = queue.counts;
    const { working } = appender;
    const { workers: toolsWorkers } = tools;
    return { working, workers, toolsWorkers, slots, active: held, queued: waiting, streams: callers.size };
  }

  /** What connected workers offer. */
  offers(): WorkerOffer[] {
    return this.#wired.traffic.offers;
  }

  /** What is held; everything is 0 when all is done. */
  get load(): { jobs: number; callers: number; holders: number; timers: number; appends: number; batches: number } {
    const { appender, callers, jobs, links, queue, timers } = this.#wired;
    return {
      jobs: jobs.size,
      callers: callers.size,
      holders: queue.heldJobs,
      timers: timers.size,
      appends: appender.pending,
      batches: links.backlog.batches,
    };
  }

  /**
   * Takes no new jobs, waits up to `graceMs` for those there are, hands the rest to another router or ends them with an
   * error that says why, closes the workers' sockets and ends the shards.
   */
  async stop(graceMs: number): Promise<void> {
    const { appender, callers, cluster, counts, drain, links, logs, looks, timers } = this.#wired;
    await drain.run(graceMs);
    appender.stop();
    await cluster?.leave();
    logs.stop();
    this.#stopSweep();
    counts.stop();
    looks.stop();
    this.tools.stop();
    timers.stop();
    await links.stop();
    for (const { port } of callers) port.destroy();
  }

  #sweepLater(): void {
    const { callers, links, queue, sockets } = this.#wired;
    this.#stopSweep = this.#clock.after(lookMs, () => {
      const now = this.#clock.now();
      sockets.sweep(now, workerId => queue.heldBy(workerId).length > 0);
      if (now - this.#sweptAt >= sweepMs) {
        this.#sweptAt = now;
        links.sweep(now);
        callers.sweep(now);
      }
      this.#sweepLater();
    });
  }
}
