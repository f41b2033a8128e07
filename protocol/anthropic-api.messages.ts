/**
 * The messages of a Messages request, as workers know them: one message there may become several here, because results
 * of tools are messages of their own. What a model could not see (an image where no worker sees, a PDF) is refused where
 * it stands, never left out.
 */
import Type, { type Static, type TSchema } from 'typebox';
import { defined, fit } from './fit.ts';
import type { JobRequest } from './job-events.ts';
import { type Features, invalid, type Read, read, readEach, unsupported } from './openai-api.refusal.ts';
import { check, OpenMap, Raw } from './schema.ts';

type Message = JobRequest['messages'][number];
/** A part of a message's content, as workers know it. */
type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image_url'; readonly image_url: { readonly url: string } };

export interface MessageGiven {
  readonly role: string;
  readonly content?: unknown;
}

export function readMessages(given: readonly MessageGiven[], honours: Features): Read<Message[]> {
  const read = readEach(given, 'messages', (message, at) => readMessage(message, at, honours));
  return read.ok ? { ok: true, value: read.value.flat() } : read;
}

/** The system prompt: text, or blocks of text. Empty for none. */
export function readSystem(given: unknown, at: string): Read<string> {
  if (given === undefined || given === null) return read('');
  if (typeof given === 'string') return read(given);
  if (!Array.isArray(given)) return invalid(at, 'must be string or array');
  const texts = readEach(given, at, (block, at) => {
    const type = typeOf(block);
    if (type !== 'text') return unsupported(at, `has the type ${told(type)}; only text is possible here`);
    const text = readText(block, at);
    return text.ok ? read(text.value.text) : text;
  });
  return texts.ok ? read(texts.value.join('\n')) : texts;
}

function readMessage({ role, content }: MessageGiven, at: string, honours: Features): Read<Message[]> {
  const inside = `${at}.content`;
  if (role === 'system') {
    const text = readSystem(content, inside);
    return text.ok ? read([{ role, content: text.value }]) : text;
  }
  if (role !== 'user' && role !== 'assistant') return invalid(`${at}.role`, 'must be user, assistant or system');
  if (typeof content === 'string') return read([{ role, content }]);
  if (!Array.isArray(content)) return invalid(inside, content === undefined ? 'is required' : mustBe);
  return role === 'assistant' ? readAssistant(content, inside) : readUser(content, inside, honours);
}

const mustBe = 'must be string or array';

/** Results of tools first, whatever stands around them: the model asked for these before anything else was said. */
function readUser(blocks: readonly unknown[], at: string, honours: Features): Read<Message[]> {
  if (blocks.length === 0) return invalid(at, 'must not be empty');
  const results: Message[] = [];
  const said: Part[] = [];
  for (const [index, block] of blocks.entries()) {
    const here = `${at}[${index}]`;
    if (typeOf(block) === 'tool_result') {
      const result = readResult(block, here, honours);
      if (!result.ok) return result;
      results.push(result.value);
    } else {
      const part = readPart(block, here, honours);
      if (!part.ok) return part;
      said.push(part.value);
    }
  }
  return read(said.length === 0 ? results : [...results, { role: 'user', content: contentOf(said) }]);
}

/** Text stays text where it can: templates of open models and older workers know nothing else. */
const contentOf = (parts: readonly Part[]): string | readonly Part[] =>
  parts.every(part => part.type === 'text') ? parts.map(({ text }) => text).join('') : parts;

function readAssistant(blocks: readonly unknown[], at: string): Read<Message[]> {
  let text = '';
  const thoughts: string[] = [];
  const calls: object[] = [];
  for (const [index, block] of blocks.entries()) {
    const here = `${at}[${index}]`;
    const type = typeOf(block);
    switch (type) {
      case 'text': {
        const given = readText(block, here);
        if (!given.ok) return given;
        text += given.value.text;
        break;
      }
      case 'thinking': {
        const given = readThinking(block, here);
        if (!given.ok) return given;
        if (given.value.thinking !== '') thoughts.push(given.value.thinking);
        break;
      }
      case 'redacted_thinking':
        // Ciphertext of another service: there is nothing in it for anybody here.
        break;
      case 'tool_use': {
        const given = readToolUse(block, here);
        if (!given.ok) return given;
        const { id, name, input = {} } = given.value;
        calls.push({ id, type: 'function', function: { name, arguments: JSON.stringify(input) } });
        break;
      }
      default:
        return unsupported(here, `has the type ${told(type)}, which an assistant of this router does not say`);
    }
  }
  if (text === '' && calls.length === 0 && thoughts.length === 0) return read([]);
  return read([
    defined<Message>({
      role: 'assistant',
      content: text,
      tool_calls: calls.length > 0 ? calls : undefined,
      reasoning_content: thoughts.length > 0 ? thoughts.join('\n') : undefined,
    }),
  ]);
}

function readResult(block: unknown, at: string, honours: Features): Read<Message> {
  const given = readToolResult(block, at);
  if (!given.ok) return given;
  const { tool_use_id, content = '', is_error: failed = false } = given.value;
  const parts = readResultContent(content, `${at}.content`, honours);
  if (!parts.ok) return parts;
  // The only place where a model looks is the text.
  const marked: readonly Part[] = failed ? [{ type: 'text', text: 'Error: ' }, ...parts.value] : parts.value;
  return read({ role: 'tool', tool_call_id: tool_use_id, content: contentOf(marked) });
}

