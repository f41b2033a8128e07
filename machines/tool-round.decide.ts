/** What may happen to a tool round next: decisions, as in job.decide.ts. */

import type { RoundCall, ToolCallFinished } from '../protocol/job-events.tools.ts';
import type { JobCompleted, JobEvent, ToolCall } from '../protocol/job-events.ts';
import { isShallow, levelsMax } from '../protocol/schema.ts';
import type { ToolResultFrame } from '../protocol/worker-frames.tools.ts';
import { type Decision, no, yes } from './job.decide.ts';
import { isOver, type Job } from './job.ts';
import { type CallState, callOf, isIdempotent, lateMs, roundNow, usageSum } from './tool-round.ts';

/**
 * What a complete answer becomes: the end of the job, or a tool round. Calls of the router's tools are none of the
 * caller's business. If the answer calls tools of the caller too, the caller gets its own and the others are not run: the
 * model, which does not see them again, can make them when it has the caller's results.
 */
export function afterAnswer(job: Job, completed: JobCompleted): JobEvent[] {
  const { jobId, routerTools, deadlineAt } = job.submitted;
  const usage = usageSum(job.tools.usage, completed.usage);
  const { toolCalls = [], ...rest } = completed;
  const ours = new Set(routerTools?.offered.map(({ name }) => name));
  const theirs = toolCalls.filter(({ name }) => !ours.has(name));
  if (routerTools === undefined || theirs.length === toolCalls.length) return [{ ...completed, usage }];
  if (theirs.length > 0) return [{ ...rest, usage, toolCalls: theirs }];
  const { rounds } = job.tools;
  // A call that was cut is none that should be made.
  if (completed.finishReason !== 'tool_calls') return [{ ...rest, usage }];
  // It was told to answer and called once more (a worker that cannot be told): what it said so far is all there is.
  if (rounds.length >= routerTools.roundsMax) return [{ ...rest, usage, finishReason: 'length' }];
  const { at, attempt } = completed;
  const round = rounds.length + 1;
  const calls = toolCalls.map((call, index) => roundCall(jobId, round, call, index));
  const { text } = job.output;
  const events: JobEvent[] = [];
  // What the model says next begins a new paragraph for its reader.
  if (text.trim() !== '') events.push({ type: 'output.appended', at, attempt, kind: 'text', text: '\n\n', tokens: 0 });
  const roundDeadlineAt = Math.min(at + routerTools.callMs, deadlineAt);
  const { usage: own } = completed;
  events.push({ type: 'toolRound.started', at, attempt, round, calls, usage: own, deadlineAt: roundDeadlineAt });
  const broken = calls.flatMap(({ callId, arguments: json }) => {
    const why = troubleIn(json);
    return why === null ? [] : [failed(callId, at, 'invalid_arguments', why)];
  });
  events.push(...broken);
  if (broken.length === calls.length) events.push({ type: 'toolRound.finished', at, round });
  return events;
}

export interface ToolsWorkerFound {
  readonly at: number;
  readonly callId: string;
  readonly workerId: string;
  readonly workerInstance?: string;
}

/** A tools worker has room for the call. One that may have been begun is no business of any other process (T2). */
export function startCall(job: Job, { at, callId, workerId, workerInstance }: ToolsWorkerFound): Decision {
  const call = openCall(job, callId);
  if (call === null) return no('over');
  if (call.state === 'sent' && call.workerId === workerId) return no('repeated');
  const elsewhere = call.begunBy !== null && (call.begunBy === '' || call.begunBy !== workerInstance);
  if (elsewhere && !isIdempotent(job.submitted, call.name)) return no('not_held');
  const named = workerInstance === undefined ? {} : { workerInstance };
  return yes({ type: 'toolCall.started', at, callId, workerId, ...named });
}

/** Codes with which a worker says that it has not begun the call. */
const notBegun: ReadonlySet<string> = new Set(['overloaded', 'worker_stopping']);

