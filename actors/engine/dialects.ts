/**
 * How families of models write thoughts and tool calls, and which family a model belongs to: its chat template says so by
 * a mark; else the registry, by the format that it names for the model's file; else the architecture in the file.
 * docs/tool-formats.md has the table.
 *
 * The forms that every reader knows come after those of the family: the engine writes them itself where an answer is gone
 * on with from its text, and small models mix them up.
 */
import { type CallForm, commonForm } from '../../protocol/call-form.ts';
import { forms } from './dialects.forms.ts';
import type { EngineJob } from './engine.ts';
import type { Opening } from './openings.ts';
import { functionReader, glmTags, invokeTags, seedTags, taggedReader } from './tool-call-text.functions.ts';
import { pythonReader } from './tool-call-text.python.ts';
import { bareReader, listedReader, mistralMark, mistralReader, sectionReader } from './tool-call-text.sections.ts';
import {
  argumentsReader,
  broken,
  type CallReader,
  callingReader,
  more,
  type ToolsOffered,
  toolCallOpening,
  toolCallReader,
} from './tool-call-text.ts';

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

const everywhere: readonly Opening[] = [
  { mark: toolCallOpening, reader: toolCallReader },
  { mark: '[Calling tool:', reader: callingReader },
];
const think = ['<think>', '</think>'] as const;

export const common: Dialect = {
  name: 'common',
  thought: think,
  openings: everywhere,
  bare: bareReader,
  showsControl: false,
  marks: [],
  calls: commonForm,
};

const deepseekSection = {
  head: /^\s*<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>([^\n<]{1,256})\s*```json\s*|([^\n<]{1,256})<｜tool▁sep｜>\s*)(?=\{)/,
  closings: ['```<｜tool▁call▁end｜>', '\n```<｜tool▁call▁end｜>', '<｜tool▁call▁end｜>'],
  begin: '<｜tool▁call▁begin｜>',
  end: '<｜tool▁calls▁end｜>',
};
const kimiSection = {
  head: /^\s*<\|tool_call_begin\|>\s*(?:functions\.)?([^\s:<]{1,256})(?::\d+)?\s*<\|tool_call_argument_begin\|>\s*(?=\{)/,
  closings: ['<|tool_call_end|>'],
  begin: '<|tool_call_begin|>',
  end: '<|tool_calls_section_end|>',
};
const dsml = '｜DSML｜';

const token = (mark: string, reader: Opening['reader']): Opening => ({ mark, reader, isToken: true });
/** A dialect whose marks are control tokens. */
const control = (dialect: Pick<Dialect, 'name' | 'openings'> & Partial<Dialect>): Dialect => ({
  ...common,
  showsControl: true,
  ...dialect,
  openings: [...dialect.openings, ...everywhere],
  marks: [...(dialect.marks ?? []), ...(dialect.thought ?? [])],
});
const deepseek = (name: DialectName): Dialect =>
  control({
    name,
    openings: [token('<｜tool▁calls▁begin｜>', () => sectionReader(deepseekSection))],
    marks: ['<｜tool▁call▁begin｜>', '<｜tool▁sep｜>', '<｜tool▁call▁end｜>', '<｜tool▁calls▁end｜>'],
  });
const mistral = (name: DialectName): Dialect =>
  control({
    name,
    thought: ['[THINK]', '[/THINK]'],
    openings: [token(mistralMark, mistralReader)],
    marks: ['[CALL_ID]', '[ARGS]'],
  });
const listed = (open: string, close: string) => token(open, tools => listedReader(tools, close));

const dialects: Readonly<Record<DialectName, Dialect>> = {
  common,
  cohere: control({
    name: 'cohere',
    thought: ['<|START_THINKING|>', '<|END_THINKING|>'],
    openings: [listed('<|START_ACTION|>', '<|END_ACTION|>')],
    marks: ['<|END_ACTION|>', '<|START_RESPONSE|>', '<|END_RESPONSE|>', '<|START_TEXT|>', '<|END_TEXT|>'],
  }),
  deepseek: deepseek('deepseek'),
  'deepseek-v3.1': deepseek('deepseek-v3.1'),
  'deepseek-v3.2': control({
    name: 'deepseek-v3.2',
    openings: [
      token(`<${dsml}function_calls>`, tools =>
        taggedReader(tools, invokeTags(dsml), `<${dsml}invoke name="`, `</${dsml}function_calls>`),
      ),
    ],
    marks: [`</${dsml}function_calls>`],
  }),
  gemma: control({
    name: 'gemma',
    thought: ['<|channel>thought', '<channel|>'],
    openings: [token('<|tool_call>', gemmaReader)],
    marks: ['<tool_call|>', '<|"|>', '<|tool_response>', '<tool_response|>'],
  }),
  glm: { ...common, name: 'glm', openings: [{ mark: toolCallOpening, reader: glmReader }, ...everywhere.slice(1)] },
  granite: control({
    name: 'granite',
    openings: [listed('<|tool_call|>', '<|/tool_call|>')],
    marks: ['<|/tool_call|>'],
  }),
  harmony: {
    ...control({
      name: 'harmony',
      openings: [],
      marks: ['<|channel|>', '<|message|>', '<|start|>', '<|end|>', '<|call|>', '<|return|>', '<|constrain|>'],
    }),
    thought: ['<|channel|>analysis<|message|>', '<|end|>'],
  },
  hunyuan: control({ name: 'hunyuan', openings: [listed('<tool_calls>', '</tool_calls>')], marks: ['</tool_calls>'] }),
  kimi: control({
    name: 'kimi',
    openings: [token('<|tool_calls_section_begin|>', () => sectionReader(kimiSection))],
    marks: ['<|tool_call_begin|>', '<|tool_call_argument_begin|>', '<|tool_call_end|>', '<|tool_calls_section_end|>'],
  }),
  lfm2: control({
    name: 'lfm2',
    openings: [token('<|tool_call_start|>', tools => pythonReader(tools, ['<|tool_call_end|>']))],
    marks: ['<|tool_call_end|>'],
  }),
  // Llama 4 is told the same form, and knows Python's besides.
  llama3: control({
    name: 'llama3',
    openings: [
      token('<|python_tag|>', taggedCallReader),
      token('<|python_start|>', tools => pythonReader(tools, ['<|python_end|>'])),
    ],
    marks: ['<|python_end|>', '<|eom_id|>', '<|eom|>'],
  }),
  minimax: control({
    name: 'minimax',
    openings: [
      token('<minimax:tool_call>', tools =>
        taggedReader(tools, invokeTags(), '<invoke name="', '</minimax:tool_call>'),
      ),
    ],
    marks: ['</minimax:tool_call>'],
  }),
  mistral: mistral('mistral'),
  'mistral-list': mistral('mistral-list'),
  nemotron: control({ name: 'nemotron', openings: [listed('<TOOLCALL>', '</TOOLCALL>')], marks: ['</TOOLCALL>'] }),
  'qwen-xml': {
    ...common,
    name: 'qwen-xml',
    // Now and then it forgets the outer tag.
    openings: [
      ...everywhere,
      { mark: '<function=', isPart: true, reader: tools => functionReader(tools, '</tool_call>') },
    ],
  },
  seed: control({
    name: 'seed',
    thought: ['<seed:think>', '</seed:think>'],
    openings: [token('<seed:tool_call>', tools => taggedReader(tools, seedTags, '<function=', '</seed:tool_call>'))],
    marks: ['</seed:tool_call>', '<seed:cot_budget_reflect>', '</seed:cot_budget_reflect>'],
  }),
};

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
  think,
  ...Object.values(dialects).map(({ thought }) => thought),
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

