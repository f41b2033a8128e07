/**
 * What workers say about jobs: each frame becomes a command of its job.
 *
 * F1. Frames of one batch are taken in order; what a frame says is written down before a later one may end the job.
 * F2. A frame that cannot be read fails its job, if that is still its worker's.
 */
import {
  acceptToken,
  completeJob,
  type Decision,
  failAtWorker,
  failJob,
  foreign,
  type Refusal,
  stopAtWorker,
} from '../../machines/job.decide.ts';
import { orphanJob, overloadJob, type Patience } from '../../machines/job.losses.ts';
import type { Job } from '../../machines/job.ts';
import type { JobOrphaned } from '../../protocol/job-events.ts';
import type { ShardInput } from '../../protocol/shard-messages.ts';
import type { CompleteFrame, WorkerFrame } from '../../protocol/worker-frames.ts';
import { framesOf } from './frames.ts';
import type { LiveJob, LiveJobs } from './live-jobs.ts';
import type { Streams } from './streams.ts';

export class JobFrames {
  readonly #jobs: LiveJobs;
  readonly #streams: Streams;
  readonly #patience: Patience;

  constructor(jobs: LiveJobs, streams: Streams, patience: Patience) {
    this.#jobs = jobs;
    this.#streams = streams;
    this.#patience = patience;
  }

  arrived({ jobId, workerId, lines, at }: Extract<ShardInput, { kind: 'jobFrames' }>): void {
    for (const parsed of framesOf(lines)) {
      const live = this.#jobs.get(jobId);
      if (live === undefined) return;
      if (parsed.ok) this.#frameArrived(live, workerId, parsed.frame, at);
      else if (parsed.kind === 'type')
        this.#jobs.note('debug', 'frame of an unknown type ignored', { jobId, workerId });
      else {
        this.#jobs.note('warn', 'broken frame from a worker', { jobId, workerId, problem: parsed.kind });
        // It lost the job a moment ago, and the front has yet to hear.
        if (foreign(live.job, { workerId }) !== null) continue;
        const message = parsed.kind === 'shape' ? `: ${parsed.message}` : '';
        this.#jobs.decided(
          jobId,
          job => failJob(job, 'worker_error', `the worker sent a broken frame${message}`, at),
          at,
        );
      }
    }
  }

  #frameArrived(live: LiveJob, workerId: string, frame: WorkerFrame, at: number): void {
    const { jobId } = live.job.submitted;
    switch (frame.type) {
      case 'token': {
        // A version 1 worker that says nothing says nothing: it is no sign that the job goes on (J4).
        if (frame.token === '' && frame.ids === undefined && frame.seq === undefined) return;
        const taken = acceptToken(live.job, live.draft, workerId, frame);
        if (taken.ok) {
          this.#jobs.says(live, taken, at);
        } else if (taken.refusal.code === 'sequence_gap') {
          this.#jobs.note('warn', 'a token frame is missing', { jobId, workerId, seq: frame.seq ?? 0 });
          this.orphaned(jobId, workerId, 'frames_lost', at);
        }
        return;
      }
      case 'complete':
        return this.#completed(live, workerId, frame, at);
      case 'error':
        // The engine is gone and the worker with it, as far as this job goes: the answer can go on elsewhere.
        if (frame.code === 'engine_crashed' && foreign(live.job, { workerId, attempt: frame.attempt }) === null)
          return this.orphaned(jobId, workerId, 'engine_crashed', at);
        this.#ended(live, workerId, job => failAtWorker(job, workerId, frame, at), at);
        return;
      case 'cancelled':
        this.#ended(live, workerId, job => stopAtWorker(job, workerId, frame.attempt, at), at);
        return;
      case 'job.overload':
        this.#ended(live, workerId, job => overloadJob(job, workerId, frame, at, this.#patience), at);
        return;
      case 'job.tool.call.request': {
        if (foreign(live.job, { workerId, attempt: frame.attempt }) !== null) return;
        // Nobody makes calls in the middle of an answer here: the router makes those that end one (spec/workers C1).
        const result = 'calls of tools are made when the answer ends with them';
        const { call_id } = frame;
        const text = JSON.stringify({ type: 'job.tool.call.result', job_id: jobId, call_id, result, is_error: true });
        this.#jobs.out({ kind: 'sendFrame', workerId, text });
        return;
      }
      case 'prompt_progress':
        if (foreign(live.job, { workerId, attempt: frame.attempt }) !== null) return;
        this.#jobs.out(...this.#streams.progress(jobId, 'prompt', frame.processed, frame.total));
        return;
      default:
        // Display frames: proof of life, which the front has noted.
        return;
    }
  }

  #completed(live: LiveJob, workerId: string, frame: CompleteFrame, at: number): void {
    const refusal = this.#ended(live, workerId, job => completeJob(job, workerId, frame, at), at);
    // Frames before it are missing, and none will follow: what it did not say, another worker can.
    if (refusal === 'sequence_gap') this.orphaned(live.job.submitted.jobId, workerId, 'frames_lost', at);
  }

  /** A worker's last word on a job. One of version 2 keeps it for a redial until it is told that it is safe. */
  #ended(live: LiveJob, workerId: string, decide: (job: Job) => Decision, at: number): Refusal['code'] | null {
    const { jobId } = live.job.submitted;
    const { protocol, attempt } = live.job.state.context;
    const refusal = this.#jobs.tried(jobId, decide, at);
    if (refusal === null && protocol >= 2) {
      live.chunk?.effects.push({ kind: 'ackFrames', workerId, jobId, attempt, seq: live.job.output.seq, ended: true });
    }
    return refusal;
  }

  /** The worker is lost to the job. */
  orphaned(jobId: string, workerId: string, reason: JobOrphaned['reason'], at: number): void {
    this.#jobs.decided(jobId, job => orphanJob(job, workerId, reason, at, this.#patience), at);
  }
}
