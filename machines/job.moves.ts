/**
 * What becomes of the jobs of a worker that is about to leave: each goes on at another one without a gap. Decisions, as in
 * job.decide.ts.
 *
 * M1. The worker goes on with a job until another one has read the prompt and what was said so far (it is warm), and the
 *     move is in the log: the next token is late by one short step, and no worker's words are heard twice.
 * M2. A worker is warmed by a job of its own, which ends after one token that nobody hears: so every worker that keeps
 *     what it has read can be. That job has an id and a slot of its own, and no log.
 * M3. A job that cannot be warmed elsewhere stays until its worker leaves, and is orphaned then, as any other.
 */
import type { JobRequest } from '../protocol/job-events.ts';
import { type Assignment, type Decision, no, placementOf, yes } from './job.decide.ts';
import { isOver, type Job } from './job.ts';
import { requestNow } from './tool-round.ts';

/** Another worker is warm, and has a slot for the job. */
export function moveJob(job: Job, from: string, to: Assignment): Decision {
  if (isOver(job)) return no('over');
  if (job.state.context.workerId !== from || to.workerId === from) return no('not_held');
  return yes({ type: 'job.moved', ...placementOf(job, to) });
}

/** Whether the worker `from` could be relieved of the job (M3). Several answers at once are several prompts. */
export function mayMove(job: Job, from: string): boolean {
  const { workerId, protocol } = job.state.context;
  const { embed, choices = 1 } = job.submitted.request;
  return !isOver(job) && workerId === from && protocol >= 2 && embed === undefined && choices === 1;
}

/** What the other worker is asked, behind what was said so far (M2). */
export function warmingRequest(job: Job): JobRequest {
  const request = requestNow(job);
  const maxTokens = Math.min(job.output.tokens + 1, request.maxTokens ?? Number.POSITIVE_INFINITY);
  return { ...request, maxTokens };
}
