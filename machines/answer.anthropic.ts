/**
 * A message of the Anthropic API as a fold over the job's events: the same events give the same bytes, always and
 * anywhere.
 *
 * M1. Blocks are numbered 0, 1, 2 …, and each is closed before the next begins: a change between thinking and text, in
 *     either direction, begins a new one.
 * M2. A thinking block ends with its signature, which follows from the job and what was thought. It proves nothing:
 *     clients send it back, and want it to be there.
 * M3. The input of a tool is always an object. A call that has none is shown as the text that it is.
 * M4. Streamed or not, the blocks are the same.
 * M5. A call that is told in pieces is a block from its first piece on; one that is not follows at the end.
 */
import {
  type ContentBlock,
  messageBody,
  messageError,
  messageEvents,
  messageStatus,
  type StopReason,
} from '../protocol/anthropic-api.ts';
import { retryHeaders } from '../protocol/codes.ts';
import type { CallPiece, JobCompleted, JobEvent, JobSubmitted, ToolCall } from '../protocol/job-events.ts';
import { callsWith } from './job.output.ts';
import { failureOf, jsonHeaders, type Shown, type WholeAnswer } from './shown.ts';
import { leftOf } from './streamed-calls.ts';
import { type Digest, digestOf, digestText, emptyDigest } from './text-digest.ts';
import { endOf, inputOf } from './tool-input.ts';

export interface MessageAnswer {
  readonly api: 'anthropic.messages';
  readonly submitted: JobSubmitted;
  readonly id: string;
  readonly hideThinking: boolean;
  /** Of the open block, or of the next one. */
  readonly index: number;
  readonly open: 'text' | 'thinking' | 'call' | null;
  /** Calls that were told in pieces; the last is the open block, if a call is (M5). */
  readonly calls: readonly ToolCall[];
  /** Of what was thought in the open block (M2). */
  readonly thought: Digest;
  /** Gathered for an answer in one piece: blocks that are closed, and the text of the open one. */
  readonly blocks: readonly ContentBlock[];
  readonly text: string;
}

const nothing: Shown = { kind: 'nothing' };

export function beginMessage(submitted: JobSubmitted): MessageAnswer {
  const { answer: shape } = submitted;
  return {
    api: 'anthropic.messages',
    submitted,
    id: `msg_${tailOf(submitted.jobId)}`,
    hideThinking: shape.api === 'anthropic.messages' && shape.hideThinking === true,
    index: 0,
    open: null,
    calls: [],
    thought: emptyDigest,
    blocks: [],
    text: '',
  };
}

/** The frames that open a streamed answer. */
export const messageHead = ({ id, submitted }: MessageAnswer): string =>
  messageEvents.messageStart(id, submitted.answer.model) + messageEvents.ping();

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showMessage(answer: MessageAnswer, event: JobEvent, opened: boolean): [MessageAnswer, Shown] {
  switch (event.type) {
    case 'output.appended':
      if (event.call !== undefined) return calling(answer, event.call);
      return event.text === ''
        ? [answer, nothing]
        : said(answer, event.kind === 'text' ? 'text' : 'thinking', event.text);
    case 'job.completed':
      return completed(answer, event);
    case 'job.failed':
    case 'job.expired':
    case 'job.cancelled': {
      const { code, message } = failureOf(event);
      return [answer, failure(answer, code, message, opened)];
    }
    case 'job.submitted':
    case 'job.adopted':
    case 'job.assigned':
    case 'job.requeued':
    case 'job.orphaned':
    case 'job.resumed':
    case 'job.moved':
    case 'toolRound.started':
    case 'toolCall.started':
    case 'toolCall.returned':
    case 'toolCall.finished':
    case 'toolRound.finished':
      return [answer, nothing];
  }
}

/** An error as a whole answer, with what clients need to decide whether to try again. */
export const messageRefusal = (
  code: string,
  message: string,
  requestId: string,
  param: string | null = null,
): WholeAnswer => ({
  kind: 'whole',
  status: messageStatus(code),
  headers: { ...jsonHeaders, ...retryHeaders(code) },
  body: JSON.stringify(messageError(code, message, requestId, param)),
});

function failure({ submitted }: MessageAnswer, code: string, message: string, opened: boolean): Shown {
  const { requestId = '' } = submitted;
  if (!opened) return messageRefusal(code, message, requestId);
  return { kind: 'frames', frames: [messageEvents.error(messageError(code, message, requestId))], last: true };
}

function said(answer: MessageAnswer, kind: 'text' | 'thinking', text: string): [MessageAnswer, Shown] {
  const [closed, frames] = answer.open === kind ? [answer, []] : close(answer);
  const { index } = closed;
  const streams = answer.submitted.answer.stream;
  const hidden = kind === 'thinking' && answer.hideThinking;
  const next: MessageAnswer = {
    ...closed,
    open: kind,
    thought: kind === 'thinking' ? digestText(closed.thought, text) : closed.thought,
    text: streams || hidden ? '' : closed.text + text,
  };
  if (!streams) return [next, nothing];
  if (answer.open !== kind)
    frames.push(kind === 'text' ? messageEvents.textStart(index) : messageEvents.thinkingStart(index));
  if (!hidden) frames.push(kind === 'text' ? messageEvents.text(index, text) : messageEvents.thinking(index, text));
  return [next, frames.length === 0 ? nothing : { kind: 'frames', frames, last: false }];
}

