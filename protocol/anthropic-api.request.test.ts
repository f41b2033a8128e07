import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCountRequest, parseMessageRequest } from './anthropic-api.request.ts';
import { JobRequest, MessageAnswerShape } from './job-events.ts';
import type { Feature } from './openai-api.refusal.ts';
import { check } from './schema.ts';

const { FC_RUNS = '300', FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };

const all: ReadonlySet<Feature> = new Set(['images', 'response_format', 'tool_choice']);
const none: ReadonlySet<Feature> = new Set();
const user = { role: 'user', content: 'Hi' };
const base = { model: 'm', max_tokens: 9, messages: [user] };
const parse = (more: object = {}, honours = none) => parseMessageRequest({ ...base, ...more }, { honours });

/** The request that was read; fails the test when it was refused. */
function requestOf(more: object = {}, honours = none) {
  const parsed = parse(more, honours);
  if (!parsed.ok) assert.unreachable(parsed.message);
  return parsed.ok ? parsed.request : null;
}
const messagesOf = (messages: object[], honours = none) => requestOf({ messages }, honours)?.messages;
/** What the model reads of the content of one user message. */
const readOf = (content: unknown, honours = none) => messagesOf([{ role: 'user', content }], honours);

/** Code and place of the refusal. */
function refusal(more: object, honours = none): string {
  const parsed = parse(more, honours);
  return parsed.ok ? 'ok' : `${parsed.code} ${parsed.param}`;
}
const refused = (content: unknown, honours = none, role = 'user'): string =>
  refusal({ messages: [{ role, content }] }, honours);

test('a plain request, and unknown fields and betas are ignored (AN30)', () => {
  const parsed = parse({
    stream: true,
    temperature: 1,
    top_p: 0.9,
    top_k: 40,
    stop_sequences: ['END'],
    metadata: { user_id: 'u' },
    service_tier: 'auto',
    container: 'c',
    context_management: { edits: [] },
    wibble: [1],
  });
  assert.equal(parsed, {
    ok: true,
    request: { model: 'm', messages: [user], temperature: 1, topP: 0.9, topK: 40, stop: ['END'], maxTokens: 9 },
    answer: { api: 'anthropic.messages', stream: true, model: 'm' },
  });
  const absent = { system: null, tools: null, thinking: null, stop_sequences: [], mcp_servers: [], top_k: null };
  assert.equal(requestOf(absent), { model: 'm', messages: [user], maxTokens: 9 });
});

test('AN4: what is required is missed in order: messages, model, max_tokens', () => {
  const missing = (body: unknown): string | null => {
    const parsed = parseMessageRequest(body);
    return parsed.ok ? 'ok' : parsed.param;
  };
  assert.is(missing({}), 'messages');
  assert.is(missing({ messages: [] }), 'messages');
  assert.is(missing({ messages: [user] }), 'model');
  assert.is(missing({ messages: [user], model: '' }), 'model');
  assert.is(missing({ messages: [user], model: 'm' }), 'max_tokens');
  for (const max_tokens of [0, -1, 1.5, '5']) assert.is(missing({ ...base, max_tokens }), 'max_tokens');
  for (const body of [null, [], 'x', 3]) assert.is(missing(body), null);
});

test('values outside their documented range are refused by name', () => {
  for (const [field, values] of Object.entries({
    temperature: [-0.1, 1.1, 'hot'],
    top_p: [-0.1, 1.1],
    top_k: [-1, 0.5],
    stream: ['yes'],
    stop_sequences: ['x', ['a', ''], Array(65).fill('x')],
    thinking: ['on'],
    tools: [{}],
  }))
    for (const value of values) assert.is(refusal({ [field]: value }), `invalid_request ${field}`, String(value));
});

