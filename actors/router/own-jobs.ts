/**
 * The jobs whose log is open and written by this router, and so whose shard must be told of them after its death; and how
 * one of them is let go before it has ended.
 *
 * J1. A job is ours from the first event of our epoch until it has ended, its log takes nothing more from us, or another
 *     router writes it.
 * J2. What is let go leaves nothing behind that runs for it: no timer, no place in the queue, no slot, no call of a tool.
 */
import type { ShardInput } from '../../protocol/shard-messages.ts';
import type { Diagnostics } from '../config/diagnostics.ts';
import type { Appender } from './appender.ts';
import type { Callers } from './callers.ts';
import type { JobQueue } from './job-queue.ts';
import type { Clock, LogPort } from './ports.ts';
import type { Timers } from './timers.ts';

export interface OwnJobsParts {
  readonly clock: Clock;
  readonly log: LogPort;
  readonly diagnostics: Diagnostics;
  readonly appender: Appender;
  readonly timers: Timers;
  readonly queue: JobQueue;
  readonly callers: Callers;
  /** Other routers write to the same store. */
  readonly shared: boolean;
  readonly post: (jobId: string, input: ShardInput) => void;
  readonly sendToWorker: (workerId: string, text: string) => void;
  readonly letGoOfTools: (jobId: string) => void;
  /** The log refused us. True: the job was never ours. */
  readonly lost: (jobId: string) => boolean;
  /** The job's callers here have all left, and its writer, another router, is to hear of it. */
  readonly tellAbandoned: (jobId: string) => void;
  /** The last job may have gone. */
  readonly left: () => void;
}

export class OwnJobs {
  readonly #parts: OwnJobsParts;
  readonly #jobs = new Set<string>();
  /** Of these, those whose last caller has left. */
  readonly #leftAlone = new Set<string>();

  constructor(parts: OwnJobsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#jobs.size;
  }

  has(jobId: string): boolean {
    return this.#jobs.has(jobId);
  }

  [Symbol.iterator](): IterableIterator<string> {
    return this.#jobs.values();
  }

  add(jobId: string): void {
    this.#jobs.add(jobId);
  }

  /** The job has ended, and all that it said is in its log. */
  retire(jobId: string): void {
    this.#jobs.delete(jobId);
    this.#leftAlone.delete(jobId);
    this.#parts.appender.forget(jobId);
    this.#parts.left();
  }

  /** Its last caller here has left. False: it is not ours. */
  leaveAlone(jobId: string): boolean {
    if (this.#jobs.has(jobId)) this.#leftAlone.add(jobId);
    return this.#jobs.has(jobId);
  }

  /** Nobody at another router reads its answer any more. That is kept beside the job: whoever takes it is told. */
  abandoned(jobId: string): void {
    const { callers, clock, post, tellAbandoned } = this.#parts;
    if (!callers.watch(jobId)) {
      // It went on to yet another router before the letter came.
      if (!this.#jobs.has(jobId)) return tellAbandoned(jobId);
      this.#leftAlone.add(jobId);
    }
    post(jobId, { kind: 'streamClosed', at: clock.now(), streamId: 0, jobId });
  }

  /** Somebody wants its answer, again. */
  wanted(jobId: string): void {
    this.#leftAlone.delete(jobId);
  }

  fail(jobId: string, code: string, message: string): void {
    this.#parts.post(jobId, { kind: 'jobFail', at: this.#parts.clock.now(), jobId, code, message });
  }

  fenced(jobId: string, why: 'fenced' | 'gone' | 'full' | 'poisoned' | 'cut short'): void {
    const { callers, diagnostics, left, lost, shared } = this.#parts;
    if (lost(jobId)) return;
    if (why === 'fenced' && shared) return this.letGo(jobId);
    diagnostics.error('a job is let go: its log takes nothing more from this router', { jobId, why });
    this.#drop(jobId);
    for (const caller of [...callers]) if (caller.jobId === jobId) callers.cut(caller);
    left();
  }

  /** Another router writes the job now. Callers here read the rest of its answer from the log, as it comes. */
  letGo(jobId: string, unclaimed = false): void {
    const { log, appender, callers, post, tellAbandoned, left } = this.#parts;
    log.letGo(jobId, unclaimed);
    appender.forget(jobId);
    // Nobody waits for it here, and its new writer cannot know that.
    if (this.#leftAlone.has(jobId)) tellAbandoned(jobId);
    this.#drop(jobId);
    for (const caller of callers) {
      if (caller.jobId !== jobId) continue;
      const { streamId, turn, follow, paused } = callers.follow(caller);
      post(jobId, { kind: 'streamFollows', streamId, turn, jobId, follow });
      if (paused) post(jobId, { kind: 'streamPaused', streamId, turn });
    }
    left();
  }

  /** The job is nobody's business here any more, but for its callers (J2). */
  #drop(jobId: string): void {
    const { timers, queue, post, sendToWorker, letGoOfTools } = this.#parts;
    this.#jobs.delete(jobId);
    this.#leftAlone.delete(jobId);
    for (const kind of ['job', 'keep', 'patience', 'tools']) timers.disarm(`${kind}:${jobId}`);
    letGoOfTools(jobId);
    post(jobId, { kind: 'jobFenced', jobId });
    const workerId = queue.holder(jobId);
    if (workerId === undefined) return queue.dequeue(jobId);
    sendToWorker(workerId, JSON.stringify({ type: 'cancel', job_id: jobId }));
    queue.free(jobId, workerId);
  }
}
