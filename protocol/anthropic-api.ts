/**
 * The Anthropic Messages API as we answer it: whole messages, stream events, model lists and errors, as pure functions.
 * What callers may send is in anthropic-api.request.ts.
 *
 * What stays true: the same arguments give the same bytes, so an answer can be projected from the log again; a block's
 * start always carries its empty fields, because official clients add to them (spec/http-api §4.3).
 */
import { codeOf } from './codes.ts';
import { promptTooLong } from './context-overflow.ts';
import type { Usage } from './job-events.ts';

export { type ParsedMessageRequest, parseCountRequest, parseMessageRequest } from './anthropic-api.request.ts';

export type StopReason = 'end_turn' | 'max_tokens' | 'stop_sequence' | 'tool_use' | 'model_context_window_exceeded';

export type ContentBlock =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thinking'; readonly thinking: string; readonly signature: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; readonly input: object };

/** Prompt tokens that were reused are not in `input_tokens`. */
export const messageUsage = ({ input, cached, output }: Usage) => ({
  input_tokens: Math.max(0, input - cached),
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: cached,
  output_tokens: output,
});

/** A message in one piece. */
export const messageBody = (parts: {
  readonly id: string;
  readonly model: string;
  readonly content: readonly ContentBlock[];
  readonly stopReason: StopReason;
  readonly stopSequence: string | null;
  readonly usage: Usage;
}) => ({
  id: parts.id,
  type: 'message',
  role: 'assistant',
  // An empty list would leave clients without a block to look into.
  content: parts.content.length > 0 ? parts.content : [{ type: 'text', text: '' }],
  model: parts.model,
  stop_reason: parts.stopReason,
  stop_sequence: parts.stopSequence,
  usage: messageUsage(parts.usage),
});

/** The answer to a request to count tokens. */
export const tokensCount = (tokens: number) => ({ input_tokens: tokens });

/** One event of a stream as an SSE frame. */
const frame = (type: string, fields: object = {}): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;

/** Writes the events of one stream, each an SSE frame (spec/http-api §4.4). */
export const messageEvents = {
  /** Token counts are not known before the end: `message_delta` has them. */
  messageStart: (id: string, model: string): string =>
    frame('message_start', {
      message: {
        id,
        type: 'message',
        role: 'assistant',
        content: [],
        model,
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 },
      },
    }),
  ping: (): string => frame('ping'),
  textStart: (index: number): string =>
    frame('content_block_start', { index, content_block: { type: 'text', text: '' } }),
  // A token costs the quoting of its text and one join.
  text: (index: number, text: string): string =>
    `event: content_block_delta\ndata: {"type":"content_block_delta","index":${index},"delta":{"type":"text_delta","text":${JSON.stringify(text)}}}\n\n`,
  thinkingStart: (index: number): string =>
    frame('content_block_start', { index, content_block: { type: 'thinking', thinking: '', signature: '' } }),
  thinking: (index: number, thinking: string): string =>
    `event: content_block_delta\ndata: {"type":"content_block_delta","index":${index},"delta":{"type":"thinking_delta","thinking":${JSON.stringify(thinking)}}}\n\n`,
  signature: (index: number, signature: string): string =>
    frame('content_block_delta', { index, delta: { type: 'signature_delta', signature } }),
  toolUseStart: (index: number, id: string, name: string): string =>
    frame('content_block_start', { index, content_block: { type: 'tool_use', id, name, input: {} } }),
  inputJson: (index: number, json: string): string =>
    frame('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: json } }),
  blockStop: (index: number): string => frame('content_block_stop', { index }),
  messageDelta: (stopReason: StopReason, stopSequence: string | null, usage: Usage): string =>
    frame('message_delta', {
      delta: { stop_reason: stopReason, stop_sequence: stopSequence },
      usage: messageUsage(usage),
    }),
  messageStop: (): string => frame('message_stop'),
  error: (body: MessageError): string => `event: error\ndata: ${JSON.stringify(body)}\n\n`,
} as const;

/** Keeps a quiet connection alive, and tells clients that it is. */
export const pingFrame = messageEvents.ping();

export interface MessageError {
  readonly type: 'error';
  readonly error: { readonly type: string; readonly message: string; readonly details?: object };
  readonly request_id: string;
}

/**
 * The error envelope, for a whole answer and for an event in a stream. `requestId` is in a header, too; `param` is the
 * field that an error is about.
 */
export const messageError = (
  code: string,
  message: string,
  requestId: string,
  param: string | null = null,
): MessageError => ({
  type: 'error',
  error: {
    type: errorTypes[messageStatus(code)] ?? 'api_error',
    message: code === 'context_length_exceeded' ? promptTooLong(message) : message,
    ...(param === 'thread' ? { details: noThreads } : {}),
  },
  request_id: requestId,
});

/** What makes a client that would leave its conversation with the server send all of it instead. */
const noThreads = { error_code: 'thread_unsupported_request' } as const;

/** Clients know an overloaded server by 529 (spec/http-api §8.3 row 28), and wait before they try again. */
export function messageStatus(code: string): number {
  const { status } = codeOf(code);
  return status === 503 || code === 'queue_full' ? 529 : status;
}

const errorTypes: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  422: 'invalid_request_error',
  413: 'request_too_large',
  415: 'invalid_request_error',
  429: 'rate_limit_error',
  501: 'not_implemented_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

export interface ModelInfo {
  readonly id: string;
  readonly type: 'model';
  readonly [field: string]: unknown;
}

/** `createdAt`, epoch seconds, is the start of the router: it must not change from request to request. */
export const modelInfo = (id: string, createdAt: number, contextTokens: number | null): ModelInfo => ({
  id,
  created_at: new Date(createdAt * 1000).toISOString().replace('.000Z', 'Z'),
  display_name: id,
  type: 'model',
  max_input_tokens: contextTokens,
  max_tokens: contextTokens,
  capabilities: null,
  lifecycle: 'active',
  deprecated_at: null,
  retires_at: null,
  line: null,
});

/** A page of a list. `after` and `before` are ids; one that is not in the list gives an empty page. */
export function modelPage(
  models: readonly ModelInfo[],
  { limit, after, before }: { limit: number; after: string | null; before: string | null },
) {
  const at = (id: string | null): number => (id === null ? -1 : models.findIndex(model => model.id === id));
  const first = after === null ? 0 : at(after) < 0 ? models.length : at(after) + 1;
  const last = before === null ? models.length : Math.max(0, at(before));
  const within = models.slice(first, last);
  // Backwards, a page is the end of what stands before the id.
  const data = before === null ? within.slice(0, limit) : within.slice(-limit);
  return {
    data,
    first_id: data[0]?.id ?? null,
    has_more: data.length < within.length,
    last_id: data.at(-1)?.id ?? null,
  };
}