function readResultContent(content: unknown, at: string, honours: Features): Read<Part[]> {
  if (typeof content === 'string') return read([{ type: 'text', text: content }]);
  if (!Array.isArray(content)) return invalid(at, mustBe);
  return readEach(content, at, (block, at) => readPart(block, at, honours));
}

/** A block that a user may say, or a tool. */
function readPart(block: unknown, at: string, honours: Features): Read<Part> {
  const type = typeOf(block);
  switch (type) {
    case 'text':
      return readText(block, at);
    case 'image':
      return readImage(block, at, honours);
    case 'document':
      return readDocument(block, at);
    case 'search_result': {
      const given = readSearchResult(block, at);
      if (!given.ok) return given;
      const inside = readSystem(given.value.content, `${at}.content`);
      return inside.ok ? inlined('search_result', inside.value, given.value) : inside;
    }
    case null:
      return invalid(at, 'must be an object with a type');
    default:
      return unsupported(at, `has the type ${told(type)}; only text, images and text documents are supported`);
  }
}

function readImage(block: unknown, at: string, honours: Features): Read<Part> {
  const given = readSourced(block, at);
  if (!given.ok) return given;
  if (!honours.has('images')) return unsupported(at, 'is an image, which the model does not see');
  const { type, media_type: mediaType, data, url } = given.value.source;
  const source = `${at}.source`;
  switch (type) {
    case 'base64':
      if (mediaType === undefined) return invalid(`${source}.media_type`, 'is required');
      if (!/^image\/[\w.+-]+$/.test(mediaType)) return invalid(`${source}.media_type`, 'must be that of an image');
      if (typeof data !== 'string') return invalid(`${source}.data`, 'must be string');
      return read({ type: 'image_url', image_url: { url: `data:${mediaType};base64,${data}` } });
    case 'url':
      return url === undefined
        ? invalid(`${source}.url`, 'is required')
        : read({ type: 'image_url', image_url: { url } });
    default:
      return unsupported(source, `has the type ${told(type)}; only base64 and url are supported`);
  }
}

/** Only what is text already. */
function readDocument(block: unknown, at: string): Read<Part> {
  const given = readSourced(block, at);
  if (!given.ok) return given;
  const { source } = given.value;
  if (source.type === 'text') {
    return typeof source.data === 'string'
      ? inlined('document', source.data, given.value)
      : invalid(`${at}.source.data`, 'must be string');
  }
  if (source.type === 'content') {
    const inside = readSystem(source.content, `${at}.source.content`);
    return inside.ok ? inlined('document', inside.value, given.value) : inside;
  }
  const what = source.media_type === undefined ? told(source.type) : told(source.media_type);
  return unsupported(`${at}.source`, `is ${what}; only documents of plain text are supported`);
}

/** A text from elsewhere, with its bounds and what is known of it, so that it is not read as the user's own words. */
function inlined(
  tag: string,
  text: string,
  known: { readonly title?: string; readonly context?: string; readonly source?: unknown },
): Read<Part> {
  const source = typeof known.source === 'string' ? known.source : undefined;
  const attributes = Object.entries({ title: known.title, source, context: known.context })
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
  return read({ type: 'text', text: `<${tag}${attributes.join('')}>\n${text}\n</${tag}>\n` });
}

/** Reads a block of one type: known fields, in their shape, or the first that is not. */
function blockReader<S extends TSchema>(schema: S): (block: unknown, at: string) => Read<Static<S>> {
  const fitted = fit(schema, { missing: 'absent' });
  const checked = check(schema);
  return (block, at) => {
    const parsed = checked(fitted(block));
    return parsed.ok ? read(parsed.value) : invalid(at + parsed.path.slice(1), parsed.message);
  };
}

const { Optional } = Type;
const Text = Type.String();
const readText = blockReader(Type.Object({ type: Type.Literal('text'), text: Text }));
const readThinking = blockReader(Type.Object({ thinking: Text }));
const readToolUse = blockReader(Type.Object({ id: Text, name: Text, input: Optional(OpenMap) }));
const readToolResult = blockReader(
  Type.Object({ tool_use_id: Text, content: Optional(Raw), is_error: Optional(Type.Boolean()) }),
);
const readSearchResult = blockReader(
  Type.Object({ title: Optional(Text), source: Optional(Text), content: Type.Array(Raw) }),
);
const readSourced = blockReader(
  Type.Object({
    title: Optional(Text),
    context: Optional(Text),
    source: Type.Object({
      type: Text,
      media_type: Optional(Text),
      data: Optional(Raw),
      url: Optional(Text),
      content: Optional(Raw),
    }),
  }),
);

const typeOf = (block: unknown): string | null =>
  typeof block === 'object' && block !== null && 'type' in block && typeof block.type === 'string' ? block.type : null;

const told = (type: string | null): string => JSON.stringify(type === null ? null : type.slice(0, 60));
