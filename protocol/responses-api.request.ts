/**
 * A Responses request as callers send it (spec/http-api §8.2), read into the words of the job log.
 *
 * Every known field is honoured, or refused with a message that names it; what only tunes, labels or saves cost
 * (`service_tier`, `prompt_cache_key`, `safety_identifier`, `user`, `text.verbosity`, `truncation`, `include` of what
 * never occurs here) is accepted and has no effect; unknown fields are ignored. `null` means absent, except inside
 * schemas and items, which pass unchanged.
 *
 * Other responses that a request names (`previous_response_id`, `item_reference`) are read from their logs before:
 * `referencesIn` says which, and `histories` brings them.
 */
import Type, { type Static } from 'typebox';
import { answerGrammar, withLent } from './answer-grammar.ts';
import { everyFeature } from './features.ts';
import { defined, fit } from './fit.ts';
import type { RouterTool } from './job-events.tools.ts';
import type { AnswerShape, JobRequest, ResponseAnswerShape } from './job-events.ts';
import { type ChatRequestRefusal, type Features, invalid, type Read, read, unsupported } from './openai-api.refusal.ts';
import { responseOfItem } from './responses-api.ids.ts';
import { type Message, type ReadInput, readInput } from './responses-api.input.ts';
import { type OurTools, type ReadTools, readTools } from './responses-api.tools.ts';
import { check, OpenMap, Raw, StringMap } from './schema.ts';

/** A response that can be gone on from. */
export interface History {
  /** What was asked and answered, without the instructions. */
  readonly messages: readonly Message[];
  /** An item of its input or output; null when it has none of that id. */
  readonly find: (itemId: string) => unknown;
}
/** By the response's id; a text says why it cannot be gone on from. */
export type Histories = ReadonlyMap<string, History | string>;

export type ParsedResponseRequest =
  | {
      readonly ok: true;
      readonly request: JobRequest;
      readonly answer: AnswerShape;
      /** Types of tools and items that have no effect here. */
      readonly ignored: readonly string[];
    }
  | ResponseRefusal;
type ResponseRefusal =
  | ChatRequestRefusal
  | {
      readonly ok: false;
      readonly code: 'previous_response_not_found';
      readonly message: string;
      readonly param: string;
    };

export interface ResponseRequestOptions {
  /** For a request that names no model. */
  readonly modelDefault?: string;
  /** What the workers can do; everything else is refused by name. */
  readonly honours?: Features;
  readonly histories?: Histories;
  /** Tools that the router offers the model beside the caller's, and those that it offers to who asks for them. */
  readonly lent?: readonly RouterTool[];
  readonly hosted?: readonly RouterTool[];
}

const { Optional } = Type;
const Text = Type.String();

/** What a conversation consists of: all that there is to count. */
const conversation = {
  model: Optional(Type.String({ maxLength: 1024 })),
  input: Optional(Type.Union([Text, Type.Array(Raw)])),
  instructions: Optional(Text),
  previous_response_id: Optional(Type.String({ minLength: 1 })),
  tools: Optional(Type.Array(Raw)),
  tool_choice: Optional(Raw),
  parallel_tool_calls: Optional(Type.Boolean()),
  reasoning: Optional(
    Type.Object({ effort: Optional(Text), summary: Optional(Text), generate_summary: Optional(Text) }),
  ),
  text: Optional(Type.Object({ format: Optional(Raw), verbosity: Optional(Text) })),
  truncation: Optional(Type.Union([Type.Literal('auto'), Type.Literal('disabled')])),
  // Known, and refused by name below.
  conversation: Optional(Raw),
  prompt: Optional(Raw),
};
export const ResponseRequest = Type.Object({
  ...conversation,
  stream: Optional(Type.Boolean()),
  store: Optional(Type.Boolean()),
  background: Optional(Type.Boolean()),
  max_output_tokens: Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
  temperature: Optional(Type.Number({ minimum: 0, maximum: 2 })),
  top_p: Optional(Type.Number({ minimum: 0, maximum: 1 })),
  top_logprobs: Optional(Type.Integer({ minimum: 0, maximum: 20 })),
  include: Optional(Type.Array(Text)),
  metadata: Optional(StringMap),
  user: Optional(Text),
  safety_identifier: Optional(Text),
  prompt_cache_key: Optional(Text),
});
type ResponseRequest = Static<typeof ResponseRequest>;
export const CountRequest = Type.Object(conversation);
type Conversation = Static<typeof CountRequest>;

const fitRequest = fit(ResponseRequest, { missing: 'absent' });
const checkRequest = check(ResponseRequest);
const fitCount = fit(CountRequest, { missing: 'absent' });
const checkCount = check(CountRequest);
const none: Features = new Set();
const unread: Histories = new Map();
const notAnObject = invalid(null, 'the body must be a JSON object');
const metadataMax = 16;

