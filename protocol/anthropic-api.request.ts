/**
 * A Messages request as callers send it (spec/http-api §4.1, §8.3), read into the words of the job log.
 *
 * Every known field is honoured, or refused with a message that names it; what only tunes, labels or saves cost
 * (`metadata`, `service_tier`, `cache_control`, `container`, a thinking budget, betas) is accepted and has no effect;
 * unknown fields are ignored. `null` means absent, except inside schemas and tool inputs, which pass unchanged.
 */
import Type, { type Static } from 'typebox';
import { answerGrammar, withLent } from './answer-grammar.ts';
import { readMessages, readSystem } from './anthropic-api.messages.ts';
import { readTools } from './anthropic-api.tools.ts';
import { everyFeature } from './features.ts';
import { defined, fit } from './fit.ts';
import type { RouterTool } from './job-events.tools.ts';
import type { AnswerShape, JobRequest, MessageAnswerShape } from './job-events.ts';
import { type ChatRequestRefusal, type Features, invalid, type Read, read, unsupported } from './openai-api.refusal.ts';
import { check, OpenMap, Raw } from './schema.ts';

export type ParsedMessageRequest =
  | { readonly ok: true; readonly request: JobRequest; readonly answer: AnswerShape }
  | ChatRequestRefusal;

export interface MessageRequestOptions {
  /** What the workers can do; everything else is refused by name. */
  readonly honours?: Features;
  /** Tools that the router offers the model beside the caller's: the caller may choose among these, too. */
  readonly lent?: readonly RouterTool[];
}

const { Optional } = Type;
const Text = Type.String();

export const ToolGiven = Type.Object({
  name: Optional(Text),
  type: Optional(Text),
  description: Optional(Text),
  input_schema: Optional(OpenMap),
  strict: Optional(Type.Boolean()),
});
export type ToolGiven = Static<typeof ToolGiven>;

/** What a conversation consists of: all that there is to count. */
const conversation = {
  messages: Type.Array(Type.Object({ role: Text, content: Optional(Raw) }), { minItems: 1 }),
  system: Optional(Raw),
  tools: Optional(Type.Array(ToolGiven)),
  tool_choice: Optional(
    Type.Object({ type: Text, name: Optional(Text), disable_parallel_tool_use: Optional(Type.Boolean()) }),
  ),
  thinking: Optional(
    Type.Object({
      type: Text,
      budget_tokens: Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
      display: Optional(Text),
    }),
  ),
  output_config: Optional(Type.Object({ effort: Optional(Text), format: Optional(Raw) })),
  output_format: Optional(Raw),
  // Known, and refused by name below.
  mcp_servers: Optional(Type.Array(Raw)),
  thread: Optional(Raw),
};

/** `model` and `max_tokens` are required: they are missed below, after `messages`, in the order of the reference. */
export const MessageRequest = Type.Object({
  ...conversation,
  model: Optional(Text),
  max_tokens: Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
  stream: Optional(Type.Boolean()),
  temperature: Optional(Type.Number({ minimum: 0, maximum: 1 })),
  top_p: Optional(Type.Number({ minimum: 0, maximum: 1 })),
  top_k: Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
  stop_sequences: Optional(Type.Array(Text)),
  // Known, and refused by name below.
  compaction: Optional(Raw),
});
/** A request to count the tokens of a conversation needs no model. */
export const CountRequest = Type.Object({ ...conversation, model: Optional(Text) });
type Conversation = Omit<Static<typeof CountRequest>, 'model'>;

const fitMessage = fit(MessageRequest, { missing: 'absent' });
const checkMessage = check(MessageRequest);
const fitCount = fit(CountRequest, { missing: 'absent' });
const checkCount = check(CountRequest);
const none: Features = new Set();
const notAnObject = invalid(null, 'the body must be a JSON object');

/** Reads the parsed body of a request for a message. */
export function parseMessageRequest(
  body: unknown,
  { honours = none, lent = [] }: MessageRequestOptions = {},
): ParsedMessageRequest {
  if (!isObject(body)) return notAnObject;
  const parsed = checkMessage(fitMessage(body));
  if (!parsed.ok) return misshapen(parsed.path, parsed.message);
  const given = parsed.value;
  const { model = '', max_tokens: maxTokens } = given;
  if (model === '') return invalid('model', 'is required');
  if (maxTokens === undefined) return invalid('max_tokens', 'is required');
  if (given.compaction !== undefined) return unsupported('compaction', 'is not supported: ask for a summary instead');
  const asked = readConversation(given, honours, lent);
  if (!asked.ok) return asked;
  const stops = given.stop_sequences ?? [];
  if (stops.length > stopsMax) return invalid('stop_sequences', `must not have more than ${stopsMax} texts`);
  if (stops.includes('')) return invalid('stop_sequences', 'must not hold an empty text');
  const request = defined<JobRequest>({
    model,
    ...asked.value,
    temperature: given.temperature,
    topP: given.top_p,
    topK: given.top_k,
    stop: stops.length > 0 ? stops : undefined,
    maxTokens,
  });
  const answer = defined<MessageAnswerShape>({
    api: 'anthropic.messages',
    stream: given.stream ?? false,
    model,
    hideThinking: given.thinking?.display === 'omitted' ? true : undefined,
  });
  return { ok: true, request, answer };
}