test('AN3 AN11: a system prompt is text, or blocks joined by line ends', () => {
  const lead = { role: 'system', content: 'a\nb' };
  const cached = { type: 'text', text: 'b', cache_control: { type: 'ephemeral' } };
  assert.equal(requestOf({ system: 'a\nb' })?.messages, [lead, user]);
  assert.equal(requestOf({ system: [{ type: 'text', text: 'a' }, cached] })?.messages, [lead, user]);
  assert.equal(requestOf({ system: '' })?.messages, [user]);
  assert.is(refusal({ system: [{ type: 'image' }] }), 'unsupported_parameter system[0]');
  assert.is(refusal({ system: 5 }), 'invalid_request system');
});

test('AN31: a system message may stand among the others', () => {
  const system = { role: 'system', content: [{ type: 'text', text: 'new rule' }] };
  assert.equal(messagesOf([user, system]), [user, { role: 'system', content: 'new rule' }]);
  assert.is(refusal({ messages: [{ role: 'tool', content: 'x' }] }), 'invalid_request messages[0].role');
});

test('AN6: blocks of text are one text; content that is neither text nor list is refused', () => {
  const two = [
    { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } },
    { type: 'text', text: 'b' },
  ];
  assert.equal(readOf(two), [{ role: 'user', content: 'ab' }]);
  for (const content of [null, 7, true, {}]) assert.is(refused(content), 'invalid_request messages[0].content');
  assert.is(refused([]), 'invalid_request messages[0].content');
  assert.is(refused([{ type: 'text' }]), 'invalid_request messages[0].content[0].text');
  assert.is(refused(['x']), 'invalid_request messages[0].content[0]');
  assert.is(refused([{ type: 'container_upload', file_id: 'f' }]), 'unsupported_parameter messages[0].content[0]');
});

const png = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } };
const seen = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };

test('AN18: results of tools come first, and what stands beside them after', () => {
  const content = [
    { type: 'text', text: 'reminder' },
    { type: 'tool_result', tool_use_id: 't1', content: 'one' },
    png,
    { type: 'tool_result', tool_use_id: 't2', content: [{ type: 'text', text: 'two' }, png] },
    { type: 'tool_result', tool_use_id: 't3' },
  ];
  assert.equal(readOf(content, all), [
    { role: 'tool', tool_call_id: 't1', content: 'one' },
    { role: 'tool', tool_call_id: 't2', content: [{ type: 'text', text: 'two' }, seen] },
    { role: 'tool', tool_call_id: 't3', content: '' },
    { role: 'user', content: [{ type: 'text', text: 'reminder' }, seen] },
  ]);
  const bare = [{ type: 'tool_result', tool_use_id: 't', content: 'x' }];
  assert.equal(readOf(bare), [{ role: 'tool', tool_call_id: 't', content: 'x' }]);
  assert.is(refused([{ type: 'tool_result' }]), 'invalid_request messages[0].content[0].tool_use_id');
});

test('AN19: an image reaches those who see, and is refused by name where nobody does', () => {
  assert.equal(readOf([png], all), [{ role: 'user', content: [seen] }]);
  assert.is(refused([{ type: 'text', text: 'x' }, png]), 'unsupported_parameter messages[0].content[1]');
  const result = [{ type: 'tool_result', tool_use_id: 't', content: [png] }];
  assert.is(refused(result), 'unsupported_parameter messages[0].content[0].content[0]');
  const from = (source: object) => [{ type: 'image', source }];
  assert.is(refused(from({ type: 'file', file_id: 'f' }), all), 'unsupported_parameter messages[0].content[0].source');
  assert.is(
    refused(from({ type: 'base64', media_type: 'text/html', data: '' }), all),
    'invalid_request messages[0].content[0].source.media_type',
  );
  assert.equal(readOf(from({ type: 'url', url: 'https://a.example/b.png' }), all), [
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://a.example/b.png' } }] },
  ]);
});

