/** A caller's request body, from bytes to a job request; or the answer that refuses it. */
import { refusalOf } from '../../machines/answer.ts';
import type { WholeAnswer } from '../../machines/shown.ts';
import { parseMessageRequest } from '../../protocol/anthropic-api.ts';
import { featureMissing, featuresNeeded, featuresOffered, type Offered } from '../../protocol/features.ts';
import type { AnswerShape, JobRequest } from '../../protocol/job-events.ts';
import { parseChatRequest } from '../../protocol/openai-api.ts';
import { parseResponseRequest } from '../../protocol/responses-api.ts';

export type ReadBody =
  | {
      readonly ok: true;
      readonly request: JobRequest;
      readonly answer: AnswerShape;
      /** The job goes on without its caller. */
      readonly background?: boolean;
    }
  | { readonly ok: false; readonly answer: WholeAnswer };

const utf8 = new TextDecoder('utf-8', { fatal: true });

export interface RequestBytes {
  readonly api: AnswerShape['api'];
  readonly body: Uint8Array;
  readonly modelDefault: string;
  readonly requestId: string;
  /** What connected workers can do; with none connected, whoever comes may do anything. */
  readonly offered?: Offered;
}

export function readRequest({ api, body, modelDefault, requestId, offered = [] }: RequestBytes): ReadBody {
  const value = readJson(body);
  const parsed = value.ok ? parse(api, value.value, modelDefault, offered) : value;
  if (!parsed.ok) return { ok: false, answer: refusalOf(api, { ...parsed, requestId }) };
  const missing = featureMissing(featuresNeeded(parsed.request), offered);
  if (missing === null) return parsed;
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

function parse(api: AnswerShape['api'], body: unknown, modelDefault: string, offered: Offered) {
  const honours = featuresOffered(offered);
  switch (api) {
    case 'openai.chat':
      return parseChatRequest(body, { modelDefault, honours });
    case 'anthropic.messages':
      return parseMessageRequest(body, { honours });
    case 'openai.responses':
      return parseResponseRequest(body, { modelDefault, honours });
  }
}
