import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseChatOrInput } from './openai-api.mixed.ts';

const flatTool = { type: 'function', name: 'read', parameters: { type: 'object', properties: {} } };
const nestedTool = { type: 'function', function: { name: 'write', parameters: { type: 'object', properties: {} } } };

test('OA42: a body with input and flat tools is read, and answered as a chat', () => {
  const parsed = parseChatOrInput({
    model: 'm',
    input: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
      { type: 'function_call', call_id: 'c1', name: 'read', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c1', output: 'ok' },
    ],
    tools: [flatTool, nestedTool],
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: 7,
    reasoning_effort: 'low',
    user: 'someone',
  });
  assert.ok(parsed.ok);
  assert.equal(parsed.answer, { api: 'openai.chat', stream: true, model: 'm', includeUsage: true });
  const { messages, tools, maxTokens, reasoningEffort } = parsed.request;
  assert.equal(
    messages.map(message => (message as { role: string }).role),
    ['system', 'user', 'assistant', 'tool'],
  );
  assert.match(JSON.stringify(tools), /"read".*"write"/);
  assert.equal([maxTokens, reasoningEffort], [7, 'low']);
});

test('OA42: what has no meaning there is refused by name', () => {
  for (const [field, value] of Object.entries({
    stop: 'x',
    n: 2,
    seed: 1,
    previous_response_id: 'resp_1',
    background: true,
  })) {
    const parsed = parseChatOrInput({ input: 'hi', [field]: value });
    assert.equal(!parsed.ok && [parsed.code, parsed.param], ['unsupported_parameter', field]);
  }
  const referring = parseChatOrInput({ input: [{ type: 'item_reference', id: 'msg_1' }] });
  assert.is(referring.ok, false);
});

test('a body with messages, or with neither, is a chat', () => {
  const chat = parseChatOrInput({ messages: [{ role: 'user', content: 'hi' }], stop: 'x' });
  assert.equal(chat.ok && chat.request.stop, ['x']);
  const neither = parseChatOrInput({});
  assert.equal(!neither.ok && neither.param, 'messages');
});

test('OA15: an image that is given as a bare text goes to workers as an object', () => {
  const content = [{ type: 'image_url', image_url: 'data:image/png;base64,AA' }];
  const parsed = parseChatOrInput({ messages: [{ role: 'user', content }] }, { honours: new Set(['images'] as const) });
  assert.ok(parsed.ok);
  assert.match(JSON.stringify(parsed.request.messages), '"image_url":{"url":"data:image/png;base64,AA"}');
});

test.run();
