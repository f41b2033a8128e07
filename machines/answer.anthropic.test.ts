import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { codes } from '../protocol/codes.ts';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import type { Position } from '../protocol/position.ts';
import { beginMessage, messageHead, messageRefusal, showMessage } from './answer.anthropic.ts';
import { anyLife, type JobLife } from './job-lives.contract.ts';
import type { WholeAnswer } from './shown.ts';
import { openEarly, openStream, restoreStream, type StreamAction, show } from './stream.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 400) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

/** The parts of messages and events that these tests look at. */
interface Block {
  readonly type: string;
  text?: string;
  thinking?: string;
  signature?: string;
  input?: unknown;
  readonly [field: string]: unknown;
}
interface Message {
  readonly content: Block[];
  stop_reason: string | null;
  stop_sequence: string | null;
  usage: object;
  readonly [field: string]: unknown;
}
interface StreamEvent {
  readonly type: string;
  readonly index?: number;
  readonly message?: Message;
  readonly content_block?: Block;
  readonly delta?: Readonly<Record<string, string>>;
  readonly usage?: object;
  readonly error?: { readonly type: string; readonly message: string };
  readonly request_id?: string;
}

const as = (submitted: JobSubmitted, stream: boolean, hideThinking = false): JobSubmitted => ({
  ...submitted,
  requestId: 'req_1',
  answer: { api: 'anthropic.messages', stream, model: 'auxot-demo', ...(hideThinking ? { hideThinking } : {}) },
});

/** A life of a job, told to a caller of this API. */
const told = ({ job, log }: JobLife, stream: boolean, hideThinking = false): [JobEvent, Position][] =>
  log.map(([event, position], place) => [place === 0 ? as(job.submitted, stream, hideThinking) : event, position]);

function whole(life: JobLife, hideThinking = false): WholeAnswer | null {
  let answer = beginMessage(as(life.job.submitted, false, hideThinking));
  for (const [event] of life.log) {
    const [next, shown] = showMessage(answer, event, false);
    answer = next;
    if (shown.kind === 'whole') return shown;
  }
  return null;
}

/** What a caller gets of the stream, as actions. */
function streamed(life: JobLife, hideThinking = false): StreamAction[] {
  let stream = openStream(as(life.job.submitted, true, hideThinking));
  return told(life, true, hideThinking).flatMap(([event, position]) => {
    const [next, actions] = show(stream, event, position);
    stream = next;
    return actions;
  });
}

const bytesOf = (actions: readonly StreamAction[]): string =>
  actions.map(action => (action.type === 'write' ? action.text : '')).join('');

/** As a client reads it: names and data of events. */
function eventsIn(bytes: string): StreamEvent[] {
  return bytes
    .split('\n\n')
    .slice(0, -1)
    .map(frame => {
      const lines = frame.split('\n').filter(line => !line.startsWith('id: '));
      assert.is(lines.length, 2, frame);
      const event: StreamEvent = JSON.parse(lines[1]?.slice('data: '.length) ?? '');
      assert.is(lines[0], `event: ${event.type}`);
      return event;
    });
}

/** As a client puts a message together, and holds the stream to its rules (M1, M2). Null when it was cut off. */
function assembled(events: readonly StreamEvent[]): Message | null {
  let message: Message | null = null;
  let open: Block | null = null;
  let json = '';
  let last = '';
  for (const event of events) {
    const { type, index, delta = {} } = event;
    if (type === 'message_start') message = structuredClone(event.message ?? null);
    if (message === null) continue;
    if (type === 'content_block_start') {
      assert.is(open, null);
      assert.is(index, message.content.length);
      open = { ...event.content_block, type: event.content_block?.type ?? '' };
      message.content.push(open);
      json = '';
    }
    if (type === 'content_block_delta') {
      assert.is(index, message.content.length - 1);
      assert.ok(open !== null && last !== 'signature_delta', 'a signature is the last delta of its block');
      last = delta.type ?? '';
      open.text = open.type === 'text' ? (open.text ?? '') + (delta.text ?? '') : (open.text ?? '');
      if (open.type === 'thinking') open.thinking = (open.thinking ?? '') + (delta.thinking ?? '');
      if (last === 'signature_delta') open.signature = delta.signature ?? '';
      json += delta.partial_json ?? '';
      if (open.type !== 'text') delete open.text;
    }
    if (type === 'content_block_stop') {
      assert.is(index, message.content.length - 1);
      if (open?.type === 'thinking') assert.is(last, 'signature_delta');
      if (open?.type === 'tool_use') open.input = JSON.parse(json === '' ? '{}' : json);
      open = null;
      last = '';
    }
    if (type === 'message_delta') {
      message.stop_reason = delta.stop_reason ?? null;
      message.stop_sequence = delta.stop_sequence ?? null;
      message.usage = event.usage ?? {};
    }
    if (type === 'error') return null;
    if (type === 'message_stop') {
      assert.is(open, null);
      return message;
    }
  }
  return null;
}

