/**
 * Embeddings as a fold over the job's events: nothing is said before they are all there, so an answer is one JSON body.
 * Who follows such a job by its events gets that body as its one event.
 */
import type { EmbeddingAnswerShape, JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { embeddingsBody } from '../protocol/openai-api.embeddings.ts';
import { chatFailure } from './answer.openai-chat.ts';
import { jsonHeaders, type Shown } from './shown.ts';

export interface EmbeddingAnswer {
  readonly api: 'openai.embeddings';
  readonly submitted: JobSubmitted;
  readonly shape: EmbeddingAnswerShape;
}

const done = 'data: [DONE]\n\n';

export const beginEmbeddings = (submitted: JobSubmitted, shape: EmbeddingAnswerShape): EmbeddingAnswer => ({
  api: 'openai.embeddings',
  submitted,
  shape,
});

/** `opened`: the head of a streamed answer is out, so that a failure must be told inside the stream. */
export function showEmbeddings(answer: EmbeddingAnswer, event: JobEvent, opened: boolean): [EmbeddingAnswer, Shown] {
  switch (event.type) {
    case 'job.completed': {
      const body = JSON.stringify(embeddingsBody(answer.shape, event.embeddings ?? [], event.usage));
      if (answer.shape.stream) return [answer, { kind: 'frames', frames: [`data: ${body}\n\n`, done], last: true }];
      return [answer, { kind: 'whole', status: 200, headers: jsonHeaders, body }];
    }
    case 'job.failed':
    case 'job.expired':
    case 'job.cancelled':
      return [answer, chatFailure(event, opened)];
    case 'output.appended':
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
      return [answer, { kind: 'nothing' }];
  }
}
