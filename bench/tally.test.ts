import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { AnswerEnd } from './answer-reader.ts';
import { bytesOf, expectedOf, textOf } from './script.ts';
import { Answer, Tally } from './tally.ts';

const expected = expectedOf({ tokens: 40, everyMs: 0, seed: 3, holdAfter: 0 });
const whole: AnswerEnd = {
  status: 200,
  body: '',
  finishReason: 'stop',
  done: true,
  oddity: undefined,
  keepAlive: true,
};

/** One answer whose text comes in `reads`, 10 ms apart. */
function tallied(reads: readonly string[], end: AnswerEnd, streamed = true): Tally {
  const tally = new Tally();
  tally.open = true;
  const answer = new Answer(tally, expected, streamed);
  const start = performance.now();
  reads.forEach((bytes, index) => {
    answer.add(bytes);
    answer.arrived(start + 10 * (index + 1));
  });
  answer.end(end, start + 10 * (reads.length + 1));
  return tally;
}

test('an answer equal to what the worker said is none to complain of', () => {
  const half = expected.bytes.length >> 1;
  const tally = tallied([expected.bytes.slice(0, half), expected.bytes.slice(half)], whole);
  assert.equal([tally.failures, tally.answers, tally.requests, tally.tokens], [0, 1, 1, 40]);
  assert.is(tally.firstToken.total, 1);
  assert.is(tally.gap.total, 39, 'a gap between each token and the next');
  assert.ok(Math.abs(tally.gap.maxMs - 10) < 0.1);
});

test('one wrong byte fails, and so do a missing one and one too many', () => {
  const { bytes } = expected;
  for (const wrong of [`${bytes.slice(0, 20)}X${bytes.slice(21)}`, bytes.slice(0, -1), `${bytes}!`, '']) {
    const tally = tallied([wrong], whole);
    assert.is(tally.failures, 1, wrong);
    assert.match(tally.examples[0] ?? '', /text differs at byte/);
  }
});

test('a stream cut short, failed or refused fails though its text is right', () => {
  for (const [end, reason] of [
    [{ ...whole, done: false }, /no \[DONE\]/],
    [{ ...whole, finishReason: undefined }, /finish_reason undefined/],
    [{ ...whole, oddity: '{"error":1}' }, /in the stream/],
    [{ ...whole, status: 503, body: 'busy' }, /status 503: busy/],
  ] as const) {
    const tally = tallied([expected.bytes], end);
    assert.is(tally.failures, 1);
    assert.match(tally.examples[0] ?? '', reason);
  }
});

test('an answer in one piece is compared too', () => {
  const bodyOf = (content: string) => bytesOf(JSON.stringify({ choices: [{ message: { content } }] }));
  const right = { ...whole, done: false, finishReason: undefined, body: bodyOf(textOf(expected.bytes)) };
  assert.is(tallied([], right, false).failures, 0);
  assert.is(tallied([], right, false).tokens, 40);
  assert.is(tallied([], { ...right, body: bodyOf('other') }, false).failures, 1);
});

test('only what arrives in the window is counted, but all is checked', () => {
  const tally = new Tally();
  const answer = new Answer(tally, expected, true);
  answer.add('wrong');
  answer.arrived(performance.now());
  answer.end(whole, performance.now());
  assert.equal([tally.tokens, tally.requests, tally.failures], [0, 0, 1]);
});

test.run();
