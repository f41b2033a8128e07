import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent, JobSubmitted, ResponseAnswerShape } from '../protocol/job-events.ts';
import { comparePositions, type Position } from '../protocol/position.ts';
import { answeredAtOnce, beginResponse, responseHead, responseNow, showResponse } from './answer.openai-responses.ts';
import { cursorAfter, historyOf, inputItems, storedResponse } from './answer.openai-responses.views.ts';
import { anyLife, type JobLife } from './job-lives.contract.ts';
import type { WholeAnswer } from './shown.ts';
import { followStream, openEarly, openStream, restoreStream, type StreamAction, show } from './stream.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 300) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

/** The parts of responses and events that these tests look at. */
interface Part {
  type: string;
  text: string;
  logprobs?: object[];
}
interface Item {
  readonly type: string;
  readonly id: string;
  status?: string;
  content: Part[];
  summary: Part[];
  arguments: string;
  input: string;
  name?: string;
  namespace?: string;
}
interface Body {
  readonly id: string;
  status: string;
  output: Item[];
  readonly error: { code: string; message: string } | null;
  readonly usage: object | null;
  readonly [field: string]: unknown;
}
interface StreamEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly response?: Body;
  readonly item?: Item;
  readonly item_id?: string;
  readonly output_index?: number;
  readonly part?: Part;
  readonly delta?: string;
  readonly text?: string;
  readonly arguments?: string;
  readonly input?: string;
  readonly code?: string;
  readonly logprobs?: object[];
}

const shapeOf = (more: Partial<ResponseAnswerShape> = {}): ResponseAnswerShape => ({
  api: 'openai.responses',
  stream: true,
  model: 'auxot-demo',
  store: true,
  echo: {},
  ...more,
});
const as = (submitted: JobSubmitted, shape: ResponseAnswerShape): JobSubmitted => ({ ...submitted, answer: shape });

/** A life of a job, told to a caller of this API. */
const told = ({ job, log }: JobLife, shape: ResponseAnswerShape): [JobEvent, Position][] =>
  log.map(([event, position], place) => [place === 0 ? as(job.submitted, shape) : event, position]);

/** The answer in one piece, and the response as it stands after each event. */
function gathered(life: JobLife, shape: ResponseAnswerShape): { whole: WholeAnswer | null; now: Body } {
  let answer = beginResponse(as(life.job.submitted, shape), shape);
  let whole: WholeAnswer | null = null;
  for (const [event] of life.log) {
    const [next, shown] = showResponse(answer, event, false);
    answer = next;
    if (shown.kind === 'whole') whole = shown;
  }
  return { whole, now: JSON.parse(JSON.stringify(responseNow(answer))) };
}

/** What a caller gets of the stream, as actions; its head goes out at once. */
function streamed(life: JobLife, shape: ResponseAnswerShape): StreamAction[] {
  let [stream, all] = openEarly(openStream(as(life.job.submitted, shape)));
  for (const [event, position] of told(life, shape)) {
    const [next, actions] = show(stream, event, position);
    stream = next;
    all = [...all, ...actions];
  }
  return all;
}

const bytesOf = (actions: readonly StreamAction[]): string =>
  actions.map(action => (action.type === 'write' ? action.text : '')).join('');

/** As a client reads it. */
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

const none: Item = { type: 'none', id: '', content: [], summary: [], arguments: '', input: '' };

