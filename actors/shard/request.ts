/** A caller's request body, from bytes to a job request; or the answer that refuses it. */
import { refusalOf } from '../../machines/answer.ts';
import type { WholeAnswer } from '../../machines/shown.ts';
import type { AnswerShape, JobRequest } from '../../protocol/job-events.ts';
import { parseChatRequest } from '../../protocol/openai-api.ts';

export type ReadBody =
  | { readonly ok: true; readonly request: JobRequest; readonly answer: AnswerShape }
  | { readonly ok: false; readonly answer: WholeAnswer };

const utf8 = new TextDecoder('utf-8', { fatal: true });

export function readRequest(api: AnswerShape['api'], bytes: Uint8Array, modelDefault: string): ReadBody {
  let body: unknown;
  try {
    body = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const what = bytes.length === 0 ? 'the body is empty' : `the body is not one JSON value in UTF-8: ${why}`;
    return { ok: false, answer: refusalOf(api, 'invalid_request', `invalid JSON: ${what}`) };
  }
  const parsed = parse(api, body, modelDefault);
  if (parsed.ok) return parsed;
  return { ok: false, answer: refusalOf(api, parsed.code, parsed.message, parsed.param) };
}

function parse(api: AnswerShape['api'], body: unknown, modelDefault: string) {
  switch (api) {
    case 'openai.chat':
      return parseChatRequest(body, { modelDefault });
  }
}
