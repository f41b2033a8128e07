/**
 * An answer of any API as a fold over the job's events: the one place that knows which APIs there are.
 *
 * Each API is a file of its own (answer.<api>.ts) with three functions: begin, head and show. The same events give the
 * same bytes, always and anywhere.
 */

import type { AnswerShape, JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { beginChat, type ChatAnswer, chatHead, chatRefusal, showChat } from './answer.openai-chat.ts';
import type { Shown, WholeAnswer } from './shown.ts';

export type Answer = ChatAnswer;

export function beginAnswer(submitted: JobSubmitted): Answer {
  switch (submitted.answer.api) {
    case 'openai.chat':
      return beginChat(submitted);
  }
}

/** The frame that opens a streamed answer. It shows no event, so it has no position. */
export function answerHead(answer: Answer): string {
  switch (answer.api) {
    case 'openai.chat':
      return chatHead(answer);
  }
}

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showEvent(answer: Answer, event: JobEvent, opened: boolean): [Answer, Shown] {
  switch (answer.api) {
    case 'openai.chat':
      return showChat(answer, event, opened);
  }
}

/** The whole answer to a request that becomes no job, or to one whose job cannot be shown. */
export function refusalOf(
  api: AnswerShape['api'],
  code: string,
  message: string,
  param: string | null = null,
): WholeAnswer {
  switch (api) {
    case 'openai.chat':
      return chatRefusal(code, message, param);
  }
}
