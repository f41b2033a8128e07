/** A request to count tokens, from bytes to the frame that asks a worker; or the answer that refuses it. */
import { refusalOf } from '../../machines/answer.ts';
import { estimateTokens } from '../../protocol/anthropic-api.count.ts';
import { parseCountRequest } from '../../protocol/anthropic-api.ts';
import type { Effect, ShardInput } from '../../protocol/shard-messages.ts';
import { countFrame, serialiseFrame } from '../../protocol/worker-frames.ts';
import { readJson } from './request.ts';

export function countOf({ countId, requestId, body }: Extract<ShardInput, { kind: 'countArrived' }>): Effect {
  const json = readJson(body);
  const parsed = json.ok ? parseCountRequest(json.value) : json;
  if (!parsed.ok) {
    const { status, headers, body } = refusalOf('anthropic.messages', { ...parsed, requestId });
    return { kind: 'refuseCount', countId, answer: { status, headers, body } };
  }
  const request = parsed.value;
  const frame = serialiseFrame(countFrame(countId, request));
  return { kind: 'countTokens', countId, model: request.model, frame, estimate: estimateTokens(request) };
}
