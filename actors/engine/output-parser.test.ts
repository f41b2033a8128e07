import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Output, outputParser } from './output-parser.ts';

const runs = {
  numRuns: Number(process.env.FC_RUNS ?? 2000),
  ...(process.env.FC_SEED ? { seed: Number(process.env.FC_SEED) } : {}),
};

/** What comes out of `chunks`, with neighbours of one kind joined. */
function parse(
  chunks: readonly string[],
  toolsOffered = true,
  startsInThought = false,
  toolNames: ReadonlySet<string> | null = null,
): Output[] {
  const parser = outputParser({
    toolsOffered,
    startsInThought,
    toolNames,
    typesOf: tool => (tool === 'f' ? ['string'] : null),
  });
  const joined: Output[] = [];
  for (const output of [...chunks.flatMap(chunk => parser.push(chunk)), ...parser.finish()]) {
    const last = joined.at(-1);
    if ((output.kind === 'text' || output.kind === 'reasoning') && last?.kind === output.kind) {
      joined[joined.length - 1] = { kind: output.kind, text: last.text + output.text };
    } else if (output.kind === 'callArguments' && last?.kind === 'callArguments') {
      joined[joined.length - 1] = { kind: 'callArguments', text: last.text + output.text };
    } else joined.push(output);
  }
  return joined;
}

const textOf = (outputs: readonly Output[], kind: 'text' | 'reasoning' = 'text'): string =>
  outputs.map(output => (output.kind === kind ? output.text : '')).join('');
const callsOf = (outputs: readonly Output[]) =>
  outputs.flatMap(output => (output.kind === 'call' ? [[output.name, JSON.parse(output.arguments)]] : []));

const words = [
  '<think>',
  '</think>',
  '<tool_call>',
  '</tool_call>',
  '{"name": "f", "arguments": {"a": "</tool_call>"}}',
  '{"name": "g"}',
  '{"name": "f", "arguments": {"a": ',
  '{"a": [1, 2',
  ']}',
  '<function=f>',
  '</function>',
  '<parameter=a>',
  '</parameter>',
  '[1, 2]',
  '[Calling tool:',
  ' f({"a": 1})',
  ']',
  '`',
  '```',
  '\n',
  '\n\n',
  ' ',
  '<',
  'so',
  'f',
  '(',
  '"',
  '}',
  '</',
  '[Call',
] as const; // prettier-ignore
const anyText = fc
  .array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 4 })), { maxLength: 14 })
  .map(a => a.join(''));

function cut(text: string, cuts: readonly number[]): string[] {
  const at = [...new Set(cuts.map(c => c % (text.length + 1)))].sort((a, b) => a - b);
  return [...at, text.length].map((end, i) => text.slice(i === 0 ? 0 : at[i - 1], end));
}

test('how the text is cut makes no difference (P1, G18, G19)', () => {
  fc.assert(
    fc.property(
      anyText,
      fc.array(fc.nat(), { maxLength: 8 }),
      fc.boolean(),
      fc.boolean(),
      (text, cuts, tools, thought) => {
        const whole = parse([text], tools, thought);
        assert.equal(parse(cut(text, cuts), tools, thought), whole);
        assert.equal(parse([...text], tools, thought), whole);
      },
    ),
    runs,
  );
});

test('how a call of a known tool is cut makes no difference, and its pieces are the whole (P1)', () => {
  fc.assert(
    fc.property(anyText, fc.array(fc.nat(), { maxLength: 8 }), fc.boolean(), (text, cuts, thought) => {
      const names = new Set(['f', 'g']);
      const whole = parse([text], true, thought, names);
      assert.equal(parse(cut(text, cuts), true, thought, names), whole);
      assert.equal(parse([...text], true, thought, names), whole);
      for (const [index, output] of whole.entries()) {
        if (output.kind !== 'call') continue;
        const pieces = whole[index - 1];
        assert.is(pieces?.kind === 'callArguments' ? pieces.text : '', output.arguments);
        JSON.parse(output.arguments);
      }
    }),
    runs,
  );
});

