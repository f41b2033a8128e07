/**
 * The input of a response, as messages that workers know: several items may become one message, because what an
 * assistant thought, said and called is one message to a model.
 *
 * I1. Consecutive items of the assistant are one message.
 * I2. What a model could not see (an image where no worker sees, a file) is refused where it stands, never left out.
 * I3. Items of tools that run elsewhere are left out by name: the result says which.
 */
import Type, { type Static, type TSchema } from 'typebox';
import { defined, fit } from './fit.ts';
import type { JobRequest } from './job-events.ts';
import { type Features, invalid, type Read, read, readEach, unsupported } from './openai-api.refusal.ts';
import { customArgument, unsealed } from './responses-api.items.ts';
import { nameWithin } from './responses-api.tools.ts';
import { check, Raw } from './schema.ts';

export type Message = JobRequest['messages'][number];
/** A part of a message's content, as workers know it. */
export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image_url'; readonly image_url: { readonly url: string } };

export interface ReadInput {
  readonly messages: readonly Message[];
  /** Types of items that have no effect here. */
  readonly ignored: readonly string[];
}

/** An item that an `item_reference` names; null when it is not known. */
export type FindItem = (id: string) => unknown;

export function readInput(input: readonly unknown[], at: string, honours: Features, find: FindItem): Read<ReadInput> {
  const talk = new Talk();
  const ignored: string[] = [];
  for (const [index, item] of input.entries()) {
    const here = `${at}[${index}]`;
    const outcome = readItem(talk, item, here, honours, find);
    if (!outcome.ok) return outcome;
    if (outcome.value !== null) ignored.push(outcome.value);
  }
  return read({ messages: talk.end(), ignored });
}

/** A conversation as it is put together. */
class Talk {
  readonly #messages: Message[] = [];
  #said: (string | Part)[] = [];
  #thoughts: string[] = [];
  #calls: object[] = [];

  think(text: string): void {
    if (text !== '') this.#thoughts.push(text);
  }

  say(content: string | readonly Part[]): void {
    if (typeof content === 'string') this.#said.push(content);
    else this.#said.push(...content);
  }

  call(id: string, name: string, json: string): void {
    this.#calls.push({ id, type: 'function', function: { name, arguments: json } });
  }

  /** A message of anybody but the assistant. */
  add(message: Message): void {
    this.#close();
    this.#messages.push(message);
  }

  end(): Message[] {
    this.#close();
    return this.#messages;
  }

  /** I1. */
  #close(): void {
    const [said, thoughts, calls] = [this.#said, this.#thoughts, this.#calls];
    if (said.length === 0 && thoughts.length === 0 && calls.length === 0) return;
    const parts = said.map(part => (typeof part === 'string' ? ({ type: 'text', text: part } as const) : part));
    this.#messages.push(
      defined<Message>({
        role: 'assistant',
        content: contentOf(parts),
        tool_calls: calls.length > 0 ? calls : undefined,
        reasoning_content: thoughts.length > 0 ? thoughts.join('\n') : undefined,
      }),
    );
    [this.#said, this.#thoughts, this.#calls] = [[], [], []];
  }
}

/** Text stays text where it can: templates of open models and older workers know nothing else. */
const contentOf = (parts: readonly Part[]): string | readonly Part[] =>
  parts.every(part => part.type === 'text') ? parts.map(({ text }) => text).join('') : parts;

/** Adds the item to the conversation; returns its type when it has no effect. */
function readItem(talk: Talk, item: unknown, at: string, honours: Features, find: FindItem): Read<string | null> {
  const type = typeOf(item);
  switch (type) {
    case 'message':
      return readMessage(talk, item, at, honours);
    case 'function_call': {
      const given = readCall(item, at);
      if (!given.ok) return given;
      const { call_id: id, name, namespace, arguments: json } = given.value;
      talk.call(id, knownAs(name, namespace), json);
      return read(null);
    }
    case 'custom_tool_call': {
      const given = readCustomCall(item, at);
      if (!given.ok) return given;
      const { call_id: id, name, namespace, input } = given.value;
      talk.call(id, knownAs(name, namespace), JSON.stringify({ [customArgument]: input }));
      return read(null);
    }
    case 'function_call_output':
    case 'custom_tool_call_output': {
      const given = readOutput(item, at);
      if (!given.ok) return given;
      const { call_id: id, output } = given.value;
      const content = readContent(output, `${at}.output`, honours);
      if (!content.ok) return content;
      talk.add({ role: 'tool', tool_call_id: id, content: content.value });
      return read(null);
    }
    case 'reasoning': {
      const given = readReasoning(item, at);
      if (!given.ok) return given;
      const { content = [], encrypted_content: sealed, summary = [] } = given.value;
      const text = (parts: readonly { text: string }[]): string => parts.map(({ text }) => text).join('\n');
      talk.think(content.length > 0 ? text(content) : ((sealed && unsealed(sealed)) ?? text(summary)));
      return read(null);
    }
    case 'item_reference': {
      const given = readReference(item, at);
      if (!given.ok) return given;
      const found = find(given.value.id);
      return found === null
        ? invalid(`${at}.id`, 'names an item that is not known here, or not kept any more: send the item itself')
        : readItem(talk, found, at, honours, () => null);
    }
    case null:
      return invalid(at, 'must be an object with a type, or with role and content');
    default:
      return elsewhere.test(type)
        ? read(type)
        : unsupported(
            `${at}.type`,
            `${told(type)} is not supported: use message, function_call or function_call_output`,
          );
  }
}

