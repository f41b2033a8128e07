/**
 * The OpenAI Responses API as we answer it: whole responses and stream events, as pure functions. What callers may send
 * is in responses-api.request.ts.
 *
 * What stays true: the same arguments give the same bytes, so a response can be projected from the log again; every key
 * that the official types require is always there; every event repeats its type inside its data.
 */
import { codeOf } from './codes.ts';
import { beyondContext } from './context-overflow.ts';
import type { JobSubmitted, TokenLogprob, Usage } from './job-events.ts';
import { responseIdOf } from './responses-api.ids.ts';
import type { CallItem, OutputItem, TextPart } from './responses-api.items.ts';

export {
  type Histories,
  type History,
  type ParsedResponseRequest,
  parseResponseCount,
  parseResponseRequest,
  referencesIn,
} from './responses-api.request.ts';

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

export interface ResponseError {
  readonly code: string;
  readonly message: string;
}

/** Everything about a response that its request does not say. */
export interface ResponseState {
  readonly status: ResponseStatus;
  readonly output: readonly OutputItem[];
  readonly error: ResponseError | null;
  readonly usage: Usage | null;
  /** Of the job's end; null before. Epoch ms. */
  readonly endedAt: number | null;
}

/** A response in one piece. */
export function responseBody(submitted: JobSubmitted, { status, output, error, usage, endedAt }: ResponseState) {
  const { jobId, at, request, answer } = submitted;
  const shape = answer.api === 'openai.responses' ? answer : null;
  const instructions = shape?.instructed === true ? request.messages[0]?.content : null;
  return {
    id: responseIdOf(jobId),
    object: 'response',
    created_at: seconds(at),
    status,
    background: shape?.background ?? false,
    completed_at: status === 'completed' && endedAt !== null ? seconds(endedAt) : null,
    error,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: instructions ?? null,
    max_output_tokens: null,
    metadata: {},
    model: answer.model,
    output,
    parallel_tool_calls: true,
    previous_response_id: shape?.previous ?? null,
    prompt_cache_key: null,
    reasoning: { effort: null, summary: null },
    safety_identifier: null,
    service_tier: 'default',
    store: shape?.store ?? false,
    temperature: 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [
      ...(request.tools ?? []).map(tool => flatTool(tool, shape?.customTools ?? [])),
      ...Object.values(shape?.hosted ?? {}).map(hostedTool),
    ],
    top_logprobs: 0,
    top_p: 1,
    truncation: 'disabled',
    usage: usage === null ? null : responseUsage(usage),
    user: null,
    ...shape?.echo,
  };
}
export type ResponseBody = ReturnType<typeof responseBody>;

const seconds = (at: number): number => Math.floor(at / 1000);

export const responseUsage = ({ input, cached, output, reasoning }: Usage) => ({
  input_tokens: input,
  input_tokens_details: { cached_tokens: cached },
  output_tokens: output,
  output_tokens_details: { reasoning_tokens: reasoning },
  total_tokens: input + output,
});

/** A tool as the log has it, in the spelling of this API. */
function flatTool({ type, function: described }: Readonly<Record<string, unknown>>, custom: readonly string[]): object {
  const about: Readonly<Record<string, unknown>> = typeof described === 'object' ? { ...described } : {};
  const { name, description = null, parameters = null, strict = null } = about;
  return typeof name === 'string' && custom.includes(name)
    ? { type: 'custom', name, description }
    : { type, name, description, parameters, strict };
}

const hostedTool = (type: string): object =>
  type === 'code_interpreter' ? { type, container: { type: 'auto' } } : { type };

/** Without bytes, a token is only a part of a character. */
export const responseLogprobs = (tokens: readonly TokenLogprob[]) =>
  tokens.map(({ token, logprob, bytes = [], top_logprobs: top }) => ({
    token,
    logprob,
    bytes,
    top_logprobs: top.map(({ token, logprob, bytes = [] }) => ({ token, logprob, bytes })),
  }));

/** What a failure is called inside a response: callers know a few names only. */
export function responseError(code: string, message: string): ResponseError {
  if (code === 'context_length_exceeded') return { code, message: beyondContext(message) };
  const { status } = codeOf(code);
  if (status === 429) return { code: 'rate_limit_exceeded', message };
  return { code: status < 500 && status !== 499 ? 'invalid_prompt' : 'server_error', message };
}

