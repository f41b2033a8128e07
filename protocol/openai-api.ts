/**
 * The OpenAI chat API as we answer it: whole answers, stream chunks, model lists and errors, as pure functions. What
 * callers may send is in openai-api.request.ts.
 *
 * What stays true: the same arguments give the same bytes, so an answer can be projected from the log again; a chunk is
 * one line of JSON, fit for an SSE `data:` field; an error always has all four keys (spec/http-api §2.3).
 */
import { type CodeName, codeOf } from './codes.ts';
import { beyondContext } from './context-overflow.ts';
import type { CallPiece, TokenLogprob, ToolCall, Usage } from './job-events.ts';

export { type ParsedChatRequest, parseChatRequest } from './openai-api.request.ts';

export type FinishReason = 'stop' | 'length' | 'tool_calls';

export interface ChatUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
  /** Not of the official API: what callers of the reference read. Left out when 0, as there. */
  readonly cache_tokens?: number;
}

export const chatUsage = ({ input, cached, output, reasoning }: Usage): ChatUsage => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: { cached_tokens: cached },
  completion_tokens_details: { reasoning_tokens: reasoning },
  ...(cached > 0 ? { cache_tokens: cached } : {}),
});

/** One of the answers that a chat completion has. */
export interface ChatChoiceParts {
  readonly text: string;
  readonly reasoning: string;
  readonly toolCalls: readonly ToolCall[];
  readonly finishReason: FinishReason;
  /** Null when they were not asked for. */
  readonly logprobs: readonly TokenLogprob[] | null;
}

/** Everything that one chat completion consists of. */
export interface ChatAnswerParts {
  readonly id: string;
  /** Epoch seconds. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly ChatChoiceParts[];
  readonly usage: Usage;
}

/** An answer in one piece. Text, reasoning and calls stand beside each other; `content` is null only if there is no text but calls. */
export function chatCompletion(parts: ChatAnswerParts) {
  const { id, created, model, choices, usage } = parts;
  return {
    id,
    object: 'chat.completion',
    created,
    model,
    choices: choices.map(chatChoice),
    usage: chatUsage(usage),
    system_fingerprint: null,
  };
}

function chatChoice({ text, reasoning, toolCalls, finishReason, logprobs }: ChatChoiceParts, index: number) {
  const message = {
    role: 'assistant',
    content: text === '' && toolCalls.length > 0 ? null : text,
    refusal: null,
    annotations: [],
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(chatToolCall) }),
  };
  return { index, message, logprobs: chatLogprobs(logprobs), finish_reason: finishReason };
}

function chatLogprobs(tokens: readonly TokenLogprob[] | null) {
  if (tokens === null) return null;
  const content = tokens.map(({ top_logprobs: top, ...token }) => ({
    ...withBytes(token),
    top_logprobs: top.map(withBytes),
  }));
  return { content, refusal: null };
}

const withBytes = ({ token, logprob, bytes }: Omit<TokenLogprob, 'top_logprobs'>) => ({
  token,
  logprob,
  bytes: bytes ?? null,
});

const chatToolCall = ({ id, name, arguments: text }: ToolCall) => ({
  id,
  type: 'function',
  function: { name, arguments: text },
});

/** Writes the chunks of one stream as JSON text, one line each. */
export interface ChunkWriter {
  /** The first chunk; no other names the role (LangChain JS loses tool calls otherwise). */
  readonly role: () => string;
  readonly content: (text: string, logprobs?: readonly TokenLogprob[]) => string;
  readonly reasoning: (text: string) => string;
  /** One whole call; `index` counts the calls of the answer. */
  readonly toolCall: (index: number, call: ToolCall) => string;
  /** The next piece of a call's arguments; the first has the id and the name. */
  readonly callPiece: (piece: CallPiece) => string;
  /** Several whole calls in one chunk, counted from 0. */
  readonly toolCalls: (calls: readonly ToolCall[]) => string;
  /** `usage` null: it is told elsewhere. */
  readonly finish: (reason: FinishReason, usage: Usage | null) => string;
  /** The chunk without a choice that ends a stream whose caller asked for `include_usage`. */
  readonly usage: (usage: Usage) => string;
}

