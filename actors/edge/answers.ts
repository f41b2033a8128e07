/**
 * Whole answers of the HTTP edge. Errors come in the envelope of the API that was called (spec/http-api §2.3, §8.4).
 *
 * An answer may go out before its request has come in. The rest of the request is then read and dropped for a while: a
 * connection closed with unread bytes in it takes the answer away from the caller.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { messageError, messageStatus } from '../../protocol/anthropic-api.ts';
import { type CodeName, codes, retryHeaders } from '../../protocol/codes.ts';
import { errorBody } from '../../protocol/openai-api.ts';
import type { Family } from './paths.ts';

/** One request and its answer. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** In a header of every answer, and in the diagnostics. */
  readonly requestId: string;
  readonly family: Family;
}

/** How much of an unwanted body is read so that its connection can be used again. */
const dropBytesMax = 64 * 1024;
/** How long a caller may go on sending what nobody wants. */
const lingerMs = 2000;

export function answerJson(
  { res }: Pick<Exchange, 'res'>,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  answerText(res, status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value));
}

export function answerText(
  res: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string,
): void {
  if (res.headersSent || res.destroyed) return;
  const { req } = res;
  const bytes = Buffer.from(req.method === 'HEAD' ? '' : body);
  const lingers = !req.complete && !isShort(req);
  const length = status === 204 ? {} : { 'content-length': Buffer.byteLength(body) };
  res.writeHead(status, { ...headers, ...length, ...(lingers ? { connection: 'close' } : {}) });
  if (!lingers) return void res.end(bytes);
  res.write(bytes);
  const end = (): void => void res.end();
  const late = setTimeout(end, lingerMs);
  res.once('close', () => clearTimeout(late));
  req.once('end', end);
  req.resume();
}

/** Whether the body is known to be so short that Node's own way, to read and drop it, is good enough. */
const isShort = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] === undefined &&
  headers.expect === undefined &&
  Number(headers['content-length'] ?? 0) <= dropBytesMax;

export function answerError(
  { res, family, requestId }: Exchange,
  code: CodeName,
  message: string,
  param: string | null = null,
): void {
  const anthropic = family === 'anthropic';
  const status = anthropic ? messageStatus(code) : codes[code].status;
  const body = anthropic ? messageError(code, message, requestId) : errorBody(code, message, param);
  answerJson({ res }, status, body, { ...retryHeaders(code), ...(status === 401 ? bearer : {}) });
}

const bearer = { 'www-authenticate': 'Bearer' } as const;
