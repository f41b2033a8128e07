/** What each family of models writes, and with what it is read (docs/tool-formats.md). */
import { commonForm } from '../../protocol/call-form.ts';
import type { Dialect, DialectName } from './dialects.ts';
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
export const dsml = '｜DSML｜';

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

export const dialects: Readonly<Record<DialectName, Dialect>> = {
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

/** An object, or Python's call of a tool that Llama 3 knows by itself. */
function taggedCallReader(tools: ToolsOffered): CallReader {
  let inner: CallReader | null = null;
  return (text, ended) => {
    if (text.trim() === '' && !ended) return more(false);
    inner ??= text.trimStart().startsWith('{') ? bareReader(tools) : pythonReader(tools, []);
    return inner(text, ended);
  };
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
