/**
 * Renders a conversation with the model's own chat template, as it stands in the GGUF file.
 *
 * Callers' tools go to the template as they are, schemas and all. Some templates cannot bear a full JSON Schema, a system
 * turn or an assistant turn without text, and throw; then, and only then, a simpler form of the same conversation is
 * tried. To a template that knows no tools they are told in words (chat-template.tools.ts).
 */

import { Template } from '@huggingface/jinja';
import { isRecord } from '../../protocol/record.ts';
import { simplerTool, toldInWords, typedTool } from './chat-template.tools.ts';
import { EngineError, type EngineJob } from './engine.ts';

type Message = Readonly<Record<string, unknown>>;
type Tool = Readonly<Record<string, unknown>>;

export interface ChatTemplate {
  render(job: Pick<EngineJob, 'messages' | 'tools' | 'templateOptions' | 'reasoningEffort' | 'thinkingBudget'>): string;
}

/** What a model without a template of its own gets: the most common format. */
const chatml = `{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}`;

export function chatTemplate({
  source,
  bos,
  eos,
}: {
  readonly source: string | null;
  readonly bos: string | null;
  readonly eos: string | null;
}): ChatTemplate {
  const text = source ?? chatml;
  const template = new Template(text);
  // Templates that write arguments through `tojson` want the object; the others join them to their text as they are.
  const wantsObjects = /arguments\s*\|\s*tojson|arguments\s+is\s+(mapping|string)|arguments\s*\|\s*items/.test(text);

  const knows = { tools: /\btools\b/.test(text), calls: text.includes('tool_calls') };
  const hasBudget = text.includes('thinking_budget');

  return {
    render({ messages, tools = [], templateOptions = {}, reasoningEffort, thinkingBudget }) {
      if (messages.length === 0) throw new EngineError('invalid_request', 'a job needs at least one message');
      const given = messages.map((message, index) => plainMessage(message, index, wantsObjects));
      const plain = toldInWords(given, tools, knows);
      const told = hasBudget && thinkingBudget !== undefined ? { thinking_budget: thinkingBudget } : {};
      const options = { ...thinkingOptions(reasoningEffort, hasBudget), ...told, ...templateOptions };
      const attempts: (readonly [readonly Message[], readonly Tool[]])[] = [
        [plain, tools],
        [plain, tools.map(typedTool)],
        [plain, tools.map(simplerTool)],
        [withoutSystem(plain), tools.map(simplerTool)],
      ];
      let trouble: unknown;
      for (const [someMessages, someTools] of attempts) {
        try {
          return template.render({
            ...options,
            messages: someMessages,
            ...(someTools.length > 0 ? { tools: someTools } : {}),
            add_generation_prompt: true,
            bos_token: bos ?? '',
            eos_token: eos ?? '',
          });
        } catch (error) {
          trouble ??= error;
        }
      }
      const reason = trouble instanceof Error ? trouble.message : String(trouble);
      throw new EngineError('invalid_request', `the model's chat template refuses these messages: ${reason}`, trouble);
    },
  };
}

/** Tokens of thought, for templates that tell the model how many. */
const thinkingBudgets: Readonly<Record<string, number>> = {
  none: 0,
  minimal: 512,
  low: 1024,
  medium: 4096,
  high: 16384,
};
/** Levels that templates do not know, as the nearest that they do. */
const levels: Readonly<Record<string, string>> = { minimal: 'low', xhigh: 'high', max: 'high' };

/**
 * `none` switches thinking off and any other effort on, under each name that a template may have for it; templates that
 * know levels or budgets get these as well.
 */
function thinkingOptions(effort: string | undefined, hasBudget: boolean): Record<string, unknown> {
  if (effort === undefined) return {};
  const wanted = effort.toLowerCase();
  const thinks = wanted !== 'none';
  const level = levels[wanted] ?? wanted;
  const budget = thinkingBudgets[wanted] ?? thinkingBudgets[level];
  return {
    enable_thinking: thinks,
    thinking: thinks,
    reasoning: thinks,
    ...(thinks ? { reasoning_effort: level } : {}),
    ...(hasBudget && budget !== undefined ? { thinking_budget: budget } : {}),
  };
}

function plainMessage(message: Message, index: number, wantsObjects: boolean): Message {
  const calls = message.tool_calls;
  return {
    ...message,
    content: textOf(message.content, `messages[${index}].content`),
    ...(Array.isArray(calls) && calls.length > 0
      ? { tool_calls: calls.map(call => plainCall(call, wantsObjects)) }
      : {}),
  };
}

/** Text parts are joined without anything between them. This engine has no eyes, and says so. */
function textOf(content: unknown, path: string): string {
  if (content === undefined || content === null) return '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw new EngineError('invalid_request', `${path} must be text or a list of parts`);
  return content
    .map((part: unknown, index) => {
      if (typeof part === 'string') return part;
      if (isRecord(part) && typeof part.text === 'string') return part.text;
      const type = isRecord(part) ? String(part.type) : typeof part;
      throw new EngineError(
        'unsupported_parameter',
        `${path}[${index}]: this model reads text only, it cannot take a part of type ${JSON.stringify(type)}`,
      );
    })
    .join('');
}

function plainCall(call: unknown, wantsObjects: boolean): unknown {
  if (!isRecord(call) || !isRecord(call.function)) return call;
  const given = call.function.arguments;
  return { ...call, function: { ...call.function, arguments: plainArguments(given, wantsObjects) } };
}

function plainArguments(given: unknown, wantsObjects: boolean): unknown {
  if (given === undefined || given === null || given === '') return wantsObjects ? {} : '{}';
  if (!wantsObjects) return typeof given === 'string' ? given : JSON.stringify(given);
  if (typeof given !== 'string') return given;
  try {
    const value: unknown = JSON.parse(given);
    return isRecord(value) ? value : given;
  } catch {
    return given; // An earlier turn's call that is no JSON stays the text it was.
  }
}

/** For models without a system turn: its text opens the first user turn. */
function withoutSystem(messages: readonly Message[]): readonly Message[] {
  const isSystem = ({ role }: Message): boolean => role === 'system' || role === 'developer';
  const system = messages.filter(isSystem).map(message => String(message.content));
  const rest = messages.filter(message => !isSystem(message));
  const first = rest.findIndex(({ role }) => role === 'user');
  if (system.length === 0 || first === -1) return messages;
  return rest.map((message, index) =>
    index === first ? { ...message, content: [...system, String(message.content)].join('\n\n') } : message,
  );
}
