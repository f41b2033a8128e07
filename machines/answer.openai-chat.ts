/**
 * A chat completion as a fold over the job's events: the same events give the same bytes, always and anywhere.
 *
 * Streamed, each event becomes zero or more SSE frames (spec/http-api §3.3). Not streamed, the events gather into one
 * JSON body (§3.2). Both say the same text: what `output.appended` events hold, in order.
 */
import { type CodeName, codeOf, retryHeaders } from '../protocol/codes.ts';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { type ChunkWriter, chatCompletion, chunkWriter, errorBody, streamDone } from '../protocol/openai-api.ts';
import { failureOf, jsonHeaders, type Shown, type WholeAnswer } from './shown.ts';

export interface ChatAnswer {
  readonly api: 'openai.chat';
  readonly submitted: JobSubmitted;
  readonly created: number;
  readonly includeUsage: boolean;
  readonly writer: ChunkWriter;
  /** Gathered for an answer in one piece; empty in a streamed one, whose text is already out. */
  readonly text: string;
  readonly reasoning: string;
}

const nothing: Shown = { kind: 'nothing' };
const done = `data: ${streamDone}\n\n`;

export function beginChat(submitted: JobSubmitted): ChatAnswer {
  const created = Math.floor(submitted.at / 1000);
  const { answer: shape } = submitted;
  const { model } = shape;
  const includeUsage = shape.api === 'openai.chat' && shape.includeUsage === true;
  const writer = chunkWriter({ id: submitted.jobId, created, model, includeUsage });
  return { api: 'openai.chat', submitted, created, includeUsage, writer, text: '', reasoning: '' };
}

/** The frame that opens a streamed answer. */
export const chatHead = (answer: ChatAnswer): string => frame(answer.writer.role());

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showChat(answer: ChatAnswer, event: JobEvent, opened: boolean): [ChatAnswer, Shown] {
  const streams = answer.submitted.answer.stream;
  switch (event.type) {
    case 'output.appended':
      if (event.text === '') return [answer, nothing];
      if (!streams) return [gathered(answer, event.kind, event.text), nothing];
      return [
        answer,
        frames(
          [frame(event.kind === 'text' ? answer.writer.content(event.text) : answer.writer.reasoning(event.text))],
          false,
        ),
      ];
    case 'job.completed': {
      if (!streams)
        return [answer, { kind: 'whole', status: 200, headers: jsonHeaders, body: chatBody(answer, event) }];
      const last = (event.toolCalls ?? []).map((call, index) => frame(answer.writer.toolCall(index, call)));
      last.push(frame(answer.writer.finish(event.finishReason, event.usage)));
      if (answer.includeUsage) last.push(frame(answer.writer.usage(event.usage)));
      last.push(done);
      return [answer, frames(last, true)];
    }
    case 'job.failed':
    case 'job.expired':
    case 'job.cancelled': {
      const { code, message } = failureOf(event);
      return [answer, failure(code, message, opened)];
    }
    case 'job.submitted':
    case 'job.adopted':
    case 'job.assigned':
    case 'job.requeued':
    case 'job.orphaned':
    case 'job.resumed':
      return [answer, nothing];
  }
}

/** An error as a whole answer, with what clients need to decide whether to try again (§8.1 row 31). */
export function chatRefusal(code: string, message: string, param: string | null = null): WholeAnswer {
  return {
    kind: 'whole',
    status: codeOf(code).status,
    headers: { ...jsonHeaders, ...retryHeaders(code) },
    body: JSON.stringify(errorBody(code as CodeName, message, param)),
  };
}

function failure(code: string, message: string, opened: boolean): Shown {
  const whole = chatRefusal(code, message);
  return opened ? frames([frame(whole.body), done], true) : whole;
}

function chatBody(answer: ChatAnswer, event: Extract<JobEvent, { type: 'job.completed' }>): string {
  return JSON.stringify(
    chatCompletion({
      id: answer.submitted.jobId,
      created: answer.created,
      model: answer.submitted.answer.model,
      text: answer.text,
      reasoning: answer.reasoning,
      toolCalls: event.toolCalls ?? [],
      finishReason: event.finishReason,
      usage: event.usage,
    }),
  );
}

const gathered = (answer: ChatAnswer, kind: 'text' | 'reasoning', text: string): ChatAnswer => ({
  ...answer,
  [kind]: answer[kind] + text,
});

const frame = (json: string): string => `data: ${json}\n\n`;
const frames = (list: readonly string[], last: boolean): Shown => ({ kind: 'frames', frames: list, last });
