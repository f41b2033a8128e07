import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { JobEvent, JobSubmitted } from '../protocol/job-events.ts';
import { comparePositions, type Position, parsePosition } from '../protocol/position.ts';
import { anyLife, bear, deadlineAt, type JobCommand, type JobLife, jobId, obeyAll } from './job-lives.contract.ts';
import {
  isEnded,
  leave,
  openEarly,
  openStream,
  restoreStream,
  type Stream,
  type StreamAction,
  show,
} from './stream.ts';

const runs = Number(process.env.FC_RUNS ?? 400);
const seeded = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

type Log = readonly (readonly [JobEvent, Position])[];

const submittedAs = (stream: boolean): JobSubmitted => ({
  type: 'job.submitted',
  at: 1_000_000,
  jobId,
  instance: 'router-1',
  boot: 'boot-1',
  priority: 0,
  deadlineAt,
  request: { model: 'auxot-demo', messages: [] },
  answer: { api: 'openai.chat', stream, model: 'auxot-demo' },
});

const assign: JobCommand = { kind: 'assign', protocol: 2 };
const speak = (text: string, reasoning = false): JobCommand => ({
  kind: 'speak',
  from: 'holder',
  pieces: [{ text, reasoning, step: 0 }],
});
const complete: JobCommand = { kind: 'complete', from: 'holder', frame: { input_tokens: 3, output_tokens: 2 } };
const life = (stream: boolean, ...commands: JobCommand[]): JobLife => obeyAll(bear(submittedAs(stream)), commands);

/** Shows a log to a caller, with what `between` does before each event. */
function shown(
  log: Log,
  between: (stream: Stream, index: number) => [Stream, StreamAction[]] = stream => [stream, []],
) {
  const [first] = log[0] ?? [];
  assert.ok(first?.type === 'job.submitted');
  let stream = openStream(first);
  const actions: StreamAction[] = [];
  for (const [index, [event, position]] of log.entries()) {
    const [before, did] = between(stream, index);
    const [after, more] = show(before, event, position);
    stream = after;
    actions.push(...did, ...more);
  }
  return { stream, actions, bytes: bytesOf(actions) };
}

const bytesOf = (actions: readonly StreamAction[]): string =>
  actions
    .map(action => (action.type === 'write' ? action.text : action.type === 'respond' ? action.body : ''))
    .join('');

/** What a caller's client makes of the bytes: SSE events with their ids. */
function sse(bytes: string): { id: string | null; data: string }[] {
  if (bytes === '') return [];
  assert.ok(bytes.endsWith('\n\n'), 'every frame is closed');
  return bytes
    .slice(0, -2)
    .split('\n\n')
    .map(frame => {
      const lines = frame.split('\n');
      const id = lines.find(line => line.startsWith('id: '));
      const data = lines.filter(line => line.startsWith('data: '));
      assert.is(lines.length, data.length + (id === undefined ? 0 : 1), 'nothing but id and data');
      assert.is(data.length, 1, 'one line of data');
      return { id: id?.slice(4) ?? null, data: data[0]?.slice(6) ?? '' };
    });
}

test('a streamed answer opens with its first bytes, and ends once', () => {
  const { actions, stream } = shown(life(true, assign, speak('a'), speak('b'), complete).log);
  assert.equal(
    actions.map(({ type }) => type),
    ['open', 'write', 'write', 'write', 'end'],
  );
  assert.ok(isEnded(stream));
});

test('an answer in one piece says nothing until it is whole', () => {
  const { actions } = shown(life(false, assign, speak('a'), speak('b'), complete).log);
  assert.equal(
    actions.map(({ type }) => type),
    ['respond'],
  );
  assert.match(bytesOf(actions), '"content":"ab"');
});