/** Ids of the responses whose logs must be read before the request can be. */
export function referencesIn(body: unknown): string[] {
  const ids = new Set<string>();
  if (!isObject(body)) return [];
  if (typeof body.previous_response_id === 'string') ids.add(body.previous_response_id);
  for (const item of Array.isArray(body.input) ? body.input : []) {
    const refers =
      isObject(item) && (item.type === 'item_reference' || (item.type === undefined && item.role === undefined));
    const id = refers && typeof item.id === 'string' ? responseOfItem(item.id) : null;
    if (id !== null) ids.add(id);
  }
  return [...ids];
}

/** Reads the parsed body of a request for a response. */
export function parseResponseRequest(
  body: unknown,
  { modelDefault = '', honours = none, histories = unread, lent = [], hosted = [] }: ResponseRequestOptions = {},
): ParsedResponseRequest {
  if (!isObject(body)) return notAnObject;
  const parsed = checkRequest(fitRequest(body));
  if (!parsed.ok) return misshapen(parsed.path, parsed.message);
  const given = parsed.value;
  const refusal = refusalOf(given);
  if (refusal !== null) return refusal;
  const asked = readConversation(given, honours, histories, { lent, hosted });
  if (!asked.ok) return asked;
  const { messages, tools, format, ignored } = asked.value;
  const wantsLogprobs =
    given.include?.includes('message.output_text.logprobs') === true || (given.top_logprobs ?? 0) > 0;
  if (wantsLogprobs && !honours.has('logprobs'))
    return unsupported(
      (given.top_logprobs ?? 0) > 0 ? 'top_logprobs' : 'include',
      'asks for log probabilities, which the workers of this router do not give',
    );
  const model = given.model === undefined || given.model === '' ? modelDefault : given.model;
  const request = defined<JobRequest>({
    model,
    messages: [...messages],
    ...tools.request,
    responseFormat: format,
    temperature: given.temperature,
    topP: given.top_p,
    maxTokens: given.max_output_tokens,
    logprobs: wantsLogprobs ? true : undefined,
    topLogprobs: wantsLogprobs ? given.top_logprobs : undefined,
    reasoningEffort: given.reasoning?.effort?.toLowerCase(),
  });
  const summary = given.reasoning?.summary ?? given.reasoning?.generate_summary;
  const answer = defined<ResponseAnswerShape>({
    api: 'openai.responses',
    stream: given.stream ?? false,
    model,
    store: given.store ?? true,
    background: given.background === true ? true : undefined,
    instructed: given.instructions === undefined ? undefined : true,
    previous: given.previous_response_id,
    summarises: summary === undefined || summary === 'none' ? undefined : true,
    seals: given.include?.includes('reasoning.encrypted_content') === true ? true : undefined,
    customTools: tools.custom.length > 0 ? [...tools.custom] : undefined,
    namespaced: Object.keys(tools.namespaced).length > 0 ? tools.namespaced : undefined,
    hosted: Object.keys(tools.hosted).length > 0 ? tools.hosted : undefined,
    outputs: given.include?.includes('code_interpreter_call.outputs') === true ? true : undefined,
    sources: given.include?.includes('web_search_call.action.sources') === true ? true : undefined,
    echo: echoOf(given, format),
  });
  return { ok: true, request, answer, ignored };
}

/** Reads the parsed body of a request to count tokens: what a job with this conversation would be asked. */
export function parseResponseCount(
  body: unknown,
  histories: Histories,
): { readonly ok: true; readonly value: JobRequest } | ResponseRefusal {
  if (!isObject(body)) return notAnObject;
  const parsed = checkCount(fitCount(body));
  if (!parsed.ok) return misshapen(parsed.path, parsed.message);
  const refusal = stateRefusal(parsed.value);
  if (refusal !== null) return refusal;
  const asked = readConversation(parsed.value, everyFeature, histories, { lent: [], hosted: [] });
  if (!asked.ok) return asked;
  const { messages, tools } = asked.value;
  return read(defined<JobRequest>({ model: parsed.value.model ?? '', messages: [...messages], ...tools.request }));
}

function misshapen(path: string, message: string): ChatRequestRefusal {
  const param = path.replace(/^\$\.?/, '');
  return invalid(param === '' ? null : param, message);
}

interface Asked {
  readonly messages: readonly Message[];
  readonly tools: ReadTools;
  readonly format: unknown;
  readonly ignored: readonly string[];
}

