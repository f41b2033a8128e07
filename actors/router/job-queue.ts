/**
 * The queue machine with its surroundings: who holds which job, when slots and jobs are matched, and how long a job may
 * wait. Matching runs once after all that happened together, so that a freed slot and its next job meet in one tick.
 */

import { obey, type QueueCommand } from '../../machines/queue.decide.ts';
import { freeSlotsOf, newQueue, type Queue, queueCounts, type WaitingJob } from '../../machines/queue.ts';
import { type Effect, type WorkerOffer, warmedBy } from '../../protocol/shard-messages.ts';
import type { Clock } from './ports.ts';
import type { Timers } from './timers.ts';

export interface JobQueueEvents {
  give(jobId: string, workerId: string, offer: WorkerOffer, at: number): void;
  /** The job cannot wait (any longer). */
  fail(jobId: string, code: string, message: string): void;
  /** All that can be matched has been. */
  matched(): void;
  /** A job that was lent need not be run by anybody else any more. */
  recalled(jobId: string): void;
}

export interface JobQueueLimits {
  readonly maxQueue: number;
  readonly queueTimeoutMs: number;
  readonly jobTimeoutMs: number;
}

export class JobQueue {
  readonly #limits: JobQueueLimits;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #events: JobQueueEvents;
  /** The worker that holds each job: a frame about a job counts only from it. */
  readonly #holders = new Map<string, string>();
  /** Jobs whose worker is given a while to come back before a standby is looked for. */
  readonly #later = new Map<string, Extract<Effect, { kind: 'enqueueJob' }>>();
  /** Jobs of ours that wait for whichever router has a slot first. */
  readonly #lent = new Map<string, WaitingJob>();
  #queue: Queue;
  #matching = false;

  constructor(limits: JobQueueLimits, clock: Clock, timers: Timers, events: JobQueueEvents) {
    this.#limits = limits;
    this.#clock = clock;
    this.#timers = timers;
    this.#events = events;
    this.#queue = newQueue(limits.maxQueue);
  }

