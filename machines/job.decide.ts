/**
 * What may happen to a job next: commands in, events or a refusal out. The only place that says no.
 *
 * A refusal of a worker's frame is no error: frames of an attempt that is over arrive late by nature and are ignored
 * (PROTOCOL.md). A frame that breaks the sequence ends the attempt, because text would be missing.
 */
import type {
  CallPiece,
  ChoiceEnd,
  JobCompleted,
  JobEvent,
  JobRequest,
  OutputAppended,
  TokenLogprob,
  ToolCall,
  Usage,
} from '../protocol/job-events.ts';
import { type CompleteFrame, type ErrorFrame, type TokenFrame, usageOf } from '../protocol/worker-frames.ts';
import { mayHaveStandby } from './job.context.ts';
import { embeddingsTrouble } from './job.embeddings.ts';
import { callsWith, hasSaid, outputAfter } from './job.output.ts';
import { stopsOf, untilStop } from './job.stops.ts';
import { isOver, type Job } from './job.ts';
import { cutAtStop } from './stop-texts.ts';
import { afterAnswer } from './tool-round.decide.ts';

export type Refusal = { readonly code: 'over' | 'not_queued' | 'not_held' | 'stale' | 'repeated' | 'sequence_gap' };
export type Decision =
  | { readonly ok: true; readonly events: readonly JobEvent[] }
  | { readonly ok: false; readonly refusal: Refusal };

export const no = (code: Refusal['code']): Decision => ({ ok: false, refusal: { code } });
export const yes = (...events: JobEvent[]): Decision => ({ ok: true, events });

/** Text that arrived in one tick and becomes one event. */
export interface Draft {
  readonly kind: 'text' | 'reasoning';
  readonly text: string;
  readonly tokens: number;
  readonly ids: readonly number[] | null;
  readonly seq: number;
  /** 0 unless the caller asked for several. */
  readonly choice: number;
  readonly logprobs: readonly TokenLogprob[];
  readonly call: CallPiece | null;
  readonly end: ChoiceEnd | null;
}

/** The worker that holds the job, and the frame's attempt where it names one. */
interface Sender {
  readonly workerId: string;
  readonly attempt?: number | undefined;
}

/** Null when `from` may speak for the job now. */
export function foreign(job: Job, from: Sender): Refusal | null {
  if (isOver(job)) return { code: 'over' };
  if (job.state.context.workerId !== from.workerId) return { code: 'not_held' };
  if (from.attempt !== undefined && from.attempt !== job.state.context.attempt) return { code: 'stale' };
  return null;
}

/**
 * Takes a token frame into the draft of this tick. Frames of version 2 are numbered 1, 2, 3 … within the attempt: a
 * number seen before is a repeat (redial), a number left out means lost text.
 */
export function acceptToken(
  job: Job,
  draft: Draft | null,
  workerId: string,
  frame: TokenFrame,
): { ok: true; piece: Draft; joins: boolean } | { ok: false; refusal: Refusal } {
  const refusal = foreign(job, { workerId, attempt: frame.attempt });
  if (refusal !== null) return { ok: false, refusal };
  const last = draft?.seq ?? job.output.seq;
  const seq = frame.seq ?? last;
  if (frame.seq !== undefined && frame.seq <= last) return { ok: false, refusal: { code: 'repeated' } };
  if (frame.seq !== undefined && frame.seq > last + 1) return { ok: false, refusal: { code: 'sequence_gap' } };
  const kind = frame.reasoning === true ? 'reasoning' : 'text';
  const ids = frame.ids ?? null;
  const tokens = ids === null ? 1 : ids.length;
  const { logprobs = [] } = frame;
  const choice = Math.max(0, frame.choice ?? 0);
  if (choice >= (job.submitted.request.choices ?? 1)) return { ok: false, refusal: { code: 'stale' } };
  const end = frame.end === undefined ? null : endOf(frame.end, job, choice);
  const call = callIn(frame, job, choice, draft);
  const differs = draft === null || draft.kind !== kind || draft.choice !== choice || draft.end !== null;
  if (differs || (draft.ids === null) !== (ids === null) || !joins(draft.call, call)) {
    return {
      ok: true,
      joins: false,
      piece: { kind, text: frame.token, tokens, ids, seq, choice, logprobs, call, end },
    };
  }
  const joined = draft.ids === null || ids === null ? null : draft.ids.concat(ids);
  const text = draft.text + frame.token;
  const piece = { kind, text, tokens: draft.tokens + tokens, ids: joined, seq, choice, end } as const;
  const whole =
    draft.call === null || call === null ? call : { ...draft.call, arguments: draft.call.arguments + call.arguments };
  return { ok: true, joins: true, piece: { ...piece, call: whole, logprobs: draft.logprobs.concat(logprobs) } };
}