test('S2: a failure before the first bytes has a status of its own, one after them is told inside', () => {
  const early = shown(life(true, { kind: 'fail', code: 'queue_full' }).log);
  assert.equal(
    early.actions.map(action => (action.type === 'respond' ? action.status : action.type)),
    [429],
  );
  const late = shown(life(true, assign, speak('a'), { kind: 'fail', code: 'log_full' }).log);
  assert.equal(
    late.actions.map(({ type }) => type),
    ['open', 'write', 'write', 'end'],
  );
  const [error, done] = sse(late.bytes).slice(-2);
  assert.match(error?.data ?? '', '"code":"log_full"');
  assert.is(done?.data, '[DONE]');
});

test('S2: a head that went out early is not sent again, and a failure after it is told inside', () => {
  const early = (stream: Stream, index: number): [Stream, StreamAction[]] =>
    index === 1 ? openEarly(stream) : [stream, []];
  const { actions } = shown(
    life(true, assign, { kind: 'orphan', from: 'holder', reason: 'worker_lost' }, cancel()).log,
    early,
  );
  assert.equal(
    actions.map(({ type }) => type),
    ['open', 'write', 'write', 'end'],
  );
  assert.is(sse(bytesOf(actions)).filter(({ data }) => data.includes('"role":"assistant"')).length, 1);
  const blocking = openStream(submittedAs(false));
  assert.equal(openEarly(blocking)[1], [], 'an answer in one piece cannot open early: its status is not known');
});

test('S3: a caller who left is shown nothing, and the end is not shown twice', () => {
  const gone = (stream: Stream, index: number): [Stream, StreamAction[]] => [index === 3 ? leave(stream) : stream, []];
  const { actions, stream } = shown(life(true, assign, speak('a'), speak('b'), complete).log, gone);
  assert.equal(
    actions.map(({ type }) => type),
    ['open', 'write'],
  );
  assert.ok(isEnded(stream));
  assert.is(leave(stream), stream);
  assert.equal(openEarly(stream)[1], []);
});

test('every event in every state: only what the diagram allows is asked for', () => {
  const log = life(true, assign, speak('a'), complete).log;
  const states: Record<string, Stream> = {
    waiting: openStream(submittedAs(true)),
    open: openEarly(openStream(submittedAs(true)))[0],
    ended: shown(log).stream,
    left: leave(openStream(submittedAs(true))),
  };
  const position = { epoch: 9, number: 9 };
  const common = { at: 1, attempt: 1 };
  const usage = { input: 0, cached: 0, output: 0, reasoning: 0 };
  const events: Record<string, JobEvent> = {
    quiet: { type: 'job.requeued', ...common, reason: 'worker_lost' },
    adopted: { type: 'job.adopted', at: 1, instance: 'i', boot: 'b' },
    assigned: { type: 'job.assigned', ...common, workerId: 'w', protocol: 1 },
    text: { type: 'output.appended', ...common, kind: 'text', text: 'x', tokens: 1 },
    empty: { type: 'output.appended', ...common, kind: 'text', text: '', tokens: 1 },
    completed: { type: 'job.completed', ...common, finishReason: 'stop', usage },
    failed: { type: 'job.failed', at: 1, code: 'log_full', message: 'm', by: 'router' },
    cancelled: { type: 'job.cancelled', at: 1, reason: 'shutdown' },
    expired: { type: 'job.expired', at: 1, deadlineAt },
  };
  const expected: Record<string, Record<string, string>> = {
    waiting: {
      text: 'open: open write',
      completed: 'ended: open write end',
      failed: 'ended: respond',
      cancelled: 'ended: respond',
      expired: 'ended: respond',
    },
    open: {
      text: 'open: write',
      completed: 'ended: write end',
      failed: 'ended: write end',
      cancelled: 'ended: write end',
      expired: 'ended: write end',
    },
  };
  for (const [state, stream] of Object.entries(states)) {
    assert.is(stream.state.value, state);
    for (const [name, event] of Object.entries(events)) {
      const [after, actions] = show(stream, event, position);
      const found = `${after.state.value}: ${actions.map(({ type }) => type).join(' ')}`;
      assert.is(found, expected[state]?.[name] ?? `${state}: `, `${name} in ${state}`);
    }
  }
});

