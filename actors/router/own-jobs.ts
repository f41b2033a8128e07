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
  /** The job's writer, another router, is to hear that its callers here have all left, or that there are some. */
  readonly tellWriter: (kind: 'abandoned' | 'wanted', jobId: string) => void;
  /** The last job may have gone. */
  readonly left: () => void;
}

export class OwnJobs {
  readonly #parts: OwnJobsParts;
  readonly #jobs = new Set<string>();
  /** Of these, those whose last caller has left. */
  readonly #leftAlone = new Set<string>();
  /** The boots at which callers read the answer of a job of ours. */
  readonly #readers = new Map<string, Set<string>>();

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
    this.#readers.delete(jobId);
    this.#parts.appender.forget(jobId);
    this.#parts.left();
  }

  /** Its last caller here has left. False: it is not ours. */
  leaveAlone(jobId: string): boolean {
    if (this.#jobs.has(jobId) && !this.readElsewhere(jobId)) this.#leftAlone.add(jobId);
    return this.#jobs.has(jobId);
  }

  /** Callers of another router read its answer. */
  readElsewhere(jobId: string): boolean {
    return this.#readers.has(jobId);
  }

  /** A caller at the boot `from` reads its answer. What was to happen for want of callers does not. */
  wantedAt(jobId: string, from: string): void {
    if (!this.#jobs.has(jobId)) return;
    this.#leftAlone.delete(jobId);
    this.#parts.timers.disarm(`keep:${jobId}`);
    const boots = this.#readers.get(jobId);
    if (boots === undefined) this.#readers.set(jobId, new Set([from]));
    else boots.add(from);
  }

  /** Callers of a router that is gone are on their way to another one: nothing follows from their absence. */
  forgetReaders(isGone: (boot: string) => boolean): void {
    for (const [jobId, boots] of this.#readers) {
      for (const boot of boots) if (isGone(boot)) boots.delete(boot);
      if (boots.size === 0) this.#readers.delete(jobId);
    }
  }

  /**
   * Nobody at the boot `from`, or at some other one, reads its answer any more. That is kept beside the job: whoever takes
   * it is told.
   */
  abandoned(jobId: string, from: string | null): void {
    const { callers, clock, post, tellWriter } = this.#parts;
    const boots = this.#readers.get(jobId);
    boots?.delete(from ?? '');
    if (boots !== undefined && boots.size > 0) return;
    this.#readers.delete(jobId);
    if (!callers.watch(jobId)) {
      // It went on to yet another router before the letter came.
      if (!this.#jobs.has(jobId)) return tellWriter('abandoned', jobId);
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
    const { log, appender, callers, post, tellWriter, left } = this.#parts;
    log.letGo(jobId, unclaimed);
    appender.forget(jobId);
    // Nobody waits for it here, and its new writer cannot know that.
    if (this.#leftAlone.has(jobId)) tellWriter('abandoned', jobId);
    let reads = false;
    this.#drop(jobId);
    for (const caller of callers) {
      if (caller.jobId !== jobId) continue;
      const { streamId, turn, follow, paused } = callers.follow(caller);
      post(jobId, { kind: 'streamFollows', streamId, turn, jobId, follow });
      reads ||= follow.waits;
      if (paused) post(jobId, { kind: 'streamPaused', streamId, turn });
    }
    if (reads) tellWriter('wanted', jobId);
    left();
  }

  /** The job is nobody's business here any more, but for its callers (J2). */
  #drop(jobId: string): void {
    const { timers, queue, post, sendToWorker, letGoOfTools } = this.#parts;
    this.#jobs.delete(jobId);
    this.#leftAlone.delete(jobId);
    this.#readers.delete(jobId);
    for (const kind of ['job', 'keep', 'patience', 'tools']) timers.disarm(`${kind}:${jobId}`);
    letGoOfTools(jobId);
    post(jobId, { kind: 'jobFenced', jobId });
    const workerId = queue.holder(jobId);
    if (workerId === undefined) return queue.dequeue(jobId);
    sendToWorker(workerId, JSON.stringify({ type: 'cancel', job_id: jobId }));
    queue.free(jobId, workerId);
  }
}
