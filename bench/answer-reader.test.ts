import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AnswerEnd, AnswerReader } from './answer-reader.ts';
import { textOf } from './script.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 100), ...seedOf(process.env.FC_SEED) };

interface Read {
  text: string;
  readonly ends: AnswerEnd[];
}

/** What a reader makes of `bytes` when they arrive cut at `cuts`. */
function read(bytes: Buffer, cuts: readonly number[] = []): Read {
  const got: Read = { text: '', ends: [] };
  const reader = new AnswerReader({
    onText: piece => {
      got.text += piece;
    },
    onEnd: end => void got.ends.push(end),
  });
  const places = [...new Set(cuts.map(cut => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...places, bytes.length]) {
    reader.push(bytes.subarray(from, to));
    from = to;
  }
  return got;
}

const chunk = (delta: object, finishReason: string | null = null): string =>
  `data: ${JSON.stringify({ id: 'j', choices: [{ index: 0, delta, finish_reason: finishReason }] })}\n\n`;

/** Each event in an HTTP chunk of its own. */
function streamed(events: readonly string[]): Buffer {
  const chunks = events.map(event => `${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`);
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
  return Buffer.from(`${head}${chunks.join('')}0\r\n\r\n`);
}

const anyText = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });

test('any texts come through, however the network cuts them', () => {
  fc.assert(
    fc.property(fc.array(anyText, { maxLength: 8 }), fc.array(fc.nat()), fc.boolean(), (texts, cuts, withIds) => {
      const id = withIds ? 'id: 1-2.3\n' : '';
      const events = texts.map(content => `${id}${chunk({ content })}`);
      const all = [chunk({ role: 'assistant', content: '' }), ': keep-alive\n\n', ...events];
      const bytes = streamed([...all, chunk({}, 'stop'), 'data: [DONE]\n\n']);
      // Two answers on one connection: nothing of the first may reach into the second.
      const { text, ends } = read(Buffer.concat([bytes, bytes]), cuts);
      assert.is(textOf(text), texts.join('') + texts.join(''));
      assert.equal(
        ends.map(end => [end.status, end.finishReason, end.done, end.oddity, end.keepAlive]),
        [
          [200, 'stop', true, undefined, true],
          [200, 'stop', true, undefined, true],
        ],
      );
    }),
    runs,
  );
});

test('text that looks like a chunk is text', () => {
  const content = '","content":"no\\"","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
  const { text, ends } = read(streamed([chunk({ content })]));
  assert.is(textOf(text), content);
  assert.is(ends[0]?.done, false);
  assert.is(ends[0]?.finishReason, undefined);
});

test('a whole answer with a length is handed over as it is', () => {
  fc.assert(
    fc.property(anyText, fc.array(fc.nat()), (body, cuts) => {
      const head = `HTTP/1.1 429 Too Many\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
      const { text, ends } = read(Buffer.from(head + body), cuts);
      assert.is(text, '');
      assert.equal(
        ends.map(end => [end.status, textOf(end.body), end.keepAlive]),
        [[429, body, false]],
      );
    }),
    runs,
  );
});

test('nothing of one answer reaches into the next on its connection', () => {
  const good = streamed([chunk({ content: 'a' }), chunk({}, 'stop'), 'data: [DONE]\n\n']);
  const failed = streamed(['data: {"error":{}}\n\n']);
  const plain = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  const { ends } = read(Buffer.concat([good, failed, plain, plain]));
  assert.equal(
    ends.map(end => [end.done, end.finishReason, end.oddity, end.body]),
    [
      [true, 'stop', undefined, ''],
      [false, undefined, '{"error":{}}', ''],
      [false, undefined, undefined, 'ok'],
      [false, undefined, undefined, 'ok'],
    ],
  );
});

test('an error in the stream is an oddity', () => {
  const { ends } = read(
    streamed([chunk({ content: 'a' }), 'data: {"error":{"code":"worker_lost"}}\n\n', 'data: [DONE]\n\n']),
  );
  assert.match(ends[0]?.oddity ?? '', /worker_lost/);
});

test('what is no HTTP/1.1 throws', () => {
  assert.throws(() => read(Buffer.from('SSH-2.0-x\r\n\r\n')), /not an HTTP\/1\.1 answer/);
  assert.throws(() => read(Buffer.from('HTTP/1.1 200 OK\r\n\r\n')), /neither chunked nor/);
});

function seedOf(seed: string | undefined): { seed?: number } {
  return seed === undefined ? {} : { seed: Number(seed) };
}

test.run();
