/**
 * A chat completion request as callers send it (spec/http-api §3.1, §8.0–8.1), read into the words of the job log.
 *
 * Every known field is honoured, or refused with a message that names it; what only tunes or labels (`user`,
 * `service_tier`, `verbosity`, cache and safety keys) is accepted and has no effect; unknown fields are ignored,
 * because callers' libraries add some all the time. `null` means absent, except inside schemas, which pass unchanged.
 */
import Type, { type Static } from 'typebox';
import { answerGrammar, withLent } from './answer-grammar.ts';
import { defined, fit } from './fit.ts';
import type { RouterTool } from './job-events.tools.ts';
import type { AnswerShape, JobRequest } from './job-events.ts';
import { readMessages } from './openai-api.messages.ts';
import { type ChatRequestRefusal, type Features, invalid, unsupported } from './openai-api.refusal.ts';
import { type Metadata, metadataTrouble } from './openai-api.stored.ts';
import { readTools } from './openai-api.tools.ts';
import { check, Int, OpenMap, Raw } from './schema.ts';

export type ParsedChatRequest =
  | { readonly ok: true; readonly request: JobRequest; readonly answer: AnswerShape }
  | ChatRequestRefusal;

export interface ChatRequestOptions {
  /** For a request that names no model. */
  readonly modelDefault?: string;
  /** What the workers can do; everything else is refused by name. */
  readonly honours?: Features;
  /** Tools that the router offers the model beside the caller's: the caller may choose among these, too. */
  readonly lent?: readonly RouterTool[];
}

const { Optional } = Type;
const between = (minimum: number, maximum: number) => Optional(Type.Number({ minimum, maximum }));
const Text = Type.String();

const ToolCallGiven = Type.Object({
  id: Optional(Text),
  type: Optional(Text),
  function: Optional(Type.Object({ name: Text, arguments: Text })),
});

const MessageGiven = Type.Object({
  role: Text,
  content: Optional(Raw),
  name: Optional(Text),
  tool_calls: Optional(Type.Array(ToolCallGiven)),
  tool_call_id: Optional(Text),
  reasoning_content: Optional(Text),
});
export type MessageGiven = Static<typeof MessageGiven>;

const functionFields = {
  name: Text,
  description: Optional(Text),
  parameters: Optional(OpenMap),
  strict: Optional(Type.Boolean()),
};
/** Nested as documented, or flat (`name` beside `type`), as some editors send it. */
const ToolGiven = Type.Object({
  type: Optional(Text),
  function: Optional(Type.Object(functionFields)),
  ...functionFields,
  name: Optional(Text),
});
export type ToolGiven = Static<typeof ToolGiven>;

export const ChatRequest = Type.Object({
  // It is said again in every chunk of the answer.
  model: Optional(Type.String({ maxLength: 1024 })),
  messages: Type.Array(MessageGiven, { minItems: 1 }),
  stream: Optional(Type.Boolean()),
  stream_options: Optional(Type.Object({ include_usage: Optional(Type.Boolean()) })),
  temperature: between(0, 2),
  top_p: between(0, 1),
  top_k: Optional(Type.Integer({ minimum: -1, maximum: 1_000_000 })),
  min_p: between(0, 1),
  frequency_penalty: between(-2, 2),
  presence_penalty: between(-2, 2),
  repeat_penalty: between(0, 10),
  seed: Optional(Int),
  stop: Optional(Type.Union([Text, Type.Array(Text)])),
  max_tokens: Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
  max_completion_tokens: Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
  n: Optional(Type.Integer({ minimum: 1, maximum: 128 })),
  logprobs: Optional(Type.Boolean()),
  top_logprobs: Optional(Type.Integer({ minimum: 0, maximum: 20 })),
  logit_bias: Optional(
    Type.Unsafe<Record<string, number>>({
      type: 'object',
      additionalProperties: { type: 'number', minimum: -100, maximum: 100 },
    }),
  ),
  reasoning_effort: Optional(Text),
  thinking_budget_tokens: Optional(Type.Integer({ minimum: -1, maximum: Number.MAX_SAFE_INTEGER })),
  response_format: Optional(
    Type.Object({
      type: Text,
      json_schema: Optional(
        Type.Object({
          name: Text,
          description: Optional(Text),
          schema: Optional(OpenMap),
          strict: Optional(Type.Boolean()),
        }),
      ),
    }),
  ),
  tools: Optional(Type.Array(ToolGiven)),
  tool_choice: Optional(Raw),
  parallel_tool_calls: Optional(Type.Boolean()),
  chat_template_kwargs: Optional(OpenMap),
  store: Optional(Type.Boolean()),
  metadata: Optional(Raw),
  // Known, and refused by name below.
  modalities: Optional(Type.Array(Text)),
  audio: Optional(Raw),
  prediction: Optional(Raw),
  web_search_options: Optional(Raw),
  functions: Optional(Raw),
  input: Optional(Raw),
});
export type ChatRequest = Static<typeof ChatRequest>;

const fitRequest = fit(ChatRequest, { missing: 'absent' });
const checkRequest = check(ChatRequest);
const none: Features = new Set();

