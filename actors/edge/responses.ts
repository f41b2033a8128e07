/**
 * The routes of the Responses API (spec/http-api §8.2), below the root of the OpenAI API:
 *
 *   POST   responses                    a response, streamed or in one piece, or for later (`background`)
 *   POST   responses/input_tokens       how many tokens its input has
 *   GET    responses/{id}               a stored response as it stands; `?stream=true&starting_after=N`: its events
 *   DELETE responses/{id}
 *   POST   responses/{id}/cancel        ends one that nobody waits for
 *   GET    responses/{id}/input_items   what it was asked with, by pages
 */

import { streamHeaders } from '../../machines/shown.ts';
import { keepAliveEvent, responseTokens } from '../../protocol/responses-api.ts';
import type { ResponseLook } from '../../protocol/shard-messages.ts';
import type { CallerPort } from '../router/ports.ts';
import { answerError, answerJson, answerText, type Exchange } from './answers.ts';
import { authorised, type KeyCheck } from './api-key.ts';
import { attend, type ChatParts, callerOf, takeBody, takeChat } from './chat.ts';
import { jobIdOf } from './jobs.ts';

/** Items on a page when the caller does not say. */
const pageDefault = 20;
const pageMax = 100;

export interface ResponsesParts extends ChatParts {
  readonly checkKey: KeyCheck;
}

/** `method`: GET for HEAD. */
export async function answerResponses(
  exchange: Exchange,
  method: string,
  path: string,
  parts: ResponsesParts,
): Promise<void> {
  const [, id = '', verb = '', ...more] = path.split('/');
  if (!(await authorised(exchange, parts.checkKey))) return;
  if (id === '' && method === 'POST') return takeChat(exchange, parts, 'openai.responses');
  if (id === 'input_tokens' && verb === '' && method === 'POST') return countTokens(exchange, parts);
  const wanted = more.length > 0 ? null : wantedOf(method, verb);
  if (wanted === null || id === '' || id === 'compact')
    return answerError(exchange, 'not_implemented', `${method} /${path.slice(0, 200)} is not implemented here`);
  const jobId = id.startsWith('resp_') ? jobIdOf(id) : null;
  if (jobId === null) return answerError(exchange, 'object_not_found', `there is no response "${id.slice(0, 200)}"`);
  const asked = new URL(exchange.req.url ?? '/', 'http://router').searchParams;
  const look = lookOf(wanted, jobId, asked);
  if ('param' in look) return answerError(exchange, 'invalid_request', look.message, look.param);
  const { front } = parts;
  front.lookArrived(
    {
      respond: (status, headers, body) => answerText(exchange.res, status, headers, body),
      refuse: (code, message) => answerError(exchange, code, message),
      follow: cursor => {
        const { res } = exchange;
        if (res.destroyed || res.closed) return;
        // Clients of this API read a stream without events, and no answer without a body.
        const respond: CallerPort['respond'] = (status, headers, body) =>
          status === 204 ? answerText(res, 200, streamHeaders, '') : answerText(res, status, headers, body);
        const port = callerOf(exchange, { keepAlive: keepAliveEvent, respond });
        const how = { cursor, shape: 'streamed', waits: true } as const;
        attend(exchange, front, front.followArrived(port, jobId, how));
      },
    },
    look,
  );
}

function wantedOf(method: string, verb: string): ResponseLook['what'] | null {
  if (method === 'GET' && verb === '') return 'response';
  if (method === 'GET' && verb === 'input_items') return 'inputItems';
  if (method === 'DELETE' && verb === '') return 'delete';
  return method === 'POST' && verb === 'cancel' ? 'cancel' : null;
}

interface Misasked {
  readonly param: string;
  readonly message: string;
}

function lookOf(what: ResponseLook['what'], jobId: string, asked: URLSearchParams): ResponseLook | Misasked {
  if (what === 'response' && asked.get('stream') === 'true') {
    const after = asked.get('starting_after');
    if (after === null || after === '') return { what: 'stream', jobId, after: null };
    return /^\d{1,9}$/.test(after)
      ? { what: 'stream', jobId, after: Number(after) }
      : { param: 'starting_after', message: 'starting_after must be the sequence_number of an event' };
  }
  if (what === 'stream') return { what, jobId, after: null };
  if (what !== 'inputItems') return { what, jobId };
  const limit = Number(asked.get('limit') ?? pageDefault);
  const order = asked.get('order') ?? 'desc';
  if (!Number.isInteger(limit) || limit < 1 || limit > pageMax)
    return { param: 'limit', message: `limit must be a whole number from 1 to ${pageMax}` };
  if (order !== 'asc' && order !== 'desc') return { param: 'order', message: 'order must be asc or desc' };
  return { what, jobId, page: { limit, order, after: asked.get('after') } };
}

async function countTokens(exchange: Exchange, { front, bodyBytesMax }: ResponsesParts): Promise<void> {
  const { res, requestId } = exchange;
  // Neither the queue nor the log has a part in it.
  const body = await takeBody(exchange, bodyBytesMax, () => {
    const turned = front.turnedAway();
    return turned?.code === 'shutting_down' ? turned : null;
  });
  if (body === null) return;
  front.countArrived(
    {
      counted: tokens => answerJson(exchange, 200, responseTokens(tokens)),
      respond: ({ status, headers, body }) => answerText(res, status, headers, body),
      refuse: (code, message) => answerError(exchange, code, message),
    },
    { api: 'openai.responses', requestId, body },
  );
}
