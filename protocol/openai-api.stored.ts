/** Stored chat completions as the OpenAI API shows them: one, a page of them, what one was asked with. */
import type { PageAsked } from './responses-api.input-items.ts';

export type Metadata = Readonly<Record<string, string>>;

const fieldsMax = 16;
const nameCharsMax = 64;
const valueCharsMax = 512;

/** Why it is none; null when it is. */
export function metadataTrouble(metadata: unknown): string | null {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) return 'must be an object of texts';
  const fields = Object.entries(metadata);
  if (fields.length > fieldsMax) return `must not have more than ${fieldsMax} fields`;
  if (fields.some(([name, value]) => name.length > nameCharsMax || typeof value !== 'string'))
    return `must have names of at most ${nameCharsMax} characters, and texts`;
  if (fields.some(([, value]) => String(value).length > valueCharsMax))
    return `must not have texts of more than ${valueCharsMax} characters`;
  return null;
}

export const storedCompletion = (completion: object, metadata: Metadata): object => ({ ...completion, metadata });

export const completionDeleted = (id: string): object => ({ object: 'chat.completion.deleted', id, deleted: true });

/** `items` are all of the page; `hasMore` behind it. */
export const listPage = (items: readonly { readonly id: string }[], hasMore: boolean): object => ({
  object: 'list',
  data: items,
  first_id: items[0]?.id ?? null,
  last_id: items.at(-1)?.id ?? null,
  has_more: hasMore,
});

/** Null when there is no message `after`. */
export function messagesPage(
  id: string,
  messages: readonly Readonly<Record<string, unknown>>[],
  { limit, order, after }: PageAsked,
): object | null {
  const all = messages.map((message, index) => storedMessage(`${id}-${index}`, message));
  if (order === 'desc') all.reverse();
  const start = after === null ? 0 : all.findIndex(message => message.id === after) + 1;
  if (after !== null && start === 0) return null;
  return listPage(all.slice(start, start + limit), all.length > start + limit);
}

/** Content in parts stands in a field of its own. */
function storedMessage(id: string, message: Readonly<Record<string, unknown>>) {
  const { content } = message;
  return Array.isArray(content)
    ? { id, ...message, content: null, content_parts: content }
    : { id, ...message, content: content ?? null, content_parts: null };
}
