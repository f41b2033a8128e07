/** Calls that a tools worker runs as items of a response: what is shown when, and that all of it fits together. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent, ResponseAnswerShape } from '../protocol/job-events.ts';
import type { Position } from '../protocol/position.ts';
import { beginResponse, responseHead, responseNow, showResponse } from './answer.openai-responses.ts';
import { historyOf, storedResponse } from './answer.openai-responses.views.ts';
import { replay } from './job.ts';
import { anyToolLife, submittedWithTools, ToolLife } from './tool-lives.contract.ts';
import { requestNow } from './tool-round.ts';

const runs = { numRuns: Number(process.env.FC_RUNS ?? 100) };
const seeded = process.env.FC_SEED === undefined ? runs : { ...runs, seed: Number(process.env.FC_SEED) };

const shapeOf = (more: Partial<ResponseAnswerShape> = {}): ResponseAnswerShape => ({
  api: 'openai.responses',
  stream: true,
  model: 'm',
  store: true,
  echo: {},
  ...more,
});

interface Item {
  readonly type: string;
  readonly id: string;
  readonly status: string;
  readonly code?: string;
}
interface Told {
  readonly type: string;
  readonly sequence_number: number;
  readonly output_index?: number;
  readonly item_id?: string;
  readonly item?: Item;
  readonly delta?: string;
  readonly response?: { readonly output: readonly Item[] };
}

/** The events of a stream, and the response as it stands after them. */
function shown(shape: ResponseAnswerShape, events: readonly JobEvent[]) {
  const submitted = { ...submittedWithTools, answer: shape };
  let answer = beginResponse(submitted, shape);
  let text = responseHead(answer);
  for (const event of events) {
    const [next, frames] = showResponse(answer, event, true);
    answer = next;
    if (frames.kind === 'frames') text += frames.frames.join('');
  }
  const frames = text.split('\n\n').slice(0, -1);
  const told = frames.map((frame): Told => JSON.parse(frame.split('\n')[1]?.slice(6) ?? ''));
  return { told, now: JSON.parse(JSON.stringify(responseNow(answer))) };
}

const at = 1_000_001;
const usage = { input: 1, cached: 0, output: 1, reasoning: 0 };
const begun = (...calls: readonly [name: string, args: object][]): JobEvent => ({
  type: 'toolRound.started',
  at,
  attempt: 1,
  round: 1,
  usage,
  deadlineAt: at + 1000,
  calls: calls.map(([name, args], n) => ({
    callId: `c${n}`,
    toolCallId: `t${n}`,
    name,
    arguments: JSON.stringify(args),
  })),
});
const ended = (n: number, more: object): JobEvent => ({
  type: 'toolCall.finished',
  at,
  callId: `c${n}`,
  by: 'worker',
  ...more,
});
const said: JobEvent = { type: 'output.appended', at, attempt: 1, kind: 'text', text: 'So.', tokens: 1 };
const completed: JobEvent = { type: 'job.completed', at, attempt: 2, finishReason: 'stop', usage };

const hosted = { code_executor: 'code_interpreter', web_search: 'web_search' };
const round = begun(['code_executor', { code: '6*7' }], ['note', {}], ['web_search', { query: 'cats' }]);
const found = { query: 'cats', results: [{ title: 'A', url: 'https://a.example', snippet: '' }] };
const printed = { output: 'hi\n', return_value: 42, duration_ms: 1 };

test('a program and a search are shown while they run and when they are over; other calls of the router are not', () => {
  const events = [
    round,
    ended(2, { result: found }),
    ended(1, { result: 1 }),
    ended(0, { result: printed }),
    said,
    completed,
  ];
  const { told, now } = shown(shapeOf({ hosted }), events);
  assert.equal(told.map(({ type, output_index: index }) => [type.slice('response.'.length), index]).slice(2, 16), [
    ['output_item.added', 0],
    ['code_interpreter_call.in_progress', 0],
    ['code_interpreter_call_code.delta', 0],
    ['code_interpreter_call_code.done', 0],
    ['code_interpreter_call.interpreting', 0],
    ['output_item.added', 1],
    ['web_search_call.in_progress', 1],
    ['web_search_call.searching', 1],
    ['web_search_call.completed', 1],
    ['output_item.done', 1],
    ['code_interpreter_call.completed', 0],
    ['output_item.done', 0],
    ['output_item.added', 2],
    ['content_part.added', 2],
  ]);
  const id = (prefix: string, place: number) => `${prefix}_7f1a91b5f8e95322ab8c4d912d09d479_${place}`;
  assert.equal(now.output.slice(0, 2), [
    {
      type: 'code_interpreter_call',
      id: id('ci', 0),
      status: 'completed',
      code: '6*7',
      container_id: 'cntr_7f1a91b5f8e95322ab8c4d912d09d479',
      outputs: null,
    },
    {
      type: 'web_search_call',
      id: id('ws', 1),
      status: 'completed',
      action: { type: 'search', query: 'cats', queries: ['cats'] },
    },
  ]);
  assert.equal(now.tools, [{ type: 'code_interpreter', container: { type: 'auto' } }, { type: 'web_search' }]);
});

test('results are shown to who asked for them', () => {
  const shape = shapeOf({ hosted, outputs: true, sources: true });
  const { now } = shown(shape, [round, ended(0, { result: printed }), ended(2, { result: found }), said, completed]);
  assert.equal(now.output[0].outputs, [{ type: 'logs', logs: 'hi\n42' }]);
  assert.equal(now.output[1].action.sources, [{ type: 'url', url: 'https://a.example' }]);
});