/** As a client puts the response together from its deltas, holding each event to its place (R1–R3). */
function assembled(events: readonly StreamEvent[]): Body {
  const [created] = events;
  assert.is(created?.type, 'response.created');
  const response: Body = structuredClone(created?.response) as Body;
  let open: Item | null = null;
  for (const [place, event] of events.entries()) {
    assert.is(event.sequence_number, place, 'R2');
    const { type, output_index: index, delta = '' } = event;
    const last = response.output.length - 1;
    if (type === 'response.output_item.added') {
      assert.is(open, null, 'R1');
      assert.is(index, last + 1);
      open = { ...none, ...structuredClone(event.item) };
      response.output.push(open);
    } else if (index !== undefined) assert.is(index, last);
    if (event.item_id !== undefined) assert.is(event.item_id, open?.id);
    const part = event.part ?? { type: '', text: '' };
    switch (type) {
      case 'response.content_part.added':
        open?.content.push(structuredClone(part));
        break;
      case 'response.reasoning_summary_part.added':
        open?.summary.push(structuredClone(part));
        break;
      case 'response.output_text.delta':
      case 'response.reasoning_text.delta':
        (open?.content[0] as Part).text += delta;
        open?.content[0]?.logprobs?.push(...(event.logprobs ?? []));
        break;
      case 'response.reasoning_summary_text.delta':
        (open?.summary[0] as Part).text += delta;
        break;
      case 'response.function_call_arguments.delta':
        (open as Item).arguments += delta;
        break;
      case 'response.custom_tool_call_input.delta':
        (open as Item).input += delta;
        break;
      case 'response.output_text.done':
      case 'response.reasoning_text.done':
        assert.is(event.text, open?.content[0]?.text, 'R3');
        break;
      case 'response.reasoning_summary_text.done':
        assert.is(event.text, open?.summary[0]?.text, 'R3');
        break;
      case 'response.content_part.done':
        assert.equal(event.part, open?.content[0], 'R3');
        break;
      case 'response.reasoning_summary_part.done':
        assert.equal(event.part, open?.summary[0], 'R3');
        break;
      case 'response.function_call_arguments.done':
        assert.is(event.arguments, open?.arguments, 'R3');
        break;
      case 'response.custom_tool_call_input.done':
        assert.is(event.input, open?.input, 'R3');
        break;
      case 'response.output_item.done': {
        const { status, ...said } = { ...none, ...event.item };
        const { status: _, ...put } = open as Item & { encrypted_content?: string };
        assert.equal({ ...said, encrypted_content: undefined }, { ...put, encrypted_content: undefined }, 'R3');
        assert.is.not(status, 'in_progress');
        response.output[last] = structuredClone(event.item) as Item;
        open = null;
        break;
      }
    }
  }
  assert.is(open, null, 'every item is done');
  const final = events.at(-1);
  assert.equal(final?.response?.output, response.output);
  return final?.response as Body;
}

const terminal = new Set(['response.completed', 'response.incomplete', 'response.failed']);
const anyShape = fc
  .record({ summarises: fc.boolean(), seals: fc.boolean(), background: fc.boolean(), custom: fc.boolean() })
  .map(({ summarises, seals, background, custom }) =>
    shapeOf({
      ...(summarises ? { summarises } : {}),
      ...(seals ? { seals } : {}),
      ...(background ? { background } : {}),
      ...(custom ? { customTools: ['f', 'g'] } : {}),
    }),
  );

test('RS2 R1–R3: what a stream puts together is the response as it can be asked for, and the answer in one piece', () => {
  let ends = 0;
  fc.assert(
    fc.property(anyLife, anyShape, (life, shape) => {
      const events = eventsIn(bytesOf(streamed(life, shape)));
      const over = life.job.state.status === 'done';
      assert.is(events.filter(({ type }) => terminal.has(type)).length, over ? 1 : 0);
      const { whole, now } = gathered(life, { ...shape, stream: false });
      const { now: shown } = gathered(life, shape);
      assert.equal(now, shown, 'streamed or not, the response is the same');
      const said = (type: string): string =>
        now.output.flatMap(item => (item.type === type ? item.content.map(({ text }) => text) : [])).join('');
      assert.ok(said('message').startsWith(life.job.output.text));
      assert.is(said('reasoning'), life.job.output.reasoning);
      if (!over) return;
      ends += 1;
      assert.ok(terminal.has(events.at(-1)?.type ?? ''), 'it ends with a terminal event');
      assert.equal(assembled(events), now);
      if (life.job.state.value === 'completed') assert.equal(JSON.parse(whole?.body ?? ''), now);
    }),
    seeded,
  );
  assert.ok(ends > 10, 'lives must end for this to say anything');
});