function readConversation(
  given: Conversation,
  honours: Features,
  histories: Histories,
  ours: OurTools,
): { readonly ok: true; readonly value: Asked } | ResponseRefusal {
  const { input, instructions, previous_response_id: previous } = given;
  if (input === undefined && previous === undefined && instructions === undefined)
    return invalid('input', 'is required');
  const before = previous === undefined ? undefined : (histories.get(previous) ?? notFound(previous));
  if (typeof before === 'string')
    return { ok: false, code: 'previous_response_not_found', message: before, param: 'previous_response_id' };
  const said = readSaid(input, honours, histories);
  if (!said.ok) return said;
  const tools = readTools(given, honours, ours);
  if (!tools.ok) return tools;
  const format = readFormat(given.text?.format, honours);
  if (!format.ok) return format;
  const form = answerGrammar({
    ...withLent(tools.value.request, [...ours.lent, ...ours.hosted]),
    responseFormat: format.value,
  });
  if (!form.ok) return unsupported(spelledHere(form.param), form.why);
  const lead = instructions === undefined ? [] : [{ role: 'system', content: instructions }];
  const talk = [...(before?.messages ?? []), ...said.value.messages];
  // Some callers ask with nothing to see whether anybody is there.
  const messages = [...lead, ...(talk.length > 0 ? talk : [{ role: 'user', content: '' }])];
  return read({
    messages,
    tools: tools.value,
    format: format.value,
    ignored: [...said.value.ignored, ...tools.value.ignored],
  });
}

/** Where it stands in this API: there, formats and tools are flat. */
const spelledHere = (param: string): string =>
  param.replace('response_format.json_schema', 'text.format').replace('].function.', '].');

const notFound = (id: string): string =>
  `there is no response "${id.slice(0, 80)}" to go on from: it was not stored, or is not kept any more (AUXOT_LOG_RETENTION)`;

function readSaid(input: Conversation['input'], honours: Features, histories: Histories): Read<ReadInput> {
  if (input === undefined) return read({ messages: [], ignored: [] });
  if (typeof input === 'string') return read({ messages: [{ role: 'user', content: input }], ignored: [] });
  return readInput(input, 'input', honours, id => {
    const history = histories.get(responseOfItem(id) ?? '');
    return history === undefined || typeof history === 'string' ? null : history.find(id);
  });
}

/** In the form of the chat API, which is that of the log. */
function readFormat(format: unknown, honours: Features): Read<unknown> {
  if (format === undefined || format === null) return read(undefined);
  const at = 'text.format';
  if (!isObject(format)) return invalid(at, 'must be an object');
  if (format.type === 'text') return read(undefined);
  if (format.type !== 'json_object' && format.type !== 'json_schema')
    return invalid(`${at}.type`, 'must be text, json_object or json_schema');
  if (format.type === 'json_schema') {
    const parsed = checkFormat(fitFormat(format));
    if (!parsed.ok) return invalid(at + parsed.path.slice(1), parsed.message);
    if (honours.has('response_format')) return read({ type: 'json_schema', json_schema: parsed.value });
  }
  if (!honours.has('response_format'))
    return unsupported(at, 'other than text is not supported by the workers of this router');
  return read({ type: 'json_object' });
}

const FormatGiven = Type.Object({
  name: Text,
  description: Optional(Text),
  schema: OpenMap,
  strict: Optional(Type.Boolean()),
});
const fitFormat = fit(FormatGiven, { missing: 'absent' });
const checkFormat = check(FormatGiven);

const efforts: ReadonlySet<string> = new Set(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']);

/** What a schema cannot say: rules between fields, and what is known but not done. */
function refusalOf(given: ResponseRequest): ChatRequestRefusal | null {
  const state = stateRefusal(given);
  if (state !== null) return state;
  const effort = given.reasoning?.effort;
  if (effort !== undefined && !efforts.has(effort.toLowerCase()))
    return invalid('reasoning.effort', `must be one of ${[...efforts].join(', ')}`);
  if (given.background === true && given.store === false)
    return invalid('background', 'needs store: a response that nobody waits for must be kept');
  if (Object.keys(given.metadata ?? {}).length > metadataMax)
    return invalid('metadata', `must not have more than ${metadataMax} fields`);
  return null;
}

function stateRefusal({ conversation, prompt }: Conversation): ChatRequestRefusal | null {
  if (conversation !== undefined)
    return unsupported('conversation', 'is not supported: use previous_response_id, or send all of the input');
  if (prompt !== undefined) return unsupported('prompt', 'is not supported: no prompts are kept here, send its text');
  return null;
}

/** What the response says of its request, beside what the log has anyway. */
function echoOf(given: ResponseRequest, format: unknown): Record<string, unknown> {
  const text = given.text ?? {};
  return defined<Record<string, unknown>>({
    text: { ...text, format: format === undefined ? { type: 'text' } : text.format },
    tool_choice: given.tool_choice,
    parallel_tool_calls: given.parallel_tool_calls,
    reasoning: given.reasoning && { effort: given.reasoning.effort ?? null, summary: given.reasoning.summary ?? null },
    max_output_tokens: given.max_output_tokens,
    temperature: given.temperature,
    top_p: given.top_p,
    top_logprobs: given.top_logprobs,
    truncation: given.truncation,
    metadata: given.metadata,
    user: given.user,
    safety_identifier: given.safety_identifier,
    prompt_cache_key: given.prompt_cache_key,
  });
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
