import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { estimateTokens } from './anthropic-api.count.ts';
import { messageError, messageEvents, messageStatus, modelInfo, modelPage } from './anthropic-api.ts';
import { codes, retryHeaders } from './codes.ts';

const typeOf = (code: string): string => messageError(code, 'm', 'req_1').error.type;

test('AN5 AN34: every code has its status and its type, and 503 is 529', () => {
  for (const [code, { status, retryable }] of Object.entries(codes)) {
    const told = messageStatus(code);
    assert.is(told, status === 503 || code === 'queue_full' ? 529 : status, code);
    const headers = retryHeaders(code);
    if (told === 429 || told === 529) assert.is(headers['retry-after'], '1', code);
    else {
      const never = told === 401 || (told >= 500 && !retryable);
      assert.is(headers['x-should-retry'], never ? 'false' : undefined, code);
    }
  }
  for (const [code, type] of Object.entries({
    invalid_request: 'invalid_request_error',
    unsupported_parameter: 'invalid_request_error',
    invalid_api_key: 'authentication_error',
    model_not_found: 'not_found_error',
    request_too_large: 'request_too_large',
    rate_limit_exceeded: 'rate_limit_error',
    queue_full: 'overloaded_error',
    shutting_down: 'overloaded_error',
    timeout: 'timeout_error',
    not_implemented: 'not_implemented_error',
    worker_error: 'api_error',
    'never heard of': 'api_error',
  }))
    assert.is(typeOf(code), type, code);
  assert.equal(messageError('invalid_request', 'm', 'req_1'), {
    type: 'error',
    error: { type: 'invalid_request_error', message: 'm' },
    request_id: 'req_1',
  });
});

test('AN26: a prompt that is too long is told in the words that agents look for', () => {
  const { error } = messageError('context_length_exceeded', 'the prompt has 9000 tokens, but 4096 fit', 'r');
  assert.is(error.message, 'prompt is too long: 9000 tokens > 4096 maximum');
});

test('an event is one line of data, whatever is said in it', () => {
  const text = '\n\n\r\u2028"\\\ud800';
  for (const event of [
    messageEvents.text(3, text),
    messageEvents.thinking(3, text),
    messageEvents.inputJson(3, text),
  ]) {
    const [name, data, ...rest] = event.split('\n');
    assert.is(name, 'event: content_block_delta');
    assert.equal(rest, ['', '']);
    const parsed = JSON.parse(data?.slice('data: '.length) ?? '');
    assert.is(parsed.index, 3);
    assert.ok(Object.values(parsed.delta).includes(text));
  }
});

test('AN8: a page of models, forwards and backwards', () => {
  const models = ['a', 'b', 'c', 'd'].map(id => modelInfo(id, 1_700_000_000, 4096));
  const page = (limit: number, after: string | null = null, before: string | null = null) => {
    const { data, has_more, first_id, last_id } = modelPage(models, { limit, after, before });
    return [data.map(({ id }) => id).join(''), has_more, first_id, last_id];
  };
  assert.equal(page(20), ['abcd', false, 'a', 'd']);
  assert.equal(page(2), ['ab', true, 'a', 'b']);
  assert.equal(page(2, 'b'), ['cd', false, 'c', 'd']);
  assert.equal(page(2, 'd'), ['', false, null, null]);
  assert.equal(page(2, null, 'd'), ['bc', true, 'b', 'c']);
  assert.equal(page(2, null, 'b'), ['a', false, 'a', 'a']);
  assert.equal(page(2, 'nope'), ['', false, null, null]);
  assert.is(models[0]?.created_at, '2023-11-14T22:13:20Z');
});

test('AN7 AN32: an estimate counts all that a model would read', () => {
  const user = (content: unknown) => ({ role: 'user', content });
  const estimate = (messages: Record<string, unknown>[], tools: Record<string, unknown>[] = []) =>
    estimateTokens({ model: '', messages, tools });
  assert.is(estimate([user('x'.repeat(31))]), 11);
  assert.is(estimate([user('xy')]), 5);
  assert.is(estimate([user('')]), 4);
  assert.is(estimate([user('ää')]), 5, 'bytes, not characters');
  assert.is(estimate([{ role: 'system', content: 'x'.repeat(40) }, user('')]), 14);
  const call = { id: 'c', type: 'function', function: { name: 'name', arguments: 'x'.repeat(36) } };
  assert.is(estimate([{ role: 'assistant', content: '', tool_calls: [call] }]), 14);
  assert.is(estimate([{ role: 'assistant', content: '', reasoning_content: 'x'.repeat(40) }]), 14);
  assert.is(estimate([{ role: 'tool', tool_call_id: 'c', content: 'x'.repeat(40) }]), 14);
  assert.is(
    estimate([user('')], [{ type: 'function', function: { name: 'abcd', description: 'efgh', parameters: {} } }]),
    6,
  );
  const image = { type: 'image_url', image_url: { url: 'data:' } };
  assert.is(estimate([user([{ type: 'text', text: 'abcd' }, image])]), 1505);
});

test.run();
