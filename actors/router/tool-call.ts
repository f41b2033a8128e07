/** One call of a tool on its way (tool-calls.ts): a job's, whose shard logs each step, or a caller's who waits for it. */
import { randomBytes } from 'node:crypto';
import type { Effect, ToolOutcome } from '../../protocol/shard-messages.ts';
import type { ToolJobFrame, ToolProgressFrame } from '../../protocol/worker-frames.tools.ts';

/** A call that a caller makes directly. */
export interface DirectCall {
  readonly name: string;
  readonly args: unknown;
  readonly threadId: string | null;
  readonly timeoutMs: number;
  /** The caller wants to know how far it is. */
  readonly progressed?: (frame: ToolProgressFrame) => void;
}

export interface ToolCall {
  readonly callId: string;
  readonly jobId: string | null;
  readonly name: string;
  readonly threadId: string | null;
  readonly idempotent: boolean;
  sentTo: string | null;
  state: 'waiting' | 'running' | 'answered' | 'away' | 'lost';
  workerId: string | null;
  /** Since when nobody could take it. */
  sinceAt: number;
  readonly direct: {
    readonly frame: ToolJobFrame;
    readonly settle: (outcome: ToolOutcome) => void;
    readonly progressed: ((frame: ToolProgressFrame) => void) | null;
  } | null;
  /** When its caller was last told how far it is. */
  toldAt: number;
}

export function callOfJob(
  { jobId, callId, name, sentTo, idempotent }: Extract<Effect, { kind: 'callTool' }>,
  sinceAt: number,
): ToolCall {
  const state = stateOf(sentTo, idempotent);
  return {
    callId,
    jobId,
    name,
    threadId: jobId,
    idempotent,
    sentTo,
    state,
    workerId: null,
    sinceAt,
    direct: null,
    toldAt: 0,
  };
}

export function directCallId(): string {
  return `direct-${randomBytes(16).toString('hex')}`;
}

export function callOfCaller(
  callId: string,
  { name, args, threadId, timeoutMs, progressed }: DirectCall,
  sinceAt: number,
  settle: (outcome: ToolOutcome) => void,
): ToolCall {
  const frame: ToolJobFrame = {
    type: 'tool_job',
    job_id: callId,
    parent_job_id: `direct:${callId}`,
    ...(threadId === null ? {} : { thread_id: threadId }),
    tool_name: name,
    tool_call_id: callId,
    arguments: args,
    timeout_ms: timeoutMs,
  };
  return {
    callId,
    jobId: null,
    name,
    threadId,
    idempotent: false,
    sentTo: null,
    state: 'waiting',
    workerId: null,
    sinceAt,
    direct: { frame, settle, progressed: progressed ?? null },
    toldAt: 0,
  };
}

/** Whether it may go to anybody (tool-calls.ts C2). */
export const stateOf = (sentTo: string | null, idempotent: boolean): 'waiting' | 'away' =>
  sentTo === null || idempotent ? 'waiting' : 'away';
