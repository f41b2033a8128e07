import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { JobRequest } from './job-events.ts';
import type { Feature } from './openai-api.refusal.ts';
import { type ChatRequestOptions, parseChatRequest } from './openai-api.request.ts';
import { check } from './schema.ts';

const { FC_RUNS = '300', FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };

const user = { role: 'user', content: 'Hi' };
const ask = (more: object = {}, options: ChatRequestOptions = {}) =>
  parseChatRequest({ messages: [user], ...more }, options);

/** The request that was read; fails the test when it was refused. */
function requestOf(more: object, options: ChatRequestOptions = {}) {
  const parsed = ask(more, options);
  if (!parsed.ok) assert.unreachable(parsed.message);
  return parsed.ok ? parsed.request : null;
}
/** Code and place of the refusal. */
function refusal(more: object, options: ChatRequestOptions = {}): string {
  const parsed = ask(more, options);
  return parsed.ok ? 'ok' : `${parsed.code} ${parsed.param}`;
}
const all: ReadonlySet<Feature> = new Set(['images', 'response_format', 'tool_choice', 'n', 'logprobs']);

test('OA12: model, two messages, stream, temperature and max_tokens', () => {
  const body = {
    model: 'm',
    messages: [{ role: 'system', content: 's' }, user],
    stream: true,
    temperature: 0.7,
    max_tokens: 2048,
  };
  assert.equal(parseChatRequest(body), {
    ok: true,
    request: { model: 'm', messages: [{ role: 'system', content: 's' }, user], temperature: 0.7, maxTokens: 2048 },
    answer: { api: 'openai.chat', stream: true, model: 'm' },
  });
});
test('OA12: only messages is enough, and unknown fields are ignored', () => {
  const only = {
    ok: true,
    request: { model: '', messages: [user] },
    answer: { api: 'openai.chat', stream: false, model: '' },
  };
  assert.equal(ask(), only);
  assert.equal(
    ask({ wibble: { x: 1 }, user: 'u', metadata: { a: 'b' }, store: false, service_tier: 'auto', verbosity: 'low' }),
    only,
  );
});
test('OA12: tools parse, and their schemas pass unchanged', () => {
  const parameters = {
    type: 'object',
    properties: { a: { type: ['string', 'null'], default: null } },
    $defs: {},
    additionalProperties: false,
  };
  const tool = { type: 'function', function: { name: 'f', description: 'd', parameters, strict: true } };
  assert.equal(requestOf({ tools: [tool] })?.tools, [tool]);
});
test('row 41: a flat tool is read as a nested one', () => {
  assert.equal(requestOf({ tools: [{ type: 'function', name: 'f', parameters: { type: 'object' } }] })?.tools, [
    { type: 'function', function: { name: 'f', parameters: { type: 'object' } } },
  ]);
  assert.is(refusal({ tools: [{ type: 'function' }] }), 'invalid_request tools[0].function');
  assert.is(
    refusal({ tools: [{ type: 'function', function: { name: '' } }] }),
    'invalid_request tools[0].function.name',
  );
});
test('OA3: messages must be a list with something in it', () => {
  for (const messages of [undefined, null, [], 'x', {}]) assert.is(refusal({ messages }), 'invalid_request messages');
  for (const body of [null, 3, 'x', [], true]) {
    const parsed = parseChatRequest(body);
    assert.equal([parsed.ok, parsed.ok ? '' : parsed.param], [false, null]);
  }
});
test('row 41: a body of the Responses API is told so', () => {
  const parsed = parseChatRequest({ input: 'Hi' });
  assert.is(parsed.ok ? 'ok' : `${parsed.code} ${parsed.param}`, 'unsupported_parameter input');
  assert.is(refusal({ input: 'ignored beside messages' }), 'ok');
});
test('null means absent', () => {
  assert.equal(
    ask({
      model: null,
      stream: null,
      temperature: null,
      max_tokens: null,
      tools: null,
      tool_choice: null,
      stop: null,
      stream_options: null,
      response_format: null,
      functions: null,
      audio: null,
      n: null,
      logprobs: null,
    }),
    ask(),
  );
});
test('OA16: the router names the model when the caller does not', () => {
  for (const model of [undefined, null, '']) {
    const parsed = ask({ model }, { modelDefault: 'configured' });
    assert.equal(parsed.ok ? [parsed.request.model, parsed.answer.model] : null, ['configured', 'configured']);
  }
  assert.is(requestOf({ model: 'theirs' }, { modelDefault: 'configured' })?.model, 'theirs');
});
test('OA18: include_usage is part of the answer, not of the job', () => {
  const parsed = ask({ stream: true, stream_options: { include_usage: true, include_obfuscation: true } });
  assert.equal(parsed.ok && parsed.answer, { api: 'openai.chat', stream: true, model: '', includeUsage: true });
});
test('OA20: max_completion_tokens is the limit and wins over max_tokens', () => {
  assert.is(requestOf({ max_completion_tokens: 5 })?.maxTokens, 5);
  assert.is(requestOf({ max_completion_tokens: 5, max_tokens: 9 })?.maxTokens, 5);
  assert.is(requestOf({ max_completion_tokens: null, max_tokens: 9 })?.maxTokens, 9);
});
test('OA23: tool_choice none leaves no tools, and is remembered so that none are added', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }];
  assert.equal(requestOf({ tools, tool_choice: 'none' }), { model: '', messages: [user], toolChoice: 'none' });
  assert.equal(requestOf({ tools, tool_choice: 'auto' })?.tools, tools);
  assert.is(requestOf({ tools, parallel_tool_calls: false })?.parallelToolCalls, false);
});
test('OA24: a forced tool_choice is refused by name where no worker can force', () => {
  const tools = ['f', 'g'].map(name => ({ type: 'function', function: { name } }));
  const named = { type: 'function', function: { name: 'f' } };
  const allowed = { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [named] } };
  for (const tool_choice of ['required', named, { type: 'function', name: 'f' }, allowed]) {
    assert.is(refusal({ tools, tool_choice }), 'unsupported_parameter tool_choice');
  }
  assert.is(requestOf({ tools, tool_choice: 'required' }, { honours: all })?.toolChoice, 'required');
  assert.equal(requestOf({ tools, tool_choice: { type: 'function', name: 'f' } }, { honours: all })?.toolChoice, named);
  const restricted = requestOf({ tools, tool_choice: allowed }, { honours: all });
  assert.equal([restricted?.toolChoice, restricted?.tools], ['required', [tools[0]]]);
  assert.is(refusal({ tool_choice: 'required' }), 'invalid_request tool_choice');
  assert.is(refusal({ tools, tool_choice: { type: 'function', name: 'h' } }), 'invalid_request tool_choice');
  assert.is(refusal({ tools, tool_choice: 'sometimes' }), 'invalid_request tool_choice');
  assert.is(
    refusal({ tools, tool_choice: { type: 'allowed_tools', tools: [{ name: 'h' }] } }),
    'invalid_request tool_choice.allowed_tools.tools[0]',
  );
});
test('OA25: response_format other than text is refused by name, or passed on where it can be honoured', () => {
  const format = { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' }, strict: true } };
  assert.is(requestOf({ response_format: { type: 'text' } })?.responseFormat, undefined);
  assert.is(refusal({ response_format: format }), 'unsupported_parameter response_format');
  assert.is(refusal({ response_format: { type: 'json_object' } }), 'unsupported_parameter response_format');
  assert.equal(requestOf({ response_format: format }, { honours: all })?.responseFormat, format);
  assert.is(refusal({ response_format: { type: 'xml' } }), 'invalid_request response_format.type');
  assert.is(refusal({ response_format: { type: 'json_schema' } }), 'invalid_request response_format.json_schema');
  assert.is(
    refusal({ response_format: { type: 'json_schema', json_schema: { name: 'n', schema: [] } } }),
    'invalid_request response_format.json_schema.schema',
  );
});
test('OA26: what tunes the sampling is passed on', () => {
  assert.equal(
    requestOf({
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      seed: 7,
      frequency_penalty: 1,
      presence_penalty: -1,
      repeat_penalty: 1.1,
      logit_bias: { '5': -100 },
      reasoning_effort: 'None',
      thinking_budget_tokens: 128,
      chat_template_kwargs: { enable_thinking: false },
    }),
    {
      model: '',
      messages: [user],
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      seed: 7,
      frequencyPenalty: 1,
      presencePenalty: -1,
      repeatPenalty: 1.1,
      logitBias: { '5': -100 },
      reasoningEffort: 'none',
      thinkingBudget: 128,
      templateOptions: { enable_thinking: false },
    },
  );
});
test('OA26: stop is one text or up to 16, none of them empty', () => {
  assert.equal(requestOf({ stop: 'END' })?.stop, ['END']);
  assert.equal(requestOf({ stop: Array(16).fill('x') })?.stop?.length, 16);
  assert.is(requestOf({ stop: [] })?.stop, undefined);
  for (const stop of ['', ['a', ''], Array(17).fill('x')]) assert.is(refusal({ stop }), 'invalid_request stop');
  assert.is(refusal({ stop: ['a', 1] }), 'invalid_request stop[1]');
});
test('OA27, OA28: more choices and log probabilities are refused by name, or passed on where they can be honoured', () => {
  assert.is(refusal({ n: 2 }), 'unsupported_parameter n');
  assert.is(refusal({ logprobs: true }), 'unsupported_parameter logprobs');
  assert.is(refusal({ n: 1, logprobs: false }), 'ok');
  assert.is(requestOf({ n: 2 }, { honours: all })?.choices, 2);
  const request = requestOf({ logprobs: true, top_logprobs: 3 }, { honours: all });
  assert.equal([request?.logprobs, request?.topLogprobs], [true, 3]);
  assert.is(refusal({ top_logprobs: 3 }), 'invalid_request top_logprobs');
});
test('OA29, OA30: a developer becomes system, reasoning in the history is kept', () => {
  const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } };
  const parsed = parseChatRequest({
    messages: [
      { role: 'developer', content: 's' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ ...call, index: 0 }],
        reasoning_content: 'why',
        refusal: null,
      },
      { role: 'tool', tool_call_id: 'c1', content: [{ type: 'text', text: '42', cache_control: {} }] },
    ],
  });
  assert.equal(parsed.ok && parsed.request.messages, [
    { role: 'system', content: 's' },
    { role: 'assistant', content: null, tool_calls: [call], reasoning_content: 'why' },
    { role: 'tool', content: [{ type: 'text', text: '42' }], tool_call_id: 'c1' },
  ]);
});
test('§8.0: documented ranges are held, and the field is named', () => {
  for (const [field, values] of Object.entries({
    temperature: [-0.1, 2.1, '1', Number.NaN],
    top_p: [-1, 1.5],
    min_p: [2],
    top_k: [1.5, -2],
    frequency_penalty: [-2.5],
    presence_penalty: [3],
    max_tokens: [0, -5, 1.5, '5', 1e300],
    max_completion_tokens: [0],
    n: [0, 129],
    top_logprobs: [21],
    seed: [0.5],
    stream: ['true', 1],
    reasoning_effort: ['huge', 3],
    parallel_tool_calls: ['no'],
    chat_template_kwargs: [[]],
    model: [5],
  })) {
    for (const value of values)
      assert.is(refusal({ [field]: value }), `invalid_request ${field}`, `${field}: ${value}`);
  }
  assert.is(refusal({ logit_bias: { '5': 101 } }), 'invalid_request logit_bias[5]');
  assert.is(refusal({ temperature: 2, top_p: 1, n: 1, max_tokens: 1 }), 'ok');
});
test('a message is refused where it is wrong', () => {
  const place = (message: unknown) => refusal({ messages: [user, message] });
  assert.is(place(null), 'invalid_request messages[1]');
  assert.is(place({ content: 'x' }), 'invalid_request messages[1].role');
  assert.is(place({ role: 'wizard', content: 'x' }), 'invalid_request messages[1].role');
  assert.is(place({ role: 'function', content: 'x' }), 'unsupported_parameter messages[1].role');
  assert.is(place({ role: 'user' }), 'invalid_request messages[1].content');
  assert.is(place({ role: 'user', content: 5 }), 'invalid_request messages[1].content');
  assert.is(place({ role: 'user', content: [] }), 'invalid_request messages[1].content');
  assert.is(place({ role: 'user', content: [{ type: 'text' }] }), 'invalid_request messages[1].content[0].text');
  assert.is(
    place({ role: 'assistant', tool_calls: [{ id: 'a' }] }),
    'invalid_request messages[1].tool_calls[0].function',
  );
  assert.is(
    place({ role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: {} } }] }),
    'invalid_request messages[1].tool_calls[0].function.arguments',
  );
});
test('rows 34, 35: what the model cannot see is refused where it stands', () => {
  const place = (part: object, options: ChatRequestOptions = {}) =>
    refusal({ messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, part] }] }, options);
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,aGk=', detail: 'low' } };
  for (const part of [
    image,
    { type: 'input_audio', input_audio: {} },
    { type: 'file', file: {} },
    { type: 'wibble' },
  ]) {
    assert.is(place(part), 'unsupported_parameter messages[0].content[1]');
  }
  assert.is(place(image, { honours: all }), 'ok');
  assert.is(place({ type: 'image_url' }, { honours: all }), 'invalid_request messages[0].content[1].image_url.url');
});
test('what is known and not done is refused by name', () => {
  assert.is(refusal({ modalities: ['text', 'audio'] }), 'unsupported_parameter modalities');
  assert.is(refusal({ modalities: ['text'] }), 'ok');
  assert.is(refusal({ audio: { voice: 'x' } }), 'unsupported_parameter audio');
  assert.is(refusal({ prediction: { type: 'content', content: 'x' } }), 'unsupported_parameter prediction');
  assert.is(refusal({ web_search_options: {} }), 'unsupported_parameter web_search_options');
  assert.is(refusal({ functions: [{ name: 'f' }] }), 'unsupported_parameter functions');
  assert.is(refusal({ functions: [] }), 'ok');
  assert.is(refusal({ tools: [{ type: 'custom', custom: { name: 'x' } }] }), 'unsupported_parameter tools[0].type');
});

