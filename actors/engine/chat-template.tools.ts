/**
 * Tools in a conversation, as a chat template can bear them: whole where it can, simpler where it stumbles, and told in
 * words where it knows of no tools at all.
 */

import { commonForm } from '../../protocol/call-form.ts';
import { isRecord } from '../../protocol/record.ts';

type Message = Readonly<Record<string, unknown>>;
type Tool = Readonly<Record<string, unknown>>;

/** The whole schema, with a `type` wherever a template may ask for one. */
export function typedTool(tool: Tool): Tool {
  const fn = tool.function;
  return isRecord(fn) && isRecord(fn.parameters)
    ? { ...tool, function: { ...fn, parameters: typed(fn.parameters) } }
    : tool;
}

/** Words whose values are schemas by name, and those whose values are one or a list of them. */
const named: ReadonlySet<string> = new Set(['properties', '$defs', 'definitions', 'patternProperties']);
const nested: ReadonlySet<string> = new Set([
  'items',
  'anyOf',
  'oneOf',
  'allOf',
  'prefixItems',
  'additionalProperties',
]);

function typed(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const type = Array.isArray(schema.type) ? schema.type.find(name => name !== 'null') : schema.type;
  const whole: Record<string, unknown> = { type: typeof type === 'string' ? type : guessed(schema) };
  for (const [word, value] of Object.entries(schema)) {
    if (word === 'type') continue;
    if (named.has(word) && isRecord(value)) {
      whole[word] = Object.fromEntries(
        Object.entries(value).map(([key, inner]) => [key, isRecord(inner) ? typed(inner) : inner]),
      );
    } else if (nested.has(word)) {
      whole[word] = Array.isArray(value)
        ? value.map(inner => (isRecord(inner) ? typed(inner) : inner))
        : isRecord(value)
          ? typed(value)
          : value;
    } else whole[word] = value;
  }
  return whole;
}

function guessed({ properties, $ref, items, enum: words }: Readonly<Record<string, unknown>>): string {
  if (properties !== undefined || $ref !== undefined) return 'object';
  return items !== undefined ? 'array' : Array.isArray(words) && typeof words[0] === 'number' ? 'number' : 'string';
}

/** The outline of a tool's schema, for templates that stumble over the whole. */
export function simplerTool(tool: Tool): Tool {
  const fn = tool.function;
  if (!isRecord(fn) || !isRecord(fn.parameters)) return tool;
  const { type = 'object', properties, required } = fn.parameters;
  const simpler: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(isRecord(properties) ? properties : {})) {
    if (!isRecord(property)) continue;
    const { type: propertyType = 'string', description, enum: allowed } = property;
    simpler[name] = {
      type: propertyType,
      ...(description === undefined ? {} : { description }),
      ...(allowed === undefined ? {} : { enum: allowed }),
    };
  }
  const parameters = { type, properties: simpler, ...(required === undefined ? {} : { required }) };
  return { ...tool, function: { ...fn, parameters } };
}

/**
 * The conversation for a template that knows no tools, or no calls and results: the tools stand in the system turn, calls
 * are text in the form that every reader knows, and results are turns of the user.
 */
export function toldInWords(
  messages: readonly Message[],
  tools: readonly Tool[],
  knows: { readonly tools: boolean; readonly calls: boolean },
): readonly Message[] {
  const told = knows.calls ? [...messages] : callsInWords(messages);
  if (tools.length === 0 || knows.tools) return told;
  const [first, ...rest] = told;
  const isSystem = first?.role === 'system' || first?.role === 'developer';
  const content = isSystem && first.content !== '' ? `${first.content}\n\n${inWords(tools)}` : inWords(tools);
  return isSystem ? [{ ...first, content }, ...rest] : [{ role: 'system', content }, ...told];
}

function callsInWords(messages: readonly Message[]): Message[] {
  const told: Message[] = [];
  for (const message of messages) {
    const plain = withoutCalls(message);
    const last = told.at(-1);
    // Some templates bear no two turns of one side in a row.
    if (plain !== message && last !== undefined && last.role === plain.role)
      told[told.length - 1] = { ...last, content: `${last.content}\n${plain.content}` };
    else if (message.role === 'user' && last?.role === 'user' && String(last.content).endsWith(responseEnd))
      told[told.length - 1] = { ...last, content: `${last.content}\n\n${message.content}` };
    else told.push(plain);
  }
  return told;
}

const responseEnd = '</tool_response>';

function withoutCalls(message: Message): Message {
  if (message.role === 'tool' || message.role === 'function')
    return { role: 'user', content: `<tool_response>\n${message.content}\n${responseEnd}` };
  const { tool_calls: calls, ...rest } = message;
  if (!Array.isArray(calls) || calls.length === 0) return message;
  const written = calls.map(call => {
    const fn = isRecord(call) && isRecord(call.function) ? call.function : {};
    const [before, behind] = commonForm.around(String(fn.name));
    return before + (typeof fn.arguments === 'string' ? fn.arguments : JSON.stringify(fn.arguments ?? {})) + behind;
  });
  return { ...rest, content: [String(message.content), ...written].filter(text => text !== '').join('\n') };
}

function inWords(tools: readonly Tool[]): string {
  const [before, behind] = commonForm.around('NAME');
  const listed = tools.map(tool => JSON.stringify(tool.function ?? tool)).join('\n');
  return `You can call these functions, each described by a JSON schema of its parameters:
<tools>
${listed}
</tools>
To call one, write its name and its arguments exactly so, once for each call, and then stop:
${before}{…}${behind}
What it returned follows between <tool_response> and ${responseEnd}. Call none that is not listed.`;
}