test('what is wrong with a call of a known tool is put right, and none of it is shown as text', () => {
  const names = new Set(['f']);
  for (const [text, args] of [
    ['<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>', { a: 1 }],
    ['<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>', { a: 1 }],
    ['<tool_call>{"name": "f", "arguments": {"a": "line 1\nline 2"}}</tool_call>', { a: 'line 1\nline 2' }],
    ['<tool_call>{"name": "f", "arguments": {"a": True, "b": None,}}</tool_call>', { a: true, b: null }],
    ['<tool_call>{"name": "f", "arguments": {"a": 1, b: 2}}</tool_call>', { a: 1, b: 2 }],
    ["<tool_call>{'name': 'f', 'arguments': {'a': 'it is \"it\"'}}</tool_call>", { a: 'it is "it"' }],
    ['<tool_call>{"name": "f", "arguments": "{\\"a\\": [1, 2,]}"}</tool_call>', { a: [1, 2] }],
    ['<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', { a: 1 }],
    ['<tool_call>{"function": {"name": "f", "arguments": {"a": 1}}}</tool_call>', { a: 1 }],
    ['<tool_call>{"name": "f", "arguments": {"a": [1, 2}}</tool_call>', { a: [1, 2] }],
    ['<tool_call><function=f>{"a": 1}</function></tool_call>', { a: 1 }],
    ['<tool_call>{"name": "f", "arguments": {"a": [1, {"b": "c', { a: [1, { b: 'c' }] }],
    ['<tool_call>{"name": "f", "arguments": {"a": 1}, "id": 7}</tool_call>', { a: 1 }],
    ['<tool_call><function=f><parameter=a>1</function></tool_call>', { a: '1' }],
  ] as const) {
    const outputs = parse([...text], true, false, names);
    assert.equal(callsOf(outputs), [['f', args]], text);
    assert.is(textOf(outputs), '', text);
  }
});

test('text in which there is no call comes out unchanged, tags and all (P3)', () => {
  fc.assert(
    fc.property(anyText, text => {
      const outputs = parse([...text]);
      if (/^\s*<think>/.test(text) || outputs.some(({ kind }) => kind === 'call' || kind === 'callBroken')) return;
      assert.is(textOf(outputs), text);
    }),
    runs,
  );
});

test('a call that cannot be read is told to be broken, and none of it is shown (P3)', () => {
  const names = new Set(['f']);
  for (const [text, broken] of [
    ['<tool_call>{"a": 1}</tool_call>', '<tool_call>{"a": 1}'],
    [
      '<tool_call>{"name": "f", "arguments": {"a": "say "hi""}}</tool_call>',
      '<tool_call>{"name": "f", "arguments": {"a": "say "',
    ],
    ['<tool_call>{"name": f(1)}</tool_call>', '<tool_call>{"name": f'],
    ['<tool_call>{"name": "f", "arguments": {"a": ', null],
    ['<tool_call><function=f>do it</function></tool_call>', '<tool_call><function=f>do it</function>'],
    ['[Calling tool: f({"a" 1})]', '[Calling tool: f({"a" '],
  ] as const) {
    const outputs = parse([...`Wait. ${text} Done.`], true, false, names);
    const found = outputs.find(output => output.kind === 'callBroken');
    assert.is(found?.kind === 'callBroken' ? found.text : null, broken, text);
    if (broken !== null) assert.is(textOf(outputs), 'Wait. Done.', text);
  }
});

test('an answer that is cut shows nothing of a call or of a mark that had begun', () => {
  const names = new Set(['f']);
  const text = 'One < two.\n<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>';
  for (let length = 'One < two.'.length; length < text.length; length += 1) {
    const parser = outputParser({ toolsOffered: true, startsInThought: false, toolNames: names, typesOf: () => null });
    const outputs = [...parser.push(text.slice(0, length)), ...parser.finish(true)];
    assert.match(textOf(outputs), /^One < two\.(\n<(t|to)?)?\n?$/, text.slice(0, length));
  }
});

test('in code, what only looks like a call is text, but a call is one', () => {
  const names = new Set(['f']);
  const talk = 'Write `<tool_call>{…}</tool_call>`, as in\n```xml\n<tool_call>{"name": …}</tool_call>\n```\nand so on.';
  assert.is(textOf(parse([...talk], true, false, names)), talk);
  const call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>';
  assert.equal(callsOf(parse([`\`\`\`xml\n${call}\n\`\`\``], true, false, names)), [['f', { a: 1 }]]);
});

test('a call in a thought that is never closed is made; one that is only thought about is not', () => {
  const names = new Set(['f']);
  const call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>';
  const made = parse([...`<think>\nI call it.\n${call}\n</think>\n`], true, false, names);
  assert.equal([callsOf(made), textOf(made, 'reasoning'), textOf(made)], [[['f', { a: 1 }]], 'I call it.', '']);
  for (const thought of [`So I write ${call} then.`, 'Like\n<tool_call> or\n<tool_call>{"name": "g"}</tool_call>'])
    assert.equal(parse([...`<think>${thought}</think>ok`], true, false, names), [
      { kind: 'reasoning', text: thought },
      { kind: 'text', text: 'ok' },
    ]);
});

test('without tools no call is looked for (P4)', () => {
  fc.assert(
    fc.property(anyText, text => {
      fc.pre(!/^\s*<think>/.test(text));
      assert.equal(parse([text], false), text === '' ? [] : [{ kind: 'text', text }]);
    }),
    runs,
  );
});

