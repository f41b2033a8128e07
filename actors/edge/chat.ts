/** Takes a request for an answer in: its body goes to the front unread, and the answer comes from there. */

import type { IncomingMessage } from 'node:http';
import { pingFrame } from '../../protocol/anthropic-api.ts';
import type { CodeName } from '../../protocol/codes.ts';
import type { AnswerShape } from '../../protocol/job-events.ts';
import { keepAliveEvent } from '../../protocol/responses-api.ts';
import type { Front, Turned } from '../router/front.ts';
import type { CallerPort } from '../router/ports.ts';
import { answerError, answerText, type Exchange } from './answers.ts';
import { readBody } from './body.ts';
import { newJobFor, readKey } from './keyed.ts';

/** Of a body that makes no progress. */
const bodyIdleMs = 60_000;

/** No request may hold a slot for longer than this on behalf of nobody. */
const keepMsMax = 10 * 60_000;

/** Of APIs whose clients wait for an event and not just for a byte. */
const keepAlives: Partial<Record<AnswerShape['api'], string>> = {
  'anthropic.messages': pingFrame,
  'openai.responses': keepAliveEvent,
};

export interface ChatParts {
  readonly front: Front;
  readonly bodyBytesMax: number;
  /** How long a job goes on when its caller has gone, and its request does not say. */
  readonly callerGraceMs: number;
  /** Makes the digest under which an `Idempotency-Key` is logged: the key itself stays out of the log. */
  readonly digest: (key: string) => string;
}

export async function takeChat(
  exchange: Exchange,
  parts: ChatParts,
  api: AnswerShape['api'] = 'openai.chat',
): Promise<void> {
  const { req, requestId } = exchange;
  const { front, bodyBytesMax, callerGraceMs } = parts;
  const key = readKey(exchange, api, parts);
  if (key === null) return;
  const keepMs = keepOf(req, callerGraceMs);
  if (keepMs === null) return answerError(exchange, 'invalid_request', 'X-Auxot-Keep must be a number of seconds');
  const body = await takeBody(exchange, bodyBytesMax, () => front.turnedAway());
  if (body === null) return;
  const jobId = key === undefined ? undefined : await newJobFor(exchange, parts, key, body);
  if (jobId === null) return;
  const streamId = front.requestArrived(
    callerOf(exchange, keepAlives[api] === undefined ? {} : { keepAlive: keepAlives[api] }),
    {
      api,
      requestId,
      body,
      ...(jobId === undefined || key === undefined ? {} : { jobId, idempotency: key.digest }),
      ...(keepMs > 0 ? { keepMs } : {}),
    },
  );
  attend(exchange, front, streamId);
}

/** `X-Auxot-Keep`, in seconds: how long the job may go on without its caller. Null when it says nothing that can be meant. */
function keepOf({ headers }: IncomingMessage, fallbackMs: number): number | null {
  const header = headers['x-auxot-keep'];
  if (header === undefined) return fallbackMs;
  return /^\d{1,9}$/.test(String(header)) ? Math.min(Number(header) * 1000, keepMsMax) : null;
}

/** The caller's connection, for the front. */
export function callerOf(
  exchange: Exchange,
  more: Partial<Pick<CallerPort, 'keepAlive' | 'respond'>> = {},
): CallerPort {
  const { res } = exchange;
  return {
    respond: (status, headers, text) => answerText(res, status, headers, text),
    refuse: (code, message) => answerError(exchange, code, message),
    open: (status, headers) => res.writeHead(status, { ...headers }),
    write: text => void res.write(text),
    end: () => res.end(),
    destroy: () => res.destroy(),
    ...more,
    get bufferedBytes() {
      return res.writableLength;
    },
  };
}

/** Tells the front how the connection fares. */
export function attend({ res }: Exchange, front: Front, streamId: number): void {
  res.on('drain', () => front.callerDrained(streamId));
  res.on('close', () => front.callerClosed(streamId));
}

/** The body of a request that `turnedAway` lets in. Null when it was refused, or nobody waits any more. */
export async function takeBody(
  exchange: Exchange,
  bodyBytesMax: number,
  turnedAway: () => Turned | null,
): Promise<Uint8Array | null> {
  const { req, res } = exchange;
  const refuse = (code: CodeName, message: string): null => {
    answerError(exchange, code, message);
    return null;
  };
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    const message = `send the body without content-encoding, not as ${encoding.slice(0, 40)}`;
    return refuse('unsupported_media_type', message);
  }
  const turned = turnedAway();
  if (turned !== null) return refuse(turned.code, turned.message);
  const body = await readBody(req, {
    bytesMax: bodyBytesMax,
    idleMs: bodyIdleMs,
    begin: () => req.headers.expect !== undefined && res.writeContinue(),
  });
  // It took time to come in, and the queue may have filled meanwhile.
  const late = turnedAway();
  if (late !== null) return refuse(late.code, late.message);
  return res.destroyed || res.closed ? null : body;
}