/** Pieces of one call that arrive together are one; text and calls stay apart. */
const joins = (before: CallPiece | null, next: CallPiece | null): boolean =>
  before === null || next === null
    ? before === next
    : before.index === next.index && next.name === undefined && next.id === undefined;

/** Null for none, and for a piece that cannot follow: the whole call is told at the end in any case. */
function callIn({ call }: TokenFrame, job: Job, choice: number, draft: Draft | null): CallPiece | null {
  // Which calls are the caller's shows when the answer is complete: calls of the router's tools are not its business.
  if (call === undefined || job.submitted.routerTools !== undefined) return null;
  const said = choice === 0 ? job.output.calls : (job.output.others[choice - 1]?.calls ?? []);
  const before = draft?.choice === choice && draft.call !== null ? callsWith(said, draft.call) : said;
  if (callsWith(before, call) === before) return null;
  const { index, id, name, arguments: text } = call;
  return index < before.length
    ? { index, arguments: text }
    : { index, id: id ?? '', name: name ?? '', arguments: text };
}

/** The events that a draft becomes. */
export const outputEvents = (job: Job, draft: Draft, at: number): JobEvent[] =>
  untilStop(job, outputEvent(job, draft, at));

function outputEvent(job: Job, draft: Draft, at: number): OutputAppended {
  return {
    type: 'output.appended',
    at,
    attempt: job.state.context.attempt,
    kind: draft.kind,
    text: draft.text,
    tokens: draft.tokens,
    ...(draft.choice > 0 ? { choice: draft.choice } : {}),
    ...(draft.ids === null ? {} : { ids: [...draft.ids] }),
    ...(draft.seq > 0 ? { seq: draft.seq } : {}),
    ...(draft.logprobs.length > 0 ? { logprobs: [...draft.logprobs] } : {}),
    ...(draft.call === null ? {} : { call: draft.call }),
    ...(draft.end === null ? {} : { end: draft.end }),
  };
}

export interface Assignment {
  readonly at: number;
  readonly workerId: string;
  readonly protocol: number;
  readonly workerInstance?: string;
  readonly modelFile?: string;
}

/** What an event says of the worker that the job goes to, under its next number. */
export const placementOf = (job: Job, { at, workerId, protocol, workerInstance, modelFile }: Assignment) => ({
  at,
  attempt: job.state.context.attempt + 1,
  workerId,
  protocol,
  ...(workerInstance === undefined ? {} : { workerInstance }),
  ...(modelFile === undefined ? {} : { modelFile }),
});

export function assignJob(job: Job, to: Assignment): Decision {
  if (isOver(job)) return no('over');
  if (job.state.value !== 'queued' && job.state.value !== 'orphaned') return no('not_queued');
  if (job.state.value === 'orphaned') {
    if (!mayHaveStandby(job.state.context)) return no('not_queued');
    // Only version 2 can be told what was said already.
    if (to.protocol < 2 && hasSaid(job.output)) return no('not_queued');
  }
  return yes({ type: 'job.assigned', ...placementOf(job, to) });
}