/**
 * Reads the parsed body of a request to count tokens: what a job with this conversation would be asked. What no worker
 * could do has its length all the same.
 */
export function parseCountRequest(body: unknown): Read<JobRequest> {
  if (!isObject(body)) return notAnObject;
  const parsed = checkCount(fitCount(body));
  if (!parsed.ok) return misshapen(parsed.path, parsed.message);
  const asked = readConversation(parsed.value, everyFeature, []);
  return asked.ok ? read({ model: parsed.value.model ?? '', ...asked.value }) : asked;
}

function misshapen(path: string, message: string): ChatRequestRefusal {
  const param = path.replace(/^\$\.?/, '');
  return invalid(param === '' ? null : param, message);
}

function readConversation(
  given: Conversation,
  honours: Features,
  lent: readonly RouterTool[],
): Read<Omit<JobRequest, 'model'>> {
  if ((given.mcp_servers ?? []).length > 0)
    return unsupported('mcp_servers', 'is not supported: no MCP server is called from here');
  if (given.thread !== undefined)
    return unsupported('thread', 'is not supported: no conversation is kept here, send all of its messages');
  const system = readSystem(given.system, 'system');
  if (!system.ok) return system;
  const messages = readMessages(given.messages, honours);
  if (!messages.ok) return messages;
  const tools = readTools(given.tools ?? [], given.tool_choice, honours, lent);
  if (!tools.ok) return tools;
  const effort = readEffort(given);
  if (!effort.ok) return effort;
  const format = readFormat(given, honours);
  if (!format.ok) return format;
  const form = answerGrammar({ ...withLent(tools.value, lent), responseFormat: format.value });
  if (!form.ok) return unsupported(form.param.replace('response_format.json_schema', formatAt(given)), form.why);
  const lead = system.value === '' ? [] : [{ role: 'system', content: system.value }];
  return read(
    defined<Omit<JobRequest, 'model'>>({
      messages: [...lead, ...messages.value],
      ...tools.value,
      reasoningEffort: effort.value,
      thinkingBudget: given.thinking?.type === 'enabled' ? given.thinking.budget_tokens : undefined,
      responseFormat: format.value,
    }),
  );
}

const stopsMax = 64;
const thinkingTypes: ReadonlySet<string> = new Set(['enabled', 'disabled', 'adaptive', 'between_tools']);
/** `max` is the most that workers know. */
const efforts = new Map([
  ['low', 'low'],
  ['medium', 'medium'],
  ['high', 'high'],
  ['xhigh', 'xhigh'],
  ['max', 'xhigh'],
]);

/** `adaptive` and `between_tools` leave it to the model, unless an effort is named. */
function readEffort({ thinking, output_config: config }: Conversation): Read<string | undefined> {
  if (thinking !== undefined && !thinkingTypes.has(thinking.type)) {
    return invalid('thinking.type', `must be one of ${[...thinkingTypes].join(', ')}`);
  }
  if (thinking?.display !== undefined && thinking.display !== 'summarized' && thinking.display !== 'omitted') {
    return invalid('thinking.display', 'must be summarized or omitted');
  }
  const named = config?.effort;
  const effort = named === undefined ? undefined : efforts.get(named);
  if (named !== undefined && effort === undefined) {
    return invalid('output_config.effort', `must be one of ${[...efforts.keys()].join(', ')}`);
  }
  if (thinking?.type === 'disabled') return read('none');
  return read(effort ?? (thinking?.type === 'enabled' ? 'high' : undefined));
}

/** In its place of today, or where it stood before that. */
function readFormat(given: Conversation, honours: Features): Read<unknown> {
  const at = formatAt(given);
  const format = given.output_config?.format ?? given.output_format;
  if (format === undefined) return read(undefined);
  if (!isObject(format) || !('type' in format) || format.type !== 'json_schema') {
    return invalid(`${at}.type`, 'must be json_schema');
  }
  const schema = 'schema' in format ? format.schema : undefined;
  if (!isObject(schema)) return invalid(`${at}.schema`, 'must be an object');
  if (!honours.has('response_format')) return unsupported(at, 'is not supported by the workers of this router');
  return read({ type: 'json_schema', json_schema: { name: 'output', schema, strict: true } });
}

const formatAt = ({ output_config: config }: Conversation): string =>
  config?.format === undefined ? 'output_format' : 'output_config.format';

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
