/** What the machine of a job keeps, and what its assignments, losses and resumptions make of it (job.ts). */
import type { JobAssigned, JobMoved, JobOrphaned, JobResumed } from '../protocol/job-events.ts';

export interface JobContext {
  readonly jobId: string;
  readonly model: string;
  readonly priority: number;
  readonly deadlineAt: number;
  readonly attempt: number;
  readonly workerId: string | null;
  /** Of the worker's process (version 2). */
  readonly workerInstance: string | null;
  readonly modelFile: string | null;
  /** Version of the worker protocol that its worker speaks. */
  readonly protocol: number;
  /** The attempt in which its worker was sent the job: before `attempt` once it has come back. */
  readonly began: number;
  /** J6. */
  readonly formers: readonly Former[];
  /** Workers lost since output was last accepted. */
  readonly lostInARow: number;
  /** Boots that have written this log, so the epoch it is in. */
  readonly writers: number;
  /** The worker of the answer before this one: its cache holds the conversation. */
  readonly usedWorker: string | null;
  /** While it is orphaned: from when on a standby may be started, and how long it waits. */
  readonly standbyAt: number;
  readonly waitsUntilAt: number;
}

/** A worker that was lost and may still hold the job. */
export interface Former {
  readonly workerInstance: string;
  readonly began: number;
  /** The last number it had; it knows itself by this one, or by an earlier one if our answer to a redial was lost. */
  readonly attempt: number;
  /** Its frames up to this one are in the log. */
  readonly seq: number;
}

/** A job that lost this many workers in a row, with no output accepted in between, is given to no other (J4). */
export const lostWorkersMax = 2;

export const emptyContext: JobContext = {
  jobId: '',
  model: '',
  priority: 0,
  deadlineAt: 0,
  attempt: 0,
  workerId: null,
  workerInstance: null,
  modelFile: null,
  protocol: 1,
  began: 0,
  formers: [],
  lostInARow: 0,
  writers: 1,
  usedWorker: null,
  standbyAt: 0,
  waitsUntilAt: 0,
};

export function placed({
  attempt,
  workerId,
  protocol,
  workerInstance,
  modelFile,
}: JobAssigned | JobMoved): Partial<JobContext> {
  return {
    attempt,
    began: attempt,
    workerId,
    protocol,
    workerInstance: workerInstance ?? null,
    modelFile: modelFile ?? null,
  };
}

const cannotGoOn: ReadonlySet<JobOrphaned['reason']> = new Set(['frames_lost', 'engine_crashed', 'overloaded']);

export function orphaned(
  context: JobContext,
  { reason, seq, standbyAt, waitsUntilAt }: JobOrphaned,
): Partial<JobContext> {
  const { workerId, workerInstance, began, attempt, formers, lostInARow } = context;
  const wait = { standbyAt, waitsUntilAt };
  if (workerId === null) return wait;
  // A worker that is there but cannot go on has no claim.
  const mayReturn = !cannotGoOn.has(reason) && workerInstance !== null;
  return {
    ...wait,
    workerId: null,
    workerInstance: null,
    modelFile: null,
    formers: mayReturn ? [...formers, { workerInstance, began, attempt, seq }] : formers,
    // The end of a router says nothing about the workers.
    lostInARow: reason === 'router_restarted' ? lostInARow : lostInARow + 1,
  };
}

/** The worker was not lost after all. */
export function resumed({ lostInARow, formers }: JobContext, event: JobResumed): Partial<JobContext> {
  const { attempt, began, workerId, workerInstance, protocol, modelFile } = event;
  return {
    attempt,
    began,
    workerId,
    workerInstance,
    protocol,
    modelFile: modelFile ?? null,
    lostInARow: Math.max(0, lostInARow - 1),
    formers: formers.filter(former => former.workerInstance !== workerInstance || former.began !== began),
  };
}

/** J4, J7. */
export const mayHaveStandby = ({ lostInARow }: JobContext): boolean => lostInARow < lostWorkersMax;

export const standbyOf = ({ jobId, model, priority, standbyAt }: JobContext) => ({
  jobId,
  model,
  priority,
  notBeforeAt: standbyAt,
});
