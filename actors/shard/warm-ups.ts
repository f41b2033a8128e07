/**
 * Jobs of workers that are about to leave, and the workers that get ready to go on with them (machines/job.moves.ts).
 *
 * U1. A worker gets ready by a job of its own, whose id (`warmingOf`) the queue gives a slot and the worker answers to.
 * U2. That is over as soon as the job is not at the worker that leaves any more; its slot is free then, or the job's.
 * U3. It is in no log. When the shard dies it is forgotten, and the job stays where it is until its worker leaves.
 */
import { mayMove, moveJob, warmingRequest } from '../../machines/job.moves.ts';
import { hasSaid } from '../../machines/job.output.ts';
import type { Job } from '../../machines/job.ts';
import { type Effect, type ShardInput, warmingOf } from '../../protocol/shard-messages.ts';
import { jobFrame, serialiseFrame } from '../../protocol/worker-frames.ts';
import { framesOf } from './frames.ts';
import { needsOf, resumeOf } from './job-effects.ts';
import type { LiveJobs } from './live-jobs.ts';

type Matched = Extract<ShardInput, { kind: 'jobMatched' }>;

interface WarmUp {
  /** The worker that leaves. */
  readonly from: string;
  /** The one that gets ready; null while there is none. */
  to: Matched | null;
  attempt: number;
  isWarm: boolean;
}

/** What keeps what it has read, and is not paid by the word. */
const backend = 'llama.cpp';

export class WarmUps {
  readonly #jobs: LiveJobs;
  readonly #warmUps = new Map<string, WarmUp>();

  constructor(jobs: LiveJobs) {
    this.#jobs = jobs;
  }

  get size(): number {
    return this.#warmUps.size;
  }

  /** What happens to a job by which a worker gets ready. */
  take(jobId: string, input: ShardInput): void {
    const warmUp = this.#warmUps.get(jobId);
    switch (input.kind) {
      case 'jobMatched':
        return this.#matched(jobId, warmUp, input);
      case 'jobFrames':
        if (warmUp?.to?.workerId === input.workerId) this.#heard(jobId, warmUp, input);
        return;
      case 'jobOrphaned':
        // Another may have a slot.
        if (warmUp?.to?.workerId === input.workerId) this.#ask(jobId, warmUp.from);
        return;
      case 'jobLeaving':
        if (warmUp?.to?.workerId !== input.workerId) return;
        this.#out(...stopped(jobId, warmUp));
        return this.#ask(jobId, warmUp.from);
      case 'jobClaimed':
        // It has dialled in anew: whom it got ready for has been told that it is lost.
        return this.#out({ kind: 'claimAnswered', workerId: input.workerId, jobId: warmingOf(jobId), mark: null });
      case 'jobFail':
        this.#warmUps.delete(jobId);
        return this.#out({ kind: 'dequeueJob', jobId: warmingOf(jobId) });
      default:
        return;
    }
  }

  /** The job's worker is about to leave. */
  leaving({ jobId, workerId }: Extract<ShardInput, { kind: 'jobLeaving' }>): void {
    if (this.#warmUps.get(jobId)?.from !== workerId) this.#ask(jobId, workerId);
  }

  /** Ends those that came to nothing, or to their aim (U2). At the end of a batch. */
  settle(): void {
    for (const [jobId, warmUp] of this.#warmUps) {
      const live = this.#jobs.get(jobId);
      if (live?.job.state.context.workerId === warmUp.from) continue;
      this.#warmUps.delete(jobId);
      const effects = stopped(jobId, warmUp);
      // Behind what says that the job is elsewhere: until then its worker must not seem to have a slot more than it has.
      if (live === undefined) this.#out(...effects);
      else this.#jobs.behind(live, ...effects);
    }
  }

  #ask(jobId: string, from: string): void {
    this.#warmUps.delete(jobId);
    const job = this.#jobs.get(jobId)?.job;
    if (job === undefined || !mayMove(job, from)) return;
    this.#warmUps.set(jobId, { from, to: null, attempt: 0, isWarm: false });
    const { model, priority } = job.state.context;
    const { modelFile } = job.output;
    this.#out({
      kind: 'enqueueJob',
      jobId: warmingOf(jobId),
      model,
      priority,
      again: true,
      // Of version 2, too, where nothing was said yet.
      continues: true,
      ...(modelFile === null ? {} : { modelFile }),
      ...needsOf(job),
    });
  }

  #matched(jobId: string, warmUp: WarmUp | undefined, to: Matched): void {
    const job = this.#jobs.get(jobId)?.job;
    if (warmUp === undefined || job === undefined || to.backend !== backend) {
      this.#warmUps.delete(jobId);
      return this.#out({ kind: 'freeSlot', jobId: warmingOf(jobId), workerId: to.workerId });
    }
    warmUp.to = to;
    warmUp.attempt = job.state.context.attempt + 1;
    this.#out({
      kind: 'sendFrame',
      workerId: to.workerId,
      text: serialiseFrame(warmingFrame(job, to, warmUp.attempt)),
    });
  }

  #heard(jobId: string, warmUp: WarmUp, { lines, workerId, at }: Extract<ShardInput, { kind: 'jobFrames' }>): void {
    for (const parsed of framesOf(lines)) {
      if (!parsed.ok || warmUp.to === null || warmUp.isWarm) continue;
      const { frame } = parsed;
      if (frame.type === 'complete') {
        const { attempt } = warmUp;
        const to = { ...warmUp.to, at };
        warmUp.isWarm = true;
        this.#out({ kind: 'ackFrames', workerId, jobId: warmingOf(jobId), attempt, seq: frame.seq ?? 0, ended: true });
        this.#jobs.tried(jobId, job => moveJob(job, warmUp.from, to), at);
      } else if (frame.type === 'error' || frame.type === 'cancelled' || frame.type === 'job.overload') {
        this.#jobs.note('warn', 'a worker could not get ready for a job that is to move', { jobId, workerId });
        this.#warmUps.delete(jobId);
        this.#out({ kind: 'freeSlot', jobId: warmingOf(jobId), workerId });
        return;
      }
    }
  }

  #out(...effects: readonly Effect[]): void {
    this.#jobs.out(...effects);
  }
}

function warmingFrame(job: Job, { modelFile }: Matched, attempt: number) {
  const resume = hasSaid(job.output) ? resumeOf(job, modelFile ?? null) : undefined;
  return jobFrame(warmingOf(job.submitted.jobId), attempt, warmingRequest(job), 2, resume);
}

/** Nobody gets ready any more. */
function stopped(jobId: string, { to, attempt, isWarm }: WarmUp): Effect[] {
  const id = warmingOf(jobId);
  if (to === null) return [{ kind: 'dequeueJob', jobId: id }];
  const { workerId } = to;
  const free: Effect = { kind: 'freeSlot', jobId: id, workerId };
  if (isWarm) return [free];
  const text = serialiseFrame({ type: 'cancel', job_id: id, attempt });
  return [{ kind: 'sendFrame', workerId, text }, free];
}
