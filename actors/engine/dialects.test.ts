import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { catalogue } from '../../registry/catalogue.ts';
import { closedThought, type Dialect, dialectOf, startsInThought } from './dialects.ts';
import { type Output, outputParser } from './output-parser.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 300),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

/** As much of a template as tells the family. */
const signs = {
  common: '<tool_call>',
  cohere: '<|START_ACTION|>',
  deepseek: "'<｜tool▁calls▁begin｜>' '```json'",
  'deepseek-v3.1': "{{ '<｜tool▁calls▁begin｜>' }}",
  'deepseek-v3.2': '<｜DSML｜function_calls>',
  gemma: '<|tool_call>call:',
  glm: '<arg_key>{{ k }}</arg_key>',
  granite: '<|tool_call|>',
  harmony: '<|start|>assistant<|channel|>analysis<|message|>',
  hunyuan: '<tool_calls>',
  kimi: '<|tool_calls_section_begin|>',
  lfm2: '<|tool_call_start|>',
  llama3: '{{- "<|python_tag|>" }}',
  minimax: '<minimax:tool_call>',
  mistral: "{{ '[TOOL_CALLS]' + name + '[ARGS]' }}",
  'mistral-list': "{{ '[TOOL_CALLS]' }}",
  nemotron: '<TOOLCALL>',
  'qwen-xml': '<tool_call>\n<function=',
  seed: '<seed:tool_call>',
} as const;

function parse(dialect: Dialect, chunks: readonly string[], toolsOffered = true, startsInThought = false): Output[] {
  const parser = outputParser({
    toolsOffered,
    startsInThought,
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
  { family: 'common', written: '{"name": "look", "arguments": {"a": "x"}}', calls: [look] },
  {
    family: 'cohere',
    written:
      '<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[\n {"tool_call_id": "0", "tool_name": "look", "parameters": {"a": "x"}},\n {"tool_call_id": "1", "tool_name": "add", "parameters": {"n": 2}}\n]<|END_ACTION|>',
    reasoning: 'Hm.',
    calls: [look, add],
  },
  {
    family: 'cohere',
    written: '<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>It is 5.<|END_RESPONSE|>',
    reasoning: 'Hm.',
    text: 'It is 5.',
    calls: [],
  },
  {
    family: 'deepseek-v3.2',
    written:
      '<think>Hm.</think>I look.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="look">\n<｜DSML｜parameter name="a" string="true">x</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name="add">\n<｜DSML｜parameter name="n" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    reasoning: 'Hm.',
    text: 'I look.',
    calls: [look, add],
  },
  {
    family: 'gemma',
    written:
      '<|channel>thought\nHm.\n<channel|>I look.<|tool_call>call:look{a:<|"|>x<|"|>}<tool_call|><|tool_call>call:add{n:2}<tool_call|>',
    reasoning: 'Hm.',
    text: 'I look.',
    calls: [look, add],
  },
  {
    family: 'granite',
    written: '<|tool_call|>[{"name": "look", "arguments": {"a": "x"}}, {"name": "add", "arguments": {"n": 2}}]',
    calls: [look, add],
  },
  {
    family: 'hunyuan',
    written:
      '<think>Hm.</think><tool_calls>\n[{"name": "look", "arguments": {"a": "x"}}, {"name": "add", "arguments": {"n": 2}}]\n</tool_calls>',
    reasoning: 'Hm.',
    calls: [look, add],
  },
  {
    family: 'nemotron',
    written:
      '<think>Hm.</think><TOOLCALL>[{"name": "look", "arguments": {"a": "x"}}, {"name": "add", "arguments": {"n": 2}}]</TOOLCALL>',
    reasoning: 'Hm.',
    calls: [look, add],
  },
  {
    family: 'lfm2',
    written: 'I look.<|tool_call_start|>[look(a="x"), add(n=2)]<|tool_call_end|>',
    text: 'I look.',
    calls: [look, add],
  },
  { family: 'llama3', written: "[look(a='x'), add(n=2)]", calls: [look, add] },
  { family: 'llama3', written: '<|python_start|>[look(a="x")]<|python_end|>', calls: [look] },
  { family: 'llama3', written: '<|python_tag|>look.call(a="x")', calls: [look] },
  { family: 'llama3', written: '[1] and [2](x)', text: '[1] and [2](x)', calls: [] },
  {
    family: 'minimax',
    written:
      '<think>\nHm.\n</think>\n\nI look.\n<minimax:tool_call>\n<invoke name="look">\n<parameter name="a">x</parameter>\n</invoke>\n<invoke name="add">\n<parameter name="n">2</parameter>\n</invoke>\n</minimax:tool_call>',
    reasoning: 'Hm.',
    text: 'I look.',
    calls: [look, add],
  },
  {
    family: 'qwen-xml',
    written:
      '<tool_call>\n<function=look>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=add>\n<parameter=n>\n2\n</parameter>\n</function>\n</tool_call>',
    calls: [look, add],
  },
  {
    family: 'qwen-xml',
    written: 'I look.\n<function=look>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>',
    text: 'I look.',
    calls: [look],
  },
  {
    family: 'seed',
    written:
      '<seed:think>Hm.</seed:think>I look.\n<seed:tool_call>\n<function=look>\n<parameter=a>x</parameter>\n</function>\n<function=add>\n<parameter=n>2</parameter>\n</function>\n</seed:tool_call>',
    reasoning: 'Hm.',
    text: 'I look.',
    calls: [look, add],
  },
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
    family: 'mistral-list',
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
    family: 'deepseek-v3.1',
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
    const dialect = dialectOf({ template: signs[family] });
    assert.is(dialect.name, family);
    assert.equal(said(parse(dialect, [written])), { text, reasoning, calls }, written);
    assert.equal(parse(dialect, [...written]), parse(dialect, [written]), written);
  }
});