test('M4: what a stream puts together is the whole answer, block by block', () => {
  fc.assert(
    fc.property(anyLife, fc.boolean(), (life, hideThinking) => {
      const answer = whole(life, hideThinking);
      assert.is(answer !== null, life.job.state.status === 'done');
      const message = assembled(eventsIn(bytesOf(streamed(life, hideThinking))));
      assert.is(message !== null, life.job.state.value === 'completed');
      if (message === null || answer === null) return;
      const body: Message = JSON.parse(answer.body);
      // An answer in one piece has a block to look into, even if nothing was said (spec/http-api §8.3 row 25).
      if (message.content.length === 0) message.content.push({ type: 'text', text: '' });
      assert.equal(message, body);
      const said = (type: string, field: string): string =>
        body.content.flatMap(block => (block.type === type ? [String(block[field])] : [])).join('');
      assert.is(said('thinking', 'thinking'), hideThinking ? '' : life.job.output.reasoning);
      assert.ok(said('text', 'text').startsWith(life.job.output.text));
    }),
    seeded,
  );
});

test('S4: a stream rebuilt anywhere goes on with the same bytes', () => {
  fc.assert(
    fc.property(anyLife, fc.boolean(), fc.nat(), (life, early, cut) => {
      const log = told(life, true);
      const submitted = as(life.job.submitted, true);
      const at = cut % log.length;
      const sent = log[at]?.[1] ?? null;
      let stream = openStream(submitted);
      if (early) [stream] = openEarly(stream);
      let rest = '';
      let opened = early;
      for (const [place, [event, position]] of log.entries()) {
        const [next, actions] = show(stream, event, position);
        stream = next;
        if (place > at) rest += bytesOf(actions);
        else opened ||= actions.some(({ type }) => type === 'open');
      }
      let again = restoreStream(submitted, log, sent, opened);
      let said = '';
      for (const [event, position] of log) {
        const [next, actions] = show(again, event, position);
        again = next;
        said += bytesOf(actions);
      }
      assert.is(said, rest);
    }),
    seeded,
  );
});

const at = 2;
const submitted: JobSubmitted = {
  type: 'job.submitted',
  at: 1,
  jobId: 'chatcmpl-7f1a91b5f8e95322ab8c4d91',
  instance: 'i',
  boot: 'b',
  priority: 0,
  deadlineAt: 9,
  request: { model: 'm', messages: [] },
  answer: { api: 'openai.chat', stream: true, model: 'm' },
};
const output = (kind: 'text' | 'reasoning', text: string): JobEvent => ({
  type: 'output.appended',
  at,
  attempt: 1,
  kind,
  text,
  tokens: 1,
});
const completed = (more: object = {}): JobEvent => ({
  type: 'job.completed',
  at,
  attempt: 1,
  finishReason: 'stop',
  usage: { input: 10, cached: 3, output: 5, reasoning: 0 },
  ...more,
});

/** The answer in one piece to a job that had these events. */
function message(...events: JobEvent[]): Message {
  let answer = beginMessage(as(submitted, false));
  for (const event of events) {
    const [next, shown] = showMessage(answer, event, false);
    answer = next;
    if (shown.kind === 'whole') return JSON.parse(shown.body);
  }
  throw new Error('there is no answer');
}