  get counts(): ReturnType<typeof queueCounts> {
    const counts = queueCounts(this.#queue);
    return { ...counts, waiting: counts.waiting + this.#lent.size };
  }

  /** Slots that could take a job now, and how many of them one that was begun elsewhere. */
  get slots(): { readonly any: number; readonly begun: number } {
    const able = this.#queue.free.filter(({ offer }) => offer.protocol >= 2);
    return { any: this.#queue.freeSlots, begun: able.reduce((sum, worker) => sum + freeSlotsOf(worker), 0) };
  }

  /** Hands out the jobs that wait: they are not matched here until they are put back. */
  lend(): readonly WaitingJob[] {
    // What gets a worker of ours ready to go on with a job of ours is nobody else's business.
    const waiting = this.#queue.waiting.filter(({ jobId }) => warmedBy(jobId) === null);
    for (const job of waiting) {
      this.#order({ type: 'dequeueJob', at: this.#clock.now(), jobId: job.jobId });
      this.#lent.set(job.jobId, job);
    }
    return waiting;
  }

  /** It is this router's turn to run a job that was lent. */
  putBack(jobId: string): void {
    const job = this.#lent.get(jobId);
    if (job === undefined) return;
    this.#lent.delete(jobId);
    const { model, priority, continues, modelFile, needs } = job;
    const at = this.#clock.now();
    this.#order({ type: 'enqueueJob', at, jobId, model, priority, again: true, continues, modelFile, needs });
    this.#matchSoon();
  }

  /** Jobs that a worker holds now. */
  get heldJobs(): number {
    return this.#holders.size;
  }

  /** Whether one more job would have to be refused. */
  get full(): boolean {
    const { waiting, freeSlots, waitingMax } = this.#queue;
    return waiting.length + this.#lent.size - freeSlots >= waitingMax;
  }

  /** The jobs that wait, with their places in the line, from 1. */
  places(): ReadonlyMap<string, number> {
    return new Map(this.#queue.waiting.map(({ jobId }, index) => [jobId, index + 1]));
  }

  holder(jobId: string): string | undefined {
    return this.#holders.get(jobId);
  }

  heldBy(workerId: string): readonly string[] {
    return this.#queue.workers.get(workerId)?.held ?? [];
  }

  /** Before its `notBeforeAt` a job is not here: it is put in by a timer of its own (`enqueueLater`). */
  enqueue(effect: Extract<Effect, { kind: 'enqueueJob' }>): void {
    const at = this.#clock.now();
    const { jobId, model, priority, again, continues = false, modelFile = null, needs = [], notBeforeAt = 0 } = effect;
    const wish = effect.prefers === undefined ? {} : { prefers: effect.prefers };
    if (notBeforeAt > at) {
      this.#later.set(jobId, effect);
      return this.#timers.arm(`standby:${jobId}`, notBeforeAt);
    }
    if (this.#lent.has(jobId)) return;
    const command = {
      type: 'enqueueJob',
      at,
      jobId,
      model,
      priority,
      again,
      continues,
      modelFile,
      needs,
      ...wish,
    } as const;
    const { queue, refusal } = obey(this.#queue, command);
    this.#queue = queue;
    switch (refusal?.code) {
      case 'queue_full':
        return this.#events.fail(jobId, 'queue_full', 'too many jobs wait for a worker already (AUXOT_MAX_QUEUE)');
      case 'shutting_down':
        return this.#events.fail(jobId, 'shutting_down', 'the router is shutting down');
      case undefined: {
        const { queueTimeoutMs, jobTimeoutMs } = this.#limits;
        if (queueTimeoutMs < jobTimeoutMs) this.#timers.arm(`queue:${jobId}`, at + queueTimeoutMs);
        return this.#matchSoon();
      }
      default:
        // Known already: a rebuilt shard asks again for what it is owed.
        return;
    }
  }

  /** The time until which a job was not to be given away is over. */
  enqueueLater(jobId: string): void {
    const effect = this.#later.get(jobId);
    this.#later.delete(jobId);
    if (effect !== undefined) this.enqueue(effect);
  }

  dequeue(jobId: string): void {
    this.#holders.delete(jobId);
    this.#stopWaiting(jobId);
    this.#order({ type: 'dequeueJob', at: this.#clock.now(), jobId });
  }

  /** The worker has come back with the job. False: the worker is gone again. */
  takeBack(jobId: string, workerId: string): boolean {
    if (!this.#queue.workers.has(workerId)) return false;
    this.#stopWaiting(jobId);
    this.#order({ type: 'claimJob', at: this.#clock.now(), jobId, workerId });
    this.#holders.set(jobId, workerId);
    this.#matchSoon();
    return true;
  }

  free(jobId: string, workerId: string): void {
    if (this.#holders.get(jobId) === workerId) this.#holders.delete(jobId);
    this.#order({ type: 'freeSlot', at: this.#clock.now(), jobId, workerId });
    this.#matchSoon();
  }

  offer(workerId: string, offer: WorkerOffer): void {
    this.#order({ type: 'offerWorker', at: this.#clock.now(), workerId, offer });
    this.#matchSoon();
  }

  withdraw(workerId: string): void {
    this.#order({ type: 'withdrawWorker', at: this.#clock.now(), workerId });
  }

  /** The worker is gone. Returns the jobs that it held. */
  remove(workerId: string): string[] {
    const orphans: string[] = [];
    for (const action of this.#order({ type: 'removeWorker', at: this.#clock.now(), workerId })) {
      if (action.type !== 'reportOrphan') continue;
      this.#holders.delete(action.params.jobId);
      orphans.push(action.params.jobId);
    }
    return orphans;
  }

  /** Their shard has died, and with it the knowledge of what they are for. */
  forgetWarmUps(mine: (jobId: string) => boolean): void {
    for (const [id] of [...this.#queue.jobs.entries()]) if (warmedBy(id) !== null && mine(id)) this.dequeue(id);
  }

  #stopWaiting(jobId: string): void {
    this.#timers.disarm(`queue:${jobId}`);
    if (this.#later.delete(jobId)) this.#timers.disarm(`standby:${jobId}`);
    if (this.#lent.delete(jobId)) this.#events.recalled(jobId);
  }

  /** Takes no new jobs any more. */
  close(): void {
    this.#order({ type: 'closeQueue', at: this.#clock.now() });
  }

  #order(command: QueueCommand) {
    const { queue, actions } = obey(this.#queue, command);
    this.#queue = queue;
    return actions;
  }

  #matchSoon(): void {
    if (this.#matching) return;
    this.#matching = true;
    queueMicrotask(() => {
      this.#matching = false;
      this.#match();
    });
  }

  #match(): void {
    const at = this.#clock.now();
    for (const action of this.#order({ type: 'matchJobs', at })) {
      if (action.type !== 'giveJob') continue;
      const { jobId, workerId, offer } = action.params;
      this.#holders.set(jobId, workerId);
      this.#timers.disarm(`queue:${jobId}`);
      this.#events.give(jobId, workerId, offer, at);
    }
    this.#events.matched();
  }
}
