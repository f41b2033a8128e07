/**
 * An answer of any API as a fold over the job's events: the one place that knows which APIs there are.
 *
 * Each API is a file of its own (answer.<api>.ts) with three functions: begin, head and show. The same events give the
 * same bytes, always and anywhere.
 */

import type { AnswerShape, JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { beginMessage, type MessageAnswer, messageHead, messageRefusal, showMessage } from './answer.anthropic.ts';
import { beginChat, type ChatAnswer, chatHead, chatRefusal, showChat } from './answer.openai-chat.ts';
import { beginCompletion, type CompletionAnswer, completionHead, showCompletion } from './answer.openai-completions.ts';
import { beginEmbeddings, type EmbeddingAnswer, showEmbeddings } from './answer.openai-embeddings.ts';
import { beginResponse, type ResponseAnswer, responseHead, showResponse } from './answer.openai-responses.ts';
import type { Shown, WholeAnswer } from './shown.ts';

export type Answer = ChatAnswer | CompletionAnswer | EmbeddingAnswer | MessageAnswer | ResponseAnswer;

export function beginAnswer(submitted: JobSubmitted): Answer {
  switch (submitted.answer.api) {
    case 'openai.chat':
      return beginChat(submitted);
    case 'anthropic.messages':
      return beginMessage(submitted);
    case 'openai.responses':
      return beginResponse(submitted, submitted.answer);
    case 'openai.completions':
      return beginCompletion(submitted, submitted.answer);
    case 'openai.embeddings':
      return beginEmbeddings(submitted, submitted.answer);
  }
}

/** The frames that open a streamed answer: they show `job.submitted`. */
export function answerHead(answer: Answer): string {
  switch (answer.api) {
    case 'openai.chat':
      return chatHead(answer);
    case 'anthropic.messages':
      return messageHead(answer);
    case 'openai.responses':
      return responseHead(answer);
    case 'openai.completions':
      return completionHead(answer);
    case 'openai.embeddings':
      return '';
  }
}

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showEvent(answer: Answer, event: JobEvent, opened: boolean): [Answer, Shown] {
  switch (answer.api) {
    case 'openai.chat':
      return showChat(answer, event, opened);
    case 'anthropic.messages':
      return showMessage(answer, event, opened);
    case 'openai.responses':
      return showResponse(answer, event, opened);
    case 'openai.completions':
      return showCompletion(answer, event, opened);
    case 'openai.embeddings':
      return showEmbeddings(answer, event, opened);
  }
}

/** A request that becomes no job, or one whose job cannot be shown. */
export interface Refused {
  readonly code: string;
  readonly message: string;
  readonly param?: string | null;
  readonly requestId: string;
}

/** The whole answer to it. */
export function refusalOf(api: AnswerShape['api'], { code, message, param = null, requestId }: Refused): WholeAnswer {
  switch (api) {
    case 'openai.chat':
    case 'openai.completions':
    case 'openai.embeddings':
    case 'openai.responses':
      return chatRefusal(code, message, param);
    case 'anthropic.messages':
      return messageRefusal(code, message, requestId, param);
  }
}
