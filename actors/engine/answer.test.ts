import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AnswerOptions, answer } from './answer.ts';
import type { Piece } from './engine.ts';
import { thoughtIsSpent } from './job-answer.ts';

/** Tokens are numbered words of a list; the world notes what comes out. */
function world(words: readonly string[], options: Partial<AnswerOptions> = {}) {
  const pieces: Piece[] = [];
  let now = 0;
  let callsBegun = 0;
  const said = answer({
    detokenize: tokens => tokens.map(token => words[token] ?? '').join(''),
    toolsOffered: true,
    typesOf: () => null,
    toolNames: new Set(['look_up']),
    startsInThought: false,
    stop: [],
    oneCall: false,
    callId: () => 'call_1',
    now: () => now,
    onPiece: piece => pieces.push(piece),
    onToolCall: () => {
      callsBegun += 1;
    },
    ...options,
  });
  /** Pushes tokens until the answer says it is over; how many it took. */
  const push = (passMs = 0): number => {
    for (const [token] of words.entries()) {
      now += passMs;
      if (said.push(token)) return token + 1;
    }
    return words.length;
  };
  return { said, pieces, push, callsBegun: () => callsBegun };
}

test('the ids of all pieces are the tokens, and each piece carries those since the one before', () => {
  const w = world(['One', ' <tool', ' two', '!']);
  w.push();
  const { text, finishReason } = w.said.finish('stop');
  assert.is(text, 'One <tool two!');
  assert.is(finishReason, 'stop');
  assert.equal(w.pieces, [
    { kind: 'text', text: 'One', ids: [0] },
    { kind: 'text', text: ' <tool two', ids: [1, 2] },
    { kind: 'text', text: '!', ids: [3] },
  ]);
});

test('a thought is ended between its words: not in a character, nor in a tag, and only while it lasts (G1)', () => {
  // The bytes of an é come one by one.
  const bytes: Readonly<Record<number, number>> = { 2: 0xc3, 3: 0xa9 };
  const words = ['<think>', 'Hm', '', '', ' </thi', 'rd>', '</think>', 'Yes.'];
  const detokenize = (tokens: number[]): string =>
    Buffer.concat(
      tokens.map(token => {
        const byte = bytes[token];
        return byte === undefined ? Buffer.from(words[token] ?? '') : Buffer.from([byte]);
      }),
    ).toString();
  const { said } = world(words, { detokenize });
  const spent = words.map((_, token) => {
    said.push(token);
    return thoughtIsSpent({ messages: [], thinkingBudget: 2 }, said);
  });
  assert.equal(spent, [false, true, false, true, false, true, false, false]);
  assert.is(said.finish('stop').reasoning, 'Hmé </third>');
});

test('tokens that stand together are never given out in parts, however slow the model', () => {
  let at = 0;
  const now = () => (at += 1000);
  const w = world(['<think>', 'Hm', '</think>', '\n\n', 'Yes.'], { now });
  w.said.push(0);
  w.said.push(1);
  w.said.pushTogether([2, 3]);
  w.said.push(4);
  w.said.finish('stop');
  assert.equal(
    w.pieces.map(({ kind, text, ids }) => [kind, text, ids.join()]),
    [
      ['reasoning', '', '0'],
      ['reasoning', 'Hm', '1'],
      ['text', 'Yes.', '2,3,4'],
    ],
  );
});

test('a call is told as it is written, and its id stays when it moves', () => {
  const words = ['Hm.', '<tool_call>', '{"name": "look_up", ', '"arguments": {"a', '": "x', 'y"}}', '</tool_call>'];
  const calls = (w: ReturnType<typeof world>) => w.pieces.flatMap(({ call }) => (call === undefined ? [] : [call]));
  const w = world(words);
  w.push();
  const whole = w.said.finish('stop');
  assert.equal(whole.toolCalls, [{ id: 'call_1', name: 'look_up', arguments: '{"a":"xy"}' }]);
  assert.equal(calls(w), [
    { index: 0, id: 'call_1', name: 'look_up', arguments: '' },
    { index: 0, arguments: '{' },
    { index: 0, arguments: '"a":"x' },
    { index: 0, arguments: 'y"}' },
  ]);
  const said = { text: 'Hm.', reasoning: '', calls: [{ id: 'call_9', name: 'look_up', arguments: '{"a":"x' }] };
  const moved = world(words, { already: said });
  moved.said.restore([0, 1, 2, 3, 4]);
  assert.equal(moved.pieces, []);
  moved.said.push(5);
  moved.said.push(6);
  assert.equal(moved.said.finish('stop').toolCalls, [{ id: 'call_9', name: 'look_up', arguments: '{"a":"xy"}' }]);
  assert.equal(calls(moved), [{ index: 0, arguments: 'y"}' }]);
});

test('a call that was cut by its length stays cut', () => {
  const w = world(['<tool_call>{"name": "look_up", "arguments": {"a": "x']);
  w.push();
  const { finishReason, toolCalls, text } = w.said.finish('length');
  assert.equal([finishReason, toolCalls.map(call => call.arguments), text], ['length', ['{"a":"x'], '']);
});

test('a call that cannot be read ends the answer, and nothing of it is text', () => {
  const w = world(['Hm. ', '<tool_call>{"name": "look_up", "arguments": {"a": "x', '" y', '"}}</tool_call>', ' and']);
  assert.is(w.push(), 3);
  assert.is(w.said.finish('stop').text, 'Hm.');
  assert.match(String(w.said.brokenCall), /look_up.*"x" $/);
});

test('when a token yields two pieces, the first has its id', () => {
  const w = world(['<think>', 'a', ' b</think>It']);
  w.push();
  assert.equal(w.pieces, [
    { kind: 'reasoning', text: 'a', ids: [0, 1] },
    { kind: 'reasoning', text: ' b', ids: [2] },
    { kind: 'text', text: 'It', ids: [] },
  ]);
  assert.is(w.said.reasoningTokens, 3);
});

test('tokens of a call are given out without text, now and then, and at the end', () => {
  const words = ['Wait.', '<tool_call>', '{"name": ', '"look", ', '"arguments": {}}', '</tool_call>'];
  const w = world(words);
  w.push(100);
  const done = w.said.finish('stop');
  assert.is(done.finishReason, 'tool_calls');
  assert.equal(done.toolCalls, [{ id: 'call_1', name: 'look', arguments: '{}' }]);
  assert.is(done.text, 'Wait.');
  assert.is(w.callsBegun(), 1);
  assert.equal(
    w.pieces.flatMap(({ ids }) => ids),
    [0, 1, 2, 3, 4, 5],
  );
  assert.ok(w.pieces.slice(1).every(({ text }) => text === '') && w.pieces.length >= 3);
});

test('a stop string ends the answer there, and reasoning is not searched for it', () => {
  const w = world(['<think>', 'END', '</think>', 'so EN', 'D it', ' was'], { stop: ['END'] });
  assert.is(w.push(), 5);
  const done = w.said.finish('stop');
  assert.equal([done.text, done.reasoning, done.stopSequence, done.finishReason], ['so ', 'END', 'END', 'stop']);
});

test('with one call allowed, the first ends the answer', () => {
  const call = '<tool_call>{"name": "look"}</tool_call>';
  const w = world([call, call], { oneCall: true });
  assert.is(w.push(), 1);
  assert.is(w.said.finish('stop').toolCalls.length, 1);
});

test('an answer that was cut off finishes with length, calls or not', () => {
  const w = world(['<tool_call>{"name": "look"}</tool_call>', 'and']);
  w.push();
  assert.is(w.said.finish('length').finishReason, 'length');
});

test.run();
