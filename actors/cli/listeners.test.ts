/**
 * What the programs print, as recorded from Claude Code 2.0.0 and Codex 0.169.0 (shortened to the fields that are read), and
 * as Cursor documents it. Tests name the weaknesses of spec/workers §4.3 that they hold against.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { claude } from './claude.ts';
import type { CliDriver, CliJob, CliSaying, Listener } from './cli.ts';
import { codex } from './codex.ts';
import { conversationOf } from './conversation.ts';
import { cursor, promptOf } from './cursor.ts';

const place = {
  path: '',
  home: '',
  config: '',
  work: '/w',
  temp: '',
  occupied: () => undefined,
  remove: () => undefined,
};
const weather = { name: 'weather', description: 'The weather', schema: { type: 'object' } };

const jobOf = (messages: readonly object[], more: Partial<CliJob> = {}): CliJob => ({
  model: 'm',
  conversation: conversationOf(messages as Record<string, unknown>[]),
  tools: [weather],
  builtins: [],
  effort: undefined,
  thinkingBudget: undefined,
  maxTokens: undefined,
  place,
  toolServer: null,
  flags: new Set(),
  env: {},
  ...more,
});
const hello = [{ role: 'user', content: 'Hello' }];

const listenerOf = (driver: CliDriver, messages: readonly object[] = hello): Listener => driver.listen(jobOf(messages));

const heard = (listener: Listener, events: readonly object[]): CliSaying[] =>
  events.flatMap(event => listener.hear(event as Record<string, unknown>));

const textOf = (sayings: readonly CliSaying[]): string =>
  sayings.map(saying => (saying.kind === 'text' ? saying.text : '')).join('');

// Claude Code

const delta = (event: object) => ({ type: 'stream_event', event, parent_tool_use_id: null });
const init = (status = 'connected') => ({
  type: 'system',
  subtype: 'init',
  mcp_servers: [{ name: 'auxot', status }],
});
const whole = (text: string) => ({
  type: 'assistant',
  message: { model: 'm', content: [{ type: 'text', text }], usage: { output_tokens: 2 } },
  parent_tool_use_id: null,
});
const over = (result: string, more: object = {}) => ({
  type: 'result',
  subtype: 'success',
  is_error: false,
  result,
  ...more,
});

test('C18: a phrase of the answer is no signal, whatever it says', () => {
  const said = heard(listenerOf(claude), [
    init(),
    delta({ type: 'message_start', message: { usage: { input_tokens: 3 } } }),
    delta({ type: 'content_block_delta', delta: { type: 'text_delta', text: 'Prompt is too long, and rate limit' } }),
    delta({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 5 } }),
    delta({ type: 'message_stop' }),
    over('Prompt is too long, and rate limit'),
  ]);
  assert.is(textOf(said), 'Prompt is too long, and rate limit');
  assert.equal(said.at(-1), { kind: 'done', finishReason: 'stop' });
});

test('C13: a whole message says nothing that its deltas have said; without deltas it is the answer', () => {
  const streamed = heard(listenerOf(claude), [
    init(),
    delta({ type: 'content_block_delta', delta: { type: 'text_delta', text: 'Hi' } }),
    whole('Hi'),
    over('Hi'),
  ]);
  assert.is(textOf(streamed), 'Hi');
  assert.is(textOf(heard(listenerOf(claude), [init(), whole('Hi'), over('Hi')])), 'Hi');
});

test('C8: calls end the answer when their message stops, without any word of a limit', () => {
  const said = heard(listenerOf(claude), [
    init(),
    delta({ type: 'content_block_start', content_block: { type: 'tool_use', id: 'a', name: 'mcp__auxot__weather' } }),
    delta({ type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '{"city":' } }),
    delta({ type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '"Rome"}' } }),
    delta({ type: 'content_block_stop' }),
    delta({ type: 'content_block_start', content_block: { type: 'tool_use', id: 'b', name: 'Read' } }),
    delta({ type: 'content_block_stop' }),
    delta({ type: 'message_stop' }),
  ]);
  assert.equal(said, [
    { kind: 'callBegun' },
    { kind: 'call', id: 'a', name: 'weather', arguments: '{"city":"Rome"}' },
    { kind: 'usage', usage: { input: 0, cached: 0, output: 0, reasoning: 0 } },
    { kind: 'done', finishReason: 'tool_calls' },
  ]);
});

test('C17: a warning is no limit, a rejection is', () => {
  const event = (status: string) => ({ type: 'rate_limit_event', rate_limit_info: { status, resetsAt: 9e9 } });
  assert.equal(heard(listenerOf(claude), [event('allowed'), event('allowed_warning')]), []);
  assert.is(heard(listenerOf(claude), [event('rejected')])[0]?.kind, 'limit');
});

test('C5: what stands in a failed result is told as what it is', () => {
  const failed = (text: string) => heard(listenerOf(claude), [over(text, { is_error: true })])[0];
  const code = (text: string): string => {
    const saying = failed(text);
    return saying?.kind === 'failed' ? saying.code : String(saying?.kind);
  };
  assert.is(code('Invalid API key · Please run /login'), 'internal_error');
  assert.is(code('Prompt is too long'), 'context_length_exceeded');
  assert.is(code('API Error: 400 {"type":"error"}'), 'invalid_request');
  assert.is(code('API Error: 529 Overloaded'), 'limit');
  assert.is(code('Claude AI usage limit reached|1700000000'), 'limit');
  assert.is(heard(listenerOf(claude), [{ type: 'result', subtype: 'error_max_turns' }])[0]?.kind, 'failed');
});

test('C7: what it may do is answered, and calls of the caller are not made', () => {
  const ask = (tool_name: string) => ({
    type: 'control_request',
    request_id: 'r',
    request: { subtype: 'can_use_tool', tool_name, input: { a: 1 } },
  });
  const answer = (tool: string) => {
    const [saying] = heard(listenerOf(claude), [ask(tool)]);
    return saying?.kind === 'write' ? JSON.parse(saying.line).response.response : null;
  };
  assert.equal(answer('Read'), { behavior: 'allow', updatedInput: { a: 1 } });
  assert.is(answer('mcp__auxot__weather').behavior, 'deny');
});

test('tools that it cannot reach are an error, not an answer without tools', () => {
  assert.is(heard(listenerOf(claude), [init('failed')])[0]?.kind, 'failed');
});

// Codex

const note = (method: string, params: object) => ({ method, params });
const reply = (id: string, result: object) => ({ id, result });
const raw = (item: object) => note('rawResponseItem/completed', { item });
const call = {
  type: 'function_call',
  status: 'completed',
  name: 'weather',
  arguments: '{"city":"Rome"}',
  call_id: 'a',
};
const usage = { inputTokens: 7, cachedInputTokens: 2, outputTokens: 3, reasoningOutputTokens: 1 };

test('Codex: each answer brings the next request, and the history goes in before the question', () => {
  const listener = listenerOf(codex, [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Weather?' },
    { role: 'assistant', content: '', tool_calls: [{ id: 'old', function: { name: 'weather', arguments: '{}' } }] },
    { role: 'tool', tool_call_id: 'old', content: 'sunny' },
    { role: 'user', content: 'And now?' },
  ]);
  const asked = (event: object) =>
    listener
      .hear(event as Record<string, unknown>)
      .flatMap(saying => (saying.kind === 'write' ? [JSON.parse(saying.line)] : []));
  assert.is(JSON.parse(listener.opening[0] ?? '').method, 'initialize');
  const [initialized, start] = asked(reply('initialize', {}));
  assert.is(initialized.method, 'initialized');
  assert.is(start.params.baseInstructions, 'Be brief.');
  assert.equal(start.params.environments, []);
  assert.is(start.params.dynamicTools[0].name, 'weather');
  const [inject] = asked(reply('thread/start', { thread: { id: 't' } }));
  assert.equal(
    inject.params.items.map(({ type }: { type: string }) => type),
    ['message', 'function_call', 'function_call_output'],
  );
  const [turn] = asked(reply('thread/inject_items', {}));
  assert.is(turn.params.threadId, 't');
  assert.is(turn.params.input[0].text, 'And now?');
  // The history is told as well when the turn begins: no call of this answer.
  assert.equal(heard(listener, [raw({ ...call, call_id: 'old' })]), []);
});

test('Codex: text, reasoning, calls and usage; a call waits for the end of the response that names it', () => {
  const said = heard(listenerOf(codex), [
    note('item/started', { item: { type: 'agentMessage', id: 'i' } }),
    note('item/reasoning/summaryTextDelta', { delta: 'Hm.' }),
    note('item/agentMessage/delta', { delta: 'Let me' }),
    note('item/agentMessage/delta', { delta: ' see.' }),
    raw(call),
    { id: 1, method: 'item/tool/call', params: { callId: 'a', tool: 'weather' } },
    raw({ ...call, call_id: 'b' }),
    note('rawResponse/completed', { usage }),
  ]);
  assert.is(textOf(said), 'Let me see.');
  assert.equal(
    said.map(({ kind }) => kind),
    ['reasoning', 'text', 'text', 'callBegun', 'call', 'callBegun', 'call', 'usage', 'done'],
  );
  assert.equal(said.at(-2), { kind: 'usage', usage: { input: 5, cached: 2, output: 3, reasoning: 1 } });
});

test('Codex: a turn that fails is an error by its kind, one that is tried again is none', () => {
  const failed = (error: object) =>
    heard(listenerOf(codex), [note('turn/completed', { turn: { status: 'failed', error } })])[0];
  const kindOf = (codexErrorInfo: unknown): string => {
    const saying = failed({ message: 'x', codexErrorInfo });
    return saying?.kind === 'failed' ? saying.code : String(saying?.kind);
  };
  assert.is(kindOf('contextWindowExceeded'), 'context_length_exceeded');
  assert.is(kindOf('usageLimitExceeded'), 'limit');
  assert.is(kindOf({ responseTooManyFailedAttempts: { httpStatusCode: 429 } }), 'limit');
  assert.is(kindOf('badRequest'), 'invalid_request');
  assert.is(kindOf('unauthorized'), 'internal_error');
  const retried = note('error', { willRetry: true, error: { message: 'x' } });
  assert.equal(heard(listenerOf(codex), [retried]), []);
});

test('Codex: what it asks for besides is refused, and it goes on', () => {
  const [saying] = heard(listenerOf(codex), [{ id: 7, method: 'item/commandExecution/requestApproval', params: {} }]);
  assert.is(saying?.kind === 'write' && JSON.parse(saying.line).error.code, -32601);
});

// Cursor

test('Cursor: pieces once, an empty line between two messages, and a failed result is an error', () => {
  const piece = (text: string) => ({ type: 'assistant', message: { content: [{ type: 'text', text }] } });
  const said = heard(listenerOf(cursor), [
    { type: 'system', subtype: 'init' },
    { type: 'user' },
    piece('Let'),
    piece(' me see.'),
    piece('Let me see.'),
    { type: 'tool_call', subtype: 'started' },
    { type: 'tool_call', subtype: 'completed' },
    piece('Done.'),
    { type: 'result', subtype: 'success', is_error: false, result: 'Let me see.Done.' },
  ]);
  assert.is(textOf(said), 'Let me see.\n\nDone.');
  assert.equal(said.at(-1), { kind: 'done', finishReason: 'stop' });
  const [failure] = heard(listenerOf(cursor), [
    { type: 'result', subtype: 'error', is_error: true, result: 'rate limit' },
  ]);
  assert.is(failure?.kind, 'limit');
});

test('Cursor: the conversation is its prompt, and what it cannot be given is refused by name', () => {
  assert.is(promptOf(conversationOf(hello)), 'Hello');
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'One?' },
    { role: 'assistant', content: 'Two.' },
    { role: 'user', content: 'Three?' },
  ];
  assert.is(promptOf(conversationOf(messages)), 'Be brief.\n\nUser: One?\n\nAssistant: Two.\n\nUser: Three?');
  assert.match(String(cursor.refuses({ messages: hello, tools: [{}] })), /^tools/);
  const image = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }] }];
  assert.match(String(cursor.refuses({ messages: image })), /images/);
  assert.match(String(cursor.refuses({ messages: [{ role: 'user', content: 'x'.repeat(40_000) }] })), /characters/);
});

test.run();
