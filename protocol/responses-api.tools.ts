/**
 * The tools of a Responses request and the choice between them, in the form that workers know. They are flat there:
 * `{type: 'function', name, …}`.
 *
 * A tool that takes free text (`custom`) becomes a function with one text argument, and its calls are turned back.
 *
 * Of the tools that OpenAI runs, `web_search` and `code_interpreter` are run by a tools worker of ours where there is one
 * (H1). The others that OpenAI runs or describes are left out while the choice is free, because agents offer all they
 * know to every model; the response says which tools it has in effect. Forced, they are refused by name, and so is always
 * what nobody knows.
 *
 * H1. One that is asked for with something that ours would not do (other files, some domains only) is refused by name.
 */
import Type, { type Static } from 'typebox';
import { defined, fit } from './fit.ts';
import type { RouterTool } from './job-events.tools.ts';
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
  /** Those that OpenAI would run and a tools worker of ours runs: the caller's type by our tool's name. */
  readonly hosted: Readonly<Record<string, string>>;
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

/** Tools of ours: those that every request gets, and those that one gets which asks for them. */
export interface OurTools {
  readonly lent: readonly RouterTool[];
  readonly hosted: readonly RouterTool[];
}

export function readTools(given: ToolsGiven, honours: Features, ours: OurTools): Read<ReadTools> {
  const known = [...ours.lent, ...ours.hosted];
  const found: Found = { tools: [], custom: [], namespaced: {}, hosted: {}, ignored: [] };
  const has = (name: string): boolean => known.some(tool => tool.name === name);
  const refusal = find(given.tools ?? [], 'tools', null, found, has);
  if (refusal !== null) return refusal;
  const { custom, namespaced, ignored } = found;
  // The caller's own tool of that name is the caller's.
  for (const { function: own } of found.tools) if (leave(found.hosted, own.name)) ignored.push(own.name);
  const choice = chosen(given.tool_choice, found);
  if (!choice.ok) return choice;
  const { value, tools, hosted } = choice.value;
  const read_ = readChatTools(
    defined<Parameters<typeof readChatTools>[0]>({
      tools: [...tools],
      tool_choice: value,
      parallel_tool_calls: given.parallel_tool_calls,
    }),
    honours,
    [...ours.lent, ...ours.hosted.filter(({ name }) => Object.hasOwn(hosted, name))],
  );
  if (!read_.ok) return read_;
  const none = read_.value.toolChoice === 'none';
  return read({ request: read_.value, custom, namespaced, hosted: none ? {} : hosted, ignored });
}

function leave(hosted: Record<string, string>, name: string): boolean {
  if (!Object.hasOwn(hosted, name)) return false;
  delete hosted[name];
  return true;
}

interface Found {
  readonly tools: { type: 'function'; function: Described }[];
  readonly custom: string[];
  readonly namespaced: Record<string, Namespaced>;
  readonly hosted: Record<string, string>;
  readonly ignored: string[];
}

/** Adds the tools of a list, or of a namespace; says why when one cannot be read. */
function find(
  given: readonly unknown[],
  list: string,
  namespace: string | null,
  found: Found,
  has: (name: string) => boolean,
): ChatRequestRefusal | null {
  for (const [index, tool] of given.entries()) {
    const at = `${list}[${index}]`;
    const type = isObject(tool) && typeof tool.type === 'string' ? tool.type : null;
    if (!isObject(tool) || type === null) return invalid(at, 'must be an object with a type');
    if (type === 'namespace' && namespace === null && Array.isArray(tool.tools)) {
      if (typeof tool.name !== 'string' || tool.name === '') return invalid(`${at}.name`, 'is required');
      const refusal = find(tool.tools, `${at}.tools`, tool.name, found, has);
      if (refusal !== null) return refusal;
      continue;
    }
    if (type !== 'function' && type !== 'custom') {
      const name = standIn(type);
      if (name === null && !elsewhere.test(type))
        return unsupported(`${at}.type`, `${JSON.stringify(type.slice(0, 60))} is no tool that is known here`);
      // A search that is not to leave the house is no search of ours.
      if (name === null || !has(name) || tool.external_web_access === false) {
        found.ignored.push(type);
        continue;
      }
      const cannot = beyondOurs(tool, at);
      if (cannot !== null) return cannot;
      found.hosted[name] = type;
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

/** Which of our tools does what a tool of OpenAI's does. */
function standIn(type: string): string | null {
  if (type === 'code_interpreter') return 'code_executor';
  return /^web_search(_preview)?(_\d{4}_\d{2}_\d{2})?$/.test(type) ? 'web_search' : null;
}

/** What OpenAI runs or describes, and nobody here. */
const elsewhere =
  /^(file_search|computer(_use)?(_preview)?|mcp|image_generation|local_shell|shell|apply_patch|tool_search|programmatic_tool_calling)$/;

/** H1. How large a search is, and where its reader is, are hints: they are left out. */
function beyondOurs(tool: Readonly<Record<string, unknown>>, at: string): ChatRequestRefusal | null {
  const { filters, container } = tool;
  if (isObject(filters) && Object.values(filters).some(some))
    return unsupported(`${at}.filters`, 'is not supported: web_search searches all of the web here');
  if (typeof container === 'string')
    return unsupported(`${at}.container`, 'names a container, and none is kept here: use {"type": "auto"}');
  if (isObject(container) && some(container.file_ids))
    return unsupported(`${at}.container.file_ids`, 'is not supported: no files are kept here');
  return null;
}

const some = (value: unknown): boolean => Array.isArray(value) && value.length > 0;

interface Chosen extends Pick<Found, 'tools' | 'hosted'> {
  readonly value: unknown;
}

/** A choice that names a tool which only OpenAI runs cannot be kept; the others mean the same in both APIs. */
function chosen(choice: unknown, { tools, hosted, ignored }: Found): Read<Chosen> {
  const all = (value: unknown): Read<Chosen> => read({ value, tools, hosted });
  if (!isObject(choice)) return all(choice);
  const { type } = choice;
  if (type === 'custom') return all({ type: 'function', name: choice.name });
  if (type === 'function') return all(choice);
  if (type === 'allowed_tools') {
    // What is offered and has no effect may be allowed, too, as long as something is left.
    const list = Array.isArray(choice.tools) ? choice.tools : [];
    const types = list.map(tool => (isObject(tool) ? String(tool.type) : ''));
    const ours = Object.fromEntries(Object.entries(hosted).filter(([name]) => types.some(at => standIn(at) === name)));
    const left = list.filter((_, index) => {
      const at = types[index] ?? '';
      return !ignored.includes(at) && standIn(at) === null;
    });
    return left.length === 0 && Object.keys(ours).length > 0
      ? read({ value: choice.mode, tools: [], hosted: ours })
      : read({ value: { ...choice, tools: left }, tools, hosted: ours });
  }
  const name = standIn(String(type));
  if (name !== null && Object.hasOwn(hosted, name)) return all({ type: 'function', name });
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