/** The worker says that it is done. Text that it kept for the end (workers that stream nothing) is said first. */
export function completeJob(job: Job, workerId: string, frame: CompleteFrame, at: number): Decision {
  const refusal = foreign(job, { workerId, attempt: frame.attempt });
  if (refusal !== null) return { ok: false, refusal };
  if (frame.seq !== undefined && frame.seq > job.output.seq) return no('sequence_gap');
  const trouble = embeddingsTrouble(job.submitted.request, frame);
  if (trouble !== null) return yes({ type: 'job.failed', at, code: 'worker_error', message: trouble, by: 'worker' });
  const { embed } = job.submitted.request;
  const { attempt } = job.state.context;
  const { held } = job.output;
  let stopped: string | null = null;
  const events: JobEvent[] = [];
  for (const [kind, whole, said] of [
    ['reasoning', frame.reasoning_content ?? '', job.output.reasoning],
    ['text', (frame.full_response ?? '') + (frame.post_tool_content ?? ''), job.output.text + held],
  ] as const) {
    const cut = kind === 'text' ? cutAtStop(held + unsaid(whole, said), stopsOf(job), true) : null;
    if (cut !== null) stopped = cut.stopped;
    const rest = cut === null ? unsaid(whole, said) : cut.text;
    if (rest !== '') events.push({ type: 'output.appended', at, attempt, kind, text: rest, tokens: 0 });
  }
  // Of several choices, each has said how it ended.
  const { end } = job.output;
  const ofJob = stopped === null ? toolCallsOf(frame.tool_calls, job) : [];
  const toolCalls = end === null ? ofJob : (end.toolCalls ?? []);
  const stopSequence = stopped ?? frame.stop_sequence;
  const usage = usageFrom(frame, job);
  const completed: JobCompleted = {
    type: 'job.completed',
    at,
    attempt,
    finishReason:
      stopped !== null ? 'stop' : (end?.finishReason ?? finishReason(frame, toolCalls, usage, job.submitted.request)),
    usage,
    ...(toolCalls.length > 0 ? { toolCalls } : {}),
    ...(stopSequence === undefined ? {} : { stopSequence }),
    ...(frame.context_full === true ? { contextFull: true } : {}),
    ...(embed === undefined ? {} : { embeddings: [...(frame.embeddings ?? [])] }),
    ...(frame.duration_ms === undefined ? {} : { durationMs: Math.max(0, Math.round(frame.duration_ms)) }),
  };
  const whole = { ...job, output: events.reduce(outputAfter, job.output) };
  return yes(...events, ...afterAnswer(whole, completed));
}

/** The worker says that it cannot go on with the job. */
export function failAtWorker(job: Job, workerId: string, frame: ErrorFrame, at: number): Decision {
  const refusal = foreign(job, { workerId, attempt: frame.attempt });
  if (refusal !== null) return { ok: false, refusal };
  const message =
    frame.error === '' || frame.error === undefined ? 'the worker reported an error without a text' : frame.error;
  return yes({
    type: 'job.failed',
    at,
    code: workerCode(frame),
    message,
    by: 'worker',
    ...(frame.details === undefined || frame.details === '' ? {} : { details: frame.details }),
  });
}

/** The worker stopped the job without being asked to. */
export function stopAtWorker(job: Job, workerId: string, attempt: number | undefined, at: number): Decision {
  const refusal = foreign(job, { workerId, attempt });
  if (refusal !== null) return { ok: false, refusal };
  return yes({ type: 'job.failed', at, code: 'worker_error', message: 'the worker cancelled the job', by: 'worker' });
}

export function cancelJob(job: Job, reason: 'caller_gone' | 'requested' | 'shutdown', at: number): Decision {
  return isOver(job) ? no('over') : yes({ type: 'job.cancelled', at, reason });
}

