/**
 * A stored response, looked at later: as it stands, what it was asked with, what another response goes on from, and where
 * in its log an event of its stream stands. All of it is the fold of answer.openai-responses.ts over the job's log.
 */
import { everyFeature } from '../protocol/features.ts';
import type { JobEvent, JobRequest } from '../protocol/job-events.ts';
import type { Cursor, Position } from '../protocol/position.ts';
import { responseIdOf } from '../protocol/responses-api.ids.ts';
import { readInput } from '../protocol/responses-api.input.ts';
import { type InputItem, inputItemsOf } from '../protocol/responses-api.input-items.ts';
import type { History } from '../protocol/responses-api.ts';
import { itemsSoFar } from './answer.openai-responses.items.ts';
import { beginResponse, headEvents, type ResponseAnswer, showResponse } from './answer.openai-responses.ts';
import type { Job } from './job.ts';
import { requestNow } from './tool-round.ts';

export type Log = Iterable<readonly [JobEvent, Position]>;

/** Null for a log of another API, of a response that was not to be stored, or of none. */
export function storedResponse(log: Log): ResponseAnswer | null {
  let answer: ResponseAnswer | null = null;
  for (const [event] of log) {
    answer ??= begun(event);
    if (answer === null) return null;
    [answer] = showResponse(answer, event, true);
  }
  return answer;
}

/** `stream`: as it is shown to somebody who streams it, however it was asked for. */
function begun(event: JobEvent, stream?: boolean): ResponseAnswer | null {
  if (event.type !== 'job.submitted') return null;
  const { answer: shape } = event;
  if (shape.api !== 'openai.responses' || !shape.store) return null;
  return beginResponse(event, stream === undefined ? shape : { ...shape, stream });
}

export const isOver = ({ status }: ResponseAnswer): boolean => status !== 'queued' && status !== 'in_progress';

/** What it was asked with, what came before it included. */
export const inputItems = ({ submitted }: ResponseAnswer): readonly InputItem[] => inputItemsOf(submitted);

/**
 * What another response goes on from; a text says why it cannot be. `job` is the response's own, from the same log: calls
 * that a tools worker ran are part of the conversation, with their results, whether the caller was shown them or not.
 */
export function historyOf(answer: ResponseAnswer, job: Job | null): History | string {
  const { submitted, status, shape } = answer;
  if (status !== 'completed' && status !== 'incomplete')
    return `the response "${responseIdOf(submitted.jobId)}" cannot be gone on from: its status is ${status}`;
  const output = itemsSoFar(answer.items);
  const said = readInput(output, 'output', everyFeature, () => null);
  if (!said.ok) return said.message;
  const rounds = (job?.tools.rounds.length ?? 0) > 0 ? job : null;
  const asked = rounds === null ? submitted.request.messages : requestNow(rounds).messages;
  const last =
    rounds === null ? said.value.messages : said.value.messages.slice(-1).flatMap(each => lastOf(rounds, each));
  return {
    messages: [...asked.slice(shape.instructed === true ? 1 : 0), ...last],
    find: id => [...output, ...inputItemsOf(submitted)].find(item => item.id === id) ?? null,
  };
}

type Message = JobRequest['messages'][number];

/** What was said after the last tool round; `whole` is all that the caller was shown, as one message. */
function lastOf({ output: { text, reasoning } }: Job, whole: Message): Message[] {
  const { reasoning_content: _, ...rest } = whole;
  if (text === '' && reasoning === '' && whole.tool_calls === undefined) return [];
  return [{ ...rest, content: text, ...(reasoning === '' ? {} : { reasoning_content: reasoning }) }];
}

/** Where somebody stands who has the events up to number `sequence`, or as many as there are; null for none. */
export function cursorAfter(log: Log, sequence: number | null): Cursor | null {
  let answer: ResponseAnswer | null = null;
  let shown = headEvents;
  let cursor: Cursor | null = null;
  const wanted = (sequence ?? -1) + 1;
  for (const [event, position] of log) {
    if (answer === null) {
      answer = begun(event, true);
      if (answer === null) return null;
      // The head shows the first event of the log.
      if (wanted < headEvents) return { position, frames: wanted };
      cursor = { position, frames: null };
      continue;
    }
    const [next, frames] = showResponse(answer, event, true);
    answer = next;
    if (frames.kind !== 'frames') continue;
    const left = wanted - shown;
    if (left <= 0) return cursor;
    if (left < frames.frames.length) return { position, frames: left };
    shown += frames.frames.length;
    cursor = { position, frames: null };
  }
  return cursor;
}
