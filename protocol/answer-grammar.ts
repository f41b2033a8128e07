/**
 * What an answer must look like, as a grammar: JSON of a schema, a call of a tool, or either. An engine that samples
 * along it cannot answer otherwise. The router reads it as well, to refuse at once what cannot be held.
 */
import { type Callable, callSymbol } from './answer-grammar.calls.ts';
import { type CallForm, commonForm } from './call-form.ts';
import { literal, oneOf, untilMark } from './gbnf.ts';
import { asOffered, type RouterTool } from './job-events.tools.ts';
import { GrammarRules } from './json-schema.grammar.ts';

/** The parts of a request that decide it, as the log and the `job` frame have them. */
export interface AnswerForm {
  readonly responseFormat?: unknown;
  readonly tools?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly toolChoice?: unknown;
  readonly parallelToolCalls?: boolean | undefined;
}

export type AnswerGrammar =
  /** `text` null: the answer is free. `calls`: it can only be calls of tools. */
  | { readonly ok: true; readonly text: string | null; readonly calls: boolean }
  /** `param` is where in the request, as `response_format.json_schema.schema.properties.a`. */
  | { readonly ok: false; readonly param: string; readonly why: string };

/** With the tools that the router offers beside the caller's. */
export const withLent = (form: AnswerForm, lent: readonly RouterTool[]): AnswerForm =>
  lent.length === 0 ? form : { ...form, tools: [...(form.tools ?? []), ...lent.map(asOffered)] };

/** Whether the model may think first, or must go on with a thought that the prompt has opened. */
export type Thought = 'none' | 'may' | 'open';

/** `written`: how the model writes calls. */
export function answerGrammar(
  form: AnswerForm,
  thought: Thought = 'none',
  written: CallForm = commonForm,
): AnswerGrammar {
  const rules = new GrammarRules();
  const format = formatSymbol(rules, form.responseFormat);
  if (format !== null && !format.ok) return format;
  const { tools = [], toolChoice } = form;
  const forced = toolChoice === 'required' ? null : nameIn(toolChoice);
  const mustCall = toolChoice === 'required' || forced !== null;
  if (!mustCall && format === null) return { ok: true, text: null, calls: false };
  const offered = toolChoice === 'none' ? [] : tools;
  const calls: string[] = [];
  for (const [index, tool] of offered.entries()) {
    const fn = functionOf(tool);
    if (forced !== null && fn.name !== forced) continue;
    const call = callSymbol(rules, fn, written);
    if (!call.ok) {
      const path = call.path === '' ? '' : `.${call.path}`;
      return { ok: false, param: `tools[${index}].function.parameters${path}`, why: call.why };
    }
    calls.push(call.symbol);
  }
  const single = form.parallelToolCalls === false || forced !== null || written.callsMax === 1;
  const call = calls.length === 0 ? null : rules.add(oneOf(calls));
  const more = single ? '' : `(${literal(written.between)} ${call}){0,${written.callsMax - 1}}`;
  const several = call === null ? null : `${literal(written.open)} ${call} ${more} ${literal(written.close)}`;
  const start = beginning(rules, thought, written);
  if (mustCall) {
    return several === null
      ? { ok: false, param: 'tool_choice', why: 'needs tools' }
      : { ok: true, text: rules.text(`${start} ${several}`), calls: true };
  }
  const answer = `${oneOf(written.answers.map(literal))} ${format?.symbol ?? 'value'}`;
  return {
    ok: true,
    text: rules.text(`${start} ${several === null ? answer : `(${answer} | ${several})`}`),
    calls: false,
  };
}

/** What stands before the answer: a thought, or nothing but line breaks. */
function beginning(rules: GrammarRules, thought: Thought, { thought: [open, close], afterThought }: CallForm): string {
  const breaks = afterThought === '' ? '"\\n"{0,2}' : '""';
  if (thought === 'none') return breaks;
  const rest = `${untilMark(rules, close)} ${afterThought === '' ? '"\\n"{0,3}' : literal(afterThought)}`;
  return thought === 'open' ? rest : `(${literal(open)} ${rest} | ${breaks})`;
}

function formatSymbol(
  rules: GrammarRules,
  format: unknown,
): { readonly ok: true; readonly symbol: string } | Extract<AnswerGrammar, { ok: false }> | null {
  if (!isObject(format) || format.type === 'text') return null;
  if (format.type === 'json_object') return { ok: true, symbol: rules.use('object') };
  const { json_schema: described } = format;
  const schema = isObject(described) ? (described.schema ?? {}) : {};
  const read = rules.schema(schema);
  if (read.ok) return read;
  const path = read.path === '' ? '' : `.${read.path}`;
  return { ok: false, param: `response_format.json_schema.schema${path}`, why: read.why };
}

function functionOf(tool: Readonly<Record<string, unknown>>): Callable {
  const fn = isObject(tool.function) ? tool.function : {};
  return { name: String(fn.name), parameters: fn.parameters, strict: fn.strict === true };
}

/** The name in `{type: 'function', function: {name}}`. */
function nameIn(choice: unknown): string | null {
  if (!isObject(choice) || !isObject(choice.function)) return null;
  return typeof choice.function.name === 'string' ? choice.function.name : null;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
