/**
 * A chat completion as a fold over the job's events: the same events give the same bytes, always and anywhere.
 *
 * Streamed, each event becomes zero or more SSE frames (spec/http-api §3.3). Not streamed, the events gather into one
 * JSON body (§3.2). Both say the same text: what `output.appended` events hold, in order. Of several choices (`n`), each
 * ends where the log says so; a single one ends with the job.
 */
import { type CodeName, codeOf, retryHeaders } from '../protocol/codes.ts';
import type {
  ChoiceEnd,
  JobCompleted,
  JobEvent,
  JobSubmitted,
  OutputAppended,
  ToolCall,
} from '../protocol/job-events.ts';
import {
  type ChatChoiceParts,
  type ChunkWriter,
  chatCompletion,
  chunkWriter,
  errorBody,
  streamDone,
} from '../protocol/openai-api.ts';
import { callsWith } from './job.output.ts';
import { failureOf, jsonHeaders, type Shown, type Unanswered, type WholeAnswer } from './shown.ts';
import { leftOf } from './streamed-calls.ts';

export interface ChatAnswer {
  readonly api: 'openai.chat';
  readonly submitted: JobSubmitted;
  readonly created: number;
  readonly includeUsage: boolean;
  /** One for each choice. */
  readonly writers: readonly ChunkWriter[];
  /** Gathered for an answer in one piece; without text in a streamed one, whose text is already out. */
  readonly choices: readonly Gathered[];
}

type Gathered = Omit<ChatChoiceParts, 'toolCalls' | 'finishReason'> & {
  readonly end: ChoiceEnd | null;
  /** Said in pieces. */
  readonly calls: readonly ToolCall[];
};

const nothing: Shown = { kind: 'nothing' };
const done = `data: ${streamDone}\n\n`;

export function beginChat(submitted: JobSubmitted): ChatAnswer {
  const created = Math.floor(submitted.at / 1000);
  const { answer: shape, request } = submitted;
  const { model } = shape;
  const includeUsage = shape.api === 'openai.chat' && shape.includeUsage === true;
  const writers = Array.from({ length: request.choices ?? 1 }, (_, choice) =>
    chunkWriter({ id: submitted.jobId, created, model, includeUsage, choice }),
  );
  const unsaid: Gathered = {
    text: '',
    reasoning: '',
    logprobs: request.logprobs === true ? [] : null,
    end: null,
    calls: [],
  };
  return { api: 'openai.chat', submitted, created, includeUsage, writers, choices: writers.map(() => unsaid) };
}

/** The frames that open a streamed answer. They show no event, so they have no position. */
export const chatHead = ({ writers }: ChatAnswer): string => writers.map(writer => frame(writer.role())).join('');

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showChat(answer: ChatAnswer, event: JobEvent, opened: boolean): [ChatAnswer, Shown] {
  const streams = answer.submitted.answer.stream;
  switch (event.type) {
    case 'output.appended':
      return event.text === '' && event.end === undefined && event.call === undefined
        ? [answer, nothing]
        : said(answer, event);
    case 'job.completed': {
      if (!streams)
        return [answer, { kind: 'whole', status: 200, headers: jsonHeaders, body: chatBody(answer, event) }];
      const last = answer.choices.flatMap(({ end }, choice) =>
        end === null ? lastFrames(answer, choice, endOf(event, choice), event) : [],
      );
      const [writer] = answer.writers;
      if (answer.includeUsage && writer !== undefined) last.push(frame(writer.usage(event.usage)));
      last.push(done);
      return [answer, frames(last, true)];
    }
    case 'job.failed':
    case 'job.expired':
    case 'job.cancelled':
      return [answer, chatFailure(event, opened)];
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

/** An error as a whole answer, with what clients need to decide whether to try again (§8.1 row 31). */
export function chatRefusal(code: string, message: string, param: string | null = null): WholeAnswer {
  return {
    kind: 'whole',
    status: codeOf(code).status,
    headers: { ...jsonHeaders, ...retryHeaders(code) },
    body: JSON.stringify(errorBody(code as CodeName, message, param)),
  };
}

/** A job's end without an answer, as OpenAI's older APIs tell it: inside the stream once its head is out. */
export function chatFailure(event: Unanswered, opened: boolean): Shown {
  const { code, message } = failureOf(event);
  const whole = chatRefusal(code, message);
  return opened ? frames([frame(whole.body), done], true) : whole;
}

function said(answer: ChatAnswer, event: OutputAppended): [ChatAnswer, Shown] {
  const { choice = 0, kind, text, logprobs, call, end } = event;
  const writer = answer.writers[choice];
  if (writer === undefined) return [answer, nothing];
  if (!answer.submitted.answer.stream) return [gathered(answer, event), nothing];
  const shown: string[] = [];
  if (text !== '') shown.push(frame(kind === 'text' ? writer.content(text, logprobs) : writer.reasoning(text)));
  if (call !== undefined) shown.push(frame(writer.callPiece(call)));
  if (end === undefined && call === undefined) return [answer, frames(shown, false)];
  const next = gathered(answer, { ...event, text: '', logprobs: [] });
  if (end !== undefined) shown.push(...lastFrames(next, choice, end, null));
  return [next, frames(shown, false)];
}

/** `completed`: the job ends here as well, and its counts are told. */
function lastFrames(
  { writers, choices }: ChatAnswer,
  choice: number,
  { toolCalls = [], finishReason }: ChoiceEnd,
  completed: JobCompleted | null,
): string[] {
  const writer = writers[choice];
  if (writer === undefined) return [];
  const calls = toolCalls.flatMap((call, index) => {
    const left = leftOf(choices[choice]?.calls ?? [], call, index);
    if (left === null) return [];
    return [frame(left.begins ? writer.toolCall(index, call) : writer.callPiece({ index, arguments: left.text }))];
  });
  const counts = choice === writers.length - 1 ? (completed?.usage ?? null) : null;
  return [...calls, frame(writer.finish(finishReason, counts))];
}

function chatBody(answer: ChatAnswer, event: JobCompleted): string {
  return JSON.stringify(
    chatCompletion({
      id: answer.submitted.jobId,
      created: answer.created,
      model: answer.submitted.answer.model,
      choices: answer.choices.map(({ text, reasoning, logprobs, end }, choice) => {
        const { toolCalls = [], finishReason } = end ?? endOf(event, choice);
        return { text, reasoning, logprobs, toolCalls, finishReason };
      }),
      usage: event.usage,
    }),
  );
}

/** Of a choice that did not end before the job. */
const endOf = (event: JobCompleted, choice: number): ChoiceEnd => (choice === 0 ? event : { finishReason: 'stop' });

function gathered(
  answer: ChatAnswer,
  { choice = 0, kind, text, logprobs = [], call, end }: OutputAppended,
): ChatAnswer {
  const choices = answer.choices.map((one, index) =>
    index !== choice
      ? one
      : {
          ...one,
          [kind]: one[kind] + text,
          logprobs: one.logprobs === null ? null : [...one.logprobs, ...logprobs],
          calls: call === undefined ? one.calls : callsWith(one.calls, call),
          end: end ?? one.end,
        },
  );
  return { ...answer, choices };
}

const frame = (json: string): string => `data: ${json}\n\n`;
const frames = (list: readonly string[], last: boolean): Shown => ({ kind: 'frames', frames: list, last });