test('row 15: documents of text are read, others refused by name', () => {
  const document = { type: 'document', title: 'T', source: { type: 'text', media_type: 'text/plain', data: 'body' } };
  assert.equal(readOf([document, { type: 'text', text: 'sum up' }]), [
    { role: 'user', content: '<document title="T">\nbody\n</document>\nsum up' },
  ]);
  const parts = { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'in' }] } };
  assert.equal(readOf([parts]), [{ role: 'user', content: '<document>\nin\n</document>\n' }]);
  const pdf = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AA' } };
  assert.is(refused([pdf]), 'unsupported_parameter messages[0].content[0].source');
  const found = {
    type: 'search_result',
    source: 'https://x.example',
    title: 'X',
    content: [{ type: 'text', text: 'y' }],
  };
  assert.equal(readOf([found]), [
    { role: 'user', content: '<search_result title="X" source="https://x.example">\ny\n</search_result>\n' },
  ]);
});

test('AN20: the model is told that a tool failed', () => {
  const failed = { type: 'tool_result', tool_use_id: 't', content: 'no such file', is_error: true };
  assert.equal(readOf([failed]), [{ role: 'tool', tool_call_id: 't', content: 'Error: no such file' }]);
});

test('AN21: an earlier answer keeps its thoughts and its calls', () => {
  const content = [
    { type: 'thinking', thinking: 'a', signature: 'whatever' },
    { type: 'redacted_thinking', data: 'xyz' },
    { type: 'text', text: 'b' },
    { type: 'tool_use', id: 't', name: 'f', input: { x: null } },
    { type: 'text', text: 'c' },
    { type: 'tool_use', id: 'u', name: 'g' },
  ];
  assert.equal(messagesOf([user, { role: 'assistant', content }]), [
    user,
    {
      role: 'assistant',
      content: 'bc',
      tool_calls: [
        { id: 't', type: 'function', function: { name: 'f', arguments: '{"x":null}' } },
        { id: 'u', type: 'function', function: { name: 'g', arguments: '{}' } },
      ],
      reasoning_content: 'a',
    },
  ]);
  assert.equal(
    messagesOf([user, { role: 'assistant', content: [] }, user]),
    [user, user],
    'nothing said is no message',
  );
  assert.is(
    refused([{ type: 'server_tool_use', id: 's', name: 'web_search' }], none, 'assistant'),
    'unsupported_parameter messages[0].content[0]',
  );
});

const tool = { name: 'f', description: 'd', input_schema: { type: 'object', properties: { a: { default: null } } } };
const asFunction = { type: 'function', function: { name: 'f', description: 'd', parameters: tool.input_schema } };

test('tools keep their schemas', () => {
  assert.equal(requestOf({ tools: [{ ...tool, type: 'custom', cache_control: {}, strict: true }] })?.tools, [
    { ...asFunction, function: { ...asFunction.function, strict: true } },
  ]);
  assert.is(refusal({ tools: [{ name: 'f' }] }), 'invalid_request tools[0].input_schema');
  assert.is(refusal({ tools: [{ input_schema: {} }] }), 'invalid_request tools[0].name');
});

test('AN22: tool_choice in all its forms', () => {
  const tools = [tool];
  const asked = (tool_choice: object, honours = all) => {
    const { toolChoice, parallelToolCalls, tools: offered } = requestOf({ tools, tool_choice }, honours) ?? {};
    return [toolChoice, parallelToolCalls, offered?.length];
  };
  assert.equal(asked({ type: 'auto' }, none), [undefined, undefined, 1]);
  assert.equal(asked({ type: 'none' }, none), ['none', undefined, undefined]);
  assert.equal(asked({ type: 'any' }), ['required', undefined, 1]);
  assert.equal(asked({ type: 'tool', name: 'f' }), [{ type: 'function', function: { name: 'f' } }, undefined, 1]);
  assert.equal(asked({ type: 'auto', disable_parallel_tool_use: true }), [undefined, false, 1]);
  assert.is(refusal({ tools, tool_choice: { type: 'any' } }), 'unsupported_parameter tool_choice');
  assert.is(refusal({ tools, tool_choice: { type: 'tool', name: 'g' } }, all), 'invalid_request tool_choice.name');
  assert.is(refusal({ tools, tool_choice: { type: 'tool' } }, all), 'invalid_request tool_choice.name');
  assert.is(refusal({ tool_choice: { type: 'any' } }, all), 'invalid_request tool_choice');
  assert.is(refusal({ tool_choice: { type: 'some' } }, all), 'invalid_request tool_choice.type');
});