/** One event of a stream as an SSE frame. */
const frame = (type: string, sequence: number, fields: object): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence, ...fields })}\n\n`;

/** A token costs the quoting of its text and one join. */
const delta = (type: string, sequence: number, itemId: string, index: number, place: string, text: string): string =>
  `event: ${type}\ndata: {"type":"${type}","sequence_number":${sequence},"item_id":"${itemId}","output_index":${index},${place}"delta":${JSON.stringify(text)}}\n\n`;

/** Where an event's part stands: its item's id, and the item's place in the output. */
export interface At {
  readonly item_id: string;
  readonly output_index: number;
}

/** The events in the order in which they come; `n` is the sequence number. */
export const responseEvents = {
  /** created, queued, in_progress, completed, incomplete or failed. */
  lifecycle: (n: number, what: Exclude<ResponseStatus, 'cancelled'> | 'created', response: ResponseBody): string =>
    frame(`response.${what}`, n, { response }),
  itemAdded: (n: number, output_index: number, item: OutputItem): string =>
    frame('response.output_item.added', n, { output_index, item }),
  itemDone: (n: number, output_index: number, item: OutputItem): string =>
    frame('response.output_item.done', n, { output_index, item }),
  partAdded: (n: number, at: At, part: object): string =>
    frame('response.content_part.added', n, { ...at, content_index: 0, part }),
  partDone: (n: number, at: At, part: object): string =>
    frame('response.content_part.done', n, { ...at, content_index: 0, part }),
  text: (n: number, { item_id, output_index }: At, text: string, logprobs: readonly TokenLogprob[] = []): string => {
    const told = logprobs.length === 0 ? '[]' : JSON.stringify(responseLogprobs(logprobs));
    const place = `"content_index":0,"logprobs":${told},`;
    return delta('response.output_text.delta', n, item_id, output_index, place, text);
  },
  textDone: (n: number, at: At, { text, logprobs }: TextPart): string =>
    frame('response.output_text.done', n, { ...at, content_index: 0, text, logprobs }),
  thought: (n: number, { item_id, output_index }: At, text: string): string =>
    delta('response.reasoning_text.delta', n, item_id, output_index, '"content_index":0,', text),
  thoughtDone: (n: number, at: At, text: string): string =>
    frame('response.reasoning_text.done', n, { ...at, content_index: 0, text }),
  summaryAdded: (n: number, at: At, part: object): string =>
    frame('response.reasoning_summary_part.added', n, { ...at, summary_index: 0, part }),
  summary: (n: number, { item_id, output_index }: At, text: string): string =>
    delta('response.reasoning_summary_text.delta', n, item_id, output_index, '"summary_index":0,', text),
  summaryDone: (n: number, at: At, text: string): string =>
    frame('response.reasoning_summary_text.done', n, { ...at, summary_index: 0, text }),
  summaryPartDone: (n: number, at: At, part: object): string =>
    frame('response.reasoning_summary_part.done', n, { ...at, summary_index: 0, part }),
  call: (n: number, { item_id, output_index }: At, type: CallItem['type'], text: string): string =>
    delta(`response.${callPart[type]}.delta`, n, item_id, output_index, '', text),
  callDone: (n: number, at: At, item: CallItem): string =>
    item.type === 'function_call'
      ? frame(`response.${callPart[item.type]}.done`, n, { ...at, name: item.name, arguments: item.arguments })
      : frame(`response.${callPart[item.type]}.done`, n, { ...at, input: item.input }),
  /** Of a tool that runs while the response is made. */
  hosted: (n: number, at: At, type: string, fields: object): string =>
    frame(`response.${type}`, n, { ...at, ...fields }),
  /**
   * As documented, and once more in a field `error`: that is what makes OpenAI's clients throw. Some programs on top of
   * them look at no event that says so, and would take the half of an answer for all of it.
   */
  error(n: number, { code, message }: ResponseError): string {
    const error = { code, message, param: null };
    return frame('error', n, { ...error, error: { type: 'server_error', ...error } });
  },
} as const;

const callPart = { function_call: 'function_call_arguments', custom_tool_call: 'custom_tool_call_input' } as const;

/** Keeps a quiet connection alive: some callers give up when no event comes, and count no comment as one. */
export const keepAliveEvent = 'event: keepalive\ndata: {"type":"keepalive"}\n\n';

/** The answer to a request to count tokens. */
export const responseTokens = (tokens: number) => ({ object: 'response.input_tokens', input_tokens: tokens }) as const;

export const responseDeleted = (id: string) => ({ id, object: 'response', deleted: true }) as const;
