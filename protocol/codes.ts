/**
 * Every code a person or program may meet, once: HTTP status, WebSocket close code, and whether trying again may help.
 * Codes are API and never change; messages are for people and may.
 */
export interface Code {
  /** HTTP status of an answer that carries the code. */
  readonly status: number;
  /** `error.type` in the OpenAI envelope (spec/http-api §8.4). */
  readonly type: string;
  readonly retryable: boolean;
}

export const codes = {
  invalid_request: { status: 400, type: 'invalid_request_error', retryable: false },
  unsupported_parameter: { status: 400, type: 'invalid_request_error', retryable: false },
  context_length_exceeded: { status: 400, type: 'invalid_request_error', retryable: false },
  previous_response_not_found: { status: 400, type: 'invalid_request_error', retryable: false },
  invalid_api_key: { status: 401, type: 'authentication_error', retryable: false },
  not_found: { status: 404, type: 'not_found', retryable: false },
  model_not_found: { status: 404, type: 'not_found_error', retryable: false },
  object_not_found: { status: 404, type: 'not_found_error', retryable: false },
  deletion_refused: { status: 400, type: 'invalid_request_error', retryable: false },
  request_timeout: { status: 408, type: 'invalid_request_error', retryable: true },
  request_too_large: { status: 413, type: 'invalid_request_error', retryable: false },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', retryable: false },
  /** Not 409, which clients of either API try again. */
  idempotency_conflict: { status: 422, type: 'invalid_request_error', retryable: false },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error', retryable: true },
  queue_full: { status: 429, type: 'rate_limit_error', retryable: true },
  internal_error: { status: 500, type: 'server_error', retryable: false },
  malformed_tool_call: { status: 500, type: 'server_error', retryable: true },
  worker_error: { status: 500, type: 'server_error', retryable: false },
  worker_lost: { status: 500, type: 'server_error', retryable: true },
  poisoned_input: { status: 500, type: 'server_error', retryable: false },
  log_corrupt: { status: 500, type: 'server_error', retryable: false },
  log_full: { status: 500, type: 'server_error', retryable: false },
  not_implemented: { status: 501, type: 'not_implemented', retryable: false },
  cancelled: { status: 499, type: 'server_error', retryable: false },
  store_unavailable: { status: 503, type: 'server_error', retryable: true },
  server_overloaded: { status: 503, type: 'server_error', retryable: true },
  shutting_down: { status: 503, type: 'server_error', retryable: true },
  timeout: { status: 504, type: 'server_error', retryable: true },
} as const satisfies Record<string, Code>;

export type CodeName = keyof typeof codes;

export const isCode = (name: string): name is CodeName => Object.hasOwn(codes, name);

/** What a code means; an unknown one counts as an internal error that may be retried. */
export const codeOf = (name: string): Code =>
  isCode(name) ? codes[name] : { status: 500, type: 'server_error', retryable: true };

/**
 * What tells clients of any API whether to try again (spec/http-api §8.1 row 31). Other 4xx need no word: no client tries
 * them again. A wrong key does: Claude Code takes it for one that ran out, and asks ten times more.
 */
export function retryHeaders(code: string): Readonly<Record<string, string>> {
  const { status, retryable } = codeOf(code);
  if (status === 429 || status === 503) return { 'retry-after': '1' };
  return status === 401 || (status >= 500 && !retryable) ? { 'x-should-retry': 'false' } : {};
}

/** WebSocket close codes of the worker protocol (PROTOCOL.md, Close codes). 4000–4999 are ours (RFC 6455 §7.4.2). */
export const closeCodes = {
  normal: 1000,
  goingAway: 1001,
  messageTooBig: 1009,
  badFrame: 4400,
  badKey: 4401,
  helloTimeout: 4408,
  notHello: 4405,
  helloTooLarge: 4413,
  tooManyConnections: 4429,
  internal: 4500,
  silent: 4504,
  overflow: 4509,
} as const;
