/**
 * How each family writes its calls, for answers that a grammar leads and for answers that are gone on with from their
 * text. What is written so, the family's readers read (dialects.ts).
 */
import { type CallForm, callIndex, commonForm, type ParameterTags } from '../../protocol/call-form.ts';
import type { DialectName } from './dialects.ts';

const quoted = JSON.stringify;

/** Objects in a list behind one mark. */
const listed = (open: string, close: string, before = (name: string) => `{"name": ${quoted(name)}, "arguments": `) =>
  form({ open: `${open}[`, between: ', ', close: `]${close}`, around: name => [before(name), '}'] });

/** Parameters in tags; every call in marks of its own, so that a call in the common form may stand beside it. */
const tagged = (around: CallForm['around'], parameters: ParameterTags): CallForm => form({ around, parameters });

const form = (own: Partial<CallForm>): CallForm => ({ ...commonForm, ...own });

const functionTags: ParameterTags = {
  before: key => `<parameter=${key}>\n`,
  end: '</parameter>',
  lead: '\n',
  gap: '\n',
};
const invokeTags = (prefix: string, before: ParameterTags['before']): ParameterTags => ({
  before,
  end: `</${prefix}parameter>`,
  lead: '',
  gap: '\n',
});
const dsml = '｜DSML｜';

export const forms: Readonly<Record<DialectName, CallForm>> = {
  common: commonForm,
  cohere: {
    ...listed(
      '<|START_ACTION|>',
      '',
      name => `{"tool_call_id": "${callIndex}", "tool_name": ${quoted(name)}, "parameters": `,
    ),
    answers: ['<|START_RESPONSE|>', ''],
  },
  deepseek: form({
    open: '<｜tool▁calls▁begin｜>',
    between: '\n',
    close: '<｜tool▁calls▁end｜>',
    around: name => [`<｜tool▁call▁begin｜>function<｜tool▁sep｜>${name}\n\`\`\`json\n`, '\n```<｜tool▁call▁end｜>'],
  }),
  'deepseek-v3.1': form({
    open: '<｜tool▁calls▁begin｜>',
    between: '',
    close: '<｜tool▁calls▁end｜>',
    around: name => [`<｜tool▁call▁begin｜>${name}<｜tool▁sep｜>`, '<｜tool▁call▁end｜>'],
  }),
  'deepseek-v3.2': tagged(
    name => [
      `<${dsml}function_calls>\n<${dsml}invoke name=${quoted(name)}>\n`,
      `</${dsml}invoke>\n</${dsml}function_calls>`,
    ],
    invokeTags(dsml, (key, isText) => `<${dsml}parameter name=${quoted(key)} string="${isText}">`),
  ),
  // Its own arguments have marks in the place of quotes; both are read.
  gemma: form({ between: '', around: name => [`<|tool_call>call:${name}`, '<tool_call|>'] }),
  glm: tagged(name => [`<tool_call>${name}\n`, '</tool_call>'], {
    before: key => `<arg_key>${key}</arg_key>\n<arg_value>`,
    end: '</arg_value>',
    lead: '',
    gap: '\n',
  }),
  granite: listed('<|tool_call|>', ''),
  harmony: form({
    // The end of a call is the end of the answer.
    callsMax: 1,
    around: name => [`<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>`, ''],
    afterThought: '<|start|>assistant',
    answers: ['<|channel|>final <|constrain|>json<|message|>', '<|channel|>final<|message|>'],
  }),
  hunyuan: listed('<tool_calls>', '</tool_calls>'),
  kimi: form({
    open: '<|tool_calls_section_begin|>',
    between: '',
    close: '<|tool_calls_section_end|>',
    around: name => [
      `<|tool_call_begin|>functions.${name}:${callIndex}<|tool_call_argument_begin|>`,
      '<|tool_call_end|>',
    ],
  }),
  // Python's values are no JSON, which a schema is held in.
  lfm2: commonForm,
  llama3: form({
    between: '; ',
    around: name => [`{"name": ${quoted(name)}, "parameters": `, '}'],
    isFirst: true,
  }),
  minimax: tagged(
    name => [`<minimax:tool_call>\n<invoke name=${quoted(name)}>\n`, '</invoke>\n</minimax:tool_call>'],
    invokeTags('', key => `<parameter name=${quoted(key)}>`),
  ),
  mistral: form({ between: '', around: name => [`[TOOL_CALLS]${name}[ARGS]`, ''] }),
  'mistral-list': listed('[TOOL_CALLS]', ''),
  nemotron: listed('<TOOLCALL>', '</TOOLCALL>'),
  'qwen-xml': tagged(name => [`<tool_call>\n<function=${name}>\n`, '</function>\n</tool_call>'], functionTags),
  seed: tagged(name => [`<seed:tool_call>\n<function=${name}>\n`, '</function>\n</seed:tool_call>'], functionTags),
};