test('AN23: thinking and effort', () => {
  const effort = (thinking?: object, output_config?: object) => requestOf({ thinking, output_config })?.reasoningEffort;
  assert.is(effort(), undefined);
  assert.is(effort({ type: 'disabled' }), 'none');
  assert.is(effort({ type: 'enabled', budget_tokens: 2048 }), 'high');
  assert.is(effort({ type: 'adaptive' }), undefined);
  assert.is(effort({ type: 'between_tools' }), undefined);
  assert.is(effort({ type: 'adaptive' }, { effort: 'low' }), 'low');
  assert.is(effort({ type: 'enabled', budget_tokens: 1024 }, { effort: 'max' }), 'xhigh');
  assert.is(effort({ type: 'disabled' }, { effort: 'max' }), 'none');
  const budget = (thinking: object) => requestOf({ thinking })?.thinkingBudget;
  assert.is(budget({ type: 'enabled', budget_tokens: 2048 }), 2048);
  assert.is(budget({ type: 'enabled' }), undefined);
  assert.is(budget({ type: 'disabled', budget_tokens: 2048 }), undefined);
  assert.is(refusal({ thinking: { type: 'sometimes' } }), 'invalid_request thinking.type');
  assert.is(refusal({ output_config: { effort: 'toString' } }), 'invalid_request output_config.effort');
  const hidden = parse({ thinking: { type: 'adaptive', display: 'omitted' } });
  assert.is(hidden.ok && hidden.answer.api === 'anthropic.messages' && hidden.answer.hideThinking, true);
});

test('row 21: an output format is passed on where it can be honoured', () => {
  const format = { type: 'json_schema', schema: { type: 'object' } };
  const told = { type: 'json_schema', json_schema: { name: 'output', schema: format.schema, strict: true } };
  assert.equal(requestOf({ output_config: { format } }, all)?.responseFormat, told);
  assert.equal(requestOf({ output_format: format }, all)?.responseFormat, told);
  assert.is(refusal({ output_config: { format } }), 'unsupported_parameter output_config.format');
  assert.is(refusal({ output_format: { type: 'xml' } }), 'invalid_request output_format.type');
});

test('AN33: Anthropic-defined tools have a schema, or are refused by name', () => {
  for (const [type, name] of [
    ['bash_20250124', 'bash'],
    ['text_editor_20250728', 'str_replace_based_edit_tool'],
    ['text_editor_20250124', 'str_replace_editor'],
    ['memory_20250818', 'memory'],
  ]) {
    const [described] = requestOf({ tools: [{ type, name }] })?.tools ?? [];
    const { function: fn } = described as { function: { name: string; parameters: { properties: object } } };
    assert.is(fn.name, name);
    assert.ok(Object.keys(fn.parameters.properties).length >= 2, type);
  }
  for (const type of ['web_search_20250305', 'web_fetch_20250910', 'code_execution_20250825', 'computer_20250124']) {
    assert.is(refusal({ tools: [tool, { type, name: 'x' }] }), 'unsupported_parameter tools[1]');
    const parsed = parse({ tools: [{ type, name: 'x' }] });
    assert.match(parsed.ok ? '' : parsed.message, type);
  }
});

test('what would be kept or run elsewhere is refused by name', () => {
  assert.is(refusal({ mcp_servers: [{ url: 'https://x.example' }] }), 'unsupported_parameter mcp_servers');
  assert.is(refusal({ thread: { type: 'create' } }), 'unsupported_parameter thread');
  assert.is(refusal({ compaction: { type: 'summarize' } }), 'unsupported_parameter compaction');
});

