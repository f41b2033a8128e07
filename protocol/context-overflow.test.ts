import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { beyondContext, promptTooLong } from './context-overflow.ts';

test('AN26 OA39: a prompt that is too long is told in the words that clients look for', () => {
  for (const [said, anthropic, openai] of [
    [
      'the prompt has 9000 tokens, but the context holds 4096',
      'prompt is too long: 9000 tokens > 4096 maximum',
      "This model's maximum context length is 4096 tokens, but the prompt has 9000: shorten the messages",
    ],
    [
      'request (8192 tokens) exceeds the available context size (8192 tokens)',
      'prompt is too long: 8192 tokens > 8192 maximum',
      "This model's maximum context length is 8192 tokens, but the prompt has 8192: shorten the messages",
    ],
    ['no numbers', 'prompt is too long: no numbers', 'no numbers'],
    ['limit 4096, got 9000', 'prompt is too long: limit 4096, got 9000', 'limit 4096, got 9000'],
  ] as const) {
    assert.equal([promptTooLong(said), beyondContext(said)], [anthropic, openai]);
    assert.equal([promptTooLong(anthropic), beyondContext(openai)], [anthropic, openai], 'said once');
  }
});

test.run();
