/**
 * A response of the OpenAI Responses API as a fold over the job's events: the same events give the same bytes, always and
 * anywhere (spec/http-api §8.2).
 *
 * A stream begins with `response.created` and ends with one of `response.completed`, `response.incomplete` and
 * `response.failed`, whatever happens to the job. The items between are those of answer.openai-responses.items.ts.
 * What the fold gathers is the response as it can be asked for at any time.
 */
import type { JobCompleted, JobEvent, JobSubmitted, ResponseAnswerShape, Usage } from '../protocol/job-events.ts';
import {
  type ResponseBody,
  type ResponseError,
  type ResponseStatus,
  responseBody,
  responseError,
  responseEvents,
} from '../protocol/responses-api.ts';
import { chatRefusal } from './answer.openai-chat.ts';
import { hostedBegun, hostedCut, hostedEnded } from './answer.openai-responses.hosted.ts';
import { calling, callsEnded, close, type Items, itemsSoFar, noItems, said } from './answer.openai-responses.items.ts';
import { failureOf, jsonHeaders, type Shown, type WholeAnswer } from './shown.ts';

export interface ResponseAnswer {
  readonly api: 'openai.responses';
  readonly submitted: JobSubmitted;
  readonly shape: ResponseAnswerShape;
  readonly items: Items;
  readonly status: ResponseStatus;
  readonly error: ResponseError | null;
  readonly usage: Usage | null;
  readonly endedAt: number | null;
}

const nothing: Shown = { kind: 'nothing' };

export function beginResponse(submitted: JobSubmitted, shape: ResponseAnswerShape): ResponseAnswer {
  return {
    api: 'openai.responses',
    submitted,
    shape,
    items: noItems(submitted.jobId, shape, headEvents),
    status: shape.background === true ? 'queued' : 'in_progress',
    error: null,
    usage: null,
    endedAt: null,
  };
}

/** Of the frames that open a stream. */
export const headEvents = 2;

/** The frames that open a streamed answer. They show no event, so they have no position. */
export function responseHead({ submitted, shape }: ResponseAnswer): string {
  const begun = beginResponse(submitted, shape);
  const response = responseNow(begun);
  const second = shape.background === true ? 'queued' : 'in_progress';
  return responseEvents.lifecycle(0, 'created', response) + responseEvents.lifecycle(1, second, response);
}

/** The response as it stands. */
export function responseNow({ submitted, items, status, error, usage, endedAt }: ResponseAnswer): ResponseBody {
  const cut = status === 'failed' || status === 'cancelled';
  const output = itemsSoFar(items, cut ? 'incomplete' : 'in_progress');
  return responseBody(submitted, { status, output, error, usage, endedAt });
}

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showResponse(answer: ResponseAnswer, event: JobEvent, opened: boolean): [ResponseAnswer, Shown] {
  switch (event.type) {
    case 'output.appended': {
      if (event.call !== undefined) {
        const [items, list] = calling(answer.items, event.call);
        return shown({ ...answer, items }, list);
      }
      if (event.text === '') return [answer, nothing];
      const [items, list] = said(answer.items, event.kind, event.text, event.logprobs);
      return shown({ ...answer, items }, list);
    }
    case 'job.assigned':
    case 'job.resumed':
    case 'job.moved':
      return answer.status === 'queued' ? began(answer) : [answer, nothing];
    case 'job.completed':
      return completed(answer, event);
    case 'job.failed':
    case 'job.expired':
    case 'job.cancelled':
      return failed(answer, event, opened);
    case 'job.submitted':
    case 'job.adopted':
    case 'job.requeued':
    case 'job.orphaned':
    case 'toolCall.started':
    case 'toolCall.returned':
    case 'toolRound.finished':
      return [answer, nothing];
    case 'toolRound.started': {
      const [items, list] = hostedBegun(answer.items, event.calls);
      return shown({ ...answer, items }, list);
    }
    case 'toolCall.finished': {
      const [items, list] = hostedEnded(answer.items, event);
      return shown({ ...answer, items }, list);
    }
  }
}

const shown = (answer: ResponseAnswer, list: readonly string[], last = false): [ResponseAnswer, Shown] => [
  answer,
  answer.shape.stream && list.length > 0 ? { kind: 'frames', frames: list, last } : nothing,
];

/** A response that nobody waits for is in progress when a worker has it. */
function began(answer: ResponseAnswer): [ResponseAnswer, Shown] {
  const { items } = answer;
  const next = { ...answer, status: 'in_progress', items: { ...items, sequence: items.sequence + 1 } } as const;
  return shown(next, [responseEvents.lifecycle(items.sequence, 'in_progress', responseNow(next))]);
}

function completed(answer: ResponseAnswer, event: JobCompleted): [ResponseAnswer, Shown] {
  const status = event.finishReason === 'length' ? 'incomplete' : 'completed';
  const [items, list] = callsEnded(answer.items, event.toolCalls ?? [], status);
  const ended: ResponseAnswer = {
    ...answer,
    items: { ...items, sequence: items.sequence + 1 },
    status,
    usage: event.usage,
    endedAt: event.at,
  };
  const response = responseNow(ended);
  if (!answer.shape.stream) return [ended, whole(response)];
  return shown(ended, [...list, responseEvents.lifecycle(items.sequence, status, response)], true);
}

/** Before anything was shown, a failure has a status of its own, unless nobody waits for it. */
function failed(
  answer: ResponseAnswer,
  event: Extract<JobEvent, { type: 'job.failed' | 'job.expired' | 'job.cancelled' }>,
  opened: boolean,
): [ResponseAnswer, Shown] {
  const { code, message } = failureOf(event);
  const cancelled = code === 'cancelled';
  const error = cancelled ? null : responseError(code, message);
  const [cut, frames] = hostedCut(answer.items);
  let [items, list] = close(cut, 'incomplete');
  list = [...frames, ...list];
  let n = items.sequence;
  if (error !== null) list = [...list, responseEvents.error(n++, { code: error.code, message })];
  const ended: ResponseAnswer = {
    ...answer,
    items: { ...items, sequence: n + 1 },
    status: cancelled ? 'cancelled' : 'failed',
    error,
    endedAt: event.at,
  };
  const background = answer.shape.background === true;
  if (!answer.shape.stream) return [ended, background ? whole(responseNow(ended)) : chatRefusal(code, message)];
  if (!opened && !background) return [ended, chatRefusal(code, message)];
  return shown(ended, [...list, responseEvents.lifecycle(n, 'failed', responseNow(ended))], true);
}

const whole = (response: ResponseBody): WholeAnswer => ({
  kind: 'whole',
  status: 200,
  headers: jsonHeaders,
  body: JSON.stringify(response),
});

/** What the caller of a response that nobody waits for is told at once; null when it waits. */
export function answeredAtOnce(submitted: JobSubmitted): WholeAnswer | null {
  const { answer: shape } = submitted;
  if (shape.api !== 'openai.responses' || shape.background !== true || shape.stream) return null;
  const answer = whole(responseNow(beginResponse(submitted, shape)));
  return { ...answer, headers: { ...answer.headers, 'x-auxot-job': submitted.jobId } };
}
