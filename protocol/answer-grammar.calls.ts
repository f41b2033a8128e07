/** One call of one tool as a grammar, in the form that a family of models writes. */
import { type CallForm, callIndex, commonForm, type ParameterTags } from './call-form.ts';
import { literal, oneOf, untilMark } from './gbnf.ts';
import type { GrammarRules, SchemaGrammar } from './json-schema.grammar.ts';

export interface Callable {
  readonly name: string;
  readonly parameters: unknown;
  readonly strict: boolean;
}

export function callSymbol(rules: GrammarRules, tool: Callable, form: CallForm): SchemaGrammar {
  if (form.parameters !== null) {
    const tagged = taggedArguments(rules, tool, form.parameters);
    if (tagged !== null) return { ok: true, symbol: enclosed(rules, tool.name, form, tagged) };
  }
  const args = argumentsSymbol(rules, tool);
  if (!args.ok) return args;
  return {
    ok: true,
    symbol: enclosed(rules, tool.name, form.parameters === null ? form : commonForm, args.symbol),
  };
}

function enclosed(rules: GrammarRules, name: string, { around }: CallForm, args: string): string {
  const [before, behind] = around(name);
  const head = before.split(callIndex).map(literal).join(' [0-9]{1,2} ');
  return rules.add(`${head} ${args} ${literal(behind)}`);
}

/** Arguments are an object of the schema; where it cannot be held and need not be (`strict`), any object. */
function argumentsSymbol(rules: GrammarRules, { parameters, strict }: Callable): SchemaGrammar {
  if (parameters === undefined) return { ok: true, symbol: rules.add(literal('{}')) };
  const read = rules.schema(isObject(parameters) ? { type: 'object', ...parameters } : parameters);
  return read.ok || strict ? read : { ok: true, symbol: rules.use('object') };
}

/** All that a schema may say at its top for its parameters to stand in tags. */
const taggable: ReadonlySet<string> = new Set([
  'type',
  'properties',
  'required',
  'additionalProperties',
  'title',
  'description',
  '$schema',
]);

/** Null where tags cannot say what the schema asks for: JSON can. */
function taggedArguments(rules: GrammarRules, { parameters = {} }: Callable, tags: ParameterTags): string | null {
  if (!isObject(parameters) || Object.keys(parameters).some(word => !taggable.has(word))) return null;
  const { properties = {}, required = [] } = parameters;
  if (!isObject(properties) || !Array.isArray(required)) return null;
  if (required.some(name => typeof name !== 'string' || !Object.hasOwn(properties, name))) return null;
  const parts: string[] = [];
  for (const [key, schema] of Object.entries(properties)) {
    const value = /^[\w.-]+$/.test(key) ? taggedValue(rules, schema, tags) : null;
    if (value === null) return null;
    const before = tags.before(key, value.isText);
    const part = rules.add(`${literal(before)} ${value.symbol} ${literal(tags.gap)}`);
    parts.push(required.includes(key) ? part : `${part}?`);
  }
  return parts.length === 0 ? '""' : parts.join(' ');
}

/** What restricts a text in a way that only JSON's grammar holds. */
const textWords = ['pattern', 'format', 'minLength', 'maxLength', 'const'] as const;

/** A value and its end. What is a text and what is JSON must show from `type` alone: so it is read. */
function taggedValue(
  rules: GrammarRules,
  schema: unknown,
  { end, lead }: ParameterTags,
): { readonly symbol: string; readonly isText: boolean } | null {
  if (!isObject(schema) || JSON.stringify(schema).includes('"$ref"')) return null;
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  if (types.includes('string')) {
    if (types.length > 1 || textWords.some(word => schema[word] !== undefined)) return null;
    if (schema.enum === undefined) return { symbol: untilMark(rules, end), isText: true };
    const words = Array.isArray(schema.enum) ? schema.enum : [];
    if (words.length === 0 || !words.every(word => typeof word === 'string' && /^[^<\n]+$/.test(word))) return null;
    return { symbol: `${rules.add(oneOf(words.map(literal)))} ${literal(lead + end)}`, isText: true };
  }
  if (!types.every(type => typeof type === 'string')) return null;
  const read = rules.schema(schema);
  return read.ok ? { symbol: `${read.symbol} ${literal(lead + end)}`, isText: false } : null;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
