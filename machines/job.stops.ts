/**
 * The `stop` texts of a request, kept by the router for workers of version 1, which are not told of them (spec/http-api
 * §8.1 row 3): the answer ends before the first of them, and what may be the beginning of one waits until that is certain.
 *
 * What waits stands in the event that holds it back, so that a job rebuilt from its log knows it.
 */
import { estimateTokens } from '../protocol/anthropic-api.count.ts';
import type { JobCompleted, JobEvent, OutputAppended } from '../protocol/job-events.ts';
import type { Job } from './job.ts';
import { cutAtStop } from './stop-texts.ts';
import { afterAnswer } from './tool-round.decide.ts';

const none: readonly string[] = [];

/** The texts that the router has to look for. */
export const stopsOf = ({ submitted: { request }, state: { context } }: Job): readonly string[] =>
  context.protocol < 2 ? (request.stop ?? none) : none;

/** The event, or what becomes of it: less text, and perhaps the end of the job. */
export function untilStop(job: Job, event: OutputAppended): JobEvent[] {
  const stops = stopsOf(job);
  if (stops.length === 0 || event.kind !== 'text') return [event];
  const { text, held, stopped } = cutAtStop(job.output.held + event.text, stops);
  const said: OutputAppended = { ...event, text, ...(held === '' ? {} : { held }) };
  return stopped === null ? [said] : [said, ...afterAnswer(job, stoppedAt(job, said, stopped))];
}

/** The worker is cut short, so it will not say what it counted: its prompt is estimated. */
function stoppedAt(job: Job, { at, attempt, tokens }: OutputAppended, stopSequence: string): JobCompleted {
  const { output, submitted } = job;
  const { tokensBefore, reasoningTokens: reasoning } = output;
  const usage = {
    input: estimateTokens(submitted.request),
    cached: 0,
    output: Math.max(0, output.tokens - tokensBefore) + tokens,
    reasoning,
  };
  return { type: 'job.completed', at, attempt, finishReason: 'stop', usage, stopSequence, by: 'router' };
}