test('how a text is cut makes no difference in any family, and broken ones end (P1, G18)', () => {
  const mark = /<[^>]*>|<\|"\|>|\[[A-Z_/]+\]|[{}"\n]|[^<[{}"\n]+/g;
  const anyCase = fc.constantFrom(...cases);
  const anyText = fc.tuple(anyCase, anyCase, fc.nat(60), fc.nat(60)).map(([a, b, from, to]) => {
    const parts = [...a.written.matchAll(mark)].map(([part]) => part);
    const more = [...b.written.matchAll(mark)].map(([part]) => part);
    return { family: a.family, text: [...parts.slice(0, from), ...more.slice(to)].join('') };
  });
  fc.assert(
    fc.property(anyText, fc.array(fc.nat(), { maxLength: 6 }), ({ family, text }, cuts) => {
      const dialect = dialectOf({ template: signs[family] });
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

/** The control tokens of each family, by hand: what may never be seen. */
const controlTokens: Readonly<Partial<Record<keyof typeof signs, string>>> = {
  cohere:
    '<|START_THINKING|> <|END_THINKING|> <|START_ACTION|> <|END_ACTION|> <|START_RESPONSE|> <|END_RESPONSE|> <|START_TEXT|> <|END_TEXT|>',
  deepseek: '<｜tool▁calls▁begin｜> <｜tool▁calls▁end｜> <｜tool▁call▁begin｜> <｜tool▁call▁end｜> <｜tool▁sep｜>',
  'deepseek-v3.1':
    '<｜tool▁calls▁begin｜> <｜tool▁calls▁end｜> <｜tool▁call▁begin｜> <｜tool▁call▁end｜> <｜tool▁sep｜>',
  'deepseek-v3.2': '<｜DSML｜function_calls> </｜DSML｜function_calls>',
  gemma: '<|tool_call> <tool_call|> <|tool_response> <tool_response|> <|"|> <|channel>thought <channel|>',
  granite: '<|tool_call|> <|/tool_call|>',
  harmony: '<|start|> <|end|> <|channel|> <|message|> <|call|> <|return|> <|constrain|>',
  hunyuan: '<tool_calls> </tool_calls>',
  kimi: '<|tool_calls_section_begin|> <|tool_calls_section_end|> <|tool_call_begin|> <|tool_call_end|> <|tool_call_argument_begin|>',
  lfm2: '<|tool_call_start|> <|tool_call_end|>',
  llama3: '<|python_tag|> <|python_start|> <|python_end|> <|eom_id|> <|eom|>',
  minimax: '<minimax:tool_call> </minimax:tool_call>',
  mistral: '[TOOL_CALLS] [ARGS] [CALL_ID] [THINK] [/THINK]',
  'mistral-list': '[TOOL_CALLS] [THINK] [/THINK]',
  nemotron: '<TOOLCALL> </TOOLCALL>',
  seed: '<seed:tool_call> </seed:tool_call> <seed:think> </seed:think> <seed:cot_budget_reflect> </seed:cot_budget_reflect>',
};
const unseen = ({ name }: Dialect): string[] => controlTokens[name]?.split(' ') ?? [];

test('no mark is the beginning of another, so that it never matters how they come (P1)', () => {
  for (const sign of Object.values(signs)) {
    const { openings, marks } = dialectOf({ template: sign });
    const all = [...openings.map(({ mark }) => mark), ...marks];
    for (const [at, mark] of all.entries())
      assert.not.ok(
        all.some((other, index) => index !== at && other.startsWith(mark)),
        mark,
      );
  }
});

test('whatever a model writes, no control token of its family is shown, nothing throws, and plain text is kept', () => {
  const words = fc.constantFrom(
    'one',
    ' two',
    '\n',
    '{"name": "look", ',
    '"arguments": {"a": "x"',
    '}}',
    'look',
    ']',
    '"',
  );
  for (const [family, sign] of Object.entries(signs)) {
    const dialect = dialectOf({ template: sign });
    const tokens = [...unseen(dialect), ...dialect.thought];
    const text = fc.array(fc.oneof(words, tokens.length === 0 ? words : fc.constantFrom(...tokens)), { maxLength: 16 });
    fc.assert(
      fc.property(text, fc.boolean(), (parts, toolsOffered) => {
        const outputs = parse(dialect, parts, toolsOffered);
        const { text, reasoning } = said(outputs);
        for (const mark of unseen(dialect)) assert.not.ok(`${text}|${reasoning}`.includes(mark), `${family}: ${mark}`);
        for (const output of outputs) if (output.kind === 'call') JSON.parse(output.arguments);
        const isPlain = outputs.every(({ kind }) => kind === 'text' || kind === 'reasoning');
        // Harmony's words between a channel and its message are no text.
        if (!isPlain || family === 'harmony') return;
        const count = (where: string, word: string): number => where.split(word).length - 1;
        for (const word of ['one', 'two', 'look'])
          assert.is(count(reasoning + text, word), count(parts.join(''), word), `${family}: ${word}`);
      }),
      { ...runs, numRuns: Math.ceil(runs.numRuns / 3) },
    );
  }
});

test('what the template does not tell, the registry does, and then the architecture', () => {
  const name = (...[signs]: Parameters<typeof dialectOf>): string => dialectOf(signs).name;
  const mute = '{{ messages }}';
  assert.is(name({ template: '[TOOL_CALLS]', toolFormat: 'deepseek' }), 'mistral-list');
  assert.is(name({ template: '<tool_call>', toolFormat: 'deepseek', architecture: 'gpt-oss' }), 'common');
  assert.is(name({ template: mute, toolFormat: 'minimax', architecture: 'gpt-oss' }), 'minimax');
  assert.is(name({ template: null, toolFormat: 'pythonic' }), 'llama3');
  assert.is(name({ template: mute, toolFormat: null, architecture: 'gpt-oss' }), 'harmony');
  assert.is(name({ template: mute, toolFormat: 'of tomorrow', architecture: 'new' }), 'common');
});

test('every format that the registry names is one that is read, and docs/tool-formats.md names every dialect', () => {
  for (const format of new Set(catalogue().map(({ toolFormat }) => toolFormat))) {
    if (format === null || format === 'hermes') continue;
    assert.is.not(dialectOf({ template: null, toolFormat: format }).name, 'common', format);
  }
  const table = readFileSync(new URL('../../docs/tool-formats.md', import.meta.url), 'utf8');
  const named = [...table.matchAll(/^\| `([\w.-]+)` \|/gm)].map(([, name]) => name);
  assert.equal(
    named,
    [...Object.keys(signs)].sort((a, b) => Number(b === 'common') - Number(a === 'common') || 0),
  );
});

test('thoughts have the tags that the template names, and the prompt may have opened one', () => {
  const dialect = dialectOf({ template: '<tool_call> <thinking> </thinking>' });
  assert.equal(said(parse(dialect, ['<thinking>Hm.</thinking>Yes.'])), { text: 'Yes.', reasoning: 'Hm.', calls: [] });
  assert.equal(dialectOf({ template: '<|user|>{{ m }}<|end|><|tool_call|>' }).thought, ['<think>', '</think>']);
  for (const [template, prompt, opens] of [
    ['<think></think>', '<|Assistant|><think>\n', true],
    ['<think></think>', '<|Assistant|><think>\n\n</think>\n\n', false],
    [signs.mistral, '[/INST][THINK]', true],
    [signs.seed, '<seed:bos>assistant\n<seed:think>', true],
    [signs.gemma, '<|turn>model\n<|channel>thought\n', true],
    [signs.gemma, '<|turn>model\n<|channel>thought\n<channel|>', false],
    [signs.harmony, '<|start|>assistant<|channel|>analysis<|message|>', true],
    [signs.harmony, '<|start|>assistant', false],
  ] as const)
    assert.is(startsInThought(prompt, dialectOf({ template })), opens, prompt);
  const harmony = dialectOf({ template: signs.harmony });
  const outputs = parse(harmony, ['Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.'], true, true);
  assert.equal(said(outputs), { text: 'Yes.', reasoning: 'Hm.', calls: [] });
});

test('a thought that the template opens anyway is over at once for a job that wants none', () => {
  const dialect = dialectOf({ template: '<think></think>' });
  assert.is(
    closedThought('<|Assistant|><think>\n', { reasoningEffort: 'none' }, dialect),
    '<|Assistant|><think>\n\n</think>\n\n',
  );
  assert.is(closedThought('<|Assistant|><think>\n', { reasoningEffort: 'low' }, dialect), '<|Assistant|><think>\n');
  assert.is(closedThought('<|Assistant|>', { reasoningEffort: 'none' }, dialect), '<|Assistant|>');
});

test('a template without a mark of its own is read in the common form', () => {
  assert.is(dialectOf({ template: null }).name, 'common');
  assert.is(dialectOf({ template: '<|im_start|>{{ message }}<tool_call>' }).name, 'common');
});

test.run();
