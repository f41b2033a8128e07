/**
 * What comes over workers' connections, and where it goes: frames to the shards, keys to their check, offers to the queue or
 * to the tools, and a connection's end to everybody who counts on it.
 *
 * T1. A frame about a job is taken only from the connection that holds the job.
 * T2. Every job that a connection held is told of its end.
 */
import { closeCodes } from '../../protocol/codes.ts';
import type { Offered } from '../../protocol/features.ts';
import type { Effect, ShardInput, WorkerOffer } from '../../protocol/shard-messages.ts';
import type { JobQueue } from './job-queue.ts';
import { seen } from './liveness.ts';
import type { Clock, Ids, KeyPort, WorkerPort } from './ports.ts';
import type { Redials } from './redials.ts';
import { jobIdOf } from './route-frame.ts';
import type { Throttle } from './throttle.ts';
import type { TokenCounts } from './token-counts.ts';
import type { ToolCalls } from './tool-calls.ts';
import type { WorkerSocket, WorkerSockets } from './worker-sockets.ts';

export interface WorkerTrafficParts {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly keys: KeyPort;
  readonly sockets: WorkerSockets;
  readonly queue: JobQueue;
  readonly redials: Redials;
  readonly throttle: Throttle;
  readonly counts: TokenCounts;
  readonly tools: ToolCalls;
  readonly post: (id: string, input: ShardInput) => void;
  readonly postFrame: (at: number, jobId: string, workerId: string, text: string) => void;
}

export class WorkerTraffic {
  readonly #parts: WorkerTrafficParts;

  constructor(parts: WorkerTrafficParts) {
    this.#parts = parts;
  }

  /** Returns the connection's id. */
  opened(port: WorkerPort, remote: string): string {
    const { clock, ids, sockets, post } = this.#parts;
    const workerId = ids.workerId();
    sockets.add(workerId, port, remote);
    post(workerId, { kind: 'workerOpened', at: clock.now(), workerId, remote });
    return workerId;
  }

  message(workerId: string, text: string): void {
    const { clock, sockets, queue, throttle, tools, post, postFrame } = this.#parts;
    const worker = sockets.get(workerId);
    if (worker === undefined) return;
    const at = clock.now();
    seen(worker.liveness, at);
    worker.liveness.lastFrameAt = at;
    const jobId = worker.trusted ? jobIdOf(text) : null;
    if (jobId === null) post(workerId, { kind: 'workerFrame', at, workerId, text });
    else if (tools.heard(workerId, jobId, text)) return;
    else if (queue.holder(jobId) === workerId) postFrame(at, jobId, workerId, text);
    // Else it is about a job that this worker does not hold (any more): late by nature, or not its business.
    throttle.heard(worker);
  }

  /** A pong: the worker's process lives. */
  seen(workerId: string): void {
    const { clock, sockets } = this.#parts;
    const worker = sockets.get(workerId);
    if (worker !== undefined) seen(worker.liveness, clock.now());
  }

  /** The connection is over; its jobs are not (T2). */
  gone({ workerId }: WorkerSocket, code: number): void {
    const { clock, queue, redials, counts, tools, post } = this.#parts;
    const at = clock.now();
    redials.gone(workerId);
    post(workerId, { kind: 'workerClosed', at, workerId, code });
    counts.workerGone(workerId);
    tools.gone(workerId);
    const reason = code === closeCodes.silent ? 'worker_silent' : 'worker_lost';
    for (const jobId of queue.remove(workerId)) {
      post(jobId, { kind: 'jobOrphaned', at, jobId, workerId, reason });
    }
  }

  /** What connected workers offer. */
  get offers(): WorkerOffer[] {
    return [...this.#parts.sockets].flatMap(({ offer }) => (offer === null ? [] : [offer]));
  }

  /** Features of connected workers, each set once. */
  get features(): Offered {
    const sets = new Map(this.offers.map(({ features = [] }) => [String(features), features]));
    return [...sets.values()];
  }

  /** The worker that runs the model that is meant, or any: a router has one model. Null: nobody can count. */
  askToCount(model: string, frame: string): string | null {
    const { sockets } = this.#parts;
    const able = [...sockets].filter(({ offer }) => (offer?.protocol ?? 1) >= 2);
    const worker = able.find(({ offer }) => offer?.model === model) ?? able[0];
    if (worker === undefined) return null;
    sockets.send(worker.workerId, frame);
    return worker.workerId;
  }

  close({ workerId, code, reason }: Extract<Effect, { kind: 'closeWorker' }>): void {
    const worker = this.#parts.sockets.get(workerId);
    if (worker === undefined) return;
    // Its machine has ended, and a shard built anew has none to go on with.
    worker.snapshot = null;
    worker.port.close(code, reason);
  }

  async checkKey({ workerId, role, key }: Extract<Effect, { kind: 'checkKey' }>): Promise<void> {
    const { clock, keys, sockets, post } = this.#parts;
    const worker = sockets.get(workerId);
    if (worker === undefined) return;
    const verdict = await keys.verify(role, key, worker.remote);
    if (sockets.get(workerId) !== worker) return;
    if (verdict === 'right') {
      worker.trusted = true;
      worker.port.trust();
    }
    post(workerId, { kind: 'workerKeyChecked', at: clock.now(), workerId, verdict });
  }

  keep({ workerId, snapshot }: Extract<Effect, { kind: 'keepWorker' }>): void {
    const worker = this.#parts.sockets.get(workerId);
    if (worker !== undefined) worker.snapshot = snapshot;
  }

  offer({ workerId, offer }: Extract<Effect, { kind: 'offerWorker' }>): void {
    const { sockets, queue, redials } = this.#parts;
    const worker = sockets.get(workerId);
    if (worker === undefined) return;
    worker.offer = offer;
    worker.protocol = offer.protocol;
    redials.replaceFormer(workerId, offer.workerInstance);
    queue.offer(workerId, offer);
  }

  withdraw(workerId: string): void {
    const { sockets, queue } = this.#parts;
    const worker = sockets.get(workerId);
    if (worker !== undefined) worker.offer = null;
    queue.withdraw(workerId);
  }

  /** The worker is about to leave. */
  moveJobs(workerId: string): void {
    const { clock, queue, post } = this.#parts;
    const at = clock.now();
    for (const jobId of queue.heldBy(workerId)) post(jobId, { kind: 'jobLeaving', at, jobId, workerId });
  }

  offerTools({ workerId, offer }: Extract<Effect, { kind: 'offerTools' }>): void {
    const { sockets, redials, tools } = this.#parts;
    if (sockets.get(workerId) === undefined) return;
    redials.replaceFormer(workerId, offer.workerInstance);
    tools.offer(workerId, offer);
  }
}
