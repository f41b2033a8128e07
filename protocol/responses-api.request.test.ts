import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { everyFeature, type Features } from './features.ts';
import { JobRequest, ResponseAnswerShape } from './job-events.ts';
import { sealed, unsealed } from './responses-api.items.ts';
import { type Histories, parseResponseCount, parseResponseRequest, referencesIn } from './responses-api.ts';
import { check } from './schema.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 300) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

const none: Features = new Set();
const parse = (body: object, honours: Features = none, histories?: Histories) =>
  parseResponseRequest({ model: 'm', ...body }, histories === undefined ? { honours } : { honours, histories });
const read = (body: object, honours?: Features, histories?: Histories) => {
  const parsed = parse(body, honours, histories);
  if (!parsed.ok) throw new Error(`${parsed.code} ${parsed.message}`);
  const { request, answer, ignored } = parsed;
  if (answer.api !== 'openai.responses') throw new Error(answer.api);
  return { request, answer, ignored };
};
const messagesOf = (input: unknown, honours?: Features) => read({ input }, honours).request.messages;
const refusal = (body: object, honours?: Features): string => {
  const parsed = parse(body, honours);
  return parsed.ok ? 'ok' : `${parsed.code} ${parsed.param}`;
};

test('text, or a list of items; instructions come first', () => {
  assert.equal(read({ input: 'hi', instructions: 'Be kind.' }).request.messages, [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'hi' },
  ]);
  assert.equal(
    messagesOf([
      { role: 'developer', content: 'a' },
      {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'b' },
          { type: 'input_text', text: 'c' },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'output_text', text: 'd', annotations: [] },
          { type: 'refusal', refusal: 'e' },
        ],
      },
    ]),
    [
      { role: 'system', content: 'a' },
      { role: 'user', content: 'bc' },
      { role: 'assistant', content: 'de' },
    ],
  );
  assert.is(refusal({}), 'invalid_request input');
  assert.is(refusal({ input: [{ role: 'tool', content: 'x' }] }), 'invalid_request input[0].role');
  assert.is(refusal({ input: [7] }), 'invalid_request input[0]');
  assert.is(refusal({ input: [{ type: 'telepathy' }] }), 'unsupported_parameter input[0].type');
});

test('RS3: what an assistant thought, said and called is one message', () => {
  const call = (id: string) => ({ type: 'function_call', id: `fc_${id}`, call_id: id, name: 'f', arguments: '{}' });
  const called = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } });
  assert.equal(
    messagesOf([
      { role: 'user', content: 'q' },
      { type: 'reasoning', id: 'rs', summary: [], content: [{ type: 'reasoning_text', text: 'why' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Looking.' }] },
      call('a'),
      call('b'),
      { type: 'function_call_output', call_id: 'a', output: 'x' },
      { type: 'function_call_output', call_id: 'b', output: [{ type: 'input_text', text: 'y' }] },
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'short' }] },
      { role: 'user', content: 'r' },
    ]),
    [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'Looking.', tool_calls: [called('a'), called('b')], reasoning_content: 'why' },
      { role: 'tool', tool_call_id: 'a', content: 'x' },
      { role: 'tool', tool_call_id: 'b', content: 'y' },
      { role: 'assistant', content: '', reasoning_content: 'short' },
      { role: 'user', content: 'r' },
    ],
  );
});

test('what was sealed for the caller is read again, and what others sealed is not', () => {
  for (const text of ['', 'why', 'Grüße 🚀']) assert.is(unsealed(sealed(text)), text);
  assert.is(unsealed('gAAAAAB'), null);
  assert.is(unsealed('auxot1.%%%'), null);
  const thought = (encrypted_content: string) =>
    messagesOf([
      { type: 'reasoning', id: 'rs', summary: [], encrypted_content },
      { role: 'assistant', content: 'a' },
    ]);
  assert.equal(thought(sealed('why')), [{ role: 'assistant', content: 'a', reasoning_content: 'why' }]);
  assert.equal(thought('gAAAAAB'), [{ role: 'assistant', content: 'a' }]);
  assert.is(read({ input: 'a', include: ['reasoning.encrypted_content'] }).answer.seals, true);
});