/** A tools worker has answered. */
export function finishCall(job: Job, workerId: string, frame: ToolResultFrame, at: number): Decision {
  const { job_id: callId, result, image_parts: images = [], code } = frame;
  const call = openCall(job, callId);
  if (call === null) return no('over');
  if (call.state !== 'sent' || call.workerId !== workerId) return no('not_held');
  const failure = frame.error === undefined || frame.error === '' ? null : frame.error;
  if (failure !== null && code !== undefined && notBegun.has(code)) {
    return yes({ type: 'toolCall.returned', at, callId, reason: 'not_begun' });
  }
  return finished(job, {
    type: 'toolCall.finished',
    at,
    callId,
    by: 'worker',
    ...(failure === null ? { result: result ?? null } : { error: failure, ...(code === undefined ? {} : { code }) }),
    ...(failure === null && images.length > 0 ? { images } : {}),
  });
}

/** The worker that had the call is gone for good, as far as we can wait. */
export function loseCall(job: Job, callId: string, at: number): Decision {
  const call = openCall(job, callId);
  if (call === null) return no('over');
  if (isIdempotent(job.submitted, call.name) && call.state === 'sent') {
    return yes({ type: 'toolCall.returned', at, callId, reason: 'worker_lost' });
  }
  const why = 'the tools worker was lost; whether the call was run is not known, and it is not run again';
  return finished(job, failed(callId, at, 'outcome_unknown', why));
}

/** Nobody can run it. */
export function refuseCall(job: Job, callId: string, code: string, message: string, at: number): Decision {
  const call = openCall(job, callId);
  if (call === null || call.state !== 'waiting') return no('over');
  return finished(job, failed(callId, at, code, message));
}

/** The time of the round is over, as a timer says; an early timer is refused. */
export function expireRound(job: Job, at: number): Decision {
  const round = roundNow(job.tools);
  if (isOver(job) || round === null || at < round.deadlineAt + lateMs) return no('over');
  const late = round.calls.filter(({ state }) => state !== 'finished');
  return yes(
    ...late.map(({ callId, state }) => {
      const why = state === 'waiting' ? 'no tools worker was free for the call in time' : 'the call took too long';
      return failed(callId, at, 'timeout', why);
    }),
    { type: 'toolRound.finished', at, round: round.round },
  );
}

function openCall(job: Job, callId: string): CallState | null {
  if (isOver(job)) return null;
  const call = callOf(job.tools, callId);
  return call?.state === 'finished' ? null : call;
}

/** T3. */
function finished(job: Job, event: ToolCallFinished): Decision {
  const round = roundNow(job.tools);
  const others = round?.calls.filter(({ callId }) => callId !== event.callId) ?? [];
  if (round === null || others.some(({ state }) => state !== 'finished')) return yes(event);
  return yes(event, { type: 'toolRound.finished', at: event.at, round: round.round });
}

const failed = (callId: string, at: number, code: string, error: string): ToolCallFinished => ({
  type: 'toolCall.finished',
  at,
  callId,
  by: 'router',
  error,
  code,
});

/** The job of a round's call; null for any other call. */
export function jobOfCall(callId: string): string | null {
  const [, job] = /^tool_([^_]+)_\d+_\d+$/.exec(callId) ?? [];
  return job === undefined ? null : `chatcmpl-${job}`;
}

/** The id follows from job, round and place, so that whoever takes the job over has the same. */
const roundCall = (
  jobId: string,
  round: number,
  { id, name, arguments: json }: ToolCall,
  index: number,
): RoundCall => ({
  callId: `tool_${jobId.slice(jobId.lastIndexOf('-') + 1)}_${round}_${index}`,
  toolCallId: id,
  name,
  arguments: json,
});

/** Why a call with these arguments cannot be sent. */
function troubleIn(json: string): string | null {
  try {
    return isShallow(JSON.parse(json)) ? null : `the arguments are nested deeper than ${levelsMax} levels`;
  } catch {
    return 'the arguments are not JSON';
  }
}