/** Reads the parsed body of a chat completion request. */
export function parseChatRequest(
  body: unknown,
  { modelDefault = '', honours = none, lent: offered = [] }: ChatRequestOptions = {},
): ParsedChatRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return invalid(null, 'the body must be a JSON object');
  }
  const fitted = fitRequest(body);
  const parsed = checkRequest(fitted);
  if (!parsed.ok) {
    const param = parsed.path.replace(/^\$\.?/, '');
    if (param === 'messages' && 'input' in body) {
      return unsupported('input', 'belongs to the Responses API; this route needs messages');
    }
    return invalid(param === '' ? null : param, parsed.message);
  }
  const given = parsed.value;
  const refusal = refusalOf(given, honours);
  if (refusal !== null) return refusal;
  const trouble = given.metadata === undefined ? null : metadataTrouble(given.metadata);
  if (trouble !== null) return invalid('metadata', trouble);
  const messages = readMessages(given.messages, honours);
  if (!messages.ok) return messages;
  // As for one answer only: with several, the router's tools are not offered.
  const lent = (given.n ?? 1) > 1 ? [] : offered;
  const tools = readTools(given, honours, lent);
  if (!tools.ok) return tools;
  const responseFormat = given.response_format?.type === 'text' ? undefined : given.response_format;
  const form = answerGrammar({ ...withLent(tools.value, lent), responseFormat });
  if (!form.ok) {
    const param = form.param.startsWith('response_format') ? 'response_format' : form.param;
    return { ...unsupported(form.param, form.why), param };
  }
  const model = given.model === undefined || given.model === '' ? modelDefault : given.model;
  const request = defined<JobRequest>({
    model,
    messages: messages.value,
    ...tools.value,
    ...sampling(given),
    responseFormat,
    reasoningEffort: given.reasoning_effort?.toLowerCase(),
    // -1 is how llama-server, whose field it is, says that there is none.
    thinkingBudget: given.thinking_budget_tokens === -1 ? undefined : given.thinking_budget_tokens,
    templateOptions: given.chat_template_kwargs,
  });
  const answer = defined<AnswerShape>({
    api: 'openai.chat',
    stream: given.stream ?? false,
    model,
    includeUsage: given.stream_options?.include_usage === true ? true : undefined,
    ...(given.store === true ? { store: true, metadata: given.metadata as Metadata | undefined } : {}),
  });
  return { ok: true, request, answer };
}

function sampling(given: ChatRequest): Partial<JobRequest> {
  const stop = typeof given.stop === 'string' ? [given.stop] : given.stop;
  return defined<Partial<JobRequest>>({
    temperature: given.temperature,
    topP: given.top_p,
    // Engines know both −1 and 0 as "all tokens"; older ones only 0.
    topK: given.top_k === -1 ? 0 : given.top_k,
    minP: given.min_p,
    repeatPenalty: given.repeat_penalty,
    frequencyPenalty: given.frequency_penalty,
    presencePenalty: given.presence_penalty,
    seed: given.seed,
    stop: stop?.length === 0 ? undefined : stop,
    maxTokens: given.max_completion_tokens ?? given.max_tokens,
    choices: given.n === 1 ? undefined : given.n,
    logprobs: given.logprobs === true ? true : undefined,
    topLogprobs: given.logprobs === true ? given.top_logprobs : undefined,
    logitBias: given.logit_bias,
  });
}

const efforts: ReadonlySet<string> = new Set(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']);
const stopsMax = 16;
const choicesMax = 8;
const notYet = 'is not supported by the workers of this router';

/** What a schema cannot say: rules between fields, and what is known but not done. */
function refusalOf(given: ChatRequest, honours: Features): ChatRequestRefusal | null {
  const { stop, response_format: format, reasoning_effort: effort } = given;
  const stops = typeof stop === 'string' ? [stop] : (stop ?? []);
  if (stops.length > stopsMax) return invalid('stop', `must not have more than ${stopsMax} texts`);
  if (stops.includes('')) return invalid('stop', 'must not hold an empty text');
  if (effort !== undefined && !efforts.has(effort.toLowerCase())) {
    return invalid('reasoning_effort', `must be one of ${[...efforts].join(', ')}`);
  }
  if ((given.top_logprobs ?? 0) > 0 && given.logprobs !== true) {
    return invalid('top_logprobs', 'needs logprobs to be true');
  }
  if (format !== undefined && format.type !== 'text') {
    if (format.type !== 'json_object' && format.type !== 'json_schema') {
      return invalid('response_format.type', 'must be text, json_object or json_schema');
    }
    if (format.type === 'json_schema' && format.json_schema === undefined) {
      return invalid('response_format.json_schema', 'is required');
    }
    if (!honours.has('response_format')) return unsupported('response_format', `other than text ${notYet}`);
  }
  if ((given.n ?? 1) > choicesMax) return unsupported('n', `above ${choicesMax} is not supported`);
  if ((given.n ?? 1) > 1 && !honours.has('n')) return unsupported('n', `above 1 ${notYet}`);
  if (given.logprobs === true && !honours.has('logprobs')) return unsupported('logprobs', notYet);
  if (given.modalities?.some(modality => modality !== 'text'))
    return unsupported('modalities', 'other than text are not supported');
  for (const name of ['audio', 'prediction', 'web_search_options'] as const) {
    if (given[name] !== undefined) return unsupported(name, 'is not supported');
  }
  const noFunctions = given.functions === undefined || (Array.isArray(given.functions) && given.functions.length === 0);
  if (!noFunctions) return unsupported('functions', 'is not supported: use tools');
  return null;
}
