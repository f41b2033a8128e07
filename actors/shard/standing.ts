/** What somebody is told who asks for the answer of a job that has none yet. */
import { jsonHeaders } from '../../machines/shown.ts';
import type { JobSubmitted } from '../../protocol/job-events.ts';
import type { Effect } from '../../protocol/shard-messages.ts';

export function jobStanding(
  streamId: number,
  { jobId, at, deadlineAt, answer }: JobSubmitted,
  running: boolean,
): Effect {
  const body = {
    id: jobId,
    object: 'job',
    api: answer.api,
    status: running ? 'in_progress' : 'queued',
    created_at: Math.floor(at / 1000),
    deadline_at: Math.floor(deadlineAt / 1000),
  };
  const headers = { ...jsonHeaders, 'retry-after': '1', 'x-auxot-job': jobId };
  return { kind: 'respond', streamId, status: 202, headers, body: JSON.stringify(body) };
}
