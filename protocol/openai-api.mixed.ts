/**
 * A body in the form of the Responses API that came to the route of chat completions: Cursor asks so in its agent mode.
 * It is read as that API's, and answered as a chat. Fields of both APIs may stand in it; one that has no meaning between
 * the two is refused by name, and never lost.
 */
import { defined } from './fit.ts';
import type { AnswerShape } from './job-events.ts';
import { unsupported } from './openai-api.refusal.ts';
import { type ChatRequestOptions, type ParsedChatRequest, parseChatRequest } from './openai-api.request.ts';
import { parseResponseRequest } from './responses-api.request.ts';

/** Reads the parsed body of a request to the chat route. */
export function parseChatOrInput(body: unknown, options: ChatRequestOptions = {}): ParsedChatRequest {
  if (!isObject(body) || 'messages' in body || !('input' in body)) return parseChatRequest(body, options);
  const misplaced = [...ofChats, ...ofStoredResponses].find(field => body[field] != null && body[field] !== false);
  if (misplaced !== undefined) return unsupported(misplaced, 'cannot stand beside input on this route');
  const parsed = parseResponseRequest(asResponseRequest(body), options);
  if (!parsed.ok) {
    const { code, message, param } = parsed;
    return code === 'previous_response_not_found' ? unsupported('input', message) : { ok: false, code, message, param };
  }
  const { request, answer } = parsed;
  const { stream_options: streamed } = body;
  const shape = defined<AnswerShape>({
    api: 'openai.chat',
    stream: answer.stream,
    model: answer.model,
    includeUsage: isObject(streamed) && streamed.include_usage === true ? true : undefined,
  });
  return { ok: true, request, answer: shape };
}

const ofStoredResponses = ['previous_response_id', 'background', 'conversation'];
const ofChats = [
  'stop',
  'n',
  'seed',
  'logprobs',
  'response_format',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
];

/** Fields that chats spell otherwise get their name there, and tools are flat. */
function asResponseRequest(body: Readonly<Record<string, unknown>>): object {
  const { max_tokens: most, max_completion_tokens: limit = most, reasoning_effort: effort, tools, ...rest } = body;
  return {
    ...(limit === undefined ? {} : { max_output_tokens: limit }),
    ...(effort === undefined ? {} : { reasoning: { effort } }),
    ...(Array.isArray(tools) ? { tools: tools.map(flat) } : {}),
    ...rest,
    store: false,
  };
}

function flat(tool: unknown): unknown {
  if (!isObject(tool) || !isObject(tool.function)) return tool;
  const { function: described, ...rest } = tool;
  return { ...rest, ...described };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
