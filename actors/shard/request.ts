/** A caller's request body, from bytes to a job request; or the answer that refuses it. */
import { refusalOf } from '../../machines/answer.ts';
import type { WholeAnswer } from '../../machines/shown.ts';
import { parseMessageRequest } from '../../protocol/anthropic-api.ts';
import { featureMissing, featuresNeeded, featuresOffered, type Offered } from '../../protocol/features.ts';
import type { RouterTools } from '../../protocol/job-events.tools.ts';
import type { AnswerShape, JobRequest } from '../../protocol/job-events.ts';
import { parseCompletionRequest } from '../../protocol/openai-api.completions.ts';
import { parseEmbeddingRequest } from '../../protocol/openai-api.embeddings.ts';
import { parseChatOrInput } from '../../protocol/openai-api.mixed.ts';
import { jobOfResponse } from '../../protocol/responses-api.ids.ts';
import { parseResponseRequest, referencesIn } from '../../protocol/responses-api.ts';
import type { JobHistory } from '../../protocol/shard-messages.ts';
import { ineffectiveParam } from '../../protocol/tuning-params.ts';
import { historiesOf } from './looks.ts';

export type ReadBody =
  | {
      readonly ok: true;
      readonly request: JobRequest;
      readonly answer: AnswerShape;
      /** The job goes on without its caller. */
      readonly background?: boolean;
      /** Types of tools and items in the request that have no effect here. */
      readonly ignored?: readonly string[];
    }
  /** The logs of these jobs must be read first. */
  | { readonly ok: 'later'; readonly jobIds: readonly string[] }
  | { readonly ok: false; readonly answer: WholeAnswer };

const utf8 = new TextDecoder('utf-8', { fatal: true });

export interface RequestBytes {
  readonly api: AnswerShape['api'];
  readonly body: Uint8Array;
  readonly modelDefault: string;
  /** Fields without effect are refused. */
  readonly strict?: boolean;
  readonly requestId: string;
  /** Logs of the responses that the request names; absent until they have been read. */
  readonly histories?: readonly JobHistory[];
  /** What connected workers can do; with none connected, whoever comes may do anything. */
  readonly offered?: Offered;
  readonly routerTools?: RouterTools;
  readonly hostedTools?: RouterTools;
}

export function readRequest(given: RequestBytes): ReadBody {
  const { api, body, requestId, histories } = given;
  // Workers that make nothing else do not count for answers in text: with none but them, such a job waits for another.
  const offered = (given.offered ?? []).filter(
    features => api === 'openai.embeddings' || !features.includes('embeddings_only'),
  );
  const input = { ...given, offered };
  const value = readJson(body);
  if (value.ok && api === 'openai.responses' && histories === undefined) {
    const jobIds = jobsNamedIn(value.value);
    if (jobIds.length > 0) return { ok: 'later', jobIds };
  }
  const idle = value.ok && input.strict === true ? ineffectiveParam(api, value.value) : null;
  if (idle !== null) {
    const message = `${idle} has no effect here (AUXOT_STRICT_PARAMS)`;
    return { ok: false, answer: refusalOf(api, { code: 'unsupported_parameter', message, param: idle, requestId }) };
  }
  const parsed = value.ok ? parse(value.value, input) : value;
  if (!parsed.ok) return { ok: false, answer: refusalOf(api, { ...parsed, requestId }) };
  const missing = featureMissing(featuresNeeded(parsed.request), offered);
  if (missing === null) return { ...parsed, background: isBackground(parsed.answer) };
  // Those that could have gone after it was let in.
  if (missing === 'embeddings')
    return {
      ok: false,
      answer: refusalOf(api, { code: 'not_implemented', message: 'no connected worker makes embeddings', requestId }),
    };
  // Each part of it some worker can do, but none can do all of them.
  const message = `${missing} is not supported together with what else the request asks for: no connected worker offers both`;
  return { ok: false, answer: refusalOf(api, { code: 'unsupported_parameter', message, param: missing, requestId }) };
}

type ReadJson = { readonly ok: true; readonly value: unknown } | ({ readonly ok: false } & Refusal);
type Refusal = { readonly code: string; readonly message: string; readonly param: string | null };

export function readJson(bytes: Uint8Array): ReadJson {
  try {
    return { ok: true, value: JSON.parse(utf8.decode(bytes)) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const what = bytes.length === 0 ? 'the body is empty' : `the body is not one JSON value in UTF-8: ${why}`;
    return { ok: false, code: 'invalid_request', message: `invalid JSON: ${what}`, param: null };
  }
}

const isBackground = (answer: AnswerShape): boolean => answer.api === 'openai.responses' && answer.background === true;

/** A request goes on from few others: no more logs are read for one. */
const historiesMax = 32;

/** The jobs of the responses that a request names. */
export function jobsNamedIn(body: unknown): string[] {
  const jobIds = referencesIn(body).map(jobOfResponse);
  return jobIds.filter(jobId => jobId !== null).slice(0, historiesMax);
}

function parse(body: unknown, { api, modelDefault, offered = [], histories = [], ...tools }: RequestBytes) {
  const honours = featuresOffered(offered);
  const lent = tools.routerTools?.offered ?? [];
  const hosted = tools.hostedTools?.offered ?? [];
  switch (api) {
    case 'openai.chat':
      return parseChatOrInput(body, { modelDefault, honours, lent });
    case 'openai.completions':
      return parseCompletionRequest(body, { modelDefault, honours });
    case 'openai.embeddings':
      return parseEmbeddingRequest(body, { modelDefault, honours });
    case 'anthropic.messages':
      return parseMessageRequest(body, { honours, lent });
    case 'openai.responses':
      return parseResponseRequest(body, { modelDefault, honours, histories: historiesOf(histories), lent, hosted });
  }
}
