/**
 * What becomes of a job whose worker is lost, and who has it after that: decisions, as in job.decide.ts.
 *
 * A worker of version 2 may still be at work behind a broken connection. So its job waits for two at once, a standby and
 * the worker's redial, and the first of them to be heard has it. All of this is decided here, in the order in which the
 * shard hears of it: that order is what settles every race (PROTOCOL.md R9–R13).
 */
import type { JobEvent, JobOrphaned } from '../protocol/job-events.ts';
import type { OverloadFrame } from '../protocol/worker-frames.ts';
import { type Former, lostWorkersMax } from './job.context.ts';
import { type Decision, failAtWorker, foreign, no, yes } from './job.decide.ts';
import { hasSaid } from './job.output.ts';
import { isOver, type Job } from './job.ts';

/** How long things are waited for. */
export interface Patience {
  /** From the loss to the end of the wait for the worker or a slot. */
  readonly redialMs: number;
  /** After a router's restart all workers are away, and most come back at once: until then no standby is started. */
  readonly restartMs: number;
}

/** Workers get this long to dial in at a router that has just begun, however long the job has waited already. */
const standbyMsMin = 1000;

export const patienceDefault: Patience = { redialMs: 15_000, restartMs: 5000 };

/** The job's worker is gone, broke the sequence of its frames, or has lost its engine. */
export function orphanJob(
  job: Job,
  workerId: string,
  reason: JobOrphaned['reason'],
  at: number,
  patience: Patience = patienceDefault,
): Decision {
  if (isOver(job)) return no('over');
  const { context } = job.state;
  if (context.workerId !== workerId) return no('not_held');
  if (context.protocol >= 2) return yes(orphaned(job, reason, at, patience));
  // Nobody can go on from what a version 1 worker said: it names no tokens, and may be in the middle of one.
  if (hasText(job)) return yes(lost(at, 'the worker was lost in the middle of the answer'));
  const losses = context.lostInARow + 1;
  if (losses >= lostWorkersMax) return yes(lost(at, lostInARow(losses)));
  const known = reason === 'worker_silent' || reason === 'router_restarted' ? reason : 'worker_lost';
  return yes({ type: 'job.requeued', at, attempt: context.attempt, reason: known });
}

/**
 * The worker's provider takes nothing more: the job goes elsewhere, or waits until this worker is open for jobs again. Where
 * that happens over and over, whoever asked knows best whether to wait (spec/worker-protocol N8).
 */
export function overloadJob(
  job: Job,
  workerId: string,
  frame: OverloadFrame,
  at: number,
  patience = patienceDefault,
): Decision {
  const refusal = foreign(job, { workerId, attempt: frame.attempt });
  if (refusal !== null) return { ok: false, refusal };
  const { attempt, lostInARow, protocol } = job.state.context;
  const said = hasSaid(job.output);
  if (lostInARow + 1 >= lostWorkersMax || (said && protocol < 2)) {
    const error = 'the limit of the provider behind the worker is reached';
    return failAtWorker(job, workerId, { type: 'error', job_id: frame.job_id, error, code: 'overloaded' }, at);
  }
  return yes(
    said ? orphaned(job, 'overloaded', at, patience) : { type: 'job.requeued', at, attempt, reason: 'overloaded' },
  );
}

/** What a worker that redials says of a job it still holds. */
export interface Claim {
  readonly at: number;
  readonly workerId: string;
  readonly workerInstance: string;
  readonly protocol: number;
  readonly modelFile?: string;
  readonly attempt: number;
  readonly seq: number;
}

/**
 * A worker that comes back with the job has it again, unless a standby has said something meanwhile: that one would have
 * to be unsaid. A standby that has said nothing has nothing to lose, and the worker that never stopped is ahead of it.
 */
export function resumeJob(job: Job, claim: Claim): Decision {
  if (isOver(job)) return no('over');
  const { value, context } = job.state;
  if (value !== 'orphaned' && value !== 'dispatched') return no('not_held');
  const former = context.formers.find(one => isHis(one, claim));
  if (former === undefined) return no('stale');
  const { at, workerId, workerInstance, protocol, modelFile } = claim;
  return yes({
    type: 'job.resumed',
    at,
    attempt: context.attempt + 1,
    began: former.began,
    workerId,
    workerInstance,
    protocol,
    ...(modelFile === undefined ? {} : { modelFile }),
    seq: former.seq,
  });
}

/** The wait for the worker or a slot is over, as a timer says; an early timer is refused. */
export function endPatience(job: Job, at: number): Decision {
  if (isOver(job)) return no('over');
  const { value, context } = job.state;
  if (value !== 'orphaned' || at < context.waitsUntilAt) return no('not_held');
  if (context.lostInARow >= lostWorkersMax) return yes(lost(at, lostInARow(context.lostInARow)));
  if (!hasSaid(job.output)) {
    return yes({ type: 'job.requeued', at, attempt: context.attempt, reason: 'worker_lost' });
  }
  const message = 'the worker was lost in the middle of the answer; it did not come back and no other was free in time';
  return yes(lost(at, `${message} (AUXOT_REDIAL_GRACE)`));
}

/** A new writer has opened an epoch of its own. Its predecessor's worker connections are gone. */
export function takeOverJob(job: Job, at: number, patience: Patience = patienceDefault): Decision {
  if (isOver(job)) return no('over');
  const { workerId } = job.state.context;
  if (job.state.value === 'orphaned') {
    const anew = orphaned(job, 'router_restarted', at, patience);
    // Routers that die one after the other must not put the standby off each time.
    const standbyAt = Math.min(anew.standbyAt, Math.max(job.state.context.standbyAt, at + standbyMsMin));
    return yes({ ...anew, standbyAt });
  }
  return workerId === null ? yes() : orphanJob(job, workerId, 'router_restarted', at, patience);
}

function orphaned(job: Job, reason: JobOrphaned['reason'], at: number, { redialMs, restartMs }: Patience): JobOrphaned {
  const restMs = reason === 'router_restarted' ? Math.min(restartMs, redialMs) : 0;
  return {
    type: 'job.orphaned',
    at,
    attempt: job.state.context.attempt,
    reason,
    seq: job.output.seq,
    standbyAt: at + restMs,
    waitsUntilAt: at + redialMs,
  };
}

/**
 * The worker goes by the last number that reached it: an answer to an earlier redial may have been lost on the way, and
 * then it says the number before.
 */
const isHis = ({ workerInstance, began, attempt, seq }: Former, claim: Claim): boolean =>
  workerInstance === claim.workerInstance && claim.attempt >= began && claim.attempt <= attempt && claim.seq >= seq;

const hasText = ({ output }: Job): boolean => output.text !== '' || output.reasoning !== '';

const lostInARow = (losses: number): string => `${losses} workers in a row were lost with this job`;

function lost(at: number, message: string): JobEvent {
  return { type: 'job.failed', at, code: 'worker_lost', message, by: 'router' };
}
