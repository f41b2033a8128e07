/**
 * How many tokens a conversation has, where no worker can count them: a quarter of its bytes and a few for each message
 * (spec/http-api §4.5). All that a model would read is counted: a client that is told too little lets its conversation
 * grow until it fits no more.
 */

import type { JobRequest } from './job-events.ts';
import { isRecord } from './record.ts';

const bytesPerToken = 4;
const tokensPerMessage = 4;
/** What an image of middling size costs. */
const tokensPerImage = 1500;

export function estimateTokens({ messages, tools = [] }: JobRequest): number {
  const seen: Seen = { bytes: 0, images: 0 };
  // The system prompt is no message of its own in the API that asks.
  const turns = messages.filter(({ role }) => role !== 'system').length;
  for (const { content, reasoning_content: thought, tool_calls: calls } of messages) {
    look(content, seen);
    look(thought, seen);
    for (const called of functionsIn(calls)) look([called.name, called.arguments], seen);
  }
  for (const { name, description, parameters } of functionsIn(tools)) {
    look([name, description], seen);
    if (parameters !== undefined) look(JSON.stringify(parameters), seen);
  }
  const { bytes, images } = seen;
  const ofText = bytes === 0 ? 0 : Math.max(1, Math.floor(bytes / bytesPerToken));
  return ofText + tokensPerMessage * turns + tokensPerImage * images;
}

interface Seen {
  bytes: number;
  images: number;
}

const utf8 = new TextEncoder();

/** Text, or a list of texts and parts. */
function look(value: unknown, seen: Seen): void {
  if (typeof value === 'string') seen.bytes += utf8.encode(value).length;
  else if (Array.isArray(value)) for (const item of value) look(item, seen);
  else if (typeof value === 'object' && value !== null) {
    if ('text' in value) look(value.text, seen);
    else if ('image_url' in value) seen.images += 1;
  }
}

/** The functions that calls or tools name. */
function functionsIn(list: unknown): Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((item: unknown) => (isRecord(item) && isRecord(item.function) ? [item.function] : []));
}
