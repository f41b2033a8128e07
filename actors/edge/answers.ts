/** Whole answers of the HTTP edge: errors in the envelope of the API that was called (spec/http-api §2.3). */
import type { ServerResponse } from 'node:http';
import { type CodeName, codes } from '../../protocol/codes.ts';
import { errorBody } from '../../protocol/openai-api.ts';

export function answerJson(
  res: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
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
  const bytes = Buffer.from(body);
  res.writeHead(status, { ...headers, 'content-length': bytes.length });
  res.end(res.req.method === 'HEAD' ? undefined : bytes);
}

export function answerError(res: ServerResponse, code: CodeName, message: string, param: string | null = null): void {
  const { status, retryable } = codes[code];
  const headers: Record<string, string> = {};
  if (status === 429 || status === 503) headers['retry-after'] = '1';
  if (status === 501 || (status >= 500 && !retryable)) headers['x-should-retry'] = 'false';
  if (status === 401) headers['www-authenticate'] = 'Bearer';
  // A body that is still coming in would be read as the next request: the connection ends with this answer.
  if (!res.req.complete) headers.connection = 'close';
  answerJson(res, status, errorBody(code, message, param), headers);
}
