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
import type { JobCompleted, JobEvent, JobSubmitted, ToolCall } from '../protocol/job-events.ts';
import { failureOf, jsonHeaders, type Shown, type WholeAnswer } from './shown.ts';
import { type Digest, digestOf, digestText, emptyDigest } from './text-digest.ts';
import { inputOf } from './tool-input.ts';

export interface MessageAnswer {
  readonly api: 'anthropic.messages';
  readonly submitted: JobSubmitted;
  readonly id: string;
  readonly hideThinking: boolean;
  /** Of the open block, or of the next one. */
  readonly index: number;
  readonly open: 'text' | 'thinking' | null;
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

/** Ends the open block, if there is one. */
function close(answer: MessageAnswer): [MessageAnswer, string[]] {
  const { open, index, text, thought, submitted } = answer;
  if (open === null) return [answer, []];
  const signature = `auxot:${digestOf(digestText(thought, `${submitted.jobId}/${index}`))}`;
  const block: ContentBlock =
    open === 'text' ? { type: 'text', text } : { type: 'thinking', thinking: text, signature };
  const stop = messageEvents.blockStop(index);
  const frames = open === 'text' ? [stop] : [messageEvents.signature(index, signature), stop];
  const { stream } = submitted.answer;
  return [
    {
      ...answer,
      open: null,
      index: index + 1,
      thought: emptyDigest,
      text: '',
      blocks: stream ? answer.blocks : [...answer.blocks, block],
    },
    stream ? frames : [],
  ];
}

function completed(answer: MessageAnswer, event: JobCompleted): [MessageAnswer, Shown] {
  const [closed, frames] = close(answer);
  const { id, submitted, index } = closed;
  const calls = (event.toolCalls ?? []).map(call => blockOf(call, submitted.jobId));
  const stopReason = stopReasonOf(event, calls);
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
  // The log names calls that came without an id in the words of the other API.
  const ours = `call_${jobId.slice(-16)}_`;
  return { type: 'tool_use', id: id.startsWith(ours) ? id.replace('call_', 'toolu_') : id, name, input };
}

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
  if (calls.some(({ type }) => type === 'tool_use')) return 'tool_use';
  if (event.finishReason === 'length')
    return event.contextFull === true ? 'model_context_window_exceeded' : 'max_tokens';
  return event.stopSequence === undefined ? 'end_turn' : 'stop_sequence';
}

const tailOf = (jobId: string): string => jobId.slice(jobId.lastIndexOf('-') + 1);
