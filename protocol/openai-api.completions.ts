/**
 * The older completions API (spec/http-api §3.4): a prompt that the model goes on with, without a chat template where the
 * worker can do that. What callers may send, and whole answers and chunks as pure functions.
 *
 * As in the chat API, every known field is honoured or refused by name, `null` means absent, and unknown fields are
 * ignored.
 */
import Type from 'typebox';
import { defined, fit } from './fit.ts';
import type { AnswerShape, CompletionAnswerShape, JobRequest, TokenLogprob, Usage } from './job-events.ts';
import { type ChatRequestRefusal, type Features, invalid, unsupported } from './openai-api.refusal.ts';
import { type ChatUsage, chatUsage } from './openai-api.ts';
import { check, Int, Raw } from './schema.ts';

const { Optional } = Type;
const Text = Type.String();
const between = (minimum: number, maximum: number) => Optional(Type.Number({ minimum, maximum }));

export const CompletionRequest = Type.Object({
  model: Optional(Type.String({ maxLength: 1024 })),
  prompt: Optional(Raw),
  stream: Optional(Type.Boolean()),
  stream_options: Optional(Type.Object({ include_usage: Optional(Type.Boolean()) })),
  max_tokens: Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
  temperature: between(0, 2),
  top_p: between(0, 1),
  top_k: Optional(Type.Integer({ minimum: -1, maximum: 1_000_000 })),
  min_p: between(0, 1),
  frequency_penalty: between(-2, 2),
  presence_penalty: between(-2, 2),
  repeat_penalty: between(0, 10),
  seed: Optional(Int),
  stop: Optional(Type.Union([Text, Type.Array(Text)])),
  n: Optional(Type.Integer({ minimum: 1, maximum: 128 })),
  best_of: Optional(Type.Integer({ minimum: 1, maximum: 20 })),
  logprobs: Optional(Type.Integer({ minimum: 0, maximum: 5 })),
  logit_bias: Optional(
    Type.Unsafe<Record<string, number>>({
      type: 'object',
      additionalProperties: { type: 'number', minimum: -100, maximum: 100 },
    }),
  ),
  echo: Optional(Type.Boolean()),
  suffix: Optional(Text),
});

export type ParsedCompletionRequest =
  | { readonly ok: true; readonly request: JobRequest; readonly answer: AnswerShape }
  | ChatRequestRefusal;

const fitRequest = fit(CompletionRequest, { missing: 'absent' });
const checkRequest = check(CompletionRequest);
const stopsMax = 16;
const choicesMax = 8;

/** Reads the parsed body of a completion request. */
export function parseCompletionRequest(
  body: unknown,
  { modelDefault = '', honours = new Set() }: { readonly modelDefault?: string; readonly honours?: Features } = {},
): ParsedCompletionRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return invalid(null, 'the body must be a JSON object');
  const parsed = checkRequest(fitRequest(body));
  if (!parsed.ok) {
    const param = parsed.path.replace(/^\$\.?/, '');
    return invalid(param === '' ? null : param, parsed.message);
  }
  const given = parsed.value;
  const prompt = promptOf(given.prompt);
  if (typeof prompt !== 'string') return prompt;
  const { n = 1, best_of: bestOf = n, logprobs, echo = false } = given;
  const stop = typeof given.stop === 'string' ? [given.stop] : (given.stop ?? []);
  if (stop.length > stopsMax) return invalid('stop', `must not have more than ${stopsMax} texts`);
  if (stop.includes('')) return invalid('stop', 'must not hold an empty text');
  if ((given.suffix ?? '') !== '') return unsupported('suffix', 'is not supported: nothing is filled in here');
  if (bestOf !== n) return unsupported('best_of', 'other than n is not supported');
  if (n > choicesMax) return unsupported('n', `above ${choicesMax} is not supported`);
  if (n > 1 && !honours.has('n')) return unsupported('n', 'above 1 is not supported by the workers of this router');
  if (logprobs !== undefined && !honours.has('logprobs'))
    return unsupported('logprobs', 'is not supported by the workers of this router');
  if (logprobs !== undefined && echo) return unsupported('echo', 'together with logprobs is not supported');
  const model = given.model === undefined || given.model === '' ? modelDefault : given.model;
  const request = defined<JobRequest>({
    model,
    // For a worker that only knows chats.
    messages: [{ role: 'user', content: prompt }],
    prompt,
    temperature: given.temperature,
    topP: given.top_p,
    topK: given.top_k === -1 ? 0 : given.top_k,
    minP: given.min_p,
    repeatPenalty: given.repeat_penalty,
    frequencyPenalty: given.frequency_penalty,
    presencePenalty: given.presence_penalty,
    seed: given.seed,
    stop: stop.length === 0 ? undefined : stop,
    maxTokens: given.max_tokens,
    choices: n === 1 ? undefined : n,
    logprobs: logprobs === undefined ? undefined : true,
    topLogprobs: logprobs,
    logitBias: given.logit_bias,
  });
  const answer = defined<CompletionAnswerShape>({
    api: 'openai.completions',
    stream: given.stream ?? false,
    model,
    includeUsage: given.stream_options?.include_usage === true ? true : undefined,
    echo: echo ? true : undefined,
  });
  return { ok: true, request, answer };
}

/** A text, or a list of one. */
function promptOf(given: unknown): string | ChatRequestRefusal {
  const [only] = Array.isArray(given) ? given : [given];
  if (only === undefined || only === '') return invalid('prompt', 'is required');
  if (Array.isArray(given) && given.length > 1 && typeof only === 'string')
    return unsupported('prompt', 'of several texts is not supported: send a request for each');
  if (typeof only === 'number' || Array.isArray(only))
    return unsupported('prompt', 'of token numbers is not supported: send the text');
  return typeof only === 'string' ? only : invalid('prompt', 'must be string');
}

export interface CompletionChoice {
  readonly text: string;
  readonly finishReason: 'stop' | 'length' | null;
  /** Null when they were not asked for. */
  readonly logprobs: readonly TokenLogprob[] | null;
}

/** What a whole answer and each chunk of a stream have in common. */
export interface CompletionHead {
  readonly id: string;
  /** Epoch seconds. */
  readonly created: number;
  readonly model: string;
}

/** `usage` undefined: the key is left out. `offset`: characters of the choice's text before this. */
export function completionBody(
  { id, created, model }: CompletionHead,
  choices: readonly (CompletionChoice & { readonly index: number; readonly offset: number })[],
  usage: Usage | null | undefined,
) {
  return {
    id,
    object: 'text_completion',
    created,
    model,
    choices: choices.map(({ text, index, offset, logprobs, finishReason }) => ({
      text,
      index,
      logprobs: logprobs === null ? null : completionLogprobs(logprobs, offset),
      finish_reason: finishReason,
    })),
    ...(usage === undefined ? {} : { usage: usage === null ? null : (chatUsage(usage) satisfies ChatUsage) }),
  };
}

function completionLogprobs(tokens: readonly TokenLogprob[], offset: number) {
  let at = offset;
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top_logprobs: top }) =>
      Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: tokens.map(({ token }) => {
      const here = at;
      at += token.length;
      return here;
    }),
  };
}
