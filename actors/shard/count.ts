/** A request to count tokens, from bytes to the frame that asks a worker; or the answer that refuses it. */
import { refusalOf } from '../../machines/answer.ts';
import { estimateTokens } from '../../protocol/anthropic-api.count.ts';
import { parseCountRequest } from '../../protocol/anthropic-api.ts';
import { parseResponseCount } from '../../protocol/responses-api.ts';
import type { Effect, ShardInput } from '../../protocol/shard-messages.ts';
import { countFrame, serialiseFrame } from '../../protocol/worker-frames.ts';
import { historiesOf } from './looks.ts';
import { jobsNamedIn, readJson } from './request.ts';

export function countOf(input: Extract<ShardInput, { kind: 'countArrived' }>): Effect {
  const { countId, requestId, api, body, histories } = input;
  const json = readJson(body);
  if (json.ok && api === 'openai.responses' && histories === undefined) {
    const jobIds = jobsNamedIn(json.value);
    if (jobIds.length > 0) return { kind: 'readHistories', input, jobIds };
  }
  const parsed = json.ok ? parse(json.value, input) : json;
  if (!parsed.ok) {
    const { status, headers, body } = refusalOf(api, { ...parsed, requestId });
    return { kind: 'refuseCount', countId, answer: { status, headers, body } };
  }
  const request = parsed.value;
  const frame = serialiseFrame(countFrame(countId, request));
  return { kind: 'countTokens', countId, model: request.model, frame, estimate: estimateTokens(request) };
}

const parse = (body: unknown, { api, histories = [] }: Extract<ShardInput, { kind: 'countArrived' }>) =>
  api === 'openai.responses' ? parseResponseCount(body, historiesOf(histories)) : parseCountRequest(body);