/**
 * With `includeUsage`, every chunk says `usage: null` and `usage()` has the counts. Without, the finish chunk has them:
 * callers of the reference read them there, and official clients do not mind.
 */
export function chunkWriter(stream: {
  id: string;
  created: number;
  model: string;
  includeUsage: boolean;
  /** Which choice it writes. */
  choice?: number;
}): ChunkWriter {
  const { id, created, model, includeUsage, choice = 0 } = stream;
  // A token costs one string join and the quoting of its text: everything around it is made once.
  const envelope = `${JSON.stringify({ id, object: 'chat.completion.chunk', created, model, system_fingerprint: null }).slice(0, -1)},"choices":[`;
  const head = `${envelope}{"index":${choice},"delta":{`;
  const noUsage = includeUsage ? ',"usage":null}' : '}';
  const tail = `},"logprobs":null,"finish_reason":null}]${noUsage}`;
  const withText = (key: string): ((text: string) => string) => {
    const opening = `${head}"${key}":`;
    return text => opening + JSON.stringify(text) + tail;
  };
  const content = withText('content');
  const withCalls = (calls: readonly object[]): string => `${head}"tool_calls":${JSON.stringify(calls)}${tail}`;
  const anyCount = ({ input, output, cached }: Usage): boolean => input > 0 || output > 0 || cached > 0;
  return {
    role: () => `${head}"role":"assistant","content":"","refusal":null${tail}`,
    content(text, logprobs = []) {
      if (logprobs.length === 0) return content(text);
      const told = JSON.stringify(chatLogprobs(logprobs));
      return `${head}"content":${JSON.stringify(text)}},"logprobs":${told},"finish_reason":null}]${noUsage}`;
    },
    reasoning: withText('reasoning_content'),
    toolCall: (index, call) => withCalls([{ index, ...chatToolCall(call) }]),
    callPiece: ({ index, id, name, arguments: text }) =>
      withCalls([
        id === undefined || name === undefined
          ? { index, function: { arguments: text } }
          : { index, ...chatToolCall({ id, name, arguments: text }) },
      ]),
    toolCalls: calls => withCalls(calls.map((call, index) => ({ index, ...chatToolCall(call) }))),
    finish: (reason, usage) => {
      const counts =
        usage !== null && !includeUsage && anyCount(usage) ? `,"usage":${JSON.stringify(chatUsage(usage))}}` : noUsage;
      return `${head}},"logprobs":null,"finish_reason":"${reason}"}]${counts}`;
    },
    usage: usage => `${envelope}],"usage":${JSON.stringify(chatUsage(usage))}}`,
  };
}

/** `data` of the SSE frame that ends a stream. */
export const streamDone = '[DONE]';

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** Codes that say no more than the status and the type do; clients know them as null (spec/http-api §8.4). */
const generic: ReadonlySet<string> = new Set<CodeName>([
  'invalid_request',
  'not_found',
  'object_not_found',
  'deletion_refused',
  'internal_error',
  'not_implemented',
]);

/** The error envelope, for a whole answer and for a line in a stream. */
export const errorBody = (code: CodeName, message: string, param: string | null = null): ErrorBody => ({
  error: {
    message: code === 'context_length_exceeded' ? beyondContext(message) : message,
    type: codeOf(code).type,
    param,
    code: generic.has(code) ? null : code,
  },
});

export interface ModelObject {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly max_context_length?: number;
  readonly capabilities?: readonly string[];
}

export type ModelDetails = Pick<ModelObject, 'max_context_length' | 'capabilities'>;

/** `created` is the start of the router, in epoch seconds: it must not change from request to request. */
export const modelObject = (id: string, created: number, more: ModelDetails = {}): ModelObject => ({
  id,
  object: 'model',
  created,
  owned_by: 'auxot',
  ...more,
});

export const modelList = (models: readonly ModelObject[]) => ({ object: 'list', data: models }) as const;