function calling(answer: MessageAnswer, piece: CallPiece): [MessageAnswer, Shown] {
  const calls = callsWith(answer.calls, piece);
  const begins = calls.length > answer.calls.length;
  if (calls === answer.calls || (!begins && answer.open !== 'call')) return [answer, nothing];
  const [closed, frames] = begins ? close(answer) : [answer, []];
  const { index, submitted } = closed;
  const next: MessageAnswer = { ...closed, open: 'call', calls };
  if (!submitted.answer.stream) return [next, nothing];
  const { id = '', name = '', arguments: json } = piece;
  if (begins) frames.push(messageEvents.toolUseStart(index, idOf(id, submitted.jobId), name));
  if (json !== '') frames.push(messageEvents.inputJson(index, json));
  return [next, frames.length === 0 ? nothing : { kind: 'frames', frames, last: false }];
}

/** Ends the open block, if there is one. */
function close(answer: MessageAnswer): [MessageAnswer, string[]] {
  const { open, index, text, thought, submitted } = answer;
  if (open === null) return [answer, []];
  const signature = `auxot:${digestOf(digestText(thought, `${submitted.jobId}/${index}`))}`;
  const block: ContentBlock =
    open === 'text' ? { type: 'text', text } : { type: 'thinking', thinking: text, signature };
  const call = open === 'call' ? answer.calls.at(-1) : undefined;
  const stop = messageEvents.blockStop(index);
  const frames = open === 'thinking' ? [messageEvents.signature(index, signature), stop] : [stop];
  // M3: callers read the pieces together.
  const missing = call === undefined ? '' : endOf(call.arguments);
  if (missing !== '') frames.unshift(messageEvents.inputJson(index, missing));
  const { stream } = submitted.answer;
  return [
    {
      ...answer,
      open: null,
      index: index + 1,
      thought: emptyDigest,
      text: '',
      blocks: stream ? answer.blocks : [...answer.blocks, call === undefined ? block : blockOf(call, submitted.jobId)],
    },
    stream ? frames : [],
  ];
}

function completed(answer: MessageAnswer, event: JobCompleted): [MessageAnswer, Shown] {
  const { toolCalls = [] } = event;
  const last = answer.calls.length - 1;
  const whole = answer.open === 'call' ? toolCalls[last] : undefined;
  const left = whole === undefined ? null : leftOf(answer.calls, whole, last);
  const [written, rest] = left === null ? [answer, nothing] : calling(answer, { index: last, arguments: left.text });
  const [closed, closing] = close(written);
  const frames = rest.kind === 'frames' ? [...rest.frames, ...closing] : closing;
  const { id, submitted, index } = closed;
  const all = toolCalls.map(call => blockOf(call, submitted.jobId));
  const calls = all.slice(closed.calls.length);
  const stopReason = stopReasonOf(event, all);
  const stopSequence = stopReason === 'stop_sequence' ? (event.stopSequence ?? null) : null;
  const { model, stream } = submitted.answer;
  if (!stream) {
    const content = [...closed.blocks, ...calls];
    const body = messageBody({ id, model, content, stopReason, stopSequence, usage: event.usage });
    return [closed, { kind: 'whole', status: 200, headers: jsonHeaders, body: JSON.stringify(body) }];
  }
  for (const [place, block] of calls.entries()) frames.push(...blockFrames(index + place, block));
  frames.push(messageEvents.messageDelta(stopReason, stopSequence, event.usage), messageEvents.messageStop());
  return [closed, { kind: 'frames', frames, last: true }];
}

type CallBlock = Exclude<ContentBlock, { type: 'thinking' }>;

/** M3. */
function blockOf({ id, name, arguments: json }: ToolCall, jobId: string): CallBlock {
  const input = inputOf(json);
  if (input === null) return { type: 'text', text: `${name}(${json})` };
  return { type: 'tool_use', id: idOf(id, jobId), name, input };
}

/** The log names calls that came without an id in the words of the other API. */
const idOf = (id: string, jobId: string): string =>
  id.startsWith(`call_${jobId.slice(-16)}_`) ? id.replace('call_', 'toolu_') : id;

function blockFrames(index: number, block: CallBlock): string[] {
  if (block.type === 'text')
    return [messageEvents.textStart(index), messageEvents.text(index, block.text), messageEvents.blockStop(index)];
  const json = JSON.stringify(block.input);
  return [
    messageEvents.toolUseStart(index, block.id, block.name),
    messageEvents.inputJson(index, json === '{}' ? '' : json),
    messageEvents.blockStop(index),
  ];
}

function stopReasonOf(event: JobCompleted, calls: readonly CallBlock[]): StopReason {
  if (event.finishReason === 'length')
    return event.contextFull === true ? 'model_context_window_exceeded' : 'max_tokens';
  if (calls.some(({ type }) => type === 'tool_use')) return 'tool_use';
  return event.stopSequence === undefined ? 'end_turn' : 'stop_sequence';
}

const tailOf = (jobId: string): string => jobId.slice(jobId.lastIndexOf('-') + 1);