test('M2: a signature is the same however the thought came in, and another for another thought', () => {
  const signatureOf = (...pieces: string[]): string | undefined =>
    message(...pieces.map(piece => output('reasoning', piece)), completed()).content[0]?.signature;
  assert.match(signatureOf('abc') ?? '', /^auxot:[0-9a-f]{16}$/);
  assert.is(signatureOf('abc'), signatureOf('a', 'b', 'c'));
  assert.is.not(signatureOf('abc'), signatureOf('abd'));
});

test('AN14: thinking after text is a block of its own', () => {
  const { content } = message(output('text', 'a'), output('reasoning', 'b'), output('text', 'c'), completed());
  assert.equal(
    content.map(({ type }) => type),
    ['text', 'thinking', 'text'],
  );
});

test('AN17: reasons to stop', () => {
  const reason = (more: object): unknown[] => {
    const { stop_reason, stop_sequence } = message(completed(more));
    return [stop_reason, stop_sequence];
  };
  assert.equal(reason({}), ['end_turn', null]);
  assert.equal(reason({ stopSequence: 'END' }), ['stop_sequence', 'END']);
  assert.equal(reason({ finishReason: 'length' }), ['max_tokens', null]);
  assert.equal(reason({ finishReason: 'length', contextFull: true }), ['model_context_window_exceeded', null]);
  const call = { id: 'c', name: 'f', arguments: '{}' };
  assert.equal(reason({ finishReason: 'tool_calls', toolCalls: [call] }), ['tool_use', null]);
  const broken = { ...call, arguments: '[1]' };
  assert.equal(reason({ finishReason: 'tool_calls', toolCalls: [broken] }), ['end_turn', null]);
});

test('AN16: counts tell reused tokens apart', () => {
  assert.equal(message(completed()).usage, {
    input_tokens: 7,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 3,
    output_tokens: 5,
  });
});

test('AN15 AN28: the input of a tool is an object, or the call is text', () => {
  const blocks = (...texts: string[]) =>
    message(
      completed({
        finishReason: 'tool_calls',
        toolCalls: texts.map((text, n) => ({ id: `c${n}`, name: 'f', arguments: text })),
      }),
    ).content.map(({ type, input, text }) => [type, input ?? text]);
  assert.equal(blocks('', '{"a":1}', '"{\\"b\\":2}"', '{"c":[', 'nonsense'), [
    ['tool_use', {}],
    ['tool_use', { a: 1 }],
    ['tool_use', { b: 2 }],
    ['tool_use', { c: [] }],
    ['text', 'f(nonsense)'],
  ]);
});

test('AN25: a failure has its status before the head is out, and is an event after it', () => {
  const expired: JobEvent = { type: 'job.expired', at: 9, deadlineAt: 9 };
  const answer = beginMessage(as(submitted, true));
  const [, before] = showMessage(answer, expired, false);
  assert.is(before.kind === 'whole' && before.status, 504);
  const [, after] = showMessage(answer, expired, true);
  const events = after.kind === 'frames' ? eventsIn(after.frames.join('')) : [];
  assert.equal(
    [events.length, events[0]?.type, events[0]?.error?.type, events[0]?.request_id],
    [1, 'error', 'timeout_error', 'req_1'],
  );
  assert.ok(after.kind === 'frames' && after.last);
  const body: StreamEvent = JSON.parse(before.kind === 'whole' ? before.body : '');
  assert.equal(body, events[0]);
});

test('the head opens the message and pings', () => {
  const [start, ping, ...rest] = eventsIn(messageHead(beginMessage(as(submitted, true))));
  assert.equal(
    [start?.message?.id, start?.message?.content, start?.message?.stop_reason],
    ['msg_7f1a91b5f8e95322ab8c4d91', [], null],
  );
  assert.equal([ping?.type, rest.length], ['ping', 0]);
});

test('every code is refused in the envelope, with the id of the request', () => {
  for (const code of Object.keys(codes)) {
    const { status, body } = messageRefusal(code, 'm', 'req_2');
    assert.ok(status >= 400 && status < 600, code);
    const { type, request_id } = JSON.parse(body);
    assert.equal([type, request_id], ['error', 'req_2']);
  }
  const { error } = JSON.parse(messageRefusal('unsupported_parameter', 'm', 'r', 'thread').body);
  assert.equal(error.details, { error_code: 'thread_unsupported_request' }, 'clients send all messages then');
});

test.run();
