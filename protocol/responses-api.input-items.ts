/**
 * What a response was asked with, as items of the Responses API. They are made of the messages that the log keeps, so
 * that nothing is kept twice: what earlier responses brought in is among them, and ids are ours.
 */
import type { JobSubmitted } from './job-events.ts';
import { type ItemType, itemIdOf } from './responses-api.ids.ts';
import { callItem, isCustom, thoughtPart } from './responses-api.items.ts';

export interface InputItem {
  readonly type: string;
  readonly id: string;
  readonly [field: string]: unknown;
}

/** In the order in which they were said; without the instructions. */
export function inputItemsOf({ jobId, request, answer }: JobSubmitted): InputItem[] {
  const shape = answer.api === 'openai.responses' ? answer : null;
  const items: InputItem[] = [];
  const add = (type: ItemType, fields: object): void => {
    items.push({ type, id: itemIdOf(type, jobId, `i${items.length}`), ...fields });
  };
  const byCustom = new Set<unknown>();
  for (const message of request.messages.slice(shape?.instructed === true ? 1 : 0)) {
    const { role, content, reasoning_content: thought, tool_calls: calls, tool_call_id: callId } = message;
    if (role === 'tool') {
      const type = byCustom.has(callId) ? 'custom_tool_call_output' : 'function_call_output';
      add(type, { call_id: callId, output: outputOf(content), status: 'completed' });
      continue;
    }
    if (typeof thought === 'string')
      add('reasoning', { summary: [], content: [thoughtPart(thought)], status: 'completed' });
    const parts = partsOf(content, role === 'assistant');
    if (role !== 'assistant' || parts.length > 0) add('message', { role, content: parts, status: 'completed' });
    for (const { id, function: called } of callsIn(calls)) {
      if (isCustom(called.name, shape ?? {})) byCustom.add(id);
      const { type, id: _, ...fields } = callItem('', 'completed', { id, ...called }, shape ?? {});
      add(type, fields);
    }
  }
  return items;
}

interface Call {
  readonly id: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

/** As responses-api.input.ts wrote them. */
const callsIn = (calls: unknown): readonly Call[] => (Array.isArray(calls) ? calls : []);

function partsOf(content: unknown, said: boolean): object[] {
  if (typeof content === 'string') return content === '' && said ? [] : [textOf(content, said)];
  if (!Array.isArray(content)) return [];
  return content.map((part: Readonly<Record<string, unknown>>) =>
    part.type === 'image_url' ? imageOf(part.image_url) : textOf(part.text, said),
  );
}

const textOf = (text: unknown, said: boolean): object =>
  said ? { type: 'output_text', text, annotations: [], logprobs: [] } : { type: 'input_text', text };

const imageOf = (image: unknown): object => ({
  type: 'input_image',
  detail: 'auto',
  file_id: null,
  image_url: typeof image === 'object' && image !== null && 'url' in image ? image.url : null,
});

const outputOf = (content: unknown): unknown => (typeof content === 'string' ? content : partsOf(content, false));

export interface PageAsked {
  readonly limit: number;
  readonly order: 'asc' | 'desc';
  readonly after: string | null;
}

/** A page of them; one that is to follow an id which is not there is null. */
export function inputItemsPage(items: readonly InputItem[], { limit, order, after }: PageAsked) {
  const all = order === 'asc' ? items : [...items].reverse();
  const start = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
  if (after !== null && start === 0) return null;
  const data = all.slice(start, start + limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: start + data.length < all.length,
  };
}