const knownAs = (name: string, namespace: string | undefined): string =>
  namespace === undefined ? name : nameWithin(namespace, name);

/** Calls of tools that OpenAI runs or describes, their results, and other marks of its own service. */
const elsewhere =
  /^(file_search_call|web_search_call|computer_call|computer_call_output|image_generation_call|code_interpreter_call|local_shell_call|local_shell_call_output|shell_call|shell_call_output|apply_patch_call|apply_patch_call_output|mcp_\w+|tool_search_\w+|compaction|compaction_\w+|additional_tools|program|program_output)$/;

function readMessage(talk: Talk, item: unknown, at: string, honours: Features): Read<null> {
  const given = readSaid(item, at);
  if (!given.ok) return given;
  const { role, content } = given.value;
  const parts = readContent(content, `${at}.content`, honours);
  if (!parts.ok) return parts;
  // Templates of open models know no developer.
  if (role === 'assistant') talk.say(parts.value);
  else if (role === 'developer' || role === 'system') talk.add({ role: 'system', content: parts.value });
  else if (role === 'user') talk.add({ role, content: parts.value });
  else return invalid(`${at}.role`, 'must be user, assistant, system or developer');
  return read(null);
}

function readContent(content: unknown, at: string, honours: Features): Read<string | readonly Part[]> {
  if (typeof content === 'string') return read(content);
  if (!Array.isArray(content)) return invalid(at, 'must be string or array');
  const parts = readEach<unknown, Part>(content, at, (part, at) => readPart(part, at, honours));
  return parts.ok ? read(contentOf(parts.value)) : parts;
}

function readPart(part: unknown, at: string, honours: Features): Read<Part> {
  switch (typeOf(part)) {
    case 'input_text':
    case 'output_text':
    case 'text':
    case 'summary_text':
    case 'reasoning_text': {
      const given = readText(part, at);
      return given.ok ? read({ type: 'text', text: given.value.text }) : given;
    }
    case 'refusal': {
      const given = readRefusal(part, at);
      return given.ok ? read({ type: 'text', text: given.value.refusal }) : given;
    }
    case 'input_image': {
      if (!honours.has('images')) return unsupported(at, 'is an image, which the model does not see');
      const given = readImage(part, at);
      if (!given.ok) return given;
      const { image_url: url } = given.value;
      return url === undefined
        ? unsupported(at, 'has no image_url: files are not kept here, send the image as a data URL')
        : read({ type: 'image_url', image_url: { url } });
    }
    case 'input_file':
      return unsupported(at, 'is a file, which is not supported: send its text');
    case 'input_audio':
      return unsupported(at, 'is sound, which is not supported: send text');
    case null:
      return invalid(at, 'must be an object with a type');
    default:
      return unsupported(at, `has the type ${told(typeOf(part))}; only text and images are supported`);
  }
}

/** Reads an item or a part of one type: known fields, in their shape, or the first that is not. */
function reader<S extends TSchema>(schema: S): (value: unknown, at: string) => Read<Static<S>> {
  const fitted = fit(schema, { missing: 'absent' });
  const checked = check(schema);
  return (value, at) => {
    const parsed = checked(fitted(value));
    return parsed.ok ? read(parsed.value) : invalid(at + parsed.path.slice(1), parsed.message);
  };
}

const { Optional } = Type;
const Text = Type.String();
const Texts = Type.Array(Type.Object({ text: Text }));
const readSaid = reader(Type.Object({ role: Text, content: Raw }));
const readCall = reader(Type.Object({ call_id: Text, name: Text, namespace: Optional(Text), arguments: Text }));
const readCustomCall = reader(Type.Object({ call_id: Text, name: Text, namespace: Optional(Text), input: Text }));
const readOutput = reader(Type.Object({ call_id: Text, output: Raw }));
const readReasoning = reader(
  Type.Object({ summary: Optional(Texts), content: Optional(Texts), encrypted_content: Optional(Text) }),
);
const readReference = reader(Type.Object({ id: Text }));
const readText = reader(Type.Object({ text: Text }));
const readRefusal = reader(Type.Object({ refusal: Text }));
const readImage = reader(Type.Object({ image_url: Optional(Text) }));

/** A message may come without a type, a reference with an id alone. */
function typeOf(item: unknown): string | null {
  if (typeof item !== 'object' || item === null) return null;
  if ('type' in item && typeof item.type === 'string') return item.type;
  if ('role' in item) return 'message';
  return 'id' in item ? 'item_reference' : null;
}

const told = (type: string | null): string => JSON.stringify(type === null ? null : type.slice(0, 60));
