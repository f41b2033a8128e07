/** Where a request has its key, and whether it is right. Decided before the body is read (spec/http-api §2.2). */
import type { IncomingMessage } from 'node:http';
import { answerError, type Exchange } from './answers.ts';

/** 'busy' when too many keys wait to be checked. */
export type KeyCheck = (key: string, source: string) => boolean | Promise<boolean | 'busy'>;

/** Says no itself. */
export async function authorised(exchange: Exchange, checkKey: KeyCheck): Promise<boolean> {
  const { req, family } = exchange;
  const keys = keysOf(req, family !== 'openai');
  if (keys.length === 0) {
    const places = family !== 'openai' ? '"x-api-key: <key>" or "Authorization: Bearer <key>"' : bearerPlace;
    answerError(exchange, 'invalid_api_key', `send the API key as ${places}`);
    return false;
  }
  for (const key of keys) {
    const right = await checkKey(key, req.socket.remoteAddress ?? '');
    if (right === true) return true;
    if (right === 'busy') {
      answerError(exchange, 'rate_limit_exceeded', 'too many keys are waiting to be checked; try again shortly');
      return false;
    }
  }
  answerError(exchange, 'invalid_api_key', 'this API key is not valid here');
  return false;
}

const bearerPlace = '"Authorization: Bearer <key>"';

/** Anthropic's clients send either header, and some send both, one of them stale: any right one opens. */
function keysOf({ headers }: IncomingMessage, either: boolean): string[] {
  const { authorization = '' } = headers;
  const bearer = authorization.startsWith('Bearer ') ? authorization.slice('Bearer '.length).trim() : '';
  const own = either ? headers['x-api-key'] : undefined;
  return [...new Set([typeof own === 'string' ? own : '', bearer])].filter(key => key !== '');
}
