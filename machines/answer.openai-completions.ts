/**
 * A completion of the older API as a fold over the job's events: the same events give the same bytes, always and anywhere.
 *
 * It has text only: what a model thought is not in it. With `echo`, the prompt comes first. Of several choices (`n`), each
 * ends where the log says so; a single one ends with the job.
 */
import type {
  CompletionAnswerShape,
  JobCompleted,
  JobEvent,
  JobSubmitted,
  OutputAppended,
} from '../protocol/job-events.ts';
import { type CompletionChoice, completionBody } from '../protocol/openai-api.completions.ts';
import { chatFailure } from './answer.openai-chat.ts';
import { jsonHeaders, type Shown } from './shown.ts';

export interface CompletionAnswer {
  readonly api: 'openai.completions';
  readonly submitted: JobSubmitted;
  readonly shape: CompletionAnswerShape;
  /** As far as they have come; in a stream, their length only. */
  readonly choices: readonly (CompletionChoice & { readonly length: number })[];
}

const nothing: Shown = { kind: 'nothing' };
const done = 'data: [DONE]\n\n';

export function beginCompletion(submitted: JobSubmitted, shape: CompletionAnswerShape): CompletionAnswer {
  const { choices = 1, logprobs, prompt = '' } = submitted.request;
  const text = shape.echo === true ? prompt : '';
  const unsaid = { text, length: text.length, finishReason: null, logprobs: logprobs === true ? [] : null };
  return { api: 'openai.completions', submitted, shape, choices: Array.from({ length: choices }, () => unsaid) };
}

/** The frames that open a streamed answer: the prompt, if it is to be repeated. */
export function completionHead({ submitted, shape }: CompletionAnswer): string {
  const begun = beginCompletion(submitted, shape);
  return begun.choices.map(({ text }, index) => (text === '' ? '' : piece(begun, index, text))).join('');
}

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showCompletion(answer: CompletionAnswer, event: JobEvent, opened: boolean): [CompletionAnswer, Shown] {
  switch (event.type) {
    case 'output.appended':
      return said(answer, event);
    case 'job.completed':
      return [answer, completed(answer, event)];
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

function said(answer: CompletionAnswer, event: OutputAppended): [CompletionAnswer, Shown] {
  const { choice = 0, kind, logprobs = [], end } = event;
  const before = answer.choices[choice];
  const text = kind === 'text' ? event.text : '';
  if (before === undefined || (text === '' && end === undefined)) return [answer, nothing];
  const { stream } = answer.shape;
  const after = {
    text: stream ? '' : before.text + text,
    length: before.length + text.length,
    logprobs: before.logprobs === null ? null : stream ? [] : [...before.logprobs, ...logprobs],
    finishReason: end === undefined ? before.finishReason : reasonOf(end.finishReason),
  };
  const next = { ...answer, choices: answer.choices.with(choice, after) };
  if (!stream) return [next, nothing];
  const frames = [
    ...(text === '' ? [] : [piece(answer, choice, text, logprobs)]),
    ...(end === undefined ? [] : [last(answer, choice, reasonOf(end.finishReason), undefined)]),
  ];
  return [next, { kind: 'frames', frames, last: false }];
}

function completed(answer: CompletionAnswer, event: JobCompleted): Shown {
  const { shape, choices } = answer;
  const ofJob = (index: number): 'stop' | 'length' => (index === 0 ? reasonOf(event.finishReason) : 'stop');
  if (!shape.stream) {
    const whole = choices.map((choice, index) => ({
      ...choice,
      index,
      offset: shape.echo === true ? (answer.submitted.request.prompt ?? '').length : 0,
      finishReason: choice.finishReason ?? ofJob(index),
    }));
    const body = JSON.stringify(completionBody(headOf(answer), whole, event.usage));
    return { kind: 'whole', status: 200, headers: jsonHeaders, body };
  }
  const counts = shape.includeUsage === true ? undefined : event.usage;
  const frames = choices.flatMap(({ finishReason }, index) =>
    finishReason === null ? [last(answer, index, ofJob(index), index === choices.length - 1 ? counts : undefined)] : [],
  );
  if (shape.includeUsage === true) frames.push(frame(completionBody(headOf(answer), [], event.usage)));
  return { kind: 'frames', frames: [...frames, done], last: true };
}

function piece(answer: CompletionAnswer, index: number, text: string, logprobs: CompletionChoice['logprobs'] = []) {
  const asked = answer.submitted.request.logprobs === true && (logprobs ?? []).length > 0;
  const choice = { text, index, logprobs: asked ? logprobs : null, finishReason: null };
  const offset = answer.choices[index]?.length ?? 0;
  return frame(completionBody(headOf(answer), [{ ...choice, offset }], noCounts(answer)));
}

function last(
  answer: CompletionAnswer,
  index: number,
  finishReason: 'stop' | 'length',
  usage: JobCompleted['usage'] | undefined,
): string {
  const choice = { text: '', index, offset: 0, logprobs: null, finishReason };
  return frame(completionBody(headOf(answer), [choice], usage ?? noCounts(answer)));
}

/** Every chunk says `usage: null` for those who asked for the counts. */
const noCounts = ({ shape }: CompletionAnswer): null | undefined => (shape.includeUsage === true ? null : undefined);

const headOf = ({ submitted, shape }: CompletionAnswer) => ({
  id: `cmpl-${submitted.jobId.slice(submitted.jobId.lastIndexOf('-') + 1)}`,
  created: Math.floor(submitted.at / 1000),
  model: shape.model,
});

const reasonOf = (reason: JobCompleted['finishReason']): 'stop' | 'length' => (reason === 'length' ? 'length' : 'stop');
const frame = (body: object): string => `data: ${JSON.stringify(body)}\n\n`;