/** An object, or Python's call of a tool that Llama 3 knows by itself. */
function taggedCallReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (text.trim() === '' && !ended) return more(false);
    inner ??= text.trimStart().startsWith('{') ? bareReader(tools) : pythonReader(tools, []);
    return inner(text, ended);
  };
}

/** Some templates open a thought whatever they are asked: for a job that wants none, it is over before it begins. */
export function closedThought(prompt: string, job: Pick<EngineJob, 'reasoningEffort'>, dialect: Dialect): string {
  const isUnwanted = job.reasoningEffort?.toLowerCase() === 'none' && startsInThought(prompt, dialect);
  return isUnwanted ? `${prompt.trimEnd()}\n\n${dialect.thought[1]}${dialect.calls.afterThought || '\n\n'}` : prompt;
}

const functionMark = '<function=';

/** GLM's own form, or one that is known everywhere, as the first characters say. */
function glmReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner === null) {
      const start = text.trimStart();
      if (!ended && start.length < functionMark.length && functionMark.startsWith(start)) return more(false);
      inner =
        start.startsWith('{') || start.startsWith(functionMark)
          ? toolCallReader(tools)
          : functionReader(tools, '', glmTags);
    }
    return inner(text, ended);
  };
}

/** `call:NAME{key:<|"|>text<|"|>,other:3}<tool_call|>` */
function gemmaReader(): CallReader {
  const close = '<tool_call|>';
  let call: CallReader | null = null;
  return (text, ended) => {
    if (call === null) {
      const head = /^\s*call:\s*([\w.:-]{1,256})\s*(?=\{)/.exec(text);
      if (head === null) {
        const possible = /^\s*(c(a(l(l(:\s*([\w.:-]{1,256}\s*)?)?)?)?)?)?$/.test(text);
        return possible && !ended ? more(true) : broken(text.length - text.trimStart().length, [close]);
      }
      call = argumentsReader('json', head[1] ?? '', head[0].length, [close], [], '<|"|>');
    }
    return call(text, ended);
  };
}