test('a call that was written comes out as it was meant, between the texts around it', () => {
  const argument = fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }));
  fc.assert(
    fc.property(
      fc.array(argument, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 9 }),
      (args, cuts) => {
        const calls = args.map(a => `<tool_call>\n${JSON.stringify({ name: 'look_up', arguments: a })}\n</tool_call>`);
        const outputs = parse(cut(`Let me see.\n${calls.join('\n')}`, cuts));
        assert.is(textOf(outputs), 'Let me see.');
        assert.equal(
          callsOf(outputs),
          args.map(a => ['look_up', JSON.parse(JSON.stringify(a))]),
        );
      },
    ),
    runs,
  );
});

test('a thought at the beginning is reasoning, without the line breaks inside its tags', () => {
  const outputs = parse(['<th', 'ink>\nI add', ' them.\n</th', 'ink>\n\n', 'It is 5.']);
  assert.equal(outputs, [
    { kind: 'reasoning', text: 'I add them.' },
    { kind: 'text', text: 'It is 5.' },
  ]);
});

test('a thought that the prompt opened needs no tag, and one that is cut off stays reasoning', () => {
  assert.equal(parse(['so\n</think>\n\nyes'], true, true), [
    { kind: 'reasoning', text: 'so' },
    { kind: 'text', text: 'yes' },
  ]);
  assert.equal(parse(['<think>\nand then </th']), [{ kind: 'reasoning', text: 'and then </th' }]);
});

test('think tags later in the answer are text', () => {
  assert.is(textOf(parse(['Write <think> first.'])), 'Write <think> first.');
});

test('one function block is one call, its values text, objects read', () => {
  const text =
    '<tool_call>\n<function=save>\n<parameter=path>\na.txt\n</parameter>\n<parameter=body>\nline 1\n  line 2\n</parameter>\n<parameter=tags>["x"]</parameter>\n<parameter=n>10</parameter>\n</function>\n</tool_call>';
  const outputs = parse([...text]);
  assert.equal(callsOf(outputs), [['save', { path: 'a.txt', body: 'line 1\n  line 2', tags: ['x'], n: '10' }]]);
  assert.is(textOf(outputs), '');
  assert.is(outputs.find(output => output.kind === 'call')?.form, 'text');
});

test('a value becomes a number, a boolean or null where the schema says so', () => {
  const types: Record<string, string[]> = { n: ['integer'], yes: ['boolean'], s: ['string'], o: ['string'] };
  const parser = outputParser({
    toolsOffered: true,
    startsInThought: false,
    typesOf: (_, name) => types[name] ?? null,
  });
  const body =
    '<parameter=n>10</parameter><parameter=yes>true</parameter><parameter=s>7</parameter><parameter=o>{"a":1}</parameter>';
  const outputs = parser.push(`<tool_call><function=f>${body}</function></tool_call>`);
  assert.equal(callsOf(outputs), [['f', { n: 10, yes: true, s: '7', o: '{"a":1}' }]]);
});

test('two function blocks are two calls in order, and the text before them survives', () => {
  const block = (n: number): string =>
    `<tool_call><function=f${n}><parameter=a>${n}</parameter></function></tool_call>`;
  const outputs = parse([`I think.\n\n${block(1)}\n${block(2)}\n`]);
  assert.is(textOf(outputs), 'I think.');
  assert.equal(callsOf(outputs), [
    ['f1', { a: '1' }],
    ['f2', { a: '2' }],
  ]);
});

test('the bracket form is a call', () => {
  const outputs = parse(['Now. [Calling ', 'tool: look({"a": "])"', '})] Done.']);
  assert.equal(callsOf(outputs), [['look', { a: '])' }]]);
  assert.is(textOf(outputs), 'Now. Done.');
});

test('of the white space around calls, what parted the texts is kept', () => {
  const call = '<tool_call>{"name": "a"}</tool_call>';
  assert.is(textOf(parse([`one\n\n${call} ${call}\ntwo`])), 'one\n\ntwo');
  assert.is(textOf(parse([`one${call} two`])), 'one two');
  assert.is(textOf(parse([` ${call}\n two`])), 'two');
});

test('a call without its closing counts when the answer is over or the next call follows', () => {
  assert.equal(callsOf(parse(['<tool_call>{"name": "a"}'])), [['a', {}]]);
  assert.equal(callsOf(parse(['<tool_call>{"name": "a"}</tool'])), [['a', {}]]);
  assert.equal(callsOf(parse(['<tool_call>{"name": "a"}\n<tool_call>{"name": "b"}</tool_call>'])), [
    ['a', {}],
    ['b', {}],
  ]);
});

test('a tag that opens no call is given out as text, once that is known', () => {
  const parser = outputParser({ toolsOffered: true, startsInThought: false, typesOf: () => null });
  assert.equal(textOf(parser.push('see <tool_call>')), 'see');
  assert.equal(textOf(parser.push(' tags')), ' <tool_call> tags');
});

test('the beginning of a call is told once', () => {
  const outputs = parse(['<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b"}</tool_call>']);
  assert.is(outputs.filter(({ kind }) => kind === 'callBegun').length, 1);
});

test.run();
