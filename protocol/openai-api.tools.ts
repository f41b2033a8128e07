/**
 * The tools of a chat request and the choice between them, in one form whatever spelling they came in: every tool is
 * `{type: 'function', function: {…}}`, and a choice of `none` leaves no tools to choose from. The choice may name a tool
 * that the router lends as well.
 */
import { defined } from './fit.ts';
import type { RouterTool } from './job-events.tools.ts';
import type { JobRequest } from './job-events.ts';
import { type Features, invalid, type Read, read, readEach, unsupported } from './openai-api.refusal.ts';
import type { ChatRequest, ToolGiven } from './openai-api.request.ts';

type Tools = Pick<JobRequest, 'tools' | 'toolChoice' | 'parallelToolCalls'>;

export function readTools(
  given: Pick<ChatRequest, 'tools' | 'tool_choice' | 'parallel_tool_calls'>,
  honours: Features,
  lent: readonly RouterTool[] = [],
): Read<Tools> {
  const tools = readEach(given.tools ?? [], 'tools', readTool);
  if (!tools.ok) return tools;
  const own = new Set(tools.value.map(tool => tool.function.name));
  const choice = readChoice(given.tool_choice, own, new Set(lent.map(({ name }) => name)));
  if (!choice.ok) return choice;
  const { value, only } = choice.value;
  if (value === 'none') return read({ toolChoice: 'none' });
  const forced = value !== 'auto' || only !== null;
  if (forced && !honours.has('tool_choice')) {
    return unsupported('tool_choice', 'other than auto and none is not supported by the workers of this router');
  }
  const offered = tools.value.filter(tool => only === null || only.has(tool.function.name));
  return read(
    defined<Tools>({
      tools: offered.length > 0 ? offered : undefined,
      toolChoice: value === 'auto' ? undefined : value,
      parallelToolCalls: given.parallel_tool_calls,
    }),
  );
}

interface FunctionTool {
  readonly [key: string]: unknown;
  readonly function: { readonly name: string };
}

function readTool(given: ToolGiven, at: string): Read<FunctionTool> {
  const { type = 'function', function: nested, name, ...flat } = given;
  if (type !== 'function') {
    return unsupported(`${at}.type`, `${JSON.stringify(type.slice(0, 40))} is not supported: use function`);
  }
  const described = nested ?? (name === undefined ? null : { name, ...flat });
  if (described === null) return invalid(`${at}.function`, 'is required');
  if (described.name === '') return invalid(`${at}.function.name`, 'must not be empty');
  return read({ type, function: described });
}

interface Choice {
  /** `none`, `auto`, `required`, or one function in the documented form. */
  readonly value: unknown;
  /** Names of the tools that may be called; null for all. */
  readonly only: ReadonlySet<string> | null;
}

function readChoice(given: unknown, names: ReadonlySet<string>, lent: ReadonlySet<string>): Read<Choice> {
  if (given === undefined || given === 'auto') return read({ value: 'auto', only: null });
  if (given === 'none') return read({ value: 'none', only: null });
  if (given === 'required') {
    return names.size + lent.size > 0 ? read({ value: given, only: null }) : invalid('tool_choice', 'needs tools');
  }
  if (!isObject(given) || !('type' in given)) {
    return invalid('tool_choice', 'must be none, auto, required, or an object with a type');
  }
  if (given.type === 'allowed_tools') return readAllowed(given, names);
  if (given.type !== 'function') return unsupported('tool_choice.type', 'must be function or allowed_tools');
  const name = functionName(given);
  if (name === null) return invalid('tool_choice.function.name', 'is required');
  if (!names.has(name) && !lent.has(name)) return invalid('tool_choice', 'names a function that is not in tools');
  return read({ value: { type: 'function', function: { name } }, only: null });
}

/** `{type: 'allowed_tools', allowed_tools: {mode, tools}}`, or with both beside `type`. */
function readAllowed(given: object, names: ReadonlySet<string>): Read<Choice> {
  const at = 'tool_choice.allowed_tools';
  const inner = 'allowed_tools' in given && isObject(given.allowed_tools) ? given.allowed_tools : given;
  const mode = 'mode' in inner ? inner.mode : 'auto';
  if (mode !== 'auto' && mode !== 'required') return invalid(`${at}.mode`, 'must be auto or required');
  const list: unknown[] = 'tools' in inner && Array.isArray(inner.tools) ? inner.tools : [];
  const allowed = readEach(list, `${at}.tools`, (tool, at) => {
    const name = functionName(tool);
    return name !== null && names.has(name) ? read(name) : invalid(at, 'must name a function in tools');
  });
  if (!allowed.ok) return allowed;
  if (allowed.value.length === 0) return invalid(`${at}.tools`, 'must not be empty');
  return read({ value: mode, only: new Set(allowed.value) });
}

function functionName(value: unknown): string | null {
  if (!isObject(value)) return null;
  const holder = 'function' in value && isObject(value.function) ? value.function : value;
  return 'name' in holder && typeof holder.name === 'string' && holder.name !== '' ? holder.name : null;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