test('a model is shown no image that it does not see, and no file', () => {
  const image = [
    { role: 'user', content: [{ type: 'input_image', detail: 'auto', image_url: 'data:image/png;base64,AA' }] },
  ];
  assert.equal(messagesOf(image, everyFeature), [
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } }] },
  ]);
  assert.is(refusal({ input: image }), 'unsupported_parameter input[0].content[0]');
  const file = [{ role: 'user', content: [{ type: 'input_file', file_id: 'f' }] }];
  assert.is(refusal({ input: file }, everyFeature), 'unsupported_parameter input[0].content[0]');
  const kept = [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }];
  assert.is(refusal({ input: kept }, everyFeature), 'unsupported_parameter input[0].content[0]');
});

const tool = {
  type: 'function',
  name: 'f',
  description: 'd',
  parameters: { type: 'object', default: null },
  strict: true,
};
const asChat = {
  type: 'function',
  function: { name: 'f', description: 'd', parameters: tool.parameters, strict: true },
};

test('RS7: function tools keep their schemas, custom ones become functions, the rest is left out by name', () => {
  const { request, answer, ignored } = read({
    input: [{ type: 'web_search_call', id: 'ws', status: 'completed' }],
    tools: [
      tool,
      {
        type: 'custom',
        name: 'patch',
        description: 'p',
        format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' },
      },
      { type: 'web_search' },
      { type: 'namespace', name: 'n', tools: [{ type: 'function', name: 'g' }, { type: 'mcp' }] },
    ],
  });
  assert.equal(request.tools?.[0], asChat);
  const [, custom] = request.tools ?? [];
  const { function: patch } = custom as { function: { description: string; parameters: object } };
  assert.match(patch.description, /^p\n\n.*lark.*\nstart: "x"$/);
  assert.equal(Object.keys(patch.parameters), ['type', 'properties', 'required']);
  assert.equal(answer.customTools, ['patch']);
  assert.equal(ignored, ['web_search_call', 'web_search', 'mcp']);
  assert.equal(request.tools?.[2], { type: 'function', function: { name: 'n__g' } });
  assert.equal(answer.namespaced, { n__g: { namespace: 'n', name: 'g' } });
  const within = messagesOf([{ type: 'function_call', call_id: 'c', namespace: 'n', name: 'g', arguments: '{}' }]);
  assert.equal(within[0]?.tool_calls, [{ id: 'c', type: 'function', function: { name: 'n__g', arguments: '{}' } }]);
  assert.is(refusal({ input: '', tools: [{ type: 'function' }] }), 'invalid_request tools[0].name');
  assert.is(refusal({ input: '', tools: ['f'] }), 'invalid_request tools[0]');
  const round = messagesOf([
    { type: 'custom_tool_call', call_id: 'c', name: 'patch', input: '*** Begin' },
    { type: 'custom_tool_call_output', call_id: 'c', output: 'done' },
  ]);
  assert.equal(round[0]?.tool_calls, [
    { id: 'c', type: 'function', function: { name: 'patch', arguments: '{"input":"*** Begin"}' } },
  ]);
  assert.equal(round[1], { role: 'tool', tool_call_id: 'c', content: 'done' });
});

test('tool_choice in all its forms', () => {
  const custom = { type: 'custom', name: 'patch' };
  const asked = (tool_choice: unknown, honours = everyFeature) => {
    const { toolChoice, tools } = read(
      { input: '', tools: [tool, custom, { type: 'web_search' }], tool_choice },
      honours,
    ).request;
    return [toolChoice, tools?.length];
  };
  assert.equal(asked('auto', none), [undefined, 2]);
  assert.equal(asked('none', none), ['none', undefined]);
  assert.equal(asked('required'), ['required', 2]);
  assert.equal(asked({ type: 'function', name: 'f' }), [{ type: 'function', function: { name: 'f' } }, 2]);
  assert.equal(asked({ type: 'custom', name: 'patch' }), [{ type: 'function', function: { name: 'patch' } }, 2]);
  const allowed = {
    type: 'allowed_tools',
    mode: 'required',
    tools: [{ type: 'function', name: 'f' }, { type: 'web_search' }],
  };
  assert.equal(asked(allowed), ['required', 1]);
  const tools = [tool];
  assert.is(refusal({ input: '', tools, tool_choice: 'required' }), 'unsupported_parameter tool_choice');
  assert.is(
    refusal({ input: '', tools, tool_choice: { type: 'file_search' } }, everyFeature),
    'unsupported_parameter tool_choice',
  );
  assert.is(
    refusal({ input: '', tools: [{ type: 'web_search' }], tool_choice: 'required' }, everyFeature),
    'invalid_request tool_choice',
  );
});

