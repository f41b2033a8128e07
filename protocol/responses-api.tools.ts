/**
 * The tools of a Responses request and the choice between them, in the form that workers know. They are flat there:
 * `{type: 'function', name, …}`.
 *
 * A tool that takes free text (`custom`) becomes a function with one text argument, and its calls are turned back. Tools
 * that OpenAI runs or describes are left out while the choice is free, because agents offer all they know to every
 * model; the response says which tools it has in effect. Forced, they are refused by name.
 */
import Type, { type Static } from 'typebox';
import { defined, fit } from './fit.ts';
import type { JobRequest } from './job-events.ts';
import { type ChatRequestRefusal, type Features, invalid, type Read, read, unsupported } from './openai-api.refusal.ts';
import { readTools as readChatTools } from './openai-api.tools.ts';
import { customArgument } from './responses-api.items.ts';
import { check, OpenMap, Raw } from './schema.ts';

export interface ReadTools {
  readonly request: Pick<JobRequest, 'tools' | 'toolChoice' | 'parallelToolCalls'>;
  /** Names of those that take free text. */
  readonly custom: readonly string[];
  /** Those of namespaces, by the names under which models know them. */
  readonly namespaced: Readonly<Record<string, Namespaced>>;
  /** Types of those that have no effect here. */
  readonly ignored: readonly string[];
}

export interface Namespaced {
  readonly namespace: string;
  readonly name: string;
}

/** Under which models know a tool of a namespace. */
export const nameWithin = (namespace: string, name: string): string => `${namespace}__${name}`;

export interface ToolsGiven {
  readonly tools?: readonly unknown[];
  readonly tool_choice?: unknown;
  readonly parallel_tool_calls?: boolean;
}

const { Optional } = Type;
const Text = Type.String();
const FunctionGiven = Type.Object({
  name: Type.String({ minLength: 1 }),
  description: Optional(Text),
  parameters: Optional(OpenMap),
  strict: Optional(Type.Boolean()),
});
const CustomGiven = Type.Object({
  name: Type.String({ minLength: 1 }),
  description: Optional(Text),
  format: Optional(Type.Object({ type: Text, syntax: Optional(Text), definition: Optional(Raw) })),
});
const fitFunction = fit(FunctionGiven, { missing: 'absent' });
const checkFunction = check(FunctionGiven);
const fitCustom = fit(CustomGiven, { missing: 'absent' });
const checkCustom = check(CustomGiven);

type Described = Static<typeof FunctionGiven>;

export function readTools(given: ToolsGiven, honours: Features): Read<ReadTools> {
  const found: Found = { tools: [], custom: [], namespaced: {}, ignored: [] };
  const refusal = find(given.tools ?? [], 'tools', null, found);
  if (refusal !== null) return refusal;
  const { tools, custom, namespaced, ignored } = found;
  const choice = chosen(given.tool_choice, ignored);
  if (!choice.ok) return choice;
  const read_ = readChatTools(
    defined<Parameters<typeof readChatTools>[0]>({
      tools,
      tool_choice: choice.value,
      parallel_tool_calls: given.parallel_tool_calls,
    }),
    honours,
  );
  return read_.ok ? read({ request: read_.value, custom, namespaced, ignored }) : read_;
}

interface Found {
  readonly tools: { type: 'function'; function: Described }[];
  readonly custom: string[];
  readonly namespaced: Record<string, Namespaced>;
  readonly ignored: string[];
}

/** Adds the tools of a list, or of a namespace; says why when one cannot be read. */
function find(
  given: readonly unknown[],
  list: string,
  namespace: string | null,
  found: Found,
): ChatRequestRefusal | null {
  for (const [index, tool] of given.entries()) {
    const at = `${list}[${index}]`;
    const type = isObject(tool) && typeof tool.type === 'string' ? tool.type : null;
    if (!isObject(tool) || type === null) return invalid(at, 'must be an object with a type');
    if (type === 'namespace' && namespace === null && Array.isArray(tool.tools)) {
      if (typeof tool.name !== 'string' || tool.name === '') return invalid(`${at}.name`, 'is required');
      const refusal = find(tool.tools, `${at}.tools`, tool.name, found);
      if (refusal !== null) return refusal;
      continue;
    }
    if (type !== 'function' && type !== 'custom') {
      found.ignored.push(type);
      continue;
    }
    // Some callers nest the description, as the chat API has it.
    const flat = isObject(tool.function) && tool.name === undefined ? tool.function : tool;
    const parsed = type === 'function' ? checkFunction(fitFunction(flat)) : checkCustom(fitCustom(flat));
    if (!parsed.ok) return invalid(at + parsed.path.slice(1), parsed.message);
    const { name } = parsed.value;
    const known = namespace === null ? name : nameWithin(namespace, name);
    if (namespace !== null) found.namespaced[known] = { namespace, name };
    if (type === 'custom') found.custom.push(known);
    const described = type === 'custom' ? asFunction(parsed.value) : parsed.value;
    found.tools.push({ type: 'function', function: { ...described, name: known } });
  }
  return null;
}

/** A choice that names a tool which only OpenAI runs cannot be kept; the others mean the same in both APIs. */
function chosen(choice: unknown, ignored: readonly string[]): Read<unknown> {
  if (!isObject(choice)) return read(choice);
  const { type } = choice;
  if (type === 'custom') return read({ type: 'function', name: choice.name });
  if (type === 'function') return read(choice);
  if (type === 'allowed_tools') {
    // What is offered and has no effect may be allowed, too, as long as something is left.
    const list = Array.isArray(choice.tools) ? choice.tools : [];
    const tools = list.filter(tool => !isObject(tool) || !ignored.includes(String(tool.type)));
    return read({ ...choice, tools });
  }
  return unsupported(
    'tool_choice',
    `forces ${JSON.stringify(String(type).slice(0, 60))}, which this router does not run`,
  );
}

function asFunction({ name, description = '', format }: Static<typeof CustomGiven>): Described {
  const grammar =
    format?.type === 'grammar'
      ? `The text must follow this grammar (${format.syntax ?? 'lark'}):\n${String(format.definition ?? '')}`
      : '';
  const about = [description, grammar].filter(text => text !== '').join('\n\n');
  const argument = { type: 'string', description: 'the text for the tool, as it is' } as const;
  return {
    name,
    ...(about === '' ? {} : { description: about }),
    parameters: { type: 'object', properties: { [customArgument]: argument }, required: [customArgument] },
  };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
