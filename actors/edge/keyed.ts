/** A request's `Idempotency-Key`, and the job that it stands for. */
import { createHash } from 'node:crypto';
import type { AnswerShape } from '../../protocol/job-events.ts';
import type { Cursor } from '../../protocol/position.ts';
import { answerError, type Exchange } from './answers.ts';
import type { ChatParts } from './chat.ts';
import { cursorOf, follow, unreadableCursor } from './jobs.ts';

export interface RequestKey {
  /** Digest of what the caller sent. */
  readonly digest: string;
  /** The caller had the answer up to here. */
  readonly cursor: Cursor | null;
}

/** Longer keys are no keys: clients send UUIDs. */
const keyCharsMax = 255;

/** Undefined when the request has none; null when it has one that cannot be, which this answers. */
export function readKey(
  exchange: Exchange,
  api: AnswerShape['api'],
  { digest }: Pick<ChatParts, 'digest'>,
): RequestKey | undefined | null {
  const key = exchange.req.headers['idempotency-key'];
  const cursor = cursorOf(exchange.req);
  const refuse = (message: string): null => {
    answerError(exchange, 'invalid_request', message);
    return null;
  };
  if (cursor === 'unreadable') return refuse(unreadableCursor);
  if (typeof key !== 'string' || key === '') {
    return cursor === null
      ? undefined
      : refuse(
          'Last-Event-ID needs the Idempotency-Key of the request that it goes on with (or ask for the job by its id)',
        );
  }
  if (key.length > keyCharsMax) return refuse(`Idempotency-Key is longer than ${keyCharsMax} characters`);
  return { digest: digest(`${api} ${key}`), cursor };
}

/** The id of the job that the request is to become; null when it is one already, or cannot be, which this answers. */
export async function newJobFor(
  exchange: Exchange,
  { front }: Pick<ChatParts, 'front'>,
  { digest, cursor }: RequestKey,
  body: Uint8Array,
): Promise<string | null> {
  const bodyDigest = createHash('sha256').update(body).digest('base64url');
  const found = await front.jobFor(digest, bodyDigest, cursor !== null).catch(() => null);
  if (found === null) {
    answerError(exchange, 'store_unavailable', 'the store cannot say whether this Idempotency-Key is known');
  } else if (found.kind === 'conflict') {
    const message = 'this Idempotency-Key was sent with another body before: send a new one with a new request';
    answerError(exchange, 'idempotency_conflict', message);
  } else if (exchange.res.destroyed) {
    // Nobody waits any more, and no close will be heard.
    if (found.kind === 'new') front.noJobFor(found.jobId);
  } else if (found.kind === 'new') return found.jobId;
  else follow(exchange, front, found.jobId, { cursor, shape: 'asked', waits: true });
  return null;
}
