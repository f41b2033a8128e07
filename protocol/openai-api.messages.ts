/**
 * The messages of a chat request: roles as models know them, content as text or parts, known fields only. What a model
 * could not see (sound, files, images where no worker sees them) is refused where it stands, never left out.
 */
import { defined } from './fit.ts';
import type { JobRequest } from './job-events.ts';
import { type Features, invalid, type Read, read, readEach, unsupported } from './openai-api.refusal.ts';
import type { MessageGiven } from './openai-api.request.ts';

type Message = JobRequest['messages'][number];

const roles: ReadonlySet<string> = new Set(['system', 'user', 'assistant', 'tool']);

export const readMessages = (given: readonly MessageGiven[], honours: Features): Read<Message[]> =>
  readEach(given, 'messages', (message, at) => readMessage(message, at, honours));

function readMessage(given: MessageGiven, at: string, honours: Features): Read<Message> {
  // Templates of open models know no developer.
  const role = given.role === 'developer' ? 'system' : given.role;
  if (role === 'function') return unsupported(`${at}.role`, 'function is not supported: use tool');
  if (!roles.has(role)) return invalid(`${at}.role`, 'must be system, developer, user, assistant or tool');
  const content = readContent(given.content, role, `${at}.content`, honours);
  if (!content.ok) return content;
  const calls = readEach(given.tool_calls ?? [], `${at}.tool_calls`, readToolCall);
  if (!calls.ok) return calls;
  return read(
    defined<Message>({
      role,
      content: content.value,
      name: given.name,
      tool_calls: calls.value.length > 0 ? calls.value : undefined,
      tool_call_id: given.tool_call_id,
      reasoning_content: given.reasoning_content,
    }),
  );
}

function readContent(content: unknown, role: string, at: string, honours: Features): Read<unknown> {
  if (content === undefined) return role === 'assistant' ? read(null) : invalid(at, 'is required');
  if (typeof content === 'string') return read(content);
  if (!Array.isArray(content)) return invalid(at, 'must be string or array');
  if (content.length === 0) return invalid(at, 'must not be empty');
  return readEach(content, at, (part, at) => readPart(part, at, honours));
}

function readPart(part: unknown, at: string, honours: Features): Read<unknown> {
  if (typeof part !== 'object' || part === null || !('type' in part)) {
    return invalid(at, 'must be an object with a type');
  }
  switch (part.type) {
    case 'text':
      if (!('text' in part) || typeof part.text !== 'string') return invalid(`${at}.text`, 'must be string');
      return read({ type: 'text', text: part.text });
    case 'refusal':
      if (!('refusal' in part) || typeof part.refusal !== 'string') return invalid(`${at}.refusal`, 'must be string');
      return read({ type: 'text', text: part.refusal });
    case 'image_url': {
      if (!honours.has('images')) return unsupported(at, 'is an image, which the model does not see');
      const url = imageUrl('image_url' in part ? part.image_url : undefined);
      return url === null
        ? invalid(`${at}.image_url.url`, 'must be string')
        : read({ type: 'image_url', image_url: { url } });
    }
    default:
      return unsupported(at, `has the type ${String(JSON.stringify(part.type)).slice(0, 40)}; only text is supported`);
  }
}

/** The address as documented in an object, or bare, as some callers send it. */
function imageUrl(image: unknown): string | null {
  if (typeof image === 'string') return image;
  if (typeof image === 'object' && image !== null && 'url' in image && typeof image.url === 'string') return image.url;
  return null;
}

type ToolCallGiven = NonNullable<MessageGiven['tool_calls']>[number];

function readToolCall({ id = '', type = 'function', function: called }: ToolCallGiven, at: string): Read<object> {
  if (type !== 'function') return unsupported(`${at}.type`, 'other than function is not supported');
  return called === undefined ? invalid(`${at}.function`, 'is required') : read({ id, type, function: called });
}
