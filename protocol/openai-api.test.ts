import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CodeName, codes } from './codes.ts';
import {
  type ChatChoiceParts,
  chatCompletion,
  chatUsage,
  chunkWriter,
  errorBody,
  modelList,
  modelObject,
} from './openai-api.ts';

const { FC_RUNS = '300', FC_SEED } = process.env;
const runs = { numRuns: Number(FC_RUNS), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) };

const usage = { input: 13, cached: 3, output: 5, reasoning: 2 };
const none = { input: 0, cached: 0, output: 0, reasoning: 0 };
const call = { id: 'call_1', name: 'f', arguments: '{"a":1}' };
const answer = {
  id: 'chatcmpl-0a',
  created: 1,
  model: 'm',
  usage,
} as const;
const plain = { text: 'Hello', reasoning: '', toolCalls: [], finishReason: 'stop', logprobs: null } as const;
const counts = {
  prompt_tokens: 13,
  completion_tokens: 5,
  total_tokens: 18,
  prompt_tokens_details: { cached_tokens: 3 },
  completion_tokens_details: { reasoning_tokens: 2 },
  cache_tokens: 3,
};

test('OA13, OA43: a plain answer in one piece', () => {
  assert.equal(chatCompletion({ ...answer, choices: [plain] }), {
    id: 'chatcmpl-0a',
    object: 'chat.completion',
    created: 1,
    model: 'm',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello', refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: counts,
    system_fingerprint: null,
  });
});
test('OA22: text, reasoning and tool calls stand beside each other', () => {
  const parts = { ...plain, reasoning: 'why', toolCalls: [call], finishReason: 'tool_calls' } as const;
  const wire = { id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } };
  const messageOf = (choice: ChatChoiceParts) => chatCompletion({ ...answer, choices: [choice] }).choices[0]?.message;
  const message = messageOf(parts);
  assert.equal(message, {
    role: 'assistant',
    content: 'Hello',
    refusal: null,
    annotations: [],
    reasoning_content: 'why',
    tool_calls: [wire],
  });
  assert.is(messageOf({ ...parts, text: '' })?.content, null);
  assert.is(messageOf({ ...plain, text: '' })?.content, '');
});
test('cache_tokens is left out when nothing was reused, as callers of the reference know it', () => {
  assert.not(Object.hasOwn(chatUsage({ ...usage, cached: 0 }), 'cache_tokens'));
});

const head =
  '{"id":"chatcmpl-0a","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":null,"choices":[';
const one = (delta: string, finish = 'null') =>
  `{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}`;
const stream = { id: 'chatcmpl-0a', created: 1, model: 'm' };

test('OA13, OA17: a stream without include_usage; only the first delta has a role', () => {
  const write = chunkWriter({ ...stream, includeUsage: false });
  assert.is(write.role(), `${head}${one('{"role":"assistant","content":"","refusal":null}')}]}`);
  assert.is(write.content('Hi\n'), `${head}${one('{"content":"Hi\\n"}')}]}`);
  assert.is(write.reasoning('hmm'), `${head}${one('{"reasoning_content":"hmm"}')}]}`);
  const wire = '"id":"call_1","type":"function","function":{"name":"f","arguments":"{\\"a\\":1}"}}';
  assert.is(write.toolCall(2, call), `${head}${one(`{"tool_calls":[{"index":2,${wire}]}`)}]}`);
  assert.is(write.toolCalls([call, call]), `${head}${one(`{"tool_calls":[{"index":0,${wire},{"index":1,${wire}]}`)}]}`);
});
test('OA19: without include_usage the counts are on the finish chunk, and absent when nothing was counted', () => {
  const write = chunkWriter({ ...stream, includeUsage: false });
  assert.is(write.finish('stop', usage), `${head}${one('{}', '"stop"')}],"usage":${JSON.stringify(counts)}}`);
  assert.is(write.finish('length', none), `${head}${one('{}', '"length"')}]}`);
});
test('OA18: with include_usage every chunk says null, and the last has the counts and no choice', () => {
  const write = chunkWriter({ ...stream, includeUsage: true });
  for (const chunk of [
    write.role(),
    write.content('x'),
    write.reasoning('x'),
    write.toolCall(0, call),
    write.finish('stop', usage),
  ]) {
    assert.is(JSON.parse(chunk).usage, null);
  }
  assert.is(write.usage(usage), `${head}],"usage":${JSON.stringify(counts)}}`);
});
test('every chunk is JSON on one line and says its text exactly', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.boolean(), (text, model, includeUsage) => {
      const write = chunkWriter({ ...stream, model, includeUsage });
      const chunks = [
        write.role(),
        write.content(text),
        write.reasoning(text),
        write.finish('stop', usage),
        write.usage(usage),
      ];
      for (const chunk of chunks) {
        assert.not.match(chunk, /[\r\n]/);
        assert.is(JSON.parse(chunk).model, model);
      }
      assert.equal(JSON.parse(write.content(text)).choices[0].delta, { content: text });
      assert.equal(JSON.parse(write.reasoning(text)).choices[0].delta, { reasoning_content: text });
    }),
    runs,
  );
});

test('OA36: an error has all four keys', () => {
  assert.equal(errorBody('unsupported_parameter', 'n above 1', 'n'), {
    error: { message: 'n above 1', type: 'invalid_request_error', param: 'n', code: 'unsupported_parameter' },
  });
  assert.equal(errorBody('internal_error', 'x'), {
    error: { message: 'x', type: 'server_error', param: null, code: null },
  });
});
test('§8.4: type and code per status are those that clients know', () => {
  const shown = (code: CodeName) => [
    codes[code].status,
    errorBody(code, '').error.type,
    errorBody(code, '').error.code,
  ];
  assert.equal(shown('invalid_request'), [400, 'invalid_request_error', null]);
  assert.equal(shown('invalid_api_key'), [401, 'authentication_error', 'invalid_api_key']);
  assert.equal(shown('not_found'), [404, 'not_found', null]);
  assert.equal(shown('model_not_found'), [404, 'not_found_error', 'model_not_found']);
  assert.equal(shown('request_too_large'), [413, 'invalid_request_error', 'request_too_large']);
  assert.equal(shown('rate_limit_exceeded'), [429, 'rate_limit_error', 'rate_limit_exceeded']);
  assert.equal(shown('internal_error'), [500, 'server_error', null]);
  assert.equal(shown('not_implemented'), [501, 'not_implemented', null]);
  assert.equal(shown('server_overloaded'), [503, 'server_error', 'server_overloaded']);
  assert.equal(shown('timeout'), [504, 'server_error', 'timeout']);
});

test('OA7: the list of models', () => {
  assert.equal(
    modelList([modelObject('m', 5), modelObject('n', 5, { max_context_length: 4096, capabilities: ['chat'] })]),
    {
      object: 'list',
      data: [
        { id: 'm', object: 'model', created: 5, owned_by: 'auxot' },
        { id: 'n', object: 'model', created: 5, owned_by: 'auxot', max_context_length: 4096, capabilities: ['chat'] },
      ],
    },
  );
});

test.run();
