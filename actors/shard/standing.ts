/** How a job stands, for somebody who asks by its id. */
import { jsonHeaders } from '../../machines/shown.ts';
import type { JobEvent, JobSubmitted } from '../../protocol/job-events.ts';
import type { Effect } from '../../protocol/shard-messages.ts';

export type Standing = 'queued' | 'in_progress' | 'completed' | 'failed' | 'cancelled' | 'expired';

export function standingAfter(standing: Standing, { type }: JobEvent): Standing {
  switch (type) {
    case 'job.submitted':
    case 'job.requeued':
      return 'queued';
    case 'job.assigned':
      return 'in_progress';
    case 'job.completed':
      return 'completed';
    case 'job.failed':
      return 'failed';
    case 'job.cancelled':
      return 'cancelled';
    case 'job.expired':
      return 'expired';
    default:
      return standing;
  }
}

/** 202 while there is no answer yet. */
export function jobStanding(
  streamId: number,
  { jobId, at, deadlineAt, answer }: JobSubmitted,
  status: Standing,
): Effect {
  const open = status === 'queued' || status === 'in_progress';
  const body = {
    id: jobId,
    object: 'job',
    api: answer.api,
    status,
    created_at: Math.floor(at / 1000),
    deadline_at: Math.floor(deadlineAt / 1000),
  };
  const headers = { ...jsonHeaders, ...(open ? { 'retry-after': '1' } : {}), 'x-auxot-job': jobId };
  return { kind: 'respond', streamId, status: open ? 202 : 200, headers, body: JSON.stringify(body) };
}
