/**
 * Jobs by their ids, whatever API they were asked in:
 *
 *   GET  /api/jobs/{id}          the answer in one piece; 202 and how it stands while there is none
 *   GET  /api/jobs/{id}/events   the answer streamed, from behind `Last-Event-ID` (or `?starting_after=`)
 *   POST /api/jobs/{id}/cancel   ends it (also DELETE /api/jobs/{id}); says how it stands then
 *
 * An id says which job, and the key that its caller may ask: ids cannot be guessed, and callers share a key.
 */
import type { IncomingMessage } from 'node:http';
import { type Cursor, parseCursor } from '../../protocol/position.ts';
import type { Follow } from '../../protocol/shard-messages.ts';
import type { Front } from '../router/front.ts';
import { answerError, type Exchange } from './answers.ts';
import { authorised, type KeyCheck } from './api-key.ts';
import { attend, callerOf } from './chat.ts';

export interface JobsParts {
  readonly front: Front;
  readonly checkKey: KeyCheck;
}

/** `method`: GET for HEAD. `path`: below `api/jobs/`. */
export async function answerJobs(
  exchange: Exchange,
  method: string,
  path: string,
  { front, checkKey }: JobsParts,
): Promise<void> {
  const [name = '', verb = '', ...more] = path.split('/');
  const cancels = (method === 'POST' && verb === 'cancel') || (method === 'DELETE' && verb === '');
  const reads = method === 'GET' && (verb === '' || verb === 'events');
  if (more.length > 0 || !(cancels || reads))
    return answerError(exchange, 'not_found', `there is nothing at ${method} /api/jobs/${path.slice(0, 200)}`);
  if (!(await authorised(exchange, checkKey))) return;
  const jobId = jobIdOf(name);
  if (jobId === null) return answerError(exchange, 'object_not_found', `"${name.slice(0, 200)}" is no id of a job`);
  if (cancels) return attend(exchange, front, front.cancelArrived(callerOf(exchange), jobId));
  if (verb === '') return follow(exchange, front, jobId, { cursor: null, shape: 'whole', waits: false });
  const cursor = cursorOf(exchange.req);
  if (cursor === 'unreadable') return answerError(exchange, 'invalid_request', unreadableCursor);
  follow(exchange, front, jobId, { cursor, shape: 'streamed', waits: true });
}

export const unreadableCursor =
  'Last-Event-ID (or starting_after) must be the id of an event of this answer, such as 1-17.0 or 1-17.0/2';

/** Goes on with a job's answer. */
export function follow(exchange: Exchange, front: Front, jobId: string, how: Follow): void {
  attend(exchange, front, front.followArrived(callerOf(exchange), jobId, how));
}

/** Where the caller says that it stands; null when it says nothing. */
export function cursorOf({ headers, url }: IncomingMessage): Cursor | 'unreadable' | null {
  const header = headers['last-event-id'];
  const asked = typeof header === 'string' && header !== '' ? header : startingAfter(url ?? '/');
  return asked === null || asked === '' ? null : (parseCursor(asked) ?? 'unreadable');
}

const startingAfter = (url: string): string | null => new URL(url, 'http://router').searchParams.get('starting_after');

/** Each API has a prefix of its own before what names the job. */
export function jobIdOf(name: string): string | null {
  const tail = /^(?:chatcmpl-|cmpl-|msg_|resp_)([0-9a-f]{2}[0-9A-Za-z]{22})$/.exec(name)?.[1];
  return tail === undefined ? null : `chatcmpl-${tail}`;
}
