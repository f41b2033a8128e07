import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ineffectiveParam } from './tuning-params.ts';

test('the first field without effect is named, whole ones and those within another', () => {
  assert.is(ineffectiveParam('openai.chat', { messages: [], temperature: 1, service_tier: 'auto' }), 'service_tier');
  assert.is(ineffectiveParam('openai.chat', { verbosity: 'low' }), 'verbosity');
  assert.is(ineffectiveParam('openai.responses', { text: { verbosity: 'low' } }), 'text.verbosity');
  assert.is(ineffectiveParam('anthropic.messages', { metadata: { user_id: 'u' } }), 'metadata');
});

test('metadata has an effect on a completion that is stored', () => {
  assert.is(ineffectiveParam('openai.chat', { metadata: { a: 'b' } }), 'metadata');
  assert.is(ineffectiveParam('openai.chat', { metadata: { a: 'b' }, store: true }), null);
});

test('null is absent, and what is no object has no fields', () => {
  assert.is(ineffectiveParam('openai.chat', { user: null, metadata: null }), null);
  for (const body of [null, 'x', 7, [], { text: 'plain' }]) assert.is(ineffectiveParam('openai.responses', body), null);
});

test.run();
