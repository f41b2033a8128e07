/**
 * How families of models write thoughts and tool calls, and which family a chat template belongs to.
 *
 *   Qwen, Hermes  <think>, <tool_call> with JSON or tags     Mistral   [THINK], [TOOL_CALLS] a list, or NAME[ARGS]{…}
 *   Llama 3       <|python_tag|> or a bare {"name": …}        DeepSeek  <｜tool▁calls▁begin｜> … a section of calls
 *   GLM           <tool_call>NAME <arg_key>…                  Kimi      <|tool_calls_section_begin|> … likewise
 *   gpt-oss       channels: output-parser.harmony.ts
 *
 * The forms that every reader knows come after those of the family: the engine writes them itself where a grammar leads
 * the answer, or where an answer is gone on with from its text.
 */
import { functionReader, glmTags } from './tool-call-text.functions.ts';
import { bareReader, mistralReader, sectionReader } from './tool-call-text.sections.ts';
import {
  type CallReader,
  callingReader,
  type ToolsOffered,
  toolCallOpening,
  toolCallReader,
} from './tool-call-text.ts';

export interface Opening {
  readonly mark: string;
  readonly reader: (tools: ToolsOffered) => CallReader;
}

export interface Dialect {
  readonly name: 'common' | 'llama3' | 'mistral' | 'deepseek' | 'kimi' | 'glm' | 'harmony';
  readonly thought: readonly [open: string, close: string];
  readonly openings: readonly Opening[];
  /** Reads an answer that is a call from its first character on. */
  readonly bare: ((tools: ToolsOffered) => CallReader) | null;
  /** Its marks are control tokens, which have no text unless it is asked for. */
  readonly showsControl: boolean;
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
  bare: null,
  showsControl: false,
};

const deepseekSection = {
  head: /^\s*<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>([^\n<]{1,256})\s*```json\s*|([^\n<]{1,256})<｜tool▁sep｜>\s*)(?=\{)/,
  closings: ['```<｜tool▁call▁end｜>', '<｜tool▁call▁end｜>'],
  begin: '<｜tool▁call▁begin｜>',
  end: '<｜tool▁calls▁end｜>',
};
const kimiSection = {
  head: /^\s*<\|tool_call_begin\|>\s*(?:functions\.)?([^\s:<]{1,256})(?::\d+)?\s*<\|tool_call_argument_begin\|>\s*(?=\{)/,
  closings: ['<|tool_call_end|>'],
  begin: '<|tool_call_begin|>',
  end: '<|tool_calls_section_end|>',
};

const families: readonly (Dialect & { readonly sign: string })[] = [
  { ...common, name: 'harmony', sign: '<|channel|>', showsControl: true },
  {
    ...common,
    name: 'deepseek',
    sign: '<｜tool▁calls▁begin｜>',
    openings: [{ mark: '<｜tool▁calls▁begin｜>', reader: () => sectionReader(deepseekSection) }, ...everywhere],
    showsControl: true,
  },
  {
    ...common,
    name: 'kimi',
    sign: '<|tool_calls_section_begin|>',
    openings: [{ mark: '<|tool_calls_section_begin|>', reader: () => sectionReader(kimiSection) }, ...everywhere],
    showsControl: true,
  },
  {
    ...common,
    name: 'mistral',
    sign: '[TOOL_CALLS]',
    thought: ['[THINK]', '[/THINK]'],
    openings: [{ mark: '[TOOL_CALLS]', reader: mistralReader }, ...everywhere],
    showsControl: true,
  },
  {
    ...common,
    name: 'glm',
    sign: '<arg_key>',
    openings: [{ mark: toolCallOpening, reader: glmReader }, ...everywhere.slice(1)],
  },
  {
    ...common,
    name: 'llama3',
    sign: '<|python_tag|>',
    openings: [{ mark: '<|python_tag|>', reader: bareReader }, ...everywhere],
    bare: bareReader,
    showsControl: true,
  },
  // Llama 3.2 and its kin have no mark of their own: their template asks for the object.
  {
    ...common,
    name: 'llama3',
    sign: '"parameters": dictionary of argument name and its value',
    openings: [{ mark: '<|python_tag|>', reader: bareReader }, ...everywhere],
    bare: bareReader,
    showsControl: true,
  },
];

/** `template`: the model's chat template, as it stands in its file. */
export const dialectOf = (template: string | null): Dialect =>
  families.find(({ sign }) => template?.includes(sign) === true) ?? common;

const functionMark = '<function=';

/** GLM's own form, or one that is known everywhere, as the first characters say. */
function glmReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (inner === null) {
      const start = text.trimStart();
      if (!ended && start.length < functionMark.length && functionMark.startsWith(start))
        return { kind: 'more', begun: false };
      inner =
        start.startsWith('{') || start.startsWith(functionMark)
          ? toolCallReader(tools)
          : functionReader(tools, '', glmTags);
    }
    return inner(text, ended);
  };
}