export function failJob(job: Job, code: string, message: string, at: number): Decision {
  return isOver(job) ? no('over') : yes({ type: 'job.failed', at, code, message, by: 'router' });
}

/** The deadline has passed, as a timer says; an early timer is refused. */
export function expireJob(job: Job, at: number): Decision {
  const { deadlineAt } = job.state.context;
  return isOver(job) || at < deadlineAt ? no('over') : yes({ type: 'job.expired', at, deadlineAt });
}

/** What of `whole` was not said yet. A whole that is no continuation adds nothing: what was streamed stands. */
function unsaid(whole: string, said: string): string {
  return whole.length > said.length && whole.startsWith(said) ? whole.slice(said.length) : '';
}

/** Ids may be empty or repeat (some engines do that): every call gets its own. */
function toolCallsOf(calls: CompleteFrame['tool_calls'], job: Job, choice = 0): ToolCall[] {
  const taken = new Set<string>();
  // A worker of version 1 is not told that the caller wants one at most.
  const callsMax = job.submitted.request.parallelToolCalls === false ? 1 : undefined;
  const whole = (calls ?? []).slice(0, callsMax).map((call, index) => {
    const wanted = call.id ?? '';
    const id =
      wanted !== '' && !taken.has(wanted)
        ? wanted
        : `call_${job.submitted.jobId.slice(-16)}_${choice === 0 ? '' : `${choice}_`}${index}`;
    taken.add(id);
    const text = call.function?.arguments ?? '';
    return { id, name: call.function?.name ?? '', arguments: text === '' ? '{}' : text };
  });
  return asSaid(whole, (choice === 0 ? job.output : job.output.others[choice - 1])?.calls ?? []);
}

/** Callers hold on to what was told in pieces: the whole calls go on from it, or it stands. */
function asSaid(whole: readonly ToolCall[], said: readonly ToolCall[]): ToolCall[] {
  const begun = said.map((call, index) => {
    const text = whole[index]?.arguments ?? '';
    return { ...call, arguments: text.startsWith(call.arguments) ? text : call.arguments };
  });
  const taken = new Set(begun.map(({ id }) => id));
  return [
    ...begun,
    ...whole.slice(begun.length).map(call => (taken.has(call.id) ? { ...call, id: `${call.id}_` } : call)),
  ];
}

function endOf(end: NonNullable<TokenFrame['end']>, job: Job, choice: number): ChoiceEnd {
  const toolCalls = toolCallsOf(end.tool_calls, job, choice);
  return { finishReason: end.finish_reason, ...(toolCalls.length > 0 ? { toolCalls } : {}) };
}

function usageFrom(frame: CompleteFrame, job: Job): Usage {
  const usage = usageOf(frame);
  return usage.output > 0 ? usage : { ...usage, output: job.output.tokens - job.output.tokensBefore };
}

function finishReason(frame: CompleteFrame, calls: readonly ToolCall[], usage: Usage, request: JobRequest) {
  // A call that was cut is none that should be made.
  if (frame.finish_reason === 'length') return 'length';
  if (calls.length > 0) return 'tool_calls';
  if (frame.finish_reason === 'stop') return 'stop';
  // Version 1 has no field for it: an answer as long as allowed was cut.
  return request.maxTokens !== undefined && usage.output >= request.maxTokens ? 'length' : 'stop';
}

/** What llama.cpp says of a prompt that does not fit. */
const overflow = /exceeds? the .*context (?:size|length|window)/i;

function workerCode({ code, error }: ErrorFrame): string {
  // Version 1 has no field for it, and callers recover from this one.
  if (code === undefined && overflow.test(error ?? '')) return 'context_length_exceeded';
  switch (code) {
    case 'context_length_exceeded':
    case 'malformed_tool_call':
    case 'timeout':
      return code;
    case 'invalid_request':
      return 'invalid_request';
    case 'overloaded':
      return 'server_overloaded';
    default:
      return 'worker_error';
  }
}