test('S4: a stream rebuilt anywhere goes on with the same bytes', () => {
  fc.assert(
    fc.property(anyLife, anyShape, fc.boolean(), fc.nat(), (life, shape, early, cut) => {
      const log = told(life, shape);
      const submitted = as(life.job.submitted, shape);
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

test('a stream that is gone on with behind any event goes on with the next', () => {
  fc.assert(
    fc.property(anyLife, anyShape, fc.boolean(), fc.nat(), (life, shape, stream, cut) => {
      const log = told(life, { ...shape, stream });
      const all = eventsIn(bytesOf(streamed(life, { ...shape, stream: true })));
      const after = (cut % (all.length + 2)) - 1;
      const cursor = cursorAfter(log, after < 0 ? null : after);
      assert.ok(cursor !== null);
      let [following, actions] = followStream(as(life.job.submitted, { ...shape, stream: true }), cursor);
      let bytes = bytesOf(actions);
      for (const [event, position] of log) {
        const ahead = cursor === null ? 1 : comparePositions(position, cursor.position);
        [following, actions] = show(following, event, position, ahead === 0 ? (cursor?.frames ?? 0) : 0);
        if (ahead > 0 || (ahead === 0 && cursor?.frames !== null)) bytes += bytesOf(actions);
      }
      assert.equal(eventsIn(bytes), all.slice(after + 1));
    }),
    seeded,
  );
});

test('RS6: a stored response is the same whenever it is looked at, and one goes on from what it said', () => {
  fc.assert(
    fc.property(anyLife, anyShape, (life, shape) => {
      const log = told(life, shape);
      const stored = storedResponse(log);
      assert.ok(stored !== null);
      if (stored === null) return;
      assert.equal(JSON.parse(JSON.stringify(responseNow(stored))), gathered(life, shape).now);
      assert.is(storedResponse(told(life, { ...shape, store: false })), null);
      const history = historyOf(stored, life.job);
      const over = life.job.state.value === 'completed';
      assert.is(typeof history !== 'string', over);
      if (typeof history === 'string') return;
      const asked = life.job.submitted.request.messages;
      assert.equal(history.messages.slice(0, asked.length), asked);
      const said = history.messages.slice(asked.length);
      assert.ok(said.length <= 1, 'all that it said is one message');
      for (const item of stored.items.done) assert.equal(history.find(item.id), item);
      for (const item of inputItems(stored)) assert.equal(history.find(item.id), item);
    }),
    seeded,
  );
});

const submitted: JobSubmitted = {
  type: 'job.submitted',
  at: 1_795_363_024_123,
  jobId: 'chatcmpl-7f1a91b5f8e95322ab8c4d91',
  instance: 'i',
  boot: 'b',
  priority: 0,
  deadlineAt: 9,
  request: { model: 'm', messages: [] },
  answer: shapeOf(),
};
const at = 1_795_363_025_000;
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
  usage: { input: 10, cached: 3, output: 5, reasoning: 2 },
  ...more,
});
const call = { id: 'call_1', name: 'f', arguments: '{"a":1}' };

/** The events of a stream whose head is out. */
function eventsOf(shape: ResponseAnswerShape, ...events: JobEvent[]): StreamEvent[] {
  let answer = beginResponse({ ...submitted, answer: shape }, shape);
  let bytes = responseHead(answer);
  for (const event of events) {
    const [next, shown] = showResponse(answer, event, true);
    answer = next;
    if (shown.kind === 'frames') bytes += shown.frames.join('');
  }
  return eventsIn(bytes);
}
const typesOf = (events: readonly StreamEvent[]): string[] => events.map(({ type }) => type.replace('response.', ''));

test('RS2: thinking, text and a call come in the documented order', () => {
  const events = eventsOf(
    shapeOf(),
    output('reasoning', 'why'),
    output('text', 'Hel'),
    output('text', 'lo'),
    completed({ finishReason: 'tool_calls', toolCalls: [call] }),
  );
  assert.equal(typesOf(events), [
    'created',
    'in_progress',
    'output_item.added',
    'content_part.added',
    'reasoning_text.delta',
    'reasoning_text.done',
    'content_part.done',
    'output_item.done',
    'output_item.added',
    'content_part.added',
    'output_text.delta',
    'output_text.delta',
    'output_text.done',
    'content_part.done',
    'output_item.done',
    'output_item.added',
    'function_call_arguments.delta',
    'function_call_arguments.done',
    'output_item.done',
    'completed',
  ]);
  const { output: items, usage, status } = assembled(events);
  assert.is(status, 'completed');
  assert.equal(items, [
    {
      type: 'reasoning',
      id: 'rs_7f1a91b5f8e95322ab8c4d91_0',
      summary: [],
      content: [{ type: 'reasoning_text', text: 'why' }],
      status: 'completed',
    },
    {
      type: 'message',
      id: 'msg_7f1a91b5f8e95322ab8c4d91_1',
      status: 'completed',
      role: 'assistant',
      content: [{ type: 'output_text', text: 'Hello', annotations: [], logprobs: [] }],
    },
    {
      type: 'function_call',
      id: 'fc_7f1a91b5f8e95322ab8c4d91_2',
      call_id: 'call_1',
      name: 'f',
      arguments: '{"a":1}',
      status: 'completed',
    },
  ]);
  assert.equal(usage, {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 3 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 15,
  });
});

test('RS4: what was thought is its summary too, when that was asked for', () => {
  const events = eventsOf(shapeOf({ summarises: true }), output('reasoning', 'why'), completed());
  assert.equal(typesOf(events).slice(2, -1), [
    'output_item.added',
    'content_part.added',
    'reasoning_summary_part.added',
    'reasoning_text.delta',
    'reasoning_summary_text.delta',
    'reasoning_text.done',
    'content_part.done',
    'reasoning_summary_text.done',
    'reasoning_summary_part.done',
    'output_item.done',
  ]);
  assert.equal(assembled(events).output[0]?.summary, [{ type: 'summary_text', text: 'why' }]);
});

test('RS5: an answer that is as long as allowed is incomplete', () => {
  const events = eventsOf(shapeOf(), output('text', 'Hel'), completed({ finishReason: 'length' }));
  assert.is(events.at(-1)?.type, 'response.incomplete');
  const { status, incomplete_details, output: items } = assembled(events);
  assert.equal(
    [status, incomplete_details, items[0]?.status],
    ['incomplete', { reason: 'max_output_tokens' }, 'incomplete'],
  );
});

test('RS10: a failure has its status before the head is out, and is an error and response.failed after it', () => {
  const failed: JobEvent = { type: 'job.failed', at, code: 'worker_lost', message: 'gone', by: 'router' };
  const events = eventsOf(shapeOf(), output('text', 'Hel'), failed);
  assert.equal(typesOf(events).slice(-3), ['output_item.done', 'error', 'failed']);
  assert.equal(
    [events.at(-2)?.code, assembled(events).error],
    ['server_error', { code: 'server_error', message: 'gone' }],
  );
  const [, before] = showResponse(beginResponse(submitted, shapeOf()), failed, false);
  assert.is(before.kind === 'whole' && before.status, 500);
  const cancelled = eventsOf(shapeOf(), { type: 'job.cancelled', at, reason: 'requested' });
  assert.equal(typesOf(cancelled).slice(-1), ['failed']);
  assert.equal([assembled(cancelled).status, assembled(cancelled).error], ['cancelled', null]);
});

test('how likely each token was is told with it, and again with the whole text', () => {
  const chance = (token: string) => ({ token, logprob: -0.5, bytes: [72] });
  const likely = (token: string): JobEvent => {
    const logprobs = [{ ...chance(token), top_logprobs: [chance(token)] }];
    return { ...(output('text', token) as Extract<JobEvent, { type: 'output.appended' }>), logprobs };
  };
  const events = eventsOf(shapeOf(), likely('Hel'), likely('lo'), completed());
  const told = [chance('Hel'), chance('lo')].map(token => ({ ...token, top_logprobs: [token] }));
  const deltas = events.filter(({ type }) => type === 'response.output_text.delta');
  assert.equal(
    deltas.map(({ logprobs }) => logprobs),
    told.map(token => [token]),
  );
  assert.equal(events.find(({ type }) => type === 'response.output_text.done')?.logprobs, told);
  assert.equal(assembled(events).output[0]?.content[0]?.logprobs, told);
});

test('a tool that takes free text is called with it', () => {
  const toolCalls = [
    { id: 'c1', name: 'patch', arguments: '{"input":"*** Begin"}' },
    { id: 'c2', name: 'patch', arguments: 'no JSON' },
  ];
  const events = eventsOf(shapeOf({ customTools: ['patch'] }), completed({ finishReason: 'tool_calls', toolCalls }));
  const { output: items } = assembled(events);
  assert.equal(
    items.map(({ type, input }) => [type, input]),
    [
      ['custom_tool_call', '*** Begin'],
      ['custom_tool_call', 'no JSON'],
    ],
  );
});

test('a tool of a namespace is called by both names', () => {
  const shape = shapeOf({ namespaced: { n__f: { namespace: 'n', name: 'f' } } });
  const toolCalls = [{ id: 'c1', name: 'n__f', arguments: '{}' }];
  const [item] = assembled(eventsOf(shape, completed({ finishReason: 'tool_calls', toolCalls }))).output;
  assert.equal([item?.name, item?.namespace], ['f', 'n']);
});

test('a response that nobody waits for is queued, then in progress', () => {
  const background = { ...submitted, answer: shapeOf({ background: true, stream: false }) };
  const at_once = JSON.parse(answeredAtOnce(background)?.body ?? '{}');
  assert.equal([at_once.status, at_once.id, at_once.output], ['queued', 'resp_7f1a91b5f8e95322ab8c4d91', []]);
  assert.is(answeredAtOnce(submitted), null);
  const assigned: JobEvent = { type: 'job.assigned', at, attempt: 1, workerId: 'w', protocol: 2 };
  const events = eventsOf(shapeOf({ background: true }), assigned, { ...assigned, attempt: 2 }, completed());
  assert.equal(typesOf(events), ['created', 'queued', 'in_progress', 'completed']);
  assert.equal(
    events.map(({ response }) => response?.status),
    ['queued', 'queued', 'in_progress', 'completed'],
  );
});

test.run();