/** Bodies near the real ones: known fields with any JSON in them. */
const anyBody = fc.record(
  Object.fromEntries(
    [
      'messages',
      'tools',
      'tool_choice',
      'response_format',
      'stop',
      'temperature',
      'n',
      'logit_bias',
      'model',
      'functions',
      'modalities',
      'stream_options',
    ].map(field => [field, fc.jsonValue({ maxDepth: 3 })]),
  ),
  { requiredKeys: [] },
);
const anyMessage = fc.record(
  {
    role: fc.constantFrom('user', 'assistant', 'tool', 'developer', 'x'),
    content: fc.jsonValue(),
    tool_calls: fc.jsonValue(),
    name: fc.jsonValue(),
  },
  { requiredKeys: ['role'] },
);
const fitsLog = check(JobRequest);

test('any JSON is read or refused, never thrown at; what is read fits the log', () => {
  const body = fc.oneof(
    fc.jsonValue(),
    anyBody,
    fc.tuple(anyBody, fc.array(anyMessage)).map(([rest, messages]) => ({ ...rest, messages })),
  );
  fc.assert(
    fc.property(body, fc.boolean(), (body, able) => {
      const parsed = parseChatRequest(body, able ? { honours: all } : {});
      if (parsed.ok) {
        assert.ok(fitsLog(parsed.request).ok);
        assert.equal(JSON.parse(JSON.stringify(parsed.request)), parsed.request);
      } else {
        assert.ok(parsed.param === null || parsed.message.startsWith(parsed.param), parsed.message);
      }
    }),
    runs,
  );
});

test.run();