test('a turn of a coding agent keeps all that it says', () => {
  const cached = { cache_control: { type: 'ephemeral', ttl: '1h' } };
  const read = requestOf({
    max_tokens: 32_000,
    stream: true,
    system: [
      { type: 'text', text: 'You are an agent.', ...cached },
      { type: 'text', text: 'Use tools.', ...cached },
    ],
    metadata: { user_id: 'u' },
    thinking: { type: 'adaptive' },
    output_config: { effort: 'medium' },
    context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    tools: [{ ...tool, ...cached, eager_input_streaming: true }],
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: '<reminder>' },
          { type: 'text', text: 'Fix it.', ...cached },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Look first.', signature: 'auxot:0' },
          { type: 'tool_use', id: 'toolu_1', name: 'f', input: { a: 1 }, ...cached },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'done', is_error: false },
          { type: 'text', text: 'And hurry.' },
        ],
      },
    ],
  });
  assert.equal(read, {
    model: 'm',
    messages: [
      { role: 'system', content: 'You are an agent.\nUse tools.' },
      { role: 'user', content: '<reminder>Fix it.' },
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ id: 'toolu_1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
        reasoning_content: 'Look first.',
      },
      { role: 'tool', tool_call_id: 'toolu_1', content: 'done' },
      { role: 'user', content: 'And hurry.' },
    ],
    tools: [asFunction],
    reasoningEffort: 'medium',
    maxTokens: 32_000,
  });
});

test('a request to count needs no model, and refuses nothing for lack of a worker', () => {
  const counted = parseCountRequest({ messages: [{ role: 'user', content: [png] }], tools: [tool] });
  assert.equal(counted.ok && counted.value, {
    model: '',
    messages: [{ role: 'user', content: [seen] }],
    tools: [asFunction],
  });
  const empty = parseCountRequest({ messages: [] });
  assert.is(empty.ok ? 'ok' : empty.param, 'messages');
});

test('whatever is read fits the log, and whatever is refused says where; nothing throws', () => {
  const checkRequest = check(JobRequest);
  const checkAnswer = check(MessageAnswerShape);
  const anyBlock = fc.oneof(
    fc.constantFrom<unknown>(png, tool, null, 7, { type: 'text', text: 'x' }, { type: 'thinking', thinking: '' }),
    fc.record(
      {
        type: fc.constantFrom('text', 'image', 'document', 'tool_use', 'tool_result', 'thinking', 'search_result', 'x'),
        text: fc.string(),
        id: fc.string(),
        name: fc.string(),
        input: fc.anything({ maxDepth: 2 }),
        tool_use_id: fc.string(),
        content: fc.oneof(fc.string(), fc.array(fc.constant({ type: 'text', text: 'y' }))),
        source: fc.constantFrom<unknown>(png.source, { type: 'text', data: 'd' }, {}, null),
      },
      { requiredKeys: ['type'] },
    ),
  );
  const anyMessage = fc.record({
    role: fc.constantFrom('user', 'assistant', 'system', 'tool'),
    content: fc.oneof(fc.string(), fc.array(anyBlock, { maxLength: 4 }), fc.constantFrom(null, 3)),
  });
  const anyMore = fc.record(
    {
      system: fc.oneof(fc.string(), fc.array(anyBlock, { maxLength: 2 })),
      tools: fc.array(fc.constantFrom<unknown>(tool, { type: 'bash_20250124', name: 'bash' }, {}), { maxLength: 2 }),
      tool_choice: fc.constantFrom<unknown>({ type: 'any' }, { type: 'none' }, 'auto'),
      stop_sequences: fc.array(fc.string(), { maxLength: 3 }),
      temperature: fc.double(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(anyMessage, { minLength: 1, maxLength: 4 }), anyMore, fc.boolean(), (messages, more, able) => {
      // What comes out of JSON.
      const body: object = JSON.parse(JSON.stringify({ ...more, messages }));
      const parsed = parse(body, able ? all : none);
      if (!parsed.ok)
        return assert.ok(parsed.param !== null && parsed.message.startsWith(parsed.param), parsed.message);
      const request = checkRequest(JSON.parse(JSON.stringify(parsed.request)));
      assert.ok(request.ok, request.ok ? '' : `${request.path} ${request.message}`);
      assert.ok(checkAnswer(parsed.answer).ok);
    }),
    runs,
  );
});

test.run();