test('RS9: a format is passed on where it can be kept', () => {
  const format = { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true };
  assert.equal(read({ input: '', text: { format } }, everyFeature).request.responseFormat, {
    type: 'json_schema',
    json_schema: { name: 'n', schema: { type: 'object' }, strict: true },
  });
  assert.equal(read({ input: '', text: { format: { type: 'json_object' } } }, everyFeature).request.responseFormat, {
    type: 'json_object',
  });
  const plain = read({ input: '', text: { format: { type: 'text' }, verbosity: 'low' } });
  assert.is(plain.request.responseFormat, undefined);
  assert.equal(plain.answer.echo.text, { format: { type: 'text' }, verbosity: 'low' });
  assert.is(refusal({ input: '', text: { format } }), 'unsupported_parameter text.format');
  assert.is(
    refusal({ input: '', text: { format: { type: 'json_schema' } } }, everyFeature),
    'invalid_request text.format.name',
  );
  const unheld = { ...format, schema: { type: 'object', properties: { a: { not: { type: 'string' } } } } };
  assert.match(
    refusal({ input: '', text: { format: unheld } }, everyFeature),
    /^unsupported_parameter text\.format\.schema/,
  );
  const { request } = read({ input: '', top_logprobs: 3 }, everyFeature);
  assert.equal([request.logprobs, request.topLogprobs], [true, 3]);
  assert.is(refusal({ input: '', text: { format: { type: 'xml' } } }), 'invalid_request text.format.type');
});

test('every other field is honoured, or refused by name', () => {
  const { request, answer } = read({
    input: '',
    max_output_tokens: 9,
    temperature: 0.5,
    top_p: 0.9,
    parallel_tool_calls: false,
    reasoning: { effort: 'LOW', summary: 'auto' },
    metadata: { a: 'b' },
    user: 'u',
    store: false,
    stream: true,
    truncation: 'auto',
    service_tier: 'flex',
    stream_options: { include_obfuscation: false },
    unheard_of: 1,
  });
  assert.equal(
    [request.maxTokens, request.temperature, request.topP, request.parallelToolCalls, request.reasoningEffort],
    [9, 0.5, 0.9, false, 'low'],
  );
  assert.equal([answer.store, answer.stream, answer.summarises], [false, true, true]);
  assert.equal([answer.echo.metadata, answer.echo.user, answer.echo.truncation], [{ a: 'b' }, 'u', 'auto']);
  for (const [body, told] of [
    [{ conversation: 'c' }, 'unsupported_parameter conversation'],
    [{ prompt: { id: 'p' } }, 'unsupported_parameter prompt'],
    [{ background: true, store: false }, 'invalid_request background'],
    [{ top_logprobs: 3 }, 'unsupported_parameter top_logprobs'],
    [{ include: ['message.output_text.logprobs'] }, 'unsupported_parameter include'],
    [{ temperature: 3 }, 'invalid_request temperature'],
    [{ max_output_tokens: 0 }, 'invalid_request max_output_tokens'],
    [{ reasoning: { effort: 'much' } }, 'invalid_request reasoning.effort'],
    [{ metadata: { a: 1 } }, 'invalid_request metadata.a'],
    [{ truncation: 'some' }, 'invalid_request truncation'],
  ] as const)
    assert.is(refusal({ input: '', ...body }), told);
});

