/**
 * The tool rounds of a job: which calls the model made, where each one is, and the conversation that grows by them.
 *
 *   a call:   waiting ──started──▶ sent ──finished──▶ finished
 *                ▲                  │ │
 *                └─────returned─────┘ └─started: sent again, to a connection of the same worker or to another worker
 *                └── finished: from waiting too (no worker has the tool, or the time is over)
 *
 * T1. A call is sent only after `toolCall.started` is in the log; it names the worker that may run it.
 * T2. Once a call may have been begun, it is sent to nobody but the process that may have it, unless its tool is idempotent;
 *     and every further `sendTool` says who that is (`sentTo`).
 * T3. A round ends when all of its calls are finished, and each finishes once.
 * T4. The results stand in the conversation in the order of the calls, each with its own call's id.
 *
 * Plain values and no XState: a call's states are three, and a round's two are those of the job (job.ts, J8).
 */

import { asOffered, type RoundCall, type ToolCallFinished } from '../protocol/job-events.tools.ts';
import type { JobEvent, JobRequest, JobSubmitted, Usage } from '../protocol/job-events.ts';
import type { Output } from './job.output.ts';

export interface CallState extends RoundCall {
  readonly state: 'waiting' | 'sent' | 'finished';
  /** The connection that it was sent on last. */
  readonly workerId: string | null;
  /** The worker that may have begun it; empty for one of version 1, whose processes have no names. */
  readonly begunBy: string | null;
  /** `begunBy` before the last start, in case that comes to nothing. */
  readonly begunBefore: string | null;
  readonly outcome: ToolCallFinished | null;
}

export interface ToolRound {
  readonly round: number;
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly CallState[];
  readonly deadlineAt: number;
}

export interface ToolLoop {
  /** All, the one at hand last. */
  readonly rounds: readonly ToolRound[];
  /** The last round's calls are not all finished. */
  readonly calling: boolean;
  /** Of all answers before the one at hand. */
  readonly usage: Usage;
}

export type ToolAction =
  /** The call waits for a tools worker. */
  | { readonly type: 'callTool'; readonly params: CallParams }
  | {
      readonly type: 'sendTool';
      readonly params: {
        readonly jobId: string;
        readonly callId: string;
        readonly workerId: string;
        readonly sentTo: string | null;
        readonly timeoutMs: number;
      };
    }
  /** The call is over. Its worker is thanked for the result, or else told to stop. */
  | {
      readonly type: 'endTool';
      readonly params: { readonly jobId: string; readonly callId: string; readonly thanks: boolean };
    }
  | { readonly type: 'armRound'; readonly params: { readonly jobId: string; readonly at: number } }
  | { readonly type: 'disarmRound'; readonly params: { readonly jobId: string } };

interface CallParams {
  readonly jobId: string;
  readonly callId: string;
  readonly name: string;
  /** The worker that may have begun it. */
  readonly sentTo: string | null;
  readonly idempotent: boolean;
}

/** What the loop must know of its job. */
interface Owner {
  readonly submitted: JobSubmitted;
  readonly output: Output;
}

/** The tools worker's own limit comes first, so that what it says is what the model is told. */
export const lateMs = 3000;

export const noRounds: ToolLoop = {
  rounds: [],
  calling: false,
  usage: { input: 0, cached: 0, output: 0, reasoning: 0 },
};

export const roundNow = ({ rounds, calling }: ToolLoop): ToolRound | null => (calling ? (rounds.at(-1) ?? null) : null);

export const callOf = (loop: ToolLoop, callId: string): CallState | null =>
  roundNow(loop)?.calls.find(call => call.callId === callId) ?? null;

export const isIdempotent = ({ routerTools }: JobSubmitted, name: string): boolean =>
  routerTools?.offered.find(tool => tool.name === name)?.idempotent === true;

/** Whether the event can follow, as far as calls go. */
export function canTake(loop: ToolLoop, event: JobEvent): boolean {
  switch (event.type) {
    case 'toolRound.started':
      return !loop.calling && event.round === loop.rounds.length + 1;
    case 'toolCall.started':
    case 'toolCall.finished':
      return (callOf(loop, event.callId)?.state ?? 'finished') !== 'finished';
    case 'toolCall.returned':
      return callOf(loop, event.callId)?.state === 'sent';
    case 'toolRound.finished':
      return loop.calling && loop.rounds.at(-1)?.calls.every(({ state }) => state === 'finished') === true;
    default:
      return true;
  }
}

