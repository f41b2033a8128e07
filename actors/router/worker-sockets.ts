/**
 * The workers' sockets: what was heard of each and when, what still has to be acknowledged, and whether it is read.
 *
 * W1. A worker that is faster than the log is not read for a while, and that silence is not held against it.
 * W2. A worker that is silent for too long (liveness.ts) is gone.
 * W3. A worker that does not read what it is sent is cut off at `bufferBytesMax`.
 */
import { closeCodes } from '../../protocol/codes.ts';
import type { Effect, WorkerOffer } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import { excuse, type Liveness, type LivenessLimits, look, lookMs, newLiveness } from './liveness.ts';
import type { Clock, WorkerPort } from './ports.ts';

type Acknowledgement = Extract<Effect, { kind: 'ackFrames' }>;

export interface WorkerSocket {
  readonly workerId: string;
  readonly port: WorkerPort;
  readonly remote: string;
  readonly liveness: Liveness;
  /** Of its process, once its key is known to be right (version 2). */
  instance: string | null;
  /** The connection's machine as its shard last told it. */
  snapshot: string | null;
  /** Its key is right: frames about jobs are for the jobs. */
  trusted: boolean;
  offer: WorkerOffer | null;
  /** Of its last offer. */
  protocol: number;
  paused: boolean;
  /** Acknowledgements not yet sent, by job. */
  readonly acks: Map<string, Acknowledgement>;
}

const bufferBytesMax = 64 * 2 ** 20;
/** Acknowledgements of this time go together: a worker only needs them to forget what it keeps for a redial. */
const ackMs = 100;
/** How soon to look again whether a worker may be read. */
const lookAgainMs = 1;

export class WorkerSockets {
  readonly #times: LivenessLimits;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #gone: (worker: WorkerSocket, code: number) => void;
  readonly #sockets = new Map<string, WorkerSocket>();
  #acking = false;
  #sweptAt: number;

  constructor(
    times: LivenessLimits,
    clock: Clock,
    diagnostics: Diagnostics,
    gone: (worker: WorkerSocket, code: number) => void,
  ) {
    this.#times = times;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#gone = gone;
    this.#sweptAt = clock.now();
  }

  [Symbol.iterator](): IterableIterator<WorkerSocket> {
    return this.#sockets.values();
  }

  get(workerId: string): WorkerSocket | undefined {
    return this.#sockets.get(workerId);
  }

  add(workerId: string, port: WorkerPort, remote: string): void {
    this.#sockets.set(workerId, {
      workerId,
      port,
      remote,
      liveness: newLiveness(this.#clock.now()),
      protocol: 1,
      instance: null,
      snapshot: null,
      trusted: false,
      offer: null,
      paused: false,
      acks: new Map(),
    });
  }

  /** The socket has closed, or is given up. Told once. */
  remove(workerId: string, code: number): void {
    const worker = this.#sockets.get(workerId);
    if (worker === undefined) return;
    this.#sockets.delete(workerId);
    this.#gone(worker, code);
  }

  send(workerId: string, text: string): void {
    const worker = this.#sockets.get(workerId);
    if (worker === undefined) return;
    worker.port.send(text);
    const { bufferedBytes } = worker.port;
    if (bufferedBytes <= bufferBytesMax) return;
    this.#diagnostics.warn('a worker does not read its socket', { workerId, bufferedBytes });
    this.#cut(worker, closeCodes.overflow, 'this worker does not read its frames');
  }

  acknowledge(ack: Acknowledgement): void {
    this.#sockets.get(ack.workerId)?.acks.set(ack.jobId, ack);
    if (this.#acking) return;
    this.#acking = true;
    this.#clock.after(ackMs, () => {
      this.#acking = false;
      for (const { workerId: id, acks } of this.#sockets.values()) {
        for (const { jobId, attempt, seq, ended } of acks.values()) {
          const end = ended === true ? ',"ended":true' : '';
          this.send(id, `{"type":"ack","job_id":${JSON.stringify(jobId)},"attempt":${attempt},"seq":${seq}${end}}`);
        }
        acks.clear();
      }
    });
  }

  /** Stops reading the worker until `mayRead` says yes. */
  pause(worker: WorkerSocket, mayRead: () => boolean): void {
    if (worker.paused) return;
    worker.paused = true;
    worker.port.pause();
    const look = (): void => {
      if (this.#sockets.get(worker.workerId) !== worker) return;
      excuse(worker.liveness, lookAgainMs);
      if (!mayRead()) {
        this.#clock.after(lookAgainMs, look);
        return;
      }
      worker.paused = false;
      worker.port.resume();
    };
    this.#clock.after(lookAgainMs, look);
  }

  /** Looks after all workers; `hasJobs` says which of them are at work. Every `lookMs`. */
  sweep(now: number, hasJobs: (workerId: string) => boolean): void {
    const lateMs = now - this.#sweptAt - lookMs;
    this.#sweptAt = now;
    for (const worker of [...this.#sockets.values()]) {
      const { workerId, liveness, protocol } = worker;
      if (lateMs > lookMs) excuse(liveness, lateMs);
      const found = look(liveness, this.#times, protocol >= 2 && hasJobs(workerId), now);
      if (found === 'ping') worker.port.ping();
      if (found === 'alive' || found === 'ping') continue;
      const silenceMs = now - liveness.lastSeenAt;
      this.#diagnostics.warn('a worker is silent and counts as gone', { workerId, silenceMs, found });
      this.#cut(worker, closeCodes.silent, found === 'silent' ? 'no sign of life' : 'its jobs do not advance');
    }
  }

  closeAll(code: number, reason: string): void {
    for (const { port } of this.#sockets.values()) port.close(code, reason);
  }

  /** The worker has another connection now. */
  drop(worker: WorkerSocket): void {
    this.#cut(worker, closeCodes.goingAway, 'this worker has dialled in again');
  }

  #cut(worker: WorkerSocket, code: number, reason: string): void {
    worker.port.close(code, reason);
    worker.port.terminate();
    this.remove(worker.workerId, code);
  }
}