test('RS6: what a request goes on from comes before it, and what it refers to in its place', () => {
  const tail = '0123456789abcdefghijABCD';
  const [id, itemId] = [`resp_${tail}`, `msg_${tail}_1`];
  const body = {
    previous_response_id: id,
    instructions: 'New.',
    input: [{ type: 'item_reference', id: itemId }, { id: `fc_${tail}_i2` }, { role: 'user', content: 'z' }],
  };
  assert.equal(referencesIn(body), [id]);
  assert.equal(referencesIn({ input: [{ id: itemId }] }), [id]);
  const found = new Map<string, unknown>([
    [itemId, { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'y' }] }],
    [`fc_${tail}_i2`, { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' }],
  ]);
  const history = { messages: [{ role: 'user', content: 'x' }], find: (id: string) => found.get(id) ?? null };
  const { request, answer } = read(body, none, new Map([[id, history]]));
  assert.equal(request.messages, [
    { role: 'system', content: 'New.' },
    { role: 'user', content: 'x' },
    {
      role: 'assistant',
      content: 'y',
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
    },
    { role: 'user', content: 'z' },
  ]);
  assert.is(answer.previous, id);
  assert.is(refusal(body), 'previous_response_not_found previous_response_id');
  assert.is(refusal({ input: [{ type: 'item_reference', id: itemId }] }), 'invalid_request input[0].id');
  const failed = parse(body, none, new Map([[id, 'its status is failed']]));
  assert.is(failed.ok ? '' : failed.message, 'its status is failed');
});

test('a request to count needs no model, and refuses nothing for lack of a worker', () => {
  const image = { role: 'user', content: [{ type: 'input_image', image_url: 'data:image/png;base64,AA' }] };
  const counted = parseResponseCount({ input: [image], tools: [tool], tool_choice: 'required' }, new Map());
  assert.equal(counted.ok && counted.value.tools, [asChat]);
  assert.not(parseResponseCount({}, new Map()).ok);
});

test('whatever is read fits the log, and whatever is refused says where; nothing throws', () => {
  const checkRequest = check(JobRequest);
  const checkAnswer = check(ResponseAnswerShape);
  const types = ['message', 'function_call', 'function_call_output', 'custom_tool_call', 'reasoning', 'item_reference'];
  const anyPart = fc.record(
    {
      type: fc.constantFrom('input_text', 'output_text', 'refusal', 'input_image', 'input_file', 'x'),
      text: fc.string(),
      refusal: fc.string(),
      image_url: fc.oneof(fc.string(), fc.constant(null)),
    },
    { requiredKeys: ['type'] },
  );
  const anyContent = fc.oneof(fc.string(), fc.array(anyPart, { maxLength: 3 }), fc.constantFrom(null, 3));
  const anyItem = fc.oneof(
    fc.record({ role: fc.constantFrom('user', 'assistant', 'system', 'developer', 'x'), content: anyContent }),
    fc.record(
      {
        type: fc.constantFrom(...types, 'web_search_call', 'custom_tool_call_output', 'x'),
        role: fc.constantFrom('user', 'assistant'),
        content: anyContent,
        id: fc.string(),
        call_id: fc.string(),
        name: fc.string(),
        arguments: fc.string(),
        input: fc.string(),
        output: anyContent,
        summary: fc.array(anyPart, { maxLength: 2 }),
        encrypted_content: fc.oneof(fc.string(), fc.string().map(sealed)),
      },
      { requiredKeys: ['type'] },
    ),
    fc.anything({ maxDepth: 1 }),
  );
  const anyMore = fc.record(
    {
      tools: fc.array(fc.constantFrom<unknown>(tool, { type: 'custom', name: 'c' }, { type: 'mcp' }, {}), {
        maxLength: 3,
      }),
      tool_choice: fc.constantFrom<unknown>(
        'auto',
        'none',
        'required',
        { type: 'function', name: 'f' },
        { type: 'mcp' },
        7,
      ),
      reasoning: fc.constantFrom<unknown>({ effort: 'low' }, { summary: 'auto' }, null, 'x'),
      instructions: fc.oneof(fc.string(), fc.constant(null)),
      temperature: fc.double(),
      text: fc.constantFrom<unknown>({}, { format: { type: 'text' } }, { format: null }, null),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(anyItem, { maxLength: 5 }), anyMore, fc.boolean(), (input, more, able) => {
      // What comes out of JSON.
      const body: object = JSON.parse(JSON.stringify({ ...more, input }));
      const parsed = parse(body, able ? everyFeature : none);
      if (!parsed.ok)
        return assert.ok(parsed.param !== null && parsed.message.startsWith(parsed.param), parsed.message);
      const request = checkRequest(JSON.parse(JSON.stringify(parsed.request)));
      assert.ok(request.ok, request.ok ? '' : `${request.path} ${request.message}`);
      assert.ok(checkAnswer(JSON.parse(JSON.stringify(parsed.answer))).ok);
    }),
    seeded,
  );
});

test.run();