test('a call that failed says so, and so does one whose response ends before it', () => {
  const lost = ended(0, { error: 'lost', code: 'outcome_unknown' });
  const failed: JobEvent = { type: 'job.failed', at, by: 'worker', code: 'worker_error', message: 'x' };
  const { now, told } = shown(shapeOf({ hosted }), [round, lost, failed]);
  assert.equal(
    now.output.map(({ status }: Item) => status),
    ['failed', 'failed'],
  );
  assert.not.ok(told.some(({ type }) => type.endsWith('call.completed')));
  const { now: cut } = shown(shapeOf({ hosted }), [round, failed]);
  assert.is(cut.output[0].status, 'incomplete');
});

test('R1–R3 in any life of tool rounds: every item is begun, done once, and what the response says at its end', () => {
  let items = 0;
  fc.assert(
    fc.property(anyToolLife, fc.boolean(), (commands, outputs) => {
      const life = new ToolLife();
      for (const command of commands) life.obey(command);
      const shape = shapeOf({
        hosted: { note: 'code_interpreter', look: 'code_interpreter' },
        ...(outputs ? { outputs } : {}),
      });
      const { told, now } = shown(shape, life.log.slice(1));
      const open = new Map<number, string>();
      const output: Item[] = [];
      for (const [n, { type, sequence_number, output_index: index = -1, item, item_id, response }] of told.entries()) {
        assert.is(sequence_number, n, 'R2');
        if (item_id !== undefined) assert.is(item_id, open.get(index));
        if (type === 'response.output_item.added' && item !== undefined) {
          assert.is(index, output.length, 'R1');
          open.set(index, item.id);
          output.push(item);
        }
        if (type === 'response.output_item.done' && item !== undefined) {
          assert.is(open.get(index), item.id);
          open.delete(index);
          output[index] = item;
          assert.is.not(item.status, 'in_progress');
          items += 1;
        }
        if (response !== undefined && n > 1 && type !== 'response.in_progress') {
          assert.is(open.size, 0);
          assert.equal(response.output, output, 'R3');
        }
      }
      if (open.size === 0) assert.equal(now.output, output);
    }),
    seeded,
  );
  assert.ok(items > 20, `${items} items must be shown for this to say anything`);
});

/** The life's events, as those of a response that was asked for in this shape. */
function historyAfter(life: ToolLife, shape: ResponseAnswerShape, last: readonly JobEvent[]) {
  const events: JobEvent[] = [{ ...submittedWithTools, answer: shape }, ...life.log.slice(1), ...last];
  const log = events.map((event, n): [JobEvent, Position] => [event, { epoch: 1, number: n + 1 }]);
  const job = replay(events);
  const response = storedResponse(log);
  return { job, history: response === null || job === null ? null : historyOf(response, job) };
}

test('what goes on from a response goes on from its tool rounds too: calls, results and the last words, once each', () => {
  let histories = 0;
  fc.assert(
    fc.property(anyToolLife, fc.constantFrom('note', 'none'), (commands, shown) => {
      const life = new ToolLife();
      for (const command of [...commands, { kind: 'answer', tools: [] } as const]) life.obey(command);
      const { job, history } = historyAfter(life, shapeOf({ hosted: { [shown]: 'code_interpreter' } }), []);
      if (job === null || history === null || typeof history === 'string' || job.tools.rounds.length === 0) return;
      histories += 1;
      const asked = requestNow(job).messages;
      assert.equal(history.messages.slice(0, asked.length), asked);
      // Whose rounds are over and who calls once more has no last words.
      const words = job.output.text === '' ? [] : [{ role: 'assistant', content: 'done' }];
      assert.equal(history.messages.slice(asked.length), words);
    }),
    seeded,
  );
  assert.ok(histories > 5, `${histories} lives must have ended well for this to say anything`);
});

test('calls of the caller behind a tool round belong to the last words, and to no others', () => {
  const life = new ToolLife();
  const text = (said: string): JobEvent => ({
    type: 'output.appended',
    at,
    attempt: 1,
    kind: 'text',
    text: said,
    tokens: 1,
  });
  const assigned: JobEvent = { type: 'job.assigned', at, workerId: 'gpu', attempt: 1, protocol: 1 };
  const toolCalls = [{ id: 'call_9', name: 'theirs', arguments: '{}' }];
  const { history } = historyAfter(life, shapeOf(), [
    assigned,
    text('Let me look.'),
    text('\n\n'),
    begun(['note', {}]),
    { type: 'toolCall.started', at, callId: 'c0', workerId: 'w', workerInstance: 'i' },
    ended(0, { result: 'seen' }),
    { type: 'toolRound.finished', at, round: 1 },
    { ...assigned, attempt: 2 },
    { ...text('And you?'), attempt: 2 } as JobEvent,
    { type: 'job.completed', at, attempt: 2, finishReason: 'tool_calls', usage, toolCalls },
  ]);
  assert.ok(history !== null && typeof history !== 'string');
  const call = (id: string, name: string) => ({ id, type: 'function', function: { name, arguments: '{}' } });
  assert.equal(typeof history === 'object' && history?.messages, [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'Let me look.', tool_calls: [call('t0', 'note')] },
    { role: 'tool', tool_call_id: 't0', content: 'seen' },
    { role: 'assistant', content: 'And you?', tool_calls: [call('call_9', 'theirs')] },
  ]);
});

test.run();
