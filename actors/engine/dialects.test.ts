import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Dialect, dialectOf } from './dialects.ts';
import { type Output, outputParser } from './output-parser.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 300),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

const signs = {
  llama3: '{{- "<|python_tag|>" }}',
  mistral: "{{ '[TOOL_CALLS]' }}",
  deepseek: "{{ '<｜tool▁calls▁begin｜>' }}",
  kimi: '<|tool_calls_section_begin|>',
  glm: '<arg_key>{{ k }}</arg_key>',
  harmony: '<|start|>assistant<|channel|>',
} as const;

function parse(dialect: Dialect, chunks: readonly string[]): Output[] {
  const parser = outputParser({
    toolsOffered: true,
    startsInThought: false,
    typesOf: (_, name) => (name === 'n' ? ['integer'] : ['string']),
    toolNames: new Set(['look', 'add']),
    dialect,
  });
  const joined: Output[] = [];
  for (const output of [...chunks.flatMap(chunk => parser.push(chunk)), ...parser.finish()]) {
    const last = joined.at(-1);
    if (output.kind === 'text' && last?.kind === 'text')
      joined[joined.length - 1] = { ...last, text: last.text + output.text };
    else if (output.kind === 'reasoning' && last?.kind === 'reasoning')
      joined[joined.length - 1] = { ...last, text: last.text + output.text };
    else if (output.kind === 'callArguments' && last?.kind === 'callArguments')
      joined[joined.length - 1] = { ...last, text: last.text + output.text };
    else joined.push(output);
  }
  return joined;
}

const said = (outputs: readonly Output[]) => ({
  text: outputs.map(output => (output.kind === 'text' ? output.text : '')).join(''),
  reasoning: outputs.map(output => (output.kind === 'reasoning' ? output.text : '')).join(''),
  calls: outputs.flatMap(output => (output.kind === 'call' ? [[output.name, JSON.parse(output.arguments)]] : [])),
});

interface Case {
  readonly family: keyof typeof signs;
  readonly written: string;
  readonly text?: string;
  readonly reasoning?: string;
  readonly calls: readonly unknown[];
}
const look = ['look', { a: 'x' }];
const add = ['add', { n: 2 }];
const dsCall = (name: string, args: string): string =>
  `<｜tool▁call▁begin｜>function<｜tool▁sep｜>${name}\n\`\`\`json\n${args}\n\`\`\`<｜tool▁call▁end｜>`;
const cases: readonly Case[] = [
  { family: 'llama3', written: '{"name": "look", "parameters": {"a": "x"}}', calls: [look] },
  {
    family: 'llama3',
    written:
      '<|python_tag|>{"name": "look", "parameters": {"a": "x"}}; {"type": "function", "name": "add", "parameters": {"n": 2}}',
    calls: [look, add],
  },
  { family: 'llama3', written: '{"name": "Ada", "age": 36}', text: '{"name": "Ada", "age": 36}', calls: [] },
  { family: 'llama3', written: 'Use {"name": "look"} there.', text: 'Use {"name": "look"} there.', calls: [] },
  {
    family: 'mistral',
    written:
      '[THINK]Hm.[/THINK]I look.[TOOL_CALLS][{"name": "look", "arguments": {"a": "x"}}, {"name": "add", "arguments": {"n": 2}}]',
    reasoning: 'Hm.',
    text: 'I look.',
    calls: [look, add],
  },
  {
    family: 'mistral',
    written: '[TOOL_CALLS]look[CALL_ID]abc123def[ARGS]{"a": "x"}[TOOL_CALLS]add[ARGS]{"n": 2}',
    calls: [look, add],
  },
  { family: 'mistral', written: '[TOOL_CALLS]look{"a": "x"}', calls: [look] },
  {
    family: 'deepseek',
    written: `<think>\nHm.\n</think>\n\nI look.<｜tool▁calls▁begin｜>${dsCall('look', '{"a": "x"}')}\n${dsCall('add', '{"n": 2}')}<｜tool▁calls▁end｜>`,
    reasoning: 'Hm.',
    text: 'I look.',
    calls: [look, add],
  },
  {
    family: 'deepseek',
    written:
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{"a": "x"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    calls: [look],
  },
  {
    family: 'kimi',
    written:
      '<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>{"a": "x"}<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>{"n": 2}<|tool_call_end|><|tool_calls_section_end|>',
    calls: [look, add],
  },
  {
    family: 'glm',
    written:
      'I look.\n<tool_call>look\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n</tool_call>\n<tool_call>add\n<arg_key>n</arg_key>\n<arg_value>2</arg_value>\n</tool_call>',
    text: 'I look.',
    calls: [look, add],
  },
  { family: 'glm', written: '<tool_call>\n{"name": "look", "arguments": {"a": "x"}}\n</tool_call>', calls: [look] },
  {
    family: 'harmony',
    written: '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>It is <5>.',
    reasoning: 'Hm.',
    text: 'It is <5>.',
    calls: [],
  },
  {
    family: 'harmony',
    written:
      '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.look <|constrain|>json<|message|>{"a": "x"}',
    reasoning: 'Hm.',
    calls: [look],
  },
  { family: 'harmony', written: '<tool_call>\n{"name": "add", "arguments": {"n": 2}}\n</tool_call>', calls: [add] },
];

test('every family says its thoughts, its text and its calls, and none of its marks', () => {
  for (const { family, written, text = '', reasoning = '', calls } of cases) {
    const dialect = dialectOf(signs[family]);
    assert.is(dialect.name, family);
    assert.equal(said(parse(dialect, [written])), { text, reasoning, calls }, written);
    assert.equal(parse(dialect, [...written]), parse(dialect, [written]), written);
  }
});

test('how a text is cut makes no difference in any family, and broken ones end (P1)', () => {
  const mark = /<[^>]*>|\[[A-Z_/]+\]|[{}"\n]|[^<[{}"\n]+/g;
  const anyCase = fc.constantFrom(...cases);
  const anyText = fc.tuple(anyCase, anyCase, fc.nat(60), fc.nat(60)).map(([a, b, from, to]) => {
    const parts = [...a.written.matchAll(mark)].map(([part]) => part);
    const more = [...b.written.matchAll(mark)].map(([part]) => part);
    return { family: a.family, text: [...parts.slice(0, from), ...more.slice(to)].join('') };
  });
  fc.assert(
    fc.property(anyText, fc.array(fc.nat(), { maxLength: 6 }), ({ family, text }, cuts) => {
      const dialect = dialectOf(signs[family]);
      const at = [...new Set(cuts.map(c => c % (text.length + 1)))].sort((a, b) => a - b);
      const pieces = [...at, text.length].map((end, i) => text.slice(i === 0 ? 0 : at[i - 1], end));
      const whole = parse(dialect, [text]);
      assert.equal(parse(dialect, pieces), whole);
      assert.equal(parse(dialect, [...text]), whole);
      for (const output of whole) if (output.kind === 'call') JSON.parse(output.arguments);
    }),
    runs,
  );
});

test('a template without a mark of its own is read in the common form', () => {
  assert.is(dialectOf(null).name, 'common');
  assert.is(dialectOf('<|im_start|>{{ message }}<tool_call>').name, 'common');
});

test.run();
