/**
 * How families of models write thoughts and tool calls, and which family a model belongs to: its chat template says so by
 * a mark; else the registry, by the format that it names for the model's file; else the architecture in the file.
 * docs/tool-formats.md has the table.
 *
 * The forms that every reader knows come after those of the family: the engine writes them itself where an answer is gone
 * on with from its text, and small models mix them up.
 */
import type { CallForm } from '../../protocol/call-form.ts';
import { forms } from './dialects.forms.ts';
import { dialects, dsml } from './dialects.table.ts';
import type { EngineJob } from './engine.ts';
import type { Opening } from './openings.ts';
import { type CallReader, type ToolsOffered, toolCallOpening } from './tool-call-text.ts';

export type DialectName =
  | 'common'
  | 'cohere'
  | 'deepseek'
  | 'deepseek-v3.1'
  | 'deepseek-v3.2'
  | 'gemma'
  | 'glm'
  | 'granite'
  | 'harmony'
  | 'hunyuan'
  | 'kimi'
  | 'lfm2'
  | 'llama3'
  | 'minimax'
  | 'mistral'
  | 'mistral-list'
  | 'nemotron'
  | 'qwen-xml'
  | 'seed';

export interface Dialect {
  readonly name: DialectName;
  readonly thought: readonly [open: string, close: string];
  readonly openings: readonly Opening[];
  /** Reads an answer that is a call from its first character on. */
  readonly bare: ((tools: ToolsOffered) => CallReader) | null;
  /** Its marks are control tokens, which have no text unless it is asked for. */
  readonly showsControl: boolean;
  /** Control tokens that may stand around calls and answers, and are never text. */
  readonly marks: readonly string[];
  /** How its calls are written where a grammar leads the answer. */
  readonly calls: CallForm;
}

/** What stands in the chat template of a family and in no other; the first that is there decides. */
const signs: readonly (readonly [name: DialectName, ...signs: string[]])[] = [
  ['harmony', '<|channel|>'],
  ['deepseek', '<｜tool▁calls▁begin｜>', '```json'],
  ['deepseek-v3.1', '<｜tool▁calls▁begin｜>'],
  ['deepseek-v3.2', dsml],
  ['kimi', '<|tool_calls_section_begin|>'],
  ['cohere', '<|START_ACTION|>'],
  ['mistral', '[TOOL_CALLS]', '[ARGS]'],
  ['mistral-list', '[TOOL_CALLS]'],
  ['seed', '<seed:tool_call>'],
  ['minimax', '<minimax:tool_call>'],
  ['gemma', '<|tool_call>'],
  ['lfm2', '<|tool_call_start|>'],
  ['nemotron', '<TOOLCALL>'],
  ['granite', '<|tool_call|>'],
  ['hunyuan', '<tool_calls>'],
  ['glm', '<arg_key>'],
  ['llama3', '<|python_tag|>'],
  // Llama 3.2 and its kin have no mark of their own: their template asks for the object.
  ['llama3', '"parameters": dictionary of argument name and its value'],
  ['qwen-xml', '<tool_call>', '<function='],
];

/** Tags of thoughts that a template may name whatever its calls are. */
const thoughts = [
  // The end of a channel ends other things in other templates.
  ...Object.values(dialects).flatMap(({ name, thought }) => (name === 'harmony' ? [] : [thought])),
  ['<thinking>', '</thinking>'] as const,
];

/** What the registry calls a format, where it is not a dialect's name. */
const formats: Readonly<Record<string, DialectName>> = { hermes: 'common', pythonic: 'llama3' };

/** Architectures of which all models write alike. */
const architectures: readonly (readonly [RegExp, DialectName])[] = [
  [/^gpt-?oss/, 'harmony'],
  [/^deepseek/, 'deepseek'],
  [/^glm4/, 'glm'],
  [/^gemma4/, 'gemma'],
  [/^minimax/, 'minimax'],
  [/^mistral/, 'mistral'],
  [/^llama4/, 'llama3'],
  [/^cohere2/, 'cohere'],
  [/^seed_oss/, 'seed'],
  [/^lfm2/, 'lfm2'],
  [/^qwen3next|^qwen35/, 'qwen-xml'],
];

export interface ModelSigns {
  /** The chat template, as it stands in the file. */
  readonly template: string | null;
  /** What the registry says of the file. */
  readonly toolFormat?: string | null;
  /** `general.architecture` of the file. */
  readonly architecture?: string | null;
}

export function dialectOf({ template, toolFormat = null, architecture = null }: ModelSigns): Dialect {
  const bySign = signs.find(([, ...all]) => template !== null && all.every(sign => template.includes(sign)))?.[0];
  const byFormat = toolFormat === null ? undefined : (formats[toolFormat] ?? nameOf(toolFormat));
  // A template that writes calls in the common form has said so as well.
  const byTemplate = bySign ?? (template?.includes(toolCallOpening) === true ? 'common' : undefined);
  const byFamily = architectures.find(([pattern]) => pattern.test(architecture ?? ''))?.[1];
  const dialect = dialects[byTemplate ?? byFormat ?? byFamily ?? 'common'];
  const isOwn = template === null || template.includes(dialect.thought[0]);
  const named = isOwn ? null : thoughts.find(([open, close]) => template.includes(open) || template.includes(close));
  const thought = named ?? dialect.thought;
  return { ...dialect, thought, calls: { ...forms[dialect.name], thought } };
}

const nameOf = (format: string): DialectName | undefined =>
  Object.values(dialects).find(({ name }) => name === format)?.name;

/** Whether the prompt has opened a thought that the answer goes on with. */
export const startsInThought = (prompt: string, { thought: [open] }: Dialect): boolean =>
  prompt.trimEnd().endsWith(open);

/** Some templates open a thought whatever they are asked: for a job that wants none, it is over before it begins. */
export function closedThought(prompt: string, job: Pick<EngineJob, 'reasoningEffort'>, dialect: Dialect): string {
  const isUnwanted = job.reasoningEffort?.toLowerCase() === 'none' && startsInThought(prompt, dialect);
  return isUnwanted ? `${prompt.trimEnd()}\n\n${thoughtEnd(dialect)}` : prompt;
}

/** What ends a thought, up to where the model goes on with its answer. */
export const thoughtEnd = ({ thought: [, close], calls }: Dialect): string => close + (calls.afterThought || '\n\n');