/** Applies an event that `canTake` lets pass. */
export function toolsAfter(loop: ToolLoop, event: JobEvent, owner: Owner): [ToolLoop, ToolAction[]] {
  const { jobId } = owner.submitted;
  switch (event.type) {
    case 'toolRound.started': {
      const fresh = { state: 'waiting', workerId: null, begunBy: null, begunBefore: null, outcome: null } as const;
      const { text, reasoning } = owner.output;
      const { round, deadlineAt } = event;
      const calls = event.calls.map(call => ({ ...call, ...fresh }));
      const next: ToolLoop = {
        rounds: [...loop.rounds, { round, text: text.trimEnd(), reasoning, calls, deadlineAt }],
        calling: true,
        usage: usageSum(loop.usage, event.usage),
      };
      return [next, owedCalls(next, owner)];
    }
    case 'toolCall.started': {
      const { callId, workerId, workerInstance = '', at } = event;
      const before = callOf(loop, callId)?.begunBy ?? null;
      const next = changed(loop, callId, () => ({
        state: 'sent',
        workerId,
        begunBy: workerInstance,
        begunBefore: before,
      }));
      const timeoutMs = Math.max(1, (roundNow(loop)?.deadlineAt ?? at) - at);
      return [next, [{ type: 'sendTool', params: { jobId, callId, workerId, sentTo: before, timeoutMs } }]];
    }
    case 'toolCall.returned': {
      const { callId, reason } = event;
      const next = changed(loop, callId, call => ({
        state: 'waiting',
        workerId: null,
        begunBy: reason === 'not_begun' ? call.begunBefore : call.begunBy,
      }));
      const call = callOf(next, callId);
      return [next, call === null ? [] : [{ type: 'callTool', params: paramsOf(call, owner) }]];
    }
    case 'toolCall.finished': {
      const { callId, by } = event;
      const next = changed(loop, callId, () => ({ state: 'finished', outcome: event }));
      return [next, [{ type: 'endTool', params: { jobId, callId, thanks: by === 'worker' } }]];
    }
    case 'toolRound.finished':
      return [{ ...loop, calling: false }, [{ type: 'disarmRound', params: { jobId } }]];
    default:
      return [loop, []];
  }
}

/** The job is over: what still runs for it is stopped. */
export function endLoop(loop: ToolLoop, { submitted: { jobId } }: Owner): [ToolLoop, ToolAction[]] {
  const round = roundNow(loop);
  if (round === null) return [loop, []];
  const open = round.calls.filter(({ state }) => state !== 'finished');
  return [
    { ...loop, calling: false },
    [
      { type: 'disarmRound', params: { jobId } },
      ...open.map(({ callId }): ToolAction => ({ type: 'endTool', params: { jobId, callId, thanks: false } })),
    ],
  ];
}

/** What is owed to the round at hand: never sent again from here, but asked for, so that a start is logged first (T1). */
export function owedCalls(loop: ToolLoop, owner: Owner): ToolAction[] {
  const round = roundNow(loop);
  if (round === null) return [];
  const open = round.calls.filter(({ state }) => state !== 'finished');
  return [
    { type: 'armRound', params: { jobId: owner.submitted.jobId, at: round.deadlineAt + lateMs } },
    ...open.map((call): ToolAction => ({ type: 'callTool', params: paramsOf(call, owner) })),
  ];
}

/** The request as the next worker gets it: with the router's tools, and all rounds so far. */
export function requestNow({
  submitted,
  tools: { rounds },
}: Pick<Owner, 'submitted'> & { tools: ToolLoop }): JobRequest {
  const { request, routerTools } = submitted;
  if (routerTools === undefined) return request;
  const tools = [...(request.tools ?? []), ...routerTools.offered.map(asOffered)];
  if (rounds.length === 0) return { ...request, tools };
  const messages = [
    ...request.messages,
    ...rounds.flatMap(round => messagesOf(round, routerTools.seesImages === true)),
  ];
  const forced = request.toolChoice !== undefined && request.toolChoice !== 'auto';
  // Who was made to call a tool has called one: another forced call would never end.
  if (rounds.length < routerTools.roundsMax)
    return { ...request, messages, tools, ...(forced ? { toolChoice: 'auto' } : {}) };
  return { ...request, messages, tools, toolChoice: 'none' };
}

type Message = JobRequest['messages'][number];

/** T4. */
function messagesOf({ text, reasoning, calls }: ToolRound, seesImages: boolean): Message[] {
  return [
    {
      role: 'assistant',
      content: text,
      tool_calls: calls.map(({ toolCallId, name, arguments: json }) => ({
        id: toolCallId,
        type: 'function',
        function: { name, arguments: json },
      })),
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    },
    ...calls.map(({ toolCallId, outcome }) => ({
      role: 'tool',
      tool_call_id: toolCallId,
      content: outcome === null ? '{"error":"tool result missing"}' : contentOf(outcome, seesImages),
    })),
  ];
}

/** What a model reads of a result (spec/worker-protocol §6.4). */
export function contentOf({ error, code, result, images = [] }: ToolCallFinished, seesImages: boolean): unknown {
  const text =
    error !== undefined
      ? JSON.stringify({ error, ...(code === undefined ? {} : { code }) })
      : result === undefined || result === null
        ? ''
        : typeof result === 'string'
          ? result
          : JSON.stringify(result);
  if (images.length === 0) return text;
  if (!seesImages) return `${text}\n(${images.length} images, which this model cannot be shown)`.trimStart();
  return [
    { type: 'text', text },
    ...images.map(({ mime_type, data }) => ({
      type: 'image_url',
      image_url: { url: `data:${mime_type};base64,${data}` },
    })),
  ];
}

export const usageSum = (a: Usage, b: Usage): Usage => ({
  input: a.input + b.input,
  cached: a.cached + b.cached,
  output: a.output + b.output,
  reasoning: a.reasoning + b.reasoning,
});

const paramsOf = ({ callId, name, begunBy }: CallState, { submitted }: Owner): CallParams => ({
  jobId: submitted.jobId,
  callId,
  name,
  sentTo: begunBy,
  idempotent: isIdempotent(submitted, name),
});

function changed(loop: ToolLoop, callId: string, change: (call: CallState) => Partial<CallState>): ToolLoop {
  const last = loop.rounds.at(-1);
  if (last === undefined) return loop;
  const calls = last.calls.map(call => (call.callId === callId ? { ...call, ...change(call) } : call));
  return { ...loop, rounds: [...loop.rounds.slice(0, -1), { ...last, calls }] };
}