test('S1: an event at or before the position is not shown again', () => {
  const { log } = life(true, assign, speak('a'), speak('b'));
  const { stream } = shown(log);
  for (const [event, position] of log) assert.equal(show(stream, event, position), [stream, []]);
});

test("frames carry the event's position: the last one as it is, those before it with their number", () => {
  const log = life(true, assign, speak('a'), complete).log;
  const ids = sse(shown(log).bytes).map(({ id }) => id);
  assert.equal(ids, ['1-1.0', '1-3.0', '1-4.0/1', '1-4.0']);
});

test('ids grow, and each event closes with its own position', () => {
  fc.assert(
    fc.property(streamed, ({ log }) => {
      let before: Position = { epoch: 0, number: 0 };
      let open: string | null = null;
      let count = 0;
      const { actions } = shown(log);
      for (const { id } of sse(bytesOf(actions.filter(({ type }) => type === 'write')))) {
        if (id === null) continue;
        const [name = '', part] = id.split('/');
        const position = parsePosition(name);
        assert.ok(position, id);
        if (open === name) count += 1;
        else {
          assert.is(open, null, 'the event before closed');
          assert.ok(comparePositions(before, position) < 0);
          count = 1;
        }
        open = part === undefined ? null : name;
        if (part !== undefined) assert.is(Number(part), count);
        before = position;
      }
      assert.is(open, null);
    }),
    { numRuns: runs, ...seeded },
  );
});

test('S4: a stream rebuilt from log and position, cut anywhere, goes on with the same bytes', () => {
  fc.assert(
    fc.property(anyLife, fc.nat(30), fc.option(fc.nat(12)), ({ log }, cut, earlyAt) => {
      const early = (stream: Stream, index: number): [Stream, StreamAction[]] =>
        index === earlyAt ? openEarly(stream) : [stream, []];
      const [first] = log[0] ?? [];
      assert.ok(first?.type === 'job.submitted');
      // What the caller has got when the shard dies: up to the last event that had bytes.
      let stream = openStream(first);
      let sent: Position | null = null;
      let opened = false;
      const rest: StreamAction[] = [];
      let rebuilt: Stream | null = null;
      const again: StreamAction[] = [];
      for (const [index, [event, position]] of log.entries()) {
        if (index === Math.min(cut, log.length - 1)) rebuilt = restoreStream(first, log, sent, opened);
        const [before, did] = early(stream, index);
        const [after, more] = show(before, event, position);
        stream = after;
        if (rebuilt === null) {
          opened ||= [...did, ...more].some(({ type }) => type === 'open');
          if (more.length > 0) sent = position;
        } else rest.push(...did, ...more);
      }
      assert.ok(rebuilt);
      for (const [index, [event, position]] of log.entries()) {
        const [before, did] = index >= Math.min(cut, log.length - 1) ? early(rebuilt, index) : [rebuilt, []];
        const [after, more] = show(before, event, position);
        rebuilt = after;
        again.push(...did, ...more);
      }
      assert.equal(again, rest);
      assert.is(rebuilt.state.value, stream.state.value);
    }),
    { numRuns: runs, ...seeded },
  );
});

test('whole or streamed, an answer ends exactly when its job does, in one end', () => {
  fc.assert(
    fc.property(anyLife, ({ log, job }) => {
      const { actions, stream } = shown(log);
      const over = job.state.status === 'done';
      assert.is(isEnded(stream), over);
      assert.is(actions.filter(({ type }) => type === 'end' || type === 'respond').length, over ? 1 : 0);
      assert.ok(actions.filter(({ type }) => type === 'open').length <= 1);
      if (over) assert.ok(['end', 'respond'].includes(actions.at(-1)?.type ?? ''));
    }),
    { numRuns: runs, ...seeded },
  );
});

const streamed = anyLife.filter(({ job }) => job.submitted.answer.stream);
function cancel(): JobCommand {
  return { kind: 'cancel', reason: 'requested' };
}

test.run();
