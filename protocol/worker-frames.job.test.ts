import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobRequest } from './job-events.ts';
import { jobFrame, parseRouterFrame, serialiseFrame, usageOf } from './worker-frames.ts';

const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } };
const everything: JobRequest = {
  model: 'm',
  messages: [
    { role: 'developer', content: 'be brief' },
    { role: 'user', content: [{ type: 'text', text: 'Hi' }], name: 'ann' },
    { role: 'assistant', content: null, tool_calls: [call], reasoning_content: 'why' },
    { role: 'tool', content: '42', tool_call_id: 'c1' },
  ],
  tools: [
    { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true } },
  ],
  toolChoice: 'required',
  parallelToolCalls: false,
  responseFormat: { type: 'json_object' },
  temperature: 0,
  topP: 0.9,
  topK: 40,
  minP: 0.05,
  repeatPenalty: 1.1,
  frequencyPenalty: 0.5,
  presencePenalty: -0.5,
  seed: 7,
  stop: ['END'],
  maxTokens: 256,
  choices: 2,
  logprobs: true,
  topLogprobs: 3,
  logitBias: { '5': -100 },
  reasoningEffort: 'low',
  thinkingBudget: 128,
  templateOptions: { enable_thinking: false },
};

test('a version 1 worker gets version 1 fields only, and a developer becomes system', () => {
  assert.equal(jobFrame('chatcmpl-1', 3, everything, 1), {
    type: 'job',
    job_id: 'chatcmpl-1',
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', content: '42', tool_call_id: 'c1' },
    ],
    tools: [{ type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' } } }],
    temperature: 0,
    max_tokens: 256,
    reasoning_effort: 'low',
    caller_tools: ['f'],
  });
});
test('a version 2 worker gets everything that was asked, and the attempt', () => {
  const frame = jobFrame('chatcmpl-1', 3, everything, 2);
  assert.equal(frame, {
    ...jobFrame('chatcmpl-1', 3, everything, 1),
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: [{ type: 'text', text: 'Hi' }], name: 'ann' },
      { role: 'assistant', content: null, tool_calls: [call], reasoning_content: 'why' },
      { role: 'tool', content: '42', tool_call_id: 'c1' },
    ],
    tools: [
      { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true } },
    ],
    attempt: 3,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.05,
    stop: ['END'],
    seed: 7,
    frequency_penalty: 0.5,
    presence_penalty: -0.5,
    repeat_penalty: 1.1,
    logit_bias: { '5': -100 },
    response_format: { type: 'json_object' },
    tool_choice: 'required',
    parallel_tool_calls: false,
    logprobs: true,
    top_logprobs: 3,
    n: 2,
    thinking_budget_tokens: 128,
    template_options: { enable_thinking: false },
  });
  assert.equal(parseRouterFrame(serialiseFrame(frame)), { ok: true, frame });
});
test('what was not asked is not on the wire', () => {
  const text = serialiseFrame(jobFrame('j', 1, { model: 'm', messages: [{ role: 'user', content: 'q' }] }, 1));
  assert.is(text, '{"type":"job","job_id":"j","messages":[{"role":"user","content":"q"}]}');
});
test('the input of a job holds the reused prompt tokens too', () => {
  const complete = { type: 'complete', job_id: 'j', full_response: '' } as const;
  assert.equal(usageOf({ ...complete, input_tokens: 10, cache_tokens: 3, output_tokens: 5, reasoning_tokens: 2 }), {
    input: 13,
    cached: 3,
    output: 5,
    reasoning: 2,
  });
  assert.equal(usageOf({ ...complete, input_tokens: -1 }), { input: 0, cached: 0, output: 0, reasoning: 0 });
});

test.run();
