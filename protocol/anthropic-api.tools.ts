/**
 * The tools of a Messages request and the choice between them, in the form that workers know: every tool is
 * `{type: 'function', function: {…}}`, and a choice of `none` leaves no tools to choose from.
 *
 * A tool that the caller runs, but that only Anthropic describes (a shell, an editor, a memory, a screen), gets its
 * description from anthropic-api.client-tools.ts. One that would run on Anthropic's servers is refused by name. The
 * choice may name a tool that the router lends as well.
 */
import { clientTool } from './anthropic-api.client-tools.ts';
import type { ToolGiven } from './anthropic-api.request.ts';
import { defined } from './fit.ts';
import type { RouterTool } from './job-events.tools.ts';
import type { JobRequest } from './job-events.ts';
import { type Features, invalid, type Read, read, readEach, unsupported } from './openai-api.refusal.ts';

type Tools = Pick<JobRequest, 'tools' | 'toolChoice' | 'parallelToolCalls'>;

export interface ToolChoiceGiven {
  readonly type: string;
  readonly name?: string;
  readonly disable_parallel_tool_use?: boolean;
}

export function readTools(
  given: readonly ToolGiven[],
  choice: ToolChoiceGiven | undefined,
  honours: Features,
  lent: readonly RouterTool[] = [],
): Read<Tools> {
  const tools = readEach(given, 'tools', readTool);
  if (!tools.ok) return tools;
  const own = tools.value.map(tool => tool.function.name);
  const value = readChoice(choice, new Set([...own, ...lent.map(({ name }) => name)]));
  if (!value.ok) return value;
  if (value.value === 'none') return read({ toolChoice: 'none' });
  const forced = value.value !== 'auto';
  if (forced && !honours.has('tool_choice')) {
    return unsupported('tool_choice', 'other than auto and none is not supported by the workers of this router');
  }
  return read(
    defined<Tools>({
      tools: tools.value.length > 0 ? tools.value : undefined,
      toolChoice: forced ? value.value : undefined,
      parallelToolCalls: choice?.disable_parallel_tool_use === true ? false : undefined,
    }),
  );
}

interface FunctionTool {
  readonly [key: string]: unknown;
  readonly function: { readonly name: string };
}

interface Described {
  readonly description?: string;
  readonly parameters?: object;
  readonly strict?: boolean;
}

function readTool(
  { type = 'custom', name, description, input_schema, strict }: ToolGiven,
  at: string,
): Read<FunctionTool> {
  if (type !== 'custom') {
    const described = clientTool(type, name);
    const told = JSON.stringify(type.slice(0, 60));
    return described === null
      ? unsupported(at, `has the type ${told}, which this router does not run: describe a tool of your own instead`)
      : read({ type: 'function', function: described });
  }
  if (name === undefined || name === '') return invalid(`${at}.name`, 'is required');
  if (input_schema === undefined) return invalid(`${at}.input_schema`, 'is required');
  return read({
    type: 'function',
    function: { name, ...defined<Described>({ description, parameters: input_schema, strict }) },
  });
}

/** `none`, `auto`, `required`, or one function, as the log has it. */
function readChoice(given: ToolChoiceGiven | undefined, names: ReadonlySet<string>): Read<unknown> {
  switch (given?.type) {
    case undefined:
    case 'auto':
      return read('auto');
    case 'none':
      return read('none');
    case 'any':
      return names.size > 0 ? read('required') : invalid('tool_choice', 'needs tools');
    case 'tool':
      if (given?.name === undefined) return invalid('tool_choice.name', 'is required');
      if (!names.has(given.name)) return invalid('tool_choice.name', 'names a tool that is not in tools');
      return read({ type: 'function', function: { name: given.name } });
    default:
      return invalid('tool_choice.type', 'must be auto, any, tool or none');
  }
}
